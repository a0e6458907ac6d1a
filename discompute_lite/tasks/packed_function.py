"""Hold a function that was taken apart, and put it together again: what the device that runs it needs.

Knows:   the packed form, its hash, how a loaded function is kept for the next call, and the names of its modules.
Refuses: to take functions apart (tasks/functions.py does): processes that only run them start sooner without that.
Read next: tasks/function_reader.py (putting together), tasks/functions.py (the whole way).
"""

from __future__ import annotations

import builtins
import hashlib
import json
import linecache
import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ..model.errors import TaskRejected
from .function_reader import FunctionReader, NotReady
from .jobs import is_job_filename
from .uploaded_modules import UploadedModules

#: Functions kept loaded in one process; a process serves few tasks, and a thread executor must not grow.
FUNCTIONS_KEPT = 16
_FUNCTION_PREFIX = "discompute_function_"
#: The name of one of a loaded function's own modules, with its number.
_SPACE_NAME = re.compile(_FUNCTION_PREFIX + r"[0-9a-f]{16}(?:_[0-9]+)?\.([0-9]+)")
_LOADED = "__discompute_loaded__"
_FILES = "__discompute_files__"
_SPACES = "__discompute_spaces__"
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
        whole = [(file, 1, 0, text) for _, _, file, text in self.plan.get("modules", [])]
        return "\n\n".join(f"# {file}, line {line + head}\n{text}" for file, line, head, text in
                           [*self.plan["texts"], *whole])

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
        packed = cls(plain["name"], plan, hash_of_plan(plain["name"], plan))
        if plain.get("sha256") != packed.sha256:
            raise TaskRejected(f"the packed function {packed.name[:60]!r} does not match its sha256; submit it again")
        return packed


def load_function(packed: PackedFunction, owner: str = "") -> Callable[..., Any]:
    """Return the function, built once in this process for each `owner` (the task whose code it is).

    Raises `TaskRejected`, as `FunctionUnfit` where another device may do better, and what the code itself raises.
    """
    for name in _roots_of(packed, owner):
        present = sys.modules.get(name)
        if present is None:
            root = ModuleType(name)
            present = sys.modules.setdefault(name, root)
            if present is root:
                break
        # Another thread may be building this function just now: it gets its copy, this one another.
        if hasattr(present, _LOADED):
            return _loaded_function(present)
    else:
        root = ModuleType(name)
    spaces: List[ModuleType] = []
    try:
        function = _built(packed, root, spaces)
        setattr(root, _SPACES, spaces)
        setattr(root, _LOADED, function)
    finally:
        if not hasattr(root, _LOADED):
            _forget_function(root.__name__)
    _forget_old_functions(root.__name__)
    return function


def loaded_modules(packed: PackedFunction, owner: str = "") -> List[ModuleType]:
    """Return the function's own modules in this process, in the order of its spaces; none before it is loaded."""
    for root in _roots_of(packed, owner):
        present = sys.modules.get(root)
        if present is None:
            break
        if hasattr(present, _LOADED):
            return list(getattr(present, _SPACES))
    return []


def _roots_of(packed: PackedFunction, owner: str) -> Sequence[str]:
    return _names_of_roots(packed.sha256, owner)


@lru_cache(maxsize=FUNCTIONS_KEPT)
def _names_of_roots(sha256: str, owner: str) -> Tuple[str, ...]:
    stem = _FUNCTION_PREFIX + hashlib.sha256(f"{owner}\n{sha256}".encode()).hexdigest()[:16]
    return tuple(f"{stem}_{attempt}" if attempt else stem for attempt in range(FUNCTIONS_KEPT))


def _built(packed: PackedFunction, root: ModuleType, spaces: List[ModuleType]) -> Callable[..., Any]:
    try:
        for index in range(len(packed.plan["spaces"])):
            # A data class looks up its own module by name.
            space = ModuleType(f"{root.__name__}.{index}")
            sys.modules[space.__name__] = space
            spaces.append(space)
        mark, rows = packed.sha256[:8], packed.plan.get("modules", [])
        uploads = UploadedModules(rows, spaces, mark) if rows else None
        for space in spaces:
            # Running a statement would add it; functions may be made and called before the first one.
            vars(space)["__builtins__"] = uploads.builtins if uploads is not None else builtins
        reader = FunctionReader(packed.plan, packed.name, spaces, mark, uploads.load if uploads is not None else None)
        setattr(root, _FILES, [*reader.shown_lines(), *(uploads.show_texts() if uploads is not None else ())])
        function = reader.build()
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError, NotReady) as error:
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
        if is_job_filename(step.tb_frame.f_code.co_filename):
            return True
        step = step.tb_next
    return False


def space_number(module_name: str) -> Optional[int]:
    """Return the number of a loaded function's own module by its made-up name; None for any other module."""
    match = _SPACE_NAME.fullmatch(module_name)
    return int(match[1]) if match else None


def without_space_names(text: str) -> str:
    """Return a text in which what such modules hold has its name alone, as its author knows it."""
    return re.sub(_SPACE_NAME.pattern + r"\.", "", text) if _FUNCTION_PREFIX in text else text


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


def hash_of_plan(name: str, plan: Dict[str, Any]) -> str:
    try:
        text = json.dumps([name, plan], sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise TaskRejected("a packed function is made of JSON types only") from None
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
