"""Turn values into tagged JSON and back: the only form in which arguments and results travel.

Knows:   JSON's own types, the containers, shared and cyclic references; the other kinds are rows of value_kinds.
Refuses: pickle, classes named by data, and whatever is not exactly of a known type: `TaskRejected` says where
         the culprit stands and what it is. Hostile JSON raises `TaskRejected` too, at a cost bounded by its size.
Read next: tasks/types.py (what the values are for).

Plain JSON stands for itself: null, true, false, integers within 64 bits, finite numbers, text, arrays (lists) and
objects (dicts whose keys are text and none of which is "$t"). Everything else is

    {"$t": tag, "v": content}            for example {"$t":"tuple","v":[1,2]}
    {"$t": tag, "id": 3, "v": content}   an object that is referred to again, from inside itself too,
    {"$t": "ref", "v": 3}                by this, later in the text.

tasks/value_table.py has the whole table with one golden example a tag. Marks belong to one text, which is read
from left to right. NumPy arrays arrive as nested lists of Python's numbers where NumPy is not installed.
"""

from __future__ import annotations

import json
from math import isfinite
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from ..model.errors import TaskRejected
from .value_kinds import VALUE_KINDS, CannotTravel, kind_of, pack_numbers
from .class_book import ClassBook
from .value_objects import (
    OBJECT_TAGS, Attributes, empty_object, member_key, member_of, named_tuple_of, object_tag, state_of,
)
from .value_parts import SCALARS, Unfinished, path_to, shared_parts

#: Nesting of values. Reading a level takes five of Python's 1,000 stack frames; half are left to the caller.
#: Beyond: TaskRejected.
VALUE_DEPTH = 100
#: Integers that JSON carries as they are, by the protocol page; longer ones are tagged.
PLAIN_INT_MIN, PLAIN_INT_MAX = -(2 ** 63), 2 ** 63 - 1

#: A list of so many numbers travels as those of an array: a third of the time for ints, a twentieth for floats.
NUMBERS_LEAST = 32
#: Long texts are looked through for long numbers before they are parsed, short ones while they are.
LONG_TEXT_BYTES = 2048

_UNPACK_ERRORS = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)


def encode_value(value: Any, where: str = "the value", classes: Optional[ClassBook] = None) -> Any:
    """Return `value` as JSON types; raise `TaskRejected` that names the part below `where` that cannot travel.

    What has a class of its own travels where `classes` knows its name.
    """
    try:
        return ValueWriter(value, classes).write(value, 0)
    except CannotTravel as culprit:
        path = where + path_to(value, culprit.value)
        raise TaskRejected(f"{path} is {_described(culprit.value)}; it cannot travel: {culprit.reason}") from None
    except RecursionError:
        raise TaskRejected(f"{where} is nested too deeply to travel; return flatter data") from None


def decode_value(plain: Any, classes: Optional[ClassBook] = None) -> Any:
    """Return the value that `plain` JSON types stand for; raise `TaskRejected` when they stand for none."""
    reader = ValueReader(classes)
    try:
        return reader.finish(reader.read(plain, 0))
    except RecursionError:
        raise TaskRejected("the data is nested too deeply") from None


def dump_value(value: Any, where: str = "the value", classes: Optional[ClassBook] = None) -> bytes:
    """Return the tagged JSON text of `value`: compact UTF-8, on one line."""
    try:
        return _ENCODE_TEXT(encode_value(value, where, classes)).encode("utf-8")
    except RecursionError:
        raise TaskRejected(f"{where} is nested too deeply to travel; return flatter data") from None


def load_value(data: Any, classes: Optional[ClassBook] = None) -> Any:
    """Return the value of a tagged JSON text (bytes, bytearray or memoryview); raise `TaskRejected`."""
    plain = parse_plain(data)
    if len(data) < LONG_TEXT_BYTES:
        text = bytes(data)
        # No tag can be in it, no depth, and no endless number (see `_read_plain_float`): it stands for itself.
        if b"$" not in text and b"\\" not in text and text.count(b"[") + text.count(b"{") <= VALUE_DEPTH:
            return plain
    return decode_value(plain, classes)


def parse_plain(data: Any) -> Any:
    """Parse tagged JSON text into JSON types without reading the tags; raise `TaskRejected`."""
    try:
        if len(data) >= LONG_TEXT_BYTES and _LONG_RUN not in bytes(data).translate(_DIGITS_ALIKE):
            return _DECODE_LONG_TEXT(str(data, "utf-8"))
        return _DECODE_TEXT(str(data, "utf-8"))
    except RecursionError:
        raise TaskRejected("the data is nested too deeply") from None
    except ValueError as error:
        raise TaskRejected(f"the data is not tagged JSON: {error}") from None


