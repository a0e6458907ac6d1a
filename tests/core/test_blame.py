"""Blame goes to a subtask first, then to its task on that device, and to the device only where others do better."""

import random

import pytest

from discompute_lite.core.blame import FAULTS_KEPT
from discompute_lite.core.events import (
    AttemptFailed, CancelAsked, DeviceReady, FailTask, LeaseRenewed, StartAttempt, TaskSubmitted,
)
from discompute_lite.core.retry import AGAIN_MOST_S, QUARANTINE_AFTER, REFUSED_MOST_S
from discompute_lite.core.scheduler import Scheduler
from discompute_lite.model.task import TaskState


def started(actions):
    return [(action.attempt_id, action.device_id) for action in actions if isinstance(action, StartAttempt)]


def on(world, device_id):
    return next(key for key, where in world.running.items() if where == device_id)


def crash_to_the_end(world, task_id):
    """Let every attempt of a task end its process; return the seconds until it failed, and why."""
    began = world.now
    while world.now < began + 300:
        mine = [key for key in world.running if key.startswith(f"{task_id}/")]
        actions = world.fail(mine[0]) if mine else world.wait(0.05, renew=("a", "b", "c"))
        for action in actions:
            if isinstance(action, FailTask):
                return world.now - began, action.reason
    raise AssertionError(f"it never failed: {world.scheduler.why(task_id)}")


def fail_on_a_and_do_elsewhere(world, task_id):
    """Submit a task that goes to `a` first, fails there, and is done by another."""
    assert started(world.submit(task_id)) == [(f"{task_id}/0.1", "a")]
    world.fail(f"{task_id}/0.1")
    world.wait(0.7, renew=("a", "b"))
    assert world.running == {f"{task_id}/0.2": "b"}
    world.succeed(f"{task_id}/0.2")


# ---- a lone device ---------------------------------------------------------------------------------


def test_jobs_that_end_their_process_hold_nobody_up_on_a_lone_device(world):
    world.devices("a", slots=2)
    for number in range(6):
        took_s, reason = crash_to_the_end(world, (world.submit(f"bad{number}"), f"bad{number}")[1])
        assert took_s < 2.5
        assert reason == "Subtask 0 is poison: it failed 3 times, all on a: each time its process died."
    assert started(world.submit("good")) == [("good/0.1", "a")]


def test_a_job_of_many_pieces_that_all_end_their_process_fails_as_soon(world):
    world.devices("a", slots=2)
    world.submit("bad", subtasks=300)
    assert crash_to_the_end(world, "bad")[0] < 2.5


def test_beside_a_crashing_task_another_goes_on_everywhere(world):
    world.devices("a")
    world.submit("bad", subtasks=2)
    world.submit("good", subtasks=3)
    assert list(world.running) == ["bad/0.1"]
    world.fail("bad/0.1")
    done = 0
    while done < 3:
        (attempt_id,) = world.running
        if attempt_id.startswith("good/"):
            world.succeed(attempt_id)
            done += 1
        else:
            world.fail(attempt_id)
    assert world.now == 100.0, "nobody waited"


def test_a_lone_device_that_refuses_is_asked_again_soon_however_often_it_did(world):
    world.devices("a")
    world.submit()
    for _ in range(12):
        world.fail(next(iter(world.running)), blame="refused", reason="low battery")
        assert "quarantine" not in world.scheduler.why("t")
        world.wait(1.2 * REFUSED_MOST_S + 0.1, renew=("a",))
        assert len(world.running) == 1
    world.submit("u")
    world.fail(next(iter(world.running)), blame="refused", reason="low battery")
    assert "a rests since it refused an attempt (low battery), for" in world.scheduler.why("u")


# ---- a task and a device ---------------------------------------------------------------------------


