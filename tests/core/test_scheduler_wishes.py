"""What tasks and devices may ask for: fair shares, windows, deadlines, retries, and to be told why."""

import random

import pytest

from discompute_lite.core.events import (
    AttemptSucceeded, CancelAsked, DeviceReady, FailTask, LeaseRenewed, StartAttempt, StopAttempt, TaskSubmitted,
)
from discompute_lite.core.scheduler import Scheduler


def started(actions):
    return [(action.attempt_id, action.device_id) for action in actions if isinstance(action, StartAttempt)]


def on(world, device_id):
    return next(key for key, where in world.running.items() if where == device_id)


def shares(world, rounds, seconds):
    """Let one slot work; return how many subtasks of each task it began, each taking `seconds[task]`."""
    counted = dict.fromkeys(seconds, 0)
    for _ in range(rounds):
        (attempt_id,) = world.running
        task_id = attempt_id.split("/")[0]
        counted[task_id] += 1
        world.now += seconds[task_id]
        world.succeed(attempt_id)
    return counted


# ---- fair shares -----------------------------------------------------------------------------------


def test_slot_time_is_shared_by_priority_and_nobody_starves(world):
    world.devices("a", lease_s=1e6)
    world.submit("low", subtasks=400, priority=2)
    world.submit("high", subtasks=400, priority=8)
    counted = shares(world, 200, {"low": 1.0, "high": 1.0})
    assert counted["high"] / counted["low"] == pytest.approx(4.0, rel=0.15)


def test_equal_priorities_share_time_and_not_subtasks(world):
    world.devices("a", lease_s=1e6)
    world.submit("long", subtasks=40)
    world.submit("short", subtasks=800)
    counted = shares(world, 700, {"long": 10.0, "short": 0.1})
    assert 10.0 * counted["long"] == pytest.approx(0.1 * counted["short"], rel=0.4)


def test_a_newcomer_has_saved_nothing_up(world):
    world.devices("a", lease_s=1e6)
    world.submit("old", subtasks=400)
    shares(world, 100, {"old": 1.0})
    world.submit("new", subtasks=400)
    counted = shares(world, 20, {"old": 1.0, "new": 1.0})
    assert abs(counted["old"] - counted["new"]) <= 2


def test_tasks_of_one_party_share_one_part_of_the_time(world):
    world.devices("a", lease_s=1e6)
    for name in ("first", "second", "third"):
        world.submit(name, subtasks=400, party="many")
    world.submit("one", subtasks=400, party="few")
    world.submit("nobody's", subtasks=400)
    counted = shares(world, 300, dict.fromkeys(("first", "second", "third", "one", "nobody's"), 1.0))
    assert counted["one"] == pytest.approx(100, rel=0.1) and counted["nobody's"] == pytest.approx(100, rel=0.1)
    assert {round(counted[name], -1) for name in ("first", "second", "third")} <= {30, 40}


def test_who_has_nothing_to_do_takes_nothing_from_its_party(world):
    world.devices("a", lease_s=1e6)
    for name in ("idle", "at work"):
        world.submit(name, subtasks=0 if name == "idle" else 400, party="many", is_open=True)
    world.submit("alone", subtasks=400)
    counted = shares(world, 100, {"at work": 1.0, "alone": 1.0})
    assert abs(counted["at work"] - counted["alone"]) <= 4
    # What ends leaves no trace.
    for name in ("idle", "at work"):
        world(CancelAsked(name, "over"))
    assert world.scheduler._books.parties.tasks == {}


# ---- learnt speeds and windows ---------------------------------------------------------------------


def test_a_device_that_proves_fast_for_a_function_comes_first_for_it_alone(world):
    world.devices("a", speed=2.0)
    world.devices("b", speed=1.0)
    for number in range(12):
        world.submit(f"t{number}", function="f")
        world.submit(f"u{number}", function="f")
        # What b does in 1 s takes a 8 s.
        world.now += 1.0
        world.succeed(on(world, "b"))
        world.now += 7.0
        world(LeaseRenewed("a", tuple(world.running)))
        world.succeed(next(iter(world.running)))
    assert started(world.submit("mine", function="f")) == [("mine/0.1", "b")]
    world.succeed("mine/0.1")
    assert started(world.submit("other", function="g")) == [("other/0.1", "a")]


