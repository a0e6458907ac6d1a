"""Tasks from submission to result: split, placed, retried, merged in order, streamed, cancelled, bounded."""

from dataclasses import replace

import pytest

from discompute_lite.model.errors import Unavailable
from discompute_lite.model.limits import Limits
from discompute_lite.roles.coordinated import LISTED_SUBTASKS, PARTS_TOLD
from discompute_lite.tasks.work import WorkOutcome

FAILING_JOB = """
def split(): return [1, 2, 0, 4]
def work(part): return 1 // part
"""
RAISING_JOB = """
def split(): return [0]
def work(part): return 1 // part
"""
SPLIT_ERROR_JOB = """
def split(): raise ValueError("no such file of numbers")
def work(part): return part
"""
SUM_JOB = """
def split(): return range(6)
def work(part):
    print("working on", part)
    return part * part
def merge(parts): return {"sum": sum(parts)}
"""


class Owner:
    """The owner of a node, and what is asked of its tasks."""

    def __init__(self, world, host):
        self.world, self.host = world, host
        self.client = world.owner(host)

    def submit(self, params, **more):
        return self.client.call("SubmitTask", {**params, **more})

    def status(self, task_id):
        return self.client.call("GetTaskStatus", {"task_id": task_id})

    def state(self, task_id):
        return self.status(task_id)["task"]["lite"]["state"]

    def result(self, task_id, **more):
        return self.client.call("GetTaskResult", {"task_id": task_id, **more})

    def value(self, task_id):
        answer = self.result(task_id)
        assert answer["state"] == "COMPLETED", answer
        return self.world.value(answer["result_data"])

    def cancel(self, task_id):
        return self.client.call("CancelTask", {"task_id": task_id})


@pytest.fixture
def pair(world):
    """Two nodes that know each other and hold what they are to run; the owner of the first."""
    first, second = world.nodes("ab")
    first.executor.holds = second.executor.holds = {"run"}
    return first, second, Owner(world, first)


@pytest.fixture
def alone(world):
    return Owner(world, world.member("a").start())


def let_go(world, *hosts):
    """Let the hosts run whatever they hold and whatever still comes."""
    for host in hosts:
        host.executor.holds = set()
        host.executor.release()
    world.settle()


# ---- the way of a task ----------------------------------------------------------------------------


def test_a_task_is_split_spread_and_merged_in_order(world, pair):
    first, second, owner = pair
    answer = owner.submit(world.echo(range(10)))
    assert answer["success"] and answer["message"] == "10 subtasks" and len(answer["subtasks"]) == 10
    task_id = answer["task_id"]
    assert owner.state(task_id) == "RUNNING" and len(first.executor.held) == len(second.executor.held) == 2
    # The second device is faster; order is by index all the same.
    second.executor.holds = set()
    second.executor.release()
    world.settle()
    let_go(world, first)
    assert owner.value(task_id) == list(range(10)) and owner.state(task_id) == "COMPLETED"
    assert sorted(first.executor.runs() + [run.partition(":")[2] for run in second.executor.runs()]) == [
        f"{task_id}/{index}.1" for index in range(10)]


def test_who_has_its_work_done_elsewhere_is_at_work_until_the_last_piece_is_back(world, pair):
    first, second, owner = pair
    task_id = owner.submit(world.echo(range(3), required_capabilities=[second.node.id]))["task_id"]
    assert first.node.worker.is_idle and first.node.attempts.is_at_work
    let_go(world, second)
    assert owner.state(task_id) == "COMPLETED" and not first.node.attempts.is_at_work


def test_a_job_file_is_run_and_what_it_printed_comes_with_its_parts(world, pair):
    first, second, owner = pair
    let_go(world, first, second)
    task_id = owner.submit(world.job(SUM_JOB))["task_id"]
    world.settle()
    assert owner.value(task_id) == {"sum": 55}
    assert [part["lite"]["output"] for part in owner.result(task_id)["parts"]] == [
        f"working on {part}\n" for part in range(6)]
    assert "output" not in owner.status(task_id)["subtasks"][0]["lite"]


def test_a_task_without_parts_is_merged_at_once(world, alone):
    answer = alone.submit(world.echo([]))
    assert answer["success"] and answer["subtasks"] == []
    assert alone.value(answer["task_id"]) == [] and alone.state(answer["task_id"]) == "COMPLETED"


def test_the_status_says_how_far_where_and_what_befell_it(world, pair):
    first, second, owner = pair
    request = world.echo(range(8))
    request["task"]["metadata"] = {"name": "letters.py"}
    task_id = owner.submit(request)["task_id"]
    world.advance(4)
    second.executor.holds = set()
    second.executor.release()
    world.settle()
    answer = owner.status(task_id)
    assert answer["success"] and 70 < answer["completion_percentage"] < 80
    assert answer["lite"]["devices"] == {second.id: 6}
    assert answer["lite"]["counts"] == {"RUNNING": 2, "COMPLETED": 6}
    assert answer["estimated_completion_time"] == pytest.approx(world.wall() + 4 / 3, abs=1.01)
    assert "submitted: letters.py, " in answer["lite"]["story"][0] and answer["task"]["task_data"] == ""
    assert [subtask["subtask_index"] for subtask in answer["subtasks"]] == list(range(8))
    assert {subtask["status"] for subtask in answer["subtasks"]} == {"RUNNING", "COMPLETED"}
    let_go(world, first)
    assert owner.status(task_id)["completion_percentage"] == 100.0


def test_tasks_are_listed_the_newest_first(world, alone):
    for number in range(3):
        alone.submit(world.echo([number], task_id=f"t{number}"))
    assert [task["task_id"] for task in alone.client.call("ListTasks")["tasks"]] == ["t2", "t1", "t0"]


