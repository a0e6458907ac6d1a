"""Write what a function has captured as rows: containers, instances and other things that are not plain data.

Knows:   which objects can be made again from their class and their parts, and the words to refuse the others.
Refuses: functions, classes and modules; tasks/function_writer.py writes those.
Read next: tasks/function_writer.py (the operands and the rest of a plan).
"""

from __future__ import annotations

import enum
import functools
import json
import logging
import operator
import re
from collections import Counter, OrderedDict, defaultdict, deque
from types import GenericAlias
from typing import Any, Callable, Dict, FrozenSet, List, NamedTuple, Set, Tuple

from ..model.errors import TaskRejected
from .value_kinds import kind_of
from .value_objects import TRAVEL_ADVICE, state_of, why_not_rebuilt
from .values import encode_value

Operand = List[Any]

SCALAR_TYPES: FrozenSet[type] = frozenset((type(None), bool, int, float, str, bytes))
BOX_TYPES = (list, dict, tuple, set, frozenset)
#: What is called again with arguments taken from the object.
_REMADE: Dict[type, Callable[[Any], Tuple[Any, ...]]] = {
    re.Pattern: lambda value: (re.compile, value.pattern, value.flags),
    logging.Logger: lambda value: (logging.getLogger, value.name),
    operator.itemgetter: lambda value: value.__reduce__()[:1] + value.__reduce__()[1],
    operator.attrgetter: lambda value: value.__reduce__()[:1] + value.__reduce__()[1],
    deque: lambda value: (deque, list(value), value.maxlen),
    OrderedDict: lambda value: (OrderedDict, list(value.items())),
    Counter: lambda value: (Counter, dict(value)),
    defaultdict: lambda value: (defaultdict, value.default_factory, dict(value)),
}
_LRU_TYPE = type(functools.lru_cache(maxsize=None)(len))


class UsePlace(NamedTuple):
    """Say who uses a thing, for the sentence of a refusal."""

    user: str
    file: str = ""
    line: int = 0
    thing: str = ""

    def named(self, thing: str) -> UsePlace:
        """Return the place of another thing of the same user."""
        return self._replace(thing=thing[:200])

    def part(self, step: str) -> UsePlace:
        """Return the place of something inside the thing."""
        return self.named(self.thing + step)

    def refused(self, why: str) -> TaskRejected:
        """Return the error to raise: `why` goes on after the thing, or after the user where there is no thing."""
        where = f"{self.user} ({self.file}, line {self.line})" if self.file else self.user
        return TaskRejected(f"{where} uses {self.thing}, {why}" if self.thing else f"{where} {why}")


