"""Keep the vectors of trainings in memory: where work's processes cannot read them anyway, for simulations and tests.

Knows:   the bytes, as long as somebody holds this object.
Refuses: to bound them (roles/vectors.py does).
Read next: roles/vectors.py (whose they are), host/vector_files.py (the same in a folder).
"""

from __future__ import annotations

from typing import Any, Dict, Optional


class MemoryVectors:
    """Be a `VectorsPort`."""

    folder = ""

    def __init__(self) -> None:
        self.vectors: Dict[str, bytearray] = {}

    def make(self, name: str, size: int) -> Any:
        """Return new memory of so many bytes under this name."""
        self.vectors[name] = bytearray(size)
        return memoryview(self.vectors[name])

    def reserve(self, name: str, size: int) -> None:
        """Have room for a new vector."""
        self.make(name, size)

    def write(self, name: str, offset: int, data: Any) -> None:
        """Write a part of a vector."""
        memoryview(self.vectors[name])[offset:offset + len(data)] = data

    def prepare(self) -> None:
        """Load nothing: whoever has vectors in memory has no loop to hold up."""

    def find(self, name: str) -> Optional[Any]:
        """Return a vector as memory of the caller's own, None where there is none of this name."""
        return memoryview(bytearray(self.vectors[name])) if name in self.vectors else None

    def remove(self, name: str) -> None:
        """Forget a vector, if it is here."""
        self.vectors.pop(name, None)

    def remove_all(self, beginning: str) -> None:
        """Forget all whose names begin so."""
        for name in [name for name in self.vectors if name.startswith(beginning)]:
            del self.vectors[name]