def test_what_failed_on_a_device_keeps_no_other_task_from_it(world):
    world.devices("a")
    world.submit("bad", subtasks=2)
    world.devices("b", slots=0)
    world.fail("bad/0.1")
    world(CancelAsked("bad", "enough"))
    world.devices("b", speed=0.1)
    world.submit("worse")
    world.fail("worse/0.1")
    assert started(world.submit("good")) == [("good/0.1", "a")]


def test_a_task_leaves_a_device_alone_that_fails_it_and_so_longer_each_time(world):
    world.devices("hole", slots=8, speed=100.0)
    world.devices("good")
    world.submit(subtasks=400)
    failed = 0
    while world.running:
        for attempt_id, where in list(world.running.items()):
            if where == "hole":
                world.fail(attempt_id)
                failed += 1
        world.wait(0.1, renew=("hole", "good"))
        for attempt_id in [key for key, where in world.running.items() if where == "good"]:
            world.succeed(attempt_id)
    # 0.5 + 1 + 2 + ... within the 40 s that it takes: a handful of bursts of eight.
    assert world.scheduler.task("t").state is TaskState.COMPLETED and failed <= 8 * 8


def test_failures_of_one_moment_count_as_one(world):
    world.devices("a", slots=8)
    world.devices("b", speed=0.01)
    world.submit(subtasks=30)
    for attempt_id in [key for key, where in world.running.items() if where == "a"]:
        world.fail(attempt_id)
    assert len(world.running) == 1
    assert len(started(world.wait(0.7, renew=("a", "b")))) == 8, "it rests for half a second, and not for a minute"


def test_a_task_that_waits_for_others_goes_on_the_moment_that_one_is_free(world):
    world.devices("a")
    world.devices("b", speed=0.5)
    world.submit(subtasks=9)
    world.fail("t/0.1")
    assert "a is left alone by this task for 0." in world.scheduler.why("t")
    assert world.scheduler.why("t", 5).endswith(
        "s more (1 failure in a row there, the last: its process died); "
        "every slot of the 1 other device that may run it is taken")
    assert started(world.succeed("t/1.1")) == [("t/2.1", "b")]
    assert started(world.devices("c")) == [("t/3.1", "c")]


def test_a_device_is_left_alone_only_as_long_as_another_may_come_free(world):
    world.devices("a")
    world.devices("b", speed=0.5)
    world.submit(subtasks=9)
    for _ in range(4):  # For some seconds.
        world.fail(on(world, "a"))
        world.wait(AGAIN_MOST_S, renew=("a", "b"))
    world.fail(on(world, "a"))
    assert "a" not in world.running.values()
    assert {where for _, where in started(world.lose("b"))} == {"a"}


@pytest.mark.parametrize("event", [DeviceReady("b", 0, reason="hot"), LeaseRenewed("a", ())])
def test_nor_while_the_other_takes_nothing_or_is_silent(world, event):
    world.devices("a", lease_s=1000.0)
    world.devices("b", speed=0.5, silence_s=1.0)
    world.submit(subtasks=9)
    world.fail("t/0.1")
    world.wait(3.0, renew=("a", "b"))
    world.fail(on(world, "a"))
    assert "a" not in world.running.values()
    assert "a" in [where for _, where in started(world(event) + world.wait(1.1, renew=("a",)))]


def test_a_success_ends_it(world):
    world.devices("a", slots=2)
    world.devices("b", speed=0.01)
    world.submit(subtasks=9)
    first, second = [key for key, where in world.running.items() if where == "a"]
    world.fail(first)
    assert [where for _, where in started(world.succeed(second))] == ["a", "a"]


def test_a_limit_of_devices_is_no_trap(world):
    world.devices("hole", slots=4, speed=9.0)
    world.submit(subtasks=50, max_devices=1)
    world.devices("good")
    failed = 0
    for _ in range(400):
        for attempt_id, where in list(world.running.items()):
            if where == "hole":
                world.fail(attempt_id)
                failed += 1
            else:
                world.succeed(attempt_id)
        world.wait(0.1, renew=("hole", "good"))
    assert world.scheduler.task("t").state is TaskState.COMPLETED and failed <= 4 * 8


