"""Keep the vectors of trainings in a folder, as files that are mapped into memory: the node and its workers share them.

Knows:   files named as their vectors, in the folder for scratch, which is swept at each start and each end.
Refuses: to bound them (roles/vectors.py does), and to sync: what is lost with the power is computed again.
Read next: roles/vectors.py (whose they are), ml/workbench.py (who reads and writes them in a worker).
"""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import contextmanager, suppress
from typing import Any, Iterator, Optional

from ..tasks.value_buffers import optional_module
from .files import remove_file, scratch_errors


class VectorFiles:
    """Be a `VectorsPort`, where Python has the module mmap; where it has none, vectors stay in the node's memory."""

    def __init__(self, folder: str) -> None:
        """Make the folder, without what a node that was killed left there."""
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder, mode=0o700, exist_ok=True)

    def make(self, name: str, size: int) -> Any:
        """Return new memory of so many bytes under this name; raise StateError where the disk takes no more."""
        import mmap

        with self._new(name, size) as descriptor:
            return memoryview(mmap.mmap(descriptor, size))

    def reserve(self, name: str, size: int) -> None:
        """Have room for a new vector of so many bytes; raise StateError where the disk takes no more."""
        with self._new(name, size):
            pass

    def write(self, name: str, offset: int, data: Any) -> None:
        """Write a part of a vector for which there is room; raise StateError where that fails.

        In large pieces that costs a third of writing to mapped memory, where each page of 4 KiB is a fault of its own.
        """
        # Without a buffer: to make one for each piece took a third of the time of its write.
        with scratch_errors(), open(os.path.join(self.folder, name), "r+b", buffering=0) as file:
            file.seek(offset)
            view = memoryview(data)
            while view:
                view = view[file.write(view):]

    def prepare(self) -> None:
        """Load NumPy on a thread of its own: while the loop did it, its first average waited 0.3 s for all devices."""
        threading.Thread(target=optional_module, args=("numpy",), name="numpy", daemon=True).start()

    @contextmanager
    def _new(self, name: str, size: int) -> Iterator[int]:
        path = os.path.join(self.folder, name)
        with scratch_errors():
            with suppress(FileNotFoundError):
                os.remove(path)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
            try:
                # Reserved now: a full disk is an error here, and would be a signal when the memory is written.
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(descriptor, 0, size)
                else:
                    os.ftruncate(descriptor, size)
                yield descriptor
            finally:
                os.close(descriptor)

    def find(self, name: str) -> Optional[Any]:
        """Return a vector as memory of the caller's own, None where there is none of this name; what nobody changes
        is copied nowhere."""
        import mmap

        try:
            with open(os.path.join(self.folder, name), "rb") as file:
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        except (OSError, ValueError):
            return None  # Not there, or empty.

    def remove(self, name: str) -> None:
        """Remove a vector, if it is here."""
        with suppress(OSError):  # Windows: a worker reads it just now. It goes with the folder.
            remove_file(os.path.join(self.folder, name))

    def remove_all(self, beginning: str) -> None:
        """Remove all whose names begin so."""
        with suppress(OSError):
            for name in os.listdir(self.folder):
                if name.startswith(beginning):
                    self.remove(name)
