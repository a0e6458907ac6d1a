"""What is known again says what a parser would have read, whatever bytes come."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.errors import ProtocolError
from discompute_lite.model.limits import Limits
from discompute_lite.wire.beacon import Beacon, decode_beacon, encode_beacon
from discompute_lite.wire.beacon_memory import BEACON_SOURCES, BeaconMemory

LIMITS, KEY, OTHER_KEY = Limits(), bytes(range(32)), bytes(32)
HERE = "10.0.0.9:40000"
BEACON = Beacon(node_id="n" * 52, port=8080, model="Box", chip="Chip", memory_mb=1024, kind="linux", priority=1,
                interface_name="en0", interface_type="wifi", timestamp=1_756_800_000, name='a "timestamp":1,"seq":2',
                status="AVAILABLE", boot="b1", seq=9, every_s=2.5)


def memory_of(beacon=BEACON, key=b""):
    memory = BeaconMemory()
    data = encode_beacon(beacon, LIMITS, key)
    memory.remember(HERE, data, decode_beacon(data, LIMITS, key), "note")
    return memory


def later(**changes):
    return replace(BEACON, timestamp=BEACON.timestamp + 40, seq=10, **changes)


@pytest.mark.parametrize("key", [b"", KEY], ids=["open", "sealed"])
def test_a_beacon_without_news_is_known_again(key):
    again = memory_of(key=key).recall(HERE, encode_beacon(later(), LIMITS, key), key)
    assert (again.seq, again.note, again.beacon.name) == (10, "note", BEACON.name)
    assert again.beacon.mac_ok is (True if key else None)


@pytest.mark.parametrize("changes", [
    {"status": "BUSY"}, {"name": "other"}, {"port": 8081}, {"boot": "b2"}, {"reply": True}, {"every_s": 5.0},
    {"type": "goodbye"}, {"pair": 9000}, {"node_id": "m" * 52}, {"cluster": "abcdefgh"},
], ids=str)
def test_one_with_news_is_not(changes):
    assert memory_of().recall(HERE, encode_beacon(later(**changes), LIMITS), b"") is None


def test_what_another_source_says_is_new():
    assert memory_of().recall("10.0.0.8:40000", encode_beacon(later(), LIMITS), b"") is None


@pytest.mark.parametrize("remembered, sent, ours", [
    (KEY, OTHER_KEY, KEY), (KEY, b"", KEY), (b"", KEY, KEY), (KEY, KEY, OTHER_KEY), (KEY, KEY, b""),
], ids=str)
def test_another_seal_or_none_or_another_key_of_ours_has_it_read_anew(remembered, sent, ours):
    memory = memory_of(key=remembered)
    again = memory.recall(HERE, encode_beacon(later(), LIMITS, sent), ours)
    assert again is None


def test_the_sources_that_were_not_heard_for_longest_are_forgotten():
    memory, data = BeaconMemory(), encode_beacon(BEACON, LIMITS)
    for number in range(BEACON_SOURCES + 10):
        memory.remember(f"10.0.0.1:{number}", data, BEACON, None)
        memory.recall("10.0.0.1:0", data, b"")
    assert memory.recall("10.0.0.1:0", data, b"") is not None and memory.recall("10.0.0.1:1", data, b"") is None


@given(st.data())
def test_whatever_is_known_again_a_parser_reads_the_same(data):
    key = data.draw(st.sampled_from([b"", KEY]))
    memory, text = memory_of(key=key), encode_beacon(later(), LIMITS, key)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 12)))
    new = data.draw(st.one_of(st.binary(max_size=12), st.sampled_from([
        b"0", b"01", b"1e5", b"-1", b"9" * 15, b"9" * 16, b"1.0", b'","seq":5', b'5,"seq":6', b" 7", b"7 ", b"\xd9\xa1",
    ])))
    mutated = text[:start] + new + text[end:]
    again = memory.recall(HERE, mutated, key)
    if again is not None:
        try:
            read = decode_beacon(mutated, LIMITS, key)
        except ProtocolError as error:
            raise AssertionError(mutated) from error
        assert replace(again.beacon, seq=again.seq, timestamp=read.timestamp) == read


@pytest.mark.parametrize("number", ["0", "7", "999999999999999", "07", "-1", "1.0", "1e3", " 7", "", "9" * 16])
def test_only_whole_numbers_stand_for_numbers(number):
    text = encode_beacon(later(), LIMITS).replace(b'"seq":10', b'"seq":' + number.encode())
    again = memory_of().recall(HERE, text, b"")
    if again is not None:
        assert decode_beacon(text, LIMITS).seq == again.seq
    else:
        assert number not in ("0", "7", "999999999999999")
