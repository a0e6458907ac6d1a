"""Own the ports at which one node is called: open them, knock at them, and open them anew when they are dead.

Knows:   where peers and this machine's commands call, and which addresses this machine has.
Refuses: to decide when anything is to be repaired (core/upkeep.py does).
Read next: net/listener.py, net/knock.py, roles/keeper.py (who asks).
"""

from __future__ import annotations

import socket
from functools import partial
from typing import Any, Callable, Dict, List, Sequence, Tuple

from ..model.limits import Limits
from .addresses import error_words, is_link_local
from .interfaces import addresses_out, list_interfaces, list_ipv6
from .knock import KNOCK_S, OnKnocked, knock_at
from .listener import Guests, Listener, bind_host, open_ipv6_beside, open_listening_socket, stays_on_loopback
from .loop import Loop
from .receiver import Receiver
from .tls_door import TlsDoor

#: Seconds for which a look at the interfaces is believed while the same way leads out; own addresses told to others.
OWN_HOSTS_EVERY_S, OWN_HOSTS_TOLD = 15.0, 4
#: The names of the listeners.
PEERS_PORT, PEERS_IPV6_PORT, COMMANDS_PORT = "peers", "peers over IPv6", "commands"


class OwnSockets:
    """Hold one node's listeners; all methods belong to the loop's thread, or come before it runs."""

    def __init__(self, loop: Loop, bind: str) -> None:
        self._loop = loop
        self._bind = bind
        #: Until they are listeners: name -> socket.
        self._sockets: Dict[str, socket.socket] = {}
        self._listeners: Dict[str, Listener] = {}
        self._own_hosts: Tuple[List[str], float] = ([], 0.0)
        #: The addresses that were seen, by which ways out, and until when they are believed.
        self._seen: Tuple[Tuple[str, ...], Tuple[str, ...], float] = ((), (), 0.0)

    def open(self, port: int, may_move: bool, note: Callable[[str], None]) -> None:
        """Take the port, or where it `may_move` another one; raise SettingsError. `note` is told what is unexpected."""
        self._sockets[PEERS_PORT] = open_listening_socket(bind_host(self._bind), port, may_move)
        taken = self._sockets[PEERS_PORT].getsockname()[1]
        if port and taken != port:
            note(f"port {port} is taken; listening on {taken} instead")
        for sock in open_ipv6_beside(self._bind, taken):
            self._sockets[PEERS_IPV6_PORT] = sock
        if self._bind not in ("all", "127.0.0.1"):
            # Local commands call 127.0.0.1, which a socket bound to one other address does not hear.
            self._sockets[COMMANDS_PORT] = open_listening_socket("127.0.0.1", taken, True)
            control_port = self._sockets[COMMANDS_PORT].getsockname()[1]
            if control_port != taken:
                note(f"port {taken} of 127.0.0.1 is taken; this machine's commands use {control_port}")

    def serve(self, receiver: Receiver, limits: Limits, door: TlsDoor) -> None:
        """Accept connections from now on."""
        guests = Guests(limits)
        for name, sock in self._sockets.items():
            self._listeners[name] = Listener(self._loop, sock, receiver, limits, door, guests)

    @property
    def port(self) -> int:
        """Return the port at which peers call."""
        return self._listeners[PEERS_PORT].port

    @property
    def control_port(self) -> int:
        """Return the port of 127.0.0.1 at which this machine's commands reach the node."""
        return self._listeners.get(COMMANDS_PORT, self._listeners[PEERS_PORT]).port

    def own_hosts(self) -> List[str]:
        """Return the addresses under which other machines may call this one, the best first; IPv6 in brackets."""
        if self._bind != "all":
            return _hosts_of([self._bind])
        hosts, until = self._own_hosts
        if not hosts or self._loop.now() >= until:
            hosts = _hosts_of(self.addresses())
            self._own_hosts = hosts, self._loop.now() + OWN_HOSTS_EVERY_S
        return hosts

    def forget_connection(self, connection: Any) -> None:
        """Take a closed connection out of the counts."""
        for listener in self._listeners.values():
            listener.forget(connection)

    def stop_listening(self) -> None:
        """Take no more connections; those that there are stay."""
        for listener in self._listeners.values():
            listener.close()

    def close(self) -> None:
        """Close everything."""
        for listener in self._listeners.values():
            for connection in listener.connections():
                connection.close("the node was stopped")
        self.stop_listening()
        for sock in self._sockets.values():
            if sock.fileno() >= 0:
                sock.close()
        self._sockets.clear()

    # ---- what upkeep asks (roles/ports.py: SocketsPort) --------------------------------------------------------

    def listeners(self) -> List[str]:
        """Return the listeners' names."""
        return list(self._listeners)

    def when_failed(self, tell: Callable[[str, str], None]) -> None:
        """Let `tell(listener, reason)` hear of a listener whose socket says that it is dead."""
        for name, listener in self._listeners.items():
            listener.on_failed = partial(tell, name)

    def addresses(self) -> Tuple[str, ...]:
        """Return this machine's own addresses: those of IPv6 only where it has no other; none where no other matters.

        They are listed anew when packets would leave by another address than before, which costs a twentieth to see.
        """
        if stays_on_loopback(self._bind):
            return ()
        seen, ways_out, until = self._seen
        ways_now, now = addresses_out(), self._loop.now()
        if ways_now != ways_out or now >= until:
            seen = self._list_addresses()
            self._seen = seen, ways_now, now + OWN_HOSTS_EVERY_S
        return seen

    def _list_addresses(self) -> Tuple[str, ...]:
        items = list_interfaces() if ":" not in self._bind else []
        found = [item.address for item in items if not item.is_loopback]
        if not found:
            # The wider first: a link-local one is good for no other link, and on each end its interface has a name.
            others = [item.address for item in list_ipv6() if not item.is_loopback]
            found = sorted(others, key=is_link_local)
        if self._own_hosts[0] and self._bind == "all":
            self._own_hosts = _hosts_of(found), self._loop.now() + OWN_HOSTS_EVERY_S
        return tuple(dict.fromkeys(found))

    def knock(self, name: str, on_knocked: OnKnocked) -> None:
        """Connect to a listener; `on_knocked("")` when it took that, a reason when not, None when nobody can tell."""
        knock_at(self._loop, self._listeners[name], KNOCK_S, on_knocked)

    def rebuild(self, name: str) -> str:
        """Open a listener's own port anew; return what is in the way, or ""."""
        try:
            self._listeners[name].rebuild()
        except OSError as error:
            return f"port {self._listeners[name].port} cannot be opened ({error_words(error)})"
        return ""

    def look(self) -> None:
        """Try what wakes the loop, though nothing was heard of it."""
        self._loop.look_at_wakes()

    def renew(self) -> None:
        """Replace what wakes the loop: it may have gone like all other sockets."""
        self._loop.renew_wakes()


def _hosts_of(addresses: Sequence[str]) -> List[str]:
    """Return the first few as they are written before a port."""
    found = list(dict.fromkeys(addresses))[:OWN_HOSTS_TOLD] or ["127.0.0.1"]
    return [f"[{address}]" if ":" in address else address for address in found]
