"""Read the part of YAML 1.2 that configuration uses, and nothing of it wrongly.

Knows:   comments, `key: value`, quoted and plain scalars typed by the core schema, nested block
         mappings and lists, flow mappings and lists (over several lines too), one leading ``---``.
Refuses: with file, line and what to write instead: anchors, aliases, tags, block scalars, merge keys,
         directives, several documents, tabs outside quotes and comments, duplicate keys, keys that are
         not text, values over several lines, control characters, and nesting deeper than 64.
Read next: model/settings.py (what the values mean), model/yaml_writer.py (the way back).

What is accepted reads as PyYAML reads it, but for scalars that YAML 1.1 types and 1.2 does not: `yes`, `on`,
`1_000`, `12:30:45` and dates are text here, `010` is ten, `0o17` and `1e3` are numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, List, NoReturn, Optional, Tuple, Union

from .errors import SettingsError
from .limits import CONFIG_BYTES

YamlPath = Tuple[Union[str, int], ...]

#: Nesting of a configuration; four levels are more than ours has, and a stack holds 64 with ease.
YAML_DEPTH = 64
#: Characters of a key, quotes included; PyYAML refuses keys over 1,024.
YAML_KEY_CHARACTERS = 1000
#: Digits of a number: `int` is quadratic in them, and nothing here needs more than twenty.
YAML_NUMBER_CHARACTERS = 400

_YAML_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_YAML_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_YAML_WORDS: Dict[str, Any] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
    ".nan": float("nan"), ".NaN": float("nan"), ".NAN": float("nan"),
}
_YAML_ESCAPES = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "\t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b",
    " ": " ", '"': '"', "/": "/", "\\": "\\", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029",
}
_YAML_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))")
_YAML_QUOTED = {"'": re.compile(r"'([^']*(?:''[^']*)*)'"), '"': re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"')}
#: Where a plain scalar ends; a tab or, in flow, a question mark there is refused.
_YAML_PLAIN_END = re.compile(r":(?= |$)| #|\t")
_YAML_PLAIN_END_FLOW = re.compile(r":(?=[ ,\[\]{}]|$)| #|[\t?,\[\]{}]")
_YAML_FIRST_REFUSED = {
    "&": ("an anchor (&) is not read here", "repeat the value, or put text that begins with & in quotes"),
    "*": ("an alias (*) is not read here", "repeat the value, or put text that begins with * in quotes"),
    "!": ("a tag (!) is not read here", "leave it out, or put text that begins with ! in quotes"),
    "|": ("a block scalar (|) is not read here", 'write the text on one line in quotes, "\\n" for a line break'),
    ">": ("a block scalar (>) is not read here", "write the text on one line in quotes"),
    "%": ("nothing may begin with %", "leave a %YAML line out, or put the text in quotes"),
    "?": ("nothing may begin with ?", "write 'key: value', or put the text in quotes"),
    "-": ("a list item does not belong here", "write each '- item' on a line of its own below its key"),
    ":": ("nothing may begin with a colon", "write 'key: value', or put the text in quotes"),
    ",": ("a comma has nothing before it", "take it out, or put the text in quotes"),
    "#": ("a comment follows without a space", "put a space before #"),
    "\t": ("a tab stands between words", "write spaces"),
    **{mark: (f"nothing may begin with {mark}", "put the text in quotes") for mark in "@`]}"},
}


@dataclass(frozen=True)
class YamlDocument:
    """Hold what a document says, and on which line each key and list item stands."""

    value: Any
    lines: Dict[YamlPath, int]


def read_yaml(text: str, where: str = "the configuration") -> YamlDocument:
    """Return the value of `text` and the lines of its parts.

    Raise SettingsError naming `where`, the line, and what to write instead.
    """
    limit = CONFIG_BYTES
    if len(text) > limit or len(text.encode("utf-8", "surrogatepass")) > limit:
        raise SettingsError(f"{where} is longer than {limit} bytes; it should hold settings only")
    rows: List[Tuple[int, str]] = []
    for number, line in enumerate(re.split("\r\n|\r|\n", text.removeprefix("\ufeff")), 1):
        control = "" if line.isprintable() else next(filter(_is_yaml_control, line), "")
        if control:
            _refuse_yaml(where, number, f"there is a control character (U+{ord(control):04X})",
                         'take it out, or write it as an escape such as "\\u2028" in double quotes')
        content = line.lstrip(" ")
        if content.startswith("\t"):
            _refuse_yaml(where, number, "a tab indents this line", "write spaces")
        if line[:3] in ("---", "...") and line[3:4] in ("", " ", "\t"):
            if rows or not re.fullmatch("---( +(#.*)?)?", line):
                _refuse_yaml(where, number, f"a line begins with {line[:3]}, and one file is one document",
                             "write only the settings, without such lines")
            rows.append((0, ""))
        elif content and content[0] != "#":
            rows.append((number, line))
    reader = _YamlReader(where, [row for row in rows if row[0]])
    return YamlDocument(reader.document(), reader.lines)


def type_plain_scalar(text: str) -> Any:
    """Return what unquoted `text` means by YAML 1.2's core schema; ValueError where a number is too large."""
    if text in _YAML_WORDS:
        return _YAML_WORDS[text]
    if not _YAML_FLOAT.fullmatch(text) and not _YAML_INTEGER.fullmatch(text):
        return text
    if len(text) > YAML_NUMBER_CHARACTERS:
        raise ValueError(f"a number has more than {YAML_NUMBER_CHARACTERS} digits")
    if _YAML_INTEGER.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    number = float(text)
    if number in (float("inf"), -float("inf")):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _is_yaml_control(character: str) -> bool:
    """Say whether YAML has no place for it, or the two YAML versions see a line end or nothing in it."""
    # Compared, not matched: a character class over all of Unicode takes `re` 8 ms at every start.
    if character <= "\x9f":
        return character < " " and character != "\t" or character >= "\x7f"
    return character in "\u2028\u2029\ufeff\ufffe\uffff" or "\ud800" <= character <= "\udfff"


