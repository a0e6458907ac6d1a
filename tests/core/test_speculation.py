"""Second attempts of pure tasks: where they gain most, first result wins, and nothing is delivered twice."""

from discompute_lite.core.events import (
    AcceptResult, DeviceLost, FailTask, FinishTask, LeaseRenewed, StartAttempt, StopAttempt,
)


def started(actions):
    return [(action.attempt_id, action.device_id) for action in actions if isinstance(action, StartAttempt)]


def on(world, device_id):
    return next(key for key, where in world.running.items() if where == device_id)


def test_an_idle_faster_device_runs_the_last_subtask_as_well_and_the_first_result_wins(world):
    world.devices("slow", speed=1.0)
    world.devices("fast", speed=8.0)
    world.submit(subtasks=6, pure=True, function="f")
    slow = on(world, "slow")
    for _ in range(4):
        world.wait(0.5, renew=("slow", "fast"))
        assert len(started(world.succeed(on(world, "fast")))) == 1
    # Nothing is left to begin: the slow one would need another 1.5 s, the fast one half a second.
    assert started(world.wait(0.5) + world.succeed(on(world, "fast"))) == [("t/1.2", "fast")]
    assert slow == "t/1.1" and "beside attempt 1 on slow, which runs for 2.5 s" in world.scheduler.story("t")[-1]
    assert world.succeed("t/1.2") == [
        StopAttempt("t/1.1", "slow", "another attempt was faster"), AcceptResult("t", 1, "t/1.2", "fast"),
        FinishTask("t"),
    ]
    assert world.succeed("t/1.1") == [] and world.scheduler.late == 1


def test_what_waits_at_a_slow_device_is_taken_by_a_faster_one_that_is_idle_and_is_not_begun_there(world):
    world.devices("slow", speed=1.0, window=8)
    world.submit("known", subtasks=6, pure=True, function="f")
    for _ in range(6):
        world.wait(0.02, renew=("slow",))
        world.succeed(on(world, "slow"))
    world.submit(subtasks=6, pure=True, function="f")
    waiting = [key for key in world.running if key != "t/0.1"]
    assert len(waiting) > 2 and {*world.running.values()} == {"slow"}, "a tenth of a second of work waits there"
    taken = started(world.devices("fast", speed=20.0, window=8) + world.wait(0.01, renew=("slow", "fast")))
    assert taken and {device for _, device in taken} == {"fast"}
    beside = [name for name, _ in taken if name.endswith(".2")]
    while not beside:
        taken = started(world.succeed(on(world, "fast")) + world.wait(0.001, renew=("slow", "fast")))
        beside = [name for name, _ in taken if name.endswith(".2")]
    first = beside[0][:-1] + "1"
    assert "which still waits there" in world.scheduler.story("t")[-1]
    actions = world.succeed(beside[0])
    assert StopAttempt(first, "slow", "another attempt was faster") in actions and first in waiting


def test_of_what_is_not_pure_nothing_waits_at_any_device_so_that_nothing_must_be_taken_back(world):
    world.devices("slow", speed=1.0, window=8)
    world.submit("known", subtasks=6, function="f")
    for _ in range(6):
        world.wait(0.02, renew=("slow",))
        world.succeed(on(world, "slow"))
    assert started(world.submit(subtasks=6, function="f")) == [("t/0.1", "slow")]
    assert started(world.devices("fast", speed=20.0, window=8)) == [("t/1.1", "fast")]


def test_work_that_is_not_pure_runs_once(world):
    world.devices("slow", speed=1.0)
    world.submit(function="f")
    world.devices("fast", speed=100.0)
    assert world.wait(200, renew=("slow", "fast")) == []


def test_a_slower_device_is_never_asked(world):
    world.devices("fast", speed=8.0)
    world.submit(pure=True, function="f")
    world.devices("slow", speed=1.0)
    assert world.wait(200, renew=("slow", "fast")) == []


def test_a_stuck_device_that_sends_heartbeats_gets_company_of_an_equal(world):
    world.devices("a", "b")
    world.submit(subtasks=12, pure=True, function="f")
    stuck = [key for key, where in world.running.items() if where == "a"]
    for _ in range(11):
        world.wait(1.0, renew=("a", "b"))
        world.succeed(on(world, "b"))
    actions = world.wait(1.0, renew=("a", "b"))
    beside = [key for key, where in world.running.items() if where == "b"]
    assert beside and beside[0].startswith(stuck[0][:-1]), actions


