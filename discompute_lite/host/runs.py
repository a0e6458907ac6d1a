"""Keep the journals of runs, which are scripts whose calls outlive them: one run is one process's at a time.

Knows:   a folder with a journal and a lock for each run, beside the state of all nodes of one user.
Refuses: to know what journals say (roles/kept_calls.py does).
Read next: host/journals.py (how they are written), host/folder_lock.py.
"""

from __future__ import annotations

import hashlib
import os
import time
from typing import Callable

from ..model.errors import StateError
from .files import remove_file, state_errors
from .folder_lock import FolderLock, is_folder_locked, take_folder_lock
from .journals import JOURNAL_END, JournalFolder

LOCK_END = ".lock"


class RunJournal:
    """Hold the journal of one run, until `close` or the end of the process."""

    def __init__(self, folder: str, run: str, post: Callable[..., None]) -> None:
        """Take the run called `run`; raise StateError where another process has it."""
        #: The journal's name: what a run is called need not be a file's name.
        self.name = hashlib.sha256(run.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        with state_errors(folder):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            lock = take_folder_lock(os.path.join(folder, self.name + LOCK_END))
        if lock is None:
            raise StateError(
                "another script that runs now keeps its calls under this name",
                'give this one a name of its own: Cluster(durable="NAME")')
        self._lock: FolderLock = lock
        self.journals = JournalFolder(folder, post)

    def read(self) -> bytes:
        """Return what an earlier process has left; raise StateError."""
        return self.journals.read(self.name)

    def close(self) -> None:
        """Write what was asked for, and let others have the run; its lock is there only while somebody has it."""
        self.journals.close()
        self._lock.remove()


def forget_old_runs(folder: str, kept_s: float) -> None:
    """Delete the journals to which nothing was added for so long, and that nobody has."""
    with state_errors(folder):
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            run, end = os.path.splitext(os.path.join(folder, name))
            # Of a run that ended by a kill there is a lock too, with or without a journal.
            if end in (LOCK_END, JOURNAL_END) and _age_s(run + JOURNAL_END, run + LOCK_END) > kept_s:
                _forget_run(run)


def _forget_run(run: str) -> None:
    lock = None if is_folder_locked(run + LOCK_END) else take_folder_lock(run + LOCK_END)
    if lock is not None:
        remove_file(run + JOURNAL_END)
        lock.remove()


def _age_s(*paths: str) -> float:
    changed = []
    for path in paths:
        try:
            changed.append(os.stat(path).st_mtime)
        except FileNotFoundError:
            pass  # Never there, or another script has just forgotten it.
    return time.time() - max(changed, default=time.time())
