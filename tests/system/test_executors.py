"""Executors with real children and threads: warm, isolated, killed, replaced, and gone without a trace."""

from __future__ import annotations

import glob
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from discompute_lite.host import child_process
from discompute_lite.host.executors import ThreadExecutor
from discompute_lite.host.process_executor import ProcessExecutor
from discompute_lite.host.process_tree import resident_bytes
from discompute_lite.model.limits import Limits
from discompute_lite.net.loop import Loop
from discompute_lite.tasks.calls import call_unit, calls_data, function_line, items_unit, read_outcomes
from discompute_lite.tasks.functions import pack_function
from discompute_lite.tasks.jobs import job_task_data, source_hash
from discompute_lite.tasks.packed_function import PackedFunction, hash_of_plan
from discompute_lite.tasks.values import dump_value, load_value
from discompute_lite.tasks.work import WorkRequest

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and process groups")


def job(body, owner="t", part=None, wall_s=0.0, head=""):
    """Return a request to run `work(part)` with this body."""
    source = f"import os, sys, time\n{head}\ndef work(part):\n" + "".join(f"    {line}\n" for line in body.splitlines())
    data = dump_value({"source": source, "sha256": source_hash(source), "name": "my.py", "part": part})
    return WorkRequest("run", "job", data, f"{owner}/0.1", wall_s=wall_s)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class OnLoop(ProcessExecutor):
    """Do on the loop's thread what a node does there."""

    def __init__(self, *arguments, loop, thread, **named):
        self.loop, self.thread = loop, thread
        super().__init__(*arguments, loop=loop, **named)

    def ask(self, question, *arguments):
        if threading.current_thread() is self.thread or not self.thread.is_alive():
            return question(*arguments)
        answers = queue.SimpleQueue()
        self.loop.post(lambda: answers.put(question(*arguments)))
        return answers.get()

    def submit(self, request):
        return self.ask(super().submit, request)

    def interrupt(self, future, reason):
        self.ask(super().interrupt, future, reason)

    def shutdown(self, now=True):
        self.ask(super().shutdown, now)


class Bench:
    """Make executors and remember what has to be gone in the end."""

    def __init__(self, command, scratch, limit_s, patch):
        self.command, self.scratch, self.limit_s, self.patch = command, scratch, limit_s, patch
        self.executors = []
        #: Where there is one, children are talked to by its thread.
        self.loop = self.thread = None

    def processes(self, slots=1, command=None, environ=None, **named):
        arguments = (slots, command or self.command, os.environ if environ is None else environ, str(self.scratch))
        if self.loop is None:
            executor = ProcessExecutor(*arguments, **named)
        else:
            executor = OnLoop(*arguments, loop=self.loop, thread=self.thread, **named)
        self.executors.append(executor)
        return executor

    def threads(self, slots=1):
        executor = ThreadExecutor(slots)
        self.executors.append(executor)
        return executor

    def result(self, future):
        return future.result(self.limit_s)

    def wait_for(self, condition):
        until = time.monotonic() + self.limit_s
        while not condition():
            assert time.monotonic() < until, "it never happened"
            time.sleep(0.01)

    def value(self, executor, *arguments, **named):
        """Run a job; return its value, or fail with its error."""
        outcome = self.result(executor.submit(job(*arguments, **named)))
        assert outcome.ok, outcome.error
        return load_value(outcome.data)


@pytest.fixture(params=["threads", pytest.param("loop", marks=posix)])
def bench(request, root, tmp_path, scale, monkeypatch):
    code = (f"import sys; sys.path[:0] = [{str(root)!r}]; "
            "from discompute_lite.host.child import child_main; child_main()")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    threads = threading.active_count()
    streams = sys.stdout, sys.stderr
    here = Bench([sys.executable, "-I", "-c", code], scratch, scale(20.0), monkeypatch)
    if request.param == "loop":
        here.loop = Loop()
        here.thread = threading.Thread(target=here.loop.run)
        here.thread.start()
    yield here
    for executor in here.executors:
        executor.shutdown()
    if here.loop is not None:
        here.loop.stop()
        here.thread.join()
        here.loop.close()
    here.wait_for(lambda: threading.active_count() <= threads)
    assert list(scratch.iterdir()) == []
    assert (sys.stdout, sys.stderr) == streams


# ---- children -------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_work_runs_in_a_process_of_its_own_that_stays_warm(bench):
    executor = bench.processes(slots=2)
    assert executor.children() == []
    first = bench.value(executor, "return os.getpid()")
    assert first != os.getpid()
    assert executor.children() == [first]
    assert bench.value(executor, "return os.getpid()") == first
    count = "runs.append(1)\nreturn len(runs)"
    assert [bench.value(executor, count, head="runs = []") for _ in range(3)] == [1, 2, 3]


@pytest.mark.smoke
def test_a_whole_job_over_processes(bench):
    executor = bench.processes(slots=2)
    from discompute_lite.tasks.work import merge_data, split_parts

    source = "def split(n=9): return range(n)\ndef work(part): return part * part\ndef merge(parts): return sum(parts)"
    data = job_task_data(source, "squares.py", {})
    parts = split_parts(bench.result(executor.submit(WorkRequest("split", "job", data, "t"))))
    futures = [executor.submit(WorkRequest("run", "job", part, f"t/{index}.1")) for index, part in enumerate(parts)]
    results = [bench.result(future).data for future in futures]
    merged = bench.result(executor.submit(WorkRequest("merge", "job", merge_data(data, results), "t")))
    assert load_value(merged.data) == sum(number * number for number in range(9))


class Indivisible(Exception):
    def __init__(self, number):
        super().__init__(f"{number} by nothing")
        self.number = number


def divided(number, by=2):
    print("dividing", number)
    if not by:
        raise Indivisible(number)
    return number / by if by > 0 else sys.exit(by)


