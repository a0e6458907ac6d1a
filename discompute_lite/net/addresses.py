"""Read and write the addresses that people and peers give: host:port, IPv6 in brackets.

Knows:   texts, and the names of operating-system errors.
Refuses: to look anything up.
Read next: net/links.py (who dials them).
"""

from __future__ import annotations

import errno
import re
import socket
from typing import Any, List, Tuple

from ..model.errors import LinkError

#: [IPv6]:port, host:port, or either without a port. Peers send addresses too, so nothing else passes: controls,
#: spaces, halves of surrogates and digits that only look like digits have all upset some resolver.
_BRACKETED = re.compile(r"\[([^][\s]+)\](?::([0-9]{1,5})?)?")
_PLAIN = re.compile(r"([^][:\s]+)(?::([0-9]{1,5})?)?")
_BARE_IPV6 = re.compile(r"([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[^][\s:]+)?)()")
_UNSPEAKABLE = re.compile("[\x00-\x20\x7f\ud800-\udfff]")
#: Where this machine's own commands call from. The rest of 127.0.0.0/8 is not counted with them: it is far too many.
OWNER_HOSTS = ("127.0.0.1", "::1")
#: Ports of this machine where further nodes may listen: the default one and its fallbacks.
NEIGHBOUR_PORTS = 20


def address_text(address: Tuple[Any, ...]) -> str:
    """Return a socket address as ``host:port``: IPv6 in brackets, link-local with interface, mapped IPv4 as IPv4."""
    host, port = plain_host(str(address[0])), address[1]
    if len(address) == 4 and address[3] and is_link_local(host) and "%" not in host:
        host = f"{host}%{zone_name(address[3])}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def plain_host(host: str) -> str:
    """Return an IPv4 address that an IPv6 socket shows as ``::ffff:`` in its own form, all others as they are."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def host_of(address: str) -> str:
    """Return the host of ``host:port``."""
    return address.rpartition(":")[0].strip("[]")


def split_address(address: str, default_port: int = 0) -> Tuple[str, int]:
    """Return (host, port) of ``host:port`` or ``host``; raise `LinkError` for anything else."""
    for form in (_BRACKETED, _PLAIN, _BARE_IPV6):
        match = form.fullmatch(address)
        if match is not None and not _UNSPEAKABLE.search(address):
            port = int(match.group(2) or default_port)
            if port < 65536:
                return match.group(1), port
    raise LinkError(f"{address!r} is not host:port; write an address such as 192.168.1.20:8080")


def is_link_local(host: str) -> bool:
    """Whether an IPv6 address is one of a single link, and so says nothing without an interface."""
    return host[:4].lower() in ("fe80", "fe90", "fea0", "feb0") and ":" in host


def zone_name(index: int) -> str:
    """Return the name of an interface by its number, or the number where the system does not say."""
    try:
        return socket.if_indextoname(index)
    except (OSError, AttributeError):
        return str(index)


def is_loopback_host(host: str) -> bool:
    """Whether an address (not a name) belongs to this machine's loopback interface."""
    return host.startswith("127.") or host == "::1"


def is_numeric_host(host: str) -> bool:
    """Whether this is an IPv4 or IPv6 address, which nobody needs to look up."""
    address, _, zone = host.partition("%")
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, address if zone and is_link_local(address) else host)
            return True
        except (OSError, ValueError):
            continue
    return False


def error_name(error: OSError) -> str:
    """Return an OSError as its symbol, such as ECONNRESET: numbers and texts differ between systems."""
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


def error_words(error: Exception) -> str:
    """Return the system's words for an error, such as `connection refused`: for people, who know no symbols."""
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


def loopback_neighbours(port: int, *, usual: bool = True, host: str = "127.0.0.1") -> List[str]:
    """Return where other nodes of this machine may listen: from `port` on, and, with `usual`, the usual ones."""
    first = ([8080] if usual else []) + ([port] if port and not (usual and port == 8080) else [])
    numbers = [start + step for start in first for step in range(NEIGHBOUR_PORTS) if start + step < 65536]
    return [address_text((host, number)) for number in numbers]
