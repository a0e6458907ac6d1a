"""Make keys out of a secret: HKDF with SHA-256 (RFC 5869).

Knows:   extract and expand, as one function.
Refuses: weak secrets it cannot tell from strong ones: eight digits go through SPAKE2 before anybody can guess at them.
Read next: crypto/spake2.py (who uses it).
"""

from __future__ import annotations

import hashlib
import hmac


def hkdf(secret: bytes, *, salt: bytes, info: bytes, size: int) -> bytes:
    """Return `size` bytes, at most 255 times 32; an empty `salt` counts as 32 zero bytes."""
    if not 0 < size <= 255 * 32:
        raise ValueError("HKDF with SHA-256 gives 1 to 8160 bytes")
    extracted = hmac.new(salt or bytes(32), secret, hashlib.sha256).digest()
    block, made = b"", b""
    while len(made) < size:
        block = hmac.new(extracted, block + info + bytes((len(made) // 32 + 1,)), hashlib.sha256).digest()
        made += block
    return made[:size]
