"""Show a cluster with other ways of running, and say in a line what a cluster is.

Knows:   the options that it was given, and what is other than usual among them.
Refuses: to run anything: its cluster does.
Read next: faces/api.py (who makes these), faces/options.py.
"""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any, Callable, Iterable, Iterator, Optional, Sequence

from ..beside import ListedOffer
from .futures import ClusterFuture
from .mapping import MapWishes
from .options import PLAIN_OPTIONS, CallOptions

#: Devices that a cluster's text names.
DEVICES_NAMED = 4


def text_of_cluster(offers: Sequence[ListedOffer]) -> str:
    """Return what a cluster of these shows itself as: its devices, with how many slots each."""
    named = [f"{offer.device.name} ({offer.slots})" for offer in offers if offer.slots]
    more = f" and {len(named) - DEVICES_NAMED} more" if len(named) > DEVICES_NAMED else ""
    slots = sum(offer.slots for offer in offers)
    where = f" on {', '.join(named[:DEVICES_NAMED])}{more}" if named else ""
    return f"<Cluster of {len(offers)} device{'s' * (len(offers) != 1)}, {slots} slot{'s' * (slots != 1)}{where}>"


class ClusterView(Executor):
    """Be a cluster with other options; made by `Cluster.options`."""

    def __init__(self, cluster: Any, options: CallOptions) -> None:
        self._cluster = cluster
        self._options = options

    def __repr__(self) -> str:
        """Say what is other than usual."""
        options = zip(CallOptions._fields, self._options, PLAIN_OPTIONS)
        others = [f"{name}={value!r}" for name, value, usual in options if value != usual and name != "upload"]
        others += [f"upload={[module.file for module in self._options.upload]}"] * bool(self._options.upload)
        return f"{self._cluster!r}.options({', '.join(others)})"

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> ClusterFuture:
        """Call `fn(*args, **kwargs)` with these options."""
        return self._cluster._submit(self._options, fn, args, kwargs)

    def map(  # type: ignore[override]
        self, fn: Callable[..., Any], *iterables: Iterable[Any], timeout: Optional[float] = None,
        chunksize: Optional[int] = None, buffersize: Optional[int] = None, ordered: bool = True,
        progress: bool = False,
    ) -> Iterator[Any]:
        """Do as `Cluster.map` does, with these options."""
        wishes = MapWishes(timeout, chunksize, ordered, buffersize, progress)
        return self._cluster.run_map(self._options, fn, iterables, wishes)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: the cluster is its maker's to shut down."""
