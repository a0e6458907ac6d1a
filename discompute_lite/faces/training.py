"""Train a job on the devices of a cluster: `train`, of `discompute_lite.ml`.

Knows:   how orders become calls on devices, how devices that come and go are noticed, checkpoints, the end.
Refuses: to decide what a round is (ml/rounds.py does) and what becomes of its shares (ml/strategies.py).
Read next: ml/rounds.py, ml/workbench.py (what runs on a device), faces/training_wishes.py.
"""

from __future__ import annotations

import secrets
import sys
import time
from concurrent.futures import CancelledError, Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Union

from ..ml.rounds import (
    CombineShares, GiveOrder, MemberLeft, MembersJoined, Order, OrderLost, RoundClosed, ShareCame, SharesCombined,
    TimePassed, TrainingPlan, TrainingRounds, WithdrawOrder,
)
from ..ml.shares import Share
from ..ml.strategies import Strategy
from ..ml.trees import bare_tree, mean_tree, taken_tree, tree_size
from ..ml.vectors import rest_of, vector_form, with_rest
from ..ml.workbench import Seat, carry_out, carry_out_here, figures_of
from ..model.errors import SettingsError, TaskCancelled, TaskFailed
from ..model.told_round import ToldRound
from .averaging import SMALL_VECTOR_BYTES, AverageCame, AveragingLeader, KeptShare
from .futures import CallEnded
from .train_lines import told_round
from .training_news import DeviceNames, TrainingNews, lacking
from .training_saves import TrainingSaves
from .training_wishes import AVERAGE_WORDS, TrainingResult, TrainingWishes, strategy_of, why_enough

#: Seconds between two looks at who is there.
LOOK_FOR_MEMBERS_S = 0.25
#: A state of more numbers travels as a blob, once to each device and from one to the next.
BLOB_STATE_NUMBERS = 4096
#: Parts into which all data are divided for each place that is there at the beginning; speeds are matched by them.
SHARDS_A_PLACE = 8
SHARDS_AT_LEAST = 16


def train(
    cluster: Any, job: Any, *, rounds: int = 10, strategy: Union[Strategy, str] = "sync", checkpoint: str = "",
    resume: bool = False, **wishes: Any,
) -> TrainingResult:
    """Train `job` on the devices of `cluster`; return its state with the figures of each round.

    `strategy` is one of `discompute_lite.ml` or its short name: sync, fedavg, diloco, async. `checkpoint` names a
    folder for each round, which holds no training yet, unless `resume` is to go on from it, or begin without one.
    `wishes` are the fields of `TrainingWishes`. Raises what a step raised, TaskFailed for a job that breaks the
    rules, SettingsError for wishes that do not fit.
    """
    return Training(cluster, job, rounds, strategy, TrainingWishes(**wishes), checkpoint, resume).run()


