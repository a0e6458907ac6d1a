"""Start apps of a phone, each a process that is as strict as the app, and a desktop node for them to work with.

Knows:   how to press *run* and *stop*, to suspend an app, and what is to be left of it: nothing.
Refuses: to import the program; what the apps are like stands in app_host.py.
Read next: test_life.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest

HOST = Path(__file__).with_name("app_host.py")
POLL_S = 0.02
#: Runs a command of the tree that was copied to the phone, as `ios/main.py` does.
FROM_TREE = "import sys\nsys.path.insert(0, {root!r})\nfrom discompute_lite.faces.cli import main\nmain({words!r})\n"


#: Where the nodes of one run of the tests meet. Of another run at the same time, which has a phone of the same name
#: and a desktop that waits for it, they are to know nothing.
MEETING = ("DISCOMPUTE_PORT", "DISCOMPUTE_DISCOVERY_PORT")


def neighbours() -> Dict[str, str]:
    """Return the environment of a device that has no settings but those of where it meets others."""
    return {name: value for name, value in os.environ.items() if name in MEETING or not name.startswith("DISCOMPUTE_")}


class App:
    """Hold one app that is open on a phone."""

    def __init__(self, profile: str, home: Path, scale: Callable[[float], float], root: Path) -> None:
        self.profile, self.home = profile, home
        self._scale, self._root = scale, root
        (home / "Documents").mkdir(parents=True)
        with open(home.with_suffix(".err"), "wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(HOST), profile, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=errors, text=True, encoding="utf-8", env=neighbours(),
                cwd=home / "Documents",
            )

    def do(self, what: str, **arguments: Any) -> Any:
        """Have the app do something; return its answer."""
        self.process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the app crashed: {self.home.with_suffix('.err').read_text(encoding='utf-8')}"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["answer"]

    def type(self, script: str, *words: str) -> None:
        """Run a command from the tree."""
        self.do("run", name=script, text=FROM_TREE.format(root=str(self._root), words=list(words)), argv=["main.py"])

    def start_node(self, script: str, *words: str) -> Dict[str, Any]:
        """Press *run*: start a node that stays on this machine, and return what its screen says, by name."""
        self.type(script, "start", "--bind", "127.0.0.1", "--port", "0", *words)
        return self.screen_when_ready(script)

    def screen_when_ready(self, script: str) -> Dict[str, Any]:
        """Wait for a node's screen; return its facts by name."""
        self.wait_for(lambda: "Ready." in self.printed(script) or self.do("wait", name=script, limit_s=0.0), script)
        text = self.printed(script)
        assert "Ready." in text, text
        facts = (line.strip().partition(":") for line in text.splitlines() if ":" in line)
        return {name: rest.strip() for name, _, rest in facts}

    def printed(self, script: str) -> str:
        """Return what a script has printed, without colours."""
        return self.do("printed", name=script)

    def end_of(self, script: str) -> str:
        """Wait for a script's end; return how it ended."""
        end = self.do("wait", name=script, limit_s=self._scale(10.0))
        assert end, f"{script} does not end; it printed:\n{self.printed(script)}"
        return end

    def look(self) -> Dict[str, Any]:
        """Return what the app holds."""
        return self.do("look")

    def wait_for(self, condition: Callable[[], Any], what: str, limit_s: float = 15.0) -> Any:
        """Return the first true value; fail with what was printed where none comes."""
        until = time.monotonic() + self._scale(limit_s)
        while True:
            value = condition()
            if value:
                return value
            assert time.monotonic() < until, f"{what}: never; printed:\n{self.do('all_printed')}"
            time.sleep(POLL_S)

    def suspend(self) -> None:
        """Leave the app: nothing of it runs."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Come back to it."""
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Swipe it away."""
        self.process.kill()
        self.process.communicate()


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
    """Hold a node that runs from the single file on a computer, and commands of its owner."""

    def __init__(self, file: Path, folder: Path, scale: Callable[[float], float]) -> None:
        self._file, self._scale = file, scale
        folder.mkdir()
        self._environ = {
            **neighbours(), "TMPDIR": str(folder),
            "DISCOMPUTE_STATE_DIR": str(folder / "state"), "DISCOMPUTE_BIND": "127.0.0.1", "DISCOMPUTE_SLOTS": "1",
        }
        self._open: List[subprocess.Popen] = []
        self.id = json.loads(self.begin("start", "--json", "--port", "0").stdout.readline())["device"]["id"]

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

    def device(self, name: str) -> Any:
        """Return the device of this name as the node lists it now, or None."""
        devices = json.loads(self.run("list", "--json"))["devices"]
        return next((device for device in devices if device["name"] == name), None)

    def close(self) -> None:
        """End all of it."""
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


@pytest.fixture
def desktop(single_file: Path, tmp_path: Path, scale: Callable[[float], float]) -> Iterator[Desktop]:
    """Run a node on a computer."""
    desktop = Desktop(single_file, tmp_path / "desktop", scale)
    yield desktop
    desktop.close()
