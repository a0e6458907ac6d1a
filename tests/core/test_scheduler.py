"""Who runs what, and what becomes of work whose device breaks, vanishes, refuses or falls silent."""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from discompute_lite.core.events import (
    AcceptResult, AttemptFailed, AttemptSucceeded, CancelAsked, DeviceLost, DeviceReady, EndCancelled, FailTask,
    FinishTask, LeaseRenewed, StartAttempt, StopAttempt, TaskSubmitted, TellStory, Tick,
)
from discompute_lite.core.ledger import FINISHED_STORIES
from discompute_lite.core.records import AttemptState
from discompute_lite.core.retry import MISFITS_TRIED, REFUSED_MOST_S
from discompute_lite.core.scheduler import Scheduler
from discompute_lite.model.task import TaskState


def started(actions):
    return [(action.attempt_id, action.device_id) for action in actions if isinstance(action, StartAttempt)]


# ---- placing ---------------------------------------------------------------------------------------


def test_a_task_runs_wherever_there_are_slots_and_finishes_once(world):
    world.devices("a", "b", slots=2)
    assert started(world.submit(subtasks=5)) == [("t/0.1", "a"), ("t/1.1", "b"), ("t/2.1", "a"), ("t/3.1", "b")]
    assert world.succeed("t/1.1") == [AcceptResult("t", 1, "t/1.1", "b"), StartAttempt("t/4.1", "t", 4, "b", 15.0)]
    for index in (0, 2, 3):
        world.succeed(f"t/{index}.1")
    assert world.succeed("t/4.1")[-1] == FinishTask("t")
    assert world.scheduler.task("t").state is TaskState.COMPLETED


def test_the_least_loaded_and_the_faster_device_comes_first(world):
    world.devices("busy", load=0.9, slots=4)
    world.devices("idle", load=0.0, slots=4)
    world.devices("fast", load=0.0, slots=1, speed=3.0)
    assert [device for _, device in started(world.submit(subtasks=3))] == ["fast", "idle", "idle"]


def test_a_task_goes_only_where_everything_it_requires_is_offered(world):
    world.devices("plain", slots=8)
    assert world.submit(subtasks=2, requires=("gpu", "numpy")) == []
    world.devices("half", offers=("gpu",), slots=8)
    assert started(world.devices("full", offers=("numpy", "gpu", "x"))) == [("t/0.1", "full")]


def test_higher_priority_goes_first_and_equals_in_order_of_submission(world):
    for task_id, priority in (("low", 1), ("first", 5), ("second", 5), ("high", 10)):
        world.submit(task_id, priority=priority)
    order = [task_id for task_id, _ in started(world.devices("a"))]
    while world.running:
        order += [task_id for task_id, _ in started(world.succeed(next(iter(world.running))))]
    assert order == ["high/0.1", "first/0.1", "second/0.1", "low/0.1"]


def test_a_task_that_nobody_can_run_holds_up_nobody_else(world):
    world.devices("a")
    world.submit("needy", requires=("gpu",), priority=10)
    assert started(world.submit("modest")) == [("modest/0.1", "a")]


def test_max_devices_limits_devices_and_not_slots(world):
    world.devices("a", "b", "c", slots=2)
    assert {device for _, device in started(world.submit(subtasks=9, max_devices=2))} == {"a", "b"}
    assert len(world.running) == 4
    assert started(world.submit("other")) == [("other/0.1", "c")]
    # When one of the two is gone another may take its place.
    assert {device for _, device in started(world.lose("a"))} == {"c"}
    assert started(world.devices("b", slots=3)) == [("t/2.2", "b")]


def test_a_task_at_its_device_limit_goes_on_as_soon_as_its_device_has_room(world):
    world.devices("a")
    world.submit(subtasks=3, max_devices=1)
    world.devices("idle")
    assert started(world.devices("a", slots=2)) == [("t/1.1", "a")]


