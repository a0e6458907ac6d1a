"""Write the certificates that make a cluster, and read those that were written here.

Knows:   the three forms below (RFC 5280), as OpenSSL's strict check and LibreSSL 2.8.3 (the Mac's own Python) take
         them.
Refuses: every certificate of another form: reading means writing the same again and comparing. Checking chains in a
         handshake is the TLS library's business.
Read next: crypto/p256.py (keys, PEM, device ids), wire/pairing.py (where a joiner gets its certificate).

    cluster's CA        CN "discompute cluster <8 characters>", signs devices, keyCertSign and cRLSign, path length 0
    device              CN <id>, SAN <id>.discompute, digitalSignature, serverAuth and clientAuth
    pairing port        CN "discompute pairing", signed by itself, trusted by nobody: SPAKE2 binds itself to its hash

Why this form: Ed25519 keys are refused by LibreSSL, and so is a self-signed device with keyUsage; roots of one name
are tried once, so each cluster's is its own; strict checks want both key identifiers. All are valid from 2000 to
2049: a clock that is wrong must lock nobody out, and membership ends by revocation.

    >>> from .p256 import private_key
    >>> ca, device = private_key(1), private_key(2)
    >>> der = device_certificate(ca, device.public, serial=bytes(14) + b"a")
    >>> read_device_certificate(der, ca.public) == device.public
    True
"""

from __future__ import annotations

import hashlib
from typing import Tuple

from .der import (
    DER_BOOLEAN, DER_CONTEXT, DER_CONTEXT_PLAIN, DER_OCTETS, DER_SEQUENCE, DER_SET, DER_UTC_TIME, DER_UTF8, der_bits,
    der_integer, der_oid, der_sequence, der_split, der_value,
)
from .ecdsa import ecdsa_sign, ecdsa_verify, signature_der
from .p256 import CurvePoint, PrivateKey, decode_point, device_id, encode_point, key_name, spki_der

#: Random bytes in a serial number: two certificates of one cluster never share one.
SERIAL_BYTES = 15
#: What the name of a device ends in, in its certificate and as `server_hostname`; no such domain exists.
DEVICE_DOMAIN = "discompute"

_ECDSA_SHA256 = der_sequence(der_oid("1.2.840.10045.4.3.2"))
_VALIDITY = der_sequence(
    der_value(DER_UTC_TIME, b"000101000000Z"), der_value(DER_UTC_TIME, b"491231235959Z")
)
_VERSION_3 = der_value(DER_CONTEXT, der_integer(2))
_TRUE = der_value(DER_BOOLEAN, b"\xff")
_SERVER_AUTH, _CLIENT_AUTH = der_oid("1.3.6.1.5.5.7.3.1"), der_oid("1.3.6.1.5.5.7.3.2")
#: KeyUsage as BIT STRINGs that end with their last bit set: keyCertSign and cRLSign; digitalSignature.
_SIGNS_CERTIFICATES, _SIGNS_HANDSHAKES = bytes.fromhex("03020106"), bytes.fromhex("03020780")
_PAIRING_NAME = "discompute pairing"


def cluster_id(ca_public: CurvePoint) -> str:
    """Return the 52 characters that name a cluster: made of its CA's key as a device's id is of the device's."""
    return device_id(ca_public)


def server_name(of_device: str) -> str:
    """Return the host name under which a device proves its identity in TLS."""
    return f"{of_device}.{DEVICE_DOMAIN}"


def ca_certificate(ca: PrivateKey, *, serial: bytes) -> bytes:
    """Return the DER of a cluster's root; `serial` is SERIAL_BYTES of chance."""
    return _signed(ca, _ca_body(ca.public, _serial(serial)))


def device_certificate(ca: PrivateKey, public: CurvePoint, *, serial: bytes) -> bytes:
    """Return the DER of a device's certificate, signed by its cluster."""
    return _signed(ca, _device_body(public, ca.public, _serial(serial)))


def pairing_certificate(key: PrivateKey, *, serial: bytes) -> bytes:
    """Return the DER of what a pairing port shows; `key` is made for this one invitation."""
    name = _name(_PAIRING_NAME)
    return _signed(key, _body(_serial(serial), name, name, key.public, _basic_constraints(False)))


def read_ca_certificate(der: bytes) -> CurvePoint:
    """Return the key of a cluster's root; raise ValueError for anything that `ca_certificate` does not write."""
    serial, public, body, signature = _taken_apart(der)
    if body != _ca_body(public, serial):
        raise ValueError("this certificate is not a cluster's")
    _check_signature(public, body, signature, der)
    return public


def read_device_certificate(der: bytes, ca_public: CurvePoint) -> CurvePoint:
    """Return the key of a device of that cluster; raise ValueError for any other certificate."""
    serial, public, body, signature = _taken_apart(der)
    if body != _device_body(public, ca_public, serial):
        raise ValueError("this certificate is not one of this cluster's devices")
    _check_signature(ca_public, body, signature, der)
    return public


