"""Tasks that outlive their node: what was acknowledged is kept, what is kept is not done again, and then it is gone."""

import pytest

from discompute_lite.core.journal import read_journal
from discompute_lite.roles.durability import journal_name
from discompute_lite.tasks.calls import call_unit


@pytest.fixture
def host(world):
    host = world.host("a").start()
    host.executor.holds = {"run"}
    return host


@pytest.fixture
def slow(world, slow_journals):
    host = world.host("a")
    host.journals = slow_journals()
    host.start().executor.holds = {"run"}
    return host


def entries_of(host, task_id):
    return read_journal(host.journals.journals[journal_name(task_id)]).entries


def restart(world, host, *holds):
    """Kill a node and start it again, on the same disk."""
    host.kill()
    host.make().executor.holds = set(holds)
    host.node.start(host.port)
    world.settle()
    return world.owner(host)


def state(owner, task_id):
    return owner.call("GetTaskStatus", {"task_id": task_id})["task"]["lite"]["state"]


def value(world, owner, task_id):
    answer = owner.call("GetTaskResult", {"task_id": task_id})
    assert answer["state"] == "COMPLETED", answer
    return world.value(answer["result_data"])


def begin(world, host, parts=range(6), done=2):
    """Submit a task and let some of its subtasks finish."""
    task_id = world.owner(host).call("SubmitTask", world.echo(parts))["task_id"]
    host.executor.release(done)
    world.settle()
    return task_id


# ---- going on -------------------------------------------------------------------------------------


def test_a_task_goes_on_after_a_kill_and_what_was_finished_is_not_done_again(world, host):
    task_id = begin(world, host)
    owner = restart(world, host)
    assert value(world, owner, task_id) == list(range(6))
    assert host.executor.runs() == [f"{task_id}/{index}.1" for index in (2, 3, 4, 5)]
    assert any("restored: 2 of 6 subtasks are done" in line
               for line in owner.call("GetTaskStatus", {"task_id": task_id})["lite"]["story"])


@pytest.mark.parametrize("done", range(7))
def test_row_32_wherever_it_is_killed_nothing_is_lost_and_nothing_done_twice(world, host, done):
    task_id = begin(world, host, done=0)
    for _ in range(done):
        host.executor.release(1)
        world.settle()
    ran = host.executor.runs()
    finished = ran[:done]
    owner = restart(world, host)
    assert value(world, owner, task_id) == list(range(6))
    assert len(host.executor.runs()) == 6 - done and not set(host.executor.runs()) & set(finished)


def test_a_task_that_had_only_to_be_merged_is_merged(world, host):
    host.executor.holds = {"run", "merge"}
    task_id = begin(world, host, done=0)
    while len(host.executor.runs()) < 6 or any(future.request.phase == "run" for future in host.executor.held):
        host.executor.release(1)
        world.settle()
    assert state(world.owner(host), task_id) == "RUNNING"
    owner = restart(world, host)
    assert value(world, owner, task_id) == list(range(6)) and host.executor.runs() == []


def test_a_task_with_work_elsewhere_goes_on_there(world):
    first, second = world.nodes("ab")
    first.executor.holds = second.executor.holds = {"run"}
    task_id = world.owner(first).call("SubmitTask", world.echo(range(8)))["task_id"]
    second.executor.release(2)
    world.settle()
    owner = restart(world, first, "run")
    world.advance(3.0)
    for host in (first, second):
        host.executor.holds = set()
        host.executor.release()
    world.advance(3.0)
    assert value(world, owner, task_id) == list(range(8))
    assert len(first.executor.runs()) <= 6


def test_a_task_that_was_never_acknowledged_need_not_be_known(world, host):
    host.executor.holds = {"split"}
    world.owner(host).begin("SubmitTask", world.echo([1], task_id="t1"))
    owner = restart(world, host)
    assert owner.call("ListTasks")["tasks"] == []


def test_submitting_the_same_id_after_a_restart_finds_the_task(world, host):
    task_id = begin(world, host)
    owner = restart(world, host, "run")
    answer = owner.call("SubmitTask", world.echo(range(6), task_id=task_id))
    assert answer["success"] and len(answer["subtasks"]) == 6 and len(owner.call("ListTasks")["tasks"]) == 1


