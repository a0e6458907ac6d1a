"""Keep functions packed between two calls of them, as long as they are still what they were.

Knows:   what a function's names stand for just now, and whether all of that is the same as last time.
Refuses: to trust what may change unseen: a function that uses a list, or an object of a person's own, is packed anew
         for each `submit` and each `map`.
Read next: tasks/functions.py (packing), faces/api.py (who asks).
"""

from __future__ import annotations

import re
import threading
import weakref
from enum import Enum
from operator import is_
from types import (
    BuiltinFunctionType, CellType, CodeType, FunctionType, GetSetDescriptorType, MemberDescriptorType,
    MethodDescriptorType, MethodType, ModuleType, WrapperDescriptorType,
)
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from ..tasks.blob_values import blobs_in
from ..tasks.calls import function_line
from ..tasks.function_origin import is_installed_class, is_installed_module, is_installed_namespace
from ..tasks.functions import pack_function
from ..tasks.uploads import UploadedModule

#: So many things may a function be made of; one of more is packed anew rather than compared.
SEEN_MOST = 2000
#: Lines of one function that are kept: one for each set of classes that its arguments have.
LINES_MOST = 8
#: The same object for the same number, since what is seen is compared by identity.
_NUMBERS = tuple(range(SEEN_MOST + 1))
#: They never change; other kinds may, or hold what may.
_STEADY_KINDS = (
    type(None), bool, int, float, complex, str, bytes, range, type(Ellipsis), type(NotImplemented), re.Pattern,
    GetSetDescriptorType, MemberDescriptorType, MethodDescriptorType, WrapperDescriptorType,
)
#: Up to CPython 3.11.7 the depth of a syntax tree is counted once for all threads: where the collector lets another one
#: in, both raise "SystemError: AST constructor recursion depth mismatch" (python/cpython#106905). So one thread packs
#: at a time; by that thread again, since a finalizer may call too.
_PACKING = threading.RLock()


class PackedLine(NamedTuple):
    """Hold what is needed to call one function elsewhere."""

    line: bytes
    sha256: str
    #: Names of the function's own modules, for the types of its exceptions.
    spaces: Tuple[str, ...]
    #: The hashes of the blobs that it names.
    blobs: Tuple[str, ...] = ()
    #: What people call the function.
    name: str = ""


class KeptLine(NamedTuple):
    """Hold a function's line, and by what it is told that the function is still what it was."""

    packed: PackedLine
    #: What `things_seen` returned then.
    seen: Tuple[Any, ...]
    #: The names in its code, and what `roots_of` returned for them, where all of it is without parts; else none.
    names: Tuple[str, ...]
    roots: List[Any]


class FunctionPacker:
    """Pack functions, each once as long as nothing has changed that it is made of; any thread may ask."""

    def __init__(self, allow_pickle: bool = False) -> None:
        """`allow_pickle`: whoever calls these functions reads pickles, and the devices are told so."""
        self._allow_pickle = allow_pickle
        #: function -> what comes along -> its line, for functions that live.
        self._packed: weakref.WeakKeyDictionary[Any, Dict[Any, KeptLine]] = weakref.WeakKeyDictionary()

    def pack(self, fn: Callable[..., Any], classes: Tuple[type, ...] = (), uploads: Tuple[UploadedModule, ...] = ()
             ) -> PackedLine:
        """Return a function's line, with classes and modules that come along; raise `TaskRejected`."""
        if type(fn) is not FunctionType:
            return self._packed_now(fn, classes, uploads)
        # By name: classes as keys would keep themselves alive.
        along = (uploads, *[(cls.__module__, cls.__qualname__) for cls in classes]) if classes else uploads
        lines = self._packed.get(fn, {})
        kept = lines.get(along)
        if kept is not None and kept.roots and _are_same(kept.roots, roots_of(fn, kept.names)):
            return kept.packed
        seen = things_seen(fn, classes)
        if seen is None:
            return self._packed_now(fn, classes, uploads)
        if kept is not None and _are_same(kept.seen, seen):
            return kept.packed
        names = tuple(names_of_code(fn.__code__))
        roots = roots_of(fn, names)
        # Last of all: what another thread changes meanwhile is noticed the next time.
        packed = self._packed_now(fn, classes, uploads)
        if len(lines) >= LINES_MOST:
            lines = {}
        is_whole = not classes and all(map(_is_whole, roots[1:]))
        self._packed[fn] = {**lines, along: KeptLine(packed, seen, names, roots if is_whole else [])}
        return packed

    def _packed_now(self, fn: Callable[..., Any], classes: Tuple[type, ...], uploads: Tuple[UploadedModule, ...]
                    ) -> PackedLine:
        with _PACKING:
            packed = pack_function(fn, classes=classes, uploads=uploads)
        line = function_line(packed, self._allow_pickle)
        return PackedLine(line, packed.sha256, tuple(packed.plan["spaces"]), tuple(blobs_in(line)), packed.name)


def roots_of(fn: FunctionType, names: Tuple[str, ...]) -> List[Any]:
    """Return what a function refers to itself, with what `names`, those in its code, stand for; [] for odd ones.

    Two answers that hold the very same objects mean the same function, where none of these is made of parts.
    """
    if fn.__kwdefaults__ or fn.__dict__:
        return []
    globals_now = fn.__globals__
    # The code comes first: it says how many cells there are, and so which of the others are defaults.
    roots = [fn.__code__, *[globals_now.get(name, _Missing) for name in names]]
    if fn.__defaults__:
        roots += fn.__defaults__
    if fn.__closure__:
        roots += map(_content_of, fn.__closure__)
    return roots