def _read_plain_int(text: str) -> int:
    # At most 20 characters before int() sees them: reading longer ones is quadratic on Python 3.9.
    if len(text) <= 20:
        number = int(text)
        if PLAIN_INT_MIN <= number <= PLAIN_INT_MAX:
            return number
    raise ValueError("integers beyond 64 bits are written as {\"$t\":\"int\"}")


def _read_plain_float(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError("a number is beyond the range of a float")
    return number


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON; it is written as {{\"$t\":\"float\"}}")


# Built once: building them each call costs a third of a small value's time (measured).
_ENCODE_TEXT = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")).encode
_DECODE_TEXT = json.JSONDecoder(
    parse_int=_read_plain_int, parse_float=_read_plain_float, parse_constant=_refuse_constant).decode
# For text without a run of 19 digits: a call for each number costs three times as much as reading it.
_DECODE_LONG_TEXT = json.JSONDecoder(parse_constant=_refuse_constant).decode
_DIGITS_ALIKE, _LONG_RUN = bytes.maketrans(b"123456789", b"000000000"), b"0" * 19


def _described(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _is_plain_text(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class ValueWriter:
    """Write one value as JSON types; made for one root, whose shared parts it has counted."""

    def __init__(self, root: Any, classes: Optional[ClassBook] = None) -> None:
        self._shared = shared_parts(root)
        self._classes = classes
        self._marks: Dict[int, int] = {}

    def write(self, value: Any, depth: int) -> Any:
        """Return `value` as JSON types; raise `CannotTravel` with the culprit."""
        kind = type(value)
        if kind in SCALARS:
            return self._write_scalar(value, kind)
        if depth > VALUE_DEPTH:
            raise CannotTravel(value, f"it is nested deeper than {VALUE_DEPTH} levels")
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
        row = kind_of(value)
        if row is None:
            return self._write_object(value, mark, depth)
        try:
            content = row.pack(value)
        except ValueError as error:
            raise CannotTravel(value, str(error)) from None
        return _tagged(row.tag, mark, content if row.tag in _BARE else self.write(content, depth + 1))

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
        pairs = [[self.write(key, depth + 1), self.write(item, depth + 1)] for key, item in value.items()]
        return _tagged("dict", mark, pairs)


    def _write_object(self, value: Any, mark: int, depth: int) -> Any:
        tag = object_tag(type(value))
        if self._classes is None or not tag:
            raise CannotTravel(value, "send plain data (numbers, text, bytes, lists, dicts, arrays)")
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


#: Kinds whose content is text already.
_BARE = frozenset(("bytes", "bytearray", "decimal", "uuid", "date"))


def _tagged(tag: str, mark: int, content: Any) -> Dict[str, Any]:
    return {"$t": tag, "id": mark, "v": content} if mark else {"$t": tag, "v": content}


class ValueReader:
    """Read one text's JSON types back into a value; marks belong to that text alone."""

    def __init__(self, classes: Optional[ClassBook] = None) -> None:
        self._classes = classes
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
        raise TaskRejected(f"the data holds {_described(plain)}, which is not JSON")

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

    def _fill_list(self, out: List[Any], items: Any, depth: int) -> List[Any]:
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
        if mark and (mark in self._marked or mark in self._open):
            raise TaskRejected(f"two values carry the id {mark}")
        if tag == "list":
            return self._fill_list(self._keep(mark, []), content, depth)
        if tag == "dict":
            out: Dict[Any, Any] = self._keep(mark, {})
            return self._fill_dict(out, self._pairs(content, depth), depth)
        if tag == "tuple":
            return self._read_tuple(mark, content, depth)
        if tag in OBJECT_TAGS:
            return self._read_object(tag, mark, content, depth)
        return self._keep(mark, self._unpacked(tag, content, depth))

    def _keep(self, mark: int, value: Any) -> Any:
        if mark:
            self._marked[mark] = value
        return value

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
                raise TaskRejected(f"{_described(key)} cannot be a key") from None
            if type(key) is Unfinished:
                raise TaskRejected("a key cannot hold the dict that it belongs to")
            yield key, pair[1]

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

    def _unpacked(self, tag: str, content: Any, depth: int) -> Any:
        kind = VALUE_KINDS.get(tag)
        if kind is None and tag not in ("set", "frozenset"):
            raise TaskRejected(f"this version does not know the tag {tag[:40]!r}; update this device")
        value = content if tag in _BARE else self.read(content, depth + 1)
        if type(value) is list and any(type(item) is Unfinished for item in value):
            raise TaskRejected(f"the content of {tag!r} cannot hold what it belongs to")
        try:
            if kind is not None:
                return kind.unpack(value)
            if type(value) is not list:
                raise TypeError("an array is wanted")
            return set(value) if tag == "set" else frozenset(value)
        except _UNPACK_ERRORS as error:
            raise TaskRejected(f"the content of {tag!r} cannot be read: {str(error)[:200]}") from None
