"""Decide which devices are there, how alive they seem, and which to dial.

Knows:   every device heard of, its addresses, and what silence means for it.
Refuses: sockets, clocks, chance. `now` comes in, actions go out, `rng.random()` spreads what would collide.
Read next: core/known.py (one device and the table of its states), core/events.py (the words),
         roles/discovery.py (who asks and obeys).

First-hand word outranks second-hand word: a beacon, which anybody can forge, changes nothing about a device whose
link is open, and hearsay is good for an address to try. Nothing here costs more than O(log devices) an event.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Dict, List, Optional

from ..model.device import Device, DeviceStatus
from ..model.limits import Limits
from .dialling import DialPlan
from .events import (
    AddressFailed, BeaconHeard, DeviceDescribed, DeviceTold, Dial, ForeignHeard, GoodbyeHeard, HeartbeatHeard,
    HeartbeatMissed, LinkLost, LinkOpened, RoundTripMeasured, TellChanged, TellDead, TellDuplicateIdentity,
    TellRestarted, Tick,
)
from .known import Fact, KnownDevice, Liveness, told_addresses
from .own_events import LinkRefused, LinkWanted
from .table import DeviceTable
from .vigil import Vigil

#: Seconds of due silence over an open link after which a device gets no new work (protocol page, liveness).
SUSPECT_S = 6.0
#: A datagram may arrive after better news of its sender's end; for so long beacons of that boot are echoes.
ECHO_S = 5.0
#: Devices known by hearsay alone: one talkative peer must not fill the table or make us knock on every door.
TOLD_DEVICES = 256
#: Copies of our own identity are told of once in so many seconds.
DUPLICATE_EVERY_S = 60.0


class DeviceRegistry:
    """Keep the table of devices. Feed `apply`; call it with `Tick` at `next_deadline()`."""

    def __init__(self, own_id: str, own_boot: str, limits: Limits, rng: Any) -> None:
        self.own_id = own_id
        self.own_boot = own_boot
        self._limits = limits
        #: Never holds our own device.
        self._table = DeviceTable(limits.devices)
        self._plan = DialPlan(own_id, self._table, limits, rng.random)
        self._vigil = Vigil(self._table, self._plan)
        #: How often another process used our id; devices refused or forgotten for lack of room; events about nobody.
        self.duplicates = 0
        self.refused = 0
        self.strays = 0
        self._duplicate_told_at: Optional[float] = None

    # ---- asking -----------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Return the number of the latest visible change; see `changed_since`."""
        return self._table.version

    @property
    def present(self) -> int:
        """Return how many devices are there."""
        return self._table.present

    def get(self, device_id: str) -> Optional[KnownDevice]:
        """Return a device that was met, whatever became of it, or None."""
        device = self._table.get(device_id)
        return None if device is None or device.state is Liveness.TOLD else device

    def devices(self) -> List[KnownDevice]:
        """Return every device that was met, in the order of joining; those only spoken of are not listed."""
        return self._table.met()

    def find(self, text: str) -> List[KnownDevice]:
        """Return whom a person may mean by `text`: a full id, else exact names and labels, else beginnings of ids.

        More than one means that `text` is ambiguous, none that nobody is called so.
        """
        exact = self.get(text)
        if exact is not None:
            return [exact]
        if not text:
            return []
        met = self.devices()
        named = [device for device in met if text in (device.device.name, device.label)]
        return named or [device for device in met if device.device_id.startswith(text.lower())]

    def addresses(self, device_id: str) -> List[str]:
        """Return where to dial a device: measured ones by round trip, then unmeasured, then failing ones."""
        device = self._table.get(device_id)
        return [entry.address for entry in device.addresses.ranked()] if device else []

    def changed_since(self, number: int) -> List[KnownDevice]:
        """Return the devices that changed visibly after `version` was `number`, oldest change first.

        Costs no more than it returns. Loads and times of hearing are not visible changes: they always change.
        """
        return self._table.changed_since(number)

    def knows(self, but: str) -> str:
        """Return a text that two nodes share who know the same devices at the same addresses, `but` for one another."""
        device = self._table.get(but)
        return f"{self._table.marks ^ (device.mark if device is not None else 0):016x}"

    def is_told_news(self, told: Device) -> bool:
        """Return whether hearsay of a device says more than is known: of a crowd everybody is told again and again."""
        device = self._table.get(told.id)
        if device is None or not device.present:
            return True
        return not all(map(device.addresses.has, told_addresses(told)))

    def next_deadline(self) -> Optional[float]:
        """Return when `apply(Tick(), ...)` is next worth calling, or None."""
        due = [when for when in (self._vigil.deadlines.next(), self._plan.deadlines.next()) if when is not None]
        return min(due, default=None)

    # ---- taking facts -----------------------------------------------------------------------------

    def apply(self, event: Any, now: float) -> List[Any]:
        """Take one fact; return what must now be told and dialled, in order. `now` never goes back."""
        actions: List[Any] = []
        take, device_id = self._TAKES[type(event)], _device_id_of(event)
        device = self._table.get(device_id)
        face = device.face() if device else None
        was_present, addresses = (device.present, len(device.addresses)) if device else (False, 0)
        if not device_id and not isinstance(event, Tick):
            self.strays += 1
        elif device_id != self.own_id or isinstance(event, (BeaconHeard, LinkOpened)):
            take(self, event, now, actions)
        device = self._table.get(device_id)
        if device is not None:
            changed = face != device.face()
            is_moved = addresses != len(device.addresses)
            if changed or is_moved:
                self._table.touch(device)
            if is_moved or (device.present and not was_present):
                device.met_version = device.version
            # What was told in stronger words is not told again as a mere change.
            if changed and device.state is not Liveness.TOLD and not any(not isinstance(a, Dial) for a in actions):
                actions.append(TellChanged(device_id))
        self._plan.serve_waiting(now, actions)
        return actions

    def _on_tick(self, _event: Tick, now: float, actions: List[Any]) -> None:
        for kind, device_id in self._vigil.deadlines.pop_due(now):
            device = self._table.get(device_id)
            assert device is not None, "deadlines end with their device"
            if kind == "forget":
                self._vigil.forget(device)
            elif not self._vigil.misses(device, now, actions):
                lost = device.state is Liveness.SUSPECT and not device.linked
                silent = f"silent for {now - device.last_heard:.0f} s"
                device.reason = "its connection was lost and nothing more was heard" if lost else silent
                self._vigil.move(device, Fact.SILENT, now, actions)
        for kind, device in self._plan.due(now):
            if kind == "dial":
                self._plan.begin(device, now, actions)
            for address in list(device.dialling) if kind == "patience" else ():
                self._dial_failed(device, address, now, actions, False)

    def _on_beacon(self, event: BeaconHeard, now: float, actions: List[Any]) -> None:
        if event.boot == self.own_boot:
            return
        if event.device.id == self.own_id:
            self._on_duplicate(event.address, now, actions)
            return
        device = self._table.get(event.device.id) or self._add(event.device, now, actions)
        if device is None:
            return
        same_boot = device.boot in ("", event.boot) or not event.boot
        if same_boot and device.present and event.seq <= device.seq:
            # A repeat; heard on a second interface it still teaches a second address.
            if event.seq == device.seq and device.addresses.heard(event.address):
                self._plan.seek(device, now, actions)
        elif event.boot in device.past_boots or (same_boot and not device.present and now < device.echo_until):
            self.strays += 1  # A delayed datagram of a process that has ended.
        elif device.linked:
            # The open link knows better; were the process another one, the link's own end would tell soon.
            device.addresses.heard(event.address)
            device.seq = event.seq if same_boot else device.seq
        else:
            self._believe_beacon(device, event, now, actions)

    def _believe_beacon(self, device: KnownDevice, event: BeaconHeard, now: float, actions: List[Any]) -> None:
        was_present = device.present
        restarted = was_present and bool(device.boot and event.boot) and event.boot != device.boot
        device.addresses.heard(event.address)
        if restarted or not was_present:
            # News of a return: addresses that failed before are worth trying, and trust is to be earned again.
            device.addresses.forgive()
            device.verified = False
        device.foreign = ""
        device.set_every(event.every_s)
        device.enter_boot(event.boot)
        device.seq = event.seq
        if event.device is not device.announced:
            device.announced = event.device
            device.describe(event.device, over_link=False)
        self._vigil.move(device, Fact.RESTART if restarted else Fact.BEACON, now, actions)
        if restarted:
            actions.append(TellRestarted(device.device_id))
        self._plan.seek(device, now, actions)

    def _on_foreign(self, event: ForeignHeard, now: float, actions: List[Any]) -> None:
        device = self._table.get(event.device.id)
        if device is not None and not device.foreign and device.state is not Liveness.TOLD:
            return  # One of ours; whoever says otherwise is not first-hand.
        device = device or self._add(event.device, now, actions)
        if device is None:
            return
        self._plan.stop(device)
        device.foreign = event.program or "unknown program"
        device.addresses.heard(event.address)
        device.describe(event.device, over_link=False)
        self._vigil.move(device, Fact.BEACON, now, actions)

    def _on_goodbye(self, event: GoodbyeHeard, now: float, actions: List[Any]) -> None:
        device = self._table.get(event.device_id)
        if device is None or not device.present or event.boot != device.boot:
            self.strays += 1
        elif device.linked:
            # Goodbyes can be forged, a link's end cannot: it follows within moments if this one is true.
            device.leaving_until = now + ECHO_S
        else:
            device.echo_until = now + ECHO_S
            self._vigil.move(device, Fact.GOODBYE, now, actions)

    def _on_told(self, event: DeviceTold, now: float, actions: List[Any]) -> None:
        told = event.device
        if told.lite.get("foreign") or told.status is DeviceStatus.OFFLINE:
            return
        addresses = told_addresses(told)[: self._limits.addresses_per_device]
        device = self._table.get(told.id)
        if device is None and addresses and self._table.told < TOLD_DEVICES:
            device = self._add(Device(id=told.id, name=told.name, type=told.type), now, actions)
        if device is None or device.foreign:
            return
        if device.state is Liveness.TOLD:
            self._vigil.told(device, now)
        news = [address for address in addresses if device.addresses.told(address)]
        if news:
            self._plan.seek(device, now, actions)

    def _on_link_opened(self, event: LinkOpened, now: float, actions: List[Any]) -> None:
        if event.device_id == self.own_id:
            if event.boot != self.own_boot:
                self._on_duplicate(event.address, now, actions)
            return
        new = Device(id=event.device_id, name=event.name)
        device = self._table.get(event.device_id) or self._add(new, now, actions)
        if device is None:
            return
        if device.verified and not event.verified and device.present:
            self.strays += 1  # A stranger who names a member's id does not become that member.
            return
        was_present = device.present
        restarted = was_present and bool(event.boot and device.boot) and event.boot != device.boot
        device.foreign = ""
        device.verified = event.verified
        device.leaving_until = 0.0
        if event.address:
            device.addresses.answered(event.address)
        if event.name and event.name != device.device.name:
            device.device = replace(device.device, name=event.name)
        device.enter_boot(event.boot)
        self._plan.stop(device)
        self._table.set_linked(device, True)
        self._vigil.move(device, Fact.OPENED, now, actions)
        if restarted:
            actions.append(TellRestarted(device.device_id))

    def _on_link_lost(self, event: LinkLost, now: float, actions: List[Any]) -> None:
        device = self._table.get(event.device_id)
        if device is None or not device.linked:
            self.strays += 1
            return
        self._table.set_linked(device, False)
        if not device.present:
            self._plan.seek(device, now, actions)
        elif now < device.leaving_until:
            device.echo_until = now + ECHO_S
            self._vigil.move(device, Fact.GOODBYE, now, actions)
        elif event.on_purpose:
            self._vigil.move(device, Fact.RETIRED, now, actions)
        else:
            device.lost_at = now
            device.reason = f"its connection was closed: {event.why}" if event.why else "its connection was lost"
            self._vigil.move(device, Fact.LOST, now, actions)
            device.addresses.forgive()
            self._plan.begin(device, now, actions, urgent=True)

    def _on_described(self, event: DeviceDescribed, now: float, actions: List[Any]) -> None:
        device = self._table.get(event.device.id) or self._add(event.device, now, actions)
        if device is None:
            return
        device.addresses.told(event.device.address)
        device.addresses.welcome()
        device.foreign = ""
        device.describe(event.device, over_link=True)
        self._spoke(device, now, actions)

    def _on_heartbeat(self, event: HeartbeatHeard, now: float, actions: List[Any]) -> None:
        device = self._table.get(event.device_id)
        if device is None or device.state is Liveness.TOLD:
            self.strays += 1
            return
        device.update(event.status, event.metrics, event.capabilities)
        self._spoke(device, now, actions)

    def _on_missed(self, event: HeartbeatMissed, now: float, actions: List[Any]) -> None:
        device = self._table.get(event.device_id)
        if device is None or not device.linked or not device.present or not event.silent_s > SUSPECT_S:
            self.strays += 1
            return
        device.reason = f"silent for {event.silent_s:.0f} s"
        if event.silent_s >= device.dead_after_s:
            self._vigil.move(device, Fact.SILENT, now, actions)
        else:
            self._vigil.move(device, Fact.MISSED, now, actions)
            self._vigil.doubt(device, now + device.dead_after_s - event.silent_s)

    def _on_wanted(self, event: LinkWanted, now: float, actions: List[Any]) -> None:
        device = self._table.get(event.device_id)
        if device is not None and device.present:
            self._plan.want(device, now, actions)

    def _on_refused(self, event: LinkRefused, now: float, actions: List[Any]) -> None:
        self._plan.refused(self._table.get(event.device_id), now)

    def _on_round_trip(self, event: RoundTripMeasured, now: float, actions: List[Any]) -> None:
        device = self._table.get(event.device_id)
        if device is not None:
            device.addresses.measured(event.address, event.seconds)

    def _on_address_failed(self, event: AddressFailed, now: float, actions: List[Any]) -> None:
        device = self._table.get(event.device_id)
        if device is not None:
            self._dial_failed(device, event.address, now, actions, event.is_refused)

    _TAKES: Dict[type, Callable[..., None]] = {
        Tick: _on_tick, BeaconHeard: _on_beacon, ForeignHeard: _on_foreign, GoodbyeHeard: _on_goodbye,
        DeviceTold: _on_told, LinkOpened: _on_link_opened, LinkLost: _on_link_lost, DeviceDescribed: _on_described,
        HeartbeatHeard: _on_heartbeat, HeartbeatMissed: _on_missed, RoundTripMeasured: _on_round_trip,
        AddressFailed: _on_address_failed, LinkWanted: _on_wanted, LinkRefused: _on_refused,
    }

    # ---- what follows -----------------------------------------------------------------------------

    def _spoke(self, device: KnownDevice, now: float, actions: List[Any]) -> None:
        self._vigil.move(device, Fact.SPOKE if device.linked else Fact.CALLED, now, actions)
        self._plan.seek(device, now, actions)

    def _dial_failed(self, device: KnownDevice, address: str, now: float, actions: List[Any], is_refused: bool) -> None:
        self._plan.failed(device, address, now)
        since, why = device.lost_at, "its connection was lost and none of its addresses answers"
        lost = device.state is Liveness.SUSPECT and not device.linked
        if device.state is Liveness.HEARD and device.doubted_at is not None and is_refused:
            lost, since, why = True, device.doubted_at, "it fell silent and nothing listens at its address any more"
        if lost and device.addresses.all_failed_since(since):
            device.reason = why
            device.echo_until = now + ECHO_S
            self._vigil.move(device, Fact.UNREACHED, now, actions)
        self._plan.seek(device, now, actions)

    def _add(self, told: Device, now: float, actions: List[Any]) -> Optional[KnownDevice]:
        """Return a new device, TOLD until it moves, or None where there is no room for it."""
        if self._table.full:
            self.refused += 1
            victim = self._table.victim()
            if victim is None:
                return None
            if victim.present:
                actions.append(TellDead(victim.device_id, "forgotten to make room for others"))
            self._vigil.forget(victim)
        device = KnownDevice(told, now, self._limits.addresses_per_device)
        self._table.add(device)
        self._vigil.told(device, now)
        return device

    def _on_duplicate(self, address: str, now: float, actions: List[Any]) -> None:
        self.duplicates += 1
        if self._duplicate_told_at is None or now >= self._duplicate_told_at + DUPLICATE_EVERY_S:
            self._duplicate_told_at = now
            actions.append(TellDuplicateIdentity(self.own_id, address))

    def check(self) -> None:
        """Assert every invariant; costs O(devices), for tests and the simulator."""
        self._table.check()
        self._plan.check()
        self._vigil.check()
        assert self._table.get(self.own_id) is None


def _device_id_of(event: Any) -> str:
    device = getattr(event, "device", None)
    return device.id if device is not None else getattr(event, "device_id", "")
