"""Say what a node needs of its own sockets: those of its transports, and those at which it is called.

Knows:   shapes.
Refuses: behaviour.
Read next: roles/keeper.py (who asks), net/own_sockets.py (who answers), roles/ports.py (the other Protocols).
"""

from __future__ import annotations

from typing import Any, Callable, List, Optional, Protocol, Sequence, Tuple


class TransportPort(Protocol):
    """Move beacons."""

    name: str
    interface_name: str

    def open(self, heard: Callable[[bytes, str, str], None]) -> None:
        """Listen; `heard(datagram, source, transport)`."""

    def reaches_anybody(self) -> bool:
        """Whether an announcement would go anywhere just now."""

    def announce(self, datagram: bytes) -> None:
        """Send to everybody whom this transport reaches."""

    def answer(self, datagram: bytes, address: str) -> None:
        """Send to one."""

    def targets(self) -> List[Any]:
        """Return the destinations of one announcement."""

    def trouble(self) -> List[str]:
        """Say in words what does not work just now."""

    def look(self) -> None:
        """Try the sockets: dead ones are rebuilt."""

    def renew(self) -> None:
        """Begin anew, with other sockets."""

    def close(self) -> None:
        """Stop."""


class SocketsPort(Protocol):
    """Hold the ports at which this node is called."""

    def listeners(self) -> Sequence[str]:
        """Return their names."""

    def when_failed(self, tell: Callable[[str, str], None]) -> None:
        """Let `tell(listener, reason)` hear of one that says that it is dead."""

    def addresses(self) -> Tuple[str, ...]:
        """Return this device's own addresses, as they are now."""

    def knock(self, name: str, on_knocked: Callable[[Optional[str]], None]) -> None:
        """Connect to one; later `on_knocked` gets "" or why it did not take that, None where nobody can tell."""

    def rebuild(self, name: str) -> str:
        """Open one anew; return what is in the way, or ""."""

    def look(self) -> None:
        """Try what else may have died: what is dead is replaced."""

    def renew(self) -> None:
        """Replace what else may have died."""
