"""Job files: checked without being run, fed from the command line, carried with every subtask."""

from __future__ import annotations

import linecache
import sys
import threading

import pytest

from discompute_lite.model.errors import TaskRejected
from discompute_lite.model.limits import SOURCE_BYTES
from discompute_lite.tasks import jobs
from discompute_lite.tasks.job_arguments import read_signature
from discompute_lite.tasks.jobs import (
    JOB_MODULES_KEPT,
    job_arguments,
    job_task_data,
    load_job_module,
    parse_job,
    read_purity,
    source_hash,
)
from discompute_lite.tasks.types import TASK_TYPES
from discompute_lite.tasks.values import dump_value, load_value

SPAN = '''"""Add up a span."""
from dataclasses import dataclass

@dataclass
class Span:
    start: "int"
    stop: "int"

def split(bound: int = 10, step=4, *, name: str = "x", fast=False, ratio: "float" = 0.5):
    for start in range(0, bound, step):
        yield start, min(start + step, bound)

def work(span):
    span = Span(*span)
    return sum(range(span.start, span.stop))

def merge(parts):
    return {"sum": sum(parts)}
'''


def run_job(source, args=None, owner="t"):
    """Run a job as devices do, over bytes; return its result."""
    task_type = TASK_TYPES.get("job")
    data = job_task_data(source, "my job.py", args or {})
    parts = list(task_type.split_data(data, 0, owner))
    return load_value(task_type.merge_data(data, [task_type.run_data(part, owner) for part in parts], owner))


def run_call(source, name, args=(), kwargs=None):
    task_type = TASK_TYPES.get("call")
    data = dump_value({"source": source, "name": name, "args": args, "kwargs": kwargs or {}})
    parts = list(task_type.split_data(data, 5, "t"))
    assert len(parts) == 1
    return load_value(task_type.merge_data(data, [task_type.run_data(parts[0], "t")], "t"))


@pytest.fixture(autouse=True)
def _no_modules_left():
    yield
    for name in [name for name in sys.modules if name.startswith("discompute_job_")]:
        del sys.modules[name]


# ---- checked without being run ----------------------------------------------------------------------


def test_a_job_is_understood_without_being_run():
    outline = parse_job("raise SystemExit\n" + SPAN, "span.py")
    assert {"split", "work", "merge", "Span", "dataclass"} <= set(outline.names)
    assert outline.signature.function == "split"


@pytest.mark.parametrize("source", [
    "import operator\nwork = operator.neg", "from operator import neg as work", "if True:\n    def work(part): pass",
    "try:\n    import numpy\nexcept ImportError:\n    pass\nelse:\n    work = 1", "work: object = len",
    "with open('x') as f:\n    work = f.read", "class work: pass", "split, work = 1, 2",
])
def test_work_may_be_bound_in_any_way(source):
    assert "work" in parse_job(source).names


