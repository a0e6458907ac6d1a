"""Keep one answer's place in the order of the requests, whether it comes in one go or piece by piece.

Knows:   that nothing of an answer leaves before those ahead of it; chunks as RFC 9112, 7.1 frames them.
Refuses: heads and statuses (wire/http_answer.py).
Read next: wire/http.py (whose order it is).
"""

from __future__ import annotations

from typing import Any, List, Optional


class HttpReply:
    """Hold what of one answer has not left yet; `data` is a whole answer that is there already."""

    def __init__(self, request: Any, data: Optional[bytes] = None) -> None:
        self.request = request
        self._pieces: List[bytes] = [] if data is None else [data]
        #: Nothing will be added: once the pieces have left, it is the next one's turn.
        self.is_whole = data is not None
        #: Its head is there, and not all that follows.
        self.is_begun = False

    def complete(self, data: bytes) -> None:
        """Give the answer, or its last piece."""
        self._pieces.append(data)
        self.is_whole, self.is_begun = True, False

    def begin(self, head: bytes) -> None:
        """Give the head of an answer whose pieces follow."""
        self._pieces.append(head)
        self.is_begun = True

    def add(self, data: bytes) -> None:
        """Give one more piece."""
        self._pieces.append(data)

    def take(self) -> List[bytes]:
        """Return what may leave now, each piece once."""
        pieces, self._pieces = self._pieces, []
        return pieces


class HttpStream:
    """Send an answer piece by piece; whoever has the connection flushes it."""

    def __init__(self, reply: HttpReply, *, in_chunks: bool) -> None:
        self._reply = reply
        self._in_chunks = in_chunks

    @property
    def is_over(self) -> bool:
        """Whether its end was given."""
        return self._reply.is_whole

    def send(self, data: bytes) -> None:
        """Give one piece; none after the end. An empty one is nothing: as a chunk it would be the end."""
        if data and not self.is_over:
            self._reply.add(b"%x\r\n%b\r\n" % (len(data), data) if self._in_chunks else data)

    def end(self) -> None:
        """Say that it is over; a second time changes nothing."""
        if not self.is_over:
            self._reply.complete(b"0\r\n\r\n" if self._in_chunks else b"")
