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
from .host.audit_file import AuditFile
from .host.store import StateFolder
from .host.trust import LocalTrust, TrustFiles
from .model.errors import StateError
from .model.limits import Limits
from .net.listener import stays_on_loopback
from .net.loop import Loop
from .net.pairing_door import SocketPairingDoor
from .net.tls import TlsIdentity
from .net.tls_door import TlsDoor


class MemberParts:
    """Hold the parts of one node."""

    def __init__(self, state: StateFolder, loop: Loop, limits: Limits, door: TlsDoor, bind: str,
                 tell: Callable[[str, str], None]) -> None:
        self._door = door
        key = state.load_or_make_key(secrets.token_bytes)
        self.trust = LocalTrust(
            TrustFiles(state.path, limits), key, state.key_file, self._enter, door.leave, secrets.token_bytes
        )
        self.pairing_door = SocketPairingDoor(loop, limits, bind, loopback_only=stays_on_loopback(bind))
        self.audit = AuditBook(AuditFile(state.path), tell)

    def ports(self) -> Dict[str, Any]:
        """Return them by their names in `ClockAndWorld`."""
        return {"trust": self.trust, "pairing_door": self.pairing_door, "audit": self.audit}

    def close(self) -> None:
        """Let nobody in any more."""
        self.pairing_door.close_all()

    def _enter(self, certificate_file: str, key_file: str, ca_pem: str, refusal: Any) -> None:
        self._door.enter(TlsIdentity(certificate_file, key_file, ca_pem), refusal)


class AuditBook:
    """Write the audit log of one node; it goes on where it was left, and turns its files over."""

    def __init__(self, file: AuditFile, tell: Callable[[str, str], None]) -> None:
        self._file = file
        self._tell = tell
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

    def lines(self) -> bytes:
        """Return all lines that are kept."""
        return self._file.lines()
