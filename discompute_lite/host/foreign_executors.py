"""Run work in any `concurrent.futures.Executor` that a person names, such as a whole Dask, Ray, MPI or Slurm cluster.

Knows:   which of its futures stands for which of ours, how a broken one is made anew, and how this process ends though
         one hangs.
Refuses: to end what runs there while the node lives: that is not ours to end. Callbacks come from other threads.
Read next: host/executors.py (our own kinds), tasks/work.py (what is run).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, Executor
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Callable, List, Optional

from ..model.errors import SettingsError
from ..model.limits import Limits
from ..tasks.work import BLAME_DEVICE, WORK_LIMITS, WorkOutcome, WorkRequest, install_taps, remove_taps, run_work
from .executors import WorkFuture, stopped_outcome

#: Seconds that an executor has to take note that it is shut down.
SHUTDOWN_S = 1.0
#: Seconds that its threads and processes then have to end, and the processes twice more when they are told to.
END_S, TERMINATE_S = 2.0, 0.25


class ExternalExecutor:
    """Run work in any `concurrent.futures.Executor`: it decides where and how many at once.

    It is called by one thread, ours alone: to submit may mean to start a process, or to wait for a lock that a pool
    holds while it breaks, and to cancel to ask a server; the node hears nothing while its own thread stands still. One
    that breaks (a pool whose process was killed is of no use any more) is made anew by `make`; what is submitted
    meanwhile waits. `say` is told by that thread.
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
        #: Guards `_inner`.
        self._lock = threading.Lock()
        #: Not yet done: our future to theirs, None until that is there.
        self._inner: Any = {}
        #: Why none could be made the last time, None since one was; what had broken; and how often none could be made:
        #: what was submitted before fails with it.
        self._problem: Optional[BaseException] = None
        self._broke: BaseException = BrokenExecutor()
        self._failures = 0
        self._is_closed = False
        #: What our thread does next; None is the end.
        self._inbox: SimpleQueue[Optional[Callable[[], None]]] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="foreign-executor", daemon=True)
        self._thread.start()
        install_taps()

    def submit(self, request: WorkRequest) -> WorkFuture:
        """Have a request handed on."""
        future = WorkFuture(request, self)
        future.set_running_or_notify_cancel()
        with self._lock:
            is_closed = self._is_closed
            if not is_closed:
                self._inner[future] = None
                self._inbox.put(partial(self._hand_on, future, self._failures))
        if is_closed:
            self._give_up(future, RuntimeError("it is shut down"))
        return future

    def interrupt(self, future: WorkFuture, reason: str) -> None:
        """Cancel what has not begun; disown what runs."""
        with self._lock:
            inner = self._inner.pop(future, None)
        # First, because cancelling calls back at once.
        future.settle(stopped_outcome(reason))
        if inner is not None:
            self._inbox.put(inner.cancel)

    def shutdown(self, now: bool = True) -> None:
        """Shut the executor down; with `now`, without waiting for what runs, nor long for an executor that hangs."""
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
            pending = list(self._inner)
        for future in pending if now else ():
            future.stop("the node is shutting down")
        if not was_closed:
            self._inbox.put(lambda: self._executor.shutdown(wait=not now))
            self._inbox.put(None)
        self._thread.join(SHUTDOWN_S if now else None)
        if not was_closed:
            remove_taps()

    # ---- on our thread ----------------------------------------------------------------------------------------

    def _serve(self) -> None:
        for act in iter(self._inbox.get, None):
            _take_no_ctrl_c()
            try:
                act()
            except BaseException as problem:
                # The user's own code runs here, so anything may come out of it, `SystemExit` included.
                self._say(f"the executor failed ({type(problem).__name__}: {problem})")

    def _hand_on(self, future: WorkFuture, failures: int, *, is_again: bool = False) -> None:
        if future.done():
            return
        if self._problem is not None and failures == self._failures:
            self._renew(self._executor, self._broke)
        if self._problem is not None:
            self._give_up(future, self._problem)
            return
        executor = self._executor
        try:
            inner = executor.submit(run_there, future.request, self._limits, self._allow_pickle)
        except BaseException as error:
            # A foreign executor: shut down, broken, or anything else.
            if not is_again and self._can_renew(error):
                self._renew(executor, error)
                self._hand_on(future, failures, is_again=True)
            else:
                self._give_up(future, error)
            return
        with self._lock:
            is_wanted = future in self._inner
            if is_wanted:
                self._inner[future] = inner
        if is_wanted:
            inner.add_done_callback(lambda inner: self._done(future, inner, executor, is_again))
        else:
            inner.cancel()  # It was stopped meanwhile.

    def _can_renew(self, error: Optional[BaseException]) -> bool:
        return self._make is not None and isinstance(error, BrokenExecutor) and not self._is_closed

    def _renew(self, broken: Executor, error: BaseException) -> None:
        """Make a new executor in place of one that broke, unless that was done."""
        if broken is not self._executor or self._is_closed:
            return
        assert self._make is not None
        what = f"the executor broke ({type(error).__name__}: {error})"
        with suppress(Exception):  # Whatever comes out of one that is broken: another takes its place.
            _end_broken(broken)
        try:
            fresh = self._make()
        except BaseException as trouble:
            # The user's own code runs here, so anything may come out of it.
            self._problem, self._broke, self._failures = trouble, error, self._failures + 1
            self._say(f"{what}, and none can be made in its place ({trouble}); it is tried again with the next work")
        else:
            self._problem, self._executor = None, fresh
            self._say(f"{what}; a new one is in its place")

    # ---- on theirs --------------------------------------------------------------------------------------------

    def _done(self, future: WorkFuture, inner: Any, executor: Executor, is_again: bool) -> None:
        if inner.cancelled():
            self._settle(future, stopped_outcome("its executor cancelled it"))
            return
        error = inner.exception()
        if error is None:
            self._settle(future, inner.result())
            return
        with self._lock:
            # Held, so that nothing is put behind the end.
            can_renew = self._can_renew(error)
            # Subtasks are tried again by whoever gave them; to split and to merge nobody else does.
            is_once_more = can_renew and future.request.is_of_whole and not is_again
            if can_renew:
                self._inbox.put(partial(self._renew, executor, error))
            if is_once_more:
                self._inbox.put(partial(self._hand_on, future, self._failures, is_again=True))
        if not is_once_more:
            self._give_up(future, error)

    def _give_up(self, future: WorkFuture, error: BaseException) -> None:
        reason = f"the executor failed: {type(error).__name__}: {error}"
        self._settle(future, WorkOutcome(False, error=reason, error_type=type(error).__name__, blame=BLAME_DEVICE))

    def _settle(self, future: WorkFuture, outcome: WorkOutcome) -> None:
        with self._lock:
            self._inner.pop(future, None)
        future.settle(outcome)