def test_a_task_that_nobody_knows_is_said_to_be_unknown(alone):
    assert not alone.status("nothing")["success"] and not alone.result("nothing")["success"]
    assert not alone.cancel("nothing")["success"]


def test_priorities_are_passed_on_and_odd_ones_count_as_usual(world, alone):
    alone.host.executor.holds = {"run"}
    priorities = {"none": 0, "odd": 99, "low": 1, "urgent": 10, "negative": -3}
    for name, priority in priorities.items():
        alone.submit(world.echo(range(3), task_id=name, priority=priority))
    scheduler = alone.host.node.attempts.scheduler
    assert {name: scheduler.task(name).priority for name in priorities} == {
        "none": 5, "odd": 5, "low": 1, "urgent": 10, "negative": 5}
    begun = [run.partition("/")[0] for run in alone.host.executor.runs()]
    alone.host.executor.release(1)
    world.settle()
    assert begun == ["none"] * 2 and alone.host.executor.runs()[2].startswith("urgent")


def test_no_more_devices_are_used_than_asked_for(world, pair):
    first, second, owner = pair
    owner.submit(world.echo(range(8)), max_devices=1)
    assert sorted([len(first.executor.runs()), len(second.executor.runs())]) == [0, 2]


def test_what_a_task_requires_decides_where_it_goes(world, pair):
    first, second, owner = pair
    task_id = owner.submit(world.echo([1], required_capabilities=["gpu"]))["task_id"]
    world.advance(2)
    assert first.executor.runs() == second.executor.runs() == []
    assert any("does not offer gpu" in line for line in owner.status(task_id)["lite"]["story"])
    task_id = owner.submit(world.echo([1], required_capabilities=["linux", "Test chip"]))["task_id"]
    let_go(world, first, second)
    assert owner.state(task_id) == "COMPLETED"


# ---- results as they come -------------------------------------------------------------------------


def test_parts_are_told_in_order_from_where_one_asks_and_without_gaps(world, alone):
    executor = alone.host.executor
    executor.holds = {"run"}
    task_id = alone.submit(world.echo("abcd"))["task_id"]
    executor.end(WorkOutcome(True, b'"b"'), index=1)
    world.settle()
    answer = alone.result(task_id)
    assert answer["parts"] == [] and answer["next_index"] == 0 and answer["state"] == "RUNNING"
    executor.release(1)
    world.settle()
    answer = alone.result(task_id)
    assert [world.value(part["result_data"]) for part in answer["parts"]] == ["a", "b"] and answer["next_index"] == 2
    let_go(world, alone.host)
    answer = alone.result(task_id, from_index=2)
    assert [world.value(part["result_data"]) for part in answer["parts"]] == ["c", "d"]
    assert answer["next_index"] == 4 and world.value(answer["result_data"]) == list("abcd")
    assert alone.result(task_id, from_index=-5)["parts"][0]["subtask_index"] == 0
    assert alone.result(task_id, from_index=99)["parts"] == []


def test_one_may_wait_for_the_next_part(world, alone):
    alone.host.executor.holds = {"run"}
    task_id = alone.submit(world.echo("ab"))["task_id"]
    replies = alone.client.begin("GetTaskResult", {"task_id": task_id, "wait_s": 5})
    world.advance(3)
    assert replies == []
    alone.host.executor.release(1)
    world.settle()
    assert [part["subtask_index"] for part in replies[0][0]["parts"]] == [0]


def test_waiting_ends_with_the_time_given_with_the_task_and_after_a_minute_at_most(world, alone):
    alone.host.executor.holds = {"run"}
    task_id = alone.submit(world.echo("ab"))["task_id"]
    short = alone.client.begin("GetTaskResult", {"task_id": task_id, "wait_s": 5})
    long = alone.client.begin("GetTaskResult", {"task_id": task_id, "wait_s": 1e9})
    world.advance(5.1)
    assert short[0][0]["parts"] == [] and short[0][0]["state"] == "RUNNING" and long == []
    world.advance(55)
    assert len(long) == 1
    last = alone.client.begin("GetTaskResult", {"task_id": task_id, "wait_s": 30})
    alone.cancel(task_id)
    world.settle()
    assert last[0][0]["state"] == "CANCELLED"


def test_results_of_many_parts_come_in_pages_that_fit_a_message(world, alone):
    """An answer has 256 attachments and a line of 1 MiB; these parts are one attachment each."""
    parts = [str(number) * 600 for number in range(1000, 1000 + 2 * PARTS_TOLD + 1)]
    task_id = alone.submit(world.echo(parts))["task_id"]
    world.settle()
    seen, index = [], 0
    for size in (PARTS_TOLD, PARTS_TOLD, 1, 0):
        answer = alone.result(task_id, from_index=index)
        assert len(answer["parts"]) == size
        seen += [world.value(part["result_data"]) for part in answer["parts"]]
        index = answer["next_index"]
    assert seen == parts == alone.value(task_id)


def test_large_parts_and_a_large_result_share_no_message_that_would_be_too_large(world):
    node = world.host("a", limits={"message_bytes": 10_000}).start()
    alone = world.owner(node)
    parts = ["x" * 4000, "y" * 4000]
    task_id = alone.call("SubmitTask", world.echo(parts))["task_id"]
    world.settle()
    seen, index = [], 0
    while True:
        answer = alone.call("GetTaskResult", {"task_id": task_id, "from_index": index})
        seen += [world.value(part["result_data"]) for part in answer["parts"]]
        if answer["next_index"] == index:
            break
        assert not answer["result_data"] and "no room" in answer["message"]
        index = answer["next_index"]
    assert seen == parts == world.value(answer["result_data"])


