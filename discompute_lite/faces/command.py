"""Hold the table of commands: to add one, decorate a function and name it in `LISTED`.

Knows:   each command's name, help, arguments and function; how an argument's text is checked.
Refuses: to parse (faces/cli.py does).
Read next: faces/cli.py.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Callable, Dict, Tuple

from ..model.catalog import Catalog
from ..model.setting_kinds import SettingKind, number_kind, whole_kind
from ..model.settings import Settings
from .console import Console

COMMANDS: Catalog[Command] = Catalog("command")
#: Where each command stands, in the order of the help. A module is loaded when a command of it is wanted: a node would
#: hold all of them, with what they need, for as long as it runs, and a phone has little memory.
LISTED: Dict[str, str] = {name: module for module, names in (
    ("node_commands", "start info list send config version"),
    ("cluster_commands", "invite join devices revoke policy audit"),
    ("share_command", "share"),
    ("task_commands", "submit result cancel"),
    ("status_commands", "status tasks"),
    ("map_command", "map"),
    ("train_command", "train"),
    ("story_commands", "why logs"),
    ("doctor_command", "doctor"),
    ("demo", "demo"),
) for name in names.split()}
#: What `command` takes for each argument: (flags, keywords) for `add_argument`.
CommandArgument = Tuple[Tuple[str, ...], Any]
#: Seconds that a person may let a command wait.
LONGEST_WAIT_S = 86400


@dataclass(frozen=True)
class Command:
    """Describe one command; `run(context)` returns the exit status."""

    name: str
    help: str
    run: Callable[[Context], int]
    #: In order.
    arguments: Tuple[CommandArgument, ...]
    #: Phones have it without its flags: there it takes whatever is typed, and says why it does none of it.
    is_for_computers: bool = False


@dataclass(frozen=True)
class Context:
    """Give a command what it works with."""

    settings: Settings
    arguments: argparse.Namespace
    console: Console


def load_command(name: str) -> Command:
    """Return a command that is listed."""
    import_module(f"discompute_lite.faces.{LISTED[name]}")
    found = COMMANDS.get(name)
    assert found is not None, name
    return found


def argument(*flags: str, **keywords: Any) -> CommandArgument:
    """Describe one argument of a command."""
    return flags, keywords


def whole_number(low: int, high: int) -> Callable[[str], Any]:
    """Return the type of an argument that is a whole number from `low` to `high`."""
    return _argument_type(whole_kind(low, high))


def number_between(low: float, high: float) -> Callable[[str], Any]:
    """Return the type of an argument that is a number from `low` to `high`."""
    return _argument_type(number_kind(low, high))


def wait_seconds() -> Callable[[str], Any]:
    """Return the type of an argument that says how many seconds to wait."""
    return _argument_type(number_kind(0, LONGEST_WAIT_S))


def _argument_type(kind: SettingKind) -> Callable[[str], Any]:
    def take(text: str) -> Any:
        try:
            return kind.take(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"cannot be {text!r}; write {kind.wanted}") from None

    return take


def command(
    name: str, *arguments: CommandArgument, is_for_computers: bool = False
) -> Callable[[Callable[[Context], int]], Callable[[Context], int]]:
    """Register a function as a command; the first line of its docstring is its help."""

    def register(function: Callable[[Context], int]) -> Callable[[Context], int]:
        first_line = (function.__doc__ or "").strip().split("\n")[0].rstrip(".")
        COMMANDS.add(name, Command(name, first_line, function, arguments, is_for_computers))
        return function

    return register


JSON_FLAG = argument("--json", action="store_true", help="print one JSON document for programs")