def test_a_node_that_is_stopped_says_that_its_tasks_go_on_and_they_do(world, slow):
    client = world.owner(slow)
    replies = client.begin("SubmitTask", world.echo(range(3)))
    slow.journals.sync()
    world.settle()
    task_id = replies[0][0]["task_id"]
    waiting = client.begin("GetTaskResult", {"task_id": task_id, "wait_s": 30})
    slow.node.stop()
    world.settle()
    assert f"once it runs again: submit --resume {task_id}" in waiting[0][1].message
    owner = restart(world, slow)
    slow.journals.sync()
    assert value(world, owner, task_id) == [0, 1, 2]


def test_cancelled_stays_cancelled(world, host):
    task_id = begin(world, host)
    world.owner(host).call("CancelTask", {"task_id": task_id})
    owner = restart(world, host)
    assert state(owner, task_id) == "CANCELLED" and host.executor.runs() == []


# ---- what is acknowledged when ----------------------------------------------------------------------


def test_a_submission_is_acknowledged_when_it_is_kept(world, slow):
    replies = world.owner(slow).begin("SubmitTask", world.echo([1, 2], task_id="t1"))
    assert replies == [] and entries_of(slow, "t1")
    again = world.owner(slow).begin("SubmitTask", world.echo([1, 2], task_id="t1"))
    assert again == []
    slow.journals.sync()
    world.settle()
    assert replies[0][0]["success"] and again[0][0]["success"]


def test_an_outcome_is_acknowledged_when_it_is_kept(world, slow_journals):
    first, second = world.member("a"), world.member("b")
    first.journals = slow_journals()
    first.start(), second.start()
    world.advance(3.0)
    first.executor.holds = {"run"}
    world.owner(first).begin("SubmitTask", world.echo(range(8)))
    first.journals.sync()
    world.advance(2.0)
    kept = [attempt for attempt in second.node.worker._attempts.values() if attempt.outcome is not None]
    assert kept, "it has outcomes that nobody has acknowledged"
    first.journals.sync()
    world.advance(20.0)
    assert not any(attempt in second.node.worker._attempts.values() for attempt in kept)


def test_nobody_is_told_of_a_finished_piece_before_it_is_kept(world, slow):
    client = world.owner(slow)
    client.begin("SubmitTask", world.echo([1, 2, 3], task_id="t1"))
    slow.journals.sync()
    slow.executor.release(1)
    world.settle()
    status, result = (client.begin(name, {"task_id": "t1"}) for name in ("GetTaskStatus", "GetTaskResult"))
    awaited = client.begin("GetTaskResult", {"task_id": "t1", "from_index": 1, "wait_s": 30})
    assert status == result == []
    slow.journals.sync()
    world.settle()
    assert status[0][0]["lite"]["counts"]["COMPLETED"] == 1 and len(result[0][0]["parts"]) == 1
    slow.executor.release(1)
    world.settle()
    assert awaited == []
    slow.journals.sync()
    world.settle()
    assert [part["subtask_index"] for part in awaited[0][0]["parts"]] == [1]


def test_events_and_pages_tell_of_a_finished_piece_when_it_is_kept_and_in_the_order_of_what_happened(world, slow):
    world.owner(slow).begin("SubmitTask", world.echo([1, 2], task_id="t1"))
    slow.journals.sync()
    world.settle()
    page, seen = world.browser(slow), []
    for _ in range(2):
        before = slow.node.events.last
        slow.executor.release(1)
        world.settle()
        page.send("GET", "/api/tasks/t1", authorization=f"Bearer {slow.token}")
        page.send("GET", "/api/tasks", authorization=f"Bearer {slow.token}")
        assert slow.node.events.last == before and page.sent == b""
        slow.journals.sync()
        world.settle()
        assert page.sent.count(b"200 OK") == 2
        seen += [event.text.partition(": ")[2] for event in slow.node.events.after(before, 100)[1]]
        page.sent = b""
    assert seen[0] == "1 of 2 subtasks are done" and seen[-1] == "completed" and "2 of 2 subtasks are done" in seen


