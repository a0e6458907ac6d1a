"""Put a function together again from its plan, on the device that runs it.

Knows:   how texts are compiled under their own line numbers, how rows become objects (cycles included), and in which
         order steps are taken.
Refuses: to check who sent it: what it runs is a person's code, and policy has said yes before.
Read next: tasks/packed_function.py (who calls), tasks/function_writer.py (the plan).
"""

from __future__ import annotations

import functools
import linecache
import sys
from importlib import import_module
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Callable, Dict, List, Optional, Tuple

from ..model.errors import TaskRejected
from .function_origin import at_path
from .function_text import CutText, code_in_cut, compile_cut
from .value_objects import empty_object
from .values import decode_value


class FunctionUnfit(TaskRejected):
    """This device cannot run the function, but another may: an older Python, or a package that is not here."""


class NotReady(Exception):
    """Say that something is needed which a later step makes."""


class FunctionReader:
    """Build one function from its plan; used once. Malformed plans raise LookupError, TypeError or ValueError."""

    def __init__(self, plan: Dict[str, Any], name: str, spaces: List[ModuleType], mark: str,
                 load: Optional[Callable[[int], None]] = None) -> None:
        """Take modules, one for each of the plan's spaces, to fill; `mark` tells their files from others'.

        `load(index)` runs an uploaded module in its space.
        """
        self._load = load
        self._plan = plan
        self._name = name
        self._spaces = spaces
        self._mark = mark
        self._values: List[Any] = []
        self._codes: Dict[int, CodeType] = {}
        self._made: Dict[int, Any] = {}
        #: What is still to be put into an object that exists already.
        self._fills: List[Callable[[], None]] = []
        self._texts = [CutText(*map(_plan_part, text, (str, int, int, str))) for text in plan["texts"]]

    def build(self) -> Any:
        """Take all steps and return the function."""
        self._check_python()
        for name, version in self._plan["imports"]:
            self._import(name, version)
        self._values = decode_value(self._plan["values"])
        for filename, lines in self.shown_lines().items():
            text = "\n".join(lines)
            # Tracebacks find the lines here; a size without a time is never checked against a file.
            linecache.cache[filename] = (len(text), None, [line + "\n" for line in lines], filename)
        waiting = list(self._plan["steps"])
        while waiting:
            later = [step for step in waiting if not self._is_taken(step)]
            if len(later) == len(waiting):
                raise TaskRejected(f"{self._name} is made of parts that need each other before they are made; "
                                   "write its classes in one file, in the order of their need")
            waiting = later
        function = self._object(self._plan["entry"])
        while self._fills and self._fill():
            pass
        if self._fills:
            raise ValueError("something refers to what is never made")
        return function

    def _check_python(self) -> None:
        minor = self._plan["python"]
        if sys.version_info[1] < minor:
            raise FunctionUnfit(f"{self._name} is written for Python 3.{minor} or later; this device has "
                                f"3.{sys.version_info[1]}: write it without newer syntax, or require a newer device")

    def _import(self, name: str, version: str) -> ModuleType:
        try:
            return import_module(name)
        except ImportError as error:
            known = f" {version}" if version else ""
            raise FunctionUnfit(f"{self._name} needs {name}{known}, which this device cannot import "
                                f"({str(error)[:200]}); install it here, or require a device that has it") from None

    # ---- steps --------------------------------------------------------------------------------------

    def _is_taken(self, step: List[Any]) -> bool:
        try:
            kind, *rest = step
            if kind == "bind":
                index, name, operand = rest
                vars(self._spaces[index])[name] = self._object(operand)
            elif kind == "run":
                index, text = rest
                exec(self._code(text), vars(self._spaces[index]))
            elif kind == "load":
                if self._load is None:
                    raise ValueError("the plan loads a module that it has not")
                self._load(rest[0])
            else:
                owner, name, operand = rest
                setattr(self._object(owner), name, self._object(operand))
            # What a statement needs must be whole before it runs.
            self._fill()
        except NotReady:
            return False
        return True

    def _fill(self) -> bool:
        """Fill what can be filled; return whether something was."""
        is_any = False
        for fill in self._fills[:]:
            try:
                fill()
            except NotReady:
                continue
            self._fills.remove(fill)
            is_any = True
        return is_any

    # ---- text ---------------------------------------------------------------------------------------

    def _filename(self, cut: CutText) -> str:
        return f"<{cut.file} {self._mark}>"

    def _code(self, index: int) -> CodeType:
        code = self._codes.get(index)
        if code is None:
            cut = self._texts[index]
            try:
                code = self._codes[index] = compile_cut(cut, self._filename(cut))
            except SyntaxError as error:
                raise FunctionUnfit(
                    f"{cut.file}, line {error.lineno or cut.line}: {error.msg}; this device has Python "
                    f"3.{sys.version_info[1]}: write it without newer syntax, or require a newer device") from None
        return code

    def shown_lines(self) -> Dict[str, List[str]]:
        """Return what tracebacks show: lines by made-up file name, each on its own number."""
        files: Dict[str, List[str]] = {}
        for cut in self._texts:
            lines = files.setdefault(self._filename(cut), [])
            own = cut.text.split("\n")
            if cut.line < 1 or cut.line + len(own) > 1_000_000:
                raise ValueError("no file has so many lines")
            lines.extend([""] * (cut.line - 1 + len(own) - len(lines)))
            lines[cut.line - 1 + cut.head:cut.line - 1 + len(own)] = own[cut.head:]
        return files

    # ---- objects ------------------------------------------------------------------------------------

    def _object(self, operand: List[Any]) -> Any:
        kind, *rest = operand
        if kind == "value":
            return self._values[rest[0]]
        if kind == "row":
            return self._row(rest[0])
        if kind == "import":
            return self._import(rest[0], "")
        if kind == "space":
            return self._spaces[rest[0]]
        if kind == "global":
            space, path = vars(self._spaces[rest[0]]), rest[1]
            root, dot, more = path.partition(".")
            if root not in space:
                raise NotReady
            return at_path(space[root], more) if dot else space[root]
        return self._public(*rest)

    def _public(self, module: str, path: str) -> Any:
        try:
            return at_path(self._import(module, ""), path)
        except AttributeError:
            raise FunctionUnfit(f"{self._name} needs {module}.{path}, which this device does not have: it has Python "
                                f"3.{sys.version_info[1]}; use an older function, or require a newer device") from None

    def _objects(self, operands: List[List[Any]]) -> List[Any]:
        return [self._object(operand) for operand in operands]

    def _named(self, operands: Dict[str, List[Any]]) -> Dict[str, Any]:
        return {name: self._object(operand) for name, operand in operands.items()}

    def _row(self, index: int) -> Any:
        if index not in self._made:
            row = self._plan["rows"][index]
            make = _ROW_MAKERS[row["kind"]]
            value, fill = make(self, row)
            # A call may have made it meanwhile, through a cycle; then the first one stays.
            value = self._made.setdefault(index, value)
            if fill is not None:
                self._fills.append(fill)
        return self._made[index]

    def make_function(self, row: Dict[str, Any]) -> Tuple[Any, Any]:
        """Make a function whose cells are filled later."""
        code = code_in_cut(self._code(row["text"]), row["code"])
        cells = {name: self._object(operand) for name, operand in row["cells"].items()}
        space = vars(self._spaces[row["space"]])
        closure = tuple([cells[name] for name in code.co_freevars])
        function = FunctionType(code, space, row["name"], None, closure)
        function.__qualname__ = row["qualname"]
        function.__module__ = space["__name__"]

        def fill() -> None:
            defaults, keywords = self._objects(row["defaults"]), self._named(row["keywords"])
            attributes = self._named(row["attributes"])
            function.__defaults__ = tuple(defaults) or None
            function.__kwdefaults__ = keywords or None
            vars(function).update(attributes)

        return function, fill

    def make_cell(self, row: Dict[str, Any]) -> Tuple[Any, Any]:
        """Make a closure cell, which may stay empty."""
        cell = CellType()

        def fill() -> None:
            cell.cell_contents = self._object(row["content"])

        return cell, fill if "content" in row else None

    def make_list(self, row: Dict[str, Any]) -> Tuple[Any, Any]:
        """Make a list."""
        box: List[Any] = []

        def fill() -> None:
            box[:] = self._objects(row["items"])

        return box, fill

    def make_dict(self, row: Dict[str, Any]) -> Tuple[Any, Any]:
        """Make a dict; what decorators have put into it meanwhile gives way to what it held at home."""
        box: Dict[Any, Any] = {}

        def fill() -> None:
            pairs = dict([self._objects(pair) for pair in row["items"]])
            box.clear()
            box.update(pairs)

        return box, fill

    def make_set(self, row: Dict[str, Any]) -> Tuple[Any, Any]:
        """Make a set."""
        box: set = set()

        def fill() -> None:
            items = self._objects(row["items"])
            box.clear()
            box.update(items)

        return box, fill

    def make_instance(self, row: Dict[str, Any]) -> Tuple[Any, Any]:
        """Make an instance without calling its class, and give it its attributes."""
        cls = self._object(row["of"])
        value = empty_object(cls)

        def fill() -> None:
            for name, item in self._named(row["state"]).items():
                # Frozen data classes forbid the usual way.
                object.__setattr__(value, name, item)

        return value, fill


