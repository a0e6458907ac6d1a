"""Hold the devices that the registry knows, and decide who makes room when the table is full.

Knows:   the order of joining, who was silent longest, what changed when.
Refuses: to judge liveness; that is core/registry.py.
Read next: core/registry.py.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Dict, List, Optional

from .known import KnownDevice, Liveness


class DeviceTable:
    """Keep at most `most` devices; every operation but the listings is O(1)."""

    def __init__(self, most: int) -> None:
        self._most = most
        #: id -> device, in the order of joining; at most `most`.
        self._devices: Dict[str, KnownDevice] = {}
        #: Ids that may make room, longest silent first: exactly the devices neither verified nor linked.
        self._strangers: OrderedDict[str, None] = OrderedDict()
        #: Ids in the order of their last visible change, that is of `KnownDevice.version`: exactly all devices.
        self._by_change: OrderedDict[str, None] = OrderedDict()
        #: How many devices are linked, how many are only TOLD, and how many are there.
        self.linked = 0
        self.told = 0
        self.present = 0
        #: Grows with every visible change of any device; `changed_since` counts in it.
        self.version = 0
        #: All devices' `mark`s, by exclusive or.
        self.marks = 0

    def get(self, device_id: str) -> Optional[KnownDevice]:
        """Return a device, those only spoken of included, or None."""
        return self._devices.get(device_id)

    def met(self) -> List[KnownDevice]:
        """Return every device that was met, in the order of joining."""
        return [device for device in self._devices.values() if device.state is not Liveness.TOLD]

    def everyone(self) -> List[KnownDevice]:
        """Return every device, those only spoken of included."""
        return list(self._devices.values())

    def changed_since(self, number: int) -> List[KnownDevice]:
        """Return what was met and changed after `version` was `number`, oldest change first."""
        changed: List[KnownDevice] = []
        for device_id in reversed(self._by_change):
            device = self._devices[device_id]
            if device.version <= number:
                break
            if device.state is not Liveness.TOLD:
                changed.append(device)
        changed.reverse()
        return changed

    @property
    def full(self) -> bool:
        """Return whether somebody must make room for the next one."""
        return len(self._devices) >= self._most

    def victim(self) -> Optional[KnownDevice]:
        """Return who makes room first: the longest silent of those neither verified nor linked."""
        for device_id in self._strangers:
            return self._devices[device_id]
        return None

    def add(self, device: KnownDevice) -> None:
        """Take in a new device, TOLD until its first move; the table must not be full."""
        self._devices[device.device_id] = device
        self.told += 1
        self.resort(device)
        self.touch(device)

    def remove(self, device: KnownDevice) -> None:
        """Forget a device; it must not be linked, or the count of links would lie."""
        del self._devices[device.device_id]
        del self._by_change[device.device_id]
        self._strangers.pop(device.device_id, None)
        self.told -= device.state is Liveness.TOLD
        self.linked -= device.linked
        self.present -= device.present
        self.marks ^= device.mark

    def met_first(self, device: KnownDevice) -> None:
        """Note that a TOLD device is now met: it joins the line at its end."""
        self.told -= 1
        self._devices[device.device_id] = self._devices.pop(device.device_id)

    def set_linked(self, device: KnownDevice, linked: bool) -> None:
        """Note whether a link is open."""
        self.linked += int(linked) - int(device.linked)
        device.linked = linked
        self.resort(device)

    def resort(self, device: KnownDevice) -> None:
        """Put a device where it belongs among those that may make room: just heard, so last."""
        self._strangers.pop(device.device_id, None)
        if not device.verified and not device.linked:
            self._strangers[device.device_id] = None

    def touch(self, device: KnownDevice) -> None:
        """Note a visible change."""
        self.version += 1
        device.version = self.version
        self._by_change[device.device_id] = None
        self._by_change.move_to_end(device.device_id)
        mark = device.sum_up()
        self.marks ^= device.mark ^ mark
        device.mark = mark

    def __len__(self) -> int:
        return len(self._devices)

    def check(self) -> None:
        """Assert the invariants written beside the fields, and every device's own."""
        assert len(self._devices) <= self._most
        assert self.linked == sum(device.linked for device in self._devices.values())
        assert self.told == sum(device.state is Liveness.TOLD for device in self._devices.values())
        assert self.present == sum(device.present for device in self._devices.values())
        marks = 0
        for device in self._devices.values():
            marks ^= device.mark
            assert bool(device.mark) == (device.present and not device.foreign), device.story()
        assert self.marks == marks
        assert set(self._by_change) == set(self._devices)
        versions = [self._devices[device_id].version for device_id in self._by_change]
        assert versions == sorted(set(versions)) and all(0 < number <= self.version for number in versions)
        may_go = {key for key, device in self._devices.items() if not device.verified and not device.linked}
        assert set(self._strangers) == may_go
        for key, device in self._devices.items():
            assert key == device.device_id
            device.check()
