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
        # Whoever runs the tests may be allowed to write into a folder that the app's scripts may only read.
        assert [path.name for path in app.home.iterdir()] == ["Documents"]
        assert app.home.with_suffix(".err").read_text(encoding="utf-8") == ""


class Desktop:
    """Hold a node that runs from one file on a computer, which it lends to phones, and commands of its owner.

    Only what is about the file runs from it: its text is compiled at each start, which takes most of a short command.
    """

    def __init__(self, file: Path, folder: Path, scale: Callable[[float], float]) -> None:
        self._file, self._scale = file, scale
        folder.mkdir()
        self._environ = {
            **neighbours(), "TMPDIR": str(folder),
            "DISCOMPUTE_STATE_DIR": str(folder / "state"), "DISCOMPUTE_BIND": "127.0.0.1", "DISCOMPUTE_SLOTS": "1",
        }
        self._open: List[subprocess.Popen] = []
        ready = json.loads(self.begin_from_file("start", "--json", "--port", "0").stdout.readline())
        self.id = ready["device"]["id"]
        # Tests ask again and again until something has happened; a command for each question would be most of the work.
        self._owner = socket.create_connection(("127.0.0.1", ready["port"]), scale(10.0))
        self._answers = self._owner.makefile("rb")
        self.ask("Hello", auth=(folder / "state" / "control.token").read_text(encoding="ascii").strip())

    def begin_from_file(self, *words: str) -> subprocess.Popen:
        """Start a command of the file and let it run."""
        return self._begun(str(self._file), *words)

    def begin(self, *words: str) -> subprocess.Popen:
        """Start a command of the package and let it run."""
        return self._begun("-m", "discompute_lite", *words)

    def _begun(self, *words: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            env=self._environ, text=True, encoding="utf-8",
        )
        self._open.append(process)
        return process

    def run(self, *words: str) -> str:
        """Run a command to its good end; return what it printed."""
        return self.printed_by(self.begin(*words))

    def printed_by(self, process: subprocess.Popen) -> str:
        """Wait for the good end of a command; return what it printed."""
        out, _ = process.communicate(timeout=self._scale(60.0))
        assert process.returncode == 0, out
        return out

    @contextmanager
    def offer(self) -> Iterator[Any]:
        """Offer the program and an invitation for as long as this lasts; give what `share` says."""
        share = self.begin_from_file("share", "--invite", "--json")
        yield json.loads(share.stdout.readline())
        share.send_signal(signal.SIGINT)
        share.communicate(timeout=self._scale(20.0))

    def ask(self, method: str, **params: str) -> Any:
        """Call the node as its owner."""
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        self._owner.sendall(json.dumps(call).encode("ascii") + b"\n")
        return json.loads(self._answers.readline())["result"]

    def device(self, name: str) -> Any:
        """Return the device of this name as the node lists it now, or None."""
        return next((device for device in self.ask("GetDevices")["devices"] if device["name"] == name), None)

    def close(self) -> None:
        """End all of it."""
        self._answers.close()
        self._owner.close()
        for process in reversed(self._open):
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.communicate(timeout=self._scale(20.0))


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
