"""Tasks to which subtasks are added while they run: each piece ends alone, nothing is kept for ever."""

import random

import pytest

from discompute_lite.core.events import (
    AcceptResult, AttemptSucceeded, CancelAsked, DeviceReady, FailSubtask, FailTask, FinishTask, StartAttempt,
    StopAttempt, SubtaskCancelled, SubtasksAdded, SubtaskSized, TaskSealed, TaskSubmitted,
)
from discompute_lite.core.records import OVER_KEPT, SubtaskRecord
from discompute_lite.core.scheduler import Scheduler
from discompute_lite.core.speculation import MAY_BE_FILLED_S
from discompute_lite.model.task import TaskState


def started(actions):
    return [(action.attempt_id, action.device_id) for action in actions if isinstance(action, StartAttempt)]


def opened(world, subtasks=0, **fields):
    world.submit(subtasks=0, is_open=True, **fields)
    return world(SubtasksAdded("t", subtasks)) if subtasks else []


# ---- adding and sealing ----------------------------------------------------------------------------


def test_an_open_task_begins_with_nothing_and_ends_when_it_is_sealed(world):
    world.devices("a")
    assert world.submit(subtasks=0, is_open=True) == []
    assert started(world(SubtasksAdded("t", 2))) == [("t/0.1", "a")]
    world.succeed("t/0.1")
    assert world.succeed("t/1.1") == [AcceptResult("t", 1, "t/1.1", "a")]
    assert world.scheduler.why("t") == "2 of 2 subtasks are done; more may be added"
    assert started(world(SubtasksAdded("t", 1))) == [("t/2.1", "a")], "indexes go on"
    assert world(TaskSealed("t")) == []
    assert world.succeed("t/2.1") == [AcceptResult("t", 2, "t/2.1", "a"), FinishTask("t")]
    assert world.scheduler.task("t").state is TaskState.COMPLETED


def test_sealing_what_is_all_done_finishes_it(world):
    opened(world)
    assert world(TaskSealed("t")) == [FinishTask("t")]
    assert world(TaskSealed("t")) == []


def test_nothing_is_added_to_what_is_sealed_ended_or_unknown(world):
    opened(world, 1)
    world(TaskSealed("t"))
    world(SubtasksAdded("t", 5))
    world(SubtasksAdded("nobody", 5))
    world.submit("closed", subtasks=1)
    world(SubtasksAdded("closed", 5))
    assert world.scheduler.task("t").total == world.scheduler.task("closed").total == 1
    world(CancelAsked("t", "enough"))
    assert world(SubtasksAdded("t", 1)) == [] == world(TaskSealed("nobody"))
    assert world(SubtasksAdded("t", -3)) == []


def test_a_task_that_waits_for_a_device_says_so_once_it_has_something_to_do(world):
    opened(world)
    assert len(world.scheduler.story("t")) == 1
    for _ in range(3):
        world(SubtasksAdded("t", 1))
    assert list(world.scheduler.task("t").lines)[1:] == ["waits: no device takes work here yet"]


def test_what_is_added_takes_its_turn_though_others_wait_for_another_device(world):
    world.devices("a", slots=2)
    opened(world, 1)
    world.devices("b")
    world.submit("long")
    world.fail("t/0.1")
    world.wait(0.7, renew=("a", "b"))
    # The retry waits for b, which is busy; what is new need not.
    assert "long/0.1" in world.running and "t/0.2" not in world.running
    assert started(world(SubtasksAdded("t", 1))) == [("t/1.1", "a")]


def test_cost_of_adding_does_not_grow_with_what_was_added(monkeypatch):
    scheduler = Scheduler(random.Random(1))
    scheduler.apply(DeviceReady("a", 2), 0.0)
    scheduler.apply(TaskSubmitted("t", 0, is_open=True), 0.0)
    scheduler.apply(SubtasksAdded("t", 50_000), 0.0)
    counted = []
    monkeypatch.setattr("discompute_lite.core.records.SubtaskRecord.__init__", counting(counted))
    scheduler.apply(SubtasksAdded("t", 3), 0.0)
    assert len(counted) == 3