class Training:
    """Drive one training: perform the actions of its rounds on a cluster, and tell the rounds what came of it."""

    def __init__(
        self, cluster: Any, job: Any, rounds: int, strategy: Union[Strategy, str], wishes: TrainingWishes,
        checkpoint: str, resume: bool,
    ) -> None:
        for name in ("init", "load", "step", "evaluate"):
            if not callable(getattr(job, name, None)):
                raise TaskFailed(f"the job has no method {name}; a job has init, load, step and evaluate")
        self._cluster, self._job = cluster, job
        self._strategy = strategy_of(strategy)
        self._wishes = wishes
        optimizer = getattr(job, "optimizer", None)
        self._saves = TrainingSaves(checkpoint, resume, repr(self._strategy))
        saved = self._saves.find(resume)
        if saved is not None:
            wishes = self._wishes = wishes._replace(seed=saved["seed"], shards=saved["shards"])
        places = cluster.places()
        shards = wishes.shards or (SHARDS_AT_LEAST if wishes.reproducible else max(
            SHARDS_AT_LEAST, SHARDS_A_PLACE * len(places)))
        #: In the form that all states take: what devices send back is made like it.
        self._template = bare_tree(job.init(wishes.seed))
        state = self._template if saved is None else self._saves.state_in(saved, self._template)
        memory = self._strategy.begin(state, optimizer) if saved is None else saved["memory"]
        done = 0 if saved is None else saved["round"]
        self._news = TrainingNews(DeviceNames(cluster), self._template)
        self._history: List[Dict[str, Any]] = self._saves.begin()
        #: What came, each to be called on this thread; it returns an event of the rounds, or None.
        self._events: Any = SimpleQueue()
        #: Devices that were asked whether they average with others, and whether they have answered.
        self._met: Dict[str, bool] = {}
        self._leader = self._make_leader(state, optimizer)
        self._plan = TrainingPlan(self._strategy, optimizer, shards, rounds, wishes.reproducible,
                                  self._leader is not None)
        self._rounds = TrainingRounds(self._plan, state, memory, done)
        self._seat = cluster.put(Seat(job, shards, wishes.seed, dict(wishes.config or {}),
                                      state if self._leader is not None else None))
        #: The calls of orders that are out; None while a state is on its way to the device.
        self._calls: Dict[int, Optional[Future]] = {}
        #: The version of the state that devices have as a vector, and where shares lie.
        self._vector_version, self._look_at, self._average_s = 0, 0.0, 0.0
        if self._leader is not None and self._leader.compression.of_ways:
            # The first state too, since ways are added to it.
            self._vector_version = -1
        self._kept: Dict[int, KeptShare] = {}
        self._moved_before = 0
        #: What tells this training from others for those who look on.
        self._told_as = secrets.token_hex(4)
        #: The state as it travels, made once a version.
        self._sent_state: Any = None
        self._sent_version = -1
        self._is_large = tree_size(state) > BLOB_STATE_NUMBERS
        #: Devices that lack a library of the job's.
        self._unfit: Set[str] = set()

    def run(self) -> TrainingResult:
        """Return when all rounds are made, or the wishes say that it is enough."""
        ended = "all rounds made"
        try:
            while not self._rounds.is_over:
                now = time.monotonic()
                if now >= self._look_at:
                    self._do([action for event in self._changes() for action in self._rounds.apply(event, now)])
                    self._look_at = now + LOOK_FOR_MEMBERS_S
                deadline = min(self._look_at, self._rounds.next_deadline() or self._look_at)
                event = self._next_event(deadline - now)
                enough = self._do(self._rounds.apply(event, time.monotonic())) if event is not None else ""
                if enough:
                    ended = enough
                    break
        finally:
            # Each call that is out belongs to an order that is out.
            self._do(self._rounds.stop())
            if self._leader is not None:
                self._leader.end()
            self._cluster.tell_round(ToldRound(self._told_as, is_over=True))
            self._saves.draw(self._history)
        return TrainingResult(self._rounds.state, self._history, ended)

    # ---- events ------------------------------------------------------------------------------------

    def _changes(self) -> List[Any]:
        """Return who came and who left since the last look."""
        places = self._places()
        gone = [member for member in self._rounds.crew.members if member not in places]
        for device_id in {member.partition("/")[0] for member in gone}:
            self._met.pop(device_id, None)  # It is asked anew when it comes back.
        came = {member: score for member, score in places.items() if member not in self._rounds.crew}
        return [*map(MemberLeft, gone), *([MembersJoined(came)] if came else [])]

    def _next_event(self, wait_s: float) -> Any:
        try:
            came = self._events.get(timeout=max(0.0, wait_s))
        except Empty:
            return TimePassed()
        return came()

    def _places(self) -> Dict[str, float]:
        """Return the places of devices that have said whether they average with others, at first of all or none."""
        places = {member: score for member, score in self._cluster.places().items()
                  if member.partition("/")[0] not in self._unfit}
        if self._leader is None:
            return places
        for device_id in dict.fromkeys(member.partition("/")[0] for member in places):
            if device_id not in self._met:
                self._met[device_id] = False
                self._leader.meet(device_id, partial(self._is_met, device_id))
        met = {member: score for member, score in places.items() if self._met[member.partition("/")[0]]}
        return met if len(met) == len(places) or len(self._rounds.crew) else {}

    def _is_met(self, device_id: str) -> None:
        self._met[device_id] = True
        self._look_again()

    def _look_again(self) -> None:
        self._look_at = 0.0

    def _share_came(self, order: Order, future: Any) -> Any:
        self._calls.pop(order.id, None)
        try:
            fields = future.result()
        except (CancelledError, TaskCancelled):
            return OrderLost(order.id)
        except ImportError as problem:
            return self._lacks_library(order, problem, str(problem))
        except CallEnded as problem:
            if lacking(problem.said):
                return self._lacks_library(order, problem, lacking(problem.said))
            raise problem.named(f"the job's step in round {order.round + 1}", future.device,
                                self._news.names.put_into) from None
        share = Share(**fields)
        if share.lacks_state and self._leader is not None:
            self._leader.meet(future.device, self._look_again)
            return OrderLost(order.id)
        if not share.lacks_state:
            self._news.kinds(share.kinds, future.device)
        if share.tree is not None:
            share = share._replace(tree=taken_tree(self._template, share.tree))
        elif self._leader is not None:
            self._kept[order.id] = KeptShare(future.device, self._leader.share_name(order.id), share.samples)
        return ShareCame(order.id, share, order.member or future.device)

    def _lacks_library(self, order: Order, problem: Exception, lacks: str) -> MemberLeft:
        """Do without a device that has not what the job imports, where another one is there; else raise the problem."""
        device_id = order.member.partition("/")[0]
        if not device_id or all(member.startswith(device_id) for member in self._rounds.crew.members):
            raise problem
        if device_id not in self._unfit:
            self._unfit.add(device_id)
            self._news.left_out(device_id, lacks)
        self._look_again()
        return MemberLeft(order.member)

    def _make_leader(self, state: Any, optimizer: Any) -> Optional[AveragingLeader]:
        """Return who has devices average among themselves; None where that is not wanted, or cannot be."""
        wishes = self._wishes
        if wishes.average not in AVERAGE_WORDS:
            raise SettingsError(f"average cannot be {wishes.average!r}; write one of {', '.join(AVERAGE_WORDS)}")
        compression = wishes.compressed(of_ways=not (self._strategy.sends_gradients and optimizer is not None))
        wants_ring = wishes.average == "ring" or compression.kind != ""
        if compression.kind and wishes.average == "submitter":
            raise SettingsError("what comes to this machine is not compressed; leave out one of compression and "
                                "average=submitter")
        form = vector_form(state)
        why_not = "a reproducible training sums exactly, on one machine" if wishes.reproducible else (
            "this strategy merges each share alone" if self._strategy.merges_each else
            "the state holds no numbers, or complex ones" if form is None else
            "this machine is not little-endian" if sys.byteorder != "little" else "")
        if wants_ring and why_not:
            raise SettingsError(f"devices cannot average among themselves here: {why_not}; leave out the "
                                f"{'compression' if compression.kind else 'ring'}")
        if why_not or wishes.average == "submitter" or form is None or (
                not wants_ring and form.numbers <= BLOB_STATE_NUMBERS):
            return None
        is_mean = self._strategy.is_mean(optimizer)
        if compression.kind and not is_mean:
            self._news.whole_states(wishes.compression)
        ports = self._cluster.vectors()
        ports.deliver = lambda reply: self._events.put(reply)
        # Who asks for a ring gets one, however small the state is.
        small_bytes = 0 if wishes.average == "ring" else SMALL_VECTOR_BYTES
        return AveragingLeader(ports, state, form, is_mean, wishes.float64_sums, compression, small_bytes)

    # ---- actions -----------------------------------------------------------------------------------

    def _do(self, actions: Sequence[Any]) -> str:
        """Perform actions; return why the training should end, or ""."""
        closed = []
        for action in actions:
            if isinstance(action, GiveOrder):
                self._give(action.order)
            elif isinstance(action, WithdrawOrder):
                future = self._calls.pop(action.order_id, None)
                if future is not None:
                    future.cancel()
            elif isinstance(action, CombineShares):
                self._average(action)
            else:
                closed.append(action)
        # The devices are at the next round while this one is evaluated and saved.
        return next(filter(None, [self._close(action) for action in closed]), "")

    def _give(self, order: Order) -> None:
        self._calls[order.id] = None
        device_id, leader = order.member.partition("/")[0], self._leader
        if leader is not None and leader.joined.get(device_id) and self._vector_version != self._rounds.version:
            leader.new_state(self._rounds.state)
            self._vector_version = self._rounds.version
        if leader is None or not leader.joined.get(device_id):
            self._call(order, carry_out, self._state_to_send())
            return
        leader.bring_state(device_id, partial(self._give_there, order, rest_of(self._rounds.state)))

    def _give_there(self, order: Order, rest: Any, source: Optional[str]) -> None:
        """Give an order whose state is on its device, None where it could not be brought there."""
        assert self._leader is not None
        if order.id not in self._calls:
            return  # It was withdrawn meanwhile.
        if source is None:
            self._call(order, carry_out, self._state_to_send())
            return
        form = self._leader.form
        self._call(order, carry_out_here, [source, self._leader.share_name(order.id), form.code, form.numbers, rest,
                                           self._leader.compression.of_ways])

    def _call(self, order: Order, function: Callable[..., Any], state: Any) -> None:
        options: Dict[str, Any] = {"pure": self._wishes.pure}
        if order.member:
            options["requires"] = order.member.partition("/")[0]
        future = self._cluster.options(**options).submit(
            function, self._seat, state, order.round, list(order.shards), order.steps, self._strategy.sends_gradients,
            order.within_s)
        self._calls[order.id] = future
        future.add_done_callback(lambda future: self._events.put(partial(self._share_came, order, future)))

    def _average(self, action: CombineShares) -> None:
        """Have shares averaged where they lie; those that came here take part from here."""
        leader = self._leader
        assert leader is not None
        self._average_s = 0.0
        trees = [share for _, share in action.shares if share.tree is not None]
        if len(trees) == len(action.shares):
            mean = mean_tree([share.tree for share in trees], [share.samples for share in trees])
            self._events.put(lambda: SharesCombined(mean))
            return
        kept = {order.id: self._kept.pop(order.id) if share.tree is None else
                leader.keep_tree(share.tree, share.samples, order.id) for order, share in action.shares}
        rest: Any = next((share.rest for _, share in action.shares if share.rest is not None), None)

        def done(came: AverageCame) -> None:
            lost = tuple(order_id for order_id, share in kept.items() if share.device_id in came.lost)
            mean = None if came.mean is None else with_rest(came.mean, rest)
            self._average_s = came.seconds
            if mean is not None and leader.is_mean_the_state:
                self._vector_version = self._rounds.version + 1
            self._events.put(lambda: SharesCombined(mean, lost))

        leader.average(list(kept.values()), done)

    def _state_to_send(self) -> Any:
        if self._sent_version != self._rounds.version:
            state = self._rounds.state
            self._sent_state = self._cluster.broadcast(state) if self._is_large else state
            self._sent_version = self._rounds.version
        return self._sent_state

    def _close(self, closed: RoundClosed) -> str:
        """Evaluate, save and tell of a round; return why it was the last one, or ""."""
        state, memory = self._rounds.state, self._rounds.memory
        self._saves.check(closed.round, self._template, state)
        evaluated = figures_of(self._job.evaluate(state), "what evaluate returns")
        self._news.odd_figures(closed.round, closed.metrics, evaluated)
        figures = {**closed._asdict(), "missing": list(closed.missing), "evaluated": evaluated,
                   "average_s": self._average_s, "moved_bytes": self._moved_bytes()}
        self._history.append(figures)
        self._saves.add(figures, {
            "seed": self._wishes.seed, "shards": self._plan.shards, "state": state, "memory": memory})
        name = self._wishes.name or type(self._job).__name__
        self._cluster.tell_round(told_round(self._told_as, name, figures, self._plan.rounds, self._news.names.of))
        if self._wishes.on_round is not None:
            self._wishes.on_round(figures)
        return why_enough(self._wishes, self._history)

    def _moved_bytes(self) -> int:
        """Return how many bytes devices have sent each other since the last round was closed."""
        moved = self._leader.moved_bytes if self._leader is not None else 0
        since, self._moved_before = moved - self._moved_before, moved
        return since