def test_fewer_slots_end_nothing_that_runs(world):
    world.devices("a", slots=3)
    world.submit(subtasks=6)
    assert world.devices("a", slots=1) == []
    assert world.succeed("t/0.1") == [AcceptResult("t", 0, "t/0.1", "a")]
    world.succeed("t/1.1")
    assert started(world.succeed("t/2.1")) == [("t/3.1", "a")]


def test_a_task_without_a_device_waits_and_says_why(world):
    world.submit(requires=("gpu",))
    assert world.scheduler.story("t")[-1] == "waits: no device takes work here yet"
    world.devices("phone-12345", slots=0, reason="on battery at 12 %", offers=("gpu",))
    world.devices("desktop-1")
    told = world.scheduler.story("t")[-1]
    assert told == "waits for a device: phone-12 on battery at 12 %; desktop- does not offer gpu"
    world.devices("phone-12345", slots=1, offers=("gpu",))
    assert world.scheduler.story("t")[-1] == "subtask 0: attempt 1 goes to phone-12"


def test_losing_the_last_device_is_told(world):
    world.devices("a")
    world.submit()
    actions = world.scheduler.apply(DeviceLost("a", "gone"), world.now)
    assert TellStory("t", "waits: no device takes work here yet") in actions


def test_submitting_again_changes_nothing(world):
    world.devices("a")
    world.submit(subtasks=2)
    assert world.submit(subtasks=7) == [] and world.scheduler.task("t").total == 2


def test_a_task_of_no_pieces_is_done_at_once(world):
    assert world.submit(subtasks=0) == [FinishTask("t")]


# ---- failing ---------------------------------------------------------------------------------------


def test_an_exception_of_the_users_code_ends_the_task_and_stops_the_rest(world):
    world.devices("a", "b")
    world.submit(subtasks=5)
    actions = world.fail("t/1.1", blame="task", reason="ZeroDivisionError: division by zero")
    assert actions == [
        StopAttempt("t/0.1", "a", "its task has ended"),
        FailTask("t", "ZeroDivisionError: division by zero", 1),
    ]
    assert world.running == {} and world.wait(100) == []


def test_what_a_device_broke_is_tried_elsewhere_after_a_pause(world):
    world.devices("a", "b")
    world.submit()
    assert world.fail("t/0.1") == []
    assert started(world.wait(0.3)) == []
    assert started(world.wait(0.4)) == [("t/0.2", "b")]


def test_a_retry_waits_for_an_untried_device_rather_than_go_back(world):
    world.devices("a", "b")
    world.submit("long", max_devices=1)
    world.submit("t")
    world.fail("t/0.1")
    assert started(world.wait(20, renew=("a", "b"))) == []
    assert started(world.succeed("long/0.1") + world.wait(2)) == [("t/0.2", "a")]


def test_where_there_is_only_one_device_it_gets_another_chance(world):
    world.devices("a")
    world.submit()
    world.fail("t/0.1")
    assert started(world.wait(2)) == [("t/0.2", "a")]


def test_a_device_on_which_everything_fails_does_not_eat_the_queue(world):
    world.devices("hole", slots=8, speed=100.0)
    world.devices("good", slots=1)
    world.submit(subtasks=30)
    for _ in range(400):
        for attempt_id, where in list(world.running.items()):
            if where == "hole":
                world.fail(attempt_id)
        good = [key for key, where in world.running.items() if where == "good"]
        if good:
            world.succeed(good[0])
        world.wait(0.25)
    assert world.scheduler.task("t").state is TaskState.COMPLETED


def test_a_success_ends_the_rest_of_a_device(world):
    world.devices("a", slots=2)
    world.submit(subtasks=4)
    world.fail("t/0.1", blame="refused")
    assert started(world.succeed("t/1.1")) == [("t/2.1", "a"), ("t/3.1", "a")]