def _are_same(before: Sequence[Any], now: Sequence[Any]) -> bool:
    return len(before) == len(now) and all(map(is_, before, now))


def _is_whole(value: Any) -> bool:
    """Whether something cannot change, and is not made of parts that may."""
    kind = type(value)
    return (
        kind in _STEADY_KINDS
        or isinstance(value, ModuleType) and is_installed_module(value)
        or isinstance(value, type) and is_installed_class(value)
        or kind is BuiltinFunctionType and isinstance(value.__self__, (ModuleType, type(None)))
    )


def _content_of(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _Missing


def names_of_code(code: CodeType) -> Dict[str, None]:
    """Return the names in a function's code, and in that of functions, classes and comprehensions inside it."""
    names = dict.fromkeys(code.co_names)
    for constant in code.co_consts:
        if type(constant) is CodeType:
            names.update(names_of_code(constant))
    return names


def things_seen(fn: FunctionType, classes: Tuple[type, ...] = ()) -> Optional[Tuple[Any, ...]]:
    """Return everything that a function is made of, in an order of its own; None where some of it may change unseen.

    Two answers that hold the very same objects mean the same function.
    """
    look = _Look()
    look.waiting.extend((*classes, fn))
    while look.waiting and not look.is_lost:
        look.at_value(look.waiting.pop())
    return None if look.is_lost else tuple(look.seen)


class _Look:
    """Walk over what a function is made of. Functions are not among what is seen: they would keep themselves alive."""

    def __init__(self) -> None:
        #: Whatever cannot change, and for each use of something its number, by the order in which it was met.
        self.seen: List[Any] = []
        #: Met, and not yet looked at.
        self.waiting: List[Any] = []
        #: Something may change unseen, or there is too much to compare.
        self.is_lost = False
        #: id -> (number, the thing, so that no other gets its id meanwhile)
        self._met: Dict[int, Tuple[int, Any]] = {}
        #: All names in the code so far: what may be asked of a person's own module.
        self._names: Dict[str, None] = {}
        self._modules: List[ModuleType] = []

    def at_function(self, fn: FunctionType) -> None:
        """Look at its code, defaults, closure, attributes and the globals that it names."""
        names = names_of_code(fn.__code__)
        # With it all code inside it.
        self.seen.append(fn.__code__)
        globals_now = fn.__globals__
        self._meet(globals_now.get(name, _Missing) for name in names)
        self._meet(fn.__defaults__ or ())
        for named in (fn.__kwdefaults__ or {}, vars(fn)):
            self.seen.append(_NUMBERS[min(len(named), SEEN_MOST)])
            self.seen.extend(named)
            self._meet(named.values())
        self._meet(map(_content_of, fn.__closure__ or ()))
        fresh = [name for name in names if name not in self._names]
        self._names.update(names)
        for module in self._modules:
            self._at_attributes(module, fresh)

    def at_value(self, value: Any) -> None:
        """Look at one thing: take note of what cannot change, go into what is made of parts."""
        kind = type(value)
        if _is_whole(value):
            self.seen.append(value)
        elif isinstance(value, Enum):
            self.seen.append(value)
            self._meet([kind])
        elif kind is FunctionType:
            if is_installed_namespace(value.__globals__):
                self.seen.append(value.__code__)
            else:
                self.at_function(value)
        elif kind in (tuple, frozenset):
            self.seen.append(_NUMBERS[min(len(value), SEEN_MOST)])
            self._meet(value)
        elif isinstance(value, ModuleType):
            self.seen.append(value)
            self._modules.append(value)
            self._at_attributes(value, self._names)
        elif isinstance(value, type):
            self._at_class(value)
        elif kind is MethodType:
            self._meet((value.__func__, value.__self__))
        elif kind in (staticmethod, classmethod):
            self._meet([value.__func__])
        elif kind is property:
            self._meet((value.fget, value.fset, value.fdel))
        else:
            self.is_lost = True

    def _at_class(self, cls: type) -> None:
        self.seen.append(cls)
        self._meet((type(cls), *cls.__bases__))
        for name, value in vars(cls).items():
            self.seen.append(name)
            is_made = name[:2] == name[-2:] == "__" or issubclass(cls, Enum)
            if is_made and type(value) not in (FunctionType, staticmethod, classmethod, property):
                # What the interpreter and the library keep there: it is made with the class, once.
                self.seen.append(value)
            else:
                self._meet([value])

    def _at_attributes(self, module: ModuleType, names: Iterable[str]) -> None:
        there = vars(module)
        self._meet(there.get(name, _Missing) for name in names)

    def _meet(self, values: Iterable[Any]) -> None:
        for value in values:
            met = self._met.get(id(value))
            if met is None:
                met = self._met[id(value)] = len(self._met), value
                self.waiting.append(value)
            if met[0] > SEEN_MOST:
                self.is_lost = True
                return
            self.seen.append(_NUMBERS[met[0]])


class _Missing:
    """Stand for what a name will mean once it means something."""
