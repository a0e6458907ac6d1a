"""Hand calls over to the node's thread, bring their outcomes back, and know when none is under way.

Knows:   the streams that are open, the calls without an outcome, and the door of the node's thread (`Loop.post`).
Refuses: to run a person's code on the node's thread; to lose a call: each has one outcome, or is given up.
Read next: roles/streams.py (what becomes of a call), faces/api.py (who makes calls).
"""

from __future__ import annotations

import contextlib
import threading
import time
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple

from ..beside import PromisedAnswer
from ..tasks.calls import has_line_raised
from .direct import DirectCall, DirectWay
from .options import CallOptions
from .packing import PackedLine

#: Streams that are kept open though nothing is under way in them: a script may make a new function for each call.
STREAMS_KEPT = 64
#: Beyond so many, speeds are not learnt for each function: the scheduler looks through all that have a name.
STREAMS_NAMED = 16
#: Seconds for which the number of slots is taken to be the same while calls are sent.
SLOTS_EVERY_S = 0.1
#: Seconds between two looks at whether the node's thread, from which an answer is awaited, still lives.
LIFE_EVERY_S = 1.0


class ClusterEnded(RuntimeError):
    """Say that the node's thread has ended, and with it all that was under way."""

    def __init__(self) -> None:
        super().__init__("this cluster has been shut down")


class StreamKey(NamedTuple):
    """Tell calls that share a stream."""

    packed: PackedLine
    options: CallOptions
    is_pure: bool


class OpenStream:
    """Hold a stream, and the calls that need it."""

    __slots__ = ("key", "users", "stream")

    def __init__(self, key: StreamKey) -> None:
        self.key = key
        self.users: Set[SentCall] = set()
        #: Opened with the first call, on the node's thread.
        self.stream: Any = None


class SentCall:
    """Hold one unit of calls until its outcome, through all the times that it is made."""

    __slots__ = ("open", "data", "calls", "left", "done", "_on_arrival", "unit", "direct", "attempts", "is_over")

    def __init__(
        self, opened: OpenStream, data: bytes, calls: int, left: int, done: Callable[[Any], None],
        on_arrival: Callable[[SentCall, Any], None],
    ) -> None:
        """`done(outcome)` is for whoever sent it, `on_arrival(call, outcome)` finds out whether that is the outcome."""
        self.open = opened
        self.data = data
        self.calls = calls
        #: How often it may be made again where it raises.
        self.left = left
        self.done = done
        self._on_arrival = on_arrival
        #: What carries it now.
        self.unit: Any = None
        #: What it was begun by on its caller's own thread, while the node's has not heard of it.
        self.direct: Optional[DirectCall] = None
        #: How often it was sent to a device, for units before this one.
        self.attempts = 0
        #: It has its outcome, or was given up.
        self.is_over = False

    @property
    def is_running(self) -> bool:
        """Whether it is on a device just now."""
        unit = self.unit
        return self.direct is not None or (unit is not None and unit.chunk is not None)

    def arrived(self, unit: Any, outcome: Any) -> None:
        """Take what its unit came to."""
        self._on_arrival(self, outcome)


