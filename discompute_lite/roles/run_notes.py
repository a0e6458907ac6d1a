"""Write into the audit log what ran here for others, with the hash of what was sent.

Knows:   how much may be hashed at a time: a large piece of work must not hold up who else is served.
Refuses: to keep anybody waiting for a line of the log.
Read next: roles/worker.py (whose work it is), core/audit_log.py (the lines).
"""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Any, Deque, Dict, Tuple, Union

from ..model.limits import MIB

#: Bytes hashed in one go: under a millisecond.
HASHED_AT_ONCE = 1 * MIB


class RunNotes:
    """Make the notes of one node, in the order in which work ended."""

    def __init__(self, node: Any) -> None:
        self._node = node
        #: Notes to be made; of the first one so many bytes have been hashed.
        self._waiting: Deque[Tuple[Dict[str, Any], memoryview]] = deque()
        self._hashed = 0
        self._digest = hashlib.sha256()

    def ended(self, facts: Dict[str, Any], sent: Union[bytes, bytearray, memoryview]) -> None:
        """Work for another device has ended."""
        self._waiting.append((facts, memoryview(sent)))
        if len(self._waiting) == 1:
            self._go_on()

    def finish(self) -> None:
        """Make all notes now: there may be no later."""
        while self._waiting:
            self._hash_some()

    def _go_on(self) -> None:
        if self._waiting and not self._hash_some():
            self._node.clock.post(self._go_on)
        elif self._waiting:
            self._go_on()

    def _hash_some(self) -> bool:
        """Hash as much as may be at a time; return whether a note could be made of it."""
        facts, sent = self._waiting[0]
        self._digest.update(sent[self._hashed:self._hashed + HASHED_AT_ONCE])
        self._hashed += HASHED_AT_ONCE
        if self._hashed < len(sent):
            return False
        self._waiting.popleft()
        self._node.world.audit.note("ran", {**facts, "size": len(sent), "data": self._digest.hexdigest()})
        self._hashed, self._digest = 0, hashlib.sha256()
        return True
