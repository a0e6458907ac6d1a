"""Keep the bytes of blobs in a folder, a file each: child processes read them there, and nothing is sent to them.

Knows:   files named by their hash, in the folder for scratch, which is swept at each start and each end.
Refuses: to bound them (core/blobs.py does), and to sync: what is lost with the power is fetched again.
Read next: roles/blobs.py (whose they are), tasks/blob_values.py (who reads them in a child).
"""

from __future__ import annotations

import os
import shutil

from .files import remove_file, scratch_errors


class BlobFiles:
    """Be a `BlobBytesPort`."""

    def __init__(self, folder: str) -> None:
        """Make the folder, without what a node that was killed left there."""
        self._folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder, mode=0o700, exist_ok=True)

    def append(self, sha256: str, data: bytes) -> None:
        """Add bytes to a blob; raise StateError where the disk takes none."""

        def private(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        with scratch_errors(), open(self.source(sha256), "ab", opener=private) as file:
            file.write(data)

    def read(self, sha256: str, offset: int, size: int) -> bytes:
        """Return a range; raise StateError where somebody has removed the file."""
        with scratch_errors(), open(self.source(sha256), "rb") as file:
            file.seek(offset)
            return file.read(size)

    def source(self, sha256: str) -> str:
        """Return the path of a blob's file."""
        return os.path.join(self._folder, sha256)

    def remove(self, sha256: str) -> None:
        """Remove a blob; one that is not there is fine."""
        try:
            remove_file(self.source(sha256))
        except OSError:
            pass  # Windows: a child reads it just now. It goes with the folder.
