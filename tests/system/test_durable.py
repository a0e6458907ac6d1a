"""Tasks that outlive their processes: a killed submitter, a killed node, a flipped bit; nothing lost, nothing twice."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List

import pytest

pytestmark = pytest.mark.usefixtures("posix")

#: Each piece leaves a trace of having been done, so that doing one again shows; the last ones wait for a file.
TRACED_JOB = """
import os, time
def split(trace: str = "", parts: int = 6, held: int = 0):
    return [[trace, number, number >= parts - held] for number in range(parts)]
def work(part):
    trace, number, is_held = part
    while is_held and not os.path.exists(trace + "/go"):
        time.sleep(0.01)
    with open(trace + "/done", "a") as file:
        file.write("%d\\n" % number)
    return number * number
def merge(parts): return sum(parts)
"""


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Where the pieces of a job say that they were done."""
    folder = tmp_path / "trace"
    folder.mkdir()
    return folder


def done_in(trace: Path) -> List[int]:
    """Return the pieces that were done, once for each time."""
    try:
        return [int(line) for line in (trace / "done").read_text().split()]
    except FileNotFoundError:
        return []


def args_of(trace: Path, **args: Any) -> Dict[str, Any]:
    return {"trace": str(trace), **args}


def completed(node: Any, task_id: str) -> int:
    """Return how many subtasks of a task are done, as its node says."""
    return node.call("GetTaskStatus", {"task_id": task_id})["lite"]["counts"].get("COMPLETED", 0)


# ---- a node that is killed ----------------------------------------------------------------------------


def test_a_killed_node_goes_on_with_its_tasks_and_redoes_nothing(field: Any, trace: Path) -> None:
    node = field.start("node", "--slots", "2")
    task_id = node.submit(TRACED_JOB, **args_of(trace, parts=8, held=3))
    field.wait_for(lambda: completed(node, task_id) == 5, "five pieces are done")
    node.kill(signal.SIGKILL)
    node.wait_end()
    again = field.start("node", "--slots", "2")
    assert completed(again, task_id) == 5
    (trace / "go").touch()
    assert again.result_of(task_id) == ("COMPLETED", sum(number * number for number in range(8)))
    assert Counter(done_in(trace)) == Counter(range(8))


#: A split that lasts until there is a file; a slot is held by the same job's only piece where `holds` is true.
HELD_SPLIT = """
import os, time
def wait(trace, name):
    while not os.path.exists(os.path.join(trace, name)):
        time.sleep(0.01)
def split(trace: str = "", holds: bool = False):
    if not holds:
        wait(trace, "split")
    return [[trace, holds]]
def work(part):
    trace, holds = part
    if holds:
        wait(trace, "go")
    return "here"
def merge(parts): return parts[0]
"""


def test_a_detached_task_is_accepted_at_once_whatever_runs_and_says_what_it_waits_for(field: Any, trace: Path) -> None:
    node = field.start("node", "--slots", "2")
    home = {"DISCOMPUTE_STATE_DIR": str(node.state)}
    file = field.job("held.py", HELD_SPLIT)

    def detached(*words: str) -> str:
        done = field.type("submit", "--detach", *words, file, "--trace", str(trace), **home)
        assert done.code == 0, done.err
        return str(done.out.strip())

    busy = [node.submit(HELD_SPLIT, **args_of(trace, holds=True)) for _ in range(2)]
    field.wait_for(lambda: all(map(node.running_on, busy)), "both slots are taken")
    first, second = detached("--priority", "1"), detached()
    field.wait_for(lambda: "is being split" in field.type("why", first, **home).out, "the first is being split")
    why = " ".join(field.type("why", second, **home).out.split())
    one_of = "|".join(task_id[:8] for task_id in busy)
    assert re.fullmatch(rf"it waits for a free slot on \S.* to be split: 2 of 2 are busy with ({one_of}), ({one_of}),"
                        rf" and {first[:8]} is being split", why), why
    assert node.state_of(second) == "PENDING"
    node.kill(signal.SIGKILL)
    node.wait_end()
    (trace / "go").touch()
    (trace / "split").touch()
    again = field.start("node", "--slots", "2")
    assert [again.result_of(task_id) for task_id in (first, second)] == [("COMPLETED", "here")] * 2


def test_a_split_that_hangs_ends_with_its_task_and_the_slots_go_on(field: Any, trace: Path) -> None:
    node = field.start("node", "--slots", "1")
    home = {"DISCOMPUTE_STATE_DIR": str(node.state)}
    words = field.job("held.py", HELD_SPLIT), "--trace", str(trace)
    hangs = field.type("submit", "--detach", *words, **home).out.strip()
    assert node.result_of(node.submit(TRACED_JOB, **args_of(trace))) == ("COMPLETED", 55)
    assert field.type("cancel", hangs, **home).code == 0 and node.state_of(hangs) == "CANCELLED"
    short = field.type("submit", "--detach", "--deadline", "1", *words, **home).out.strip()
    field.wait_for(lambda: node.state_of(short) == "FAILED", "its time is over")
    assert "ran longer than its limit of 1 s" in field.type("result", short, **home).err


