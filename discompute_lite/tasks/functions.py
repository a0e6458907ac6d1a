"""Carry a function to another device as source text and data: `pack_function` here, `load_function` there.

Knows:   the packed form, its hash, what cannot be an entry, and how a loaded function is kept for the next call.
Refuses: byte code, pickles, and guessing: what cannot be rebuilt elsewhere is refused here, by name, file and line.
Read next: tasks/function_writer.py (taking apart), tasks/function_reader.py (putting together).

What travels: the function, and of the module-level names that it uses, transitively, exactly those: a person's own
functions and classes as text, everything else as data (tasks/values.py), the library and installed packages by name.

- Closures, defaults, global values and class attributes are taken as they are now. They are copies: what a function
  changes (`global`, `nonlocal`, a list) stays on that device, in that process, until the function is forgotten.
- Classes are run again as statements, with their decorators; so are functions that a library's decorator wrapped.
- Installed packages must be there on the other device, in whatever version it has.
"""

from __future__ import annotations

import builtins
import hashlib
import inspect
import json
import linecache
import sys
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any, Callable, Dict, List, Optional

from ..model.errors import TaskRejected
from .function_objects import UsePlace
from .function_reader import FunctionReader
from .function_text import short_file_name
from .function_writer import FunctionWriter

#: Functions kept loaded in one process; a process serves few tasks, and a thread executor must not grow.
FUNCTIONS_KEPT = 16
_FUNCTION_PREFIX = "discompute_function_"
_LOADED = "__discompute_loaded__"
_FILES = "__discompute_files__"
_PLAN_KEYS = {"entry": list, "spaces": list, "texts": list, "rows": list, "steps": list, "values": list,
              "imports": list, "python": int}


@dataclass(frozen=True)
class PackedFunction:
    """Hold a function as JSON types."""

    name: str
    #: What it is made of; tasks/function_writer.py says how. Not to be changed.
    plan: Dict[str, Any]
    #: Of name and plan, in hexadecimal: the same function gives the same one on the same Python.
    sha256: str

    @property
    def source(self) -> str:
        """Return all text that travels, for people to read."""
        return "\n\n".join(f"# {file}, line {line + head}\n{text}" for file, line, head, text in self.plan["texts"])

    @property
    def imports(self) -> Dict[str, str]:
        """Return the modules that the other device must have, with the version of the package here, or ""."""
        return dict(self.plan["imports"])

    @property
    def python(self) -> int:
        """Return the minor version of the oldest Python 3 that can read the text, as far as is known; 0 for any."""
        return int(self.plan["python"])

    def to_plain(self) -> Dict[str, Any]:
        """Return JSON types."""
        return {"name": self.name, "plan": self.plan, "sha256": self.sha256}

    @classmethod
    def from_plain(cls, plain: Any) -> PackedFunction:
        """Read what `to_plain` gave; raise `TaskRejected` where it is something else or was changed on its way."""
        if type(plain) is not dict or type(plain.get("name")) is not str or type(plain.get("plan")) is not dict:
            raise TaskRejected("a packed function is {name, plan, sha256}")
        plan = plain["plan"]
        if any(type(plan.get(key)) is not kind for key, kind in _PLAN_KEYS.items()):
            raise TaskRejected(f"the plan of a packed function has {', '.join(_PLAN_KEYS)}")
        packed = cls(plain["name"], plan, _hash_of_plan(plain["name"], plan))
        if plain.get("sha256") != packed.sha256:
            raise TaskRejected(f"the packed function {packed.name[:60]!r} does not match its sha256; submit it again")
        return packed


def pack_function(function: Callable[..., Any], *, source_of: Optional[Callable[[str], Optional[str]]] = None
                  ) -> PackedFunction:
    """Take a function apart for another device; raise `TaskRejected` that names what cannot travel, and where it is.

    `source_of` may return the text of a file or notebook cell by its name, or None; linecache is asked then.
    Packing costs about a millisecond a function that it uses: keep the result for further calls.
    """
    place = _entry_place(function)
    try:
        plan = FunctionWriter(source_of).plan(function, place)
    except RecursionError:
        raise place.refused("is made of parts nested too deeply to travel; pass flatter data") from None
    return PackedFunction(place.user, plan, _hash_of_plan(place.user, plan))


