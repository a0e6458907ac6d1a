"""Keep what others say within bounds, so that one talkative device costs nobody memory and fits into every answer.

Knows:   how long names, descriptions and what code printed may be, and how much of a list one answer carries.
Refuses: to judge what is said; what is too long is cut, and the rest of a list is told with a later answer.
Read next: roles/discovery.py (who takes what others say), model/limits.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Iterable, List

from ..model.codec import to_json
from ..model.device import Device, DeviceCapabilities
from ..model.errors import LocalProtocolError
from ..model.limits import Limits
from ..model.task import ComputeTask
from ..wire.strict_json import count_values, encode_json

#: Characters of a device's id. Beyond: refused, since a cut id would be another one.
ID_CHARS = 64
#: Characters of names and marks, and of other texts about a device; ours are far shorter.
NAME_CHARS, TEXT_CHARS = 64, 128
#: Characters that travel of what one piece of work printed: as JSON they may take six times as many bytes, and a line
#: has room for more than one.
OUTPUT_CHARS = 32 * 1024


def bounded_capabilities(capabilities: DeviceCapabilities) -> DeviceCapabilities:
    """Return capabilities whose texts have a sane length."""
    return replace(
        capabilities, gpu_type=capabilities.gpu_type[:TEXT_CHARS], chip=capabilities.chip[:TEXT_CHARS],
        os_version=capabilities.os_version[:TEXT_CHARS],
    )


def bounded_device(device: Device) -> Device:
    """Return a description whose texts have a sane length; of `lite` the registry keeps what it knows."""
    # A real address is shorter than any cut of it would be right.
    return replace(
        device, name=device.name[:NAME_CHARS], type=device.type[:NAME_CHARS],
        address=device.address if len(device.address) <= TEXT_CHARS else "",
        capabilities=bounded_capabilities(device.capabilities),
    )


def devices_that_fit(devices: Iterable[Device], limits: Limits) -> List[Device]:
    """Return as many devices, from the first on, as one answer carries: half a line of JSON at most."""
    fitting: List[Device] = []
    room = limits.line_bytes // 2
    for device in devices:
        size = len(encode_json(to_json(device)))
        if len(fitting) >= limits.devices_per_answer or size > room:
            break
        room -= size
        fitting.append(device)
    return fitting


def tasks_that_fit(tasks: Iterable[ComputeTask], limits: Limits) -> List[ComputeTask]:
    """Return the tasks, as they are told, that one answer carries; one is left out that has no room, or no words."""
    fitting: List[ComputeTask] = []
    room = 1.0
    for task in tasks:
        try:
            line = encode_json({**to_json(task), "task_data": ""})
        except LocalProtocolError:
            continue
        share = max(2 * len(line) / limits.line_bytes, 2 * count_values(line) / limits.json_values)
        if share <= room:
            room -= share
            fitting.append(task)
    return fitting


def bounded_output(text: str) -> str:
    """Return the beginning of what was printed, with a last line that says how much is missing."""
    if len(text) <= OUTPUT_CHARS:
        return text
    return f"{text[:OUTPUT_CHARS]}\n[{len(text) - OUTPUT_CHARS} more characters were printed]\n"