def certified_device(der: bytes) -> str:
    """Return the id that a certificate's key makes, whatever else it says; its signature is its reader's to check.

    For TLS, which has verified the chain already. Raise ValueError for what is no certificate.
    """
    try:
        (_, inside, _), = der_split(der)
        (_, body, _), *_ = der_split(inside)
        spki = der_split(body)[6][2]
    except (ValueError, IndexError):
        raise ValueError("these bytes are not a certificate") from None
    return key_name(spki)


# ---- bodies -----------------------------------------------------------------------------------------


def _ca_body(public: CurvePoint, serial: int) -> bytes:
    name, key_id = _name(_ca_name(public)), _key_id(public)
    return _body(
        serial, name, name, public,
        _basic_constraints(True),
        _extension("2.5.29.15", _SIGNS_CERTIFICATES, critical=True),
        _subject_key_id(key_id), _authority_key_id(key_id),
    )


def _device_body(public: CurvePoint, ca_public: CurvePoint, serial: int) -> bytes:
    of_device = device_id(public)
    host = der_value(DER_CONTEXT_PLAIN | 2, server_name(of_device).encode("ascii"))
    return _body(
        serial, _name(_ca_name(ca_public)), _name(of_device), public,
        _basic_constraints(False),
        _extension("2.5.29.15", _SIGNS_HANDSHAKES, critical=True),
        _extension("2.5.29.37", der_sequence(_SERVER_AUTH, _CLIENT_AUTH)),
        _extension("2.5.29.17", der_sequence(host)),
        _subject_key_id(_key_id(public)), _authority_key_id(_key_id(ca_public)),
    )


def _body(serial: int, issuer: bytes, subject: bytes, public: CurvePoint, *extensions: bytes) -> bytes:
    """Return the TBSCertificate, RFC 5280, section 4.1."""
    return der_sequence(
        _VERSION_3, der_integer(serial), _ECDSA_SHA256, issuer, _VALIDITY, subject, spki_der(public),
        der_value(DER_CONTEXT | 3, der_sequence(*extensions)),
    )


def _ca_name(public: CurvePoint) -> str:
    return f"discompute cluster {cluster_id(public)[:8]}"


def _name(text: str) -> bytes:
    attribute = der_sequence(der_oid("2.5.4.3"), der_value(DER_UTF8, text.encode("utf-8")))
    return der_sequence(der_value(DER_SET, attribute))


def _key_id(public: CurvePoint) -> bytes:
    return hashlib.sha1(encode_point(public), usedforsecurity=False).digest()


def _extension(oid: str, value: bytes, *, critical: bool = False) -> bytes:
    return der_sequence(der_oid(oid), _TRUE if critical else b"", der_value(DER_OCTETS, value))


def _basic_constraints(is_ca: bool) -> bytes:
    return _extension("2.5.29.19", der_sequence(_TRUE, der_integer(0)) if is_ca else der_sequence(), critical=True)


def _subject_key_id(key_id: bytes) -> bytes:
    return _extension("2.5.29.14", der_value(DER_OCTETS, key_id))


def _authority_key_id(key_id: bytes) -> bytes:
    return _extension("2.5.29.35", der_sequence(der_value(DER_CONTEXT_PLAIN, key_id)))


# ---- the signed whole -------------------------------------------------------------------------------


def _serial(chance: bytes) -> int:
    if len(chance) != SERIAL_BYTES or not any(chance):
        raise ValueError(f"a serial number is {SERIAL_BYTES} bytes of chance, and not zero")
    return int.from_bytes(chance, "big")


def _signed(key: PrivateKey, body: bytes) -> bytes:
    return _whole(body, signature_der(ecdsa_sign(key, body)))


def _whole(body: bytes, signature: bytes) -> bytes:
    return der_sequence(body, _ECDSA_SHA256, der_bits(signature))


def _taken_apart(der: bytes) -> Tuple[int, CurvePoint, bytes, bytes]:
    """Return serial number, public key, body, and the 64 bytes of the signature; all still to be believed or not."""
    try:
        (_, inside, _), = der_split(der)
        (body_tag, parts, body), _, (_, bits, _) = der_split(inside)
        (_, signature, _), = der_split(bits[1:])
        (_, r, _), (_, s, _) = der_split(signature)
        _, (_, serial, _), _, _, _, _, (_, _, spki), _ = der_split(parts)
        raw = int.from_bytes(r, "big").to_bytes(32, "big") + int.from_bytes(s, "big").to_bytes(32, "big")
        if body_tag != DER_SEQUENCE:
            raise ValueError("a certificate's body is a SEQUENCE")
        return int.from_bytes(serial, "big"), decode_point(spki[-65:]), body, raw
    except (ValueError, OverflowError):
        raise ValueError("these bytes are not a certificate of ours") from None


def _check_signature(public: CurvePoint, body: bytes, signature: bytes, der: bytes) -> None:
    if _whole(body, signature_der(signature)) != der or not ecdsa_verify(public, body, signature):
        raise ValueError("this certificate's signature is not its cluster's")
