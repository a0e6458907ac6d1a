"""Decide whom to dial, when, and how many at once.

Knows:   which devices want a link, whose turn it is, what runs and what waits.
Refuses: to judge liveness (core/registry.py) and to rank addresses (core/known.py).
Read next: core/registry.py.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Callable, Dict, List, Optional, Tuple

from ..model.deadlines import Deadlines
from ..model.limits import Limits
from .events import Dial
from .known import KnownDevice, Liveness
from .table import DeviceTable

#: Of two nodes that hear each other the one with the smaller id dials; the other gives it this head start.
COURTESY_S = 1.0
#: Dials of devices not known to be alive that run at once: a flood of made-up beacons must not become a flood of ours.
DIALS_AT_ONCE = 16
#: A dial of which nobody reports an end is taken for failed after this: eight addresses of four seconds each, and some.
DIAL_PATIENCE_S = 40.0


class DialPlan:
    """Keep the dials of one node; `deadlines` says when `due` is next worth calling.

    Links that we open for nothing in particular stay within `limits.links_sought`: knowing needs no link, and in a
    network of thousands nobody links with everybody. What is wanted for a purpose is exempt, and so is dialling after a
    lost link: it is how a death is told.
    """

    def __init__(self, own_id: str, table: DeviceTable, limits: Limits, roll: Callable[[], float]) -> None:
        self._own_id = own_id
        self._table = table
        self._links_sought = limits.links_sought
        self.roll = roll
        #: Ids with a dial under way: exactly the devices whose `dialling` is not empty.
        self._dialling: Dict[str, None] = {}
        #: Ids whose dial is due and waits until another one ends; none of them is dialling or planned.
        self._waiting: OrderedDict[str, None] = OrderedDict()
        #: ("dial", id) mirrors `KnownDevice.dial_at`, ("patience", id) mirrors `_dialling`.
        self.deadlines = Deadlines()

    def want(self, device: KnownDevice, now: float, actions: List[Any]) -> None:
        """Open a link to a device before all that are only sought."""
        if device.linked or device.foreign:
            return
        device.is_wanted = True
        device.addresses.welcome()
        if device.device_id in self._waiting:
            self._waiting.move_to_end(device.device_id, last=False)
        else:
            self.seek(device, now, actions)

    def seek(self, device: KnownDevice, now: float, actions: List[Any]) -> None:
        """See to it that a device without a link is dialled when its turn comes, at once where that is now."""
        wanted = not (device.linked or device.foreign or device.state is Liveness.LEFT)
        soonest = device.addresses.next_try()
        if not wanted or device.dialling or device.device_id in self._waiting or soonest is None:
            return
        head_start = 0.0
        if device.device_id < self._own_id and not device.is_wanted:
            head_start = COURTESY_S * (0.75 + 0.5 * self.roll())
        when = max(now, soonest) + head_start
        if when <= now:
            self.begin(device, now, actions)
        elif device.dial_at is None or when < device.dial_at:
            device.dial_at = when
            self.deadlines.set(("dial", device.device_id), when)

    def begin(self, device: KnownDevice, now: float, actions: List[Any], *, urgent: bool = False) -> None:
        """Dial whatever addresses may be dialled now, or wait in line for it."""
        self._unplan(device)
        addresses = device.addresses.due(now)
        if not addresses:
            self.seek(device, now, actions)
        elif urgent or self._has_room(device):
            device.dialling = addresses
            self._dialling[device.device_id] = None
            self.deadlines.set(("patience", device.device_id), now + DIAL_PATIENCE_S)
            actions.append(Dial(device.device_id, tuple(addresses)))
        else:
            self._waiting[device.device_id] = None
            if device.verified or device.is_wanted:
                self._waiting.move_to_end(device.device_id, last=False)

    def failed(self, device: KnownDevice, address: str, now: float) -> None:
        """Note that an address did not answer; call `seek` afterwards to go on."""
        device.addresses.failed(address, now, self.roll())
        if address in device.dialling:
            device.dialling.remove(address)
            if not device.dialling:
                self._ended(device)

    def refused(self, device: Optional[KnownDevice], now: float) -> None:
        """Note that a device wants no link with us: else each of its beacons would have it dialled once more."""
        if device is not None:
            device.addresses.refused(now, self.roll())

    def stop(self, device: KnownDevice) -> None:
        """Forget all plans for a device: it is linked, or not to be dialled any more."""
        device.is_wanted = False
        self._unplan(device)
        if device.dialling:
            device.dialling = []
            self._ended(device)

    def due(self, now: float) -> List[Tuple[str, KnownDevice]]:
        """Take out what is due: ("dial", device) to `begin`, ("patience", device) whose dial nobody ended."""
        found = []
        for kind, device_id in self.deadlines.pop_due(now):
            device = self._table.get(device_id)
            assert device is not None, "plans are stopped before a device is forgotten"
            found.append((kind, device))
        return found

    def serve_waiting(self, now: float, actions: List[Any]) -> None:
        """Begin the dials that there is room for again."""
        while self._waiting:
            device = self._table.get(next(iter(self._waiting)))
            assert device is not None, "plans are stopped before a device is forgotten"
            if not self._has_room(device):
                break
            self.begin(device, now, actions)

    def _has_room(self, device: KnownDevice) -> bool:
        running = len(self._dialling)
        is_enough = self._table.linked + running >= self._links_sought
        return running < DIALS_AT_ONCE and (device.is_wanted or not is_enough)

    def _unplan(self, device: KnownDevice) -> None:
        device.dial_at = None
        self.deadlines.cancel(("dial", device.device_id))
        self._waiting.pop(device.device_id, None)

    def _ended(self, device: KnownDevice) -> None:
        self.deadlines.cancel(("patience", device.device_id))
        del self._dialling[device.device_id]

    def check(self) -> None:
        """Assert the invariants written beside the fields; costs O(devices), for tests."""
        devices = self._table.everyone()
        assert {device.device_id for device in devices if device.dialling} == set(self._dialling)
        for device in devices:
            key = device.device_id
            assert (("dial", key) in self.deadlines) == (device.dial_at is not None), device.story()
            assert (("patience", key) in self.deadlines) == bool(device.dialling), device.story()
            if key in self._waiting:
                assert not device.linked and not device.dialling and device.dial_at is None, device.story()
        assert all(self._table.get(key) for key in self._waiting)
        planned = sum((device.dial_at is not None) + bool(device.dialling) for device in devices)
        assert planned == len(self.deadlines)
