"""Say what an admin stated about one device of a cluster: the sentences of which membership is made.

Knows:   the words of a statement: what, roles, what a device may send.
Refuses: signatures (wire/statements.py checks them) and which statement holds (core/membership.py decides).
Read next: core/membership.py.

A statement says everything that is known about its device, whatever it was made for, so that of several about one
device the newest can stand alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Tuple

#: From least to most: a worker runs others' work, a member also sends its own, an admin also changes the cluster.
#: Unknown roles, of newer versions, give no rights at all.
ROLES = ("worker", "member", "admin")
#: What a device may send to the others: all work, only named task types, nothing.
SENDS_WORDS = ("any", "named", "nobody")
#: The id of a device or cluster, whole.
WHOLE_ID = re.compile(r"[a-z2-7]{52}")
#: The largest `seq`: whole numbers up to here are exact in every JSON library.
STATEMENT_SEQ_MAX = 2 ** 53


@dataclass(frozen=True)
class Statement:
    """Hold one statement whose signature has been checked."""

    cluster: str
    #: One more than the highest that its author had seen.
    seq: int
    #: What it was made for: "add", "role", "name", "sends", "revoke", or what a newer version says. Only "revoke"
    #: changes what the rest of it means; the others are for people to read.
    what: str
    device_id: str
    role: str
    #: The admin device that made it, as it said itself: all admins sign with the cluster's one key.
    by: str
    #: Unix seconds by the author's clock.
    at: int
    name: str = ""
    #: The device's type, such as "iphone".
    kind: str = ""
    sends: str = "any"
    #: SHA-256 of what was said, hexadecimal: the statement's identity.
    digest: str = ""
    #: The line that is kept and sent on, signature included, without its end.
    line: bytes = field(default=b"", compare=False, repr=False)

    @property
    def is_revocation(self) -> bool:
        """Whether it removes its device for ever."""
        return self.what == "revoke"

    @property
    def order(self) -> Tuple[bool, int, int, str]:
        """What decides between two statements: the higher one holds. Nothing outranks a revocation."""
        return self.is_revocation, self.seq, self.at, self.digest
