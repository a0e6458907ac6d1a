"""A scheduler with a clock, and short words for what happens to it."""

import random

import pytest

from discompute_lite.core.events import (
    AttemptFailed, AttemptSucceeded, DeviceLost, DeviceReady, LeaseRenewed, StartAttempt, StopAttempt, TaskSubmitted,
    TellStory, Tick,
)
from discompute_lite.core.scheduler import Scheduler


class World:
    """A scheduler, a clock, and short words for what happens."""

    def __init__(self):
        self.scheduler = Scheduler(random.Random(5))
        self.now = 100.0
        #: attempt id -> device id of what runs, as the devices see it.
        self.running = {}

    def __call__(self, event):
        actions = self.scheduler.apply(event, self.now)
        self.scheduler.check()
        for action in actions:
            if isinstance(action, StartAttempt):
                self.running[action.attempt_id] = action.device_id
            elif isinstance(action, StopAttempt):
                self.running.pop(action.attempt_id, None)
        return [action for action in actions if not isinstance(action, TellStory)]

    def devices(self, *names, slots=1, **fields):
        return [action for name in names for action in self(DeviceReady(name, slots, **fields))]

    def submit(self, task_id="t", subtasks=1, **fields):
        return self(TaskSubmitted(task_id, subtasks, **fields))

    def succeed(self, attempt_id):
        self.running.pop(attempt_id, None)
        return self(AttemptSucceeded(attempt_id))

    def fail(self, attempt_id, blame="device", reason="its process died"):
        self.running.pop(attempt_id, None)
        return self(AttemptFailed(attempt_id, blame, reason))

    def lose(self, device_id, clean=False):
        self.running = {key: where for key, where in self.running.items() if where != device_id}
        return self(DeviceLost(device_id, "gone", clean))

    def wait(self, seconds, renew=()):
        """Let time pass; devices in `renew` send heartbeats every second."""
        until, actions = self.now + seconds, []
        while self.now < until:
            due = self.scheduler.next_deadline()
            step = min(until, self.now + 1.0, due if due is not None else until)
            self.now = max(step, self.now)
            for name in renew:
                mine = tuple(key for key, where in self.running.items() if where == name)
                actions += self(LeaseRenewed(name, mine))
            actions += self(Tick())
        return actions


@pytest.fixture
def world():
    return World()
