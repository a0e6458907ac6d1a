"""Find the module-level names that belong to a function, and the statements that made them.

Knows:   which globals a function sees, in which files or notebook cells they were written, and who owns a class.
Refuses: to judge whether a name can travel (tasks/function_writer.py does).
Read next: tasks/function_text.py (the text of one file).
"""

from __future__ import annotations

import linecache
import sys
from types import FunctionType, ModuleType
from typing import Any, Dict, List, Optional, Tuple

from .function_origin import at_path, is_installed_module, is_installed_namespace
from .function_text import SourceFile, SourceShelf

#: How the names of notebook cells and of lines typed into Python 3.13 begin, after their folder.
_CELL_MARKS = ("<ipython-input-", "<python-input-", "/ipykernel_", "\\ipykernel_")


class ObjectSpace:
    """Stand for the globals of one module of the person's own."""

    def __init__(self, index: int, names: Dict[str, Any]) -> None:
        self.index = index
        self.names = names
        self.label = str(names.get("__name__", "module"))[:200]

    def files(self, shelf: SourceShelf) -> List[SourceFile]:
        """Return the texts in which these names may have been written, the likeliest first."""
        found = [shelf.read(filename, self.names) for filename in self._filenames()]
        return [file for file in found if file is not None]

    def _filenames(self) -> List[str]:
        own = self.names.get("__file__")
        if type(own) is str:
            return [own]
        mine = [value.__code__.co_filename for value in list(self.names.values())
                if type(value) is FunctionType and value.__globals__ is self.names]
        # Later cells replace what earlier ones said.
        cells = [name for name in list(linecache.cache) if any(mark in name for mark in _CELL_MARKS)]
        return list(dict.fromkeys([*reversed(cells), *mine]))


class SpaceTable:
    """Number the spaces that one function needs."""

    def __init__(self) -> None:
        self._spaces: Dict[int, ObjectSpace] = {}

    def of(self, names: Dict[str, Any]) -> ObjectSpace:
        """Return the space of these globals."""
        space = self._spaces.get(id(names))
        if space is None:
            space = self._spaces[id(names)] = ObjectSpace(len(self._spaces), names)
        return space

    def labels(self) -> List[str]:
        """Return the modules' names, by number."""
        return [space.label for space in self._spaces.values()]

    def home_of(self, value: Any) -> Optional[Tuple[ObjectSpace, str]]:
        """Return the space and dotted name under which a thing says it lives, if it does."""
        name, path = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
        module = sys.modules.get(name) if type(name) is str else None
        if module is None or type(path) is not str or is_installed_module(module):
            return None
        try:
            is_at_home = "<" not in path and at_path(module, path) is value
        except AttributeError:
            is_at_home = False
        # P = namedtuple("Q", ...) does not know its own name.
        others = [] if is_at_home else [other for other, each in list(vars(module).items()) if each is value]
        names = [path] if is_at_home else others
        return (self.of(vars(module)), names[0]) if names else None

    def installed(self, name: str) -> Optional[ModuleType]:
        """Return a module that every device has, or None."""
        module = sys.modules.get(name)
        return module if module is not None and is_installed_module(module) else None


def find_definition(shelf: SourceShelf, space: ObjectSpace, name: str, value: Any
                    ) -> Tuple[Optional[SourceFile], Optional[Any]]:
    """Return the file and statement that made `value`; (None, None) where none is found or it says something else."""
    functions = _functions_of(value)
    files = space.files(shelf)
    if functions:
        # Where its own functions were written, there it was.
        first = shelf.read(functions[0].__code__.co_filename, space.names)
        files = [first] if first is not None else []
    line = int(getattr(value, "__firstlineno__", 0)) if isinstance(value, type) else 0
    line = line or min((function.__code__.co_firstlineno for function in functions), default=0)
    for file in files:
        node = file.statement_binding(name, line)
        if node is None:
            continue
        if all(file.node_of(function.__code__) is not None for function in functions):
            return file, node
    return None, None


def _functions_of(value: Any) -> List[FunctionType]:
    """Return the functions written inside a class, or the one inside what a decorator made."""
    if isinstance(value, type):
        inside = [each for each in vars(value).values() if type(each) is FunctionType]
        return [each for each in inside if each.__qualname__.startswith(value.__qualname__ + ".")
                and not each.__code__.co_filename.startswith("<string>") and not hasattr(each, "__wrapped__")
                and each.__module__ == value.__module__ and not is_installed_namespace(each.__globals__)]
    for _ in range(100):
        if type(value) is FunctionType and not is_installed_namespace(value.__globals__):
            return [value]
        if not hasattr(value, "__wrapped__"):
            break
        value = value.__wrapped__
    return []
