"""Look into a value: which of its parts are met more than once, and where a part stands.

Knows:   what the containers hold.
Refuses: to write anything; tasks/values.py does.
Read next: tasks/values.py.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, List, Optional, Set, Tuple

from .value_collections import MAPPINGS
from .value_kinds import kind_of
from .value_objects import object_tag, parts_of_object, state_of

#: Types that hold nothing and that JSON knows.
SCALARS = frozenset((type(None), bool, int, float, str))
#: Tags whose content is text already.
BARE_TAGS = frozenset(("bytes", "bytearray", "decimal", "uuid", "date"))
#: Nesting of values. Reading a level takes five of Python's 1,000 stack frames; half are left to the caller.
#: Beyond: TaskRejected.
VALUE_DEPTH = 100
#: Integers that JSON carries as they are, by the protocol page; longer ones are tagged.
PLAIN_INT_MIN, PLAIN_INT_MAX = -(2 ** 63), 2 ** 63 - 1
_IMMUTABLE = frozenset((tuple, frozenset))
_CONTAINERS = frozenset((list, set, tuple, frozenset, deque)) | MAPPINGS


class Unfinished:
    """Stand for a tuple that cannot be made yet, because it holds something that refers back to it."""

    def __init__(self, mark: int, items: Optional[List[Any]] = None, make: Callable[[Any], Any] = tuple) -> None:
        self.mark = mark
        self.items = items
        self.make = make


def _parts_of(value: Any) -> Any:
    """Return what a container holds, or () for anything else."""
    kind = type(value)
    if kind in MAPPINGS:
        return [part for pair in value.items() for part in pair]
    if kind in _CONTAINERS:
        return value
    return parts_of_object(value) if kind_of(value) is None else ()


def shared_parts(root: Any) -> Set[int]:
    """Return the ids of the objects below `root` that are met more than once.

    Counted is what can be changed in place, and what holds such things or further containers: a tuple of tuples
    of tuples may be small in memory and endless on paper. Tuples of plain scalars are repeated instead.
    What is nested too deeply to be written is not looked through: ten million levels would be a gigabyte of ids.
    """
    seen: Set[int] = set()
    shared: Set[int] = set()
    level, depth = [root], 0
    while level and depth <= VALUE_DEPTH + 1:
        below: List[Any] = []
        for value in level:
            kind = type(value)
            if kind in SCALARS or kind is bytes:
                continue
            parts = _parts_of(value)
            inner = [] if set(map(type, parts)) <= SCALARS else [part for part in parts if type(part) not in SCALARS]
            if not inner and (kind in _IMMUTABLE or (kind not in _CONTAINERS and not _is_mutable_leaf(value))):
                continue
            if id(value) in seen:
                shared.add(id(value))
                continue
            seen.add(id(value))
            below += inner
        level, depth = below, depth + 1
    return shared


def _is_mutable_leaf(value: Any) -> bool:
    row = kind_of(value)
    # What has no tag is pickled, if it travels at all.
    return object_tag(type(value)) in ("object", "") if row is None else row.mutable


def path_to(root: Any, culprit: Any) -> str:
    """Return where in `root` the object `culprit` stands, as Python would index it."""
    stack: List[Tuple[Any, str]] = [(root, "")]
    seen: Set[int] = set()
    while stack:
        value, path = stack.pop()
        if value is culprit:
            return path
        if id(value) in seen or len(path) > 500:
            continue
        seen.add(id(value))
        if type(value) in MAPPINGS:
            steps = [(item, f"{path}[{_short(key)}]") for key, item in value.items()]
            steps += [(key, f"{path}'s key") for key in value]
        elif type(value) in (list, tuple, deque) or object_tag(type(value)) == "namedtuple":
            steps = [(item, f"{path}[{index}]") for index, item in enumerate(value)]
        elif type(value) in (set, frozenset):
            steps = [(item, f"{path}'s item") for item in value]
        elif kind_of(value) is None and object_tag(type(value)) == "object":
            steps = [(item, f"{path}.{name}") for name, item in state_of(value).items()]
        else:
            continue
        stack.extend(reversed(steps))
    return ""


def _short(key: Any) -> str:
    text = repr(key) if type(key) in SCALARS else f"a {type(key).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def with_article(value: Any) -> str:
    """Return "an int", "a Point", for a sentence."""
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
