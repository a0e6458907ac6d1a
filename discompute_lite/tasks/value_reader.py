"""Read tagged JSON types back into a value.

Knows:   what each tag stands for, and how what refers to itself is put together.
Refuses: whatever is not tagged JSON, at a cost bounded by its size: `TaskRejected`.
Read next: tasks/value_writer.py (the way there), tasks/value_table.py (every tag).
"""

from __future__ import annotations

from math import isfinite
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

from ..model.errors import TaskRejected
from .class_book import ClassBook
from .pickles import unpickle_value
from .value_collections import COLLECTION_TAGS, HEADED_TAGS, empty_collection
from .value_kinds import VALUE_KINDS
from .value_objects import OBJECT_TAGS, Attributes, empty_object, member_of, named_tuple_of
from .value_parts import BARE_TAGS, SCALARS, VALUE_DEPTH, Unfinished, with_article

_COLLECTIONS = frozenset(COLLECTION_TAGS.values())
#: How often memory that came may be copied into values: a view that can be written to is made of a bytearray, which is
#: made of bytes. What is referred to again beyond that would cost what no bound of the data covers. And a little more,
#: so that nobody counts what is small.
COPIES_MOST, COPIED_FREELY = 2, 64 * 1024
_UNPACK_ERRORS = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)


class ValueReader:
    """Read one text's JSON types back into a value; marks belong to that text alone."""

    def __init__(self, classes: Optional[ClassBook] = None, pieces: Sequence[Any] = ()) -> None:
        self._classes = classes
        #: What stands beside the text; of a piece that was read once its bytes.
        self._pieces = list(pieces)
        #: Bytes that may still be copied.
        self._copyable = COPIED_FREELY + COPIES_MOST * sum(map(len, pieces))
        self._marked: Dict[int, Any] = {}
        #: Tuples being read: a reference to one of them is answered later.
        self._open: Set[int] = set()
        #: (container, key or index, what stands there until `finish`).
        self._late: List[Tuple[Any, Any, Unfinished]] = []

    def read(self, plain: Any, depth: int) -> Any:
        """Return the value, or an `Unfinished` one; raise `TaskRejected`."""
        kind = type(plain)
        if kind is list:
            return self._fill_list([], plain, depth)
        if kind is dict:
            return self._read_tagged(plain, depth) if "$t" in plain else self._fill_dict({}, plain.items(), depth)
        if kind is float and not isfinite(plain):
            raise TaskRejected("the data holds a number beyond the range of a float")
        if kind in SCALARS:
            return plain
        raise TaskRejected(f"the data holds {with_article(plain)}, which is not JSON")

    def finish(self, root: Any) -> Any:
        """Put the late tuples where they belong and return the root."""
        for container, key, unfinished in self._late:
            container[key] = self._resolved(unfinished, 0)
        return self._resolved(root, 0) if type(root) is Unfinished else root

    def _read_items(self, items: Any, depth: int) -> List[Any]:
        if type(items) is not list:
            raise TaskRejected("the content of a list is an array")
        if depth > VALUE_DEPTH:
            raise TaskRejected("the data is nested too deeply")
        kinds = set(map(type, items))
        if kinds <= {int, bool, str, type(None)} or (kinds == {float} and all(map(isfinite, items))):
            return list(items)
        return [self.read(item, depth + 1) for item in items]

    def _fill_list(self, out: Any, items: Any, depth: int) -> Any:
        out.extend(self._read_items(items, depth))
        if self._open:
            self._late.extend((out, index, item) for index, item in enumerate(out) if type(item) is Unfinished)
        return out

    def _fill_dict(self, out: Any, pairs: Any, depth: int) -> Any:
        if depth > VALUE_DEPTH:
            raise TaskRejected("the data is nested too deeply")
        for key, item in pairs:
            value = self.read(item, depth + 1)
            if type(value) is Unfinished:
                self._late.append((out, key, value))
            out[key] = value
        return out

    def _read_tagged(self, plain: Dict[str, Any], depth: int) -> Any:
        tag, mark, content = plain["$t"], plain.get("id", 0), plain.get("v")
        if type(tag) is not str or type(mark) is not int or mark < 0:
            raise TaskRejected("a tag is text and its id a number")
        if tag == "ref":
            return self._referred(content)
        if tag == "raw":
            return self._piece(content)
        if mark and (mark in self._marked or mark in self._open):
            raise TaskRejected(f"two values carry the id {mark}")
        if tag == "list":
            return self._fill_list(self._keep(mark, []), content, depth)
        if tag == "dict":
            out: Dict[Any, Any] = self._keep(mark, {})
            return self._fill_dict(out, self._pairs(content, depth), depth)
        if tag == "tuple":
            return self._read_tuple(mark, content, depth)
        if tag in _COLLECTIONS:
            return self._read_collection(tag, mark, content, depth)
        if tag in OBJECT_TAGS:
            return self._read_object(tag, mark, content, depth)
        if tag == "pickle":
            inner = self._counted(self.read(content, depth + 1))
            return self._keep(mark, unpickle_value(inner, self._classes or ClassBook()))
        return self._keep(mark, self._unpacked(tag, content, depth))

    def _keep(self, mark: int, value: Any) -> Any:
        if mark:
            self._marked[mark] = value
        return value

    def _piece(self, number: Any) -> bytes:
        if type(number) is not int or not 0 <= number < len(self._pieces):
            raise TaskRejected("the data name a piece of memory that was not sent along")
        piece = self._pieces[number] = bytes(self._pieces[number])
        return piece

    def _referred(self, mark: Any) -> Any:
        if type(mark) is int and mark in self._open:
            return Unfinished(mark)
        if type(mark) is not int or mark not in self._marked:
            raise TaskRejected("the data refers to a value that is not in it")
        return self._marked[mark]

    def _pairs(self, content: Any, depth: int) -> Any:
        """Yield (key, item still plain) of a tagged dict: keys first, so that each goes in as it is read."""
        if type(content) is not list:
            raise TaskRejected("the content of a dict is an array of pairs")
        for pair in content:
            if type(pair) is not list or len(pair) != 2:
                raise TaskRejected("the content of a dict is an array of pairs")
            key = self.read(pair[0], depth + 1)
            try:
                hash(key)
            except (TypeError, ValueError):
                raise TaskRejected(f"{with_article(key)} cannot be a key") from None
            if type(key) is Unfinished:
                raise TaskRejected("a key cannot hold the dict that it belongs to")
            yield key, pair[1]

    def _read_collection(self, tag: str, mark: int, content: Any, depth: int) -> Any:
        head = None
        if tag in HEADED_TAGS:
            if type(content) is not list or len(content) != 2:
                raise TaskRejected(f"the content of {tag!r} is an array of two")
            head, content = content
        try:
            made = self._keep(mark, empty_collection(tag, head))
        except _UNPACK_ERRORS as error:
            raise TaskRejected(f"the content of {tag!r} cannot be read: {str(error)[:200]}") from None
        if tag != "deque":
            return self._fill_dict(made, self._pairs(content, depth), depth)
        if head is not None and type(content) is list and len(content) > head:
            raise TaskRejected("a deque holds more than its most items")
        return self._fill_list(made, content, depth)

    def _read_object(self, tag: str, mark: int, content: Any, depth: int) -> Any:
        if type(content) is not list or len(content) != 3:
            raise TaskRejected(f"the content of {tag!r} is an array of module, class and what it holds")
        module, path, inner = content
        try:
            if self._classes is None:
                raise ValueError("no class belongs to these data; use plain data here")
            cls = self._classes.find(module, path, tag)
            if tag == "namedtuple":
                return self._read_tuple(mark, inner, depth, lambda items: named_tuple_of(cls, items))
            if tag == "enum":
                return self._keep(mark, member_of(cls, inner))
            if type(inner) is not dict:
                raise ValueError("attributes are an object")
            made = self._keep(mark, empty_object(cls))
            self._fill_dict(Attributes(made), inner.items(), depth)
            return made
        except _UNPACK_ERRORS as error:
            raise TaskRejected(f"the content of {tag!r} cannot be read: {str(error)[:200]}") from None

    def _read_tuple(self, mark: int, content: Any, depth: int, make: Callable[[Any], Any] = tuple) -> Any:
        if mark:
            self._open.add(mark)
        items = self._read_items(content, depth)
        self._open.discard(mark)
        if any(type(item) is Unfinished for item in items):
            return self._keep(mark, Unfinished(mark, items, make))
        return self._keep(mark, make(items))

    def _resolved(self, value: Any, depth: int) -> Any:
        """Return the tuple behind an `Unfinished`; every round of a cycle passes a list or dict, which exist."""
        if type(value) is Unfinished and value.mark:
            value = self._marked[value.mark]
        if type(value) is not Unfinished:
            return value
        if depth > VALUE_DEPTH:
            raise TaskRejected("a tuple cannot hold itself directly")
        done = value.make([self._resolved(item, depth + 1) for item in value.items or ()])
        return self._keep(value.mark, done)

    def _counted(self, content: Any) -> Any:
        """Return what a value will be made of, or refuse that: its memory is copied with that."""
        for part in content if type(content) in (list, tuple) else (content,):
            if type(part) not in SCALARS:
                try:
                    self._copyable -= memoryview(part).nbytes
                except (TypeError, ValueError):
                    pass  # It is no memory.
        if self._copyable < 0:
            raise TaskRejected("the data have much more memory made of the same bytes than they hold; send these once")
        return content

    def _unpacked(self, tag: str, content: Any, depth: int) -> Any:
        kind = VALUE_KINDS.get(tag)
        if kind is None and tag not in ("set", "frozenset"):
            raise TaskRejected(f"this version does not know the tag {tag[:40]!r}; update this device")
        is_bare = tag in BARE_TAGS and not (tag == "bytearray" and type(content) is dict)
        if is_bare:
            # As text it is four thirds of what it will be.
            self._copyable += COPIES_MOST * len(content) if type(content) is str else 0
            value = content
        else:
            value = self._counted(self.read(content, depth + 1))
        if type(value) is list and any(type(item) is Unfinished for item in value):
            raise TaskRejected(f"the content of {tag!r} cannot hold what it belongs to")
        try:
            if kind is not None:
                return kind.unpack(value)
            if type(content) is not list:
                raise TypeError("an array is wanted")
            return set(value) if tag == "set" else frozenset(value)
        except _UNPACK_ERRORS as error:
            raise TaskRejected(f"the content of {tag!r} cannot be read: {str(error)[:200]}") from None
