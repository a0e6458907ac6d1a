"""Lead trainings for a script that runs beside this node: ask devices what it asks, and keep vectors that it brings.

Knows:   which trainings the script leads, and which devices it has asked to join each.
Refuses: to ask anything else of devices, and to know what the answers mean: the script's leader does.
Read next: roles/vectors.py (where vectors lie), roles/far_vectors.py (the other end), faces/averaging.py (the leader).

To the devices this node is the leader: they see by its end that nobody wants their vectors any more. A script that
ends, in whatever way, does so for itself alone, so this node has everybody leave its trainings.
"""

from __future__ import annotations

from typing import Any, Dict, Set

from ..model.errors import InvalidParams
from ..model.told_round import ToldRound
from .ports import Later

JOIN_CALL, LEAVE_CALL = "JoinTraining", "LeaveTraining"
#: What the leader of a training asks of devices.
LEADERS_METHODS = (JOIN_CALL, LEAVE_CALL, "FetchVector", "AverageVectors", "StopAverage")


class ScriptTrainings:
    """Hold the trainings that one script leads by this node."""

    def __init__(self, node: Any) -> None:
        self._vectors, self._rounds = node.averaging.vectors, node.told_rounds
        #: Those of which it told.
        self._told: Set[str] = set()
        #: Training -> devices that were asked to join it and have not been asked to leave.
        self._members: Dict[str, Set[str]] = {}

    def ask(self, device_id: str, method: str, params: Dict[str, Any], within_s: float) -> Later:
        """Ask a device, this one included; the answer is the device's own, result or error."""
        if method not in LEADERS_METHODS:
            raise InvalidParams(f"a script asks of devices in a training {', '.join(LEADERS_METHODS)}, nothing else")
        if method in (JOIN_CALL, LEAVE_CALL):
            training_id = str(params.get("training_id"))
        else:
            training_id = self._vectors.training_of(str(params.get("name")))
        if method == JOIN_CALL:
            self._members.setdefault(training_id, set()).add(device_id)
        self._check_led(training_id)
        later = Later()

        def answered(result: Any, error: Any) -> None:
            if error is None:
                later.resolve(result)
            else:
                later.fail(error)

        if method == LEAVE_CALL:
            self._left(training_id, device_id)
        self._vectors.ask(device_id, method, params, answered, within_s if within_s > 0.0 else None)
        return later

    def keep_range(self, name: str, size: int, offset: int, data: bytes) -> None:
        """Take the next range of a vector; raise StateError where there is no room for it."""
        self._check_led(self._vectors.training_of(name))
        self._vectors.keep_range(name, size, offset, data)

    def tell(self, told: ToldRound) -> None:
        """Tell whoever listens of a round."""
        self._told.add(told.training)
        self._rounds.told(told)

    def end(self) -> None:
        """The script has ended: have all devices forget what it led."""
        for training in self._told:
            self._rounds.forget(training)
        members, self._members = self._members, {}
        for training_id, devices in members.items():
            for device_id in devices:
                self._vectors.ask(device_id, LEAVE_CALL, {"training_id": training_id}, _heed_nothing)

    def _check_led(self, training_id: str) -> None:
        if training_id not in self._members:
            raise InvalidParams("this script leads no such training; have devices join it first")

    def _left(self, training_id: str, device_id: str) -> None:
        devices = self._members[training_id]
        devices.discard(device_id)
        if not devices:
            del self._members[training_id]


def _heed_nothing(result: Any, error: Any) -> None:
    """Do without an answer: a device that cannot be asked notices itself."""
