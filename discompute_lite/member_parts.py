"""Put together what makes a node a member of a cluster: its files, its doors, its audit log.

Knows:   which real folder, TLS and pairing port a node's membership gets.
Refuses: to decide anything, as run.py does, of which this is a part.
Read next: run.py, roles/belonging.py (who uses them).
"""

from __future__ import annotations

import secrets
import time
from typing import Any, Callable, Dict, Mapping

from .core.audit_log import AuditFact, AuditLog, resume_audit_log
from .core.refusals import RefusalTally
from .host.audit_file import AuditFile
from .host.store import StateFolder
from .host.trust import LocalTrust, TrustFiles, has_membership
from .model.errors import StateError
from .model.limits import Limits
from .model.settings import Settings
from .net.listener import stays_on_loopback
from .net.loop import Loop
from .net.neighbourhood import Neighbourhood
from .net.pairing_door import SocketPairingDoor
from .net.tls import TlsIdentity, why_no_tls
from .net.tls_door import TlsDoor


class MemberParts:
    """Hold the parts of one node."""

    def __init__(self, state: StateFolder, loop: Loop, limits: Limits, door: TlsDoor, settings: Settings,
                 tell: Callable[[str, str], None]) -> None:
        self._door = door
        door.takes = Neighbourhood(loop.now, takes_all=settings.from_internet).takes
        alone = why_alone(state)
        if alone:
            tell("warning", alone)
        key = state.load_or_make_key(secrets.token_bytes)
        self.trust = LocalTrust(
            TrustFiles(state.path, limits), key, state.key_file, self._enter, door.leave, why_no_tls
        )
        self.pairing_door = SocketPairingDoor(
            loop, limits, settings.bind, loopback_only=stays_on_loopback(settings.bind), takes=door.takes)
        self.audit = AuditBook(AuditFile(state.path), tell, loop)
        door.on_refused = self.audit.refused

    def ports(self) -> Dict[str, Any]:
        """Return them by their names in `ClockAndWorld`."""
        return {"trust": self.trust, "pairing_door": self.pairing_door, "audit": self.audit}

    def close(self) -> None:
        """Let nobody in any more, and write down what was only counted."""
        self.pairing_door.close_all()
        self.audit.write_counts()

    def _enter(self, certificate_file: str, key_file: str, ca_pem: str, refusal: Any) -> None:
        self._door.enter(TlsIdentity(certificate_file, key_file, ca_pem), refusal)


def why_alone(state: StateFolder) -> str:
    """Say why a second node of one folder has none of the devices that the first one has; "" where that is not so."""
    if state.instance < 2 or has_membership(state.path) or not has_membership(state.first_folder):
        return ""
    return (
        f"A node runs from {state.first_folder} already, so this one is a device of its own, which is in no cluster:"
        " only this machine works for it. Stop that node, or pair this one too: set"
        f" DISCOMPUTE_STATE_DIR={state.path} and join."
    )


class AuditBook:
    """Write the audit log of one node; it goes on where it was left, and turns its files over."""

    def __init__(self, file: AuditFile, tell: Callable[[str, str], None], loop: Loop) -> None:
        self._file = file
        self._tell = tell
        self._loop = loop
        self._refusals = RefusalTally()
        self._is_counting = False
        self._has_complained = False
        log = resume_audit_log(file.open())
        if log is None:
            file.set_aside()
            tell("warning", "the audit log was damaged; it is kept as audit.damaged, and a new one begins")
        self._log = log or AuditLog()

    def note(self, what: str, facts: Mapping[str, AuditFact]) -> None:
        """Append a line."""
        at = int(time.time())
        try:
            if self._file.is_full:
                self._file.turn()
                self._file.append(self._log.append("continued", {"before": self._log.head}, at))
            self._file.append(self._log.append(what, facts, at))
        except StateError as error:
            # The missing number shows that a line is missing.
            if not self._has_complained:
                self._tell("warning", f"the audit log cannot be written: {error.message}")
            self._has_complained = True

    def refused(self, rule: str, whom: str, facts: Mapping[str, AuditFact]) -> None:
        """Append a line, or count it where there are many."""
        if self._refusals.add(rule, whom, self._loop.now()):
            self.note("refused", {"rule": rule, "from": whom, **facts})
        if not self._is_counting:
            self._is_counting = True
            self._loop.call_at(self._refusals.due() or 0.0, self._count)

    def write_counts(self) -> None:
        """Append what was only counted until now."""
        for rule, whom, count, seconds in self._refusals.take(self._loop.now()):
            self.note("refused", {"rule": rule, "from": whom or "others", "count": count, "seconds": seconds})

    def _count(self) -> None:
        due = self._refusals.due()
        if due is not None and due > self._loop.now():
            # The counts were asked for meanwhile, and a new period began.
            self._loop.call_at(due, self._count)
            return
        self._is_counting = False
        self.write_counts()

    def lines(self) -> bytes:
        """Return all lines that are kept, with the counts up to now."""
        self.write_counts()
        return self._file.lines()