def test_refusals_are_tried_elsewhere_and_never_poison(world):
    world.devices("a")
    world.submit()
    for _ in range(10):
        assert world.fail(next(iter(world.running)), blame="refused", reason="low battery") == []
        world.wait(90, renew=("a",))
    assert started(world.devices("b")) == [] and len(world.running) == 1
    assert world.scheduler.task("t").state is TaskState.RUNNING


def test_work_that_is_handed_back_goes_elsewhere_at_once_and_is_held_against_nobody(world):
    world.devices("phone", slots=3)
    world.submit(subtasks=3)
    world.devices("desktop", slots=3)
    world.devices("phone", slots=0, reason="in the background")
    gone = [action for number in range(3) for action in world.fail(f"t/{number}.1", blame="released", reason="hot")]
    assert started(gone) == [("t/0.2", "desktop"), ("t/1.2", "desktop"), ("t/2.2", "desktop")]
    assert "was handed back: hot" in world.scheduler.why("t", 0)
    for number in range(3):
        world.succeed(f"t/{number}.2")
    # Neither the subtasks nor the device have a failure: it gets the next work without a rest.
    assert started(world.devices("phone", slots=1)) == [] and world.scheduler.task("t").state is TaskState.COMPLETED
    world.lose("desktop")
    assert started(world.submit("u")) == [("u/0.1", "phone")]


def test_work_that_is_handed_back_again_and_again_is_no_poison(world):
    world.devices("a", "b")
    world.submit()
    for _ in range(20):
        attempt_id = next(iter(world.running))
        world.devices(world.running[attempt_id], slots=0)
        assert len(started(world.fail(attempt_id, blame="released"))) == 1
        world.devices("a", "b")
    assert world.scheduler.task("t").state is TaskState.RUNNING


def test_a_device_that_hands_back_and_has_not_said_why_yet_is_not_asked_again_in_that_moment(world):
    world.devices("a", "b")
    world.submit()
    where = world.running["t/0.1"]
    assert started(world.fail("t/0.1", blame="released")) == [("t/0.2", "b" if where == "a" else "a")]


def test_a_piece_that_is_too_much_for_a_phone_goes_elsewhere_at_once_and_the_phone_works_on(world):
    world.devices("phone")
    world.submit(subtasks=2)
    world.devices("desktop")
    assert world.running == {"t/0.1": "phone", "t/1.1": "desktop"}
    world.succeed("t/1.1")
    heavy = world.fail("t/0.1", blame="unfit", reason="this piece weighs 900 MB")
    assert started(heavy) == [("t/0.2", "desktop")]
    assert "was too much for it: this piece weighs 900 MB" in world.scheduler.why("t", 0)
    assert started(world.submit("light")) == [("light/0.1", "phone")]


def test_a_phone_alone_is_asked_again_for_what_was_too_much_and_does_light_work_meanwhile(world):
    world.devices("phone")
    world.submit()
    for number in range(1, 12):
        assert world.running == {f"t/0.{number}": "phone"}
        world.fail(f"t/0.{number}", blame="unfit")
        assert started(world.submit(f"light{number}")) == [(f"light{number}/0.1", "phone")]
        world.succeed(f"light{number}/0.1")
        world.wait(REFUSED_MOST_S * 1.2, renew=("phone",))
    assert world.scheduler.task("t").state is TaskState.RUNNING


def test_a_task_of_which_each_piece_is_too_much_leaves_a_phone_alone_for_a_moment(world):
    world.devices("desktop")
    world.submit(subtasks=100)
    world.devices("phone")
    unfit = 0
    while "phone" in world.running.values():
        world.fail(next(key for key, where in world.running.items() if where == "phone"), blame="unfit")
        unfit += 1
    assert unfit == MISFITS_TRIED
    assert started(world.submit("light")) == [("light/0.1", "phone")], "others use it all the same"
    world.succeed("light/0.1")
    world.wait(REFUSED_MOST_S * 1.2, renew=("desktop", "phone"))
    assert "phone" in world.running.values(), "the next one may be lighter"


