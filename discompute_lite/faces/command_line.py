"""Read a command line by the tables of commands and settings; say in one sentence what is wrong with one.

Knows:   argparse, and how its complaints read in words that a person can act on.
Refuses: to run anything.
Read next: faces/cli.py (who runs), faces/command.py (the table).
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from typing import Any, Iterable, List, Optional, Sequence

from ..model.errors import SettingsError
from ..model.setting_kinds import words_like
from ..model.settings import PEER_FLAG, SETTINGS
from .command import LISTED, load_command
from .console import program_name, width_of, write_text
from .quick import version_text

#: Words that a switch may be followed by; anything else is the next argument.
SWITCH_WORDS = ("true", "false", "yes", "no", "on", "off")
#: The command whose help lists the settings, as the help of the whole program does.
FULL_HELP = "start"
#: Columns of help at most.
WIDEST_HELP = 78


class CommandLine:
    """Hold the parsers of one program start."""

    def __init__(self, listed: Iterable[str]) -> None:
        """`listed` are the commands in the order of the help."""
        self._program = program_name()
        self._parser = CommandParser(
            prog=self._program, usage=_usage_text([self._program, "COMMAND", "[ARGUMENT ...]", "[FLAG ...]"]),
            description="Turn the devices you own into one computer for Python work.",
            epilog="Every command has its own --help. Settings can also stand in ~/.discompute.yaml and in the"
            " environment.",
        )
        self._parser.add_argument(
            "--version", action="version", version=version_text(is_json=False), help="show the version"
        )
        commands = self._parser.add_subparsers(
            dest="command", metavar="COMMAND", title="commands", parser_class=CommandParser, prog=self._program
        )
        self._shared_flags = _add_shared_flags(self._parser, peers="peers_first")
        self._own_flags = {name: self._add_command(commands, name) for name in listed}

    def parse(self, words: Sequence[str]) -> Optional[argparse.Namespace]:
        """Return what the words say, None where they only ask for help; raise `SettingsError`."""
        try:
            arguments, strange = self._parser.parse_known_args(_with_switch_values(words))
        except SystemExit:
            return None  # --help and --version have printed what they had to.
        if strange and not self._lacks_its_flags(arguments.command):
            raise SettingsError(self._about_strange(strange[0], arguments.command or ""))
        if arguments.command is None:
            self._parser.print_help()
            return None
        return arguments

    def _add_command(self, commands: Any, name: str) -> List[str]:
        command = load_command(name)
        usage = [f"{self._program} {name}"]
        for flags, keywords in command.arguments:
            label = keywords.get("metavar") or flags[0]
            count = keywords.get("nargs")
            is_optional = flags[0].startswith("-") or count in ("?", "*", "...")
            text = f"{flags[0]} {label}" if flags[0].startswith("-") and "metavar" in keywords else label
            text += " ..." if count in ("+", "*", "...") else ""
            usage.append(f"[{text}]" if is_optional else text)
        # Flags stand before a job file: what follows it is the job's.
        usage.insert(1 if usage[-1].endswith("...]") else len(usage), "[FLAG ...]")
        entry = commands.add_parser(
            name, help=command.help, description=command.help + ".", usage=_usage_text(usage),
            prog=f"{self._program} {name}", epilog=None if name == FULL_HELP else (
                f"Every setting is a flag too, such as --state-dir FOLDER: see {self._program} --help"
            ),
        )
        own = []
        for flags, keywords in command.arguments:
            entry.add_argument(*flags, **keywords)
            own += [flag for flag in flags if flag.startswith("-")]
        _add_shared_flags(entry, is_brief=name != FULL_HELP)
        return own

    def _lacks_its_flags(self, command: Optional[str]) -> bool:
        return command is not None and load_command(command).is_for_computers and not self._own_flags[command]

    def _about_strange(self, word: str, command: str) -> str:
        see = f"see {self._program}{' ' + command if command else ''} --help"
        if not word.startswith("-"):
            return f"{word!r} is one word too many; {see}"
        flag = word.partition("=")[0]
        if any(flag in own for own in self._own_flags.values()):
            return f"{command} has no flag {flag}; {see}" if command else f"{flag} stands after a command; {see}"
        close = words_like(flag, self._shared_flags + self._own_flags.get(command, []), likeness=0.7)
        return f"there is no flag {flag}; " + (f"did you mean {close[0]}?" if close else see)


class CommandParser(argparse.ArgumentParser):
    """Say what is wrong in our words, with our exit code."""

    def __init__(self, **keywords: Any) -> None:
        if sys.version_info >= (3, 14):
            # There argparse paints its help, whatever was said about colours to us.
            keywords["color"] = False
        super().__init__(allow_abbrev=False, formatter_class=_help_formatter, **keywords)

    def error(self, message: str) -> Any:
        """Raise `SettingsError`."""
        problem = in_our_words(message)
        says_what_to_do = "; write" in problem or "; did you mean" in problem
        raise SettingsError(problem if says_what_to_do else f"{problem}; see {self.prog} --help")

    def _print_message(self, message: str, file: Any = None) -> None:
        write_text(file or sys.stdout, message)


def in_our_words(message: str) -> str:
    """Return what argparse complains about as a person would say it."""
    match = re.match(r"argument COMMAND: invalid choice: ('.*?')", message)
    if match:
        close = words_like(match.group(1)[1:-1], tuple(LISTED))
        return f"there is no command {match.group(1)}" + (f"; did you mean {close[0]}?" if close else "")
    match = re.match(r"the following arguments are required: (.*)", message)
    if match:
        # What may be left out is listed there as well where it takes all words that are left.
        return f"{match.group(1).split(', ')[0]} is missing"
    match = re.match(r"argument ([^:]+): (.*)", message, re.DOTALL)
    if match:
        name = match.group(1).split("/")[-1]
        problem = "needs a value after it" if match.group(2).startswith("expected ") else match.group(2)
        return f"{name} {problem}"
    return message


def _usage_text(parts: Sequence[str]) -> str:
    """Return a usage in lines of the terminal; a flag stays on the line of its value."""
    indent = " " * len("usage: ")
    words = " ".join(part if part == parts[0] else part.replace(" ", "\0") for part in parts)
    lines = textwrap.fill(words, _help_width(), initial_indent=indent, subsequent_indent=indent,
                          break_long_words=False, break_on_hyphens=False)
    return lines.replace("\0", " ").lstrip()


def _help_formatter(prog: str) -> argparse.HelpFormatter:
    # By itself argparse takes what is no terminal, such as the console of an app, for one of 80 columns.
    return argparse.HelpFormatter(prog, width=_help_width())


def _help_width() -> int:
    # Two columns less than there are, as argparse has it.
    return min(WIDEST_HELP, width_of(sys.stdout) - 2)


def _add_shared_flags(
    parser: argparse.ArgumentParser, *, is_brief: bool = False, peers: str = "peers_more"
) -> List[str]:
    """Add the flags that every command takes, before or after its name: one for each setting, and a few more.

    Where the help is to be brief the settings are not listed: they would hide the few flags that are the command's.
    What is given by --peer before a command's name would be lost to what is given after it, were `peers` one place.
    """
    # Nothing where not given, so that a flag before the command's name is not lost to a default after it.
    nothing = argparse.SUPPRESS
    parser.add_argument("-q", "--quiet", action="store_true", default=nothing, help="print results and errors only")
    parser.add_argument("-v", "--verbose", action="count", default=nothing, help="log what happens; -vv logs more")
    parser.add_argument(
        "--config", metavar="FILE", default=nothing, help="configuration file (default ~/.discompute.yaml)"
    )
    parser.add_argument(
        PEER_FLAG, metavar="HOST[:PORT]", action="append", dest=peers, default=nothing,
        help="a device to call, beside those of peers; may be given again and again",
    )
    group = parser.add_argument_group("settings")
    flags = ["--quiet", "--verbose", "--config", PEER_FLAG]
    for setting in SETTINGS:
        default = "none" if setting.default_text in ("[]", "{}") else setting.default_text
        text = f"{setting.help} (default {default})".replace("%", "%%").replace("`", "")
        group.add_argument(
            setting.flag, dest=f"set_{setting.name}", metavar=setting.kind.label, default=nothing,
            help=argparse.SUPPRESS if is_brief else text,
        )
        flags.append(setting.flag)
    return flags


def _with_switch_values(words: Sequence[str]) -> List[str]:
    """Give switches without a word their "true", so that the word after them stays an argument."""
    switches = [setting.flag for setting in SETTINGS if isinstance(setting.default, bool)]
    result: List[str] = []
    for index, word in enumerate(words):
        follower = words[index + 1].lower() if index + 1 < len(words) else ""
        result.append(f"{word}=true" if word in switches and follower not in SWITCH_WORDS else word)
    return result