def test_a_task_is_told_as_over_when_its_end_is_kept(world, slow):
    world.owner(slow).begin("SubmitTask", world.echo([1], task_id="t1"))
    slow.journals.sync()
    slow.executor.release()
    world.settle()
    assert not any("completed" in text for text in slow.texts_told("task"))
    slow.journals.sync()
    world.settle()
    assert any("completed" in text for text in slow.texts_told("task"))


def test_a_task_that_was_accepted_at_once_is_kept_before_and_split_by_the_next_life(world, slow):
    slow.executor.holds = {"split"}
    request = {**world.echo([1, 2], task_id="t1"), "lite": {"at_once": True}}
    replies = world.owner(slow).begin("SubmitTask", request)
    world.settle()
    assert replies == [] and slow.executor.held, "it is being split already"
    slow.journals.sync()
    world.settle()
    assert replies[0][0]["success"]
    owner = restart(world, slow)
    slow.journals.sync()
    world.settle()
    asked = owner.begin("GetTaskResult", {"task_id": "t1"})
    slow.journals.sync()
    world.settle()
    assert world.value(asked[0][0]["result_data"]) == [1, 2]


def test_a_task_that_is_being_split_goes_on_after_its_node_was_stopped(world, host):
    host.executor.holds = {"split"}
    host.journals.is_lasting = True
    world.owner(host).call("SubmitTask", {**world.echo([1, 2], task_id="t1"), "lite": {"at_once": True}})
    waiting = world.owner(host).begin("SubmitTask", world.echo([1, 2], task_id="t1"))
    host.node.stop()
    for future in host.executor.held:
        future.stop("the node is shutting down")
    world.settle()
    assert "submit --resume t1" in waiting[0][1].message
    assert value(world, restart(world, host), "t1") == [1, 2]


def test_row_37_a_disk_that_is_full_refuses_tasks_and_says_why(world, slow):
    replies = world.owner(slow).begin("SubmitTask", world.echo([1, 2], task_id="t1"))
    slow.journals.sync("The disk is full. Free some space, then try again: /x")
    world.settle()
    answer = replies[0][0]
    assert not answer["success"] and "it cannot be kept here. The disk is full" in answer["message"]
    answer = world.owner(slow).call("SubmitTask", world.echo([1, 2], task_id="t2"))
    assert not answer["success"] and "The disk is full" in answer["message"]
    slow.journals.sync()
    assert slow.journals.journals == {}
    # What had begun of the first one is stopped, and nothing comes of it any more.
    assert all(future.stop_reason for future in slow.executor.held)
    slow.executor.release()
    world.settle()
    assert state(world.owner(slow), "t1") == "FAILED"
    replies = world.owner(slow).begin("SubmitTask", world.echo([1, 2], task_id="t3"))
    slow.journals.sync()
    world.settle()
    assert replies[0][0]["success"]


def test_row_37_while_the_disk_is_full_a_task_goes_on_and_its_outcomes_stay_where_they_are(world, slow_journals):
    first, second = world.member("a"), world.member("b")
    first.journals = slow_journals()
    first.start(), second.start()
    world.advance(3.0)
    first.executor.holds = {"run"}
    replies = world.owner(first).begin("SubmitTask", world.echo(range(4), task_id="t1"))
    first.journals.sync()
    first.journals.sync("The disk is full.")
    world.advance(1.0)
    first.executor.release()
    world.advance(20.0)
    first.journals.sync("The disk is full.")
    assert replies[0][0]["success"] and value(world, world.owner(first), "t1") == [0, 1, 2, 3]
    assert all(attempt.outcome is not None for attempt in second.node.worker._attempts.values())
    had = len(second.node.worker._attempts)
    first.journals.sync()
    world.advance(20.0)
    assert had and not second.node.worker._attempts


def test_plain_calls_are_not_written(world, host):
    host.executor.holds = set()
    stream = host.node.streams.open(b"", function="f")
    outcomes = []
    stream.add([stream.unit(call_unit((number,), {}), 1, lambda unit, outcome: outcomes.append(outcome))
                for number in range(20)])
    world.settle()
    assert len(outcomes) == 20 and host.journals.steps == 0 and host.journals.journals == {}


