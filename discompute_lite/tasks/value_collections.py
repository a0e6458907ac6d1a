"""Know the containers of `collections` that travel: what each has besides its items, and how one is made empty.

Knows:   their tags and heads; which default factories go by a name.
Refuses: subclasses, which are other types, and factories that are functions of somebody's own.
Read next: tasks/value_writer.py and tasks/value_reader.py (who fill in the items).

    ordereddict   [[key, item], ...]
    counter       [[key, count], ...]
    defaultdict   [name of the factory or null, [[key, item], ...]]
    deque         [most items or null, [item, ...]]
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any, Callable, Dict

from .value_kinds import CannotTravel

#: Of each type its tag.
COLLECTION_TAGS: Dict[type, str] = {
    OrderedDict: "ordereddict", Counter: "counter", defaultdict: "defaultdict", deque: "deque"}
#: Tags of those that have something besides their items.
HEADED_TAGS = frozenset(("defaultdict", "deque"))
#: Types that hold keys with items.
MAPPINGS = frozenset((dict, OrderedDict, Counter, defaultdict))
#: What a defaultdict may make, by name.
FACTORIES: Dict[str, Callable[[], Any]] = {
    each.__name__: each
    for each in (
        list, dict, set, int, float, str, bool, tuple, frozenset, bytes, bytearray, complex, Counter, OrderedDict,
        deque,
    )
}


def head_of(value: Any) -> Any:
    """Return what one of these has besides its items, None for nothing; raise `CannotTravel`."""
    if getattr(value, "__dict__", None):
        raise CannotTravel(value, "it has attributes of its own; pass dict(it), and these beside it")
    if type(value) is deque:
        return value.maxlen
    if type(value) is not defaultdict or value.default_factory is None:
        return None
    factory = value.default_factory
    name = getattr(factory, "__name__", "")
    if FACTORIES.get(name) is not factory:
        raise CannotTravel(value, "what makes its missing items is a function; use a type such as list or int for that,"
                                  " or pass dict(it)")
    return name


def empty_collection(tag: str, head: Any) -> Any:
    """Return the container of a tag without its items; raise LookupError, TypeError or ValueError for a false head."""
    if tag == "defaultdict":
        return defaultdict(None if head is None else FACTORIES[head])
    if tag == "deque":
        if head is not None and type(head) is not int:
            raise TypeError("the most items of a deque are a number")
        return deque(maxlen=head)
    return OrderedDict() if tag == "ordereddict" else Counter()
