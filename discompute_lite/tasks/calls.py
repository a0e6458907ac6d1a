"""Call one function many times: the form in which the Python interface's calls travel, many in one subtask.

Knows:   how calls become a subtask's data, how they are run, and how their outcomes become a result's data.
Refuses: to fail for a call that raises: that is the call's outcome, and the others go on.
Read next: faces/api.py (who makes calls), tasks/packed_function.py (the function), tasks/raised.py (what it raises).

A subtask's data are lines: the packed function, then one unit a line; the result has one line a unit, in order.

    unit      [[1, 2], {"key": 3}]                one call: arguments, named arguments
              {"items": [1, 2, 3]}                a call for each item; a range travels as one
              {"rows": [[1, "a"], [2, "b"]]}      a call for each row of arguments
    outcome   {"value": 7}                        what one call returned
              {"values": [1, 4, 9]}               what the calls of many returned
              {"values": [1], "raised": {...}}    the second one raised: those after it were not made
    and       "printed": "...\\n"                  what the unit's calls printed, where they did

All are tagged JSON (tasks/values.py). The function's line is plain JSON, the same for all subtasks of a function. Where
a unit or an outcome has large pieces of memory beside it, there are lengths in place of lines (tasks/raw_pieces.py).
"""

from __future__ import annotations

import json
import sys
from functools import lru_cache
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..model.errors import TaskRejected
from .blob_values import LentBlobs, lending
from .class_book import PICKLES_ALLOWED, PICKLES_UNWANTED, ClassBook, PickleRule
from .number_lists import dump_number_list, load_number_list
from .packed_function import PackedFunction, load_function, loaded_modules
from .raised import describe_exception, rebuild_exception
from .raw_pieces import first_text, join_texts, json_of
from .types import TASK_TYPES, TaskType, separate_data
from .values import dump_with_pieces, load_value, scalar_text

#: Functions that one process remembers by their line, so that the next subtask need not take it apart again.
LINES_KEPT = 16
#: How the line of a function ends whose caller allows pickles.
PICKLE_MARK = b',"pickle":true}'


class CallOutcome(NamedTuple):
    """Hold what became of one unit."""

    #: What its calls returned, in order; of a single call one, or none.
    values: List[Any]
    #: What the call after those raised, or None.
    raised: Optional[BaseException]
    printed: str


def function_line(packed: PackedFunction, allow_pickle: bool = False) -> bytes:
    """Return a function's line; made once a function, it serves all its subtasks.

    `allow_pickle` says that the caller reads pickles, and may have written some.
    """
    line = json.dumps(packed.to_plain(), separators=(",", ":")).encode("ascii")
    return line[:-1] + PICKLE_MARK if allow_pickle else line


def call_unit(args: Sequence[Any], kwargs: Dict[str, Any], classes: Optional[ClassBook] = None) -> bytes:
    """Return the unit of one call; raise `TaskRejected` that names the argument that cannot travel."""
    if not kwargs:
        # Most arguments are plain, and then there is nothing to look for in them.
        texts = list(map(scalar_text, args))
        if None not in texts:
            return f'[[{",".join(texts)}],{{}}]'.encode("ascii")  # type: ignore[arg-type]
    return _dump_named([list(args), kwargs], {"[0]": "args", "[1]": "kwargs"}, "the call", classes)


def items_unit(items: Sequence[Any], classes: Optional[ClassBook] = None) -> bytes:
    """Return the unit of a call for each item of a list or a range."""
    if type(items) is range:
        # Most are plain, and a map has many units.
        bounds = list(map(scalar_text, (items.start, items.stop, items.step)))
        if None not in bounds:
            return f'{{"items":{{"$t":"range","v":[{",".join(bounds)}]}}}}'.encode("ascii")  # type: ignore[arg-type]
    numbers = dump_number_list("items", items) if type(items) is list else None
    return numbers or _dump_named({"items": items}, {"['items']": "items"}, "the call", classes)


def rows_unit(rows: Iterable[Sequence[Any]], classes: Optional[ClassBook] = None) -> bytes:
    """Return the unit of a call for each row of arguments."""
    return _dump_named({"rows": [list(row) for row in rows]}, {"['rows']": "items"}, "the call", classes)


def calls_data(line: bytes, units: Iterable[bytes]) -> bytes:
    """Return a subtask's data."""
    return join_texts([line, *units])


