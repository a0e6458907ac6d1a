"""Reach the vectors of a training from the thread that leads it: those of the node in this process, or beside it.

Knows:   the way to the node's thread, and in which pieces a vector travels to another process.
Refuses: to know what is asked of devices and why (faces/averaging.py does), which phones do without.
Read next: faces/averaging.py, roles/vectors.py (the node's), roles/far_vectors.py (of a node beside).
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, Optional

from ..model.errors import DiscomputeError


class VectorPorts:
    """Reach the vectors of a node in this process, from another thread."""

    def __init__(self, own_id: str, vectors: Any, post: Callable[..., None], ask: Callable[[Callable[[], Any]], Any],
                 ) -> None:
        """`post` and `ask` bring something to the loop's thread, and wait for what it gives."""
        self.own_id = own_id
        self._vectors = vectors
        self._post, self._ask = post, ask
        #: Called with each reply, on the loop's thread: brings it to the thread that waits for it.
        self.deliver: Callable[[Callable[[], Any]], None] = lambda reply: None

    @property
    def is_gone(self) -> bool:
        """Whether the node has gone away, and all vectors with it."""
        return False

    def ask(self, device_id: str, method: str, params: Dict[str, Any], on_reply: Callable[[Any, Any], None],
            timeout_s: Optional[float] = None) -> None:
        """Call a method of vectors on a device."""
        def replied(result: Any, error: Any) -> None:
            self.deliver(partial(on_reply, result, error))

        self._post(lambda: self._vectors.ask(device_id, method, params, replied, timeout_s))

    def keep(self, name: str, size: int, fill: Callable[[Any], None]) -> None:
        """Keep a new vector on this machine: `fill(memory)` writes it. Raises StateError where there is no room."""
        fill(self._ask(partial(self._vectors.make, name, size)))

    def read(self, name: str, size: int) -> Any:
        """Return the memory of a vector that is on this machine, or None."""
        return self._ask(partial(self._vectors.find, name, size))


class FarVectorPorts(VectorPorts):
    """Reach the vectors of a node that runs beside this process: they travel, a range after the other."""

    @property
    def is_gone(self) -> bool:
        """Whether the node has gone away, and all vectors with it."""
        return bool(self._vectors.is_gone)

    def keep(self, name: str, size: int, fill: Callable[[Any], None]) -> None:
        """Bring a new vector to the node; raise StateError where it has no room, LinkError where it is gone."""
        memory = memoryview(bytearray(size))
        fill(memory)
        step = self._vectors.range_bytes
        for offset in range(0, size, step):
            self._ask(partial(self._vectors.keep_range, name, size, offset, memory[offset:offset + step]))

    def read(self, name: str, size: int) -> Any:
        """Return a copy of a vector that the node has, or None."""
        memory, step = memoryview(bytearray(size)), self._vectors.range_bytes
        try:
            for offset in range(0, size, step):
                end = min(size, offset + step)
                memory[offset:end] = self._ask(partial(self._vectors.read_range, name, offset, end - offset))
        except DiscomputeError:
            return None
        return memory