@pytest.mark.parametrize("source, words", [
    ("", "job.py has no function work(part)"), ("def split(): pass", "no function work"),
    ("def f():\n  work = 1", "no function work"),
    ("async def work(part): pass", "work is async"),
    ("def work(part): pass\nasync def merge(parts): pass", "merge is async"),
    ("def work(:", "job.py, line 1: "), ("\n\ndef work(part):\nreturn 1", "job.py, line 4: "),
    ("def work(part):\n\tif 1:\n        return", "line 3"), ("print 'hello'", "line 1"),
    ("work = 1\0", "NUL"), ("work = " + "-" * 100_000 + "1", "nested too deeply"),
    ("work = a" + ".a" * 100_000, "nested too deeply"),
    ("work = " + "f(" * 150 + ")" * 150, None), ("# " + "x" * SOURCE_BYTES, "longer than 1048576 bytes"),
    ("# " + "\u00e4" * (SOURCE_BYTES // 2 + 1), "longer than"), ("work = '\ud800'", "not Python source"),
    ("return 5", "line 1"), ("def work(p):\n  yield\n  break", "line 3"), ("(" * 300, "line 1"),
])
def test_broken_sources_are_refused_in_a_sentence(source, words):
    if words is None:
        parse_job(source)
        return
    with pytest.raises(TaskRejected) as refusal:
        parse_job(source)
    assert words in refusal.value.message
    assert "\n" not in refusal.value.message


@pytest.mark.parametrize("line, pure", [
    ("", None), ("pure = False", False), ("pure = True", True), ("pure: bool = False", False),
    ("pure = True\npure = False", False), ("def pure(part): return part", None), ("from work import pure", None),
    ("class pure: pass", None),
])
def test_a_job_says_whether_two_devices_may_do_one_part_at_the_same_time(line, pure):
    assert parse_job(f"{line}\ndef work(part): pass").pure is pure
    assert read_purity(f"{line}\ndef score(item): pass", "score.py") is pure


@pytest.mark.parametrize("line", [
    "pure = 0", "pure = not True", "pure, other = False, 1", "if work:\n    pure = False", "pure: bool",
    "pure = None", "def pure(): pass\npure = len",
])
def test_what_cannot_be_known_of_that_without_running_the_job_is_refused(line):
    with pytest.raises(TaskRejected, match=r"job.py, line \d: pure says .* write pure = True or pure = False"):
        parse_job(f"work = 1\n{line}")


@pytest.mark.parametrize("lines, number", [
    ("# -*- coding: latin-1 -*-", 1), ("#!/usr/bin/env python3\n# vim: set fileencoding=cp1252 :", 2),
    ("\n  # coding=klingon", 2), ("# coding: utf-16", 1), ("# coding: utf-7", 1),
])
def test_row_41_a_coding_line_that_is_not_utf_8_is_refused(lines, number):
    with pytest.raises(TaskRejected, match=rf"job.py, line {number}: says that it is in .*; save it as UTF-8"):
        parse_job(f"{lines}\ndef work(part): return part\n")


@pytest.mark.parametrize("lines", [
    "# -*- coding: utf-8 -*-", "# coding: UTF8", "# coding=us-ascii", "x = 1\n# coding: latin-1",
    "\n\n# coding: latin-1", "x = '# coding: latin-1'", "",
])
def test_row_41_one_that_is_or_is_none_is_not(lines):
    assert "work" in parse_job(f"{lines}\ndef work(part): return part\n").names


def test_the_future_of_our_own_modules_is_not_inherited():
    # With `from __future__ import annotations` inherited, the annotation would be text.
    assert run_job("def f(x: 1 + 1): pass\ndef work(): return f.__annotations__") == {"x": 2}


# ---- words of the command line ----------------------------------------------------------------------------


@pytest.mark.parametrize("words, args", [
    ([], {}),
    (["--bound", "1000"], {"bound": 1000}),
    (["--bound=1_000"], {"bound": 1000}),
    (["bound=-5"], {"bound": -5}),
    (["--bound", "-5"], {"bound": -5}),
    (["7", "8"], {"bound": 7, "step": 8}),
    (["-7"], {"bound": -7}),
    (["--step", "2", "9"], {"step": 2, "bound": 9}),
    (["--name", "a b"], {"name": "a b"}),
    (["name=x=y"], {"name": "x=y"}),
    (["--name", "--"], {"name": "--"}),
    (["--fast"], {"fast": True}),
    (["--fast", "false", "3"], {"fast": False, "bound": 3}),
    (["--fast", "3"], {"fast": True, "bound": 3}),
    (["--fast=yes"], {"fast": True}),
    (["--no-fast"], {"fast": False}),
    (["--ratio", "1e3"], {"ratio": 1000.0}),
    (["--", "5"], {"bound": 5}),
])
def test_words_become_arguments(words, args):
    found = job_arguments(SPAN, words)
    assert found == args
    assert [type(value) for value in found.values()] == [type(value) for value in args.values()]


@pytest.mark.parametrize("words, complaint", [
    (["--bund", "3"],
        "there is no argument --bund; split takes --bound INT, --step INT, --name STR, --fast, --ratio FLOAT"),
    (["--bound", "ten"], "--bound must be a whole number, not 'ten'"), (["--bound", "1.5"], "whole number"),
    (["--ratio", "x"], "--ratio must be a number"), (["--fast=perhaps"], "true or false"),
    (["--bound"], "needs a value"),
    (["1", "2", "3"], "'3' is one argument too many; split takes"), (["--bound", "1", "bound=2"], "given twice"),
    (["--no-bound"], "there is no argument --no-bound"), (["--two-words=3"], "there is no argument --two-words"),
])
def test_wrong_words_are_refused_naming_the_parameters(words, complaint):
    with pytest.raises(TaskRejected) as refusal:
        job_arguments(SPAN, words)
    assert complaint in refusal.value.message


def test_signatures_of_all_shapes():
    work = "def work(part): pass\n"
    assert job_arguments(work, ["5"]) == {"part": "5"}
    with pytest.raises(TaskRejected, match="--part is missing; work takes --part"):
        job_arguments(work, [])
    source = work + "def split(path, sizes: list = (), table={}, **rest): pass"
    assert job_arguments(source, ["p", "--sizes", "[1,2]", "table={'a': 1}", "--deep-er", "x", "also=y"]) == {
        "path": "p", "sizes": [1, 2], "table": {"a": 1}, "deep_er": "x", "also": "y"}
    for words in (["--sizes", "5"], ["--sizes", "__import__('os')"], ["--sizes", "["]):
        with pytest.raises(TaskRejected, match="a list such as"):
            job_arguments(source, ["p", *words])
    with pytest.raises(TaskRejected, match=r"\*paths cannot be given"):
        job_arguments(work + "def split(*paths): pass", ["a"])
    assert job_arguments(work + "def split(a=None, b=f()): pass", ["1", "2"]) == {"a": "1", "b": "2"}
    assert job_arguments("import operator\nwork = operator.neg", []) == {}
    with pytest.raises(TaskRejected, match="not a plain function"):
        job_arguments("import operator\nwork = operator.neg", ["5"])


def test_positional_only_and_keyword_only_are_told_apart():
    import ast

    function = ast.parse("def split(a, /, b=1, *rest, c, d=2, **more): pass").body[0]
    signature = read_signature(function)
    assert [(item.name, item.is_required, item.takes_position) for item in signature.parameters] == [
        ("a", True, True), ("b", False, True), ("c", True, False), ("d", False, False)]
    assert signature.rest == "rest" and signature.takes_any_name


# ---- run ------------------------------------------------------------------------------------------------------


def test_a_job_runs_from_split_to_merge():
    assert run_job(SPAN, {"bound": 10, "step": 3}) == {"sum": 45}


def test_without_merge_the_results_are_listed():
    assert run_job("def split(): return [3, 1]\ndef work(part): return part * 2") == [6, 2]
    assert run_job("def split(): return [3]\ndef work(part): return part * 2") == [6]
    assert run_job("def split(): return []\ndef work(part): pass") == []


def test_without_split_work_takes_the_arguments_and_its_result_is_the_jobs():
    assert run_job("def work(n=2, m=3): return n * m", {"n": 5}) == 15
    assert run_job("def work(): return [1]\ndef merge(parts): return list(parts)") == [[1]]


@pytest.mark.parametrize("body, expected", [
    ("[min(parts), max(parts), len(parts)]", [0, 2, 3]),
    ("[value / sum(parts) for value in parts]", [1 / 3, 0.0, 2 / 3]),
    ("parts[::-1] + [parts.index(2)]", [2, 0, 1, 2]),
    ("parts", [1, 0, 2]),
])
def test_merge_may_read_its_parts_as_often_as_it_likes(body, expected):
    source = "def split(): return [1, 0, 2]\ndef work(part): return part\n"
    assert run_job(f"{source}def merge(parts): return {body}") == expected


def test_what_merge_does_to_a_part_is_there_when_it_reads_again():
    source = "def split(): return [[2, 1], [4, 3]]\ndef work(part): return part\n"
    source += "def merge(parts):\n    for part in parts: part.sort()\n    return sum(parts, [])"
    assert run_job(source) == [1, 2, 3, 4]


def test_every_subtask_carries_what_it_needs():
    task_type = TASK_TYPES.get("job")
    first, *_ = task_type.split_data(job_task_data(SPAN, "span.py", {}), 0, "t")
    assert load_value(first) == {"source": SPAN, "sha256": source_hash(SPAN), "name": "span.py", "part": (0, 4)}


def test_a_source_that_was_changed_on_the_way_is_refused():
    task_type = TASK_TYPES.get("job")
    task = {"source": SPAN, "sha256": source_hash(SPAN + " "), "name": "a/span.py"}
    steps = (
        lambda: list(task_type.split_data(dump_value(task), 0, "")),
        lambda: task_type.run_data(dump_value({**task, "part": (0, 1)}), ""),
        lambda: task_type.merge_data(dump_value(task), [b"1"], ""),
    )
    for step in steps:
        with pytest.raises(TaskRejected, match=r"the source of span\.py does not match its sha256"):
            step()


def test_what_pieces_have_in_common_is_read_once(monkeypatch):
    job, source = TASK_TYPES.get("job"), "def work(part):\n    return part"
    part = {1: (2, "x")}
    piece = [b'{"source":"%b","sha256":"","name":"j.py","part":%b}' % (source.replace("\n", "\\n").encode(), each)
             for each in (b"5", dump_value(part))]
    assert load_value(job.run_data(piece[0], "common")) == 5
    monkeypatch.setattr(jobs, "checked_hash", None)
    assert load_value(job.run_data(piece[1], "common")) == part
    assert load_value(job.run_data(piece[0], "common")) == 5


@pytest.mark.parametrize("rest", [
    b'1,"source":"1 +"}', b'1,"sha256":"00"}', b'1,"part":', b'}', b"", b'1}}',
])
def test_what_follows_the_common_beginning_is_a_part_or_is_read_as_a_whole(rest):
    job, head = TASK_TYPES.get("job"), b'{"source":"def work(part): return part","sha256":"","name":"j.py","part":'
    assert job.run_data(head + b"4}", "whole") == b"4"
    with pytest.raises(TaskRejected):
        job.run_data(head + rest, "whole")
    # Of a key that comes twice the later counts, as without anything known.
    assert job.run_data(head + b'1,"part":2}', "whole") == b"2"
    assert job.run_data(head + b"4}", "whole") == b"4"


def test_another_source_of_the_same_task_is_another_one():
    job = TASK_TYPES.get("job")
    piece = [dump_value({"source": f"def work(part): return part + {more}", "part": 1}) for more in (1, 2)]
    assert [job.run_data(each, "others") for each in [*piece, *piece]] == [b"2", b"3", b"2", b"3"]


@pytest.mark.parametrize("part", [
    None, [], {}, {"source": "def work(p): 1"}, {"source": 5, "part": 1}, {"source": "", "part": 1},
    {"source": "x(", "part": 1},
    {"source": "def work(p): 1", "name": 7, "part": 1}, {"source": "work = 5", "part": 1},
    {"source": "def work(p): 1", "args": [1]},
])
def test_hostile_subtasks_are_refused(part):
    with pytest.raises(TaskRejected):
        TASK_TYPES.get("job").run_data(dump_value(part), "")


def test_arguments_and_parts_that_cannot_travel_are_named():
    with pytest.raises(TaskRejected, match=r"the arguments\['args'\]\['f'\] is an object"):
        job_task_data(SPAN, "span.py", {"f": object()})
    with pytest.raises(TaskRejected, match="part 1 is an object"):
        run_job("def split(): return [1, object()]\ndef work(part): pass")
    with pytest.raises(TaskRejected, match=r"the result of work\['m'\] is a function"):
        run_job("def work(): return {'m': work}")


def test_calls():
    source = "def scale(x, factor=2): return (x * factor,)\n"
    assert run_call(source, "scale", [4]) == (8,)
    assert run_call(source, "scale", (4,), {"factor": 3}) == (12,)
    for name, args, kwargs in (("skale", [], {}), ("scale", 5, {}), ("scale", [1], {1: 2}), ("__doc__", [], {})):
        with pytest.raises(TaskRejected):
            run_call(source, name, args, kwargs)
    with pytest.raises(TaskRejected, match="line 1"):
        run_call("def f(:", "f")
    with pytest.raises(TaskRejected, match="one result, not 2"):
        TASK_TYPES.get("call").merge_data(b"{}", [b"1", b"2"], "")


def test_a_call_passes_through_a_coordinator_untouched(monkeypatch):
    # The coordinator may lack NumPy, and must not turn its arrays into lists.
    data = dump_value({"source": "def f(x): return x", "name": "f", "args": []})
    assert list(TASK_TYPES.get("call").split_data(data, 0, "")) == [data]
    assert TASK_TYPES.get("call").merge_data(data, [b'{"$t":"ndarray","v":0}'], "") == b'{"$t":"ndarray","v":0}'


# ---- modules of jobs -----------------------------------------------------------------------------------------------


def test_a_module_is_run_once_for_each_task():
    source = "runs = []\ndef work(): runs.append(1); return len(runs)"
    assert run_job(source, owner="a") == 1
    assert run_job(source, owner="a") == 2
    assert run_job(source, owner="b") == 1


def test_a_module_that_failed_leaves_nothing_and_is_tried_again():
    before = set(sys.modules)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            load_job_module("1/0", "", "z.py", "t")
    assert set(sys.modules) == before


def test_old_modules_are_forgotten_with_their_lines():
    first = load_job_module("number = 'first'", "", "m.py", "t")
    filename = first.__discompute_ready__
    assert linecache.getline(filename, 1) == "number = 'first'"
    linecache.checkcache()
    assert linecache.getline(filename, 1) == "number = 'first'"
    for number in range(JOB_MODULES_KEPT):
        load_job_module(f"number = {number}", "", "m.py", "t")
    assert first.__name__ not in sys.modules and filename not in linecache.cache
    assert sum(name.startswith("discompute_job_") for name in sys.modules) == JOB_MODULES_KEPT


def test_a_module_that_another_thread_is_running_is_not_shared_half_made():
    source = "import threading\nhere = threading.current_thread().gate\nhere()\ndef work(): return 1"
    inner = []
    thread = threading.current_thread()

    def gate():
        # While the first copy is being run, a second request for it comes in.
        thread.gate = lambda: None
        inner.append(load_job_module(source, "", "t.py", "t"))

    thread.gate = gate
    try:
        outer = load_job_module(source, "", "t.py", "t")
    finally:
        del thread.gate
    assert inner[0] is not outer
    assert inner[0].work() == outer.work() == 1


@pytest.mark.parametrize("name, label", [
    ("/home/me/job.py", "job.py"), ("C:\\x\\job.py", "job.py"), ("a\nb<c>.py", "abc.py"), ("", "job.py"),
    ("x" * 500, "x" * 80),
])
def test_file_names_of_strangers_are_made_harmless(name, label):
    module = load_job_module("", "", name, "t")
    assert module.__discompute_ready__ == f"<{label} {source_hash('')[:8]}>"
