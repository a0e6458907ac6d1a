"""Be to a script what a node's vectors are, though the node that leads its trainings is another process.

Knows:   the connection to that node; once it is gone, so are the vectors.
Refuses: to keep any vector, and to begin anew by another node: the training's leader does without vectors then.
Read next: roles/script_trainings.py (the other end), roles/vectors.py (whose shape this has), faces/vector_ports.py.
"""

from __future__ import annotations

from typing import Any, Dict, Optional

from ..model.codec import from_json
from ..model.errors import DiscomputeError, StateError
from ..model.limits import Limits
from .ports import Later, LinkPort, OnReply
from .vector_methods import GetVectorAnswer


class FarVectors:
    """Reach the vectors of the node beside; all methods belong to the loop's thread."""

    #: Their memory is that of another process.
    is_here = False

    def __init__(self, link: LinkPort, limits: Limits) -> None:
        self._link = link
        #: Bytes that travel at once.
        self.range_bytes = limits.blob_range_bytes

    @property
    def is_gone(self) -> bool:
        """Whether nothing is there any more; any thread may look."""
        return self._link.is_closed

    def ask(self, device_id: str, name: str, params: Dict[str, Any], on_reply: OnReply,
            timeout_s: Optional[float] = None) -> None:
        """Call one of the methods of a training's leader on a device."""
        self._link.call("AskInTraining", {"device_id": device_id, "method": name, "params": params,
                                          "within_s": timeout_s or 0.0}, on_reply)

    def keep_range(self, name: str, size: int, offset: int, data: Any) -> Later:
        """Bring the next range of a vector; fails where there is no room for it, or nobody to keep it."""
        later = Later()

        def kept(result: Any, error: Optional[DiscomputeError]) -> None:
            if error is None:
                later.resolve(None)
            else:
                later.fail(error)

        self._link.call("KeepVector", {"name": name, "size": size, "offset": offset, "data": data}, kept)
        return later

    def read_range(self, name: str, offset: int, size: int) -> Later:
        """Return a range of a vector; fails where that is not there."""
        later = Later()

        def came(result: Any, error: Optional[DiscomputeError]) -> None:
            try:
                answer = from_json(GetVectorAnswer, result, "the answer to GetVector") if error is None else None
            except DiscomputeError as problem:
                error, answer = problem, None
            if answer is not None and answer.success and len(answer.data) == size:
                later.resolve(answer.data)
            else:
                later.fail(error or StateError("the node on this machine has not that vector"))

        self._link.call("GetVector", {"name": name, "offset": offset, "size": size}, came)
        return later
