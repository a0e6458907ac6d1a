"""Write pieces of a vector with fewer bytes: as halves, or as the few numbers that are not zero.

Knows:   three forms of a piece, with NumPy and without, the same bytes from both; which numbers of a piece are largest.
Refuses: to remember what was left out (ml/sums.py does) and to know who sends what (ml/ring.py does).
Read next: ml/sums.py (who adds pieces up).

    plain     numbers as they lie in memory, float32 or float64
    float16   a power of two, then each number times it as IEEE half precision. It brings the largest number of the
              piece just below 2^15, so that nothing overflows and what is 10^11 times smaller than it is still there.
    top-k     how many numbers are not zero, their places, then themselves; plain numbers where that would be longer

Sums are made of float32 or float64 whatever the form: only what travels is narrow.
"""

from __future__ import annotations

import math
import struct
from array import array
from heapq import nlargest
from typing import Any, List, NamedTuple

FLOAT16, TOP_K = "float16", "top-k"
#: How vectors may be compressed, by the words that people write.
COMPRESSION_WORDS = ("none", FLOAT16, TOP_K)
#: Numbers of halves are multiplied until the largest is below two to this power, half of the most that they hold.
HALF_BITS = 15
#: The most that a number is multiplied by, as a power of two: Python's floats end at 1023.
_SHIFT_MOST = 1000
_SHIFT, _COUNT = struct.Struct("<i"), struct.Struct("<I")
#: In the place of a count: all numbers follow, without places.
_ALL = 0xFFFFFFFF


class Compression(NamedTuple):
    """Say how what devices average is compressed on its way."""

    #: One of `COMPRESSION_WORDS`, "" for none.
    kind: str = ""
    #: The part of the numbers that each device sends of its own, where that is the kind.
    top_k: float = 0.01
    #: Whether ways are averaged, from the state that all began with: what is left out of a state would be lost, and
    #: of a way it is small.
    of_ways: bool = False


class PlainPacking:
    """Write numbers as they lie in memory."""

    def __init__(self, code: str, numpy: Any) -> None:
        """`code` is the type of the numbers, "f" or "d"; `numpy` is None where there is none."""
        self._code, self._numpy = code, numpy
        self._item_bytes = 4 if code == "f" else 8

    def packed(self, numbers: Any) -> Any:
        """Return numbers ready to travel."""
        return memoryview(numbers).cast("B")

    def numbers(self, data: Any, length: int) -> Any:
        """Return so many numbers out of what came; raise ValueError where there are others."""
        view = memoryview(data).cast("B")
        if len(view) != length * self._item_bytes:
            raise ValueError(f"it has {len(view)} bytes")
        if self._numpy is not None:
            return self._numpy.frombuffer(data, dtype=self._code)
        return _array_of(self._code, view)


class HalfPacking(PlainPacking):
    """Write numbers in half precision, scaled by a power of two."""

    def packed(self, numbers: Any) -> Any:
        data, shift = bytearray(_SHIFT.size + 2 * len(numbers)), self._shift(numbers)
        _SHIFT.pack_into(data, 0, shift)
        if self._numpy is not None:
            halves = self._numpy.frombuffer(data, dtype="<f2", offset=_SHIFT.size)
            halves[:] = self._numpy.ldexp(numbers, shift)
        else:
            factor = math.ldexp(1.0, shift)
            struct.pack_into(f"<{len(numbers)}e", data, _SHIFT.size, *[number * factor for number in numbers])
        return memoryview(data)

    def numbers(self, data: Any, length: int) -> Any:
        view = memoryview(data).cast("B")
        if len(view) != _SHIFT.size + 2 * length:
            raise ValueError(f"it has {len(view)} bytes")
        shift, = _SHIFT.unpack_from(view)
        if abs(shift) > _SHIFT_MOST + 2 * HALF_BITS:
            raise ValueError("no number is so small, or so large")
        if self._numpy is not None:
            halves = self._numpy.frombuffer(view, dtype="<f2", offset=_SHIFT.size)
            return self._numpy.ldexp(halves.astype(self._code), -shift)
        factor = math.ldexp(1.0, -shift) if shift > -_SHIFT_MOST else math.ldexp(1.0, _SHIFT_MOST)
        return array(self._code, [half * factor for half in struct.unpack_from(f"<{length}e", view, _SHIFT.size)])

    def _shift(self, numbers: Any) -> int:
        if self._numpy is not None:
            sizes = self._numpy.abs(numbers)
            largest = float(sizes.max())
            if not math.isfinite(largest):
                largest = float(sizes.max(where=self._numpy.isfinite(sizes), initial=0.0))
        else:
            # Neither infinity nor what is no number.
            largest = max((size for size in map(abs, numbers) if size < math.inf), default=0.0)
        return min(HALF_BITS - math.frexp(largest)[1], _SHIFT_MOST) if largest else 0


