"""Make and read the pieces of pairing messages: bytes in base64, points, errors, and the names that go into the key.

Knows:   derivations and forms that both sides and the grant share.
Refuses: order, time and belief.
Read next: wire/pairing.py.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any, Dict, Mapping

from ..crypto.p256 import CurvePoint, decode_point
from ..crypto.spake2 import Spake2, Spake2Keys, password_scalar
from ..model.errors import DiscomputeError, ParseError, ProtocolError, error_from_wire

_PAIRING_INFO = b"discompute-pair-v1 w"
#: Characters of the other side's error that are worth showing.
_PAIRING_ERROR_CHARS = 512


def pairing_password(code: str, sid: bytes) -> int:
    """Return w for a code of digits or a token, both ASCII."""
    return password_scalar(code.encode("ascii"), salt=sid, info=_PAIRING_INFO)


def joiner_identity(point: bytes) -> bytes:
    """Return idA: whose certificate this will be."""
    return b"joiner" + hashlib.sha256(point).digest()


def host_identity(certificate: bytes) -> bytes:
    """Return idB: which TLS this goes through."""
    return b"host" + hashlib.sha256(certificate).digest()


def exchange_finished(exchange: Spake2, their_share: bytes) -> Spake2Keys:
    """Return the keys; raise `ProtocolError` for shares that are no points."""
    try:
        return exchange.finish(their_share)
    except ValueError:
        raise ProtocolError("a share of the pairing exchange is not a point of P-256") from None


def point_in(message: Mapping[str, Any], name: str) -> CurvePoint:
    """Return the point that a message holds in uncompressed form."""
    try:
        return decode_point(base64_in(message, name))
    except ValueError:
        raise ParseError(f"{name} is not a point of P-256") from None


def base64_in(message: Mapping[str, Any], name: str) -> bytes:
    """Return the bytes that a message holds; raise `ParseError` that names the field."""
    text = message.get(name)
    try:
        if isinstance(text, str):
            return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise ParseError(f"{name} is bytes in base64")


def base64_text(data: bytes) -> str:
    """Return bytes as a message holds them."""
    return base64.b64encode(data).decode("ascii")


def error_message(error: DiscomputeError) -> Dict[str, Any]:
    """Return the message that tells the other side why it is over."""
    return {"error": {"code": error.code, "message": error.message}}


def told_error(told: Any) -> DiscomputeError:
    """Return the error that the other side told, whatever it sent as one."""
    code, message = (told.get("code"), told.get("message")) if isinstance(told, dict) else (None, None)
    if type(code) is not int or not isinstance(message, str):
        return ProtocolError("The other device gave up without a reason. Try again.")
    return error_from_wire(code, message[:_PAIRING_ERROR_CHARS])
