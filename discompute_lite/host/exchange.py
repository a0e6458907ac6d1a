"""Send one request to a child and take its one outcome, step by step, so that a thread or the loop can wait between.

Knows:   what of the request is still to be written and what of the outcome has come.
Refuses: to wait, and to know why a pipe has ended (host/child_process.py finds out).
Read next: host/child_process.py (who waits with a poll), host/loop_lane.py (who waits with the loop).
"""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Optional

from ..tasks.work import WORK_LIMITS, WorkOutcome, WorkRequest
from .child import FRAME_PREFIX, pack_request, unpack_outcome

#: Bytes that are joined rather than written one after the other.
FRAME_PIECE_BYTES = 65536
#: Bytes that are read at once where no more are known of: room for what most calls return.
FRAME_FIRST_BYTES = 8192
#: The longest frame that is read: data that could not be sent on would fill this node's memory for nothing. As much
#: again is room for what was printed.
OUTCOME_BYTES = 2 * WORK_LIMITS.message_bytes
#: Most bytes read at once.
FRAME_READ_BYTES = 1 << 20


class Exchange:
    """Hold one request on its way and its outcome on the way back; a pipe that would block raises BlockingIOError.

    Who writes or reads is whoever has claimed it: one at a time, and nobody any more once it has left the lane.
    """

    def __init__(self, request: WorkRequest, wall_s: float) -> None:
        """Raise ValueError where the request is too long for a frame."""
        head, data = pack_request(request)
        pieces = [head + data] if len(data) <= FRAME_PIECE_BYTES else [data, head]
        #: What is still to be written, the next piece last.
        self._unsent: List[memoryview] = [memoryview(piece) for piece in pieces]
        self._received = bytearray()
        #: Bytes of the whole frame that is due; 0 until its length has come.
        self._wanted = 0
        self._wall_s = wall_s
        self.start_clock()
        #: How much of the request has been written.
        self.sent_bytes = 0
        #: The loop watches for its outcome, or may do so; for whoever has claimed it.
        self.is_watched = False
        #: Whose outcome it is.
        self.future: Any = None
        #: Another request lies behind this one: what comes after the outcome is the next one's.
        self.is_followed = False
        #: Why it cannot go on, where whoever found out has left the rest to another.
        self.problem: Optional[Exception] = None
        #: It is done, or the slot's thread's: whoever has claimed it keeps it.
        self.has_left = False
        #: Under the one key there is, who has claimed it.
        self._claims: Dict[str, object] = {}

    def claim(self, who: object) -> bool:
        """Let `who` go on with this, unless somebody else does; any thread may ask. Return whether it is theirs."""
        # One step of the interpreter: of two threads one comes first, and a signal comes before it or after.
        return self._claims.setdefault("", who) is who

    def is_claimed_by(self, who: object) -> bool:
        """Whether it is theirs: `claim` may have been interrupted before it could say so."""
        return self._claims.get("") is who

    def release(self) -> None:
        """Let others go on with this."""
        self._claims.clear()

    def start_clock(self) -> None:
        """Let its time begin now."""
        self.began_at = time.monotonic()
        #: When it is overdue, monotonic seconds.
        self.deadline = self.began_at + self._wall_s

    @property
    def is_sent(self) -> bool:
        """Whether the whole request has been written."""
        return not self._unsent

    def write(self, fd: int) -> None:
        """Write all that is left; what the pipe does not take stays left."""
        while self._unsent:
            piece, sent = self._unsent.pop(), 0
            try:
                sent = os.write(fd, piece)
            finally:
                self.sent_bytes += sent
                if sent < len(piece):
                    self._unsent.append(piece[sent:])

    @property
    def left_bytes(self) -> int:
        """Return how much of the outcome is still to come, as far as is known."""
        return self._wanted - len(self._received)

    def read(self, fd: int) -> Optional[WorkOutcome]:
        """Read once; return the outcome when it is complete. Raises EOFError at the pipe's end, ValueError for junk."""
        if self.is_followed:
            most = self.left_bytes if self._wanted else FRAME_PREFIX - len(self._received)
        else:
            # One byte more than is due: a frame that is followed by anything is none.
            most = max(self.left_bytes + 1, FRAME_FIRST_BYTES)
        chunk = os.read(fd, min(most, FRAME_READ_BYTES))
        if not chunk:
            raise EOFError
        received = self._received
        received += chunk
        if not self._wanted and len(received) >= FRAME_PREFIX:
            self._wanted = FRAME_PREFIX + int.from_bytes(received[:FRAME_PREFIX], "big")
            if self._wanted > OUTCOME_BYTES:
                raise ValueError("no outcome is so long")
        if not self._wanted or len(received) < self._wanted:
            return None
        if len(received) > self._wanted:
            raise ValueError("more than one frame")
        try:
            return unpack_outcome(received, FRAME_PREFIX)
        except TypeError:
            raise ValueError("no outcome") from None
