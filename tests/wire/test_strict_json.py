"""Strict JSON is read as every implementation reads it; anything else is a ParseError, quickly."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.errors import LocalProtocolError, ParseError
from discompute_lite.wire.strict_json import CROWD_BYTES, MessageParser, encode_json, is_crowded, parse_strict

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2 ** 63), 2 ** 63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)


def nested(depth: int, opening: str = "[", closing: str = "]", core: str = "") -> bytes:
    return (opening * depth + core + closing * depth).encode()


def assert_refused(data: bytes, about: str = "") -> None:
    with pytest.raises(ParseError, match=about or None) as caught:
        parse_strict(data)
    assert caught.value.code == -32700 and "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"null", None), (b"true", True), (b'"x"', "x"), (b"[]", []), (b' {"a": [1, -2.5e3]}\r', {"a": [1, -2500.0]}),
        (b"9223372036854775807", 2 ** 63 - 1), (b"-9223372036854775808", -(2 ** 63)), (b"-0", 0),
        (b"1e308", 1e308), (b"1e-400", 0.0),
        (rb'"\ud83d\ude00"', "\U0001F600"), ("\U0001F600".join('""').encode(), "\U0001F600"), (rb'"\\ud83d"',
        "\\ud83d"),
        (rb'"\u0000"', "\x00"), (b'"\x7f"', "\x7f"), ('"\ufeff"'.encode(), "\ufeff"),
        (b'{"a":1,"b":{"a":2}}', {"a": 1, "b": {"a": 2}}), (b'{"":1," ":2}', {"": 1, " ": 2}),
    ],
)
def test_json_is_read(data, value):
    found = parse_strict(data)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "data",
    [
        b"", b" ", b"{", b"[1,]", b'{"a":1,}', b"{'a':1}", b"{a:1}", b"[1 2]", b"nul", b"True", b"undefined",
        b"01", b"1.", b".5", b"+1", b"0x10", b"1_000", b"1e", b"--1", "\u0661".encode(), "[\u0661]".encode(),
        b'"a', b'"\n"', b'"\t"', b'"\x00"', b"\x00", b"1\x00", b'{"a":1}\x00', rb'"\x41"', rb'"\u12"', rb'"\u+123"',
        b"1 2", b"{}{}", b'{"a":1}x', b"[] // no", b"/* no */ []", b"\x0c1", b"\xa01", "\u00a01".encode(), b"\x1e1",
    ],
)
def test_what_is_not_json_is_refused(data):
    assert_refused(data)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "[NaN]", '{"a":-Infinity}', "1e400", "-1e400",
"[1e309]"])
def test_numbers_that_are_none_are_refused(text):
    assert_refused(text.encode())


@pytest.mark.parametrize(
    "text", ["9223372036854775808", "-9223372036854775809", "18446744073709551616", "9" * 30, "-" + "1" * 1_000_000]
)
def test_integers_beyond_64_bits_are_refused(text):
    assert_refused(text.encode(), "64-bit")
    assert_refused(b'{"n":[%s]}' % text.encode(), "64-bit")


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe[\x00]\x00", b"\xfe\xff\x00[\x00]", '[1, "a"]'.encode("utf-16"), '{"a":1}'.encode("utf-16-le"),
        "[1]".encode("utf-32"), b"\xef\xbb\xbf[]", b'"\xff"', b'"\xc3"', b'"\xc0\xaf"', b'"\xed\xa0\x80"',
        b'"\xf4\x90\x80\x80"',
        '"\u00e9"'.encode("latin-1"),
    ],
)
def test_other_encodings_and_marks_are_refused(data):
    assert_refused(data)


@pytest.mark.parametrize(
    "data",
    [rb'"\ud800"', rb'"\uDFFF"', rb'"a\ud83d"', rb'["x",{"y":"\udead"}]', rb'{"\ud800":1}', rb'"\ude00\ud83d"',
    rb'"\ud83dx\ude00"'],
)
def test_halves_of_surrogate_pairs_are_refused(data):
    assert_refused(data, "surrogate")


@pytest.mark.parametrize(
    "data", [b'{"a":1,"a":1}', b'[{"x":{"b":null,"c":1,"b":2}}]', rb'{"a":1,"\u0061":2}', b'{"":1,"":2}']
)
def test_a_key_twice_is_refused(data):
    assert_refused(data, "twice")


@pytest.mark.parametrize(
    "make",
    [
        nested,
        lambda depth: nested(depth, core='"[{[{"'),
        lambda depth: nested(depth, '{"a":', "}", "1"),
        lambda depth: nested(depth // 2, '{"a":[', "]}") if depth % 2 == 0 else b"[" + nested(depth // 2, '{"a":[',
        "]}") + b"]",
        lambda depth: b"[" + b"[]," * 70 + nested(depth - 1) + b"]",
    ],
)
def test_nesting_has_its_limit(make):
    parse_strict(make(64))
    assert_refused(make(65), "nested deeper than 64")


@pytest.mark.parametrize("depth", [100, 1_000, 10_000, 100_000, 1_000_000])
def test_a_tower_is_refused_whatever_its_height(depth):
    assert_refused(nested(depth))
    assert_refused(nested(depth, '{"a":', "}", "1"))
    assert_refused(b"[" * depth)


def test_many_flat_lists_are_not_deep():
    assert len(parse_strict(b"[" + b",".join([b"[]"] * 10_000) + b"]")) == 10_000


def test_another_depth_limit_is_obeyed():
    assert parse_strict(b"[[]]", 2) == [[]]
    with pytest.raises(ParseError):
        parse_strict(b"[[]]", 1)


@pytest.mark.parametrize(
    "data",
    [
        b"9" * 1_000_000, b"-" + b"9" * 1_000_000, b"0." + b"3" * 1_000_000 + b"e9999", b"[" * 1_000_000,
        b"[" + b'"' * 500_000, b'"' + rb"\ud800" * 170_000 + b'"', b"{" + b'"a":1,' * 150_000 + b'"a":1}',
        b" " * 1_000_000, b"\\" * 1_000_000,
    ],
)
def test_a_line_full_of_malice_costs_little(data):
    start = time.process_time()
    assert_refused(data)
    # Quadratic reading would take minutes.
    assert time.process_time() - start < 2.0


@pytest.mark.parametrize("data", [
    nested(65), b"[" * 1_000, b"[" * 100_000, b'{"a":' * 100_000, b"NaN", b"-Infinity", b"1e400", b"9" * 30,
    b"9" * 1_000_000, b"-" + b"9" * 1_000_000, b'{"a":1,"a":2}', b"{} {}",
], ids=lambda data: f"{data[:6].decode()}-{len(data)}")
def test_row_20_each_is_refused_in_less_than_10_ms(data):
    costs = []
    for _ in range(9):
        start = time.process_time()
        assert_refused(data)
        costs.append(time.process_time() - start)
    # The least of them: a machine that is busy makes it slower, and nothing makes it faster.
    assert min(costs) < 0.010


MANY = 20_000
#: What may come many times in a list, and its brackets, each of which counts twice.
CROWDS = {
    b"{}": 1, b"[]": 1, b'{"":0}': 1, b"1": 0, b'""': 0, b"[" * 30 + b"]" * 30: 30, rb'"\\\"[{,\\"': 0,
    rb'{"[":"\ud83d\ude00,"}': 1,
}


@pytest.mark.parametrize(("item", "brackets"), CROWDS.items())
def test_row_20_a_line_of_too_many_values_is_refused_before_any_is_made(item, brackets):
    many = (b"[" + b",".join([item] * MANY) + b"]").ljust(CROWD_BYTES + 1)
    count = MANY - 1 + 2 * (1 + brackets * MANY)
    assert MessageParser(64, count).parse(many) == json.loads(many) == parse_strict(many)
    with pytest.raises(ParseError, match=f"more than {count - 1} values; send"):
        MessageParser(64, count - 1).parse(many)


def test_what_stands_in_texts_is_no_crowd():
    text = json.dumps({"printed": '[{"a": 1}, {"b\\\\": [2, 3]}]\n' * 20_000, "and": "[{,]" * 9})
    assert MessageParser(64, 100).parse(text.encode()) == json.loads(text)


def test_a_short_line_is_never_too_many():
    text = (b"[" + b"{}," * 20_000 + b"1]")[:CROWD_BYTES - 2]
    assert is_crowded(text.ljust(CROWD_BYTES), 10) is False and is_crowded(text.ljust(CROWD_BYTES + 1), 10) is True


@given(st.binary(max_size=60))
def test_any_bytes_are_json_or_a_parse_error(data):
    try:
        value = parse_strict(data)
    except ParseError:
        return
    assert json.loads(data) == value


@given(JSON_VALUES)
def test_what_is_written_is_read_again(value):
    assert parse_strict(encode_json(value), 1_000) == value


def test_writing_is_compact_utf8():
    assert encode_json({"a": [1, 2.5, None, True],
    "é": "\U0001F600"}) == '{"a":[1,2.5,null,true],"é":"\U0001F600"}'.encode()


def circle() -> list:
    value: list = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value", [float("nan"), [float("inf")], {"a": -float("inf")}, b"bytes", {1, 2}, object(), {(1, 2): 3}, "\ud800",
    circle()]
)
def test_what_json_cannot_say_is_our_own_mistake(value):
    with pytest.raises(LocalProtocolError, match="cannot be sent"):
        encode_json(value)


@given(st.lists(st.sampled_from([r"\ud83d", r"\ude00", r"\\", r"\"", r"\uDBFF", r"\udc00", r"\u0041", "a", "ud83d"])))
def test_a_text_is_read_when_every_half_has_its_other_half(pieces):
    data = json.dumps("-").replace("-", "".join(pieces))
    value = json.loads(data)
    if value == value.encode("utf-8", "ignore").decode():
        assert parse_strict(data.encode()) == value
    else:
        assert_refused(data.encode(), "surrogate")


def depth_of(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


@given(st.recursive(
    st.sampled_from(["[{", "]}", 'a"', "\\", 1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["{", "]", '"[', "\\"]), inner),
))
def test_a_value_is_refused_where_it_is_nested_one_level_too_deep(value):
    data, depth = encode_json(value), depth_of(value)
    assert parse_strict(data, depth) == value
    if depth:
        with pytest.raises(ParseError, match=f"nested deeper than {depth - 1} levels"):
            parse_strict(data, depth - 1)
