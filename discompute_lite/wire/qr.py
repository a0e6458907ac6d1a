"""Make QR codes of short texts, so that a phone's camera reads what nobody wants to type.

Knows:   model 2 in byte mode (ISO/IEC 18004): versions 1 to 22, levels L and M, Reed-Solomon, masks.
Refuses: what is longer than 1,003 bytes, and to draw (faces/qr_picture.py does).
Read next: faces/qr_picture.py.

    >>> code = qr_code(b"HELLO")
    >>> len(code), sum(map(sum, code))
    (21, 228)

A code is a list of rows of modules, True for dark, without the quiet zone around it.
"""

from __future__ import annotations

from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from ..model.errors import TooLarge

Modules = List[List[bool]]


class QrBlocks(NamedTuple):
    """Say how the codewords of one version and level are divided."""

    #: Bits that stand for the level in the format.
    level_bits: int
    #: Codewords of error correction in each block.
    correction: int
    blocks: int


#: Codewords of each version, from 1 on; correction codewords a block and blocks, for L and for M. (Tables 1 and 9)
_CODEWORDS = (26, 44, 70, 100, 134, 172, 196, 242, 292, 346, 404, 466, 532, 581, 655, 733, 815, 901,
              991, 1085, 1156, 1258)
_LEVELS = {
    "L": (0b01, (7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28, 28, 28),
          (1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8, 8, 9)),
    "M": (0b00, (10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26, 26, 28),
          (1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16, 17, 17)),
}
#: Centres of alignment patterns, in rows and in columns, from version 1 on. (Annex E)
_ALIGNMENT = ((), (6, 18), (6, 22), (6, 26), (6, 30), (6, 34), (6, 22, 38), (6, 24, 42), (6, 26, 46), (6, 28, 50),
              (6, 30, 54), (6, 32, 58), (6, 34, 62), (6, 26, 46, 66), (6, 26, 48, 70),
              (6, 26, 50, 74), (6, 30, 54, 78), (6, 30, 56, 82), (6, 30, 58, 86), (6, 34, 62, 90),
              (6, 28, 50, 72, 94), (6, 26, 50, 74, 98))
_BYTE_MODE = 0b0100
#: Fills what is left of the data, one after the other.
_PADDING = (0xEC, 0x11)
_FORMAT_GENERATOR, _FORMAT_MASK, _VERSION_GENERATOR = 0x537, 0x5412, 0x1F25
#: x^8 + x^4 + x^3 + x^2 + 1, the field's polynomial.
_FIELD = 0x11D
_FINDER_LIKE = ((1, 0, 1, 1, 1, 0, 1, 0, 0, 0, 0), (0, 0, 0, 0, 1, 0, 1, 1, 1, 0, 1))


def qr_code(data: bytes, *, mask: Optional[int] = None) -> Modules:
    """Return the smallest code that holds `data`, with the better level where that costs nothing; raise TooLarge.

    The mask is the one that the standard's penalties prefer, unless one is asked for.
    """
    version, level = _smallest(len(data))
    drawing = _Drawing(version)
    drawing.place(_codewords(data, version, level))
    masks = range(8) if mask is None else (mask,)
    return min((drawing.masked(number, _LEVELS[level][0]) for number in masks), key=qr_penalty)


def qr_blocks(version: int, level: str) -> QrBlocks:
    """Return how a version's codewords are divided."""
    bits, correction, blocks = _LEVELS[level]
    return QrBlocks(bits, correction[version - 1], blocks[version - 1])


def qr_capacity(version: int, level: str) -> int:
    """Return the bytes that a version holds."""
    _, correction, blocks = qr_blocks(version, level)
    length_bits = 8 if version < 10 else 16
    return ((_CODEWORDS[version - 1] - correction * blocks) * 8 - 4 - length_bits) // 8


def _smallest(size: int) -> Tuple[int, str]:
    for version in range(1, len(_CODEWORDS) + 1):
        if size <= qr_capacity(version, "L"):
            return version, "M" if size <= qr_capacity(version, "M") else "L"
    raise TooLarge(f"{size} bytes are too many for a QR code of this size; show the text instead")


# ---- codewords ----------------------------------------------------------------------------------------


