"""One phase of a task, run whatever its code does: outcomes, blame, tracebacks, what was printed."""

from __future__ import annotations

import io
import sys

import pytest

from discompute_lite.model.limits import Limits
from discompute_lite.tasks.jobs import job_task_data
from discompute_lite.tasks.values import load_value
from discompute_lite.tasks.work import (
    BLAME_DEVICE,
    BLAME_TASK,
    CappedOutput,
    OutputTap,
    WorkOutcome,
    WorkRequest,
    install_taps,
    merge_data,
    remove_taps,
    run_work,
    split_parts,
)


def split_of(source, args=None, **options):
    data = job_task_data(source, "my.py", args or {})
    return run_work(WorkRequest("split", "job", data, "t", **options))


def work_of(body, head="", limits=None):
    """Run a job whose `work` has this body; return the outcome."""
    source = f"{head}\ndef work(n=3):\n" + "".join(f"    {line}\n" for line in body.splitlines())
    part, = split_parts(split_of(source))
    request = WorkRequest("run", "job", part, "t/0.1")
    return run_work(request, limits) if limits else run_work(request)


def assert_task_blamed(outcome, error_type, *words):
    assert not outcome.ok and outcome.data == b""
    assert (outcome.error_type, outcome.blame) == (error_type, BLAME_TASK)
    for word in words:
        assert word in outcome.error


# ---- phases --------------------------------------------------------------------------------------------


def test_the_three_phases_of_a_job():
    source = "def split(n=3): return range(n)\ndef work(part): return (part,)\ndef merge(parts): return list(parts)"
    data = job_task_data(source, "my.py", {"n": 4})
    parts = split_parts(run_work(WorkRequest("split", "job", data, "t")))
    assert len(parts) == 4
    results = [run_work(WorkRequest("run", "job", part, f"t/{index}.1")).data for index, part in enumerate(parts)]
    merged = run_work(WorkRequest("merge", "job", merge_data(data, results), "t"))
    assert merged.ok and merged.blame == "" and merged.seconds > 0
    assert load_value(merged.data) == [(0,), (1,), (2,), (3,)]


def test_target_reaches_the_task_type():
    outcome = run_work(WorkRequest("split", "primes", b'{"bound":1000}', "t", target=5))
    assert len(split_parts(outcome)) == 5


def test_an_endless_split_is_ended():
    outcome = split_of("import itertools\ndef split(): return itertools.count()\ndef work(part): pass")
    assert_task_blamed(outcome, "TaskRejected", f"more than {Limits().subtasks} parts")


def test_owner_is_the_task_of_an_attempt():
    assert WorkRequest("run", "job", b"", "ab12/17.2").owner == "ab12"
    assert WorkRequest("split", "job", b"", "ab12").owner == "ab12"


def test_what_this_device_does_not_offer_is_not_the_tasks_fault():
    outcome = run_work(WorkRequest("run", "fold\n" * 50, b"1"))
    assert outcome.blame == BLAME_DEVICE and "does not offer the task type" in outcome.error


def test_images_that_this_device_lacks_are_not_the_tasks_fault(monkeypatch):
    monkeypatch.setitem(sys.modules, "discompute_lite.tasks.digits_data", None)
    part = b'{"start":0,"stop":1,"k":3,"limit":0,"samples":0}'
    assert run_work(WorkRequest("run", "digits", part)).blame == BLAME_DEVICE
    job = split_parts(split_of("from discompute_lite.tasks.digits import load_digits\ndef work(): load_digits()"))
    assert run_work(WorkRequest("run", "job", *job)).blame == BLAME_DEVICE


@pytest.mark.parametrize("phase, data",
    [("dance", b"1"), ("run", b"\xff"), ("run", b""), ("merge", b""), ("split", b"[")])
def test_nonsense_is_refused(phase, data):
    assert_task_blamed(run_work(WorkRequest(phase, "job", data)), "TaskRejected")


def test_data_may_be_any_buffer():
    for data in (bytearray(b"7"), memoryview(b"7")):
        assert run_work(WorkRequest("run", "echo", data)).data == b"7"


# ---- errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body, error_type, words", [
    ("1/0", "ZeroDivisionError", "ZeroDivisionError: division by zero\nTraceback"),
    ("import sys; sys.exit(3)", "SystemExit", "SystemExit: 3"),
    ("raise KeyboardInterrupt", "KeyboardInterrupt", "KeyboardInterrupt\n"),
    ("raise GeneratorExit", "GeneratorExit", "GeneratorExit"),
    ("return [work(n)]", "RecursionError", "Previous line repeated"),
    ("return bytearray(1 << 62)", "MemoryError", "MemoryError"),
    ("return 'x' * (1 << 62)", "MemoryError", "MemoryError"),
    ("return compile('a b', 'x', 'exec')", "SyntaxError", "SyntaxError: "),
    ("return object()", "TaskRejected", "the result of work is an object; it cannot travel"),
])
def test_whatever_code_raises_is_an_outcome(body, error_type, words):
    outcome = work_of(body)
    assert_task_blamed(outcome, error_type, words)
    assert error_type == "TaskRejected" or outcome.error.startswith(error_type)


def test_a_traceback_shows_the_persons_lines_and_no_other():
    outcome = work_of("return load(n)", head="import json\ndef load(n):\n    return json.loads('{')")
    assert_task_blamed(outcome, "JSONDecodeError", "JSONDecodeError: Expecting property name")
    assert "in work\n    return load(n)" in outcome.error and "in load\n    return json.loads('{')" in outcome.error
    assert 'File "<my.py ' in outcome.error
    for word in ("discompute", "json/", "work.py", "lib"):
        assert word not in outcome.error


