"""Write one value as tagged JSON types.

Knows:   which form each value has, and how what is met more than once is marked.
Refuses: whatever is not exactly of a known type, and is not to be pickled: `CannotTravel` names the culprit.
Read next: tasks/value_reader.py (the way back), tasks/value_kinds.py and tasks/value_objects.py (the forms).
"""

from __future__ import annotations

from math import isfinite
from typing import Any, Dict, List, Optional

from .class_book import NO_PICKLES, ClassBook
from .pickles import pickle_value
from .raw_pieces import PIECE_LEAST, RawPieces
from .value_buffers import pack_numbers
from .value_collections import COLLECTION_TAGS, HEADED_TAGS, head_of
from .value_kinds import VALUE_KINDS, CannotTravel, kind_of
from .value_objects import member_key, object_tag, state_of
from .value_parts import BARE_TAGS, PLAIN_INT_MAX, PLAIN_INT_MIN, SCALARS, VALUE_DEPTH, shared_parts

#: A list of so many numbers travels as those of an array: a third of the time for ints, a twentieth for floats.
NUMBERS_LEAST = 32
#: What an instance of a subclass may be sent as.
_PLAIN_KINDS = (dict, list, set, frozenset, tuple, str, int, float, bytes)


class ValueWriter:
    """Write one value as JSON types; made for one root, whose shared parts it has counted."""

    def __init__(
        self, root: Any, classes: Optional[ClassBook] = None, pieces: Optional[RawPieces] = None
    ) -> None:
        self._shared = shared_parts(root)
        self._classes = classes
        #: Where large pieces of memory go that are not to be written as text; None where all of them are.
        self._pieces = pieces
        self._marks: Dict[int, int] = {}

    def write(self, value: Any, depth: int) -> Any:
        """Return `value` as JSON types; raise `CannotTravel` with the culprit."""
        kind = type(value)
        if kind in SCALARS:
            return self._write_scalar(value, kind)
        if depth > VALUE_DEPTH:
            raise CannotTravel(value, f"it is nested deeper than {VALUE_DEPTH} levels")
        if kind is bytes and self._pieces is not None and len(value) >= PIECE_LEAST:
            return {"$t": "raw", "v": self._pieces.number_of(value)}
        mark = 0
        if id(value) in self._shared:
            mark = self._marks.get(id(value), 0)
            if mark:
                return {"$t": "ref", "v": mark}
            mark = self._marks[id(value)] = len(self._marks) + 1
        if kind is list:
            numbers = pack_numbers(value) if len(value) >= NUMBERS_LEAST else None
            if numbers is not None:
                return _tagged("numbers", mark, self.write(numbers, depth + 1))
            items = self._write_items(value, depth)
            return {"$t": "list", "id": mark, "v": items} if mark else items
        if kind is dict:
            return self._write_dict(value, mark, depth)
        if kind is tuple or kind is set or kind is frozenset:
            return _tagged(kind.__name__, mark, self._write_items(value, depth))
        if kind in COLLECTION_TAGS:
            return self._write_collection(value, COLLECTION_TAGS[kind], mark, depth)
        if kind is bytearray and self._pieces is not None and len(value) >= PIECE_LEAST:
            return _tagged("bytearray", mark, self.write(bytes(value), depth + 1))
        row = kind_of(value)
        if row is None:
            return self._write_object(value, mark, depth)
        try:
            content = row.pack(value)
        except ValueError as error:
            return self._write_pickle(value, mark, str(error))
        return _tagged(row.tag, mark, content if row.tag in BARE_TAGS else self.write(content, depth + 1))

    def _write_scalar(self, value: Any, kind: type) -> Any:
        if kind is float and not isfinite(value):
            tag = "float"
        elif kind is int and not PLAIN_INT_MIN <= value <= PLAIN_INT_MAX:
            tag = "int"
        elif kind is str and not _is_plain_text(value):
            tag = "str"
        else:
            return value
        return _tagged(tag, 0, self.write(VALUE_KINDS[tag].pack(value), 0))

    def _write_items(self, items: Any, depth: int) -> List[Any]:
        kinds = set(map(type, items))
        # Long lists of numbers are common, and these checks run at the speed of C.
        if kinds <= {int, bool} and (not items or (min(items) >= PLAIN_INT_MIN and max(items) <= PLAIN_INT_MAX)):
            return list(items)
        if kinds == {float} and all(map(isfinite, items)):
            return list(items)
        if kinds == {str} and all(map(str.isascii, items)):
            return list(items)
        return [self.write(item, depth + 1) for item in items]

    def _write_dict(self, value: Dict[Any, Any], mark: int, depth: int) -> Any:
        if not mark and "$t" not in value and set(map(type, value)) <= {str} and all(map(_is_plain_text, value)):
            return {key: self.write(item, depth + 1) for key, item in value.items()}
        return _tagged("dict", mark, self._write_pairs(value, depth))

    def _write_pairs(self, value: Dict[Any, Any], depth: int) -> List[Any]:
        return [[self.write(key, depth + 1), self.write(item, depth + 1)] for key, item in value.items()]

    def _write_collection(self, value: Any, tag: str, mark: int, depth: int) -> Any:
        head = head_of(value)
        content = self._write_items(value, depth) if tag == "deque" else self._write_pairs(value, depth)
        return _tagged(tag, mark, [head, content] if tag in HEADED_TAGS else content)

    def _write_object(self, value: Any, mark: int, depth: int) -> Any:
        tag = object_tag(type(value))
        if self._classes is None or not tag:
            plain = next((kind.__name__ for kind in _PLAIN_KINDS if isinstance(value, kind)), "")
            advice = "send plain data (numbers, text, bytes, lists, dicts, arrays)"
            return self._write_pickle(value, mark, f"send {plain}(it) instead" if plain else advice)
        try:
            name = self._classes.name_of(type(value))
            content: Any = member_key(value) if tag == "enum" else None
        except ValueError as error:
            raise CannotTravel(value, str(error)) from None
        if tag == "namedtuple":
            content = self._write_items(value, depth)
        elif tag == "object":
            state = state_of(value)
            if not all(type(each) is str and _is_plain_text(each) for each in state):
                raise CannotTravel(value, "the names of its attributes are no text")
            content = {each: self.write(part, depth + 1) for each, part in state.items()}
        return _tagged(tag, mark, [*name, content])

    def _write_pickle(self, value: Any, mark: int, advice: str) -> Any:
        """Write what is no data, where that is allowed; else raise `CannotTravel` with what to do instead."""
        rule = NO_PICKLES if self._classes is None else self._classes.pickles
        if self._classes is None or not rule.is_allowed:
            raise CannotTravel(value, f"{advice}, or {rule.why_not}" if rule.why_not else advice)
        try:
            content = pickle_value(value, self._classes)
        except ValueError as error:
            raise CannotTravel(value, str(error)) from None
        return _tagged("pickle", mark, self.write(content, 0))


def _tagged(tag: str, mark: int, content: Any) -> Dict[str, Any]:
    return {"$t": tag, "id": mark, "v": content} if mark else {"$t": tag, "v": content}


def _is_plain_text(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
