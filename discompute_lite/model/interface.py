"""Describe one address of one of this machine's interfaces.

Knows:   what the system says of it.
Refuses: to look it up (net/interfaces.py), and to judge it (core/sweep.py, core/network_diagnosis.py).
Read next: net/interfaces.py.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interface:
    """Describe one address of one interface; a link-local one of IPv6 has the interface in it, as fe80::1%eth0."""

    #: As the system calls it, "" where unknown.
    name: str
    address: str
    #: Of IPv6 the number of bits; "" where unknown.
    netmask: str = ""
    #: "" where the interface does not broadcast (VPN, cellular) or it is unknown; of IPv6 the group of all nodes.
    broadcast: str = ""
    is_loopback: bool = False
