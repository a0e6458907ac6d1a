"""Write for people: colour, width and progress where the terminal has them, plain text where not.

Knows:   streams that have only `write`, terminals, NO_COLOR, phones' consoles of 40 columns, readers that left.
Refuses: to let text from the network command the terminal: control characters are shown, not sent.
Read next: faces/listing.py.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from typing import Any, Callable, Optional, Sequence

from .outlet import Outlet
from .qr_picture import qr_lines

#: Colours by what they mean.
STYLES = {"good": "32", "bad": "31", "warn": "33", "quiet": "2", "strong": "1", "accent": "36"}
#: Columns where the terminal does not say, and where an app shows what is printed, on a phone held upright.
DEFAULT_WIDTH, APP_WIDTH = 80, 40
#: Rows where the terminal does not say, and the least that a picture is drawn in.
DEFAULT_HEIGHT, LOWEST = 24, 4
#: Narrower than this nothing is laid out: wrapping would cut words into letters.
NARROWEST = 20
#: Columns of a bar, and of what stands beside it with its text: the percentage, spaces, and one that stays free.
NARROWEST_BAR, WIDEST_BAR, BAR_MARGIN = 8, 30, 10
#: What stands for our marks where a stream knows few letters, such as with LANG=C.
PLAIN_MARKS = str.maketrans({"█": "#", "▀": "'", "▄": "_", "░": ".", "…": "...", "–": "-", "—": "-", "×": "x"})
#: Seconds that whoever reads has for the last lines of a console that does not wait.
LAST_LINES_S = 0.2


class Console:
    """Own standard output and error of one command."""

    def __init__(self, *, is_json: bool = False, is_quiet: bool = False, out: Any = None, err: Any = None) -> None:
        self.is_json = is_json
        self.is_quiet = is_quiet
        self._out = out if out is not None else sys.stdout
        self._err = err if err is not None else sys.stderr
        self._has_progress = False
        #: Lines of the picture that stands above the cursor, to be drawn over by the next one.
        self._picture_lines = 0
        #: Columns of standard output.
        self.width = width_of(self._out)

    def stop_waiting(self) -> Callable[[], None]:
        """Leave out from now on what nobody reads, instead of waiting until somebody does; return what ends that."""
        before = self._out, self._err
        err = Outlet(self._err, write_text)
        out = Outlet(self._out, write_text, lambda: self.error(
            "nobody reads this command's output; lines are left out until somebody does"
        ))
        self._out, self._err = out, err

        def end() -> None:
            out.close(LAST_LINES_S)
            if out.left_out:
                self.note(f"{out.left_out} lines were left out because nobody read them")
            err.close(LAST_LINES_S)
            self._out, self._err = before

        return end

    def print(self, text: str = "", style: str = "", *, indent: int = 0) -> None:
        """Write one line of the result to standard output; on a terminal it is broken where it would not fit.

        What follows begins below column `indent`, by default a little further right than the line.
        """
        self.end_progress()
        write_text(self._out, self._styled(self._out, self._fitted(self._out, text, indent), style) + "\n")

    def result(self, text: str) -> None:
        """Write a job's own text to standard output, as it is."""
        self.end_progress()
        write_text(self._out, text + "\n")

    def note(self, text: str, style: str = "quiet", *, is_whole: bool = False) -> None:
        """Write one line beside the result: to standard error, and not at all when quiet.

        One that `is_whole` is left to the terminal to break, so that it can be copied.
        """
        if not self.is_quiet:
            self.end_progress()
            fitted = text if is_whole else self._fitted(self._err, text)
            write_text(self._err, self._styled(self._err, fitted, style) + "\n")

    def error(self, text: str) -> None:
        """Write the one line that says what went wrong and what to do."""
        line = self._fitted(self._err, f"discompute: {printable(text)}")
        try:
            self.end_progress()
            write_text(self._err, self._styled(self._err, line, "bad") + "\n")
        except OSError:
            pass  # Nobody can be told; the exit code stays what it is.

    def json(self, value: Any) -> None:
        """Write one JSON document, on one line, to standard output."""
        self.end_progress()
        write_text(self._out, json.dumps(value, ensure_ascii=False) + "\n")

    @property
    def is_live(self) -> bool:
        """Whether what is printed may be drawn over: a person looks at a terminal."""
        return not self.is_json and is_terminal(self._out)

    def show_qr(self, text: str) -> bool:
        """Draw a QR code of a text, where a person looks at a terminal that has room for it; return whether it did."""
        if not self.is_live or self.is_quiet:
            return False
        has_halves = _in_letters_of(self._out, "█▀▄") == "█▀▄"
        is_coloured = not os.environ.get("NO_COLOR")
        lines = qr_lines(text, width_of(self._out), height_of(self._out), is_coloured=is_coloured) if has_halves else []
        for line in lines:
            self.result(line)
        return bool(lines)

    def redraw(self, lines: Sequence[str]) -> None:
        """Draw lines in place of the last picture, if nothing was printed since; they are cut to the terminal.

        The cursor rests below them, so that whatever ends the command leaves a terminal in order.
        """
        columns, rows = width_of(self._out), height_of(self._out)
        # The last column stays free: some terminals go on to the next line there.
        picture = [line if len(line) < columns else line[: columns - 2] + "…" for line in lines][: rows - 1]
        up = f"\x1b[{self._picture_lines}A" if self._picture_lines else ""
        write_text(self._out, f"{up}\r\x1b[J" + "".join(f"{line}\n" for line in picture))
        self._picture_lines = len(picture)

    @property
    def is_in_app(self) -> bool:
        """Whether a phone's app shows what is printed."""
        return is_app_console(self._out)

    @property
    def draws(self) -> bool:
        """Whether progress is shown."""
        return not (self.is_quiet or self.is_json) and is_terminal(self._err)

    def progress(self, share: Optional[float], text: str, short: str = "") -> None:
        """Draw a bar over the last one, or only the text where nobody knows the share.

        `short` stands for a text that a narrow terminal has no room for. Nothing is drawn where no terminal is, when
        quiet, and for programs.
        """
        if not self.draws:
            return
        width = width_of(self._err)
        if share is None:
            line = text if len(text) < width else short or text
        else:
            if short and len(text) + NARROWEST_BAR + BAR_MARGIN > width:
                text = short
            room = max(NARROWEST_BAR, min(WIDEST_BAR, width - len(text) - BAR_MARGIN))
            filled = int(room * min(1.0, max(0.0, share)))
            line = f"{'█' * filled + '░' * (room - filled)} {share * 100:3.0f} % {text}"
        write_text(self._err, f"\r\x1b[K{line[: width - 1]}")
        self._has_progress = True

    def end_progress(self) -> None:
        """Take the bar away; a picture stays."""
        self._picture_lines = 0
        if self._has_progress:
            self._has_progress = False
            write_text(self._err, "\r\x1b[K")

    def _styled(self, stream: Any, text: str, style: str) -> str:
        if not style or os.environ.get("NO_COLOR") or not is_terminal(stream):
            return text
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m"

    def _fitted(self, stream: Any, text: str, indent: int = 0) -> str:
        """Return a line broken to the terminal's width, what follows indented below it."""
        if not (is_terminal(stream) or is_app_console(stream)) or len(text) <= width_of(stream):
            return text
        width = width_of(stream)
        margin = " " * min(indent or len(text) - len(text.lstrip()) + 2, width // 2)
        return "\n".join(textwrap.wrap(
            text, width, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False
        ))


def write_text(stream: Any, text: str) -> None:
    """Write to a stream that may be missing, have only `write`, or know few letters; raise OSError as it does."""
    if stream is None:
        return  # A program without a console, or one whose output was closed.
    try:
        try:
            stream.write(_in_letters_of(stream, text))
        except UnicodeEncodeError:
            stream.write(text.translate(PLAIN_MARKS).encode("ascii", "replace").decode("ascii"))
        flush = getattr(stream, "flush", None)
        if flush is not None:
            flush()
    except OSError:
        # A closed pipe, a full disk: whoever ends the command says so, once.
        _let_go(stream)
        raise


def _in_letters_of(stream: Any, text: str) -> str:
    """Return a text with our own marks as a stream can write them: a bar of escapes or question marks shows nothing."""
    if text.isascii():
        return text
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return text.translate(PLAIN_MARKS)
    except LookupError:
        pass
    return text


def _let_go(stream: Any) -> None:
    """Send to nowhere what a stream still holds: else the interpreter complains about it at its end."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, AttributeError, ValueError):
        pass


def width_of(stream: Any) -> int:
    """Return the columns of a stream: COLUMNS if set, else its terminal's, else a usual number."""
    if is_app_console(stream):
        return APP_WIDTH
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told) > 0:
        return max(NARROWEST, int(told))
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, AttributeError, ValueError):
        columns = 0
    is_phone = hasattr(os, "uname") and os.uname().machine.startswith("iPhone")
    return max(NARROWEST, columns or (APP_WIDTH if is_phone else DEFAULT_WIDTH))


