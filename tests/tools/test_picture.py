"""The picture shows what a terminal would show, and nothing of the machine on which it was made."""

from __future__ import annotations

import os
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pictures are made where there are pseudo-terminals")


@pytest.fixture(scope="module")
def picture(load_tool):
    return load_tool("picture")


@pytest.fixture
def shown(picture):
    """Feed a screen of ten columns; return its rows as text."""

    def show(text, columns=10):
        screen = picture.Screen(columns)
        screen.feed(text)
        return ["".join(character for character, _ in row) for row in screen.lines()]

    return show


@pytest.mark.parametrize("text, rows", [
    ("one\r\ntwo\r\n", ["one", "two"]),
    ("10 %\r50 %\r100 %\r\n", ["100 %"]),
    ("long line\rnew\x1b[K\r\n", ["new"]),
    ("abcdefghijklm", ["abcdefghij", "klm"]),
    ("one\r\ntwo\r\n\x1b[2Aeins\x1b[2Bx", ["eins", "two", "    x"]),
    ("a\tb", ["a       b"]),
    ("\x1b[?25l\x1b]0;title\x07bar\x1b[?25h", ["bar"]),
    ("┌──┐ e\u0301", ["┌──┐ e\u0301"]),
    ("日本x", ["日本x"]),
    ("ab\b\bc", ["cb"]),
    ("one\r\ntwo\r\x1b[1A\x1b[J", []),
    ("one\r\ntwo\x1b[2J\x1b[Hthree", ["three"]),
    ("ab\x1b[5Gc", ["ab  c"]),
])
def test_a_screen_ends_as_a_terminal_would(shown, text, rows):
    assert shown(text) == rows


def test_a_wide_character_takes_two_cells(picture):
    screen = picture.Screen(4)
    screen.feed("日本語")
    assert [len(row) for row in screen.lines()] == [4, 2]


@pytest.mark.parametrize("codes, expected", [
    ("1;32", {"bold": True, "colour": "#98c379"}),
    ("91", {"colour": "#ff7b86"}),
    ("44;7", {"behind": "#61afef", "inverse": True}),
    ("38;5;196", {"colour": "#ff0000"}),
    ("38;5;244", {"colour": "#808080"}),
    ("48;2;1;2;3", {"behind": "#010203"}),
    ("1;31;0", {}),
    ("1;2;22", {}),
    ("31;39", {}),
    ("", {}),
])
def test_colours_and_weights(picture, codes, expected):
    screen = picture.Screen(10)
    screen.feed(f"\x1b[{codes}mx")
    assert screen.lines()[0][0] == ("x", picture.Style(**expected))


def test_a_real_command_becomes_a_picture(picture, tmp_path):
    target = tmp_path / "out.svg"
    program = "import sys; print(sys.stdout.isatty(), '\\x1b[32m<ok> & done\\x1b[0m')"
    assert picture.main([str(target), "--title", "try", "--", "python3", "-c", program]) == 0
    tree = ElementTree.parse(target)
    texts = [element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "try"
    assert texts[-2:] == ["True ", "<ok> & done"]
    assert sys.prefix not in target.read_text(encoding="utf-8")


def test_no_picture_of_a_failure(picture, tmp_path, capsys):
    assert picture.main([str(tmp_path / "out.svg"), "--", "python3", "-c", "raise SystemExit('no luck')"]) == 1
    assert "exit code 1" in capsys.readouterr().err
    assert not (tmp_path / "out.svg").exists()


def test_paths_of_this_machine_stay_out(picture):
    temporary = tempfile.gettempdir().rstrip("/") + "/abc"
    assert picture.without_paths(f"in {picture.ROOT}/tools", []) == "in tools"
    with pytest.raises(picture.CannotDraw):
        picture.without_paths(f"in {temporary}", [])
    assert picture.without_paths(f"in {temporary}", [f"{temporary}=STATE"]) == "in STATE"