def read_outcomes(result_data: bytes, spaces: Sequence[str], pickles: PickleRule = PICKLES_UNWANTED
                  ) -> Iterator[CallOutcome]:
    """Yield the outcome of each unit; `spaces` are the modules of the function (`PackedFunction.plan`).

    Raises `TaskRejected` for what is no result.
    """
    classes = ClassBook(spaces, pickles=pickles)
    for line in separate_data(result_data):
        numbers = load_number_list("values", line)
        if numbers is not None:
            yield CallOutcome(numbers, None, "")
            continue
        plain = load_value(line, classes)
        plain = plain if type(plain) is dict else {}
        is_single, printed = "value" in plain, plain.get("printed", "")
        values = [plain["value"]] if is_single else plain.get("values")
        if type(values) is not list or type(printed) is not str or (is_single and plain.keys() & {"values", "raised"}):
            raise TaskRejected("the outcome of a call is an object with its value or values")
        raised = rebuild_exception(plain["raised"], spaces) if "raised" in plain else None
        yield CallOutcome(values, raised, printed)


def has_line_raised(line: bytes) -> bool:
    """Whether an outcome says that a call raised: without making the exception again here."""
    text = next(iter(json_of(line)), b"")
    if b'"raised"' not in text:
        return False
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return type(plain) is dict and "raised" in plain


class CallsTask(TaskType):
    """Call one function many times: the lines that the Python interface makes, each with its outcome."""

    name = "calls"

    def split_data(self, task_data: bytes, target: int, owner: str) -> Iterable[bytes]:
        """Refuse: calls are put into subtasks when their device is known."""
        raise TaskRejected("calls come from the Python interface, which makes their subtasks; submit a job instead")

    def code_in(self, subtask_data: bytes) -> Tuple[str, str]:
        """Return the function's name, and its line, in which all its text is."""
        line = first_text(subtask_data)
        return _packed_of_line(line).name, line.decode("ascii", "replace")

    def run_data(self, subtask_data: bytes, owner: str, allow_pickle: bool = False) -> bytes:
        """Make the calls of one subtask."""
        return _run_units(subtask_data, owner, allow_pickle, None)

    def run_with_blobs(
        self, subtask_data: bytes, owner: str, sources: Dict[str, Any], allow_pickle: bool = False
    ) -> bytes:
        """Make the calls of one subtask, which name blobs."""
        lent = LentBlobs(sources, owner, _packed_of_line(first_text(subtask_data)).sha256)
        with lending(lent):
            return _run_units(subtask_data, owner, allow_pickle, lent)


def _run_units(subtask_data: bytes, owner: str, allow_pickle: bool, lent: Optional[LentBlobs]) -> bytes:
    line, *units = separate_data(subtask_data) or [b""]
    packed = _packed_of_line(line)
    # Before the first call: one may put something else into sys.stdout.
    caught = getattr(sys.stdout, "buffer", None)
    if lent is not None:
        # The function itself may hold some.
        lent.load = load_value
    function = _loaded_or_raising(packed, owner)
    is_agreed = allow_pickle and line.endswith(PICKLE_MARK)
    pickles = PICKLES_ALLOWED if is_agreed else PICKLES_UNWANTED
    classes = ClassBook(packed.plan["spaces"], loaded_modules(packed, owner), pickles)
    if lent is not None:
        lent.load = lambda text: load_value(text, classes)
    result = f"the result of {packed.name[:60]}()"
    return join_texts([_run_unit(function, unit, caught, classes, result) for unit in units])


def _loaded_or_raising(packed: PackedFunction, owner: str) -> Callable[..., Any]:
    """Return the function; where a statement of the person's own that makes it raises, each call will raise that."""
    try:
        return load_function(packed, owner)
    except TaskRejected:
        raise
    except BaseException as error:
        problem, story = error, error.__traceback__

    def function(*args: Any, **kwargs: Any) -> Any:
        # The traceback would grow with each call.
        raise problem.with_traceback(story)

    return function


@lru_cache(maxsize=LINES_KEPT)
def _packed_of_line(line: bytes) -> PackedFunction:
    try:
        plain = json.loads(line)
    except (ValueError, RecursionError):
        raise TaskRejected("the first line of a subtask's data is its packed function") from None
    return PackedFunction.from_plain(plain)


