"""Tell what every device has from what only this one has: the library and installed packages, or a person's own.

Knows:   where modules come from, and under which public name an object can be found on another device.
Refuses: to read source; what is a person's own travels as text (tasks/function_text.py).
Read next: tasks/function_writer.py (who asks).
"""

from __future__ import annotations

import linecache
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Dict, Iterable, Iterator, Optional, Tuple

#: This package: every device has it, whatever its folder.
_OWN_NAME = "discompute_lite"
_BINARY_ENDINGS = (".so", ".pyd", ".dll", ".dylib")
_PACKAGE_FOLDERS = ("/site-packages/", "/dist-packages/")
#: Modules that are one thing under several names, depending on the platform.
_PUBLIC_MODULES = {"posix": "os", "nt": "os", "posixpath": "os.path", "ntpath": "os.path", "_io": "io"}
#: Python 3.9 does not list its own modules.
_LIBRARY_NAMES = frozenset(getattr(sys, "stdlib_module_names", sys.builtin_module_names)) - {"__main__"}


def is_installed(name: str, filename: Optional[str]) -> bool:
    """Whether another device can import the module `name` by itself; what lies in a person's folders it cannot."""
    top = name.partition(".")[0]
    if top == _OWN_NAME:
        return True
    if not filename:
        return is_library(top)
    path = filename.replace("\\", "/")
    folder = _library_folder()
    if path.endswith(_BINARY_ENDINGS) or any(part in path for part in _PACKAGE_FOLDERS):
        return True
    return bool(folder) and path.startswith(folder) or path.startswith("<frozen ")


def is_library(top: str) -> bool:
    """Whether the library has a module of this name."""
    if top in _LIBRARY_NAMES or top in sys.builtin_module_names:
        return True
    if hasattr(sys, "stdlib_module_names") or top == "__main__":
        return False
    try:
        spec = find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return False
    origin = str(spec.origin or "").replace("\\", "/") if spec is not None else ""
    return bool(origin) and is_installed(top, origin) and not any(part in origin for part in _PACKAGE_FOLDERS)


def _library_folder() -> str:
    path = str(getattr(linecache, "__file__", "") or "").replace("\\", "/")
    return path[:path.rfind("/") + 1]


def is_installed_module(module: ModuleType) -> bool:
    """Whether another device can import this module by itself."""
    filename = getattr(module, "__file__", None) or _first(getattr(module, "__path__", ()))
    return is_installed(module.__name__, filename)


def _first(folders: Iterable[str]) -> Optional[str]:
    """Return where a package without a file of its own lies: mlx and google are such namespaces."""
    return next(iter(folders), None)


def is_installed_class(cls: type) -> bool:
    """Whether another device has this class by itself."""
    module = sys.modules.get(cls.__module__)
    return module is not None and is_installed_module(module)


def is_installed_namespace(namespace: Dict[str, Any]) -> bool:
    """Whether the globals of a function are those of a module that another device can import."""
    name = namespace.get("__name__")
    filename = namespace.get("__file__")
    return type(name) is str and is_installed(name, filename if type(filename) is str else None)


def is_own_import(name: str) -> bool:
    """Whether `import name` would find a module that only this device has; looked up without importing it."""
    top = name.partition(".")[0]
    module = sys.modules.get(top)
    if module is not None:
        return not is_installed_module(module)
    try:
        spec = find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return False
    if spec is None:
        return False
    origin = spec.origin if spec.has_location else _first(spec.submodule_search_locations or ())
    return not is_installed(top, origin)


def package_version(name: str) -> str:
    """Return the version of the package that a module belongs to; "" for the library and where it is not told."""
    top = name.partition(".")[0]
    version = getattr(sys.modules.get(top), "__version__", "")
    return version if type(version) is str and not is_library(top) else ""


def at_path(start: Any, path: str) -> Any:
    """Return `start.a.b` for "a.b"; raise AttributeError."""
    for step in path.split("."):
        start = getattr(start, step)
    return start


def public_name(value: Any) -> Optional[Tuple[str, str]]:
    """Return (module, dotted path) under which another device finds this very object, or None.

    The shortest public module that has it: `pathlib.Path` says that it is of `pathlib._local` on Python 3.13,
    which 3.9 does not have.
    """
    for module_name, path in _claimed_names(value):
        parts = module_name.split(".")
        places = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
        places += [place.lstrip("_") for place in places if place.startswith("_")]
        for place in sorted(places, key=lambda place: ("_" in place[:1] or "._" in place, len(place))):
            module = sys.modules.get(_PUBLIC_MODULES.get(place, place))
            if module is not None and is_installed_module(module) and _leads_to(module, path, value):
                return _PUBLIC_MODULES.get(place, place), path
    return None


def _claimed_names(value: Any) -> Iterator[Tuple[str, str]]:
    path = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    home = getattr(value, "__objclass__", None)
    module = getattr(value, "__module__", None) or getattr(home, "__module__", None)
    if type(path) is str and type(module) is str and "<" not in path:
        yield module, path
    if type(path) is str and type(module) is not str:
        # NumPy's universal functions do not say where they are from; their type does.
        yield type(value).__module__, path


def _leads_to(module: ModuleType, path: str, value: Any) -> bool:
    first, _, rest = path.partition(".")
    try:
        # In plain sight: where classes are looked for, no module's `__getattr__` is asked.
        found = vars(module)[first]
        found = at_path(found, rest) if rest else found
    except (AttributeError, KeyError):
        return False
    # A class method is made anew each time that it is asked for.
    return found is value or (type(found) is type(value) and callable(found) and hasattr(value, "__self__")
                              and found == value and getattr(found, "__self__", None) is value.__self__)