def test_pages_stay_small_however_much_was_printed(world, alone):
    source = "def split(): return range(40)\ndef work(part): print('\\x01' * 200000)"
    task_id = alone.submit(world.job(source))["task_id"]
    world.settle()
    index = 0
    while index < 40:
        answer = alone.result(task_id, from_index=index)
        assert answer["next_index"] > index
        index = answer["next_index"]
    assert alone.status(task_id)["success"]


def test_tasks_of_the_most_subtasks_can_be_submitted_and_looked_at(world, alone):
    alone.host.executor.holds = {"run"}
    answer = alone.submit(world.echo(range(4096), task_id="t" * 64))
    assert answer["message"] == "4096 subtasks" and len(answer["subtasks"]) == LISTED_SUBTASKS
    status = alone.status("t" * 64)
    assert len(status["subtasks"]) == LISTED_SUBTASKS and status["lite"]["counts"] == {"RUNNING": 2, "PENDING": 4094}


# ---- what is printed beside the results ---------------------------------------------------------------


def printed(answer):
    return [(entry["phase"], entry["device_id"][0], entry["text"]) for entry in answer["printed"]]


def test_what_split_and_merge_print_is_told(world, alone):
    source = "def split():\n    print('cutting')\n    return [1]\ndef work(part): print('working')\n"
    source += "def merge(parts): print('joining')"
    alone.host.executor.holds = {"run"}
    task_id = alone.submit(world.job(source))["task_id"]
    before = alone.result(task_id)
    assert printed(before) == [("split", "a", "cutting\n")] and before["next_printed"] == 1
    let_go(world, alone.host)
    after = alone.result(task_id, from_printed=1)
    assert printed(after) == [("merge", "a", "joining\n")] and after["next_printed"] == 2
    assert printed(alone.result(task_id, from_printed=-3)) == printed(before) + printed(after)
    assert [part["lite"]["output"] for part in after["parts"]] == ["working\n"]


@pytest.mark.parametrize("phase", ["split", "work", "merge"])
def test_what_fails_a_task_printed_before_is_told(world, alone, phase):
    source = "".join(f"def {name}(*_):\n    print('in {name}')\n    return 1 // 0\n" if name == phase
                     else f"def {name}(*_): return [1]\n" for name in ("split", "work", "merge"))
    alone.submit(world.job(source, task_id="mine"))
    world.settle()
    answer = alone.result("mine")
    told_as = "run" if phase == "work" else phase
    assert answer["state"] == "FAILED" and printed(answer) == [(told_as, "a", f"in {phase}\n")]


def test_what_a_failed_attempt_printed_is_told_though_its_subtask_succeeds_elsewhere(world, pair):
    first, second, owner = pair
    task_id = owner.submit(world.echo(range(4)))["task_id"]
    waiting = owner.client.begin("GetTaskResult", {"task_id": task_id, "wait_s": 30})
    second.executor.end(WorkOutcome(False, error="it broke", output="hot in here\n", blame="device"))
    world.settle()
    assert printed(waiting[0][0]) == [("run", "b", "hot in here\n")], "whoever waits for something new is told"
    let_go(world, first, second)
    world.advance(5)
    assert owner.value(task_id) == list(range(4)) and printed(owner.result(task_id)) == [("run", "b", "hot in here\n")]


# ---- submitting -----------------------------------------------------------------------------------


def test_submitting_again_by_the_same_id_returns_the_task_that_is_there(world, alone):
    alone.host.executor.holds = {"run"}
    first = alone.submit(world.echo("abc", task_id="mine"))
    again = alone.submit(world.echo("completely different", task_id="mine"))
    assert [subtask["subtask_id"] for subtask in again["subtasks"]] == [
        subtask["subtask_id"] for subtask in first["subtasks"]]
    let_go(world, alone.host)
    assert len(alone.host.executor.runs()) == 3 and alone.value("mine") == list("abc")
    assert alone.submit(world.echo("x", task_id="mine"))["success"] and len(alone.host.executor.runs()) == 3


def test_submitting_twice_before_the_task_is_split_splits_it_once(world, alone):
    alone.host.executor.holds = {"split"}
    first = alone.client.begin("SubmitTask", world.echo("abc", task_id="mine"))
    again = alone.client.begin("SubmitTask", world.echo("abc", task_id="mine"))
    assert first == again == [] and len(alone.host.executor.held) == 1
    alone.host.executor.release()
    world.settle()
    assert first[0][0]["task_id"] == again[0][0]["task_id"] == "mine" and first[0][0]["success"]


def test_tasks_without_an_id_get_one_each(world, alone):
    ids = {alone.submit(world.echo("a"))["task_id"] for _ in range(5)}
    assert len(ids) == 5 and all(len(task_id) == 12 for task_id in ids)


@pytest.mark.parametrize("task, says", [
    ({"task_type": "mine bitcoin"}, "no task type"), ({}, "no task type"),
    ({"task_type": "echo", "task_id": "x" * 65}, "64 characters"), ({"task_type": "echo", "task_id": "a/b"}, "slash"),
    ({"task_type": "echo", "task_id": "a~b"}, "no ~"),
])
def test_a_task_that_cannot_be_is_refused_in_words(alone, task, says):
    answer = alone.submit({"task": task})
    assert not answer["success"] and says in answer["message"] and alone.client.call("ListTasks")["tasks"] == []


@pytest.mark.parametrize("build, says", [
    (lambda world: world.job(SPLIT_ERROR_JOB), "no such file of numbers"),
    (lambda world: world.job("def work(:"), "split"),
    (lambda world: {"task": {"task_type": "echo", "task_data": b"{"}}, "split"),
    (lambda world: {"task": {"task_type": "echo", "task_data": b'{"colour":1}'}}, "colour"),
])
def test_a_task_that_cannot_be_split_fails_with_the_reason(world, alone, build, says):
    answer = alone.submit(build(world))
    assert not answer["success"] and says in answer["message"] and answer["subtasks"] == []
    assert alone.state(answer["task_id"]) == "FAILED" and says in alone.result(answer["task_id"])["message"]