def test_no_second_attempt_goes_where_its_task_fails(world):
    world.devices("a", speed=0.5)
    world.submit("t", subtasks=1, pure=True, function="f")
    world.devices("b", speed=8.0)
    actions = world.wait(10.0, renew=("a", "b"))
    assert started(actions) == [("t/0.2", "b")]
    assert world.fail("t/0.2") == []
    world.submit("u", subtasks=1, pure=True, function="f")
    world.fail(next(key for key in world.running if key.startswith("u/")))
    assert world.running["t/0.1"] == "a" and "t/0.3" not in world.running


def test_a_retry_waits_for_no_device_that_is_given_nothing(world):
    world.devices("a")
    world.devices("b", silence_s=1.0, speed=0.8)
    world.submit("x", subtasks=2)
    world.wait(2.0, renew=("a",))  # b has fallen silent.
    world.fail("x/0.1")
    assert started(world.wait(0.7, renew=("a",))) == [("x/0.2", "a")]


def test_a_retry_that_waits_says_for_what(world):
    world.devices("a")
    world.submit("long")
    world.devices("b")
    world.submit("t")
    world.fail("t/0.1")
    assert "is tried again in 0." in world.scheduler.why("t", 0)
    world.wait(0.7, renew=("a", "b"))
    why = world.scheduler.why("t")
    assert "it was tried on b before; every slot of the 1 other device that may run it is taken" in why
    world.devices("a", slots=0)
    assert world.running["t/0.2"] == "b"


def test_what_failed_once_is_not_what_finds_out_which_devices_are_broken(world):
    world.devices("h1", "h2", "h3", slots=2, speed=9.0)
    world.devices("good")
    world.submit(subtasks=60)
    while world.running:
        for attempt_id, where in list(world.running.items()):
            if where == "good":
                world.succeed(attempt_id)
            else:
                world.fail(attempt_id)
        world.wait(0.3, renew=("h1", "h2", "h3", "good"))
    assert world.scheduler.task("t").state is TaskState.COMPLETED


def test_in_a_crowd_only_so_many_devices_are_remembered(world):
    scheduler = Scheduler(random.Random(1))
    for number in range(FAULTS_KEPT + 50):
        scheduler.apply(DeviceReady(f"d{number:04d}", 1), 0.0)
    actions = scheduler.apply(TaskSubmitted("t", 2 * FAULTS_KEPT), 0.0)
    for action in actions:
        if isinstance(action, StartAttempt):
            scheduler.apply(AttemptFailed(action.attempt_id, "device", "its process died"), 0.1)
    scheduler.check()
    assert len(scheduler.task("t").avoids) <= FAULTS_KEPT


# ---- poison ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("names, where", [
    (("a",), "all on a"), (("a", "b"), "on a and b"), (("a", "b", "c"), "on a, b and c"),
    (("a", "b", "c", "d"), "on a, b and c"),
])
def test_three_failures_are_poison_on_as_many_devices_as_there_are(world, names, where):
    world.devices(*names)
    world.submit()
    took_s, reason = crash_to_the_end(world, "t")
    assert took_s < 2.5
    assert reason == f"Subtask 0 is poison: it failed 3 times, {where}: each time its process died."


def test_of_what_each_failure_was_is_told(world):
    world.devices("a")
    world.submit()
    for reason in ("it ended", "it was killed\nby somebody"):
        world.fail(next(iter(world.running)), reason=reason)
        world.wait(1.5, renew=("a",))
    (failed,) = world.lose("a")
    assert failed.reason.endswith(": it ended, then it was killed, then it was lost with its device: gone.")


# ---- quarantine ------------------------------------------------------------------------------------


