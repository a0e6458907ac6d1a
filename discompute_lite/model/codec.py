"""Turn dataclasses into JSON values and back, by proto3's JSON rules.

Knows:   the types that our messages use: bool, int, float, str, bytes, enums, dataclasses, lists,
         maps with string keys, `Optional` and `Any`.
Refuses: text and bytes on a wire (wire/rpc does that); unknown fields are ignored, missing ones take
         their default, and everything else that does not fit is an `InvalidParams` that names the field.
Read next: roles/methods.py (whose signatures are schemas by way of this module).

Reading rules, as proto3's JSON mapping has them: null is the default; an int64 may be a decimal
string or a float without a fraction; a double may be a string, "NaN" and "Infinity" excepted; an enum
may be its name or its number; bytes may be base64 of either alphabet, with or without padding, or an attachment.
"""

from __future__ import annotations

import binascii
import dataclasses
import math
import re
import typing
from enum import Enum
from functools import cache
from typing import Any, Callable, Dict, List, Mapping, Tuple, Type, TypeVar, Union

from .errors import InvalidParams

T = TypeVar("T")
Reader = Callable[[Any, str], Any]
#: Fields that are not in the original's messages.
OMITTED_WHEN_EMPTY = ("lite", "auth", "pair", "age_ms")
#: Types that are JSON already, or bytes.
_PLAIN_TYPES = frozenset((str, int, float, bool, type(None), bytes, bytearray, memoryview))
INT64_MIN, INT64_MAX = -(2 ** 63), 2 ** 63 - 1
#: A number of a double as JSON writes it: `float` alone also takes 1_0, spaces and other alphabets' digits.
_DOUBLE_TEXT = re.compile(r"-?[0-9]{1,32}(\.[0-9]{1,32})?([eE][-+]?[0-9]{1,4})?")
_BYTES_TEXT = re.compile(r"([A-Za-z0-9+/_-]*)(={0,2})")


def to_json(value: Any) -> Any:
    """Return `value` as JSON types; `bytes` stay bytes, for the encoder to place (base64 or attachment)."""
    kind: Any = type(value)
    return value if kind in _PLAIN_TYPES else _writer_of(kind)(value)


