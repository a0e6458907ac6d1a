"""Read a file of items as it comes: each line a JSON value, or each line text.

Knows:   how the first line tells which of the two a file is, and how lines are told from pieces of them.
Refuses: to mix the two: a file of words in which some happen to be numbers would give a function now this, now that.
Read next: faces/trickle.py (who waits for more), faces/map_command.py.
"""

from __future__ import annotations

import json
from typing import Any, Iterator, List, Optional

from ..model.errors import TaskRejected


class WrongItem(TaskRejected):
    """A line of the file is no item."""


class ItemReader:
    """Turn the bytes of a file, in pieces as they come, into its items."""

    def __init__(self, name: str, *, is_text: bool = False) -> None:
        """`name` is what the file is called in errors; with `is_text` lines are text whatever they look like."""
        self._name = name
        #: None until the first line that says something has been seen.
        self._is_json: Optional[bool] = False if is_text else None
        self._rest: List[bytes] = []
        self._line = 0

    def items(self, piece: bytes) -> Iterator[Any]:
        """Yield the items of the lines that this piece completes; raise `WrongItem`."""
        head, newline, tail = piece.rpartition(b"\n")
        if not newline:
            self._rest.append(tail)
            return
        data = b"".join([*self._rest, head])
        self._rest = [tail]
        for line in data.split(b"\n"):
            yield from self._item(line)

    def last(self) -> Iterator[Any]:
        """Yield the item of a last line that no newline ends."""
        line = b"".join(self._rest)
        if line:
            yield from self._item(line)

    def _item(self, raw: bytes) -> Iterator[Any]:
        self._line += 1
        try:
            text = raw.decode("utf-8-sig" if self._line == 1 else "utf-8").rstrip("\r")
        except UnicodeDecodeError:
            raise self._wrong("is not UTF-8 text; save it as UTF-8") from None
        if self._is_json is None and text.strip():
            self._is_json = self._looks_like_json(text)
        if not self._is_json:
            # Of text an empty line is an item too, but not before it is known to be text.
            if self._is_json is False:
                yield text
        elif text.strip():
            try:
                yield read_json(text)
            except ValueError:
                raise self._wrong("is no JSON value, as the first one is; mend it, or add --text to take every line"
                                  " as text") from None

    def _looks_like_json(self, text: str) -> bool:
        try:
            read_json(text)
        except ValueError:
            if text.lstrip()[0] not in "[{":
                return False
            raise self._wrong("begins like a JSON value and is none; write each value on one line, or add --text to"
                              " take every line as text") from None
        return True

    def _wrong(self, problem: str) -> WrongItem:
        return WrongItem(f"line {self._line} of {self._name} {problem}")


def read_json(text: str) -> Any:
    """Return a JSON value; raise ValueError for anything else, `NaN` and nesting without end included."""
    try:
        return json.loads(text, parse_constant=_refuse_no_json)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_no_json(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
