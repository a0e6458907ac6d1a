"""Run every check of this repository: `python3 tools/check.py`, on a fresh machine too.

Knows:   how to find Pythons, make environments for them, and run lint, types and the tests on each.
Refuses: to know what is checked: that stands in pyproject.toml and in tests/.
Read next: pyproject.toml (the tools' settings), tests/house (the house rules), tools/README.md.

Lint and types run first, then the portable tests on every other Python that is found, then everything on
one Python; the last line printed is pytest's summary. Exit codes: 0 all passed, 1 something failed, 2 could not run.
"""

from __future__ import annotations

import argparse
import ast
import concurrent.futures
import hashlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parent))
from check_runs import (
    ENVIRONMENTS, ROOT, Outcome, Part, closing_line, count_results, end_commands, files_of_failures, join, last_line,
    run_command, stage_line,
)

#: What we promise to run on (`requires-python` says at least the first).
PROMISED = tuple((3, minor) for minor in range(9, 15))
#: From here on every tool and every library of the extras has wheels.
FULL_FROM = (3, 11)
#: Enough for the tests that run everywhere; the rest of the `test` extra serves one Python.
PORTABLE_NEEDS = ("pytest", "hypothesis")
#: What every Python runs: no comparisons with other libraries, few real processes, nothing that takes long, and nothing
#: that no version of Python can change; and fewer examples of a property, which is hardly ever broken on one alone.
PORTABLE_TESTS = "not against and not slow and not once and (not system or smoke)"
PORTABLE_EXAMPLES = "6"
#: To have failures tell more, pytest rewrites all tests, ten seconds a Python: here only where something failed.
PLAIN = "--assert=plain"
#: What `--fast` runs, on one Python: no processes, apps, simulated fleets or tools, and few examples of each property.
FAST_TESTS = "not against and not slow and not namespaces"
FAST_LEAVES_OUT = ("system", "phone", "sim", "tools")
FAST_EXAMPLES, FAST_FRAMES = "10", "2000"
#: Fuzzed frames on the Python that runs everything; 20,000 on the others.
FULL_FRAMES, LONG_FRAMES = "200000", "2000000"
#: Runs into which the tests of one Python are divided: sizes say little about times, so that many even it out.
PARTS = 6
#: Rooms that are runs of their own: house parses all, fuzz takes a minute on the Python that runs everything.
APART = ("house", "fuzz")
#: Rooms whose tests wait for processes more than they compute, and into how many runs they are divided.
WAITING, WAITING_PARTS = ("system", "phone"), 8
#: Runs at once. Half the cores of a larger machine: what tests start has to run, too.
AT_ONCE = max(2, min(8, (os.cpu_count() or 2) // 2))
#: Times the deadlines of a quick machine: a slow one shall not fail, and where all goes well nothing waits so long.
TEST_SCALE = "3"
#: Seconds after which a stage is ended: a hang must not look like a slow machine for ever.
STAGE_LIMIT_S = 600.0
LONG_STAGE_LIMIT_S = 5400.0
INSTALL_LIMIT_S = 400.0
#: Asked of each interpreter found. No ensurepip: Debian ships Python without `venv` working.
PROBE = (
    "import sys, importlib.util as u; print(sys.implementation.name, *sys.version_info[:2],"
    " int(bool(u.find_spec('venv') and u.find_spec('ensurepip'))))"
)

Version = Tuple[int, int]


class CannotCheck(Exception):
    """Carry one sentence that says why nothing could be run and what to do."""


def name_version(version: Version) -> str:
    """Return 3.9 for (3, 9)."""
    return ".".join(map(str, version))


class Python(NamedTuple):
    """One interpreter found on this machine."""

    version: Version
    path: str
    can_venv: bool

    def __str__(self) -> str:
        return f"Python {name_version(self.version)}"


# ---- the Pythons of this machine ------------------------------------------------------------------


def find_pythons(*, others: bool = True) -> List[Python]:
    """Return one CPython for each version from 3.9 on, newest first; the running one stands for its version.

    Without `others` the running one alone, where it can run everything.
    """
    found: Dict[Version, Python] = {}
    alone = not others and sys.version_info[:2] >= FULL_FROM
    for path in [sys.executable, *([] if alone else _candidate_paths())]:
        python = _ask_python(path)
        if python is None or python.version < PROMISED[0]:
            continue
        known = found.get(python.version)
        if known is None or (python.can_venv and not known.can_venv):
            found[python.version] = python
    return sorted(found.values(), reverse=True)


def _candidate_paths() -> List[str]:
    names = ["python" + name_version(version) for version in (*PROMISED, (3, 15), (3, 16))] + ["python3"]
    paths = [path for name in names for path in [shutil.which(name)] if path]
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    paths += sorted(str(path) for path in versions.glob("3.*/bin/python3"))
    if os.name == "nt" and shutil.which("py"):
        listing = run_command(["py", "-0p"], limit_s=20)[1]
        paths += re.findall(r"\S:\\.*?python\.exe", listing)
    seen: Dict[str, str] = {}
    for path in paths:
        seen.setdefault(os.path.realpath(path), path)
    return list(seen.values())


def _ask_python(path: str) -> Optional[Python]:
    code, output = run_command([path, "-c", PROBE], limit_s=20)
    words = output.split()
    if code != 0 or len(words) != 4 or words[0] != "cpython":
        return None
    return Python((int(words[1]), int(words[2])), path, words[3] == "1")


# ---- environments ---------------------------------------------------------------------------------


def read_extras() -> Dict[str, List[str]]:
    """Return the optional requirements of pyproject.toml; Python 3.9 has no TOML reader, our lists need none."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text.split("[project.optional-dependencies]", 1)[1].split("\n[", 1)[0]
    return {name: ast.literal_eval(body) for name, body in re.findall(r"^(\w+) = (\[.*?^\])", section, re.M | re.S)}


def full_requirements() -> List[str]:
    """Return all that one Python needs to run everything."""
    extras = read_extras()
    return extras["test"] + [item for item in extras["dev"] if not item.startswith("discompute-lite")]


def portable_requirements() -> List[str]:
    """Return what every Python needs."""
    return [item for item in read_extras()["test"] if re.split(r"[^\w-]", item)[0] in PORTABLE_NEEDS]


def environment_for(python: Python, requirements: List[str], wishes: Sequence[str] = ()) -> str:
    """Return the interpreter of a ready environment, making it where it is missing; raise CannotCheck.

    What cannot be had of the `wishes` is named, and its tests skip.
    """
    key = hashlib.sha256("\n".join([*requirements, *wishes]).encode()).hexdigest()[:10]
    # One a Python and a list of requirements.
    folder = ENVIRONMENTS / f"{name_version(python.version)}-{key}"
    inner = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if (folder / "ready").exists() and inner.exists():
        return str(inner)
    if not python.can_venv:
        raise CannotCheck(f"{python} cannot make virtual environments; install its venv and ensurepip modules")
    shutil.rmtree(folder, ignore_errors=True)
    code, output = run_command([python.path, "-m", "venv", str(folder)], limit_s=INSTALL_LIMIT_S)
    if code != 0:
        raise CannotCheck(f"{python} could not make a virtual environment: {last_line(output)}")
    # To compile all that lies in them would take longer than what tests import of it, which is compiled then.
    install = [str(inner), "-m", "pip", "install", "-q", "--no-input", "--no-compile", "--only-binary", ":all:"]
    install += requirements
    code, output = run_command(install, limit_s=INSTALL_LIMIT_S)
    if code != 0:
        raise CannotCheck(
            f"pip could not install the test requirements for {python} ({last_line(output)}); check the network"
        )
    if wishes:
        # The scanner comes as source, of plain Python; what it stands on has wheels.
        code, output = run_command([*install, "--no-binary", "sslyze", *wishes], limit_s=INSTALL_LIMIT_S)
        if code != 0:
            print(f"{python} goes without {', '.join(wishes)}: {last_line(output)}", flush=True)
    (folder / "ready").touch()
    return str(inner)


def by_preference(pythons: List[Python]) -> List[Python]:
    """Return those that could run everything, the likeliest first: this one if recent enough, else the newest."""
    recent = [python for python in pythons if python.version >= FULL_FROM] or pythons
    return sorted(recent, key=lambda python: python.version != sys.version_info[:2])


def full_environment(pythons: List[Python]) -> Tuple[Python, str]:
    """Return the Python that runs everything, the first with all wheels, and its interpreter; raise CannotCheck."""
    reasons = []
    for python in by_preference(pythons):
        try:
            return python, environment_for(python, full_requirements(), read_extras()["scan"])
        except CannotCheck as error:
            reasons.append(str(error))
    if run_command([sys.executable, "-c", "import pytest, hypothesis"], limit_s=60)[0] == 0:
        print(f"{reasons[0]}; going on with what {sys.executable} has", flush=True)
        return Python((sys.version_info[0], sys.version_info[1]), sys.executable, False), sys.executable
    raise CannotCheck(f"{reasons[0]}; or install pytest and hypothesis for {sys.executable}")


# ---- stages ---------------------------------------------------------------------------------------


def run_tool(name: str, python: str, arguments: List[str]) -> Outcome:
    """Run one linter; a linter that is not installed is named, not passed over."""
    if run_command([python, "-c", f"import {name}"], limit_s=60)[0] != 0:
        return Outcome(name, True, 0.0, f"not run: {name} is not installed")
    begun = time.monotonic()
    code, output = run_command([python, "-m", name, *arguments], limit_s=STAGE_LIMIT_S)
    return Outcome(name, code == 0, time.monotonic() - begun, "passed" if code == 0 else "FAILED", output)


def run_tests(name: str, python: str, arguments: List[str], *, limit_s: float, **extra: str) -> Outcome:
    """Run pytest with `extra` in its environment; the summary is its last line."""
    begun = time.monotonic()
    extra.setdefault("DISCOMPUTE_TEST_SCALE", os.environ.get("DISCOMPUTE_TEST_SCALE", TEST_SCALE))
    command = [python, "-m", "pytest", "-p", "no:cacheprovider", "--color=no", *arguments]
    code, output = run_command(command, limit_s=limit_s, **extra)
    summary = last_line(output)
    if not count_results(summary):
        summary, code = "FAILED: pytest ended without results", code or 1
    return Outcome(name, code == 0, time.monotonic() - begun, summary, output)


def divide(rooms: Iterable[Path], parts: int = PARTS) -> List[List[str]]:
    """Return the test files of some rooms in parts of about the same size, for as many runs of pytest."""
    divided: List[List[str]] = [[] for _ in range(parts)]
    loads = [0] * parts
    sizes = [(path.stat().st_size, str(path)) for room in rooms for path in room.glob("test_*.py")]
    for size, path in sorted(sizes, reverse=True):
        lightest = loads.index(min(loads))
        divided[lightest].append(path)
        loads[lightest] += size
    return divided


def pure_runs(tests: Path, *, fast: bool = False) -> List[List[str]]:
    """Return what to give to as many runs of pytest, which together make every test without real processes once."""
    rooms = [room for room in sorted(tests.iterdir()) if room.is_dir() and list(room.glob("test_*.py"))]
    rest = [room for room in rooms if room.name not in (*APART, *(FAST_LEAVES_OUT if fast else WAITING))]
    return [[str(tests / name)] for name in APART] + divide(rest)


def waiting_runs(tests: Path) -> List[List[str]]:
    """Return what to give to as many runs of pytest, which together make every test with real processes once."""
    return divide([tests / name for name in WAITING], WAITING_PARTS)


def run_portable(python: Python, made: str) -> Outcome:
    """Run on one more Python what every Python runs."""
    try:
        inner = environment_for(python, portable_requirements())
    except CannotCheck as error:
        return Outcome(str(python), True, 0.0, f"not run: {error}")
    few = {"DISCOMPUTE_TEST_EXAMPLES": PORTABLE_EXAMPLES, "DISCOMPUTE_TEST_MADE": made}
    arguments = ["-q", "-m", PORTABLE_TESTS]
    outcome = run_tests(str(python), inner, [*arguments, PLAIN], limit_s=STAGE_LIMIT_S, **few)
    failed = files_of_failures(outcome.output)
    if failed:
        outcome.output += run_tests(str(python), inner, [*arguments, *failed], limit_s=STAGE_LIMIT_S, **few).output
    return outcome


# ---- saying ---------------------------------------------------------------------------

def say(outcome: Outcome) -> Outcome:
    """Print one line for a stage, and all it printed if it failed."""
    if not outcome.passed:
        print(outcome.output.rstrip(), flush=True)
    print(stage_line(outcome), flush=True)
    return outcome


def say_last(outcome: Outcome, earlier: List[Outcome]) -> int:
    """Print what the last run skipped, or all of it if it failed, and the closing line; return the exit code."""
    lines = outcome.output.rstrip().splitlines()
    if outcome.passed:
        lines = [line for line in lines if line.startswith(("SKIPPED", "XFAIL"))]
    elif count_results(outcome.summary):
        lines.pop()
    print("\n".join(lines), end="\n" if lines else "")
    failed = [each.name for each in [*earlier, outcome] if not each.passed]
    if failed:
        print(f"NOT PASSED: {', '.join(failed)}")
    print(closing_line(outcome, earlier), flush=True)
    return 1 if failed else 0


def run_tools(inner: str, pool: concurrent.futures.Executor) -> List[concurrent.futures.Future[Outcome]]:
    """Begin lint and types."""
    return [pool.submit(run_tool, "ruff", inner, ["check", "."]), pool.submit(run_tool, "mypy", inner, [])]


def check_fast(python: Python, inner: str) -> int:
    """Run lint, types, and the pure tests, several runs of pytest at a time; return the exit code."""

    def run_part(files: List[str]) -> Outcome:
        arguments = ["-q", "-m", FAST_TESTS, *files]
        few = {"DISCOMPUTE_TEST_EXAMPLES": FAST_EXAMPLES, "DISCOMPUTE_TEST_FRAMES": FAST_FRAMES}
        return run_tests(str(python), inner, arguments, limit_s=STAGE_LIMIT_S, **few)

    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool, concurrent.futures.ThreadPoolExecutor(2) as beside:
        tools = run_tools(inner, beside)
        parts = [pool.submit(run_part, files) for files in pure_runs(ROOT / "tests", fast=True)]
        earlier = [say(tool.result()) for tool in tools]
        runs = [part.result() for part in parts]
    return say_last(join(str(python), time.monotonic() - begun, runs), earlier)


def check(*, fast: bool, long: bool, made: str) -> int:
    """Run all stages; return the exit code."""
    begun = time.monotonic()
    pythons = find_pythons(others=not fast)
    if not pythons:
        raise CannotCheck("no Python 3.9 or newer is found on this machine; install one")

    def prepare() -> Tuple[Python, str]:
        python, inner = full_environment(pythons)
        say(Outcome("environment", True, time.monotonic() - begun, f"{python} at {python.path}"))
        return python, inner

    if fast:
        return check_fast(*prepare())
    depth = {"DISCOMPUTE_TEST_FRAMES": LONG_FRAMES if long else FULL_FRAMES, "DISCOMPUTE_TEST_MADE": made}
    depth.update({"DISCOMPUTE_TEST_LONG": "1"} if long else {})

    def run_part(files: List[str]) -> Outcome:
        limit_s = LONG_STAGE_LIMIT_S if long else STAGE_LIMIT_S
        outcome = run_tests("part of all", inner, files, limit_s=limit_s, **depth)
        print(stage_line(outcome), flush=True)
        return outcome

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool, concurrent.futures.ThreadPoolExecutor(2) as beside:
        # The longest first, and beside what takes a minute on a fresh machine: to fetch all libraries for one Python.
        likely, others = by_preference(pythons)[0], sorted(pythons, key=lambda each: each.version)
        others.remove(likely)
        stages = [pool.submit(run_portable, each, made) for each in others]
        try:
            python, inner = prepare()
        except CannotCheck:
            pool.shutdown(wait=False, cancel_futures=True)
            end_commands()
            raise
        if python.version != likely.version:
            stages.append(pool.submit(run_portable, likely, made))
        stages += run_tools(inner, pool)
        parts = [Part(run_part, files) for files in pure_runs(ROOT / "tests") + waiting_runs(ROOT / "tests")]
        for part in parts:
            pool.submit(part.make)
        # From the other end, where what waits stands: two of these take less than a core from what computes, and no
        # time of their own.
        for part in reversed(parts):
            beside.submit(part.make)
        earlier = [say(stage.result()) for stage in stages]
        for version in PROMISED:
            if version not in [each.version for each in pythons]:
                say(Outcome("Python " + name_version(version), True, 0.0, "not run: not found on this machine"))
        runs = [part.result() for part in parts]
    return say_last(join(str(python), time.monotonic() - begun, runs), earlier)


def _interrupted(number: int, _frame: object) -> None:
    """Leave at once: two threads wait for commands that did not get the signal."""
    end_commands()
    os._exit(128 + number)


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the checks that the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(description="Run every check of this repository.")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--fast", action="store_true", help="lint, types, pure tests on one Python: for every save")
    kind.add_argument("--long", action="store_true", help="more rounds of the fuzzers and of the kill loops")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, _interrupted)
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        # Where all runs find what one of them has made of the sources; see tests/conftest.py.
        with tempfile.TemporaryDirectory() as made:
            return check(fast=options.fast, long=options.long, made=made)
    except CannotCheck as error:
        print(f"check: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