# ---- failures -------------------------------------------------------------------------------------


def test_an_error_of_the_persons_own_code_fails_the_task_with_its_text(world, pair):
    first, second, owner = pair
    let_go(world, first, second)
    task_id = owner.submit(world.job(FAILING_JOB))["task_id"]
    world.settle()
    answer = owner.result(task_id)
    assert answer["state"] == "FAILED" and "ZeroDivisionError" in answer["message"]
    assert "1 // part" in answer["message"], "the traceback of the person's own code"
    failed = [subtask for subtask in owner.status(task_id)["subtasks"] if subtask["status"] == "FAILED"]
    assert [subtask["subtask_index"] for subtask in failed] == [2]
    assert len([run for run in first.executor.runs() + second.executor.runs() if "/2." in run]) == 1, "not tried again"


#: What stands around the error's own sentence: which piece failed.
OWN_WORDS_BYTES = 40


@pytest.mark.parametrize("body, words", [
    ("return __import__('threading').Lock()", "lock"),
    ("deep = []\n    for _ in range(100_000): deep = [deep]\n    return deep", "deep"),
    ("class Odd(Exception):\n        def __repr__(self): return 'x' * 10_000_000\n        __str__ = __repr__\n"
     "    raise Odd()", "Odd"),
    ("class Odd(Exception):\n        def __str__(self): raise self\n    raise Odd()", "Odd"),
    ("x = [0] * 10_000_000\n    raise ValueError(x)", "ValueError"),
], ids=["lock", "deep", "long", "vicious", "large"])
def test_row_42_what_cannot_be_sent_back_fails_its_task_once_and_in_few_words(world, pair, body, words):
    first, second, owner = pair
    let_go(world, first, second)
    task_id = owner.submit(world.job(f"def work(part=None):\n    {body}\n"))["task_id"]
    world.advance(30.0)
    answer = owner.result(task_id)
    assert answer["state"] == "FAILED" and words in answer["message"]
    text, _, trace = answer["message"].partition("\n")
    assert len(text.encode()) <= Limits().error_text_bytes + OWN_WORDS_BYTES and "\n" not in text
    assert len(trace.encode()) <= Limits().error_trace_bytes
    assert len(first.executor.runs() + second.executor.runs()) == 1, "not tried again"


def test_row_42_what_is_no_number_is_a_value_like_any_other(world, pair):
    first, second, owner = pair
    let_go(world, first, second)
    task_id = owner.submit(world.job("def work(part=None): return [float('nan'), float('inf')]"))["task_id"]
    world.advance(5.0)
    assert str(owner.value(task_id)) == "[nan, inf]"


def test_an_error_in_merge_fails_the_task(world, alone):
    source = "def split(): return [1]\ndef work(part): return part\ndef merge(parts): raise KeyError('gone')"
    task_id = alone.submit(world.job(source))["task_id"]
    world.settle()
    assert alone.state(task_id) == "FAILED" and "could not be merged" in alone.result(task_id)["message"]


#: What an executor says when a process ended amid its work, or was given up.
DIED = WorkOutcome(False, error="the process was stopped by signal 19 (SIGSTOP)", error_type="Died", blame="device")


@pytest.mark.parametrize("phase", ["split", "merge"])
def test_a_split_or_a_merge_whose_process_ends_is_done_again(world, alone, phase):
    executor = alone.host.executor
    executor.holds = {phase}
    alone.client.begin("SubmitTask", world.echo(range(4), task_id="mine"))
    world.settle()
    for _ in range(2):
        executor.end(DIED)
        world.settle()
        assert alone.state("mine") in ("PENDING", "RUNNING")
    assert any("once more: the process was stopped" in line for line in alone.status("mine")["lite"]["story"])
    let_go(world, alone.host)
    assert alone.value("mine") == list(range(4)) and len(executor.runs()) == 4


@pytest.mark.parametrize("phase", ["split", "merge"])
def test_what_ends_three_processes_that_split_or_merge_it_fails_and_says_so(world, alone, phase):
    executor = alone.host.executor
    executor.holds = {phase}
    alone.client.begin("SubmitTask", world.echo(range(4), task_id="mine"))
    for _ in range(3):
        world.settle()
        executor.end(DIED)
    world.settle()
    assert not executor.held and alone.state("mine") == "FAILED"
    assert "3 processes ended amid it, the last: the process was stopped" in alone.result("mine")["message"]


@pytest.mark.parametrize("phase", ["split", "merge"])
def test_a_stopped_process_that_splits_or_merges_is_given_up_where_the_task_is_pure_and_told_of_else(
    world, alone, phase
):
    executor = alone.host.executor
    executor.holds = {phase}
    for task_id, lite in (("pure", {}), ("impure", {"pure": False})):
        request = world.echo(range(4), task_id=task_id)
        request["task"]["lite"] = lite
        alone.client.begin("SubmitTask", request)
        world.settle()
    assert [future.request.may_repeat for future in executor.held] == [True, False]
    executor.held[1].standstill = "process 7 was stopped by signal 19 (SIGSTOP)"
    why = alone.client.call("ExplainTask", {"task_id": "impure"})["message"]
    assert "process 7 was stopped" in why and "must not be done twice" in why


#: What an executor says that cannot begin anything just now (host/process_executor.py).
NO_ROOM = WorkOutcome(
    False, error="the folder for scratch cannot be used (No space left on device); make room on the disk",
    error_type="NoRoom", blame="refused")


