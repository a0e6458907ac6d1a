"""Read the command line, run the command, and turn every error into one sentence and an exit code.

Knows:   the commands' and the settings' tables, from which flags and help are made.
Refuses: to know what a command does.
Read next: faces/command.py (the table), faces/node_commands.py, faces/task_commands.py, faces/demo.py.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import Any, Dict, List, Optional, Sequence

from ..model.errors import DiscomputeError, SettingsError
from ..model.settings import SETTINGS, unknown_environment
from ..run import read_settings
from .command import COMMANDS, Context
from .console import Console
from .demo import DEMO
from .quick import version_text
from .node_commands import NODE_COMMANDS
from .task_commands import TASK_COMMANDS

PROGRAM = "discompute-lite"
INTERRUPTED = 130
#: Words that a switch may be followed by; anything else is the next argument.
SWITCH_WORDS = ("true", "false", "yes", "no", "on", "off")
#: In the order of the help. Naming them here also makes sure that their modules are there.
LISTED = (*NODE_COMMANDS, *TASK_COMMANDS, DEMO)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one command; return the exit code. May be called again and again in one interpreter."""
    words = list(sys.argv[1:] if argv is None else argv)
    console = Console(is_json="--json" in words)
    is_debug = False
    try:
        arguments = _parse(words)
        console = Console(is_json=getattr(arguments, "json", False), is_quiet=arguments.quiet)
        flags = {
            setting.name: getattr(arguments, f"set_{setting.name}", None) for setting in SETTINGS if not setting.secret
        }
        settings = read_settings(flags, os.environ, arguments.config or "")
        is_debug = settings.debug
        _log(console, is_debug, arguments.verbose)
        for name in unknown_environment(os.environ):
            console.note(f"the environment variable {name} means nothing to this version", "warn")
        command = COMMANDS.get(arguments.command)
        assert command is not None
        return command.run(Context(settings, arguments, console))
    except DiscomputeError as error:
        if is_debug:
            logging.getLogger("discompute").exception("the command failed")
        console.error(error.message)
        return error.exit_status
    except KeyboardInterrupt:
        console.error("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough (`| head`).
        return 0


class _Parser(argparse.ArgumentParser):
    """Say what is wrong in our one line, with our exit code."""

    def error(self, message: str) -> Any:
        raise SettingsError(f"{message}; see {self.prog} --help")


def _parse(words: List[str]) -> argparse.Namespace:
    parser = _make_parser()
    arguments = parser.parse_args(_with_switch_values(words))
    if arguments.command is None:
        parser.print_help()
        raise SystemExit(0)
    return arguments


def _make_parser() -> argparse.ArgumentParser:
    shared = _shared_flags()
    parser = _Parser(
        prog=PROGRAM, parents=[shared], add_help=True, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Turn the devices you own into one computer for Python work.",
        epilog="Every command has its own --help. Settings can also stand in ~/.discompute.yaml and in the environment.",
    )
    parser.add_argument("--version", action="version", version=version_text(is_json=False), help="show the version")
    parser.set_defaults(quiet=False, verbose=0, config=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=_Parser)
    for name in LISTED:
        command = COMMANDS.get(name)
        assert command is not None
        entry = commands.add_parser(
            name, help=command.help, description=command.help + ".", parents=[shared], argument_default=argparse.SUPPRESS
        )
        for flags, keywords in command.arguments:
            entry.add_argument(*flags, **{"default": None, **keywords} if "default" not in keywords else keywords)
    return parser


def _shared_flags() -> argparse.ArgumentParser:
    """Return the flags that every command takes, before or after its name: one for each setting, and a few more."""
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    shared.add_argument("-q", "--quiet", action="store_true", help="print results and errors only")
    shared.add_argument("-v", "--verbose", action="count", help="log what happens; -vv logs more")
    shared.add_argument("--config", metavar="FILE", help="configuration file (default ~/.discompute.yaml)")
    group = shared.add_argument_group("settings")
    for setting in SETTINGS:
        if not setting.secret:
            text = setting.help.replace("%", "%%").replace("`", "")
            default = setting.default_text.replace("%", "%%").replace("`", "")
            group.add_argument(
                setting.flag, dest=f"set_{setting.name}", metavar=setting.kind.label, help=f"{text} (default {default})"
            )
    return shared


def _with_switch_values(words: List[str]) -> List[str]:
    """Give switches without a word their "true", so that the word after them stays an argument."""
    switches = [setting.flag for setting in SETTINGS if isinstance(setting.default, bool)]
    result: List[str] = []
    for index, word in enumerate(words):
        follower = words[index + 1].lower() if index + 1 < len(words) else ""
        result.append(f"{word}=true" if word in switches and follower not in SWITCH_WORDS else word)
    return result


def _log(console: Console, is_debug: bool, verbose: Optional[int]) -> None:
    logger = logging.getLogger("discompute")
    for old in list(logger.handlers):
        logger.removeHandler(old)
    level = logging.DEBUG if is_debug else {0: logging.WARNING, 1: logging.INFO}.get(verbose or 0, logging.DEBUG)
    logger.setLevel(level)
    logger.propagate = False
    log_handler = logging.StreamHandler(_LogStream(console))
    log_handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logger.addHandler(log_handler)


class _LogStream:
    """Give the logger a stream that knows progress bars and consoles with only `write`."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str) -> None:
        for line in text.splitlines():
            self._console.note(line, "quiet")

    def flush(self) -> None:
        """Every line is written at once."""


def command_table() -> Dict[str, str]:
    """Return name -> help of every command, for the documentation's test."""
    return {name: COMMANDS.get(name).help for name in LISTED}  # type: ignore[union-attr]
