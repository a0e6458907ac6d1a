"""Make the program one small file for phones: its modules' texts without what only readers need, compressed.

Knows:   what a text can do without, how the texts are packed, and the loader that stands before them in the file.
Refuses: to know who wants such a file: `share` lends it, `tools/bundle.py --lean` writes it.
Read next: host/relaunch.py (where a program lies), faces/share_command.py, tools/bundle.py (the file to be read).

Against one long text, as the file to be read is: Python compiles a text as a whole, which takes 140 MB and seconds of a
phone's processor before its first line runs, and the memory is not given back. Here each module is compiled when it is
first imported, so a node needs as little as from a package; and the file is a quarter as large.
"""

from __future__ import annotations

import ast
import base64
import io
import os
import tokenize
import zlib
from typing import Dict, Iterator, List, Mapping, Tuple

from ..model.errors import StateError
from ..model.version import VERSION

#: Rooms that are not for phones.
LEFT_OUT_ROOMS = ("sim",)
#: Tables of which no phone needs a row, by module: they are empty in the small file.
EMPTIED_TABLES = {"host.chips": ("PC_GPUS",)}
#: Characters of a line of packed text.
PACKED_COLUMNS = 116

#: (line from 1, column in characters), as tokens say it.
Position = Tuple[int, int]

SMALL_FILE = '''#!/usr/bin/env python3
"""discompute-lite {version} in one small file, for phones: turn the devices you own into one computer for Python work.

    python3 discompute.py start          run a node; without arguments it does the same
    python3 discompute.py --help         everything else

It needs Python 3.9 or newer and nothing else. The modules' texts stand below, without comments and compressed; the
file to be read is ios/discompute.py of the project, from whose sources `share` made this one. Licence: MIT.
"""

import base64
import importlib.machinery
import os
import sys
import zlib

PROGRAM = "discompute_lite"


class PackedTexts:
    """Find and load the modules whose texts stand below, each when it is first imported."""

    def __init__(self, packed, file):
        self._packed, self._file = packed, file
        self._texts = self._read()
        self._names = set(self._texts)

    def _read(self):
        texts, found = zlib.decompress(self._packed), {{}}
        start = texts.index(b"\\n") + 1
        for entry in texts[:start].decode("ascii").split():
            name, _, size = entry.partition(":")
            found[name] = texts[start:start + int(size)]
            start += int(size)
        return found

    def path_of(self, name):
        end = ".__init__" if name + ".__init__" in self._names else ""
        return name + end, os.path.join(self._file, *(name + end).split(".")) + ".py"

    def find_spec(self, name, path=None, target=None):
        key, origin = self.path_of(name)
        if key not in self._names:
            return None
        return importlib.machinery.ModuleSpec(name, self, origin=origin, is_package=key != name)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        key, origin = self.path_of(module.__name__)
        # Once it is compiled its text is needed for tracebacks only.
        exec(compile(self._texts.pop(key, None) or self.get_source(module.__name__), origin, "exec"), vars(module))

    def get_source(self, name):
        text = self._read().get(self.path_of(name)[0])
        return text and text.decode("utf-8")

    def get_code(self, name):
        key, origin = self.path_of(name)
        return compile(self.get_source(name), origin, "exec")


def _load(packed):
    # Another press of *run* in the same interpreter: what was loaded before may be of another version.
    for name in [name for name in sys.modules if name.partition(".")[0] == PROGRAM]:
        del sys.modules[name]
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "PackedTexts"]
    file = globals().get("__file__")
    path = os.path.abspath(file) if file and os.path.isfile(file) else None
    sys.meta_path.insert(0, PackedTexts(base64.b85decode("".join(packed.split())), path or "discompute.py"))
    # What starts a new process reads this file there; text that was pasted starts none.
    __import__(PROGRAM).single_file = path


_load("""
{packed}
""")

if __name__ == "__main__":
    from discompute_lite.faces.cli import main
    from discompute_lite.faces.pythonista import screen_main, typed_words

    if typed_words(sys.argv) or not screen_main(os.environ):
        sys.exit(main(typed_words(sys.argv) or ["start"]))
'''


def small_file(sources: Mapping[str, str]) -> bytes:
    """Return the small file of modules, their texts given by name: "discompute_lite.model.errors"."""
    texts = {name: lean_text(_emptied(name, source)).encode("utf-8") for name, source in sorted(sources.items())}
    index = " ".join(f"{name}:{len(text)}" for name, text in texts.items())
    whole = b"".join((index.encode("ascii"), b"\n", *texts.values()))
    packed = base64.b85encode(zlib.compress(whole, 9)).decode("ascii")
    lines = (packed[start:start + PACKED_COLUMNS] for start in range(0, len(packed), PACKED_COLUMNS))
    return SMALL_FILE.format(version=VERSION, packed="\n".join(lines)).encode("utf-8")


