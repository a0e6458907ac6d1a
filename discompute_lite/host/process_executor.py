"""Run work in child processes: killable, one a slot, started when first needed, kept warm, and replaced when worn.

Knows:   which child serves which task, what it has served so far, and when it is to be ended or replaced.
Refuses: to know what the work is (tasks/work.py does); to start or end a child on the loop's thread, which takes long.
Read next: host/executors.py (slots and their threads), host/loop_lane.py (the way past the threads).
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import replace
from functools import partial
from queue import Empty
from typing import Callable, List, Mapping, Optional

from ..model.errors import StateError
from ..model.limits import Limits
from ..tasks.work import BLAME_REFUSED, BLAME_TASK, WORK_LIMITS, WorkOutcome, WorkRequest
from .child_process import ChildDied, ChildOverdue, ChildProcess
from .exchange import Exchange
from .executors import SlotExecutor, WorkFuture, stopped_outcome
from .loop_lane import LANE_S, LanePort, LoopLane
from .process_slot import ProcessSlot
from .spare_child import SpareChild

#: Seconds that a request may take where it names no limit itself.
WALL_S = 3600.0
#: Seconds after which a child without work is ended: it holds memory, and data of its task.
CHILD_IDLE_S = 30.0
_FOLDER_PREFIX = "child-"


class ProcessExecutor(SlotExecutor[ProcessSlot]):
    """Run work in child processes. With a loop, `submit` and `WorkFuture.stop` are for that loop's thread only.

    Requests that take moments any thread may begin and finish past it: `begin_warm`, `finish_here`.
    """

    holds_to_bounds = True

    def __init__(
        self, slots: int, command: List[str], environ: Mapping[str, str], scratch_dir: str, *,
        loop: Optional[LanePort] = None, limits: Limits = WORK_LIMITS, say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`command` starts a child (it calls `child_main`); children get folders in `scratch_dir`.

        `say`, which is told what a person can do something about, is called on other threads.
        """
        super().__init__(slots, ProcessSlot)
        self._command = command
        self._environ = dict(environ)
        self._scratch = scratch_dir
        self._say = say
        self._limits = limits
        self._started = 0
        self._spare = SpareChild(self._lock, self._start_child, lambda: self._is_closed)
        # Pipes cannot be watched on Windows.
        has_lane = loop is not None and sys.platform != "win32"
        self._lane = LoopLane(loop, self._lane_done, self._hand_over) if loop is not None and has_lane else None
        self._sweep_scratch()

    def shutdown(self, now: bool = True) -> None:
        """End all children and remove their folders."""
        with self._lock:
            self._is_closed = True
        if self._lane is not None:
            self._lane.give_up()
        # What could not be taken back is begun, though nobody has read yet what was before it.
        for ahead in [slot.ahead for slot in self._slots if slot.ahead is not None and now]:
            ahead.future.stop("the node is shutting down")
        super().shutdown(now)
        self._spare.end()
        self._sweep_scratch()

    def keep_ready(self) -> None:
        """Keep a child ready from now on, for the first piece of the next task."""
        self._spare.keep()
        with self._lock:
            self._start_thread(self._slots[0])

    def children(self) -> List[int]:
        """Return the process ids of the children that serve, or did so last."""
        return [child.pid for child in [slot.child for slot in self._slots] if child is not None]

    # ---- on any thread of whoever waits for moments only ----------------------------------------------

    def begin_warm(self, request: WorkRequest, on_long: Callable[[WorkFuture], None]) -> Optional[WorkFuture]:
        """Begin a request now, where a free slot has a warm child for it and nobody waits for one; else return None.

        `on_long(future)` is called, on any thread, where it will not end within moments; also before this returns.
        """
        if self._lane is None or not self._lane.is_for_all:
            return None
        future = WorkFuture(request, self)
        future.on_long = on_long
        with self._lock:
            if self._waiting or self._waiting_whole or self._is_closed:
                return None
            for slot in self._slots:
                if slot.current is None and not slot.is_reserved and self._is_warm_for(slot, request):
                    return future if self._begin_in_lane(slot, future) else None
        return None

    def finish_here(self, future: WorkFuture, seconds: float, awake_s: float = 0.0) -> bool:
        """Wait so long, so much of it awake, for the outcome of what was begun, read it on this thread, return whether
        it is there.

        What takes longer, and what somebody else reads already, comes as it would have.
        """
        for slot in self._slots:
            exchange = slot.exchange
            if slot.current is future and exchange is not None and self._lane is not None:
                self._lane.read_here(slot, exchange, seconds, awake_s)
        return future.done()

    # ---- on the thread of whoever submits -----------------------------------------------------------

    def _begin(self, slot: ProcessSlot, future: WorkFuture) -> None:
        if not (self._is_warm_for(slot, future.request) and self._begin_in_lane(slot, future)):
            self._give(slot, future)

    def _go_on(self, slot: ProcessSlot, future: WorkFuture) -> None:
        # The child is to have its next request before the loop hears of this outcome: it would keep this thread from
        # the interpreter for longer than a short piece takes.
        (self._begin if self._lane is not None and self._lane.is_for_all else self._give)(slot, future)

    def _begin_in_lane(self, slot: ProcessSlot, future: WorkFuture) -> bool:
        """Send a request past the slot's thread; False where that has to say that it cannot be sent, or is over."""
        assert self._lane is not None
        request = future.request
        try:
            exchange = Exchange(request, request.wall_s or WALL_S)
        except ValueError:
            return False
        if not future.begin():
            return False  # It was cancelled as it waited.
        exchange.future, slot.exchange = future, exchange
        # Before the slot is taken: Ctrl-C may come at any step.
        self._lane.expect(slot)
        slot.current = future
        self._lane.begin(slot)
        return True

    def _hand_over(self, slot: ProcessSlot) -> None:
        """Let the slot's thread go on with an exchange, unless Ctrl-C came before the slot was taken for it."""
        future = slot.current
        if future is None:
            return
        if future.on_long is not None:
            future.on_long(future)
        if slot.ahead is not None:
            # Another slot may be free for it sooner. (Not under the lock here: whoever has it has begun just now, with
            # nothing behind it.)
            with self._lock:
                self._take_back(slot)
        slot.inbox.put(future)

    def _is_warm_for(self, slot: ProcessSlot, request: WorkRequest) -> bool:
        """Whether a request may go past the slot's thread to its child."""
        child = slot.child
        return (
            self._lane is not None and child is not None and child.serves(request) and not slot.is_worn(self._limits)
            and not 0 < request.wall_s < LANE_S and child.is_ready()
        )

    def _lane_done(self, slot: ProcessSlot, exchange: Exchange, outcome: WorkOutcome) -> None:
        with self._lock:
            # It comes again where it was interrupted, and the slot may have gone on already.
            if slot.current is exchange.future:
                assert slot.child is not None
                slot.child.has_answered = True
                slot.note_served()
                slot.exchange, slot.used_at = None, time.monotonic()
                self._free(slot, self._begin)
        exchange.future.settle(outcome)

    # ---- what lies ahead in a child's pipe; all under the lock ------------------------------------------

    def interrupt(self, future: WorkFuture, reason: str) -> None:
        """Do what `WorkFuture.stop` promises."""
        with self._lock:
            slot = next((slot for slot in self._slots if slot.ahead is not None and slot.ahead.future is future), None)
            if slot is not None and slot.ahead is not None:
                future.stop_reason = reason
                ahead, slot.ahead = slot.ahead, None
                if not ahead.child.take_back(ahead.exchange.sent_bytes):
                    # It is begun, so the one before it has answered: that lies in the other pipe.
                    ahead.child.kill()
                self._look_ahead()
        if slot is None:
            super().interrupt(future, reason)
        else:
            future.settle(stopped_outcome(reason))

    def _look_ahead(self) -> None:
        if self._waiting_whole:
            # It comes first, in whatever slot.
            for slot in self._slots:
                self._take_back(slot)
        elif self._lane is not None and self._lane.is_for_all and not self._is_closed:
            while self._waiting and self._lay_ahead(self._waiting[0]):
                self._waiting.popleft()

    def _lay_ahead(self, future: WorkFuture) -> bool:
        """Give what waits first to a child that is busy; return whether it waits no more."""
        request = future.request
        if 0 < request.wall_s < LANE_S:
            return False
        for slot in self._slots:
            if slot.may_be_followed(request, self._limits):
                # What was cancelled as it waited is over.
                return not future.begin() or slot.write_ahead(future, request.wall_s or WALL_S)
        return False

    def _take_back(self, slot: ProcessSlot) -> bool:
        """Let what lies ahead in a slot wait for any slot again; return whether it does."""
        future = slot.take_back()
        if future is not None:
            self._waiting.appendleft(future)
        return future is not None

    def _free(self, slot: ProcessSlot, give: Callable[[ProcessSlot, WorkFuture], None]) -> None:
        if not self._goes_on(slot):
            if not self._waiting and not slot.is_reserved:
                # Rather here than behind what may last long.
                any(self._take_back(other) for other in self._slots if other.ahead is not None)
            super()._free(slot, give)
        self._look_ahead()

    def _goes_on(self, slot: ProcessSlot) -> bool:
        """Let what lies ahead be a slot's current request; return False where there is none, or its child is gone."""
        ahead, slot.ahead = slot.ahead, None
        if ahead is None or self._lane is None:
            return False
        if ahead.child is not slot.child or not ahead.child.is_ready():
            # Whatever ended the child, it was for what came before; and where it was not, it happens again.
            self._waiting.appendleft(ahead.future)
            return False
        ahead.exchange.start_clock()
        # In three steps: whoever waits for what was before, without the lock, is not to take this exchange for its own.
        slot.current = None
        slot.exchange, slot.current = ahead.exchange, ahead.future
        self._lane.begin(slot)
        return True

    # ---- on the slots' threads ----------------------------------------------------------------------

    def _perform(self, slot: ProcessSlot, future: WorkFuture) -> WorkOutcome:
        request, (exchange, slot.exchange) = future.request, (slot.exchange, None)
        wall_s = request.wall_s if request.wall_s > 0 else WALL_S
        try:
            if exchange is not None and slot.child is not None:
                child = slot.child
            else:
                child, exchange = self._begun_child(slot, future), Exchange(request, wall_s)
            outcome = child.finish(exchange, partial(self._stands_still, future, child.pid), partial(self._bury, slot))
            slot.note_served()
            return outcome
        except ValueError as error:
            return WorkOutcome(False, error=f"its data is too large: {error}", error_type="TooLarge", blame=BLAME_TASK)
        except ChildOverdue:
            reason, kind, blame = f"it ran longer than its limit of {wall_s:g} s", "TimedOut", BLAME_TASK
        except ChildDied as died:
            reason, kind, blame = str(died), died.kind, died.blame
        finally:
            self._bury(slot)
        printed = self._end_child(slot)
        if future.stop_reason:
            return replace(stopped_outcome(future.stop_reason), output=printed)
        return WorkOutcome(False, error=reason, error_type=kind, output=printed, blame=blame)

    def _begun_child(self, slot: ProcessSlot, future: WorkFuture) -> ChildProcess:
        """Return the child that is to do it; raise `ChildDied` where there is none."""
        try:
            child = self._child_for(slot, future.request)
        except StateError as error:
            # Nobody's fault, and over when there is room again.
            raise ChildDied(error.message, "NoRoom", BLAME_REFUSED) from None
        except OSError as error:
            raise ChildDied(f"a process could not be started: {error.strerror or error}", "NotStarted") from None
        if future.stop_reason:
            raise ChildDied(future.stop_reason)
        return child

    def _stands_still(self, future: WorkFuture, pid: int, how: str) -> None:
        """Have what may be done twice done by another child, and wait with the rest; `how` is "" while it goes on."""
        if how and future.request.may_repeat:
            raise ChildDied(f"the process {how}")
        if how and not future.standstill:
            self._say(f"process {pid} {how} amid work that must not be done twice, and stands still; let it go on"
                      f" (kill -CONT {pid}), or cancel that work")
        future.standstill = how and f"process {pid} {how}"

    def _child_for(self, slot: ProcessSlot, request: WorkRequest) -> ChildProcess:
        child = slot.child
        if child is not None and (not child.serves(request) or slot.is_worn(self._limits) or not child.is_ready()):
            child.kill()
            slot.replaced, slot.child, child = child, None, None
        if child is None:
            child = self._spare.take(request.memory_bytes) or self._start_child(request.memory_bytes)
            child.owner = request.owner
            slot.served = slot.first_bytes = 0
            slot.child = child
        return child

    def _start_child(self, memory_bytes: int) -> ChildProcess:
        with self._lock:
            self._started += 1
            folder = os.path.join(self._scratch, f"{_FOLDER_PREFIX}{self._started}")
        bound = [str(memory_bytes)] if memory_bytes else []
        child = ChildProcess([*self._command, *bound], self._environ, folder)
        child.memory_bytes = memory_bytes
        return child

    def _stop_running(self, slot: ProcessSlot) -> bool:
        # `stop_reason` is set already: a child that is only being started will not be used.
        if slot.child is not None:
            slot.child.kill()
        return False

    def _suits(self, slot: ProcessSlot, owner: str) -> int:
        child = slot.child
        return 2 if child is not None and child.owner == owner else 1 if child is None else 0

    def _next(self, slot: ProcessSlot) -> Optional[WorkFuture]:
        since = time.monotonic()
        while slot.child is not None or self._spare.is_due_soon():
            self._spare.lay(slot.child.memory_bytes if slot.child is not None else 0)
            try:
                return slot.inbox.get(timeout=min(self._spare.look_again_s(), CHILD_IDLE_S))
            except Empty:
                with self._lock:
                    # The lane may use it without a word to this thread, but not under this lock.
                    idle_s = time.monotonic() - max(since, slot.used_at)
                    is_idle = slot.current is None and idle_s >= CHILD_IDLE_S
                    child, slot.child = (slot.child, None) if is_idle else (None, slot.child)
                    is_at_rest = all(each.current is None for each in self._slots)
                if child is not None:
                    child.end()
                if is_at_rest:
                    self._spare.let_go()
        return slot.inbox.get()

    def _slot_ends(self, slot: ProcessSlot) -> None:
        self._end_child(slot)

    def _end_child(self, slot: ProcessSlot) -> str:
        """End a slot's child; return what it had printed in a request that it did not finish."""
        child, slot.child = slot.child, None
        return child.end() if child is not None else ""

    def _bury(self, slot: ProcessSlot) -> None:
        """Take leave of the child in whose place another works by now, which shall not wait for that."""
        replaced, slot.replaced = slot.replaced, None
        if replaced is not None:
            replaced.end()

    def _sweep_scratch(self) -> None:
        """Remove the folders of children that are no more, those of a node that was killed included."""
        try:
            names = os.listdir(self._scratch)
        except OSError:
            return
        for name in names:
            if name.startswith(_FOLDER_PREFIX):
                shutil.rmtree(os.path.join(self._scratch, name), ignore_errors=True)