def _codewords(data: bytes, version: int, level: str) -> bytes:
    """Return data and error correction as they are placed: the blocks' first codewords, then their second ones …"""
    _, correction, blocks = qr_blocks(version, level)
    total = _CODEWORDS[version - 1]
    words = _data_codewords(data, version, total - correction * blocks)
    size, longer = divmod(len(words), blocks)
    parts: List[bytes] = []
    at = 0
    for number in range(blocks):
        # The last blocks are one codeword longer, where they do not come out even.
        end = at + size + (number >= blocks - longer)
        parts.append(words[at:end])
        at = end
    checks = [qr_correction(part, correction) for part in parts]
    return bytes(_interleaved(parts)) + bytes(_interleaved(checks))


def _interleaved(parts: List[bytes]) -> Iterator[int]:
    for index in range(max(map(len, parts))):
        for part in parts:
            if index < len(part):
                yield part[index]


def _data_codewords(data: bytes, version: int, room: int) -> bytes:
    length_bits = 8 if version < 10 else 16
    bits = (_BYTE_MODE << length_bits | len(data)) << 8 * len(data) | int.from_bytes(data, "big")
    count = 4 + length_bits + 8 * len(data)
    # A terminator of four zeros at most, then zeros up to a whole codeword.
    end = min(room * 8, count + 4)
    whole = (end + 7) // 8
    words = bytearray((bits << whole * 8 - count).to_bytes(whole, "big"))
    while len(words) < room:
        words.append(_PADDING[(len(words) - whole) % 2])
    return bytes(words)


def _field_tables() -> Tuple[List[int], List[int]]:
    powers, logs, value = [0] * 255, [0] * 256, 1
    for exponent in range(255):
        powers[exponent], logs[value] = value, exponent
        value <<= 1
        if value & 0x100:
            value ^= _FIELD
    return powers, logs


_POWERS, _LOGS = _field_tables()


def _product(one: int, other: int) -> int:
    return _POWERS[(_LOGS[one] + _LOGS[other]) % 255] if one and other else 0


def qr_correction(data: bytes, count: int) -> bytes:
    """Return the Reed-Solomon codewords of one block: the rest of its division by the generator polynomial."""
    generator = [1]
    for exponent in range(count):
        # Times (x - 2^exponent).
        grown = generator + [0]
        for index, coefficient in enumerate(generator):
            grown[index + 1] ^= _product(coefficient, _POWERS[exponent])
        generator = grown
    rest = [0] * count
    for word in data:
        factor = word ^ rest[0]
        rest = [each ^ _product(coefficient, factor) for each, coefficient in zip(rest[1:] + [0], generator[1:])]
    return bytes(rest)


# ---- modules ------------------------------------------------------------------------------------------


def _checked_bits(value: int, bits: int, generator: int) -> int:
    """Return a value with `bits` check bits behind it (BCH)."""
    rest = value << bits
    for shift in range(rest.bit_length() - bits - 1, -1, -1):
        if rest >> (bits + shift) & 1:
            rest ^= generator << shift
    return value << bits | rest


def qr_format_bits(level_bits: int, mask: int) -> int:
    """Return the 15 bits that say level and mask."""
    return _checked_bits(level_bits << 3 | mask, 10, _FORMAT_GENERATOR) ^ _FORMAT_MASK


def qr_version_bits(version: int) -> int:
    """Return the 18 bits that say the version, from 7 on."""
    return _checked_bits(version, 12, _VERSION_GENERATOR)


