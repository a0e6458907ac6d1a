"""Run commands for tools/check.py, and read, add up and word what pytest says of its results.

Knows:   how to end a command with all that it started, how two queues share runs, and pytest's last line.
Refuses: to know what is checked.
Read next: tools/check.py (who asks).
"""

from __future__ import annotations

import concurrent.futures
import os
import re
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Tuple

ROOT = Path(__file__).resolve().parent.parent
#: Environments and byte code; git-ignored, safe to delete.
ENVIRONMENTS = ROOT / ".venv-check"


# ---- results ----------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What one stage came to."""

    name: str
    passed: bool
    seconds: float
    summary: str
    output: str = ""


def stage_line(outcome: Outcome) -> str:
    """Return the line that says how a stage went."""
    return f"{outcome.name:<12}{outcome.seconds:>7.1f} s   {outcome.summary.strip('= ')}"


def count_results(line: str) -> Dict[str, int]:
    """Return the counts of pytest's summary line by word, each in the singular; {} for any other line."""
    if not re.search(r" in \d+\.\d+s", line):
        return {}
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)(?=,| in )", line)}
    for several, one in (("errors", "error"), ("warnings", "warning")):
        if several in counts:
            counts[one] = counts.pop(several)
    return counts


def files_of_failures(output: str) -> List[str]:
    """Return the test files that pytest names in its short summary, each once."""
    return sorted(set(re.findall(r"^(?:FAILED|ERROR) ([^\s:]+\.py)", output, re.M)))


def closing_line(last: Outcome, earlier: List[Outcome]) -> str:
    """Return the line that ends it all: pytest's own, or one of its shape that counts earlier failures too."""
    failed = [outcome for outcome in earlier if not outcome.passed]
    counts = count_results(last.summary)
    if counts and not failed:
        return last.summary
    counts = counts or {"error": 1}
    for outcome in failed:
        theirs = count_results(outcome.summary)
        bad = {word: theirs[word] for word in ("failed", "error") if theirs.get(word)} or {"error": 1}
        for word, number in bad.items():
            counts[word] = counts.get(word, 0) + number
    return word_results(counts, sum(outcome.seconds for outcome in [*earlier, last]))


def word_results(counts: Dict[str, int], seconds: float) -> str:
    """Return a line as pytest's last."""
    said = []
    for word in sorted(counts, key=("failed passed skipped deselected xfailed xpassed warning error").find):
        said.append(f"{counts[word]} {word}{'s' if word in ('error', 'warning') and counts[word] > 1 else ''}")
    return " {} in {:.2f}s ".format(", ".join(said), seconds).center(100, "=")


def join(name: str, seconds: float, runs: List[Outcome]) -> Outcome:
    """Return several runs of pytest as one; of those that passed only what they skipped is kept."""
    counts: Dict[str, int] = {}
    lines = []
    for run in runs:
        for word, number in (count_results(run.summary) or {"error": 1}).items():
            counts[word] = counts.get(word, 0) + number
        lines += [line for line in run.output.splitlines() if not run.passed or line.startswith(("SKIPPED", "XFAIL"))]
    summary = word_results(counts, seconds)
    return Outcome(name, all(run.passed for run in runs), seconds, summary, "\n".join([*lines, summary]))


class Part:
    """A run of pytest that two queues hold, and that is made by the first that comes to it."""

    def __init__(self, run: Callable[[List[str]], Outcome], files: List[str]) -> None:
        self._run, self._files = run, files
        self._taken = threading.Lock()
        self._outcome: concurrent.futures.Future[Outcome] = concurrent.futures.Future()

    def make(self) -> None:
        """Run it, unless somebody does or has."""
        if self._taken.acquire(blocking=False):
            try:
                self._outcome.set_result(self._run(self._files))
            except BaseException as error:
                self._outcome.set_exception(error)
                raise

    def result(self) -> Outcome:
        """Wait for what it came to."""
        return self._outcome.result()


# ---- commands ---------------------------------------------------------------------------------

#: The commands that run now; an interrupt ends them with all they have started.
_CHILDREN: List[subprocess.Popen[bytes]] = []


def run_command(command: List[str], *, limit_s: float, **extra: str) -> Tuple[int, str]:
    """Run a command in the repository; return its exit code (124: took too long) and both its outputs."""
    refused = (
        "DISCOMPUTE_", "PYTEST_", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "VIRTUAL_ENV",
        "__PYVENV",
    )
    environment = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("DISCOMPUTE_TEST_") or not name.startswith(refused)
    }
    # To compile the tests anew takes a quarter of a fast run; the prefix keeps their byte code out of the tree.
    environment.update(PYTHONPYCACHEPREFIX=str(ENVIRONMENTS / "bytecode"))
    environment.update(PYTHONUTF8="1", PIP_DISABLE_PIP_VERSION_CHECK="1", COLUMNS="100", **extra)
    # A file and not a pipe: a process left behind by a test would hold a pipe open for ever.
    with tempfile.TemporaryFile() as output:
        try:
            child = subprocess.Popen(
                command, cwd=str(ROOT), env=environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )
        except OSError as error:
            return 127, str(error)
        _CHILDREN.append(child)
        try:
            code = child.wait(limit_s)
            late = ""
        except subprocess.TimeoutExpired:
            _end(child)
            child.wait()
            code, late = 124, f"\nended after {limit_s:.0f} s"
        _CHILDREN.remove(child)
        output.seek(0)
        return code, output.read().decode("utf-8", "replace") + late


def end_commands() -> None:
    """Kill what runs now."""
    for child in list(_CHILDREN):
        _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill a command with all that it started and that stayed in its group."""
    try:
        if os.name == "nt":
            child.kill()
        else:
            os.killpg(child.pid, signal.SIGKILL)
    except OSError:
        pass  # it ended by itself in the meantime


def last_line(output: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and "WARNING" not in line]
    return lines[-1] if lines else "no output"
