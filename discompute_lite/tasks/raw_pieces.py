"""Carry large pieces of memory beside JSON texts, as they are: not in base64, and never looked through.

Knows:   the two frames, told by their first byte, which no JSON text has.
Refuses: to read a text; that is tasks/values.py and tasks/calls.py.
Read next: tasks/values.py (whose values have such pieces), tasks/calls.py (who puts several texts together).

    SOH [31,1048576] LF <31 bytes> <1048576 bytes>    a value: its tagged JSON, then the pieces that it names by number
    NUL [3,1048625] LF <3 bytes> <1048625 bytes>      several texts, one of which is such a value; else they are lines

What is framed wrongly is taken for one text, which is then no JSON: so whoever reads it refuses it.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import Any, Dict, Iterable, Iterator, List, Optional

#: How a value with pieces begins, and how several texts do of which one has some.
VALUE_MARK, TEXTS_MARK = b"\1", b"\0"
_MARKS = VALUE_MARK, TEXTS_MARK
#: Bytes from which on a piece travels as it is: below, its number and its frame cost as much as base64 does. No frame
#: has a smaller one.
PIECE_LEAST = 4096
#: Characters that the list of lengths may have: more than a message full of the smallest pieces. Beyond it, no frame.
LENGTHS_MOST = 2 * 1024 * 1024
#: Digits that a length may have: to read very many takes minutes on Pythons that set no bound of their own.
LENGTH_DIGITS = 15


class RawPieces:
    """Collect the pieces of one value; the same object twice is one piece."""

    def __init__(self) -> None:
        self.pieces: List[bytes] = []
        self._numbers: Dict[int, int] = {}

    def number_of(self, piece: bytes) -> int:
        """Return the number by which a piece is named."""
        number = self._numbers.setdefault(id(piece), len(self.pieces))
        if number == len(self.pieces):
            self.pieces.append(piece)  # Held, so that nothing else gets its id.
        return number

    def framed(self, text: bytes) -> bytes:
        """Return the value whose JSON is `text`."""
        return _frame(VALUE_MARK, [text, *self.pieces]) if self.pieces else text


def join_texts(texts: Iterable[bytes]) -> bytes:
    """Put texts into one: lines, where they are JSON without a line break; `split_texts` is the way back."""
    texts = list(texts)
    if VALUE_MARK in [text[:1] for text in texts]:
        return _frame(TEXTS_MARK, texts)
    return b"\n".join(texts)


def split_texts(data: bytes, most: Optional[int] = None) -> List[bytes]:
    """Return the texts of which data are made; of more than `most` some more than that, which is enough to refuse them.

    A text costs forty times the line break that makes it.
    """
    if not data or data[:1] == VALUE_MARK:
        return [bytes(data)] if data else []
    parts = _parts(TEXTS_MARK, data)
    if parts is None:
        return bytes(data).split(b"\n", -1 if most is None else most)
    return list(map(bytes, parts if most is None else islice(parts, most + 1)))


def first_text(data: bytes) -> bytes:
    """Return the first of the texts of which data are made, b"" where there is none."""
    parts = _parts(TEXTS_MARK, data)
    if parts is None:
        return bytes(data).partition(b"\n")[0]
    return bytes(next(parts, b""))


def parts_of_value(data: Any) -> List[Any]:
    """Return a value's JSON and its pieces, which are memoryviews."""
    parts = _parts(VALUE_MARK, data)
    return list(parts or ()) or [data]


def json_of(data: Any) -> Iterable[bytes]:
    """Return what of data is JSON, without any piece: one text or, where they are framed, each in its turn."""
    return map(_json_of_text, _parts(TEXTS_MARK, data) or (data,)) if data[:1] in _MARKS else (bytes(data),)


def _json_of_text(text: Any) -> bytes:
    return bytes(parts_of_value(text)[0])


def _frame(mark: bytes, parts: List[bytes]) -> bytes:
    lengths = ",".join([str(len(part)) for part in parts])
    return b"".join([mark, b"[", lengths.encode("ascii"), b"]\n", *parts])


def _head(view: memoryview) -> bytes:
    """Return the list of lengths; looked for in few bytes first, since what follows may be very long."""
    for most in (256, LENGTHS_MOST):
        head, end, _ = bytes(view[1:most]).partition(b"\n")
        if end:
            return head
    return b""


def _read_length(text: str) -> int:
    if len(text) > LENGTH_DIGITS:
        raise ValueError("nothing is so long")
    return int(text)


def _parts(mark: bytes, data: Any) -> Optional[Iterator[memoryview]]:
    """Return the parts of a frame that begins with `mark`, each cut when it is its turn; None where there is none."""
    if data[:1] != mark:
        return None
    view = memoryview(data)
    head = _head(view)
    try:
        lengths = json.loads(head, parse_int=_read_length)
    except (ValueError, RecursionError):
        return None
    if type(lengths) is not list or not all(type(length) is int and length >= 0 for length in lengths):
        return None
    at = 1 + len(head) + 1
    if at + sum(lengths) != len(view):
        return None
    # A piece that has nothing in it takes two bytes here, and a hundred times as many once it is cut.
    if mark == VALUE_MARK and any(length < PIECE_LEAST for length in lengths[1:]):
        return None
    return _sliced(view, at, lengths)


def _sliced(view: memoryview, at: int, lengths: List[int]) -> Iterator[memoryview]:
    for length in lengths:
        yield view[at:at + length]
        at += length