def test_row_37_a_device_without_room_for_work_is_nobodys_fault_and_works_again_when_there_is(world, alone):
    executor = alone.host.executor
    executor.holds = {"run"}
    task_id = alone.submit(world.echo(range(4)))["task_id"]
    for _ in range(5):  # Were it a failure, three of them would be the end.
        while executor.held:
            executor.end(NO_ROOM)
        world.advance(10.0)
    assert alone.state(task_id) == "RUNNING"
    assert any("make room on the disk" in line for line in alone.status(task_id)["lite"]["story"])
    executor.holds = set()
    executor.release()
    world.advance(10.0)
    assert alone.value(task_id) == list(range(4))


def test_row_37_what_cannot_be_split_for_want_of_room_is_refused_with_the_reason(world, alone):
    alone.host.executor.holds = {"split"}
    replies = alone.client.begin("SubmitTask", world.echo([1]))
    alone.host.executor.end(NO_ROOM)
    world.settle()
    answer = replies[0][0]
    assert not answer["success"] and "make room on the disk" in answer["message"]


def test_row_37_work_that_is_done_is_not_lost_because_there_is_no_room_to_merge_it(world, alone):
    executor = alone.host.executor
    executor.holds = {"merge"}
    task_id = alone.submit(world.echo(range(4)))["task_id"]
    world.settle()
    for _ in range(5):
        executor.end(NO_ROOM)
        world.advance(2.0)
    assert alone.state(task_id) == "RUNNING" and len(executor.runs()) == 4
    executor.release()
    world.settle()
    assert alone.value(task_id) == list(range(4)) and len(executor.runs()) == 4


def test_a_task_that_is_cancelled_while_its_merge_waits_for_room_stays_cancelled(world, alone):
    executor = alone.host.executor
    executor.holds = {"merge"}
    task_id = alone.submit(world.echo(range(4)))["task_id"]
    world.settle()
    executor.end(NO_ROOM)
    world.settle()
    alone.client.call("CancelTask", {"task_id": task_id})
    world.advance(10.0)
    assert alone.state(task_id) == "CANCELLED" and not executor.held


def explained(owner, task_id, index=-1):
    answer = owner.client.call("ExplainTask", {"task_id": task_id, "index": index})
    return answer["success"], answer["message"]


def test_a_task_and_its_pieces_are_explained_at_every_stage(world, pair):
    first, second, owner = pair
    task_id = owner.submit(world.echo(range(6)))["task_id"]
    found, text = explained(owner, task_id)
    assert found and "0 of 6 subtasks are done" in text and "wait" in text
    assert "runs on" in explained(owner, task_id, 0)[1] and "waits: every slot" in explained(owner, task_id, 5)[1]
    let_go(world, first, second)
    assert explained(owner, task_id) == (True, "it is over: completed")
    assert "subtask 2 is done: " in explained(owner, task_id, 2)[1] and not explained(owner, task_id, 6)[0]
    assert explained(owner, "nobody's")[0] is False


@pytest.mark.parametrize("where", [0, 1], ids=["here", "elsewhere"])
def test_a_piece_whose_process_somebody_stopped_says_so_until_it_goes_on(world, pair, where):
    *hosts, owner = pair
    task_id = owner.submit(world.echo(
        range(2), lite={"pure": False}, required_capabilities=[hosts[where].id]))["task_id"]
    held = hosts[where].executor.held
    assert len(held) == 2 and not any(future.request.may_repeat for future in held)
    held[1].standstill = "process 7 was stopped"
    world.advance(6.0)
    words = f"attempt 1 on {hosts[where].id[:8]} stands still (process 7 was stopped); since its task is not pure"
    assert words in explained(owner, task_id)[1] and words in explained(owner, task_id, 1)[1]
    assert "stands still" not in explained(owner, task_id, 0)[1]
    assert sum("stands still" in line for line in owner.status(task_id)["lite"]["story"]) == 1
    held[1].standstill = ""
    world.advance(6.0)
    assert "stands still" not in explained(owner, task_id)[1]
    let_go(world, *hosts)
    assert owner.value(task_id) == [0, 1]


def test_what_a_device_says_of_an_attempt_that_stands_still_is_bounded(world, pair):
    first, second, owner = pair
    task_id = owner.submit(world.echo([1], required_capabilities=[second.id]))["task_id"]
    held = second.executor.held
    assert [future.request.may_repeat for future in held] == [True]
    held[0].standstill = "x" * 5000
    world.advance(6.0)
    assert 200 < len(explained(owner, task_id)[1]) < 700
    held[0].standstill = ["no text"]
    world.advance(6.0)
    assert "stands still" not in explained(owner, task_id)[1]


def test_a_task_that_is_being_split_says_so_and_one_that_waits_for_that_says_for_what(world, alone):
    executor = alone.host.executor
    executor.holds = {"run"}
    busy = [alone.submit(world.echo([1]))["task_id"] for _ in range(2)]
    executor.holds = {"split"}
    for name in ("hangs", "waits"):
        alone.client.begin("SubmitTask", world.echo([1], task_id=name))
    executor.held[-1].is_queued = True
    assert explained(alone, "hangs") == (True, "it is being split on device a")
    assert explained(alone, "waits") == (True,
        f"it waits for a free slot on device a to be split: 2 of 2 are busy with {busy[0][:8]}, {busy[1][:8]},"
        " and hangs is being split")


# ---- accepted at once -----------------------------------------------------------------------------


def at_once(world, owner, task_id="mine", items=range(3)):
    replies = owner.client.begin("SubmitTask", {**world.echo(items, task_id=task_id), "lite": {"at_once": True}})
    world.settle()
    return replies


def test_a_task_is_accepted_at_once_and_split_afterwards(world, alone):
    executor = alone.host.executor
    executor.holds = {"split"}
    (answer, error), = at_once(world, alone)
    assert error is None and answer["success"] and answer["subtasks"] == [] and "to be split" in answer["message"]
    assert alone.state("mine") == "PENDING" and alone.result("mine")["message"] == answer["message"]
    assert at_once(world, alone)[0][0] == answer and len(executor.held) == 1, "the same task is split once"
    late = alone.client.begin("SubmitTask", world.echo(range(3), task_id="mine"))
    executor.release()
    world.settle()
    assert alone.value("mine") == [0, 1, 2] and len(late[0][0]["subtasks"]) == 3