def counting(counted):
    original = SubtaskRecord.__init__

    def made(*arguments):
        counted.append(1)
        original(*arguments)

    return made


# ---- failing alone ---------------------------------------------------------------------------------


def test_an_exception_fails_its_subtask_alone(world):
    world.devices("a", slots=2)
    opened(world, 3)
    assert world.fail("t/0.1", blame="task", reason="ValueError: no") == [
        FailSubtask("t", 0, "ValueError: no", "task"), StartAttempt("t/2.1", "t", 2, "a", 15.0)]
    assert "subtask 0 failed: ValueError: no" in world.scheduler.story("t")
    assert world.scheduler.why("t", 0) == "subtask 0 failed: ValueError: no"
    assert world.scheduler.why("t").startswith("0 of 3 subtasks are done; 1 failed; 2 run on a")
    world(TaskSealed("t"))
    world.succeed("t/1.1")
    assert world.succeed("t/2.1")[-1] == FinishTask("t")
    assert world.scheduler.story("t")[-1] == "2 of 3 subtasks have their results, 1 failed"


def test_retries_count_for_each_subtask(world):
    world.devices("a")
    opened(world, 1, retries=1)
    assert world.fail("t/0.1", blame="task", reason="ValueError") == []
    world.wait(1.0, renew=("a",))
    assert world.fail("t/0.2", blame="task", reason="ValueError") == [FailSubtask("t", 0, "ValueError", "task")]


def test_poison_fails_alone_and_names_the_devices(world):
    world.devices("d1")
    opened(world, 1)
    world.devices("d2", "d3", "d4")
    world.lose("d1")
    world.lose("d2")
    (failed,) = world.lose("d3")
    assert isinstance(failed, FailSubtask) and failed.blame == "poison"
    assert failed.reason == "it failed 3 times, on d1, d2 and d3: each time it was lost with its device: gone"
    assert started(world(SubtasksAdded("t", 1))) == [("t/1.1", "d4")]


def test_what_holds_several_calls_is_not_tried_again_as_a_whole_when_its_process_ends(world):
    world.devices("a", "b")
    opened(world, 2)
    world(SubtaskSized("t", 0, 4))
    assert world.fail("t/0.1", blame="died", reason="it ended")[-1] == FailSubtask(
        "t", 0, "it failed once, on a: it ended", "poison")
    assert FailSubtask not in map(type, world.fail("t/1.1", blame="died")), "a single call is tried elsewhere"
    assert world.scheduler.task("t").failed == 1


def test_what_holds_several_calls_is_tried_elsewhere_as_it_is_where_a_device_cannot_do_it(world):
    world.devices("a", "b")
    opened(world, 1)
    world(SubtaskSized("t", 0, 4))
    assert world.fail("t/0.1", blame="device", reason="this Python is too old") == []
    world.wait(1.0, renew=("a", "b"))
    assert world.running == {"t/0.2": "b"}


def test_of_two_attempts_at_several_calls_one_may_die(world):
    world.devices("a", "b", silence_s=1.0)
    opened(world, 1, pure=True)
    world(SubtaskSized("t", 0, 4))
    world.wait(2.0, renew=("b",))
    assert world.running == {"t/0.1": "a", "t/0.2": "b"}
    assert world.fail("t/0.1", blame="died") == [] and world.running == {"t/0.2": "b"}
    assert FailSubtask in map(type, world.fail("t/0.2", blame="died"))


def test_the_failure_of_one_of_two_attempts_stops_the_other(world):
    world.devices("a", "b", silence_s=1.0)
    opened(world, 1, pure=True)
    assert started(world.wait(1.1)) == [("t/0.2", "b")]
    assert world.fail("t/0.2", blame="task", reason="boom") == [
        StopAttempt("t/0.1", "a", "its subtask has failed"), FailSubtask("t", 0, "boom", "task")]
    assert world.succeed("t/0.1") == [] and world.scheduler.late == 1


