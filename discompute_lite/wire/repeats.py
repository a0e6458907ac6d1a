"""Read a call that says the same as the one before without parsing it again.

Knows:   the last call of a few methods on one connection, as bytes and as JSON.
Refuses: to guess: what differs in one byte after the id is parsed.
Read next: wire/strict_json.py (the parser), wire/rpc.py (who asks).

Devices send heartbeats several times a second and have news every few seconds; half of what a heartbeat costs
is parsing. Such a line, as our own side writes it, is

    {"jsonrpc":"2.0","id":7,"method":"Heartbeat","params":{...}}\\n
    -----------------------  the same bytes as before, by one comparison: the same method, the same params
"""

from __future__ import annotations

from typing import Any, Dict, FrozenSet

from .strict_json import MessageParser

_CALL_HEAD = b'{"jsonrpc":"2.0","id":'
_HEAD_BYTES = len(_CALL_HEAD)
#: Longest call that is remembered: a connection must not hold a megabyte for one that sends it once.
REMEMBERED_BYTES = 4096
#: Digits of an id that is read here: more might not fit 64 bits.
_ID_DIGITS = 18


class RepeatReader:
    """Parse the lines of one connection; `params` of a repeated call are the very object of the call before."""

    def __init__(self, methods: FrozenSet[str], depth_limit: int) -> None:
        """Remember calls of `methods`, whose receivers leave their parameters as they are."""
        self._methods = methods
        self._parse = MessageParser(depth_limit).parse
        #: The last such call: its bytes after the id, and its members; b"" while there is none.
        self._rest = b""
        self._call: Dict[str, Any] = {}

    def parse(self, line: bytes) -> Any:
        """Return the JSON value in a line; raise `ParseError`."""
        if not line.startswith(_CALL_HEAD):
            return self._parse(line)
        end = line.find(b",", _HEAD_BYTES)
        rest, number = line[end:], line[_HEAD_BYTES:end]
        # JSON knows no leading zeros.
        if rest == self._rest and number.isdigit() and len(number) <= _ID_DIGITS and not number.startswith(b"0"):
            return {**self._call, "id": int(number)}
        value = self._parse(line)
        method = value.get("method")
        is_known = type(method) is str and method in self._methods and len(rest) <= REMEMBERED_BYTES
        if is_known and number.isdigit() and "attachments" not in value:
            self._rest, self._call = rest, value
        return value
