"""Carry an exception to the person whose function raised it: as data, and there as the same type again.

Knows:   how an exception becomes a plain dict and how it is made again, with the other device's traceback as its cause.
Refuses: to import anything for a type's sake, types that are not exceptions, and constructors that nobody offered:
         what cannot be made again arrives as a `RemoteError` with the same words.
Read next: tasks/calls.py (whose outcomes hold these).

    {"module": "builtins", "name": "KeyError", "args": ["a"], "text": "'a'", "traceback": "Traceback ..."}

`module` is the name of a module, or the number of one of the function's own (`PackedFunction.plan["spaces"]`). There
may also be `state` (its attributes), `exceptions` (of a group) and `called` (its class says how it is copied).
"""

from __future__ import annotations

import builtins
import sys
import traceback
from types import MemberDescriptorType, ModuleType
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple, Type

from .jobs import is_job_filename
from .packed_function import space_number, without_space_names
from .values import encode_value

#: Longest text of an exception, and longest traceback, in characters; the middle of the latter is left out.
RAISED_TEXT_CHARS, TRACEBACK_CHARS = 2_000, 20_000
#: How deep groups of exceptions may be nested, which is as deep as tracebacks show them.
GROUP_DEPTH = 10
#: Levels of data around an argument of an exception in the deepest group.
_LEVELS_AROUND = 5 + 2 * GROUP_DEPTH
_NO_TEXT = "(its text cannot be made"
#: The interpreter's flag of classes that it did not bring along itself.
_MADE_LATER = 1 << 9
#: Python 3.9 and 3.10 have no groups.
_GROUP_TYPES: Tuple[Any, ...] = tuple([each for name, each in vars(builtins).items() if name == "BaseExceptionGroup"])


class RemoteTraceback(Exception):
    """Be the `__cause__` of an exception that was raised on another device: its text is the traceback there."""


class RemoteError(Exception):
    """Stand for an exception whose type is not known on this side, with its words."""

    def __init__(self, text: str, type_name: str) -> None:
        super().__init__(text, type_name)
        #: The name of the type that was raised.
        self.type_name = type_name

    def __str__(self) -> str:
        return f"{self.type_name}: {self.args[0]}" if self.args[0] else self.type_name


# ---- as data ----------------------------------------------------------------------------------------


def describe_exception(error: BaseException) -> Dict[str, Any]:
    """Return an exception as a value that travels; never raises. Parts that cannot travel are there as text."""
    return {**_described_exception(error, 0), "traceback": _traceback_of(error)}


def _described_exception(error: BaseException, depth: int) -> Dict[str, Any]:
    plain: Dict[str, Any] = {"module": "", "name": "Exception", "text": _words_of(str, error)}
    try:
        kind = type(error)
        plain["name"] = _words_of(str, kind.__qualname__)
        if type(kind.__module__) is str:
            number = space_number(kind.__module__)
            plain["module"] = kind.__module__ if number is None else number
        args, state, is_called = _parts_of_exception(error)
        if isinstance(error, _GROUP_TYPES):
            group: Any = error
            args, is_called = (group.message,), False
            if depth < GROUP_DEPTH:
                plain["exceptions"] = [_described_exception(each, depth + 1) for each in group.exceptions]
        if is_called:
            plain["called"] = True
        if state:
            plain["state"] = {name: _part_that_travels(value) for name, value in state.items()}
        plain["args"] = [_part_that_travels(value) for value in args]
    except BaseException:
        # A person's class may do anything when it is looked at; its words have been told.
        pass
    return plain


def _parts_of_exception(error: BaseException) -> Tuple[Sequence[Any], Dict[str, Any], bool]:
    """Return what it would be copied with: arguments, attributes, and whether its class says that itself."""
    kind: Any = type(error)
    is_called = _has_own_copying(kind)
    try:
        maker, args, state = (*kind.__reduce_ex__(error, 2), {})[:3]
        if maker is not kind or type(args) is not tuple or type(state or {}) is not dict:
            raise TypeError("it is made by something else than its class")
    except Exception:
        is_called = False
        _, args, state = (*BaseException.__reduce__(error), {})[:3]
    found: Dict[Any, Any] = {}
    if not is_called:
        # Slots, which no exception of the interpreter's own needs.
        slots = [slot for each in kind.__mro__ if each.__flags__ & _MADE_LATER for slot, member in vars(each).items()
                 if type(member) is MemberDescriptorType]
        found = {slot: getattr(error, slot) for slot in slots if hasattr(error, slot)}
    found.update(state or {})
    # Notes are everyone's, and what Python 3.12 has of some is in their arguments.
    found.update({name: each for name, each in vars(error).items() if name == "__notes__"})
    return args, {name: each for name, each in found.items() if type(name) is str and name != "args"}, is_called


def _part_that_travels(value: Any) -> Any:
    deep = value
    for _ in range(_LEVELS_AROUND):
        deep = [deep]
    try:
        encode_value(deep)
        return value
    except Exception:
        pass
    for kind, plain_twin in ((str, str.__str__), (int, int.__int__), (float, float.__float__)):
        # Of classes such as http.HTTPStatus, which compare equal.
        if issubclass(type(value), kind):
            return _part_that_travels(plain_twin(value))
    return _words_of(repr, value)