def test_a_task_that_was_accepted_and_cannot_be_split_has_failed_with_the_reason(world, alone):
    at_once(world, alone)
    request = {**world.job(SPLIT_ERROR_JOB), "lite": {"at_once": True}}
    (answer, _), = [alone.client.begin("SubmitTask", request)[0]]
    world.settle()
    found = alone.result(answer["task_id"])
    assert answer["success"] and found["state"] == "FAILED" and "no such file of numbers" in found["message"]


def test_a_task_that_was_accepted_waits_for_room_to_be_split(world, alone):
    executor = alone.host.executor
    executor.holds = {"split"}
    at_once(world, alone)
    executor.end(NO_ROOM)
    world.settle()
    assert alone.state("mine") == "PENDING" and "no room" in explained(alone, "mine")[1]
    world.advance(2.0)
    executor.release()
    world.settle()
    assert alone.value("mine") == [0, 1, 2]


def test_a_split_that_hangs_is_stopped_with_its_task_and_takes_no_longer_than_that_may(world, alone):
    alone.host.executor.holds = {"split"}
    task = {**world.echo([1], task_id="mine")["task"], "lite": {"deadline_s": 60}}
    alone.client.begin("SubmitTask", {"task": task, "lite": {"at_once": True}})
    world.settle()
    split, = alone.host.executor.held
    assert split.request.wall_s == 60
    assert alone.cancel("mine")["success"] and split.stop_reason and alone.state("mine") == "CANCELLED"


def test_when_a_device_breaks_under_a_subtask_it_is_tried_on_another(world, pair):
    first, second, owner = pair
    task_id = owner.submit(world.echo(range(4)))["task_id"]
    second.executor.end(WorkOutcome(False, error="the process died", error_type="Died", blame="device"))
    world.settle()
    let_go(world, first, second)
    world.advance(5)
    assert owner.value(task_id) == list(range(4))
    assert any("failed there: the process died" in line for line in owner.status(task_id)["lite"]["story"])


@pytest.mark.parametrize("source, about", [
    ("def work(", "line 1"), ("x = '\0'\ndef work(part): pass", "NUL"), ("# " + "x" * 10_000_000, "longer"),
    ("def work(part): return " + "(" * 3000 + ")" * 3000, ""), ("def other(part): pass", "work"),
    ("# coding: latin-1\ndef work(part): return part", "latin-1"),
], ids=["syntax", "nul", "long", "deep", "no-work", "coding"])
def test_row_41_a_source_that_is_none_is_read_by_one_child_here_and_no_device_gets_it(world, pair, source, about):
    first, second, owner = pair
    answer = owner.submit(world.job(source))
    assert not answer["success"] and about in answer["message"] and len(answer["message"]) < 1024
    assert [request.phase for request in first.executor.requests] == ["split"] and second.executor.requests == []


def test_row_43_a_subtask_that_breaks_every_device_is_poison(world, pair):
    first, second, owner = pair
    task_id = owner.submit(world.echo([1]))["task_id"]
    for _ in range(3):
        for host in (first, second):
            while host.executor.held:
                host.executor.end(WorkOutcome(False, error="the process died", error_type="Died", blame="device"))
        world.advance(3)
    assert owner.state(task_id) == "FAILED" and "poison" in owner.result(task_id)["message"]
    runs = [*first.executor.runs(), *second.executor.runs()]
    assert len(runs) == 3, "it breaks no fourth one"
    world.advance(60)
    assert [*first.executor.runs(), *second.executor.runs()] == runs


def test_row_31_a_killed_device_loses_its_work_to_the_others_at_once(world, pair):
    first, second, owner = pair
    task_id = owner.submit(world.echo(range(4)))["task_id"]
    assert len(second.executor.held) == 2
    second.kill()
    world.settle()
    let_go(world, first)
    assert owner.value(task_id) == list(range(4)), "no time has passed"
    status = owner.status(task_id)["lite"]
    assert status["counts"] == {"COMPLETED": 4} and sum(status["devices"].values()) == 4
    assert any("lost with its device" in line for line in owner.status(task_id)["lite"]["story"])


def test_the_work_of_a_silent_device_is_placed_elsewhere_and_its_late_answer_changes_nothing(world, pair):
    first, second, owner = pair
    task_id = owner.submit(world.echo(range(4)))["task_id"]
    second.freeze()
    world.advance(0.5)
    assert owner.state(task_id) == "RUNNING"
    let_go(world, first)
    world.advance(2)
    assert owner.value(task_id) == list(range(4)) and "suspect" not in first.kinds_told()
    assert any(", beside attempt 1 on " in line for line in owner.status(task_id)["lite"]["story"])
    world.advance(16)
    second.executor.held[0].settle(WorkOutcome(True, b'"too late"'))
    second.thaw()
    world.advance(10)
    assert owner.value(task_id) == list(range(4))


def test_an_answer_lost_with_its_link_is_fetched_and_not_computed_again(world, pair):
    first, second, owner = pair
    task_id = owner.submit(world.echo(range(4)))["task_id"]
    attempts = [f"{task_id}/{index}.1" for index in range(4)]
    first.drop_link(second)
    # The device ends its work while nobody can call it.
    second.executor.release()
    world.advance(3)
    let_go(world, first)
    assert owner.value(task_id) == list(range(4))
    begun = first.executor.runs() + [run.partition(":")[2] for run in second.executor.runs()]
    assert [begun.count(attempt) for attempt in attempts] == [1] * 4, "each once"


