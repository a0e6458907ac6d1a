"""Tell work that runs here where the vectors of its device lie: files that it reads and leaves.

Knows:   the folder, for the work that is under way in this thread.
Refuses: to open anything (ml/workbench.py does).
Read next: ml/workbench.py, roles/vectors.py (whose files they are).
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import Iterator

_FOLDER: ContextVar[str] = ContextVar("discompute_vector_folder", default="")


@contextmanager
def vectors_lying_in(folder: str) -> Iterator[None]:
    """Let what this thread runs meanwhile find vectors in this folder."""
    token = _FOLDER.set(folder)
    try:
        yield
    finally:
        _FOLDER.reset(token)


def vector_folder() -> str:
    """Return where vectors lie, "" where there is no such place."""
    return _FOLDER.get()
