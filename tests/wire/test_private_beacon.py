"""Private beacons: members read them, nobody else does, and no byte of one can be changed."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.limits import Limits
from discompute_lite.wire.beacon import decode_beacon
from discompute_lite.wire.private_beacon import (
    PrivateBeacon, beacon_pseudonym, decode_private_beacon, encode_private_beacon,
)

KEY, ID = bytes(range(32)), "k3fq9zt2" * 6 + "k3fq"
BEACON = PrivateBeacon(8080, "00000000000000ff", 7)
DATA = encode_private_beacon(BEACON, ID, KEY)


def test_it_is_the_48_bytes_of_the_page():
    start = bytes.fromhex("44434231" "01" "00" "1f90" "00000000000000ff" "0000000000000007")
    start += hmac.new(KEY, b"id" + ID.encode(), hashlib.sha256).digest()[:8]
    assert start + hmac.new(KEY, start, hashlib.sha256).digest()[:16] == DATA and len(DATA) == 48


@given(st.integers(1, 65535), st.integers(0, 2 ** 64 - 1), st.integers(0, 2 ** 64 - 1), st.booleans())
def test_a_member_reads_what_was_written(port, boot, seq, is_goodbye):
    beacon = PrivateBeacon(port, f"{boot:016x}", seq, is_goodbye)
    read = decode_private_beacon(encode_private_beacon(beacon, ID, KEY), KEY)
    assert read == PrivateBeacon(port, beacon.boot, seq, is_goodbye, beacon_pseudonym(ID, KEY))


def test_who_has_another_key_or_none_reads_nothing():
    assert decode_private_beacon(DATA, bytes(32)) is None and decode_private_beacon(DATA, b"") is None
    assert decode_beacon(DATA, Limits()) is None


@given(st.integers(0, 47), st.integers(1, 255))
def test_no_byte_can_be_changed(place, change):
    changed = DATA[:place] + bytes((DATA[place] ^ change,)) + DATA[place + 1:]
    assert decode_private_beacon(changed, KEY) is None


@given(st.binary(max_size=100))
def test_any_bytes_are_nobodys(data):
    assert decode_private_beacon(data, KEY) is None and decode_private_beacon(b"DCB1" + data, KEY) is None


@pytest.mark.parametrize("size", [0, 1, 4, 47, 49, 1200])
def test_only_the_length_of_the_page_is_read(size):
    assert decode_private_beacon((DATA * 26)[:size], KEY) is None


def test_a_sealed_beacon_of_another_version_or_without_a_port_is_left_alone():
    for place, value in ((4, b"\2"), (0, b"DCB2")):
        start = DATA[:place] + value + DATA[place + len(value):32]
        assert decode_private_beacon(start + hmac.new(KEY, start, hashlib.sha256).digest()[:16], KEY) is None
    assert decode_private_beacon(encode_private_beacon(PrivateBeacon(0, BEACON.boot, 1), ID, KEY), KEY) is None


@pytest.mark.parametrize("boot", ["", "ff", "x" * 16, "0" * 17])
def test_a_boot_is_eight_bytes(boot):
    with pytest.raises(ValueError):
        encode_private_beacon(PrivateBeacon(1, boot, 1), ID, KEY)


def test_a_device_has_another_name_under_another_key():
    assert beacon_pseudonym(ID, KEY) != beacon_pseudonym(ID, bytes(32))
