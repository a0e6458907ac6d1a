"""One word for one thing: names are unique across the package, so `grep` finds them and one file can hold them all."""

from __future__ import annotations

import ast
import re
from collections import defaultdict

import pytest

#: "Words" of discompute_lite/README.md: each of these names anything and so nothing.
FORBIDDEN_WORDS = frozenset(
    "master masters slave slaves manager managers handler handlers util utils helper helpers common base misc".split()
)


def words_of(name):
    """Split `sendBuffer_bytes` into send, buffer, bytes."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)]


def is_dunder(name):
    return name.startswith("__") and name.endswith("__")


def top_level_statements(body):
    """Yield the statements of a module, also those inside its if, try, for and with blocks."""
    for node in body:
        yield node
        for part in ("body", "orelse", "finalbody"):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                yield from top_level_statements(getattr(node, part, ()))
        for handler in getattr(node, "handlers", ()):
            yield from top_level_statements(handler.body)


def targets_of(node):
    """Yield the names that a statement binds itself."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
        return
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    for target in targets:
        for inner in ast.walk(target) if target is not None else ():
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                yield inner.id


def library_names(source):
    """Return {name: where it is from} for what a module imports from outside the package."""
    bound = {}
    for node in source.nodes:
        if isinstance(node, ast.Import):
            bound.update({alias.name.split(".")[0]: alias.name.split(".")[0] for alias in node.names})
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module != "__future__":
            bound.update({alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return bound


def own_names(source):
    """Return {name: line} of a module's own top level; `fcntl = None` after a failed import is not ours."""
    imported = library_names(source)
    found = {}
    for node in top_level_statements(source.tree.body):
        for name in targets_of(node):
            if not is_dunder(name) and not (name in imported and isinstance(node, ast.Assign)):
                found.setdefault(name, node.lineno)
    return found


def breaches_of_uniqueness(sources):
    owners = defaultdict(list)
    for source in sources:
        for name, line in own_names(source).items():
            owners[name].append((source, line))
    for name, places in owners.items():
        first = places[0][0]
        for source, line in places[1:]:
            yield source.at(line, f"the top-level name {name!r} is taken by {first.path}")
    library = {}
    for source in sources:
        for name, origin in library_names(source).items():
            if name in owners:
                yield owners[name][0][0].at(owners[name][0][1], f"{name!r} hides {origin}, imported by {source.path}")
            other = library.setdefault(name, (origin, source.path))
            if other[0] != origin:
                yield source.at(1, f"{name!r} is {origin} here and {other[0]} in {other[1]}")


def breaches_of_words(source):
    stem = source.name[: -len(".py")]
    if set(words_of(stem)) & FORBIDDEN_WORDS:
        yield source.at(1, f"the file name {stem!r} says nothing about what is in it")
    for node in source.nodes:
        names = []
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, ast.arg):
            names = [node.arg]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names = [node.id]
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names = [node.attr]
        for name in names:
            for word in set(words_of(name)) & FORBIDDEN_WORDS:
                yield source.at(node, f"{name!r} contains {word!r}; say what it is for")


@pytest.mark.once
def test_top_level_names_are_unique(package, obeyed):
    # sim is never part of the single file.
    obeyed(breaches_of_uniqueness([source for source in package if source.room != "sim"]))


@pytest.mark.once
def test_names_say_something(package, obeyed):
    obeyed(breach for source in package for breach in breaches_of_words(source))


@pytest.mark.parametrize("first, second", [
    ("def twice(): pass", "def twice(): pass"),
    ("class Twice: pass", "Twice = 1"),
    ("_LIMIT = 1", "_LIMIT = 2"),
    ("A, B = 1, 2", "B = 3"),
    ("if True:\n    def twice(): pass", "try:\n    twice = 1\nexcept OSError:\n    pass"),
    ("import json", "def json(): pass"),
    ("from dataclasses import field", "def field(): pass"),
    ("import datetime", "from datetime import datetime"),
    ("from typing import Iterator", "from collections.abc import Iterator"),
])
def test_a_second_owner_is_noticed(parse, first, second):
    sources = [parse(first, "discompute_lite/net/first.py"), parse(second, "discompute_lite/wire/second.py")]
    assert list(breaches_of_uniqueness(sources))


def test_methods_locals_dunders_and_same_imports_may_repeat(parse):
    text = "import json\n__all__ = []\nclass {0}:\n    def close(self):\n        line = json\n"
    late = "try:\n    import fcntl\nexcept ImportError:\n    fcntl = None\n"
    sources = [parse(text.format(name) + late, f"discompute_lite/net/{name}.py") for name in ("first", "second")]
    assert not list(breaches_of_uniqueness(sources))


@pytest.mark.parametrize("text", [
    "class LinkManager: pass", "def handler(): pass", "def f(base): pass", "common_things = 1", "self.misc = 1",
    "for slave in ():\n    pass", "class HTTPHandler: pass",
])
def test_an_empty_word_is_noticed(parse, text):
    assert list(breaches_of_words(parse(text)))
    assert list(breaches_of_words(parse("", "discompute_lite/net/http_utils.py")))


def test_words_inside_words_are_fine(parse):
    assert not list(breaches_of_words(parse("basename = base64 = rebased = 1\nint('1', base=2)")))