def package_sources(folder: str) -> Dict[str, str]:
    """Return the texts of the package in a folder, by module; raise StateError where they are not there."""
    package, found = os.path.basename(folder), {}
    for place, _, files in os.walk(folder):
        parts = [package, *(part for part in os.path.relpath(place, folder).split(os.sep) if part != ".")]
        if len(parts) > 1 and parts[1] in LEFT_OUT_ROOMS:
            continue
        for file in files:
            if file.endswith(".py"):
                with open(os.path.join(place, file), encoding="utf-8") as text:
                    found[".".join([*parts, file[:-len(".py")]])] = text.read()
    if not found:
        raise StateError("the program's sources are not here; run `share` where they are: in a clone, or in one file")
    return found


# ---- what a text can do without ---------------------------------------------------------------------------


def lean_text(source: str) -> str:
    """Return the text of a module without comments, without docstrings and types but those of what is decorated."""
    tree = ast.parse(source)
    dropped, types = set(_docstring_lines(tree)), _type_spans(tree, source)
    pieces: List[str] = []
    depth, row, column = 0, 0, 0
    for token in _whole_tokens(source):
        if any(start <= token.start < end for start, end in types.get(token.start[0], ())):
            row, column = token.end  # A type never begins a line.
        elif token.type in (tokenize.INDENT, tokenize.DEDENT):
            depth += 1 if token.type == tokenize.INDENT else -1
        elif token.start[0] not in dropped and token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE,
                                                                  tokenize.ENDMARKER):
            if token.start[0] != row:
                # One space for each level; inside brackets it does not matter.
                pieces.append(("\n" if pieces else "") + " " * depth)
            elif token.start[1] > column:
                pieces.append(" ")
            pieces.append(token.string)
            row, column = token.end
    return "".join((*pieces, "\n"))


def _whole_tokens(source: str) -> Iterator[tokenize.TokenInfo]:
    """Yield the tokens of a text, each f-string as one: from Python 3.12 on they come in parts, changed."""
    lines = source.splitlines(keepends=True)
    begin, end = (getattr(tokenize, f"FSTRING_{part}", None) for part in ("START", "END"))
    opened: List[tokenize.TokenInfo] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == begin:
            opened.append(token)
        elif token.type == end:
            first = opened.pop()
            if not opened:
                (row, column), (last, until) = first.start, token.end
                text = "".join(lines[row - 1:last])
                text = text[column:len(text) - len(lines[last - 1]) + until]
                yield tokenize.TokenInfo(tokenize.STRING, text, first.start, token.end, first.line)
        elif not opened:
            yield token


def _docstring_lines(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) or len(node.body) < 2:
            continue
        first = node.body[0]
        is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(
            first.value.value, str)
        # Commands, methods, task types: their docstring is their help.
        is_shown = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.decorator_list or (
            isinstance(node, ast.ClassDef) and node.bases)
        if is_text and not is_shown:
            yield from range(first.lineno, (first.end_lineno or first.lineno) + 1)


def _type_spans(tree: ast.Module, source: str) -> Dict[int, List[Tuple[Position, Position]]]:
    """Return where types of parameters, results and local names stand that nobody reads at run time, by line."""
    lines = source.splitlines()
    spans: List[Tuple[Position, Position]] = []

    def at(line: int, column: int) -> Position:
        # The tree counts bytes, tokens count characters.
        return line, len(lines[line - 1].encode("utf-8")[:column].decode("utf-8"))

    def end_of(node: ast.AST) -> Position:
        return at(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef) or function.decorator_list:
            continue
        taken = function.args
        for item in (*taken.posonlyargs, *taken.args, taken.vararg, *taken.kwonlyargs, taken.kwarg):
            if item is not None and item.annotation is not None:
                spans.append((at(item.lineno, item.col_offset + len(item.arg.encode("utf-8"))), end_of(item)))
        if function.returns is not None:
            line, column = at(function.returns.lineno, function.returns.col_offset)
            spans.append(((line, lines[line - 1].rindex("->", 0, column)), end_of(function.returns)))
        spans += [(end_of(node.target), end_of(node.annotation)) for node in ast.walk(function)
                  if isinstance(node, ast.AnnAssign) and node.value is not None]
    found: Dict[int, List[Tuple[Position, Position]]] = {}
    for start, end in spans:
        for line in range(start[0], end[0] + 1):
            found.setdefault(line, []).append((start, end))
    return found


def _emptied(name: str, source: str) -> str:
    """Return a module's text with those of its tables empty that no phone needs."""
    names = EMPTIED_TABLES.get(name.partition(".")[2], ())
    spans: List[Tuple[int, int, str]] = []
    for node in ast.parse(source).body if names else ():
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id in names:
            spans.append((node.lineno - 1, node.end_lineno or node.lineno, f"{node.target.id} = ()\n"))
    lines = source.splitlines(keepends=True)
    for start, end, line in reversed(spans):
        lines[start:end] = [line]
    return "".join(lines)