def test_a_link_lost_before_the_work_is_done_costs_nothing(world, pair):
    first, second, owner = pair
    task_id = owner.submit(world.echo(range(4)))["task_id"]
    for _ in range(3):
        first.drop_link(second)
        world.advance(2.5)
    let_go(world, first, second)
    assert owner.value(task_id) == list(range(4)) and len(second.executor.runs()) == 2


def test_a_device_that_leaves_gives_its_work_back(world, pair):
    first, second, owner = pair
    task_id = owner.submit(world.echo(range(4)))["task_id"]
    second.stop()
    let_go(world, first)
    world.advance(2)
    assert owner.value(task_id) == list(range(4))


def test_a_device_that_was_restarted_has_lost_its_work(world, pair):
    first, second, owner = pair
    task_id = owner.submit(world.echo(range(4)))["task_id"]
    second.links.clear()  # its machine lost its power: nothing closed its connections
    second.kill()
    second.start()
    world.advance(3)
    let_go(world, first, second)
    world.advance(1)
    assert owner.value(task_id) == list(range(4))
    assert any("it was restarted" in line for line in owner.status(task_id)["lite"]["story"])
    owner.submit(world.echo(range(4)))
    assert second.executor.runs(), "it gets new work"


def test_a_busy_device_is_left_alone_for_a_while(world, pair):
    first, second, owner = pair
    second.reading = type(second.reading)(battery_level=0.1)
    second.node.feelings.reading = second.reading  # it has not told yet
    task_id = owner.submit(world.echo(range(4)))["task_id"]
    let_go(world, first)
    world.advance(5)
    assert owner.value(task_id) == list(range(4)) and second.executor.runs() == []
    assert any("refused: on battery" in line for line in owner.status(task_id)["lite"]["story"])


def test_a_submitted_task_is_tried_again_as_often_as_it_asked_for(world, alone):
    """What its own code raises is final, unless it asked."""
    asked = {"retries": 2, "deadline_s": 60}
    for lite, tries in (({}, 1), (asked, 3), ({"retries": -1, "deadline_s": "soon", "pure": 1}, 1)):
        before = len(alone.host.executor.runs())
        task_id = alone.submit(world.job(RAISING_JOB, lite=lite))["task_id"]
        world.advance(30)
        assert alone.state(task_id) == "FAILED" and len(alone.host.executor.runs()) - before == tries


@pytest.mark.parametrize("lite, runs", [({}, 2), ({"pure": True}, 2), ({"pure": False}, 1)])
def test_the_last_piece_runs_on_a_second_device_as_well_unless_its_task_is_not_pure(world, pair, lite, runs):
    first, second, owner = pair
    task_id = owner.submit(world.echo(range(6), lite=lite))["task_id"]
    let_go(world, second)
    slow = first.executor.held.copy()
    assert len(slow) == 2, "the slow device holds what it was given"
    world.advance(30)
    last = [f"{task_id}/{index}." for index in range(6) if f"{task_id}/{index}.1" in first.executor.runs()]
    tries = [sum(name in run for host in pair[:2] for run in host.executor.runs()) for name in last]
    assert tries == [runs, runs]
    assert owner.state(task_id) == ("COMPLETED" if runs == 2 else "RUNNING")
    let_go(world, first)
    assert owner.value(task_id) == list(range(6))


def test_a_task_fails_when_its_deadline_passes(world, alone):
    alone.host.executor.holds = {"run"}
    task_id = alone.submit(world.echo("ab", lite={"deadline_s": 3}))["task_id"]
    world.advance(2.5)
    assert alone.state(task_id) == "RUNNING"
    world.advance(1)
    assert alone.state(task_id) == "FAILED" and "deadline" in alone.status(task_id)["lite"]["story"][-1]


def test_a_device_under_strain_says_why_it_does_less_than_usual(world, alone):
    alone.host.executor.holds = {"run"}
    metrics = replace(alone.host.reading.metrics, temperature=90.0)
    alone.host.reading = type(alone.host.reading)(metrics=metrics)
    world.advance(6)
    task_id = alone.submit(world.echo(range(8)))["task_id"]
    assert len(alone.host.executor.runs()) == 1, "one of two slots"
    listed = alone.client.call("GetDevices", {})["devices"][0]
    assert listed["lite"]["slots"] == 1 and listed["lite"]["reason"].startswith("warm at 90")
    assert "warm at 90" in alone.client.call("ExplainTask", {"task_id": task_id})["message"]


def test_long_work_is_let_run_on_this_device_and_on_others(world, pair):
    """Ten minutes and more: heartbeats renew the leases of others' work, and ours needs none."""
    first, second, owner = pair
    task_id = owner.submit(world.echo(range(4)))["task_id"]
    world.advance(100)
    assert not any(future.stop_reason for future in first.executor.held + second.executor.held)
    let_go(world, first, second)
    assert owner.value(task_id) == list(range(4))
    assert len(first.executor.runs()) == len(second.executor.runs()) == 2


# ---- cancelling -----------------------------------------------------------------------------------


def test_cancelling_stops_what_runs_everywhere_down_to_the_process(world, pair):
    first, second, owner = pair
    task_id = owner.submit(world.echo(range(8)))["task_id"]
    held = first.executor.held + second.executor.held
    assert owner.cancel(task_id)["success"]
    world.settle()
    assert [future.stop_reason for future in held] == ["it was cancelled"] * 4
    assert owner.state(task_id) == "CANCELLED" and first.node.worker.running == second.node.worker.running == 0
    assert owner.status(task_id)["lite"]["counts"] == {"CANCELLED": 8}
    again = owner.cancel(task_id)
    assert not again["success"] and "over already" in again["message"]
    world.advance(20)
    assert second.node.worker._attempts == {}, "outcomes that nobody wants are not kept"


