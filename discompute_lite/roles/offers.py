"""Say what the devices of one node's view offer for work: slots, speed, and why fewer than they have.

Knows:   what this device and the others said of themselves, and over which links work may go.
Refuses: to choose among them (core/scheduler.py does).
Read next: core/events.py (`DeviceReady`), roles/own_device.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Optional

from ..core.events import DeviceReady
from ..core.known import KnownDevice
from ..model.device import Device
from .heartbeats import BUSY_BEAT_S, BUSY_NEAR_BEAT_S
from .own_device import offers_of, score_of, slots_of

#: Heartbeats without an answer in a row, while work is under way, after which pure work is tried elsewhere as well.
BEATS_MISSED = 4
#: Attempts that may be sent to another device in advance, for each slot, of functions known to be short: the next is
#: there when one ends, and the way to it is hidden. Here, where there is no way, one hides
#: what the node does between two of them, as long as no other device is there.
WINDOW, OWN_WINDOW = 8, 1
#: Seconds that a call to another machine takes at least, and while nobody has measured it.
LEAST_TRIP_S = 0.001
#: What all devices but this one offer: work that requires it leaves this machine's own cores out.
ELSEWHERE = "another device"


@dataclass(frozen=True)
class DeviceOffer:
    """Say what a device offers to a script: slots and their speed, or why there are none."""

    device: Device
    why_not: str = ""
    slots: int = 0
    speed: float = 0.0


def own_offer(node: Any) -> DeviceReady:
    """Return what this device offers."""
    allowance = node.worker.allowance()
    load = min(1.0, max(0.0, node.reading.metrics.cpu_usage))
    return DeviceReady(
        node.id, allowance.slots, float(node.measured.get("score", 0.0)) * allowance.share, load,
        offers_of(node.own_device()),
        allowance.reason, window=OWN_WINDOW,
    )


def peer_offer(node: Any, known: KnownDevice) -> DeviceReady:
    """Return what another device offers to us."""
    slots, reason = slots_of(known.device), known.reason_now()
    link = node.link_for_work(known.device_id)
    is_near = link is not None and link.is_loopback
    if link is None:
        slots, reason = 0, _why_no_link(node, known)
    elif known.state.value != "alive":
        slots, reason = 0, "it does not answer"
    load = min(1.0, max(0.0, known.device.compute_metrics.cpu_usage))
    silence_s = BEATS_MISSED * (BUSY_NEAR_BEAT_S if is_near else BUSY_BEAT_S)
    return DeviceReady(
        known.device_id, slots, score_of(known.device), load, (*offers_of(known.device), ELSEWHERE), reason,
        lease_s=known.dead_after_s, window=WINDOW, silence_s=silence_s,
        round_trip_s=0.0 if link is None or is_near else max(LEAST_TRIP_S, link.peer.round_trip_s),
        bytes_s=0.0 if link is None else link.peer.bytes_s,
    )


def _why_no_link(node: Any, known: KnownDevice) -> str:
    belonging = node.belonging
    if not belonging.is_member_here(known.device_id):
        return "not paired with this device"
    if not belonging.may_send_work():
        return "this device's role lets it send no work"
    return known.reason or "not connected just now"


def offer_of(node: Any, device_id: str) -> Optional[DeviceReady]:
    """Return what any device offers to us, None where it is not known here."""
    known = node.discovery.registry.get(device_id)
    if known is None:
        return own_offer(node) if device_id == node.id else None
    return peer_offer(node, known)


def why_no_offer(offer: Optional[DeviceReady]) -> str:
    """Say why a device takes no work from us just now, "" where it does."""
    if offer is None:
        return "it is not known here"
    return "" if offer.slots else offer.reason or "it takes no work just now"


def all_offers(node: Any) -> List[DeviceOffer]:
    """Return what each known device offers, this one first."""
    found = []
    for device in node.discovery.list_devices():
        offer = offer_of(node, device.id)
        slots, speed = (0, 0.0) if offer is None else (offer.slots, offer.speed)
        found.append(DeviceOffer(device, why_no_offer(offer), slots, speed))
    return found


def total_offer(node: Any) -> int:
    """Return the slots of all devices that may be given work, this one included."""
    return int(node.worker.allowance().slots) + sum(
        slots_of(known.device) for known in node.discovery.registry.devices()
        if known.present and node.link_for_work(known.device_id) is not None
    )
