"""Hold what is believed about one device, and the table by which its liveness moves.

Knows:   a device's description, its process, its addresses, when it was last heard.
Refuses: to decide anything between devices, or to wish for anything; that is core/registry.py.
Read next: core/registry.py.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from enum import Enum
from math import isfinite
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ..model.device import PHONE_TYPES, ComputeMetrics, Device, DeviceCapabilities, DeviceStatus, short_id
from .addresses import AddressBook, may_be_told


class Liveness(Enum):
    """Say how alive a device seems from here."""

    #: Only spoken of by a peer: an address to try, listed nowhere.
    TOLD = "told"
    #: Heard by beacon, or it called us in passing: no link.
    HEARD = "heard"
    #: Over its open link it says so.
    ALIVE = "alive"
    #: Its link fell silent or was lost: no new work, the rest waits.
    SUSPECT = "suspect"
    #: Gone without a word; listed for a while.
    DEAD = "dead"
    #: Gone with a word; listed for a while.
    LEFT = "left"


class Fact(Enum):
    """Name what an event means for one device's liveness; events that mean nothing for it have no fact."""

    #: A beacon of the boot that we believe in, or of a newer one.
    BEACON = "beacon"
    #: A beacon of a boot not known before: the process was started again.
    RESTART = "restart"
    #: It described itself or sent a heartbeat, with no link open: an independent client does.
    CALLED = "called"
    #: The same over its open link.
    SPOKE = "spoke"
    OPENED = "opened"
    LOST = "lost"
    #: We closed the link on purpose.
    RETIRED = "retired"
    #: It said goodbye, and no link is open that would contradict.
    GOODBYE = "goodbye"
    #: Silent over an open link for longer than `SUSPECT_S`.
    MISSED = "missed"
    #: Silent for too long altogether.
    SILENT = "silent"
    #: The link is lost and none of its addresses answers; or its beacons ceased and its host says that nobody listens.
    UNREACHED = "unreached"


#: (state, fact) -> state. A pair that is missing cannot happen: the registry asserts it.
#: HEARD out of TOLD, DEAD or LEFT, and ALIVE out of these, is a device that joins (anew).
LIVENESS_MOVES: Dict[Tuple[Liveness, Fact], Liveness] = {
    (Liveness.TOLD, Fact.BEACON): Liveness.HEARD,
    (Liveness.TOLD, Fact.CALLED): Liveness.HEARD,
    (Liveness.TOLD, Fact.OPENED): Liveness.ALIVE,
    (Liveness.HEARD, Fact.BEACON): Liveness.HEARD,
    (Liveness.HEARD, Fact.RESTART): Liveness.HEARD,
    (Liveness.HEARD, Fact.CALLED): Liveness.HEARD,
    (Liveness.HEARD, Fact.OPENED): Liveness.ALIVE,
    (Liveness.HEARD, Fact.GOODBYE): Liveness.LEFT,
    (Liveness.HEARD, Fact.SILENT): Liveness.DEAD,
    (Liveness.HEARD, Fact.UNREACHED): Liveness.DEAD,
    (Liveness.ALIVE, Fact.SPOKE): Liveness.ALIVE,
    (Liveness.ALIVE, Fact.OPENED): Liveness.ALIVE,
    (Liveness.ALIVE, Fact.LOST): Liveness.SUSPECT,
    (Liveness.ALIVE, Fact.RETIRED): Liveness.HEARD,
    (Liveness.ALIVE, Fact.GOODBYE): Liveness.LEFT,
    (Liveness.ALIVE, Fact.MISSED): Liveness.SUSPECT,
    (Liveness.ALIVE, Fact.SILENT): Liveness.DEAD,
    (Liveness.SUSPECT, Fact.BEACON): Liveness.SUSPECT,
    (Liveness.SUSPECT, Fact.RESTART): Liveness.HEARD,
    (Liveness.SUSPECT, Fact.CALLED): Liveness.HEARD,
    (Liveness.SUSPECT, Fact.SPOKE): Liveness.ALIVE,
    (Liveness.SUSPECT, Fact.OPENED): Liveness.ALIVE,
    (Liveness.SUSPECT, Fact.LOST): Liveness.SUSPECT,
    (Liveness.SUSPECT, Fact.RETIRED): Liveness.HEARD,
    (Liveness.SUSPECT, Fact.GOODBYE): Liveness.LEFT,
    (Liveness.SUSPECT, Fact.MISSED): Liveness.SUSPECT,
    (Liveness.SUSPECT, Fact.SILENT): Liveness.DEAD,
    (Liveness.SUSPECT, Fact.UNREACHED): Liveness.DEAD,
    (Liveness.DEAD, Fact.BEACON): Liveness.HEARD,
    (Liveness.DEAD, Fact.CALLED): Liveness.HEARD,
    (Liveness.DEAD, Fact.SPOKE): Liveness.ALIVE,
    (Liveness.DEAD, Fact.OPENED): Liveness.ALIVE,
    (Liveness.LEFT, Fact.BEACON): Liveness.HEARD,
    (Liveness.LEFT, Fact.CALLED): Liveness.HEARD,
    (Liveness.LEFT, Fact.OPENED): Liveness.ALIVE,
}

