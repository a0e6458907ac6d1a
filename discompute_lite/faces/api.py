"""Offer the devices as a `concurrent.futures.Executor`: whatever takes an executor takes a cluster.

Knows:   its node, in a thread of its own or by a connection, and the thread on which callbacks are called.
Refuses: to run a person's code on the node's thread.
Read next: faces/dispatch.py (the way to that thread), faces/mapping.py (`map`), faces/futures.py.

    with Cluster() as cluster:
        for seed, loss in cluster.map(score, range(10_000)):
            ...
"""

from __future__ import annotations

import atexit
import concurrent.futures
import logging
import os
import sys
import threading
import time
import weakref
from concurrent.futures import Executor
from functools import partial
from queue import SimpleQueue
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Union

from ..beside import BesideNode, ListedOffer, node_for_script
from ..model.device import Device, short_id
from ..model.settings import Settings
from ..model.told_round import ToldRound
from ..own_node import OwnNode
from ..run import read_settings
from ..tasks.blob_values import Blob
from ..tasks.class_book import PICKLES_ALLOWED, PICKLES_OF_WORKERS, PICKLES_UNWANTED, PickleRule
from .blobs import ClusterBlobs
from .calling import FunctionCalls
from .cluster_view import ClusterView, text_of_cluster
from .console import printable
from .direct import direct_way
from .dispatch import ClusterEnded, Dispatch, StreamKey
from .futures import ClusterFuture, failure_of, one_outcome
from .mapping import MapPorts, MapRun, MapWishes, write_out
from .meter import MapBar, metered
from .options import PLAIN_OPTIONS, CallOptions, read_argument, read_options
from .packing import FunctionPacker, PackedLine
from .vector_ports import FarVectorPorts, VectorPorts

#: Seconds that a cluster waits for its node to end.
STOP_CLUSTER_S = 5.0
#: Seconds between two looks at who is there.
LOOK_EVERY_S = 0.05


