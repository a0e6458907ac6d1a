"""Statements survive their line; what their cluster did not sign, or no reader could agree on, is refused."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discompute_lite.crypto.certificates import cluster_id
from discompute_lite.crypto.p256 import private_key
from discompute_lite.crypto.statements import sign_statement
from discompute_lite.model.errors import LocalProtocolError, ParseError, ProtocolError
from discompute_lite.model.limits import Limits
from discompute_lite.model.statement import STATEMENT_SEQ_MAX, Statement
from discompute_lite.wire.statements import read_statement_line, sign_as_line

LIMITS = Limits()
CA, OTHER_CA = private_key(301), private_key(302)
CLUSTER = cluster_id(CA.public)
STATEMENT = Statement(CLUSTER, 7, "add", "d" * 52, "worker", "a" * 52, 1756800000, "Ann's iPhone", "iphone")
SIGNED = sign_as_line(CA, STATEMENT, LIMITS)


def line_saying(**changes) -> bytes:
    """Return a line with other words, properly signed; None takes a field out."""
    said = json.loads(SIGNED.line)["s"]
    said.update(changes)
    said = {name: value for name, value in said.items() if value is not None}
    signature = base64.b64encode(sign_statement(CA, said)).decode()
    return json.dumps({"s": said, "sig": signature}).encode()


def read(line: bytes) -> Statement:
    return read_statement_line(line, CA.public, LIMITS)


def test_a_statement_survives_its_line():
    assert read(SIGNED.line) == SIGNED and read(SIGNED.line).line == SIGNED.line
    assert len(SIGNED.line) <= LIMITS.statement_bytes and b"\n" not in SIGNED.line
    assert replace(SIGNED, digest="") == STATEMENT


def test_spaces_and_the_order_of_members_change_nothing():
    document = json.loads(SIGNED.line)
    shuffled = {"sig": document["sig"], "s": dict(reversed(list(document["s"].items())))}
    assert read(json.dumps(shuffled, indent=1).encode()).line == SIGNED.line


def test_row_47_unknown_fields_are_signed_kept_and_ignored():
    statement = read(line_saying(colour="green"))
    assert json.loads(statement.line)["s"]["colour"] == "green"
    assert statement.digest != SIGNED.digest and replace(statement, digest=SIGNED.digest) == SIGNED
    with pytest.raises(ProtocolError, match="not signed"):
        read(statement.line.replace(b"green", b"brown"))


@pytest.mark.parametrize("changes", [
    {"v": 2}, {"v": None}, {"v": True}, {"v": 1.0},
    {"seq": -1}, {"seq": "7"}, {"seq": STATEMENT_SEQ_MAX + 1}, {"seq": None}, {"seq": True},
    {"at": 1.5}, {"at": None}, {"id": "short"}, {"id": None}, {"id": "D" * 52}, {"id": "d" * 53}, {"by": ""},
    {"cluster": 5},
    {"what": None}, {"what": 1}, {"role": None}, {"role": ["admin"]}, {"name": 5}, {"name": "x" * 257}, {"kind": {}},
])
def test_words_that_do_not_fit_are_refused_although_they_are_signed(changes):
    with pytest.raises(ParseError, match="statement"):
        read(line_saying(**changes))


@pytest.mark.parametrize("line", [
    b"", b"{}", b"[]", b"null", b"7", b'{"s":{}}', b'{"s":[],"sig":""}', b"\xff", SIGNED.line[:-1], SIGNED.line + b"x",
    SIGNED.line.replace(b'"sig":"', b'"sig":"!'), b" " * 1025,
    SIGNED.line.replace(b'"v":1', b'"v":1,"v":1'),
])
def test_other_lines_are_refused(line):
    with pytest.raises(ProtocolError):
        read(line)


def test_another_clusters_statement_is_refused():
    others = sign_as_line(OTHER_CA, replace(STATEMENT, cluster=cluster_id(OTHER_CA.public)), LIMITS)
    with pytest.raises(ProtocolError, match="not signed by this cluster"):
        read(others.line)
    # Signed with this cluster's key, but about another.
    with pytest.raises(ProtocolError, match="not signed by this cluster"):
        read(line_saying(cluster=cluster_id(OTHER_CA.public)))
    # Signed with another key, but naming this cluster.
    said = json.loads(SIGNED.line)["s"]
    forged = {"s": said, "sig": base64.b64encode(sign_statement(OTHER_CA, said)).decode()}
    with pytest.raises(ProtocolError, match="not signed by this cluster"):
        read(json.dumps(forged).encode())


def test_a_long_statement_is_refused_although_it_is_signed():
    with pytest.raises(ParseError, match="longer than"):
        read(line_saying(filler="x" * 800))


@pytest.mark.parametrize("name", ["x" * 2000, "é" * 2000, "😀" * 400, "\n" * 300])
def test_names_are_cut_to_fit(name):
    signed = sign_as_line(CA, replace(STATEMENT, name=name[:256]), LIMITS)
    assert len(signed.line) <= LIMITS.statement_bytes
    assert signed.name and name.startswith(signed.name) and read(signed.line) == signed


def test_only_its_own_cluster_can_sign_and_only_what_fits():
    with pytest.raises(LocalProtocolError, match="whose key signs"):
        sign_as_line(OTHER_CA, STATEMENT, LIMITS)
    with pytest.raises(LocalProtocolError, match="does not fit"):
        sign_as_line(CA, replace(STATEMENT, kind="x" * 2000), LIMITS)


def test_a_permission_of_a_newer_version_is_read_as_nothing():
    assert read(line_saying(sends="weekdays")).sends == "nobody"
    assert read(line_saying(sends=None)).sends == "any"


@settings(max_examples=3 * settings.default.max_examples // 5)
@given(st.integers(0, 8 * len(SIGNED.line) - 1))
def test_any_flipped_bit_is_refused(bit):
    spoilt = bytearray(SIGNED.line)
    spoilt[bit // 8] ^= 1 << bit % 8
    try:
        statement = read(bytes(spoilt))
    except ProtocolError:
        return
    # Base64's last character has bits that mean nothing.
    assert statement.digest == SIGNED.digest


@given(st.binary(max_size=1100))
def test_any_bytes_are_a_statement_or_a_protocol_error(data):
    with pytest.raises(ProtocolError):
        read(data)
