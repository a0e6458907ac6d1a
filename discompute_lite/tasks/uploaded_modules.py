"""Be the modules that came with a function: found by its own imports, and by nobody else's.

Knows:   how Python's import statement finds modules, packages, submodules and relative names.
Refuses: to touch `sys.path` or to take the names of modules from anybody: two functions may bring different modules of
         one name, and thread executors run both at once.
Read next: tasks/packed_function.py (who makes them), tasks/uploads.py (what was checked before).

Each function's own modules have a `__builtins__` of their own, whose `__import__` is this one: it is what an import
statement calls. `importlib.import_module` knows nothing of it.
"""

from __future__ import annotations

import builtins
import linecache
import threading
from types import ModuleType
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

from .function_text import TEXT_FLAGS

_ROW_KINDS = (str, bool, str, str)


class UploadedModules:
    """Run the uploaded modules of one function, each when it is first imported."""

    def __init__(self, rows: Any, spaces: Sequence[ModuleType], mark: str) -> None:
        """Row i of the plan's modules is run in space i; raises TypeError or ValueError where rows are none."""
        if type(rows) is not list or len(rows) > len(spaces):
            raise ValueError("a plan's modules are as many as its first spaces")
        #: One thread at a time, which may import more as it imports.
        self._lock = threading.RLock()
        self._texts: Dict[str, Tuple[ModuleType, str, str]] = {}
        self._begun: Set[str] = set()
        self._names: List[str] = []
        #: What stands for Python's own in all modules of the function.
        self.builtins = {**vars(builtins), "__import__": self._import}
        for row, space in zip(rows, spaces):
            if type(row) is not list or tuple(map(type, row)) != _ROW_KINDS:
                raise TypeError("an uploaded module is [name, whether it is a package, file, text]")
            name, is_package, file, text = row
            self._names.append(name)
            filename = f"<{''.join(each for each in file[:80] if each.isprintable() and each not in '<>')} {mark}>"
            self._texts[name] = (space, filename, text)
            space.__package__ = name if is_package else name.rpartition(".")[0]
            if is_package:
                space.__path__ = []

    def load(self, index: int) -> None:
        """Import the module of a number; raises what its text raises."""
        self._loaded(self._names[index])

    def show_texts(self) -> List[str]:
        """Let tracebacks find the texts; return the made-up names of their files."""
        for _, filename, text in self._texts.values():
            linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
        return [filename for _, filename, _ in self._texts.values()]

    def _import(
        self, name: str, globals: Optional[Dict[str, Any]] = None, locals: Any = None, fromlist: Any = (),
        level: int = 0,
    ) -> Any:
        """Do what `__import__` does."""
        package = (globals or {}).get("__package__")
        if level and package:
            name = _absolute(name, package, level)
            if name not in self._texts:
                raise ModuleNotFoundError(f"No module named {name!r} was uploaded", name=name)
        elif level or not self._has(name.partition(".")[0]):
            return builtins.__import__(name, globals, locals, fromlist, level)
        module = self._loaded(name)
        if not fromlist:
            return self._loaded(name.partition(".")[0])
        wanted = getattr(module, "__all__", ()) if "*" in fromlist else fromlist
        for each in wanted:
            if not hasattr(module, each) and f"{name}.{each}" in self._texts:
                self._loaded(f"{name}.{each}")
        return module

    def _has(self, top: str) -> bool:
        return top in self._texts

    def _loaded(self, name: str) -> ModuleType:
        if name not in self._texts:
            raise ModuleNotFoundError(f"No module named {name!r} was uploaded", name=name)
        with self._lock:
            parent, _, last = name.rpartition(".")
            home = self._loaded(parent) if parent else None
            space, filename, text = self._texts[name]
            if name in self._begun:
                return space
            # Before it runs: modules that import each other find one another half made, as always.
            self._begun.add(name)
            if home is not None:
                setattr(home, last, space)
            try:
                exec(compile(text, filename, "exec", TEXT_FLAGS, dont_inherit=True), vars(space))
            except BaseException:
                # Whoever imports it again is told again.
                self._begun.discard(name)
                if home is not None and getattr(home, last, None) is space:
                    delattr(home, last)
                raise
            return space


def _absolute(name: str, package: str, level: int) -> str:
    parts = package.split(".")
    if level > len(parts):
        raise ImportError("attempted relative import beyond top-level package")
    return ".".join([*parts[:len(parts) - level + 1], *([name] if name else [])])
