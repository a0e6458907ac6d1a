"""A stream is cut into the same messages however it arrives, and nothing beyond a limit is ever allocated."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.errors import InvalidRequest, LocalProtocolError, ParseError, ProtocolError, TooLarge
from discompute_lite.model.limits import Limits
from discompute_lite.wire.framing import (
    DIRECT_BYTES,
    INLINE_BYTES,
    MessageDecoder,
    encode_message,
    encode_sendable,
    join_attachments,
)

LIMITS = replace(Limits(), line_bytes=200, message_bytes=1_000_000)


class Memory:
    """Hand out memory and remember how much was asked for."""

    def __init__(self) -> None:
        self.sizes: List[int] = []

    def __call__(self, size: int) -> bytearray:
        self.sizes.append(size)
        return bytearray(size)


def plain(message: Tuple[Any, Any]) -> Tuple[Any, List[bytes]]:
    return message[0], [bytes(item) for item in message[1]]


def messages_of(data: bytes, sizes=(), limits: Limits = LIMITS) -> List[Any]:
    """Decode `data` in chunks of the given sizes, the rest at once; a protocol error ends the list with its class."""
    decoder = MessageDecoder(limits)
    found: List[Any] = []
    position = 0
    for size in [*sizes, len(data)]:
        decoder.receive_data(data[position:position + size])
        position += size
        try:
            for message in iter(decoder.next_message, None):
                found.append(plain(message))
        except ProtocolError as error:
            return [*found, type(error)]
    return found


def refusal_of(data: bytes, limits: Limits = LIMITS, **options: Any) -> ProtocolError:
    decoder = MessageDecoder(limits, **options)
    decoder.receive_data(data)
    with pytest.raises(ProtocolError) as caught:
        decoder.next_message()
    return caught.value


# ---- lines ------------------------------------------------------------------------------------------


def test_the_golden_example_of_the_protocol():
    line = b'{"jsonrpc":"2.0","id":7,"method":"Echo","params":{"data":{"$attachment":0}},"attachments":[3]}\n'
    ((value, attachments),) = messages_of(line + b"abc")
    assert attachments == [b"abc"]
    assert join_attachments(value, attachments)["params"] == {"data": b"abc"}


def test_lines_end_with_a_newline_with_or_without_a_return():
    assert messages_of(b'{"a":1}\n[2]\r\n"x"\n') == [({"a": 1}, []), ([2], []), ("x", [])]


def test_blank_lines_are_skipped():
    assert messages_of(b"\n\r\n  \n\t\r\n{}\n\n\n[]\n\r\n") == [({}, []), ([], [])]


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}])
def test_empty_values_are_messages_too(value):
    assert len(messages_of(json.dumps(value).encode() + b"\n{}\n")) == 2


def test_a_line_without_its_end_is_no_message_yet():
    decoder = MessageDecoder(LIMITS)
    assert decoder.is_between_messages
    decoder.receive_data(b'{"a"')
    assert decoder.next_message() is None and not decoder.is_between_messages
    decoder.receive_data(b":1}\n")
    assert decoder.next_message() == ({"a": 1}, []) and decoder.is_between_messages


def test_a_line_may_be_as_long_as_the_limit_and_no_longer():
    fits = b'"' + b"x" * 198 + b'"'
    assert messages_of(fits + b"\n") == [("x" * 198, [])]
    assert type(refusal_of(b" " + fits + b"\n")) is TooLarge
    assert type(refusal_of(b"x" * 201)) is TooLarge
    decoder = MessageDecoder(LIMITS)
    decoder.receive_data(b"x" * 200)
    assert decoder.next_message() is None


def test_the_limits_of_the_protocol_page():
    assert (Limits().line_bytes, Limits().attachments, Limits().json_depth) == (2 ** 20, 256, 64)
    assert (Limits().message_bytes, Limits.for_phone().message_bytes) == (2 ** 30, 128 * 2 ** 20)


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b" \n", b"\t \r\n"])
def test_a_flood_of_blank_lines_costs_no_turn_each(blank):
    decoder = MessageDecoder(LIMITS)
    lines = []
    original = decoder._next_line
    decoder._next_line = lambda: lines.append(1) or original()
    decoder.receive_data(blank * 50_000 + b"{}\n")
    assert decoder.next_message() == ({}, [])
    assert len(lines) < 50_000 * len(blank) / 50


def test_a_line_of_blanks_is_a_line():
    assert messages_of(b" " * 200 + b"\n{}\n") == [({}, [])]
    assert messages_of(b"\n" + b" " * 201 + b"\n{}\n") == [TooLarge]


# ---- attachments ------------------------------------------------------------------------------------


def test_attachments_follow_in_order():
    assert messages_of(b'{"attachments":[1,0,2]}\nabcX\n') == [({"attachments": [1, 0, 2]}, [b"a", b"", b"bc"]),
    ParseError]
    assert messages_of(b'{"attachments":[]}\n{"attachments":[0,0]}\n1\n') == [
        ({"attachments": []}, []), ({"attachments": [0, 0]}, [b"", b""]), (1, [])
    ]


def test_newlines_within_attachments_end_nothing():
    assert messages_of(b'{"attachments":[4]}\n\n\n{\n{}\n') == [({"attachments": [4]}, [b"\n\n{\n"]), ({}, [])]


def test_only_an_object_has_attachments():
    assert messages_of(b'[{"attachments":[3]}]\n"abc"\n') == [([{"attachments": [3]}], []), ("abc", [])]


@pytest.mark.parametrize(
    "sizes",
    ["[-1]", "[5,-5]", "[1e3]", "[1.0]", "[true]", "[null]", '["3"]', "{}", "3", "null", '"3"', "[[3]]", "[1000001]",
     "[500000,500001]", "[9223372036854775807]", "[9223372036854775807,9223372036854775807]",
     "[" + ",".join(["0"] * 257) + "]"],
)
def test_impossible_attachments_are_refused_and_nothing_is_allocated(sizes):
    memory = Memory()
    limits = replace(LIMITS, line_bytes=2000)
    error = refusal_of(b'{"method":"x","attachments":%s}\n' % sizes.encode() + b"x" * 500, limits, allocate=memory)
    assert error.code == -32001 and memory.sizes == []


def test_as_many_attachments_as_allowed_pass():
    limits = replace(LIMITS, line_bytes=2000)
    line = b'{"attachments":[' + b",".join([b"1"] * 256) + b"]}\n"
    assert messages_of(line + b"x" * 256, limits=limits)[0][1] == [b"x"] * 256
    assert messages_of(b'{"attachments":[1000000]}\n' + bytes(1_000_000))[0][1] == [bytes(1_000_000)]


def test_only_the_attachment_being_received_is_allocated():
    memory = Memory()
    decoder = MessageDecoder(LIMITS, allocate=memory)
    decoder.receive_data(b'{"attachments":[10,500000,20]}\n' + b"x" * 9)
    assert decoder.next_message() is None and memory.sizes == [10]
    decoder.receive_data(b"x")
    assert decoder.next_message() is None and memory.sizes == [10, 500_000]


class OneRoom:
    """Room for one message at a time, shared by several streams."""

    def __init__(self, row):
        self.row, self.is_waiting = row, False

    def take(self, size):
        self.row.append((self, size))
        self.is_waiting = len(self.row) > 1

    def give_back(self):
        self.row[:] = [entry for entry in self.row if entry[0] is not self]
        if self.row:
            self.row[0][0].is_waiting = False


@pytest.mark.parametrize("is_lost", [False, True])
def test_nothing_of_a_message_is_received_until_there_is_room_for_all_of_it(is_lost):
    row, memory = [], Memory()
    first, second = (MessageDecoder(LIMITS, allocate=memory, room=OneRoom(row)) for _ in range(2))
    first.receive_data(b'{"attachments":[3,2]}\nabc')
    assert first.next_message() is None
    second.receive_data(b'{"id":1}\n{"attachments":[1,4]}\nABCD')
    assert second.next_message() == ({"id": 1}, []) and second.next_message() is None
    assert second.is_waiting and second.direct_buffer() is None and [size for _, size in row] == [5, 5]
    assert memory.sizes == [3, 2]
    if is_lost:
        first.give_room_back()
    else:
        first.receive_data(b"de")
        assert first.next_message() == ({"attachments": [3, 2]}, [b"abc", b"de"])
    assert second.next_message() is None and not second.is_waiting
    second.receive_data(b"E")
    assert second.next_message()[1] == [b"A", b"BCDE"] and row == []


def test_without_memory_the_message_is_too_large():
    def nothing_left(size: int) -> bytearray:
        raise MemoryError

    error = refusal_of(b'{"attachments":[10]}\n', allocate=nothing_left)
    assert error.code == -32001 and "memory" in error.message


def test_refused_attachments_take_no_memory():
    def refuse(value: Any) -> bool:
        raise InvalidRequest(f"no {value['method']}")

    memory = Memory()
    assert "no x" in refusal_of(b'{"method":"x","attachments":[10]}\n', admit=refuse, allocate=memory).message
    assert memory.sizes == []


def test_nobody_is_asked_about_messages_without_attachments():
    decoder = MessageDecoder(LIMITS, admit=lambda value: pytest.fail("asked"))
    decoder.receive_data(b'{"method":"x"}\n{"attachments":[]}\n[1]\n')
    assert len(list(iter(decoder.next_message, None))) == 3


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_an_unwanted_message_is_thrown_away_without_memory(step):
    memory = Memory()
    decoder = MessageDecoder(LIMITS, admit=lambda value: False, allocate=memory)
    unwanted = b'{"id":9,"attachments":[3,300]}\n' + b"\n{x" + b"\n" * 300
    data = unwanted + b'{"id":10}\n'
    found = []
    for position in range(0, len(data), step):
        decoder.receive_data(data[position:position + step])
        found += iter(decoder.next_message, None)
        assert position + step >= len(unwanted) or not decoder.is_between_messages
        assert decoder.direct_buffer() is None
    assert decoder.is_between_messages
    assert found == [({"id": 10}, [])] and memory.sizes == []


def test_an_end_within_line_or_attachment_is_a_cut():
    data = b'{"attachments":[2,1]}\nabc'
    for end in range(1, len(data)):
        decoder = MessageDecoder(LIMITS)
        decoder.receive_data(data[:end])
        assert decoder.next_message() is None and not decoder.is_between_messages
    decoder.receive_data(data[-1:])
    assert decoder.next_message() is not None and decoder.is_between_messages


# ---- large attachments, received straight into their memory ------------------------------------------


def test_a_large_attachment_is_received_into_its_own_memory():
    content = bytes(range(256)) * 1024
    decoder = MessageDecoder(LIMITS)
    decoder.receive_data(b'{"attachments":[%d,2]}\n' % len(content) + content[:5])
    # Before the line has been read nobody knows of attachments.
    assert decoder.direct_buffer() is None
    assert decoder.next_message() is None
    target = decoder.direct_buffer()
    assert target is not None and len(target) == len(content) - 5
    target[:1000] = content[5:1005]
    assert not decoder.direct_filled(1000), "there is more to come"
    target = decoder.direct_buffer()
    rest = len(content) - 1005
    assert target is not None and len(target) == rest
    target[:] = content[1005:]
    assert decoder.direct_filled(rest)
    assert decoder.direct_buffer() is None and decoder.next_message() is None
    decoder.receive_data(b"yz{}\n")
    assert plain(decoder.next_message()) == ({"attachments": [len(content), 2]}, [content, b"yz"])
    assert decoder.next_message() == ({}, [])


def test_small_remainders_are_not_worth_a_read_of_their_own():
    decoder = MessageDecoder(LIMITS)
    decoder.receive_data(b'{"attachments":[%d]}\nx' % DIRECT_BYTES)
    assert decoder.next_message() is None and decoder.direct_buffer() is None


def test_no_direct_memory_while_earlier_bytes_wait():
    decoder = MessageDecoder(LIMITS)
    decoder.receive_data(b'{"attachments":[%d]}\n' % (2 * DIRECT_BYTES))
    assert decoder.next_message() is None
    decoder.receive_data(b"first")
    assert decoder.direct_buffer() is None
    assert decoder.next_message() is None and decoder.direct_buffer() is not None


# ---- chunks -----------------------------------------------------------------------------------------

STREAMS = st.lists(
    st.sampled_from([
        b'{"a":1}\n', b"\n", b"\r\n", b" \n", b"null\n", b'{"attachments":[3,0,2]}\n\n{x}\n', b'[1,"\xc3\xa9"]\r\n',
        b'{"attachments":[]}\n', b"x" * 199 + b"\n", b'"' + b"y" * 198 + b'"\n', b"   7   \n", b'{"attachments":[9]}\n',
        b"z" * 230, b" " * 150,
    ]),
    max_size=8,
).map(b"".join)


@given(STREAMS, st.lists(st.integers(0, 50), max_size=30))
def test_chunks_do_not_matter(data, sizes):
    whole = messages_of(data)
    assert messages_of(data, sizes) == whole
    assert messages_of(data, [1] * len(data)) == whole


# ---- writing ----------------------------------------------------------------------------------------


def written(value: Any, **options: Any) -> Tuple[Any, List[bytes]]:
    line, *attachments = encode_message(value, **options)
    assert bytes(line).count(b"\n") == 1 and bytes(line).endswith(b"\n")
    return json.loads(bytes(line)), [bytes(item) for item in attachments]


def test_a_message_is_one_line():
    assert encode_message({"a": "x\ny", "b": [1]}) == [b'{"a":"x\\ny","b":[1]}\n']


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_small_bytes_are_text_and_large_ones_attachments(kind):
    small, large = bytes(range(256)) * (INLINE_BYTES // 256), b"x" * (INLINE_BYTES + 1)
    value, attachments = written({"a": kind(small), "b": [kind(large)], "c": kind(b""), "d": {"e": kind(large)}})
    assert value == {
        "a": base64.b64encode(small).decode(), "b": [{"$attachment": 0}], "c": "", "d": {"e": {"$attachment": 1}},
        "attachments": [1025, 1025],
    }
    assert attachments == [large, large]


def test_large_bytes_are_not_copied():
    content = bytearray(b"x" * 5000)
    _, attachment = encode_message({"a": content})
    content[0:1] = b"y"
    assert bytes(attachment[:2]) == b"yx"


def test_views_of_wider_items_are_their_bytes():
    view = memoryview(bytes(8 * 200)).cast("d")
    assert written({"a": view})[1] == [bytes(1600)]
    assert written({"a": view[:2]})[0] == {"a": base64.b64encode(bytes(16)).decode()}


def test_a_batch_has_no_attachments():
    value, attachments = written([{"result": b"x" * 5000}])
    assert attachments == [] and base64.b64decode(value[0]["result"]) == b"x" * 5000


def test_the_threshold_can_be_raised():
    value, attachments = written({"a": b"x" * 5000}, inline_bytes=5000)
    assert attachments == [] and len(value["a"]) > 5000


@pytest.mark.parametrize(
    "value",
    [{"a": object()}, {"a": float("nan")}, {"a": b"x", "b": {1}}, {"a": "\ud800"}, {"a": b"x", "b": "\ud800"},
     {"a": memoryview(b"x" * 4000)[::2]}],
)
def test_what_cannot_be_sent_is_our_own_mistake(value):
    with pytest.raises(LocalProtocolError, match="cannot be sent"):
        encode_message(value)


PAYLOADS = st.recursive(
    st.none() | st.integers(-5, 5) | st.text(max_size=5) | st.integers(0, 3000).map(lambda size: b"\n" * size),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4), max_leaves=12,
)


def with_text(value: Any) -> Any:
    """Return what the receiver of a value sees: small bytes as text."""
    if isinstance(value, bytes):
        return value if len(value) > INLINE_BYTES else base64.b64encode(value).decode()
    if isinstance(value, list):
        return [with_text(item) for item in value]
    return {key: with_text(item) for key, item in value.items()} if isinstance(value, dict) else value


@given(PAYLOADS)
def test_what_is_written_is_read_again(payload):
    data = b"".join(bytes(piece) for piece in encode_message({"params": [payload]}))
    ((value, attachments),) = messages_of(data, limits=Limits())
    assert join_attachments(value, attachments)["params"] == [with_text(payload)]


def test_what_the_other_side_would_not_read_is_not_sent():
    crowd = {"params": [["some text", 1]] * (Limits().json_values // 4)}
    with pytest.raises(LocalProtocolError, match="would pass 65536 values; send many values as bytes"):
        encode_sendable(crowd, Limits())
    crowd["params"] = crowd["params"][:-2]
    ((value, _),) = messages_of(b"".join(encode_sendable(crowd, Limits())), limits=Limits())
    assert value == crowd


# ---- references ---------------------------------------------------------------------------------------


def test_references_are_replaced_wherever_they_stand():
    value = {"a": {"$attachment": 1}, "b": [{"$attachment": 0}, {"$attachment": 0}], "c": {"$attachment": 0, "d": 1}}
    assert join_attachments(value, [b"x", b"y"]) == {"a": b"y", "b": [b"x", b"x"], "c": {"$attachment": 0, "d": 1}}


@pytest.mark.parametrize("index", [-1, 2, 1.0, True, "0", None, [0], 2 ** 62])
def test_a_reference_to_nothing_is_an_invalid_request(index):
    with pytest.raises(InvalidRequest):
        join_attachments({"a": [{"$attachment": index}]}, [b"x", b"y"])
