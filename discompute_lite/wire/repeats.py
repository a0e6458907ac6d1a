"""Read a message that says the same as the one before it without judging it again.

Knows:   the last call of a few methods, and the last answer, on one connection.
Refuses: to guess: what differs in one byte after the id is parsed strictly.
Read next: wire/strict_json.py (the parser), wire/rpc.py and net/client.py (who ask).

Devices send heartbeats several times a second and have news every few seconds; half of what a heartbeat costs
is parsing. Such a line, as our own side writes it, is

    {"jsonrpc":"2.0","id":7,"method":"Heartbeat","params":{...}}\\n
    -----------------------  the same bytes as before, by one comparison: the same method, the same params
    {"jsonrpc":"2.0","id":7,"result":{...}}\\n
    -----------------------  the same bytes as before: strict JSON, as was seen then, so the plain parser will do
"""

from __future__ import annotations

from json import JSONDecoder
from typing import Any, Dict, FrozenSet

from .strict_json import MessageParser

_HEAD = b'{"jsonrpc":"2.0","id":'
_HEAD_BYTES = len(_HEAD)
#: The parser without hooks, all of it C: for what has passed the strict one.
_UNHOOKED: Any = JSONDecoder()
#: Longest message that is remembered: a connection must not hold a megabyte for one that comes once.
REMEMBERED_BYTES = 4096
#: Digits of an id that is read here: more might not fit 64 bits.
_ID_DIGITS = 18


class RepeatReader:
    """Parse the lines of one connection. A repeated call has the very `params` of the one before; an answer is always
    made anew, since whoever asked may change it."""

    def __init__(self, methods: FrozenSet[str], depth_limit: int) -> None:
        """Remember calls of `methods`, whose receivers leave their parameters as they are, and answers."""
        self._methods = methods
        self._parse = MessageParser(depth_limit).parse
        #: The last such call: its bytes after the id, and its members; b"" while there is none.
        self._rest = b""
        self._call: Dict[str, Any] = {}
        #: The last answer's bytes after the id.
        self._answer_rest = b""

    def parse(self, line: bytes) -> Any:
        """Return the JSON value in a line; raise `ParseError`."""
        if not line.startswith(_HEAD):
            return self._parse(line)
        end = line.find(b",", _HEAD_BYTES)
        rest, number = line[end:], line[_HEAD_BYTES:end]
        # JSON knows no leading zeros.
        is_plain = number.isdigit() and len(number) <= _ID_DIGITS and not number.startswith(b"0")
        if is_plain and rest == self._answer_rest:
            return _UNHOOKED.scan_once(line.decode("utf-8"), 0)[0]
        if is_plain and rest == self._rest:
            return {**self._call, "id": int(number)}
        value = self._parse(line)
        if is_plain and len(rest) <= REMEMBERED_BYTES:
            method = value.get("method")
            if method is None and "result" in value:
                self._answer_rest = rest
            elif type(method) is str and method in self._methods and "attachments" not in value:
                self._rest, self._call = rest, value
        return value
