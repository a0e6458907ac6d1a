"""Make the sockets of this package: each of the right family, and none that could end the process.

Knows:   IPv4 and IPv6, the interface behind a link-local address, SO_NOSIGPIPE of Apple's systems, and that a number
         may have become another socket's.
Refuses: to wait, to listen, to say a word: whoever asks for a socket does that.
Read next: net/links.py (dials), net/listener.py (accepts), net/datagrams.py (UDP).

Apple's systems send SIGPIPE to whoever writes to a connection that is gone, which ends an app that has not said that it
does not care; a socket of theirs can be told not to. Other systems have no such option: there Python ignores SIGPIPE.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from typing import Any, Optional, Tuple

from .addresses import is_link_local
from .interfaces import list_ipv6

#: SO_NOSIGPIPE of <sys/socket.h>, which few Pythons name; 0 where there is none.
_NO_SIGPIPE = getattr(socket, "SO_NOSIGPIPE", 0x1022 if sys.platform in ("darwin", "ios") else 0)

#: Linux: a socket hears only the groups that it has joined itself.
_IPV6_MULTICAST_ALL = 29


def new_socket(host: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Return a socket for an address such as `host`, "" for any of IPv4; raise OSError as the system does."""
    return spare_process(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind))


def accept_from(listening: socket.socket) -> Tuple[socket.socket, Tuple[Any, ...]]:
    """Return the next connection with the address that it comes from; raise OSError as the system does."""
    sock, address = listening.accept()
    return spare_process(sock), address


def call_and_wait(host: str, port: int, timeout_s: float) -> socket.socket:
    """Return a connection to a name or an address; raise OSError or ValueError."""
    if is_link_local(host):
        sock = new_socket(host)
        try:
            sock.settimeout(timeout_s)
            sock.connect(socket_address(host, port))
        except BaseException:
            sock.close()
            raise
        return sock
    return spare_process(socket.create_connection((host, port), timeout=timeout_s))


def wake_pair() -> Tuple[socket.socket, socket.socket]:
    """Return two sockets that talk to each other within this process."""
    receiver, sender = socket.socketpair()
    return spare_process(receiver), spare_process(sender)


def spare_process(sock: socket.socket) -> socket.socket:
    """Let writing to a dead connection be an error and no signal, where the system needs to be told; return `sock`."""
    if _NO_SIGPIPE:
        try:
            sock.setsockopt(socket.SOL_SOCKET, _NO_SIGPIPE, 1)
        except OSError:
            pass  # One that died on the way says so by itself; a system without the option knows no better.
    return sock


def let_go_if_taken(sock: socket.socket, local: Any, remote: Any = None) -> None:
    """Let go of a socket's number where that is another one's by now, so that closing does not close a stranger.

    The system takes sockets away while an app sleeps, without a word, and gives their numbers to whatever is opened
    next. `local` and `remote` are the names that the socket had; of one that is dead the system may know them no more.
    """
    try:
        now_at = sock.getsockname()
        is_taken = now_at != local and not (isinstance(now_at, tuple) and now_at[1] == 0)
        if not is_taken and remote is not None:
            # A listener has the address of what it accepted.
            is_taken = bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)) or sock.getpeername() != remote
    except OSError as error:
        is_taken = error.errno in (errno.EBADF, errno.ENOTSOCK)
    if is_taken:
        sock.detach()


def socket_address(host: str, port: int) -> Tuple[Any, ...]:
    """Return what `bind`, `connect` and `sendto` take for a numeric address.

    They do not read the interface behind a link-local one themselves. Raise OSError where it is not known.
    """
    if not is_link_local(host):
        return host, port
    address, _, zone = host.partition("%")
    return address, port, 0, zone_index(zone)


def zone_index(zone: str) -> int:
    """Return the number of an interface; "", or the name of another device's, means the only one that there is."""
    if zone.isdigit():
        return int(zone)
    index = _index_of(zone) if zone else None
    if index is None:
        zones = {item.address.partition("%")[2] for item in list_ipv6() if "%" in item.address and item.broadcast}
        index = _index_of(zones.pop()) if len(zones) == 1 else None
    if index is None:
        raise OSError(0, "which interface leads there is not said")
    return index


def join_ipv6_group(sock: socket.socket, group: str, interface: str) -> None:
    """Prepare a socket of IPv6 that is to speak and hear on one interface; raise OSError."""
    index = zone_index(interface)
    for option, value in ((socket.IPV6_MULTICAST_IF, index), (socket.IPV6_MULTICAST_HOPS, 255),
                          (socket.IPV6_UNICAST_HOPS, 255), (socket.IPV6_MULTICAST_LOOP, 1)):
        sock.setsockopt(socket.IPPROTO_IPV6, option, value)
    membership = struct.pack("=16sI", socket.inet_pton(socket.AF_INET6, group), index)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
    try:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
    except OSError:
        pass  # Elsewhere that is so anyway.


def _index_of(zone: str) -> Optional[int]:
    try:
        return int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
    except (OSError, AttributeError):
        return None
