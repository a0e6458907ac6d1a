"""Say what to do about words behind a file that the file does not take: often they are the command's own flags.

Knows:   the flags that a command takes, and which of them have a value after them.
Refuses: to move them: a job may have arguments of the same names.
Read next: faces/task_commands.py, faces/train_command.py (which ask), faces/command.py (the table).
"""

from __future__ import annotations

import shlex
from typing import Dict, List

from ..model.settings import PEER_FLAG, SETTINGS
from .command import load_command

#: Flags of every command that are no settings, with what follows them.
SHARED_FLAGS = {
    "-q": "", "--quiet": "", "-v": "", "--verbose": "", "--json": "", "--config": "FILE", PEER_FLAG: "HOST[:PORT]",
}


def with_advice(command: str, file: str, words: List[str], problem: str) -> str:
    """Return `problem`, what is wrong with `words`, with what to type instead.

    People are used to writing flags at the end, where the file's own arguments are.
    """
    known = _flags_of(command)
    flags: List[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        flag, is_joined, _ = word.partition("=")
        if flag not in known:
            continue
        flags.append(shlex.quote(word))
        if known[flag] and not is_joined:
            has_value = bool(rest) and not rest[0].startswith("-")
            flags.append(shlex.quote(rest.pop(0)) if has_value else known[flag])
    if flags:
        line = " ".join([command, *flags, shlex.quote(file)])
        return f"{problem}; {command}'s own flags stand before the file: {line}"
    return problem if "; " in problem else f"{problem}; mend the command line"


def _flags_of(command: str) -> Dict[str, str]:
    """Return each flag that may stand between the command and its file, with what a value of it is called."""
    known = dict(SHARED_FLAGS)
    for flags, keywords in load_command(command).arguments:
        known.update({flag: keywords.get("metavar", "") for flag in flags if flag.startswith("-")})
    for setting in SETTINGS:
        if setting.flag:
            known[setting.flag] = "" if isinstance(setting.default, bool) else setting.kind.label
    return known