#: States of a device that counts as there.
PRESENT = (Liveness.HEARD, Liveness.ALIVE, Liveness.SUSPECT)
#: What proves that a device lives; nothing else moves `KnownDevice.last_heard`.
SIGNS_OF_LIFE = (Fact.BEACON, Fact.RESTART, Fact.CALLED, Fact.SPOKE, Fact.OPENED, Fact.RETIRED)
#: What of a peer's `lite` is kept; the rest is ours to say (`verified`, say), or nobody's.
LITE_KEPT = ("model", "label", "measured", "slots", "share", "work_memory_mb", "version", "reason")
#: A peer's `lite` is kept for as long as the peer is: so many characters a text, so many entries a table.
LITE_TEXT, LITE_ENTRIES = 200, 32
#: Seconds of silence after which a device that should have spoken is dead; phones are put to sleep by their system.
DEAD_S, DEAD_PHONE_S = 15.0, 30.0
#: A device known by beacon alone is dropped after so much silence, or four of its intervals.
BEACON_SILENCE_S = 30.0
#: A device known by beacon alone, of which so many intervals brought none (chance adds a little), is called: where its
#: host says that nobody listens any more, it has ended. Phones refuse while they sleep, and come back.
DOUBT_AFTER, DOUBT_JITTER = 3.4, 0.6
#: A beacon interval outside these is taken for the nearest: hostile ones would keep the dead listed for ever.
EVERY_LEAST_S, EVERY_MOST_S = 0.1, 300.0
#: Boots remembered as over, so that a delayed beacon of one is not taken for another restart.
PAST_BOOTS = 4


