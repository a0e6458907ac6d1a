"""Describe this device to others, and read what others say of theirs as the scheduler needs it.

Knows:   status, metrics, slots and offers.
Refuses: to measure (host/ does).
Read next: roles/node.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, Tuple

from ..model.device import ComputeMetrics, Device, DeviceStatus
from .ports import LinkPort

#: What a device offers to tasks that require it, besides its chip's name.
OFFER_GPU, OFFER_CUDA, OFFER_METAL = "gpu", "cuda", "metal"
#: What a device that takes no work of another one tells it.
SENTENCE_NO_WORK = "its owner lets this device run nothing there"
#: More slots than this no device has; whoever says so is not believed.
SLOTS_MOST = 1024


def own_status(node: Any, is_stopping: bool) -> DeviceStatus:
    """Return this device's status, by what is allowed and running just now."""
    slots = node.worker.allowance().slots
    if is_stopping:
        return DeviceStatus.OFFLINE
    if slots == 0:
        return DeviceStatus.OVERLOADED
    return DeviceStatus.BUSY if node.worker.running >= slots else DeviceStatus.AVAILABLE


def describe_own_device(node: Any, is_stopping: bool) -> Device:
    """Return this device as others see it, by what is allowed and running just now."""
    allowance, status = node.worker.allowance(), own_status(node, is_stopping)
    lite: Dict[str, Any] = {"slots": allowance.slots, "boot": node.boot, "version": node.version}
    lite.update({key: value for key, value in (
        ("model", node.hardware.model), ("label", node.settings.device_id), ("measured", node.measured),
        ("work_memory_mb", node.hardware.work_memory_mb), ("reason", allowance.reason),
        ("share", allowance.share if allowance.share < 1.0 else 0.0),
    ) if value})
    reading = node.reading
    capabilities = replace(
        node.hardware.capabilities, battery_level=reading.battery_level, is_charging=reading.is_charging
    )
    metrics: ComputeMetrics = replace(
        reading.metrics, active_tasks=node.worker.running, throughput=round(node.worker.throughput(), 3)
    )
    return Device(
        id=node.id, name=node.name, type=node.hardware.type, address=f"{node.world.own_hosts()[0]}:{node.port}",
        capabilities=capabilities, status=status, compute_metrics=metrics, lite=lite,
    )


def own_device_for(node: Any, link: LinkPort) -> Device:
    """Return this device as the other end is told of it: with no more slots than the owner's rules give it."""
    device: Device = node.own_device()
    sender = node.belonging.sender_of(link)
    if sender is None:
        return device
    rule = node.rules.policy.rule_for(sender.device_id)
    if rule.accept == "nobody":
        return replace(device, lite={**device.lite, "slots": 0, "reason": SENTENCE_NO_WORK})
    if 0 < rule.slots < slots_of(device):
        return replace(device, lite={**device.lite, "slots": rule.slots})
    return device


def score_of(device: Device) -> float:
    """Return a device's own measured score, within bounds: it is self-reported and only a hint.

    Of one that rests between pieces of work it is the part that is left.
    """
    measured, share = device.lite.get("measured"), device.lite.get("share", 1.0)
    score = measured.get("score", 0.0) if isinstance(measured, dict) else 0.0
    if not isinstance(score, (int, float)) or not score:
        return 0.0
    part = min(1.0, max(0.1, float(share))) if isinstance(share, (int, float)) else 1.0
    return min(100.0, max(0.01, float(score) * part))


def slots_of(device: Device) -> int:
    """Return how many attempts a device says it takes at once, 0 where it says nothing sensible."""
    slots = device.lite.get("slots", 0)
    return slots if type(slots) is int and 0 <= slots <= SLOTS_MOST else 0


def offers_of(device: Device) -> Tuple[str, ...]:
    """Return the names by which a task may require this device."""
    capabilities = device.capabilities
    offers = [device.id, device.type, capabilities.chip]
    offers += [OFFER_GPU] if capabilities.has_gpu else []
    offers += [OFFER_CUDA] if capabilities.supports_cuda else []
    offers += [OFFER_METAL] if capabilities.supports_metal else []
    return tuple(offer for offer in offers if offer)
