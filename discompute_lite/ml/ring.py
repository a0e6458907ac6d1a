"""Average one vector over several devices: what each sends to whom, as pieces come in.

Knows:   the way of every piece, what was sent and not acknowledged, and what is still to come.
Refuses: links, clocks, and how numbers are added (ml/sums.py does): pieces come in, pieces go out.
Read next: ml/sums.py (the arithmetic), roles/averaging.py (who moves the pieces).

Each piece goes once around the ring and collects the sum, and once more to bring it to all. The devices are
0 to N-1; of hop h of a piece with root r, the sender is (r+1+h) mod N and the receiver the next one:

    hop      0 to N-2        the sum so far; who gets hop N-2 is the root, and has the whole
             N-1 to 2N-3     the whole, as the root has it: the same bits everywhere

    N = 4, root 0:     1 -> 2 -> 3 -> 0 => 1 => 2 => 3           -> the sum so far   => the whole

Piece p has root p mod N, so all links are in use all the time and each device sends 2(N-1)/N of the vector, which is
the least there can be (Patarasuk and Yuan, 2009). Pieces do not wait for each other: while one is on its way the next
is added up. In a *chain* all pieces have one root, and stop there: that one goes on with the sum. In a *star*, for
devices of which not all can reach each other, the hub gets everybody's own (hop 0) and sends the whole back (hop 1).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import Any, Deque, Dict, List, NamedTuple, Set, Tuple

from ..model.errors import InvalidParams

RING, CHAIN, STAR = "ring", "chain", "star"
#: Pieces that may be on their way to one device, unacknowledged: one travels, and the next waits there.
UNACKNOWLEDGED_PIECES = 2


class AveragePlan(NamedTuple):
    """Say who takes part, the same for all of them."""

    #: In the order of the ring.
    members: Tuple[str, ...]
    shape: str = RING
    #: The root of a chain, or the hub of a star.
    root: int = 0


class SendPiece(NamedTuple):
    """Send a piece; the other end acknowledges it."""

    to: str
    piece: int
    hop: int
    data: Any


class AverageOver(NamedTuple):
    """All that this device had to do is done: where the plan says so, the whole is in its result."""


class PieceAverage(ABC):
    """Be one device in one average: what rings, chains and stars have in common."""

    def __init__(self, plan: AveragePlan, own_id: str, sums: Any) -> None:
        self._members, self._sums = plan.members, sums
        self._count = len(plan.members)
        self._own = plan.members.index(own_id)
        #: (index of the sender, piece, hop) of what is still to come.
        self._missing: Set[Tuple[int, int, int]] = {
            (index, piece, hop) for piece in range(sums.pieces) for index, hop in self._arrivals(piece)}
        self._waiting: Dict[str, Deque[SendPiece]] = {}
        #: Pieces sent to each and not acknowledged.
        self._on_way: Dict[str, int] = {}
        self.is_over = False
        self.sent_bytes = 0

    # ---- what happens --------------------------------------------------------------------------------

    def begin(self) -> List[Any]:
        """Return what is to be sent first."""
        actions: List[Any] = []
        for piece in range(self._sums.pieces):
            if self._count == 1:
                self._sums.finish(piece, self._sums.own(piece))
            else:
                actions += self._begin_piece(piece)
        return actions + self._maybe_over()

    def piece_came(self, sender: str, piece: int, hop: int, data: Any) -> List[Any]:
        """Take a piece; raise `InvalidParams` for one that this sender does not have for us."""
        index = self._members.index(sender) if sender in self._members else -1
        if not 0 <= piece < self._sums.pieces or (index, hop) not in self._arrivals(piece):
            raise InvalidParams("that piece is not on its way from you to here")
        if (index, piece, hop) not in self._missing:
            return []  # It was sent again, over another link.
        try:
            actions = self._took(index, piece, hop, data)
        except ValueError as problem:
            raise InvalidParams(f"the piece does not fit: {problem}") from None
        self._missing.discard((index, piece, hop))
        return actions + self._maybe_over()

    def acknowledged(self, member: str) -> List[Any]:
        """One piece has arrived there: the next may go."""
        self._on_way[member] -= 1
        return self._released(member) + self._maybe_over()

    def waits_for(self) -> List[str]:
        """Return the members whose pieces or acknowledgements are still to come."""
        senders = {index for index, _, _ in self._missing}
        return [member for index, member in enumerate(self._members)
                if index in senders or self._on_way.get(member) or self._waiting.get(member)]

    # ---- what each shape does otherwise ----------------------------------------------------------------

    @abstractmethod
    def _arrivals(self, piece: int) -> List[Tuple[int, int]]:
        """Return (index of the sender, hop) of each time that a piece comes here."""

    @abstractmethod
    def _begin_piece(self, piece: int) -> List[Any]:
        """Return what is to be sent of a piece before anything has come."""

    @abstractmethod
    def _took(self, index: int, piece: int, hop: int, data: Any) -> List[Any]:
        """Take a piece that was missing; return what is to be sent then. Raises ValueError for one of another size."""

    # ---- sending ---------------------------------------------------------------------------------------

    def _send(self, to: int, piece: int, hop: int, data: Any = None) -> List[Any]:
        """Send a piece when it is its turn; without data it is this device's own, computed then."""
        member = self._members[to]
        self._waiting.setdefault(member, deque()).append(SendPiece(member, piece, hop, data))
        return self._released(member)

    def _released(self, member: str) -> List[Any]:
        released: List[Any] = []
        waiting = self._waiting.get(member, deque())
        while waiting and self._on_way.get(member, 0) < UNACKNOWLEDGED_PIECES:
            send = waiting.popleft()
            if send.data is None:
                send = send._replace(data=self._sums.own(send.piece))
            self._on_way[member] = self._on_way.get(member, 0) + 1
            self.sent_bytes += len(send.data)
            released.append(send)
        return released

    def _maybe_over(self) -> List[Any]:
        is_busy = self._missing or any(self._on_way.values()) or any(self._waiting.values())
        if is_busy or self.is_over:
            return []
        self.is_over = True
        return [AverageOver()]


class RingAverage(PieceAverage):
    """Be one device of a ring; or of a chain, which is a ring whose pieces all have one root and stop there."""

    def __init__(self, plan: AveragePlan, own_id: str, sums: Any) -> None:
        self._root = None if plan.shape == RING else plan.root
        count = len(plan.members)
        self._last_hop = 2 * count - 3 if plan.shape == RING else count - 2
        super().__init__(plan, own_id, sums)

    def _arrivals(self, piece: int) -> List[Tuple[int, int]]:
        before = (self._own - 1) % self._count
        # The first hop by which this device's predecessor sends it, and the same one round later.
        first = (before - 1 - self._root_of(piece)) % self._count
        return [(before, hop) for hop in (first, first + self._count) if hop <= self._last_hop]

    def _begin_piece(self, piece: int) -> List[Any]:
        is_first = (self._root_of(piece) + 1) % self._count == self._own
        return self._send_on(piece, 0) if is_first else []

    def _took(self, index: int, piece: int, hop: int, data: Any) -> List[Any]:
        sums, rest = self._sums, self._last_hop - hop
        if hop > self._count - 2:
            sums.keep(piece, data)
            return self._send_on(piece, hop + 1, data) if rest else []
        total = sums.added(piece, data)
        if hop < self._count - 2:
            return self._send_on(piece, hop + 1, total)
        whole = sums.finish(piece, total)
        return self._send_on(piece, hop + 1, whole) if rest else []

    def _send_on(self, piece: int, hop: int, data: Any = None) -> List[Any]:
        return self._send((self._own + 1) % self._count, piece, hop, data)

    def _root_of(self, piece: int) -> int:
        return piece % self._count if self._root is None else self._root


class StarAverage(PieceAverage):
    """Be one device of a star, perhaps its hub."""

    def __init__(self, plan: AveragePlan, own_id: str, sums: Any) -> None:
        self._hub = plan.root
        #: At the hub: what has come of a piece, by the index of its sender.
        self._gathered: Dict[int, Dict[int, bytes]] = {}
        super().__init__(plan, own_id, sums)

    def _arrivals(self, piece: int) -> List[Tuple[int, int]]:
        if self._own == self._hub:
            return [(index, 0) for index in range(self._count) if index != self._hub]
        return [(self._hub, 1)]

    def _begin_piece(self, piece: int) -> List[Any]:
        return [] if self._own == self._hub else self._send(self._hub, piece, 0)

    def _took(self, index: int, piece: int, hop: int, data: Any) -> List[Any]:
        if self._own != self._hub:
            self._sums.keep(piece, data)
            return []
        gathered = self._gathered.setdefault(piece, {})
        # A copy: what came belongs to its message, which is gone after this.
        gathered[index] = bytes(data)
        if len(gathered) < self._count - 1:
            return []
        # In the members' order, whoever was first: the sum has the same bits each time.
        del self._gathered[piece]
        whole = self._sums.finish(piece, self._sums.all_added(piece, [gathered[each] for each in sorted(gathered)]))
        return [action for each in sorted(gathered) for action in self._send(each, piece, 1, whole)]


def average_of(plan: AveragePlan, own_id: str, sums: Any) -> PieceAverage:
    """Return one device's part in an average."""
    return StarAverage(plan, own_id, sums) if plan.shape == STAR else RingAverage(plan, own_id, sums)
