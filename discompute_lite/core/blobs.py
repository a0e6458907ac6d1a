"""Keep the books of blobs: which are here and may go, and whom each device is to ask for one.

Knows:   sizes, orders and names.
Refuses: bytes on a disk (a port has them), hashes, links and waiting (roles/blobs.py).
Read next: core/ranges.py (how one comes here), roles/blobs.py.

A blob is a value that many calls take. Devices fetch it by ranges, each from the one that it was told, and pass on
what they have of it meanwhile: so the devices make a tree, in the order in which they first needed it.

               owner
              /     \\
          first     second
          /   \\     /
     third  fourth fifth
"""

from __future__ import annotations

from typing import Dict, List, Optional, Set

#: Devices that have a blob from one other, in the first place: with two the last of 1,000 devices is ten steps away.
FANOUT = 2
#: Others that a device is told of, for when the one that it asks first is gone; the owner is told besides.
SPARE_SOURCES = 3


class BlobTakers:
    """Say whom each device is to ask for one blob; whoever owns the blob keeps these."""

    def __init__(self, owner_id: str) -> None:
        self._owner_id = owner_id
        #: Devices that were told to fetch it, in that order.
        self._takers: List[str] = []

    def sources_for(self, device_id: str) -> List[str]:
        """Return whom a device is to ask, in order. None was told later than itself: so nobody waits in a circle."""
        if device_id not in self._takers:
            self._takers.append(device_id)
        place = self._takers.index(device_id)
        parent = place // FANOUT - 1
        sources = [self._takers[parent]] if parent >= 0 else [self._owner_id]
        earlier = [each for each in self._takers[:place][::-1] if each not in sources]
        sources += earlier[:SPARE_SOURCES]
        return sources if self._owner_id in sources else [*sources, self._owner_id]

    def devices(self) -> List[str]:
        """Return the devices that were told to fetch it."""
        return list(self._takers)

    def lost(self, device_id: str) -> None:
        """Send nobody to a device that is gone."""
        if device_id in self._takers:
            self._takers.remove(device_id)


class ShelvedBlob:
    """Hold what is known of a blob that is here, wholly or in part."""

    __slots__ = ("size", "owners", "uses")

    def __init__(self, size: int) -> None:
        self.size = size
        #: Devices whose calls need it: while they are there, it may be needed again.
        self.owners: Set[str] = set()
        #: What needs it just now: it stays.
        self.uses = 0


class BlobShelf:
    """Hold blobs within bounds: what nobody uses makes room, what was used longest ago first."""

    def __init__(self, most_bytes: int, most_blobs: int) -> None:
        self._most_bytes = most_bytes
        self._most_blobs = most_blobs
        self.bytes = 0
        #: hash -> blob; what was used last stands last. Each has an owner, or is used.
        self.blobs: Dict[str, ShelvedBlob] = {}

    def place(self, sha256: str, size: int) -> Optional[List[str]]:
        """Give a new blob a place, used once; return those that went for it, None where there is no room."""
        going: List[str] = []
        room, places = self._most_bytes - self.bytes, self._most_blobs - len(self.blobs)
        for other, blob in self.blobs.items():
            if room >= size and places > 0:
                break
            if not blob.uses:
                going.append(other)
                room, places = room + blob.size, places + 1
        if room < size or places <= 0:
            return None
        for other in going:
            self._remove(other)
        self.blobs[sha256] = ShelvedBlob(size)
        self.bytes += size
        self.use(sha256)
        return going

    def use(self, sha256: str) -> None:
        """Keep a blob for something that needs it."""
        blob = self.blobs.pop(sha256)
        blob.uses += 1
        self.blobs[sha256] = blob

    def release(self, sha256: str) -> List[str]:
        """Take back one `use`; return the blob if it is gone with that."""
        self.blobs[sha256].uses -= 1
        return self._gone([sha256])

    def disown(self, owner: str, sha256: str = "") -> List[str]:
        """Let an owner need one blob no more, or none of all; return those that are gone with that."""
        hashes = [sha256] if sha256 else list(self.blobs)
        owned = [each for each in hashes if each in self.blobs and owner in self.blobs[each].owners]
        for each in owned:
            self.blobs[each].owners.discard(owner)
        return self._gone(owned)

    def forget(self, sha256: str) -> None:
        """Do without a blob that could not be had, whoever needs it; one that has gone already is fine."""
        if sha256 in self.blobs:
            self._remove(sha256)

    def _gone(self, hashes: List[str]) -> List[str]:
        gone = [each for each in hashes if not self.blobs[each].uses and not self.blobs[each].owners]
        for each in gone:
            self._remove(each)
        return gone

    def _remove(self, sha256: str) -> None:
        self.bytes -= self.blobs.pop(sha256).size

    def check(self) -> None:
        """Assert what always holds."""
        assert self.bytes == sum(blob.size for blob in self.blobs.values()) <= self._most_bytes
        assert len(self.blobs) <= self._most_blobs
        assert all(blob.uses > 0 or (blob.uses == 0 and blob.owners) for blob in self.blobs.values())
