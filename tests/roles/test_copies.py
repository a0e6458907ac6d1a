"""A second node keeps each task: it takes over when the owner is gone, and gives nothing away when he is back."""

import pytest

from discompute_lite.core.journal import read_journal
from discompute_lite.model.limits import Limits
from discompute_lite.roles.durability import COPY_MARK, journal_name

#: Seconds in which a device that is gone is found dead, and its lease ends.
OWNER_LEASE_S = Limits().owner_lease_s
GONE_S = OWNER_LEASE_S + 35.0


@pytest.fixture
def pair(world):
    first, second = world.nodes("ab")
    first.executor.holds = second.executor.holds = {"run"}
    return first, second


def begin(world, host, parts=range(8), **fields):
    return world.owner(host).call("SubmitTask", world.echo(parts, **fields))["task_id"]


def own(host, task_id):
    data = host.journals.journals.get(journal_name(task_id))
    return None if data is None else read_journal(data).entries


def copy(host, task_id):
    data = host.journals.journals.get(COPY_MARK + journal_name(task_id))
    if data is None:
        return None
    reading = read_journal(data)
    assert not reading.damage
    return reading.entries


def let_go(world, *hosts, seconds=3.0):
    for host in hosts:
        host.executor.holds = set()
        host.executor.release()
    world.advance(seconds)


def again(world, host, *holds):
    host.make().executor.holds = set(holds)
    host.node.start(host.port)
    world.advance(5.0)


def value(world, host, task_id):
    answer = world.owner(host).call("GetTaskResult", {"task_id": task_id})
    assert answer["success"] and answer["state"] == "COMPLETED", answer
    return world.value(answer["result_data"])


def test_the_copy_follows_its_task(world, pair):
    first, second = pair
    task_id = begin(world, first)
    assert copy(second, task_id) == own(first, task_id) and len(copy(second, task_id)) == 2
    first.executor.release(2)
    world.settle()
    assert copy(second, task_id) == own(first, task_id) and len(copy(second, task_id)) == 4
    let_go(world, first, second)
    assert copy(second, task_id) == own(first, task_id) and len(copy(second, task_id)) == 2
    world.owner(first).call("AcknowledgeResult", {"task_id": task_id})
    world.settle()
    assert first.journals.journals == second.journals.journals == {}


def test_who_waits_at_a_copy_is_answered_when_it_goes(world, pair):
    first, second = pair
    task_id = begin(world, first)
    waiting = world.owner(second).begin("GetTaskResult", {"task_id": task_id, "from_index": 8, "wait_s": 60.0})
    assert waiting == []
    first.node.coordinator.copies.forgotten(task_id)
    world.settle()
    assert len(waiting) == 1, "not only when its time is over"


def test_the_second_node_takes_over_and_redoes_nothing_that_was_kept(world, pair):
    first, second = pair
    task_id = begin(world, first)
    first.executor.release(1)
    second.executor.release(1)
    world.settle()
    kept = {entry.index for entry in copy(second, task_id)[2:]}
    assert len(kept) == 2
    first.kill()
    second.executor.requests.clear()
    world.advance(GONE_S)
    assert own(second, task_id)[1].term == 2 and copy(second, task_id) is None
    let_go(world, second)
    assert value(world, second, task_id) == list(range(8))
    done = [int(run.rpartition("/")[2].partition(".")[0]) for run in second.executor.runs()]
    assert sorted(done) == sorted(set(range(8)) - kept)


def test_a_copy_says_since_when_its_owner_is_gone_until_somebody_answers_for_the_task(world, pair):
    first, second = pair
    task_id = begin(world, first)
    world.advance(2.0)

    def told():
        lite = world.owner(second).call("GetTaskStatus", {"task_id": task_id})["task"]["lite"]
        return lite.get("owner_id"), lite.get("owner_lost_at")

    assert told() == (None, None)
    lost_at = world.wall()
    first.kill()
    world.advance(OWNER_LEASE_S / 2)
    assert told() == (first.id, int(lost_at))
    again(world, first, "run")
    assert told() == (None, None), "it is back"
    first.kill()
    world.advance(GONE_S)
    assert told() == (None, None), "the second answers for it"


def test_a_restart_within_the_lease_changes_no_owner(world, pair):
    first, second = pair
    task_id = begin(world, first)
    first.kill()
    world.advance(5.0)
    again(world, first, "run")
    world.advance(GONE_S)
    assert len(own(first, task_id)) == 2 and own(second, task_id) is None and copy(second, task_id)
    let_go(world, first, second)
    assert value(world, first, task_id) == list(range(8))


def test_an_owner_that_comes_back_has_the_result_of_who_took_over(world, pair):
    first, second = pair
    task_id = begin(world, first)
    first.kill()
    world.advance(GONE_S)
    assert own(second, task_id)
    again(world, first, "run")
    assert own(first, task_id) is None and copy(first, task_id) == own(second, task_id)
    assert any("goes on at" in text for text in first.texts_told("note"))
    let_go(world, first, second)
    assert value(world, first, task_id) == value(world, second, task_id) == list(range(8))
    assert [task["task_id"] for task in world.owner(first).call("ListTasks")["tasks"]] == [task_id]
    assert world.owner(first).call("AcknowledgeResult", {"task_id": task_id})["success"]
    world.settle()
    assert first.journals.journals == second.journals.journals == {}


def test_it_can_go_to_and_fro(world, pair):
    first, second = pair
    task_id = begin(world, first)
    first.kill()
    world.advance(GONE_S)
    again(world, first, "run")
    second.kill()
    world.advance(GONE_S)
    assert own(first, task_id)[1].term == 3
    let_go(world, first)
    assert value(world, first, task_id) == list(range(8))


