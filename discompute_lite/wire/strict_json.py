"""Read only the JSON that every implementation reads alike, and write it compactly.

Knows:   RFC 8259 in its strict form: UTF-8 without a mark, no NaN or Infinity (1e400 included), no
         duplicate keys, integers within +-2^63, bounded nesting, a bounded number of values, no lone surrogates.
Refuses: everything else, with `ParseError`; never raises anything else, whatever the bytes.
Read next: wire/framing.py (whose lines these are).

Measured on a 230-byte heartbeat: the plain parser 3.3 us, this one 6 us; a decoder built once and
bytes decoded once are a third of the cost of `json.loads(bytes)`.

What many small values cost is bounded before they are made: how many brackets and commas stand outside of texts can be
counted at the speed of memory, and a line of 1 MiB that is all `{"":0},` would hold the loop for a fifth of a second.
"""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Dict, Iterable, List, Tuple

from ..model.errors import LocalProtocolError, ParseError

#: A number that is not finite although JSON's grammar allows its text.
_INFINITIES = (float("inf"), float("-inf"))
#: Half of a surrogate pair, the other half of which is not beside it. It can only come in as an escape: UTF-8 decoding
#: has already refused raw ones.
_LONE_SURROGATE = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])[c-fC-F])"
)
#: Shorter texts cannot hold so many values that it matters.
CROWD_BYTES = 64 * 1024
_ALL_BUT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_AS_LISTS = bytes.maketrans(b"{}", b"[]")


def parse_strict(data: bytes, depth_limit: int = 64, values_limit: int = 0) -> Any:
    """Return the JSON value in `data`; raise `ParseError` for anything but strict JSON.

    With `values_limit`, a long text may hold no more values (`is_crowded`).
    """
    if values_limit and is_crowded(data, values_limit):
        raise ParseError(f"the message holds more than {values_limit} values; send many values as bytes")
    try:
        value = _DECODER.decode(data.decode("utf-8"))
    except ParseError:
        raise
    except UnicodeDecodeError:
        raise ParseError("the message is not UTF-8 text; send JSON as UTF-8") from None
    except RecursionError:
        raise ParseError(f"the JSON is nested deeper than {depth_limit} levels") from None
    except ValueError:
        raise ParseError("the message is not JSON; send one JSON document a line") from None
    # As many openings as levels are needed to pass the limit, so most messages need no second look.
    if data.count(b"{") + data.count(b"[") > depth_limit and _is_deeper(data, depth_limit):
        raise ParseError(f"the JSON is nested deeper than {depth_limit} levels")
    # An escaped backslash is the beginning of no escape.
    if b"\\" in data and _LONE_SURROGATE.search(data.replace(b"\\\\", b"  ")):
        raise ParseError("a string holds half of a surrogate pair; send whole characters")
    return value


class MessageParser:
    """Parse one message after the other as `parse_strict` does, most of them at four fifths of its cost.

    What this cannot vouch for goes through `parse_strict`, which also knows what to say: a wrong message, one with
    more colons than keys (a colon in a text, or a key twice), one that may be nested too deeply.
    """

    def __init__(self, depth_limit: int = 64, values_limit: int = 0) -> None:
        self._depth_limit = depth_limit
        self._values_limit = values_limit
        #: Keys and objects of the message being parsed.
        self._keys = self._objects = 0
        decoder: Any = json.JSONDecoder(
            object_hook=self._count, parse_int=_strict_int, parse_float=_strict_float, parse_constant=_strict_constant
        )
        #: `raw_decode` is this in one more frame.
        self._scan = decoder.scan_once

    def parse(self, data: bytes) -> Any:
        """Return the JSON value in `data`, a line with or without its end; raise `ParseError`."""
        if len(data) > CROWD_BYTES:
            return parse_strict(data, self._depth_limit, self._values_limit)
        self._keys = self._objects = 0
        try:
            text = data.decode("utf-8")
            value, end = self._scan(text, 0)
        except (ValueError, StopIteration, RecursionError, ParseError):
            return parse_strict(data, self._depth_limit)
        lists = data.count(b"[") if b"[" in data else 0
        if (
            # There are as many colons as pairs, or more; there are as many pairs as keys that came out, or more.
            data.count(b":") != self._keys or b"\\" in data or self._objects + lists > self._depth_limit
            or (end != len(text) and text[end:] != "\n")
        ):
            return parse_strict(data, self._depth_limit)
        return value

    def _count(self, found: Dict[str, Any]) -> Dict[str, Any]:
        self._keys += len(found)
        self._objects += 1
        return found


def is_crowded(data: bytes, values_limit: int) -> bool:
    """Whether a text of more than 64 KiB holds more values than allowed, an object or list counting twice."""
    if len(data) <= CROWD_BYTES or count_values(data) <= values_limit:
        return False
    return count_values(_outside_texts(data)) > values_limit


def count_values(data: bytes) -> int:
    """Return how many values a JSON text has, an object or list counting twice; what looks so in its strings too."""
    return data.count(b",") + 2 * (data.count(b"{") + data.count(b"["))


def _outside_texts(data: bytes) -> bytes:
    """Return what of a JSON text stands outside of its strings; behind an error in it, anything."""
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(data.split(b'"')[::2])


def _is_deeper(data: bytes, depth_limit: int) -> bool:
    """Whether a good JSON text is nested deeper than allowed: each round takes the innermost brackets out."""
    brackets = _outside_texts(data).translate(_AS_LISTS, _ALL_BUT_BRACKETS)
    for _ in range(depth_limit):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def encode_json(value: Any) -> bytes:
    """Return `value` as compact UTF-8 JSON; raise `LocalProtocolError` for what JSON cannot say."""
    try:
        return "".join(_ENCODE(value, 0)).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalProtocolError(f"this value cannot be sent as JSON: {error}") from None


def encode_line(value: Any) -> bytes:
    """Return `value` as a line of compact UTF-8 JSON; raise TypeError, ValueError or RecursionError as `json` does."""
    return ("".join(_ENCODE(value, 0)) + "\n").encode("utf-8")


def make_encoder(default: Callable[[Any], Any]) -> Callable[[Any, int], Iterable[str]]:
    """Return `encode(value, 0)`, which gives the text of a value in pieces; `default(value)` returns the JSON form of
    values that JSON does not have."""
    encoder = json.JSONEncoder(
        ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False, default=default
    )
    # `encode` builds the C encoder anew for each value, which costs as much as a small message itself.
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return lambda value, level: encoder.iterencode(value)
    return make(None, encoder.default, json.encoder.encode_basestring, None, ":", ",", False, False, False)


def _no_json(value: Any) -> Any:
    raise TypeError(f"{type(value).__name__} is not JSON")


def _unique_pairs(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ParseError("a JSON object has the same key twice; send each key once")
    return result


def _strict_int(text: str) -> int:
    # The length check comes first: a million digits cost seconds on Pythons without a digit limit.
    if len(text) < 19:
        return int(text)
    if len(text) <= 20:
        number = int(text)
        if -(2 ** 63) <= number < 2 ** 63:
            return number
    raise ParseError("an integer is outside the 64-bit range; send it as a string")


def _strict_float(text: str) -> float:
    number = float(text)
    if number in _INFINITIES:
        raise ParseError("a number is too large for a 64-bit float; send it as a string")
    return number


def _strict_constant(text: str) -> Any:
    raise ParseError(f"{text} is not JSON; send null or a string")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_pairs, parse_int=_strict_int, parse_float=_strict_float, parse_constant=_strict_constant
)
_ENCODE = make_encoder(_no_json)
