"""Write down what must not be forgotten of a task, a line each, and read it back whatever became of the file.

Knows:   the entries of a task's journal, their lines, and how to tell a cut from damage.
Refuses: files; the lines come in and go out as bytes (host/journals.py keeps them).
Read next: roles/durability.py (who writes what, and when), core/ownership.py (a second copy).

    ["f03e6b89","owner",{"owner_id":"me","term":3}]

The number is the CRC-32 of what follows it up to the bracket, begun with the number of the line before: so a line that
is missing, doubled or moved shows as much as a changed one. A file that ends within a line was cut by a crash: what is
there of that line is no entry. Everything else that does not read is damage, and what precedes it holds.
"""

from __future__ import annotations

import base64
import json
from binascii import crc32
from dataclasses import dataclass, field
from typing import Any, Dict, List, NamedTuple, Optional

from ..model.codec import from_json, to_json
from ..model.errors import InvalidParams
from ..model.task import FINAL_STATES, ComputeTask, SubTask, TaskState

#: No clock shows so many Unix seconds, and what is computed from fewer, some thousand times as much, is a whole number
#: that travels.
NO_TIME_S = 1 << 40
#: Bytes around what a line says: `["`, the number, `",` and `]`.
_MARK_BYTES = len('["00000000",')


def _check_time(unix_s: float) -> None:
    if not 0.0 <= unix_s < NO_TIME_S:
        raise ValueError(unix_s)


@dataclass(frozen=True)
class TaskAccepted:
    """A task was accepted: the first entry of each journal."""

    task: ComputeTask = ComputeTask()
    max_devices: int = 0
    target: int = 0
    #: Unix seconds.
    submitted_at: float = 0.0
    #: The node that answers for it, in which of the terms (core/ownership.py).
    owner_id: str = ""
    term: int = 1
    #: What claims to this task are proved by; "" in journals of versions that asked for none.
    secret: str = ""

    def __post_init__(self) -> None:
        _check_time(self.submitted_at)


@dataclass(frozen=True)
class TaskDivided:
    """It was split into pieces with these data."""

    parts: List[bytes] = field(default_factory=list)
    printed: str = ""


@dataclass(frozen=True)
class ResultKept:
    """A subtask has its one result."""

    index: int = 0
    device_id: str = ""
    result_data: bytes = b""
    completed_at: int = 0
    lite: Dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.index < 0:
            raise ValueError(self.index)


@dataclass(frozen=True)
class OwnerNamed:
    """Another node answers for the task from here on, or the same in a later term."""

    owner_id: str = ""
    term: int = 1


@dataclass(frozen=True)
class TaskClosed:
    """The task is over. Stands alone behind `TaskAccepted`: what went into it is no longer kept."""

    state: str = ""
    message: str = ""
    result_data: bytes = b""
    subtasks: List[SubTask] = field(default_factory=list)
    #: Each with `phase`, `device_id` and `text`.
    printed: List[Dict[str, str]] = field(default_factory=list)
    story: List[str] = field(default_factory=list)
    finished_at: float = 0.0

    def __post_init__(self) -> None:
        if TaskState(self.state) not in FINAL_STATES:
            raise ValueError(self.state)
        _check_time(self.finished_at)


@dataclass(frozen=True)
class CallBegun:
    """A call of a run that is kept is to be made."""

    #: A hash of what is called with what, and the call's number among equal ones.
    call: bytes = b""
    number: int = 0


@dataclass(frozen=True)
class CallKept:
    """A call of a run has returned."""

    call: bytes = b""
    number: int = 0
    #: As it came (tasks/calls.py), and from which device: what may be in it depends on that.
    outcome: bytes = b""
    device: str = ""


_ENTRY_KINDS: Dict[str, Any] = {
    "accepted": TaskAccepted, "divided": TaskDivided, "kept": ResultKept, "owner": OwnerNamed, "closed": TaskClosed,
    "call": CallBegun, "returned": CallKept,
}
_ENTRY_NAMES = {kind: name for name, kind in _ENTRY_KINDS.items()}


class JournalReading(NamedTuple):
    """Say what a journal's bytes hold."""

    entries: List[Any]
    #: So many bytes from the beginning are whole lines; what follows is to be cut off.
    good_bytes: int
    #: The number of the last good line: the next one is written behind it.
    chain: int
    #: What is wrong behind the good lines, in words; "" where nothing is, or only a line that was never finished.
    damage: str


class JournalWriter:
    """Make the lines of one journal, each behind the one before."""

    def __init__(self, chain: int = 0) -> None:
        self.chain = chain

    def lines(self, *entries: Any) -> bytes:
        """Return the lines of these entries."""
        written = []
        for entry in entries:
            said = [_ENTRY_NAMES[type(entry)], to_json(entry)]
            text = json.dumps(said, separators=(",", ":"), default=_as_base64)[1:-1].encode("ascii")
            self.chain = crc32(text, self.chain)
            written.append(b'["%08x",%b]\n' % (self.chain, text))
        return b"".join(written)


def read_journal(data: bytes, chain: int = 0) -> JournalReading:
    """Return the entries of a journal up to the first line that is not as it was written.

    With `chain`, the number of the line before, the data are a journal's next lines.
    """
    entries: List[Any] = []
    position = 0
    while True:
        end = data.find(b"\n", position)
        number = None if end < 0 else _number_of(data[position:end], chain)
        if number is None:
            break
        entry = _entry_of(data[position + _MARK_BYTES:end - 1])
        if entry is None:
            damage = f"line {len(entries) + 1} says what this version cannot read"
            return JournalReading(entries, position, chain, damage)
        entries.append(entry)
        position, chain = end + 1, number
    rest = data[position:]
    # A whole line and one byte more was no cut: that byte was a line's end.
    is_cut = b"\n" not in rest and _number_of(rest[:-1], chain) is None
    damage = "" if not rest or is_cut else f"line {len(entries) + 1} is not as it was written"
    return JournalReading(entries, position, chain, damage)


def _number_of(line: bytes, chain: int) -> Optional[int]:
    """Return the number that a line without its end bears, None unless it is the right one behind `chain`."""
    if len(line) <= _MARK_BYTES:
        return None
    number = crc32(memoryview(line)[_MARK_BYTES:-1], chain)
    return number if line[:_MARK_BYTES] == b'["%08x",' % number and line.endswith(b"]") else None


def _entry_of(text: bytes) -> Any:
    try:
        name, said = json.loads(b"[" + text + b"]", parse_constant=_refuse_infinite)
        return from_json(_ENTRY_KINDS[name], said)
    except (ValueError, KeyError, TypeError, RecursionError, InvalidParams):
        return None


def _refuse_infinite(name: str) -> None:
    raise ValueError(name)


def _as_base64(value: Any) -> str:
    return base64.b64encode(value).decode("ascii")
