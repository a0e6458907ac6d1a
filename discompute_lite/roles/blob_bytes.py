"""Keep the bytes of blobs in memory: where work runs in threads of this process, for simulations and for tests.

Knows:   the bytes, as long as somebody holds this object.
Refuses: to bound them (core/blobs.py does).
Read next: roles/blobs.py (whose they are), host/blob_files.py (the same in a folder, for child processes).
"""

from __future__ import annotations

from typing import Dict

from ..tasks.blob_values import forget_blob_value


class MemoryBlobs:
    """Be a `BlobBytesPort`."""

    def __init__(self) -> None:
        self.blobs: Dict[str, bytearray] = {}

    def append(self, sha256: str, data: bytes) -> None:
        """Add bytes to a blob."""
        self.blobs.setdefault(sha256, bytearray()).extend(data)

    def read(self, sha256: str, offset: int, size: int) -> bytes:
        """Return a range."""
        return bytes(memoryview(self.blobs[sha256])[offset:offset + size])

    def source(self, sha256: str) -> bytearray:
        """Return what a worker reads it from."""
        return self.blobs[sha256]

    def remove(self, sha256: str) -> None:
        """Forget a blob, and what was read of it here; one that is not there is fine."""
        self.blobs.pop(sha256, None)
        forget_blob_value(sha256)
