"""Say which ranges of one thing are still to come, and whom to ask for them: blobs and vectors travel so.

Knows:   offsets, and the names of those who have it, the one to be asked first in front.
Refuses: bytes that are in order by now (whoever wants them keeps them), links and waiting (roles/arriving.py).
Read next: roles/arriving.py, core/blobs.py.
"""

from __future__ import annotations

from typing import Dict, Iterable, List, NamedTuple, Set

#: Ranges that are on their way at once: one is sent while the question for the next travels.
RANGES_AHEAD = 2
#: Others that are remembered as having it: names come from outside, and each is compared with those before it.
SOURCES_KNOWN = 64


class RangeAsk(NamedTuple):
    """Ask `source` for `size` bytes from `offset` on."""

    source: str
    offset: int
    size: int


class RangeFetch:
    """Bring one thing here: ranges in order, from the first source that there is, then from the next."""

    def __init__(self, size: int, range_bytes: int, sources: Iterable[str]) -> None:
        self.size = size
        self._range_bytes = range_bytes
        self._sources: List[str] = []
        self.add_sources(sources)
        #: Bytes that are here from the beginning on, without a gap.
        self.received = 0
        #: offset -> what was asked and has not come; offset -> what came before what stands in front of it.
        self._asked: Dict[int, RangeAsk] = {}
        self._early: Dict[int, bytes] = {}
        #: Whose bytes are among those received; "" stands for all who were not asked.
        self._suppliers: Set[str] = set()

    @property
    def is_complete(self) -> bool:
        """Whether all bytes are here."""
        return self.received == self.size

    @property
    def is_hopeless(self) -> bool:
        """Whether there is nobody left to ask."""
        return not self._sources and not self.is_complete

    @property
    def is_asking(self) -> bool:
        """Whether somebody was asked and has not answered."""
        return bool(self._asked)

    def add_sources(self, sources: Iterable[str]) -> None:
        """Take note of others who have it, or will."""
        for source in sources:
            if len(self._sources) >= SOURCES_KNOWN:
                return
            if source not in self._sources:
                self._sources.append(source)

    def next_asks(self) -> List[RangeAsk]:
        """Return what is to be asked now."""
        asks: List[RangeAsk] = []
        offset = self.received
        while self._sources and offset < self.size and len(self._asked) + len(self._early) < RANGES_AHEAD:
            size = min(self._range_bytes, self.size - offset)
            if offset not in self._asked and offset not in self._early:
                ask = self._asked[offset] = RangeAsk(self._sources[0], offset, size)
                asks.append(ask)
            offset += size
        return asks

    def put(self, size: int) -> None:
        """Take note of bytes that somebody brought without being asked, and that follow on those received.

        What was asked of others begins in the middle of them, or not where the next range will: it is asked anew.
        """
        self.received += size
        self._suppliers.add("")
        self._asked, self._early = {}, {}

    def arrived(self, ask: RangeAsk, data: bytes) -> List[bytes]:
        """Take an answer; return what follows now on what was received before. One of another length has failed."""
        if self._asked.get(ask.offset) != ask:
            return []  # Somebody else was asked meanwhile.
        if len(data) != ask.size:
            self.failed(ask.source)
            return []
        del self._asked[ask.offset]
        self._early[ask.offset] = data
        self._suppliers.add(ask.source)
        pieces: List[bytes] = []
        while self.received in self._early:
            piece = self._early.pop(self.received)
            pieces.append(piece)
            self.received += len(piece)
        return pieces

    def failed(self, source: str) -> None:
        """Do without a source; what it was asked for is to be asked again."""
        if source in self._sources:
            self._sources.remove(source)
        self._asked = {offset: ask for offset, ask in self._asked.items() if ask.source != source}

    def begin_anew(self) -> None:
        """Forget all bytes, and whoever gave some: together they are not what was wanted.

        Of several the last is kept, who is the owner: nobody knows whose were wrong, and it has its own.
        """
        blamed = [source for source in self._sources if source in self._suppliers]
        for source in blamed if len(self._suppliers) == 1 else blamed[:-1]:
            self.failed(source)
        self.received = 0
        self._asked, self._early, self._suppliers = {}, {}, set()

    def check(self) -> None:
        """Assert what always holds."""
        assert 0 <= self.received <= self.size
        assert len(self._asked) + len(self._early) <= RANGES_AHEAD
        assert not self._asked.keys() & self._early.keys()
        assert all(offset >= self.received for offset in (*self._asked, *self._early))
        assert all(ask.source in self._sources for ask in self._asked.values())