def test_what_outgrows_a_device_is_tried_where_there_may_be_more_and_fails_the_third_time(world):
    world.devices("a", "b", "c", "d")
    world.submit()
    where = [world.running["t/0.1"]]
    for number in (1, 2):
        (_, device), = started(world.fail(f"t/0.{number}", blame="outgrown", reason="it used 900 MB"))
        where.append(device)
    assert len(set(where)) == 3
    assert FailTask in [type(action) for action in world.fail("t/0.3", blame="outgrown", reason="it used 900 MB")]


def test_what_outgrows_the_only_device_has_failed(world):
    world.devices("a")
    world.submit()
    assert FailTask in [type(action) for action in world.fail("t/0.1", blame="outgrown", reason="it used 900 MB")]


def test_work_of_a_lost_device_goes_elsewhere_at_once(world):
    world.devices("a", slots=3)
    world.submit(subtasks=3)
    world.devices("b", slots=3)
    assert started(world.lose("a")) == [("t/0.2", "b"), ("t/1.2", "b"), ("t/2.2", "b")]


def test_a_subtask_that_takes_down_three_devices_is_poison_and_names_them(world):
    world.devices("d1")
    world.submit()
    world.devices("d2", "d3", "d4")
    assert started(world.lose("d1")) == [("t/0.2", "d2")]
    assert started(world.lose("d2")) == [("t/0.3", "d3")]
    (failed,) = world.lose("d3")
    assert isinstance(failed, FailTask) and failed.index == 0 and "on d1, d2 and d3: " in failed.reason
    assert world.running == {}


def test_devices_that_leave_in_good_order_are_not_held_against_their_work(world):
    world.devices("d0")
    world.submit()
    for number in range(6):
        world.devices(f"d{number + 1}")
        assert len(started(world.lose(f"d{number}", clean=True))) == 1


def test_a_crash_loop_on_a_single_device_ends(world):
    world.devices("a")
    world.submit()
    failed = []
    for _ in range(3):
        failed += world.fail(next(iter(world.running)))
        world.wait(10)
    assert [type(action) for action in failed] == [FailTask]


# ---- leases ----------------------------------------------------------------------------------------


def test_a_lease_ends_without_a_sign_of_life_and_the_work_goes_elsewhere(world):
    world.devices("a", lease_s=30.0)
    assert world.submit()[0].lease_s == 30.0
    world.devices("b")
    assert world.wait(29.9) == []
    assert world.wait(0.2) == [
        StopAttempt("t/0.1", "a", "its lease ended"), StartAttempt("t/0.2", "t", 0, "b", 15.0),
    ]


def test_heartbeats_keep_a_lease(world):
    world.devices("a", "b")
    world.submit()
    assert world.wait(100, renew=("a",)) == []


def test_a_silent_device_gets_nothing_until_it_speaks(world):
    world.devices("a")
    world.submit()
    assert world.wait(15.1) == [StopAttempt("t/0.1", "a", "its lease ended")]
    assert started(world(LeaseRenewed("a", ()))) == [("t/0.2", "a")]


def test_a_late_tick_does_not_take_old_news_for_a_sign_of_life(world):
    world.devices("a", slots=2)
    world.submit("x")
    world.now += 10
    world.submit("y")
    world.now += 6
    world(Tick())
    world.now += 15  # The second lease and the silence are due in one tick.
    assert started(world(Tick())) == []


def test_a_device_that_was_only_asleep_killed_nobody(world):
    world.devices("d1")
    world.submit()
    for number in range(1, 6):
        world.devices(f"d{number + 1}")
        (attempt_id,) = world.running
        world.wait(15.1)
        assert world(LeaseRenewed(f"d{number}", (attempt_id,))) == [
            StopAttempt(attempt_id, f"d{number}", "it is no longer wanted")
        ]
        world(DeviceReady(f"d{number}", 0, reason="asleep"))
    assert world.scheduler.task("t").state is TaskState.RUNNING


