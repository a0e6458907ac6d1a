"""Hold the table of commands: to add one, decorate a function.

Knows:   each command's name, help, arguments and function.
Refuses: to parse (faces/cli.py does).
Read next: faces/cli.py.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any, Callable, List, Tuple

from ..model.catalog import Catalog
from ..model.settings import Settings
from .console import Console

COMMANDS: Catalog[Command] = Catalog("command")


@dataclass(frozen=True)
class Command:
    """Describe one command; `run(context)` returns the exit status."""

    name: str
    help: str
    run: Callable[[Context], int]
    #: (flags, keywords) for `add_argument`, in order.
    arguments: Tuple[Tuple[Tuple[str, ...], Any], ...]


@dataclass(frozen=True)
class Context:
    """Give a command what it works with."""

    settings: Settings
    arguments: argparse.Namespace
    console: Console


def argument(*flags: str, **keywords: Any) -> Tuple[Tuple[str, ...], Any]:
    """Describe one argument of a command."""
    return flags, keywords


def command(name: str, *arguments: Tuple[Tuple[str, ...], Any]) -> Callable[[Callable[[Context], int]], Callable[[Context], int]]:
    """Register a function as a command; the first line of its docstring is its help."""

    def register(function: Callable[[Context], int]) -> Callable[[Context], int]:
        first_line = (function.__doc__ or "").strip().split("\n")[0].rstrip(".")
        COMMANDS.add(name, Command(name, first_line, function, arguments))
        return function

    return register


JSON_FLAG = argument("--json", action="store_true", help="print one JSON document for programs")


def command_names() -> List[str]:
    """Return all commands in order."""
    return list(COMMANDS.names())
