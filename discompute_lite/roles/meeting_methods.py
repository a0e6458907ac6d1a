"""Offer the owner of a node what concerns meeting other devices: call these addresses.

Knows:   the methods, their parameters and answers; all are the owner's.
Refuses: to do the work: roles/greeter.py does.
Read next: roles/methods.py (how a method is made), faces/reach.py (who calls).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, List, Optional

from ..model.errors import InvalidParams
from ..model.setting_kinds import peers_kind
from .methods import method
from .ports import LinkPort


@dataclass(frozen=True)
class MetAddress:
    """Say who answered at an address, or why nobody did."""

    address: str = ""
    #: "" where nobody did.
    device_id: str = ""
    message: str = ""
    #: It is the called node's own address.
    is_own: bool = False

    def own_sentence(self) -> str:
        """Say that this address leads nowhere else."""
        return f"{self.address} is the node of this device itself: name another device's address"


@dataclass(frozen=True)
class MeetAnswer:
    """Say of each address how it went, in the order in which they were given."""

    success: bool = False
    met: List[MetAddress] = field(default_factory=list)

    def troubles(self, *, by_own_node: bool) -> List[str]:
        """Say of each address where nobody answered that it is so; a node of one's own will not be there for long."""
        ends = "start a node there" if by_own_node else "it is called again and again"
        # Of one without a message nothing is known: the node that called it ended meanwhile.
        return [each.own_sentence() if each.is_own else f"nobody answers at {each.address}, {ends}: {each.message}"
                for each in self.met if not each.device_id and each.message]


def answer_to_meet(met: List[MetAddress]) -> MeetAnswer:
    """Return the answer to `Meet` once all addresses were tried."""
    return MeetAnswer(all(each.device_id for each in met), met)


@method("Meet", level="owner")
def meet(node: Any, link: LinkPort, addresses: Optional[List[str]] = None) -> MeetAnswer:
    """Call devices at these addresses (host or host:port), now and until they answer; answered when all were tried."""
    try:
        read = peers_kind().take(addresses or [])
    except ValueError as misfit:
        raise InvalidParams(f"{str(misfit.args[0])[:64]!r} is not host:port; write 192.168.1.20:8080, say") from None
    return node.discovery.meet(list(read), answer_to_meet)