def test_row_25_late_outcomes_are_ignored_and_counted(world):
    world.devices("a")
    world.submit()
    world.devices("b")
    world.wait(15.1)
    assert world.succeed("t/0.1") == [] and world.fail("t/0.1", blame="task") == []
    assert world.succeed("nobody/3.1") == [] and world.succeed("t/9.1") == [] and world.succeed("t/" + "9" * 5000) == []
    assert world.scheduler.late == 5
    assert world.succeed("t/0.2") == [AcceptResult("t", 0, "t/0.2", "b"), FinishTask("t")]
    assert world.succeed("t/0.2") == []


def test_row_25_whatever_comes_after_the_end_changes_nothing(world):
    """Attempt 1 comes back after attempt 2 has won, and so does 2; a cancelled task's result finds nobody."""
    world.devices("a")
    world.submit(subtasks=2)
    world.devices("b", slots=2)
    world.wait(15.1, renew=("b",))
    assert world.running["t/0.2"] == "b"
    assert world.succeed("t/0.2") == [AcceptResult("t", 0, "t/0.2", "b")]
    assert world.succeed("t/0.1") == world.succeed("t/0.2") == world.fail("t/0.1", blame="task") == []
    assert world.scheduler.task("t").state is TaskState.RUNNING, "its other half goes on"
    world(CancelAsked("t", "no longer needed"))
    for attempt_id in ("t/1.1", "t/0.1", "t/0.2"):
        assert world.succeed(attempt_id) == world.fail(attempt_id) == []
    assert world.scheduler.late == 3 + 6 and world.scheduler.task("t").state is TaskState.CANCELLED


def test_row_25_a_device_cannot_renew_the_lease_of_another(world):
    world.devices("a")
    world.submit()
    world.devices("b", slots=0)
    for _ in range(16):
        world(LeaseRenewed("b", ("t/0.1",)))
        world.now += 1
    assert world(Tick()) == [StopAttempt("t/0.1", "a", "its lease ended")]


def test_a_scheduler_that_overslept_blames_nobody_for_what_it_did_not_hear(world):
    world.devices("a", silence_s=3.0)
    world.submit()
    world.devices("b", silence_s=3.0)
    world.now += 60.0
    assert world(Tick(is_late=True)) == []
    world(LeaseRenewed("a", ("t/0.1",)))
    assert world.succeed("t/0.1") == [AcceptResult("t", 0, "t/0.1", "a"), FinishTask("t")] and world.scheduler.late == 0


# ---- cancelling and forgetting ---------------------------------------------------------------------


def test_cancelling_stops_what_runs_and_forgets_what_waits(world):
    world.devices("a", "b")
    world.submit(subtasks=9)
    world.fail("t/1.1")
    assert world(CancelAsked("t", "no longer needed")) == [
        StopAttempt("t/0.1", "a", "its task has ended"), EndCancelled("t", "no longer needed"),
    ]
    assert world(CancelAsked("t", "again")) == [] and world.wait(60) == []
    assert world.scheduler.story("t")[-1] == "cancelled: no longer needed"


def test_several_tasks_at_once_all_finish(world):
    world.devices("a", "b", slots=3)
    for task_id in ("x", "y", "z"):
        world.submit(task_id, subtasks=7)
    finished = []
    while world.running:
        actions = world.succeed(next(iter(world.running)))
        finished += [action.task_id for action in actions if isinstance(action, FinishTask)]
    assert sorted(finished) == ["x", "y", "z"]


def test_stories_of_old_tasks_are_forgotten(world):
    world.devices("a")
    for number in range(FINISHED_STORIES + 5):
        world.submit(f"t{number}")
        world.succeed(f"t{number}/0.1")
    assert world.scheduler.story("t0") == [] and world.scheduler.story("t5") != []
    assert started(world.submit("t0")) == [("t0/0.1", "a")]


