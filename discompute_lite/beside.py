"""Give a script its node: the one that runs on this machine, by loopback; or one of its own, where none runs.

Knows:   where the running node is and its token; how to reach it, how long to wait for it, when to do without it.
Refuses: to keep calls (roles/far_streams.py does) and to choose devices (nodes do).
Read next: faces/api.py (the scripts), roles/script_calls.py (the node's side), own_node.py.

A node that runs here has this device's place in its cluster, and a script that would start a second one beside it had
none. So the script shows the node its control token, as commands do, and the node makes the script's calls along with
its own. When the node is gone the script looks for it for `LOOK_S`, since most come back at once, and then starts
one itself, which takes up the identity that is free now. In neither case is a call lost.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any, Callable, FrozenSet, List, Optional, Sequence, Union

from .host.probe import Probe
from .model.codec import from_json, to_json
from .model.errors import DiscomputeError, InvalidParams, LinkClosed, LinkError, MethodNotFound, StateError
from .model.settings import Settings, peers_typed, with_peers
from .model.told_round import ToldRound
from .net.links import Dialler
from .net.loop import Loop
from .own_node import OwnNode, keep_calls_of
from .roles.far_blobs import FarBlobs
from .roles.far_streams import FarStreams, LinkCarrier, OwnCarrier
from .roles.far_vectors import FarVectors
from .roles.kept_calls import KeptCalls
from .roles.meeting_methods import MeetAnswer
from .roles.offers import DeviceOffer
from .roles.ports import Later
from .roles.script_methods import GetOffersAnswer
from .run import Tell, open_state_folder

#: Seconds for which a node that is gone is looked for, and between two looks: a service is started anew in a second.
LOOK_S, LOOK_PAUSE_S = 2.0, 0.1
#: Seconds between two signs of life, and without an answer after which a node is given up: it hangs, or was stopped.
BEAT_S, SILENT_S = 2.0, 10.0
#: Seconds allowed for Hello and the first words, at first; a node that did not answer before gets `LOOK_S`.
SCRIPT_HELLO_S = 5.0
#: Connections in a row that ended before any outcome came, after which a node is given up though it is there.
VAIN_CONNECTIONS = 3

#: Seconds for a node to call the addresses that were typed: a dial, Hello and registration.
CALL_TYPED_S = 20.0
#: Seconds between two looks whether a script still has this machine's place.
PLACE_LOOK_S = 0.1

#: What is answered later to a question on the node's thread, what is asked and what typed: faces reach these by this
#: module.
PromisedAnswer = Later
ListedOffer = DeviceOffer
TypedAnswer = MeetAnswer


class BesideNode:
    """Be a script's node by the one that runs on this machine; a `Receiver` of the connection to it."""

    repeated_methods: FrozenSet[str] = frozenset()
    #: Its calls are made in another process.
    executor: Any = None

    def __init__(self, settings: Settings, tell: Tell, *, is_elsewhere: bool, peers: Sequence[str]) -> None:
        """`settings` are those of a node of its own, should it come to that."""
        self._settings = settings
        self._tell = tell
        self._is_elsewhere, self._peers = is_elsewhere, list(peers)
        self.limits = settings.limits_for(False)
        self.loop = Loop()
        self.streams, self.blobs = FarStreams(), FarBlobs(self.limits.blob_range_bytes)
        self._state = open_state_folder(settings, Probe())
        self._dialler = Dialler(self.loop, self, self.limits, loopback_only=True)
        #: The connection to the node, from its making on; and the carrier by it, once it serves this script.
        self._link: Any = None
        self._carrier: Optional[LinkCarrier] = None
        self._own: Optional[OwnNode] = None
        #: Why there is no node any more, "" while there is one or may be again.
        self._ended = ""
        #: Until when the node is looked for, monotonic; the first time it has to be there.
        self._look_until = 0.0
        self._vain, self._outcomes_before, self._reached_at = 0, 0, 0.0
        #: Questions that wait until there is a node.
        self._waiting: List[Callable[[], None]] = []
        self._is_closed = False

    def start(self) -> None:
        """Do nothing: all that takes time is done in the thread."""

    def keep_calls(self, run: str, tell: Tell) -> KeptCalls:
        """Return streams whose outcomes outlive this process; to be asked for between `start` and `run_in_thread`."""
        return keep_calls_of(self, self._state, run, tell)

    def run_in_thread(self) -> threading.Thread:
        """Run in a thread, which a script that ends may leave at work."""
        self.loop.post(self._look)
        thread = threading.Thread(target=self._run, name="discompute-loop", daemon=True)
        thread.start()
        return thread

    def offers(self) -> Union[Later, List[DeviceOffer]]:
        """Return what each device offers, this one first, now or later; on the loop's thread."""
        if self._own is not None:
            return self._own.offers()
        later = Later()
        self._ask_for_offers(later)
        return later

    def vectors(self) -> Later:
        """Return, later, the vectors of trainings of whatever node there is; on the loop's thread."""
        later = Later()
        self._once_there(later, OwnNode.vectors, lambda link: later.resolve(FarVectors(link, self.limits)))
        return later

    def tell_round(self, told: ToldRound) -> None:
        """Have the node tell of a training's round; on the loop's thread. One of an earlier version does without."""
        if self._own is not None:
            self._own.tell_round(told)
        elif self._carrier is not None:
            self._link.call("TellRound", to_json(told), lambda result, error: None)

    def may_send_pickles(self, device_id: str) -> bool:
        """Whether a device's pickles may be read; on the loop's thread."""
        if self._own is not None:
            return bool(self._own.may_send_pickles(device_id))
        return self._carrier is not None and device_id in self._carrier.trusted

    def stop(self) -> None:
        """End soon; any thread may call this."""
        self.loop.post(self._begin_stop)

    def close(self) -> None:
        """Release everything, where it does not run."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._link is not None:
            self._link.close("the script has ended")
        try:
            self._state.close()
        except StateError as error:
            logging.getLogger("discompute").warning("%s", error)
        if self._own is not None:
            self._own.close()
        self.loop.close()

    # ---- what the connection gives (net/stream.py: Receiver) ------------------------------------------

    def call_received(self, link: Any, call: Any) -> None:
        """Take what the node tells."""
        carrier = self._carrier
        if carrier is None or link is not self._link or call.method not in ("CallsCame", "CallsBegan"):
            call.refuse(MethodNotFound("this is a script; it offers no methods"))
            return
        try:
            carrier.told(call.method, call.params)
        except (LookupError, TypeError, ValueError, InvalidParams):
            logging.getLogger("discompute").exception("the node on this machine told %s", call.method)
            link.close("it told what cannot be understood")

    def admit_call(self, link: Any, name: str) -> Optional[DiscomputeError]:
        """Take attachments of the node's alone."""
        is_news = link is self._link and name in ("CallsCame", "CallsBegan")
        return None if is_news else MethodNotFound("this is a script; it offers no methods")

    def request_received(self, connection: Any, request: Any) -> None:
        """Take no requests: none come by a connection that was dialled."""

    def admit_request(self, connection: Any, head: Any) -> Any:
        """Take no requests."""
        return None

    def connection_closed(self, link: Any, reason: str) -> None:
        """The node is gone, or gave this script up."""
        if link is self._link:
            self._link = None
            if self._carrier is not None:
                self._carrier = None
                self._lost()

    # ---- reaching the node ----------------------------------------------------------------------------

    def _look(self) -> None:
        """Connect to the node that runs; where there is none any more, start one."""
        if self._is_stopping_or_settled():
            return
        try:
            running = self._state.running_node()
        except StateError as error:
            self._give_up(error.message)
            return
        if running is None or self._vain >= VAIN_CONNECTIONS:
            self._look_again(LinkClosed("no node runs on this machine any more"))
            return
        port, token = running
        self._dialler.open(f"127.0.0.1:{port}", port, lambda link, error: self._dialled(link, token, error))

    def _dialled(self, link: Any, token: str, error: Optional[DiscomputeError]) -> None:
        if error is not None or self._is_stopping_or_settled():
            self._failed(link, error or LinkClosed("the script has ended"))
            return
        self._link = link
        hello_s = LOOK_S if self._look_until else SCRIPT_HELLO_S

        def greeted(result: Any, error: Optional[DiscomputeError]) -> None:
            if error is not None:
                self._failed(link, error)
                return
            link.call("ServeScript", {"elsewhere": self._is_elsewhere}, served, timeout_s=hello_s)

        def served(result: Any, error: Optional[DiscomputeError]) -> None:
            if error is not None:
                is_old = isinstance(error, MethodNotFound)
                self._failed(link, LinkClosed("it is of a version that takes no calls of scripts") if is_old else error)
                return
            self.blobs.move_to(link, lambda: self._reached(link, _slots_in(result)))

        link.call("Hello", {"auth": token}, greeted, timeout_s=hello_s)

    def _failed(self, link: Any, error: DiscomputeError) -> None:
        if link is not None:
            self._link = None
            link.close(error.message)
        self._look_again(error)

    def _look_again(self, error: DiscomputeError) -> None:
        if self._is_stopping_or_settled():
            return
        if time.monotonic() < self._look_until and self._vain < VAIN_CONNECTIONS:
            self.loop.call_later(LOOK_PAUSE_S, self._look)
        else:
            self._start_own(error)

    def _reached(self, link: Any, slots: int) -> None:
        if link.is_closed:
            self._failed(link, LinkClosed("it went away again"))
            return
        self._reached_at = time.monotonic()
        self._carrier = LinkCarrier(link, self.streams, slots)
        self._outcomes_before = self.streams.outcomes
        self.streams.carry_by(self._carrier)
        if self._peers:
            link.call("Meet", {"addresses": self._peers}, lambda result, error: (
                None if error is not None else self._met(result)), timeout_s=CALL_TYPED_S)
        self.loop.call_later(BEAT_S, self._beat, link)
        self._ask_what_waited()

    def _met(self, result: Any) -> None:
        for trouble in from_json(MeetAnswer, result, "the answer to Meet").troubles(by_own_node=False):
            self._tell("warning", trouble)

    def _beat(self, link: Any) -> None:
        """Exchange a sign of life; learn how many slots there are by now."""
        if link is not self._link or self._carrier is None:
            return

        def answered(result: Any, error: Optional[DiscomputeError]) -> None:
            if link is not self._link or self._carrier is None:
                return
            if error is not None:
                link.close("the node on this machine does not answer")
                return
            self._carrier.slots = _slots_in(result)
            self.loop.call_later(BEAT_S, self._beat, link)

        link.call("ServeScript", {}, answered, timeout_s=SILENT_S)

    # ---- without it -----------------------------------------------------------------------------------

    def _lost(self) -> None:
        self.streams.put_down()
        self.blobs.put_down()
        now = time.monotonic()
        has_served = self.streams.outcomes > self._outcomes_before or now >= self._reached_at + LOOK_S
        self._vain = 0 if has_served else self._vain + 1
        self._look_until = now + LOOK_S
        self._look()

    def _start_own(self, error: DiscomputeError) -> None:
        self._tell("note", "this script goes on with a node of its own, since the one on this machine cannot be had:"
                           f" {error.message}")
        own = OwnNode(self._settings, self._tell, self.loop)
        try:
            own.start()
            own.local.start_threads()
            self.blobs.move_to_own(own.blobs)
        except (DiscomputeError, OSError, RuntimeError) as problem:
            own.close()
            self._give_up(f"the node on this machine is gone, and none can be started in its place: {problem}")
            return
        self._own = own
        self.streams.carry_by(OwnCarrier(own.streams))
        self._ask_what_waited()

    def _give_up(self, reason: str) -> None:
        self._ended = reason
        self.streams.give_up(reason)
        self._ask_what_waited()

    # ---- inside ---------------------------------------------------------------------------------------

    def _ask_what_waited(self) -> None:
        waiting, self._waiting = self._waiting, []
        for ask in waiting:
            ask()

    def _ask_for_offers(self, later: Later) -> None:
        def answered(result: Any, error: Optional[DiscomputeError]) -> None:
            if error is None:
                later.resolve(from_json(GetOffersAnswer, result, "the answer to GetOffers").offers)
            elif not isinstance(error, LinkError):
                later.fail(error)
            elif self._is_stopping_or_settled():
                self._ask_for_offers(later)
            else:
                # The node went away meanwhile: the next one is asked.
                self._waiting.append(lambda: self._ask_for_offers(later))

        self._once_there(later, OwnNode.offers, lambda link: link.call("GetOffers", {}, answered))

    def _once_there(self, later: Later, by_own: Callable[[OwnNode], Any], by_link: Callable[[Any], None]) -> None:
        """Have a question answered by a node of the script's own, or by the connection, when there is one of them."""
        if self._ended:
            later.fail(StateError(self._ended))
        elif self._own is not None:
            later.resolve(by_own(self._own))
        elif self._carrier is not None:
            by_link(self._link)
        else:
            self._waiting.append(lambda: self._once_there(later, by_own, by_link))

    def _is_stopping_or_settled(self) -> bool:
        """Whether nobody is to be looked for any more."""
        return self._is_closed or self._own is not None or bool(self._ended)

    def _begin_stop(self) -> None:
        self._ended = self._ended or "this cluster has been shut down"
        if self._own is not None:
            self._own.stop()
        else:
            self.loop.stop()

    def _run(self) -> None:
        try:
            self.loop.run()
        finally:
            self.close()


