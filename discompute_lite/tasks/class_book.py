"""Find the classes of values that travel: by name, among those that the function itself brought or everybody has.

Knows:   under which name a class is known on both sides, and which class this side means by a name.
Refuses: to import anything for a name that data brings, and classes of modules that are not the function's.
Read next: tasks/value_objects.py (what is made of a class), tasks/values.py (who asks).

A name is [module, path]. The module is one of the submitter's own, such as `__main__`, or an installed one. On the
device that runs a function the former are modules that were made for it (tasks/packed_function.py): who sent the
function sent its classes, and where it sent none there are none.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from .function_origin import at_path, is_installed_module, public_name
from .value_objects import object_tag

ClassName = Tuple[str, str]


class PickleRule(NamedTuple):
    """Say whether pickles are written and read for a function's values."""

    is_allowed: bool
    #: What to do about it, or why nothing can be done; "" where nobody need be told of pickles.
    why_not: str = ""


#: Both ends have said yes; not both have; nobody is asked (job files); whoever sent it is not to be believed.
PICKLES_ALLOWED, PICKLES_UNWANTED = PickleRule(True), PickleRule(False, "set allow-pickle on both devices")
NO_PICKLES = PickleRule(False)
PICKLES_OF_WORKERS = PickleRule(
    False, "it comes from a device whose role is worker, or that is no member, and those send data only")


class ClassBook:
    """Tell the classes of one function's values; one for each side."""

    def __init__(self, spaces: Iterable[str] = (), made: Optional[Sequence[ModuleType]] = None,
                 pickles: PickleRule = NO_PICKLES) -> None:
        """`spaces` are the names of the function's own modules; `made` are these where they were made anew."""
        self.pickles = pickles
        self._spaces = list(spaces)
        self._made = made
        #: Classes of what was written, in order: where the function runs they must be there.
        self.met: Dict[type, ClassName] = {}

    def name_of(self, cls: type) -> ClassName:
        """Return the name of a class; raise ValueError that says why it has none."""
        name = self.met.get(cls)
        if name is None:
            name = self.met[cls] = self._found_name(cls)
        return name

    def find(self, module: Any, path: Any, tag: str) -> type:
        """Return the class that a name means, whose values have this tag ("" for any); raise ValueError for none."""
        if type(module) is str and type(path) is str:
            for home in self._homes(module):
                found: Any = _in_plain_sight(home, path)
                if isinstance(found, type) and tag in ("", object_tag(found)):
                    return found
        raise ValueError(f"there is no class {str(path)[:60]!r} of {str(module)[:60]!r} here; "
                         "define it at the top level of the function's file")

    def _homes(self, name: str) -> List[ModuleType]:
        if self._made is not None:
            own = [module for label, module in zip(self._spaces, self._made) if label == name]
            if own:
                return own
        module = sys.modules.get(name)
        if not isinstance(module, ModuleType):
            return []
        return [module] if is_installed_module(module) or (self._made is None and name in self._spaces) else []

    def _found_name(self, cls: type) -> ClassName:
        if "<locals>" in cls.__qualname__:
            raise ValueError(f"its class {cls.__name__} is made inside a function; "
                             "define it at the top level of its file")
        for label, module in zip(self._spaces, self._made or ()):
            if module.__name__ == cls.__module__:
                return label, _path_in(module, cls)
        public = public_name(cls)
        if public is not None:
            return public
        module_here = sys.modules.get(cls.__module__)
        if module_here is None:
            raise ValueError(f"the module {cls.__module__} of its class is not loaded; import it")
        return module_here.__name__, _path_in(module_here, cls)


def _path_in(module: ModuleType, cls: type) -> str:
    try:
        if at_path(module, cls.__qualname__) is cls:
            return cls.__qualname__
    except AttributeError:
        pass
    # P = namedtuple("Q", ...) does not know its own name.
    for name, value in list(vars(module).items()):
        if value is cls:
            return name
    raise ValueError(f"its class {cls.__qualname__} is no longer what its module calls so; make the value anew")


def _in_plain_sight(home: Any, path: str) -> Any:
    """Return what stands at a path; a module's own `__getattr__` may import, so it is not asked."""
    for step in path.split("."):
        home = vars(home).get(step) if isinstance(home, (ModuleType, type)) else None
    return home