class ObjectWriter:
    """Collect rows and values; `write` is the way in for every object."""

    def __init__(self) -> None:
        self.rows: List[Dict[str, Any]] = []
        self._values: List[Any] = []
        self._value_places: List[UsePlace] = []
        #: Operands by the object's id; the objects are kept so that ids stay theirs.
        self._known: Dict[int, Operand] = {}
        self._kept: List[Any] = []
        self._plain: Set[int] = set()

    def write(self, value: Any, place: UsePlace) -> Operand:
        """Return the operand of an object; raise `TaskRejected`."""
        raise place.refused(f"{described_kind(value)}; it cannot travel: {TRAVEL_ADVICE}")

    def add_row(self, value: Any, row: Dict[str, Any], fill: Callable[[Dict[str, Any]], Any]) -> Operand:
        """Add a row, known before it is filled so that it may refer to itself."""
        self.rows.append(row)
        self._kept.append(value)
        operand = self._known[id(value)] = ["row", len(self.rows) - 1]
        fill(row)
        return operand

    def write_plain(self, value: Any, place: UsePlace) -> Operand:
        """Return the operand of data."""
        self._values.append(value)
        self._value_places.append(place)
        return ["value", len(self._values) - 1]

    def write_items(self, values: Any, place: UsePlace) -> List[Operand]:
        """Return an operand for each item."""
        return [self.write(value, place.part(f"[{index}]")) for index, value in enumerate(values)]

    def write_named(self, values: Dict[str, Any], place: UsePlace) -> Dict[str, Operand]:
        """Return an operand for each name."""
        return {name: self.write(value, place.part(f".{name}")) for name, value in values.items()}

    def encoded_values(self) -> Any:
        """Return all data as tagged JSON; raise `TaskRejected` that says who uses what cannot travel."""
        try:
            return _with_sorted_sets(encode_value(self._values))
        except TaskRejected:
            for value, place in zip(self._values, self._value_places):
                try:
                    encode_value(value, place.thing or "it")
                except TaskRejected as error:
                    raise place.named("").refused(f"uses what cannot travel: {error.message}") from None
            raise

    def is_data(self, root: Any) -> bool:
        """Whether nothing in a container needs a row."""
        seen: Set[int] = set()
        stack = [root]
        while stack:
            value = stack.pop()
            kind = type(value)
            if kind in SCALAR_TYPES or id(value) in seen or id(value) in self._plain:
                continue
            if kind in BOX_TYPES:
                seen.add(id(value))
                parts = [*value, *value.values()] if kind is dict else value
                if not set(map(type, parts)) <= SCALAR_TYPES:
                    stack.extend(parts)
            elif kind_of(value) is None:
                return False
        self._plain |= seen
        return True

    def write_box(self, value: Any, place: UsePlace) -> Operand:
        """Return the operand of a list, dict, tuple or set."""
        if self.is_data(value):
            return self.write_plain(value, place)
        if type(value) is dict:
            return self.add_row(value, {"kind": "dict"}, lambda row: row.update(items=[
                [self.write(key, place.part("'s key")), self.write(item, place.part(f"[{_short_key(key)}]"))]
                for key, item in value.items()]))
        return self.add_row(value, {"kind": type(value).__name__}, lambda row: row.update(
            items=self.write_items(value, place)))

    def write_made(self, value: Any, place: UsePlace) -> Operand:
        """Return the operand of what is made by a call; () where this is none such."""
        kind = type(value)
        if kind is functools.partial:
            return self.add_row(value, {"kind": "partial"}, lambda row: row.update(
                function=self.write(value.func, place.part(".func")),
                args=self.write_items(value.args, place), keywords=self.write_named(value.keywords, place)))
        if kind is _LRU_TYPE:
            return self.add_row(value, {"kind": "lru", **value.cache_parameters()}, lambda row: row.update(
                function=self.write(value.__wrapped__, place)))
        if kind in _REMADE:
            by, *args = _REMADE[kind](value)
            return self.add_row(value, {"kind": "made"}, lambda row: row.update(
                by=self.write(by, place), args=self.write_items(args, place)))
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            return self.add_row(value, {"kind": "made"}, lambda row: row.update(
                by=self.write(kind, place), args=self.write_items(value, place)))
        return []

    def write_member(self, member: enum.Enum, place: UsePlace) -> Operand:
        """Return the operand of a member of an Enum."""
        cls = self.write(type(member), place)
        if member.name is not None and getattr(type(member), member.name, None) is member:
            return self.add_row(member, {"kind": "attribute", "of": cls, "name": member.name}, lambda row: None)
        # Flags combined have no name of their own.
        return self.add_row(member, {"kind": "made", "by": cls}, lambda row: row.update(
            args=[self.write(member.value, place)]))

    def write_instance(self, value: Any, place: UsePlace) -> Operand:
        """Return the operand of an instance: its class, and its attributes."""
        kind = type(value)
        why = why_not_rebuilt(kind)
        if why:
            raise place.refused(f"{described_kind(value)}; {why}")
        return self.add_row(value, {"kind": "instance"}, lambda row: row.update(
            of=self.write(kind, place), state=self.write_named(state_of(value), place)))


def described_kind(value: Any) -> str:
    """Return "a lock", "the class Point", ... for a sentence."""
    if isinstance(value, type):
        return f"the class {value.__qualname__}"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def is_typing(value: Any) -> bool:
    """Whether this is a type written with the module typing or with brackets."""
    return type(value).__module__ == "typing" or type(value) is GenericAlias or type(value).__name__ == "UnionType"


def _short_key(key: Any) -> str:
    text = repr(key) if type(key) in SCALAR_TYPES else described_kind(key)
    return text if len(text) <= 60 else text[:57] + "..."


def _with_sorted_sets(plain: Any) -> Any:
    """Put the items of sets in order: the same function must give the same text in each process."""
    if type(plain) is list:
        return [_with_sorted_sets(item) for item in plain] if _holds_objects(plain) else plain
    if type(plain) is not dict:
        return plain
    done = {key: _with_sorted_sets(item) for key, item in plain.items()}
    if done.get("$t") in ("set", "frozenset") and type(done["v"]) is list:
        texts = [json.dumps(item, sort_keys=True) for item in done["v"]]
        if not any('"id"' in text or '"ref"' in text for text in texts):
            done["v"] = [item for _, item in sorted(zip(texts, done["v"]), key=lambda pair: pair[0])]
    return done


def _holds_objects(items: List[Any]) -> bool:
    return bool(set(map(type, items)) & {list, dict})
