"""Run work beside the loop, in slots with a thread each; in killable processes by process_executor.py.

Knows:   slots, who waits for one, and how each kind of work is stopped.
Refuses: to know what the work is (tasks/work.py does), and to tell the loop: callbacks of a future come from
         other threads and only post.
Read next: host/process_executor.py, host/foreign_executors.py, tasks/work.py; roles/ports.py (what roles see of it).

Every executor has `submit(request) -> WorkFuture` and `shutdown(now)`. A future's result is always a `WorkOutcome`:
what was stopped, killed or never begun has one too.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from concurrent.futures import Future, InvalidStateError
from queue import SimpleQueue
from typing import Any, Callable, Deque, Generic, List, Optional, TypeVar

from ..model.limits import Limits
from ..tasks.work import (
    BLAME_DEVICE, WORK_LIMITS, WorkOutcome, WorkRequest, install_taps, remove_taps, run_work,
)


def stopped_outcome(reason: str) -> WorkOutcome:
    """Return the outcome of work that was stopped from outside."""
    return WorkOutcome(False, error=reason, error_type="Stopped")


class WorkFuture(Future):
    """Stand for one request; `stop` ends it whether it waits or runs."""

    def __init__(self, request: WorkRequest, executor: Any) -> None:
        super().__init__()
        self.request = request
        #: Why it is to stop, "" while it is not.
        self.stop_reason = ""
        self.has_begun = False
        #: Why it gets no further just now, "" while it does.
        self.standstill = ""
        #: Called with this, on any thread, where it will not end within moments; None where nobody asks.
        self.on_long: Optional[Callable[[WorkFuture], None]] = None
        self._executor = executor

    def stop(self, reason: str) -> None:
        """End it; its result becomes an outcome with `reason`. Does nothing once it is done."""
        if not self.done():
            self._executor.interrupt(self, reason or "stopped")

    def begin(self) -> bool:
        """Take note that it begins, perhaps anew; return False where it was cancelled before."""
        self.has_begun = self.has_begun or self.set_running_or_notify_cancel()
        return self.has_begun

    def settle(self, outcome: WorkOutcome) -> None:
        """Give the result, unless there is one already."""
        try:
            self.set_result(outcome)
        except InvalidStateError:
            # Stopped or cancelled meanwhile: that was its outcome.
            pass


class WorkSlot:
    """Hold one slot: its thread, and what it does just now."""

    def __init__(self, number: int) -> None:
        self.number = number
        #: Kept for what concerns tasks as a whole: to split and to merge one waits for no piece.
        self.is_reserved = False
        self.inbox: SimpleQueue[Optional[WorkFuture]] = SimpleQueue()
        self.thread: Optional[threading.Thread] = None
        #: Given, not yet done: at most one.
        self.current: Optional[WorkFuture] = None


SlotKind = TypeVar("SlotKind", bound=WorkSlot)


class SlotExecutor(Generic[SlotKind]):
    """Give requests to slots, first come first served; subclasses say what a slot does with one.

    There is one slot more than was asked for, where tasks are split and merged. While it is taken, perhaps by a split
    that hangs, the next such request gets a slot that is free, or the one that comes free first.
    """

    #: Seconds that `shutdown` waits for each thread.
    join_s = 10.0
    #: Whether work is held to its time and memory: a thread cannot be ended.
    holds_to_bounds = False

    def __init__(self, slots: int, slot_kind: Callable[[int], SlotKind]) -> None:
        self._slots: List[SlotKind] = [slot_kind(number) for number in range(max(1, slots) + 1)]
        self._slots[-1].is_reserved = True
        #: Guards everything below and `current` of the slots; never held while anything runs or is called back.
        self._lock = threading.Lock()
        #: What waits for a slot: pieces of tasks, and before them what concerns whole ones.
        self._waiting: Deque[WorkFuture] = deque()
        self._waiting_whole: Deque[WorkFuture] = deque()
        self._is_closed = False

    def submit(self, request: WorkRequest) -> WorkFuture:
        """Start or queue a request."""
        future = WorkFuture(request, self)
        with self._lock:
            if not self._is_closed:
                slot = self._free_slot(request)
                if slot is None:
                    self._queue_of(request).append(future)
                    self._look_ahead()
                else:
                    self._begin(slot, future)
                return future
        future.settle(stopped_outcome("the executor is shut down"))
        return future

    def interrupt(self, future: WorkFuture, reason: str) -> None:
        """Do what `WorkFuture.stop` promises."""
        with self._lock:
            future.stop_reason = reason
            slot = next((slot for slot in self._slots if slot.current is future), None)
            queue = self._queue_of(future.request)
            if future in queue:
                queue.remove(future)
            elif slot is not None and not (future.has_begun and self._stop_running(slot)):
                # Its slot settles it: it sees `stop_reason` before it begins, or its child is gone.
                return
        future.settle(stopped_outcome(reason))

    def shutdown(self, now: bool = True) -> None:
        """End: `now` stops what runs and waits, else it is finished first. Returns when nothing is left."""
        with self._lock:
            self._is_closed = True
            dropped: List[WorkFuture] = []
            for queue in (self._waiting_whole, self._waiting) if now else ():
                dropped += queue
                queue.clear()
            running = [slot.current for slot in self._slots if slot.current is not None]
            for slot in self._slots:
                if slot.current is None:
                    slot.inbox.put(None)
        for future in dropped + (running if now else []):
            future.stop("the node is shutting down")
        for slot in self._slots:
            if slot.thread is not None and slot.thread is not threading.current_thread():
                slot.thread.join(self.join_s if now else None)

    # ---- what subclasses write ----------------------------------------------------------------------

    def _perform(self, slot: SlotKind, future: WorkFuture) -> WorkOutcome:
        raise AssertionError("a subclass writes this")

    def _stop_running(self, slot: SlotKind) -> bool:
        """Stop what a slot runs, under the lock; return whether its future is to be settled at once."""
        raise AssertionError("a subclass writes this")

    def _look_ahead(self) -> None:
        """Prepare for what waits, under the lock."""

    def _suits(self, slot: SlotKind, owner: str) -> int:
        """Return how well an idle slot suits a task, higher is better."""
        return 0

    def _next(self, slot: SlotKind) -> Optional[WorkFuture]:
        return slot.inbox.get()

    def _slot_ends(self, slot: SlotKind) -> None:
        """Clean up after a slot's last request."""

    # ---- inside -------------------------------------------------------------------------------------

    def _queue_of(self, request: WorkRequest) -> Deque[WorkFuture]:
        return self._waiting_whole if request.is_of_whole else self._waiting

    def _free_slot(self, request: WorkRequest) -> Optional[SlotKind]:
        free = [slot for slot in self._slots if slot.current is None and (request.is_of_whole or not slot.is_reserved)]
        return max(free, key=lambda slot: (slot.is_reserved, self._suits(slot, request.owner))) if free else None

    def _begin(self, slot: SlotKind, future: WorkFuture) -> None:
        """Give a slot what it does next, under the lock, on the thread of whoever submits."""
        self._give(slot, future)

    def _go_on(self, slot: SlotKind, future: WorkFuture) -> None:
        """Do the same on the slot's own thread."""
        self._give(slot, future)

    def start_threads(self) -> None:
        """Start the threads of all slots now: from Python 3.12 on none can be started once a script has ended."""
        with self._lock:
            for slot in self._slots:
                self._start_thread(slot)

    def _start_thread(self, slot: SlotKind) -> None:
        if slot.thread is None:
            name = f"discompute-slot-{slot.number}"
            slot.thread = threading.Thread(target=self._serve, args=(slot,), name=name, daemon=True)
            slot.thread.start()

    def _give(self, slot: SlotKind, future: WorkFuture) -> None:
        """Give a slot's thread what it does next, under the lock."""
        slot.current = future
        self._start_thread(slot)
        slot.inbox.put(future)

    def _perform_safely(self, slot: SlotKind, future: WorkFuture) -> WorkOutcome:
        """Perform, and give an outcome whatever happens: a slot's thread that ends would hold its subtask for ever."""
        try:
            return self._perform(slot, future)
        except Exception as problem:
            logging.getLogger("discompute").exception("a slot failed")
            text = f"this device could not run it ({type(problem).__name__}); another may"
            return WorkOutcome(False, error=text, error_type="Died", blame=BLAME_DEVICE)

    def _serve(self, slot: SlotKind) -> None:
        """Be a slot's thread."""
        while True:
            future = self._next(slot)
            if future is None:
                break
            outcome = None
            with self._lock:
                # Somebody else may have begun it, and left the rest to this thread.
                is_new = not future.has_begun
                has_begun = future.begin()
            if has_begun:
                is_stopped = is_new and bool(future.stop_reason)
                outcome = stopped_outcome(future.stop_reason) if is_stopped else self._perform_safely(slot, future)
            with self._lock:
                self._free(slot, self._go_on)
            if outcome is not None:
                future.settle(outcome)
        self._slot_ends(slot)

    def _free(self, slot: SlotKind, give: Callable[[SlotKind, WorkFuture], None]) -> None:
        """Let a slot go on, under the lock; before the callbacks, so that what they submit comes to this warm slot."""
        slot.current = None
        queue = self._waiting_whole if self._waiting_whole or slot.is_reserved else self._waiting
        if queue:
            give(slot, queue.popleft())
        elif self._is_closed:
            slot.inbox.put(None)


class ThreadExecutor(SlotExecutor[WorkSlot]):
    """Run work in threads of this process: a phone's way. What runs cannot be stopped, only disowned."""

    #: A function that does not end would hold up the node's own end.
    join_s = 0.05

    def __init__(self, slots: int, limits: Limits = WORK_LIMITS, allow_pickle: bool = False) -> None:
        super().__init__(slots, WorkSlot)
        self._limits = limits
        self._allow_pickle = allow_pickle
        install_taps()

    def shutdown(self, now: bool = True) -> None:
        """End; with `now`, a function that still runs is left to end by itself."""
        was_closed = self._is_closed
        super().shutdown(now)
        if not was_closed:
            remove_taps()

    def _perform(self, slot: WorkSlot, future: WorkFuture) -> WorkOutcome:
        return run_work(future.request, self._limits, None, self._allow_pickle)

    def _stop_running(self, slot: WorkSlot) -> bool:
        # The slot stays taken until the function returns: it still uses the processor.
        return True