def test_an_impossible_move_tells_the_story_of_the_attempt(world):
    world.devices("a")
    world.submit()
    attempt = world.scheduler.task("t").live["t/0.1"]
    attempt.state = AttemptState.STOPPED
    with pytest.raises(AssertionError, match="attempt t/0.1 on a, stopped"):
        attempt.move("renewed")


# ---- cost ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ten_thousand_devices_cost_no_more_an_event_than_ten(monkeypatch):
    """Count comparisons of costs, the work of the heaps, rather than seconds."""
    counted = {}
    for fleet in (10, 10000):
        calls = 0

        def cost(*, running, slots, speed, load):
            nonlocal calls
            calls += 1
            return (1.0 + running / slots) / (speed or 1.0)

        monkeypatch.setattr("discompute_lite.core.records.placement_cost", cost)
        scheduler = Scheduler(random.Random(1))
        for number in range(fleet):
            scheduler.apply(DeviceReady(f"d{number:05d}", 1, 1.0 + number % 7), 0.0)
        before, running = calls, []
        actions = scheduler.apply(TaskSubmitted("t", 12000), 0.0)
        after_submit = calls
        running = [action.attempt_id for action in actions if isinstance(action, StartAttempt)]
        assert len(running) == fleet
        for attempt_id in running[:10]:
            scheduler.apply(AttemptSucceeded(attempt_id), 1.0)
            scheduler.apply(LeaseRenewed("d00003", ()), 1.0)
        assert after_submit - before <= 3 * fleet
        counted[fleet] = calls - after_submit
        pool = scheduler._books.pools[(), ""]
        assert len(pool.roomy.entries) <= 64 + 2 * fleet + 1
    assert counted[10000] <= counted[10] <= 40


def test_a_device_that_changes_for_ever_costs_no_memory(world):
    world.devices("a", "b", slots=2)
    world.submit(subtasks=9)
    world.devices("c", slots=5)
    for number in range(500):
        world.devices("c", slots=9 + number % 2)  # `check` bounds the heap.


def test_a_device_that_went_and_came_back_stands_in_the_heaps_once(world):
    world.submit("other", requires=("gpu",))
    for _ in range(5):
        world.devices("a", offers=("gpu",))  # `check` counts its entries.
        world.lose("a", clean=True)


# ---- whatever happens ------------------------------------------------------------------------------


DEVICES = st.sampled_from(["a", "b", "c", "d"])
TASKS = st.sampled_from(["x", "y", "z"])


#: What tasks may ask for beyond the ordinary.
ASKED = [{}, {"pure": True}, {"pure": True, "function": "f"}, {"function": "f", "retries": 2}, {"deadline_s": 9.0}]