def height_of(stream: Any) -> int:
    """Return the rows of a stream's terminal, or a usual number."""
    try:
        return max(LOWEST, os.get_terminal_size(stream.fileno()).lines or DEFAULT_HEIGHT)
    except (OSError, AttributeError, ValueError):
        return DEFAULT_HEIGHT


def printable(text: str) -> str:
    """Return text on one line, with control characters, escape sequences and direction marks made visible."""
    return "".join(mark if mark.isprintable() else " " if mark == "\n" else f"\\x{ord(mark):02x}" for mark in text)


def is_terminal(stream: Any) -> bool:
    """Whether a person watches this stream on something that understands escape sequences."""
    try:
        return bool(stream.isatty()) and os.environ.get("TERM", "") not in ("", "dumb")
    except (AttributeError, ValueError):
        return False


def is_app_console(stream: Any) -> bool:
    """Whether an app shows this stream, as Pythonista does: it can write, and knows nothing of terminals."""
    return stream is not None and not hasattr(stream, "isatty")


def program_name() -> str:
    """Return what a person types to start this program, as it was started now."""
    name = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else ""
    python = "python" if sys.platform == "win32" else "python3"
    if name in ("", "-c", "-m", "__main__.py"):
        return f"{python} -m discompute_lite"
    return f"{python} {name}" if name.endswith(".py") else name