def test_short_work_is_sent_in_advance_once_it_is_known_to_be_short(world):
    world.devices("a", window=4)
    assert started(world.submit(subtasks=100, pure=True, function="f")) == [("t/0.1", "a")]
    world.now += 0.02
    assert len(started(world.succeed("t/0.1"))) == 5
    assert "waits on a (attempt 1), sent there in advance" in world.scheduler.why("t", 5)
    assert "runs on a (attempt 1)" in world.scheduler.why("t", 1)


def test_what_is_neither_short_nor_long_is_sent_in_advance_one_at_a_time(world):
    world.devices("a", window=4)
    world.submit(subtasks=9, pure=True, function="f")
    world.now += 0.2
    assert started(world.succeed("t/0.1")) == [("t/1.1", "a"), ("t/2.1", "a")]
    assert started(world.succeed("t/1.1")) == [("t/3.1", "a")]


def test_what_may_not_run_twice_never_waits_behind_what_may_take_long(world):
    world.devices("a", window=4)
    world.submit(subtasks=9, pure=True, function="f")
    world.now += 0.02
    assert len(started(world.succeed("t/0.1"))) == 5
    world.submit("once", subtasks=9, function="f")
    for number in range(1, 5):
        assert started(world.succeed(f"t/{number}.1")) == []
    assert len(started(world.succeed("t/5.1"))) == 1
    world(CancelAsked("once", "by its owner"))
    assert len(world.running) > 1, "without it things are as before"


def test_long_or_unnamed_work_is_never_sent_in_advance(world):
    world.devices("a", window=4)
    world.submit(subtasks=9, function="f")
    world.now += 2.0
    assert len(started(world.succeed("t/0.1"))) == 1
    world.devices("b", window=4)
    world.submit("u", subtasks=9)
    world.now += 0.001
    assert len(started(world.succeed("u/0.1" if "u/0.1" in world.running else "t/2.1"))) == 1


def test_nothing_waits_behind_work_of_another_kind(world):
    world.devices("a", window=4)
    world.submit(subtasks=2, function="f")
    world.now += 0.01
    world.succeed("t/0.1")
    world.succeed("t/1.1")
    world.submit("long", function="g")
    assert started(world.submit("u", subtasks=5, function="f")) == []


# ---- deadlines and retries --------------------------------------------------------------------------


def test_a_task_fails_when_its_deadline_passes_and_says_how_far_it_was(world):
    world.devices("a")
    world.submit(subtasks=4, deadline_s=30.0)
    world.succeed("t/0.1")
    actions = world.wait(31.0, renew=("a",))
    assert actions[0] == StopAttempt("t/1.1", "a", "its task has ended")
    assert isinstance(actions[1], FailTask) and actions[1].index == -1
    assert "deadline has passed; 1 of 4 subtasks were done" in actions[1].reason


def test_a_deadline_that_is_kept_is_forgotten(world):
    world.devices("a")
    world.submit(deadline_s=30.0)
    world.succeed("t/0.1")
    assert world.scheduler.next_deadline() is None


def test_an_exception_is_retried_only_as_often_as_asked(world):
    world.devices("a")
    world.submit(retries=1)
    assert world.fail("t/0.1", blame="task", reason="ValueError") == []
    assert started(world.wait(1.0)) == [("t/0.2", "a")]
    assert world.fail("t/0.2", blame="task", reason="ValueError") == [FailTask("t", "ValueError", 0)]


# ---- why -------------------------------------------------------------------------------------------


def test_why_follows_a_subtask_through_its_life(world):
    why = world.scheduler.why
    assert why("t") == "no such task is known here; it may have been forgotten"
    world.submit(subtasks=3)
    assert why("t") == "0 of 3 subtasks are done; 3 wait: no device takes work here yet"
    assert why("t", 7) == "the task has subtasks 0 to 2, and no 7"
    world.devices("a")
    world.submit("other")
    world.now += 2.0
    world(LeaseRenewed("a", ("t/0.1",)))
    assert why("t", 0) == "subtask 0 runs on a (attempt 1) for 2.0 s, and on no other device meanwhile: it is not pure"
    assert why("t", 1) == (
        "subtask 1 waits: every slot of the 1 device that may run it is taken, shared with 1 other task")
    world.fail("t/0.1")
    assert why("t", 0).startswith("subtask 0 is tried again in 0.")
    assert why("t", 0).endswith("attempt 1 on a failed there: its process died")
    assert "1 rest before they are tried again (subtask 0: attempt 1 on a failed there: its process died)" in why("t")
    assert why("t", 1).startswith("subtask 1 waits: every slot")
    world.fail("other/0.1", blame="refused", reason="low battery")
    assert "a rests since it refused an attempt (low battery), for 0." in why("t", 1)
    world.wait(3.0, renew=("a",))
    running = next(iter(world.running))
    world.succeed(running)
    assert why(*task_and_index(running)).startswith(f"subtask {task_and_index(running)[1]} is done: ") \
        or why("other").startswith("it is over")


