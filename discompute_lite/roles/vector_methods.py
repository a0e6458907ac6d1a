"""Name the methods by which devices average vectors between them: what `roles/methods.py` is for the rest.

Knows:   each method's name, parameters, answer and who may call it.
Refuses: to do the work.
Read next: roles/vectors.py (where vectors lie), roles/averaging.py (how they are averaged).

A vector is called <training>-<name>: the training's 32 hexadecimal digits are chance, known to those who take part.
Whoever leads a training may send work here, and asks for all of it; pieces come from the device that the leader named
as the one before this one, and from nobody else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, List, Optional

from .methods import method
from .ports import LinkPort


@dataclass(frozen=True)
class VectorAnswer:
    """Say whether it was done."""

    success: bool = False
    message: str = ""


@dataclass(frozen=True)
class GetVectorAnswer:
    """Return a range of a vector."""

    success: bool = False
    message: str = ""
    data: bytes = b""


@dataclass(frozen=True)
class AverageAnswer:
    """Say how an average went here: `lost` did not do their part, `unreached` have no link from here."""

    success: bool = False
    message: str = ""
    lost: List[str] = field(default_factory=list)
    unreached: List[str] = field(default_factory=list)
    sent_bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class AverageWish:
    """Describe one average, to one of those who take part."""

    #: What the result is called.
    name: str = ""
    #: All who take part, in the same order for each.
    members: List[str] = field(default_factory=list)
    #: "ring", "chain" or "star", and the index of its root.
    shape: str = ""
    root: int = 0
    #: The vectors' numbers: "f" or "d", and how many; and whether sums of float32 are computed in float64.
    code: str = ""
    numbers: int = 0
    is_wide: bool = False
    #: Numbers of a piece, the same for all members; 0 for as many as suit so many members.
    piece: int = 0
    #: This device's own vectors, and what each is multiplied by.
    shares: List[str] = field(default_factory=list)
    weights: List[float] = field(default_factory=list)
    #: Vectors that are not needed any more.
    drops: List[str] = field(default_factory=list)
    #: How pieces are compressed: "", "float16" or "top-k", and the part of its own that this device then sends.
    compression: str = ""
    top_k: float = 1.0
    #: A vector here that the mean is added to; what this device did not send earlier, which is added to its shares; and
    #: what it is to keep so from this average. "" for none.
    start: str = ""
    residual: str = ""
    remainder: str = ""


@method("JoinTraining", level="work")
def join_training(node: Any, link: LinkPort, training_id: str = "", numbers: int = 0) -> VectorAnswer:
    """Take part in a training of so many numbers; its vectors are kept here until the caller leaves, or is gone."""
    return node.averaging.vectors.join(link, training_id, numbers)


@method("LeaveTraining", level="work")
def leave_training(node: Any, link: LinkPort, training_id: str = "") -> VectorAnswer:
    """Forget a training of the caller's with all its vectors."""
    return node.averaging.vectors.leave(link, training_id)


@method("FetchVector", level="work")
def fetch_vector(
    node: Any, link: LinkPort, name: str = "", size: int = 0, sources: Optional[List[str]] = None,
    drops: Optional[List[str]] = None,
) -> VectorAnswer:
    """Forget the vectors `drops`, then fetch one from the first of `sources` that has it; answered when it is here."""
    return node.averaging.vectors.fetch(link, name, size, sources or [], drops or [])


@method("GetVector", level="device")
def get_vector(node: Any, link: LinkPort, name: str = "", offset: int = 0, size: int = 0) -> GetVectorAnswer:
    """Return a range of a vector; of one that is on its way here, when it has come."""
    return node.averaging.vectors.read_range(name, offset, size)


@method("AverageVectors", level="work", form=AverageWish)
def average_vectors(node: Any, link: LinkPort, wish: AverageWish) -> AverageAnswer:
    """Average vectors with other devices, as one of `members`; answered when this device's part is done."""
    return node.averaging.begin(link, wish)


@method("StopAverage", level="work")
def stop_average(node: Any, link: LinkPort, name: str = "") -> VectorAnswer:
    """Give up an average that is under way, by the name of its result; its shares stay."""
    return node.averaging.stop(link, name)


@method("AveragePiece", level="device")
def average_piece(
    node: Any, link: LinkPort, name: str = "", piece: int = 0, hop: int = 0, data: bytes = b""
) -> VectorAnswer:
    """Take a piece of a sum from the device that stands before this one; where it is too early, send it again."""
    return node.averaging.piece_came(link, name, piece, hop, data)
