"""Try addresses: is somebody there, does something listen, and how long did it take to know?

Knows:   a connection that is given up at once, and what each way of failing says.
Refuses: to say a word to whoever answers (roles/greeter.py does), and to choose addresses (core/sweep.py does).
Read next: net/links.py (connections that are kept).
"""

from __future__ import annotations

import errno
import socket
from typing import Callable, List, Optional

from ..model.interface import Interface
from .addresses import error_name, is_loopback_host, split_address
from .interfaces import choose_interfaces, list_interfaces
from .links import connect_to
from .listener import stays_on_loopback
from .loop import Loop

#: called(outcome, name of the error or "", seconds), exactly once, later: open, refused, silent or unreachable.
OnTried = Callable[[str, str, float], None]
#: What says that a host is there and nothing listens, and what says nothing about it: no descriptor is left, say.
_REFUSED = ("ECONNREFUSED", "ECONNRESET", "WSAECONNREFUSED")
_SILENT = ("ETIMEDOUT", "WSAETIMEDOUT", "EMFILE", "ENFILE", "ENOBUFS")
#: Of the loopback only so much is swept: all of it is this machine.
LOOPBACK_MASK = "255.255.255.0"


class Prober:
    """Try addresses for one node."""

    def __init__(self, loop: Loop, bind: str, interface: str) -> None:
        self._loop = loop
        self._bind = bind
        self._interface = interface

    def networks(self) -> List[Interface]:
        """Return the addresses of this machine in whose networks devices may be looked for."""
        return swept_interfaces(self._bind, self._interface)

    def probe(self, address: str, timeout_s: float, tried: OnTried) -> None:
        """Connect to host:port, which is numeric, and hang up."""
        began = self._loop.now()

        def ended(sock: Optional[socket.socket], number: int) -> None:
            if sock is not None:
                sock.close()
            name = error_name(OSError(number, "")) if number else ""
            tried(outcome_of(name), name, self._loop.now() - began)

        host, port = split_address(address)
        if stays_on_loopback(self._bind) and not is_loopback_host(host):
            self._loop.post(ended, None, errno.ENETUNREACH)
            return
        connect_to(self._loop, host, port, timeout_s, ended)


def swept_interfaces(bind: str, wanted: str) -> List[Interface]:
    """Return the own addresses in whose networks a node with these settings may look for others."""
    if stays_on_loopback(bind):
        return [Interface("lo", bind, LOOPBACK_MASK, is_loopback=True)] if ":" not in bind else []
    found = [item for item in choose_interfaces(list_interfaces(), wanted) if not item.is_loopback]
    return [item for item in found if bind in ("all", item.address)]


def outcome_of(name: str) -> str:
    """Return what an error of a connection says about the other end; "" is no error."""
    if not name:
        return "open"
    return "refused" if name in _REFUSED else "silent" if name in _SILENT else "unreachable"
