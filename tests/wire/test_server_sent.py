"""Server-sent events: what one node writes a browser reads, and a reader takes what the standard allows."""

import doctest
import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.errors import TooLarge
from discompute_lite.wire.server_sent import (
    SENT_COMMENT,
    SentEvent,
    SentEventReader,
    encode_sent_event,
    encode_sent_place,
)

MOST = 10_000


def read(*pieces):
    reader = SentEventReader(MOST)
    return [event for piece in pieces for event in reader.receive_data(piece)]


def test_the_example_in_the_docstring_holds():
    results = doctest.testmod(importlib.import_module("discompute_lite.wire.server_sent"))
    assert results.attempted and not results.failed


@pytest.mark.parametrize("data, events", [
    (b"data: a\n\n", [("", "message", "a")]),
    (b"data: a\ndata: b\r\ndata:c\rdata:  d\n\n", [("", "message", "a\nb\nc\n d")]),
    (b"event: x\ndata\n\n", [("", "x", "")]),
    (b"event: x\n\ndata: y\n\n", [("", "message", "y")]),
    (b": note\ndata: a\n: note\n\n", [("", "message", "a")]),
    (b"id: 1\ndata: a\n\ndata: b\n\n", [("1", "message", "a"), ("1", "message", "b")]),
    (b"id: 1\n\nid: 2\x00\ndata: a\n\n", [("1", "message", "a")]),
    (b"id: 1\ndata: a\n\nid\ndata: b\n\n", [("1", "message", "a"), ("", "message", "b")]),
    (b"retry: 5\nunknown: 7\ndata: a\n\n", [("", "message", "a")]),
    (b"\xef\xbb\xbfdata: a\n\n", [("", "message", "a")]),
    (b"data: \xff\n\n", [("", "message", "�")]),
    (b"data: never ended\n", []),
    (SENT_COMMENT + encode_sent_place("b.7", 2000) + encode_sent_event("b.8", "k", "{}"), [("b.8", "k", "{}")]),
])
def test_what_the_standard_says_whole_and_byte_by_byte(data, events):
    expected = [SentEvent(*event) for event in events]
    # A line may end by CR alone, which is known with the next byte.
    assert read(data) == expected
    assert read(*(data[place:place + 1] for place in range(len(data)))) == expected


def test_the_place_is_known_before_the_first_event():
    reader = SentEventReader(MOST)
    assert reader.receive_data(encode_sent_place("b.7", 2000)) == [] and reader.last_id == "b.7"


@pytest.mark.parametrize("data", [b"data: " + b"x" * MOST, b"data: x\n" * (MOST // 7 + 1), b": " + b"x" * MOST])
def test_nobody_makes_a_reader_hold_more_than_it_may(data):
    with pytest.raises(TooLarge, match="passes"):
        read(data)


TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\r\n\0"), max_size=30)


@given(st.lists(st.tuples(TEXT, TEXT.filter(bool), TEXT), max_size=5), st.lists(st.integers(0, 500), max_size=6))
def test_events_come_out_as_they_went_in_however_they_are_cut(events, cuts):
    data = b"".join(encode_sent_event(*event) for event in events)
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    assert read(*(data[start:end] for start, end in zip(edges, edges[1:]))) == [SentEvent(*event) for event in events]
