"""Sign what a cluster's admins say about its devices, and check such signatures.

Knows:   the bytes that are signed: a prefix that no other signature of ours begins with, then canonical JSON.
Refuses: what a statement means (core/membership.py), and lines of text (wire/statements.py).
Read next: wire/statements.py.

    discompute-statement-v1 <zero byte> {"at":1756800000,"by":"…","cluster":"…","id":"…","seq":1, …}

Canonical is: keys sorted, no spaces, ASCII with escapes. So the signature survives every JSON library on its way.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Mapping

from .ecdsa import ecdsa_sign, ecdsa_verify
from .p256 import CurvePoint, PrivateKey

_STATEMENT_PREFIX = b"discompute-statement-v1\x00"


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """Return the one way in which `value` is signed; raise ValueError or TypeError for what JSON cannot say."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def sign_statement(ca: PrivateKey, said: Mapping[str, Any]) -> bytes:
    """Return the 64 bytes of the cluster's signature."""
    return ecdsa_sign(ca, _STATEMENT_PREFIX + canonical_json(said))


def is_signed_statement(ca_public: CurvePoint, said: Mapping[str, Any], signature: bytes) -> bool:
    """Whether the holder of the cluster's key said this; costs about 5 ms, so callers remember what was checked."""
    return ecdsa_verify(ca_public, _STATEMENT_PREFIX + canonical_json(said), signature)


def statement_digest(said: Mapping[str, Any]) -> str:
    """Return what identifies a statement: the SHA-256 of what was said, never of its signature, which has two forms."""
    return hashlib.sha256(_STATEMENT_PREFIX + canonical_json(said)).hexdigest()
