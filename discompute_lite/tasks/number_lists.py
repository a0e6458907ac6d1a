"""Write and read lists of numbers in one go: the same text as tasks/values.py makes, in half the time.

Knows:   the one text of an object whose only member is a list of numbers, which is what long maps are made of.
Refuses: everything else, by returning None: tasks/values.py writes and reads it, and says what is wrong with it.
Read next: tasks/values.py, tasks/calls.py (whose units and outcomes these are).

    {"items":{"$t":"numbers","v":["i",4,{"$t":"bytes","v":"AAAAAAEAAAA…"}]}}
"""

from __future__ import annotations

import re
from typing import Any, List, Optional

from .value_buffers import pack_numbers
from .value_kinds import VALUE_KINDS
from .value_writer import NUMBERS_LEAST

_LIST_HEAD = re.compile(rb'\{"([a-z]+)":\{"\$t":"numbers","v":\["([a-zA-Z])",([1-8]),\{"\$t":"bytes","v":"')
_LIST_TAIL = b'"}]}}'


def dump_number_list(name: str, items: List[Any]) -> Optional[bytes]:
    """Return the tagged JSON text of ``{name: items}``; None where these are not many numbers of one kind."""
    content = pack_numbers(items) if len(items) >= NUMBERS_LEAST else None
    if content is None:
        return None
    code, size, data = content
    text = VALUE_KINDS["bytes"].pack(data)
    return f'{{"{name}":{{"$t":"numbers","v":["{code}",{size},{{"$t":"bytes","v":"{text}"}}]}}}}'.encode("ascii")


def load_number_list(name: str, text: bytes) -> Optional[List[Any]]:
    """Return the items of such a text; None where it is any other, or has something wrong."""
    head = _LIST_HEAD.match(text)
    if head is None or head[1] != name.encode("ascii") or not text.endswith(_LIST_TAIL):
        return None
    try:
        data = VALUE_KINDS["bytes"].unpack(str(memoryview(text)[head.end():-len(_LIST_TAIL)], "ascii"))
        items: List[Any] = VALUE_KINDS["numbers"].unpack([head[2].decode("ascii"), int(head[3]), data])
    except ValueError:
        return None
    return items
