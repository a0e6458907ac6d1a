"""Draw what a command really prints as an SVG picture: `python3 tools/picture.py OUTPUT.svg -- COMMAND...`.

Knows:   enough of a terminal (colours, bold, carriage returns, cursor moves, wide characters) for our own output.
Refuses: to draw what was not printed, the output of a command that failed, and paths of this machine.
Read next: README.md (where the pictures are shown).

The command runs in a pseudo-terminal, so that it prints what a person would see; POSIX only.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Dict, List, Optional, Tuple

ROOT = Path(__file__).resolve().parent.parent

#: The sixteen colours of the picture's terminal, ordinary then bright; readable on BACKGROUND.
COLOURS = (
    "#3b4252", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#c8ccd4",
    "#7f848e", "#ff7b86", "#b5e890", "#ffd68a", "#82c7ff", "#e29bf5", "#7fe0ea", "#ffffff",
)
BACKGROUND = "#1e2127"
BAR = "#2c313a"
TEXT = "#c8ccd4"
DIM = "#7f848e"
#: Pixels: one character cell, the margin around the text, the bar with the three buttons.
CELL_WIDTH, CELL_HEIGHT, FONT_SIZE, MARGIN, BAR_HEIGHT = 8.4, 18.0, 14.0, 16.0, 32.0
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"

ESCAPE = re.compile(
    r"\x1b\[(?P<numbers>[0-9;]*)(?P<command>[A-Za-z])"
    # Private modes, titles and one-letter escapes change nothing that is drawn.
    r"|\x1b\[[?<=>][0-9;]*[A-Za-z]|\x1b\].*?(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]|\x1b[=>78cM]"
)


class CannotDraw(Exception):
    """Carry one sentence that says why there is no picture."""


@dataclass(frozen=True)
class Style:
    """How one character looks; colours are #rrggbb, "" for the terminal's own."""

    colour: str = ""
    behind: str = ""
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False
    inverse: bool = False


PLAIN = Style()