@pytest.mark.smoke
@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_calls_of_a_function(bench, kind):
    executor = getattr(bench, kind)()

    def run(packed, *units):
        data = calls_data(function_line(packed), units)
        return bench.result(executor.submit(WorkRequest("run", "calls", data, "t/0.1")))

    packed = pack_function(divided)
    units = items_unit([1, 2]), call_unit([3], {"by": 0}), call_unit([4], {"by": -1}), call_unit([5], {"by": 10})
    done = run(packed, *units)
    assert done.ok, done.error
    many, bad, ended, good = read_outcomes(done.data, packed.plan["spaces"])
    assert many.values == [0.5, 1.0] and many.printed == "dividing 1\ndividing 2\n" and good.values == [0.5]
    assert type(bad.raised) is Indivisible and (bad.raised.number, str(bad.raised)) == (3, "3 by nothing")
    assert "raise Indivisible(number)" in str(bad.raised.__cause__) and type(ended.raised) is SystemExit
    plan = {**packed.plan, "python": 99}
    unfit = run(PackedFunction(packed.name, plan, hash_of_plan(packed.name, plan)), *units)
    assert not unfit.ok and unfit.blame == "device" and "Python 3.99 or later" in unfit.error
    assert run(packed, *units).data == done.data


def test_a_process_serves_one_task_only(bench):
    executor = bench.processes()
    first = bench.value(executor, "open('left.txt', 'w').close()\nreturn os.getpid(), os.getcwd()")
    second = bench.value(executor, "return os.getpid(), os.getcwd(), os.listdir('.')", owner="other")
    assert first[0] != second[0] and first[1] != second[1]
    assert "left.txt" not in second[2]
    assert not os.path.exists(first[1])
    assert executor.children() == [second[0]]


def test_a_task_begins_before_the_process_of_the_one_before_is_buried(bench, tmp_path, monkeypatch):
    executor, begun, end = bench.processes(), tmp_path / "begun", child_process.ChildProcess.end

    def end_late(child):
        bench.wait_for(begun.exists)
        return end(child)

    folder = bench.value(executor, "return os.getcwd()")
    monkeypatch.setattr(child_process.ChildProcess, "end", end_late)
    bench.value(executor, "open(part, 'w').close()", part=str(begun), owner="other")
    assert not os.path.exists(folder)


def test_requests_wait_for_a_slot_in_order(bench):
    executor = bench.processes()
    futures = [executor.submit(job("return part", part=number)) for number in range(20)]
    finished = []
    for future in futures:
        future.add_done_callback(finished.append)
    assert [load_value(bench.result(future).data) for future in futures] == list(range(20))
    bench.wait_for(lambda: len(finished) == 20)
    assert finished == futures


#: A piece, and a split, that last until there is a file of this name.
LASTS = "while not os.path.exists(part):\n    time.sleep(0.005)\nreturn 'done'"


def split(body="return [1, 2]", owner="split"):
    source = "import os, time\ndef split():\n" + "".join(f"    {line}\n" for line in body.splitlines())
    return WorkRequest("split", "job", job_task_data(source + "def work(part): pass\n", "my.py", {}), owner)


@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_a_task_is_split_while_every_slot_is_taken_and_others_wait(bench, kind, tmp_path):
    executor, go = getattr(bench, kind)(), tmp_path / "go"
    lasts = executor.submit(job(LASTS, part=str(go)))
    waits = executor.submit(job("return 'too'", owner="other"))
    assert bench.result(executor.submit(split())).ok and not lasts.done() and not waits.running()
    go.touch()
    assert [load_value(bench.result(future).data) for future in (lasts, waits)] == ["done", "too"]


def test_while_a_split_hangs_the_next_one_comes_before_pieces_and_the_slots_go_on(bench, tmp_path):
    executor, go, ended = bench.processes(), tmp_path / "go", []
    hangs = executor.submit(split("while True: time.sleep(1)", owner="hangs"))
    bench.wait_for(hangs.running)
    assert bench.value(executor, "return 'no split here'") == "no split here"
    requests = {"lasts": job(LASTS, part=str(go)), "piece": job("return 1", owner="other"), "split": split()}
    futures = {name: executor.submit(request) for name, request in requests.items()}
    for name, future in futures.items():
        future.add_done_callback(lambda _, name=name: ended.append(name))
    go.touch()
    assert all(bench.result(future).ok for future in futures.values()) and ended == ["lasts", "split", "piece"]
    hangs.stop("enough")
    assert bench.result(hangs).error == "enough"
    assert bench.result(executor.submit(split(owner="after"))).ok


def test_after_a_child_was_needed_the_next_is_ready_and_has_served_nobody(bench):
    executor = bench.processes()
    first = bench.value(executor, "open('left.txt', 'w').close()\nreturn os.getcwd()")
    bench.wait_for(lambda: len(list(bench.scratch.iterdir())) == 2)
    ready, = {str(path) for path in bench.scratch.iterdir()} - {first}
    assert bench.value(executor, "return os.getcwd(), os.path.exists('left.txt')", owner="other") == (ready, False)


def test_one_is_kept_ready_before_the_first_is_needed_and_while_nothing_runs(bench, monkeypatch):
    monkeypatch.setattr("discompute_lite.host.spare_child.SPARE_IDLE_S", 0.0)
    monkeypatch.setattr("discompute_lite.host.process_executor.CHILD_IDLE_S", 0.05)
    executor = bench.processes()
    executor.keep_ready()
    bench.wait_for(lambda: executor._spare.child is not None)
    ready = executor._spare.child.pid
    assert bench.value(executor, "return os.getpid()") == ready
    bench.wait_for(lambda: not is_running(ready))
    bench.wait_for(lambda: executor._spare.child is not None)
    next_one = executor._spare.child.pid
    assert next_one != ready and is_running(next_one)
    executor.shutdown()
    bench.wait_for(lambda: not is_running(next_one))


