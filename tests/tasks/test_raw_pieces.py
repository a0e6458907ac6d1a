"""Large pieces of memory travel beside the text, as they are, and everything comes back as it was."""

import array
import base64
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.errors import TaskRejected
from discompute_lite.tasks.blob_values import blobs_in
from discompute_lite.tasks.calls import (
    CallsTask, call_unit, calls_data, function_line, has_line_raised, items_unit, read_outcomes,
)
from discompute_lite.tasks.functions import pack_function
from discompute_lite.tasks.raw_pieces import (
    LENGTHS_MOST, PIECE_LEAST, TEXTS_MARK, VALUE_MARK, first_text, join_texts, json_of, parts_of_value, split_texts,
)
from discompute_lite.tasks.values import dump_value, dump_with_pieces, load_value

#: Everything that a look for line breaks, quotes or marks would stumble over.
LARGE = bytes(range(256)) * (PIECE_LEAST // 256) + b'\n\0\1{"$t":"raw","v":0}"raised"\n'
JSON = st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(
    st.text(), inner), max_leaves=8)
PIECES = st.sampled_from([LARGE, LARGE[::-1], bytes(PIECE_LEAST)])
VALUES = st.recursive(
    JSON | PIECES | PIECES.map(bytearray) | PIECES.map(lambda each: array.array("B", each)) | st.binary(max_size=9),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner), max_leaves=8)


@given(VALUES)
def test_a_value_comes_back_whatever_stands_beside_its_text(value):
    data = dump_with_pieces(value)
    assert load_value(data) == value and load_value(memoryview(data)) == value
    text, *pieces = parts_of_value(data)
    assert len(text) < PIECE_LEAST + 10_000 and all(len(piece) >= PIECE_LEAST for piece in pieces)
    assert data == dump_value(value) or data[:1] == VALUE_MARK


@given(st.lists(VALUES, min_size=1, max_size=5))
def test_texts_are_put_together_and_taken_apart(values):
    texts = [dump_with_pieces(value) for value in values]
    data = join_texts(texts)
    assert split_texts(data) == texts and first_text(data) == texts[0]
    assert list(json_of(data)) == [bytes(parts_of_value(text)[0]) for text in texts] or b"\n".join(texts) == data


def test_what_is_small_stays_text_and_lines():
    assert dump_with_pieces([b"x" * (PIECE_LEAST - 1)]) == dump_value([b"x" * (PIECE_LEAST - 1)])
    assert join_texts([b"1", b"2"]) == b"1\n2" and split_texts(b"") == [] and first_text(b"") == b""


def test_a_piece_weighs_what_it_is_and_the_same_object_is_one_piece():
    data = dump_with_pieces([LARGE, LARGE, {"again": LARGE}])
    assert len(data) < len(LARGE) + 200
    first, second, third = load_value(data)
    assert first == LARGE and first is second is third["again"]


def test_what_is_met_twice_and_can_be_changed_stays_one_object():
    piece = bytearray(LARGE)
    first, second = load_value(dump_with_pieces([piece, piece]))
    assert first == piece and first is second


def test_numpy_arrays_and_long_lists_of_numbers_have_their_items_beside():
    numpy = pytest.importorskip("numpy")
    for value in (numpy.arange(10_000, dtype="f8"), list(range(5_000))):
        data = dump_with_pieces({"value": value})
        assert len(parts_of_value(data)[0]) < 100
        found = load_value(data)["value"]
        assert type(found) is type(value) and list(found) == list(value)


@pytest.mark.parametrize("data", [
    VALUE_MARK, VALUE_MARK + b"[1]", VALUE_MARK + b"[1]\n", VALUE_MARK + b"[1]\n12", VALUE_MARK + b"[-1,2]\n1",
    VALUE_MARK + b"[1.0]\n1", VALUE_MARK + b"[true]\n1", VALUE_MARK + b"{}\n", VALUE_MARK + b"[" * 5000 + b"\n",
    VALUE_MARK + b"[]\n", VALUE_MARK + b" " * LENGTHS_MOST + b"[1]\n1", VALUE_MARK + b'[20]\n{"$t":"raw","v":"0"}',
    VALUE_MARK + b'[18]\n{"$t":"raw","v":0}', VALUE_MARK + b'[19,1]\n{"$t":"raw","v":-1}x',
    VALUE_MARK + b'[18,1]\n{"$t":"raw","v":1}x', b'{"$t":"raw","v":0}', TEXTS_MARK + b"[1]\n1",
    b'{"$t":"bytearray","v":{"$t":"list","v":[]}}', VALUE_MARK + b'[18,4095]\n{"$t":"raw","v":0}' + b"x" * 4095,
    VALUE_MARK + b"[" + b"1" * 4000 + b"]\n1",
])
def test_what_is_framed_wrongly_or_names_what_is_not_there_is_refused(data):
    with pytest.raises(TaskRejected):
        load_value(data)