def _slots_in(answer: Any) -> int:
    """Return what an answer to `ServeScript` says."""
    slots = answer.get("slots") if isinstance(answer, dict) else 0
    return slots if type(slots) is int else 0


def node_for_script(
    settings: Settings, tell: Tell, *, is_elsewhere: bool = False, peers: Sequence[str] = (),
) -> Union[OwnNode, BesideNode]:
    """Return the node by which a script's calls are made, not yet started; raise StateError.

    With `is_elsewhere`, this machine's own cores are left out; at `peers` (host:port) devices are looked for.
    """
    running = open_state_folder(settings, Probe()).running_node()
    own = with_peers(settings, peers)
    if is_elsewhere:
        own = own.replace(accept="nobody")
    if running is None:
        return OwnNode(own, tell)
    return BesideNode(own, tell, is_elsewhere=is_elsewhere, peers=peers_typed(own))


def wait_for_place(settings: Settings, say: Callable[[int], None]) -> None:
    """Wait while a script or a command has this machine's place by a node of its own, unless it is in this process.

    `say(pid)` is called once for each such process. Beside it a node would be another device, and in no cluster.
    """
    state, said = open_state_folder(settings, Probe()), 0
    while True:
        pid = state.passing_node()
        if pid in (0, os.getpid()):
            return
        if pid != said:
            said = pid
            say(pid)
        time.sleep(PLACE_LOOK_S)