def test_what_is_ready_is_made_anew_where_pieces_are_held_to_other_memory(bench):
    executor = bench.processes(command=[*bench.command, "{}"])
    executor.keep_ready()
    bench.wait_for(lambda: executor._spare.child is not None)
    plain = executor._spare.child.pid
    request = replace(job("return 1"), memory_bytes=1 << 30)
    assert bench.result(executor.submit(request)).ok
    bench.wait_for(lambda: executor._spare.child is not None and executor._spare.child.memory_bytes == 1 << 30)
    bench.wait_for(lambda: not is_running(plain))


def test_until_some_time_after_a_child_was_needed_no_other_is_started(bench, monkeypatch):
    monkeypatch.setattr("discompute_lite.host.spare_child.SPARE_AFTER_S", 3600.0)
    executor = bench.processes()
    folder = bench.value(executor, "return os.getcwd()")
    assert bench.value(executor, "return os.getcwd()") == folder and executor._spare.child is None
    # Who needs another one in the meantime starts it.
    other = bench.value(executor, "return os.getcwd()", owner="other")
    assert other != folder and executor._spare.child is None and executor._spare.due


@posix
def test_a_ready_child_that_somebody_has_stopped_is_given_no_work(bench):
    executor = bench.processes()
    bench.value(executor, "return 1")
    bench.wait_for(lambda: executor._spare.child is not None)
    pid = executor._spare.child.pid
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    assert bench.value(executor, "return os.getpid()", owner="other") != pid
    bench.wait_for(lambda: not is_running(pid))


def test_a_child_that_nobody_needed_is_let_go_before_those_that_were_needed(bench, monkeypatch):
    monkeypatch.setattr("discompute_lite.host.spare_child.SPARE_IDLE_S", 0.05)
    # A slot that the loop serves is asleep for as long when the second change comes, and sees it afterwards.
    monkeypatch.setattr("discompute_lite.host.process_executor.CHILD_IDLE_S", 10.0)
    executor = bench.processes()
    folder = bench.value(executor, "return os.getcwd()")
    bench.wait_for(lambda: executor._spare.child is None and not executor._spare.due)
    bench.wait_for(lambda: [str(path) for path in bench.scratch.iterdir()] == [folder])
    assert bench.value(executor, "return os.getcwd()") == folder
    monkeypatch.setattr("discompute_lite.host.process_executor.CHILD_IDLE_S", 0.05)
    assert bench.value(executor, "return os.getcwd()") == folder
    bench.wait_for(lambda: not list(bench.scratch.iterdir()))


def test_slots_run_beside_one_another(bench, tmp_path):
    executor = bench.processes(slots=2)
    # Each waits for the other's file: alone, neither would end.
    body = "open(part[0], 'w').close()\nwhile not os.path.exists(part[1]): time.sleep(0.01)"
    names = [str(tmp_path / "a"), str(tmp_path / "b")]
    futures = [executor.submit(job(body, part=pair)) for pair in (names, names[::-1])]
    assert all(bench.result(future).ok for future in futures)


@pytest.mark.smoke
def test_a_child_knows_nothing_of_the_nodes_secrets_and_home(bench):
    executor = bench.processes(environ={**os.environ, "TOKEN": "secret"})
    facts = bench.value(executor, """
return {"token": os.environ.get("TOKEN"), "home": os.path.expanduser("~"), "cwd": os.getcwd(),
        "isolated": sys.flags.isolated, "threads": os.environ["OMP_NUM_THREADS"],
        "temporary": __import__("tempfile").gettempdir()}""")
    assert facts["token"] is None and facts["isolated"] == 1 and facts["threads"] == "1"
    assert os.path.realpath(facts["home"]) == os.path.realpath(facts["cwd"]) == os.path.realpath(facts["temporary"])
    assert facts["cwd"].startswith(os.path.realpath(bench.scratch))


@posix
def test_a_child_inherits_no_descriptors(bench, tmp_path):
    executor = bench.processes(slots=2)
    with open(tmp_path / "secret", "w") as file:
        os.set_inheritable(file.fileno(), True)
        bench.value(executor, "return 1", owner="first")
        targets = bench.value(executor, """
found, own = [], os.stat(".printed")
for number in range(200):
    try:
        facts = os.fstat(number)
        found.append((number, facts.st_mode & 0o170000 == 0o100000 and not os.path.samestat(facts, own)))
    except OSError: pass
return found""", owner="second")
    assert not any(is_file for _, is_file in targets)
    assert len(targets) < 10


@posix
def test_a_child_is_a_group_of_its_own_and_ignores_ctrl_c(bench):
    executor = bench.processes()
    pid, group = bench.value(executor, "return os.getpid(), os.getpgrp()")
    assert pid == group != os.getpgrp()
    os.kill(pid, signal.SIGINT)
    assert bench.value(executor, "return os.getpid()") == pid


# ---- what is printed ---------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_prints_are_caught_and_never_reach_the_protocol(bench):
    executor = bench.processes()
    outcome = bench.result(executor.submit(job("print('out')\nprint('err', file=sys.stderr)\nreturn 5")))
    assert outcome.output == "out\nerr\n" and outcome.data == b"5"
    assert bench.result(executor.submit(job("return 6"))).output == ""


@posix
def test_what_goes_past_python_is_caught_too(bench):
    executor = bench.processes()
    body = """
os.write(1, b"one ")
os.write(2, b"two ")
import subprocess, threading
subprocess.run(["echo", "three"])
thread = threading.Thread(target=print, args=("four",))
thread.start()
thread.join()
sys.__stdout__.write("five")"""
    assert bench.result(executor.submit(job(body))).output == "one two three\nfour\nfive"
    assert bench.result(executor.submit(job("return 1"))).output == ""


