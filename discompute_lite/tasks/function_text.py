"""Find the source text of functions and definitions, and the names that they use.

Knows:   where a live function stands in its file or notebook cell (lambdas, several on a line, included), how to cut
         it out so that it compiles alone with its own line numbers, and which global names it will look up.
Refuses: to run anything, and to guess: text that does not compile to the code that is loaded is not its source.
Read next: tasks/function_writer.py (what is made of it).

A function inside others is cut out with its indentation kept, below lines that stand for what was around it:

    class Account:                               only where one was around it: names such as __rate depend on it
     def __discompute_make__(rate, log):         the names that it takes from the function around it
            def interest(amount):                unchanged, on its own line number
                return amount * rate

Nothing of this is ever called: the reader compiles it and takes the one code object out.
"""

from __future__ import annotations

import __future__
import ast
import dis
import linecache
import sys
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

from ..model.errors import TaskRejected

#: Name of the function that stands around a cut-out one.
MAKE_NAME = "__discompute_make__"
#: Every text is compiled with annotations left alone: `int | None` must not be evaluated on Python 3.9.
TEXT_FLAGS = __future__.annotations.compiler_flag
#: The oldest Python that takes part.
OLDEST_PYTHON = 9
#: Files that stay parsed for the next function out of them: parsing costs far more than all the rest of packing.
FILES_KEPT = 8