def _plan_part(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__} is wanted")
    return value


def _make_lru(reader: FunctionReader, row: Dict[str, Any]) -> Any:
    return functools.lru_cache(maxsize=row["maxsize"], typed=row["typed"])(reader._object(row["function"]))


#: What makes an object of each kind of row: (object, what fills it later or None).
_ROW_MAKERS: Dict[str, Callable[[FunctionReader, Dict[str, Any]], Tuple[Any, Any]]] = {
    "function": FunctionReader.make_function,
    "cell": FunctionReader.make_cell,
    "list": FunctionReader.make_list,
    "dict": FunctionReader.make_dict,
    "set": FunctionReader.make_set,
    "instance": FunctionReader.make_instance,
    "tuple": lambda reader, row: (tuple(reader._objects(row["items"])), None),
    "frozenset": lambda reader, row: (frozenset(reader._objects(row["items"])), None),
    "attribute": lambda reader, row: (getattr(reader._object(row["of"]), row["name"]), None),
    "bound": lambda reader, row: (MethodType(reader._object(row["function"]), reader._object(row["of"])), None),
    "partial": lambda reader, row: (functools.partial(
        reader._object(row["function"]), *reader._objects(row["args"]), **reader._named(row["keywords"])), None),
    "lru": lambda reader, row: (_make_lru(reader, row), None),
    "made": lambda reader, row: (reader._object(row["by"])(*reader._objects(row["args"])), None),
}
