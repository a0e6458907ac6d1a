"""Make P-256 keys, and name devices by them.

Knows:   the curve (SEC 2, section 2.4.2), its point arithmetic, and the two DER forms of a key that
         TLS libraries read: SubjectPublicKeyInfo (RFC 5480) and PKCS #8 (RFC 5208, RFC 5915).
Refuses: encryption, and secrecy of timing: this arithmetic is not constant-time. It runs where keys are
         made, never inside a TLS handshake. Chance comes in as `random_bytes`.
Read next: crypto/certificates.py (what keys are for), host/store.py (keeps the device's key).

Both DER forms of a P-256 key have one length each, so they are drawn here instead of built:

    SubjectPublicKeyInfo, 91 bytes
      30 59  30 13 <id-ecPublicKey> <prime256v1>  03 42 00  04 <x, 32> <y, 32>
    PKCS #8, 138 bytes
      30 81 87  02 01 00  30 13 <id-ecPublicKey> <prime256v1>
      04 6d  30 6b  02 01 01  04 20 <scalar, 32>  a1 44  03 42 00  04 <x, 32> <y, 32>

    >>> device_id((P256_X, P256_Y))
    'ltjff6ym5cjsinx27dgncbajqg4j5zfnnop6tyvcw7trvlfsptjq'
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Callable, Optional, Tuple, Union

from ..model.errors import StateError

#: The field, the order of the group, the curve y^2 = x^3 - 3x + b, and the point that generates it.
P256_P = 2 ** 256 - 2 ** 224 + 2 ** 192 + 2 ** 96 - 1
P256_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P256_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
P256_X = 0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296
P256_Y = 0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5

_EC_ALGORITHM = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
_SPKI_START = bytes.fromhex("3059") + _EC_ALGORITHM + bytes.fromhex("034200")
_PKCS8_START = bytes.fromhex("308187020100") + _EC_ALGORITHM + bytes.fromhex("046d306b0201010420")
_PKCS8_MIDDLE = bytes.fromhex("a144034200")
#: A source of chance that gives an unusable number this often (probability 2**-3200) is broken.
_KEY_DRAWS = 100

#: An affine point of the curve, (x, y).
CurvePoint = Tuple[int, int]
#: (X, Y, Z) stands for (X/Z^2, Y/Z^3); Z is 0 for the point at infinity.
JacobianPoint = Tuple[int, int, int]

_POINT_AT_INFINITY: JacobianPoint = (1, 1, 0)


@dataclass(frozen=True)
class PrivateKey:
    """Hold a P-256 key pair; the secret number stays out of its repr, so that no log shows it."""

    #: Between 1 and the order of the group, exclusive.
    scalar: int = field(repr=False)
    #: scalar times the generator.
    public: CurvePoint


def generate_key(random_bytes: Callable[[int], bytes]) -> PrivateKey:
    """Make a key from `random_bytes(count)`, which must be fit for secrets (`os.urandom`).

    Numbers outside the group are drawn again, so that every key is equally likely. Raises StateError
    when the source gives no usable number.
    """
    for _ in range(_KEY_DRAWS):
        drawn = random_bytes(32)
        scalar = int.from_bytes(drawn, "big")
        if len(drawn) == 32 and 0 < scalar < P256_N:
            return private_key(scalar)
    raise StateError("the system's source of random numbers is broken, so no key was made", "restart the device")


def private_key(scalar: int) -> PrivateKey:
    """Return the key pair of a secret number; raise ValueError when it is outside the group."""
    if not 0 < scalar < P256_N:
        raise ValueError("the scalar of a P-256 key is outside the group")
    public = point_multiply(scalar, (P256_X, P256_Y))
    assert public is not None, "only multiples of the group's order reach infinity"
    return PrivateKey(scalar, public)


# ---- points -----------------------------------------------------------------------------------------


def is_on_curve(point: CurvePoint) -> bool:
    """Whether both coordinates are reduced and satisfy the curve's equation."""
    x, y = point
    return 0 <= x < P256_P and 0 <= y < P256_P and (y * y - (x * x - 3) * x - P256_B) % P256_P == 0


def point_add(left: Optional[CurvePoint], right: Optional[CurvePoint]) -> Optional[CurvePoint]:
    """Add two points; None is the point at infinity."""
    return _affine(_jacobian_add(_jacobian(left), _jacobian(right)))


def point_multiply(scalar: int, point: Optional[CurvePoint]) -> Optional[CurvePoint]:
    """Return scalar times point; None is the point at infinity."""
    return point_combine((scalar, point))


def point_combine(*terms: Tuple[int, Optional[CurvePoint]]) -> Optional[CurvePoint]:
    """Return the sum of scalar times point by windows of four bits, whose doublings all terms share."""
    scalars = [scalar % P256_N for scalar, _ in terms]
    tables = []
    for _, point in terms:
        multiples = [_POINT_AT_INFINITY, _jacobian(point)]
        for _ in range(14):
            multiples.append(_jacobian_add(multiples[-1], multiples[1]))
        tables.append(multiples)
    total = _POINT_AT_INFINITY
    for shift in range(252, -4, -4):
        if total[2]:
            total = _jacobian_double(_jacobian_double(_jacobian_double(_jacobian_double(total))))
        for scalar, multiples in zip(scalars, tables):
            window = scalar >> shift & 15
            if window:
                total = _jacobian_add(total, multiples[window])
    return _affine(total)


