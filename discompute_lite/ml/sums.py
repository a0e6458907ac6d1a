"""Add up vectors piece by piece, with NumPy where it is installed and with `array` where not: the same bits.

Knows:   weights, pieces, which rounding happens when, and what a device did not send of its own and sends later.
Refuses: to know who sent a piece and who gets the sum (ml/ring.py does), how pieces are written (ml/compression.py).
Read next: ml/vectors.py (what a vector is), ml/compression.py, ml/ring.py.

Both ways round at the same places, so that a ring may have devices with NumPy and without:

    float32     weight and number are float32, their product and each sum are rounded to float32
    float64     the same in float64
    wide        numbers are float32; products and sums are float64 until the whole is rounded to float32, once

Where a sum of two float32 is computed in float64 and then rounded, as `array` does, it is the sum that float32
arithmetic gives: 53 bits are more than 2 * 24 + 1 (Figueroa, 1995).

Where only the largest numbers of each piece are sent (top-k), the others are added to those of the next average (error
feedback): nothing that a device computed is lost, it is late. So in each average, over all devices,

    what was sent + what remains = what was computed + what remained of the average before
"""

from __future__ import annotations

import sys
from array import array
from itertools import repeat
from operator import add, mul
from typing import Any, Callable, List, NamedTuple, Sequence

from ..tasks.value_buffers import optional_module
from .compression import TOP_K, Compression, kept_count, largest_places, packing_of
from .vectors import VectorForm

#: Numbers whose product with a weight is added to others at once: 128 or 256 KiB.
BLOCK_NUMBERS = 32768
#: A vector of fewer is added up in 5 ms without NumPy, which takes some 150 ms to load.
NUMPY_NUMBERS = 32768


class VectorShare(NamedTuple):
    """Hold one vector that goes into a mean, as memory, and what it is multiplied by."""

    weight: float
    memory: Any


class SumMemory(NamedTuple):
    """Hold memory that a sum uses beside its shares and its result; each vector may be None.

    What is left out of a sum has the type of its arithmetic (`remainder_form`).
    """

    #: Added to the whole, with the form of the shares.
    start: Any = None
    #: What this device did not send in the average before.
    residual: Any = None
    #: Where it keeps what it does not send in this one.
    remainder: Any = None
    #: allocate(size): gives memory for what is computed to be sent. NumPy uses it; an `array` has its own.
    allocate: Callable[[int], Any] = bytearray


def remainder_form(form: VectorForm, *, wide: bool) -> VectorForm:
    """Return the form of what is left out of sums of vectors of a form."""
    return form._replace(code="d" if wide else form.code)