def test_an_ended_task_answers_after_a_restart_until_it_is_acknowledged(field: Any, trace: Path) -> None:
    node = field.start("node", "--slots", "2")
    task_id = node.submit(TRACED_JOB, **args_of(trace))
    assert node.result_of(task_id) == ("COMPLETED", 55)
    journals = node.state / "journals"
    (path,) = journals.glob("*.journal")
    field.wait_for(lambda: b"def work" not in path.read_bytes(), "what went into it is deleted")
    node.kill()
    assert node.wait_end() == 0
    again = field.start("node", "--slots", "2")
    assert again.result_of(task_id) == ("COMPLETED", 55) and len(done_in(trace)) == 6
    assert again.call("AcknowledgeResult", {"task_id": task_id})["success"]
    field.wait_for(lambda: not list(journals.iterdir()), "the journal is gone")


def test_row_38_a_flipped_bit_is_said_and_kept_aside_and_the_task_ends_right(field: Any, trace: Path) -> None:
    node = field.start("node", "--slots", "2")
    task_id = node.submit(TRACED_JOB, **args_of(trace, parts=8, held=3))
    field.wait_for(lambda: completed(node, task_id) == 5, "five pieces are done")
    node.kill(signal.SIGKILL)
    node.wait_end()
    (path,) = (node.state / "journals").glob("*.journal")
    data = bytearray(path.read_bytes())
    data[len(data) - len(data.splitlines()[-1]) // 2] ^= 4
    path.write_bytes(data)
    (trace / "go").touch()
    again = field.start("node", "--slots", "2")
    assert again.result_of(task_id) == ("COMPLETED", sum(number * number for number in range(8)))
    assert again.said("warning", "journal was damaged")
    assert path.with_suffix(".damaged").read_bytes() == data


def test_the_second_node_takes_over_and_the_first_has_the_result_when_it_is_back(field: Any, trace: Path) -> None:
    first, second = nodes = field.start_members(2, "--slots", "1", DISCOMPUTE_LIMITS="owner-lease-s=1")
    field.wait_until_met(nodes)
    task_id = first.submit(TRACED_JOB, **args_of(trace, parts=8, held=3))
    field.wait_for(lambda: completed(first, task_id) == 5, "five pieces are done")
    field.wait_for(lambda: completed(second, task_id) == 5, "the second node knows of five")
    first.kill(signal.SIGKILL)
    first.wait_end()
    field.wait_for(lambda: second.said("note", "goes on here"), "the second node takes over")
    (trace / "go").touch()
    value = ("COMPLETED", sum(number * number for number in range(8)))
    assert second.result_of(task_id) == value
    assert all(times == 1 for number, times in Counter(done_in(trace)).items() if number < 5)
    again = field.start(first.name, "--slots", "1")
    field.wait_for(lambda: [path.name[:5] for path in (again.state / "journals").iterdir()] == ["copy-"],
                   "the first gives up its own and has a copy")
    assert again.result_of(task_id) == value
    assert again.call("AcknowledgeResult", {"task_id": task_id})["success"]
    for node in (again, second):
        field.wait_for(lambda node=node: not list((node.state / "journals").iterdir()), "its journals are gone")


# ---- a submitter that is killed ------------------------------------------------------------------------


class Submitter:
    """A `submit` in a process of its own, with the node that it starts where none runs."""

    def __init__(self, field: Any, path: str, trace: Path, *words: str, **environ: Any) -> None:
        command = [sys.executable, "-m", "discompute_lite", "submit", path, "--trace", str(trace), *words]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=field.for_command(**environ), text=True)
        self.task_id = ""

    def wait_accepted(self) -> str:
        """Return the task's id, which it says when the task is safe."""
        for line in self.process.stderr:
            if "submit --resume" in line:
                self.task_id = line.split()[1].rstrip(";")
                return self.task_id
        raise AssertionError("it never said which task it is")

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.process.communicate()


