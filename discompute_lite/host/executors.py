"""Run work beside the loop: in slots with a thread each, or elsewhere; in killable processes by process_executor.py.

Knows:   slots, who waits for one, and how each kind of work is stopped.
Refuses: to know what the work is (tasks/work.py does), and to tell the loop: callbacks of a future come from
         other threads and only post.
Read next: host/process_executor.py, tasks/work.py; roles/ports.py has what roles see of this.

Every executor has `submit(request) -> WorkFuture` and `shutdown(now)`. A future's result is always a `WorkOutcome`:
what was stopped, killed or never begun has one too.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from concurrent.futures import BrokenExecutor, Executor, Future, InvalidStateError
from queue import SimpleQueue
from typing import Any, Callable, Deque, Generic, List, Optional, TypeVar

from ..model.errors import SettingsError
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
        #: Called, on any thread, where it turns out that it will not end within moments; None where nobody asks.
        self.on_long: Optional[Callable[[], None]] = None
        self._executor = executor

    def stop(self, reason: str) -> None:
        """End it; its result becomes an outcome with `reason`. Does nothing once it is done."""
        if not self.done():
            self._executor.interrupt(self, reason or "stopped")

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
        self.inbox: SimpleQueue[Optional[WorkFuture]] = SimpleQueue()
        self.thread: Optional[threading.Thread] = None
        #: Given, not yet done: at most one.
        self.current: Optional[WorkFuture] = None


SlotKind = TypeVar("SlotKind", bound=WorkSlot)


class SlotExecutor(Generic[SlotKind]):
    """Give requests to slots, first come first served; subclasses say what a slot does with one."""

    #: Seconds that `shutdown` waits for each thread.
    join_s = 10.0
    #: Whether work is held to its time and memory: a thread cannot be ended.
    holds_to_bounds = False

    def __init__(self, slots: int, slot_kind: Callable[[int], SlotKind]) -> None:
        self._slots: List[SlotKind] = [slot_kind(number) for number in range(max(1, slots))]
        #: Guards everything below and `current` of the slots; never held while anything runs or is called back.
        self._lock = threading.Lock()
        self._waiting: Deque[WorkFuture] = deque()
        self._is_closed = False

    def submit(self, request: WorkRequest) -> WorkFuture:
        """Start or queue a request."""
        future = WorkFuture(request, self)
        with self._lock:
            if not self._is_closed:
                slot = self._free_slot(request.owner)
                if slot is None:
                    self._waiting.append(future)
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
            if future in self._waiting:
                self._waiting.remove(future)
            elif slot is not None and not (future.has_begun and self._stop_running(slot)):
                # Its slot settles it: it sees `stop_reason` before it begins, or its child is gone.
                return
        future.settle(stopped_outcome(reason))

    def shutdown(self, now: bool = True) -> None:
        """End: `now` stops what runs and waits, else it is finished first. Returns when nothing is left."""
        with self._lock:
            self._is_closed = True
            dropped = list(self._waiting) if now else []
            if now:
                self._waiting.clear()
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

    def _suits(self, slot: SlotKind, owner: str) -> int:
        """Return how well an idle slot suits a task, higher is better."""
        return 0

    def _next(self, slot: SlotKind) -> Optional[WorkFuture]:
        return slot.inbox.get()

    def _slot_ends(self, slot: SlotKind) -> None:
        """Clean up after a slot's last request."""

    # ---- inside -------------------------------------------------------------------------------------

    def _free_slot(self, owner: str) -> Optional[SlotKind]:
        free = [slot for slot in self._slots if slot.current is None]
        return max(free, key=lambda slot: self._suits(slot, owner)) if free else None

    def _begin(self, slot: SlotKind, future: WorkFuture) -> None:
        """Give a slot what it does next, under the lock, on the thread of whoever submits."""
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
                future.has_begun = future.has_begun or future.set_running_or_notify_cancel()
            if future.has_begun:
                is_stopped = is_new and bool(future.stop_reason)
                outcome = stopped_outcome(future.stop_reason) if is_stopped else self._perform_safely(slot, future)
            with self._lock:
                self._free(slot, self._give)
            if outcome is not None:
                future.settle(outcome)
        self._slot_ends(slot)

    def _free(self, slot: SlotKind, give: Callable[[SlotKind, WorkFuture], None]) -> None:
        """Let a slot go on, under the lock; before the callbacks, so that what they submit comes to this warm slot."""
        slot.current = None
        if self._waiting:
            give(slot, self._waiting.popleft())
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