class SparsePacking(PlainPacking):
    """Write the numbers that are not zero, with their places."""

    def packed(self, numbers: Any) -> Any:
        if self._numpy is not None:
            places = self._numpy.flatnonzero(numbers).astype("<u4")
        else:
            places = array("I", [place for place, number in enumerate(numbers) if number])
        if len(places) * (4 + self._item_bytes) >= len(numbers) * self._item_bytes:
            return memoryview(_COUNT.pack(_ALL) + bytes(memoryview(numbers).cast("B")))
        chosen: Any = (numbers[places] if self._numpy is not None else
                       array(self._code, map(numbers.__getitem__, places)))
        return memoryview(_COUNT.pack(len(places)) + places.tobytes() + chosen.tobytes())

    def numbers(self, data: Any, length: int) -> Any:
        view = memoryview(data).cast("B")
        count = _COUNT.unpack_from(view)[0] if len(view) >= _COUNT.size else 0
        if count == _ALL:
            return super().numbers(view[_COUNT.size:], length)
        middle = _COUNT.size + 4 * count
        if len(view) != middle + count * self._item_bytes:
            raise ValueError(f"it has {len(view)} bytes")
        if self._numpy is not None:
            places = self._numpy.frombuffer(view[_COUNT.size:middle], dtype="<u4")
            values = self._numpy.frombuffer(view[middle:], dtype=self._code)
            numbers = self._numpy.zeros(length, dtype=self._code)
        else:
            places, values = _array_of("I", view[_COUNT.size:middle]), _array_of(self._code, view[middle:])
            numbers = array(self._code, bytes(self._item_bytes)) * length
        if count and (max(places) if self._numpy is None else places.max()) >= length:
            raise ValueError("a place is beyond its end")
        if self._numpy is not None:
            numbers[places] = values
        else:
            for place, value in zip(places, values):
                numbers[place] = value
        return numbers


def packing_of(kind: str, code: str, numpy: Any) -> PlainPacking:
    """Return how pieces are written for a kind of compression."""
    return {FLOAT16: HalfPacking, TOP_K: SparsePacking}.get(kind, PlainPacking)(code, numpy)


def kept_count(top_k: float, length: int) -> int:
    """Return how many of so many numbers are sent: one at least."""
    return min(length, max(1, round(top_k * length)))


def largest_places(numbers: Any, count: int, numpy: Any) -> Any:
    """Return the places of the `count` numbers that are furthest from zero; of equal ones the first.

    What is no number is further away than all others: it is seen at once, and not kept in silence.
    """
    if numpy is None:
        sizes: List[float] = [math.inf if number != number else abs(number) for number in numbers]
        return nlargest(count, range(len(sizes)), key=sizes.__getitem__)
    sizes_there = numpy.abs(numbers)
    sizes_there[numpy.isnan(sizes_there)] = numpy.inf
    floor = numpy.partition(sizes_there, len(numbers) - count)[len(numbers) - count]
    above = numpy.flatnonzero(sizes_there > floor)
    return numpy.concatenate((above, numpy.flatnonzero(sizes_there == floor)[:count - len(above)]))


def _array_of(code: str, view: Any) -> array:
    numbers = array(code)
    numbers.frombytes(view)
    return numbers
