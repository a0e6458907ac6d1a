"""What a device feels is judged, told and acted upon: less work, rests, and what runs is handed back at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from discompute_lite.model.device import DeviceCapabilities, Hardware
from discompute_lite.roles.feelings import FEEL_AT_WORK_S, FEEL_EVERY_S, FEEL_RESTING_S, LEAVE_WITHIN_S
from discompute_lite.tasks.work import WorkOutcome

PHONE = Hardware(type="iphone", model="iPhone 14", capabilities=DeviceCapabilities(cpu_cores=6, memory_mb=6144))


@pytest.fixture
def pair(world):
    """A computer and a phone of one cluster; both hold what they are to run."""
    computer, phone = world.member("a").start(), world.member("b", slots=1, accept="any")
    phone.hardware = PHONE
    phone.start()
    world.advance(3.0)
    computer.executor.holds = phone.executor.holds = {"run"}
    return computer, phone


def feels(host, **felt):
    host.reading = replace(host.reading, **felt)


def submitted(world, host, items=4, **lite):
    owner = world.owner(host)
    return owner, owner.call("SubmitTask", world.echo(range(items), **({"lite": lite} if lite else {})))["task_id"]


def begin_pieces(owner, count):
    """Have a device do so many pieces of work, one call each."""
    for number in range(count):
        owner.begin("ExecuteSubtask", {"subtask": {"subtask_id": f"t/{number}", "subtask_data": b"5", "lite": {
            "attempt": f"t/{number}.1", "task_type": "echo"}}})


def notes(host):
    return [text for text in host.texts_told("note") if "work" in text]


@pytest.mark.parametrize("felt, why", [({"is_background": True}, "in the background"), ({"heat": 3}, "too hot")])
@pytest.mark.parametrize("pure", [True, False])
def test_what_a_phone_hands_back_is_done_elsewhere_within_a_second_and_nobody_is_blamed(world, pair, felt, why, pure):
    computer, phone = pair
    owner, task_id = submitted(world, computer, pure=pure)
    assert phone.executor.runs()
    feels(phone, **felt)
    world.advance(FEEL_AT_WORK_S + 0.1)
    assert phone.executor.held[0].stop_reason and why in phone.executor.held[0].stop_reason
    assert computer.sees(phone).status.value == "OVERLOADED" and why in computer.sees(phone).lite["reason"]
    assert [text for text in notes(phone) if text.startswith("takes no work now") and why in text]
    computer.executor.holds = set()
    computer.executor.release()
    world.advance(1.0)
    answer = owner.call("GetTaskResult", {"task_id": task_id})
    assert (answer["state"], world.value(answer["result_data"])) == ("COMPLETED", list(range(4)))
    status = owner.call("GetTaskStatus", {"task_id": task_id})["lite"]
    assert set(status["devices"]) == {computer.id} and any("handed back" in line for line in status["story"])
    assert not any("failed" in line for line in status["story"])


def test_a_phone_that_comes_back_takes_work_as_before_as_the_same_device(world, pair):
    computer, phone = pair
    owner, task_id = submitted(world, computer)
    feels(phone, is_background=True)
    world.advance(FEEL_AT_WORK_S + 0.1)
    feels(phone, is_background=False)
    world.advance(FEEL_EVERY_S + 0.1)
    assert notes(phone)[-1] == "takes work as usual again"
    assert computer.sees(phone).lite["slots"] == 1 and "reason" not in computer.sees(phone).lite
    computer.executor.holds = phone.executor.holds = set()
    computer.executor.release()
    phone.executor.release()
    world.advance(6.0)
    begun = len(phone.executor.runs())
    _, again = submitted(world, computer, 12)
    world.advance(6.0)
    assert len(phone.executor.runs()) > begun
    assert computer.kinds_told().count("joined") == 1 and not {"lost", "restarted"} & set(computer.kinds_told())
    assert owner.call("GetTaskResult", {"task_id": again})["state"] == "COMPLETED"


def test_what_is_handed_back_with_nobody_else_there_waits_and_says_why(world):
    alone = world.member("a", slots=1).start()
    alone.executor.holds = {"run"}
    owner, task_id = submitted(world, alone, 1)
    feels(alone, heat=3)
    world.advance(FEEL_EVERY_S + 0.1)
    assert "too hot" in owner.call("ExplainTask", {"task_id": task_id})["message"]
    feels(alone, heat=0)
    alone.executor.holds = set()
    world.advance(FEEL_EVERY_S + 10.0)
    assert owner.call("GetTaskResult", {"task_id": task_id})["state"] == "COMPLETED"


def test_a_version_that_does_not_know_of_handing_back_takes_it_for_a_refusal(world):
    phone = world.host("b", slots=1, accept="any")
    phone.hardware = PHONE
    phone.start()
    phone.executor.holds = {"run"}
    owner = world.owner(phone)
    replies = owner.begin("ExecuteSubtask", {"subtask": {"subtask_id": "t/0", "subtask_data": b"5", "lite": {
        "attempt": "t/0.1", "task_type": "echo"}}})
    feels(phone, heat=3)
    world.advance(FEEL_AT_WORK_S + 0.1)
    lite = replies[0][0]["completed_subtask"]["lite"]
    assert lite["blame"] == "refused" and lite["released"] is True


def test_a_phone_that_works_looks_each_second_and_one_that_rests_seldom(world, pair):
    computer, phone = pair
    looks, looks_of_computer = ([], [])
    for host, seen in ((phone, looks), (computer, looks_of_computer)):
        read = host.node.world.read_metrics
        host.node.world.read_metrics = lambda *now, read=read, seen=seen: seen.append(world.clock.time) or read(*now)
    world.advance(60.0)
    assert len(looks) == 60.0 / FEEL_RESTING_S < len(looks_of_computer) == 60.0 / FEEL_EVERY_S
    submitted(world, computer)
    del looks[:]
    world.advance(10.0)
    assert 9 <= len(looks) <= 11


def test_a_hot_device_of_one_slot_rests_as_long_as_it_has_worked(world):
    host = world.host("a", slots=1)
    host.reading = replace(host.reading, heat=2)
    host.start()
    host.executor.holds = {"run"}
    begin_pieces(world.owner(host), 3)
    assert len(host.executor.runs()) == 1, "none is handed on in advance, or it would begin at once"
    took = host.executor.held[0]
    host.executor.held.clear()
    took.settle(WorkOutcome(True, b"5", seconds=4.0))
    world.advance(3.9)
    assert len(host.executor.runs()) == 1
    world.advance(0.2)
    assert len(host.executor.runs()) == 2
    assert world.client(host).call("GetDevices")["devices"][0]["lite"]["share"] == 0.5
    feels(host, heat=0)
    world.advance(FEEL_EVERY_S)
    host.executor.release()
    world.settle()
    assert len(host.executor.runs()) == 3


def test_a_short_piece_does_not_end_the_rest_after_a_long_one(world):
    host = world.host("a", slots=3)
    host.reading = replace(host.reading, heat=2)
    host.start()
    host.executor.holds = {"run"}
    begin_pieces(world.owner(host), 4)
    assert len(host.executor.runs()) == 2
    long, short = host.executor.held
    host.executor.held.clear()
    long.settle(WorkOutcome(True, b"5", seconds=60.0))
    short.settle(WorkOutcome(True, b"5", seconds=0.06))
    world.advance(9.9)
    assert len(host.executor.runs()) == 2
    world.advance(0.2)
    assert len(host.executor.runs()) == 4


def test_a_device_that_rests_counts_as_a_slower_one(world):
    first, second = world.nodes("ab", slots=1)
    second.node.set_measured({"score": 2.0})
    world.advance(1.0)
    assert first.node.score_of(second.id) == 2.0
    feels(second, heat=2)
    world.advance(FEEL_EVERY_S + 1.0)
    assert first.node.score_of(second.id) == 1.0 and "half the work" in first.sees(second).lite["reason"]


def test_people_are_told_when_the_cause_changes_and_not_at_every_per_cent(world):
    host = world.host("a").start()
    for level in (0.9, 0.19, 0.18, 0.17, 0.9):
        feels(host, battery_level=level)
        world.advance(FEEL_EVERY_S + 0.1)
    assert [text.partition(":")[0] for text in notes(host)] == ["takes no work now", "takes work as usual again"]


def test_what_it_feels_at_its_start_is_told(world):
    host = world.host("a")
    feels(host, battery_level=0.1)
    host.start()
    assert notes(host) == ["takes no work now: on battery at 10 %, below 20 %: plug it in or lower battery-min"]


# ---- memory ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_piece_too_heavy_for_a_phone_is_not_sent_there_and_is_done_where_there_is_room(world):
    computer, phone = world.member("a").start(), world.member("b", slots=1, accept="any")
    phone.hardware = replace(PHONE, work_memory_mb=1)
    phone.start()
    world.advance(3.0)
    assert computer.sees(phone).lite["work_memory_mb"] == 1
    owner = world.owner(computer)
    heavy = "x" * (2 << 20)
    task_id = owner.call("SubmitTask", world.echo([heavy] * 4))["task_id"]
    world.advance(30.0)
    answer = owner.call("GetTaskResult", {"task_id": task_id})
    assert answer["state"] == "COMPLETED" and phone.executor.runs() == []
    assert computer.is_linked_with(phone), "nothing was sent that the phone would have hung up at"
    light, task_id = submitted(world, computer, 12)
    world.advance(10.0)
    assert light.call("GetTaskResult", {"task_id": task_id})["state"] == "COMPLETED" and phone.executor.runs()


def test_a_piece_too_heavy_for_a_phone_keeps_no_light_one_from_it(world):
    computer, phone = world.member("a").start(), world.member("b", slots=1, accept="any")
    phone.hardware = replace(PHONE, work_memory_mb=1)
    phone.start()
    world.advance(3.0)
    computer.executor.holds = {"run"}
    owner = world.owner(computer)
    # The computer is busy with the first pieces; what is left is for the phone, be there heavy ones among it or not.
    task_id = owner.call("SubmitTask", world.echo(["x"] * 4 + ["x" * (2 << 20)] * 2 + ["x"] * 6))["task_id"]
    world.advance(0.3)
    assert len(phone.executor.runs()) > 2, "it does not rest for what it cannot hold"
    computer.executor.release()
    world.advance(10.0)
    assert owner.call("GetTaskResult", {"task_id": task_id})["state"] == "COMPLETED"


@pytest.mark.parametrize("error_type, rule, is_done", [
    ("OverLimit", {}, True), ("TimedOut", {"wall_s": 60}, True), ("TimedOut", {}, False), ("ValueError", {}, False)])
def test_what_outgrows_a_bound_of_one_device_is_done_by_another(world, error_type, rule, is_done):
    computer, phone = world.member("a", accept="nobody").start(), world.member("b", slots=1, accept="any").start()
    if rule:
        world.owner(phone).call("SetPolicy", {"policy": {"everybody": {"accept": "any", **rule}}})
    world.advance(3.0)
    phone.executor.holds = {"run"}
    owner, task_id = submitted(world, computer, 1)
    world.advance(1.0)
    world.member("c", slots=1, accept="any").start()
    world.advance(3.0)
    phone.executor.end(WorkOutcome(False, error="it took too much", error_type=error_type, blame="task"))
    world.advance(5.0)
    state = owner.call("GetTaskResult", {"task_id": task_id})["state"]
    assert state == ("COMPLETED" if is_done else "FAILED")


@pytest.mark.parametrize("blobs, takes", [
    ([], True), ([["a" * 64, 1 << 19, []]], True), ([["a" * 64, 3 << 19, []], ["b" * 64, 3 << 19, []]], False)])
def test_a_phone_refuses_what_weighs_more_with_all_that_it_names_than_it_gives_work(world, blobs, takes):
    phone = world.host("b", slots=1, accept="any", limits={"work_bytes": 2 << 20})
    phone.start()
    replies = world.owner(phone).begin("ExecuteSubtask", {"subtask": {
        "subtask_id": "t/0", "subtask_data": b"5",
        "lite": {"attempt": "t/0.1", "task_type": "echo", "blobs": blobs}}})
    refused = [error.message for _, error in replies if error is not None]
    assert bool(refused) is not takes and all("weighs 3 MB" in each and "2 MB" in each for each in refused)


# ---- leaving ---------------------------------------------------------------------------------------


def test_a_device_whose_time_is_over_ends_what_runs_hands_back_what_waits_and_takes_nothing_more(world):
    computer, phone = world.member("a").start(), world.member("b", slots=1, accept="any").start()
    world.advance(3.0)
    computer.executor.holds = phone.executor.holds = {"run"}
    owner, task_id = submitted(world, computer, 12)
    begun, ends = len(phone.executor.runs()), []
    assert begun
    phone.node.feelings.leave(lambda: ends.append(world.clock.time))
    world.advance(3.0)
    assert not ends and "leaves in a moment" in computer.sees(phone).lite["reason"]
    phone.executor.release()
    world.advance(0.2)
    assert len(ends) == 1 and len(phone.executor.runs()) == begun
    phone.stop()
    computer.executor.holds = set()
    computer.executor.release()
    world.advance(3.0)
    answer = owner.call("GetTaskResult", {"task_id": task_id})
    assert (answer["state"], world.value(answer["result_data"])) == ("COMPLETED", list(range(12)))
    status = owner.call("GetTaskStatus", {"task_id": task_id})["lite"]
    assert phone.id in status["devices"] and not any("failed" in line for line in status["story"])


def test_what_does_not_end_in_time_is_given_back_by_whoever_leaves(world):
    phone = world.host("b", slots=1, accept="any").start()
    phone.executor.holds = {"run"}
    replies = world.owner(phone).begin("ExecuteSubtask", {"subtask": {
        "subtask_id": "t/0", "subtask_data": b"5", "lite": {
        "attempt": "t/0.1", "task_type": "echo"}}})
    ends = []
    phone.node.feelings.leave(lambda: ends.append(world.clock.time) or phone.node.stop())
    world.advance(LEAVE_WITHIN_S + 0.2)
    assert len(ends) == 1 and replies[0][0]["completed_subtask"]["lite"]["released"] is True


# ---- sleeping --------------------------------------------------------------------------------------


def asleep_for(world, computer, phone, seconds, **lite):
    """Let a phone sleep in the middle of a piece and finish it when it wakes up; return the task's status."""
    owner, task_id = submitted(world, computer, 3, **lite)
    assert len(phone.executor.held) == 1
    phone.freeze()
    computer.executor.holds = set()
    computer.executor.release()
    world.advance(seconds)
    phone.executor.held[0].settle(WorkOutcome(True, phone.executor.held[0].request.data, seconds=1.0))
    phone.executor.held.clear()
    phone.thaw()
    world.advance(20.0)
    answer = owner.call("GetTaskResult", {"task_id": task_id})
    assert (answer["state"], world.value(answer["result_data"])) == ("COMPLETED", list(range(3)))
    status = owner.call("GetTaskStatus", {"task_id": task_id})["lite"]
    assert status["counts"] == {"COMPLETED": 3} and sum(status["devices"].values()) == 3, "each piece has one result"
    assert computer.is_linked_with(phone) and computer.sees(phone).status.value == "AVAILABLE"
    return status


def test_what_a_phone_ends_after_a_sleep_shorter_than_its_lease_is_taken_where_it_is_still_wanted(world, pair):
    computer, phone = pair
    status = asleep_for(world, computer, phone, 20.0, pure=False)
    assert phone.id in status["devices"] and not any("attempt 2" in line for line in status["story"])


def test_what_was_done_elsewhere_meanwhile_is_not_taken_twice(world, pair):
    computer, phone = pair
    status = asleep_for(world, computer, phone, 20.0, pure=True)
    assert set(status["devices"]) == {computer.id}


def test_a_lease_ends_after_thirty_seconds_of_sleep_and_its_work_is_done_elsewhere(world, pair):
    computer, phone = pair
    status = asleep_for(world, computer, phone, 45.0, pure=False)
    assert set(status["devices"]) == {computer.id} and any("attempt 2" in line for line in status["story"])
