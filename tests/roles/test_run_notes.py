"""What ran for others is written down with its hash, which is made a piece at a time."""

from __future__ import annotations

import hashlib

import pytest

from discompute_lite.model.limits import MIB
from discompute_lite.roles.run_notes import HASHED_AT_ONCE, RunNotes


class SlowNode:
    """A node whose posted callbacks run one at a time, when a test says so."""

    def __init__(self):
        self.clock = self.world = self.audit = self
        self.posted, self.notes = [], []

    def post(self, callback):
        self.posted.append(callback)

    def note(self, what, facts):
        self.notes.append((what, facts))

    def turn(self):
        self.posted.pop()()
        assert len(self.posted) <= 1


def facts_of(data, sender):
    return "ran", {"sender": sender, "size": len(data), "data": hashlib.sha256(data).hexdigest()}


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB])
def test_what_is_small_is_noted_at_once(size):
    node, data = SlowNode(), b"x" * size
    RunNotes(node).ended({"sender": "b"}, data)
    assert node.notes == [facts_of(data, "b")] and node.posted == []


def test_what_is_large_is_hashed_between_other_events_and_what_ended_later_is_noted_later():
    node, data, later = SlowNode(), bytearray(range(256)) * (3 * MIB // 256) + b"end", b"small"
    notes = RunNotes(node)
    notes.ended({"sender": "b"}, memoryview(data))
    notes.ended({"sender": "c"}, later)
    turns = 0
    while node.posted:
        assert node.notes == []
        node.turn()
        turns += 1
    assert turns == len(data) // HASHED_AT_ONCE
    assert node.notes == [facts_of(bytes(data), "b"), facts_of(later, "c")]


def test_at_the_end_of_a_node_nothing_stays_unsaid():
    node, data = SlowNode(), b"y" * (2 * MIB)
    notes = RunNotes(node)
    for sender in "bc":
        notes.ended({"sender": sender}, data)
    notes.finish()
    assert node.notes == [facts_of(data, sender) for sender in "bc"]
    node.turn()
    assert len(node.notes) == 2 and node.posted == []
