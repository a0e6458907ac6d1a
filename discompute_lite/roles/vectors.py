"""Keep the vectors of trainings on this device, and bring them to those that lack one: from whoever has it.

Knows:   which trainings this device takes part in, who leads each, and which vectors are here or on their way.
Refuses: to average them (roles/averaging.py does), to know what their numbers mean (ml/vectors.py does).
Read next: roles/vector_methods.py (the calls), roles/averaging.py, roles/arriving.py (how one is fetched).
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Sequence

from ..ml.sums import is_numpy_worth_it
from ..model.codec import to_json
from ..model.errors import DiscomputeError, Forbidden, InvalidParams, StateError, Unreachable
from .arriving import Arriving, OnHere, check_range
from .methods import METHODS
from .ports import Later, LinkPort, OnReply, VectorsPort
from .vector_methods import GetVectorAnswer, VectorAnswer

#: Trainings that a device takes part in at once; beyond it the oldest goes, whose leader will notice.
TRAININGS = 64
_TRAINING = re.compile("[0-9a-f]{32}")
_VECTOR = re.compile("([0-9a-f]{32})-[a-z0-9]{1,32}")


class ArrivingVector(Arriving):
    """Write a vector that is on its way here into its memory."""

    noun, method = "vector", "GetVector"

    def __init__(self, node: Any, name: str, memory: Any, on_over: OnHere) -> None:
        super().__init__(node, {"name": name}, len(memory), on_over)
        self.memory = memory

    def keep(self, offset: int, piece: bytes) -> str:
        """Put a piece in its place."""
        self.memory[offset:offset + len(piece)] = piece
        return ""


class NewVector:
    """Take the bytes of a vector that is not whole yet, as memory does: `new[from:to] = bytes`."""

    def __init__(self, port: VectorsPort, name: str) -> None:
        self._port, self._name = port, name

    def __setitem__(self, place: slice, data: Any) -> None:
        """Write a part; raise StateError where that fails."""
        self._port.write(self._name, place.start, data)


class Vectors:
    """Hold the vectors of one node."""

    #: Their memory is that of this process.
    is_here = True

    def __init__(self, node: Any, training_over: Callable[[str], None]) -> None:
        """`training_over(training)` is called before its vectors are forgotten."""
        self._node, self._training_over = node, training_over
        self._port = node.world.vectors
        limits = node.settings_limits
        self._range_bytes, self._most_bytes = limits.blob_range_bytes, limits.vector_bytes
        #: Training -> who leads it.
        self.trainings: Dict[str, str] = {}
        self._arriving: Dict[str, ArrivingVector] = {}
        #: Bytes of the vectors that this node made itself; its workers' own are bounded as all that they write.
        self._sizes: Dict[str, int] = {}

    # ---- trainings -----------------------------------------------------------------------------------

    def join(self, link: Optional[LinkPort], training_id: str, numbers: int) -> VectorAnswer:
        """Take part in a training; raise `Forbidden` where this device's rules are against it."""
        if not _TRAINING.fullmatch(training_id):
            raise InvalidParams("a training is named by 32 hexadecimal digits")
        who = self._node.belonging.sender_of(link) if link is not None else None
        refusal = self._node.rules.refusal_of_data(who) if who is not None else None
        if refusal is not None:
            raise refusal
        leader = self.trainings.setdefault(training_id, self.caller(link))
        if leader != self.caller(link):
            raise Forbidden("another device leads that training", {"rule": "training"})
        while len(self.trainings) > TRAININGS:
            self._forget(next(iter(self.trainings)))
        if not self._port.folder:
            return VectorAnswer(False, "work here runs where it cannot leave vectors")
        if is_numpy_worth_it(numbers):
            self._port.prepare()
        return VectorAnswer(True, "joined")

    def leave(self, link: Optional[LinkPort], training_id: str) -> VectorAnswer:
        """Forget a training."""
        if self.trainings.get(training_id) != self.caller(link):
            return VectorAnswer(False, "you lead no such training")
        self._forget(training_id)
        return VectorAnswer(True, "left")

    def device_lost(self, device_id: str) -> None:
        """A device is gone, and the trainings that it leads with it."""
        for training_id in [each for each, leader in self.trainings.items() if leader == device_id]:
            self._forget(training_id)

    def caller(self, link: Optional[LinkPort]) -> str:
        """Return which device calls; without a link it is this one."""
        return self._node.id if link is None else link.verified_id or link.peer.node_id or self._node.id

    def check_led(self, link: Optional[LinkPort], name: str) -> None:
        """Raise `Forbidden` unless the caller leads the training of a vector."""
        if self.trainings.get(self.training_of(name)) != self.caller(link):
            raise Forbidden("you lead no such training; join the device to it first", {"rule": "training"})

    def training_of(self, name: str) -> str:
        """Return the training of a vector; raise `InvalidParams` for what is no vector's name."""
        found = _VECTOR.fullmatch(name)
        if found is None:
            raise InvalidParams("a vector is named by its training's 32 hexadecimal digits, a hyphen, and a word")
        return found.group(1)

    # ---- vectors -------------------------------------------------------------------------------------

    def make(self, name: str, size: int) -> Any:
        """Return memory for a new vector; raise StateError where there is no room for it."""
        self._check_room(size)
        memory = self._port.make(name, size)
        self._sizes[name] = size
        return memory

    def make_to_write(self, name: str, size: int) -> NewVector:
        """Return what takes the bytes of a new vector; raise StateError where there is no room for it."""
        self._check_room(size)
        self._port.reserve(name, size)
        self._sizes[name] = size
        return NewVector(self._port, name)

    def find(self, name: str, size: int) -> Optional[Any]:
        """Return the memory of a vector that is here, whole and of this size, or None."""
        memory = None if name in self._arriving else self._port.find(name)
        return memory if memory is not None and len(memory) == size else None

    def drop(self, name: str) -> None:
        """Forget a vector."""
        if name in self._arriving:
            self._arriving[name].give_up("that vector is here no more; ask another device")
        else:
            self._remove(name)

    def drop_all(self, names: Sequence[str], training_id: str) -> None:
        """Forget vectors of a training; raise `InvalidParams` where one is of another."""
        if any(self.training_of(name) != training_id for name in names):
            raise InvalidParams("all vectors that a call names belong to one training")
        for name in names:
            self.drop(name)

    def fetch(self, link: Optional[LinkPort], name: str, size: int, sources: List[str], drops: List[str]) -> Any:
        """Have a vector here."""
        self.check_led(link, name)
        self.drop_all(drops, self.training_of(name))
        if self.find(name, size) is not None:
            return VectorAnswer(True, "it is here")
        arriving = self._arriving.get(name)
        if arriving is None:
            arriving = self._begin(name, size)
        later = Later()
        arriving.when_here(arriving.fetch.size, lambda problem: later.resolve(
            VectorAnswer(not problem, problem or "it is here")))
        arriving.fetch_from(sources)
        return later

    def keep_range(self, name: str, size: int, offset: int, data: bytes) -> None:
        """Take the next range of a vector that the owner brings; raise StateError where there is no room for it."""
        self.check_led(None, name)
        check_range(offset, len(data), size, self._range_bytes)
        if not offset:
            self.drop(name)
            self._begin(name, size)
        arriving = self._arriving.get(name)
        if arriving is None or (arriving.fetch.size, arriving.fetch.received) != (size, offset):
            raise InvalidParams("each range of a vector follows on the one before; begin with the first")
        arriving.put(data)

    def read_range(self, name: str, offset: int, size: int) -> Any:
        """Return a range of a vector, when it is here."""
        if self.training_of(name) not in self.trainings:
            return GetVectorAnswer(False, "that training is not known here; ask another device")
        arriving = self._arriving.get(name)
        memory = self._port.find(name) if arriving is None else arriving.memory
        if memory is None:
            return GetVectorAnswer(False, "that vector is not here; ask another device")
        check_range(offset, size, len(memory), self._range_bytes)
        if arriving is None or offset + size <= arriving.fetch.received:
            return GetVectorAnswer(True, "", memory[offset:offset + size])
        later = Later()
        arriving.when_here(offset + size, lambda problem: later.resolve(
            GetVectorAnswer(not problem, problem, b"" if problem else memory[offset:offset + size])))
        return later

    # ---- calls ---------------------------------------------------------------------------------------

    def ask(self, device_id: str, name: str, params: Dict[str, Any], on_reply: OnReply,
            timeout_s: Optional[float] = None) -> None:
        """Call one of the methods of vectors on a device, this one included; the reply is JSON."""
        if device_id != self._node.id:
            link = self._node.discovery.trusted_link_to(device_id)
            if link is None:
                on_reply(None, Unreachable("there is no link to that device"))
            else:
                link.call(name, params, on_reply, timeout_s=timeout_s)
            return
        method: Any = METHODS.get(name)
        try:
            answer = method.function(self._node, None, **method.read(params))
        except DiscomputeError as error:
            on_reply(None, error)
            return
        if isinstance(answer, Later):
            answer.then(lambda value, error: on_reply(None if error else to_json(value), error))
        else:
            on_reply(to_json(answer), None)

    # ---- coming and going ------------------------------------------------------------------------------

    def _check_room(self, size: int) -> None:
        if not 0 < size <= self._most_bytes - sum(self._sizes.values()):
            raise StateError(f"there is no room for a vector of {size} bytes beside those in use ({self._most_bytes} "
                             "bytes at most)", "raise limits: {vector_bytes: …} there")

    def _begin(self, name: str, size: int) -> ArrivingVector:
        arriving = ArrivingVector(self._node, name, self.make(name, size), partial(self._ended, name))
        self._arriving[name] = arriving
        return arriving

    def _ended(self, name: str, problem: str) -> None:
        """A vector is here, or will not be."""
        del self._arriving[name]
        if problem:
            self._remove(name)

    def _remove(self, name: str) -> None:
        self._sizes.pop(name, None)
        self._port.remove(name)

    def _forget(self, training_id: str) -> None:
        del self.trainings[training_id]
        self._training_over(training_id)
        for name in [name for name in (*self._arriving, *self._sizes) if name.startswith(training_id)]:
            self.drop(name)
        self._port.remove_all(training_id)


