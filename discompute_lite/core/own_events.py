"""Say the words about a node's own sockets and clocks, and about links that it wants: the second page of words.

Knows:   what may happen to them (past tense) and what may be wished (imperative).
Refuses: behaviour.
Read next: core/upkeep.py (who is to repair what), core/dialling.py (who is dialled).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple


# ---- the registry ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class LinkWanted:
    """A link to this device is of use now: it is dialled whatever number of links is open."""

    device_id: str


@dataclass(frozen=True)
class LinkRefused:
    """A device that answers wants no link with us, as one of a cluster does not with a stranger: not again at once."""

    device_id: str


# ---- upkeep: what happened --------------------------------------------------------------------------


@dataclass(frozen=True)
class ClocksRead:
    """Both clocks were read: `now` is the monotonic one, which may stop while a device sleeps; this is the other."""

    #: Unix seconds.
    wall: float


@dataclass(frozen=True)
class AddressesSeen:
    """These are the addresses of this device's interfaces now, in order."""

    addresses: Tuple[str, ...]


@dataclass(frozen=True)
class KnockAnswered:
    """A listener took the connection that this node made to it."""

    listener: str


@dataclass(frozen=True)
class KnockUntold:
    """It could not be found out whether a listener is well: no descriptor was left, for example."""

    listener: str


@dataclass(frozen=True)
class ListenerFailed:
    """A listener is dead: it said so itself, or nobody took the connection that this node made to it."""

    listener: str
    reason: str


@dataclass(frozen=True)
class ListenerRebuilt:
    """A listener has a new socket; whether that is a good one is still to be seen."""

    listener: str


@dataclass(frozen=True)
class RebuildFailed:
    """No new socket could be had for a listener."""

    listener: str
    reason: str


# ---- upkeep: what is wished -------------------------------------------------------------------------


@dataclass(frozen=True)
class SeeAddresses:
    """Look at the interfaces, and tell with `AddressesSeen`."""


@dataclass(frozen=True)
class Knock:
    """Connect to a listener of our own; `KnockAnswered`, `KnockUntold` or `ListenerFailed` tells how that ended."""

    listener: str


@dataclass(frozen=True)
class RebuildListener:
    """Open a listener's port anew; `ListenerRebuilt` or `RebuildFailed` tells how that ended."""

    listener: str


@dataclass(frozen=True)
class LookAtDatagrams:
    """Try each UDP socket: a dead one says so, and is rebuilt."""


@dataclass(frozen=True)
class RenewDatagrams:
    """Rebuild all UDP sockets, and forget which destinations failed."""


@dataclass(frozen=True)
class ProveLinks:
    """Ask over every link at once whether the other end is there."""


@dataclass(frozen=True)
class LeaveAddresses:
    """Close the links by way of addresses that this device has no more: nothing can arrive over them."""

    addresses: Tuple[str, ...]


@dataclass(frozen=True)
class ShowUp:
    """Announce this node, and ask for the others: where it is may be news to them."""


@dataclass(frozen=True)
class TellUpkeep:
    """Say a sentence to people; `kind` is note or warning."""

    kind: str
    text: str
