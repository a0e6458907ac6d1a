"""Run work in any `concurrent.futures.Executor` that a person names, such as a whole Dask, Ray, MPI or Slurm cluster.

Knows:   which of its futures stands for which of ours, and how a broken one is made anew.
Refuses: to end what runs there: that is not ours to end. Callbacks come from other threads and only post.
Read next: host/executors.py (our own kinds), tasks/work.py (what is run).
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import BrokenExecutor, Executor
from typing import Any, Callable, List, Optional

from ..model.errors import SettingsError
from ..model.limits import Limits
from ..tasks.work import BLAME_DEVICE, WORK_LIMITS, WorkOutcome, WorkRequest, install_taps, remove_taps, run_work
from .executors import WorkFuture, stopped_outcome


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
            if self._broke(executor, inner.exception()) and future.request.is_of_whole and not is_again:
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
