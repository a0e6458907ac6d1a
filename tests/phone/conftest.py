"""Start apps of a phone, each a process that is as strict as the app, and a desktop node for them to work with.

Knows:   who is open, and what is to be left of it: nothing.
Refuses: to import the program; what the apps are like stands in app_host.py.
Read next: apps.py (what can be done to an app), test_life.py.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest

from .apps import App, neighbours


@pytest.fixture
def open_app(tmp_path: Path, scale: Callable[[float], float], root: Path) -> Iterator[Callable[..., App]]:
    """Open apps; all are closed at the end, and none may have written what nobody was to see."""
    apps: List[App] = []

    def open_one(profile: str) -> App:
        apps.append(App(profile, tmp_path / f"{profile}-{len(apps)}", scale, root))
        return apps[-1]

    yield open_one
    for app in apps:
        app.close()
    for app in apps:
        assert app.home.with_suffix(".err").read_text(encoding="utf-8") == ""


class Desktop:
    """Hold a node that runs from one file on a computer, which it lends to phones, and commands of its owner."""

    def __init__(self, file: Path, folder: Path, scale: Callable[[float], float]) -> None:
        self._file, self._scale = file, scale
        folder.mkdir()
        self._environ = {
            **neighbours(), "TMPDIR": str(folder),
            "DISCOMPUTE_STATE_DIR": str(folder / "state"), "DISCOMPUTE_BIND": "127.0.0.1", "DISCOMPUTE_SLOTS": "1",
        }
        self._open: List[subprocess.Popen] = []
        ready = json.loads(self.begin("start", "--json", "--port", "0").stdout.readline())
        self.id = ready["device"]["id"]
        # Tests ask again and again until something has happened; a command for each question would be most of the work.
        self._owner = socket.create_connection(("127.0.0.1", ready["port"]), scale(10.0))
        self._answers = self._owner.makefile("rb")
        self._call("Hello", auth=(folder / "state" / "control.token").read_text(encoding="ascii").strip())

    def begin(self, *words: str) -> subprocess.Popen:
        """Start a command and let it run."""
        process = subprocess.Popen(
            [sys.executable, str(self._file), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            env=self._environ, text=True, encoding="utf-8",
        )
        self._open.append(process)
        return process

    def run(self, *words: str) -> str:
        """Run a command to its good end; return what it printed."""
        process = self.begin(*words)
        out, _ = process.communicate(timeout=self._scale(60.0))
        assert process.returncode == 0, out
        return out

    @contextmanager
    def offer(self) -> Iterator[Any]:
        """Offer the program and an invitation for as long as this lasts; give what `share` says."""
        share = self.begin("share", "--invite", "--json")
        yield json.loads(share.stdout.readline())
        share.send_signal(signal.SIGINT)
        share.communicate(timeout=self._scale(20.0))

    def _call(self, method: str, **params: str) -> Any:
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        self._owner.sendall(json.dumps(call).encode("ascii") + b"\n")
        return json.loads(self._answers.readline())["result"]

    def device(self, name: str) -> Any:
        """Return the device of this name as the node lists it now, or None."""
        return next((device for device in self._call("GetDevices")["devices"] if device["name"] == name), None)

    def close(self) -> None:
        """End all of it."""
        self._answers.close()
        self._owner.close()
        for process in reversed(self._open):
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.communicate(timeout=self._scale(20.0))


@pytest.fixture(scope="session")
def single_file(load_tool: Callable[[str], Any], root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the program as one file, made now."""
    path = tmp_path_factory.mktemp("file") / "discompute.py"
    path.write_text(load_tool("bundle").bundled(root, path.name), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def small_file(load_tool: Callable[[str], Any], root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the program as phones fetch it, made now."""
    path, tool = tmp_path_factory.mktemp("small") / "discompute.py", load_tool("bundle")
    path.write_bytes(tool.small_file(tool.package_sources(str(root / "discompute_lite"))))
    return path


@pytest.fixture
def open_desktop(tmp_path: Path, scale: Callable[[float], float]) -> Iterator[Callable[[Path], Desktop]]:
    """Run nodes on a computer, each from one file."""
    desktops: List[Desktop] = []

    def open_one(file: Path) -> Desktop:
        desktops.append(Desktop(file, tmp_path / f"desktop-{len(desktops)}", scale))
        return desktops[-1]

    yield open_one
    for desktop in desktops:
        desktop.close()


@pytest.fixture
def desktop(small_file: Path, open_desktop: Callable[[Path], Desktop]) -> Desktop:
    """Run a node on a computer."""
    return open_desktop(small_file)
