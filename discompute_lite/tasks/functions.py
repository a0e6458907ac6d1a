"""Carry a function to another device as source text and data: `pack_function` here, `load_function` there.

Knows:   how a function is taken apart, and what cannot be an entry.
Refuses: byte code, pickles, and guessing: what cannot be rebuilt elsewhere is refused here, by name, file and line.
Read next: tasks/function_writer.py (taking apart), tasks/packed_function.py (putting together).

What travels: the function, and of the module-level names that it uses, transitively, exactly those: a person's own
functions and classes as text, everything else as data (tasks/values.py), the library and installed packages by name.

- Closures, defaults, global values and class attributes are taken as they are now. They are copies: what a function
  changes (`global`, `nonlocal`, a list) stays on that device, in that process, until the function is forgotten.
- Classes are run again as statements, with their decorators; so are functions that a library's decorator wrapped.
- Installed packages must be there on the other device, in whatever version it has.
"""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import Any, Callable, Iterable, Optional, Sequence

from .function_objects import UsePlace
from .function_text import short_file_name
from .function_writer import FunctionWriter
from .packed_function import PackedFunction, hash_of_plan
from .uploads import UploadedModule


def pack_function(function: Callable[..., Any], *, source_of: Optional[Callable[[str], Optional[str]]] = None,
                  classes: Iterable[type] = (), uploads: Sequence[UploadedModule] = ()) -> PackedFunction:
    """Take a function apart for another device; raise `TaskRejected` that names what cannot travel, and where it is.

    `source_of` may return the text of a file or notebook cell by its name, or None; linecache is asked then.
    `classes` come along: those of its arguments, which it may not name itself. `uploads` are checked modules.
    Packing costs about a millisecond a function that it uses: keep the result for further calls.
    """
    place = _entry_place(function)
    try:
        plan = FunctionWriter(source_of, uploads).plan(function, place, classes)
    except RecursionError:
        raise place.refused("is made of parts nested too deeply to travel; pass flatter data") from None
    return PackedFunction(place.user, plan, hash_of_plan(place.user, plan))


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