def test_causes_are_told():
    outcome = work_of("try:\n    1/0\nexcept ArithmeticError as error:\n    raise OSError('outer') from error")
    assert outcome.error.startswith("OSError: outer\n")
    assert "ZeroDivisionError" in outcome.error and "direct cause" in outcome.error


def test_errors_of_a_jobs_own_classes_have_their_plain_name():
    outcome = work_of("raise Odd('x')", head="class Odd(Exception): pass")
    assert_task_blamed(outcome, "Odd")
    assert outcome.error.startswith("Odd: x\n") and "discompute_job" not in outcome.error


@pytest.mark.parametrize("trick",
    ["1/0", "raise SystemExit", "return 5", "return 'x' * 10**7", "return '\\ud800'", "return ''"])
def test_exceptions_whose_text_plays_tricks(trick):
    outcome = work_of("raise Odd()", head=f"class Odd(Exception):\n    def __str__(self): {trick}")
    assert_task_blamed(outcome, "Odd", "Odd")
    assert_few_words(outcome)


def assert_few_words(outcome):
    """The sentence is short, the traceback is bounded, and no long text hides the places that it names."""
    text, _, trace = outcome.error.partition("\n")
    assert 0 < len(text.encode()) <= Limits().error_text_bytes
    assert len(outcome.error.encode()) <= Limits().error_trace_bytes
    assert not trace or "raise Odd()" in trace or "raise ValueError" in trace


def test_long_errors_keep_their_beginning_and_end():
    outcome = work_of("raise ValueError('a' * 300 + '\\u00e4' * 50000 + 'b' * 50)")
    assert_few_words(outcome)
    text, _, trace = outcome.error.partition("\n")
    assert text.startswith("ValueError: aaa") and text.endswith("bbb") and " [...] " in text
    assert trace.endswith("bbb") and "[...]" in trace


def test_a_result_of_a_class_with_an_endless_name_is_refused_in_few_words():
    outcome = work_of("return type('x' * 10 ** 6, (), {})()")
    assert_task_blamed(outcome, "TaskRejected", "the result of work is a xxx", "make the value anew")
    assert_few_words(outcome)


def test_tracebacks_that_are_long_keep_their_beginning_and_end():
    steps = [f"def step_{n}(): return step_{n + 1}()" for n in range(300)]
    head = "\n".join([*steps, "def step_300(): 1 / 0"])
    outcome = work_of("return step_0()", head=head)
    assert outcome.error.startswith("ZeroDivisionError: division by zero\nTraceback")
    assert "in step_0" in outcome.error and "in step_300" in outcome.error and "[...]" in outcome.error
    assert len(outcome.error.encode()) <= Limits().error_trace_bytes


def test_built_in_types_tell_errors_without_a_traceback():
    outcome = run_work(WorkRequest("merge", "primes", merge_data(b"{}", [b'"x"'])))
    assert outcome.error_type == "TypeError" and "\n" not in outcome.error


def test_a_broken_job_is_told_with_its_line():
    assert_task_blamed(split_of("def work(part)\n    pass"), "TaskRejected", "my.py, line 1: ")
    assert_task_blamed(split_of("def split(n): return [n]\ndef work(part): pass"), "TypeError",
        "split() missing 1 required")


# ---- what is printed -----------------------------------------------------------------------------------------


def test_what_is_printed_arrives_and_goes_nowhere_else(capsys):
    outcome = work_of("import sys\nprint('out', n)\nprint('err', file=sys.stderr)\nsys.stdout.buffer.write(b'raw')\n"
                      "sys.stdout.write('\\ud800')\nsys.stdout.flush()")
    assert outcome.output == "out 3\nerr\nraw\\ud800"
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
    print("after")
    assert capsys.readouterr().out == "after\n"


def test_what_is_printed_before_an_error_arrives_too():
    assert work_of("print('so far')\n1/0").output == "so far\n"


def test_output_is_limited():
    outcome = work_of("print('x' * 50, end='')\nprint('y' * 50, end='')", limits=Limits(output_bytes=60))
    assert outcome.output == "x" * 50 + "y" * 10 + "\n[40 more bytes were printed; 60 are kept]\n"


def test_a_logger_set_up_once_is_heard_every_time():
    install_taps()
    try:
        head = "import logging, sys\nlog = logging.Logger('x')\nlog.addHandler(logging.StreamHandler(sys.stderr))"
        for _ in range(2):
            assert work_of("log.error('heard')", head=head).output == "heard\n"
    finally:
        remove_taps()


def test_streams_are_put_back_whatever_the_code_does_with_them():
    before = sys.stdout, sys.stderr
    assert work_of("import sys, io\nsys.stdout = io.StringIO()\nsys.stderr = None").ok
    assert (sys.stdout, sys.stderr) == before


def test_taps_leave_when_the_last_user_leaves():
    before = sys.stdout
    install_taps()
    install_taps()
    tap = sys.stdout
    assert isinstance(tap, OutputTap)
    remove_taps()
    assert sys.stdout is tap
    remove_taps()
    assert sys.stdout is before
    remove_taps()
    assert sys.stdout is before


def test_a_console_with_nothing_but_write_will_do():
    class Console:
        def __init__(self):
            self.text = ""

        def write(self, text):
            self.text += text

    tap = OutputTap(Console())
    printed = CappedOutput(100)
    print("to the console", file=tap, flush=True)
    assert tap.catch(printed) is None
    print("to us", file=tap, flush=True)
    assert tap.catch(None) is printed
    print("again", file=tap)
    assert tap.original.text == "to the console\nagain\n" and printed.text() == "to us\n"
    assert not tap.isatty()
    with pytest.raises(io.UnsupportedOperation):
        tap.fileno()


def test_an_outcome_is_plain():
    assert WorkOutcome(True) == WorkOutcome(True, b"", "", "", "", 0.0, "")