def test_one_device_takes_two_pieces_down_with_it(world):
    """Both ended by one event: the second is looked at after the first has failed."""
    world.devices("d1", slots=2)
    opened(world, 2)
    world.devices("d2", slots=2)
    world.lose("d1")
    world.devices("d3", slots=2)
    world.lose("d2")
    failed = world.lose("d3")
    assert [action.index for action in failed] == [0, 1] and {type(action) for action in failed} == {FailSubtask}
    assert world(TaskSealed("t")) == [FinishTask("t")]


def test_a_deadline_fails_the_whole_task(world):
    world.devices("a")
    opened(world, 3, deadline_s=30.0)
    world.succeed("t/0.1")
    stopped, failed = world.wait(31.0, renew=("a",))
    assert isinstance(stopped, StopAttempt) and isinstance(failed, FailTask)
    assert "1 of 3 subtasks were done" in failed.reason


# ---- cancelling one --------------------------------------------------------------------------------


def test_a_cancelled_subtask_is_over_wherever_it_is(world):
    world.devices("a", slots=2)
    opened(world, 5)
    world.devices("b", slots=0)
    world.fail("t/0.1")
    assert world(SubtaskCancelled("t", 0)) == [], "it rested"
    assert world.wait(3.0, renew=("a",)) == []
    waiting = world.scheduler.task("t").waiting
    assert world(SubtaskCancelled("t", 4)) == [] and world.scheduler.task("t").waiting == waiting - 1, "it waited"
    assert world(SubtaskCancelled("t", 1)) == [
        StopAttempt("t/1.1", "a", "it was cancelled"), StartAttempt("t/3.1", "t", 3, "a", 15.0)], "it ran"
    assert world.scheduler.why("t", 4) == "subtask 4 was cancelled"
    assert world.succeed("t/1.1") == [] and world.scheduler.late == 1
    world(TaskSealed("t"))
    world.succeed("t/3.1")
    assert world(SubtaskCancelled("t", 2))[-1] == FinishTask("t")
    assert world.scheduler.story("t")[-1] == "1 of 5 subtasks have their results, 4 were cancelled"


def test_cancelling_what_is_over_or_unknown_changes_nothing(world):
    world.devices("a")
    opened(world, 1)
    world.succeed("t/0.1")
    for task_id, index in (("t", 0), ("t", 7), ("t", -1), ("nobody", 0)):
        assert world(SubtaskCancelled(task_id, index)) == []
    assert world.scheduler.task("t").cancelled == 0
    world.submit("closed", subtasks=2)
    assert world(SubtaskCancelled("closed", 1)) == [] and world.scheduler.task("closed").waiting == 1


def test_cancelling_the_one_that_waits_for_another_device_lets_the_next_be_looked_at(world):
    world.devices("a")
    opened(world, 1)
    world.devices("b")
    world.submit("long")
    world.fail("t/0.1")
    world.wait(0.7, renew=("a", "b"))
    assert "t/0.2" not in world.running
    world(SubtaskCancelled("t", 0))  # `check` sees that nothing stays set aside.
    assert started(world(SubtasksAdded("t", 1)) + world.wait(3.0, renew=("a", "b"))) == [("t/1.1", "a")]


def test_ten_thousand_that_wait_are_cancelled_in_any_order():
    scheduler = Scheduler(random.Random(1))
    scheduler.apply(TaskSubmitted("t", 0, is_open=True), 0.0)
    scheduler.apply(SubtasksAdded("t", 10_000), 0.0)
    order = list(range(10_000))
    random.Random(3).shuffle(order)
    for index in order:
        scheduler.apply(SubtaskCancelled("t", index), 0.0)
    scheduler.check()
    assert scheduler.apply(TaskSealed("t"), 0.0)[-1] == FinishTask("t")


