"""DER is written as X.690 says, and only DER is taken apart."""

from __future__ import annotations

import doctest
import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.crypto.der import der_bits, der_integer, der_oid, der_sequence, der_split, der_value


def test_the_example_in_the_docstring_holds():
    results = doctest.testmod(importlib.import_module("discompute_lite.crypto.der"))
    assert results.attempted and not results.failed


@pytest.mark.parametrize(("number", "written"), [
    (0, "020100"), (127, "02017f"), (128, "02020080"), (255, "020200ff"), (256, "02020100"),
    (2 ** 31, "02050080000000"),
])
def test_numbers_have_no_sign_and_no_byte_too_many(number, written):
    assert der_integer(number).hex() == written


@pytest.mark.parametrize(("dotted", "written"), [
    ("2.5.4.3", "0603550403"), ("1.2.840.10045.4.3.2", "06082a8648ce3d040302"),
    ("1.3.6.1.5.5.7.3.1", "06082b06010505070301"),
    ("1.2.128", "06032a8100"),
])
def test_object_identifiers_are_the_published_ones(dotted, written):
    assert der_oid(dotted).hex() == written


@pytest.mark.parametrize(("size", "start"), [
    (0, "0400"), (127, "047f"), (128, "048180"), (256, "04820100"), (65536, "0483010000"),
])
def test_lengths_are_as_short_as_can_be(size, start):
    written = der_value(4, bytes(size))
    assert written.hex().startswith(start) and len(written) == len(start) // 2 + size


@given(st.lists(st.tuples(st.integers(1, 30), st.binary(max_size=300)), max_size=5))
def test_what_was_written_comes_apart_again(values):
    written = [der_value(tag, content) for tag, content in values]
    assert der_split(b"".join(written)) == [(tag, content, whole) for (tag, content), whole in zip(values, written)]


@pytest.mark.parametrize("data", [
    "30", "3001", "300500", "30 80 00 00", "30 81 01 00", "30 82 00 01 00", "30 89 010000000000000000",
    "30 84 ffffffff 00", "ff",
])
def test_other_bytes_are_refused(data):
    with pytest.raises(ValueError, match="not DER"):
        der_split(bytes.fromhex(data))


@given(st.binary(max_size=400))
def test_any_bytes_come_apart_exactly_or_are_refused(data):
    try:
        values = der_split(data)
    except ValueError:
        return
    assert b"".join(whole for _, _, whole in values) == data


def test_structures_nest():
    inner = der_sequence(der_integer(5), der_bits(b"\xa0"))
    assert inner.hex() == "3007020105030200a0"
    assert [tag for tag, _, _ in der_split(der_split(inner)[0][1])] == [2, 3]