_CODE_PARTS = (
    "co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars",
    "co_argcount", "co_posonlyargcount", "co_kwonlyargcount",
)
_GLOBAL_OPERATIONS = frozenset(
    ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS", "STORE_GLOBAL", "DELETE_GLOBAL"))
_OPTIMIZED = 1
_DEFS = (ast.FunctionDef, ast.AsyncFunctionDef)


class CutText(NamedTuple):
    """Hold a piece of source that compiles alone."""

    #: The file's name without folders.
    file: str
    #: Line of its first line in that file.
    line: int
    #: How many lines at its beginning are not the file's own.
    head: int
    text: str


class SourceFile:
    """Hold the text of one file or notebook cell, parsed and compiled once."""

    def __init__(self, filename: str, text: str, flags: int = 0) -> None:
        """Parse; raises SyntaxError and ValueError as `ast.parse` does."""
        self.label = short_file_name(filename)
        self.text = text
        # Not splitlines: Python's lines end with a line feed and nothing else.
        self.lines = text.split("\n")
        self.tree = ast.parse(text, filename)
        #: Lambdas get line numbers of their own while compiling: only so can two on a line be told apart.
        self._marks: Dict[int, int] = {}
        self._codes: Dict[Tuple[str, int], List[CodeType]] = {}
        #: (name, first line) -> definitions, in the order of `ast.walk`.
        self._defs: Dict[Tuple[str, int], List[ast.AST]] = {}
        self._classes: Dict[int, str] = {}
        self._index(filename, flags)

    def _index(self, filename: str, flags: int) -> None:
        lambdas = [node for node in ast.walk(self.tree) if isinstance(node, ast.Lambda)]
        places = [(node.lineno, node.end_lineno) for node in lambdas]
        for number, node in enumerate(lambdas, len(self.lines) + 1):
            self._marks[id(node)] = node.lineno = number
            node.end_lineno = number + len(lambdas) + 1
        flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        try:
            top = compile(self.tree, filename, "exec", flags, dont_inherit=True)
        finally:
            for node, place in zip(lambdas, places):
                node.lineno, node.end_lineno = place
        for code in codes_within(top):
            self._codes.setdefault((code.co_name, code.co_firstlineno), []).append(code)
        stack: List[Tuple[ast.AST, str]] = [(self.tree, "")]
        while stack:
            parent, name = stack.pop()
            self._classes[id(parent)] = name
            inner = parent.name if isinstance(parent, ast.ClassDef) else name
            stack.extend((child, inner) for child in ast.iter_child_nodes(parent))
        for each in ast.walk(self.tree):
            if isinstance(each, (ast.Lambda, *_DEFS)):
                name = getattr(each, "name", "<lambda>")
                self._defs.setdefault((name, first_line(each)), []).append(each)

    def node_of(self, code: CodeType) -> Optional[ast.AST]:
        """Return the definition that compiles to `code`, or None where the text says something else."""
        place = code.co_name, code.co_firstlineno
        for node in self._defs.get(place, ()):
            line = self._marks.get(id(node), place[1])
            if any(is_same_code(code, other) for other in self._codes.get((place[0], line), ())):
                return node
        return None

    def cut_function(self, node: Any, free: Sequence[str]) -> CutText:
        """Return the text of a function alone; `free` are the names that it takes from around it."""
        around = self._classes[id(node)]
        if isinstance(node, ast.Lambda):
            make = f"def {MAKE_NAME}({', '.join(free)}): return ("
            heads = [f"class {around}:", " " + make] if around else [make]
            return self._placed(heads, node.lineno, self._segment(node) + "\n)")
        lines = self.lines[node.lineno - 1:node.end_lineno]
        indent = lines[0][:len(lines[0]) - len(lines[0].lstrip())]
        heads = [f"class {around}:"] if around and indent else []
        if indent and (not around or set(free) - {"__class__"}):
            heads.append((indent[:1] if heads else "") + f"def {MAKE_NAME}({', '.join(free)}):")
        return self._placed(heads, node.lineno, "\n".join(lines))

    def cut_statement(self, node: Any) -> CutText:
        """Return the text of a statement of the module's top level, decorators included."""
        if not isinstance(node, (*_DEFS, ast.ClassDef)):
            return self._placed([], node.lineno, self._segment(node))
        line = first_line(node)
        lines = self.lines[line - 1:node.end_lineno]
        # One that stands in an `if` or `try` keeps its indentation.
        return self._placed(["if True:"] if node.col_offset else [], line, "\n".join(lines))

    def _placed(self, heads: List[str], line: int, text: str) -> CutText:
        if heads and line <= len(heads):
            # No room above, at the top of a notebook cell: an expression may follow on the same line.
            return CutText(self.label, 1, len(heads) - 1, "\n".join(heads) + text)
        return CutText(self.label, line - len(heads), len(heads), "\n".join([*heads, text]))

    def _segment(self, node: Any) -> str:
        lines = [line.encode("utf-8", "surrogatepass") for line in self.lines[node.lineno - 1:node.end_lineno]]
        lines[-1] = lines[-1][:node.end_col_offset]
        lines[0] = lines[0][node.col_offset:]
        return b"\n".join(lines).decode("utf-8", "surrogatepass")

    def statement_binding(self, name: str, line: int) -> Optional[ast.stmt]:
        """Return the top-level statement that binds `name`, the one around `line` (0 where that is not known)."""
        found = [node for node in _top_statements(self.tree.body) if name in _names_bound(node)]
        if line:
            found = [node for node in found if first_line(node) <= line <= (node.end_lineno or 0)
                     or not isinstance(node, (*_DEFS, ast.ClassDef))]
        return found[-1] if found else None

    def import_binding(self, name: str) -> Optional[Tuple[str, str]]:
        """Return (module, its attribute) of a top-level `from module import attribute as name`, or None."""
        for node in _top_statements(self.tree.body):
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                for item in node.names:
                    if (item.asname or item.name) == name:
                        return node.module, item.name
        return None


@lru_cache(maxsize=FILES_KEPT)
def parsed_file(filename: str, text: str, flags: int) -> SourceFile:
    """Return the file, the same one for all: it is not changed once it is made. Raises as its constructor does."""
    return SourceFile(filename, text, flags)


class SourceShelf:
    """Read files and notebook cells once, for one function that is to be sent."""

    def __init__(self, source_of: Optional[Callable[[str], Optional[str]]] = None) -> None:
        self._source_of = source_of
        self._files: Dict[str, Optional[SourceFile]] = {}

    def read(self, filename: str, namespace: Dict[str, Any], flags: int = 0, afresh: bool = False
             ) -> Optional[SourceFile]:
        """Return the file, or None where there is no text or it is not Python; `afresh` looks at the disk again."""
        if filename in self._files and not afresh:
            return self._files[filename]
        text = self._source_of(filename) if self._source_of is not None else None
        if text is None:
            if afresh:
                linecache.checkcache(filename)
            text = "".join(linecache.getlines(filename, namespace))
        file: Optional[SourceFile] = None
        if text:
            try:
                file = parsed_file(filename, text, flags)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                file = None
        self._files[filename] = file
        return file

    def find(self, function: FunctionType) -> Tuple[SourceFile, ast.AST]:
        """Return where a function's source stands; raise `TaskRejected` where it has none, or has other."""
        code = function.__code__
        flags = code.co_flags & TEXT_FLAGS
        file = None
        for afresh in (False, True):
            file = self.read(code.co_filename, function.__globals__, flags, afresh)
            node = file.node_of(code) if file is not None else None
            if file is not None and node is not None:
                return file, node
        place = f"{function.__qualname__} ({short_file_name(code.co_filename)}, line {code.co_firstlineno})"
        if not linecache.getlines(code.co_filename):
            raise TaskRejected(f"{place} has no source text that could travel; put it into a file and import it")
        raise TaskRejected(f"{place} is no longer what its file says; load the file again, then submit")


def short_file_name(filename: str) -> str:
    """Return a file's name without folders, fit for the angle brackets of a made-up one."""
    name = filename.replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in name if letter.isprintable() and letter not in "<>")[:80] or "source"


def first_line(node: Any) -> int:
    """Return the line of a statement's first decorator, or its own: what `co_firstlineno` says."""
    decorators = getattr(node, "decorator_list", None)
    return int(decorators[0].lineno if decorators else node.lineno)