def encode_point(point: CurvePoint) -> bytes:
    """Return the 65 bytes of the uncompressed form: 04, x, y (SEC 1, section 2.3.3)."""
    return b"\x04" + point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")


def decode_point(data: bytes) -> CurvePoint:
    """Read the uncompressed form; raise ValueError for any other form and for points off the curve."""
    point = int.from_bytes(data[1:33], "big"), int.from_bytes(data[33:], "big")
    if len(data) != 65 or data[0] != 4 or not is_on_curve(point):
        raise ValueError("these bytes are not a point of P-256 in uncompressed form")
    return point


def _jacobian(point: Optional[CurvePoint]) -> JacobianPoint:
    return _POINT_AT_INFINITY if point is None else (point[0], point[1], 1)


def _affine(point: JacobianPoint) -> Optional[CurvePoint]:
    x, y, z = point
    if not z:
        return None
    inverse = pow(z, -1, P256_P)
    square = inverse * inverse % P256_P
    return x * square % P256_P, y * square * inverse % P256_P


def _jacobian_double(point: JacobianPoint) -> JacobianPoint:
    """Double by the formulas "dbl-2001-b" of the Explicit-Formulas Database, which use a = -3."""
    x, y, z = point
    delta = z * z % P256_P
    gamma = y * y % P256_P
    beta = x * gamma % P256_P
    alpha = 3 * (x - delta) * (x + delta) % P256_P
    new_x = (alpha * alpha - 8 * beta) % P256_P
    return new_x, (alpha * (4 * beta - new_x) - 8 * gamma * gamma) % P256_P, 2 * y * z % P256_P


def _jacobian_add(left: JacobianPoint, right: JacobianPoint) -> JacobianPoint:
    """Add by the formulas "add-1998-cmo-2", with the cases that they leave out: infinity, equal, opposite."""
    if not left[2]:
        return right
    if not right[2]:
        return left
    z1_square, z2_square = left[2] * left[2] % P256_P, right[2] * right[2] % P256_P
    u1, u2 = left[0] * z2_square % P256_P, right[0] * z1_square % P256_P
    s1, s2 = left[1] * z2_square * right[2] % P256_P, right[1] * z1_square * left[2] % P256_P
    if u1 == u2:
        return _jacobian_double(left) if s1 == s2 else _POINT_AT_INFINITY
    h, r = u2 - u1, s2 - s1
    h_square = h * h % P256_P
    h_cube, v = h * h_square % P256_P, u1 * h_square % P256_P
    x = (r * r - h_cube - 2 * v) % P256_P
    return x, (r * (v - x) - s1 * h_cube) % P256_P, left[2] * right[2] * h % P256_P


# ---- forms ------------------------------------------------------------------------------------------


def spki_der(public: CurvePoint) -> bytes:
    """Return the SubjectPublicKeyInfo of a public key: what certificates hold and device ids are hashes of."""
    return _SPKI_START + encode_point(public)


def pkcs8_der(private: PrivateKey) -> bytes:
    """Return the PKCS #8 form of a key pair, public key included."""
    return _PKCS8_START + private.scalar.to_bytes(32, "big") + _PKCS8_MIDDLE + encode_point(private.public)


def pem(label: str, der: bytes) -> str:
    """Return `der` as the text that OpenSSL and `ssl` read: lines of 64 characters (RFC 7468)."""
    body = base64.b64encode(der).decode("ascii")
    lines = [body[start:start + 64] for start in range(0, len(body), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


def read_pem(label: str, text: str) -> bytes:
    """Return the DER in what `pem(label, der)` wrote and nothing else; raise ValueError."""
    der = base64.b64decode("".join(text.split("\n")[1:-2]).encode("ascii"), validate=True)
    if pem(label, der) != text:
        raise ValueError("this text is not what was written")
    return der


def load_pkcs8_pem(text: str) -> PrivateKey:
    """Read what `pem("PRIVATE KEY", pkcs8_der(key))` wrote and nothing else; raise StateError.

    Everything is compared with what we would write: another curve, a public half that does not belong
    to the secret one, a cut file and a flipped bit are all refused.
    """
    try:
        der = read_pem("PRIVATE KEY", text)
        key = private_key(int.from_bytes(der[len(_PKCS8_START):len(_PKCS8_START) + 32], "big"))
    except ValueError:
        raise StateError("the key file is damaged", "restore it from a copy") from None
    if pkcs8_der(key) != der:
        raise StateError("the key file is damaged or was made by another program", "restore it from a copy")
    return key


def device_id(key: Union[PrivateKey, CurvePoint]) -> str:
    """Return the 52 characters that name a device: base32 of SHA-256 of its SubjectPublicKeyInfo, lower case."""
    return key_name(spki_der(key.public if isinstance(key, PrivateKey) else key))


def key_name(spki: bytes) -> str:
    """Return the 52 characters that name the owner of a SubjectPublicKeyInfo."""
    return base64.b32encode(hashlib.sha256(spki).digest()).decode("ascii").rstrip("=").lower()
