"""What a command writes arrives in the letters that the other end knows; an end that takes nothing is left in peace."""

import io
import os
import sys

import pytest

from discompute_lite.faces import quick
from discompute_lite.faces.console import Console, width_of, write_text
from discompute_lite.faces.outlet import Outlet


class Terminal(io.TextIOWrapper):
    """A terminal of some encoding; `shown` is what a person sees there."""

    def __init__(self, encoding, errors="strict"):
        super().__init__(io.BytesIO(), encoding=encoding, errors=errors, newline="")

    def isatty(self):
        return True

    @property
    def shown(self):
        return self.buffer.getvalue().decode(self.encoding)


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")


@pytest.mark.parametrize("errors", ["strict", "backslashreplace", "surrogateescape"])
def test_a_bar_is_a_bar_where_only_ascii_is_known(errors):
    screen = Terminal("ascii", errors)
    Console(out=screen, err=screen).progress(0.5, "3 of 6")
    assert screen.shown.endswith("############............  50 % 3 of 6")


def test_the_same_bar_has_blocks_where_they_are_known():
    screen = Terminal("utf-8")
    Console(out=screen, err=screen).progress(0.5, "3 of 6")
    assert screen.shown.endswith("████████████░░░░░░░░░░░░  50 % 3 of 6")


def test_only_letters_that_are_not_known_are_replaced():
    for encoding, shown in (("ascii", "8081-8099 ...?"), ("latin-1", "8081-8099 ...é"), ("utf-8", "8081–8099 …é")):
        screen = Terminal(encoding)
        write_text(screen, "8081–8099 …é")
        assert screen.shown == shown


def test_an_outlet_writes_in_the_letters_of_its_stream(tmp_path):
    with open(tmp_path / "out", "w", encoding="ascii") as stream:
        outlet = Outlet(stream, write_text)
        write_text(outlet, "waiting …\n")
        outlet.close(5.0)
    assert (tmp_path / "out").read_text() == "waiting ...\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_stream_that_took_nothing_is_not_tried_again_at_the_end():
    # Its end would raise, as the interpreter's does, if it still held the text.
    with open("/dev/full", "w") as full, pytest.raises(OSError):
        write_text(full, "lost\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_an_error_that_cannot_be_written_changes_no_exit_code():
    with open("/dev/full", "w") as full:
        Console(out=Terminal("utf-8"), err=full).error("there is no command 'foo'")


def test_the_quick_way_leaves_to_the_whole_program_what_it_cannot_do(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["discompute-lite", "version"])
    monkeypatch.setattr(sys, "stdout", None)
    assert quick.main_quick() is None, "output is closed"
    narrow = Terminal("utf-8")
    narrow.fileno = lambda: 1
    monkeypatch.setattr(sys, "stdout", narrow)
    monkeypatch.setattr(quick.os, "get_terminal_size", lambda fd: os.terminal_size((40, 24)))
    assert quick.main_quick() is None and narrow.shown == ""
    monkeypatch.setattr(quick.os, "get_terminal_size", lambda fd: os.terminal_size((80, 24)))
    assert quick.main_quick() == 0 and narrow.shown == quick.version_text(is_json=False) + "\n"


@pytest.mark.skipif(not hasattr(os, "uname"), reason="Windows runs on no phone")
@pytest.mark.parametrize("machine, columns", [("iPhone17,3", 40), ("iPad13,4", 80), ("x86_64", 80)])
def test_a_terminal_that_does_not_tell_its_columns_has_a_phones_on_a_phone(monkeypatch, machine, columns):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Darwin", "localhost", "25.0.0", "", machine)))
    assert width_of(Terminal("utf-8")) == columns
    monkeypatch.setenv("COLUMNS", "52")
    assert width_of(Terminal("utf-8")) == 52
