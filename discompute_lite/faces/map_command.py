"""Offer the command `map`: a function over every line or JSON value of a file, its results as JSON lines.

Knows:   how FILE.py:FUNCTION becomes a function, and how a result becomes a line.
Refuses: to hold the file or the results: both go through, as fast as they are made and wanted.
Read next: faces/trickle.py, faces/api.py (`Cluster`, which does the work).
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing, contextmanager
from importlib import import_module
from typing import Any, BinaryIO, Callable, Iterator, Optional, Tuple

from ..model.errors import DiscomputeError, SettingsError, TaskFailed
from ..tasks.values import dump_value
from .command import Context, argument, command
from .console import Console, printable, program_name
from .failures import with_place
from .items import ItemReader, WrongItem
from .mapping import MapWishes
from .meter import Meter
from .scripts import script_of
from .trickle import Trickle



@command(
    "map", argument("function", metavar="FILE.py:FUNCTION", help="a function of one argument"),
    argument("--items", metavar="FILE", help="a file of items, one a line (default: standard input)"),
    argument("--text", action="store_true", help="every line is text, also where it reads as JSON"),
)
def map_command(context: Context) -> int:
    """Apply a function to every line or JSON value of a file; print the results in order as JSON lines."""
    file, function_name = _file_and_name(context.arguments.function)
    with _opened(context.arguments.items) as (items, name), _mapped_function(file, function_name) as mapped:
        function, is_pure = mapped
        reader = ItemReader(name, is_text=context.arguments.text)
        # Loaded here: other commands start without it.
        api = import_module("discompute_lite.faces.api")
        with api.Cluster(config=context.settings) as cluster:
            options = api.PLAIN_OPTIONS._replace(pure=is_pure)
            meter = Meter(context.console, total=_lines_in(items) if context.console.draws else None)
            wishes = MapWishes(show=lambda text: _show_printed_lines(context.console, text))
            with closing(Trickle(
                lambda count: os.read(items.fileno(), count), reader,
                lambda rows: cluster.run_map(options, function, [rows], wishes),
            )) as results:
                _print_results(context.console, results, meter)
    return 0


def _print_results(console: Console, results: Iterator[Any], meter: Meter) -> None:
    meter.draw()
    while True:
        try:
            result = next(results)
        except StopIteration:
            break
        except WrongItem:
            raise
        except DiscomputeError as problem:
            first, _, rest = problem.message.partition("\n")
            hint = "" if "; " in first else "; results before it are printed"
            raise type(problem)(f"item {meter.count + 1}: {first}{hint}" + (f"\n{rest}" if rest else "")) from None
        except (Exception, SystemExit) as problem:
            # Whatever the function raised.
            words = f"item {meter.count + 1}: {type(problem).__name__}: {problem}".partition("\n")[0]
            story = f"\n{problem.__cause__}" if problem.__cause__ is not None else ""
            raise TaskFailed(with_place(words + story, "mend the function and run it again")) from None
        console.result(json_line(result))
        meter.step()
    meter.end()


def json_line(value: Any) -> str:
    """Return a value as Python's `json` writes it, and what that cannot write as tagged JSON."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=lambda part: json.loads(dump_value(part)))
    except (ValueError, TypeError):
        return dump_value(value).decode("utf-8")


def _show_printed_lines(console: Console, text: str) -> None:
    for line in text.splitlines():
        console.note(printable(line))


# ---- the function -----------------------------------------------------------------------------------


def _file_and_name(words: str) -> Tuple[str, str]:
    file, colon, name = words.rpartition(":")
    if not colon or not file or not name.isidentifier():
        raise SettingsError(f"{words!r} names no function; write FILE.py:FUNCTION, such as score.py:score")
    return file, name


@contextmanager
def _mapped_function(file: str, name: str) -> Iterator[Tuple[Callable[..., Any], bool]]:
    """Run a person's module, as importing it would, and give its function, and whether it is pure."""
    with script_of(file, "write FILE.py:FUNCTION") as script:
        function = getattr(script.module, name, None)
        if not callable(function):
            raise SettingsError(f"{os.path.basename(file)} has no function {name}; name one that it defines")
        yield function, script.is_pure


# ---- the items --------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Optional[str]) -> Iterator[Tuple[BinaryIO, str]]:
    """Give the file of items and its name; standard input stays open."""
    if path is None:
        items: Any = getattr(sys.stdin, "buffer", None)
        try:
            is_terminal = os.isatty(items.fileno())
        except (OSError, AttributeError, ValueError):
            raise SettingsError("there is no standard input to read here; give --items FILE") from None
        if is_terminal:
            write_hint()
        yield items, "standard input"
        return
    try:
        with open(path, "rb") as stream:
            yield stream, path
    except OSError as error:
        if error.filename != path:
            raise
        raise SettingsError(f"{path} cannot be read ({error.strerror}); give a file of items") from None


def write_hint() -> None:
    """Say to whoever types what is waited for."""
    Console().note(f"type an item on each line, and end with Ctrl-D; or: {program_name()} map … --items FILE")


def _lines_in(items: BinaryIO) -> Optional[int]:
    """Return how many lines a file has, and begin again; None where it cannot be read twice."""
    if not items.seekable():
        return None
    start, count, last = items.tell(), 0, b"\n"
    for piece in iter(lambda: items.read(1 << 20), b""):
        count, last = count + piece.count(b"\n"), piece[-1:]
    os.lseek(items.fileno(), start, os.SEEK_SET)
    return count + (last != b"\n")