_MASKS = (
    lambda row, column: (row + column) % 2 == 0,
    lambda row, column: row % 2 == 0,
    lambda row, column: column % 3 == 0,
    lambda row, column: (row + column) % 3 == 0,
    lambda row, column: (row // 2 + column // 3) % 2 == 0,
    lambda row, column: row * column % 2 + row * column % 3 == 0,
    lambda row, column: (row * column % 2 + row * column % 3) % 2 == 0,
    lambda row, column: ((row + column) % 2 + row * column % 3) % 2 == 0,
)


class _Drawing:
    """Draw one code: what every code of a version has, then the data."""

    def __init__(self, version: int) -> None:
        self.size = 17 + 4 * version
        #: (row, column) -> dark, of what is no data.
        self._fixed: Dict[Tuple[int, int], bool] = {}
        self._data: Dict[Tuple[int, int], bool] = {}
        self._draw_timing()
        for row, column in ((0, 0), (0, self.size - 7), (self.size - 7, 0)):
            self._draw_finder(row, column)
        self._draw_alignment(_ALIGNMENT[version - 1])
        self._draw_version(version)
        # The format's places, whatever will stand there; and the module that is always dark.
        for place, _ in self._format_places(0):
            self._fixed[place] = False
        self._fixed[self.size - 8, 8] = True

    def place(self, words: bytes) -> None:
        """Place codewords: two columns at a time from the right, up and down in turn."""
        bits = (word >> shift & 1 for word in words for shift in range(7, -1, -1))
        for number, right in enumerate((*range(self.size - 1, 6, -2), 5, 3, 1)):
            rows = range(self.size) if number % 2 else range(self.size - 1, -1, -1)
            for row in rows:
                for column in (right, right - 1):
                    if (row, column) not in self._fixed:
                        # Of some versions a few modules are left over: they are light.
                        self._data[row, column] = bool(next(bits, 0))

    def masked(self, mask: int, level_bits: int) -> Modules:
        """Return the code with its data masked and the format that says so."""
        modules = [[False] * self.size for _ in range(self.size)]
        for (row, column), dark in (*self._fixed.items(), *self._format_places(qr_format_bits(level_bits, mask))):
            modules[row][column] = dark
        for (row, column), dark in self._data.items():
            modules[row][column] = dark ^ bool(_MASKS[mask](row, column))
        return modules

    def _draw_finder(self, top: int, left: int) -> None:
        for row in range(top - 1, top + 8):
            for column in range(left - 1, left + 8):
                if 0 <= row < self.size and 0 <= column < self.size:
                    ring = max(abs(row - top - 3), abs(column - left - 3))
                    self._fixed[row, column] = ring in (0, 1, 3)

    def _draw_timing(self) -> None:
        for at in range(self.size):
            self._fixed[6, at] = self._fixed[at, 6] = at % 2 == 0

    def _draw_alignment(self, centres: Tuple[int, ...]) -> None:
        last = self.size - 7
        for row in centres:
            for column in centres:
                if (row, column) in ((6, 6), (6, last), (last, 6)):
                    continue  # A finder is there.
                for down in range(-2, 3):
                    for right in range(-2, 3):
                        self._fixed[row + down, column + right] = max(abs(down), abs(right)) != 1

    def _draw_version(self, version: int) -> None:
        if version >= 7:
            bits = qr_version_bits(version)
            for number in range(18):
                dark, far, near = bool(bits >> number & 1), self.size - 11 + number % 3, number // 3
                self._fixed[far, near] = self._fixed[near, far] = dark

    def _format_places(self, bits: int) -> Iterator[Tuple[Tuple[int, int], bool]]:
        """Give both copies of the format, its lowest bit first."""
        last = self.size - 1
        column = [(row, 8) for row in (0, 1, 2, 3, 4, 5, 7, 8)] + [(8, each) for each in (7, 5, 4, 3, 2, 1, 0)]
        split = [(8, last - each) for each in range(8)] + [(last - each, 8) for each in range(6, -1, -1)]
        for number in range(15):
            dark = bool(bits >> number & 1)
            yield column[number], dark
            yield split[number], dark


def qr_penalty(modules: Modules) -> int:
    """Return how ill a code suits a camera: long runs, squares, what looks like a finder, more dark than light.

    (Section 7.8.3, with its weights of 3, 3, 40 and 10)
    """
    size = len(modules)
    columns = [[modules[row][column] for row in range(size)] for column in range(size)]
    penalty = 0
    for line in (*modules, *columns):
        run = 0
        for at, dark in enumerate(line):
            run = run + 1 if at and dark == line[at - 1] else 1
            penalty += 3 if run == 5 else 1 if run > 5 else 0
        penalty += 40 * sum(tuple(line[at:at + 11]) in _FINDER_LIKE for at in range(size - 10))
    for row in range(size - 1):
        for column in range(size - 1):
            square = {modules[row + down][column + right] for down in (0, 1) for right in (0, 1)}
            penalty += 3 if len(square) == 1 else 0
    dark_share = sum(map(sum, modules)) * 100 / size ** 2
    return penalty + 10 * int(abs(dark_share - 50) / 5)
