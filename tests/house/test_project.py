"""The repository is what it says it is: its top level, its version, its one command, its dependencies (none)."""

from __future__ import annotations

import ast
import fnmatch
import os
import re
import sys

import pytest

import discompute_lite

TOP_LEVEL = {".ci", ".gitignore", "LICENSE", "README.md", "discompute_lite", "ios", "pyproject.toml", "tests", "tools"}
CHECK_COMMAND = "python3 tools/check.py"


@pytest.fixture(scope="module")
def pyproject(root):
    return (root / "pyproject.toml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def check(load_tool):
    """tools/check.py as a module."""
    return load_tool("check")


# ---- what is where --------------------------------------------------------------------------------


def strangers(names, ignored):
    """Return what is neither on the list nor git-ignored."""
    patterns = [line.strip("/") for line in ignored.splitlines() if line and not line.startswith("#")]
    known = {name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)}
    return sorted(set(names) - TOP_LEVEL - known - {".git"})


def test_the_top_level_is_the_list(root):
    names = os.listdir(root)
    assert strangers(names, (root / ".gitignore").read_text(encoding="utf-8")) == []
    assert sorted(TOP_LEVEL - set(names)) == []


def test_a_stranger_is_noticed():
    names = [*TOP_LEVEL, ".git", "notes.txt", ".venv-check", "__pycache__"]
    assert strangers(names, ".venv*/\n__pycache__/\n") == ["notes.txt"]


def test_test_folders_are_no_packages(root):
    """Two test modules may bear one name only because none of them is in a package."""
    assert not list((root / "tests").rglob("__init__.py"))


def test_only_python_in_the_package(root):
    """The single file cannot carry data files."""
    files = [path for path in (root / "discompute_lite").rglob("*.*") if path.is_file()]
    shipped = [path for path in files if not any(part.startswith((".", "__pycache__")) for part in path.parts)]
    assert [path.name for path in shipped if path.suffix != ".py" and path.name != "README.md"] == []


def test_tests_lie_in_the_folder_of_their_room(root, package):
    rooms = {source.room for source in package} | {"fuzz", "house", "phone", "sim", "system", "tools"}
    folders = {path.parent.relative_to(root / "tests").parts[0] for path in (root / "tests").rglob("test_*.py")}
    assert sorted(folders - rooms) == []


# ---- what is said ---------------------------------------------------------------------------------


def test_no_dependencies(pyproject):
    assert re.search(r"^dependencies = \[\]$", pyproject, re.M)


def test_one_version(pyproject):
    assert re.search(r'^version = "(.+)"$', pyproject, re.M).group(1) == discompute_lite.__version__


def test_every_promised_python_is_named(pyproject, check):
    minors = re.findall(r"Python :: 3\.(\d+)", pyproject)
    assert [(3, int(minor)) for minor in minors] == list(check.PROMISED)
    assert 'requires-python = ">=3.9"' in pyproject