@posix
def test_a_flood_past_python_is_bounded_and_blocks_nobody(bench):
    executor = bench.processes()
    outcome = bench.result(executor.submit(job("for _ in range(100): os.write(1, b'x' * 65536)")))
    assert outcome.ok and len(outcome.output) < 1.1 * 2 ** 20 and "more bytes were printed" in outcome.output


@posix
@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 11)", "os._exit(3)", "while True: time.sleep(9)"])
def test_what_was_printed_before_a_death_is_kept(bench, scale, end):
    executor = bench.processes()
    assert bench.result(executor.submit(job("print('an earlier request')"))).output == "an earlier request\n"
    body = f"""
print("one")
import subprocess
subprocess.run(["echo", "two"])
while "two" not in open(".printed").read(): time.sleep(0.001)
print("three", file=sys.stderr)
{end}"""
    outcome = bench.result(executor.submit(job(body, wall_s=scale(2.0) if "while" in end else 0)))
    assert not outcome.ok and outcome.output == "one\ntwo\nthree\n"
    assert bench.result(executor.submit(job("return 1"))).output == ""


@posix
def test_what_was_printed_before_a_stop_is_kept(bench):
    executor = bench.processes()
    future = executor.submit(job("print('so far', flush=True)\nopen('printed', 'w').close()\nwhile True: pass"))
    bench.wait_for(lambda: glob.glob(os.path.join(bench.scratch, "*", "printed")))
    future.stop("enough")
    outcome = bench.result(future)
    assert (outcome.error, outcome.output) == ("enough", "so far\n")


@posix
@pytest.mark.parametrize("body", [
    "return sys.stdin.read()", "os.close(0)\nos.close(1)\nos.close(2)\nreturn ''",
    "sys.stdout.close()\nsys.stderr.close()\nreturn ''",
    "sys.stdout = None\nreturn ''", "os.dup2(os.open(os.devnull, os.O_RDWR), 1)\nreturn ''",
])
def test_code_may_play_with_the_standard_streams(bench, body):
    executor = bench.processes()
    assert bench.value(executor, body) == ""
    assert bench.value(executor, "return 'again'") == "again"


# ---- ends ----------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("body, words", [
    ("os._exit(3)", "ended by itself with exit status 3"),
    ("os.kill(os.getpid(), 11)", "signal 11 (SIGSEGV, segmentation fault"),
    ("os.abort()", "signal 6 ("), ("os.kill(os.getpid(), 9)", "signal 9 (SIGKILL"),
    ("os.kill(0, 15)", "signal 15"), ("os.closerange(3, 200)\ntime.sleep(60)", "the process"),
    ("import signal\nsignal.raise_signal(signal.SIGBUS)", "(SIGBUS, bus error"),
])
def test_a_child_that_dies_is_told_and_replaced(bench, body, words):
    executor = bench.processes()
    outcome = bench.result(executor.submit(job(body)))
    assert (outcome.ok, outcome.error_type, outcome.blame) == (False, "Died", "device")
    assert words in outcome.error
    assert bench.value(executor, "return 1") == 1


@posix
def test_where_the_system_has_no_waitid_dying_children_are_told_and_replaced_too(bench, monkeypatch):
    """As on macOS before Python 3.13."""
    monkeypatch.delattr(os, "waitid", raising=False)
    executor = bench.processes()
    for body, words in (("os._exit(3)", "status 3"), ("os.kill(os.getpid(), 11)", "signal 11")):
        outcome = bench.result(executor.submit(job(body)))
        assert outcome.error_type == "Died" and words in outcome.error
        assert bench.value(executor, "return 1") == 1


@posix
def test_a_child_that_writes_into_the_protocol_is_told_and_replaced(bench):
    executor = bench.processes()
    body = ("for number in range(3, 20):\n    try: os.write(number, b'\\0\\0\\0\\5hello' * 3)\n"
            "    except OSError: pass\nreturn 1")
    outcome = bench.result(executor.submit(job(body)))
    assert outcome.error_type == "Died" and "no outcome" in outcome.error
    assert bench.value(executor, "return 1") == 1


@pytest.mark.smoke
def test_stopping_kills_at_once_and_the_slot_goes_on(bench):
    executor = bench.processes()
    pid = bench.value(executor, "return os.getpid()")
    future = executor.submit(job("while True: pass"))
    waiting = executor.submit(job("return os.getpid()"))
    bench.wait_for(future.running)
    future.stop("the task was cancelled")
    outcome = bench.result(future)
    assert (outcome.ok, outcome.error, outcome.error_type) == (False, "the task was cancelled", "Stopped")
    assert load_value(bench.result(waiting).data) != pid
    if sys.platform != "win32":
        assert not is_running(pid)


@posix
@pytest.mark.parametrize("deafen", [
    "import signal\nfor number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)",
    "import signal\nos.kill(os.getpid(), signal.SIGSTOP)",
])
def test_stopping_needs_no_consent(bench, deafen):
    executor = bench.processes()
    pid = bench.value(executor, "return os.getpid()")
    future = executor.submit(job(f"{deafen}\nwhile True: time.sleep(1)"))
    bench.wait_for(future.running)
    time.sleep(0.1)
    future.stop("enough")
    assert bench.result(future).error == "enough"
    assert not is_running(pid)


@posix
def test_what_the_code_has_started_ends_with_it(bench, tmp_path):
    executor = bench.processes()
    note = tmp_path / "pid"
    body = "import subprocess\nchild = subprocess.Popen(['sleep', '100'])\nopen(part, 'w').write(str(child.pid))\n"
    for last, ends in (("time.sleep(100)", "stop"), ("os._exit(0)", "dies")):
        future = executor.submit(job(body + last, part=str(note)))
        bench.wait_for(lambda: note.exists() and note.read_text())
        if ends == "stop":
            future.stop("enough")
        assert not bench.result(future).ok
        bench.wait_for(lambda: not is_running(int(note.read_text())) or _is_zombie(int(note.read_text())))
        note.unlink()