def test_work_of_a_moment_that_is_late_by_a_moment_is_not_taken_for_stuck(world):
    world.devices("a", "b")
    world.submit(subtasks=12, pure=True, function="f")
    for _ in range(11):
        world.wait(0.001, renew=("a", "b"))
        world.succeed(on(world, "b"))
    assert started(world.wait(0.05, renew=("a", "b"))) == []
    assert [device for _, device in started(world.wait(0.3, renew=("a", "b")))] == ["b"]
    assert "which runs for 0." in world.scheduler.story("t")[-1]
    assert "0.0 s" not in world.scheduler.story("t")[-1]


def test_a_second_attempt_beside_one_that_has_just_begun_says_why(world):
    world.devices("slow", speed=1.0)
    world.submit(subtasks=3, pure=True, function="f")
    for _ in range(2):
        world.wait(10.0, renew=("slow",))
        world.succeed(on(world, "slow"))
    assert started(world.devices("fast", speed=100.0)) == [("t/2.2", "fast")]
    assert world.scheduler.story("t")[-1].endswith("beside attempt 1 on slow, which has just begun on a slower device")


def test_a_silent_device_is_left_before_anything_new_and_not_given_more(world):
    world.devices("a", "b", silence_s=1.0)
    world.submit(subtasks=9, pure=True)
    actions = world.wait(1.2, renew=("b",))
    assert actions == []
    assert started(world.succeed("t/1.1")) == [("t/0.2", "b")]
    assert "not heard for 1.2 s" in world.scheduler.story("t")[-1]
    assert "not heard" in world.scheduler.why("t", 0)
    # It wakes with a result: that one counts, and the other is stopped.
    assert world.succeed("t/0.1")[:2] == [
        StopAttempt("t/0.2", "b", "another attempt was faster"), AcceptResult("t", 0, "t/0.1", "a")]


def test_that_a_device_does_not_answer_is_no_sign_of_its_life(world):
    world.devices("a", silence_s=1.0)
    world.submit(pure=True)
    world.devices("b", silence_s=1.0)
    assert world.wait(0.9, renew=("b",)) == []
    assert world.devices("a", slots=0, silence_s=1.0, reason="it does not answer") == []
    assert started(world.wait(0.2, renew=("b",))) == [("t/0.2", "b")]


def test_a_silent_device_that_speaks_again_is_given_work_again(world):
    world.devices("a", silence_s=1.0, slots=2)
    world.submit(pure=True)
    world.wait(1.5)
    assert world.submit("u") == []
    assert started(world(LeaseRenewed("a", ("t/0.1",)))) == [("u/0.1", "a")]


def test_silence_that_was_not_asked_for_changes_nothing(world):
    world.devices("a", "b")
    world.submit(pure=True)
    assert world.wait(14.0) == []


def test_when_one_of_two_is_lost_the_other_goes_on(world):
    world.devices("a", "b", silence_s=1.0)
    world.submit(pure=True)
    assert started(world.wait(1.1)) == [("t/0.2", "b")]
    assert world(DeviceLost("a", "gone")) == []
    assert world.succeed("t/0.2") == [AcceptResult("t", 0, "t/0.2", "b"), FinishTask("t")]


def test_a_further_attempt_needs_a_far_faster_device(world):
    world.devices("a", silence_s=1.0)
    world.submit(pure=True)
    world.devices("b", silence_s=1.0)
    assert started(world.wait(1.1, renew=("b",))) == [("t/0.2", "b")]
    world.devices("c", speed=1.9)
    assert world.wait(5, renew=("b", "c")) == []
    assert started(world.devices("d", speed=50.0)) == [("t/0.3", "d")]


def test_an_exception_of_one_ends_both(world):
    world.devices("a", "b", silence_s=1.0)
    world.submit(pure=True)
    world.wait(1.1)
    assert world.fail("t/0.2", blame="task", reason="boom") == [
        StopAttempt("t/0.1", "a", "its task has ended"), FailTask("t", "boom", 0)]


def test_second_attempts_keep_to_the_limit_of_devices(world):
    world.devices("a", silence_s=1.0)
    world.submit(pure=True, max_devices=1)
    world.devices("b", speed=9.0)
    assert world.wait(10) == []


def test_who_could_have_company_gets_it_at_once_though_another_kind_of_task_was_looked_at_last(world):
    world.devices("a", speed=1.0)
    for task_id, subtasks, function in (("t", 4, "f"), ("u", 2, "f"), ("v", 1, "")):
        world.submit(task_id, subtasks, pure=True, function=function)
    world.wait(5.0, renew=("a",))
    world.devices("c", slots=6, speed=100.0)
    world.devices("a", slots=6, speed=1000.0)
    for _ in range(2):
        # After each event of these `check` finds whoever is left alone beside a free slot.
        world.wait(0.1)
    assert {where for key, where in world.running.items() if key.startswith("u/")} >= {"a"}
