"""Keep the audit log honest: lines of JSON, each sealed with everything that stood before it.

Knows:   the form of a line, the chain, how to find the first line that is not as it was written.
Refuses: files and clocks; payloads (hashes and sizes are what a log may know); and to stop whoever owns the machine,
         who can write the whole log anew, or cut off its end. Compare `AuditVerdict.head` with a copy kept elsewhere.
Read next: model/statement.py (what admins may change).

    {"n":1,"at":1756800000,"what":"paired","device":"k3fq…","hash":"<hexadecimal>"}

`hash` is the last member: SHA-256 of the hash of the line before (64 zeros before the first) and of this line up to
`,"hash"`. Lines are ASCII; what people named things is escaped in them.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Dict, Iterable, Mapping, Optional, Union

from ..model.errors import LocalProtocolError

AUDIT_START = "0" * 64
#: Characters of one fact; longer texts are cut, since a log that somebody can fill is no log.
AUDIT_FACT_CHARS = 256

AuditFact = Union[str, int, float, bool, None]

_AUDIT_WHAT = re.compile(r"[a-z][a-z-]{0,31}")
_AUDIT_SEAL = re.compile(rb',"hash":"([0-9a-f]{64})"\}\Z')
_AUDIT_NUMBER = re.compile(rb'\{"n":([1-9][0-9]{0,15}),')
_AUDIT_CONTINUED = re.compile(rb'\{"n":([1-9][0-9]{0,15}),"at":[0-9]+,"what":"continued","before":"([0-9a-f]{64})"')


@dataclass(frozen=True)
class AuditVerdict:
    """Say how much of a log is as it was written."""

    #: Lines from the start that are; where the log ends well, all of them.
    good: int
    #: The first line that is not, counted from 1; 0 where there is none.
    bad_line: int = 0
    #: The hash of the last good line: what a log goes on from, and what to keep elsewhere.
    head: str = AUDIT_START


class AuditLog:
    """Write lines that go on from `head`, after `count` lines."""

    def __init__(self, head: str = AUDIT_START, count: int = 0) -> None:
        self.head = head
        self.count = count

    def append(self, what: str, facts: Mapping[str, AuditFact], at: int) -> bytes:
        """Return the next line, without its end; `at` is Unix seconds, and need not grow: lines are numbered."""
        if not _AUDIT_WHAT.fullmatch(what) or {"n", "at", "what", "hash"} & set(facts):
            raise LocalProtocolError("an audit line is a word for what happened, and facts of other names than its own")
        said: Dict[str, AuditFact] = {"n": self.count + 1, "at": at, "what": what}
        for name, value in facts.items():
            said[name] = value[:AUDIT_FACT_CHARS] if isinstance(value, str) else value
        text = json.dumps(said, separators=(",", ":"), ensure_ascii=True, allow_nan=False)[:-1].encode("ascii")
        self.head = _audit_hash(self.head, text)
        self.count += 1
        return text + f',"hash":"{self.head}"}}'.encode("ascii")


def resume_audit_log(last_line: bytes) -> Optional[AuditLog]:
    """Return a log that goes on after this line, b"" for a new one; None where it is no line of a log."""
    if not last_line:
        return AuditLog()
    seal, number = _AUDIT_SEAL.search(last_line), _AUDIT_NUMBER.match(last_line)
    if seal is None or number is None:
        return None
    return AuditLog(seal.group(1).decode("ascii"), int(number.group(1)))


def verify_audit_lines(lines: Iterable[bytes]) -> AuditVerdict:
    """Find the first line that was changed, taken out, put in or moved; lines come without their ends.

    What was cut off at the end is not missed: the rest is a log of its own. A log whose beginning was dropped begins
    with a line `continued`, which says the hash of the one before.
    """
    head, good = AUDIT_START, 0
    for index, line in enumerate(lines):
        begun = _AUDIT_CONTINUED.match(line) if not index else None
        if begun is not None:
            good, head = int(begun.group(1)) - 1, begun.group(2).decode("ascii")
        seal, number = _AUDIT_SEAL.search(line), _AUDIT_NUMBER.match(line)
        if seal is None or number is None or int(number.group(1)) != good + 1:
            return AuditVerdict(good, good + 1, head)
        expected = _audit_hash(head, line[:seal.start()])
        if seal.group(1) != expected.encode("ascii"):
            return AuditVerdict(good, good + 1, head)
        head, good = expected, good + 1
    return AuditVerdict(good, 0, head)


def _audit_hash(before: str, text: bytes) -> str:
    return hashlib.sha256(before.encode("ascii") + text).hexdigest()