def codes_within(code: CodeType) -> Iterator[CodeType]:
    """Yield `code` and all code objects inside it, outer before inner."""
    stack = [code]
    while stack:
        outer = stack.pop()
        yield outer
        stack.extend(reversed([const for const in outer.co_consts if isinstance(const, CodeType)]))


def is_same_code(ours: CodeType, theirs: CodeType) -> bool:
    """Whether two code objects do the same, wherever they stand."""
    if any(name.startswith("@py") for name in ours.co_varnames + ours.co_names):
        # pytest has rewritten its asserts: what runs is not what is written, and this is no reason to refuse it.
        return ours.co_argcount == theirs.co_argcount
    if any(getattr(ours, part) != getattr(theirs, part) for part in _CODE_PARTS):
        return False
    return len(ours.co_consts) == len(theirs.co_consts) and all(map(_is_same_const, ours.co_consts, theirs.co_consts))


def _is_same_const(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, CodeType) and isinstance(theirs, CodeType):
        return is_same_code(ours, theirs)
    # By text, because nan is not equal to itself and 0.0 is equal to -0.0.
    return type(ours) is type(theirs) and (repr(ours) == repr(theirs) or (ours == theirs and ours != 0))


def compile_cut(cut: CutText, filename: str) -> CodeType:
    """Compile a cut-out text so that its lines have the numbers of their file; raises SyntaxError."""
    return compile("\n" * (cut.line - 1) + cut.text, filename, "exec", TEXT_FLAGS, dont_inherit=True)


def code_in_cut(top: CodeType, name: str) -> CodeType:
    """Return the code object of the function that a text was cut out for; raise LookupError."""
    # Default values of a lambda may be lambdas too; they are compiled before it.
    found = [code for code in codes_within(top) if code.co_name == MAKE_NAME][:1] or [top]
    while True:
        inner = [const for const in found[0].co_consts if isinstance(const, CodeType)]
        named = [code for code in inner if code.co_name == name]
        if named:
            return named[-1]
        # Below a class, or below the type parameters of Python 3.12.
        found = [code for code in inner if code.co_name != "<lambda>"]
        if not found:
            raise LookupError(name)


def names_in_code(top: CodeType, is_eager: bool) -> Iterator[Tuple[str, bool]]:
    """Yield (global name, whether it is looked up as soon as `top` runs) in order of appearance.

    `is_eager` says it of `top` itself; bodies of functions inside run later, those of classes at once.
    """
    for code in codes_within(top):
        runs_now = is_eager and (code is top or not code.co_flags & _OPTIMIZED or code.co_name.startswith("<"))
        own: Set[str] = set()
        for step in dis.get_instructions(code):
            if step.opname == "STORE_NAME":
                # From here on, a class body means its own.
                own.add(step.argval)
            elif step.opname in _GLOBAL_OPERATIONS and step.argval not in own and not step.argval.startswith("@"):
                yield step.argval, runs_now


def annotation_names(tree: ast.AST) -> List[str]:
    """Return the names in annotations, which libraries may look up later."""
    notes = [part for node in ast.walk(tree) for part in (
        getattr(node, "annotation", None), getattr(node, "returns", None)) if part is not None]
    found = [leaf.id for note in notes for leaf in ast.walk(note) if isinstance(leaf, ast.Name)]
    return list(dict.fromkeys(found))


def attribute_chains(tree: ast.AST, root: str) -> Iterator[Tuple[List[str], int]]:
    """Yield (attributes, line) of each use of the name `root`: `root.a.b` gives ["a", "b"], `root` alone []."""
    stack: List[Tuple[ast.AST, List[str]]] = [(tree, [])]
    while stack:
        node, outer = stack.pop()
        if isinstance(node, ast.Name) and node.id == root:
            yield outer, node.lineno
        chain = [node.attr, *outer] if isinstance(node, ast.Attribute) else []
        stack.extend((child, chain) for child in ast.iter_child_nodes(node))


def line_of_name(tree: ast.AST, name: str) -> int:
    """Return the first line on which `name` is used, 0 where it is not."""
    return min((line for _, line in attribute_chains(tree, name)), default=0)


def inner_imports(tree: ast.AST) -> Iterator[Tuple[str, int]]:
    """Yield (module, line) of each import inside, relative ones with their dots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((item.name, node.lineno) for item in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or ""), node.lineno


def oldest_python(cut: CutText) -> int:
    """Return the minor version of the oldest Python 3 that reads this text, as far as the parser can tell."""
    for minor in range(OLDEST_PYTHON, sys.version_info[1]):
        try:
            ast.parse(cut.text, feature_version=(3, minor))
            return minor
        except SyntaxError:
            continue
    return sys.version_info[1]


def _top_statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try, ast.With)):
            for part in ("body", "handlers", "orelse", "finalbody"):
                for inner in getattr(node, part, ()):
                    yield from _top_statements(inner.body if isinstance(inner, ast.ExceptHandler) else [inner])


def _names_bound(node: ast.stmt) -> List[str]:
    if isinstance(node, (*_DEFS, ast.ClassDef)):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []
