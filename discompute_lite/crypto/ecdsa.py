"""Sign with a P-256 key and check such signatures: ECDSA with SHA-256, without chance.

Knows:   FIPS 186-4, section 6, and the deterministic nonce of RFC 6979, section 3.2.
Refuses: to be constant-time, which Python's numbers cannot be. Whoever can measure an admin's device very finely while
         it signs could learn about its key. It signs when a device is paired or removed, a few times a year and
         only after its person agreed; TLS handshakes are OpenSSL's.
Read next: crypto/certificates.py, crypto/statements.py (what is signed).

A nonce that repeats, or is guessed, gives the key away; so it is derived from key and message, and no source of
chance can spoil it. Signatures travel as r and s, 32 bytes each; in certificates as DER.
"""

from __future__ import annotations

import hashlib
import hmac

from .der import der_integer, der_sequence
from .p256 import P256_N, P256_X, P256_Y, CurvePoint, PrivateKey, is_on_curve, point_combine, point_multiply

#: Bytes of a signature: r and s.
SIGNATURE_BYTES = 64


def ecdsa_sign(key: PrivateKey, message: bytes) -> bytes:
    """Return the 64 bytes of the signature; the same message and key always give the same."""
    digest = hashlib.sha256(message).digest()
    attempt = 0
    while True:
        nonce = _deterministic_nonce(key.scalar, digest, attempt)
        point = point_multiply(nonce, (P256_X, P256_Y))
        assert point is not None, "a nonce lies within the group"
        r = point[0] % P256_N
        s = pow(nonce, -1, P256_N) * (int.from_bytes(digest, "big") + r * key.scalar) % P256_N
        if r and s:
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        attempt += 1  # Once in 2**256 signatures.


def ecdsa_verify(public: CurvePoint, message: bytes, signature: bytes) -> bool:
    """Whether `signature` was made of `message` with the secret half of `public`; any bytes may be given.

    Besides (r, s), (r, -s) is a signature of the same message: never take a signature for an identity.
    """
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if len(signature) != SIGNATURE_BYTES or not (0 < r < P256_N and 0 < s < P256_N) or not is_on_curve(public):
        return False
    inverse = pow(s, -1, P256_N)
    digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
    point = point_combine((digest * inverse, (P256_X, P256_Y)), (r * inverse, public))
    return point is not None and point[0] % P256_N == r


def signature_der(signature: bytes) -> bytes:
    """Return the form that certificates use: SEQUENCE { r, s } (RFC 3279, section 2.2.3)."""
    return der_sequence(
        der_integer(int.from_bytes(signature[:32], "big")), der_integer(int.from_bytes(signature[32:], "big"))
    )


def _deterministic_nonce(scalar: int, digest: bytes, attempt: int) -> int:
    """Return the usable nonce number `attempt` of RFC 6979; P-256 and SHA-256 both have 256 bits, so nothing is cut."""
    seed = scalar.to_bytes(32, "big") + (int.from_bytes(digest, "big") % P256_N).to_bytes(32, "big")
    value, key = b"\x01" * 32, b"\x00" * 32
    for separator in (b"\x00", b"\x01"):
        key = _hmac_sha256(key, value + separator + seed)
        value = _hmac_sha256(key, value)
    while True:
        value = _hmac_sha256(key, value)
        nonce = int.from_bytes(value, "big")
        if 0 < nonce < P256_N:
            if not attempt:
                return nonce
            attempt -= 1
        key = _hmac_sha256(key, value + b"\x00")
        value = _hmac_sha256(key, value)


def _hmac_sha256(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()