class VectorSums:
    """Compute the pieces of a weighted sum for one device; this one uses `array`."""

    _numpy: Any = None

    def __init__(
        self, form: VectorForm, shares: Sequence[VectorShare], result: Any, piece_numbers: int, *, wide: bool = False,
        compression: Compression = Compression(), beside: SumMemory = SumMemory(),
    ) -> None:
        """`shares` are this device's own, perhaps none; `result` takes slices of the whole's bytes, as memory does, and
        is None where no whole comes here."""
        self.form = form
        self._piece = piece_numbers
        #: The type of sums that are not whole yet.
        self._code = remainder_form(form, wide=wide).code
        self._shares = [(self._weight(share.weight), self._view(share.memory, form.code)) for share in shares]
        try:
            # A bytearray by itself copies what it is given once more.
            self._result: Any = memoryview(result).cast("B")
        except TypeError:
            self._result = result  # None, or what writes into a file.
        self._compression, self._allocate = compression, beside.allocate
        self._partial = packing_of(compression.kind, self._code, self._numpy)
        self._whole = packing_of(compression.kind, form.code, self._numpy)
        self._start = self._maybe_view(beside.start, form.code)
        self._residual = self._maybe_view(beside.residual, self._code)
        self._remainder = self._maybe_view(beside.remainder, self._code)
        self._has_own = bool(shares) or beside.residual is not None

    @property
    def pieces(self) -> int:
        """Return how many pieces there are."""
        return -(-self.form.numbers // self._piece)

    def own(self, piece: int) -> Any:
        """Return the sum of this device's own shares of a piece, ready to travel; to be asked for once."""
        return self._partial.packed(self._own(piece))

    def added(self, piece: int, data: Any) -> Any:
        """Return what came plus this device's own shares; raise ValueError where it is no such piece."""
        came = self._partial.numbers(data, self._length(piece))
        return self._partial.packed(self._sum(came, self._own(piece)) if self._has_own else came)

    def all_added(self, piece: int, came: Sequence[Any]) -> Any:
        """Return this device's own shares plus all that came, in that order."""
        total = self._own(piece)
        for data in came:
            total = self._sum(self._partial.numbers(data, self._length(piece)), total)
        return self._partial.packed(total)

    def finish(self, piece: int, data: Any) -> Any:
        """Take a sum that is whole into the result; return it ready to travel, as all others are to have it."""
        whole = self._partial.numbers(data, self._length(piece))
        packed = self._whole.packed(self._narrow(whole))
        self.keep(piece, packed)
        return packed

    def keep(self, piece: int, data: Any) -> None:
        """Write a piece of the result as another device has it."""
        numbers, place = self._whole.numbers(data, self._length(piece)), self._range(piece)
        moved = numbers if self._start is None else self._moved(self._start[place], numbers)
        size = self.form.item_bytes
        self._result[place.start * size:place.stop * size] = memoryview(moved).cast("B")

    # ---- what NumPy does otherwise -------------------------------------------------------------------

    def _weight(self, weight: float) -> float:
        return array("d" if self._code == "d" else "f", [weight])[0]

    def _view(self, memory: Any, code: str) -> Any:
        view: Any = memoryview(memory).cast("B")
        return view.cast(code)

    def _weighted(self, piece: int) -> Any:
        place, total = self._range(piece), None
        for weight, view in self._shares:
            # By no list: its floats would take eight times the piece.
            product = array(self._code, map(mul, repeat(weight), view[place]))
            total = product if total is None else self._sum(total, product)
        return array(self._code, bytes(8 if self._code == "d" else 4)) * self._length(piece) if total is None else total

    def _sum(self, first: Any, second: Any) -> Any:
        return array(self._code, map(add, first, second))

    def _moved(self, start: Any, numbers: Any) -> Any:
        return array(self.form.code, map(add, start, numbers))

    def _narrow(self, numbers: Any) -> Any:
        return numbers if numbers.typecode == self.form.code else array(self.form.code, numbers)

    def _split(self, total: Any, places: Any) -> Any:
        """Return what is sent of a sum, and what remains."""
        sent = array(self._code, bytes(len(total) * total.itemsize))
        for place in places:
            sent[place], total[place] = total[place], 0.0
        return sent, memoryview(total)

    # ---- places --------------------------------------------------------------------------------------

    def _own(self, piece: int) -> Any:
        place, total = self._range(piece), self._weighted(piece)
        if self._residual is not None:
            total = self._sum(self._residual[place], total)
        if self._compression.kind != TOP_K or not self._has_own:
            return total
        count = kept_count(self._compression.top_k, self._length(piece))
        sent, remains = self._split(total, largest_places(total, count, self._numpy))
        if self._remainder is not None:
            self._remainder[place] = remains
        return sent

    def _maybe_view(self, memory: Any, code: str) -> Any:
        return None if memory is None else self._view(memory, code)

    def _range(self, piece: int) -> slice:
        start = piece * self._piece
        return slice(start, min(start + self._piece, self.form.numbers))

    def _length(self, piece: int) -> int:
        place = self._range(piece)
        return place.stop - place.start  # type: ignore[no-any-return]


class NumpyVectorSums(VectorSums):
    """Compute the same with NumPy."""

    def __init__(self, numpy: Any, *arguments: Any, **options: Any) -> None:
        self._numpy = numpy
        super().__init__(*arguments, **options)
        #: Where a product is computed that is added to something at once: of a whole piece, and of a block of one.
        self._scratch = self._fresh(0) if len(self._shares) > 1 else None
        self._block = self._numpy.empty(min(BLOCK_NUMBERS, self._piece), dtype=self._code)
        self._is_one = len(self._shares) == 1 and self._residual is None and self._compression.kind != TOP_K

    def _view(self, memory: Any, code: str) -> Any:
        return self._numpy.frombuffer(memory, dtype=code)

    def _weighted(self, piece: int) -> Any:
        numpy, place, total = self._numpy, self._range(piece), None
        for weight, view in self._shares:
            product = self._product(weight, view[place], self._fresh(piece) if total is None else self._scratch)
            total = product if total is None else numpy.add(total, product, out=total)
        return numpy.zeros(self._length(piece), dtype=self._code) if total is None else total

    def added(self, piece: int, data: Any) -> Any:
        came = self._partial.numbers(data, self._length(piece))
        if not self._is_one or not came.flags.writeable:
            return super().added(piece, data)
        # In the memory that was received: it is nobody's but this sum's. A block at a time: between its product and its
        # sum it stays in the processor's first caches.
        (weight, view), = self._shares
        own = view[self._range(piece)]
        for start in range(0, len(own), BLOCK_NUMBERS):
            block = came[start:start + BLOCK_NUMBERS]
            self._numpy.add(block, self._product(weight, own[start:start + BLOCK_NUMBERS], self._block), out=block)
        return self._partial.packed(came)

    def _product(self, weight: float, numbers: Any, memory: Any) -> Any:
        kind = self._numpy.dtype(self._code)
        return self._numpy.multiply(numbers, kind.type(weight), dtype=kind, out=memory[:len(numbers)])

    def _fresh(self, piece: int) -> Any:
        kind = self._numpy.dtype(self._code)
        return self._numpy.frombuffer(self._allocate(self._length(piece) * kind.itemsize), dtype=kind)

    def _sum(self, first: Any, second: Any) -> Any:
        # The second is this device's own, made a moment ago.
        return self._numpy.add(first, second, out=second)

    def _moved(self, start: Any, numbers: Any) -> Any:
        return start + numbers

    def _narrow(self, numbers: Any) -> Any:
        return numbers.astype(self.form.code, copy=False)

    def _split(self, total: Any, places: Any) -> Any:
        sent = self._numpy.zeros(len(total), dtype=self._code)
        sent[places] = total[places]
        total[places] = 0.0
        return sent, total


def is_numpy_worth_it(numbers: int) -> bool:
    """Whether sums of so many numbers are made with NumPy: where loading it takes longer than many of them, only if it
    is loaded."""
    return numbers >= NUMPY_NUMBERS or "numpy" in sys.modules


def vector_sums(
    form: VectorForm, shares: Sequence[VectorShare], result: Any, piece_numbers: int, *, with_numpy: bool = True,
    **options: Any,
) -> VectorSums:
    """Return what computes with NumPy where it is installed and wanted, else without; `options` are `VectorSums`'s."""
    numpy = optional_module("numpy") if with_numpy else None
    arguments: List[Any] = [form, shares, result, piece_numbers]
    return VectorSums(*arguments, **options) if numpy is None else NumpyVectorSums(numpy, *arguments, **options)
