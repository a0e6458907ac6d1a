"""List this machine's network interfaces with their addresses and masks.

Knows:   `getifaddrs` by ctypes, and what to do where that does not exist.
Refuses: to guess: nothing assumes en0, a /24 or an address that ends in 255; to send anything.
Read next: net/broadcast.py (which broadcasts on them).
"""

from __future__ import annotations

import socket
import struct
import sys
from functools import cache
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ..model.interface import Interface

IFF_UP = 0x1
IFF_BROADCAST = 0x2
IFF_LOOPBACK = 0x8
IFF_POINTOPOINT = 0x10
#: BSD systems, Apple's among them, begin a sockaddr with its length; the family follows in one byte.
_HAS_SOCKADDR_LENGTH = sys.platform in ("darwin", "ios") or "bsd" in sys.platform
#: Addresses that are routed differently on most machines: connecting a UDP socket to them sends nothing,
#: and its own name is then the address that this machine would use. (RFC 5737, RFC 1918)
_ROUTE_PROBES = ("192.0.2.1", "10.255.255.254", "192.168.255.254", "172.31.255.254")
_IPV6_ROUTE_PROBES = ("2001:db8::1", "fd00::1")  # RFC 3849, RFC 4193
#: All devices of one link: IPv6 has no broadcast but this.
ALL_NODES = "ff02::1"


def list_interfaces() -> List[Interface]:
    """Return the IPv4 addresses of interfaces that are up; never raises, may be empty."""
    return [item for item in _addresses_listed() if ":" not in item.address] or list(_by_routes())


def list_ipv6() -> List[Interface]:
    """Return the IPv6 addresses of interfaces that are up, without those of tunnels; never raises, may be empty."""
    if not socket.has_ipv6:
        return []
    listed = _addresses_listed()
    # A system that lists its interfaces has told all: one without IPv6 is not asked again.
    return [item for item in listed if ":" in item.address] if listed else list(_by_routes_of_ipv6())


def _addresses_listed() -> List[Interface]:
    try:
        return list(_by_getifaddrs())
    except (ImportError, OSError, AttributeError, ValueError, TypeError):
        # TypeError: Windows has no library without a name, and no getifaddrs.
        return []


def choose_interfaces(found: List[Interface], wanted: str) -> List[Interface]:
    """Return those of `found` that the setting `discovery-interface` (a name, an address or all) means."""
    return [item for item in found if wanted in ("all", "", item.name, item.address)]


