"""Lead the averages of one training: bring states to devices, and have the devices average what they made of them.

Knows:   which devices can take part, who holds which vector, and what to do when one vanishes: once more without it.
Refuses: to decide when a round is over (ml/rounds.py does) and to add anything up (the devices do).
Read next: faces/vector_ports.py (the way to devices and vectors), roles/averaging.py (what a device does), ml/ring.py
           (the way of the pieces), faces/training.py.

A training that averages between devices keeps its state as a vector on each of them. What a device's work made of it
stays there as well, until all of a round are averaged, over the devices' own links:

    JoinTraining     when a device is first seen
    FetchVector      where it lacks the newest state: who joins, who was late; from those that have it
    AverageVectors   when a round is over: to all that have a share, and to this machine

A strategy that goes on from the mean on this machine (momentum, an optimizer) has the mean come here alone, by a
chain, and its new state fetched. Where two devices have no link between them, all send to this machine: a star; so they
do with a small vector, since of that the way around would take longest.

What is compressed on its way is no state, but a gradient or the way from the state that all began with, which each
device has and adds the mean to. With top-k each device keeps what it did not send, for its next average; the leader
says under which name, a new one each time, so that of an average that failed nothing is left and nothing is missing.
Who leaves takes it along.
"""

from __future__ import annotations

import logging
import secrets
from functools import partial
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from ..ml.compression import TOP_K, Compression
from ..ml.ring import CHAIN, RING, STAR
from ..ml.trees import check_seen
from ..ml.vectors import VectorForm, fill_vector, subtract_vector, tree_of_vector
from ..model.errors import DiscomputeError, Forbidden, MethodNotFound, StateError
from ..model.limits import KIB

#: How often an average is tried: without who vanished, then as a star where the ring could not be closed.
AVERAGE_TRIES = 4
#: How many averages may fail one after another, each after all its tries: from then on shares come to this machine.
FAILED_AVERAGES = 3
#: Seconds within which a device says whether it takes part in a training.
JOIN_S = 5.0
#: Seconds within which a large vector must have reached a device that lacks it, by whatever link.
FETCH_S = 600.0
#: Bytes of a vector that all send to this machine, in one piece: as much as a usual link carries in the time of a piece
#: from device to device. The way around a ring has twice as many of these as there are other devices, that one has two.
SMALL_VECTOR_BYTES = 64 * KIB
#: Devices that a device is told of which have a vector, for when the first is gone.
SOURCES_TOLD = 4


class KeptShare(NamedTuple):
    """Say where a share lies: on which device, as which vector, and what it weighs."""

    device_id: str
    name: str
    samples: int


class AverageCame(NamedTuple):
    """An average is over; `mean` is None where nothing could be averaged."""

    mean: Any
    #: Devices whose shares are not in it.
    lost: Sequence[str]
    seconds: float