class Screen:
    """Hold rows of cells; a cell is (character, style), "" as character behind a wide one."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows: List[List[Tuple[str, Style]]] = [[]]
        self.row = 0
        self.column = 0
        self.style = PLAIN

    def feed(self, text: str) -> None:
        """Take everything that was printed."""
        place = 0
        while place < len(text):
            found = ESCAPE.match(text, place) if text[place] == "\x1b" else None
            if found:
                if found.group("command"):
                    self._obey(found.group("command"), found.group("numbers"))
                place = found.end()
            else:
                self._put(text[place])
                place += 1

    def _put(self, character: str) -> None:
        if character == "\n":
            self._move_to(self.row + 1, self.column)
        elif character == "\r":
            self.column = 0
        elif character == "\b":
            self.column = max(0, self.column - 1)
        elif character == "\t":
            self.column = min(self.columns - 1, self.column // 8 * 8 + 8)
        elif unicodedata.combining(character) or unicodedata.category(character) in ("Cc", "Cf"):
            self._combine(character)
        else:
            self._write(character)

    def _write(self, character: str) -> None:
        width = 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if self.column + width > self.columns:
            self._move_to(self.row + 1, 0)
        cells = self.rows[self.row]
        while len(cells) < self.column + width:
            cells.append((" ", PLAIN))
        cells[self.column] = (character, self.style)
        if width == 2:
            cells[self.column + 1] = ("", self.style)
        self.column += width

    def _combine(self, character: str) -> None:
        cells = self.rows[self.row]
        if unicodedata.category(character) != "Cc" and 0 < self.column <= len(cells):
            before, style = cells[self.column - 1]
            cells[self.column - 1] = (before + character, style)

    def _move_to(self, row: int, column: int) -> None:
        self.row, self.column = max(0, row), max(0, min(column, self.columns))
        while len(self.rows) <= self.row:
            self.rows.append([])

    def _obey(self, command: str, text: str) -> None:
        numbers = [int(part or 0) for part in text.split(";")]
        count = max(1, numbers[0])
        if command == "m":
            self.style = restyled(self.style, numbers)
        elif command in "ABCDEFG":
            moves = {"A": (-count, 0), "B": (count, 0), "C": (0, count), "D": (0, -count)}
            if command == "G":
                self._move_to(self.row, count - 1)
            elif command in "EF":
                self._move_to(self.row + (count if command == "E" else -count), 0)
            else:
                self._move_to(self.row + moves[command][0], self.column + moves[command][1])
        elif command == "K":
            self._erase_line(numbers[0])
        elif command == "J":
            self._erase_screen(numbers[0])
        elif command == "H":
            self._move_to(count - 1, (numbers[1] if len(numbers) > 1 else 1) - 1)

    def _erase_line(self, part: int) -> None:
        cells = self.rows[self.row]
        if part in (0, 2):
            del cells[self.column if part == 0 else 0:]
        else:
            cells[: self.column + 1] = [(" ", PLAIN)] * len(cells[: self.column + 1])

    def _erase_screen(self, part: int) -> None:
        if part == 0:
            self._erase_line(0)
            del self.rows[self.row + 1:]
        elif part in (2, 3):
            self.rows[:] = [[] for _ in range(self.row + 1)]

    def lines(self) -> List[List[Tuple[str, Style]]]:
        """Return the rows without empty ends."""
        rows = [list(row) for row in self.rows]
        for row in rows:
            while row and row[-1] == (" ", PLAIN):
                row.pop()
        while rows and not rows[-1]:
            rows.pop()
        return rows


def restyled(style: Style, numbers: List[int]) -> Style:
    """Apply one `ESC [ ... m`."""
    marks = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse"}
    off: Dict[int, Tuple[str, ...]] = {
        22: ("bold", "dim"), 23: ("italic",), 24: ("underline",), 27: ("inverse",), 39: ("colour",), 49: ("behind",),
    }
    rest = list(numbers)
    while rest:
        number = rest.pop(0)
        if number == 0:
            style = PLAIN
        elif number in marks:
            style = replace(style, **{marks[number]: True})
        elif number in off:
            style = replace(style, **{name: getattr(PLAIN, name) for name in off[number]})
        elif number in (38, 48):
            style = replace(style, **{"colour" if number == 38 else "behind": _long_colour(rest)})
        elif 30 <= number <= 37 or 90 <= number <= 97:
            style = replace(style, colour=COLOURS[number - 30 if number < 90 else number - 82])
        elif 40 <= number <= 47 or 100 <= number <= 107:
            style = replace(style, behind=COLOURS[number - 40 if number < 100 else number - 92])
    return style


def _long_colour(rest: List[int]) -> str:
    """Take `5;n` or `2;r;g;b` off the front of `rest`."""
    kind = rest.pop(0) if rest else 0
    if kind == 2 and len(rest) >= 3:
        red, green, blue = rest.pop(0), rest.pop(0), rest.pop(0)
        return f"#{red:02x}{green:02x}{blue:02x}"
    if kind != 5 or not rest:
        return ""
    number = rest.pop(0)
    if number < 16:
        return COLOURS[number]
    if number >= 232:
        return "#" + f"{8 + 10 * (number - 232):02x}" * 3
    levels = (0, 95, 135, 175, 215, 255)
    number -= 16
    return f"#{levels[number // 36]:02x}{levels[number // 6 % 6]:02x}{levels[number % 6]:02x}"


# ---- the picture ----------------------------------------------------------------------------------


def draw(rows: List[List[Tuple[str, Style]]], title: str, columns: int) -> str:
    """Return the SVG text: a dark window with these rows in it."""
    width = columns * CELL_WIDTH + 2 * MARGIN
    height = BAR_HEIGHT + len(rows) * CELL_HEIGHT + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-label="{_escaped(title)}">',
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>',
        f'<path d="M0 {BAR_HEIGHT:g}V8a8 8 0 0 1 8-8H{width - 8:.0f}a8 8 0 0 1 8 8V{BAR_HEIGHT:g}z" fill="{BAR}"/>',
    ]
    for place, colour in enumerate(("#ff5f57", "#febc2e", "#28c840")):
        parts.append(f'<circle cx="{18 + 20 * place}" cy="{BAR_HEIGHT / 2:g}" r="6" fill="{colour}"/>')
    parts.append(f'<g font-family="{FONTS}" font-size="{FONT_SIZE:g}" fill="{TEXT}" xml:space="preserve">')
    parts.append(
        f'<text x="{width / 2:.0f}" y="{BAR_HEIGHT / 2 + 5:g}" text-anchor="middle" fill="{DIM}">'
        f"{_escaped(title)}</text>"
    )
    for number, row in enumerate(rows):
        top = BAR_HEIGHT + MARGIN + number * CELL_HEIGHT
        for column, text, cells, style in _runs(row):
            parts.extend(_drawn(text, style, MARGIN + column * CELL_WIDTH, top, cells * CELL_WIDTH))
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _runs(row: List[Tuple[str, Style]]) -> List[Tuple[int, str, int, Style]]:
    """Return (column, text, cells, style) for neighbours of one style."""
    runs: List[Tuple[int, str, int, Style]] = []
    for column, (character, style) in enumerate(row):
        if runs and runs[-1][3] == style:
            start, text, cells, _ = runs.pop()
            runs.append((start, text + character, cells + 1, style))
        else:
            runs.append((column, character, 1, style))
    return runs


def _drawn(text: str, style: Style, left: float, top: float, width: float) -> List[str]:
    colour, behind = style.colour or TEXT, style.behind
    if style.inverse:
        colour, behind = behind or BACKGROUND, style.colour or TEXT
    parts = []
    if behind:
        box = f'x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{CELL_HEIGHT:g}"'
        parts.append(f'<rect {box} fill="{behind}"/>')
    if not text.strip():
        return parts
    marks = "" if colour == TEXT else f' fill="{colour}"'
    marks += ' font-weight="bold"' if style.bold else ""
    marks += ' opacity="0.65"' if style.dim else ""
    marks += ' font-style="italic"' if style.italic else ""
    marks += ' text-decoration="underline"' if style.underline else ""
    # The length is given, so that columns meet whatever font the reader has.
    parts.append(
        f'<text x="{left:.1f}" y="{top + 13.5:.1f}" textLength="{width:.1f}" lengthAdjust="spacingAndGlyphs"'
        f"{marks}>{_escaped(text)}</text>"
    )
    return parts


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


# ---- the command ----------------------------------------------------------------------------------


def printed_by(command: List[str], columns: int) -> str:
    """Run the command in a terminal of so many columns; return what it printed; raise CannotDraw if it fails."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = dict(os.environ, TERM="xterm-256color", COLUMNS=str(columns), PYTHONUTF8="1")
    environment.pop("NO_COLOR", None)
    try:
        child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, close_fds=True)
    except OSError as error:
        raise CannotDraw(f"{command[0]} does not start: {error.strerror}") from error
    finally:
        os.close(theirs)
    pieces = []
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(ours)
    text = b"".join(pieces).decode("utf-8", "replace")
    if child.wait() != 0:
        raise CannotDraw(f"the command ended with exit code {child.returncode}; it printed:\n{text}")
    return text


