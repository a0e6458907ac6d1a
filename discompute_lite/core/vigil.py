"""Watch over the liveness of devices: move it by the table, say so, and set the hour of the next doubt.

Knows:   what each state of a device means for its deadlines and for what is told.
Refuses: to read events; core/registry.py turns them into facts.
Read next: core/known.py (the table), core/registry.py.
"""

from __future__ import annotations

from typing import Any, List

from ..model.deadlines import Deadlines
from .dialling import DialPlan
from .events import TellChanged, TellDead, TellJoined, TellLeft, TellSuspect
from .known import LIVENESS_MOVES, PRESENT, SIGNS_OF_LIFE, Fact, KnownDevice, Liveness
from .table import DeviceTable

#: How long the dead, the left and the merely spoken of stay in the table: long enough to be seen and to come back.
KEPT_S = 600.0
#: Devices that are there up to which who falls silent is called: of a larger crowd everybody would call, and beacons
#: become so seldom that a pause says little.
CALLED_CROWD = 200


class Vigil:
    """Apply facts to devices of one table."""

    def __init__(self, table: DeviceTable, plan: DialPlan) -> None:
        self._table = table
        self._plan = plan
        #: ("silent", id) of exactly the HEARD and the SUSPECT, ("forget", id) of exactly the TOLD, DEAD and LEFT.
        self.deadlines = Deadlines()

    def told(self, device: KnownDevice, now: float) -> None:
        """Keep a device that is only spoken of for as long as it is spoken of, and a while."""
        self.deadlines.set(("forget", device.device_id), now + KEPT_S)

    def misses(self, device: KnownDevice, now: float, actions: List[Any]) -> bool:
        """Call a device whose beacons have ceased, before it is given up; return False where that has been done."""
        ends_at = device.last_heard + device.beacon_silence_s
        if device.state is not Liveness.HEARD or now >= ends_at:
            return False
        self.deadlines.set(("silent", device.device_id), ends_at)
        if self._table.present <= CALLED_CROWD:
            device.doubted_at = now
            self._plan.want(device, now, actions)
        return True

    def doubt(self, device: KnownDevice, when: float) -> None:
        """Let a suspect be dead at `when` unless it speaks before."""
        self.deadlines.set(("silent", device.device_id), when)

    def forget(self, device: KnownDevice) -> None:
        """Take a device out of the table, and every plan for it with it."""
        self._plan.stop(device)
        self.deadlines.cancel(("silent", device.device_id))
        self.deadlines.cancel(("forget", device.device_id))
        self._table.remove(device)

    def move(self, device: KnownDevice, fact: Fact, now: float, actions: List[Any]) -> None:
        """Move a device by the table, and say and plan what that means."""
        before, was_present = device.state, device.present
        after = LIVENESS_MOVES.get((before, fact))
        assert after is not None, f"{fact.value} cannot happen: {device.story()}"
        device.state = after
        self._table.present += int(device.present) - int(was_present)
        if fact in SIGNS_OF_LIFE:
            device.last_heard = now
            self._table.resort(device)
        if before is Liveness.TOLD:
            self._table.met_first(device)
        if after in (Liveness.HEARD, Liveness.ALIVE):
            device.reason = ""
        elif after is Liveness.LEFT:
            device.reason = "said goodbye"
        self._set_deadlines(device, before, now)
        if after is not before:
            self._table.touch(device)
            self._tell(device, before, actions)
        if after is Liveness.LEFT:
            self._plan.stop(device)
        elif after is Liveness.DEAD:
            self._plan.seek(device, now, actions)

    def _tell(self, device: KnownDevice, before: Liveness, actions: List[Any]) -> None:
        if device.present and before not in PRESENT:
            actions.append(TellJoined(device.device_id))
        elif device.state is Liveness.SUSPECT:
            actions.append(TellSuspect(device.device_id))
        elif before is Liveness.SUSPECT and device.state is Liveness.ALIVE:
            actions.append(TellChanged(device.device_id, is_back=True))
        elif device.state is Liveness.DEAD:
            actions.append(TellDead(device.device_id, device.reason))
        elif device.state is Liveness.LEFT:
            actions.append(TellLeft(device.device_id))

    def _set_deadlines(self, device: KnownDevice, before: Liveness, now: float) -> None:
        silent, forget = ("silent", device.device_id), ("forget", device.device_id)
        if device.present:
            self.deadlines.cancel(forget)
        else:
            self.deadlines.cancel(silent)
            self.deadlines.set(forget, now + KEPT_S)
        if device.state is Liveness.HEARD:
            is_crowd = self._table.present > CALLED_CROWD
            doubt_s = None if is_crowd else device.doubt_after_s(self._plan.roll())
            device.doubted_at = None
            self.deadlines.set(silent, now + (doubt_s or device.beacon_silence_s))
        elif device.state is Liveness.ALIVE:
            self.deadlines.cancel(silent)
        elif device.state is Liveness.SUSPECT and before is not Liveness.SUSPECT:
            # Only a link brings it back: beacons do not put this off, since anybody can forge them.
            self.deadlines.set(silent, now + device.dead_after_s)

    def check(self) -> None:
        """Assert the invariant written beside the deadlines; costs O(devices), for tests."""
        for device in self._table.everyone():
            doubted = device.state in (Liveness.HEARD, Liveness.SUSPECT)
            assert (("silent", device.device_id) in self.deadlines) == doubted, device.story()
            assert (("forget", device.device_id) in self.deadlines) == (not device.present), device.story()
        doubted_or_gone = [device for device in self._table.everyone() if device.state is not Liveness.ALIVE]
        assert len(self.deadlines) == len(doubted_or_gone)
