"""Make a module's text as short as it can be and still do the same: without what only readers need.

Knows:   what a text can do without: comments, spaces, last commas, docstrings that are not shown, types that
         nobody reads at run time.
Refuses: to rename anything: tracebacks show these lines.
Read next: host/small_file.py (what becomes of the texts).
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from typing import Any, Iterable, Iterator, List, NamedTuple, Set, Tuple

#: Decorators of functions whose docstring is their help. (Of methods it is too, for programs that ask `rpc.discover`.)
SHOWN_DECORATORS = ("command",)
#: Decorators of functions whose types are read at run time.
TYPED_DECORATORS = ("method",)
#: Stands where there has to be a docstring: in a class without any other statement, and in a data class, for which
#: Python would make one of its signature, slowly.
NO_DOCSTRING = '"."'
#: Statements that need a line of their own.
_COMPOUND = re.compile(r"@|(?:async|if|for|while|with|try|def|class)\b")
OPENING_BRACKETS, CLOSING_BRACKETS = ("(", "[", "{"), (")", "]", "}")
#: Modules of the library that do nothing but give names, some of which nobody needs any more.
_BARE_IMPORTS = ("typing", "__future__")

#: (line from 1, column in characters), as tokens say it.
Position = Tuple[int, int]


class Change(NamedTuple):
    """Say what of a text is left out, and what stands there instead."""

    start: Position
    end: Position
    text: str = ""


def lean_text(source: str) -> str:
    """Return the text of a module without what only readers need.

    Its future imports go too: whoever compiles it brings them along.
    """
    tree, places, tokens = ast.parse(source), _Places(source), list(_whole_tokens(source))
    changes = [*_docstrings(tree, places), *_protocols(tree, places), *_types(tree, places),
               *_reprs(tree, places)]
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module in _BARE_IMPORTS]
    bare = _rewritten(tokens, [*changes, *(places.change(node, node) for node in imports)])
    used = set(re.findall(r"\w+", bare))
    return _rewritten(tokens, [*changes, *(_without_unused(node, used, places) for node in imports)])


class _Places:
    """Find nodes of the tree among the tokens: the tree counts bytes, tokens count characters."""

    def __init__(self, source: str) -> None:
        self.lines = source.splitlines()

    def start_of(self, node: Any) -> Position:
        return self._at(node.lineno, node.col_offset)

    def end_of(self, node: Any) -> Position:
        return self._at(node.end_lineno, node.end_col_offset)

    def change(self, first: Any, last: Any, text: str = "") -> Change:
        return Change(self.start_of(first), self.end_of(last), text)

    def _at(self, line: int, column: int) -> Position:
        return line, len(self.lines[line - 1].encode("utf-8")[:column].decode("utf-8"))


def _without_unused(node: ast.ImportFrom, used: Set[str], places: _Places) -> Change:
    """Leave out of an import what is used nowhere."""
    names = [alias.name for alias in node.names if alias.name in used]
    return places.change(node, node, f"from {node.module} import {','.join(names)}" if names else "")


def _statements(within: Any) -> Iterator[Any]:
    """Yield the statements in a node at any depth. Expressions, of which most nodes are, hold none."""
    for field in ("body", "orelse", "handlers", "finalbody"):
        for node in getattr(within, field, ()):
            yield node
            yield from _statements(node)


def _docstrings(tree: ast.Module, places: _Places) -> Iterator[Change]:
    """Leave the first lines of docstrings that are shown."""
    for node in (tree, *_statements(tree)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (text := ast.get_docstring(node)):
            is_needed = len(node.body) == 1 or _has_name(node, "decorator_list", ("dataclass",))
            is_shown = _has_name(node, "decorator_list", SHOWN_DECORATORS)
            left = repr(text.splitlines()[0]) if is_shown else NO_DOCSTRING if is_needed else ""
            yield places.change(node.body[0], node.body[0], left)


def _protocols(tree: ast.Module, places: _Places) -> Iterator[Change]:
    """Leave nothing but the names of protocols, which are for who checks types."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and _has_name(node, "bases", ("Protocol",)):
            yield places.change(node.body[0], node.body[-1], NO_DOCSTRING)


