"""A simulated fleet finishes its work whatever befalls it, one seed is one world, and the checks can fail."""

import copy
import os
import random
import runpy
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from discompute_lite.core.events import (
    AcceptResult, AttemptSucceeded, DeviceReady, FailSubtask, FinishTask, StartAttempt, SubtaskCancelled, SubtasksAdded,
    TaskSealed, TaskSubmitted, Tick,
)
from discompute_lite.sim.checks import Watch
from discompute_lite.sim.devices import SimDevice
from discompute_lite.sim.scenario import (
    WORKLOADS, DevicePlan, Scenario, makespan_bound, plan_fleet, plan_works,
)
from discompute_lite.sim.world import World

STORMY = {"churn": 0.2, "sleepers": 0.1, "stragglers": 0.1, "loss": 0.02, "late": 0.02}


#: All that the scheduler offers beyond the ordinary.
FULL = {
    "task_fields": (("pure", True), ("function", "f")), "device_fields": (("window", 8), ("silence_s", 2.5)),
}


def played(check_every=0, **fields):
    return World(Scenario(**fields), check_every=check_every).run()


# ---- worlds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_calm_fleet_finishes_without_a_second_try(workload):
    report = played(devices=12, workload=workload)
    assert report.ended == {"task-0": "FinishTask"} and report.attempts >= 120
    assert report.checks == report.events and report.ratio >= 1.0