def test_a_killed_submitter_resumes_its_task(field: Any, trace: Path) -> None:
    submitter = Submitter(field, field.job("job.py", TRACED_JOB), trace, "--parts", "8", "--held", "3")
    task_id = submitter.wait_accepted()
    field.wait_for(lambda: len(done_in(trace)) == 5, "five pieces are done")
    journals = field.folder / "command" / "journals"
    field.wait_for(lambda: sum(b'"kept"' in line for path in journals.iterdir()
                               for line in path.read_bytes().splitlines()) == 5, "five results are kept")
    submitter.kill()
    field.wait_for(lambda: not field.processes(), "the end of what it had started")
    halted = "none runs here (last heard of 20"
    for words in (["tasks"], ["status", task_id], ["why", task_id]):
        said = " ".join(field.type(*words).out.split())
        assert halted in said and f"submit --resume {task_id}" in said and "RUNNING" not in said, said
    assert halted in field.type("tasks", "--json").document["tasks"][0]["lite"]["note"]
    (trace / "go").touch()
    done = field.run("submit", "--resume", task_id)
    assert (done.code, done.out) == (0, "140\n") and Counter(done_in(trace)) == Counter(range(8))
    again = field.run("submit", "--resume", task_id)
    assert again.code != 0 and "no task is called" in again.err
    assert list(journals.iterdir()) == []


def test_a_detached_task_is_finished_without_its_submitter(field: Any, trace: Path) -> None:
    node = field.start("node", "--slots", "2")
    mine = {"DISCOMPUTE_STATE_DIR": str(node.state)}
    job = field.job("job.py", TRACED_JOB)
    done = field.type("submit", "--detach", job, "--trace", str(trace), **mine)
    task_id = done.out.strip()
    field.wait_for(lambda: node.state_of(task_id) == "COMPLETED", "the end of the task")
    assert task_id in field.type("tasks", **mine).out
    assert field.type("submit", "--resume", task_id, **mine).out == "55\n"
    # The same file submitted again is a new task.
    assert field.type("submit", "--detach", job, "--trace", str(trace), **mine).out.strip() != task_id


def test_resume_needs_nothing_else_and_says_so(field: Any, fails: Any) -> None:
    fails(field.type("submit", "--resume", "abc", "job.py"), 2, "--resume stands alone")
    fails(field.type("submit", "--resume", "abc"), 3, "no task is called 'abc'")


def test_a_private_task_goes_where_it_is_said_or_nowhere(field: Any, fails: Any, trace: Path) -> None:
    node = field.start("node", "--slots", "2")
    mine = {"DISCOMPUTE_STATE_DIR": str(node.state)}
    words = (field.job("job.py", TRACED_JOB), "--trace", str(trace))
    fails(field.type("submit", "--private", *words, **mine), 1, "Name one: submit --private --requires DEVICE")
    fails(field.type("submit", "--private", "--requires", "gpu", *words, **mine), 1, "A private task stays")
    assert done_in(trace) == []
    assert field.type("submit", "--private", "--requires", "node", *words, **mine).out == "55\n"


# ---- a script that is killed ------------------------------------------------------------------------------

#: Its second function waits for a file; what it says is read by the test.
DURABLE_SCRIPT = """
import os, sys, time
from discompute_lite import Cluster

def work(number, trace):
    with open(trace + "/done", "a") as file:
        file.write("%d\\n" % number)
    return {number}

def last(trace):
    while not os.path.exists(trace + "/go"):
        time.sleep(0.01)
    return "last"

if __name__ == "__main__":
    trace = sys.argv[1]
    with Cluster(durable="durable" in sys.argv) as cluster:
        print("found", cluster.resumed, flush=True)
        print("first", sorted(min(each) for each in cluster.map(work, range(20), [trace] * 20)), flush=True)
        if "fails" in sys.argv:
            raise SystemExit(7)
        print(cluster.submit(last, trace).result(), flush=True)
"""


class Script:
    """A script of a person's, in a process of its own."""

    def __init__(self, field: Any, *words: str) -> None:
        command = [sys.executable, field.job("script.py", DURABLE_SCRIPT), *words]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=field.for_command(), text=True)

    def said(self) -> str:
        """Return the next line that it says."""
        return self.process.stdout.readline().strip()

    def end(self) -> int:
        """Return the exit code when it has ended."""
        self.process.communicate()
        return self.process.returncode


FIRST = f"first {list(range(20))}"


def test_a_killed_script_that_runs_again_makes_no_call_twice_whose_result_it_had(field: Any, trace: Path) -> None:
    words = (str(trace), "durable")
    script = Script(field, *words)
    assert (script.said(), script.said()) == ("found 0", FIRST)
    script.process.kill()
    script.end()
    field.wait_for(lambda: not field.processes(), "the end of what it had started")
    (trace / "go").touch()
    again = Script(field, *words)
    assert [again.said() for _ in range(3)] == ["found 20", FIRST, "last"] and again.end() == 0
    assert Counter(done_in(trace)) == Counter(range(20))
    # It came to its end: nothing is kept, and the next run is one of its own.
    assert not list((field.folder / "command" / "runs").glob("*.journal"))
    assert Script(field, *words).said() == "found 0"


