"""DNS messages: written as others read them, read in bounds whatever they hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.errors import ProtocolError
from discompute_lite.wire.dns import (
    DNS_A, DNS_ANY, DNS_PTR, DNS_RESPONSE, DNS_SRV, DNS_TXT, DnsMessage, DnsQuestion, DnsRecord, decode_dns, encode_dns,
    lower_name, ptr_data, read_ptr, read_srv, read_txt, srv_data, txt_data,
)

SERVICE = ("_discompute", "_tcp", "local")
ANN = ("Ann's Mac", *SERVICE)
HOST = ("k3fq9zt2", "local")
#: One answer with all four kinds of record, by hand after RFC 1035: names point back at what stood before.
GOLDEN = bytes.fromhex(
    "000084000000000400000000"
    "0b5f646973636f6d70757465045f746370056c6f63616c00" "000c0001" "00000078" "000c" "09416e6e2773204d6163c00c"
    "c02e" "00218001" "00000078" "0016" "000000001f90" "086b336671397a7432056c6f63616c00"
    "c02e" "00108001" "00000078" "000a" "0974787476657273" "3d31"
    "086b336671397a7432c01d" "00018001" "00000078" "0004" "c0a80114"
)
RECORDS = (
    DnsRecord(SERVICE, DNS_PTR, 120, ptr_data(ANN)),
    DnsRecord(ANN, DNS_SRV, 120, srv_data(8080, HOST), True),
    DnsRecord(ANN, DNS_TXT, 120, txt_data([("txtvers", b"1")]), True),
    DnsRecord(HOST, DNS_A, 120, bytes((192, 168, 1, 20)), True),
)


def test_an_answer_made_by_hand_reads_as_meant():
    message = decode_dns(GOLDEN)
    assert message.is_response and message.answers == RECORDS
    assert read_ptr(RECORDS[0].data) == ANN and read_srv(RECORDS[1].data) == (8080, HOST)
    assert read_txt(RECORDS[2].data) == {"txtvers": b"1"}


def test_what_is_written_is_what_was_made_by_hand():
    assert encode_dns(DnsMessage(flags=DNS_RESPONSE, answers=RECORDS)) == GOLDEN


def test_questions_keep_their_bit():
    asked = (DnsQuestion(SERVICE, DNS_PTR), DnsQuestion(ANN, DNS_ANY, is_unicast=True))
    assert decode_dns(encode_dns(DnsMessage(id=7, questions=asked))) == DnsMessage(id=7, questions=asked)


def test_names_differ_by_neither_case_nor_compression():
    assert lower_name(("ÄNN", "Local")) == ("Änn", "local")
    upper = DnsRecord(("K3FQ9ZT2", "LOCAL"), DNS_A, 1, RECORDS[3].data)
    assert upper.key == RECORDS[3].key


def test_texts_are_read_as_the_first_of_each_key():
    data = txt_data([("a", b"1"), ("A", b"2"), ("empty", b"")]) + b"\x04flag" + b"\x02=x" + b"\x01\xff"
    assert read_txt(data) == {"a": b"1", "empty": b""}
    assert read_txt(txt_data([])) == {}


def test_a_text_cut_short_is_read_as_far_as_it_goes():
    assert read_txt(b"\x09a=1") == {"a": b"1"}


def test_records_of_other_types_and_classes_are_left_out():
    hinfo = b"\x00" + b"\x00\x0d\x00\x01" + bytes(4) + b"\x00\x02" + b"\x00\x00"
    chaos = b"\x00" + b"\x00\x10\x00\x03" + bytes(4) + b"\x00\x01" + b"\x00"
    assert decode_dns(b"\0\0\x84\0\0\0\0\2\0\0\0\0" + hinfo + chaos).answers == ()


def test_an_unusual_kind_of_message_has_nothing_in_it():
    assert decode_dns(b"\0\0\x28\0\0\1\0\0\0\0\0\0 not DNS") == DnsMessage(flags=0x2800)


@pytest.mark.parametrize("broken", [
    b"", GOLDEN[:11], GOLDEN[:-1], GOLDEN[:40],
    b"\0\0\0\0\0\1\0\0\0\0\0\0\xc0\x0c\0\x0c\0\1",  # points at itself
    b"\0\0\0\0\0\1\0\0\0\0\0\0\xc0\x40\0\x0c\0\1",  # points forward
    b"\0\0\0\0\0\1\0\0\0\0\0\0\x40" + b"x" * 64 + b"\0\0\x0c\0\1",  # a label of 64 bytes
    b"\0\0\0\0\0\1\0\0\0\0\0\0" + (b"\x3f" + b"x" * 63) * 4 + b"\0\0\x0c\0\1",  # a name of 257
    b"\0\0\0\0\0\1\0\0\0\0\0\0\x01\xff\0\0\x0c\0\1",  # no UTF-8
    b"\0\0\0\0\xff\xff\0\0\0\0\0\0",
], ids=range(10))
def test_what_is_no_dns_is_a_protocol_error(broken):
    with pytest.raises(ProtocolError):
        decode_dns(broken)


def test_pointers_that_lead_back_in_many_steps_end():
    chain = b"\0\0\0\0\0\2\0\0\0\0\0\0" + b"\x01a\0\0\x0c\0\1"
    # 200 questions, each one label and a pointer to the one before, grow past what a name may be.
    places, data = [12], bytearray(chain)
    for _ in range(200):
        places.append(len(data))
        data += b"\x01a" + (0xC000 | places[-2]).to_bytes(2, "big") + b"\0\x0c\0\1"
    data[4:6] = (201).to_bytes(2, "big")
    with pytest.raises(ProtocolError, match="255"):
        decode_dns(bytes(data))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_a_protocol_error(data):
    try:
        decode_dns(data)
    except ProtocolError:
        pass


@given(st.integers(0, len(GOLDEN) - 1), st.integers(0, 255))
def test_one_wrong_byte_is_a_message_or_a_protocol_error(place, byte):
    try:
        message = decode_dns(GOLDEN[:place] + bytes((byte,)) + GOLDEN[place + 1:])
    except ProtocolError:
        return
    for record in message.answers:
        if record.type == DNS_SRV:
            read_srv(record.data)
        elif record.type == DNS_PTR:
            read_ptr(record.data)
        elif record.type == DNS_TXT:
            read_txt(record.data)


LABELS = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=15)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(tuple)


@given(st.lists(st.tuples(NAMES, NAMES, st.booleans(), st.integers(0, 2 ** 32 - 1)), max_size=6))
def test_what_is_written_is_read_again(rows):
    records = tuple(DnsRecord(name, DNS_PTR, ttl_s, ptr_data(to), flush) for name, to, flush, ttl_s in rows)
    records += tuple(DnsRecord(name, DNS_SRV, ttl_s, srv_data(1, to), flush) for name, to, flush, ttl_s in rows)
    message = DnsMessage(flags=DNS_RESPONSE, answers=records)
    assert decode_dns(encode_dns(message)) == message