class Cluster(Executor):
    """Run functions on the devices around; a context manager.

    Functions travel as source, values as data: see the README's *Python interface* for what can travel.
    """

    def __init__(
        self, *addresses: str, config: Union[str, os.PathLike[str], Settings, None] = None, min_devices: int = 1,
        wait: float = 10.0, local: bool = True, durable: Union[bool, str] = False,
    ) -> None:
        """Use the node that runs on this machine, or start one here, and wait until `min_devices` can take work.

        The node calls `addresses` (host:port). `config` names a configuration file, or is settings that were read;
        `local=False` leaves this machine's own cores out. With `durable`, what calls return is on the disk before it
        is here, so that the same script, run again after a crash, need not make them again; a text names the run, True
        means this script with its arguments.
        Where nobody answers at an address is logged as a warning. Raises TimeoutError that says who was seen, when
        there are too few after `wait` seconds; TypeError or ValueError for an argument that cannot be meant.
        """
        addresses = tuple(read_argument("an address", address) for address in addresses)
        written, durable = read_argument("config", config), read_argument("durable", durable)
        min_devices, wait = read_argument("min_devices", min_devices), read_argument("wait", wait)
        is_elsewhere = not read_argument("local", local)
        settings = written if isinstance(written, Settings) else read_settings({}, os.environ, written)
        self._local = node_for_script(settings, _log, is_elsewhere=is_elsewhere, peers=addresses)
        self._local.start()
        try:
            self._kept = self._local.keep_calls(run_name(durable), _log) if durable else None
        except BaseException:
            self._local.close()
            raise
        #: The run is not over with this cluster: who runs the script again finds what is kept.
        self._is_cut_off = False
        self._thread = self._local.run_in_thread()
        self._dispatch = Dispatch(
            self._local.loop.post, self._thread, self._local.streams, self._kept, direct_way(self._local.executor))
        self._packer = FunctionPacker(settings.allow_pickle)
        self._pickles = PICKLES_ALLOWED if settings.allow_pickle else PICKLES_UNWANTED
        #: Callbacks for the delivery thread; None ends it.
        self._delivered: Any = SimpleQueue()
        self._deliverer = threading.Thread(target=_deliver, args=(self._delivered,), name="discompute-deliver",
                                           daemon=True)
        self._deliverer.start()
        self._blobs = ClusterBlobs(self._local.blobs, self._dispatch.ask, partial(
            _let_go_later, self._delivered, self._local.loop.post), self._local.limits.blob_range_bytes, self._pickles)
        # A cluster that is forgotten ends its node; one that is not ends with the interpreter. Neither keeps it alive.
        weakref.finalize(self, _end_forgotten, self._delivered, self._local).atexit = False
        self._at_exit = partial(_shut_down_at_exit, weakref.ref(self))
        atexit.register(self._at_exit)
        try:
            self._wait_for_devices(min_devices, wait)
        except BaseException:
            self.shutdown(wait=False, cancel_futures=True)
            raise

    # ---- concurrent.futures.Executor ----------------------------------------------------------------

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> ClusterFuture:
        """Call `fn(*args, **kwargs)` on some device; return its future.

        Raises `TaskRejected` here and now, by name and line, for what cannot travel.
        """
        return self._submit(PLAIN_OPTIONS, fn, args, kwargs)

    def map(  # type: ignore[override]
        self, fn: Callable[..., Any], *iterables: Iterable[Any], timeout: Optional[float] = None,
        chunksize: Optional[int] = None, buffersize: Optional[int] = None, ordered: bool = True,
        progress: bool = False,
    ) -> Iterator[Any]:
        """Return an iterator over ``fn(*row)`` for each row of the zipped `iterables`, which are drawn lazily.

        `chunksize` items travel together, by default as many as suits each device; at most `buffersize` are drawn
        ahead; without `ordered`, results come as they arrive; `progress` shows a bar on standard error, if that is a
        terminal. Raises what a call raises when its result's turn comes, and TimeoutError when a result is not there
        `timeout` seconds after this call.
        """
        wishes = MapWishes(timeout, chunksize, ordered, buffersize, progress)
        return self.run_map(PLAIN_OPTIONS, fn, iterables, wishes)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls and end; with `wait`, when all calls have their outcome."""
        self._dispatch.close()
        self._is_cut_off |= cancel_futures
        if cancel_futures:
            self._dispatch.cancel_waiting()
        if wait:
            self._dispatch.wait_idle()
            self._end()
        else:
            # As in the standard library: what was submitted is done, and who comes last puts out the light.
            self._dispatch.when_idle(lambda: self._delivered.put(self._end))

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> Any:
        """Shut down when all calls have their outcome; after an exception, results that are kept stay."""
        self._is_cut_off |= kind is not None
        return super().__exit__(kind, error, traceback)

    def __repr__(self) -> str:
        """Say which devices there are, with how many slots each."""
        if threading.current_thread() is self._thread:
            return "<Cluster>"  # Nobody there would answer.
        try:
            found = self._look()
        except ClusterEnded:
            return "<Cluster, shut down>"
        return text_of_cluster(found)

    # ---- more than an executor ----------------------------------------------------------------------

    @property
    def resumed(self) -> int:
        """Return how many results of an earlier, interrupted run of this script were found; only with `durable`."""
        return 0 if self._kept is None else self._kept.found

    def begin_anew(self) -> None:
        """Forget what is kept of an earlier run; calls made before this one count as part of it."""
        if self._kept is not None:
            self._dispatch.ask(self._kept.end)

    def options(self, **named: Any) -> ClusterView:
        """Return this cluster with other ways of running: ``cluster.options(retries=2).submit(f, x)``.

        timeout   seconds after which a call is ended and fails; 0 for the device's own limit
        retries   how often a call that raises is made again
        priority  1 to 10: who gets more of the devices
        requires  what a device must have: "gpu", "cuda", "metal", a type such as "mac", or a device's id
        devices   at most so many at once; 0 for all
        pure      making a call twice does no harm: one that is slow may then run on two devices at once
        durable   False: not kept, though the cluster is durable, but made anew whenever the script runs
        upload    modules of your own that go along as source, as they are now: ["helpers.py", "pkg/"]

        Raises TypeError or ValueError for what is none of these, `TaskRejected` for what cannot be uploaded.
        """
        if named.get("durable") is True and self._kept is None:
            raise ValueError("the option durable=True needs a cluster that keeps calls: Cluster(durable=True)")
        return ClusterView(self, read_options(named))

    def put(self, value: Any) -> Blob:
        """Return a handle that many calls may take for `value`, which then travels once to each device that needs it.

        A function gets the value itself, the same object for all its calls in one process. What the handle stands for
        is deleted everywhere when nobody holds it any more. Raises `TaskRejected` for what cannot travel.
        """
        return self._blobs.put(value)

    def broadcast(self, value: Any) -> Blob:
        """Do as `put`, and have all devices that are there fetch the value now, in the background."""
        return self._blobs.broadcast(value)

    def devices(self) -> List[Device]:
        """Return the devices that are known, this one first."""
        return [offer.device for offer in self._look()]

    def slots(self) -> int:
        """Return how many calls run at once on all devices that take work."""
        self._look()
        return max(1, self._dispatch.slots)

    def run_on_all(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Dict[str, Any]:
        """Call `fn` once on each device that takes work; return {device id: what it returned}.

        Raises the first exception when all have ended. What is set up so serves later calls in the same process only:
        those of a device's other slots, and of a process that was ended, have not seen it.
        """
        futures = {
            offer.device.id: self.options(requires=offer.device.id, durable=False).submit(fn, *args, **kwargs)
            for offer in self._look() if not offer.why_not
        }
        concurrent.futures.wait(list(futures.values()))
        return {device_id: future.result() for device_id, future in futures.items()}

    # ---- calls --------------------------------------------------------------------------------------

    def _submit(
        self, options: CallOptions, fn: Callable[..., Any], args: Any, kwargs: Dict[str, Any]
    ) -> ClusterFuture:
        calls = FunctionCalls(self._packer, fn, self._pickles, self._blobs, options.upload)
        unit = calls.one(args, kwargs)
        future = ClusterFuture(self._delivered.put, self._dispatch.cancel, self._dispatch.wait_here)
        done = partial(self._settle, future, calls.packed, calls.held(unit))
        key = StreamKey(calls.packed, options, bool(options.pure))
        future.carry(self._dispatch.send(key, unit, 1, done, True))
        return future

    def _settle(self, future: ClusterFuture, packed: PackedLine, held: Any, outcome: Any) -> None:
        # A method, so that whoever keeps the future alone keeps the cluster and the call's blobs too, until it is done.
        future.settle(outcome, packed.spaces, self._pickles_from(outcome.device_id), packed.name)

    def _unit_came(self, done: Callable[..., None], held: Any, outcome: Any) -> None:
        done((outcome.line, self._pickles_from(outcome.device_id)),
             failure_of(outcome.error, outcome.blame) if outcome.error else None)

    def _pickles_from(self, device_id: str) -> PickleRule:
        """Return whether pickles of a device are read; on the node's thread, or of this device on any."""
        if not self._pickles.is_allowed or self._local.may_send_pickles(device_id):
            return self._pickles
        return PICKLES_OF_WORKERS

    def run_map(
        self, options: CallOptions, fn: Callable[..., Any], iterables: Sequence[Iterable[Any]], wishes: MapWishes
    ) -> Iterator[Any]:
        """Do what `map` does, with everything that can be wished."""
        for name, value in (("chunksize", wishes.chunksize), ("buffersize", wishes.buffersize)):
            if value is not None and not isinstance(value, int):
                raise TypeError(f"{name} must be an integer or None")
            if value is not None and value < 1:
                raise ValueError(f"{name} must be >= 1.")
        deadline = None if wishes.timeout is None else time.monotonic() + wishes.timeout
        if options.timeout or options.retries:
            wishes = wishes._replace(chunksize=1)  # Each call has a limit of its own, and is made again alone.
        if self._kept is not None and options.durable and wishes.chunksize is None:
            # Each item is kept for itself: the next run is to find it, however fast the devices are then.
            wishes = wishes._replace(chunksize=1)
        written = FunctionCalls(self._packer, fn, self._pickles, self._blobs, options.upload)
        dispatch = self._dispatch

        def key() -> StreamKey:
            return StreamKey(written.packed, options, options.pure is not False)

        def send(data: bytes, calls: int, done: Callable[..., None]) -> Any:
            # By `self`, so that whoever keeps the iterator alone keeps the cluster too.
            return self._dispatch.send(key(), data, calls, partial(self._unit_came, done, written.held(data)))

        is_single = len(iterables) == 1
        first = iterables[0] if iterables else ()
        rows = (first if type(first) is range else iter(first)) if is_single else zip(*iterables)
        bar = MapBar(iterables) if wishes.progress else None
        show = wishes.show or (bar.show if bar is not None else write_out)
        ports = MapPorts(
            send, dispatch.cancel, lambda came, calls: one_outcome(came[0], written.packed.spaces, calls, came[1]),
            lambda: dispatch.slots, lambda: dispatch.work_s(key()), show, written.many, name=written.packed.name,
        )
        run = MapRun(rows, is_single, ports, wishes, deadline)
        run.begin()
        return run.results() if bar is None else metered(run.results(), bar.meter)

    # ---- beginning and end ----------------------------------------------------------------------------

    def _look(self) -> List[ListedOffer]:
        """Return what each device that is known offers, this one first."""
        found: List[ListedOffer] = self._dispatch.ask(self._local.offers)
        self._dispatch.slots = sum(offer.slots for offer in found)
        return found

    def places(self) -> Dict[str, float]:
        """Return a score for each place where a call can run now, named device id/number: a device has several.

        Scores compare the devices' measured speeds; they are equal where nobody has measured.
        """
        offers = [offer for offer in self._look() if offer.slots]
        are_measured = all(offer.speed for offer in offers)
        return {f"{offer.device.id}/{index}": offer.speed if are_measured else 1.0
                for offer in offers for index in range(offer.slots)}

    def vectors(self) -> VectorPorts:
        """Return the way to the vectors of trainings, for whoever leads one."""
        found = self._dispatch.ask(self._local.vectors)
        kind = VectorPorts if found.is_here else FarVectorPorts
        return kind(self.devices()[0].id, found, self._local.loop.post, self._dispatch.ask)

    def tell_round(self, told: ToldRound) -> None:
        """Tell whoever listens to the node of a round of a training."""
        self._local.loop.post(self._local.tell_round, told)

    def _wait_for_devices(self, wanted: int, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        while True:
            found = self._look()
            usable = sum(not offer.why_not for offer in found)
            if usable >= wanted:
                return
            if time.monotonic() >= deadline:
                seen = "; ".join(f"{offer.device.name} ({short_id(offer.device.id)}): {offer.why_not or 'ready'}"
                                 for offer in found)
                raise TimeoutError(f"{usable} of {wanted} devices can take work after {wait_s:g} s: {seen}")
            time.sleep(LOOK_EVERY_S)

    def _end(self) -> None:
        atexit.unregister(self._at_exit)
        kept, self._kept = self._kept, None
        if kept is not None and not self._is_cut_off and self._thread.is_alive():
            self._dispatch.ask(kept.end)
        self._local.stop()
        self._thread.join(STOP_CLUSTER_S)
        self._delivered.put(None)
        if threading.current_thread() is not self._deliverer:
            self._deliverer.join(STOP_CLUSTER_S)


def _let_go_later(delivered: Any, post: Callable[..., None], callback: Callable[[], Any]) -> None:
    # Not here: the collector may call this wherever some lock is held.
    delivered.put(partial(post, callback))


def _deliver(delivered: Any) -> None:
    """Be the thread on which callbacks are called."""
    while True:
        deliver = delivered.get()
        if deliver is None:
            return
        try:
            deliver()
        except BaseException:
            # A person's code: whatever it raises, even SystemExit, concerns no other callback.
            logging.getLogger("discompute").exception("a callback of a future failed")


def _end_forgotten(delivered: Any, local: Union[OwnNode, BesideNode]) -> None:
    # Not here: the collector may call this wherever some lock is held.
    delivered.put(local.stop)
    delivered.put(None)


def _shut_down_at_exit(forgotten: Callable[[], Optional[Cluster]]) -> None:
    """Let a script that forgot `shutdown` end as with the standard executors: when its calls are done."""
    cluster = forgotten()
    if cluster is not None:
        # It may be an exception that ends the script: nobody has said that its run is over.
        cluster._is_cut_off = True
        cluster.shutdown(wait=True)


def run_name(durable: Union[bool, str]) -> str:
    """Return what a run is called: as its script says, or by the script and its arguments, or by the folder."""
    if isinstance(durable, str):
        return f"named {durable}"
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    return repr([os.path.abspath(script), *sys.argv[1:]] if script else ["interactive", os.getcwd()])


def _log(kind: str, text: str, **_: Any) -> None:
    # It may repeat what another device said, and end on a terminal.
    logging.getLogger("discompute").log(logging.WARNING if kind == "warning" else logging.INFO, "%s", printable(text))