class ExternalExecutor:
    """Run work in any `concurrent.futures.Executor`: it decides where and how many at once.

    One that breaks (a pool whose process was killed is of no use any more) is made anew by `make`, in a thread, since
    that may take long; what is submitted meanwhile waits. `say` is told, from other threads too.
    """

    #: What runs there is not ours to end.
    holds_to_bounds = False

    def __init__(
        self, executor: Executor, limits: Limits = WORK_LIMITS, allow_pickle: bool = False,
        make: Optional[Callable[[], Executor]] = None, say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._executor = executor
        self._limits = limits
        self._allow_pickle = allow_pickle
        self._make, self._say = make, say
        self._lock = threading.Lock()
        #: Not yet done: our future to theirs.
        self._inner: Any = {}
        #: What waits for the new executor, None while there is one.
        self._waiting: Optional[List[WorkFuture]] = None
        self._is_closed = False
        install_taps()

    def submit(self, request: WorkRequest) -> WorkFuture:
        """Hand a request on."""
        future = WorkFuture(request, self)
        self._hand_on(future)
        return future

    def _hand_on(self, future: WorkFuture, *, is_again: bool = False) -> None:
        with self._lock:
            executor = self._executor
            if self._waiting is not None:
                self._waiting.append(future)
                return
        try:
            inner = executor.submit(run_work, future.request, self._limits, None, self._allow_pickle)
        except Exception as error:
            # A foreign executor: shut down, broken, or anything else.
            if self._broke(executor, error) and not is_again:
                self._hand_on(future, is_again=True)
            else:
                future.settle(_broken_outcome(error))
            return
        if not future.running():
            future.set_running_or_notify_cancel()
        with self._lock:
            self._inner[future] = inner
        inner.add_done_callback(lambda inner: self._done(future, inner, executor, is_again))

    def _broke(self, executor: Executor, error: Optional[BaseException]) -> bool:
        """Have a new executor made in place of one that broke; return whether that is under way, or done."""
        if self._make is None or not isinstance(error, BrokenExecutor):
            return False
        with self._lock:
            if self._is_closed:
                return False
            if executor is self._executor and self._waiting is None:
                self._waiting = []
                threading.Thread(target=self._renew, args=(executor, error), name="new-executor", daemon=True).start()
        return True

    def _renew(self, broken: Executor, error: BaseException) -> None:
        assert self._make is not None
        broken.shutdown(wait=False)
        what = f"the executor broke ({type(error).__name__}: {error})"
        fresh, problem = broken, None
        try:
            fresh = self._make()
        except Exception as trouble:
            # The user's own code runs here, so anything may come out of it.
            problem = trouble
        with self._lock:
            self._executor = fresh
            waiting, self._waiting = self._waiting or [], None
            is_closed = self._is_closed
        for future in waiting:
            if is_closed or problem is not None:
                future.settle(_broken_outcome(problem or error))
            elif not future.done():
                self._hand_on(future, is_again=True)
        if is_closed:
            fresh.shutdown(wait=False)
        elif problem is None:
            self._say(f"{what}; a new one is in its place")
        else:
            self._say(f"{what}, and none can be made in its place ({problem}); it is tried again with the next work")

    def interrupt(self, future: WorkFuture, reason: str) -> None:
        """Cancel what has not begun; disown what runs."""
        with self._lock:
            inner = self._inner.pop(future, None)
        # First, because cancelling calls back at once.
        future.settle(stopped_outcome(reason))
        if inner is not None:
            inner.cancel()

    def shutdown(self, now: bool = True) -> None:
        """Shut the executor down; with `now`, without waiting for what runs."""
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
            pending = list(self._inner)
        if now:
            for future in pending:
                future.stop("the node is shutting down")
        self._executor.shutdown(wait=not now)
        if not was_closed:
            remove_taps()

    def _done(self, future: WorkFuture, inner: Any, executor: Executor, is_again: bool) -> None:
        with self._lock:
            self._inner.pop(future, None)
        if inner.cancelled():
            future.settle(stopped_outcome("its executor cancelled it"))
        elif inner.exception() is not None:
            if self._broke(executor, inner.exception()) and future.request.phase != "run" and not is_again:
                # Subtasks are tried again by whoever gave them; to split and to merge nobody else does.
                self._hand_on(future, is_again=True)
            else:
                future.settle(_broken_outcome(inner.exception()))
        else:
            future.settle(inner.result())


def load_executor(reference: str) -> Any:
    """Return the executor that `module:callable` makes; raise `SettingsError` naming what is wrong."""
    module_name, _, name = reference.partition(":")
    try:
        __import__(module_name)
        return getattr(sys.modules[module_name], name)()
    except Exception as error:
        # The user's own code runs here, so anything may come out of it.
        raise SettingsError(f"executor {reference} cannot be used ({error!r}); mend it, or write process") from None


def _broken_outcome(error: BaseException) -> WorkOutcome:
    reason = f"the executor failed: {type(error).__name__}: {error}"
    return WorkOutcome(False, error=reason, error_type=type(error).__name__, blame=BLAME_DEVICE)