def quarantined(world):
    world.devices("a", speed=9.0)
    world.devices("b")
    for number in range(QUARANTINE_AFTER):
        assert "quarantine" not in "".join(world.scheduler.story(f"t{number - 1}"))
        fail_on_a_and_do_elsewhere(world, f"t{number}")


def test_a_device_on_which_different_tasks_fail_that_go_well_elsewhere_is_in_quarantine(world):
    quarantined(world)
    told = "a is in quarantine since the work of 3 tasks in a row failed there and succeeded elsewhere (the last: "
    assert any(line.startswith(f"{told}its process died), for ") for line in world.scheduler.story("t2"))
    assert started(world.submit("next")) == [("next/0.1", "b")]
    world.submit("more")
    why = world.scheduler.why("more")
    assert told in why and why.endswith("the 1 other device that may run it is taken, shared with 1 other task")
    assert started(world.wait(3.0, renew=("a", "b"))) == [("more/0.1", "a")]
    # It failed there again: now it rests for longer.
    world.succeed("next/0.1")
    world.fail("more/0.1")
    world.wait(0.7, renew=("a", "b"))
    world.succeed("more/0.2")
    assert started(world.submit("x") + world.submit("y")) == [("x/0.1", "b")]
    assert started(world.wait(3.0, renew=("a", "b"))) == []
    assert started(world.wait(2.0, renew=("a", "b"))) == [("y/0.1", "a")]


def test_tasks_that_fail_everywhere_put_nobody_in_quarantine(world):
    world.devices("a", "b")
    for number in range(5):
        world.submit(f"t{number}")
        crash_to_the_end(world, f"t{number}")
    assert len(started(world.submit("good", subtasks=2))) == 2


def test_one_task_puts_nobody_in_quarantine_however_often_it_fails(world):
    world.devices("a", speed=9.0, slots=4)
    world.devices("b", slots=4)
    world.submit(subtasks=40)
    for _ in range(100):
        for attempt_id, where in list(world.running.items()):
            if where == "a":
                world.fail(attempt_id)
            else:
                world.succeed(attempt_id)
        world.wait(0.2, renew=("a", "b"))
    assert world.scheduler.task("t").state is TaskState.COMPLETED
    assert started(world.submit("other")) == [("other/0.1", "a")]


def test_work_that_a_device_did_in_between_clears_it(world):
    world.devices("a", speed=9.0)
    world.devices("b")
    for number in range(9):
        fail_on_a_and_do_elsewhere(world, f"t{number}")
        if number % 2:
            world.submit(f"good{number}")
            world.succeed(f"good{number}/0.1")
    assert started(world.submit("next")) == [("next/0.1", "a")]


def test_quarantine_ends_when_nobody_else_is_left(world):
    quarantined(world)
    world.submit("next")
    assert started(world.lose("b")) == [("next/0.2", "a")]
    assert "a is taken out of quarantine: no other device could take this now" in world.scheduler.story("next")


def test_quarantine_ends_for_work_that_no_other_device_may_do(world):
    world.devices("a", speed=9.0, offers=("gpu",))
    world.devices("b")
    for number in range(QUARANTINE_AFTER):
        fail_on_a_and_do_elsewhere(world, f"t{number}")
    assert started(world.submit("cpu")) == [("cpu/0.1", "b")]
    assert started(world.submit("gpu", requires=("gpu",))) == [("gpu/0.1", "a")]


def test_a_silent_device_is_not_woken_by_the_end_of_its_quarantine(world):
    quarantined(world)
    world.devices("a", lease_s=1.0, speed=9.0)
    world.wait(3.0, renew=("a", "b"))
    world.submit("x")
    assert world.running == {"x/0.1": "a"}
    world.wait(1.2)  # Its lease ended; b took it.
    assert world.running == {"x/0.2": "b"}
    assert started(world.lose("b")) == []
    assert started(world(LeaseRenewed("a", ()))) == [("x/0.3", "a")]
