"""Turn values into tagged JSON and back: the only form in which arguments and results travel.

Knows:   how the text is written and read, and how a refusal says where the culprit stands and what it is.
Refuses: what is no tagged JSON, with `TaskRejected`, at a cost bounded by its size.
Read next: tasks/value_writer.py and tasks/value_reader.py (the two ways), tasks/types.py (what values are for).

Plain JSON stands for itself: null, true, false, integers within 64 bits, finite numbers, text, arrays (lists) and
objects (dicts whose keys are text and none of which is "$t"). Everything else is

    {"$t": tag, "v": content}            for example {"$t":"tuple","v":[1,2]}
    {"$t": tag, "id": 3, "v": content}   an object that is referred to again, from inside itself too,
    {"$t": "ref", "v": 3}                by this, later in the text.

tasks/value_table.py has the whole table with one golden example a tag. Marks belong to one text, which is read
from left to right. NumPy arrays arrive as nested lists of Python's numbers where NumPy is not installed.
"""

from __future__ import annotations

import json
from math import isfinite
from typing import Any, Optional, Sequence

from ..model.errors import TaskRejected
from .class_book import ClassBook
from .raw_pieces import VALUE_MARK, RawPieces, parts_of_value
from .value_kinds import CannotTravel
from .value_parts import PLAIN_INT_MAX, PLAIN_INT_MIN, VALUE_DEPTH, path_to, with_article
from .value_reader import ValueReader
from .value_writer import ValueWriter

#: Long texts are looked through for long numbers before they are parsed, short ones while they are.
LONG_TEXT_BYTES = 2048


def encode_value(
    value: Any, where: str = "the value", classes: Optional[ClassBook] = None, pieces: Optional[RawPieces] = None
) -> Any:
    """Return `value` as JSON types; raise `TaskRejected` that names the part below `where` that cannot travel.

    What has a class of its own travels where `classes` knows its name. Large pieces of memory go into `pieces`.
    """
    try:
        return ValueWriter(value, classes, pieces).write(value, 0)
    except CannotTravel as culprit:
        path = where + path_to(value, culprit.value)
        raise TaskRejected(f"{path} is {with_article(culprit.value)}; it cannot travel: {culprit.reason}") from None
    except RecursionError:
        raise TaskRejected(f"{where} is nested too deeply to travel; return flatter data") from None


def decode_value(plain: Any, classes: Optional[ClassBook] = None, pieces: Sequence[Any] = ()) -> Any:
    """Return the value that `plain` JSON types stand for; raise `TaskRejected` when they stand for none."""
    reader = ValueReader(classes, pieces)
    try:
        return reader.finish(reader.read(plain, 0))
    except RecursionError:
        raise TaskRejected("the data is nested too deeply") from None


def dump_value(value: Any, where: str = "the value", classes: Optional[ClassBook] = None) -> bytes:
    """Return the tagged JSON text of `value`: compact UTF-8, on one line."""
    return _text_of(value, where, classes, None)


def dump_with_pieces(value: Any, where: str = "the value", classes: Optional[ClassBook] = None) -> bytes:
    """Return the text of `value` as `dump_value` does, but large pieces of memory beside it (tasks/raw_pieces.py)."""
    pieces = RawPieces()
    return pieces.framed(_text_of(value, where, classes, pieces))


def _text_of(value: Any, where: str, classes: Optional[ClassBook], pieces: Optional[RawPieces]) -> bytes:
    try:
        return _ENCODE_TEXT(encode_value(value, where, classes, pieces)).encode("utf-8")
    except RecursionError:
        raise TaskRejected(f"{where} is nested too deeply to travel; return flatter data") from None


def scalar_text(value: Any) -> Optional[str]:
    """Return the text of a plain scalar, without looking for anything in it; None for whatever needs `dump_value`."""
    kind = type(value)
    if value is None:
        return "null"
    if kind is int and PLAIN_INT_MIN <= value <= PLAIN_INT_MAX:
        return int.__repr__(value)
    if kind is float and isfinite(value):
        return float.__repr__(value)
    if kind is str and value.isascii():
        return _QUOTE(value)
    return None if kind is not bool else "true" if value else "false"


def load_value(data: Any, classes: Optional[ClassBook] = None) -> Any:
    """Return the value of a tagged JSON text (bytes, bytearray or memoryview); raise `TaskRejected`."""
    if data[:1] == VALUE_MARK:
        text, *pieces = parts_of_value(data)
        return decode_value(parse_plain(text), classes, pieces)
    plain = parse_plain(data)
    if len(data) < LONG_TEXT_BYTES:
        text = bytes(data)
        # No tag can be in it, no depth, and no endless number (see `_read_plain_float`): it stands for itself.
        if b"$" not in text and b"\\" not in text and text.count(b"[") + text.count(b"{") <= VALUE_DEPTH:
            return plain
    return decode_value(plain, classes)


def parse_plain(data: Any) -> Any:
    """Parse tagged JSON text into JSON types without reading the tags; raise `TaskRejected`."""
    try:
        if len(data) >= LONG_TEXT_BYTES and _LONG_RUN not in bytes(data).translate(_DIGITS_ALIKE):
            return _DECODE_LONG_TEXT(str(data, "utf-8"))
        text = str(data, "utf-8")
        try:
            plain, end = _DECODE_BEGINNING(text)
        except json.JSONDecodeError:
            end = -1
        # Else there is white space around it, or something wrong.
        return plain if end == len(text) else _DECODE_TEXT(text)
    except RecursionError:
        raise TaskRejected("the data is nested too deeply") from None
    except ValueError as error:
        raise TaskRejected(f"the data is not tagged JSON: {error}") from None


def _read_plain_int(text: str) -> int:
    # At most 20 characters before int() sees them: reading longer ones is quadratic on Python 3.9.
    if len(text) <= 20:
        number = int(text)
        if PLAIN_INT_MIN <= number <= PLAIN_INT_MAX:
            return number
    raise ValueError("integers beyond 64 bits are written as {\"$t\":\"int\"}")


def _read_plain_float(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError("a number is beyond the range of a float")
    return number


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON; it is written as {{\"$t\":\"float\"}}")


# Built once: building them each call costs a third of a small value's time (measured).
_ENCODE_TEXT = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")).encode
_QUOTE = json.encoder.encode_basestring
_TEXT_DECODER = json.JSONDecoder(
    parse_int=_read_plain_int, parse_float=_read_plain_float, parse_constant=_refuse_constant)
_DECODE_TEXT, _DECODE_BEGINNING = _TEXT_DECODER.decode, _TEXT_DECODER.raw_decode
# For text without a run of 19 digits: a call for each number costs three times as much as reading it.
_DECODE_LONG_TEXT = json.JSONDecoder(parse_constant=_refuse_constant).decode
_DIGITS_ALIKE, _LONG_RUN = bytes.maketrans(b"123456789", b"000000000"), b"0" * 19
