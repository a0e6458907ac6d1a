"""List the kinds of value that travel besides JSON's own and the containers: one row a kind.

Knows:   how each kind is taken apart into plainer values (`pack`) and put together again (`unpack`).
Refuses: to walk containers (tasks/values.py does), to run anything that data names, and to import NumPy
         where nothing asks for it.
Read next: tasks/values.py (the JSON around it).

A row's content is itself made of values that travel, so `Fraction` needs two ints and no format of its own.
Modules are imported when their kind is first met: a child process starts in a third of the time without them.
"""

from __future__ import annotations

import binascii
import struct
import sys
from array import array
from importlib import import_module
from math import inf, nan
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

#: Ints up to this many bits travel as decimal text. Longer ones as hexadecimal, which reads in linear time
#: everywhere (decimal is quadratic on Python 3.9) and passes the limit of 640 digits that 3.11 and later may set.
DECIMAL_INT_BITS = 2000
#: Bits of a fraction's numerator and denominator: reducing it is quadratic. Beyond: TaskRejected.
FRACTION_BITS = 400_000
#: Characters of a decimal number. Beyond: TaskRejected.
DECIMAL_CHARACTERS = 100_000
#: NumPy's own limit on dimensions is 32 or 64.
NDARRAY_DIMENSIONS = 32
#: NumPy kinds and item sizes that mean the same on every machine; text ("U", "S") of any length travels too.
NDARRAY_KINDS = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8), "c": (8, 16)}
#: `array.array` type codes that travel ("u" and "w" are text: send a str).
ARRAY_CODES = "bBhHiIlLqQfd"
#: memoryview formats of the same size on every machine; "l" and "L" become one of them.
VIEW_FORMATS = "bBcHhIiqQfd?"


class ValueKind(NamedTuple):
    """Describe one kind: its tag, where its type is found, and the way to its content and back."""

    tag: str
    module: str
    type_name: str
    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]
    #: Whether two references to one object must stay one object: true of what can be changed in place.
    mutable: bool = False


class CannotTravel(Exception):
    """Carry the culprit up to the writer, which finds its path for the sentence."""

    def __init__(self, value: Any, reason: str) -> None:
        super().__init__(reason)
        self.value = value
        self.reason = reason


# ---- numbers and text -------------------------------------------------------------------------------


def _pack_int(value: int) -> str:
    return str(value) if value.bit_length() <= DECIMAL_INT_BITS else hex(value)


def _unpack_int(text: str) -> int:
    if text[:3].lower().lstrip("-").startswith("0x"):
        return int(text, 16)
    if len(text) > DECIMAL_INT_BITS:
        raise ValueError("long integers are written in hexadecimal, as 0x…")
    return int(text)


_ODD_FLOATS = {"nan": nan, "inf": inf, "-inf": -inf}


def _pack_float(value: float) -> str:
    return "nan" if value != value else "inf" if value > 0 else "-inf"


def _unpack_float(text: str) -> float:
    return _ODD_FLOATS[text]


def _pack_str(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _unpack_str(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")


def _pack_bytes(value: Any) -> str:
    return binascii.b2a_base64(value, newline=False).decode("ascii")


def _unpack_bytes(text: str) -> bytes:
    data = binascii.a2b_base64(text.encode("ascii"))
    if -(-len(data) // 3) * 4 != len(text):
        # binascii skips what is not base64; skipped characters would be lost bytes.
        raise ValueError("bytes are written in base64 with padding and nothing else")
    return data


def _unpack_bytearray(text: str) -> bytearray:
    return bytearray(_unpack_bytes(text))


def _pack_fraction(value: Any) -> List[int]:
    return [value.numerator, value.denominator]


def _unpack_fraction(content: List[int]) -> Any:
    numerator, denominator = _whole_numbers(content, 2)
    if max(numerator.bit_length(), denominator.bit_length()) > FRACTION_BITS:
        raise ValueError(f"a fraction has at most {FRACTION_BITS} bits")
    return import_module("fractions").Fraction(numerator, denominator)


def _unpack_decimal(text: str) -> Any:
    if len(text) > DECIMAL_CHARACTERS:
        raise ValueError(f"a decimal has at most {DECIMAL_CHARACTERS} characters")
    return import_module("decimal").Decimal(text)


def _unpack_complex(content: List[float]) -> complex:
    real, imaginary = content
    return complex(float(real), float(imaginary))


def _pack_span(value: Any) -> List[Any]:
    return [value.start, value.stop, value.step]


def _unpack_range(content: List[int]) -> range:
    return range(*_whole_numbers(content, 3))


def _unpack_slice(content: List[Any]) -> slice:
    start, stop, step = content
    return slice(start, stop, step)


def _whole_numbers(content: Any, count: int) -> List[int]:
    if type(content) is not list or len(content) != count or any(type(number) is not int for number in content):
        raise ValueError(f"{count} integers are wanted")
    return content


# ---- dates, names and places ------------------------------------------------------------------------


def _pack_moment(value: Any) -> List[Any]:
    if value.tzinfo is not None and type(value.tzinfo) is not import_module("datetime").timezone:
        raise CannotTravel(value, "has a time zone that is a table of its own machine: use datetime.timezone")
    return [value.replace(tzinfo=None).isoformat(), value.fold, value.tzinfo]


def _unpack_datetime(content: List[Any]) -> Any:
    text, fold, zone = content
    return import_module("datetime").datetime.fromisoformat(text).replace(fold=fold, tzinfo=zone)


def _unpack_time(content: List[Any]) -> Any:
    text, fold, zone = content
    return import_module("datetime").time.fromisoformat(text).replace(fold=fold, tzinfo=zone)


def _unpack_date(text: str) -> Any:
    return import_module("datetime").date.fromisoformat(text)


def _pack_timedelta(value: Any) -> List[int]:
    return [value.days, value.seconds, value.microseconds]


def _unpack_timedelta(content: List[int]) -> Any:
    days, seconds, microseconds = _whole_numbers(content, 3)
    return import_module("datetime").timedelta(days, seconds, microseconds)


def _pack_timezone(value: Any) -> List[Any]:
    # The constructor's own arguments: the offset, and the name where one was given.
    return list(value.__getinitargs__())


def _unpack_timezone(content: List[Any]) -> Any:
    return import_module("datetime").timezone(*content)


def _unpack_uuid(text: str) -> Any:
    return import_module("uuid").UUID(text)


def _pack_path(value: Any) -> List[str]:
    name = type(value).__name__
    return [name, value.as_posix() if name.endswith("WindowsPath") else str(value)]


def _unpack_path(content: List[str]) -> Any:
    name, text = content
    pathlib = import_module("pathlib")
    if name in ("PurePosixPath", "PureWindowsPath"):
        return getattr(pathlib, name)(text)
    if name in ("PosixPath", "WindowsPath"):
        # A real path becomes this machine's kind of path.
        return pathlib.Path(text)
    raise ValueError(f"there is no path kind {name!r}")


# ---- buffers ----------------------------------------------------------------------------------------


def _little_endian(values: array) -> array:
    """Return `values` with its bytes in little-endian order; the same object where they are already."""
    if sys.byteorder == "little":
        return values
    swapped = array(values.typecode, values)
    swapped.byteswap()
    return swapped


def _pack_array(value: array) -> List[Any]:
    if value.typecode not in ARRAY_CODES:
        raise CannotTravel(value, "holds text: send a str")
    return [value.typecode, value.itemsize, _little_endian(value).tobytes()]


def _unpack_array(content: List[Any]) -> array:
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
    kinds = set(map(type, items))
    codes = "d" if kinds == {float} else "iq" if kinds == {int} else ""
    for code in codes:
        layout = f"<{len(items)}{code}"
        try:
            # In half the time that an array takes.
            return [code, struct.calcsize(layout) // len(items), struct.pack(layout, *items)]
        except struct.error:
            pass  # The next one is wider.
    return None


def _unpack_numbers(content: List[Any]) -> List[Any]:
    return _unpack_array(content).tolist()


def _pack_view(value: memoryview) -> List[Any]:
    code = value.format
    if code in ("l", "L"):
        code = {("l", 4): "i", ("l", 8): "q", ("L", 4): "I", ("L", 8): "Q"}[code, value.itemsize]
    if len(code) != 1 or code not in VIEW_FORMATS or sys.byteorder != "little":
        raise CannotTravel(value, f"has the item format {value.format!r}: send bytes or an array")
    data = value.tobytes()
    return [code, list(value.shape or ()), data if value.readonly else bytearray(data)]


def _unpack_view(content: List[Any]) -> memoryview:
    code, shape, data = content
    if type(code) is not str or len(code) != 1 or code not in VIEW_FORMATS:
        raise ValueError(f"there is no memoryview format {code!r}")
    flat: Any = memoryview(data)
    return flat.cast(code) if len(shape) == 1 else flat.cast(code, _whole_numbers(shape, len(shape)))


def _ndarray_type(text: Any) -> Tuple[str, str, int]:
    """Return (byte order, kind letter, item bytes) of a NumPy type text such as "<f4"; raise ValueError."""
    if type(text) is not str or not 3 <= len(text) <= 8 or text[0] not in "<>|" or not text[2:].isdecimal():
        raise ValueError(f"the array type {text!r} cannot travel")
    kind, size = text[1], int(text[2:])
    if size not in NDARRAY_KINDS.get(kind, ()) and not (kind in "US" and size > 0):
        raise ValueError(f"the array type {text!r} cannot travel")
    return text[0], kind, size * 4 if kind == "U" else size


def _pack_ndarray(value: Any) -> List[Any]:
    try:
        _ndarray_type(value.dtype.str)
    except ValueError:
        raise CannotTravel(value, f"holds {value.dtype} items: convert them to numbers or text") from None
    scalar = type(value) is not sys.modules["numpy"].ndarray
    return [value.dtype.str, None if scalar else list(value.shape), value.tobytes()]


def _unpack_ndarray(content: List[Any]) -> Any:
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
    numpy = _optional_numpy()
    if numpy is None:
        return _nested_lists(_plain_numbers(data, order, kind, size), lengths)
    values = numpy.ndarray(tuple(lengths), numpy.dtype(text), bytearray(data))
    return values[()] if shape is None else values


def _optional_numpy() -> Optional[Any]:
    try:
        return import_module("numpy")
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


#: Every kind by its tag. Types are found by name, so no module is imported to recognise its values.
VALUE_KINDS: Dict[str, ValueKind] = {
    kind.tag: kind
    for kind in (
        ValueKind("int", "builtins", "int", _pack_int, _unpack_int),
        ValueKind("float", "builtins", "float", _pack_float, _unpack_float),
        ValueKind("str", "builtins", "str", _pack_str, _unpack_str),
        ValueKind("bytes", "builtins", "bytes", _pack_bytes, _unpack_bytes),
        ValueKind("bytearray", "builtins", "bytearray", _pack_bytes, _unpack_bytearray, mutable=True),
        ValueKind("complex", "builtins", "complex", lambda value: [value.real, value.imag], _unpack_complex),
        ValueKind("range", "builtins", "range", _pack_span, _unpack_range),
        ValueKind("slice", "builtins", "slice", _pack_span, _unpack_slice),
        ValueKind("memoryview", "builtins", "memoryview", _pack_view, _unpack_view, mutable=True),
        ValueKind("array", "array", "array", _pack_array, _unpack_array, mutable=True),
        # A list of numbers is no kind of its own: `values` asks for this form where it is worth it.
        ValueKind("numbers", "", "", pack_numbers, _unpack_numbers, mutable=True),
        ValueKind("datetime", "datetime", "datetime", _pack_moment, _unpack_datetime),
        ValueKind("date", "datetime", "date", lambda value: value.isoformat(), _unpack_date),
        ValueKind("time", "datetime", "time", _pack_moment, _unpack_time),
        ValueKind("timedelta", "datetime", "timedelta", _pack_timedelta, _unpack_timedelta),
        ValueKind("timezone", "datetime", "timezone", _pack_timezone, _unpack_timezone),
        ValueKind("decimal", "decimal", "Decimal", str, _unpack_decimal),
        ValueKind("fraction", "fractions", "Fraction", _pack_fraction, _unpack_fraction),
        ValueKind("uuid", "uuid", "UUID", str, _unpack_uuid),
        ValueKind("path", "pathlib", "Path", _pack_path, _unpack_path),
        ValueKind("ndarray", "numpy", "ndarray", _pack_ndarray, _unpack_ndarray, mutable=True),
    )
}
_KINDS_BY_TYPE = {(kind.module, kind.type_name): kind for kind in VALUE_KINDS.values()}
_PATH_NAMES = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")


def kind_of(value: Any) -> Optional[ValueKind]:
    """Return the row of a value's exact type, or None; a subclass is another type and does not travel."""
    kind = type(value)
    module, name = kind.__module__, kind.__name__
    row = _KINDS_BY_TYPE.get((module, name))
    if row is None and module.startswith("pathlib") and name in _PATH_NAMES:
        row, module = VALUE_KINDS["path"], "pathlib"
    numpy = sys.modules.get("numpy") if module == "numpy" else None
    if row is None and numpy is not None and issubclass(kind, numpy.generic):
        row = VALUE_KINDS["ndarray"]
    # A class that only borrows the name is not the real one.
    home = sys.modules.get(module)
    return row if row is not None and getattr(home, name, None) is kind else None
