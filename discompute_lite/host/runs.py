"""Keep the journals of runs, which are scripts whose calls outlive them: one run is one process's at a time.

Knows:   a folder with a journal and a lock for each run, beside the state of all nodes of one user.
Refuses: to know what journals say (roles/kept_calls.py does).
Read next: host/journals.py (how they are written), host/folder_lock.py.
"""

from __future__ import annotations

import hashlib
import os
import time
from typing import Any, Callable

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
                'Another script that runs now keeps its calls under this name. Give this one a name of its own:'
                ' Cluster(durable="NAME").')
        self._lock: FolderLock = lock
        self.journals = JournalFolder(folder, post)

    def read(self) -> bytes:
        """Return what an earlier process has left; raise StateError."""
        return self.journals.read(self.name)

    def close(self) -> None:
        """Write what was asked for, and let others have the run."""
        self.journals.close()
        self._lock.release()


def forget_old_runs(folder: str, kept_s: float) -> None:
    """Delete the journals to which nothing was added for so long, and that nobody has."""
    with state_errors(folder):
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            lock, journal = os.path.join(folder, name), os.path.join(folder, name[:-len(LOCK_END)] + JOURNAL_END)
            if name.endswith(LOCK_END) and not is_folder_locked(lock) and _age_s(journal, lock) > kept_s:
                remove_file(journal)
                remove_file(lock)


def _age_s(*paths: str) -> Any:
    changed = [os.stat(path).st_mtime for path in paths if os.path.lexists(path)]
    return time.time() - max(changed, default=time.time())