def _is_zombie(pid):
    """Whether a process has ended and nobody has asked for its status yet (where /proc says so)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def test_stopping_what_waits_costs_no_process(bench):
    executor = bench.processes()
    running = executor.submit(job("time.sleep(100)"))
    waiting = [executor.submit(job("return 1")) for _ in range(3)]
    cancelled = executor.submit(job("return 1"))
    assert cancelled.cancel() and cancelled.cancelled()
    for future in waiting:
        future.stop("not wanted")
        assert future.result(0).error == "not wanted"
    running.stop("neither")
    assert bench.result(running).error == "neither"
    assert bench.value(executor, "return 2") == 2


def test_a_stop_at_any_moment_hits_only_its_own_request(bench):
    executor = bench.processes(slots=2)
    for round_number in range(40):
        future = executor.submit(job("return 1"))
        time.sleep(0.0002 * (round_number % 20))
        future.stop("enough")
        outcome = bench.result(future)
        assert outcome.ok or outcome.error == "enough", outcome
        assert bench.value(executor, "return 2") == 2


def test_the_wall_limit_ends_it_and_blames_the_task(bench):
    executor = bench.processes()
    outcome = bench.result(executor.submit(job("while True: pass", wall_s=0.3)))
    assert outcome.error == "it ran longer than its limit of 0.3 s" and outcome.blame == "task"
    assert bench.value(executor, "return 1", wall_s=60) == 1


@posix
def test_where_pipes_cannot_be_waited_for_the_wall_limit_blames_the_task_too(bench, monkeypatch, scale):
    """As on Windows, where a clock beside the exchange ends the child."""
    executor, wall_s = bench.processes(), scale(1.0)
    monkeypatch.setattr(child_process, "sys", SimpleNamespace(platform="win32"))
    outcome = bench.result(executor.submit(job("print('so far')\ntime.sleep(99)", wall_s=wall_s)))
    assert (outcome.error, outcome.blame) == (f"it ran longer than its limit of {wall_s:g} s", "task")
    assert outcome.output == "so far\n"
    assert bench.result(executor.submit(job("os._exit(3)", wall_s=60))).blame == "device"


@posix
def test_large_data_passes_and_a_stopped_reader_blocks_nobody(bench):
    executor = bench.processes()
    big = "x" * (8 << 20)
    assert bench.value(executor, "return part", part=big) == big
    pid, = executor.children()
    body = "import signal\nos.kill(os.getpid(), signal.SIGSTOP)\nreturn part"
    outcome = bench.result(executor.submit(job(body, part=big, wall_s=0.3)))
    assert "longer than its limit" in outcome.error
    assert not is_running(pid)


def stopped_amid(executor, bench, tmp_path, may_repeat):
    """Begin work that ends when it finds a file, stop its process; return the future and the process's id."""
    body = "open(part + '/at', 'w').write(str(os.getpid()))\nwhile not os.path.exists(part + '/go'): time.sleep(0.01)"
    request = replace(job(f"{body}\nreturn os.getpid()", part=str(tmp_path)), may_repeat=may_repeat)
    future = executor.submit(request)
    bench.wait_for(lambda: (tmp_path / "at").exists() and (tmp_path / "at").read_text())
    pid = int((tmp_path / "at").read_text())
    os.kill(pid, signal.SIGSTOP)
    return future, pid


@posix
@pytest.mark.parametrize("has_waitid", [True, False])
def test_a_process_that_is_stopped_amid_what_may_be_repeated_is_given_up(bench, tmp_path, monkeypatch, has_waitid):
    if not has_waitid:
        monkeypatch.delattr(os, "waitid", raising=False)
    executor = bench.processes()
    future, pid = stopped_amid(executor, bench, tmp_path, may_repeat=True)
    outcome = bench.result(future)
    assert (outcome.error_type, outcome.blame) == ("Died", "device")
    assert outcome.error == f"the process was stopped by signal {int(signal.SIGSTOP)} (SIGSTOP)"
    assert not is_running(pid) and bench.value(executor, "return 1") == 1


@posix
def test_a_process_that_is_stopped_amid_what_may_not_be_repeated_is_waited_for_and_told(bench, tmp_path):
    told = []
    executor = bench.processes(say=told.append)
    future, pid = stopped_amid(executor, bench, tmp_path, may_repeat=False)
    bench.wait_for(lambda: told)
    assert told[0].startswith(f"process {pid} was stopped by") and f"kill -CONT {pid}" in told[0]
    assert "was stopped by signal" in future.standstill or bench.wait_for(lambda: future.standstill) is None
    (tmp_path / "go").touch()
    os.kill(pid, signal.SIGCONT)
    assert load_value(bench.result(future).data) == pid and len(told) == 1


@posix
def test_an_idle_child_that_was_stopped_is_replaced_unnoticed(bench):
    executor = bench.processes()
    pid = bench.value(executor, "return os.getpid()")
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    assert bench.value(executor, "return os.getpid()") != pid and not is_running(pid)


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="os.waitid")
def test_a_warm_child_that_died_while_idle_is_replaced_unnoticed(bench):
    executor = bench.processes()
    pid = bench.value(executor, "return os.getpid()")
    os.kill(pid, signal.SIGKILL)
    # Its threads end after it; only then has it ended.
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert bench.value(executor, "return os.getpid()") != pid