def strict_numbers(value: Any) -> Any:
    """Return a plain value with None for each number that JSON has no word for: infinite, or no number at all."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: strict_numbers(item) for name, item in value.items()}
    return [strict_numbers(item) for item in value] if isinstance(value, (list, tuple)) else value


def from_json(kind: Type[T], raw: Any, where: str = "") -> T:
    """Read `raw` as a `kind`; raise `InvalidParams` naming the field below `where` that does not fit."""
    plain_kind: Any = kind
    return reader_of(plain_kind)(raw, where)


@cache
def reader_of(kind: Any) -> Reader:
    """Return the function (raw, where) -> value that reads one type."""
    if kind in _SCALAR_READERS:
        return _SCALAR_READERS[kind]
    if kind is Any:
        return lambda raw, where: raw
    if _is_message(kind):
        return _dataclass_reader(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum_reader(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Union and len(arguments) == 2 and type(None) in arguments:
        inner = reader_of(arguments[0] if arguments[1] is type(None) else arguments[1])
        return lambda raw, where: None if raw is None else inner(raw, where)
    if origin in (list, tuple):
        return _list_reader(reader_of(arguments[0]), origin)
    if origin in _MAP_ORIGINS:
        return _map_reader(reader_of(arguments[1]))
    raise TypeError(f"the codec does not know {kind!r}")


def schema_of(kind: Any) -> Dict[str, Any]:
    """Return the JSON Schema of a type, for OpenRPC."""
    if kind in _SCALAR_SCHEMAS:
        return dict(_SCALAR_SCHEMAS[kind])
    if _is_message(kind):
        hints = typing.get_type_hints(kind)
        return {
            "type": "object",
            "title": kind.__name__,
            "properties": {name: schema_of(hints[name]) for name in _field_names(kind)},
        }
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"type": "string", "enum": [member.value for member in kind]}
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Union:
        return schema_of(arguments[0] if arguments[1] is type(None) else arguments[1])
    if origin in (list, tuple):
        return {"type": "array", "items": schema_of(arguments[0])}
    if origin in _MAP_ORIGINS:
        return {"type": "object", "additionalProperties": schema_of(arguments[1])}
    return {}


def _is_message(kind: Any) -> bool:
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


@cache
def _field_names(kind: Any) -> Tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


@cache
def _writer_of(kind: Any) -> Callable[[Any], Any]:
    if issubclass(kind, Enum):
        return lambda member: member.value
    if kind is list or kind is tuple:
        return lambda items: [to_json(item) for item in items] if items else []
    if kind is dict:
        return lambda entries: {key: to_json(item) for key, item in entries.items()} if entries else {}
    if not _is_message(kind):
        return lambda value: value
    # Ours beyond the original's fields is left out where there is nothing to say.
    names = [(name, name in OMITTED_WHEN_EMPTY) for name in _field_names(kind)]

    def write(message: Any) -> Dict[str, Any]:
        plain = {}
        for name, is_optional in names:
            item = getattr(message, name)
            if item or not is_optional:
                plain[name] = item if type(item) in _PLAIN_TYPES else to_json(item)
        return plain

    return write


def _refuse(where: str, wanted: str, raw: Any) -> InvalidParams:
    got = {bool: "true or false", dict: "an object", list: "an array", str: "this string", type(None): "null",
           int: "this number", float: "this number"}
    return InvalidParams(f"{where or 'the value'} must be {wanted}, not {got.get(type(raw), 'an attachment')}")


def _read_bool(raw: Any, where: str) -> bool:
    if raw is True or raw is False:
        return raw
    if raw is None:
        return False
    raise _refuse(where, "true or false", raw)


def _read_int(raw: Any, where: str) -> int:
    if type(raw) is int and INT64_MIN <= raw <= INT64_MAX:
        return raw
    if raw is None:
        return 0
    if isinstance(raw, float) and raw.is_integer() and abs(raw) <= 2 ** 53:
        return int(raw)
    if isinstance(raw, str) and len(raw) <= 20 and raw.isascii() and raw.lstrip("-").isdigit() and raw.count("-") <= 1:
        number = int(raw)
        if INT64_MIN <= number <= INT64_MAX:
            return number
    raise _refuse(where, "an integer", raw)


def _read_float(raw: Any, where: str) -> float:
    if raw is None:
        return 0.0
    if type(raw) is float or (isinstance(raw, str) and _DOUBLE_TEXT.fullmatch(raw)):
        number = float(raw)
        if math.isfinite(number):
            return number
    if type(raw) is int and INT64_MIN <= raw <= INT64_MAX:
        return float(raw)
    raise _refuse(where, "a number", raw)


def _read_str(raw: Any, where: str) -> str:
    if isinstance(raw, str):
        return raw
    if raw is None:
        return ""
    raise _refuse(where, "a string", raw)


def _read_bytes(raw: Any, where: str) -> Any:
    if isinstance(raw, (bytes, bytearray, memoryview)):
        return raw
    if raw is None:
        return b""
    # `a2b_base64` skips what it does not know, so it is only shown what is base64.
    found = _BYTES_TEXT.fullmatch(raw) if isinstance(raw, str) else None
    if not found or len(found.group(1)) % 4 == 1 or (found.group(2) and len(raw) % 4):
        raise _refuse(where, "base64 text or an attachment", raw)
    text = found.group(1).replace("-", "+").replace("_", "/")
    return binascii.a2b_base64(text + "=" * (-len(text) % 4))


def _read_object(raw: Any, where: str) -> Dict[str, Any]:
    if isinstance(raw, dict):
        return raw
    if raw is None:
        return {}
    raise _refuse(where, "an object", raw)


_MAP_ORIGINS = (dict, typing.get_origin(Mapping[str, int]))
_SCALAR_READERS: Dict[Any, Reader] = {
    bool: _read_bool, int: _read_int, float: _read_float, str: _read_str, bytes: _read_bytes,
    Dict[str, Any]: _read_object,
}
_SCALAR_SCHEMAS: Dict[Any, Dict[str, Any]] = {
    bool: {"type": "boolean"}, int: {"type": "integer"}, float: {"type": "number"}, str: {"type": "string"},
    bytes: {"type": "string", "contentEncoding": "base64"}, Dict[str, Any]: {"type": "object"},
}


def _enum_reader(kind: Type[Enum]) -> Reader:
    members = list(kind)
    by_name = {member.value: member for member in members}
    names = ", ".join(by_name)

    def read(raw: Any, where: str) -> Enum:
        if raw is None:
            return members[0]
        if isinstance(raw, str) and raw in by_name:
            return by_name[raw]
        if type(raw) is int and 0 <= raw < len(members):
            return members[raw]
        raise InvalidParams(f"{where or 'the value'} must be one of {names}")

    return read


def _list_reader(item: Reader, kind: type) -> Reader:
    def read(raw: Any, where: str) -> Any:
        if raw is None:
            return kind()
        if not isinstance(raw, list):
            raise _refuse(where, "an array", raw)
        return kind(item(entry, f"{where}[{index}]") for index, entry in enumerate(raw))

    return read


def _map_reader(item: Reader) -> Reader:
    def read(raw: Any, where: str) -> Dict[str, Any]:
        return {key: item(entry, f"{where}.{key}") for key, entry in _read_object(raw, where).items()}

    return read


def _dataclass_reader(kind: Any) -> Reader:
    hints = typing.get_type_hints(kind)
    readers: List[Tuple[str, Reader]] = [(name, reader_of(hints[name])) for name in _field_names(kind)]

    def read(raw: Any, where: str) -> Any:
        if raw is None:
            return kind()
        if not isinstance(raw, dict):
            raise _refuse(where, "an object", raw)
        prefix = where + "." if where else ""
        given = {name: reader(raw[name], prefix + name) for name, reader in readers if name in raw}
        # A null, like a missing field, is the default: proto3 writes no absent messages, some writers say null.
        return kind(**{name: value for name, value in given.items() if raw[name] is not None})

    return read