def test_two_owners_at_once_are_harmless(world, pair):
    first, second = pair
    task_id = begin(world, first)
    wait = {"task_id": task_id, "from_index": 8, "wait_s": 3600.0}
    waiting = world.owner(first).begin("GetTaskResult", wait)
    world.part(first, second)
    first.drop_link(second)
    world.advance(GONE_S)
    assert own(first, task_id) and own(second, task_id)
    first.executor.release(1)
    second.executor.release(1)
    world.settle()
    world.refused.clear()
    world.advance(60.0)
    assert first.is_linked_with(second)
    assert own(first, task_id) is None and own(second, task_id) and copy(first, task_id)
    (result, error), = waiting
    assert error is None and result["state"] == "RUNNING", "who waits at the first is told how it goes on"
    let_go(world, first, second)
    assert value(world, first, task_id) == value(world, second, task_id) == list(range(8))


def test_what_is_cancelled_by_way_of_the_copy_is_cancelled(world, pair):
    first, second = pair
    task_id = begin(world, first)
    assert world.owner(second).call("CancelTask", {"task_id": task_id})["success"]
    world.settle()
    for host in pair:
        assert world.owner(host).call("GetTaskStatus", {"task_id": task_id})["task"]["lite"]["state"] == "CANCELLED"


def test_a_task_bound_to_a_device_is_copied_nowhere_else(world, pair):
    first, second = pair
    begin(world, first, required_capabilities=[first.id])
    assert first.journals.journals and second.journals.journals == {}
    task_id = begin(world, first, required_capabilities=[second.id])
    assert copy(second, task_id)


def test_another_node_keeps_the_copy_when_the_first_is_gone(world):
    first, second, third = world.nodes("abc")
    first.executor.holds = second.executor.holds = third.executor.holds = {"run"}
    task_id = begin(world, first)
    assert copy(second, task_id) and copy(third, task_id) is None
    second.kill()
    world.advance(40.0)
    assert copy(third, task_id) == own(first, task_id)


def test_a_keeper_that_was_restarted_takes_over_too(world, pair):
    first, second = pair
    task_id = begin(world, first)
    second.kill()
    first.kill()
    again(world, second)
    world.advance(OWNER_LEASE_S + 1)
    assert own(second, task_id) and value(world, second, task_id) == list(range(8))


def test_a_node_without_an_id_leaves_no_copy(world, pair):
    answer = world.owner(pair[0]).call("KeepTask", {"task_id": "x", "term": 9, "is_whole": True})
    assert not answer["success"] and pair[0].journals.journals == {}


def test_the_next_lines_of_a_copy_that_is_not_there_are_refused(world, pair):
    first, second = pair
    task_id = begin(world, first)
    second.journals.journals.clear()
    second.kill()
    again(world, second, "run")
    assert copy(second, task_id) == own(first, task_id)


def test_a_damaged_copy_is_said_kept_aside_and_used_up_to_there(world, pair):
    first, second = pair
    task_id = begin(world, first)
    first.executor.release(1)
    world.settle()
    name = COPY_MARK + journal_name(task_id)
    data = second.journals.journals[name]
    at = data.rindex(b"kept")
    damaged = second.journals.journals[name] = data[:at] + b"lept" + data[at + 4:]
    first.kill()
    second.kill()
    again(world, second)
    assert "the copy of a task's journal was damaged: line 3" in second.texts_told("warning")[-1]
    assert second.journals.journals[f"{name}.damaged"] == damaged and len(copy(second, task_id)) == 2
    world.advance(OWNER_LEASE_S + 1)
    assert value(world, second, task_id) == list(range(8))


def test_lines_that_do_not_fit_are_refused_and_the_copy_is_sent_whole(world, pair):
    first, second = pair
    task_id = begin(world, first)
    second.node.coordinator.copies._held[task_id].chain ^= 1
    for _ in range(2):
        first.executor.release(1)
        world.settle()
    assert copy(second, task_id)[2:] == own(first, task_id)[2:] and len(copy(second, task_id)) == 4


def test_what_a_copy_says_is_read_once_however_often_it_is_asked_for(world, pair, monkeypatch):
    first, second = pair
    task_id = begin(world, first)
    first.executor.release(2)
    world.settle()
    monkeypatch.setattr("discompute_lite.roles.copies.read_journal", None)
    owner = world.owner(second)
    for _ in range(3):
        assert [task["task_id"] for task in owner.call("ListTasks")["tasks"]] == [task_id]
        assert owner.call("GetTaskStatus", {"task_id": task_id})["lite"]["counts"]["COMPLETED"] == 2


def test_a_private_task_names_its_device_or_is_refused(world):
    first, second, third = world.nodes("abc")
    owner = world.owner(first)
    for requires in ([], ["gpu"], ["b"]):
        task = world.echo([1], metadata={"private": "true"}, required_capabilities=requires)
        refused = owner.call("SubmitTask", task)
        assert not refused["success"] and "Name one: submit --private --requires DEVICE" in refused["message"]
    third.executor.holds = {"run"}
    task_id = begin(world, first, metadata={"private": "true"}, required_capabilities=[third.id])
    assert copy(third, task_id) and second.journals.journals == {}
    third.kill()
    world.advance(40.0)
    assert own(first, task_id) and second.journals.journals == {}, "nobody else is told of it"


def test_whoever_takes_a_private_task_over_brings_it_back_where_it_was_submitted(world, pair):
    first, second = pair
    task_id = begin(world, first, metadata={"private": "true"}, required_capabilities=[second.id])
    first.kill()
    world.advance(GONE_S)
    assert own(second, task_id)
    again(world, first, "run")
    let_go(world, first, second)
    assert value(world, first, task_id) == list(range(8)) and copy(first, task_id) == own(second, task_id)
