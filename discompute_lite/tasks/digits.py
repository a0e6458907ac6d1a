"""Recognise handwritten digits by their nearest neighbours, fast and without any library.

Knows:   the 1,797 images of the UCI digits, and squared distances of one image to all others at once.
Refuses: to keep state between calls but the images, which are read once.
Read next: tasks/builtin.py (`digits`, which spreads this over devices).

The distances. Put one pixel of all images side by side into one long integer, 16 bits an image. Multiplying that
integer by a pixel of the query multiplies all images at once, and adding 64 such products gives 1,797 dot products:

    |a - b|^2 = |a|^2 + |b|^2 - 2 a.b       at most 64 * 16^2 = 16,384: a lane of 16 bits cannot overflow

So the inner loop is 64 multiplications of long integers in C instead of 115,008 of short ones in Python:
twenty times faster than `sum(map(mul, a, b))` for every pair.
"""

from __future__ import annotations

import base64
import sys
import zlib
from array import array
from functools import lru_cache
from importlib import import_module
from operator import mul
from typing import Iterable, List, NamedTuple, Tuple

from ..model.errors import TaskRejected

#: Pixels of an image, 8 by 8, each 0 to 16.
DIGIT_PIXELS = 64
#: Beyond every distance; the first marks images that a sample leaves out, the second those already counted.
_LEFT_OUT, _FARTHEST = 0x8000, 0xFFFF


class DigitLanes(NamedTuple):
    """Hold all images as long integers with one lane of 16 bits an image, the first image lowest."""

    #: One integer a pixel.
    columns: List[int]
    #: Each image's squared length.
    norms: int
    #: A one in each lane.
    ones: int


class NoDigitsHere(TaskRejected):
    """The program that this device has leaves the images out (host/small_file.py); another device may have them."""


class PackedDigits(NamedTuple):
    """Hold the images and labels as text, as they lie in digits_data.py and travel with a job."""

    images: str
    labels: str


def packed_digits() -> PackedDigits:
    """Return the images and labels that are shipped; raise NoDigitsHere."""
    try:
        data = import_module("discompute_lite.tasks.digits_data")
    except ModuleNotFoundError as error:
        raise NoDigitsHere(error.msg) from None
    return PackedDigits(data.DIGIT_IMAGES, data.DIGIT_LABELS)


def load_digits() -> Tuple[List[bytes], bytes]:
    """Return (images, labels): 64 bytes of 0 to 16 an image, row by row, and one byte of 0 to 9 an image.

    Raises NoDigitsHere.
    """
    return unpacked_digits(packed_digits())


@lru_cache(maxsize=1)
def unpacked_digits(packed: PackedDigits) -> Tuple[List[bytes], bytes]:
    """Return what `load_digits` does, of images and labels that came along."""
    columns = zlib.decompress(base64.b85decode(packed.images))
    labels = bytes(map(int, packed.labels))
    count = len(labels)
    images = [columns[index::count] for index in range(count)]
    return images, labels


def classify_digits(start: int, stop: int, *, neighbours: int, limit: int = 0, samples: int = 0) -> List[List[int]]:
    """Return what its nearest neighbours say of each of the images start to stop, as rows of 1 + `samples` labels.

    The first label of a row comes from all of the first `limit` images (0: all there are) but the image itself,
    the further ones from random halves of them, the same halves on every device. Of equal distances the lower index
    is nearer; of labels with as many votes the one with the nearest image wins. Raises `TaskRejected` where the
    numbers do not fit.
    """
    images, labels = load_digits()
    count = min(limit, len(images)) if limit > 0 else len(images)
    if not 0 <= start <= stop <= count:
        raise TaskRejected(f"the range {start} to {stop} is not within the {count} images")
    if not 1 <= neighbours <= count // 4:
        raise TaskRejected(f"k must be from 1 to {count // 4} for {count} images, not {neighbours}")
    lanes = digit_lanes(count)
    halves = [0] + [left_out_lanes(count, sample) for sample in range(samples)]
    rows = []
    for index in range(start, stop):
        distances = _packed_distances(images[index], lanes)
        rows.append([_vote(distances | half, count, index, labels, neighbours) for half in halves])
    return rows


@lru_cache(maxsize=2)
def digit_lanes(count: int) -> DigitLanes:
    """Return the first `count` images in lanes."""
    images = load_digits()[0][:count]
    columns = [_lanes(image[pixel] for image in images) for pixel in range(DIGIT_PIXELS)]
    return DigitLanes(columns, _lanes(sum(map(mul, image, image)) for image in images), _lanes([1] * count))


def _lanes(numbers: Iterable[int]) -> int:
    values = array("H", numbers)
    if sys.byteorder == "big":
        values.byteswap()
    return int.from_bytes(values.tobytes(), "little")


@lru_cache(maxsize=64)
def left_out_lanes(count: int, sample: int) -> int:
    """Return lanes with the bit `_LEFT_OUT` for a random half of the images; the same on every machine."""
    state, chosen = 2 * sample + 1, []
    for _ in range(count):
        # A linear congruential generator (Knuth's MMIX constants); its high bits are the random ones.
        state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        chosen.append(_LEFT_OUT * (state >> 63))
    return _lanes(chosen)


def _packed_distances(image: bytes, lanes: DigitLanes) -> int:
    """Return the squared distances of `image` to each of the images, in lanes."""
    dots = sum(map(mul, image, lanes.columns))
    return lanes.norms + sum(map(mul, image, image)) * lanes.ones - 2 * dots


def _vote(packed: int, count: int, index: int, labels: bytes, neighbours: int) -> int:
    distances = array("H", packed.to_bytes(2 * count, "little"))
    if sys.byteorder == "big":
        distances.byteswap()
    distances[index] = _FARTHEST
    votes = [0] * 10
    ranking = []
    for _ in range(neighbours):
        nearest = distances.index(min(distances))
        distances[nearest] = _FARTHEST
        votes[labels[nearest]] += 1
        ranking.append(labels[nearest])
    # max() keeps the first of equals, and the ranking begins with the nearest.
    return max(ranking, key=votes.__getitem__)