@settings(max_examples=max(1, settings.default.max_examples // 12))
@given(st.integers(0, 10**6))
def test_row_50_a_stormy_fleet_finishes_and_holds_every_invariant(seed):
    report = played(devices=8, seed=seed, tasks=3, **STORMY)
    assert set(report.ended) == {"task-0", "task-1", "task-2"}


@pytest.mark.once
def test_row_50_three_hundred_small_storms_lose_nothing_and_do_nothing_twice():
    for seed in range(10_000 if os.environ.get("DISCOMPUTE_TEST_LONG") else 300):
        storm = Scenario(devices=5, seed=seed, tasks=2, subtasks=12, **STORMY)
        report = World(storm).run()
        assert len(report.ended) == 2, seed
        if set(report.ended.values()) != {"FinishTask"}:
            # Three of so few devices were gone or silent with the same piece: then it is to blame, for all one knows.
            assert " is poison: it failed 3 times" in "\n".join(World(storm, keeps_story=True).run().story), seed


def test_who_is_back_before_it_was_missed_is_not_lost_afterwards():
    """All who stay in this fleet were away for less than it takes to notice that."""
    report = World(Scenario(devices=5, seed=7635, tasks=2, subtasks=12, **STORMY)).run()
    assert report.ended == {"task-0": "FinishTask", "task-1": "FinishTask"}


def test_one_seed_is_one_world_and_another_seed_another():
    first, again = played(devices=10, **STORMY), played(devices=10, **STORMY)
    assert first == again
    assert played(devices=10, seed=8, **STORMY).digest != first.digest


def test_the_story_names_who_left():
    world = World(Scenario(devices=10, churn=0.5, seed=3), keeps_story=True)
    story = "\n".join(world.run().story)
    assert "vanishes" in story and "lost with its device" in story and "every subtask has its result" in story


def test_the_digest_is_the_same_on_every_python_and_for_every_hash_seed():
    """Golden: whoever changes what is decided on purpose puts the new digest here; `--story` says what changed."""
    assert played(devices=20, tasks=2, **STORMY, **FULL).digest == (
        "d71196e239772087e1ff47bc5b008c526e591836e5069deb34c456d259567114"
    )


@settings(max_examples=max(1, settings.default.max_examples // 12))
@given(st.integers(0, 10**6))
def test_with_second_attempts_and_windows_a_stormy_fleet_finishes_too(seed):
    report = played(devices=8, seed=seed, tasks=3, **STORMY, **FULL)
    assert set(report.ended) == {"task-0", "task-1", "task-2"}


@settings(max_examples=max(1, settings.default.max_examples // 12))
@given(st.integers(0, 10**6))
def test_fed_as_there_is_room_a_stormy_fleet_finishes_too(seed):
    report = played(devices=8, seed=seed, tasks=3, is_open=True, **STORMY, **FULL)
    assert set(report.ended.values()) == {"FinishTask"} and len(report.ended) == 3


@pytest.mark.slow
def test_feeding_as_there_is_room_costs_little_time():
    assert median_ratio(devices=40, workload="equal", is_open=True) <= 1.1


def median_ratio(seeds=5, **fields):
    reports = [played(check_every=100, seed=seed, **fields, **FULL) for seed in range(seeds)]
    assert all(report.ended == {"task-0": "FinishTask"} for report in reports)
    return sorted(report.ratio for report in reports)[seeds // 2]


@pytest.mark.slow
@pytest.mark.parametrize("churn, most", [(0.0, 1.1), (0.1, 1.3)])
def test_a_mixed_fleet_comes_near_the_least_possible(churn, most):
    assert median_ratio(devices=40, workload="equal", churn=churn) <= most


@pytest.mark.parametrize("workload, fates, most", [
    ("heavy", (), 1.05), ("largest-last", (), 1.10), ("heavy", ((2, "leaves", 0.3),), 1.06),
    ("heavy", ((2, "freezes", 0.3),), 1.06), ("heavy", ((3, "freezes", 0.3),), 1.06),
])
def test_four_workers_of_which_one_may_leave_or_freeze(workload, fates, most):
    """The targets of `tools/bench.py hetero`, without a network."""
    assert median_ratio(speeds=(1.0, 2.0, 4.0, 8.0), subtasks=400, workload=workload, fates=fates) <= most


SLOW_LINKS = st.fixed_dictionaries({
    "mean_work_s": st.sampled_from([0.01, 0.2, 2.0]), "size_bytes": st.sampled_from([0, 10_000, 1_000_000]),
    "subtasks": st.sampled_from([3, 44, 300]), "is_open": st.booleans(),
    "task_fields": st.sampled_from([(("function", "f"),), (("pure", True), ("function", "f"))]),
})


def short_pieces(mean_work_s, size_bytes, subtasks):
    return {"mean_work_s": mean_work_s, "size_bytes": size_bytes, "subtasks": subtasks, "is_open": False,
            "task_fields": (("function", "f"),)}


@settings(max_examples=settings.default.max_examples // 4)
@example(short_pieces(0.2, 10_000, 3), 0.3, 5e4, 4.0)
@example(short_pieces(0.01, 10_000, 44), 0.3, 5e4, 0.2)
@example(short_pieces(0.2, 1_000_000, 3), 0.3, 1e7, 1.0)
@example(short_pieces(0.5, 300_000, 11), 0.02, 5e4, 2.0)
@given(SLOW_LINKS, st.sampled_from([0.005, 0.3]), st.sampled_from([5e4, 1e7]), st.sampled_from([0.2, 1.0, 4.0]))
def test_a_far_or_slow_device_makes_nothing_slower_than_the_near_one_alone(fields, round_trip_s, bytes_s, speed):
    """The near one may wait for its last piece, or for one that was sent before anybody knew: hence the tenth."""
    fields = {"workload": "equal", "latency_s": 0.0005, "is_score_rough": False, **fields}
    alone = played(speeds=(1.0,), **fields)
    both = played(speeds=(1.0, speed), far=((1, round_trip_s, bytes_s),), check_every=50, **fields)
    assert both.makespan_s <= 1.1 * alone.makespan_s + 0.02


def test_without_weighing_a_slow_link_would_lose():
    """Forty-four pieces of half a second here; each is 13 s on its way there."""
    fields = {"subtasks": 44, "workload": "equal", "mean_work_s": 0.5, "is_score_rough": False,
              "task_fields": (("function", "f"),)}
    alone = played(speeds=(1.0,), **fields).makespan_s
    far = {"speeds": (1.0, 4.0), "far": ((1, 0.05, 100_000.0),)}
    assert played(size_bytes=1_300_000, **far, **fields).makespan_s < alone
    assert played(size_bytes=13_000, **far, **fields).makespan_s < 0.4 * alone


@pytest.mark.parametrize("tasks", [1, 30])
@pytest.mark.parametrize("broken", [(7,), (7, 3, 0)])
@pytest.mark.parametrize("asked", [{}, FULL], ids=["plain", "full"])
def test_broken_devices_hold_nobody_up_and_their_failures_end_no_task(asked, broken, tasks):
    """Three of them would make poison of whatever is sent to one after the other."""
    fates = tuple((number, "breaks", 0.0) for number in broken)
    for seed in range(3):
        report = played(
            check_every=20, seed=seed, speeds=(1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0), subtasks=150, tasks=tasks,
            workload="equal", fates=fates, **asked
        )
        assert set(report.ended.values()) == {"FinishTask"} and report.ratio < 1.4


@pytest.mark.slow
def test_a_large_world_is_checked_now_and_then_and_small_ones_always():
    assert played(devices=4).checks == played(devices=4).events
    large = played(devices=300, workload="equal")
    assert 5 < large.checks < large.events / 50


def test_an_unknown_workload_is_refused():
    with pytest.raises(ValueError, match="choose one of equal"):
        World(Scenario(workload="huge"))


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{}, {"task_fields": FULL["task_fields"], "device_fields": FULL["device_fields"]}])
def test_a_decision_costs_no_more_among_many_devices(fields):
    """Counted in calls of functions, which no machine's speed changes; 10 devices against 1,000."""
    few, many = calls_a_subtask(10, fields), calls_a_subtask(1000, fields)
    assert many <= 2.0 * few


def calls_a_subtask(devices, fields):
    world = World(Scenario(devices=devices, subtasks=3000, workload="equal", **fields), check_every=10**9)
    apply, calls = world.scheduler.apply, 0

    def count(frame, kind, _):
        nonlocal calls
        calls += kind == "call"

    def counted(event, now):
        sys.setprofile(count)
        try:
            return apply(event, now)
        finally:
            sys.setprofile(None)

    world.scheduler.apply = counted
    world.run()
    return calls / 3000


# ---- what is planned -------------------------------------------------------------------------------


def plan(speed, **fields):
    return DevicePlan("d", speed, speed, 1, **fields)


def test_the_bound_is_work_over_speed_or_the_largest_piece_on_the_fastest():
    assert makespan_bound([plan(1.0), plan(3.0)], [4.0] * 10) == 10.0
    assert makespan_bound([plan(1.0), plan(3.0)], [30.0, 1.0]) == 10.0


def test_the_bound_knows_who_is_away_asleep_or_slow():
    assert makespan_bound([plan(1.0), plan(1.0, gone=[(2.0, float("inf"))])], [8.0, 4.0]) == 10.0
    assert makespan_bound([plan(1.0), plan(1.0, asleep=[(2.0, 4.0)])], [8.0, 4.0]) == 8.0
    assert makespan_bound([plan(10.0, slows_at=1.0)], [10.0, 5.0]) == 6.0
    assert makespan_bound([plan(1.0, gone=[(2.0, float("inf"))])], [8.0]) == float("inf")


def test_every_workload_has_about_the_same_work_and_the_largest_can_be_last():
    for workload in WORKLOADS:
        works = plan_works(Scenario(devices=200, workload=workload, mean_work_s=1.0), random.Random(3))
        assert len(works) == 2000 and 0.85 < sum(works) / 2000 < 1.15
        assert workload != "largest-last" or works[-1] == max(works)


def test_a_device_breaks_when_it_is_said_to_and_counts_for_nothing_from_then_on():
    plans = plan_fleet(Scenario(speeds=(1.0, 3.0), fates=((1, "breaks", 0.5),)), random.Random(1), 40.0)
    assert plans[1].breaks_at == 5.0 and makespan_bound(plans, [4.0] * 10) == 25.0
    device = SimDevice(plans[1])
    assert device.take("t/0.1", 6.0, 1.0) == [("t/0.1", 3.0)] and not device.is_broken(3.0)
    device.drop("t/0.1", 3.0)
    assert device.take("t/1.1", 6.0, 5.0) == [("t/1.1", 5.05)] and device.is_broken(5.05)


def test_fates_are_shared_out_as_asked():
    plans = plan_fleet(Scenario(devices=1000, churn=0.2, sleepers=0.1, stragglers=0.3), random.Random(1), 1000.0)
    assert 150 < sum(bool(each.gone) for each in plans) < 250
    assert 60 < sum(bool(each.asleep) for each in plans) < 140
    assert 250 < sum(each.slows_at < float("inf") for each in plans) < 350


# ---- a device --------------------------------------------------------------------------------------


def test_a_device_runs_slot_by_slot_and_sleep_and_slowness_push_on():
    device = SimDevice(plan(2.0))
    assert device.take("t/0.1", 8.0, 0.0) == [("t/0.1", 4.0)] and device.take("t/1.1", 2.0, 0.0) == []
    device.fall_asleep(11.0, 1.0)
    assert device.running == {"t/0.1": 14.0} and device.known_attempts == ("t/0.1", "t/1.1")
    device.slow_down(12.0)
    assert device.running == {"t/0.1": 32.0}
    assert device.drop("t/0.1", 13.0) == [("t/1.1", 23.0)]
    device.vanish()
    assert device.known_attempts == ()


# ---- the checks can fail ---------------------------------------------------------------------------


def watch():
    watch = Watch()
    watch.after(DeviceReady("a", 1), [], 0.0)
    watch.after(TaskSubmitted("t", 2), [StartAttempt("t/0.1", "t", 0, "a", 15.0)], 0.0)
    return watch


@pytest.mark.parametrize("event, actions, now, complaint", [
    (Tick(), [], -1.0, "time went back"),
    (Tick(), [StartAttempt("t/1.1", "t", 1, "a", 15.0)], 1.0, "over capacity"),
    (Tick(), [StartAttempt("t/0.1", "t", 0, "a", 15.0)], 1.0, "started twice"),
    (Tick(), [StartAttempt("u/0.1", "u", 0, "a", 15.0)], 1.0, "never was"),
    (AttemptSucceeded("t/0.1"), [AcceptResult("t", 0, "t/0.1", "a")] * 2, 1.0, "delivered twice"),
    (AttemptSucceeded("t/0.1"), [AcceptResult("t", 0, "t/0.1", "a"), FinishTask("t")], 1.0, "missing"),
    (AttemptSucceeded("t/0.1"), [AcceptResult("t", 0, "t/0.1", "a"), StartAttempt("t/0.2", "t", 0, "a", 1.0)], 1.0,
     "runs what is done"),
])
def test_the_watch_notices(event, actions, now, complaint):
    with pytest.raises(AssertionError, match=complaint):
        watch().after(event, actions, now)


def test_the_watch_knows_what_ends_alone_and_what_may_be_added():
    watching = Watch()
    watching.after(TaskSubmitted("t", 1, is_open=True), [], 0.0)
    watching.after(SubtasksAdded("t", 2), [], 0.0)
    watching.after(SubtaskCancelled("t", 2), [FailSubtask("t", 1, "why", "task")], 0.0)
    assert watching.open == {"t": 3} and watching.given_up == {("t", 1), ("t", 2)}
    for actions, complaint in [
        ([FailSubtask("t", 1, "why", "task")], "over already"), ([AcceptResult("t", 2, "t/2.1", "a")], "given up"),
        ([FinishTask("t")], "added yet"),
    ]:
        with pytest.raises(AssertionError, match=complaint):
            copy.deepcopy(watching).after(Tick(), actions, 0.0)
    watching.after(TaskSealed("t"), [AcceptResult("t", 0, "t/0.1", "a"), FinishTask("t")], 0.0)
    watching.at_end()


def test_the_watch_notices_what_never_ended():
    with pytest.raises(AssertionError, match="never ended"):
        watch().at_end()


# ---- the tool --------------------------------------------------------------------------------------


def test_the_tool_prints_story_ratio_and_digest(root, capsys):
    main = runpy.run_path(str(root / "tools" / "simulate.py"))["main"]
    assert main(["--devices", "5", "--churn", "0.4", "--story"]) == 0
    printed = capsys.readouterr().out
    assert "d00003" in printed and "ratio 1." in printed and printed.splitlines()[-1].startswith("digest ")
    assert main(["--speeds", "1,2", "--subtasks", "9", "--plain"]) == 0
    assert "0 of them beside another" in capsys.readouterr().out
