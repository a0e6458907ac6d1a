"""Hear what a member says first over TLS, before anything is said to it.

Knows:   that who was called says `Hello` or why the caller may not stay, and nothing before that.
Refuses: to believe the id that a `Hello` names: it has to be the certificate's.
Read next: net/opening.py (the other side of this), net/links.py (who dials).
"""

from __future__ import annotations

from typing import Any, Callable, FrozenSet, Optional

from ..model.errors import DiscomputeError, LinkClosed, MethodNotFound, ProtocolError
from ..wire.rpc import CallReceived
from .receiver import Receiver

#: on_ready(connection, error): exactly one of both.
OnReady = Callable[[Any, Optional[DiscomputeError]], None]


class FirstWords:
    """Stand in for a dialled connection's `Receiver` until the first words; then give the connection over to it."""

    def __init__(self, receiver: Receiver, on_ready: OnReady) -> None:
        self._receiver = receiver
        self._on_ready: Optional[OnReady] = on_ready
        self.repeated_methods: FrozenSet[str] = receiver.repeated_methods

    def call_received(self, connection: Any, call: CallReceived) -> None:
        """Take the first words; what comes with them is for the receiver already."""
        on_ready, self._on_ready = self._on_ready, None
        if on_ready is None:
            self._receiver.call_received(connection, call)
            return
        hello = call.params if call.method == "Hello" and not call.wants_answer else None
        if not isinstance(hello, dict) or hello.get("node_id") != connection.verified_id:
            error = ProtocolError("the first word of a member is a Hello with its own id")
            connection.close(error.message)
            on_ready(None, error)
            return
        connection.receiver = self._receiver
        on_ready(connection, None)

    def admit_call(self, connection: Any, method: str) -> Optional[DiscomputeError]:
        """Refuse attachments of somebody who has not even said who it is."""
        return MethodNotFound("say Hello first")

    def connection_closed(self, connection: Any, reason: str) -> None:
        """It ended before its first words were complete, or with a refusal for its first words."""
        on_ready, self._on_ready = self._on_ready, None
        if on_ready is not None:
            on_ready(None, connection.broken_by or LinkClosed(f"{connection.remote_address} ended it: {reason}"))

    def request_received(self, connection: Any, request: Any) -> None:
        """Pass it on; whom we dial sends answers, not requests."""
        self._receiver.request_received(connection, request)

    def admit_request(self, connection: Any, head: Any) -> Any:
        """Pass it on."""
        return self._receiver.admit_request(connection, head)