@cache
def _ifaddrs_of_c() -> Tuple[Any, Any, Any]:
    """Return ctypes, a pointer to a `struct ifaddrs` and the library that knows it.

    They are made once: ctypes keeps for ever each class of which there was a pointer.
    """
    import ctypes  # Absent in some app Pythons, so asked for only here.

    class IfAddrs(ctypes.Structure):
        pass

    IfAddrs._fields_ = [
        ("next", ctypes.POINTER(IfAddrs)), ("name", ctypes.c_char_p), ("flags", ctypes.c_uint),
        ("address", ctypes.c_void_p), ("netmask", ctypes.c_void_p), ("broadcast", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
    ]
    return ctypes, ctypes.POINTER(IfAddrs), ctypes.CDLL(None)


def _by_getifaddrs() -> Iterator[Interface]:
    ctypes, pointer, library = _ifaddrs_of_c()
    head = pointer()
    if library.getifaddrs(ctypes.byref(head)) != 0:
        return
    try:
        entry = head
        while entry:
            item = entry.contents
            address = _ipv4_at(ctypes, item.address)
            name = (item.name or b"").decode("utf-8", "replace")
            can_broadcast = item.flags & IFF_BROADCAST and not item.flags & IFF_LOOPBACK
            if address is not None and item.flags & IFF_UP:
                yield Interface(
                    name=name,
                    address=address,
                    netmask=_ipv4_at(ctypes, item.netmask, any_family=True) or "",
                    broadcast=(_ipv4_at(ctypes, item.broadcast) or "") if can_broadcast else "",
                    is_loopback=bool(item.flags & IFF_LOOPBACK),
                )
            raw = _ipv6_at(ctypes, item.address) if item.flags & IFF_UP and not item.flags & IFF_POINTOPOINT else b""
            if raw:
                bits = sum(bin(byte).count("1") for byte in _ipv6_at(ctypes, item.netmask, any_family=True))
                yield _ipv6_interface(name, raw, str(bits or ""), bool(can_broadcast), bool(item.flags & IFF_LOOPBACK))
            entry = item.next
    finally:
        library.freeifaddrs(head)


def _ipv4_at(ctypes: Any, pointer: Optional[int], any_family: bool = False) -> Optional[str]:
    """Return the IPv4 address of a `struct sockaddr_in`, or None for another family.

    | bytes | Linux                 | BSD, Apple             |
    | 0-1   | family (native u16)   | length u8, family u8   |
    | 2-3   | port                  | port                   |
    | 4-7   | address               | address                |

    BSD leaves a netmask's family at 0 and may cut its trailing zero bytes, as its length says.
    """
    raw = _sockaddr_at(ctypes, pointer, 8, None if any_family else socket.AF_INET)
    return socket.inet_ntoa(raw[4:8]) if raw else None


def _ipv6_at(ctypes: Any, pointer: Optional[int], any_family: bool = False) -> bytes:
    """Return the IPv6 address of a `struct sockaddr_in6`, or b"" for another family.

    Family and port stand as in `sockaddr_in`; then 4 bytes of flow, 16 of address, 4 of scope.
    """
    return _sockaddr_at(ctypes, pointer, 24, None if any_family else socket.AF_INET6)[8:24]


def _sockaddr_at(ctypes: Any, pointer: Optional[int], size: int, wanted: Optional[int]) -> bytes:
    """Return so many bytes of a `struct sockaddr`, zeros for those cut off; b"" for none, or another family."""
    if not pointer:
        return b""
    length = size
    if _HAS_SOCKADDR_LENGTH:
        length, family = struct.unpack("BB", ctypes.string_at(pointer, 2))
    else:
        family = struct.unpack("=H", ctypes.string_at(pointer, 2))[0]
    if wanted is not None and family != wanted:
        return b""
    return bytes(ctypes.string_at(pointer, min(size, max(length, 2))).ljust(size, b"\0"))


def _ipv6_interface(name: str, raw: bytes, bits: str, can_broadcast: bool, is_loopback: bool) -> Interface:
    is_link_local = raw[0] == 0xFE and raw[1] & 0xC0 == 0x80
    if is_link_local:
        raw = raw[:2] + b"\0\0" + raw[4:]  # BSD's kernels keep the interface's number in there.
    address = socket.inet_ntop(socket.AF_INET6, raw) + (f"%{name}" if is_link_local else "")
    return Interface(name, address, bits, ALL_NODES if can_broadcast else "", is_loopback)


def _by_routes_of_ipv6() -> Iterator[Interface]:
    """Ask which address leads to each interface's own link, and which leads out."""
    try:
        links = [("fe80::1", index, name) for index, name in socket.if_nameindex()]
    except (AttributeError, OSError):
        links = []
    seen = set()
    for probe, index, name in [*links, *((host, 0, "") for host in _IPV6_ROUTE_PROBES)]:
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                sock.connect((probe, 9, 0, index))
                address = str(sock.getsockname()[0]).partition("%")[0]
                raw = socket.inet_pton(socket.AF_INET6, address)
        except (OSError, AttributeError):
            continue
        if (name, address) not in seen and address != "::1":
            seen.add((name, address))
            yield _ipv6_interface(name, raw, "", bool(name), False)


def addresses_out() -> Tuple[str, ...]:
    """Return the IPv4 addresses from which packets leave this machine, without repeats; none where no way leads out."""
    found: Dict[str, None] = {}
    for probe in _ROUTE_PROBES:
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.connect((probe, 9))
                found[sock.getsockname()[0]] = None
        except OSError:
            continue
    return tuple(found)


def _by_routes() -> Iterator[Interface]:
    for address in addresses_out():
        yield Interface(name="", address=address, is_loopback=address.startswith("127."))
