"""Plan a sweep: which addresses of the own network are tried one by one, in which order, how many at once, and when.

Knows:   private networks and their masks, what stands in no network of devices (VPN, cellular, containers), who is
         likely to be a device, and how long to wait before the next sweep.
Refuses: to connect (net/prober.py does), to know whether anybody was met in another way (roles/sweeper.py does).
Read next: roles/sweeper.py.

It is the last way of meeting: on phones the system refuses broadcasts, and some access points swallow them.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from enum import Enum
from typing import Callable, Deque, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from ..model.interface import Interface

#: Seconds after the start of the first sweep; the shorter where broadcasts are refused, as on every phone.
SWEEP_FIRST_S, SWEEP_REFUSED_S = 5.0, 1.0
#: Seconds between two sweeps that found nobody: doubled each time.
SWEEP_AGAIN_S, SWEEP_LONGEST_S = 30.0, 600.0
#: Seconds between two sweeps that the system refused, which end at once, and how many of them: a person may be reading
#: just then whether this program is to be allowed the local network.
SWEEP_PERMIT_S, SWEEP_PERMIT_TRIES = 3.0, 10
#: Seconds for one address: Wi-Fi that sleeps answers within half of that. A little chance spreads what many begin.
SWEEP_TRY_S = 1.0
#: No more than so many bits of a network are swept: the rest of a larger one is somebody else's.
WIDEST_PREFIX = 22
#: What a network is taken for where no mask is known.
ASSUMED_PREFIX = 24
#: Networks swept at once; whoever has more of them chooses one with `discovery-interface`.
SWEPT_NETWORKS = 4
#: Tried on hosts that are there and refuse the first port: where a node goes when that is taken.
FURTHER_PORTS = (8081, 8082, 8083, 8084)
#: If so many have failed at once and in the same moment, the system lets this program reach nobody.
REFUSED_AT_ONCE = 16
#: A refusal by the system comes at once, to a program that has to wait for a busy processor somewhat later; that a host
#: is not there is known after three seconds (three questions for its hardware address, one a second) or never.
REFUSED_WITHIN_S = 0.5
#: Networks in which devices of one household, class or office meet. (RFC 1918, RFC 3927; loopback for tests)
_PRIVATE = tuple(map(ipaddress.IPv4Network, (
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8")))
#: Interfaces with private networks in which only this machine's own containers and guests are.
_INNER = ("docker", "br-", "virbr", "veth", "vmnet", "vboxnet", "lxc", "podman", "cni", "flannel")


class TryOutcome(Enum):
    """Say how an address answered to a connection."""

    OPEN = "open"
    #: The host is there, and nothing listens.
    REFUSED = "refused"
    SILENT = "silent"
    #: The system says that there is no way there.
    UNREACHABLE = "unreachable"


class SweptNetwork(NamedTuple):
    """Hold one network to sweep."""

    own: ipaddress.IPv4Address
    #: What is swept, which may be less than what the mask says.
    network: ipaddress.IPv4Network


class Try(NamedTuple):
    """Ask for one connection."""

    address: str
    timeout_s: float


def networks_to_sweep(found: Sequence[Interface]) -> Tuple[List[SweptNetwork], str]:
    """Return the networks that may be swept, or none and the sentence that says why."""
    swept: Dict[ipaddress.IPv4Network, SweptNetwork] = {}
    tunnel = ""
    for item in found:
        own = ipaddress.IPv4Address(item.address)
        if not any(own in network for network in _PRIVATE) or _is_tunnel(item):
            tunnel = tunnel or item.address
        elif not item.name.startswith(_INNER):
            prefix = ipaddress.IPv4Network(f"0.0.0.0/{item.netmask}").prefixlen if item.netmask else ASSUMED_PREFIX
            network = ipaddress.IPv4Network((own, max(WIDEST_PREFIX, prefix)), strict=False)
            swept.setdefault(network, SweptNetwork(own, network))
    if swept:
        return list(swept.values())[:SWEPT_NETWORKS], ""
    if tunnel:
        return [], (f"{tunnel} is an address of a VPN or of a cellular network, where no devices are looked for; "
                    "join a Wi-Fi, or give a device's address with --peer")
    return [], "this device is in no network of its own; join a Wi-Fi, or give a device's address with --peer"


def _is_tunnel(item: Interface) -> bool:
    """Whether there is but one other end: no broadcast, or a mask that has room for nobody else."""
    if item.is_loopback or not item.netmask:
        return False
    return not item.broadcast or item.netmask in ("255.255.255.255", "255.255.255.254")


def hosts_to_sweep(swept: SweptNetwork, remembered: Sequence[str]) -> List[str]:
    """Return the hosts of a network in the order of trying: the remembered, then the own address's neighbours, then
    the rest; never this device, the network's own address or its broadcast."""
    own, first, last = int(swept.own), int(swept.network[0]), int(swept.network[-1])
    near = sorted(range(first + 1, last), key=lambda host: (abs(host - own), host))
    hosts = [str(ipaddress.IPv4Address(host)) for host in near if host != own]
    known = set(hosts)
    return list(dict.fromkeys([*(host for host in remembered if host in known), *hosts]))


