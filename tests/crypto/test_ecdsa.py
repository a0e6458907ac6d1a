"""Signatures are RFC 6979's, and OpenSSL and ours believe each other's."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discompute_lite.crypto.ecdsa import ecdsa_sign, ecdsa_verify, signature_der
from discompute_lite.crypto.p256 import (
    P256_N, P256_P, P256_X, P256_Y, pem, pkcs8_der, private_key, spki_der,
)

#: RFC 6979, appendix A.2.5: the key, and for SHA-256 (message, r, s).
RFC_KEY = private_key(0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721)
RFC_PUBLIC = (0x60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6,
              0x7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299)
RFC_SIGNATURES = [
    (b"sample", "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
     "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"),
    (b"test", "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367",
     "019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083"),
]


def numbers(signature: bytes):
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")


def made_of(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@pytest.mark.parametrize(("message", "r", "s"), RFC_SIGNATURES)
def test_signatures_are_those_of_rfc_6979(message, r, s):
    assert RFC_KEY.public == RFC_PUBLIC
    assert ecdsa_sign(RFC_KEY, message).hex() == (r + s).lower()
    assert ecdsa_verify(RFC_PUBLIC, message, bytes.fromhex(r + s))


@settings(max_examples=max(1, settings.default.max_examples // 10))
@given(st.integers(1, P256_N - 1), st.binary(max_size=200), st.integers(0, 511))
def test_a_signature_holds_until_one_bit_is_different(scalar, message, bit):
    key = private_key(scalar)
    signature = ecdsa_sign(key, message)
    assert ecdsa_verify(key.public, message, signature)
    spoilt = bytearray(signature)
    spoilt[bit // 8] ^= 1 << bit % 8
    assert not ecdsa_verify(key.public, message, bytes(spoilt))
    assert not ecdsa_verify(key.public, message + b"\x00", signature)
    assert not ecdsa_verify(private_key(scalar % (P256_N - 1) + 1).public, message, signature)


@pytest.mark.parametrize("signature", [
    b"", b"\x00" * 64, b"\xff" * 64, b"\x01" * 63, b"\x01" * 65,
    made_of(0, 1), made_of(1, 0), made_of(P256_N, 1), made_of(1, P256_N), made_of(P256_X % P256_N, P256_N),
])
def test_numbers_outside_the_group_sign_nothing(signature):
    assert not ecdsa_verify(RFC_PUBLIC, b"sample", signature)


def test_r_is_not_taken_modulo_the_order():
    r, s = numbers(ecdsa_sign(RFC_KEY, b"sample"))
    assert r + P256_N >= 2 ** 256 or not ecdsa_verify(RFC_PUBLIC, b"sample", made_of(r + P256_N, s))


@pytest.mark.parametrize("public", [(0, 0), (P256_X, P256_Y + 1), (P256_X + P256_P, P256_Y)])
def test_a_point_off_the_curve_signs_nothing(public):
    """The last is the generator, written in another way: one key must not have two forms."""
    signature = ecdsa_sign(private_key(1), b"sample")
    assert ecdsa_verify((P256_X, P256_Y), b"sample", signature)
    assert not ecdsa_verify(public, b"sample", signature)


def test_both_forms_of_a_signature_hold_so_it_is_no_identity():
    r, s = numbers(ecdsa_sign(RFC_KEY, b"sample"))
    assert ecdsa_verify(RFC_PUBLIC, b"sample", made_of(r, P256_N - s))


def test_different_messages_have_different_nonces():
    seen = {ecdsa_sign(RFC_KEY, bytes((number,)))[:32] for number in range(20)}
    assert len(seen) == 20


# ---- against the real thing -------------------------------------------------------------------------


@pytest.mark.against
def test_cryptography_believes_ours_and_we_theirs():
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    asymmetric = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.utils")
    hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes")
    draws = random.Random(6)
    for number in range(20):
        key = private_key(draws.randrange(1, P256_N))
        theirs = serialization.load_pem_private_key(pem("PRIVATE KEY", pkcs8_der(key)).encode(), None)
        message = hashlib.sha256(bytes((number,))).digest() * number
        signature = ecdsa_sign(key, message)
        # Raises InvalidSignature where they do not agree.
        theirs.public_key().verify(signature_der(signature), message, ec.ECDSA(hashes.SHA256()))
        r, s = asymmetric.decode_dss_signature(theirs.sign(message, ec.ECDSA(hashes.SHA256())))
        assert ecdsa_verify(key.public, message, made_of(r, s))


@pytest.mark.against
def test_the_openssl_command_believes_ours(tmp_path):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command is not installed")
    public, signature = tmp_path / "public.pem", tmp_path / "signature"
    public.write_text(pem("PUBLIC KEY", spki_der(RFC_PUBLIC)))
    signature.write_bytes(signature_der(ecdsa_sign(RFC_KEY, b"from us")))
    for message, answer in ((b"from us", 0), (b"from others", 1)):
        asked = subprocess.run(
            [openssl, "dgst", "-sha256", "-verify", str(public), "-signature", str(signature)],
            input=message, capture_output=True, timeout=20,
        )
        assert asked.returncode == answer, asked.stdout + asked.stderr
