"""Hand the repository's own source, parsed once, to the house rules.

Knows:   where Python files are, their syntax trees, and how a breach of a rule is worded.
Refuses: the rules themselves; each stands in the test module that is named after it.
Read next: tests/house/test_imports.py (the map as a table).
"""

from __future__ import annotations

import ast
import io
import tokenize
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Callable, Iterable, Iterator, List, Optional, Set, Tuple

import pytest

PACKAGE = "discompute_lite"
#: Generated, and held to its own rules by its own test.
GENERATED = ("ios/discompute.py",)
#: Tables and pages as Python literals: long by nature.
DATA_NAMES = ("chips.py", "digits_data.py", "page.py")


@dataclass
class Source:
    """One Python file: `path` is relative to the repository, with forward slashes."""

    path: str
    text: str = field(repr=False)
    tree: ast.Module = field(init=False, repr=False)
    #: Every node of the tree, walked once for all rules.
    nodes: List[ast.AST] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.tree = ast.parse(self.text, self.path, feature_version=(3, 9))
        self.nodes = list(ast.walk(self.tree))

    @property
    def name(self) -> str:
        """The file's name without folders."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def module(self) -> str:
        """`wire.rpc` for discompute_lite/wire/rpc.py; `wire` for a room's __init__; `` for the package's own."""
        parts = self.path[: -len(".py")].split("/")[1:]
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def room(self) -> str:
        """`wire` for discompute_lite/wire/rpc.py, `run` for discompute_lite/run.py, `__init__` for the package's."""
        return self.path[: -len(".py")].split("/")[1]

    @property
    def is_data(self) -> bool:
        """Whether this is a table or a page written as Python."""
        return self.name in DATA_NAMES

    def at(self, where: object, rule: str) -> str:
        """Word one breach; `where` is a node of the tree or a line number."""
        return f"{self.path}:{getattr(where, 'lineno', where)}: {rule}"

    def definitions(self) -> Iterator[ast.AST]:
        """Yield the module's own functions and classes; a table has none."""
        for node in self.tree.body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                yield node

    def functions(self) -> Iterator[ast.FunctionDef]:
        """Yield every function and method, nested ones too."""
        for node in self.nodes:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield node  # type: ignore[misc]

    @cached_property
    def late_imports(self) -> Set[ast.AST]:
        """Every import that stands inside a function."""
        inner = (node for function in self.functions() for node in ast.walk(function))
        return {node for node in inner if isinstance(node, (ast.Import, ast.ImportFrom))}

    def calls(self) -> Iterator[Tuple[ast.Call, str]]:
        """Yield every call with its dotted name, `` where it has none."""
        for node in self.nodes:
            if isinstance(node, ast.Call):
                yield node, dotted(node.func)

    def comments(self) -> Iterator[Tuple[int, str]]:
        """Yield (line, text) of every comment, and of every docstring at the line where it begins."""
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string
        for node in self.nodes:
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                text = ast.get_docstring(node, clean=False)
                if text is not None:
                    yield node.body[0].lineno, text


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for a chain of plain names, else `` (also for a chain that starts at a call)."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def read_sources(root: Path, folder: str) -> List[Source]:
    """Parse every Python file below `folder`."""
    found = []
    for path in sorted((root / folder).rglob("*.py")):
        relative = path.relative_to(root).as_posix()
        if relative not in GENERATED:
            found.append(Source(relative, path.read_text(encoding="utf-8")))
    return found


@pytest.fixture(scope="session")
def package(root: Path) -> List[Source]:
    """Every module of the package."""
    return read_sources(root, PACKAGE)


@pytest.fixture(scope="session")
def everything(root: Path, package: List[Source]) -> List[Source]:
    """Every Python file of the repository: the package, its tests and tools, the phone's script."""
    return package + [source for folder in ("tests", "tools", "ios") for source in read_sources(root, folder)]


@pytest.fixture(scope="session")
def parse() -> Callable[..., Source]:
    """Make a source from text, so that a rule can be shown a breach: a rule that cannot fail holds nothing."""

    def make(text: str, path: Optional[str] = None) -> Source:
        return Source(path or f"{PACKAGE}/net/example.py", text)

    return make


@pytest.fixture(scope="session")
def obeyed() -> Callable[[Iterable[str]], None]:
    """Fail with one line for each breach, each with file, line and rule."""

    def check(breaches: Iterable[str]) -> None:
        found = sorted(set(breaches))
        if found:
            pytest.fail("\n".join(["house rules:", *found]), pytrace=False)

    return check
