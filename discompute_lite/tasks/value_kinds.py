"""List the kinds of value that travel besides JSON's own and the containers: one row a kind.

Knows:   how each kind is taken apart into plainer values (`pack`) and put together again (`unpack`).
Refuses: to walk containers (tasks/values.py does), to run anything that data names, and to import NumPy
         where nothing asks for it.
Read next: tasks/value_buffers.py, tasks/value_tensors.py (the large kinds), tasks/values.py (the JSON around them).

A row's content is itself made of values that travel, so `Fraction` needs two ints and no format of its own.
Modules are imported when their kind is first met: a child process starts in a third of the time without them.
"""

from __future__ import annotations

import binascii
import sys
from importlib import import_module
from math import inf, nan
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from .value_buffers import (
    pack_array, pack_ndarray, pack_numbers, pack_view, unpack_array, unpack_ndarray, unpack_numbers, unpack_view,
    whole_numbers,
)
from .value_tensors import (
    pack_jax, pack_mlx, pack_tinygrad, pack_torch, unpack_jax, unpack_mlx, unpack_tinygrad, unpack_torch,
)

from .blob_values import Blob, blob_hash, blob_value

#: Ints up to this many bits travel as decimal text. Longer ones as hexadecimal, which reads in linear time
#: everywhere (decimal is quadratic on Python 3.9) and passes the limit of 640 digits that 3.11 and later may set.
DECIMAL_INT_BITS = 2000
#: Bits of a fraction's numerator and denominator: reducing it is quadratic. Beyond: TaskRejected.
FRACTION_BITS = 400_000
#: Characters of a decimal number. Beyond: TaskRejected.
DECIMAL_CHARACTERS = 100_000


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


def _unpack_bytearray(content: Any) -> bytearray:
    return bytearray(content if type(content) is bytes else _unpack_bytes(content))


def _pack_fraction(value: Any) -> List[int]:
    return [value.numerator, value.denominator]


def _unpack_fraction(content: List[int]) -> Any:
    numerator, denominator = whole_numbers(content, 2)
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
    return range(*whole_numbers(content, 3))


def _unpack_slice(content: List[Any]) -> slice:
    start, stop, step = content
    return slice(start, stop, step)


# ---- dates, names and places ------------------------------------------------------------------------


def _pack_moment(value: Any) -> List[Any]:
    if value.tzinfo is not None and type(value.tzinfo) is not import_module("datetime").timezone:
        raise ValueError("it has a time zone that is a table of its own machine: use datetime.timezone")
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
    days, seconds, microseconds = whole_numbers(content, 3)
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


#: Every kind by its tag. Types are found by name, so no module is imported to recognise its values.
VALUE_KINDS: Dict[str, ValueKind] = {
    kind.tag: kind
    for kind in (
        ValueKind("blob", Blob.__module__, "Blob", blob_hash, blob_value),
        ValueKind("int", "builtins", "int", _pack_int, _unpack_int),
        ValueKind("float", "builtins", "float", _pack_float, _unpack_float),
        ValueKind("str", "builtins", "str", _pack_str, _unpack_str),
        ValueKind("bytes", "builtins", "bytes", _pack_bytes, _unpack_bytes),
        ValueKind("bytearray", "builtins", "bytearray", _pack_bytes, _unpack_bytearray, mutable=True),
        ValueKind("complex", "builtins", "complex", lambda value: [value.real, value.imag], _unpack_complex),
        ValueKind("range", "builtins", "range", _pack_span, _unpack_range),
        ValueKind("slice", "builtins", "slice", _pack_span, _unpack_slice),
        ValueKind("memoryview", "builtins", "memoryview", pack_view, unpack_view, mutable=True),
        ValueKind("array", "array", "array", pack_array, unpack_array, mutable=True),
        # A list of numbers is no kind of its own: `values` asks for this form where it is worth it.
        ValueKind("numbers", "", "", pack_numbers, unpack_numbers, mutable=True),
        ValueKind("datetime", "datetime", "datetime", _pack_moment, _unpack_datetime),
        ValueKind("date", "datetime", "date", lambda value: value.isoformat(), _unpack_date),
        ValueKind("time", "datetime", "time", _pack_moment, _unpack_time),
        ValueKind("timedelta", "datetime", "timedelta", _pack_timedelta, _unpack_timedelta),
        ValueKind("timezone", "datetime", "timezone", _pack_timezone, _unpack_timezone),
        ValueKind("decimal", "decimal", "Decimal", str, _unpack_decimal),
        ValueKind("fraction", "fractions", "Fraction", _pack_fraction, _unpack_fraction),
        ValueKind("uuid", "uuid", "UUID", str, _unpack_uuid),
        ValueKind("path", "pathlib", "Path", _pack_path, _unpack_path),
        ValueKind("ndarray", "numpy", "ndarray", pack_ndarray, unpack_ndarray, mutable=True),
        ValueKind("torch", "torch", "Tensor", pack_torch, unpack_torch, mutable=True),
        ValueKind("mlx", "mlx.core", "array", pack_mlx, unpack_mlx, mutable=True),
        ValueKind("tinygrad", "tinygrad.tensor", "Tensor", pack_tinygrad, unpack_tinygrad, mutable=True),
        ValueKind("jax", "jaxlib._jax", "ArrayImpl", pack_jax, unpack_jax),
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
    if row is None and name == "ArrayImpl" and module.partition(".")[0] in ("jax", "jaxlib"):
        row = VALUE_KINDS["jax"]  # Its module has had several names.
    numpy = sys.modules.get("numpy") if module == "numpy" else None
    if row is None and numpy is not None and issubclass(kind, numpy.generic):
        row = VALUE_KINDS["ndarray"]
    # A class that only borrows the name is not the real one.
    home = sys.modules.get(module)
    return row if row is not None and getattr(home, name, None) is kind else None
