"""Put together what makes a node a member of a cluster: its files, its doors, its audit log.

Knows:   which real folder, TLS and pairing port a node's membership gets.
Refuses: to decide anything, as run.py does, of which this is a part.
Read next: run.py, roles/belonging.py (who uses them).
"""

from __future__ import annotations

import secrets
from typing import Any, Dict

from .host.store import StateFolder
from .host.trust import LocalTrust, TrustFiles
from .model.limits import Limits
from .net.listener import stays_on_loopback
from .net.loop import Loop
from .net.pairing_door import SocketPairingDoor
from .net.tls import TlsIdentity
from .net.tls_door import TlsDoor


class MemberParts:
    """Hold the parts of one node."""

    def __init__(self, state: StateFolder, loop: Loop, limits: Limits, door: TlsDoor, bind: str) -> None:
        self._door = door
        key = state.load_or_make_key(secrets.token_bytes)
        self.trust = LocalTrust(
            TrustFiles(state.path, limits), key, state.key_file, self._enter, door.leave, secrets.token_bytes
        )
        self.pairing_door = SocketPairingDoor(loop, limits, bind, loopback_only=stays_on_loopback(bind))

    def ports(self) -> Dict[str, Any]:
        """Return them by their names in `ClockAndWorld`."""
        return {"trust": self.trust, "pairing_door": self.pairing_door}

    def close(self) -> None:
        """Let nobody in any more."""
        self.pairing_door.close_all()

    def _enter(self, certificate_file: str, key_file: str, ca_pem: str, refusal: Any) -> None:
        self._door.enter(TlsIdentity(certificate_file, key_file, ca_pem), refusal)
