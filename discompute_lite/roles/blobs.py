"""Bring values that many calls take to the devices that need them, once each, and from device to device.

Knows:   the blobs that are here or on their way, who needs them, and whom each device is to ask.
Refuses: to know what is in a blob (tasks/calls.py reads it); to keep the bytes (`BlobBytesPort` does).
Read next: core/blobs.py (the books), roles/arriving.py (how one comes), roles/blob_methods.py (the calls),
           roles/worker.py (who needs them).

Who sends a subtask says in its `lite.blobs` which it needs and whom to ask: [[sha256, size, [device, …]], …].
"""

from __future__ import annotations

import hashlib
import re
from functools import partial
from typing import Any, Dict, Iterable, List, NamedTuple, Tuple

from ..core.blobs import BlobShelf, BlobTakers
from ..model.device import short_id
from ..model.errors import DiscomputeError, InvalidParams, StateError
from ..tasks.blob_values import blobs_in
from .arriving import Arriving, OnHere, check_range
from .blob_methods import GetBlobAnswer, HasBlobAnswer, PutBlobAnswer
from .ports import Later, LinkPort

#: Sources that are heeded of those that a sender names, and blobs of one subtask.
SOURCES_HEEDED, NEEDS_HEEDED = 8, 256
_SHA256 = re.compile("[0-9a-f]{64}")


class BlobNeed(NamedTuple):
    """Say which blob is needed, and whom to ask for it."""

    sha256: str
    size: int
    sources: Tuple[str, ...]


class ArrivingBlob(Arriving):
    """Write a blob that is on its way here, and hold it to its hash when all of it has come."""

    noun, method = "blob", "GetBlob"

    def __init__(self, node: Any, sha256: str, size: int, on_over: OnHere) -> None:
        super().__init__(node, {"sha256": sha256}, size, on_over)
        self._sha256, self._digest = sha256, hashlib.sha256()

    def keep(self, offset: int, piece: bytes) -> str:
        """Append a piece to what is on the disk."""
        self._node.world.blob_bytes.append(self._sha256, piece)
        self._digest.update(piece)
        if offset + len(piece) < self.fetch.size or self._digest.hexdigest() == self._sha256:
            return ""
        self._node.count("blobs_wrong")
        self._node.world.blob_bytes.remove(self._sha256)
        self._digest = hashlib.sha256()
        return f"the bytes of the blob {short_id(self._sha256)} are not those of its hash; put it again"


