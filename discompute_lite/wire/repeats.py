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

import re
from json import JSONDecoder
from typing import Any, Dict, FrozenSet

from .strict_json import MessageParser

#: How our own side begins a message that has a number: no leading zeros, and no more digits than surely fit 64 bits.
#: The comma after it belongs to what follows, which is therefore never empty.
_HEAD = re.compile(rb'\{"jsonrpc":"2\.0","id":([1-9][0-9]{0,17})(?=,)')
#: The parser without hooks, all of it C: for what has passed the strict one.
_UNHOOKED: Any = JSONDecoder()
#: Longest message that is remembered: a connection must not hold a megabyte for one that comes once.
REMEMBERED_BYTES = 4096


class RepeatedAnswer:
    """Hold the last answer of a connection on which one call is made at a time."""

    __slots__ = ("rest", "_text")

    #: How our own side begins an answer with a result.
    HEAD = b'{"jsonrpc":"2.0","id":%d,"result":'

    def __init__(self) -> None:
        #: What follows `HEAD`, with the end of the line; b"" where nothing is remembered.
        self.rest = b""
        self._text = ""

    def remember(self, line: bytes, number: int, answer: Dict[str, Any]) -> None:
        """Take the line that was read, by the strict parser, as the `answer` to call `number`."""
        head = self.HEAD % number
        is_ours = line.startswith(head) and len(answer) == 3 and len(line) <= REMEMBERED_BYTES
        self.rest = line[len(head):] if is_ours else b""
        self._text = self.rest.decode("utf-8")

    def forget(self) -> None:
        """Remember nothing."""
        self.rest = b""

    def result(self) -> Any:
        """Return its result, made anew, since whoever asked may change it."""
        return _UNHOOKED.scan_once(self._text, 0)[0]


class RepeatReader:
    """Parse the lines of one connection. A repeated call has the very `params` of the one before; an answer is always
    made anew, since whoever asked may change it."""

    def __init__(self, methods: FrozenSet[str], depth_limit: int, values_limit: int = 0) -> None:
        """Remember calls of `methods`, whose receivers leave their parameters as they are, and answers."""
        self._methods = methods
        self._parse = MessageParser(depth_limit, values_limit).parse
        #: The last such call: its bytes after the id, and its members; b"" while there is none.
        self._rest = b""
        self._call: Dict[str, Any] = {}
        #: The last answer's bytes after the id.
        self._answer_rest = b""

    def parse(self, line: bytes) -> Any:
        """Return the JSON value in a line; raise `ParseError`."""
        head = _HEAD.match(line)
        if head is None:
            return self._parse(line)
        rest = line[head.end():]
        if rest == self._answer_rest:
            return _UNHOOKED.scan_once(line.decode("utf-8"), 0)[0]
        if rest == self._rest:
            return {**self._call, "id": int(head[1])}
        value = self._parse(line)
        if len(rest) <= REMEMBERED_BYTES:
            method = value.get("method")
            if method is None and "result" in value:
                self._answer_rest = rest
            elif type(method) is str and method in self._methods and "attachments" not in value:
                self._rest, self._call = rest, value
        return value
