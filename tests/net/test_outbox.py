"""Everything given to an outbox leaves once, in order, uncopied where it is large, however little the socket takes."""

from __future__ import annotations

from typing import List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.net.outbox import JOIN_BYTES, WRITE_TURN_BYTES, Outbox, joined_pieces

LARGE = bytes(range(256)) * (JOIN_BYTES // 256)


class Wire:
    """A socket that takes what a test allows, call by call; None means that it is full."""

    def __init__(self, *takes: object) -> None:
        self.takes: List[object] = list(takes)
        self.pieces: List[bytes] = []

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def send(self, piece: memoryview) -> int:
        take = self.takes.pop(0) if self.takes else None
        if isinstance(take, Exception):
            raise take
        if take is None:
            raise BlockingIOError
        self.pieces.append(bytes(piece[:take]))
        return min(take, len(piece))


EVERYTHING = 10 ** 9


# ---- joining ---------------------------------------------------------------------------------------------


def test_small_neighbours_are_joined_and_large_pieces_stay():
    other = bytearray(LARGE)
    result = joined_pieces([b"a", b"b", LARGE, b"c", b"", other, LARGE, b"d", b"e"])
    assert [bytes(piece[:3]) for piece in result] == [b"ab", LARGE[:3], b"c", LARGE[:3], LARGE[:3], b"de"]
    assert result[1].obj is LARGE and result[3].obj is other


@pytest.mark.parametrize("pieces", [[], [b""], [b"", b""], [b"", LARGE], [LARGE, b""]])
def test_empty_pieces_vanish(pieces):
    # One of them at the head of the queue would look like a socket that takes nothing.
    assert all(joined_pieces(pieces)) and len(joined_pieces(pieces)) == (LARGE in pieces)


@given(st.lists(st.sampled_from([b"", b"x", b"yz" * 100, b"w" * (JOIN_BYTES - 1), LARGE]), max_size=8))
def test_joining_changes_no_byte(pieces):
    assert b"".join(bytes(piece) for piece in joined_pieces(pieces)) == b"".join(pieces)


# ---- sending ---------------------------------------------------------------------------------------------


def test_one_small_message_is_one_system_call():
    wire = Wire(EVERYTHING)
    outbox = Outbox(wire)
    outbox.send([b"hello\n"])
    assert wire.pieces == [b"hello\n"] and outbox.waiting_bytes == 0 and not wire.takes


def test_several_small_messages_are_one_system_call():
    wire = Wire(EVERYTHING)
    Outbox(wire).send([b"a\n", b"b\n", b"c\n"])
    assert wire.pieces == [b"a\nb\nc\n"]


def test_what_does_not_fit_waits_and_is_sent_in_order():
    wire = Wire(3)
    outbox = Outbox(wire)
    outbox.send([b"hello "])
    outbox.send([b"world"])
    outbox.send([b"!", LARGE])
    assert wire.data == b"hel" and outbox.waiting_bytes == 3 + 5 + 1 + len(LARGE)
    assert not outbox.push()
    wire.takes = [1, None]
    assert outbox.push()
    wire.takes = [EVERYTHING] * 9
    assert outbox.push() and outbox.waiting_bytes == 0
    assert wire.data == b"hello world!" + LARGE


def test_a_large_piece_is_not_copied():
    content = bytearray(LARGE)
    wire = Wire(10)
    outbox = Outbox(wire)
    outbox.send([b"line\n", content])
    content[-1:] = b"!"
    wire.takes = [EVERYTHING] * 9
    outbox.push()
    assert wire.data == b"line\n" + LARGE[:-1] + b"!"


def test_one_turn_is_not_for_ever():
    wire = Wire(*[len(LARGE)] * 1000)
    outbox = Outbox(wire)
    outbox.send([LARGE] * 300)
    assert len(wire.data) == WRITE_TURN_BYTES and outbox.waiting_bytes == 300 * len(LARGE) - WRITE_TURN_BYTES


def test_a_dead_socket_is_for_the_owner_to_bury():
    outbox = Outbox(Wire(BrokenPipeError()))
    with pytest.raises(BrokenPipeError):
        outbox.send([b"x"])
    outbox = Outbox(Wire(1, None, ConnectionResetError()))
    outbox.send([b"xy"])
    with pytest.raises(ConnectionResetError):
        outbox.push()
    outbox.clear()
    assert outbox.waiting_bytes == 0


@given(
    st.lists(st.lists(st.sampled_from([b"", b"x", b"yz" * 100, b"w" * 3000, LARGE]), min_size=1, max_size=4),
    max_size=6),
    st.lists(st.none() | st.integers(1, 100_000), max_size=40),
)
def test_every_byte_leaves_once(messages, takes):
    wire = Wire(*takes)
    outbox = Outbox(wire)
    given_bytes = 0
    for message in messages:
        outbox.send(message)
        given_bytes += sum(map(len, message))
        assert outbox.waiting_bytes == given_bytes - len(wire.data)
    wire.takes = [EVERYTHING] * 1000
    outbox.push()
    assert wire.data == b"".join(piece for message in messages for piece in message)
    assert outbox.waiting_bytes == 0 and outbox.unsent_answers(5) == 0


# ---- answers -----------------------------------------------------------------------------------------------


def test_answers_are_unsent_until_their_last_byte_has_left():
    wire = Wire(1)
    outbox = Outbox(wire)
    outbox.send([b"12345"], 1)
    outbox.send([b"note"], 1)
    outbox.send([b"67", b"89"], 3)
    assert outbox.unsent_answers(3) == 3
    wire.takes = [3, None]
    outbox.push()
    assert outbox.unsent_answers(3) == 3
    wire.takes = [1, None]
    outbox.push()
    assert outbox.unsent_answers(3) == 2
    wire.takes = [4, 3, None]
    outbox.push()
    assert outbox.unsent_answers(3) == 2
    wire.takes = [1]
    outbox.push()
    assert outbox.unsent_answers(3) == 0


def test_what_is_no_answer_counts_for_none():
    outbox = Outbox(Wire(EVERYTHING))
    outbox.send([b"answer"], 4)
    outbox.send([LARGE], 4)
    assert outbox.waiting_bytes and outbox.unsent_answers(4) == 0
