"""The first bytes of a connection tell what it speaks, however few come at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.wire.sniff import sniff


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (b"\x16\x03\x01\x02\x00", "tls"),
        (b"\x16", "tls"),
        (b'{"jsonrpc":"2.0"', "rpc"),
        (b"[", "rpc"),
        (b"GET / HTTP/1.1\r\n", "http"),
        (b"g", "http"),
        (b"POST /rpc", "http"),
        (b"PO", "http"),
        (b"PUT /x", "http"),
        (b"PRIVATE /", "http"),
        (b"PRI * HTTP/1.1\r\n", "http"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2"),
        (b"PRI * HTTP/2.0", "http2"),
        (b" {", "unknown"),
        (b"\r\n", "unknown"),
        (b"\x00\x00\x00\x10", "unknown"),
        (b"7", "unknown"),
        (b"\xc3\xa9", "unknown"),
    ],
)
def test_first_bytes_tell_the_protocol(first, kind):
    assert sniff(first) == kind


@pytest.mark.parametrize("length", range(14))
def test_a_preface_is_undecided_until_it_differs_from_a_request(length):
    assert sniff(b"PRI * HTTP/2.0"[:length]) is None


@given(st.binary(min_size=1, max_size=40))
def test_a_decision_stands_whatever_follows(data):
    decided = [kind for kind in (sniff(data[:end]) for end in range(1, len(data) + 1)) if kind is not None]
    assert len(set(decided)) <= 1
    assert decided or len(data) < 14