class AveragingLeader:
    """Lead the averages of one training; all methods are called on one thread, replies come by `post`."""

    def __init__(
        self, ports: Any, template: Any, form: VectorForm, is_mean_the_state: bool, is_wide: bool,
        compression: Compression = Compression(), small_bytes: int = SMALL_VECTOR_BYTES,
    ) -> None:
        """`ports` are a cluster's (faces/vector_ports.py); a vector of `small_bytes` at most makes no way around."""
        self.training_id = secrets.token_hex(16)
        self._ports = ports
        self._template, self.form, self._is_wide = template, form, is_wide
        self.is_mean_the_state = is_mean_the_state
        self.compression = compression
        self._is_small = form.size <= small_bytes
        #: The way of an average while each device can reach the next: of a mean that all want, or this machine alone.
        self._shape = CHAIN if not is_mean_the_state else STAR if self._is_small else RING
        #: What each device keeps of what it did not send.
        self._residuals: Dict[str, str] = {}
        #: Bytes that devices sent each other, in averages that succeeded and with states that were fetched.
        self.moved_bytes = 0
        #: Devices that were asked to join: whether they take part.
        self.joined: Dict[str, bool] = {}
        #: The newest state's vector, "" while all have it in their seat; and who holds it.
        self._state_name = ""
        self._holders: Dict[str, bool] = {}
        #: Devices that were told to fetch it, in that order.
        self._fetchers: List[str] = []
        self._number = 0
        #: Whether two devices were found that have no link between them.
        self.is_star = False
        self._failed, self._has_given_up = 0, False
        #: Vectors that a device may forget; it is told with the next wish.
        self._garbage: Dict[str, List[str]] = {}
        # This machine takes part, whether it computes or not.
        self.joined[ports.own_id] = True
        self._ask_to_join(ports.own_id, self._own_node_answered)

    # ---- who takes part ------------------------------------------------------------------------------

    def meet(self, device_id: str, ready: Callable[[], None]) -> None:
        """Ask a device to take part; `ready` is called when it has answered, whatever it said.

        It has nothing of this training then: one that is asked anew was away, or was restarted.
        """
        self.joined[device_id] = False
        for kept in (self._holders, self._residuals, self._garbage):
            kept.pop(device_id, None)

        def answered(result: Any, error: Any) -> None:
            self._look_for_node()
            self.joined[device_id] = error is None and bool(result.get("success")) and not self._has_given_up
            ready()

        self._ask_to_join(device_id, answered)

    def _ask_to_join(self, device_id: str, answered: Callable[[Any, Any], None]) -> None:
        params = {"training_id": self.training_id, "numbers": self.form.numbers}
        self._ports.ask(device_id, "JoinTraining", params, answered, JOIN_S)

    def _own_node_answered(self, result: Any, error: Any) -> None:
        """Give up where the node beside cannot ask devices for a script: it began before this program was updated."""
        if isinstance(error, MethodNotFound):
            self.give_up("the node on this machine is of an earlier version; start it anew")

    def give_up(self, reason: str) -> None:
        """Average between devices no more: this machine has no room for vectors, say, or it failed too often.

        Nothing is lost by that: the state is here too, and what devices have made since is made once more.
        """
        if not self._has_given_up:
            logging.getLogger("discompute").warning(
                "devices average among themselves no more (%s): what they make comes to this machine%s", reason,
                ", not compressed" if self.compression.kind else "")
        self._has_given_up = True
        self.joined = dict.fromkeys(self.joined, False)

    def _look_for_node(self) -> None:
        """Give up where the node beside is gone, by which devices were asked, and with it what they kept."""
        if self._ports.is_gone:
            self.give_up("the node on this machine went away")

    def end(self) -> None:
        """Have everybody forget the training."""
        for device_id in self.joined:
            self._ports.ask(device_id, "LeaveTraining", {"training_id": self.training_id}, _nothing_more, JOIN_S)

    # ---- states ----------------------------------------------------------------------------------------

    def new_state(self, state: Any) -> None:
        """Take a state that was made here, as everybody's newest; give up where it cannot be kept."""
        name = self._next_name("s")
        if self._keep(name, partial(fill_vector, state, self.form)):
            self._newest(name, [self._ports.own_id])

    def bring_state(self, device_id: str, done: Callable[[Optional[str]], None]) -> None:
        """Have the newest state on a device that takes part; `done(its vector's name)`, None where that cannot be.

        The name is "" while the state is the one that the training began with, which all have in their seats.
        """
        name = self._state_name
        if not name or device_id in self._holders:
            done(name)
        else:
            def fetched(result: Any, error: Any) -> None:
                self._look_for_node()
                is_there = error is None and bool(result.get("success"))
                if is_there and name == self._state_name:
                    self._holders[device_id] = True
                if is_there:
                    self.moved_bytes += self.form.size
                else:
                    self._is_out(device_id, error)
                done(name if is_there else None)

            params = {"name": name, "size": self.form.size, "sources": self._sources_for(device_id),
                      "drops": self._garbage.pop(device_id, [])}
            self._ports.ask(device_id, "FetchVector", params, fetched, FETCH_S)

    def _is_out(self, device_id: str, error: Any) -> None:
        """Do without a device; ask it anew where it forgot the training, which it had joined: it was restarted."""
        if isinstance(error, Forbidden):
            self.meet(device_id, lambda: None)
        else:
            self.joined[device_id] = False

    # ---- averages --------------------------------------------------------------------------------------

    def share_name(self, order_id: int) -> str:
        """Return what the vector is called that an order leaves on its device."""
        return f"{self.training_id}-o{order_id}"

    def keep_tree(self, tree: Any, samples: int, order_id: int) -> KeptShare:
        """Keep here, as a vector, what a device sent back that cannot keep it there.

        Where that cannot be done either, the average misses the share, and is over without a mean.
        """
        name = self.share_name(order_id)
        start = self._ports.read(self._state_name, self.form.size) if self.compression.of_ways else None

        def fill(memory: Any) -> None:
            fill_vector(tree, self.form, memory)
            if start is not None:
                subtract_vector(self.form, memory, start)

        if start is not None or not self.compression.of_ways:
            self._keep(name, fill)
        return KeptShare(self._ports.own_id, name, samples)

    def average(self, shares: Sequence[KeptShare], done: Callable[[AverageCame], None]) -> None:
        """Average what devices keep; `done` is called once. Raises `TaskFailed` where they have seen no sample."""
        check_seen([share.samples for share in shares])
        _AverageTry(self, list(shares), done).begin([], AVERAGE_TRIES)

    def _failed_once(self, reason: str) -> None:
        """Take note of an average that nothing helped: the next goes through this machine, and the last by it alone."""
        self._failed += 1
        self.is_star = True
        if self._failed >= FAILED_AVERAGES:
            self.give_up(reason)

    def _keep(self, name: str, fill: Callable[[Any], None]) -> bool:
        """Keep a vector here; give up where there is no room for it, or the node is gone that had it."""
        try:
            self._ports.keep(name, self.form.size, fill)
        except DiscomputeError as problem:
            self._look_for_node()
            self.give_up(problem.message)
            return False
        return True

    def _ended(self, tried: _AverageTry, memory: Any, lost: Sequence[str]) -> AverageCame:
        """Take note of an average that has succeeded, `memory` being its result; return it."""
        self._failed = 0
        self.moved_bytes += tried.sent_bytes
        mean = tree_of_vector(self._template, self.form, memory)
        for device_id in tried.members:
            self._not_needed(device_id, [share.name for share in tried.shares if share.device_id == device_id])
            if self.compression.kind == TOP_K:
                if device_id in self._residuals:
                    self._not_needed(device_id, [self._residuals[device_id]])
                self._residuals[device_id] = tried.remainder
        if self.is_mean_the_state:
            self._newest(tried.name, tried.members)
        else:
            for device_id in tried.members:
                self._not_needed(device_id, [tried.name])
        return AverageCame(mean, lost, tried.seconds)

    def _newest(self, name: str, holders: Sequence[str]) -> None:
        if self._state_name:
            for device_id in self._holders:
                self._not_needed(device_id, [self._state_name])
        self._state_name, self._holders = name, dict.fromkeys(holders, True)
        self._fetchers = []

    def _sources_for(self, device_id: str) -> List[str]:
        """Return whom a device is to ask, in order: who has it in turn, or who was told earlier to fetch it."""
        holders, place = [each for each in self._holders if each != device_id], len(self._fetchers)
        # Of one alone two fetch it, and of each of them two others: nobody sends it more than twice.
        is_tree = len(holders) == 1 and place > 1
        first = self._fetchers[place // 2 - 1] if is_tree else holders[place % len(holders)]
        self._fetchers.append(device_id)
        return list(dict.fromkeys([first, *holders[:SOURCES_TOLD]]))

    def _not_needed(self, device_id: str, names: Sequence[str]) -> None:
        self._garbage.setdefault(device_id, []).extend(names)

    def _next_name(self, kind: str) -> str:
        self._number += 1
        return f"{self.training_id}-{kind}{self._number}"

    def _wish(self, tried: _AverageTry, device_id: str) -> Dict[str, Any]:
        """Return what a device is asked to do in an average."""
        own = [share for share in tried.shares if share.device_id == device_id]
        total = sum(share.samples for share in tried.shares)
        kind, top_k, of_ways = self.compression
        narrow = {
            "compression": kind, "top_k": top_k, "start": self._state_name if of_ways else "",
            "residual": self._residuals.get(device_id, ""), "remainder": tried.remainder,
        } if kind else {}
        return {
            "name": tried.name, "members": tried.members,
            "shape": STAR if self.is_star else self._shape,
            "root": tried.members.index(self._ports.own_id), "code": self.form.code,
            "numbers": self.form.numbers, "is_wide": self._is_wide, "piece": self.form.numbers if self._is_small else 0,
            "shares": [share.name for share in own], "weights": [share.samples / total for share in own],
            "drops": self._garbage.pop(device_id, []), **narrow,
        }


class _AverageTry:
    """Try to average some shares, until it succeeds or nobody is left."""

    def __init__(self, leader: AveragingLeader, shares: List[KeptShare], done: Callable[[AverageCame], None]) -> None:
        self._leader, self._ports = leader, leader._ports
        self.shares, self._done = shares, done
        self.members: List[str] = []
        self.name = self.remainder = ""
        self.seconds, self.sent_bytes = 0.0, 0
        #: What the last failure was, in words.
        self._problem = "no device is left that has a share"
        self._answered: Dict[str, bool] = {}

    def begin(self, lost: List[str], tries: int) -> None:
        """Try without those that are lost."""
        self.shares = [share for share in self.shares if share.device_id not in lost]
        self._leader._look_for_node()
        is_out = self._ports.is_gone or self._ports.own_id in lost
        if not sum(share.samples for share in self.shares) or not tries or is_out:
            if is_out:
                self._leader.give_up(self._problem)
            self.name = ""  # What others answer yet is of an earlier try.
            self._leader._failed_once(self._problem)
            self._done(AverageCame(None, lost, 0.0))
            return
        # In the order of their ids, so that the same devices sum in the same order each time.
        self.members = sorted({self._ports.own_id, *(share.device_id for share in self.shares)})
        self.name = self._leader._next_name("a")
        self.remainder = self._leader._next_name("r") if self._leader.compression.kind == TOP_K else ""
        self._answered, self.sent_bytes = {}, 0
        for device_id in self.members:
            self._ports.ask(device_id, "AverageVectors", self._leader._wish(self, device_id),
                            partial(self._came, self.name, device_id, lost, tries))

    def _came(self, name: str, device_id: str, lost: List[str], tries: int, result: Any, error: Any) -> None:
        if name != self.name:
            return  # Of an earlier try.
        answer = result if isinstance(result, dict) else {}
        if error is None and answer.get("success"):
            self._answered[device_id] = True
            self.seconds = max(self.seconds, float(answer.get("seconds", 0.0)))
            self.sent_bytes += int(answer.get("sent_bytes", 0))
            if len(self._answered) < len(self.members):
                return
            memory = self._ports.read(name, self._leader.form.size)
            if memory is not None:
                self._done(self._leader._ended(self, memory, lost))
                return
            device_id, error = self._ports.own_id, StateError("the mean cannot be read on this machine")
        self._problem = str(error if error is not None else answer.get("message", "")) or self._problem
        for other in self.members:
            self._leader._not_needed(other, [name, *filter(None, [self.remainder])])
            if other != device_id:
                self._ports.ask(other, "StopAverage", {"name": name}, _nothing_more, JOIN_S)
        if isinstance(error, Forbidden):
            self._leader._is_out(device_id, error)
        blamed = [device_id] if error is not None else [each for each in answer.get("lost", ()) if each in self.members]
        if not blamed and answer.get("unreached"):
            self._leader.is_star = True
        self.begin([*lost, *blamed], tries - 1)


def _nothing_more(result: Any, error: Any) -> None:
    """Heed no answer."""