def test_the_script_exists(root, pyproject):
    module, function = re.search(r'^discompute-lite = "(.+):(.+)"$', pyproject, re.M).groups()
    source = (root / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")
    # Walked, because `main` may be chosen by a condition.
    nodes = list(ast.walk(ast.parse(source)))
    names = [getattr(node, "name", "") for node in nodes]
    names += [alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names]
    names += [target.id for node in nodes if isinstance(node, ast.Assign) for target in node.targets
              if isinstance(target, ast.Name)]
    assert function in names


def test_ci_runs_the_command_of_the_readme(root):
    lines = (root / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if "python" in line] == [CHECK_COMMAND]
    assert "set -euo pipefail" in lines
    assert CHECK_COMMAND in (root / "README.md").read_text(encoding="utf-8")
    assert os.name == "nt" or os.access(root / ".ci" / "run", os.X_OK)


def test_every_tool_has_its_recipe(root):
    recipes = (root / "tools" / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in (root / "tools").glob("*.py") if f"`tools/{path.name}" not in recipes] == []


def test_no_machine_is_named(root):
    """Paths of the machine on which something was written help nobody elsewhere."""
    files = [path for path in root.rglob("*") if path.suffix in (".md", ".svg", ".toml") and path.is_file()]
    shown = [path for path in files if not any(part.startswith((".venv", ".git", "venv")) for part in path.parts)]
    private = re.compile(r"(?<![\w./*:-])/(work|root)/")
    assert [path.name for path in shown if private.search(path.read_text(encoding="utf-8"))] == []


# ---- the one command ------------------------------------------------------------------------------


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no tomllib before Python 3.11")
def test_check_reads_requirements_as_toml_does(pyproject, check):
    import tomllib

    assert check.read_extras() == tomllib.loads(pyproject)["project"]["optional-dependencies"]


def test_check_asks_for_what_it_needs(check):
    assert [item.split(">")[0] for item in check.portable_requirements()] == list(check.PORTABLE_NEEDS)
    assert {"ruff", "mypy", "pytest", "numpy"} <= {re.split(r"\W", item)[0] for item in check.full_requirements()}


@pytest.mark.parametrize("line, counts", [
    ("=== 3 failed, 812 passed, 2 skipped in 61.20s (0:01:01) ===", {"failed": 3, "passed": 812, "skipped": 2}),
    ("5 passed, 1 warning in 0.12s", {"passed": 5, "warning": 1}),
    ("=== 1 passed, 2 errors in 1.00s ===", {"passed": 1, "error": 2}),
    ("no tests ran in 0.01s", {}),
    ("Timeout (0:02:00)!", {}),
])
def test_check_reads_a_summary(check, line, counts):
    assert check.count_results(line) == counts


def outcome(check, name, summary, *, passed=True):
    return check.Outcome(name, passed, 1.0, summary)


def test_the_closing_line_is_pytests_own_when_all_passed(check):
    last = outcome(check, "all", "=== 7 passed in 1.00s ===")
    assert check.closing_line(last, [outcome(check, "ruff", "passed")]) == last.summary


def test_the_closing_line_counts_what_failed_before(check):
    last = outcome(check, "all", "=== 7 passed, 1 skipped in 1.00s ===")
    earlier = [
        outcome(check, "ruff", "FAILED", passed=False),
        outcome(check, "Python 3.9", "2 failed, 5 passed in 1.00s", passed=False),
        outcome(check, "Python 3.10", "7 passed in 1.00s"),
    ]
    line = check.closing_line(last, earlier)
    assert line.strip("= ") == "2 failed, 7 passed, 1 skipped, 1 error in 4.00s"
    assert check.say_last(last, earlier) == 1


def test_a_run_without_results_is_not_a_pass(check):
    last = outcome(check, "all", "FAILED: pytest ended without results", passed=False)
    assert check.closing_line(last, []).strip("= ") == "1 error in 1.00s"
    assert check.say_last(last, []) == 1


def test_a_hanging_command_is_ended(check):
    code, output = check.run_command([sys.executable, "-c", "import threading; threading.Event().wait()"], limit_s=0.1)
    assert code == 124
    assert "ended after" in output


def test_no_way_to_run_is_one_sentence(check, monkeypatch, capsys):
    monkeypatch.setattr(check, "find_pythons", lambda **_: [])
    monkeypatch.setattr(check.signal, "signal", lambda *_: None)
    assert check.main([]) == 2
    assert capsys.readouterr().err == "check: no Python 3.9 or newer is found on this machine; install one\n"


@pytest.mark.parametrize("fast, left_out", [(False, ["system", "phone"]), (True, ["system", "phone", "sim", "tools"])])
def test_every_pure_test_is_in_one_run(root, check, fast, left_out):
    runs = check.pure_runs(root / "tests", fast=fast)
    files = [path for run in runs for path in run]
    assert len(files) == len(set(files)) and all(runs)
    named = {path for path in (root / "tests").glob("*/test_*.py") if path.parent.name not in left_out}
    apart = {str(path.parent) for path in named if path.parent.name in check.APART}
    assert {*files} == apart | {str(path) for path in named if str(path.parent) not in apart}


def test_every_test_with_real_processes_is_in_one_run(root, check):
    runs = check.waiting_runs(root / "tests")
    named = [path for room in check.WAITING for path in (root / "tests" / room).glob("test_*.py")]
    assert sorted(path for run in runs for path in run) == sorted(map(str, named))
    assert all(runs)


def test_what_fails_on_one_of_many_pythons_is_run_again_to_tell_more_and_has_failed(check, monkeypatch):
    asked = []

    def run_tests(name, python, arguments, **_):
        asked.append(arguments[3:])
        is_whole = check.PLAIN in arguments
        output = "FAILED tests/a/test_x.py::test_y[1 2] - A\nERROR tests/a/test_x.py::test_z\n" if is_whole else "told"
        return check.Outcome(name, not is_whole, 1.0, "2 failed, 5 passed in 1.00s", output)

    monkeypatch.setattr(check, "environment_for", lambda *_: "python")
    monkeypatch.setattr(check, "run_tests", run_tests)
    outcome = check.run_portable(check.Python((3, 9), "python3.9", True), "")
    assert asked == [[check.PLAIN], ["tests/a/test_x.py"]]
    assert not outcome.passed and outcome.output.endswith("told")


def test_what_two_queues_hold_is_run_once(check):
    made = []
    part = check.Part(lambda files: made.append(files) or outcome(check, "a", "7 passed in 1.00s"), ["test_x.py"])
    part.make()
    part.make()
    assert (made, part.result().passed) == ([["test_x.py"]], True)


def test_runs_side_by_side_are_added_up(check):
    good, bad = outcome(check, "a", "7 passed, 1 skipped in 1.00s"), outcome(check, "b", "hangs", passed=False)
    both = check.join("all", 2.0, [good, good])
    assert both.passed and both.summary.strip("= ") == "14 passed, 2 skipped in 2.00s"
    assert not check.join("all", 2.0, [good, bad]).passed
    assert check.count_results(check.join("all", 2.0, [good, bad]).summary) == {"passed": 7, "skipped": 1, "error": 1}
