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


class App:
    """Hold one app that is open on a phone."""

    def __init__(self, profile: str, home: Path, scale: Callable[[float], float], root: Path) -> None:
        self.profile, self.home = profile, home
        self._scale, self._root = scale, root
        (home / "Documents").mkdir(parents=True)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("DISCOMPUTE_")}
        with open(home.with_suffix(".err"), "wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(HOST), profile, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=errors, text=True, encoding="utf-8", env=environ,
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
        text = self.wait_for(lambda: "Ready." in self.printed(script) and self.printed(script), script)
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
