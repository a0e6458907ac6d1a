"""Write and read what a device is given when it joins: certificate, root, statements, keys.

Knows:   the body of the last pairing message, and what a joiner must find in it before it believes it.
Refuses: how it is proved to come from the host (wire/pairing.py), and where it is kept.
Read next: wire/statements.py, crypto/certificates.py.

    {"ca":<DER>,"certificate":<DER>,"statements":[{"s":…,"sig":…},…],"beacon_key":<32 bytes>,"ca_key":<PKCS #8>}

Bytes are base64; `ca_key` is there for a second admin only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ..crypto.certificates import read_ca_certificate, read_device_certificate
from ..crypto.p256 import CurvePoint, PrivateKey, device_id, load_pkcs8_pem, pem, pkcs8_der
from ..model.errors import LocalProtocolError, ParseError, ProtocolError, StateError, TooLarge
from ..model.limits import Limits
from ..model.statement import Statement
from .pairing_messages import base64_in, base64_text
from .statements import read_signed_statement
from .strict_json import encode_json, parse_strict

BEACON_KEY_BYTES = 32
BACKUP_VERSION = 1
#: Addresses in a backup: one device that is met knows of all others.
BACKUP_ADDRESSES = 64
#: Members of one statement's JSON, twice as many as it has, and brackets of the rest of the message.
_STATEMENT_COMMAS, _OTHER_BRACKETS = 24, 16


@dataclass(frozen=True)
class PairingGrant:
    """Hold what makes a device a member."""

    #: DER of the cluster's root and of the device's own certificate.
    ca: bytes
    certificate: bytes
    #: Everything that is known about the cluster's devices, the new one included.
    statements: Tuple[Statement, ...]
    #: Seals the beacons of this cluster.
    beacon_key: bytes = field(repr=False)
    #: The cluster's own key, for a second admin; whoever has it can do everything.
    ca_key: Optional[PrivateKey] = field(default=None, repr=False)


def write_grant(grant: PairingGrant, public: CurvePoint, limits: Limits) -> Dict[str, Any]:
    """Return the body; raise LocalProtocolError for one that its joiner, whose key `public` is, would not believe."""
    body: Dict[str, Any] = {
        "ca": base64_text(grant.ca), "certificate": base64_text(grant.certificate),
        "statements": [json.loads(each.line) for each in grant.statements],
        "beacon_key": base64_text(grant.beacon_key),
    }
    if grant.ca_key is not None:
        body["ca_key"] = base64_text(pkcs8_der(grant.ca_key))
    try:
        data = encode_json(body)
        # Confirmations, names and brackets around the body fit into a line of the other messages.
        if len(data) > limits.pairing_body_bytes - limits.pairing_line_bytes:
            raise TooLarge("there are too many statements for one message")
        check_body_shape(data, limits)
        _check_grant(grant, public)
    except ProtocolError as error:
        raise LocalProtocolError(f"this grant would be refused: {error.message}") from None
    return body


def read_grant(body: Dict[str, Any], public: CurvePoint, limits: Limits) -> PairingGrant:
    """Return what a body grants to the device whose key `public` is; raise `ProtocolError` for what is wrong."""
    stated, key_text = body.get("statements"), body.get("ca_key")
    if not isinstance(stated, list):
        raise ParseError("statements is a list")
    ca = base64_in(body, "ca")
    try:
        ca_public = read_ca_certificate(ca)
        ca_key = None
        if key_text is not None:
            ca_key = load_pkcs8_pem(pem("PRIVATE KEY", base64_in(body, "ca_key")))
    except (ValueError, StateError):
        raise ProtocolError("the cluster's root or key in this grant is not one") from None
    grant = PairingGrant(
        ca, base64_in(body, "certificate"),
        tuple(read_signed_statement(each, ca_public, limits) for each in stated),
        base64_in(body, "beacon_key"), ca_key,
    )
    _check_grant(grant, public)
    return grant


def write_backup(grant: PairingGrant, limits: Limits, addresses: Sequence[str] = ()) -> bytes:
    """Return an admin's own grant as the text of a backup: whoever has it can make the cluster live on.

    `addresses` are where its devices could be called then: those that do not show themselves are not found otherwise.
    """
    if grant.ca_key is None:
        raise LocalProtocolError("only an admin has the cluster's key")
    public = read_device_certificate(grant.certificate, read_ca_certificate(grant.ca))
    body = {"discompute_backup": BACKUP_VERSION, "addresses": list(addresses[:BACKUP_ADDRESSES])}
    return encode_json({**body, **write_grant(grant, public, limits)}) + b"\n"


def read_backup(data: bytes, limits: Limits) -> PairingGrant:
    """Return the grant of the admin that made a backup; raise `ProtocolError` for anything else."""
    if len(data) > limits.pairing_body_bytes:
        raise TooLarge(f"a backup has at most {limits.pairing_body_bytes} bytes")
    check_body_shape(data, limits)
    body = parse_strict(data)
    if not isinstance(body, dict) or body.get("discompute_backup") != BACKUP_VERSION or "ca_key" not in body:
        raise ParseError("this is not a backup of a cluster")
    try:
        public = read_device_certificate(base64_in(body, "certificate"), read_ca_certificate(base64_in(body, "ca")))
    except ValueError:
        raise ProtocolError("the certificates in this backup are damaged") from None
    return read_grant(body, public, limits)


def read_backup_addresses(data: bytes) -> List[str]:
    """Return where the devices of a cluster could be called when this backup, which has been read, was made."""
    given = parse_strict(data).get("addresses")
    found = [each for each in given if isinstance(each, str)] if isinstance(given, list) else []
    return found[:BACKUP_ADDRESSES]


def check_body_shape(line: bytes, limits: Limits) -> None:
    """Raise `TooLarge` for a line whose JSON would be many small things: 8 MiB of those take 200 MB of memory."""
    brackets = line.count(b"{") + line.count(b"[")
    if brackets > 2 * limits.statements + _OTHER_BRACKETS or line.count(b",") > _STATEMENT_COMMAS * limits.statements:
        raise TooLarge("a message of the pairing exchange has too many parts")


def _check_grant(grant: PairingGrant, public: CurvePoint) -> None:
    """Raise `ProtocolError` unless this makes the device with that key a member of that cluster."""
    me = device_id(public)
    try:
        ca_public = read_ca_certificate(grant.ca)
        if read_device_certificate(grant.certificate, ca_public) != public:
            raise ValueError("another device's")
    except ValueError:
        raise ProtocolError("the certificate in this grant is not for this device") from None
    if grant.ca_key is not None and grant.ca_key.public != ca_public:
        raise ProtocolError("the key in this grant is not the cluster's")
    if len(grant.beacon_key) != BEACON_KEY_BYTES:
        raise ProtocolError(f"a beacon key has {BEACON_KEY_BYTES} bytes")
    about_me = [each for each in grant.statements if each.device_id == me]
    if not about_me or any(each.is_revocation for each in about_me):
        raise ProtocolError("no statement in this grant makes this device a member")