def _refuse_yaml(where: str, number: int, what: str, instead: str) -> NoReturn:
    raise SettingsError(f"{where} line {number}: {what}; {instead}")


class _YamlReader:
    """Read rows (line number, text), none of them blank or only a comment.

    The position is (`row`, `column`). A block method starts at the first character of its node and
    ends at the indentation of the first row after it; a flow method ends after its last character.
    """

    def __init__(self, where: str, rows: List[Tuple[int, str]]) -> None:
        self.where, self.rows = where, rows
        self.row = self.column = 0
        self.lines: Dict[YamlPath, int] = {}

    # ---- where we are ----------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """The current row; "" after the last."""
        return self.rows[self.row][1] if self.row < len(self.rows) else ""

    @property
    def number(self) -> int:
        """The line that a refusal names."""
        return self.rows[min(self.row, len(self.rows) - 1)][0]

    def char(self, offset: int = 0) -> str:
        return self.text[self.column + offset: self.column + offset + 1]

    def refuse(self, what: str, instead: str) -> NoReturn:
        _refuse_yaml(self.where, self.number, what, instead)

    def skip_spaces(self) -> None:
        text = self.text
        while text[self.column: self.column + 1] == " ":
            self.column += 1

    def line_is_over(self) -> bool:
        return self.char() == "" or (self.char() == "#" and self.text[self.column - 1] == " ")

    def next_row(self) -> None:
        self.row, self.column = self.row + 1, 0
        self.skip_spaces()

    def end_line(self) -> None:
        self.skip_spaces()
        if self.line_is_over():
            self.next_row()
        elif self.char() == ":":
            self.refuse("a second colon makes this line ambiguous", "write one 'key: value' a line, or use quotes")
        elif self.char() == "\t":
            self.refuse(*_YAML_FIRST_REFUSED["\t"])
        else:
            self.refuse(f"{self.text[self.column:][:20]!r} follows a value that has ended",
                        "put the whole value in quotes, or a space before #")

    def at_dash(self) -> bool:
        return self.char() == "-" and self.char(1) in ("", " ")

    def follows(self, indent: int) -> bool:
        """Say whether the current row belongs to the block at `indent`; refuse one that fits nowhere."""
        if self.row < len(self.rows) and self.column > indent:
            self.refuse("this line is indented deeper than the line it would belong to",
                        "align it with its neighbours, or write a long value on one line")
        return self.row < len(self.rows) and self.column == indent

    def enter(self, path: YamlPath) -> None:
        if len(path) >= YAML_DEPTH:
            self.refuse(f"there are more than {YAML_DEPTH} levels", "nest less deeply")

    # ---- blocks ----------------------------------------------------------------------------------

    def document(self) -> Any:
        if not self.rows:
            return None
        self.skip_spaces()
        indent = self.column
        value = self.block_node(())
        if self.row < len(self.rows):
            self.follows(indent)
            self.refuse("this line does not belong to what stands above it",
                        "indent it as its neighbours are, and write a long value on one line")
        return value

    def block_node(self, path: YamlPath) -> Any:
        if self.at_dash():
            return self.block_list(path)
        start = self.column
        if self.block_key() is not None:
            self.column = start
            return self.block_map(path)
        return self.block_scalar(path)

    def block_scalar(self, path: YamlPath) -> Any:
        value = self.value(path, flow=False)
        self.end_line()
        return value

    def block_list(self, path: YamlPath) -> List[Any]:
        self.enter(path)
        items: List[Any] = []
        indent = self.column
        while True:
            place = path + (len(items),)
            self.lines[place] = self.number
            self.column += 1
            items.append(self.block_value(place, indent, in_map=False))
            if not self.follows(indent) or not self.at_dash():
                return items

    def block_map(self, path: YamlPath) -> Dict[str, Any]:
        self.enter(path)
        entries: Dict[str, Any] = {}
        indent = self.column
        while True:
            key = self.block_key()
            if key is None:
                self.refuse("this line is not 'key: value'", "put a colon and a space after the key")
            self.note_key(path, key)
            entries[key] = self.block_value(path + (key,), indent, in_map=True)
            if not self.follows(indent):
                return entries

    def block_value(self, path: YamlPath, indent: int, *, in_map: bool) -> Any:
        """Read what stands after `key:` or `-`: on this row, or as a block below, or nothing (null)."""
        self.skip_spaces()
        if self.line_is_over():
            self.next_row()
            # A list may stand at the indentation of its key.
            if self.column > indent or (in_map and self.column == indent and self.at_dash()):
                return self.block_node(path)
            return None
        return self.block_scalar(path) if in_map else self.block_node(path)

    def block_key(self) -> Optional[str]:
        """Read `key:` and stop after the colon; None, without moving, where there is no key."""
        start = self.column
        if self.char() in ("[", "{"):
            return None
        quoted = self.char() in _YAML_QUOTED
        key = self.quoted() if quoted else self.plain(flow=False)
        self.skip_spaces()
        if self.char() == ":" and self.char(1) in ("", " "):
            return self.checked_key(key, start, quoted)
        self.column = start
        return None

    def checked_key(self, key: str, start: int, quoted: bool) -> str:
        """Step over the colon; the key began at `start`."""
        if self.column - start > YAML_KEY_CHARACTERS:
            self.refuse(f"a key is longer than {YAML_KEY_CHARACTERS} characters", "shorten it")
        if not quoted and (key == "<<" or not isinstance(self.typed(key), str)):
            self.refuse(f"the key {key} is not text", "write it in quotes")
        self.column += 1
        return key

    def note_key(self, path: YamlPath, key: str) -> None:
        place = path + (key,)
        if place in self.lines:
            self.refuse(f"{key!r} stands here a second time, first on line {self.lines[place]}", "keep one of them")
        self.lines[place] = self.number

    # ---- values on one row, and flow -------------------------------------------------------------

    def value(self, path: YamlPath, *, flow: bool) -> Any:
        if self.char() == "[":
            return self.flow_list(path)
        if self.char() == "{":
            return self.flow_map(path)
        if self.char() in _YAML_QUOTED:
            return self.quoted()
        return self.typed(self.plain(flow=flow))

    def typed(self, text: str) -> Any:
        try:
            return type_plain_scalar(text)
        except ValueError as wrong:
            self.refuse(str(wrong), "write a smaller one, or put it in quotes if it is text")

    def plain(self, *, flow: bool) -> str:
        first = self.char()
        is_text = first == "-" and self.char(1) not in (("", " ", *",[]{}") if flow else ("", " "))
        if first in _YAML_FIRST_REFUSED and not is_text:
            self.refuse(*_YAML_FIRST_REFUSED[first])
        end = (_YAML_PLAIN_END_FLOW if flow else _YAML_PLAIN_END).search(self.text, self.column)
        if end and end.group() in ("\t", "?"):
            self.refuse(f"{'a tab' if end.group() == chr(9) else 'a question mark'} stands in text without quotes",
                        "put the text in quotes, or write spaces for the tab")
        text = self.text[self.column: end.start() if end else None].rstrip(" ")
        self.column += len(text)
        return text

    def quoted(self) -> str:
        mark = self.char()
        found = _YAML_QUOTED[mark].match(self.text, self.column)
        if not found:
            self.refuse(f"the quote {mark} is not closed on its line",
                        f'close it on this line; a line break in text is "\\n" in double quotes, a quote {mark * 2}'
                        if mark == "'" else 'close it on this line; a line break in text is \\n, a quote is \\"')
        self.column = found.end()
        if mark == "'":
            return found.group(1).replace("''", "'")
        return _YAML_ESCAPE.sub(self.unescaped, found.group(1))

    def unescaped(self, escape: re.Match[str]) -> str:
        code = escape.group(1) or escape.group(2) or escape.group(3)
        if not code and escape.group(4) in _YAML_ESCAPES:
            return _YAML_ESCAPES[escape.group(4)]
        if not code or int(code, 16) > 0x10FFFF or 0xD800 <= int(code, 16) <= 0xDFFF:
            self.refuse(f"the escape {escape.group()} means nothing",
                        'write "\\\\" for a backslash (or single quotes), and one \\U escape for a character over FFFF')
        return chr(int(code, 16))

    def flow_char(self, opened: int, closing: str) -> str:
        """Step over spaces, comments and line ends; return the next character, which exists."""
        while True:
            self.skip_spaces()
            if not self.line_is_over():
                return self.char()
            self.row, self.column = self.row + 1, 0
            if self.row == len(self.rows):
                self.refuse(f"the bracket opened on line {opened} is not closed", f"write {closing} at its end")

    def flow_list(self, path: YamlPath) -> List[Any]:
        self.enter(path)
        items: List[Any] = []
        opened = self.number
        self.column += 1
        while self.flow_char(opened, "]") != "]":
            place = path + (len(items),)
            self.lines[place] = self.number
            items.append(self.value(place, flow=True))
            self.flow_comma(opened, "]")
        self.column += 1
        return items

    def flow_map(self, path: YamlPath) -> Dict[str, Any]:
        self.enter(path)
        entries: Dict[str, Any] = {}
        opened = self.number
        self.column += 1
        while self.flow_char(opened, "}") != "}":
            start, quoted = self.column, self.char() in _YAML_QUOTED
            if self.char() in ("[", "{"):
                self.refuse("a key is a list or a mapping", "write text as the key")
            key = self.quoted() if quoted else self.plain(flow=True)
            self.skip_spaces()
            if self.char() != ":":
                self.refuse(f"the key {key[:40]!r} has no value", "write 'key: value' with a space after the colon")
            key = self.checked_key(key, start, quoted)
            self.note_key(path, key)
            empty = self.flow_char(opened, "}") in (",", "}")
            entries[key] = None if empty else self.value(path + (key,), flow=True)
            self.flow_comma(opened, "}")
        self.column += 1
        return entries

    def flow_comma(self, opened: int, closing: str) -> None:
        mark = self.flow_char(opened, closing)
        if mark == ",":
            self.column += 1
        elif mark == ":":
            self.refuse("a colon follows an item", "write {key: value} for a mapping in a list, or use quotes")
        elif mark != closing:
            self.refuse(f"{mark!r} stands where a comma or {closing} should", f"write a comma or {closing}")
