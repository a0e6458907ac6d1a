"""Add up vectors piece by piece, with NumPy where it is installed and with `array` where not: the same bits.

Knows:   weights, pieces, and which rounding happens when.
Refuses: to know who sent a piece and who gets the sum (ml/ring.py does).
Read next: ml/vectors.py (what a vector is), ml/ring.py.

Both ways round at the same places, so that a ring may have devices with NumPy and without:

    float32     weight and number are float32, their product and each sum are rounded to float32
    float64     the same in float64
    wide        numbers are float32; products and sums are float64 until the whole is rounded to float32, once

Where a sum of two float32 is computed in float64 and then rounded, as `array` does, it is the sum that float32
arithmetic gives: 53 bits are more than 2 * 24 + 1 (Figueroa, 1995).
"""

from __future__ import annotations

from array import array
from operator import add
from typing import Any, List, NamedTuple, Sequence

from ..tasks.value_buffers import optional_module
from .vectors import VectorForm


class VectorShare(NamedTuple):
    """Hold one vector that goes into a mean, as memory, and what it is multiplied by."""

    weight: float
    memory: Any


class VectorSums:
    """Compute the pieces of a weighted sum for one device; this one uses `array`."""

    def __init__(
        self, form: VectorForm, shares: Sequence[VectorShare], result: Any, piece_numbers: int, *, wide: bool = False
    ) -> None:
        """`shares` are this device's own, perhaps none; `result` is memory into which the whole is written, None where
        no whole comes here."""
        self.form = form
        self._piece = piece_numbers
        #: How the numbers of sums that are not whole yet travel.
        self._code = "d" if wide else form.code
        self._shares = [(self._weight(share.weight), self._view(share.memory, form.code)) for share in shares]
        self._result: Any = None if result is None else self._view(result, form.code)

    @property
    def pieces(self) -> int:
        """Return how many pieces there are."""
        return -(-self.form.numbers // self._piece)

    def own(self, piece: int) -> Any:
        """Return the sum of this device's own shares of a piece, ready to travel."""
        return self._packed(self._own(piece))

    def added(self, piece: int, data: Any) -> Any:
        """Return what came plus this device's own shares; raise ValueError where it is no such piece."""
        came = self._numbers(data, self._code, piece)
        return self._packed(self._sum(came, self._own(piece)) if self._shares else came)

    def all_added(self, piece: int, came: Sequence[Any]) -> Any:
        """Return this device's own shares plus all that came, in that order."""
        total = self._own(piece)
        for data in came:
            total = self._sum(self._numbers(data, self._code, piece), total)
        return self._packed(total)

    def finish(self, piece: int, data: Any) -> None:
        """Write a sum that is whole into the result."""
        self._write(piece, self._numbers(data, self._code, piece))

    def keep(self, piece: int, data: Any) -> None:
        """Write a piece of the result as another device has it."""
        self._write(piece, self._numbers(data, self.form.code, piece))

    def whole(self, piece: int) -> Any:
        """Return a piece of the result, ready to travel."""
        return self._packed(self._result[self._range(piece)])

    # ---- what NumPy does otherwise -------------------------------------------------------------------

    def _weight(self, weight: float) -> float:
        return array("d" if self._code == "d" else "f", [weight])[0]

    def _view(self, memory: Any, code: str) -> Any:
        view: Any = memoryview(memory).cast("B")
        return view.cast(code)

    def _own(self, piece: int) -> Any:
        place, total = self._range(piece), None
        for weight, view in self._shares:
            product = array(self._code, [weight * number for number in view[place]])
            total = product if total is None else self._sum(total, product)
        return array(self._code, bytes(8 if self._code == "d" else 4)) * self._length(piece) if total is None else total

    def _sum(self, first: Any, second: Any) -> Any:
        return array(self._code, map(add, first, second))

    def _packed(self, numbers: Any) -> Any:
        return memoryview(numbers).cast("B")

    def _numbers(self, data: Any, code: str, piece: int) -> Any:
        view = memoryview(data).cast("B")
        if len(view) != self._length(piece) * (4 if code == "f" else 8):
            raise ValueError(f"piece {piece} has {len(view)} bytes")
        numbers = array(code)
        numbers.frombytes(view)
        return numbers

    def _write(self, piece: int, numbers: Any) -> None:
        narrow = numbers if numbers.typecode == self.form.code else array(self.form.code, numbers)
        self._result[self._range(piece)] = memoryview(narrow)

    # ---- places --------------------------------------------------------------------------------------

    def _range(self, piece: int) -> slice:
        start = piece * self._piece
        return slice(start, min(start + self._piece, self.form.numbers))

    def _length(self, piece: int) -> int:
        place = self._range(piece)
        return place.stop - place.start  # type: ignore[no-any-return]


class NumpyVectorSums(VectorSums):
    """Compute the same with NumPy."""

    def __init__(self, numpy: Any, *arguments: Any, wide: bool = False) -> None:
        self._numpy = numpy
        super().__init__(*arguments, wide=wide)
        #: Where a product is computed that is added to something at once.
        self._scratch = numpy.empty(self._length(0), dtype=numpy.dtype(self._code))

    def _view(self, memory: Any, code: str) -> Any:
        return self._numpy.frombuffer(memory, dtype=code)

    def _own(self, piece: int) -> Any:
        numpy, place, total = self._numpy, self._range(piece), None
        for weight, view in self._shares:
            product = self._product(weight, view[place], None if total is None else self._scratch)
            total = product if total is None else numpy.add(total, product, out=total)
        return numpy.zeros(self._length(piece), dtype=self._code) if total is None else total

    def added(self, piece: int, data: Any) -> Any:
        came = self._numbers(data, self._code, piece)
        if len(self._shares) != 1 or not came.flags.writeable:
            return super().added(piece, data)
        # In the memory that was received: it is nobody's but this sum's.
        (weight, view), = self._shares
        return self._packed(self._numpy.add(came, self._product(weight, view[self._range(piece)], self._scratch),
                                            out=came))

    def _product(self, weight: float, numbers: Any, memory: Any) -> Any:
        kind = self._numpy.dtype(self._code)
        out = None if memory is None else memory[:len(numbers)]
        return self._numpy.multiply(numbers, kind.type(weight), dtype=kind, out=out)

    def _sum(self, first: Any, second: Any) -> Any:
        # The second is this device's own, made a moment ago.
        return self._numpy.add(first, second, out=second)

    def _numbers(self, data: Any, code: str, piece: int) -> Any:
        numbers = self._numpy.frombuffer(data, dtype=code)
        if len(numbers) != self._length(piece):
            raise ValueError(f"piece {piece} has {len(numbers)} numbers")
        return numbers

    def _write(self, piece: int, numbers: Any) -> None:
        self._result[self._range(piece)] = numbers


def vector_sums(
    form: VectorForm, shares: Sequence[VectorShare], result: Any, piece_numbers: int, *, wide: bool = False,
    with_numpy: bool = True,
) -> VectorSums:
    """Return what computes with NumPy where it is installed and wanted, else without."""
    numpy = optional_module("numpy") if with_numpy else None
    arguments: List[Any] = [form, shares, result, piece_numbers]
    if numpy is None:
        return VectorSums(*arguments, wide=wide)
    return NumpyVectorSums(numpy, *arguments, wide=wide)