class Blobs:
    """Hold the blobs of one node."""

    def __init__(self, node: Any) -> None:
        self._node = node
        limits = node.settings_limits
        self.shelf = BlobShelf(limits.blob_bytes, limits.blobs)
        self._range_bytes = limits.blob_range_bytes
        self._bytes = node.world.blob_bytes
        #: Exactly those on the shelf that are not complete.
        self._arriving: Dict[str, ArrivingBlob] = {}
        #: Of blobs of our own: how often they were put and not released.
        self._own: Dict[str, int] = {}
        #: Of blobs that came from here: whom each device is to ask.
        self._takers: Dict[str, BlobTakers] = {}

    # ---- what this node's own calls need -----------------------------------------------------------

    def keep_own(self, sha256: str, size: int, offset: int, data: bytes) -> None:
        """Take the next range of a blob of ours; the first one counts as a use. Raise InvalidParams or StateError."""
        if not offset:
            if sha256 in self.shelf.blobs:
                self.shelf.use(sha256)
            else:
                self._begin(sha256, size)
            self._own[sha256] = self._own.get(sha256, 0) + 1
        arriving = self._arriving.get(sha256)
        if arriving is not None and offset == arriving.fetch.received:
            self._take_put(arriving, data)

    def release_own(self, sha256: str) -> None:
        """Take back a use of a blob of ours: where that was the last, it is deleted here and wherever it went."""
        left = self._own.pop(sha256, 0) - 1
        if left < 0:
            return  # It could not be kept.
        self.release([sha256])
        if left:
            self._own[sha256] = left
            return
        takers = self._takers.pop(sha256, None)
        for device_id in takers.devices() if takers is not None else ():
            link = self._node.link_for_work(device_id)
            if link is not None:
                link.call("DropBlob", {"sha256": sha256}, lambda result, error: None)

    def notes_for(self, data: bytes, device_id: str) -> Dict[str, Any]:
        """Return what a subtask's `lite` says of the blobs that its data name."""
        needs = [
            [sha256, self.shelf.blobs[sha256].size, self._sources_for(sha256, device_id)]
            for sha256 in blobs_in(data) if sha256 in self.shelf.blobs
        ]
        return {"blobs": needs} if needs else {}

    def broadcast(self, sha256: str) -> None:
        """Have every device that may be given work fetch a blob of ours, in the background."""
        for known in self._node.discovery.registry.devices():
            link = self._node.link_for_work(known.device_id)
            if link is not None and sha256 in self.shelf.blobs:
                params = {"sha256": sha256, "size": self.shelf.blobs[sha256].size,
                          "sources": self._sources_for(sha256, known.device_id)}
                link.call("PutBlob", params, lambda result, error: None)

    def _sources_for(self, sha256: str, device_id: str) -> List[str]:
        if device_id == self._node.id:
            return []
        return self._takers.setdefault(sha256, BlobTakers(self._node.id)).sources_for(device_id)

    # ---- what work here needs -----------------------------------------------------------------------

    def fetch(self, needs: List[BlobNeed], owner: str, done: OnHere) -> None:
        """Have all of these here, each used once until `release`; `done(reason)` comes once, now or later."""
        held: List[str] = []
        missing = {need.sha256 for need in needs}
        is_over = not needs

        def came(sha256: str, problem: str) -> None:
            nonlocal is_over
            missing.discard(sha256)
            if is_over or (missing and not problem):
                return
            is_over = True
            if problem:
                # What could not be had is on no shelf.
                self.release(each for each in held if each != sha256)
            done(problem)

        if is_over:
            done("")
        for sha256, need in {need.sha256: need for need in needs}.items():
            if is_over:
                return
            held.append(sha256)
            try:
                self._need(need, owner, partial(came, sha256))
            except DiscomputeError as error:
                came(sha256, error.message)

    def release(self, hashes: Iterable[str]) -> None:
        """Take back one use of each."""
        for sha256 in hashes:
            if sha256 in self.shelf.blobs:
                self._removed(self.shelf.release(sha256))

    def lend(self, hashes: Iterable[str]) -> Tuple[Tuple[str, Any], ...]:
        """Return what a worker process reads these blobs from."""
        return tuple((each, self._bytes.source(each)) for each in hashes
                     if each in self.shelf.blobs and each not in self._arriving)

    def _need(self, need: BlobNeed, owner: str, came: OnHere) -> None:
        if need.sha256 not in self.shelf.blobs:
            self._begin(need.sha256, need.size)
        else:
            self.shelf.use(need.sha256)
        if owner != self._node.id:
            self.shelf.blobs[need.sha256].owners.add(owner)
        arriving = self._arriving.get(need.sha256)
        if arriving is None:
            came("")
            return
        arriving.when_here(arriving.fetch.size, came)
        arriving.fetch_from(need.sources)

    # ---- what other devices ask ---------------------------------------------------------------------

    def put(
        self, link: LinkPort, sha256: str, size: int, offset: int, data: bytes, sources: List[str]
    ) -> Any:
        """Take a range, or fetch the whole from others."""
        owner = link.verified_id or link.peer.node_id
        who = self._node.belonging.sender_of(link)
        refusal = self._node.rules.refusal_of_data(who) if who is not None else None
        if refusal is not None:
            raise refusal
        need = checked_need(sha256, size, sources)
        if sources:
            later = Later()
            self.fetch([need], owner, lambda problem: self._put_ended(later, need, problem))
            return later
        if sha256 not in self.shelf.blobs:
            self._begin(sha256, size)
            self.shelf.blobs[sha256].owners.add(owner)
            self.shelf.release(sha256)
        self.shelf.blobs[sha256].owners.add(owner)
        arriving = self._arriving.get(sha256)
        if arriving is None:
            return PutBlobAnswer(True, "it is here", size)
        if arriving.fetch.is_asking or offset != arriving.fetch.received or arriving.fetch.size != size:
            is_fetched = "it is being fetched" if arriving.fetch.is_asking else "go on from what is here"
            return PutBlobAnswer(False, is_fetched, arriving.fetch.received)
        self._take_put(arriving, data)
        if sha256 not in self.shelf.blobs:
            return PutBlobAnswer(False, "these are not the bytes of that hash; put them again")
        return PutBlobAnswer(True, "kept", offset + len(data))

    def read_range(self, sha256: str, offset: int, size: int) -> Any:
        """Return a range of a blob, when it is here."""
        blob, arriving = self.shelf.blobs.get(sha256), self._arriving.get(sha256)
        if blob is None:
            return GetBlobAnswer(False, "that blob is not here; ask another device")
        check_range(offset, size, blob.size, self._range_bytes)
        if arriving is None or offset + size <= arriving.fetch.received:
            return self._range(sha256, offset, size)
        later = Later()

        def answer(problem: str) -> None:
            if problem:
                later.resolve(GetBlobAnswer(False, problem))
                return
            try:
                later.resolve(self._range(sha256, offset, size))
            except StateError as error:
                later.fail(error)

        arriving.when_here(offset + size, answer)
        return later

    def state_of(self, sha256: str) -> HasBlobAnswer:
        """Say how much of a blob is here."""
        blob, arriving = self.shelf.blobs.get(sha256), self._arriving.get(sha256)
        if blob is None:
            return HasBlobAnswer()
        return HasBlobAnswer(True, blob.size, blob.size if arriving is None else arriving.fetch.received)

    def disowned(self, owner: str, sha256: str) -> bool:
        """An owner needs a blob no more; return whether it did."""
        blob = self.shelf.blobs.get(sha256)
        was_owner = blob is not None and owner in blob.owners
        if was_owner:
            self._removed(self.shelf.disown(owner, sha256))
        return was_owner

    def device_lost(self, device_id: str) -> None:
        """A device is gone: nobody is sent to it, and what it alone needed is deleted."""
        for takers in self._takers.values():
            takers.lost(device_id)
        self._removed(self.shelf.disown(device_id))

    def _put_ended(self, later: Later, need: BlobNeed, problem: str) -> None:
        if not problem:
            self.release([need.sha256])
        later.resolve(PutBlobAnswer(not problem, problem or "it is here", 0 if problem else need.size))

    def _range(self, sha256: str, offset: int, size: int) -> GetBlobAnswer:
        return GetBlobAnswer(True, "", self.shelf.blobs[sha256].size, self._bytes.read(sha256, offset, size))

    # ---- arriving -----------------------------------------------------------------------------------

    def _begin(self, sha256: str, size: int) -> None:
        """Give a blob that is not here a place, used once; raise StateError where there is no room."""
        going = self.shelf.place(sha256, size)
        if going is None:
            most = self._node.settings_limits.blob_bytes
            raise StateError(f"there is no room for a blob of {size} bytes beside those in use ({most} bytes at most)",
                             "raise limits: {blob_bytes: …} there")
        self._removed(going)
        self._arriving[sha256] = ArrivingBlob(self._node, sha256, size, partial(self._ended, sha256))

    def _take_put(self, arriving: ArrivingBlob, data: bytes) -> None:
        fetch = arriving.fetch
        if not 0 < len(data) <= min(self._range_bytes, fetch.size - fetch.received):
            raise InvalidParams(f"a range has 1 to {self._range_bytes} bytes, and ends with the blob")
        arriving.put(data)

    def _ended(self, sha256: str, problem: str) -> None:
        """A blob is here, or will not be."""
        del self._arriving[sha256]
        if problem:
            self._own.pop(sha256, None)
            self.shelf.forget(sha256)
            self._bytes.remove(sha256)

    def _removed(self, hashes: List[str]) -> None:
        """Forget what has left the shelf."""
        for sha256 in hashes:
            if sha256 in self._arriving:
                self._arriving[sha256].give_up("that blob is here no more; ask another device")
            else:
                self._bytes.remove(sha256)


def checked_need(sha256: Any, size: Any, sources: Any) -> BlobNeed:
    """Return a need as somebody else said it; raise InvalidParams."""
    if not (type(sha256) is str and _SHA256.fullmatch(sha256) and type(size) is int and size > 0):
        raise InvalidParams("a blob is named by its SHA-256 in hexadecimal, and its size is positive")
    named = sources if isinstance(sources, (list, tuple)) else ()
    return BlobNeed(sha256, size, tuple(each for each in named if type(each) is str)[:SOURCES_HEEDED])


def needs_of(lite: Dict[str, Any]) -> List[BlobNeed]:
    """Return which blobs a subtask needs, by its `lite`; raise InvalidParams."""
    said = lite.get("blobs") or []
    if not isinstance(said, list) or len(said) > NEEDS_HEEDED or not all(
            isinstance(each, list) and len(each) == 3 for each in said):
        raise InvalidParams(f"lite.blobs is a list of at most {NEEDS_HEEDED} [sha256, size, sources]")
    return [checked_need(*each) for each in said]
