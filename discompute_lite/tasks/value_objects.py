"""Take apart what a class of a person's own made, and put it together again without calling that class.

Knows:   members of an Enum, named tuples, and instances (of data classes or plain ones) that are no more than
         their attributes.
Refuses: to find classes by name (tasks/class_book.py does), and to run constructors, `__post_init__`, `__setstate__`
         or property setters: whoever sends the data would choose what they do.
Read next: tasks/values.py (the JSON around it).

    enum          [module, class, "RED"], or the number of flags that have no name together
    namedtuple    [module, class, [items]]
    object        [module, class, {attribute: value}]
"""

from __future__ import annotations

import enum
from functools import cached_property, lru_cache
from types import MemberDescriptorType
from typing import Any, Dict, List, Tuple

from .function_origin import is_installed_class

#: Classes of which it is remembered what they are; a worker's process must not keep more alive.
FORMS_KEPT = 64
#: The tags of what has a class.
OBJECT_TAGS = frozenset(("enum", "namedtuple", "object"))
#: Classes of the library whose instances are no more than their attributes.
_PLAIN_CLASSES = frozenset((
    "builtins.object", "abc.ABC", "typing.Generic", "typing.Protocol", "types.SimpleNamespace", "argparse.Namespace",
    "argparse._AttributeHolder"))
#: The interpreter's flag of classes that a class statement made.
_WRITTEN_IN_PYTHON = 1 << 9
_PICKLE_NAMES = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__")
#: What to do instead.
TRAVEL_ADVICE = "make it inside the function, or pass plain data"


def object_tag(cls: Any) -> str:
    """Return the tag under which what a class makes travels, "" where it does not."""
    return _found_tag(cls)


@lru_cache(maxsize=FORMS_KEPT)
def _found_tag(cls: type) -> str:
    if issubclass(cls, enum.Enum):
        return "enum"
    if issubclass(cls, tuple):
        return "namedtuple" if _is_named_tuple(cls) else ""
    # A bare object() stands for itself alone, and would be another one on the other side.
    return "" if cls is object or why_not_rebuilt(cls) else "object"


def why_not_rebuilt(cls: type) -> str:
    """Return why instances of a class are not made of their attributes alone; "" where they are."""
    for each in cls.__mro__:
        if f"{each.__module__}.{each.__qualname__}" in _PLAIN_CLASSES:
            continue
        is_written = each.__flags__ & _WRITTEN_IN_PYTHON
        if not is_written or (is_installed_class(each) and "__dataclass_fields__" not in vars(each)):
            return f"it cannot travel: {TRAVEL_ADVICE}"
        for name in _PICKLE_NAMES:
            # Data classes with slots bring ways of their own, which do what is done here.
            if name in vars(each) and getattr(vars(each)[name], "__module__", "") != "dataclasses":
                return f"{each.__name__}.{name} says how to pickle it, and nothing is pickled here: {TRAVEL_ADVICE}"
        if "__del__" in vars(each):
            return f"{each.__name__}.__del__ gives back what only this process holds: {TRAVEL_ADVICE}"
    return ""


def state_of(value: Any) -> Dict[str, Any]:
    """Return the attributes of an instance; what it has computed and would compute again is left out."""
    kind = type(value)
    slots = [slot for each in kind.__mro__ for slot in _slots_of(each) if hasattr(value, slot)]
    state = {slot: getattr(value, slot) for slot in slots}
    state.update(getattr(value, "__dict__", {}))
    return {name: each for name, each in state.items() if not isinstance(getattr(kind, name, None), cached_property)}


def parts_of_object(value: Any) -> List[Any]:
    """Return what an instance or named tuple holds."""
    tag = object_tag(type(value))
    return list(state_of(value).values()) if tag == "object" else list(value) if tag == "namedtuple" else []


def member_key(member: enum.Enum) -> Any:
    """Return the name of a member, or the number of combined flags; raise ValueError for what has neither."""
    if member.name is not None and type(member).__members__.get(member.name) is member:
        return member.name
    if not isinstance(member, enum.Flag) or type(member.value) is not int:
        raise ValueError(f"{type(member).__name__} has no member of this name")
    return member.value


def member_of(cls: Any, key: Any) -> Any:
    """Return the member behind a key; raise LookupError, TypeError or ValueError."""
    if type(key) is str:
        return cls.__members__[key]
    if type(key) is not int or not issubclass(cls, enum.Flag) or cls._missing_.__func__.__module__ != "enum":
        raise ValueError(f"{cls.__name__} has no such member")
    return cls(key)


def named_tuple_of(cls: Any, items: List[Any]) -> Any:
    """Return a named tuple; its own `__new__`, if it has one, is not called."""
    if len(items) != len(cls._fields):
        raise ValueError(f"{cls.__name__} has {len(cls._fields)} fields, not {len(items)}")
    return tuple.__new__(cls, items)


def empty_object(cls: Any) -> Any:
    """Return an instance without attributes."""
    first: Any = next(each for each in cls.__mro__ if not each.__flags__ & _WRITTEN_IN_PYTHON)
    return first.__new__(cls)


class Attributes:
    """Stand for an object while it is filled: a container whose keys are names of attributes."""

    def __init__(self, target: Any) -> None:
        self._target = target
        self._slots = {slot for each in type(target).__mro__ for slot in _slots_of(each)}

    def __setitem__(self, name: str, value: Any) -> None:
        # Past setters and frozen data classes.
        if name in self._slots:
            object.__setattr__(self._target, name, value)
        elif name.startswith("__") and name.endswith("__"):
            raise ValueError(f"{name} is no attribute of an instance")
        else:
            vars(self._target)[name] = value


def _slots_of(cls: type) -> Tuple[str, ...]:
    return tuple(name for name, each in vars(cls).items() if type(each) is MemberDescriptorType and name != "__dict__")


def _is_named_tuple(cls: type) -> bool:
    fields = getattr(cls, "_fields", None)
    return (type(fields) is tuple and set(map(type, fields)) <= {str} and cls.__itemsize__ > 0
            and all(each.__flags__ & _WRITTEN_IN_PYTHON for each in cls.__mro__[:cls.__mro__.index(tuple)])
            and not any(name in vars(each) for each in cls.__mro__[:cls.__mro__.index(tuple)]
                        for name in _PICKLE_NAMES if name != "__getnewargs__"))
