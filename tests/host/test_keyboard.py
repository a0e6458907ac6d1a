"""A typed q ends a node; whatever else stands in for a keyboard costs nothing."""

from __future__ import annotations

import os

import pytest

from discompute_lite.host.keyboard import TYPED_MOST, Keyboard


class Input:
    """A standard input that is a pipe, watched by hand."""

    def __init__(self):
        read, self._write = os.pipe()
        self.file = os.fdopen(read)
        self.quits, self.watched = [], {}
        self.keyboard = Keyboard(self.file, self._watch, lambda number: self.watched.pop(number),
                                 lambda: self.quits.append(True))

    def _watch(self, number, on_readable, _):
        self.watched[number] = on_readable

    def types(self, *texts):
        for text in texts:
            os.write(self._write, text)
            for on_readable in list(self.watched.values()):
                on_readable()
        return len(self.quits)

    def ends(self):
        os.close(self._write)
        for on_readable in list(self.watched.values()):
            on_readable()


@pytest.mark.parametrize("typed, quits", [
    ([b"q\n"], 1), ([b"Q\r\n"], 1), ([b" quit \n"], 1), ([b"q", b"\n"], 1), ([b"x\nq\n"], 1), ([b"q"], 0), ([b"\n"], 0),
    ([b"question\n"], 0), ([b"\xff\xfe\n"], 0), ([b"z" * TYPED_MOST, b"q\n", b"q\n"], 1)])
def test_a_line_that_is_a_q_and_nothing_else_ends_it(typed, quits):
    assert Input().types(*typed) == quits


def test_an_input_that_ends_is_not_looked_at_again():
    console = Input()
    console.ends()
    assert console.watched == {} and not console.keyboard.is_heard and console.quits == []
    console.keyboard.stop()


class Strange:
    """An input that knows `fileno` and cannot be watched, as one that is a file."""

    def fileno(self):
        return 0


@pytest.mark.parametrize("stdin", [None, object(), Strange()])
def test_what_cannot_be_watched_is_no_keyboard(stdin):
    def watch(*_):
        raise PermissionError("epoll takes no files")

    assert not Keyboard(stdin, watch, watch, lambda: None).is_heard