def test_children_that_cannot_start_are_told_with_their_last_words(bench):
    for command, words in (
        ([sys.executable, "-I", "-c", "import no_such_module"],
            "could not start: ModuleNotFoundError: No module named"),
        ([str(bench.scratch / "nothing")], "could not be started: "),
    ):
        outcome = bench.result(bench.processes(command=command).submit(job("return 1")))
        assert words in outcome.error and outcome.blame == "device"


@pytest.mark.smoke
def test_shutdown_leaves_nothing(bench):
    executor = bench.processes(slots=2)
    pid = bench.value(executor, "return os.getpid()")
    running = executor.submit(job("time.sleep(100)"))
    waiting = [executor.submit(job("return 1")) for _ in range(5)]
    bench.wait_for(running.running)
    executor.shutdown(now=True)
    assert bench.result(running).error == "the node is shutting down"
    assert all(not bench.result(future).ok or load_value(future.result().data) == 1 for future in waiting)
    assert executor.children() == []
    if sys.platform != "win32":
        assert not is_running(pid)
    assert bench.result(executor.submit(job("return 1"))).error == "the executor is shut down"
    executor.shutdown()


def test_a_gentle_shutdown_finishes_what_waits(bench):
    executor = bench.processes()
    futures = [executor.submit(job("return part", part=number)) for number in range(5)]
    executor.shutdown(now=False)
    assert [load_value(future.result(0).data) for future in futures] == list(range(5))


def test_idle_children_are_let_go(bench, monkeypatch):
    monkeypatch.setattr("discompute_lite.host.process_executor.CHILD_IDLE_S", 0.05)
    executor = bench.processes()
    first = bench.value(executor, "return os.getpid()")
    bench.wait_for(lambda: executor.children() == [])
    assert bench.value(executor, "return os.getpid()") != first


def test_a_child_that_has_served_its_time_is_replaced(bench):
    executor = bench.processes(limits=Limits(child_requests=3))
    pids = [bench.value(executor, "return os.getpid()") for _ in range(7)]
    assert pids[0] == pids[1] == pids[2] != pids[3] == pids[4] == pids[5] != pids[6]
    assert executor.children() == [pids[6]]


@pytest.mark.skipif(resident_bytes([os.getpid()]) is None, reason="memory of processes cannot be seen")
def test_a_child_that_holds_far_more_memory_than_at_first_is_replaced(bench, monkeypatch):
    monkeypatch.setattr("discompute_lite.host.process_slot.MEMORY_EVERY", 1)
    executor = bench.processes(limits=Limits(child_rest_bytes=1))
    keep, pid = "kept.append(bytes(1) * part)\nreturn os.getpid()", "kept = []"
    first = bench.value(executor, keep, part=0, head=pid)
    assert bench.value(executor, keep, part=1000, head=pid) == first
    assert bench.value(executor, keep, part=200_000_000, head=pid) == first
    assert bench.value(executor, keep, part=0, head=pid) != first


def pure(body, **named):
    """Return a request of a job's piece that may be done twice, as most are."""
    return replace(job(body, **named), may_repeat=True)


class Pieces:
    """Two pieces for one warm child: the first lasts until it may go, and the second lies ahead meanwhile."""

    def __init__(self, bench, folder, last="", lane_s=3600.0, **named):
        """What lies ahead is taken back after half of `lane_s`, and the child's thread goes on with what runs."""
        bench.patch.setattr("discompute_lite.host.loop_lane.LANE_S", lane_s)
        self.bench, self.go, self.begun = bench, folder / "go", folder / "begun"
        self.executor = bench.processes(**named)
        self.pid = bench.value(self.executor, "return os.getpid()")
        lasts = f"while not os.path.exists(part): time.sleep(0.001)\n{last}\nreturn os.getpid()"
        self.first = self.executor.submit(pure(lasts, part=str(self.go)))
        bench.wait_for(self.first.running)
        self.second = self.executor.submit(self.note())
        self.lies_ahead = any(slot.ahead is not None for slot in self.executor._slots)
        assert self.lies_ahead == (bench.loop is not None)

    def note(self):
        """Return a piece that leaves word where it has begun, once for each time."""
        body = "with open(part, 'a') as file: file.write(f'{os.getpid()}\\n')\nreturn os.getpid()"
        return pure(body, part=str(self.begun))

    def leave_to_threads(self):
        """Have what takes long go on in its thread, as it does after a while."""
        if self.lies_ahead:
            self.executor.ask(self.executor._lane.give_up)

    def begun_by(self):
        return [int(line) for line in self.begun.read_text().split()] if self.begun.exists() else []

    def pid_of(self, future):
        outcome = self.bench.result(future)
        assert outcome.ok, outcome.error
        return load_value(outcome.data)

    def while_the_loop_stands_still(self, act):
        """Have the child answer and begin what lies ahead, and then do something before the loop can read."""
        def turn():
            self.go.touch()
            self.bench.wait_for(self.begun_by)
            act()

        self.executor.ask(turn)


@posix
def test_a_child_goes_on_with_what_lies_ahead_before_the_node_looks(bench, tmp_path):
    pieces = Pieces(bench, tmp_path)
    if pieces.lies_ahead:
        pieces.while_the_loop_stands_still(lambda: None)
    pieces.go.touch()
    assert pieces.pid_of(pieces.first) == pieces.pid_of(pieces.second) == pieces.pid
    assert pieces.begun_by() == [pieces.pid]


@posix
def test_what_lies_ahead_and_is_stopped_never_begins_and_costs_no_process(bench, tmp_path):
    pieces = Pieces(bench, tmp_path)
    pieces.second.stop("not wanted")
    assert pieces.second.result(0).error == "not wanted" and not pieces.first.done()
    pieces.go.touch()
    assert pieces.pid_of(pieces.first) == bench.value(pieces.executor, "return os.getpid()") == pieces.pid
    assert pieces.begun_by() == []