def load_function(packed: PackedFunction, owner: str = "") -> Callable[..., Any]:
    """Return the function, built once in this process for each `owner` (the task whose code it is).

    Raises `TaskRejected`, as `FunctionUnfit` where another device may do better, and what the code itself raises.
    """
    stem = _FUNCTION_PREFIX + hashlib.sha256(f"{owner}\n{packed.sha256}".encode()).hexdigest()[:16]
    root = ModuleType(stem)
    for attempt in range(FUNCTIONS_KEPT):
        # Another thread may be building this function just now: it gets its copy, this one another.
        root = ModuleType(f"{stem}_{attempt}" if attempt else stem)
        present = sys.modules.setdefault(root.__name__, root)
        if present is not root and hasattr(present, _LOADED):
            return _loaded_function(present)
        if present is root:
            break
    spaces: List[ModuleType] = []
    try:
        function = _built(packed, root, spaces)
        setattr(root, _LOADED, function)
    finally:
        if not hasattr(root, _LOADED):
            _forget_function(root.__name__)
    _forget_old_functions(root.__name__)
    return function


def _built(packed: PackedFunction, root: ModuleType, spaces: List[ModuleType]) -> Callable[..., Any]:
    try:
        for index in range(len(packed.plan["spaces"])):
            # A data class looks up its own module by name.
            space = ModuleType(f"{root.__name__}.{index}")
            # Running a statement would add it; functions may be made and called before the first one.
            vars(space)["__builtins__"] = builtins
            sys.modules[space.__name__] = space
            spaces.append(space)
        reader = FunctionReader(packed.plan, packed.name, spaces, packed.sha256[:8])
        setattr(root, _FILES, list(reader.shown_lines()))
        function = reader.build()
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        if _is_of_user(error):
            raise
        raise TaskRejected(f"the packed function {packed.name[:60]!r} cannot be rebuilt: "
                           f"{type(error).__name__}: {str(error)[:200]}") from None
    if not callable(function):
        raise TaskRejected(f"the packed function {packed.name[:60]!r} is not a function")
    return function  # type: ignore[no-any-return]


def _is_of_user(error: BaseException) -> bool:
    """Whether an error came out of the person's own code, by the made-up file names of its traceback."""
    step = error.__traceback__
    while step is not None:
        filename = step.tb_frame.f_code.co_filename
        if filename.startswith("<") and not filename.startswith("<frozen "):
            return True
        step = step.tb_next
    return False


def _loaded_function(root: ModuleType) -> Callable[..., Any]:
    return getattr(root, _LOADED)  # type: ignore[no-any-return]


def _forget_old_functions(newest: str) -> None:
    names = [name for name, module in list(sys.modules.items())
             if name.startswith(_FUNCTION_PREFIX) and hasattr(module, _LOADED)]
    for name in names[:-FUNCTIONS_KEPT]:
        if name != newest:
            _forget_function(name)


def _forget_function(name: str) -> None:
    for each in [each for each in list(sys.modules) if each == name or each.startswith(name + ".")]:
        module = sys.modules.pop(each, None)
        for filename in getattr(module, _FILES, ()):
            linecache.cache.pop(filename, None)


def _entry_place(function: Any) -> UsePlace:
    """Return who is to be named in refusals; refuse what is no function to call for a result."""
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    place = UsePlace(name if type(name) is str else type(function).__name__)
    inner = inspect.unwrap(getattr(function, "func", function)) if callable(function) else function
    inner = getattr(inner, "__func__", inner)
    if type(inner) is FunctionType:
        code = inner.__code__
        place = place._replace(file=short_file_name(code.co_filename), line=code.co_firstlineno)
    if not callable(function):
        raise place.refused("is not a function; give something that can be called")
    if inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner):
        raise place.refused("is async; give a plain function, which may call asyncio.run itself")
    if inspect.isgeneratorfunction(inner) and not _is_wrapped(function, inner):
        raise place.refused("is a generator, which cannot return its values over a network; return a list")
    return place


def _is_wrapped(function: Any, inner: Any) -> bool:
    """Whether a decorator stands around a generator, and may make something else of it."""
    return inner is not getattr(getattr(function, "func", function), "__func__", getattr(function, "func", function))


def _hash_of_plan(name: str, plan: Dict[str, Any]) -> str:
    try:
        text = json.dumps([name, plan], sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise TaskRejected("a packed function is made of JSON types only") from None
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
