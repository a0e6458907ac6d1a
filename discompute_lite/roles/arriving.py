"""Bring one thing here by ranges, from whoever has it; and let those wait who want a part of it meanwhile.

Knows:   whom to call for the next range, when to ask somebody else, who waits for which part, and when it is over.
Refuses: to keep bytes or to know whether they are the right ones (roles/blobs.py and roles/vectors.py do).
Read next: core/ranges.py (which range is next, and from whom).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, ClassVar, Dict, Iterable, List, Optional, Tuple

from ..core.ranges import RangeAsk, RangeFetch
from ..model.codec import from_json
from ..model.errors import DiscomputeError, InvalidParams, StateError

#: Seconds for one range, waiting for whoever has it himself from another included: then somebody else is asked.
RANGE_S = 30.0

#: Called with "" when what was wanted is here, else with the reason why it will not be.
OnHere = Callable[[str], None]


@dataclass(frozen=True)
class RangeAnswer:
    """Read of an answer what is the same for all that is fetched by ranges."""

    success: bool = False
    data: bytes = b""


def check_range(offset: int, size: int, whole: int, most: int) -> None:
    """Raise `InvalidParams` where nobody may ask for this range of something with `whole` bytes."""
    if not 0 < size <= most or not 0 <= offset <= whole - size:
        raise InvalidParams(f"a range has 1 to {most} bytes, of those that there are")


class Arriving(ABC):
    """Hold one thing that is on its way here, fetched or put; it is over when all is here, or when that is given up."""

    #: What it is called before people, and the method that is answered with a range of it.
    noun: ClassVar[str]
    method: ClassVar[str]

    def __init__(self, node: Any, names: Dict[str, Any], size: int, on_over: OnHere) -> None:
        """`names` are the parameters that say which one it is; `on_over` is told before all who wait."""
        self._node, self._names, self._on_over = node, names, on_over
        self.fetch = RangeFetch(size, node.settings_limits.blob_range_bytes, ())
        #: (how many bytes from the beginning on are wanted, whom to tell).
        self._waiting: List[Tuple[int, OnHere]] = []
        self.is_over = False

    @abstractmethod
    def keep(self, offset: int, piece: bytes) -> str:
        """Keep what follows on all before it; raise StateError where that fails.

        Return what is wrong with all that came, "" where nothing is: else it begins anew, at offset 0.
        """

    def when_here(self, end: int, on_here: OnHere) -> None:
        """Have somebody told when the bytes up to `end` are here."""
        self._waiting.append((end, on_here))

    def fetch_from(self, sources: Iterable[str]) -> None:
        """Have it fetched from these devices too, which have it or will."""
        self.fetch.add_sources(source for source in sources if source != self._node.id)
        self._node.clock.post(self._go_on)

    def put(self, piece: bytes) -> None:
        """Take the next piece from somebody who was not asked for it; raise StateError where it cannot be kept."""
        offset = self.fetch.received
        self.fetch.put(len(piece))
        self._add(offset, [piece])

    def give_up(self, problem: str) -> None:
        """Do without it: whoever waits is told why."""
        if not self.is_over:
            self._end(problem)

    def _go_on(self) -> None:
        """Ask for the next ranges."""
        while not self.is_over:
            asks = self.fetch.next_asks()
            if not asks:
                if self.fetch.is_hopeless:
                    self.give_up(f"none of the devices that have a {self.noun} can be reached")
                return
            for ask in asks:
                link = self._node.discovery.trusted_link_to(ask.source)
                if link is None:
                    self.fetch.failed(ask.source)
                    break
                params = {**self._names, "offset": ask.offset, "size": ask.size}
                link.call(self.method, params, partial(self._came, ask), timeout_s=RANGE_S, tell_timeout=True)

    def _came(self, ask: RangeAsk, result: Any, error: Optional[DiscomputeError]) -> None:
        if self.is_over:
            return
        answer = RangeAnswer()
        if error is None:
            with suppress(DiscomputeError):
                answer = from_json(RangeAnswer, result, f"the answer to {self.method}")
        if answer.success:
            offset = self.fetch.received
            with suppress(StateError):
                self._add(offset, self.fetch.arrived(ask, bytes(answer.data)))
        else:
            self.fetch.failed(ask.source)
        self._go_on()

    def _add(self, offset: int, pieces: List[bytes]) -> None:
        wrong = ""
        for piece in pieces:
            try:
                wrong = self.keep(offset, piece)
            except StateError as error:
                self.give_up(error.message)
                raise
            offset += len(piece)
        if wrong:
            self.fetch.begin_anew()
            if self.fetch.is_hopeless:
                self.give_up(wrong)
        elif self.fetch.is_complete:
            self._end("")
        else:
            self._tell("", self.fetch.received)

    def _end(self, problem: str) -> None:
        self.is_over = True
        self._on_over(problem)
        self._tell(problem, self.fetch.size)

    def _tell(self, problem: str, end: int) -> None:
        """Tell those who wait for bytes up to there; before it, since they may want more."""
        told = [on_here for wanted, on_here in self._waiting if wanted <= end]
        self._waiting = [each for each in self._waiting if each[0] > end]
        for on_here in told:
            on_here(problem)
