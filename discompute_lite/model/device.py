"""Describe a device: what it is, what it can do, how it feels just now.

Knows:   the messages `Device`, `DeviceCapabilities` and `ComputeMetrics` of the original service,
         field for field; everything of ours stands under `lite`.
Refuses: to find any of it out; that is host/detect.py and host/metrics.py.
Read next: model/codec.py (to and from JSON), core/registry.py (what is believed about devices).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Dict, Tuple

#: `Device.type` of devices that run inside an app, on a battery, in a pocket.
PHONE_TYPES = ("iphone", "ipad", "android")
#: Every `Device.type` that we produce; foreign nodes may say others.
DEVICE_TYPES = ("mac", "macbook", "mac_mini", "mac_studio", "imac", *PHONE_TYPES, "linux", "windows", "unknown")


class DeviceStatus(Enum):
    """Say whether a device takes work."""

    UNKNOWN = "UNKNOWN"
    AVAILABLE = "AVAILABLE"
    BUSY = "BUSY"
    OFFLINE = "OFFLINE"
    OVERLOADED = "OVERLOADED"


@dataclass(frozen=True)
class DeviceCapabilities:
    """List what changes slowly. TFLOPS are nominal figures of the GPU, 0 where unknown."""

    cpu_cores: int = 0
    memory_mb: int = 0
    has_gpu: bool = False
    gpu_type: str = ""
    #: 0 to 1, and -1 where there is no battery or its level is not known.
    battery_level: float = -1.0
    is_charging: bool = False
    fp32_tflops: float = 0.0
    fp16_tflops: float = 0.0
    int8_tflops: float = 0.0
    chip: str = ""
    os_version: str = ""
    supports_metal: bool = False
    supports_cuda: bool = False


@dataclass(frozen=True)
class ComputeMetrics:
    """List what always changes. Usages are 0 to 1; -1 means *not known*, never *idle*."""

    cpu_usage: float = 0.0
    memory_usage: float = 0.0
    gpu_usage: float = 0.0
    #: Celsius, 0 where unknown.
    temperature: float = 0.0
    active_tasks: int = 0
    #: Subtasks finished a second, over the last minute.
    throughput: float = 0.0


@dataclass(frozen=True)
class Device:
    """Describe one device as it is listed and sent.

    `lite` holds what the original has no field for: ``model``, ``label`` (alias), ``verified``,
    ``foreign`` (program's name), ``measured`` (speeds), ``reason`` (why the status), ``slots``,
    ``boot``, ``version`` and ``addresses``.
    """

    id: str = ""
    name: str = ""
    type: str = ""
    address: str = ""
    capabilities: DeviceCapabilities = DeviceCapabilities()
    #: Unix seconds; this node's clock.
    last_seen: int = 0
    status: DeviceStatus = DeviceStatus.UNKNOWN
    compute_metrics: ComputeMetrics = ComputeMetrics()
    lite: Dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Hardware:
    """Say what a detector found: a device without its identity, plus where each value came from."""

    type: str = "unknown"
    #: What people call it, such as "MacBook Pro (14-inch, M3 Max, 2023)"; "" where unknown.
    model: str = ""
    #: The machine's own identifier, such as "Mac15,8" or "iPhone17,1"; "" where there is none.
    identifier: str = ""
    capabilities: DeviceCapabilities = DeviceCapabilities()
    #: The app that it runs in, such as "Pythonista" or "Termux"; "" outside of apps.
    app: str = ""
    #: Physical cores, 0 where unknown; `capabilities.cpu_cores` counts what may be used.
    physical_cores: int = 0
    #: What work may take of the memory, MB, where the system ends whoever takes too much; 0 where it does not.
    work_memory_mb: int = 0
    #: field -> where its value came from, for `info -v` and bug reports.
    sources: Tuple[Tuple[str, str], ...] = ()
    #: Sentences about what is odd: "inside a container limited to 2 cores".
    notes: Tuple[str, ...] = ()


def work_memory(memory_mb: int) -> int:
    """Return what of a phone's memory is for work: a quarter, since its system ends an app that takes too much."""
    return memory_mb // 4


def short_id(device_id: str) -> str:
    """Return the part of a device id that people see and type: its first eight characters."""
    return device_id[:8]