class Dispatch:
    """Carry calls between a person's threads and the node's; all methods but those that say so are for the former."""

    def __init__(
        self, post: Callable[..., None], thread: threading.Thread, streams: Any, kept: Any = None,
        direct: Optional[DirectWay] = None,
    ) -> None:
        """`streams` are the node's, touched on its thread only; outcomes are their `UnitOutcome`s.

        `kept` stands for them where outcomes outlive the script. `direct` makes calls without that thread.
        """
        self._post = post
        self._thread = thread
        self._streams = streams
        self._kept = streams if kept is None else kept
        self._direct = direct
        #: Guards everything below; and what is told when nothing is under way any more.
        self._guard = threading.RLock()
        self._changed = threading.Condition(self._guard)
        self._is_closed = False
        #: What was used last comes last.
        self._open: Dict[StreamKey, OpenStream] = {}
        self._newest: Optional[OpenStream] = None
        #: Calls that the node's thread is to take, and whether it has been told of them.
        self._outgoing: List[SentCall] = []
        self._is_announced = False
        #: Calls without an outcome, and what is done once when there are none.
        self._under_way: Set[SentCall] = set()
        #: Of these, those that the node's thread has not heard of, in order.
        self._direct_calls: Dict[SentCall, None] = {}
        self._when_idle: Optional[Callable[[], None]] = None
        #: Slots of all devices, as of lately; any thread may read it. And when it is worth counting them again.
        self.slots = 0
        self._slots_due = 0.0

    def send(
        self, key: StreamKey, data: bytes, calls: int, done: Callable[[Any], None], may_wait_here: bool = False
    ) -> SentCall:
        """Send a unit; `done(outcome)` comes once, on the node's thread or in `wait_here`, unless it is cancelled.

        `may_wait_here`: whoever sends it may call that. Raises RuntimeError once `close` was called.
        """
        call = None
        try:
            with self._guard:
                if self._is_closed:
                    raise RuntimeError("cannot schedule new futures after shutdown")
                opened, retired = self._opened(key)
                call = SentCall(opened, data, calls, key.options.retries, done, self._arrived)
                # What is sent beside other calls goes where those go, many together.
                is_alone = (
                    may_wait_here and self._direct is not None and len(self._under_way) == len(self._direct_calls))
                opened.users.add(call)
                self._under_way.add(call)
                if is_alone:
                    self._direct_calls[call] = None
                else:
                    self._outgoing.append(call)
            if not is_alone:
                if not self._is_announced:
                    self._announce()
            elif not self._begins_here(call):
                with self._guard:
                    del self._direct_calls[call]
                    self._outgoing.append(call)
                self._announce()
            for each in retired:
                self._post(self._seal, each)
            return call
        except BaseException:
            # Ctrl-C, before whoever sends it has anything to wait for.
            if call is not None:
                self.cancel(call)
            raise

    def wait_here(self, call: SentCall, seconds: float) -> None:
        """Wait moments on this thread for a call's outcome, where it can be had here and nobody else waits for it."""
        direct, way = call.direct, self._direct
        if direct is None or way is None:
            return
        who, outcome = object(), None
        try:
            line = way.finish(direct, seconds)
            if line and not (call.left and has_line_raised(line)):
                outcome = direct.outcome(line)
                if direct.take(who):
                    self._deliver(call, outcome)
                    return
            self._hand_on(call, direct)
        except BaseException:
            # Ctrl-C. Whoever asks for it again has it from the node's thread; to be told twice does no harm.
            if direct.is_taken_by(who):
                self._post(self._deliver, call, outcome)
            else:
                self._hand_on(call, direct)
            raise

    def cancel(self, call: SentCall) -> None:
        """Do without a call, wherever it is; nothing happens to one that is done."""
        self._post(self._give_up, call)

    def work_s(self, key: StreamKey) -> float:
        """Return how long a call takes on a device of score 1, 0.0 while nobody knows."""
        opened = self._open.get(key)
        return opened.stream.work_s if opened is not None and opened.stream is not None else 0.0

    def close(self) -> None:
        """Take no more calls."""
        with self._guard:
            self._is_closed = True

    def cancel_waiting(self) -> None:
        """Do without all calls that no device has yet; returns when they have their outcome, or none will come."""
        with contextlib.suppress(ClusterEnded):
            self.ask(self._cancel_waiting)

    def wait_idle(self) -> None:
        """Return when all calls have their outcome, or none will come."""
        with self._guard:
            while self._under_way and self._thread.is_alive():
                self._changed.wait(LIFE_EVERY_S)

    def when_idle(self, callback: Callable[[], None]) -> None:
        """Call back, on whichever thread, once all calls have their outcome."""
        with self._guard:
            if self._under_way:
                self._when_idle = callback
                return
        callback()

    def ask(self, question: Callable[[], Any]) -> Any:
        """Return what `question()` returns on the node's thread, or has promised there; raise what it raises.

        Raises ClusterEnded where that thread has ended.
        """
        answers: SimpleQueue[Tuple[Any, Optional[Exception]]] = SimpleQueue()

        def run() -> None:
            try:
                answer = question()
            except Exception as error:
                answers.put((None, error))
                return
            if isinstance(answer, PromisedAnswer):
                answer.then(lambda result, error: answers.put((result, error)))
            else:
                answers.put((answer, None))

        self._post(run)
        while True:
            # An answer may still come from a thread that was alive a moment ago.
            is_alive = self._thread.is_alive()
            try:
                answer, error = answers.get(timeout=LIFE_EVERY_S if is_alive else 0.0)
            except Empty:
                if not is_alive:
                    raise ClusterEnded from None
                continue
            if error is not None:
                raise error
            return answer

    # ---- under the lock -----------------------------------------------------------------------------

    def _opened(self, key: StreamKey) -> Tuple[OpenStream, List[OpenStream]]:
        """Return the stream of a key, and those that are to be closed for it."""
        newest = self._newest
        if newest is not None and newest.key == key:
            return newest, []
        opened = self._newest = self._open.pop(key, None) or OpenStream(key)
        idle = [each for each in self._open.values() if not each.users] if len(self._open) >= STREAMS_KEPT else []
        retired = idle[:len(self._open) + 1 - STREAMS_KEPT]
        for each in retired:
            del self._open[each.key]
        self._open[key] = opened
        return opened, retired

    def _announce(self) -> None:
        """Tell the node's thread of outgoing calls."""
        try:
            self._is_announced = True
            self._post(self._take_outgoing)
        except BaseException:
            # Ctrl-C. To be told twice does no harm.
            self._post(self._take_outgoing)
            raise

    # ---- calls that begin on their caller's thread ----------------------------------------------------

    def _begins_here(self, call: SentCall) -> bool:
        if self._direct is not None and call.open.stream is not None:
            call.direct = self._direct.begin(call.open.stream.permit, call.data, partial(self._hand_on, call))
        return call.direct is not None

    def _hand_on(self, call: SentCall, direct: DirectCall) -> None:
        self._post(self._adopt, call, direct)

    # ---- on the node's thread -------------------------------------------------------------------------

    def _adopt(self, call: SentCall, direct: DirectCall) -> None:
        """Deal with a call that was begun on its caller's thread, unless that has dealt with it."""
        if not direct.take(object()):
            return
        with self._guard:
            self._direct_calls.pop(call, None)
        stream = call.open.stream
        call.unit, call.direct = stream.unit(call.data, call.calls, call.arrived), None
        stream.adopt(call.unit, direct.work)
        if call.is_over:
            # Ctrl-C came as it began.
            stream.cancel(call.unit)

    def _take_outgoing(self) -> None:
        with self._guard:
            outgoing, self._outgoing, self._is_announced = self._outgoing, [], False
            begun = [(call, call.direct) for call in self._direct_calls]
        for call, direct in begun:
            # What comes now has to know which slots are taken.
            if direct is not None:
                self._adopt(call, direct)
        if time.monotonic() >= self._slots_due:
            self.slots, self._slots_due = self._streams.total_slots(), time.monotonic() + SLOTS_EVERY_S
        by_stream: Dict[int, Tuple[Any, List[Any]]] = {}
        for call in outgoing:
            if not call.is_over:
                stream, unit = self._carried(call)
                by_stream.setdefault(id(stream), (stream, []))[1].append(unit)
        for stream, units in by_stream.values():
            stream.add(units)

    def _carried(self, call: SentCall) -> Tuple[Any, Any]:
        opened = call.open
        if opened.stream is None:
            packed, options, is_pure = opened.key
            name = packed.sha256 if len(self._open) <= STREAMS_NAMED else ""
            opened.stream = (self._kept if options.durable else self._streams).open(
                packed.line, function=name, priority=options.priority, requires=options.requires,
                max_devices=options.devices, pure=is_pure, wall_s=options.timeout,
            )
        call.unit = opened.stream.unit(call.data, call.calls, call.arrived)
        return opened.stream, call.unit

    def _arrived(self, call: SentCall, outcome: Any) -> None:
        if call.left and has_raised(outcome):
            call.left -= 1
            call.attempts += outcome.attempts
            stream, unit = self._carried(call)
            stream.add([unit])
            return
        self._deliver(call, outcome._replace(attempts=call.attempts + outcome.attempts) if call.attempts else outcome)

    def _deliver(self, call: SentCall, outcome: Any) -> None:
        if not call.is_over:
            call.done(outcome)
        self._ended(call)

    def _give_up(self, call: SentCall) -> None:
        if not call.is_over:
            if call.direct is not None:
                self._adopt(call, call.direct)
            if call.unit is not None:
                call.open.stream.cancel(call.unit)
            self._ended(call)

    def _ended(self, call: SentCall) -> None:
        with self._guard:
            # After Ctrl-C, or where it was cancelled while another thread had its outcome, all of this comes twice.
            self._direct_calls.pop(call, None)
            call.open.users.discard(call)
            self._under_way.discard(call)
            # The unit knows the call in turn: apart, both are gone at once.
            call.is_over, call.unit, call.direct = True, None, None
            if self._under_way:
                return
            callback, self._when_idle = self._when_idle, None
            self._changed.notify_all()
        if callback is not None:
            callback()

    def _cancel_waiting(self) -> Any:
        self._take_outgoing()
        with self._guard:
            streams = [opened.stream for opened in self._open.values() if opened.stream is not None]
        promised = [promise for promise in [stream.cancel_waiting() for stream in streams] if promise is not None]
        # They are kept in order.
        return promised[-1] if promised else None

    def _seal(self, opened: OpenStream) -> None:
        if opened.stream is not None:
            opened.stream.seal()


def has_raised(outcome: Any) -> bool:
    """Whether a call raised, as its outcome says."""
    return not outcome.error and has_line_raised(outcome.line)