class AnythingHappens(RuleBasedStateMachine):
    """Feed every event in every order: invariants hold, slots are kept, each subtask has one result at most."""

    def __init__(self):
        super().__init__()
        self.scheduler = Scheduler(random.Random(2))
        self.now = 0.0
        self.slots, self.running, self.old, self.accepted = {}, {}, [], set()
        self.open, self.ended, self.pure = {}, [], set()

    def feed(self, event):
        for action in self.scheduler.apply(event, self.now):
            if isinstance(action, StartAttempt):
                assert action.attempt_id not in self.running and action.attempt_id not in self.old
                self.running[action.attempt_id] = action.device_id
                mine = [key for key, where in self.running.items() if where == action.device_id]
                assert len(mine) <= self.slots[action.device_id], "over capacity"
                beside = [key for key in self.running if key.startswith(f"{action.task_id}/{action.index}.")]
                assert len(beside) == 1 or action.task_id in self.pure, "a second attempt of what is not pure"
            elif isinstance(action, StopAttempt):
                self.forget(action.attempt_id)
            elif isinstance(action, AcceptResult):
                assert (action.task_id, action.index) not in self.accepted, "two results"
                self.accepted.add((action.task_id, action.index))
            elif isinstance(action, (FinishTask, FailTask, EndCancelled)):
                total = self.open.pop(action.task_id)
                if isinstance(action, FinishTask):
                    assert {(action.task_id, index) for index in range(total)} <= self.accepted
                assert not [key for key in self.running if key.startswith(action.task_id + "/")]

    def forget(self, attempt_id):
        if self.running.pop(attempt_id, None):
            self.old.append(attempt_id)

    def pick(self, number):
        return list(self.running)[number % len(self.running)] if self.running else "x/0.99"

    @rule(task=TASKS, subtasks=st.integers(0, 6), priority=st.integers(-1, 12), limit=st.integers(0, 2),
          requires=st.sampled_from([(), ("gpu",)]), asked=st.sampled_from(ASKED))
    def submit(self, task, subtasks, priority, limit, requires, asked):
        name = f"{task}{len(self.ended)}"
        self.ended.append(name)
        self.open[name] = subtasks
        if asked.get("pure"):
            self.pure.add(name)
        self.feed(TaskSubmitted(name, subtasks, priority, requires, limit, **asked))

    @rule(device=DEVICES, slots=st.integers(0, 3), gpu=st.booleans(), load=st.floats(0, 1),
          speed=st.sampled_from([0.0, 1.0, 8.0]), window=st.sampled_from([0, 1, 4]),
          silence=st.sampled_from([0.0, 2.0]))
    def ready(self, device, slots, gpu, load, speed=1.0, window=0, silence=0.0):
        self.slots[device] = slots * (1 + window)
        self.feed(DeviceReady(
            device, slots, speed, load, ("gpu",) if gpu else (), window=window, silence_s=silence
        ))

    @rule(device=DEVICES, clean=st.booleans())
    def lost(self, device, clean):
        for attempt_id in [key for key, where in self.running.items() if where == device]:
            self.forget(attempt_id)
        self.feed(DeviceLost(device, "gone", clean))

    @rule(number=st.integers(0, 99))
    def succeed(self, number):
        attempt_id = self.pick(number)
        self.forget(attempt_id)
        self.feed(AttemptSucceeded(attempt_id))

    @rule(number=st.integers(0, 99), blame=st.sampled_from([
        "device", "device", "refused", "released", "unfit", "outgrown", "task"]))
    def fail(self, number, blame):
        attempt_id = self.pick(number)
        self.forget(attempt_id)
        self.feed(AttemptFailed(attempt_id, blame, "why"))

    @rule(number=st.integers(0, 99))
    def speak_late(self, number):
        if self.old:
            late = self.scheduler.late
            self.feed(AttemptSucceeded(self.old[number % len(self.old)]))
            assert self.scheduler.late == late + 1

    @rule(device=DEVICES)
    def renew(self, device):
        mine = tuple(key for key, where in self.running.items() if where == device)
        self.feed(LeaseRenewed(device, mine))

    @rule(number=st.integers(0, 99))
    def cancel(self, number):
        if self.open:
            self.feed(CancelAsked(list(self.open)[number % len(self.open)], "why"))

    @rule(seconds=st.sampled_from([0.0, 0.3, 1.0, 8.0, 16.0, 100.0]))
    def wait(self, seconds):
        self.now += seconds
        self.feed(Tick())
        due = self.scheduler.next_deadline()
        assert due is None or due > self.now

    @invariant()
    def holds(self):
        self.scheduler.check()
        assert set(self.scheduler._books.attempts) == set(self.running)
        for task_id in self.open:
            assert self.scheduler.why(task_id) and self.scheduler.why(task_id, 0)

    def teardown(self):
        """With the faults off every task ends."""
        for device in ("a", "b", "c", "d"):
            self.ready(device, 2, True, 0.0)
        for _ in range(500):
            if not self.open:
                return
            if self.running:
                self.succeed(0)
            else:
                self.wait(1.0)
        raise AssertionError(f"these never ended: {self.open}")


AnythingHappens.TestCase.settings = settings(
    max_examples=2 * settings.default.max_examples // 5, stateful_step_count=40
)
TestAnythingHappens = AnythingHappens.TestCase