def task_and_index(attempt_id):
    task_id, _, rest = attempt_id.partition("/")
    return task_id, int(rest.split(".")[0])


def test_why_says_who_goes_first_and_how_long_there_is(world):
    world.devices("a")
    world.submit("high", subtasks=3, priority=9)
    world.submit("low", subtasks=2, priority=1, deadline_s=60.0)
    assert why_pending(world, "low", 0) == (
        "every slot of the 1 device that may run it is taken, shared with 1 other task, 1 of higher priority")
    assert "priority" not in why_pending(world, "high", 1)
    world.now += 20.0
    world(LeaseRenewed("a", tuple(world.running)))
    assert world.scheduler.why("low").endswith("; it fails if that is not over in 40.0 s, its deadline")
    assert "deadline" not in world.scheduler.why("high")


def test_why_speaks_of_the_device_that_is_asked_for_by_its_id_and_of_no_other(world):
    there, gone = "b" * 52, "c" * 52
    world.devices("a")
    world(DeviceReady(there, slots=0, offers=(there,), reason="is not paired with this one"))
    world.submit("here", requires=(there,))
    world.submit("nowhere", requires=(gone,))
    assert why_pending(world, "here", 0) == "bbbbbbbb is not paired with this one"
    assert why_pending(world, "nowhere", 0) == "cccccccc, which it asks for, is not here"


def test_why_names_the_device_limit_and_what_is_missing(world):
    world.devices("a")
    world.submit(subtasks=2, max_devices=1)
    assert why_pending(world, "t", 1) == "it may use 1 device at once, and that is busy"
    world.submit("gpu", requires=("gpu",))
    assert why_pending(world, "gpu", 0) == "a does not offer gpu"


def why_pending(world, task_id, index):
    return world.scheduler.why(task_id, index).partition(": ")[2]


# ---- cost ------------------------------------------------------------------------------------------


def operations_of_a_subtask(monkeypatch, fleet):
    """Count, per subtask of a whole run with a tail, the comparisons of devices and of attempts."""
    counted = {"n": 0}

    def counting(name, module):
        original = getattr(__import__(module, fromlist=[name]), name)

        def call(*arguments, **named):
            counted["n"] += 1
            return original(*arguments, **named)

        monkeypatch.setattr(f"{module}.{name}", call)

    scheduler = Scheduler(random.Random(1))
    for number in range(fleet):
        scheduler.apply(DeviceReady(f"d{number:05d}", 1, 1.0 + number % 7, window=2, silence_s=5.0), 0.0)
    for name, module in (
        ("placement_cost", "discompute_lite.core.records"), ("gain_s", "discompute_lite.core.speculation"),
        ("heappush", "heapq"), ("heappop", "heapq"),
    ):
        counting(name, module)
    running = [
        each for each in scheduler.apply(TaskSubmitted("t", 3 * fleet, pure=True, function="f"), 0.0)
        if isinstance(each, StartAttempt)
    ]
    live = {each.attempt_id for each in running}
    now = 0.0
    while running:
        action = running.pop(0)
        if action.attempt_id not in live:
            continue
        now += 1.0 / fleet
        for each in scheduler.apply(AttemptSucceeded(action.attempt_id), now):
            if isinstance(each, StartAttempt):
                running.append(each)
                live.add(each.attempt_id)
            elif isinstance(each, StopAttempt):
                live.discard(each.attempt_id)
    monkeypatch.undo()
    assert scheduler.why("t").startswith("it is over")
    return counted["n"] / (3 * fleet)


@pytest.mark.slow
def test_a_subtask_costs_at_most_twice_as_much_among_many_devices(monkeypatch):
    few = operations_of_a_subtask(monkeypatch, 10)
    many = operations_of_a_subtask(monkeypatch, 1000)
    assert many <= 2.0 * few
