"""Tell neighbours from the rest of the world, by the address that somebody calls from.

Knows:   private, link-local and loopback addresses, and the networks of this machine's interfaces.
Refuses: to believe that an address proves anything: it only keeps out who has no business here.
Read next: net/listener.py (who asks).

A university's network may have public addresses throughout: so whoever is in a network of one of our interfaces is a
neighbour too. 100.64.0.0/10, where Tailscale and the like live, is no public address.
"""

from __future__ import annotations

from typing import Any, Callable, List, Optional

from ..model.interface import Interface
from .addresses import plain_host
from .interfaces import list_interfaces, list_ipv6

#: Seconds for which a list of interfaces is believed: a stranger who knocks costs no look at them.
INTERFACES_S = 60.0


class Neighbourhood:
    """Say whose connections are taken."""

    def __init__(
        self, now: Callable[[], float], *, takes_all: bool = False,
        interfaces: Callable[[], List[Interface]] = lambda: list_interfaces() + list_ipv6(),
    ) -> None:
        """`takes_all` where the owner wants it so (the setting `from-internet`)."""
        self._now = now
        self._takes_all = takes_all
        self._interfaces = interfaces
        self._networks: List[Any] = []
        self._listed_at: Optional[float] = None

    def takes(self, host: str) -> bool:
        """Whether a connection from this address is taken."""
        # Most are from here; and `ipaddress` takes its time to load.
        if self._takes_all or host.startswith(("127.", "10.", "192.168.")):
            return True
        import ipaddress

        try:
            address = ipaddress.ip_address(plain_host(host.partition("%")[0]))
        except ValueError:
            return False
        return not address.is_global or any(address in network for network in self._own_networks(ipaddress))

    def _own_networks(self, ipaddress: Any) -> List[Any]:
        now = self._now()
        if self._listed_at is None or now >= self._listed_at + INTERFACES_S:
            self._listed_at = now
            self._networks = [
                ipaddress.ip_network(f"{each.address.partition('%')[0]}/{each.netmask}", strict=False)
                for each in self._interfaces() if each.netmask
            ]
        return self._networks
