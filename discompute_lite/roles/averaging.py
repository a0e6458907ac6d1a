"""Take part in averages between devices: move the pieces over the links that there are, and notice who does not.

Knows:   the averages under way here, and when each last got on.
Refuses: to choose who takes part, and to try again without whoever vanished: the training's leader does both.
Read next: ml/ring.py (which piece goes where), roles/vectors.py (where vectors lie), faces/averaging.py (the leader).
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any, Deque, Dict, List, NamedTuple, Optional, Sequence

from ..core.events import TellDead, TellLeft, TellRestarted, TellSuspect
from ..ml.compression import COMPRESSION_WORDS, TOP_K, Compression
from ..ml.ring import CHAIN, RING, STAR, AverageOver, AveragePlan, PieceAverage, average_of
from ..ml.sums import SumMemory, VectorShare, VectorSums, is_numpy_worth_it, remainder_form, vector_sums
from ..ml.vectors import VectorForm
from ..model.errors import CallTimeout, DiscomputeError, Forbidden, InvalidParams, MethodNotFound, StateError
from ..model.limits import KIB, MIB
from .ports import Later, LinkPort, TimerPort
from .vectors import Vectors
from .vector_methods import AverageAnswer, AverageWish, VectorAnswer

#: Bytes of a piece at most: a heartbeat waits behind two of them, and each costs a call, whose code the numbers before
#: it have driven out of the processor's caches. Memory for as much as 2 MiB would not be used again (net/memory.py).
SUM_PIECE_BYTES = 2 * MIB - 64 * KIB
#: Pieces for each member at least, so that all links are in use while sums are computed.
PIECES_A_MEMBER = 4
#: Seconds within which a piece must be acknowledged. Devices that are silent altogether are noticed by heartbeats.
PIECE_S = 20.0
#: Seconds without any progress after which an average has failed, though nobody can be blamed.
STALL_S = 30.0
STALL_LOOK_S = 5.0
#: Seconds until a piece is sent again that came too early, or whose link was lost; doubled each time, up to the most.
RESEND_S, RESEND_MOST_S = 0.005, 0.5
#: Seconds for which that is done; and without any link, which is dialled anew at once where it can be.
RESEND_FOR_S, LINKLESS_S = 5.0, 2.0
#: Pieces of averages that have not begun here yet which are kept until they do, all together, and for how many seconds:
#: the members begin one after another, and to send two pieces twice costs more than to keep them.
EARLY_PIECES, EARLY_S = 8, 1.0
#: Names of averages that are over here, remembered for whoever did not hear that a piece had come.
AVERAGES_KEPT = 64
MEMBERS_MOST = 1024


class RunningAverage:
    """Hold one average that is under way here."""

    def __init__(self, wish: AverageWish, part: PieceAverage, later: Later, now: float) -> None:
        self.wish, self.part, self.later = wish, part, later
        self.began_at = self.moved_at = now
        #: Wakes up to see whether it still moves; cancelled at its end, since it holds the memory of all shares.
        self.look: Optional[TimerPort] = None


class EarlyPiece(NamedTuple):
    """Hold a piece of an average that has not begun here yet."""

    link: LinkPort
    name: str
    piece: int
    hop: int
    data: Any
    later: Later


class Averaging:
    """Take part in the averages of one node."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self.vectors = Vectors(node, self.training_over)
        #: By the name of the result.
        self._running: Dict[str, RunningAverage] = {}
        self._early: List[EarlyPiece] = []
        self._over: Deque[str] = deque(maxlen=AVERAGES_KEPT)

    # ---- what the leader asks --------------------------------------------------------------------------

    def begin(self, link: Optional[LinkPort], wish: AverageWish) -> Later:
        """Take part in an average; the answer comes when this device's part is done, or cannot be."""
        vectors = self.vectors
        vectors.check_led(link, wish.name)
        form, plan = self._checked(wish)
        vectors.drop_all(wish.drops, vectors.training_of(wish.name))
        later = Later()
        if wish.name in self._running:
            raise InvalidParams("that average is under way; give each one its own name")
        try:
            sums = self._sums(wish, form, plan)
        except StateError as problem:
            later.resolve(AverageAnswer(False, problem.message, [self._node.id]))
            return later
        running = RunningAverage(wish, average_of(plan, self._node.id, sums), later, self._node.clock.now())
        self._running[wish.name] = running
        self._look_later(running)
        try:
            self._do(running, running.part.begin())
        except StateError as problem:
            self._fail(running, problem.message, [self._node.id])
        self._take_early(running)
        return later

    def stop(self, link: Optional[LinkPort], name: str) -> VectorAnswer:
        """Give up an average."""
        self.vectors.check_led(link, name)
        running = self._running.get(name)
        if running is None:
            return VectorAnswer(False, "no such average is under way")
        self._fail(running, "it was stopped")
        return VectorAnswer(True, "stopped")

    # ---- what other members send -----------------------------------------------------------------------

    def piece_came(self, link: LinkPort, name: str, piece: int, hop: int, data: Any) -> Any:
        """Take a piece; raise `Forbidden` where its sender is no member, InvalidParams where it has no such piece."""
        running = self._running.get(name)
        if running is None:
            if name in self._over:
                return VectorAnswer(True, "")
            return self._keep_early(EarlyPiece(link, name, piece, hop, data, Later()))
        sender = self.vectors.caller(link)
        if sender not in running.wish.members:
            raise Forbidden("only devices that take part in an average may send pieces of it", {"rule": "training"})
        try:
            actions = running.part.piece_came(sender, piece, hop, data)
        except StateError as problem:
            self._fail(running, problem.message, [self._node.id])
            return VectorAnswer(False, problem.message)
        running.moved_at = self._node.clock.now()
        # Acknowledged first: the next one can come while this one goes on.
        self._node.clock.post(self._do, running, actions)
        return VectorAnswer(True, "")

    # ---- what the node tells ---------------------------------------------------------------------------

    def membership_changed(self, news: Any) -> None:
        """A device is gone, and with it the trainings that it leads; or it is silent."""
        if isinstance(news, (TellRestarted, TellDead, TellLeft)):
            self._do_without(news.device_id, "a device was lost")
            self.vectors.device_lost(news.device_id)
        elif isinstance(news, TellSuspect) and self.has_average_with(news.device_id):
            # Perhaps only a link broke: it has a moment to come back.
            self._node.clock.call_later(LINKLESS_S, self._judge, news.device_id)

    def training_over(self, training_id: str) -> None:
        """Nobody wants the averages of a training any more."""
        for name, running in list(self._running.items()):
            if name.startswith(training_id):
                self._fail(running, "the training is over")

    def has_average_with(self, device_id: str) -> bool:
        """Whether an average with that device is under way, so that its silence matters."""
        return any(device_id in running.wish.members for running in self._running.values())

    # ---- inside ----------------------------------------------------------------------------------------

    def _checked(self, wish: AverageWish) -> Any:
        members = tuple(wish.members)
        if self._node.id not in members or len(set(members)) < len(members) or len(members) > MEMBERS_MOST:
            raise InvalidParams("members are different devices, this one among them")
        if wish.shape not in (RING, CHAIN, STAR) or not 0 <= wish.root < len(members):
            raise InvalidParams(f"shape is {RING}, {CHAIN} or {STAR}, and root is the place of a member")
        if wish.code not in ("f", "d") or wish.numbers < 1 or len(wish.shares) != len(wish.weights):
            raise InvalidParams("code is f or d, there is a number at least, and each share has a weight")
        most = SUM_PIECE_BYTES // VectorForm(wish.code, wish.numbers).item_bytes
        if not 0 <= wish.piece <= most:
            raise InvalidParams(f"a piece has {most} numbers at most, and 0 is for as many as suit the members")
        named = [*wish.shares, *filter(None, (wish.start, wish.residual, wish.remainder))]
        if any(self.vectors.training_of(name) != self.vectors.training_of(wish.name) for name in named):
            raise InvalidParams("all vectors of an average belong to one training")
        if wish.compression not in ("", *COMPRESSION_WORDS) or not 0.0 < wish.top_k <= 1.0:
            raise InvalidParams(f"compression is one of {', '.join(COMPRESSION_WORDS)}, top_k above 0 and 1 at most")
        return VectorForm(wish.code, wish.numbers), AveragePlan(members, wish.shape, wish.root)

    def _sums(self, wish: AverageWish, form: VectorForm, plan: AveragePlan) -> VectorSums:
        """Return what adds up; raise StateError where something is not here, or has no room."""
        vectors = self.vectors
        shares = [VectorShare(weight, vectors.find(name, form.size))
                  for name, weight in zip(wish.shares, wish.weights)]
        has_result = plan.shape != CHAIN or plan.members[plan.root] == self._node.id
        start = vectors.find(wish.start, form.size) if wish.start and has_result else None
        if any(share.memory is None for share in shares) or (start is None and wish.start and has_result):
            raise StateError("a share is not here")
        result = vectors.make_to_write(wish.name, form.size) if has_result else None
        left_out = remainder_form(form, wide=wish.is_wide)
        # What was left out earlier went with whoever had it, where that device was away.
        residual = vectors.find(wish.residual, left_out.size) if wish.residual else None
        keeps = wish.compression == TOP_K and wish.remainder and (shares or residual is not None)
        remainder = vectors.make(wish.remainder, left_out.size) if keeps else None
        return vector_sums(
            form, shares, result, wish.piece or piece_numbers(form, len(plan.members)), wide=wish.is_wide,
            with_numpy=is_numpy_worth_it(form.numbers), compression=Compression(wish.compression, wish.top_k),
            beside=SumMemory(start, residual, remainder, self._node.world.allocate))

    def _keep_early(self, early: EarlyPiece) -> Any:
        if self.vectors.training_of(early.name) not in self.vectors.trainings or len(self._early) >= EARLY_PIECES:
            return _too_early()
        self._early.append(early)
        self._node.clock.call_later(EARLY_S, self._give_back, early.later)
        return early.later

    def _give_back(self, later: Later) -> None:
        """Have a piece sent again whose average did not begin; the timer knows it by its answer, to hold no memory."""
        if any(each.later is later for each in self._early):
            self._early = [each for each in self._early if each.later is not later]
            later.resolve(_too_early())

    def _take_early(self, running: RunningAverage) -> None:
        for early in [each for each in self._early if each.name == running.wish.name]:
            if self._running.get(early.name) is not running:
                return
            self._early = [each for each in self._early if each is not early]
            try:
                answer = self.piece_came(early.link, early.name, early.piece, early.hop, early.data)
            except DiscomputeError as error:
                early.later.fail(error)
            else:
                early.later.resolve(answer)

    def _do(self, running: RunningAverage, actions: Sequence[Any]) -> None:
        for action in actions:
            if self._running.get(running.wish.name) is not running:
                return
            if isinstance(action, AverageOver):
                self._end(running)
            else:
                self._send(running, action, self._node.clock.now(), RESEND_S)

    def _send(self, running: RunningAverage, send: Any, since: float, again_s: float) -> None:
        if self._running.get(running.wish.name) is not running:
            return
        link = self._node.discovery.trusted_link_to(send.to)
        if link is not None:
            params = {"name": running.wish.name, "piece": send.piece, "hop": send.hop, "data": send.data}
            link.call("AveragePiece", params, partial(self._sent, running, send, since, again_s), timeout_s=PIECE_S,
                      tell_timeout=True)
        elif self._node.clock.now() - since >= LINKLESS_S:
            self._fail(running, "there is no link to a device that takes part", (), [send.to])
        else:
            self._node.discovery.want_link(send.to)
            self._node.clock.call_later(again_s, self._send, running, send, since, min(2 * again_s, RESEND_MOST_S))

    def _sent(
        self, running: RunningAverage, send: Any, since: float, again_s: float, result: Any,
        error: Optional[DiscomputeError],
    ) -> None:
        if self._running.get(running.wish.name) is not running:
            return
        now = self._node.clock.now()
        if error is None and isinstance(result, dict) and result.get("success"):
            running.moved_at = now
            self._do(running, running.part.acknowledged(send.to))
        elif isinstance(error, (CallTimeout, MethodNotFound, InvalidParams, Forbidden)) or now - since > RESEND_FOR_S:
            self._fail(running, error.message if error else "a device does not take part", [send.to])
        else:
            # It has not heard of the average yet, or the link was lost, which may come back.
            self._node.clock.call_later(again_s, self._send, running, send, since, min(2 * again_s, RESEND_MOST_S))

    def _judge(self, device_id: str) -> None:
        known = self._node.discovery.registry.get(device_id)
        if known is None or known.state.value != "alive":
            self._do_without(device_id, "a device is silent")

    def _do_without(self, device_id: str, reason: str) -> None:
        for running in list(self._running.values()):
            if device_id in running.wish.members:
                self._fail(running, reason, [device_id])

    def _look(self, running: RunningAverage) -> None:
        if self._running.get(running.wish.name) is running:
            if self._node.clock.now() - running.moved_at > STALL_S:
                self._fail(running, "nothing moves any more")
            else:
                self._look_later(running)

    def _look_later(self, running: RunningAverage) -> None:
        running.look = self._node.clock.call_later(STALL_LOOK_S, self._look, running)

    def _forget(self, running: RunningAverage) -> None:
        del self._running[running.wish.name]
        if running.look is not None:
            running.look.cancel()
            running.look = None

    def _end(self, running: RunningAverage) -> None:
        self._forget(running)
        self._over.append(running.wish.name)
        seconds = self._node.clock.now() - running.began_at
        running.later.resolve(AverageAnswer(True, "", [], [], running.part.sent_bytes, seconds))

    def _fail(
        self, running: RunningAverage, reason: str, lost: Sequence[str] = (), unreached: Sequence[str] = ()
    ) -> None:
        self._forget(running)
        for name in filter(None, (running.wish.name, running.wish.remainder)):
            self.vectors.drop(name)
        running.later.resolve(AverageAnswer(False, reason, list(lost), list(unreached)))


def piece_numbers(form: VectorForm, members: int) -> int:
    """Return how many numbers a piece has: as many pieces for each member, so that no link has more to carry."""
    pieces = max(PIECES_A_MEMBER, -(-form.size // (SUM_PIECE_BYTES * members))) * members
    return -(-form.numbers // pieces)


def _too_early() -> VectorAnswer:
    return VectorAnswer(False, "that average is not under way here; send it again in a moment")
