"""Whoever leads a training reaches the vectors of its node, be that in the same process or beside it."""

import pytest

from discompute_lite.faces.vector_ports import FarVectorPorts, VectorPorts
from discompute_lite.model.errors import LinkClosed, StateError


class Here:
    """Stand for the vectors of a node in this process."""

    def __init__(self):
        self.memory = {}

    def make(self, name, size):
        self.memory[name] = bytearray(size)
        return self.memory[name]

    def find(self, name, size):
        return self.memory.get(name)

    def ask(self, device_id, method, params, on_reply, timeout_s):
        on_reply({"device": device_id, "method": method, "within": timeout_s}, None)


class There(Here):
    """Stand for those of a node beside, which takes ranges of three bytes."""

    range_bytes, is_gone = 3, False

    def __init__(self):
        super().__init__()
        self.ranges = []

    def keep_range(self, name, size, offset, data):
        if self.is_gone:
            raise LinkClosed("the connection broke")
        self.ranges.append(offset)
        self.memory.setdefault(name, bytearray(size))[offset:offset + len(data)] = data

    def read_range(self, name, offset, size):
        if name not in self.memory:
            raise StateError("it is not there")
        return bytes(self.memory[name][offset:offset + size])


def ports_to(vectors):
    kind = FarVectorPorts if isinstance(vectors, There) else VectorPorts
    return kind("own", vectors, lambda call: call(), lambda question: question())


def fill(memory):
    memory[:] = b"01234567"


@pytest.mark.parametrize("vectors", [Here(), There()])
def test_a_vector_that_is_kept_can_be_read(vectors):
    ports = ports_to(vectors)
    ports.keep("x", 8, fill)
    assert bytes(vectors.memory["x"]) == bytes(ports.read("x", 8)) == b"01234567"
    assert ports.read("y", 8) is None and not ports.is_gone


def test_to_a_node_beside_it_goes_in_ranges():
    vectors = There()
    ports_to(vectors).keep("x", 8, fill)
    assert vectors.ranges == [0, 3, 6]


def test_a_node_beside_that_goes_away_is_an_error_of_whoever_keeps_something():
    vectors = There()
    ports = ports_to(vectors)
    vectors.is_gone = True
    assert ports.is_gone
    with pytest.raises(LinkClosed):
        ports.keep("x", 8, fill)


@pytest.mark.parametrize("vectors", [Here(), There()])
def test_answers_come_to_the_thread_that_waits_for_them(vectors):
    ports, waiting, came = ports_to(vectors), [], []
    ports.deliver = waiting.append
    ports.ask("a", "JoinTraining", {}, lambda result, error: came.append(result), 5.0)
    assert came == []
    waiting[0]()
    assert came == [{"device": "a", "method": "JoinTraining", "within": 5.0}]
