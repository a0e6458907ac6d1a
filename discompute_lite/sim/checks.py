"""Watch the scheduler from outside: what must hold after every event, whatever it believes itself.

Knows:   what was submitted, started, stopped and accepted, from the actions alone.
Refuses: to look into the scheduler; `Scheduler.check` does that.
Read next: sim/world.py.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Set, Tuple

from ..core.events import (
    AcceptResult, AttemptFailed, AttemptSucceeded, DeviceLost, DeviceReady, EndCancelled, FailSubtask, FailTask,
    FinishTask, StartAttempt, StopAttempt, SubtaskCancelled, SubtasksAdded, TaskSealed, TaskSubmitted,
)


class Watch:
    """Assert that nothing is lost, nothing is accepted twice, nobody is over capacity and time never goes back."""

    def __init__(self) -> None:
        self.now = 0.0
        #: task id -> number of subtasks, of tasks that have not ended; and those of them that may get more.
        self.open: Dict[str, int] = {}
        self.unsealed: Set[str] = set()
        self.ended: Dict[str, str] = {}
        #: (task id, index) of every accepted result.
        self.accepted: Set[Tuple[str, int]] = set()
        #: (task id, index) of every subtask that failed alone or was cancelled, while it had no result.
        self.given_up: Set[Tuple[str, int]] = set()
        #: attempt id -> device id of what the scheduler believes to run.
        self.running: Dict[str, str] = {}
        #: device id -> attempts there; device id -> how many it takes at once.
        self.there: Dict[str, Dict[str, None]] = {}
        self.capacity: Dict[str, int] = {}
        self.attempts = self.second = 0
        self._live: Dict[Tuple[str, int], int] = {}
        self._seen: Set[str] = set()

    def after(self, event: Any, actions: List[Any], now: float) -> None:
        """Check one step of the scheduler."""
        assert now >= self.now, "time went back"
        self.now = now
        if isinstance(event, TaskSubmitted):
            self.open[event.task_id] = event.subtasks
            if event.is_open:
                self.unsealed.add(event.task_id)
        elif isinstance(event, SubtasksAdded):
            if event.task_id in self.unsealed:
                self.open[event.task_id] += event.count
        elif isinstance(event, TaskSealed):
            self.unsealed.discard(event.task_id)
        elif isinstance(event, SubtaskCancelled):
            if (event.task_id, event.index) not in self.accepted and event.index < self.open.get(event.task_id, 0):
                self.given_up.add((event.task_id, event.index))
        elif isinstance(event, DeviceReady):
            self.capacity[event.device_id] = event.slots * (1 + event.window)
            self.there.setdefault(event.device_id, {})
        elif isinstance(event, DeviceLost):
            self.capacity.pop(event.device_id, None)
            for attempt_id in list(self.there.get(event.device_id, ())):
                self._ended(attempt_id)
        elif isinstance(event, (AttemptSucceeded, AttemptFailed)):
            self._ended(event.attempt_id)
        for action in actions:
            check = self._CHECKS.get(type(action))
            if check is not None:
                check(self, action)

    def at_end(self) -> None:
        """Check that every task ended."""
        assert not self.open, f"these never ended: {list(self.open)}"

    def _ended(self, attempt_id: str) -> None:
        device_id = self.running.pop(attempt_id, None)
        if device_id is not None:
            del self.there[device_id][attempt_id]
            task_id, _, rest = attempt_id.rpartition("/")
            self._live[task_id, int(rest.partition(".")[0])] -= 1

    def _on_start(self, action: StartAttempt) -> None:
        assert action.attempt_id not in self._seen, f"{action.attempt_id} was started twice"
        assert action.task_id in self.open, f"{action.task_id} has ended or never was"
        key = (action.task_id, action.index)
        assert key not in self.accepted, f"{action.attempt_id} runs what is done"
        assert key not in self.given_up, f"{action.attempt_id} runs what was given up"
        self._seen.add(action.attempt_id)
        self.running[action.attempt_id] = action.device_id
        self.there[action.device_id][action.attempt_id] = None
        assert len(self.there[action.device_id]) <= self.capacity.get(action.device_id, 0), "over capacity"
        self._live[key] = self._live.get(key, 0) + 1
        self.attempts += 1
        self.second += self._live[key] > 1

    def _on_stop(self, action: StopAttempt) -> None:
        self._ended(action.attempt_id)

    def _on_accept(self, action: AcceptResult) -> None:
        key = (action.task_id, action.index)
        assert key not in self.accepted, f"{key} was delivered twice"
        assert key not in self.given_up, f"{key} was given up"
        self.accepted.add(key)

    def _on_subtask_failed(self, action: FailSubtask) -> None:
        key = (action.task_id, action.index)
        assert key not in self.accepted and key not in self.given_up, f"{key} was over already"
        assert action.index < self.open[action.task_id]
        self.given_up.add(key)

    def _on_end(self, action: Any) -> None:
        total = self.open.pop(action.task_id)
        self.ended[action.task_id] = type(action).__name__
        if isinstance(action, FinishTask):
            assert action.task_id not in self.unsealed, "something may be added yet"
            keys = [(action.task_id, index) for index in range(total)]
            assert all(key in self.accepted or key in self.given_up for key in keys), "a result is missing"
        self.unsealed.discard(action.task_id)

    _CHECKS: Dict[type, Callable[..., None]] = {
        StartAttempt: _on_start, StopAttempt: _on_stop, AcceptResult: _on_accept, FailSubtask: _on_subtask_failed,
        FinishTask: _on_end, FailTask: _on_end, EndCancelled: _on_end,
    }
