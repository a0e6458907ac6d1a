"""Watch the scheduler from outside: what must hold after every event, whatever it believes itself.

Knows:   what was submitted, started, stopped and accepted, from the actions alone.
Refuses: to look into the scheduler; `Scheduler.check` does that.
Read next: sim/world.py.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Set, Tuple

from ..core.events import (
    AcceptResult, AttemptFailed, AttemptSucceeded, DeviceLost, DeviceReady, EndCancelled, FailTask, FinishTask,
    StartAttempt, StopAttempt, TaskSubmitted,
)


class Watch:
    """Assert that nothing is lost, nothing is accepted twice, nobody is over capacity and time never goes back."""

    def __init__(self) -> None:
        self.now = 0.0
        #: task id -> number of subtasks, of tasks that have not ended.
        self.open: Dict[str, int] = {}
        self.ended: Dict[str, str] = {}
        #: (task id, index) of every accepted result.
        self.accepted: Set[Tuple[str, int]] = set()
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
        self.accepted.add(key)

    def _on_end(self, action: Any) -> None:
        total = self.open.pop(action.task_id)
        self.ended[action.task_id] = type(action).__name__
        if isinstance(action, FinishTask):
            assert all((action.task_id, index) in self.accepted for index in range(total)), "a result is missing"

    _CHECKS: Dict[type, Callable[..., None]] = {
        StartAttempt: _on_start, StopAttempt: _on_stop, AcceptResult: _on_accept,
        FinishTask: _on_end, FailTask: _on_end, EndCancelled: _on_end,
    }