def without_paths(text: str, replacements: List[str]) -> str:
    """Shorten this machine's paths, apply `OLD=NEW` replacements; raise CannotDraw if a path is left."""
    for pair in replacements:
        old, _, new = pair.partition("=")
        text = text.replace(old, new)
    text = text.replace(str(ROOT) + os.sep, "").replace(str(ROOT), ".").replace(str(Path.home()), "~")
    for path in (tempfile.gettempdir(), sys.prefix):
        if path.rstrip("/") + "/" in text:
            raise CannotDraw(f"the output names a path of this machine ({path}/...); use --replace OLD=NEW")
    return text


def main(arguments: Optional[List[str]] = None) -> int:
    """Draw one picture; return the exit code."""
    parser = argparse.ArgumentParser(description="Draw what a command prints as an SVG picture.")
    parser.add_argument("output", type=Path)
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="after --")
    parser.add_argument("--columns", type=int, default=100, help="width of the terminal (100)")
    parser.add_argument("--title", help="what the window says; the command otherwise")
    parser.add_argument("--replace", action="append", default=[], metavar="OLD=NEW", help="change the text first")
    options = parser.parse_args(arguments)
    said = " ".join(shlex.quote(word) for word in options.command)
    try:
        # `python3` in the picture, this interpreter in truth: the right one for this checkout.
        command = [sys.executable if word == "python3" else word for word in options.command]
        text = without_paths(printed_by(command, options.columns), options.replace)
    except CannotDraw as error:
        print(f"picture: {error}", file=sys.stderr)
        return 1
    screen = Screen(options.columns)
    prompt = said.replace("\n", "\r\n")
    screen.feed(f"\x1b[92m$\x1b[0m \x1b[1m{prompt}\x1b[0m\r\n{text}")
    options.output.write_text(draw(screen.lines(), options.title or said, options.columns), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
