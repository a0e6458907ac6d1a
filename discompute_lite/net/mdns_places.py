"""Say where multicast DNS is spoken, under which addresses of ours, and at which address a device is to be called.

Knows:   interfaces with their addresses of IPv4 and IPv6, and which kinds two devices of one link have in shared.
Refuses: sockets (net/mdns_transport.py has them), and what is said there (wire/mdns_responder.py).
Read next: net/mdns_transport.py.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

from ..model.interface import Interface
from ..wire.dns import DNS_A, DNS_AAAA
from .addresses import is_link_local

#: Interfaces on which IPv6 is spoken, each a socket: a Mac or a phone has a dozen, most of which lead to no network.
IPV6_INTERFACES = 4
#: Kinds of addresses, the best last.
ADDRESS_KINDS = ("link-local", "IPv6", "IPv4")


@dataclass(frozen=True)
class MdnsPlace:
    """Say where multicast DNS is spoken, and under which addresses of ours."""

    #: Of the interface, "" where that is not known.
    name: str
    #: The IPv4 address from which it is spoken; "" for IPv6, which is spoken from the interface as such.
    address: str
    #: All addresses of the interface, of both kinds: whichever of them a device is heard by, it hears all.
    addresses: Tuple[str, ...]

    @property
    def is_ipv6(self) -> bool:
        """Whether IPv6 is spoken."""
        return not self.address

    def records(self) -> Tuple[Tuple[int, bytes], ...]:
        """Return (DNS_A or DNS_AAAA, bytes) of the addresses."""
        return tuple(
            (DNS_AAAA, socket.inet_pton(socket.AF_INET6, address.partition("%")[0])) if ":" in address
            else (DNS_A, socket.inet_aton(address)) for address in self.addresses
        )

    def hosts(self, addresses: Sequence[bytes]) -> List[str]:
        """Return where a host with these addresses is to be called, the best last; IPv6 in brackets.

        Of each kind that we have here too the newest: IPv4, then IPv6, then link-local ones, which need the interface.
        Where we have none in shared a router may lead there.
        """
        found: Dict[str, str] = {}
        for raw in addresses:
            text = socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)
            found[address_kind(text)] = text
        shared = [kind for kind in ADDRESS_KINDS if kind in found and kind in map(address_kind, self.addresses)]
        chosen = [found[kind] for kind in shared or [kind for kind in ADDRESS_KINDS if kind in found]]
        zone = f"%{self.name}" if self.name else ""
        return [
            f"[{text}{zone}]" if is_link_local(text) else f"[{text}]" if ":" in text else text for text in chosen
            if zone or not is_link_local(text)
        ]


def address_kind(address: str) -> str:
    """Return which of `ADDRESS_KINDS` an address is."""
    return "link-local" if is_link_local(address) else "IPv6" if ":" in address else "IPv4"


def mdns_places(found: Sequence[Interface]) -> List[MdnsPlace]:
    """Return where to speak, by the addresses of interfaces that lead to others, of both kinds."""
    by_name: Dict[str, List[str]] = {}
    for item in found:
        by_name.setdefault(item.name or item.address, []).append(item.address)
    places = []
    for item in found:
        if ":" not in item.address:
            places.append(MdnsPlace(item.name, item.address, tuple(by_name[item.name or item.address])))
    links = [item for item in found if ":" in item.address and item.broadcast and item.name]
    for name in list(dict.fromkeys(item.name for item in links))[:IPV6_INTERFACES]:
        places.append(MdnsPlace(name, "", tuple(by_name[name])))
    return places
