"""Nobody's copies of tasks leave no room for another's, and what one device keeps for others has bounds."""

from __future__ import annotations

import pytest

from discompute_lite.core.journal import JournalWriter, OwnerNamed, ResultKept, TaskAccepted, TaskClosed, TaskDivided
from discompute_lite.core.ownership import Claim
from discompute_lite.model.limits import Limits
from discompute_lite.model.task import ComputeTask, SubTask, TaskState
from discompute_lite.roles.coordinated import CoordinatedTask
from discompute_lite.roles.durability import COPY_MARK, journal_name, restored_task
from discompute_lite.roles.held_copies import HeldCopy, why_no_room
from discompute_lite.tasks.values import dump_value

FEWER = {"tasks": 8, "outcome_bytes": 8_000}
FEW = Limits(**FEWER)
#: Seconds in which the owners of copies are found dead, and their leases end.
GONE_S = Limits().owner_lease_s + 35.0


def held_of(**counts):
    """Return so many copies of 100 bytes of each owner; those of `own` were submitted here."""
    record = CoordinatedTask(ComputeTask(), 0, 0)
    return {
        f"{owner}{number}": HeldCopy(Claim(1, owner), record, 0, 100, is_own=owner == "own")
        for owner, count in counts.items() for number in range(count)}


def has_room(held, owner, size=100, task_id="new", sharers=4):
    return not why_no_room(held, Claim(1, owner), (task_id, size), FEW, sharers)


@pytest.mark.parametrize("held, owner, fits", [
    ({}, "a", True), ({"a": 3}, "a", True), ({"a": 4}, "a", False),
    # A share for certain, whatever others have.
    ({"a": 8}, "b", True), ({"a": 8, "b": 1}, "b", True), ({"a": 8, "b": 2}, "b", False),
    # More than a share while as much again is free.
    ({"a": 2, "b": 2}, "b", True), ({"a": 2, "b": 3}, "b", False),
    ({"own": 50, "a": 3}, "a", True),
])
def test_each_device_has_its_share_of_the_places(held, owner, fits):
    assert has_room(held_of(**held), owner) is fits


def test_one_device_alone_may_have_all_places_and_of_many_devices_each_has_one():
    assert has_room(held_of(a=7), "a", sharers=1) and not has_room(held_of(a=8), "a", sharers=1)
    assert has_room(held_of(a=8), "b", sharers=100) and not has_room(held_of(a=8, b=1), "b", sharers=100)
    assert has_room({}, "a", sharers=0)


@pytest.mark.parametrize("held, size, fits", [
    ({}, 4_000, True), ({}, 4_001, False), ({"a": 1}, 3_900, True), ({"a": 1}, 3_901, False),
    ({"b": 2}, 3_900, True), ({"b": 2}, 3_901, False), ({"b": 8, "c": 8, "d": 60}, 2_000, True),
])
def test_and_of_the_bytes(held, size, fits):
    assert has_room(held_of(**held), "a", size) is fits


def test_a_copy_takes_the_place_of_what_is_here_of_its_task():
    assert has_room(held_of(a=4), "a", task_id="a0") and not has_room(held_of(a=4), "a")
    assert has_room(held_of(a=60), "a", 100, task_id="a0") and not has_room(held_of(a=60), "a", 101, task_id="a0")
    assert not has_room(held_of(a=4, b=1), "a", task_id="b0"), "it was another's"


def leave(world, owner, keeper, number, *entries):
    task = ComputeTask(f"task-{owner.id[0]}-{number}", "echo", dump_value({"parts": [1]}))
    lines = JournalWriter().lines(TaskAccepted(task, owner_id=owner.id), *entries)
    return world.say(owner, keeper, "KeepTask", task_id=task.task_id, term=1, lines=lines, is_whole=True)


def kept_names(host):
    return [name for name in host.journals.journals if name.startswith(COPY_MARK)]


def test_a_device_cannot_fill_all_places_of_another(world):
    greedy, other, keeper = world.nodes("abc", limits=FEWER)
    kept = [leave(world, greedy, keeper, number)["success"] for number in range(8)]
    assert kept == [True] * 4 + [False] * 4, "half of what is there, as seven others may come"
    assert leave(world, other, keeper, 0)["success"]
    assert not leave(world, greedy, keeper, 8)["success"] and leave(world, greedy, keeper, 0)["success"]
    assert len(kept_names(keeper)) == 5


def test_the_shares_hold_after_a_restart_too(world):
    greedy, keeper = world.nodes("ac", limits=FEWER)
    for number in range(4):
        assert leave(world, greedy, keeper, number)["success"]
    greedy.executor.holds = {"run"}
    world.part(greedy, keeper)
    keeper.kill()
    keeper.start()
    world.advance(1.0)
    world.refused.clear()
    copies = keeper.node.coordinator.copies
    assert len(copies.task_ids()) == 4
    assert "for each device" in copies.keep(Claim(1, greedy.id), "more", b"", True).message


def test_what_a_copy_grows_to_is_bound_as_well_and_what_was_there_stays(world):
    owner, keeper = world.nodes("ab", limits=FEWER)
    writer, params = JournalWriter(), {"task_id": "grows", "term": 1}
    task = ComputeTask("grows", "echo", dump_value({"parts": [1, 2]}))
    lines = writer.lines(TaskAccepted(task, owner_id=owner.id), TaskDivided([b"1", b"2"]))
    assert world.say(owner, keeper, "KeepTask", **params, lines=lines, is_whole=True)["success"]
    more = writer.lines(ResultKept(0, owner.id, b"x" * 1_000))
    assert world.say(owner, keeper, "KeepTask", **params, lines=more)["success"]
    most = writer.lines(ResultKept(1, owner.id, b"x" * 4_000))
    refused = world.say(owner, keeper, "KeepTask", **params, lines=most)
    assert not refused["success"] and "bytes of copies" in refused["message"]
    assert keeper.journals.journals[COPY_MARK + journal_name("grows")] == lines + more
    assert not leave(world, owner, keeper, 1, TaskDivided([b"x" * 4_000]))["success"]


