"""The blocking client over a socket that is played: the same answers again, cut anywhere, and what is no answer."""

from __future__ import annotations

import json
import socket
from typing import Any, List
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.errors import LinkClosed, ParseError, TooLarge
from discompute_lite.model.limits import Limits
from discompute_lite.net.client import Client, address_in
from discompute_lite.wire.repeats import REMEMBERED_BYTES

BEAT = '{"ok":true,"devices":[],"x":1.5}'


class PlayedSocket:
    """Give out what a node sends, one piece a read, and keep what the client says."""

    def __init__(self, pieces: List[bytes]) -> None:
        self.pieces = [piece for piece in pieces if piece]
        self.said = b""

    def recv(self, size: int) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def sendall(self, data: bytes) -> None:
        self.said += data

    def close(self) -> None:
        """Nothing is open."""

    def setsockopt(self, *option: Any) -> None:
        """Nothing takes time."""

    settimeout = setsockopt


def client_of(pieces: List[bytes], limits: Limits = Limits()) -> Client:
    with mock.patch.object(socket, "create_connection", return_value=PlayedSocket(pieces)):
        return Client("127.0.0.1:8080", limits=limits)


def answer(number: object, result: str = BEAT, more: str = "", end: str = "\n") -> bytes:
    return f'{{"jsonrpc":"2.0","id":{number},"result":{result}{more}}}{end}'.encode()


def test_the_same_answer_again_belongs_to_its_caller_alone():
    client = client_of([answer(1), answer(2), answer(3)])
    first = client.call("Beat", {})
    first["devices"].append("changed")
    assert client.call("Beat", {}) == client.call("Beat", {}) == json.loads(BEAT)


@pytest.mark.parametrize("odd", [
    answer("03"), answer(3, "NaN"), answer(3, '{"x":1,"x":2}'), answer(3, "[" * 70 + "]" * 70), answer(3, "1" * 20),
    answer(3, '"\\ud800"'), answer(3, BEAT + "}"), answer(3, more=',"id":3'), answer(3)[1:], b"{" + answer(3),
], ids=range(10))
def test_what_is_no_strict_json_is_refused_after_the_same_answers_too(odd):
    client = client_of([answer(1), answer(2), odd])
    assert client.call("Beat", {}) == client.call("Beat", {}) == json.loads(BEAT)
    with pytest.raises(ParseError):
        client.call("Beat", {})


def test_an_answer_behind_the_beginning_of_something_else_is_none():
    client = client_of([answer(1), answer(2) + b'{"a":1,', answer(3)])
    assert client.call("Beat", {}) == client.call("Beat", {}) == json.loads(BEAT)
    with pytest.raises(ParseError):
        client.call("Beat", {})


def test_the_answer_to_another_call_is_passed_by():
    client = client_of([answer(1), answer(1), answer(2, "7"), answer(33), answer(3, "8")])
    assert [client.call("Beat", {}) for _ in range(3)] == [json.loads(BEAT), 7, 8]


def test_half_an_answer_is_none():
    client = client_of([answer(1), answer(2)[:-1]])
    client.call("Beat", {})
    with pytest.raises(LinkClosed):
        client.call("Beat", {})


def test_a_line_beyond_the_limit_is_refused_each_time():
    client = client_of([answer(1), answer(2, '"' + "x" * 200 + '"')], Limits(line_bytes=100))
    client.call("Beat", {})
    with pytest.raises(TooLarge):
        client.call("Beat", {})


RESULTS = st.sampled_from([BEAT, "{}", "null", "0", "[1,2]", '"é"', '{"x":' + " " * REMEMBERED_BYTES + "1}"])
ENDS = st.sampled_from(["\n", "\r\n", " \n", "\n\n", "\n \r\n"])


@given(st.lists(st.tuples(RESULTS, ENDS, st.booleans()), max_size=8), st.lists(st.integers(1, 9000), max_size=9))
def test_answers_are_the_same_however_they_are_cut(answers, cuts):
    pieces = []
    for number, (result, end, is_late) in enumerate(answers, 1):
        late = answer(number - 1, '"late"') if is_late else b""
        pieces.append(late + answer(number, result, end=end))
    data = b"".join(pieces)
    if cuts:
        marks = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        pieces = [data[start:end] for start, end in zip(marks, marks[1:])]
    client = client_of(pieces)
    assert [client.call("Beat", {}) for _ in answers] == [json.loads(result) for result, _, _ in answers]


@pytest.mark.parametrize("text, address", [
    ("10.0.0.2", "10.0.0.2:8080"), ("10.0.0.2:9", "10.0.0.2:9"), ("attic:8081", "attic:8081"), ("::1", "[::1]:8080"),
    ("[fe80::2%eth0]", "[fe80::2%eth0]:8080"), ("attic", ""), ("k3fq9zt2", ""), ("", ""), ("10.0.0.2:99999", ""),
])
def test_an_address_that_was_typed_needs_no_port_and_a_name_is_none_without(text, address):
    assert address_in(text) == address