# ---- memory ----------------------------------------------------------------------------------------


def test_what_is_over_is_forgotten_but_for_the_latest(world):
    world.devices("a")
    opened(world)
    for index in range(3 * OVER_KEPT):
        world.scheduler.apply(SubtasksAdded("t", 1), world.now)
        world.scheduler.apply(AttemptSucceeded(f"t/{index}.1"), world.now)
    task = world.scheduler.task("t")
    assert not task.subtasks and len(task.over) == OVER_KEPT and task.done == task.total == 3 * OVER_KEPT
    assert world.scheduler.why("t", 3 * OVER_KEPT - 1).endswith("is done: attempt 1 on a took 0.00 s")
    assert world.scheduler.why("t", 0) == "subtask 0 is over; what befell it is not kept any more"
    assert world.succeed("t/0.1") == [] and world.fail("t/5.1") == [] and world.scheduler.late == 2


# ---- sizes and speeds ------------------------------------------------------------------------------


def test_speeds_are_learnt_for_each_call_whatever_the_sizes(world):
    world.devices("slow", speed=1.0)
    world.devices("fast", speed=1.0)
    opened(world, 2, function="f")
    for number in range(40):
        world(SubtasksAdded("t", 2))
        slow, fast = (next(key for key, where in world.running.items() if where == name) for name in ("slow", "fast"))
        calls = 1 + number % 7
        world(SubtaskSized("t", int(slow[2:-2]), calls))
        world(SubtaskSized("t", int(fast[2:-2]), 4 * calls))
        world.now += 0.5 * calls
        world.succeed(slow)
        world.succeed(fast)
    pace = world.scheduler.task("t").pace
    assert pace.typical_s("slow") == pytest.approx(0.5) and pace.typical_s("fast") == pytest.approx(0.125, rel=0.05)
    assert pace.speed("fast", 1.0) / pace.speed("slow", 1.0) == pytest.approx(4.0, rel=0.05)
    assert world.scheduler.task("nobody") is None


def test_expected_ends_follow_the_size(world):
    world.devices("a", window=2)
    opened(world, 1, pure=True, function="f")
    world.now += 0.1
    world.succeed("t/0.1")
    world(SubtasksAdded("t", 3))
    typical_s = world.scheduler.task("t").pace.typical_s("a")
    world(SubtaskSized("t", 1, 4))
    world(SubtaskSized("t", 2, 5))
    one, two = world.scheduler.task("t").live.values()
    assert one.expected_end == pytest.approx(world.now + 4 * typical_s)
    assert two.expected_end == pytest.approx(world.now + (5 + 5) * typical_s)
    world(SubtaskSized("t", 2, 0))
    assert two.subtask.calls == 1


def test_nothing_more_is_sent_in_advance_before_the_size_of_the_last_is_told(world):
    """Eight chunks of half a second each, cut at one go, are four seconds that nobody else can have."""
    world.devices("a", window=8)
    opened(world, 1, pure=True, function="f")
    world(SubtaskSized("t", 0, 1))
    world.now += 0.01
    world.succeed("t/0.1")
    assert started(world(SubtasksAdded("t", 20))) == [("t/1.1", "a")]
    assert started(world(SubtaskSized("t", 1, 1))) == [("t/2.1", "a")]
    assert started(world(SubtaskSized("t", 2, 50))) == []


def test_fewer_places_in_advance_where_subtasks_are_large(world):
    world.devices("a", window=4)
    opened(world, 1, pure=True, function="f")
    world.now += 0.01
    world.succeed("t/0.1")
    assert world.scheduler.room_of("t") == 5
    assert started(world(SubtasksAdded("t", 1))) == [("t/1.1", "a")] and world.scheduler.room_of("t") == 0
    world(SubtaskSized("t", 1, 3))
    assert world.scheduler.room_of("t") == 3, "a tenth of a second is three such"
    world(SubtaskSized("t", 1, 20))
    assert world.scheduler.room_of("t") == 1, "one may be longer"
    world(SubtaskSized("t", 1, 100))
    assert world.scheduler.room_of("t") == 0


