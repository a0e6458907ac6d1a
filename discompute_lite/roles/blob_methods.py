"""Name the methods about blobs: what `roles/methods.py` is for the rest.

Knows:   each method's name, parameters, answer and who may call it.
Refuses: to do the work.
Read next: roles/blobs.py.

A blob's name is the SHA-256 of its bytes, in hexadecimal; it is the tagged JSON text of a value. Whoever may not send
work to a device may still have to fetch what its own work needs from there, so these two are for every device of the
cluster: a name that nobody can guess is learnt from whoever sends the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Optional

from .methods import method
from .ports import LinkPort


@dataclass(frozen=True)
class PutBlobAnswer:
    """Say how many bytes from the beginning on are here; `success` is false where the range was not wanted."""

    success: bool = False
    message: str = ""
    received: int = 0


@dataclass(frozen=True)
class GetBlobAnswer:
    """Return a range; `size` is that of the whole."""

    success: bool = False
    message: str = ""
    size: int = 0
    data: bytes = b""


@dataclass(frozen=True)
class HasBlobAnswer:
    """Say how much of a blob is here: `received` bytes of `size`, from the beginning on."""

    success: bool = False
    size: int = 0
    received: int = 0


@dataclass(frozen=True)
class DropBlobAnswer:
    """Say whether the caller had put it here."""

    success: bool = False


@method("PutBlob", level="work")
def put_blob(
    node: Any, link: LinkPort, sha256: str = "", size: int = 0, offset: int = 0, data: bytes = b"",
    sources: Optional[List[str]] = None,
) -> PutBlobAnswer:
    """Take the next range of a blob, which begins where the last one ended; or fetch it from devices, `sources`.

    A range has at most `limits.blob_range_bytes`. It is kept for the caller until `DropBlob`, until the caller is gone,
    or until there is no room.
    """
    return node.blobs.put(link, sha256, size, offset, bytes(data), sources or [])


@method("GetBlob", level="device")
def get_blob(node: Any, link: LinkPort, sha256: str = "", offset: int = 0, size: int = 0) -> GetBlobAnswer:
    """Return a range of a blob; of one that is on its way here, when it has come."""
    return node.blobs.read_range(sha256, offset, size)


@method("HasBlob", level="device")
def has_blob(node: Any, link: LinkPort, sha256: str = "") -> HasBlobAnswer:
    """Say how much of a blob is here."""
    return node.blobs.state_of(sha256)


@method("DropBlob", level="work")
def drop_blob(node: Any, link: LinkPort, sha256: str = "") -> DropBlobAnswer:
    """Need a blob no more: it is deleted unless others need it."""
    return DropBlobAnswer(node.blobs.disowned(link.verified_id or link.peer.node_id, sha256))
