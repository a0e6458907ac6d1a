"""Write and read lists of numbers in one go: the same texts as tasks/values.py makes, in half the time.

Knows:   the texts of an object whose only member is a list of numbers, which is what long maps are made of: a short
         list's bytes are in it, in base64, and those of a long one beside it (tasks/raw_pieces.py).
Refuses: everything else, by returning None: tasks/values.py writes and reads it, and says what is wrong with it.
Read next: tasks/values.py, tasks/calls.py (whose units and outcomes these are).

    {"items":{"$t":"numbers","v":["i",4,{"$t":"bytes","v":"AAAAAAEAAAA…"}]}}
    SOH [57,65536] LF {"items":{"$t":"numbers","v":["i",4,{"$t":"raw","v":0}]}} <65536 bytes>
"""

from __future__ import annotations

import re
from typing import Any, List, Optional

from .raw_pieces import PIECE_LEAST, VALUE_MARK, RawPieces
from .value_buffers import pack_numbers, unpack_numbers
from .value_kinds import VALUE_KINDS
from .value_writer import NUMBERS_LEAST

_LIST_HEAD = re.compile(rb'\{"([a-z]+)":\{"\$t":"numbers","v":\["([a-zA-Z])",([1-8]),\{"\$t":"bytes","v":"')
_LIST_TAIL = b'"}]}}'
_LONG_LIST = re.compile(
    VALUE_MARK + rb'\[([0-9]{2,3}),([0-9]{1,12})\]\n'
    rb'(\{"([a-z]+)":\{"\$t":"numbers","v":\["([a-zA-Z])",([1-8]),\{"\$t":"raw","v":0\}\]\}\})'
)


def dump_number_list(name: str, items: List[Any]) -> Optional[bytes]:
    """Return the tagged JSON text of ``{name: items}``; None where these are not many numbers of one kind."""
    content = pack_numbers(items) if len(items) >= NUMBERS_LEAST else None
    if content is None:
        return None
    code, size, data = content
    pieces = RawPieces()
    if len(data) >= PIECE_LEAST:
        held = f'{{"$t":"raw","v":{pieces.number_of(data)}}}'
    else:
        held = f'{{"$t":"bytes","v":"{VALUE_KINDS["bytes"].pack(data)}"}}'
    return pieces.framed(f'{{"{name}":{{"$t":"numbers","v":["{code}",{size},{held}]}}}}'.encode("ascii"))


def load_number_list(name: str, text: bytes) -> Optional[List[Any]]:
    """Return the items of such a text; None where it is any other, or has something wrong."""
    try:
        content = _long_content(name, text) if text[:1] == VALUE_MARK else _short_content(name, text)
        return None if content is None else unpack_numbers(content)
    except (ValueError, OverflowError):
        return None  # Numbers beyond what their kind holds among them.


def _short_content(name: str, text: bytes) -> Optional[List[Any]]:
    head = _LIST_HEAD.match(text)
    if head is None or head[1] != name.encode("ascii") or not text.endswith(_LIST_TAIL):
        return None
    data = VALUE_KINDS["bytes"].unpack(str(memoryview(text)[head.end():-len(_LIST_TAIL)], "ascii"))
    return [head[2].decode("ascii"), int(head[3]), data]


def _long_content(name: str, text: bytes) -> Optional[List[Any]]:
    head = _LONG_LIST.match(text)
    if head is None or head[4] != name.encode("ascii"):
        return None
    if (int(head[1]), int(head[2])) != (len(head[3]), len(text) - head.end()):
        return None
    # A view: what is read makes one list of it, and no copy.
    return [head[5].decode("ascii"), int(head[6]), memoryview(text)[head.end():]]
