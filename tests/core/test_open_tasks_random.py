"""Whatever is added, sized, cancelled, lost or fails, in whatever order: each subtask of an open task ends once."""

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from discompute_lite.core.events import (
    AcceptResult, AttemptFailed, AttemptSucceeded, CancelAsked, DeviceLost, DeviceReady, EndCancelled, FailSubtask,
    FailTask, FinishTask, LeaseRenewed, StartAttempt, StopAttempt, SubtaskCancelled, SubtasksAdded, SubtaskSized,
    TaskSealed, TaskSubmitted, TellStory, Tick,
)
from discompute_lite.core.scheduler import Scheduler

DEVICES = st.sampled_from(["a", "b", "c"])
ASKED = [
    {}, {"pure": True, "function": "f"}, {"function": "f", "retries": 1}, {"max_devices": 1}, {"deadline_s": 40.0},
    {"pure": True}, {"function": "f", "max_devices": 2},
    {"party": "p"}, {"party": "p", "function": "f"},
]


class AnythingIsAdded(RuleBasedStateMachine):
    """Add, size, cancel, fail and lose in every order: each subtask ends once, in one of four ways."""

    def __init__(self):
        super().__init__()
        self.scheduler = Scheduler(random.Random(2))
        self.now = 0.0
        self.running, self.slots = {}, {}
        #: task id -> [how many subtasks, whether it is sealed], of those that have not ended; (task, index) -> how.
        self.open, self.fate, self.count = {}, {}, 0

    def feed(self, event):
        actions = self.scheduler.apply(event, self.now)
        for action in actions:
            if isinstance(action, StartAttempt):
                assert (action.task_id, action.index) not in self.fate, "it was over"
                assert action.index < self.open[action.task_id][0]
                self.running[action.attempt_id] = action
                mine = [each for each in self.running.values() if each.device_id == action.device_id]
                assert len(mine) <= self.slots[action.device_id], "over capacity"
            elif isinstance(action, StopAttempt):
                self.running.pop(action.attempt_id, None)
            elif isinstance(action, (AcceptResult, FailSubtask)):
                self.end(action.task_id, action.index, type(action).__name__)
            elif isinstance(action, (FinishTask, FailTask, EndCancelled)):
                total, is_sealed = self.open.pop(action.task_id)
                over = [index for index in range(total) if (action.task_id, index) in self.fate]
                assert not isinstance(action, FinishTask) or (is_sealed and len(over) == total)
            else:
                assert isinstance(action, TellStory)
        return actions

    def end(self, task_id, index, how):
        assert (task_id, index) not in self.fate, f"{task_id}/{index} ended twice"
        self.fate[task_id, index] = how

    def pick(self, number):
        return list(self.open)[number % len(self.open)] if self.open else "x"

    def is_kept(self, name):
        """Whether what waits beside room is for the fastest device, which is at work for the same task."""
        keeping = self.scheduler._books.pools[self.scheduler.task(name).pool_key].kept.get(name)
        return keeping is not None and any(
            (each.device_id, each.task_id) == (keeping.fastest_id, name) for each in self.running.values())

    def pick_attempt(self, number):
        return self.running.pop(list(self.running)[number % len(self.running)]).attempt_id if self.running else "x/0.9"

    @rule(subtasks=st.integers(0, 2), asked=st.sampled_from(ASKED))
    def submit(self, subtasks, asked):
        self.count += 1
        name = f"t{self.count}"
        self.open[name] = [subtasks, False]
        self.feed(TaskSubmitted(name, subtasks, is_open=True, **asked))

    @rule(number=st.integers(0, 9), count=st.integers(0, 5))
    def add(self, number, count):
        name = self.pick(number)
        if name in self.open and not self.open[name][1]:
            self.open[name][0] += count
        self.feed(SubtasksAdded(name, count))

    @rule(number=st.integers(0, 9))
    def add_what_has_room(self, number):
        name = self.pick(number)
        room = self.scheduler.room_of(name)
        if room and not self.open[name][1]:
            self.open[name][0] += room
            count = sum(isinstance(each, StartAttempt) for each in self.feed(SubtasksAdded(name, room)))
            assert count >= room or self.scheduler.task(name).max_devices or self.is_kept(name)

    @rule(number=st.integers(0, 9))
    def seal(self, number):
        name = self.pick(number)
        if name in self.open:
            self.open[name][1] = True
        self.feed(TaskSealed(name))

    @rule(number=st.integers(0, 9), index=st.integers(-1, 12))
    def cancel_one(self, number, index):
        name = self.pick(number)
        if name in self.open and 0 <= index < self.open[name][0] and (name, index) not in self.fate:
            self.end(name, index, "cancelled")
        assert not any(isinstance(each, FailSubtask) for each in self.feed(SubtaskCancelled(name, index)))

    @rule(number=st.integers(0, 9), index=st.integers(0, 12), calls=st.sampled_from([1, 1, 3, 50]))
    def size(self, number, index, calls):
        self.feed(SubtaskSized(self.pick(number), index, calls))

    @rule(number=st.integers(0, 99), calls=st.sampled_from([1, 2, 9]))
    def size_what_runs(self, number, calls):
        if self.running:
            action = list(self.running.values())[number % len(self.running)]
            self.feed(SubtaskSized(action.task_id, action.index, calls))

    @rule(device=DEVICES, slots=st.integers(0, 3), window=st.sampled_from([0, 1, 4]), speed=st.sampled_from([1.0, 8.0]),
          silence=st.sampled_from([0.0, 2.0]))
    def ready(self, device, slots, window, speed, silence):
        self.slots[device] = slots * (1 + window)
        self.feed(DeviceReady(device, slots, speed, window=window, silence_s=silence))

    @rule(device=DEVICES, clean=st.booleans())
    def lost(self, device, clean):
        self.running = {key: each for key, each in self.running.items() if each.device_id != device}
        self.feed(DeviceLost(device, "gone", clean))

    @rule(number=st.integers(0, 99), after_s=st.sampled_from([0.0, 0.01, 0.4]))
    def succeed(self, number, after_s):
        self.now += after_s
        self.feed(AttemptSucceeded(self.pick_attempt(number)))

    @rule(number=st.integers(0, 99), blame=st.sampled_from(["device", "refused", "task"]))
    def fail(self, number, blame):
        self.feed(AttemptFailed(self.pick_attempt(number), blame, "why"))

    @rule(device=DEVICES)
    def renew(self, device):
        mine = tuple(key for key, each in self.running.items() if each.device_id == device)
        self.feed(LeaseRenewed(device, mine))

    @rule(number=st.integers(0, 9))
    def cancel(self, number):
        self.feed(CancelAsked(self.pick(number), "why"))

    @rule(seconds=st.sampled_from([0.3, 1.0, 8.0, 16.0]))
    def wait(self, seconds):
        self.now += seconds
        self.feed(Tick())

    @invariant()
    def holds(self):
        self.scheduler.check()
        assert set(self.scheduler._books.attempts) == set(self.running)
        for name, (total, _) in self.open.items():
            task = self.scheduler.task(name)
            assert task.total == total
            assert set(task.subtasks) == {index for index in range(total) if (name, index) not in self.fate}
            assert self.scheduler.why(name) and (not total or self.scheduler.why(name, total - 1))
            assert not task.pending or task.max_devices or not self.scheduler.room_of(name) or self.is_kept(name)

    def teardown(self):
        """Sealed, and with the faults off, every task ends."""
        for device in ("a", "b", "c"):
            self.ready(device, 2, 0, 1.0, 0.0)
        for name in list(self.open):
            self.open[name][1] = True
            self.feed(TaskSealed(name))
        for _ in range(1000):
            if not self.open:
                return
            if self.running:
                self.succeed(0, 0.0)
            else:
                self.wait(1.0)
        raise AssertionError(f"these never ended: {self.open}")


AnythingIsAdded.TestCase.settings = settings(
    max_examples=3 * settings.default.max_examples // 5, stateful_step_count=50
)
TestAnythingIsAdded = AnythingIsAdded.TestCase
