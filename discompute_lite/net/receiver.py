"""Say what a connection needs from whoever owns it.

Knows:   the shapes of four questions and one farewell.
Refuses: behaviour; roles/node.py answers.
Read next: net/stream.py (who asks).
"""

from __future__ import annotations

from typing import Any, Callable, FrozenSet, Optional, Protocol

from ..model.errors import DiscomputeError
from ..wire.http import HttpRequest
from ..wire.rpc import CallReceived

#: on_reply(result, error): exactly one of both means something.
ReplyCallback = Callable[[Any, Optional[DiscomputeError]], None]


class Receiver(Protocol):
    """Own connections; `connection` is a net/stream.py `Connection` everywhere."""

    #: Methods whose calls come again and again with the same parameters, which it leaves as they are.
    repeated_methods: FrozenSet[str]

    def call_received(self, connection: Any, call: CallReceived) -> None:
        """Answer `call`, now or later."""

    def request_received(self, connection: Any, request: HttpRequest) -> None:
        """Answer an HTTP request by `connection.http.answer`, then `connection.flush()`."""

    def admit_call(self, connection: Any, method: str) -> Optional[DiscomputeError]:
        """Say whether attachments of a call to `method` may be read at all."""

    def admit_request(self, connection: Any, head: Any) -> Any:
        """Say whether the body of an HTTP request may be read at all."""

    def connection_closed(self, connection: Any, reason: str) -> None:
        """Forget the connection."""