@posix
def test_stopping_what_runs_leaves_what_lies_ahead_to_another_child(bench, tmp_path):
    pieces = Pieces(bench, tmp_path)
    pieces.first.stop("enough")
    assert bench.result(pieces.first).error == "enough"
    assert pieces.pid_of(pieces.second) != pieces.pid and len(pieces.begun_by()) == 1


@posix
def test_stopping_what_has_just_begun_leaves_the_answer_before_it(bench, tmp_path):
    pieces = Pieces(bench, tmp_path)
    if pieces.lies_ahead:
        pieces.while_the_loop_stands_still(lambda: pieces.second.stop("enough"))
        assert pieces.second.result(0).error == "enough"
        assert pieces.pid_of(pieces.first) == pieces.pid
        assert bench.value(pieces.executor, "return os.getpid()") != pieces.pid


@posix
def test_a_stop_that_comes_after_the_answer_costs_what_has_just_begun_nothing_but_time(bench, tmp_path):
    pieces = Pieces(bench, tmp_path)
    if pieces.lies_ahead:
        pieces.while_the_loop_stands_still(lambda: pieces.first.stop("enough"))
        assert bench.result(pieces.first).ok
        assert pieces.pid_of(pieces.second) != pieces.pid and len(pieces.begun_by()) == 2


@posix
@pytest.mark.parametrize("last, words", [
    ("os._exit(3)", "exit status 3"), ("os.kill(os.getpid(), 9)", "signal 9"),
    ("os.kill(os.getpid(), 19)\ntime.sleep(100)", "was stopped by signal"),
])
def test_a_child_that_dies_or_is_stopped_blames_what_ran_and_not_what_lies_ahead(bench, tmp_path, last, words):
    pieces = Pieces(bench, tmp_path, last)
    pieces.go.touch()
    if "stopped" in words:
        pieces.leave_to_threads()
    outcome = bench.result(pieces.first)
    assert words in outcome.error and outcome.error_type == "Died"
    assert pieces.pid_of(pieces.second) != pieces.pid and len(pieces.begun_by()) == 1


@posix
def test_what_has_begun_and_ends_its_child_is_blamed_itself(bench, tmp_path):
    pieces = Pieces(bench, tmp_path)
    pieces.second.stop("not wanted")
    dies = pieces.executor.submit(pure("os._exit(4)"))
    after = pieces.executor.submit(pieces.note())
    pieces.go.touch()
    assert pieces.pid_of(pieces.first) == pieces.pid
    assert "exit status 4" in bench.result(dies).error and pieces.pid_of(after) != pieces.pid


@posix
def test_what_lies_ahead_goes_to_the_slot_that_is_free_first(bench, tmp_path):
    executor, go = bench.processes(slots=2), [tmp_path / "a", tmp_path / "b"]
    both = [executor.submit(pure("time.sleep(0.1)\nreturn os.getpid()")) for _ in go]
    assert all(bench.result(future).ok for future in both)
    lasting = [executor.submit(pure(LASTS, part=str(path))) for path in go]
    waits = [executor.submit(pure("return part", part=number)) for number in range(3)]
    go[1].touch()
    assert [load_value(bench.result(future).data) for future in waits] == [0, 1, 2] and not lasting[0].done()
    go[0].touch()
    assert all(bench.result(future).ok for future in lasting)


@posix
def test_what_lies_behind_something_long_is_taken_back_when_its_thread_goes_on_with_that(bench, tmp_path, scale):
    pieces = Pieces(bench, tmp_path, lane_s=scale(1.0))
    bench.wait_for(lambda: all(slot.ahead is None for slot in pieces.executor._slots))
    assert pieces.begun_by() == [] and not pieces.second.done()
    pieces.go.touch()
    assert pieces.pid_of(pieces.first) == pieces.pid_of(pieces.second) == pieces.pid


@posix
def test_a_split_that_waits_comes_before_what_lies_ahead(bench, tmp_path):
    pieces, ended = Pieces(bench, tmp_path), []
    hangs = pieces.executor.submit(split("while True: time.sleep(1)", owner="hangs"))
    bench.wait_for(hangs.running)
    splits = pieces.executor.submit(split())
    for future in (pieces.second, splits):
        future.add_done_callback(ended.append)
    pieces.go.touch()
    assert bench.result(splits).ok and bench.result(pieces.second).ok and ended == [splits, pieces.second]


@posix
def test_a_child_that_has_served_its_time_is_replaced_though_much_waits(bench):
    executor = bench.processes(limits=Limits(child_requests=3))
    futures = [executor.submit(pure("return os.getpid()")) for _ in range(7)]
    pids = [load_value(bench.result(future).data) for future in futures]
    assert pids[0] == pids[1] == pids[2] != pids[3] == pids[4] == pids[5] != pids[6]


@posix
def test_a_shutdown_ends_what_lies_ahead_and_what_has_just_begun(bench, tmp_path):
    for round_number in range(2):
        folder = tmp_path / str(round_number)
        folder.mkdir()
        pieces = Pieces(bench, folder)
        if round_number and pieces.lies_ahead:
            pieces.while_the_loop_stands_still(pieces.executor.shutdown)
            assert bench.result(pieces.first).ok
        pieces.executor.shutdown()
        assert bench.result(pieces.second).error == "the node is shutting down" and not is_running(pieces.pid)


def test_stops_at_any_moment_amid_a_flow_of_pieces_hit_only_their_own(bench):
    executor = bench.processes(slots=2)
    for round_number in range(40):
        futures = [executor.submit(pure("return part", part=number)) for number in range(6)]
        time.sleep(0.0003 * (round_number % 20))
        futures[round_number % 6].stop("enough")
        for number, future in enumerate(futures):
            outcome = bench.result(future)
            is_stopped = number == round_number % 6 and outcome.error == "enough"
            assert is_stopped or load_value(outcome.data) == number, outcome


