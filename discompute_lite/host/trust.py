"""Keep what makes a device a member of its cluster: a cut at any moment leaves the old, the new, or no membership.

Knows:   the files of a membership, in which order they must be written, and which of them are secrets.
Refuses: to read a key that others could have read; to overwrite a backup. What statements mean is core/membership.py's.
Read next: host/files.py (how a file is replaced), wire/pairing_grant.py (what is kept).

    ca.pem          the cluster's certificate; who has it is a member, so it is written last and removed first
    device.pem      this device's certificate; device.key is its key
    ca.key          the cluster's key, 0600, on admin devices only
    beacon.key      32 bytes, 0600
    statements      a line of SHA-256 over the rest, then one signed statement a line

Lines whose sum is right were checked when they were written, so a start does not check 5 ms of signature for each.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from typing import Callable, List, Optional, Tuple

from ..crypto.certificates import read_ca_certificate, read_device_certificate
from ..crypto.p256 import CurvePoint, PrivateKey, load_pkcs8_pem, pem, pkcs8_der, read_pem
from ..model.errors import DiscomputeError, ProtocolError, StateError
from ..model.limits import Limits
from ..model.statement import Statement
from ..wire.pairing_grant import BEACON_KEY_BYTES, PairingGrant
from ..wire.statements import read_statement_line
from .files import (
    SAFE_OPEN_FLAGS, read_small_file, remove_file, state_errors, sync_file, write_atomically, write_whole,
)

#: refusal(device id) -> why it may not stay.
Refusal = Callable[[str], Optional[DiscomputeError]]
_CA_FILE, _CERTIFICATE_FILE, _CA_KEY_FILE = "ca.pem", "device.pem", "ca.key"
_BEACON_KEY_FILE, _STATEMENTS_FILE = "beacon.key", "statements"
_CA_KEY_NAME, _BEACON_KEY_NAME = "cluster's key file", "beacon key file"


class LocalTrust:
    """Be a node's `TrustPort`: the files, and the door that the composition root opens and shuts."""

    def __init__(
        self, files: TrustFiles, key: PrivateKey, key_file: str, enter: Callable[[str, str, str, Refusal], None],
        leave: Callable[[], None], why_no_tls: Callable[[], str],
    ) -> None:
        """`enter(certificate file, key file, PEM of the root, refusal)` has TLS spoken from now on."""
        self.files = files
        self.key = key
        self._key_file = key_file
        self._enter = enter
        self.leave = leave
        self.why_no_tls = why_no_tls
        self.random_bytes = secrets.token_bytes

    def load(self) -> Optional[PairingGrant]:
        """Return what was kept."""
        return self.files.load(self.key)

    def keep(self, grant: PairingGrant) -> None:
        """Put it on the disk."""
        self.files.keep(grant)

    def forget(self) -> None:
        """Remove it from the disk."""
        self.files.leave()

    def enter(self, grant: PairingGrant, refusal: Refusal) -> None:
        """Speak TLS as the device that this grant makes of us."""
        self._enter(self.files.certificate_file, self._key_file, pem("CERTIFICATE", grant.ca), refusal)


