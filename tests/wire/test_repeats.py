"""Repeated calls and answers: read as if they had been parsed, whatever comes between and however written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.errors import ParseError
from discompute_lite.wire.repeats import REMEMBERED_BYTES, RepeatedAnswer, RepeatReader
from discompute_lite.wire.strict_json import parse_strict

BEAT = frozenset(("Beat",))


def line(number: object, method: str = "Beat", params: object = None, more: str = "") -> bytes:
    """Return a call as our own side writes it."""
    text = json.dumps({"x": 1.5, "y": [1, "é"]} if params is None else params, separators=(",", ":"))
    return f'{{"jsonrpc":"2.0","id":{number},"method":"{method}","params":{text}{more}}}\n'.encode()


def outcome(parse, data):
    """Return what parsing gives, an error included."""
    try:
        return parse(data)
    except ParseError as error:
        return str(error)


def test_the_same_call_again_is_not_parsed():
    reader = RepeatReader(BEAT, 64)
    first, second = reader.parse(line(1)), reader.parse(line(22))
    assert first == parse_strict(line(1)) and second == parse_strict(line(22))
    assert second["params"] is first["params"] and first["id"] == 1


def test_other_methods_are_parsed_each_time():
    reader = RepeatReader(BEAT, 64)
    first, second = (reader.parse(line(number, "Other")) for number in (1, 2))
    assert first["params"] == second["params"] and first["params"] is not second["params"]


@pytest.mark.parametrize("odd", [
    line("007"), line("-7"), line("1.5"), line('"a"'), line("null"), line("true"), line("1" * 25), line("0"), line(""),
    line(2, more=',"id":3'), line(2, more=',"timeout":1'), line(2, params={"x": 2}), line(2)[:-1], line(2)[:-2],
    line(2).replace(b":1.5", b": 1.5"), line(2) + b" ", b'{"jsonrpc":"2.0","id":2', b'{"jsonrpc":"2.0","id":',
    b'{"jsonrpc":"2.0","id":2,"method":["Beat"]}\n', b'{"jsonrpc":"2.0","id":2,"method":{}}\n',
    b'{"jsonrpc":"2.0","id":2,"method":"Beat"}\n', b"[1]\n", b"\n", b"{}\n", line("2 "), line("+2"), line("²"),
    b'{"jsonrpc":"2.0","id":2,', b'{"jsonrpc":"2.0","id":2,\n',
], ids=range(29))
def test_whatever_differs_is_read_as_the_strict_parser_does(odd):
    reader = RepeatReader(BEAT, 64)
    for data in (odd, line(1), odd, odd, line(3)):
        assert outcome(reader.parse, data) == outcome(parse_strict, data)


def test_a_long_call_is_not_remembered():
    reader = RepeatReader(BEAT, 64)
    first, second = (reader.parse(line(number, params={"x": "y" * REMEMBERED_BYTES})) for number in (1, 2))
    assert first["params"] == second["params"] and first["params"] is not second["params"]


def test_a_call_with_attachments_is_not_remembered():
    reader = RepeatReader(BEAT, 64)
    data = line(1, params={"a": {"$attachment": 0}}, more=',"attachments":[5]')
    assert reader.parse(data) is not reader.parse(data) and reader.parse(data)["params"] == {"a": {"$attachment": 0}}


def answer(number: object, result: str = '{"ok":true,"devices":[],"x":1.5}', more: str = "") -> bytes:
    """Return an answer as our own side writes it."""
    return f'{{"jsonrpc":"2.0","id":{number},"result":{result}{more}}}\n'.encode()


def test_the_same_answer_again_belongs_to_its_caller_alone():
    reader = RepeatReader(frozenset(), 64)
    first = reader.parse(answer(1))
    first["result"]["devices"].append("changed")
    assert reader.parse(answer(2)) == parse_strict(answer(2))


@pytest.mark.parametrize("odd", [
    answer("007"), answer("1.5"), answer("true"), answer("1" * 25), answer("0"), answer(2, more=',"id":3'),
    answer(2, "1e400"), answer(2, "NaN"), answer(2, '{"x":1,"x":2}'), answer(2, "[" * 70 + "]" * 70),
    answer(2, "99999999999999999999"), answer(2, '"\\ud800"'), answer(2)[:-2], line(2), b"[]\n",
    b'{"jsonrpc":"2.0","id":2,"error":{"code":1,"message":"x"}}\n',
], ids=range(16))
def test_an_answer_that_differs_is_judged_strictly_each_time(odd):
    reader = RepeatReader(frozenset(), 64)
    for data in (answer(1), odd, odd, answer(3)):
        assert outcome(reader.parse, data) == outcome(parse_strict, data)


@given(st.lists(st.sampled_from([
    line(number, method, params, more) for number in (1, 23, 0, "01") for method in ("Beat", "Other")
    for params in ({}, {"x": 1}, [1]) for more in ("", ',"timeout":2', ',"id":9')
] + [answer(number, result) for number in (1, 5, "01") for result in ("{}", "[1,2]", "NaN")]), max_size=12))
def test_any_order_of_messages_is_read_alike(lines):
    reader = RepeatReader(BEAT, 64)
    for data in lines:
        assert outcome(reader.parse, data) == outcome(parse_strict, data)


def remembered(line_of_answer: bytes, number: int) -> RepeatedAnswer:
    last = RepeatedAnswer()
    last.remember(line_of_answer, number, parse_strict(line_of_answer))
    return last


def test_an_answer_of_ours_is_remembered_and_made_anew():
    last = remembered(answer(5), 5)
    assert answer(61) == last.HEAD % 61 + last.rest
    first, second = last.result(), last.result()
    assert first == second == parse_strict(answer(5))["result"] and first is not second


@pytest.mark.parametrize("other", [
    answer(6), answer(5, more=',"attachments":[]'), b" " + answer(5), b'{"id":5,"jsonrpc":"2.0","result":{}}\n',
    answer(5, '"' + "x" * REMEMBERED_BYTES + '"'),
], ids=range(5))
def test_nothing_else_is_remembered(other):
    last = remembered(answer(5), 5)
    last.remember(other, 5, parse_strict(other))
    assert last.rest == b""