def test_a_copy_that_finds_no_room_goes_to_another_device(world):
    owner, first, second = world.nodes("abc", limits=FEWER)
    for host in (owner, first, second):
        host.executor.holds = {"run"}
    parts = ["x" * 50] * 2
    tasks = [world.owner(owner).call("SubmitTask", world.echo(parts))["task_id"] for _ in range(7)]
    world.settle()
    assert len(kept_names(first)) == 4 and len(kept_names(second)) == 3
    for host in (owner, first, second):
        host.executor.holds = set()
        host.executor.release()
    world.advance(3.0)
    assert kept_names(first) + kept_names(second), "results wait for who submitted"
    for task_id in tasks:
        assert world.owner(owner).call("AcknowledgeResult", {"task_id": task_id})["success"]
    world.advance(3.0)
    assert kept_names(first) == kept_names(second) == []


def test_what_was_submitted_here_comes_back_whatever_is_kept_for_who_took_it_over(world):
    owner, other = world.nodes("ab", limits=FEWER)
    for host in (owner, other):
        host.executor.holds = {"run"}
    tasks = [world.owner(owner).call("SubmitTask", world.echo([1, 2]))["task_id"] for _ in range(4)]
    for number in range(4):
        assert leave(world, other, owner, number)["success"]
    owner.kill()
    world.advance(GONE_S)
    owner.start().executor.holds = {"run"}
    world.advance(5.0)
    assert all(COPY_MARK + journal_name(task_id) in owner.journals.journals for task_id in tasks)


def test_a_copy_names_nobody_but_who_sends_it_as_its_owner(world):
    """After a restart only the lines say whose task it is, and so whose work it is that goes on here."""
    owner, other, keeper = world.nodes("abc")
    task, params = ComputeTask("whose", "echo", dump_value({"parts": [1]})), {"task_id": "whose", "term": 1}
    for first_id, *more in ([other.id], [owner.id, OwnerNamed(other.id, 1)], [owner.id, OwnerNamed(owner.id, 2)]):
        lines = JournalWriter().lines(TaskAccepted(task, owner_id=first_id), *more)
        refused = world.say(owner, keeper, "KeepTask", **params, lines=lines, is_whole=True)
        assert refused["message"] == "these lines name another owner"
    assert kept_names(keeper) == []
    writer = JournalWriter()
    lines = writer.lines(TaskAccepted(task, owner_id=other.id), OwnerNamed(owner.id, 2))
    params["term"] = 2
    assert world.say(owner, keeper, "KeepTask", **params, lines=lines, is_whole=True)["success"]
    refused = world.say(owner, keeper, "KeepTask", **params, lines=writer.lines(OwnerNamed(other.id, 3)))
    assert refused["message"] == "these lines name another owner"
    assert keeper.journals.journals[COPY_MARK + journal_name("whose")] == lines


def closed_with(count, state="COMPLETED"):
    return TaskClosed(state, subtasks=[SubTask()] * count)


@pytest.mark.parametrize("entry", [TaskDivided, closed_with])
def test_a_copy_has_no_more_subtasks_than_a_task_may_have(world, entry):
    owner, keeper = world.nodes("ab", limits={"subtasks": 3})
    many, few = (entry([b"1"] * count) if entry is TaskDivided else entry(count) for count in (4, 3))
    refused = leave(world, owner, keeper, 0, many)
    assert not refused["success"] and refused["message"] == "a task has 3 subtasks at most"
    assert kept_names(keeper) == []
    assert leave(world, owner, keeper, 0)["success"] and not leave(world, owner, keeper, 0, many)["success"]
    assert leave(world, owner, keeper, 0, few)["success"]


def test_and_none_of_them_is_made_before_that_is_known(world, monkeypatch):
    owner, keeper = world.nodes("ab", limits={"subtasks": 3})
    monkeypatch.setattr(CoordinatedTask, "divide", None)
    refused = leave(world, owner, keeper, 0, TaskDivided([b"1"] * 4))
    assert refused["message"] == "a task has 3 subtasks at most"


def test_nor_by_what_follows_later(world):
    owner, keeper = world.nodes("ab", limits={"subtasks": 3})
    writer, params = JournalWriter(), {"task_id": "grows", "term": 1}
    task = ComputeTask("grows", "echo", dump_value({"parts": [1] * 4}))
    lines = writer.lines(TaskAccepted(task, owner_id=owner.id))
    assert world.say(owner, keeper, "KeepTask", **params, lines=lines, is_whole=True)["success"]
    assert not world.say(owner, keeper, "KeepTask", **params, lines=writer.lines(TaskDivided([b"1"] * 4)))["success"]
    assert keeper.journals.journals[COPY_MARK + journal_name("grows")] == lines
    assert keeper.node.coordinator.status("grows").lite["counts"] == {}


def test_a_task_is_divided_once_and_ends_once():
    accepted, parts = TaskAccepted(ComputeTask("once", "echo")), TaskDivided([b"1", b"2"])
    record = restored_task([accepted, parts, ResultKept(0, "a", b"x"), TaskDivided([b"3"]), TaskDivided([b"4"] * 9)])
    assert (len(record.subtasks), record.completed) == (2, 1)
    for again in (parts, closed_with(1, "FAILED"), OwnerNamed("b", 7)):
        record = restored_task([accepted, closed_with(2), again])
        assert (record.state, len(record.subtasks), record.term) == (TaskState.COMPLETED, 2, 1)
