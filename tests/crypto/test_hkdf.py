"""HKDF is RFC 5869's."""

from __future__ import annotations

import pytest

from discompute_lite.crypto.hkdf import hkdf

#: RFC 5869, appendix A.1 to A.3: (secret, salt, info, what is made).
VECTORS = [
    (b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)),
     "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"),
    (bytes(range(0x50)), bytes(range(0x60, 0xB0)), bytes(range(0xB0, 0x100)),
     "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b83677"
     "93a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"),
    (b"\x0b" * 22, b"", b"", "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"),
]


@pytest.mark.parametrize(("secret", "salt", "info", "made"), VECTORS)
def test_keys_are_those_of_rfc_5869(secret, salt, info, made):
    assert hkdf(secret, salt=salt, info=info, size=len(made) // 2).hex() == made


@pytest.mark.parametrize("size", [0, -1, 255 * 32 + 1])
def test_what_cannot_be_made_is_refused(size):
    with pytest.raises(ValueError, match="8160"):
        hkdf(b"secret", salt=b"", info=b"", size=size)


@pytest.mark.against
@pytest.mark.parametrize("size", [1, 31, 32, 33, 48, 8160])
def test_cryptography_makes_the_same(size):
    theirs = pytest.importorskip("cryptography.hazmat.primitives.kdf.hkdf")
    hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes")
    expected = theirs.HKDF(hashes.SHA256(), length=size, salt=b"salt", info=b"info").derive(b"12345678")
    assert hkdf(b"12345678", salt=b"salt", info=b"info", size=size) == expected
