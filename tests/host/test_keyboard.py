"""A typed q ends a node, other lines are handed on; whatever else stands in for a keyboard costs nothing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from discompute_lite.host.keyboard import TYPED_MOST, Keyboard, is_in_foreground


class Input:
    """A standard input that is a pipe, watched by hand."""

    def __init__(self, is_ours=True):
        read, self._write = os.pipe()
        self.file = os.fdopen(read)
        self.quits, self.lines, self.watched, self.is_ours = [], [], {}, is_ours
        self.keyboard = Keyboard(self.file, self, on_quit=lambda: self.quits.append(True), on_line=self.lines.append,
                                 may_read=lambda number: self.is_ours)

    def watch(self, number, on_readable, _):
        self.watched[number] = on_readable

    def unwatch(self, number):
        del self.watched[number]

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


@pytest.mark.parametrize("typed, lines", [
    ([b"10.0.0.7\n"], ["10.0.0.7"]), ([b" call  attic \r\n\n"], ["call  attic"]),
    ([b"10.0.", b"0.7", b"\n"], ["10.0.0.7"]),
    ([b"a.b\nq\nc.d\n"], ["a.b"]), ([b"\xff\n"], ["\ufffd"]), ([b"half"], []), ([b"\n \n"], []),
])
def test_other_lines_are_handed_on_until_a_q(typed, lines):
    console = Input()
    console.types(*typed)
    assert console.lines == lines


def test_what_is_typed_for_another_program_is_left_to_it():
    console = Input()
    console.is_ours = False
    assert console.types(b"q\n") == 0 and console.watched == {} and not console.keyboard.is_heard
    assert os.read(console.file.fileno(), 9) == b"q\n"
    assert not Input(is_ours=False).keyboard.is_heard


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="this system has no terminals of that kind")
def test_a_terminal_is_read_in_the_foreground_alone():
    ours, theirs = os.openpty()
    read, write = os.pipe()
    assert not is_in_foreground(theirs) and not is_in_foreground(read), "neither is the terminal that we run in"
    program = ("import os, sys\nfrom discompute_lite.host.keyboard import is_in_foreground\n"
               "import fcntl, termios\nfcntl.ioctl(0, termios.TIOCSCTTY, 0)\nprint(is_in_foreground(0))\n"
               "if not os.fork():\n    os.setpgid(0, 0)\n    print(is_in_foreground(0), flush=True)\n    os._exit(0)\n"
               "os.wait()\n")
    done = subprocess.run([sys.executable, "-u", "-c", program], stdin=theirs, capture_output=True, text=True,
                          start_new_session=True)
    assert done.stdout.split() == ["True", "False"], done.stderr
    for number in (ours, theirs, read, write):
        os.close(number)


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
    class Loop:
        def watch(self, *_):
            raise PermissionError("epoll takes no files")

    assert not Keyboard(stdin, Loop(), on_quit=print, on_line=print).is_heard
