"""Let joblib's `Parallel` run over the devices: `register_joblib()`, then `parallel_config(backend="discompute")`.

Knows:   what joblib asks of a backend.
Refuses: to import joblib before somebody registers it; to send what a `Cluster` would not: functions travel as source,
         values as data, so a scikit-learn estimator, which is neither, needs `allow-pickle` at both ends.
Read next: faces/api.py (`Cluster`), faces/configured_calls.py (what scikit-learn puts around a call).
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any, Callable, Dict, List, Optional

from .api import Cluster
from .configured_calls import unwrapped_call


def register_joblib() -> None:
    """Register the backend "discompute" with joblib, which has to be installed.

    ``parallel_config(backend="discompute", cluster=cluster)`` uses a cluster of yours; without one, each `Parallel`
    begins and ends its own.
    """
    from joblib import register_parallel_backend
    register_parallel_backend("discompute", _make_backend_class())


def _make_backend_class() -> Any:
    from joblib.parallel import ParallelBackendBase

    class DiscomputeBackend(ParallelBackendBase):  # type: ignore[misc]
        """Stand between one `Parallel` and a cluster."""

        supports_retrieve_callback = True
        #: Whoever chose this backend and no number wants all devices.
        default_n_jobs = -1

        def __init__(self, cluster: Optional[Cluster] = None, **words: Any) -> None:
            super().__init__(**words)
            self._calls = JoblibCalls(cluster)

        def effective_n_jobs(self, n_jobs: Optional[int]) -> int:
            """Return how many calls are to be under way at once."""
            if n_jobs == 0:
                raise ValueError("n_jobs == 0 in Parallel has no meaning")
            # With 1 joblib would not ask this backend at all, though its one slot may be another device's.
            return max(2, self._calls.slots() if n_jobs is None or n_jobs < 0 else n_jobs)

        def configure(self, n_jobs: int = 1, parallel: Any = None, **_words: Any) -> int:
            """Begin to serve one `Parallel`."""
            self.parallel = parallel
            return self.effective_n_jobs(n_jobs)

        def submit(self, func: Any, callback: Any = None) -> Any:
            """Send the calls of one batch."""
            return self._calls.send(func.items, callback)

        #: What joblib before 1.5 calls it.
        apply_async = submit

        def retrieve_result_callback(self, out: Any) -> Any:
            """Return the results of a batch that is done; raise what the first call that failed raised."""
            return out.result()

        def abort_everything(self, ensure_ready: bool = True) -> None:
            """Cancel what is under way, down to its processes."""
            self._calls.cancel()

        def terminate(self) -> None:
            """End what was begun for this `Parallel`."""
            self._calls.end()

    return DiscomputeBackend


class JoblibCalls:
    """Send batches of calls to a cluster: the caller's, or one begun when it is first needed."""

    def __init__(self, cluster: Optional[Cluster]) -> None:
        self._cluster = cluster
        self._is_own = cluster is None
        self._lock = threading.Lock()
        #: Futures of calls without an outcome, in no batch's order.
        self._under_way: Dict[Any, None] = {}

    def slots(self) -> int:
        """Return the slots of all devices."""
        return self._begun().slots()

    def send(self, items: List[Any], callback: Optional[Callable[[Any], Any]]) -> Future:
        """Make the calls `(function, args, kwargs)`; the future returned has their results in a list."""
        batch: Future = Future()
        if callback is not None:
            batch.add_done_callback(callback)
        futures: List[Any] = []
        try:
            cluster = self._begun()
            for function, args, kwargs in items:
                futures.append(cluster.submit(unwrapped_call(function), *args, **kwargs))
        except Exception as problem:
            # Here joblib may be in a callback of its own: what is raised there, nobody would ever hear.
            for future in futures:
                future.cancel()
            batch.set_exception(problem)
            return batch
        left = [len(futures)]

        def ended(future: Any) -> None:
            with self._lock:
                self._under_way.pop(future, None)
                left[0] -= 1
                is_last = not left[0]
            if is_last:
                _settle_batch(batch, futures)

        with self._lock:
            self._under_way.update(dict.fromkeys(futures))
        for future in futures:
            future.add_done_callback(ended)
        if not futures:
            batch.set_result([])
        return batch

    def cancel(self) -> None:
        """Cancel all calls that are under way."""
        with self._lock:
            futures = list(self._under_way)
        for future in futures:
            future.cancel()

    def end(self) -> None:
        """End the cluster that was begun here."""
        with self._lock:
            cluster = self._cluster if self._is_own else None
            if self._is_own:
                self._cluster = None
        if cluster is not None:
            cluster.shutdown(wait=True, cancel_futures=True)

    def _begun(self) -> Cluster:
        with self._lock:
            if self._cluster is None:
                self._cluster = Cluster()
            return self._cluster


def _settle_batch(batch: Future, futures: List[Any]) -> None:
    try:
        batch.set_result([future.result() for future in futures])
    except BaseException as problem:
        # Of a call, `CancelledError` included: it is the batch's outcome.
        batch.set_exception(problem)