MARKED = [{"$t": "bytes", "id": 1, "v": base64.b64encode(bytes(99_000)).decode()}]
AGAIN = {
    "a piece in a bytearray": {"$t": "bytearray", "v": {"$t": "raw", "v": 0}},
    "a piece in an array": {"$t": "array", "v": ["B", 1, {"$t": "raw", "v": 0}]},
    "a piece in a list that is tagged": {"$t": "array", "v": {"$t": "list", "v": ["B", 1, {"$t": "raw", "v": 0}]}},
    "a piece in a tuple": {"$t": "numbers", "v": {"$t": "tuple", "v": ["b", 1, {"$t": "raw", "v": 0}]}},
    "a piece in text": {"$t": "str", "v": {"$t": "raw", "v": 0}},
    "a piece in an array of NumPy's": {"$t": "ndarray", "v": ["|u1", [1_000_000], {"$t": "raw", "v": 0}]},
    "bytes that have a mark": {"$t": "bytearray", "v": {"$t": "ref", "v": 1}},
}


@pytest.mark.parametrize("again", AGAIN.values(), ids=AGAIN)
def test_what_is_made_of_the_same_memory_again_and_again_is_refused_before_it_costs_much(again):
    text = json.dumps([*MARKED, *[again] * 500]).encode()
    data = VALUE_MARK + b"[%d,1000000]\n" % len(text) + text + bytes(1_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(TaskRejected, match="send these once"):
            load_value(data)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A list of numbers is eight times its items of a byte, also where they come once.
    assert most < 24 * len(data)


def test_a_set_of_a_list_that_stands_elsewhere_is_refused():
    text = '[{"$t":"list","id":1,"v":[1,2]},{"$t":"set","v":{"$t":"ref","v":1}}]'
    with pytest.raises(TaskRejected, match="an array is wanted"):
        load_value(text.encode())


def test_what_is_made_of_memory_of_its_own_is_never_refused_however_often_that_comes():
    views = [memoryview(bytearray(LARGE)) for _ in range(50)]
    value = [LARGE] * 500 + views + [bytearray(LARGE[:500])] * 3 + [array.array("B", LARGE) for _ in range(50)]
    for dump in (dump_value, dump_with_pieces):
        assert load_value(dump(value)) == value


@given(st.binary().flatmap(lambda end: st.sampled_from([VALUE_MARK, TEXTS_MARK, b""]).map(lambda mark: mark + end)))
def test_whatever_comes_is_taken_apart_and_nothing_is_lost(data):
    texts = split_texts(data)
    assert b"".join(texts).replace(b"\n", b"") in data.replace(b"\n", b"") or data[:1] == TEXTS_MARK
    assert bool(texts) == bool(data) or data == TEXTS_MARK + b"[]\n"
    list(json_of(data)), first_text(data), blobs_in(data), has_line_raised(data)


@pytest.mark.slow
@pytest.mark.parametrize("mark", [VALUE_MARK, TEXTS_MARK])
def test_to_take_apart_what_has_very_many_empty_parts_costs_little_more_than_it_weighs(mark):
    data = mark + b"[" + b",".join([b"0"] * 300_000) + b"]\n"
    tracemalloc.start()
    try:
        parts_of_value(data), split_texts(data), first_text(data)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 20 * len(data)


def test_nobody_reads_a_piece_as_text():
    mark = b'{"$t":"blob","v":"' + b"0" * 64 + b'"}' + bytes(PIECE_LEAST)
    unit = call_unit([mark], {})
    assert blobs_in(unit) == blobs_in(calls_data(b"{}", [unit, unit])) == []
    assert not has_line_raised(dump_with_pieces({"value": b'"raised"' * PIECE_LEAST}))
    assert has_line_raised(dump_with_pieces({"values": [LARGE], "raised": {}}))


def doubled(data, *more):
    if more:
        raise ValueError(data)
    return data + data


def test_calls_take_and_return_pieces_and_so_do_exceptions_and_many_in_one_unit():
    packed = pack_function(doubled)
    units = [call_unit([LARGE], {}), items_unit([LARGE, b"1", LARGE]), call_unit([2], {}), call_unit([LARGE, 1], {})]
    data = calls_data(function_line(packed), units)
    assert CallsTask().code_in(data)[0] == "doubled"
    assert len(data) < 3 * len(LARGE) + 10_000, "each unit has the piece once"
    result = CallsTask().run_data(data, "t")
    single, many, small, raised = read_outcomes(result, packed.plan["spaces"])
    assert single.values == [LARGE * 2] and many.values == [LARGE * 2, b"11", LARGE * 2] and small.values == [4]
    assert isinstance(raised.raised, ValueError) and raised.raised.args == (LARGE,)
    lines = split_texts(result)
    assert [has_line_raised(line) for line in lines] == [False, False, False, True]


@pytest.mark.parametrize("data", [
    b"\n" * 50, join_texts([dump_with_pieces(b"x" * PIECE_LEAST)] * 51),
], ids=["lines", "frame"])
def test_of_too_many_texts_only_some_are_taken_apart(data):
    assert len(split_texts(data)) == 51 == len(split_texts(data, 51))
    assert len(split_texts(data, 50)) == 51 and len(split_texts(data, 3)) == 4
