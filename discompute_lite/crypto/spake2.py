"""Agree on a strong key by way of a short code: SPAKE2 over P-256 (RFC 9382), with SHA-256, HKDF and HMAC.

Knows:   the shares of both sides, the transcript, the keys, the confirmations.
Refuses: the code itself: `password_scalar` is where it comes from, and wire/pairing.py counts wrong ones. It is
         not constant-time, like all arithmetic here; each secret number is used for one exchange only.
Read next: wire/pairing.py (who says what to whom).

Whoever listens, or sits in the middle, learns nothing to try codes against later: each guess costs one exchange with
somebody who counts. A is the joiner, B the host; w is made of the code:

    A: pA = x*P + w*M      B: pB = y*P + w*N      both: K = x*(pB - w*N) = y*(pA - w*M)
    TT = A, B, pA, pB, K, w, each after its length in 8 bytes, little-endian
    Ke, Ka = SHA-256(TT);  KcA, KcB = HKDF(Ka, "ConfirmationKeys");  cA = HMAC(KcA, TT);  cB = HMAC(KcB, TT)
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from .hkdf import hkdf
from .p256 import (
    P256_N, P256_P, CurvePoint, PrivateKey, decode_point, encode_point, point_add, point_multiply,
)

#: M and N of RFC 9382, section 4: points whose logarithms nobody knows.
SPAKE2_M: CurvePoint = (
    0x886E2F97ACE46E55BA9DD7242579F2993B64E16EF3DCAB95AFD497333D8FA12F,
    0x5FF355163E43CE224E0B0E65FF02AC8E5C7BE09419C785E0CA547D55A12E2D20,
)
SPAKE2_N: CurvePoint = (
    0xD8BBD6C639C62937B04D997F38C3770719C629D7014D49A24B4F98BAA1292B49,
    0x07D60AA6BFADE45008A636337F5168C64D9BD36034808CD564490B1E656EDBE7,
)


@dataclass(frozen=True)
class Spake2Keys:
    """Hold what both sides know after the exchange, if they used the same code and saw the same messages."""

    #: Ke of the RFC, 16 bytes.
    shared_key: bytes = field(repr=False)
    #: cA and cB: what each side shows to prove that it has come to the same key.
    confirmation_a: bytes = field(repr=False)
    confirmation_b: bytes = field(repr=False)


def password_scalar(code: bytes, *, salt: bytes, info: bytes) -> int:
    """Return w: 48 bytes of HKDF, so that the remainder modulo the group's order prefers no number."""
    return int.from_bytes(hkdf(code, salt=salt, info=info, size=48), "big") % P256_N


class Spake2:
    """Take one side of one exchange; `secret` is a fresh key, used for nothing else and never again."""

    def __init__(self, *, is_a: bool, password: int, identity_a: bytes, identity_b: bytes, secret: PrivateKey) -> None:
        self._is_a = is_a
        self._password = password
        self._identities = (identity_a, identity_b)
        self._secret = secret
        masked = point_add(secret.public, point_multiply(password, SPAKE2_M if is_a else SPAKE2_N))
        if masked is None:
            raise ValueError("this secret and this code cancel each other; draw another secret")
        #: pA or pB: the 65 bytes to send.
        self.share = encode_point(masked)

    def finish(self, their_share: bytes) -> Spake2Keys:
        """Return the keys; raise ValueError when what came is no point of the curve, or gives nothing in common."""
        mask_x, mask_y = point_multiply(self._password, SPAKE2_N if self._is_a else SPAKE2_M) or (0, 0)
        # With w = 0 there is no mask; that code has probability 2**-256, and (0, 0) is not on the curve.
        negated = (mask_x, P256_P - mask_y) if mask_y else None
        shared = point_multiply(self._secret.scalar, point_add(decode_point(their_share), negated))
        if shared is None:
            raise ValueError("these shares meet at infinity; one of them was made to")
        shares = (self.share, their_share) if self._is_a else (their_share, self.share)
        password = self._password.to_bytes(32, "big")
        transcript = b"".join(
            len(part).to_bytes(8, "little") + part
            for part in (*self._identities, *shares, encode_point(shared), password)
        )
        digest = hashlib.sha256(transcript).digest()
        confirming = hkdf(digest[16:], salt=b"", info=b"ConfirmationKeys", size=32)
        return Spake2Keys(
            digest[:16],
            hmac.new(confirming[:16], transcript, hashlib.sha256).digest(),
            hmac.new(confirming[16:], transcript, hashlib.sha256).digest(),
        )