def run_there(request: WorkRequest, limits: Limits, allow_pickle: bool) -> WorkOutcome:
    """Run one phase where an executor has its threads or processes; never raises."""
    _let_children_take_ctrl_c()
    return run_work(request, limits, None, allow_pickle)


def external_executor(
    reference: str, limits: Limits, allow_pickle: bool, say: Callable[[str], None]
) -> ExternalExecutor:
    """Return an executor that runs work in the one that `module:callable` makes; raise `SettingsError` as below."""
    make = partial(load_executor, reference)
    return ExternalExecutor(make(), limits, allow_pickle, make, say)


def load_executor(reference: str) -> Any:
    """Return the executor that `module:callable` makes; raise `SettingsError` naming what is wrong."""
    module_name, _, name = reference.partition(":")
    try:
        __import__(module_name)
        return getattr(sys.modules[module_name], name)()
    except Exception as error:
        # The user's own code runs here, so anything may come out of it.
        raise SettingsError(f"executor {reference} cannot be used ({error!r}); mend it, or write process") from None


def end_process(code: int, say: Callable[[str], None]) -> None:
    """Have this process end with `code` soon, though threads or processes of an executor would hold its end up.

    Returns at once: an interpreter that ends waits without a bound for the threads and the processes of the standard
    pools: a function may compute for hours, and a pool may have lost a process from sight as it broke.
    One more Ctrl-C, which would end that wait in a traceback, ends all at once.
    """
    hurry = threading.Event()
    with suppress(ValueError):  # Not the main thread: an app's console.
        signal.signal(signal.SIGINT, lambda *_: hurry.set())
    threading.Thread(target=_end_anyway, args=(code, say, hurry), name="end-in-time", daemon=True).start()


def _end_anyway(code: int, say: Callable[[str], None], hurry: threading.Event) -> None:
    in_time = "at once" if hurry.wait(END_S) else f"in {END_S:.0f} seconds"
    say(f"the executor's threads or processes on this machine have not ended {in_time} and are ended by force; look"
        " after what it runs elsewhere")
    # They would outlive this process: each holds the pipe open that tells it of the end.
    multiprocessing = sys.modules.get("multiprocessing")
    children: List[Any] = multiprocessing.active_children() if multiprocessing is not None else []
    for child in children:
        child.terminate()
    until = time.monotonic() + TERMINATE_S
    for child in children:
        child.join(max(0.0, until - time.monotonic()))
    for child in children:
        child.kill()
    if children:
        time.sleep(TERMINATE_S)  # That may have been all: then everything is tidied up as ever.
    os._exit(code)


def _end_broken(executor: Executor) -> None:
    """Shut a broken executor down, and end the processes of a pool, which it may have lost from sight as it broke.

    Up to Python 3.11 `ProcessPoolExecutor` gives its futures their failure before it ends its processes, and holds no
    lock meanwhile: one that is cancelled or submitted just then may end its thread by an exception. The processes would
    then wait for work for ever, and the end of the interpreter for them.
    """
    for process in list((getattr(executor, "_processes", None) or {}).values()):
        process.kill()
    executor.shutdown(wait=False)


def _take_no_ctrl_c() -> None:
    """Have the processes that this thread starts inherit that Ctrl-C does not interrupt them.

    A terminal sends it to each process of a command, and each that rests in a pool would show a traceback; they end
    with the node. Called again and again, since `multiprocessing` of older Pythons lets it through again.
    """
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))


def _let_children_take_ctrl_c() -> None:
    """Take back what a pool's process or thread inherited by the above: programs that work starts would inherit it.

    A process whose main thread works here goes on to take no notice of Ctrl-C, by a way that no program inherits:
    what it works for may be another device's, for whom an interrupted piece would be one that failed.
    """
    if not hasattr(signal, "pthread_sigmask") or signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        return
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
