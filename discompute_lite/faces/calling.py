"""Pair a function's line with the units of its calls: the classes of their arguments must be where they are made.

Knows:   which classes the arguments have had so far, and that the function's line brings them along.
Refuses: to send anything; see faces/api.py.
Read next: faces/packing.py (lines), tasks/calls.py (units), tasks/class_book.py (classes).
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Sequence, Tuple

from ..tasks.blob_values import Blob, blobs_in
from ..tasks.calls import call_unit, items_unit, rows_unit
from ..tasks.class_book import PICKLES_UNWANTED, ClassBook, PickleRule
from ..tasks.uploads import UploadedModule
from .blobs import ClusterBlobs
from .packing import FunctionPacker, PackedLine


class FunctionCalls:
    """Write the units of one function's calls; `packed` is the line that serves all that were written so far."""

    def __init__(
        self, packer: FunctionPacker, fn: Callable[..., Any], pickles: PickleRule = PICKLES_UNWANTED,
        blobs: Optional[ClusterBlobs] = None, uploads: Tuple[UploadedModule, ...] = (),
    ) -> None:
        """Pack the function; raises `TaskRejected`. Arguments may be `blobs`, where there are any."""
        self._packer = packer
        self._fn = fn
        self._blobs = blobs
        self._classes = ClassBook(pickles=pickles)
        self._brought = 0
        self._uploads = uploads
        self.packed: PackedLine = packer.pack(fn, uploads=uploads)

    def one(self, args: Sequence[Any], kwargs: Dict[str, Any]) -> bytes:
        """Return the unit of one call; raise `TaskRejected`."""
        return self._served(lambda: call_unit(args, kwargs, self._classes))

    def many(self, rows: Sequence[Any], is_single: bool) -> bytes:
        """Return the unit of a call for each row, or for each item where `is_single`; raise `TaskRejected`."""
        return self._served(lambda: (items_unit if is_single else rows_unit)(rows, self._classes))

    def held(self, unit: bytes) -> Tuple[Blob, ...]:
        """Return the blobs of a unit and of the function, to be held until there is an outcome."""
        return () if self._blobs is None else self._blobs.handles_of([*self.packed.blobs, *blobs_in(unit)])

    def _served(self, write: Callable[[], bytes]) -> bytes:
        try:
            unit = write()
            named = blobs_in(unit) if self._blobs is not None else []
            if self._blobs is not None and named:
                for cls in self._blobs.classes_of(self._blobs.handles_of(named)):
                    self._classes.name_of(cls)
            if len(self._classes.met) > self._brought:
                self.packed = self._packer.pack(self._fn, tuple(self._classes.met), self._uploads)
                self._brought = len(self._classes.met)
        except BaseException:
            # Classes of a unit that is not sent are no part of the line.
            for cls in list(self._classes.met)[self._brought:]:
                del self._classes.met[cls]
            raise
        return unit