def _reprs(tree: ast.Module, places: _Places) -> Iterator[Change]:
    """Have data classes do without `__repr__`: Python makes one for each, and keeps 4 kB for it."""
    for node in tree.body:
        for each in node.decorator_list if isinstance(node, ast.ClassDef) else ():
            if isinstance(each, ast.Call) and getattr(each.func, "id", "") == "dataclass":
                line, column = places.end_of(each)
                yield Change((line, column - 1), (line, column), ",repr=False)")
            elif getattr(each, "id", "") == "dataclass":
                yield places.change(each, each, "dataclass(repr=False)")


def _has_name(node: ast.AST, where: str, names: Tuple[str, ...]) -> bool:
    """Whether a decorator or base of a node is one of these names, or a call of it."""
    return any(getattr(getattr(each, "func", each), "id", "") in names for each in getattr(node, where, ()))


def _types(tree: ast.Module, places: _Places) -> Iterator[Change]:
    """Yield the types that nobody reads: all but those of what a class holds, and of functions that say more."""
    for function in _statements(tree):
        if not isinstance(function, ast.FunctionDef) or _has_name(function, "decorator_list", TYPED_DECORATORS):
            continue
        taken = function.args
        for item in (*taken.posonlyargs, *taken.args, taken.vararg, *taken.kwonlyargs, taken.kwarg):
            if item is not None and item.annotation is not None:
                line, column = places.start_of(item)
                yield Change((line, column + len(item.arg)), places.end_of(item))
        if function.returns is not None:
            line, column = places.start_of(function.returns)
            yield Change((line, places.lines[line - 1].rindex("->", 0, column)), places.end_of(function.returns))
        yield from _types_of_variables(function, places)
    yield from _types_of_variables(tree, places, is_module=True)


def _types_of_variables(within: Any, places: _Places, *, is_module: bool = False) -> Iterator[Change]:
    for node in within.body if is_module else _statements(within):
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            yield Change(places.end_of(node.target), places.end_of(node.annotation))


def _rewritten(tokens: Iterable[tokenize.TokenInfo], changes: Iterable[Change]) -> str:
    """Return a text with changes made: as few lines as there can be, a space for each level and where one parts."""
    lines: List[Tuple[int, str]] = []
    pieces: List[str] = []
    rest = sorted(set(changes), reverse=True)
    #: Of each bracket that is open, how many commas stand in it.
    commas: List[int] = []
    depth, left_out_to = 0, (0, 0)
    for token in tokens:
        if token.type in (tokenize.INDENT, tokenize.DEDENT):
            depth += 1 if token.type == tokenize.INDENT else -1
        elif token.type == tokenize.NEWLINE:
            if pieces:
                lines.append((depth, "".join(pieces)))
            pieces = []
        elif token.start >= left_out_to and token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.ENDMARKER):
            text = token.string
            while rest and rest[-1].start <= token.start:
                _, end, changed = rest.pop()
                # The others lie in what was left out.
                if end > token.start:
                    left_out_to, text = end, changed
            if token.string in OPENING_BRACKETS:
                commas.append(0)
            elif token.string == "," and commas:
                commas[-1] += 1
            elif token.string in CLOSING_BRACKETS and commas.pop() > 1 and pieces[-1] == ",":
                # The only comma might be what makes a tuple.
                pieces.pop()
            if text:
                pieces += [_between(pieces[-1], text), text] if pieces else [text]
    return "".join(f"{depth * ' '}{text}\n" for depth, text in _with_suites(lines))


def _with_suites(lines: List[Tuple[int, str]]) -> Iterator[Tuple[int, str]]:
    """Yield lines, a suite of a single statement in that of its `if` or `def`."""
    depths = [depth for depth, _ in lines] + [0, 0]
    number = 0
    while number < len(lines):
        depth, text = lines[number]
        if text.endswith(":") and depths[number + 2] <= depth and not _COMPOUND.match(lines[number + 1][1]):
            text += lines[number + 1][1]
            number += 1
        yield depth, text
        number += 1


def _between(before: str, text: str) -> str:
    """Return what parts two tokens of a line."""
    is_word, is_number = text[0].isidentifier() or text[0].isdigit(), before[:1].isdigit()
    return " " if is_word and (before[-1].isalnum() or before[-1] == "_") or is_number and text[0] == "." else ""


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