@posix
def test_what_takes_long_is_left_to_its_thread_and_can_still_be_stopped(bench, monkeypatch):
    monkeypatch.setattr("discompute_lite.host.loop_lane.LANE_S", 0.05)
    executor = bench.processes(slots=2)
    pid = bench.value(executor, "return os.getpid()")
    assert bench.value(executor, "time.sleep(0.3)\nreturn os.getpid()") == pid
    future = executor.submit(job("time.sleep(100)"))
    bench.wait_for(future.running)
    time.sleep(0.2)
    future.stop("enough")
    assert bench.result(future).error == "enough"
    assert bench.value(executor, "return os.getpid()") != pid


@posix
def test_whoever_waits_for_moments_is_served_past_all_other_threads(bench):
    executor = bench.processes(slots=2)
    request = job("return part + 1", part=6)
    assert executor.begin_warm(request, print) is None, "no child is warm"
    bench.result(executor.submit(request))
    if bench.loop is None:
        assert executor.begin_warm(request, print) is None
        return
    futures = queue.SimpleQueue()

    def call(part):
        """Be one of two threads, for which there is one warm child at first."""
        for number in range(part, part + 150):
            asked = job("return part + 1", part=number)
            future = executor.begin_warm(asked, lambda work: None) or executor.submit(asked)
            assert executor.finish_here(future, 0.005, number % 2 * 0.0002) or not future.done() or future.result().ok
            futures.put((number, future))

    threads = [threading.Thread(target=call, args=(part,)) for part in (0, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(300):
        number, future = futures.get(timeout=bench.limit_s)
        assert load_value(bench.result(future).data) == number + 1


@posix
@pytest.mark.parametrize("body, words", [("os._exit(3)", "status 3"), ("time.sleep(100)", "enough")])
def test_what_does_not_end_well_past_the_threads_is_theirs(bench, monkeypatch, body, words):
    monkeypatch.setattr("discompute_lite.host.loop_lane.LANE_S", 0.05)
    executor = bench.processes()
    pid = bench.value(executor, "return os.getpid()")
    if bench.loop is None:
        return
    left = threading.Event()
    future = executor.begin_warm(job(body), lambda work: left.set())
    executor.finish_here(future, 0.005)
    assert left.wait(bench.limit_s), "its slot's thread goes on with it, and that is said"
    future.stop("enough")
    assert words in bench.result(future).error or future.stop_reason
    assert bench.value(executor, "return os.getpid()") != pid


@posix
def test_children_die_with_their_parent_even_while_they_work(bench, root, tmp_path):
    """A node that is killed must not leave its children computing, nor what they have started."""
    note = tmp_path / "pids"
    body = "import subprocess\nchild = subprocess.Popen(['sleep', '100'])\n" \
           "open(part, 'w').write(f'{os.getpid()} {child.pid}.')\nwhile True: pass"
    code = (f"import sys; sys.path[:0] = [{str(root)!r}]; from discompute_lite.host.process_executor import *; "
            f"executor = ProcessExecutor(1, {bench.command!r}, {{}}, {str(bench.scratch)!r}); "
            f"executor.submit({job(body, part=str(note))!r}).result()")
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        bench.wait_for(lambda: note.exists() and note.read_text().endswith("."))
        pids = [int(word) for word in note.read_text().rstrip(".").split()]
    finally:
        parent.kill()
        parent.wait()
    bench.wait_for(lambda: all(not is_running(pid) or _is_zombie(pid) for pid in pids))
    assert list(bench.scratch.iterdir()) != []
    bench.processes()
    assert list(bench.scratch.iterdir()) == []


# ---- threads -------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_threads_run_the_same_work(bench):
    executor = bench.threads(slots=2)
    assert bench.value(executor, "return os.getpid()") == os.getpid()
    outcome = bench.result(executor.submit(job("print('hello')\n1/0")))
    assert outcome.output == "hello\n" and outcome.error_type == "ZeroDivisionError" and outcome.blame == "task"


def test_threads_print_each_to_its_own(bench, tmp_path):
    executor = bench.threads(slots=2)
    body = ("print(part[0])\nopen(part[0], 'w').close()\n"
            "while not os.path.exists(part[1]): time.sleep(0.01)\nprint('end')")
    names = [str(tmp_path / "a"), str(tmp_path / "b")]
    futures = [executor.submit(job(body, part=pair)) for pair in (names, names[::-1])]
    assert [bench.result(future).output for future in futures] == [f"{name}\nend\n" for name in names]


def test_a_stopped_thread_is_disowned_and_keeps_its_slot(bench, tmp_path):
    executor = bench.threads()
    gate = tmp_path / "gate"
    future = executor.submit(job("while not os.path.exists(part): time.sleep(0.01)\nreturn 1", part=str(gate)))
    waiting = executor.submit(job("return 2"))
    bench.wait_for(future.running)
    future.stop("enough")
    assert future.result(0).error == "enough"
    assert not waiting.done()
    gate.touch()
    assert load_value(bench.result(waiting).data) == 2
    assert future.result(0).error == "enough"


def test_shutdown_does_not_wait_for_a_thread_that_does_not_end(bench, tmp_path):
    executor = bench.threads()
    gate = tmp_path / "gate"
    future = executor.submit(job("while not os.path.exists(part): time.sleep(0.01)", part=str(gate)))
    bench.wait_for(future.running)
    executor.shutdown(now=True)
    assert future.result(0).error == "the node is shutting down"
    gate.touch()


def test_exceptions_in_callbacks_do_not_end_a_slot(bench, caplog):
    executor = bench.threads()
    future = executor.submit(job("time.sleep(0.05)"))
    future.add_done_callback(lambda future: 1 / 0)
    bench.result(future)
    assert bench.value(executor, "return 1") == 1
