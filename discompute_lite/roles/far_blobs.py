"""Keep the values that a script has put at the node beside which it runs, and put them again where that is another.

Knows:   the bytes of each, how often it was put, how much of it the node has.
Refuses: to bring them to devices (roles/blobs.py does, at the node).
Read next: roles/script_calls.py (the other end), roles/far_streams.py (the calls that name them), beside.py.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional

from ..model.errors import DiscomputeError, LinkError
from .ports import Later, LinkPort


class FarBlob:
    """Hold one value that was put: as much of its text as has come, and how much of that the node has."""

    __slots__ = ("size", "text", "uses", "there")

    def __init__(self, size: int) -> None:
        self.size = size
        self.text = bytearray()
        self.uses = 0
        self.there = 0


class FarBlobs:
    """Be to a script what a node's blobs are; all methods belong to the loop's thread."""

    def __init__(self, range_bytes: int) -> None:
        self._range_bytes = range_bytes
        self._blobs: Dict[str, FarBlob] = {}
        #: Who has all of them; None while that is nobody.
        self._link: Optional[LinkPort] = None
        self._own: Any = None

    def keep_own(self, sha256: str, size: int, offset: int, data: bytes) -> Later:
        """Take the next range of a value; the first one counts as a use. Fails where the node has no room."""
        later = Later()
        blob = self._blobs.get(sha256)
        if blob is None:
            blob = self._blobs[sha256] = FarBlob(size)
        blob.uses += not offset
        if offset < len(blob.text):
            later.resolve(None)
            return later
        blob.text += data
        if self._own is not None:
            self._own.keep_own(sha256, size, offset, data)
            later.resolve(None)
        elif self._link is not None:
            self._send(self._link, sha256, blob, lambda error: self._kept(sha256, later, error))
        else:
            # The next who carries the calls is given it first.
            later.resolve(None)
        return later

    def release_own(self, sha256: str) -> None:
        """Take back a use of a value: where that was the last, it is deleted everywhere."""
        blob = self._blobs.get(sha256)
        if blob is None:
            return  # It could not be kept.
        blob.uses -= 1
        if blob.uses > 0:
            return
        del self._blobs[sha256]
        if self._own is not None:
            self._own.release_own(sha256)
        elif self._link is not None:
            self._link.notify("ReleaseBlob", {"sha256": sha256})

    def broadcast(self, sha256: str) -> None:
        """Have every device fetch a value, in the background."""
        if self._own is not None:
            self._own.broadcast(sha256)
        elif self._link is not None:
            self._link.notify("SpreadBlob", {"sha256": sha256})

    def _kept(self, sha256: str, later: Later, error: Optional[DiscomputeError]) -> None:
        if error is None:
            later.resolve(None)
        else:
            self._blobs.pop(sha256, None)
            later.fail(error)

    # ---- who has them -----------------------------------------------------------------------------

    def move_to(self, link: LinkPort, done: Callable[[], None]) -> None:
        """Give all values to another node, one range after the other; `done()` when it has them, or is gone."""
        for blob in self._blobs.values():
            blob.there = 0
        self._give_next(link, done)

    def move_to_own(self, blobs: Any) -> None:
        """Give all values to a node of the script's own; raise StateError where there is no room."""
        for sha256, blob in self._blobs.items():
            for offset in range(0, len(blob.text), self._range_bytes):
                blobs.keep_own(sha256, blob.size, offset, bytes(blob.text[offset:offset + self._range_bytes]))
        self._link, self._own = None, blobs

    def put_down(self) -> None:
        """Nobody has them but this script."""
        self._link = None

    def _give_next(self, link: LinkPort, done: Callable[[], None]) -> None:
        for sha256, blob in self._blobs.items():
            if blob.there < len(blob.text):
                self._send(link, sha256, blob, lambda error: self._given(link, done, error))
                return
        self._link = link
        done()

    def _given(self, link: LinkPort, done: Callable[[], None], error: Optional[DiscomputeError]) -> None:
        # What that node has no room for, calls there will miss: they say so.
        if link.is_closed:
            done()
        else:
            self._give_next(link, done)

    def _send(
        self, link: LinkPort, sha256: str, blob: FarBlob, answered: Callable[[Optional[DiscomputeError]], None]
    ) -> None:
        """Send the next range; a node that is gone is no reason to fail, the next one gets it too."""
        offset = blob.there
        data = bytes(blob.text[offset:offset + self._range_bytes])
        blob.there += len(data)
        params = {"sha256": sha256, "size": blob.size, "offset": offset, "data": data}
        link.call("KeepBlob", params,
                  lambda result, error: answered(None if isinstance(error, LinkError) else error))
