"""Say in a sentence what became of a device.

Knows:   the registry's news, and how people speak of devices.
Refuses: to do anything about it (roles/node.py does).
Read next: core/registry.py, roles/event_log.py.
"""

from __future__ import annotations

from typing import Any, Tuple

from ..core.events import (
    TellChanged, TellDead, TellDuplicateIdentity, TellJoined, TellLeft, TellRestarted, TellSuspect,
)
from ..core.registry import DeviceRegistry
from ..model.device import short_id


def device_event(action: Any, registry: DeviceRegistry) -> Tuple[str, str]:
    """Return kind and sentence of one piece of the registry's news."""
    device_id = action.device_id
    known = registry.get(device_id)
    name = known.device.name if known is not None else short_id(device_id)
    called = f"{name} ({short_id(device_id)})"
    if isinstance(action, TellJoined):
        where = registry.addresses(device_id)[:1]
        return "joined", f"{called} joined{' at ' + where[0] if where else ''}"
    if isinstance(action, TellChanged):
        if action.is_back:
            return "back", f"{called} answers again"
        status = known.device.status.value if known is not None else "UNKNOWN"
        reason = str(known.device.lite.get("reason", "")) if known is not None else ""
        return "changed", f"{called} is {status}{': ' + reason if reason else ''}"
    if isinstance(action, TellRestarted):
        return "restarted", f"{called} was restarted"
    if isinstance(action, TellSuspect):
        return "suspect", f"{called} does not answer"
    if isinstance(action, TellDead):
        return "lost", f"{called} is gone: {action.reason}"
    if isinstance(action, TellLeft):
        return "left", f"{called} left"
    assert isinstance(action, TellDuplicateIdentity), action
    return "warning", (f"another device at {action.address} has this device's identity; was the folder copied? Delete"
                       " the copied state folder there")