def test_what_ends_a_task_is_told_once(world, alone):
    alone.host.executor.holds = {"run"}
    task_id = alone.submit(world.echo("abc"))["task_id"]
    alone.cancel(task_id)
    assert alone.result(task_id)["message"] == "cancelled by its owner"
    let_go(world, alone.host)
    failing = alone.submit(world.job(FAILING_JOB))["task_id"]
    world.settle()
    for ended, word in ((task_id, "cancelled"), (failing, "failed")):
        assert [line.count(word) for line in alone.status(ended)["lite"]["story"] if word in line] == [1]
        assert sum(word in text for text in alone.host.texts_told("task") if ended[:8] in text) == 1
    alone.host.executor.holds = {"split"}
    alone.client.begin("SubmitTask", world.echo("abc", task_id="unsplit"))
    alone.cancel("unsplit")
    assert [line.count("cancelled") for line in alone.status("unsplit")["lite"]["story"]] == [0, 1]


def test_cancelling_while_a_task_is_split_stops_the_split_and_tells_who_submitted(world, alone):
    alone.host.executor.holds = {"split"}
    replies = alone.client.begin("SubmitTask", world.echo("abc", task_id="mine"))
    assert alone.cancel("mine")["success"]
    world.settle()
    assert not replies[0][0]["success"] and "cancelled" in replies[0][0]["message"]
    assert alone.host.executor.held[0].stop_reason and alone.state("mine") == "CANCELLED"
    assert not alone.submit(world.echo("abc", task_id="mine"))["success"]


def test_cancelling_while_a_task_is_merged_stops_the_merge(world, alone):
    alone.host.executor.holds = {"merge"}
    task_id = alone.submit(world.echo("abc"))["task_id"]
    world.settle()
    assert alone.cancel(task_id)["success"]
    world.settle()
    assert alone.state(task_id) == "CANCELLED" and alone.host.executor.held[0].stop_reason
    assert alone.result(task_id)["next_index"] == 3, "what is there stays there"


# ---- limits ---------------------------------------------------------------------------------------


def test_no_more_tasks_are_taken_than_the_limit_says(world):
    owner = Owner(world, world.host("a", limits={"tasks": 2}).start())
    owner.host.executor.holds = {"run"}
    owner.submit(world.echo("a")), owner.submit(world.echo("b"))
    with pytest.raises(Unavailable, match="2 tasks are under way") as caught:
        owner.submit(world.echo("c"))
    assert caught.value.data == {"retry_after": 5.0}
    let_go(world, owner.host)
    assert owner.submit(world.echo("c"))["success"]


def test_a_task_of_too_many_subtasks_fails(world):
    owner = Owner(world, world.host("a", limits={"subtasks": 5}).start())
    assert owner.submit(world.echo(range(5)))["success"]
    answer = owner.submit(world.echo(range(6)))
    assert not answer["success"] and "more than 5" in answer["message"]


def test_only_the_last_finished_tasks_are_kept(world):
    owner = Owner(world, world.host("a", limits={"finished_tasks": 2}).start())
    ids = [owner.submit(world.echo([number]))["task_id"] for number in range(4)]
    assert [owner.status(task_id)["success"] for task_id in ids] == [False, False, True, True]


def test_the_id_of_a_forgotten_task_is_not_run_again_under_its_old_attempts(world):
    owner = Owner(world, world.host("a", limits={"finished_tasks": 1}).start())
    owner.submit(world.echo("a", task_id="mine")), owner.submit(world.echo("b"))
    answer = owner.submit(world.echo("c", task_id="mine"))
    assert not answer["success"] and "another id" in answer["message"]


def test_what_went_into_a_finished_task_is_not_kept(world, alone):
    alone.submit(world.echo(["x" * 100_000], task_id="mine"))
    world.settle()
    record = alone.host.node.coordinator._records["mine"]
    assert record.task.task_data == b"" and record.subtasks[0].subtask_data == b""
    alone.host.executor.holds = {"run"}
    alone.submit(world.echo(["x" * 100_000], task_id="stopped"))
    alone.cancel("stopped")
    assert alone.host.node.coordinator._records["stopped"].subtasks[0].subtask_data == b""


def test_a_node_that_stops_takes_no_more_tasks(world, alone):
    alone.host.node.coordinator.stop()
    with pytest.raises(Unavailable, match="shutting down"):
        alone.submit(world.echo("a"))


def test_slots_that_nobody_can_have_are_not_believed(world, alone):
    for slots in ["many", 1e300, -5, 10 ** 9, True, None]:
        peer = world.client(alone.host, member="p")
        peer.call("Hello", {"node_id": "p" * 52, "boot": "1"})
        peer.call("RegisterDevice", {"device": {"id": "p" * 52, "status": "AVAILABLE", "lite": {"slots": slots}}})
        assert alone.submit(world.echo(range(3)))["success"]
        world.advance(1)
        assert "ExecuteSubtask" not in peer.received
        peer.link.close("bye")


@pytest.mark.parametrize("answer", [
    {}, [], "done", {"success": True, "completed_subtask": 5}, {"success": True, "completed_subtask": {"status": "NO"}},
    {"success": False, "completed_subtask": {"lite": {"blame": ["nobody"]}}},
])
def test_odd_answers_of_a_worker_are_tried_elsewhere(world, alone, answer):
    peer = world.client(alone.host, member="p")
    peer.call("Hello", {"node_id": "p" * 52, "boot": "1"})
    peer.call("RegisterDevice", {"device": {"id": "p" * 52, "status": "AVAILABLE", "lite": {"slots": 1}}})
    asked = []
    peer.call_received = lambda link, call: asked.append(call.method) or call.answer(answer)
    task_id = alone.submit(world.echo(range(3)))["task_id"]
    world.advance(40)
    assert "ExecuteSubtask" in asked and alone.value(task_id) == [0, 1, 2]