class TrustFiles:
    """Own the files of a membership in a state folder; who writes holds the folder's lock."""

    def __init__(self, folder: str, limits: Limits) -> None:
        """`folder` is "" where nothing can be written; such a device cannot be a member."""
        self._folder = folder
        self._limits = limits
        #: Sentences that the user should see.
        self.notes: List[str] = []

    @property
    def certificate_file(self) -> str:
        """Where this device's certificate is, for `ssl`, which reads nothing but files."""
        return self._where(_CERTIFICATE_FILE)

    def load(self, key: PrivateKey) -> Optional[PairingGrant]:
        """Return what was kept, None where this device is alone; raise StateError for what does not fit together."""
        ca_pem = self._read(_CA_FILE) if self._folder else None
        if ca_pem is None:
            return None
        ca, certificate = _der_in(ca_pem), _der_in(self._read(_CERTIFICATE_FILE) or b"")
        try:
            ca_public = read_ca_certificate(ca)
        except ValueError:
            raise self._damage(_CA_FILE, "the cluster's certificate is damaged") from None
        try:
            is_ours = read_device_certificate(certificate, ca_public) == key.public
        except ValueError:
            raise self._damage(_CERTIFICATE_FILE, "this device's certificate is missing or damaged") from None
        if not is_ours:
            raise self._damage(_CERTIFICATE_FILE, "this device has a new identity; its certificate is the old one's")
        beacon_key = self._read(_BEACON_KEY_FILE, _BEACON_KEY_NAME) or b""
        if len(beacon_key) != BEACON_KEY_BYTES:
            raise self._damage(_BEACON_KEY_FILE, "the beacon key is missing or damaged")
        return PairingGrant(ca, certificate, self._load_statements(ca_public), beacon_key, self._load_ca_key(ca_public))

    def keep(self, grant: PairingGrant) -> None:
        """Put a membership, or what changed of it, on the disk."""
        if not self._folder:
            raise StateError("no folder can be written, so this device cannot join a cluster", "set a --state-dir")
        ca_pem = pem("CERTIFICATE", grant.ca).encode("ascii")
        if self._read(_CA_FILE) != ca_pem:
            # Until all of it is there this device belongs to no cluster, rather than to half of two.
            self._remove(_CA_FILE)
        if grant.ca_key is None:
            self._remove(_CA_KEY_FILE)
        else:
            self._replace(_CA_KEY_FILE, pem("PRIVATE KEY", pkcs8_der(grant.ca_key)).encode("ascii"))
        self._replace(_STATEMENTS_FILE, _statements_text(grant.statements))
        self._replace(_BEACON_KEY_FILE, grant.beacon_key)
        self._replace(_CERTIFICATE_FILE, pem("CERTIFICATE", grant.certificate).encode("ascii"))
        self._replace(_CA_FILE, ca_pem)

    def leave(self) -> None:
        """Belong to no cluster any more; keys of the old one are removed."""
        for name in (_CA_FILE, _CA_KEY_FILE, _BEACON_KEY_FILE, _CERTIFICATE_FILE, _STATEMENTS_FILE):
            self._remove(name)

    # ---- pieces -----------------------------------------------------------------------------------

    def _load_ca_key(self, ca_public: CurvePoint) -> Optional[PrivateKey]:
        data = self._read(_CA_KEY_FILE, _CA_KEY_NAME)
        if data is None:
            return None
        try:
            ca_key = load_pkcs8_pem(data.decode("ascii"))
        except (UnicodeDecodeError, StateError):
            raise self._damage(_CA_KEY_FILE, "the cluster's key is damaged") from None
        if ca_key.public != ca_public:
            raise self._damage(_CA_KEY_FILE, "the cluster's key is another cluster's")
        return ca_key

    def _load_statements(self, ca_public: CurvePoint) -> Tuple[Statement, ...]:
        data = self._read(_STATEMENTS_FILE) or b""
        first, _, rest = data.partition(b"\n")
        is_whole = first == _sum_of(rest)
        statements: List[Statement] = []
        for line in rest.splitlines():
            try:
                statements.append(read_statement_line(line, ca_public, self._limits, is_checked=is_whole))
            except ProtocolError:
                is_whole = False
        if not is_whole:
            where = self._where(_STATEMENTS_FILE)
            write_atomically(where + ".damaged", data)
            self.notes.append(
                f"{where} was damaged; {len(statements)} statements of it are good, the others come from other devices."
                " It is kept as statements.damaged."
            )
        return tuple(statements)

    def _damage(self, name: str, what: str) -> StateError:
        return StateError(what, "restore it from a copy, or remove ca.pem beside it and pair this device again:"
                                f" {self._where(name)}")

    def _where(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def _read(self, name: str, secret: str = "") -> Optional[bytes]:
        return read_small_file(self._where(name), secret)

    def _replace(self, name: str, data: bytes) -> None:
        if self._read(name) != data:
            write_atomically(self._where(name), data)

    def _remove(self, name: str) -> None:
        with state_errors(self._where(name)):
            remove_file(self._where(name))


def has_membership(folder: str) -> bool:
    """Whether the device of a state folder belongs to a cluster; says nothing about whether all of it is there."""
    return os.path.exists(os.path.join(folder, _CA_FILE))


def write_backup_file(path: str, data: bytes) -> None:
    """Write a backup that only its owner can read; an existing file is never touched. Raise StateError."""
    with state_errors(path):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE_OPEN_FLAGS, 0o600)
        except FileExistsError:
            raise StateError("there is a file already", f"choose another name for the backup: {path}") from None
        try:
            write_whole(descriptor, data)
            sync_file(descriptor)
        except BaseException:
            remove_file(path)  # Half a backup is worse than none.
            raise
        finally:
            os.close(descriptor)


def read_backup_file(path: str) -> bytes:
    """Return a backup's bytes. Who else may read it is not asked: sticks and shares often keep no permissions."""
    data = read_small_file(path)
    if data is None:
        raise StateError("there is no such file", f"name the backup that an admin device made: {path}")
    return data


def _der_in(data: bytes) -> bytes:
    try:
        return read_pem("CERTIFICATE", data.decode("ascii"))
    except ValueError:
        return b""


def _sum_of(rest: bytes) -> bytes:
    return hashlib.sha256(rest).hexdigest().encode("ascii")


def _statements_text(statements: Tuple[Statement, ...]) -> bytes:
    rest = b"".join(each.line + b"\n" for each in statements)
    return _sum_of(rest) + b"\n" + rest
