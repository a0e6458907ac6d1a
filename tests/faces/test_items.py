"""A file of items: JSON values or text, told by its first line, whatever the pieces in which it comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.faces.items import ItemReader, WrongItem


def items_of(data, size=0, is_text=False):
    reader = ItemReader("items.txt", is_text=is_text)
    size = size or len(data) or 1
    found = []
    for start in range(0, len(data), size):
        found += reader.items(data[start:start + size])
    return [*found, *reader.last()]


@pytest.mark.parametrize("data, items", [
    (b"1\n2\n", [1, 2]), (b"1\n2", [1, 2]), (b'{"a": [1]}\n\n"x"\nnull\n', [{"a": [1]}, "x", None]),
    (b"one\n2\n\nlast", ["one", "2", "", "last"]), (b"\r\n5\r\n6\r\n", [5, 6]), (b"\xef\xbb\xbf7\n8\n", [7, 8]),
    (b"", []), (b"\n\n", []), ("grün\n".encode(), ["grün"]), (b"NaN\nInfinity\n", ["NaN", "Infinity"]),
    (b"\n\nword\n", ["word"]), (b"-\n", ["-"]),
])
def test_the_first_line_tells_what_a_file_is(data, items):
    assert items_of(data) == items


def test_text_can_be_asked_for():
    assert items_of(b"1\n[\n\n", is_text=True) == ["1", "[", ""]


@pytest.mark.parametrize("data, says", [
    (b"1\nx\n", "line 2 of items.txt is no JSON value, as the first one is"), (b"1\nNaN\n", "line 2"),
    (b"[\n1\n]\n", "line 1 of items.txt begins like a JSON value"), (b"\n{\n", "line 2"),
    (b"a\n\xff\n", "line 2 of items.txt is not UTF-8"), (b"0\n" + b"[" * 100_000, "line 2"),
])
def test_what_is_no_item_is_told_by_its_line(data, says):
    with pytest.raises(WrongItem, match=says) as caught:
        items_of(data)
    assert "; " in caught.value.message


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r\ufeff"))), st.integers(1, 7))
def test_pieces_of_any_size_give_the_same_lines(lines, size):
    data = "\n".join([*lines, ""]).encode()
    assert items_of(data, size, is_text=True) == lines
