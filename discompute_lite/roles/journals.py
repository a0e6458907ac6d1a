"""Keep journals in memory: for nodes whose folder cannot be written, for simulations and for tests.

Knows:   the lines, as long as somebody holds this object.
Refuses: to last; a node that is killed loses what is here, as it has said at its start.
Read next: roles/durability.py (whose lines they are), host/journals.py (the same on a disk).
"""

from __future__ import annotations

from typing import Callable, Dict


class MemoryJournals:
    """Be a `JournalsPort` that is done at once."""

    is_lasting = False

    def __init__(self) -> None:
        #: Why nothing can be written just now, "" when all is well.
        self.problem = ""
        self.journals: Dict[str, bytes] = {}
        #: Changes that were asked for, in all.
        self.steps = 0

    def read_all(self) -> Dict[str, bytes]:
        """Return every journal, by name."""
        return dict(self.journals)

    def keep_aside(self, name: str, data: bytes) -> str:
        """Keep the bytes of a damaged journal; return where."""
        self.journals[f"{name}.damaged"] = data
        return f"{name}.damaged"

    def append(self, name: str, data: bytes) -> None:
        """Add lines to a journal."""
        self.steps += 1
        self.journals[name] = self.journals.get(name, b"") + data

    def replace(self, name: str, data: bytes) -> None:
        """Let a journal hold these lines and no others."""
        self.steps += 1
        self.journals[name] = data

    def remove(self, name: str) -> None:
        """Forget a journal."""
        self.steps += 1
        self.journals.pop(name, None)

    def when_written(self, callback: Callable[[str], None]) -> None:
        """Call back with the problem, "" where there is none: everything is there already."""
        callback(self.problem)