def test_one_place_in_advance_hides_moments_where_no_other_device_could_have_it(world):
    world.devices("a", slots=2, window=1)
    opened(world, 1, pure=True, function="f")
    world.now += 0.01
    world.succeed("t/0.1")
    assert world.scheduler.room_of("t") == 4
    world.devices("b", window=8)
    assert world.scheduler.room_of("t") == 2 + 1
    world.lose("b")
    assert world.scheduler.room_of("t") == 4
    assert started(world(SubtasksAdded("t", 1))) == [("t/1.1", "a")]
    world(SubtaskSized("t", 1, 11))
    assert world.scheduler.room_of("t") == 1, "moments are nothing beside more than a tenth of a second"


def test_a_large_subtask_is_not_taken_for_a_slow_one(world):
    world.devices("a", "b")
    opened(world, 2, pure=True, function="f")
    for _ in range(10):
        world.now += 1.0
        for attempt_id in list(world.running):
            world.succeed(attempt_id)
        world(SubtasksAdded("t", 2))
    world(SubtaskSized("t", 20, 10))
    actions = world.wait(1.0, renew=("a", "b")) + world.succeed("t/21.1")
    assert started(actions + world.wait(8.0, renew=("a", "b"))) == []
    # Once it takes far longer than ten calls do it gets company.
    assert started(world.wait(30.0, renew=("a", "b"))) == [("t/20.2", "b")]


def test_idle_devices_wait_a_moment_for_new_work_before_they_run_what_runs_already(world):
    world.devices("slow", speed=1.0)
    world.devices("fast", speed=8.0)
    opened(world, 2, pure=True, function="f")
    fast, slow = world.running
    world.now += 0.5
    assert world.succeed(fast) == [AcceptResult("t", 0, "t/0.1", "fast")]
    assert started(world(SubtasksAdded("t", 1))) == [("t/2.1", "fast")]
    assert started(world.wait(0.1)) == []
    world.succeed("t/2.1")
    assert started(world.wait(0.8 * MAY_BE_FILLED_S)) == []
    assert started(world.wait(0.4 * MAY_BE_FILLED_S)) == [("t/1.2", "fast")]


def test_once_it_is_sealed_nothing_is_waited_for(world):
    world.devices("slow", speed=1.0)
    world.devices("fast", speed=8.0)
    opened(world, 2, pure=True, function="f")
    world.now += 0.5
    world.succeed("t/0.1")
    assert started(world(TaskSealed("t"))) == [("t/1.2", "fast")]


# ---- room ------------------------------------------------------------------------------------------


def test_room_is_what_starts_at_once(world):
    assert world.scheduler.room_of("nobody") == 0
    opened(world)
    assert world.scheduler.room_of("t") == 0
    world.devices("a", slots=3)
    world.devices("b", slots=2)
    world.submit("other", subtasks=1)
    assert world.scheduler.room_of("t") == 4
    assert len(started(world(SubtasksAdded("t", 6)))) == 4 and world.scheduler.room_of("t") == 0
    world(CancelAsked("t", "enough"))
    assert world.scheduler.room_of("t") == 0


def test_room_heeds_the_limit_of_devices_and_who_is_left_alone(world):
    world.devices("a", slots=1)
    world.devices("b", slots=3)
    opened(world, max_devices=1)
    assert world.scheduler.room_of("t") == 3
    world(SubtasksAdded("t", 1))
    assert world.scheduler.room_of("t") == (0 if "a" in world.running.values() else 2)
    world.submit("u", subtasks=0, is_open=True)
    world(SubtasksAdded("u", 1))
    world.fail(next(key for key in world.running if key.startswith("u/")))
    avoids = world.scheduler.task("u").avoids
    assert list(avoids) and world.scheduler.room_of("u") in (0, 2)
