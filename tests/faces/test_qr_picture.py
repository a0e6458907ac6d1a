"""A QR code in a terminal: every module is where it belongs, and none is drawn where there is no room."""

from __future__ import annotations

import io

import pytest

from discompute_lite.faces.cluster_commands import _show_invitation
from discompute_lite.faces.console import Console
from discompute_lite.faces.qr_picture import qr_lines
from discompute_lite.faces.share_command import _show_offer, share_line
from discompute_lite.wire.qr import qr_code

TEXT = "discompute://join/1/0123456789ABCDEFGHJKMNPQRS@192.168.1.20:49200"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("discompute_lite.faces.console.height_of", lambda stream: 40)
    return Terminal()


def test_the_characters_are_the_modules_with_light_around_them():
    modules = qr_code(TEXT.encode())
    lines = qr_lines(TEXT, 80, 40, is_coloured=False)
    side = len(modules) + 8
    assert {len(line) for line in lines} == {side} and len(lines) == (side + 1) // 2
    light = []
    for line in lines:
        light.append([mark in "█▀" for mark in line])
        light.append([mark in "█▄" for mark in line])
    for row in range(side):
        for column in range(side):
            inside = 4 <= row < side - 4 and 4 <= column < side - 4
            assert light[row][column] == (not inside or not modules[row - 4][column - 4])


@pytest.mark.parametrize("columns, rows, quiet", [
    (80, 24, 4), (80, 40, 4), (42, 40, 4), (41, 40, 2), (80, 23, 2), (80, 22, 2), (37, 40, None), (80, 21, None),
])
def test_it_fits_or_is_not_drawn(columns, rows, quiet):
    lines = qr_lines(TEXT, columns, rows, is_coloured=False)
    if quiet is None:
        assert lines == []
    else:
        assert len(lines[0]) == len(qr_code(TEXT.encode())) + 2 * quiet < columns and len(lines) < rows


def test_what_no_code_holds_is_not_drawn():
    assert qr_lines("x" * 1004, 200, 200, is_coloured=False) == []


def test_a_terminal_gets_it_in_black_and_white(terminal):
    assert Console(out=terminal).show_qr(TEXT)
    assert all(line.startswith("\x1b[97;40m") and line.endswith("\x1b[0m") for line in terminal.getvalue().splitlines())


def test_nobody_else_gets_one(terminal, monkeypatch):
    plain = io.StringIO()
    assert not Console(out=plain).show_qr(TEXT) and not Console(out=terminal, is_json=True).show_qr(TEXT)
    assert not Console(out=terminal, is_quiet=True).show_qr(TEXT) and plain.getvalue() + terminal.getvalue() == ""
    monkeypatch.setattr(Terminal, "encoding", "ascii")
    assert not Console(out=terminal).show_qr(TEXT)


def test_without_colours_it_is_drawn_without(terminal, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert Console(out=terminal).show_qr(TEXT) and "\x1b" not in terminal.getvalue()


@pytest.mark.parametrize("link, words", [("", "48219903@10.0.0.1:49200"), (TEXT, TEXT)])
def test_an_invitation_shows_what_join_takes(terminal, link, words):
    opened = {"is_new_cluster": False, "open_s": 300.0, "link": link, "code": "4821 9903",
              "address": "10.0.0.1:49200"}
    _show_invitation(Console(out=terminal, err=io.StringIO()), opened)
    assert "\n".join(qr_lines(words, 80, 40, is_coloured=True)) in terminal.getvalue()


@pytest.mark.parametrize("columns, is_drawn", [("110", True), ("80", False)])
def test_a_large_terminal_shows_the_line_for_phones(terminal, monkeypatch, columns, is_drawn):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("discompute_lite.faces.console.height_of", lambda stream: 60)
    offer = {"addresses": ["192.168.1.20:8080"], "path": "/discompute.z", "sha256": "ab" * 32, "open_s": 600.0}
    _show_offer(Console(out=terminal, err=io.StringIO()), offer, TEXT)
    picture = qr_lines(share_line("192.168.1.20:8080", offer, TEXT), 110, 60, is_coloured=True)
    assert picture and ("\n".join(picture) in terminal.getvalue()) == is_drawn
