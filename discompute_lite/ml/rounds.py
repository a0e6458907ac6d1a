"""Lead a training through its rounds: who does which steps, when a round is over, and what the state is then.

Knows:   orders and shares, quorum and deadline, devices that leave and join.
Refuses: clocks, devices, files. Events come in with `now`, actions go out; `state` is the newest at any time.
Read next: ml/strategies.py (what a share becomes), ml/crew.py (who gets which shards), ml/workbench.py (what an order
         does on its device).

A round of most strategies: every member gets an order, and the round ends when all shares have come; or when those
of a quorum have, and as long again as they needed has passed. Orders of members that left go to the others where a
quorum would not be reached, and are left out where it is. In a reproducible training each shard is an order of its
own for whoever is free, and every one of them is waited for.

Where shares stay on their devices, which average them among themselves, a round is over when that is done: the
driver does it and tells what came of it.

An order of a device whose pace is not known, among others, is bounded in time: it makes as many of its steps as fit.
So the first round is short, and nobody idles in it whose step is shorter than that; and who joins later, or was late,
is ready with the rest however slow it is.

A strategy that merges each share gives its member the next order at once; such a round is as many merges as members.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from .crew import Crew, levelled_steps
from .shares import Share, mean_metrics
from .strategies import Strategy

#: The part of a round's steps that must have come before it may end without the rest.
QUORUM = 0.7
#: How long the rest is waited for, as a part of the time until the quorum; and at least so many seconds.
PATIENCE = 1.0
PATIENCE_LEAST_S = 0.25
#: Seconds for an order of the first round, in which nobody's pace is known: about as long as processes take to start.
FIRST_ROUND_S = 0.25


class Order(NamedTuple):
    """Ask one member for some steps from a state."""

    id: int
    #: Who is to do it; "" for whoever is free.
    member: str
    round: int
    #: How many changes the state had seen when the order was given.
    version: int
    shards: Tuple[int, ...]
    steps: int
    #: Seconds that the steps may take, one step at least; 0 for any.
    within_s: float = 0.0


class MembersJoined(NamedTuple):
    """Devices, or places of them, can take part."""

    #: By member what compares it with the others.
    scores: Dict[str, float]


class MemberLeft(NamedTuple):
    """A device cannot take part any more."""

    member: str


class ShareCame(NamedTuple):
    """An order has been carried out."""

    order_id: int
    share: Share
    #: Who carried it out.
    by: str


class OrderLost(NamedTuple):
    """An order will not be carried out where it is."""

    order_id: int


class TimePassed(NamedTuple):
    """Nothing came, but a deadline has."""


class GiveOrder(NamedTuple):
    """Have an order carried out, from the state as it is while these actions are done."""

    order: Order


class WithdrawOrder(NamedTuple):
    """What an order would bring is not wanted any more."""

    order_id: int


class CombineShares(NamedTuple):
    """Have these shares averaged where they are; until `SharesCombined` there are no orders."""

    #: In the order of their shards.
    shares: Tuple[Tuple[Order, Share], ...]


class SharesCombined(NamedTuple):
    """Shares have been averaged, or could not be: then `mean` is None, and the round is made once more."""

    mean: Any
    #: Ids of the orders whose shares are not in it.
    lost: Tuple[int, ...] = ()


class RoundClosed(NamedTuple):
    """A round is over: its figures."""

    round: int
    seconds: float
    #: Seconds of computing by the member that was busy longest (where orders are anybody's, by each on average), and
    #: those until it could begin: its process was started and given the job, if it is new, and loaded data.
    compute_s: float
    starting_s: float
    samples: int
    metrics: Dict[str, float]
    #: Samples by member.
    shares: Dict[str, int]
    #: Members whose share came too late, or not at all.
    missing: Tuple[str, ...]


class TrainingPlan(NamedTuple):
    """Hold what does not change in a training."""

    strategy: Strategy
    optimizer: Optional[Any]
    shards: int
    rounds: int
    is_reproducible: bool = False
    #: Shares stay on their devices: a driver has them averaged.
    is_averaged_there: bool = False


class TrainingRounds:
    """Lead a training; a driver applies events and does what the actions say."""

    def __init__(self, plan: TrainingPlan, state: Any, memory: Any, rounds_done: int = 0) -> None:
        self.state = state
        self.memory = memory
        self.rounds_done = rounds_done
        #: Changes of the state.
        self.version = 0
        self.crew = Crew(plan.shards)
        self._plan = plan
        self._orders: Dict[int, Order] = {}
        self._next_id = 1
        #: The shares of this round by the order of their shards.
        self._came: List[Tuple[Order, Share, str]] = []
        #: By member the seconds until it could begin.
        self._starting: Dict[str, float] = {}
        #: Seconds of this round, each counted as often as there were members, until a moment.
        self._member_s, self._counted_until = 0.0, 0.0
        #: Orders that nobody is there for.
        self._left_over: List[Order] = []
        self._missing: List[str] = []
        self._is_combining = False
        self._began_at: Optional[float] = None
        self._quorum_at: Optional[float] = None
        self._steps_wanted = 0
        self._apply: Dict[type, Callable[[Any, float], List[Any]]] = {
            MembersJoined: self._joined, MemberLeft: self._left, ShareCame: self._share_came,
            OrderLost: self._order_lost, SharesCombined: self._combined,
            TimePassed: lambda event, now: self._maybe_close(now),
        }

    @property
    def is_over(self) -> bool:
        """Whether all rounds have been made."""
        return self.rounds_done >= self._plan.rounds

    def apply(self, event: Any, now: float) -> List[Any]:
        """Return what is to be done after an event."""
        self._member_s += len(self.crew) * (now - self._counted_until)
        self._counted_until = now
        return self._apply[type(event)](event, now)

    def next_deadline(self) -> Optional[float]:
        """Return when the round ends though not all has come; None while there is no such time."""
        if self._quorum_at is None or self._began_at is None or self._plan.is_reproducible or self._is_combining:
            return None
        waited = self._quorum_at - self._began_at
        return self._quorum_at + max(PATIENCE * waited, PATIENCE_LEAST_S)

    def stop(self) -> List[Any]:
        """Return what is to be done when no more rounds are wanted."""
        actions = [WithdrawOrder(order_id) for order_id in self._orders]
        self._orders.clear()
        self._is_combining = False
        return actions

    # ---- events ------------------------------------------------------------------------------------

    def _joined(self, event: MembersJoined, now: float) -> List[Any]:
        new = [member for member in event.scores if member not in self.crew]
        if not new or self.is_over:
            return []
        for member in new:
            self.crew.add(member, event.scores[member])
        if self._began_at is None:
            return self._begin_round(now)
        if self._plan.strategy.merges_each:
            return [action for member in new for action in self._order_for(member)]
        # Who comes in the middle of a round waits for the next, unless something of this one lies about.
        left_over, self._left_over = self._left_over, []
        return [self._give(new[index % len(new)], order.shards, order.steps, order.within_s)
                for index, order in enumerate(left_over)]

    def _left(self, event: MemberLeft, now: float) -> List[Any]:
        self.crew.remove(event.member)
        actions: List[Any] = []
        for order in [order for order in self._orders.values() if order.member == event.member]:
            actions += [WithdrawOrder(order.id), *self._order_lost(OrderLost(order.id), now)]
        return actions

    def _share_came(self, event: ShareCame, now: float) -> List[Any]:
        order = self._orders.pop(event.order_id, None)
        if order is None:
            return []  # Its round is over.
        share = event.share
        self.crew.measure(order.member, share.steps, share.compute_s, share.first_step_s)
        if self._began_at is not None:
            self._starting.setdefault(
                event.by, now - self._began_at - share.compute_s if share.is_first else share.loading_s)
        if self._plan.strategy.merges_each:
            return self._merge(order, event, now)
        self._came.append((order, share, event.by))
        return self._maybe_close(now)

    def _order_lost(self, event: OrderLost, now: float) -> List[Any]:
        order = self._orders.pop(event.order_id, None)
        if order is None:
            return []
        if order.member:
            self._missing.append(order.member)
        if self._plan.is_reproducible:
            return [self._give(order.member, order.shards, order.steps)]
        if self._plan.strategy.merges_each:
            return self._order_for(order.member) if order.member in self.crew else []
        still_to_come = sum(each.steps for each in self._orders.values())
        if self._steps_came() + still_to_come >= QUORUM * self._steps_wanted:
            return self._maybe_close(now)
        paces = self.crew.paces()
        if not paces:
            self._left_over.append(order)
            return []
        # The fastest of those with the least to do.
        busy = [each.member for each in self._orders.values()]
        member = min(paces, key=lambda each: (busy.count(each), -paces[each]))
        return [self._give(member, order.shards, order.steps, order.within_s)]

    # ---- rounds ------------------------------------------------------------------------------------

    def _begin_round(self, now: float) -> List[Any]:
        self._began_at, self._quorum_at = None, None
        self._came, self._missing, self._left_over, self._starting, self._member_s = [], [], [], {}, 0.0
        if self.is_over or not len(self.crew):
            return []
        self._began_at = now
        return self._orders_of_all()

    def _orders_of_all(self) -> List[Any]:
        plan = self._plan
        if plan.is_reproducible:
            orders = [self._give("", (shard,), plan.strategy.local_steps) for shard in range(plan.shards)]
        elif plan.strategy.merges_each:
            self.crew.divide()
            orders = [action for member in self.crew.members for action in self._order_for(member)]
        else:
            held = self.crew.divide()
            steps = {member: self._steps_for(len(shards)) for member, shards in held.items()}
            within_s = {}
            if not plan.strategy.sends_gradients:
                if self.crew.is_measured:
                    steps = levelled_steps(steps, self.crew.paces())
                within_s = self._bounds_in_time(steps)
            orders = [self._give(member, shards, steps[member], within_s.get(member, 0.0))
                      for member, shards in held.items()]
        self._steps_wanted = sum(order.order.steps for order in orders)
        return orders

    def _steps_for(self, shards: int) -> int:
        """Return how many steps a member with so many shards makes: fast ones have more shards, and make more."""
        plan = self._plan
        if plan.strategy.sends_gradients:
            return shards
        members = min(len(self.crew), plan.shards)
        return max(1, round(plan.strategy.local_steps * shards * members / plan.shards))

    def _bounds_in_time(self, steps: Dict[str, int]) -> Dict[str, float]:
        """Return the seconds of those whose pace is not known: as long as the others' steps will take."""
        paces = self.crew.paces()
        timed = [*filter(self.crew.is_sure_of, steps)] or [*filter(self.crew.has_begun, steps)]
        longest = max((steps[member] / paces[member] for member in timed), default=FIRST_ROUND_S * (len(steps) > 1))
        return {member: longest for member in steps if not self.crew.is_sure_of(member)}

    def _order_for(self, member: str) -> List[Any]:
        shards = self.crew.divide().get(member, ())
        return [self._give(member, shards, self._plan.strategy.local_steps)] if shards else []

    def _give(self, member: str, shards: Tuple[int, ...], steps: int, within_s: float = 0.0) -> GiveOrder:
        order = Order(self._next_id, member, self.rounds_done, self.version, shards, steps, within_s)
        self._next_id += 1
        self._orders[order.id] = order
        return GiveOrder(order)

    def _steps_came(self) -> int:
        return sum(order.steps for order, _, _ in self._came)

    def _maybe_close(self, now: float) -> List[Any]:
        if self._began_at is None or not self._came or self._is_combining:
            return []
        if self._orders:
            if self._plan.is_reproducible or self._steps_came() < QUORUM * self._steps_wanted:
                return []
            if self._quorum_at is None:
                self._quorum_at = now
            deadline = self.next_deadline()
            if deadline is None or now < deadline:
                return []
        return self._close(now)

    def _close(self, now: float) -> List[Any]:
        actions: List[Any] = []
        for order in list(self._orders.values()):
            self.crew.was_late(order.member)
            self._missing.append(order.member)
            actions.append(WithdrawOrder(order.id))
        self._orders.clear()
        # In the order of the shards, whoever was first.
        self._came.sort(key=lambda pair: pair[0].shards)
        if self._plan.is_averaged_there:
            self._is_combining = True
            return [*actions, CombineShares(tuple((order, share) for order, share, _ in self._came))]
        return [*actions, *self._combine([share for _, share, _ in self._came], now)]

    def _combine(self, shares: List[Share], now: float) -> List[Any]:
        plan = self._plan
        self.state, self.memory = plan.strategy.combine(self.state, self.memory, shares, plan.optimizer)
        self.version += 1
        return [self._report(now), *self._begin_round(now)]

    def _combined(self, event: SharesCombined, now: float) -> List[Any]:
        if not self._is_combining:
            return []  # The training was stopped.
        self._is_combining = False
        self._missing += [by for order, _, by in self._came if order.id in event.lost]
        self._came = [came for came in self._came if came[0].id not in event.lost]
        if event.mean is None or not self._came:
            return self._begin_round(now)
        samples = sum(share.samples for _, share, _ in self._came)
        return self._combine([Share(event.mean, samples, {}, 0.0, 0)], now)

    def _merge(self, order: Order, event: ShareCame, now: float) -> List[Any]:
        strategy: Any = self._plan.strategy
        staleness = self.version - order.version
        if staleness <= strategy.bound * max(1, len(self.crew)):
            self.state = strategy.merge(self.state, event.share, staleness)
            self.version += 1
            self._came.append((order, event.share, event.by))
        else:
            self._missing.append(order.member)
        actions: List[Any] = []
        if len(self._came) >= max(1, len(self.crew)):
            actions.append(self._report(now))
            self._began_at, self._came, self._missing, self._starting = now, [], [], {}
        if self.is_over:
            return [*self.stop(), *actions]
        return actions + (self._order_for(order.member) if order.member in self.crew else [])

    def _report(self, now: float) -> RoundClosed:
        assert self._began_at is not None
        self.rounds_done += 1
        shares = [share for _, share, _ in self._came]
        samples: Dict[str, int] = {}
        seconds: Dict[str, float] = {}
        for _, share, by in self._came:
            samples[by] = samples.get(by, 0) + share.samples
            seconds[by] = seconds.get(by, 0.0) + share.compute_s
        took = now - self._began_at
        slowest = max(seconds, key=lambda by: seconds[by] + self._starting.get(by, 0.0))
        # Of orders that are anybody's nobody knows which place made them, and places come and go.
        is_anybodys = self._plan.is_reproducible and self._member_s > 0
        compute_s = min(took, took * sum(seconds.values()) / self._member_s if is_anybodys else seconds[slowest])
        starting_s = min(took - compute_s, max(0.0, self._starting.get(slowest, 0.0)))
        return RoundClosed(self.rounds_done, took, compute_s, starting_s, sum(samples.values()),
                           mean_metrics(shares), samples, tuple(dict.fromkeys(self._missing)))