def _words_of(say: Callable[[Any], str], value: Any) -> str:
    try:
        # A text of a class of its own would not travel.
        return without_space_names(str.__str__(say(value)))[:RAISED_TEXT_CHARS]
    except BaseException as odd:
        return f"{_NO_TEXT}: {type(odd).__name__})"


def _traceback_of(error: BaseException) -> str:
    """Return the traceback from the person's own code on; where there is none of it, without our call."""
    try:
        first = error.__traceback__
        own = first
        while own is not None and not is_job_filename(own.tb_frame.f_code.co_filename):
            own = own.tb_next
        step = own or (first.tb_next if first is not None else None)
        text = without_space_names("".join(traceback.format_exception(type(error), error, step)))
    except BaseException as odd:
        return f"(its traceback cannot be made: {type(odd).__name__})"
    if len(text) > TRACEBACK_CHARS:
        text = f"{text[:TRACEBACK_CHARS // 3]}\n[...]\n{text[-TRACEBACK_CHARS * 2 // 3:]}"
    return text


# ---- as an exception --------------------------------------------------------------------------------


def rebuild_exception(plain: Any, spaces: Sequence[str] = ()) -> BaseException:
    """Return the exception that `plain` describes, a `RemoteError` where its type is not here; never raises it.

    `spaces` are the names of the function's own modules in this process. Types are looked up in modules that are
    loaded already.
    """
    error = _rebuilt(plain, spaces, set(), 0)
    story = _text_in(plain, "traceback").rstrip()
    if story:
        # Past a __setattr__ of a person's own: frozen data classes forbid the usual way.
        vars(BaseException)["__cause__"].__set__(error, RemoteTraceback("\n" + story))
    return error


def _rebuilt(plain: Any, spaces: Sequence[str], seen: Set[int], depth: int) -> BaseException:
    text, name = _text_in(plain, "text"), _text_in(plain, "name") or "Exception"
    # A group that holds itself, or one other a thousand times, would have no end.
    if type(plain) is not dict or id(plain) in seen or depth > GROUP_DEPTH:
        return RemoteError(text, name)
    seen.add(id(plain))
    module = plain.get("module")
    if type(module) is int:
        module = spaces[module] if 0 <= module < len(spaces) else ""
    inner = plain.get("exceptions")
    exceptions = [_rebuilt(each, spaces, seen, depth + 1) for each in inner] if type(inner) is list else []
    try:
        kind = _exception_type(module, name)
        error = _made_again(kind, plain, exceptions) if kind is not None else None
        if error is not None and not text.startswith(_NO_TEXT):
            # Without what could not travel, its words may be gone.
            str(error)
    except BaseException:
        # A person's class, whose code may raise anything, and another device's data.
        error = None
    return RemoteError(text, name) if error is None else error


def _made_again(kind: Type[BaseException], plain: Dict[str, Any], exceptions: List[BaseException]
                ) -> Optional[BaseException]:
    args, state = plain.get("args"), plain.get("state", {})
    if type(args) is not list or type(state) is not dict:
        return None
    if exceptions:
        args = [*args[:1], exceptions]
    if plain.get("called") is True:
        error = kind(*args) if _has_own_copying(kind) else None
    else:
        # A person's constructor takes something else than it gives to the built-in class, which knows these.
        error = _built_in_type(kind).__new__(kind, *args)
        first: Any = next(each for each in kind.__mro__ if not each.__flags__ & _MADE_LATER)
        first.__init__(error, *args)
    if not isinstance(error, kind):
        return None
    for name, value in state.items():
        if type(name) is str and (name == "__notes__" or not name.startswith("__")):
            try:
                object.__setattr__(error, name, value)
            except Exception:
                # A property that is made of other attributes.
                pass
    return error


def _exception_type(module: Any, path: str) -> Optional[Type[BaseException]]:
    """Return the class at this place; looked up in plain sight, since a module's own `__getattr__` may import."""
    home = sys.modules.get(module) if type(module) is str else None
    if not isinstance(home, ModuleType):
        return None
    found: Any = home
    for step in path.split("."):
        found = vars(found).get(step)
        if not isinstance(found, type):
            return None
    return found if issubclass(found, BaseException) else None


def _built_in_type(kind: Type[BaseException]) -> Type[BaseException]:
    """Return the class of the interpreter's own that gives an exception its form."""
    found: Any = kind
    while found.__flags__ & _MADE_LATER:
        found = found.__base__
    return found  # type: ignore[no-any-return]


def _has_own_copying(kind: Type[BaseException]) -> bool:
    """Whether a class says itself with which arguments it is called for a copy."""
    return (kind.__reduce__ is not _built_in_type(kind).__reduce__
            or kind.__reduce_ex__ is not BaseException.__reduce_ex__)


def _text_in(plain: Any, key: str) -> str:
    text = plain.get(key) if type(plain) is dict else None
    return text if type(text) is str else ""
