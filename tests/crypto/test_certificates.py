"""Certificates have the one form that every TLS library in reach accepts, and only that form is read."""

from __future__ import annotations

import doctest
import hashlib
import importlib
import random
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discompute_lite.crypto.certificates import (
    ca_certificate,
    cluster_id,
    device_certificate,
    pairing_certificate,
    read_ca_certificate,
    read_device_certificate,
    server_name,
)
from discompute_lite.crypto.p256 import device_id, encode_point, pem, private_key

CA, OTHER_CA, DEVICE = private_key(101), private_key(102), private_key(103)
SERIAL = random.Random(4).randbytes(15)
CA_DER = ca_certificate(CA, serial=SERIAL)
DEVICE_DER = device_certificate(CA, DEVICE.public, serial=SERIAL)


def test_the_example_in_the_docstring_holds():
    results = doctest.testmod(importlib.import_module("discompute_lite.crypto.certificates"))
    assert results.attempted and not results.failed


def test_certificates_say_whose_key_they_hold():
    assert read_ca_certificate(CA_DER) == CA.public
    assert read_device_certificate(DEVICE_DER, CA.public) == DEVICE.public


def test_the_same_key_and_serial_give_the_same_bytes():
    """A backup of the key is a backup of the certificate, but for its serial number."""
    assert hashlib.sha256(CA_DER).hexdigest() == hashlib.sha256(ca_certificate(CA, serial=SERIAL)).hexdigest()
    assert ca_certificate(CA, serial=b"\x01" * 15) != CA_DER


@pytest.mark.parametrize(("der", "reader"), [
    (device_certificate(OTHER_CA, DEVICE.public, serial=SERIAL), lambda der: read_device_certificate(der, CA.public)),
    (CA_DER, lambda der: read_device_certificate(der, CA.public)),
    (DEVICE_DER, read_ca_certificate),
    (pairing_certificate(DEVICE, serial=SERIAL), read_ca_certificate),
    # A member cannot make members: signed by a device, for another device.
    (device_certificate(DEVICE, OTHER_CA.public, serial=SERIAL), lambda der: read_device_certificate(der, CA.public)),
    (DEVICE_DER + b"\x00", lambda der: read_device_certificate(der, CA.public)),
    (DEVICE_DER[:-1], lambda der: read_device_certificate(der, CA.public)),
    (b"", read_ca_certificate),
])
def test_another_kind_or_anothers_certificate_is_refused(der, reader):
    with pytest.raises(ValueError, match="certificate"):
        reader(der)


@settings(max_examples=2 * settings.default.max_examples)
@given(st.integers(0, 8 * len(DEVICE_DER) - 1))
def test_every_flipped_bit_is_noticed(bit):
    der = bytearray(DEVICE_DER)
    der[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ValueError, match="certificate"):
        read_device_certificate(bytes(der), CA.public)


@given(st.binary(max_size=600))
def test_any_bytes_are_a_certificate_or_a_value_error(data):
    with pytest.raises(ValueError, match="certificate"):
        read_ca_certificate(data)


@pytest.mark.parametrize("serial", [b"", bytes(15), b"\x01" * 14, b"\x01" * 16])
def test_a_serial_number_without_chance_is_refused(serial):
    with pytest.raises(ValueError, match="serial"):
        ca_certificate(CA, serial=serial)


def test_the_form_is_the_one_measured_with_libressl():
    """LibreSSL 2.8.3 took certificates of these sizes, to the byte; signatures vary by two bytes each."""
    sizes = [
        (len(ca_certificate(CA, serial=serial)), len(device_certificate(CA, DEVICE.public, serial=serial)))
        for serial in (bytes((number,)) * 15 for number in range(1, 13))
    ]
    assert {436} <= {ca for ca, _ in sizes} <= set(range(432, 439))
    assert {563} <= {device for _, device in sizes} <= set(range(559, 566))


# ---- against the real thing -------------------------------------------------------------------------


@pytest.mark.against
def test_cryptography_reads_what_was_meant():
    x509 = pytest.importorskip("cryptography.x509")
    ca, device = x509.load_der_x509_certificate(CA_DER), x509.load_der_x509_certificate(DEVICE_DER)
    device.verify_directly_issued_by(ca)
    ca.verify_directly_issued_by(ca)
    assert ca.subject.rfc4514_string() == f"CN=discompute cluster {cluster_id(CA.public)[:8]}"
    assert device.subject.rfc4514_string() == f"CN={device_id(DEVICE)}"
    assert ca.serial_number == device.serial_number == int.from_bytes(SERIAL, "big")
    assert (device.not_valid_before_utc.year, device.not_valid_after_utc.year) == (2000, 2049)
    assert _extensions(ca) == {
        "basicConstraints": (True, (True, 0)), "keyUsage": (True, {"key_cert_sign", "crl_sign"}),
        "subjectKeyIdentifier": (False, hashlib.sha1(encode_point(CA.public)).digest()),
        "authorityKeyIdentifier": (False, hashlib.sha1(encode_point(CA.public)).digest()),
    }
    assert _extensions(device) == {
        "basicConstraints": (True, (False, None)), "keyUsage": (True, {"digital_signature"}),
        "extendedKeyUsage": (False, ["serverAuth", "clientAuth"]),
        "subjectAltName": (False, [server_name(device_id(DEVICE))]),
        "subjectKeyIdentifier": (False, hashlib.sha1(encode_point(DEVICE.public)).digest()),
        "authorityKeyIdentifier": (False, hashlib.sha1(encode_point(CA.public)).digest()),
    }


USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign",
)


def _extensions(certificate):
    """Return {name: (is critical, what it says)}."""
    says = {
        "basicConstraints": lambda value: (value.ca, value.path_length),
        "keyUsage": lambda value: {usage for usage in USAGES if getattr(value, usage)},
        "extendedKeyUsage": lambda value: [usage._name for usage in value],
        "subjectAltName": lambda value: [name.value for name in value],
        "subjectKeyIdentifier": lambda value: value.digest,
        "authorityKeyIdentifier": lambda value: value.key_identifier,
    }
    return {each.oid._name: (each.critical, says[each.oid._name](each.value)) for each in certificate.extensions}


@pytest.mark.against
@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
def test_the_openssl_command_verifies_the_chain(tmp_path, purpose):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command is not installed")
    root, leaf, stranger = (tmp_path / name for name in ("root.pem", "leaf.pem", "stranger.pem"))
    root.write_text(pem("CERTIFICATE", CA_DER))
    leaf.write_text(pem("CERTIFICATE", DEVICE_DER))
    stranger.write_text(pem("CERTIFICATE", device_certificate(OTHER_CA, DEVICE.public, serial=SERIAL)))
    for path, is_believed in ((leaf, True), (stranger, False)):
        asked = subprocess.run(
            [openssl, "verify", "-x509_strict", "-purpose", purpose, "-verify_hostname",
             server_name(device_id(DEVICE)), "-CAfile", str(root), str(path)], capture_output=True, timeout=20,
        )
        assert (asked.returncode == 0) == is_believed, asked.stdout + asked.stderr
