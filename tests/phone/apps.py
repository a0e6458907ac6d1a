"""Open the apps of a phone, each a process that is as strict as the app, and do to them what people and iOS do.

Knows:   how to press *run* and *stop*, to suspend an app and come back to it.
Refuses: to import the program, or pytest: `tools/bench.py phone` opens apps too.
Read next: app_host.py (what the apps are like), conftest.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict

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
        self._say(what, **arguments)
        return self._answer()

    def _say(self, what: str, **arguments: Any) -> None:
        self.process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self.process.stdin.flush()

    def _answer(self) -> Any:
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
        return self._wait(condition, what, limit_s, lambda: self.do("all_printed"))

    def wait_for_others(self, condition: Callable[[], Any], what: str, limit_s: float = 60.0) -> Any:
        """Do the same while the app sleeps, and can say nothing."""
        return self._wait(condition, what, limit_s, lambda: "it is suspended")

    def _wait(self, condition: Callable[[], Any], what: str, limit_s: float, story: Callable[[], str]) -> Any:
        until = time.monotonic() + self._scale(limit_s)
        while True:
            value = condition()
            if value:
                return value
            assert time.monotonic() < until, f"{what}: never; printed:\n{story()}"
            time.sleep(POLL_S)

    def patience(self, seconds: float) -> float:
        """Return so many seconds on a machine that does nothing else, and more on others."""
        return self._scale(seconds)

    def suspend(self) -> None:
        """Leave the app: nothing of it runs."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self, dead: str = "") -> None:
        """Come back to it; its sockets died in its sleep in this way, if any."""
        if dead:
            # Said while it sleeps, so that it is the first that happens when it wakes up.
            self._say("kill_sockets", how=dead)
        self.process.send_signal(signal.SIGCONT)
        if dead:
            assert self._answer() > 3

    def close(self) -> None:
        """Swipe it away."""
        self.process.kill()
        self.process.communicate()