def _run_unit(function: Callable[..., Any], unit: bytes, caught: Any, classes: ClassBook, result: str) -> bytes:
    made = _read_unit(unit, classes)
    before = getattr(caught, "written_bytes", 0)
    values: List[Any] = []
    done: Dict[str, Any] = {"values": values}
    try:
        made.make(function, values)
        if made.is_single:
            done = {"value": values[0]}
    except BaseException as problem:
        # A person's code: sys.exit() in it is its outcome too, and must not end this process.
        done["raised"] = describe_exception(problem)
    if getattr(caught, "written_bytes", 0) > before:
        done["printed"] = caught.text(before)
    try:
        return _dump_plainly(done) or dump_with_pieces(done, classes=classes)
    except Exception as problem:
        printed = {"printed": done["printed"]} if "printed" in done else {}
        done = _as_far_as_it_travels(values, problem, classes, result)
        return dump_with_pieces({**done, **printed}, classes=classes)


def _dump_plainly(done: Dict[str, Any]) -> Optional[bytes]:
    """Return the text of the plainest outcomes, which are most; None of all others."""
    if len(done) != 1:
        return None
    if "values" in done:
        return dump_number_list("values", done["values"])
    text = scalar_text(done["value"])
    return None if text is None else f'{{"value":{text}}}'.encode("ascii")


class UnitCalls(NamedTuple):
    """Hold the calls of one unit: one with its arguments, or one for each of `items` or `rows`."""

    args: Sequence[Any] = ()
    kwargs: Dict[str, Any] = {}
    items: Optional[Sequence[Any]] = None
    rows: Optional[List[List[Any]]] = None

    @property
    def is_single(self) -> bool:
        """Whether it is the unit of a single call."""
        return self.items is None and self.rows is None

    def make(self, function: Callable[..., Any], values: List[Any]) -> None:
        """Make the calls, in order, and append what each returns."""
        if self.items is not None and sys.version_info < (3, 11):
            _extend(values, function, self.items)
        elif self.items is not None:
            for item in self.items:
                values.append(function(item))
        elif self.rows is not None:
            for row in self.rows:
                values.append(function(*row))
        else:
            values.append(function(*self.args, **self.kwargs))


def _extend(values: List[Any], function: Callable[..., Any], items: Sequence[Any]) -> None:
    """Append what the calls return, as a loop does, in four fifths of its time before Python 3.11."""
    stop: Optional[BaseException] = None
    try:
        values.extend(_returned(function, items))
    except RuntimeError as problem:
        # A generator lets no StopIteration out: it is the cause of an error that no frame of the generator has seen.
        is_ours = problem.__traceback__ is not None and problem.__traceback__.tb_next is None
        if not (is_ours and isinstance(problem.__cause__, StopIteration)):
            raise
        stop = problem.__cause__
    if stop is not None:
        raise stop


def _returned(function: Callable[..., Any], items: Sequence[Any]) -> Iterator[Any]:
    for item in items:
        yield function(item)


def _read_unit(unit: bytes, classes: ClassBook) -> UnitCalls:
    numbers = load_number_list("items", unit)
    if numbers is not None:
        return UnitCalls(items=numbers)
    plain = load_value(unit, classes)
    if type(plain) is list and list(map(type, plain)) == [list, dict] and set(map(type, plain[1])) <= {str}:
        return UnitCalls(plain[0], plain[1])
    if type(plain) is dict and len(plain) == 1:
        items, rows = plain.get("items"), plain.get("rows")
        if type(items) is list or type(items) is range:
            return UnitCalls(items=items)
        if type(rows) is list and set(map(type, rows)) <= {list}:
            return UnitCalls(rows=rows)
    raise TaskRejected("a unit is [arguments, named arguments], {items} or {rows}")


def _as_far_as_it_travels(
    values: List[Any], problem: BaseException, classes: ClassBook, result: str
) -> Dict[str, Any]:
    """Return the outcome of calls of which one returned what cannot travel: they end there, as if it had raised.

    `result` is what people call that.
    """
    fitting: List[Any] = []
    for value in values:
        try:
            _dump_named({"values": [value]}, {"['values'][0]": result}, result, classes)
        except Exception as culprit:
            return {"values": fitting, "raised": describe_exception(culprit.with_traceback(None))}
        fitting.append(value)
    return {"values": [], "raised": describe_exception(problem.with_traceback(None))}


def _dump_named(plain: Any, names: Dict[str, str], whole: str, classes: Optional[ClassBook]) -> bytes:
    """Return the text of a value; what cannot travel is told by the name that its path has for people."""
    try:
        return dump_with_pieces(plain, "", classes)
    except TaskRejected as problem:
        path = next((path for path in names if problem.message.startswith(path)), "")
        raise TaskRejected(names.get(path, whole) + problem.message[len(path):]) from None


TASK_TYPES.add(CallsTask.name, CallsTask())
