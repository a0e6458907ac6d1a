"""Stand for values that many calls take: a handle on one side, the value itself on the other, read once a process.

Knows:   how a handle is written in tagged JSON, and which blobs the work under way in this thread may read.
Refuses: to bring bytes from one device to another (roles/blobs.py does).
Read next: tasks/calls.py (who lends blobs to calls), faces/blobs.py (who makes handles).

    {"$t":"blob","v":"9f86d081…"}    the value whose tagged JSON text has this SHA-256
"""

from __future__ import annotations

import re
from collections import OrderedDict
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Callable, Dict, Iterator, List, Tuple

from .raw_pieces import json_of

#: Values that a process keeps read; the one used longest ago goes first.
BLOBS_READ_KEPT = 8
#: As it stands in a text: quotes in a person's own text are escaped there, so nothing else looks like it.
_MARK = b'{"$t":"blob",'
_IN_TEXT = re.compile(rb'\{"\$t":"blob",(?:"id":[0-9]+,)?"v":"([0-9a-f]{64})"\}')
#: What of a value has a class of its own, which each function brings along anew.
_OWN_CLASS = re.compile(rb'"\$t":"(?:object|enum|namedtuple|pickle)"')


@dataclass(frozen=True)
class Blob:
    """Stand for a value in the arguments of calls; `Cluster.put` makes these. Functions get the value itself."""

    sha256: str
    #: Bytes that travel.
    size: int = 0


def blobs_in(text: bytes) -> List[str]:
    """Return the hashes of the blobs that tagged JSON texts name, each once."""
    found: Dict[str, None] = {}
    for part in json_of(text):
        if _MARK in part:
            found.update(dict.fromkeys(each.decode("ascii") for each in _IN_TEXT.findall(part)))
    return list(found)


class LentBlobs:
    """Read blobs for the calls of one subtask."""

    def __init__(self, sources: Dict[str, Any], owner: str, function: str) -> None:
        """`sources` are bytes or what reads them, by hash; own classes belong to `function`, which is named here."""
        self._sources = sources
        self._owner = owner
        self._function = function
        #: load(text) -> value; may change as more is known of the function.
        self.load: Callable[[bytes], Any] = _no_reader

    def value_of(self, sha256: str) -> Any:
        """Return the value of a blob, read once in this process; raise ValueError where it was not lent."""
        source = self._sources.get(sha256)
        if source is None:
            raise ValueError(f"the blob {str(sha256)[:12]!r} was not sent along; put its value again")
        kept = _values_read()
        for key in ((sha256, self._owner, ""), (sha256, self._owner, self._function)):
            # Another thread of this process may let go of it just now.
            with suppress(KeyError):
                value = kept[key]
                kept.move_to_end(key)
                return value
        text = bytes(source() if callable(source) else source)
        value = self.load(text)
        has_own_class = any(_OWN_CLASS.search(part) for part in json_of(text))
        kept[sha256, self._owner, self._function if has_own_class else ""] = value
        while len(kept) > BLOBS_READ_KEPT:
            kept.popitem(last=False)
        return value


_LENT: ContextVar[LentBlobs] = ContextVar("discompute_lent_blobs")


@contextmanager
def lending(lent: LentBlobs) -> Iterator[None]:
    """Let what this thread reads meanwhile name these blobs."""
    token = _LENT.set(lent)
    try:
        yield
    finally:
        _LENT.reset(token)


def blob_hash(blob: Blob) -> str:
    """Return what stands for a handle in a text."""
    return blob.sha256


def blob_value(sha256: Any) -> Any:
    """Return the value that a blob stands for; raise ValueError where nothing was lent to this thread."""
    lent = _LENT.get(None)
    if lent is None or type(sha256) is not str:
        raise ValueError("a blob stands for a value in the arguments of calls, and nowhere else")
    return lent.value_of(sha256)


def forget_blob_value(sha256: str) -> None:
    """Keep no value of a blob in this process any more."""
    kept = _values_read()
    for key in [key for key in list(kept) if key[0] == sha256]:
        kept.pop(key, None)


@lru_cache(maxsize=1)
def _values_read() -> OrderedDict[Tuple[str, str, str], Any]:
    """Return the values that this process keeps, by hash, task and function: the same object each time."""
    return OrderedDict()


def _no_reader(text: bytes) -> Any:
    raise ValueError("nothing can be read here yet")
