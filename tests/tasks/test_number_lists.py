"""Lists of numbers in one go: the same text, and the same list back, as values have everywhere."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.tasks.number_lists import dump_number_list, load_number_list
from discompute_lite.tasks.raw_pieces import PIECE_LEAST
from discompute_lite.tasks.value_writer import NUMBERS_LEAST
from discompute_lite.tasks.values import dump_value, dump_with_pieces, load_value

MANY = NUMBERS_LEAST
#: So many of four bytes are a piece of memory.
LONG = PIECE_LEAST // 4
LISTS = st.one_of(
    st.lists(st.integers(-2 ** 31, 2 ** 31 - 1), min_size=MANY, max_size=2 * MANY),
    st.lists(st.integers(-2 ** 63, 2 ** 63 - 1), min_size=MANY, max_size=2 * MANY),
    st.lists(st.floats(), min_size=MANY, max_size=2 * MANY),
    st.builds(lambda first, items: [first + item for item in range(items)],
              st.integers(-2 ** 63, 2 ** 62), st.integers(LONG // 2, LONG + 1)),
    st.builds(lambda first, items: [first] * items, st.floats(), st.integers(LONG // 2 - 1, LONG // 2 + 1)),
)


def exact(items):
    """Return what tells -0.0 from 0.0, nan from nothing, and 1 from True."""
    return [(type(item), struct.pack("<d", item) if type(item) is float else item) for item in items]


@given(LISTS)
def test_the_text_is_that_of_any_value_and_is_read_as_one(items):
    text = dump_number_list("values", items)
    assert text == dump_with_pieces({"values": items})
    assert exact(load_number_list("values", text)) == exact(load_value(text)["values"]) == exact(items)


@pytest.mark.parametrize("items", [
    [], [1] * (MANY - 1), [True] * MANY, [1] * MANY + [True], [1] * MANY + [1.0], ["1"] * MANY, [None] * MANY,
    [2 ** 63] * MANY, [-(2 ** 63) - 1] + [0] * MANY, [[1]] * MANY,
], ids=repr)
def test_what_is_not_many_numbers_of_one_kind_is_left_to_others(items):
    assert dump_number_list("items", items) is None
    assert load_number_list("items", dump_value({"items": items})) is None


TEXT = dump_number_list("items", list(range(MANY)))
#: Made of line feeds, and of the bytes with which frames begin.
LONG_TEXT = dump_number_list("items", [0x0A00010A] * LONG)


@pytest.mark.parametrize("text", [
    b"", b"{}", TEXT[:-1], TEXT + b" ", b" " + TEXT, TEXT.replace(b"items", b"rows"), TEXT.replace(b'"i"', b'"u"'),
    TEXT.replace(b'"i"', b'"d"'), TEXT.replace(b",4,", b",3,"), TEXT.replace(b",4,", b",8,").replace(b"AAAA", b"", 1),
    TEXT.replace(b"AAAA", b"AAA ", 1), TEXT.replace(b"AAAA", b"AAA\xff", 1), TEXT.replace(b"AAAA", b'AAAA"', 1),
    TEXT.replace(b'"}]}}', b'","x":1}]}}'), TEXT[:-5] + b"=" + TEXT[-5:],
    b"\1", LONG_TEXT[:-1], LONG_TEXT + b" ", LONG_TEXT[1:], LONG_TEXT.replace(b"items", b"rows"),
    LONG_TEXT.replace(b"items", b"item"), LONG_TEXT.replace(b',4096]', b',4095]'), LONG_TEXT.replace(b"[57,", b"[58,"),
    LONG_TEXT.replace(b"[57,4096]", b"[58,4095]"), LONG_TEXT.replace(b'"i",4', b'"d",4'),
    LONG_TEXT.replace(b'"i",4', b'"q",7'), LONG_TEXT.replace(b'"raw","v":0', b'"raw","v":1'),
    dump_number_list("items", [0] * (LONG + 1)).replace(b'"i",4', b'"q",8'), LONG_TEXT.replace(b'"i",4', b'"h",4'),
    dump_number_list("items", [-1] * MANY).replace(b'"i",4', b'"H",4'),
])
def test_any_other_text_is_left_to_others(text):
    assert load_number_list("items", text) is None


@given(st.sampled_from([TEXT, LONG_TEXT]), st.integers(0, len(TEXT) - 1), st.integers(0, 255))
def test_a_text_that_is_not_as_it_was_is_read_as_others_read_it_or_left_to_them(text, place, byte):
    text = text[:place] + bytes([byte]) + text[place + 1:]
    items = load_number_list("items", text)
    assert items is None or exact(items) == exact(load_value(text)["items"])
