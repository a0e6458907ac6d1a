"""Say to the audit log who was refused, and what others changed in the cluster.

Knows:   what such a line names: a device by its certificate's id, a stranger by the address.
Refuses: to bound a flood (core/refusals.py does), files, and the lines of this node's own deeds (who does them writes).
Read next: core/audit_log.py (the lines), roles/front_desk.py (the deeds).
"""

from __future__ import annotations

from typing import Any, Iterable, Optional

from ..model.errors import CallError, DiscomputeError
from .methods import METHODS

#: What a statement says has happened to a device; every other one changed something about it.
_HAPPENED = {"add": "let-in", "revoke": "removed"}


def note_refusal(node: Any, link: Any, call: str, refusal: Optional[DiscomputeError] = None, rule: str = "") -> None:
    """Write down that whoever is at the other end was refused this call; the rule is the refusal's, or given."""
    data = refusal.data if isinstance(refusal, CallError) else None
    rule = rule or str((data or {}).get("rule", ""))
    method = METHODS.get(call)
    if not rule and not link.verified_id and method is not None and method.level in ("anyone", "alone"):
        # So every device that is alone knocks at the door of one that is not: they are counted, and not named.
        node.world.audit.refused("meeting", "", {})
        return
    rule = rule or ("owner" if link.verified_id else "stranger")
    node.world.audit.refused(rule, link.verified_id or host_part(link.remote_address), {"call": call})


def note_news(node: Any, changed: Iterable[str]) -> None:
    """Write down what another device said about these, which its cluster's key has signed."""
    for device_id in changed:
        holds = node.belonging.cluster.membership.statement_about(device_id)
        node.world.audit.note(_HAPPENED.get(holds.what, "changed"), {
            "device": device_id, "by": holds.by, "name": holds.name, "role": holds.role, "sends": holds.sends,
        })


def host_part(address: str) -> str:
    """Return the host of host:port."""
    return address.rpartition(":")[0].strip("[]")