# ---- being forgotten --------------------------------------------------------------------------------


def test_what_went_into_a_task_is_not_kept_when_it_is_over(world, host):
    host.executor.holds = set()
    task_id = begin(world, host, ["a-secret-part"])
    accepted, closed = entries_of(host, task_id)
    assert accepted.task.task_data == b"" and closed.state == "COMPLETED"
    assert [subtask.subtask_data for subtask in closed.subtasks] == [b""]
    owner = restart(world, host)
    assert value(world, owner, task_id) == ["a-secret-part"] and state(owner, task_id) == "COMPLETED"
    answer = owner.call("GetTaskStatus", {"task_id": task_id})
    assert answer["completion_percentage"] == 100.0 and answer["lite"]["counts"] == {"COMPLETED": 1}


def test_an_acknowledged_result_leaves_the_disk_at_once_and_memory_soon(world, host):
    task_id = begin(world, host)
    owner = world.owner(host)
    refused = owner.call("AcknowledgeResult", {"task_id": task_id})
    assert not refused["success"] and "not over" in refused["message"] and host.journals.journals
    host.executor.holds = set()
    host.executor.release()
    world.settle()
    assert owner.call("AcknowledgeResult", {"task_id": task_id})["success"]
    assert host.journals.journals == {} and value(world, owner, task_id) == list(range(6))
    world.advance(host.limits.acknowledged_kept_s - 1)
    assert value(world, owner, task_id) == list(range(6))
    world.advance(2)
    assert not world.owner(host).call("GetTaskResult", {"task_id": task_id})["success"]


def test_a_result_that_nobody_fetches_is_deleted_after_its_time_restart_or_not(world):
    host = world.host("a", limits={"result_kept_s": 100.0}).start()
    task_id = begin(world, host)
    world.advance(60)
    owner = restart(world, host)
    assert value(world, owner, task_id) == list(range(6))
    world.advance(39)
    assert host.journals.journals
    world.advance(2)
    assert host.journals.journals == {} and world.owner(host).call("ListTasks")["tasks"] == []


def test_the_disk_holds_no_more_ended_tasks_than_memory(world):
    host = world.host("a", limits={"finished_tasks": 3}).start()
    tasks = [begin(world, host) for _ in range(5)]
    assert set(host.journals.journals) == {journal_name(task_id) for task_id in tasks[2:]}


# ---- damage ---------------------------------------------------------------------------------------


def test_row_38_a_damaged_journal_is_said_kept_aside_and_used_up_to_there(world, host):
    task_id = begin(world, host)
    name = journal_name(task_id)
    data = host.journals.journals[name]
    at = data.rindex(b"kept")
    damaged = host.journals.journals[name] = data[:at] + b"lept" + data[at + 4:]
    owner = restart(world, host)
    assert value(world, owner, task_id) == list(range(6)) and len(host.executor.runs()) == 5
    assert "a task's journal was damaged: line 4 is not as it was written" in host.texts_told("warning")[0]
    assert host.journals.journals[f"{name}.damaged"] == damaged


def test_a_task_whose_pieces_were_damaged_is_split_again(world, host):
    task_id = begin(world, host)
    name = journal_name(task_id)
    host.journals.journals[name] = host.journals.journals[name].replace(b"divided", b"divides")
    owner = restart(world, host)
    assert value(world, owner, task_id) == list(range(6)) and len(host.executor.runs()) == 6
    owner = restart(world, host)
    assert value(world, owner, task_id) == list(range(6)) and host.executor.runs() == []


def test_a_line_that_was_cut_is_cut_off_without_a_word(world, host):
    task_id = begin(world, host)
    name = journal_name(task_id)
    host.journals.journals[name] = host.journals.journals[name][:-5]
    owner = restart(world, host)
    assert value(world, owner, task_id) == list(range(6)) and len(host.executor.runs()) == 5
    assert host.texts_told("warning") == [] and set(host.journals.journals) == {name}


def test_a_journal_of_nothing_is_removed(world, host):
    host.journals.journals[journal_name("x")] = b""
    owner = restart(world, host)
    assert owner.call("ListTasks")["tasks"] == [] and host.journals.journals == {}
