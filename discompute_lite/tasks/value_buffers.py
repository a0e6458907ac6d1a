"""Take apart what holds many numbers in one piece of memory, and put it together again.

Knows:   array.array, memoryview, NumPy's arrays and scalars, and lists of numbers that travel in their form.
Refuses: items that do not mean the same on every machine (ValueError says why), and to import NumPy where nothing
         asks for it.
Read next: tasks/value_kinds.py (the rows), tasks/value_tensors.py (what is read in the same form).
"""

from __future__ import annotations

import struct
import sys
from array import array
from importlib import import_module
from operator import countOf
from typing import Any, List, Optional, Tuple

#: NumPy's own limit on dimensions is 32 or 64.
NDARRAY_DIMENSIONS = 32
#: NumPy kinds and item sizes that mean the same on every machine; text ("U", "S") of any length travels too.
NDARRAY_KINDS = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8), "c": (8, 16)}
#: `array.array` type codes that travel ("u" and "w" are text: send a str).
ARRAY_CODES = "bBhHiIlLqQfd"
#: memoryview formats of the same size on every machine; "l" and "L" become one of them.
VIEW_FORMATS = "bBcHhIiqQfd?"


def _little_endian(values: array) -> array:
    """Return `values` with its bytes in little-endian order; the same object where they are already."""
    if sys.byteorder == "little":
        return values
    swapped = array(values.typecode, values)
    swapped.byteswap()
    return swapped


def pack_array(value: array) -> List[Any]:
    """Return type code, bytes an item, and the items little-endian; raise ValueError for text."""
    if value.typecode not in ARRAY_CODES:
        raise ValueError("it holds text: send a str")
    return [value.typecode, value.itemsize, _little_endian(value).tobytes()]


def unpack_array(content: List[Any]) -> array:
    """Return the array; its items may have another size here."""
    code, size, data = content
    if type(code) is not str or len(code) != 1 or code not in ARRAY_CODES:
        raise ValueError(f"there is no array type {code!r}")
    values = array(code)
    if values.itemsize == size:
        values.frombytes(data)
        return _little_endian(values)
    # The C types int and long differ between platforms: read by size, then let array check the range.
    signed = code.islower()
    if code in "fd" or size not in (2, 4, 8):
        raise ValueError(f"an array of type {code!r} has no items of {size} bytes")
    twin = array({2: "h", 4: "i", 8: "q"}[size] if signed else {2: "H", 4: "I", 8: "Q"}[size])
    twin.frombytes(data)
    values.extend(array(code, _little_endian(twin).tolist()))
    return values


def pack_numbers(items: List[Any]) -> Optional[List[Any]]:
    """Return a list's numbers as those of an array, all int or all float; None for any other list."""
    kind = type(items[0]) if items else type(None)
    if countOf(map(type, items), kind) < len(items):
        return None
    for code in {float: "d", int: "iq"}.get(kind, ""):
        layout = f"<{len(items)}{code}"
        try:
            # In half the time that an array takes.
            return [code, struct.calcsize(layout) // len(items), struct.pack(layout, *items)]
        except struct.error:
            pass  # The next one is wider.
    return None


def unpack_numbers(content: List[Any]) -> List[Any]:
    """Return a list's numbers."""
    return unpack_array(content).tolist()


def pack_view(value: memoryview) -> List[Any]:
    """Return item format, shape and bytes; raise ValueError for a format that is not the same everywhere."""
    code = value.format
    if code in ("l", "L"):
        code = {("l", 4): "i", ("l", 8): "q", ("L", 4): "I", ("L", 8): "Q"}[code, value.itemsize]
    if len(code) != 1 or code not in VIEW_FORMATS or sys.byteorder != "little":
        raise ValueError(f"it has the item format {value.format!r}: send bytes or an array")
    data = value.tobytes()
    return [code, list(value.shape or ()), data if value.readonly else bytearray(data)]


def unpack_view(content: List[Any]) -> memoryview:
    """Return a view of the bytes that came."""
    code, shape, data = content
    if type(code) is not str or len(code) != 1 or code not in VIEW_FORMATS:
        raise ValueError(f"there is no memoryview format {code!r}")
    flat: Any = memoryview(data)
    return flat.cast(code) if len(shape) == 1 else flat.cast(code, whole_numbers(shape, len(shape)))


def _ndarray_type(text: Any) -> Tuple[str, str, int]:
    """Return (byte order, kind letter, item bytes) of a NumPy type text such as "<f4"; raise ValueError."""
    if type(text) is not str or not 3 <= len(text) <= 8 or text[0] not in "<>|" or not text[2:].isdecimal():
        raise ValueError(f"the array type {text!r} cannot travel")
    kind, size = text[1], int(text[2:])
    if size not in NDARRAY_KINDS.get(kind, ()) and not (kind in "US" and size > 0):
        raise ValueError(f"the array type {text!r} cannot travel")
    return text[0], kind, size * 4 if kind == "U" else size


def pack_ndarray(value: Any) -> List[Any]:
    """Return type, shape (None for a scalar) and items; raise ValueError for items that are no numbers or text."""
    try:
        _ndarray_type(value.dtype.str)
    except ValueError:
        raise ValueError(f"it holds {value.dtype} items: convert them to numbers or text") from None
    scalar = type(value) is not sys.modules["numpy"].ndarray
    return [value.dtype.str, None if scalar else list(value.shape), value.tobytes()]


def unpack_ndarray(content: List[Any]) -> Any:
    """Rebuild an array or scalar; where NumPy is not installed, nested lists of Python's own numbers."""
    text, shape, data = content
    order, kind, size = _ndarray_type(text)
    lengths = [] if shape is None else shape
    if len(lengths) > NDARRAY_DIMENSIONS or any(type(length) is not int or length < 0 for length in lengths):
        raise ValueError("the shape of an array is a list of lengths")
    count = 1
    for length in lengths:
        count *= length
    if count * size != len(data):
        raise ValueError(f"an array of {count} items of {size} bytes has not {len(data)} bytes")
    numpy = optional_module("numpy")
    if numpy is None:
        return _nested_lists(_plain_numbers(data, order, kind, size), lengths)
    values = numpy.ndarray(tuple(lengths), numpy.dtype(text), bytearray(data))
    return values[()] if shape is None else values


def optional_module(name: str) -> Optional[Any]:
    """Return a module that may be missing here, or None."""
    try:
        return import_module(name)
    except ImportError:
        return None


def _plain_numbers(data: bytes, order: str, kind: str, size: int) -> List[Any]:
    if kind in "US":
        raise ValueError("reading an array of text needs NumPy, which is not installed here")
    code = {"b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
            "f2": "e", "f4": "f", "f8": "d", "c8": "ff", "c16": "dd"}[f"{kind}{size}"]
    rows = struct.iter_unpack(("<" if order == "|" else order) + code, data)
    return [complex(*row) for row in rows] if kind == "c" else [row[0] for row in rows]


def _nested_lists(flat: List[Any], lengths: List[int]) -> Any:
    if not lengths:
        return flat[0]
    if not flat:
        # One empty list for every empty shape: (10**9, 0) must not cost 10**9 lists.
        return []
    for length in reversed(lengths[1:]):
        flat = [flat[start:start + length] for start in range(0, len(flat), length)]
    return flat


def whole_numbers(content: Any, count: int) -> List[int]:
    """Return `content` where it is so many ints; raise ValueError."""
    if type(content) is not list or len(content) != count or any(type(number) is not int for number in content):
        raise ValueError(f"{count} integers are wanted")
    return content