class KnownDevice:
    """Hold what is believed about one device; only the registry changes it, but for `hears_again`."""

    def __init__(self, device: Device, now: float, most_addresses: int) -> None:
        self.device_id = device.id
        #: The latest description. Its `status` is what the device says of itself.
        self.device = device
        #: What its last beacon said that was taken over: the very object, which is the same while nothing has changed.
        self.announced: Optional[Device] = None
        self.state = Liveness.TOLD
        #: True exactly while LinkOpened was the last word about links. ALIVE implies linked; HEARD, LEFT and
        #: TOLD imply not; SUSPECT and DEAD go with either.
        self.linked = False
        #: Its link was authenticated. Never taken back while the device is there.
        self.verified = False
        #: The other program's name, "" for our own. Foreign ones are never linked and never dialled.
        self.foreign = ""
        #: The random mark of its process, "" while unknown; and those of processes that are over.
        self.boot = ""
        self.past_boots: Tuple[str, ...] = ()
        #: Highest beacon number of `boot`, -1 before the first.
        self.seq = -1
        self.every_s = 0.0
        self.addresses = AddressBook(most_addresses)
        #: Monotonic; the last first-hand sign of life: over the link while linked, by whatever else.
        self.last_heard = now
        #: True once it described itself over a connection: beacons, which say less, no longer overwrite that.
        self.described = False
        #: Why it is not simply there, in words; "" while it is.
        self.reason = ""
        #: The registry's change number at the last visible change.
        self.version = 0
        #: The same when it came, or got another address: all that peers need to hear of it.
        self.met_version = 0
        #: What `sum_up` returned at the last visible change; the table's sum has it in it.
        self.mark = 0
        #: Addresses of the dial under way that have not failed yet; empty when none is under way.
        self.dialling: List[str] = []
        #: When the next dial is due; None when none is planned.
        self.dial_at: Optional[float] = None
        #: A link to it is of use now; never true of a linked one.
        self.is_wanted = False
        #: When the link was lost; UNREACHED means that every address failed after it.
        self.lost_at = 0.0
        #: Until then beacons of `boot` are echoes: its process has ended, a datagram was still under way.
        self.echo_until = 0.0
        #: Since when its beacons are missed and it is called for that; None while they come.
        self.doubted_at: Optional[float] = None
        #: A goodbye came although the link stood: until then the link's end means LEFT.
        self.leaving_until = 0.0

    @property
    def present(self) -> bool:
        """Return whether it counts as there."""
        return self.state in PRESENT

    @property
    def is_phone(self) -> bool:
        """Return whether its system may put it to sleep."""
        return self.device.type in PHONE_TYPES

    @property
    def dead_after_s(self) -> float:
        """Return the seconds of due silence after which it is dead."""
        return DEAD_PHONE_S if self.is_phone else DEAD_S

    @property
    def beacon_silence_s(self) -> float:
        """Return the seconds of silence after which it is dropped while no link tells more."""
        return max(BEACON_SILENCE_S, 4.0 * self.every_s)

    def hears_again(self, address: str, boot: str, seq: int) -> bool:
        """Take the next beacon of a linked device if it says what is known; return False where the registry has to."""
        if not self.linked or not self.present or self.boot != boot or seq <= self.seq:
            return False
        if not self.addresses.is_latest(address):
            return False
        self.seq = seq
        return True

    def doubt_after_s(self, roll: float) -> Optional[float]:
        """Return the seconds of silence after which it is worth a call; None where that gains nothing."""
        after_s = self.every_s * (DOUBT_AFTER + DOUBT_JITTER * roll)
        return after_s if 0.0 < after_s < BEACON_SILENCE_S and not self.is_phone and not self.foreign else None

    @property
    def label(self) -> str:
        """Return the alias that its user chose, or ""."""
        label = self.device.lite.get("label", "")
        return label if isinstance(label, str) else ""

    def describe(self, told: Device, *, over_link: bool) -> None:
        """Take over a description; a beacon, which says less, does not overwrite what came over a connection."""
        if over_link:
            self.announced = None
        lite = lite_kept(told.lite)
        if self.described and not over_link:
            lite = {**self.lite_under(told.status), **lite}
            told = replace(self.device, name=told.name, status=told.status)
        self.device = replace(told, name=told.name or self.device.name, lite=lite)
        self.described = self.described or over_link

    def update(
        self, status: Optional[DeviceStatus], metrics: Optional[ComputeMetrics],
        capabilities: Optional[DeviceCapabilities],
    ) -> None:
        """Take over what a heartbeat says; None means *as before*."""
        status = status or self.device.status
        self.announced = None
        self.device = replace(
            self.device,
            status=status,
            compute_metrics=metrics or self.device.compute_metrics,
            capabilities=capabilities or self.device.capabilities,
            lite=self.lite_under(status),
        )

    def lite_under(self, status: DeviceStatus) -> Dict[str, Any]:
        """Return `lite` without its reason where `status` is another: that was the reason of the one before."""
        lite = self.device.lite
        return lite if status is self.device.status else {key: lite[key] for key in lite if key != "reason"}

    def enter_boot(self, boot: str) -> None:
        """Note which of its processes runs now; what the one before said of itself may be out of date."""
        if not boot or boot == self.boot:
            return
        past = (self.boot, *self.past_boots) if self.boot else self.past_boots
        self.past_boots = tuple(mark for mark in past if mark != boot)[:PAST_BOOTS]
        self.boot = boot
        self.seq = -1
        self.described = False
        self.announced = None

    def set_every(self, every_s: float) -> None:
        """Note how often it announces itself, within reason."""
        self.every_s = min(max(every_s, EVERY_LEAST_S), EVERY_MOST_S) if isfinite(every_s) else EVERY_MOST_S

    def face(self) -> Tuple[Any, ...]:
        """Return what people are told about at once when it changes."""
        return (
            self.state, self.device.status, self.device.capabilities, self.linked, self.verified, self.foreign,
            self.device.name, self.device.type, self.label, self.boot, self.reason_now(),
        )

    def sum_up(self) -> int:
        """Return a number that whoever knows it at the same addresses has too; 0 while nobody needs to hear of it."""
        if not self.present or self.foreign:
            return 0
        words = [self.device_id, *sorted(
            entry.address for entry in self.addresses.ranked() if may_be_told(entry.address))]
        return int.from_bytes(hashlib.sha256(" ".join(words).encode("utf-8", "replace")).digest()[:8], "big")

    def reason_now(self) -> str:
        """Return why it is not simply there, else what it says about its own status."""
        told = self.device.lite.get("reason", "")
        return self.reason or (told if isinstance(told, str) else "")

    def to_device(self, wall_now: float, now: float) -> Device:
        """Return the message that describes it to people and peers; `now` is this node's monotonic clock.

        Dead and left ones are OFFLINE; a suspect keeps its own status, and `lite.reason` says what is wrong.
        """
        ranked = [entry.address for entry in self.addresses.ranked()]
        lite: Dict[str, Any] = {key: value for key, value in self.device.lite.items() if key != "reason"}
        lite["verified"] = self.verified
        if self.foreign:
            lite["foreign"] = self.foreign
        if self.reason_now():
            lite["reason"] = self.reason_now()
        if self.boot:
            lite["boot"] = self.boot
        if ranked:
            lite["addresses"] = ranked
        return replace(
            self.device,
            address=ranked[0] if ranked else self.device.address,
            last_seen=int(wall_now - max(0.0, now - self.last_heard)),
            status=self.device.status if self.present else DeviceStatus.OFFLINE,
            lite=lite,
        )

    def story(self) -> str:
        """Return one line for errors and logs."""
        return f"{short_id(self.device_id)} {self.device.name!r} is {self.state.value}, linked={self.linked}"

    def check(self) -> None:
        """Assert the invariants written beside the fields."""
        assert self.linked or self.state is not Liveness.ALIVE, self.story()
        assert not self.linked or self.state in (Liveness.ALIVE, Liveness.SUSPECT, Liveness.DEAD), self.story()
        assert not self.foreign or not (self.linked or self.dialling or self.dial_at is not None), self.story()
        assert not (self.linked and (self.dialling or self.is_wanted)), self.story()
        assert self.state is not Liveness.TOLD or not self.verified, self.story()
        self.addresses.check()


def lite_kept(lite: Mapping[str, Any]) -> Dict[str, Any]:
    """Return what is kept of a peer's `lite`: known keys, of sane types and sizes."""
    kept: Dict[str, Any] = {}
    for key in LITE_KEPT:
        value = lite.get(key)
        if isinstance(value, str):
            kept[key] = value[:LITE_TEXT]
        elif isinstance(value, (bool, int, float)):
            kept[key] = value
        elif isinstance(value, dict) and len(value) <= LITE_ENTRIES:
            kept[key] = {
                name: entry for name, entry in value.items() if len(name) <= LITE_TEXT
                and (isinstance(entry, (bool, int, float)) or isinstance(entry, str) and len(entry) <= LITE_TEXT)
            }
    return kept


def told_addresses(told: Device) -> List[str]:
    """Return where a device is said to be, without what only whoever says it can use."""
    more = told.lite.get("addresses")
    return list(filter(may_be_told, [told.address, *(more if isinstance(more, list) else [])]))
