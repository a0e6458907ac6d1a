"""Give out handles on values that many calls take, and let go of a value when nobody holds its handle any more.

Knows:   the handles that there are, the classes of their values, and the door of the node's thread.
Refuses: to bring a value anywhere (roles/blobs.py does); to keep one because it was put once.
Read next: tasks/blob_values.py (what a handle is), faces/api.py (`Cluster.put`).

Whoever waits for the outcome of a call holds the handles that the call names: so what is under way keeps its values.
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from functools import partial
from typing import Any, Callable, Iterable, List, Sequence, Tuple

from ..model.errors import TaskRejected
from ..tasks.blob_values import Blob
from ..tasks.class_book import PICKLES_UNWANTED, ClassBook, PickleRule
from ..tasks.values import dump_with_pieces


class ClusterBlobs:
    """Put values for one cluster; any thread may ask."""

    def __init__(
        self, blobs: Any, ask: Callable[[Callable[[], Any]], Any], let_go: Callable[[Callable[[], Any]], Any],
        range_bytes: int, pickles: PickleRule = PICKLES_UNWANTED,
    ) -> None:
        """`blobs` are the node's; `ask(question)` is answered on its thread, `let_go(callback)` may be called by the
        collector, wherever, and has `callback` called there in the end."""
        self._blobs = blobs
        self._ask = ask
        self._let_go = let_go
        self._range_bytes = range_bytes
        self._pickles = pickles
        #: One value at a time: the same one has one handle.
        self._putting = threading.Lock()
        #: hash -> handle, as long as somebody holds it; and the classes of its value.
        self._handles: weakref.WeakValueDictionary[str, Blob] = weakref.WeakValueDictionary()
        self._classes: weakref.WeakKeyDictionary[Blob, Tuple[type, ...]] = weakref.WeakKeyDictionary()

    def put(self, value: Any) -> Blob:
        """Return the handle of a value, which may change afterwards; raise `TaskRejected` for what cannot travel."""
        classes = ClassBook(pickles=self._pickles)
        text = dump_with_pieces(value, "the value", classes)
        sha256 = hashlib.sha256(text).hexdigest()
        with self._putting:
            handle = self._handles.get(sha256)
            if handle is None:
                handle = Blob(sha256, len(text))
                self._keep(handle, text)
                self._classes[handle] = tuple(classes.met)
                self._handles[sha256] = handle
            return handle

    def _keep(self, handle: Blob, text: bytes) -> None:
        # By ranges: the node's thread has more to do than to take a large value.
        for offset in range(0, len(text), self._range_bytes):
            piece = text[offset:offset + self._range_bytes]
            self._ask(partial(self._blobs.keep_own, handle.sha256, len(text), offset, piece))
        weakref.finalize(handle, self._let_go, partial(self._blobs.release_own, handle.sha256)).atexit = False

    def broadcast(self, value: Any) -> Blob:
        """Put a value, and have all devices fetch it now."""
        handle = self.put(value)
        self._ask(partial(self._blobs.broadcast, handle.sha256))
        return handle

    def handles_of(self, hashes: Sequence[str]) -> Tuple[Blob, ...]:
        """Return the handles that a text names by their hashes; raise `TaskRejected` for one of another cluster."""
        if not hashes:
            return ()
        found = [self._handles.get(sha256) for sha256 in hashes]
        if None in found:
            raise TaskRejected("a blob belongs to the cluster that put its value; put the value here")
        return tuple(handle for handle in found if handle is not None)

    def classes_of(self, handles: Iterable[Blob]) -> List[type]:
        """Return the classes that have to be where these values are read."""
        return [cls for handle in handles for cls in self._classes.get(handle, ())]
