"""Put the lines of journals on the disk, many at a time, without holding up the loop.

Knows:   one file for each journal, what of it is surely there, and what to do while the disk is full or read-only.
Refuses: to read what lines say (core/journal.py does); to tell anybody that something is kept before it is.
Read next: roles/durability.py (whose lines they are).

Everything is done by one thread in the order in which it was asked for. What is asked for while the disk is busy is
done together, with one sync for each file. What cannot be written is kept and tried again every `RETRY_S`.
"""

from __future__ import annotations

import os
import stat
import threading
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

from ..model.errors import StateError
from .files import (
    SAFE_OPEN_FLAGS, remove_file, state_errors, sync_file, sync_folder, write_atomically, write_whole,
)

#: Seconds between two tries to write what could not be written.
RETRY_S = 2.0
#: Seconds that the end of a node waits for the disk.
LAST_WRITE_S = 5.0
JOURNAL_END, DAMAGED_END = ".journal", ".damaged"
JOURNAL_READ_BYTES = 1 << 20

OnWritten = Callable[[str], None]


class JournalStep(NamedTuple):
    """Ask for one change of a journal: "append", "replace" or "remove"."""

    action: str
    name: str
    data: bytes = b""


class JournalFolder:
    """Keep journals as files of one folder, which is made with the first; all methods belong to the loop's thread.

    Without a path nothing is kept.
    """

    def __init__(self, path: str, post: Callable[..., None], retry_s: float = RETRY_S) -> None:
        """`post(callback, *arguments)` calls back on the loop's thread, from any."""
        self.path = path
        self.is_lasting = bool(path)
        #: Why nothing can be written just now, "" when all is well.
        self.problem = ""
        self._post = post
        self._retry_s = retry_s
        #: Steps asked for, and done; who waits for how many.
        self._asked = self._done = 0
        self._waiting: List[Tuple[int, OnWritten]] = []
        self._thread: Any = None
        #: Guards what follows, which the thread takes from.
        self._changed = threading.Condition()
        self._steps: List[JournalStep] = []
        self._is_closing = False
        #: name -> bytes that are surely there: the thread's alone.
        self._sizes: Dict[str, int] = {}

    # ---- before the first step ----------------------------------------------------------------------

    def read_all(self) -> Dict[str, bytes]:
        """Return every journal that is there, by name; raise StateError for what cannot be read."""
        found = {}
        if self.path and os.path.lexists(self.path):
            with state_errors(self.path):
                names = sorted(name for name in os.listdir(self.path) if name.endswith(JOURNAL_END))
            for name in names:
                found[name[:-len(JOURNAL_END)]] = _read_whole(os.path.join(self.path, name))
        return found

    def read(self, name: str) -> bytes:
        """Return one journal, b"" where there is none; raise StateError for what cannot be read."""
        where = os.path.join(self.path, name + JOURNAL_END)
        return _read_whole(where) if os.path.lexists(where) else b""

    def keep_aside(self, name: str, data: bytes) -> str:
        """Keep the bytes of a damaged journal beside it, for people; return the file's name."""
        kept = name + DAMAGED_END
        write_atomically(os.path.join(self.path, kept), data)
        return os.path.join(self.path, kept)

    # ---- asking -------------------------------------------------------------------------------------

    def append(self, name: str, data: bytes) -> None:
        """Add lines to a journal, which is made where there is none."""
        self._ask(JournalStep("append", name, data))

    def replace(self, name: str, data: bytes) -> None:
        """Let a journal hold these lines and no others: after a cut, the old or the new ones."""
        self._ask(JournalStep("replace", name, data))

    def remove(self, name: str) -> None:
        """Forget a journal."""
        self._ask(JournalStep("remove", name))

    def when_written(self, callback: OnWritten) -> None:
        """Call back with "" when all that was asked for so far is on the disk, at once where it is.

        Where it cannot be written now the callback gets the reason; it will be tried again all the same.
        """
        if self._done == self._asked:
            callback("")
        else:
            self._waiting.append((self._asked, callback))

    def close(self) -> None:
        """Write what was asked for, if the disk lets us, and end."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(LAST_WRITE_S)

    def _ask(self, step: JournalStep) -> None:
        if not self.path:
            return
        self._asked += 1
        with self._changed:
            self._steps.append(step)
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="discompute-journal", daemon=True)
            self._thread.start()

    def _written(self, count: int) -> None:
        self.problem = ""
        self._done += count
        ready = [callback for mark, callback in self._waiting if mark <= self._done]
        self._waiting = [(mark, callback) for mark, callback in self._waiting if mark > self._done]
        for callback in ready:
            callback("")

    def _failed(self, problem: str) -> None:
        self.problem = problem
        waiting, self._waiting = self._waiting, []
        for _, callback in waiting:
            callback(problem)

    # ---- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        #: name -> what is to become of it: all that is asked for and not yet on the disk.
        left: Dict[str, Tuple[str, List[bytes]]] = {}
        count = 0
        while True:
            with self._changed:
                while not self._steps and not left and not self._is_closing:
                    self._changed.wait()
                is_last = self._is_closing
                steps, self._steps = self._steps, []
            count += len(steps)
            _gather(left, steps)
            try:
                self._write(left)
            except StateError as error:
                self._post(self._failed, error.message)
                if not is_last:
                    with self._changed:
                        self._changed.wait_for(lambda: self._is_closing, self._retry_s)
            else:
                if count:
                    self._post(self._written, count)
                count = 0
            if is_last:
                return

    def _write(self, left: Dict[str, Tuple[str, List[bytes]]]) -> None:
        """Do what is left, and take out of it what is done."""
        if left:
            with state_errors(self.path):
                os.makedirs(self.path, mode=0o700, exist_ok=True)
        for name, (action, parts) in list(left.items()):
            where, data = os.path.join(self.path, name + JOURNAL_END), b"".join(parts)
            if action == "append":
                self._append(name, where, data)
            elif action == "replace":
                write_atomically(where, data)
                self._sizes[name] = len(data)
            else:
                self._remove(name, where)
            del left[name]

    def _append(self, name: str, where: str, data: bytes) -> None:
        with state_errors(where):
            descriptor = os.open(where, os.O_RDWR | os.O_CREAT | SAFE_OPEN_FLAGS, 0o600)
            try:
                size = self._sizes.get(name)
                if size is None:
                    # Made now, or read whole when the node began.
                    size = self._sizes[name] = os.fstat(descriptor).st_size
                # What a full disk has taken of an earlier try is no line.
                os.ftruncate(descriptor, size)
                os.lseek(descriptor, size, os.SEEK_SET)
                write_whole(descriptor, data)
                sync_file(descriptor)
            finally:
                os.close(descriptor)
            if not size:
                sync_folder(self.path)
        self._sizes[name] = size + len(data)

    def _remove(self, name: str, where: str) -> None:
        with state_errors(where):
            remove_file(where)
        sync_folder(self.path)
        self._sizes.pop(name, None)


def _gather(left: Dict[str, Tuple[str, List[bytes]]], steps: List[JournalStep]) -> None:
    """Add steps to what is to become of each journal."""
    for step in steps:
        action, parts = left.pop(step.name, (step.action, []))
        if step.action != "append":
            action, parts = step.action, []
        elif action == "remove":
            action = "replace"
        left[step.name] = action, [*parts, step.data]


def _read_whole(path: str) -> bytes:
    with state_errors(path):
        descriptor = os.open(path, os.O_RDONLY | SAFE_OPEN_FLAGS)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise StateError("the journal is not a file", f"move away what is there: {path}")
            parts: List[bytes] = []
            while True:
                part = os.read(descriptor, JOURNAL_READ_BYTES)
                if not part:
                    return b"".join(parts)
                parts.append(part)
        finally:
            os.close(descriptor)
