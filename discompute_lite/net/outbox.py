"""Hold what is still to be sent over one socket, and send as much as it takes.

Knows:   a non-blocking socket, pieces in order, and which answers the other side has not taken yet.
Refuses: to wait, to close, to say what the bytes mean.
Read next: net/stream.py (whose buffer this is).
"""

from __future__ import annotations

import socket
from collections import deque
from typing import Any, Deque, List, Optional, Sequence, Tuple

from ..model.limits import KIB, MIB
from ..wire.framing import Buffer
from ..wire.rpc import RpcSession

#: Pieces below this size are joined before they are written: two writes cost more than one copy.
JOIN_BYTES = 64 * KIB
#: What one connection may write before the others get their turn.
WRITE_TURN_BYTES = 8 * MIB
#: Answers that a peer may leave unread, when much waits for it, while it owes us answers itself. Two nodes that each
#: send large results must both go on reading, or both wait for ever; nobody who owes us nothing gets this.
UNREAD_ANSWERS = 64


class Outbox:
    """Send pieces in order; those that wait are kept as views, and large ones are never copied."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock: Any = sock
        self._pieces: Deque[memoryview] = deque()
        #: Bytes that wait; zero exactly when `_pieces` is empty.
        self.waiting_bytes = 0
        #: Bytes ever given; and for each time that some had to wait: (bytes given, answers made) by then.
        self._given_bytes = 0
        self._marks: Deque[Tuple[int, int]] = deque()
        #: Answers that have left this process: at most those made.
        self._answers_sent = 0

    def is_left_unread(self, session: Optional[RpcSession], most_bytes: int) -> bool:
        """Whether the other side, which speaks RPC or HTTP, has to read before more of it is taken."""
        if self.waiting_bytes <= most_bytes:
            return False
        if session is None:
            return True
        return self.unsent_answers(session.answers_made) > (UNREAD_ANSWERS if session.is_waiting else 0)

    def unsent_answers(self, answers_made: int) -> int:
        """Return how many answers have not left yet, when so many have been made."""
        return answers_made - self._answers_sent if self._pieces else 0

    def send(self, pieces: Sequence[Buffer], answers_made: int = 0) -> None:
        """Send pieces after those that wait, as far as the socket takes them; raise OSError when it is dead.

        `answers_made` counts the answers of this connection, those in `pieces` included.
        """
        if not self._pieces and len(pieces) == 1:
            # The hot path: one small message, an idle socket, one system call.
            sent = self._write(pieces[0])
            if sent == len(pieces[0]):
                self._answers_sent = answers_made
                return
            pieces = [memoryview(pieces[0])[sent:]]
        size = sum(map(len, pieces))
        self._pieces.extend(joined_pieces(pieces))
        self.waiting_bytes += size
        self._given_bytes += size
        self._marks.append((self._given_bytes, answers_made))
        self.push()

    def push(self) -> bool:
        """Go on sending; return whether the socket took anything; raise OSError when it is dead."""
        before, budget = self.waiting_bytes, WRITE_TURN_BYTES
        while self._pieces and budget > 0:
            piece = self._pieces[0]
            sent = self._write(piece)
            if not sent:
                break
            budget -= sent
            self.waiting_bytes -= sent
            if sent == len(piece):
                self._pieces.popleft()
            else:
                self._pieces[0] = piece[sent:]
        gone = self._given_bytes - self.waiting_bytes
        while self._marks and self._marks[0][0] <= gone:
            self._answers_sent = self._marks.popleft()[1]
        return self.waiting_bytes < before

    def use(self, sock: Any) -> None:
        """Send what is given from now on through something else that sends; nothing waits."""
        self._sock = sock

    def clear(self) -> None:
        """Forget what waits."""
        self._pieces.clear()
        self._marks.clear()
        self.waiting_bytes = 0

    def _write(self, piece: Buffer) -> int:
        try:
            return self._sock.send(piece)
        except (BlockingIOError, InterruptedError):
            return 0


def joined_pieces(pieces: Sequence[Buffer]) -> List[memoryview]:
    """Join neighbouring small pieces; large ones stay as they are, uncopied; empty ones vanish."""
    result: List[memoryview] = []
    small: List[Buffer] = []
    for piece in pieces:
        if len(piece) < JOIN_BYTES:
            if piece:
                small.append(piece)
            continue
        if small:
            result.append(memoryview(b"".join(small)))
            small = []
        result.append(memoryview(piece))
    if small:
        result.append(memoryview(b"".join(small)))
    return result