class Sweep:
    """Hand out the addresses of one sweep; at most `sockets` are being tried at any time."""

    def __init__(
        self, hosts: Sequence[str], ports: Sequence[int], sockets: int, roll: Callable[[], float],
        further: Sequence[int],
    ) -> None:
        """`roll` draws from 0 to 1; the first of `ports` is tried everywhere before the second is tried anywhere."""
        self._waiting: Deque[str] = deque(f"{host}:{port}" for port in ports for host in hosts)
        self._further = [port for port in further if port not in ports]
        self._sockets, self._roll = sockets, roll
        #: Being tried; at most `sockets`.
        self._open: Set[str] = set()
        #: Hosts that answered in some way, and addresses where somebody listens, in order.
        self.alive: Dict[str, None] = {}
        self.found: List[str] = []
        #: Addresses that have been tried, and how many of them failed at once, with nothing else in between.
        self.tried = self._at_once = 0

    @property
    def is_over(self) -> bool:
        """Whether everything was tried, or nothing can be."""
        return not self._open and (not self._waiting or self.is_refused)

    @property
    def is_refused(self) -> bool:
        """Whether this system lets the program reach nobody: what is far and what is near fail in the same moment."""
        return self._at_once >= REFUSED_AT_ONCE and self._at_once == self.tried

    def next_try(self) -> Optional[Try]:
        """Return the next address to try, None while enough are being tried or there is none."""
        if not self._waiting or len(self._open) >= self._sockets or self.is_refused:
            return None
        address = self._waiting.popleft()
        self._open.add(address)
        return Try(address, SWEEP_TRY_S * (0.8 + 0.4 * self._roll()))

    def ended(self, address: str, outcome: TryOutcome, seconds: float) -> None:
        """Take note of how an address answered, after so many seconds; its socket is closed, whatever came of it."""
        self._open.remove(address)
        self.tried += 1
        if outcome is TryOutcome.UNREACHABLE and seconds < REFUSED_WITHIN_S:
            self._at_once += 1
        host, _, port = address.rpartition(":")
        if outcome is TryOutcome.OPEN:
            self.found.append(address)
        if outcome is TryOutcome.REFUSED and host not in self.alive:
            # Next, before the silent rest: a device that is there is likely to be one of ours.
            self._waiting.extendleft(f"{host}:{further}" for further in reversed(self._further))
        if outcome in (TryOutcome.OPEN, TryOutcome.REFUSED):
            self.alive[host] = None

    def check(self) -> None:
        """Assert the invariants written beside the fields."""
        assert len(self._open) <= self._sockets
        assert not self._open & set(self._waiting)


class SweepTimes:
    """Say when the next sweep is due."""

    def __init__(self) -> None:
        self._again_s = SWEEP_AGAIN_S
        #: Sweeps in a row that the system refused.
        self._refused = 0

    def first_s(self, *, is_broadcast_refused: bool) -> float:
        """Return how long a node that has just started waits for the other ways."""
        return SWEEP_REFUSED_S if is_broadcast_refused else SWEEP_FIRST_S

    def next_s(self, *, was_somebody_there: bool, was_refused: bool = False) -> float:
        """Return how long to wait after a sweep, or after a look that found it needless."""
        self._refused = self._refused + 1 if was_refused else 0
        if 0 < self._refused <= SWEEP_PERMIT_TRIES:
            return SWEEP_PERMIT_S
        if was_somebody_there:
            self._again_s = SWEEP_AGAIN_S
            return SWEEP_FIRST_S
        wait_s, self._again_s = self._again_s, min(SWEEP_LONGEST_S, self._again_s * 2)
        return wait_s