def test_a_script_that_raises_keeps_its_results_and_one_with_other_arguments_has_its_own(
    field: Any, trace: Path
) -> None:
    words = (str(trace), "durable", "fails")
    for found in (0, 20):
        script = Script(field, *words)
        assert (script.said(), script.said()) == (f"found {found}", FIRST) and script.end() == 7
    other = Script(field, *words, "more")
    assert other.said() == "found 0"
    other.process.kill()
    other.end()


def test_a_script_that_is_not_durable_writes_no_journal(field: Any, trace: Path) -> None:
    (trace / "go").touch()
    script = Script(field, str(trace))
    assert [script.said() for _ in range(3)] == ["found 0", FIRST, "last"] and script.end() == 0
    state = field.folder / "command"
    assert state.is_dir() and not list(state.glob("**/*.journal")) and not (state / "runs").exists()


# ---- all of them, again and again -----------------------------------------------------------------------


class KillLoop:
    """A coordinator, a worker and a submitter, of whom one is killed in each round while a task is under way."""

    PARTS = 8
    VALUE = sum(part * part for part in range(PARTS))

    def __init__(self, field: Any, trace: Path, rng: random.Random) -> None:
        self.field, self.rng, self.trace = field, rng, trace
        # Of a pure job a slow device's piece is done on a second one as well, which is no work lost.
        self.path = field.job("job.py", f"{TRACED_JOB}pure = False\n")
        field.let_belong("coordinator", "worker")
        self.nodes = {name: self._start(name) for name in ("coordinator", "worker")}
        self.journals = self.nodes["coordinator"].state / "journals"
        self.mine = {"DISCOMPUTE_STATE_DIR": str(self.nodes["coordinator"].state)}
        self.killed: Counter[str] = Counter()
        self.times: Counter[int] = Counter()

    def _start(self, name: str) -> Any:
        return self.field.start(name, "--slots", "1")

    def round(self, number: int) -> None:
        """Submit, let some pieces be done, kill one of the three: the result comes all the same, and once."""
        trace = self.trace / str(number)
        trace.mkdir()
        # One piece at least waits until the murder is done: so the result cannot have come before.
        held = self.rng.randrange(1, self.PARTS + 1)
        enough = self.rng.randrange(self.PARTS - held + 1)
        victim = self.rng.choice(["submitter", "coordinator", "worker"])
        self.killed[victim] += 1
        words = ["--parts", str(self.PARTS), "--held", str(held)]
        submitter = Submitter(self.field, self.path, trace, *words, **self.mine)
        task_id = submitter.wait_accepted()
        self.field.wait_for(lambda: len(set(done_in(trace))) >= enough, f"{enough} pieces are done")
        kept = self.kept()
        if victim == "submitter":
            submitter.kill()
        else:
            self.nodes[victim].kill(signal.SIGKILL)
            self.nodes[victim].wait_end()
            self.nodes[victim] = self._start(victim)
        (trace / "go").touch()
        said = [submitter.process.communicate()] if victim != "submitter" else []
        if victim != "worker":
            resumed = self.field.type("submit", "--resume", task_id, **self.mine)
            said.append((resumed.out, resumed.err))
        assert [out for out, _ in said if out] == [f"{self.VALUE}\n"], (number, victim, said)
        times = Counter(done_in(trace))
        assert set(times) == set(range(self.PARTS)), (number, victim, times)
        assert all(times[index] == 1 for index in kept), (number, victim, kept, times)
        self.times += Counter(times.values())

    def kept(self) -> List[int]:
        """Return the pieces whose results are in the coordinator's journals: of one task, all others are over."""
        text = b"".join(path.read_bytes() for path in self.journals.glob("*.journal"))
        return [int(index) for index in re.findall(rb'"kept",{"index":(\d+)', text)]


def test_row_32_whoever_is_killed_nothing_is_lost_or_comes_twice_and_nobody_is_left(field: Any, trace: Path) -> None:
    rounds = 1000 if os.environ.get("DISCOMPUTE_TEST_LONG") else 30
    loop = KillLoop(field, trace, random.Random(20240828))
    for number in range(rounds):
        loop.round(number)
    assert min(loop.killed.values()) > rounds // 10
    tasks = loop.nodes["coordinator"].call("ListTasks")["tasks"]
    assert not [task for task in tasks if task["lite"]["state"] in ("PENDING", "RUNNING")]
    field.wait_for(lambda: not list(loop.journals.iterdir()), "all journals are gone")
    assert loop.times[1] > 2 * sum(count for times, count in loop.times.items() if times > 1)
