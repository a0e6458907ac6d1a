"""Keep one kind of extension by name: the table behind every decorator of the package.

Knows:   names and what was registered under them, in order.
Refuses: a name twice, and changes after import (nothing offers removal).
Read next: roles/methods.py, tasks/types.py, net/transports.py (the tables).
"""

from __future__ import annotations

from typing import Callable, Dict, Generic, Iterator, Optional, Tuple, TypeVar

Entry = TypeVar("Entry")


class Catalog(Generic[Entry]):
    """Map names to extensions of one `kind`, in the order of registration."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: Dict[str, Entry] = {}

    def add(self, name: str, entry: Entry) -> Entry:
        """Register `entry`; raise ValueError when the name is taken."""
        if name in self._entries:
            raise ValueError(f"two {self.kind} entries are called {name!r}")
        self._entries[name] = entry
        return entry

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """Return a decorator that registers what it decorates."""
        return lambda entry: self.add(name, entry)

    def get(self, name: str) -> Optional[Entry]:
        """Return the entry, or None."""
        return self._entries.get(name)

    def names(self) -> Tuple[str, ...]:
        """Return all names in order of registration."""
        return tuple(self._entries)

    def items(self) -> Iterator[Tuple[str, Entry]]:
        """Iterate over (name, entry) in order of registration."""
        return iter(self._entries.items())

    def __contains__(self, name: object) -> bool:
        return name in self._entries
