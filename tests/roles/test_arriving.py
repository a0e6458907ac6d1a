"""What arrives by ranges: whoever waits is told once and in time, and each way in which it fails ends it or goes on."""

from types import SimpleNamespace

import pytest

from discompute_lite.model.errors import InvalidParams, StateError, Unreachable
from discompute_lite.roles.arriving import Arriving, check_range

CONTENT = bytes(range(100))


class Holder:
    """A device that has the content: its answers wait until they are let go."""

    def __init__(self, content=CONTENT):
        self.content, self.asked = content, []

    def call(self, method, params, on_reply, **options):
        assert method == "GetThing" and params["name"] == "it"
        self.asked.append((params["offset"], params["size"], on_reply))

    def answer(self, *, error=None, **result):
        offset, size, on_reply = self.asked.pop(0)
        on_reply({"success": True, "data": self.content[offset:offset + size], **result}, error)

    def answer_all(self):
        while self.asked:
            self.answer()


class Thing(Arriving):
    """What arrives, kept in memory; it is right where it is the content."""

    noun, method = "thing", "GetThing"
    problem = ""

    def keep(self, offset, piece):
        if self.problem:
            raise StateError(self.problem)
        self.kept = (self.kept if offset else b"") + piece
        return "these are others" if len(self.kept) == len(CONTENT) and self.kept != CONTENT else ""


class Place:
    """A device on which a thing arrives from holders, by ranges of 10 bytes."""

    def __init__(self, **holders):
        self.holders, self.told = holders, []
        self.node = SimpleNamespace(
            id="me", settings_limits=SimpleNamespace(blob_range_bytes=10),
            clock=SimpleNamespace(post=lambda callback: callback()),
            discovery=SimpleNamespace(trusted_link_to=self.holders.get),
        )
        self.thing = Thing(self.node, {"name": "it"}, len(CONTENT), lambda problem: self.told.append(("over", problem)))
        for end in (100, 15):
            self.thing.when_here(end, lambda problem, end=end: self.told.append((end, problem)))


def test_whoever_waits_is_told_as_soon_as_his_part_is_here_and_after_the_keeper():
    holder = Holder()
    place = Place(a=holder)
    place.thing.fetch_from(["me", "a"])
    holder.answer()
    assert place.told == []
    holder.answer()
    assert place.told == [(15, "")]
    holder.answer_all()
    assert place.told == [(15, ""), ("over", ""), (100, "")] and place.thing.kept == CONTENT


@pytest.mark.parametrize("fault", [
    {"success": False}, {"error": Unreachable("gone")}, {"data": b"short"}, {"data": 7}, {"success": "perhaps"},
])
def test_after_any_wrong_answer_the_next_holder_is_asked_for_what_is_missing(fault):
    first, second = Holder(), Holder()
    place = Place(a=first, b=second)
    place.thing.fetch_from(["a", "nobody", "b"])
    first.answer()
    first.answer(**fault)
    assert [offset for offset, _, _ in second.asked] == [10, 20]
    second.answer_all()
    first.answer_all()  # Too late.
    assert place.told[-2:] == [("over", ""), (100, "")] and place.thing.kept == CONTENT


def test_when_nobody_is_left_all_are_told_so_once():
    place, holder = Place(), Holder()
    place.holders["a"] = holder
    place.thing.fetch_from(["a"])
    holder.answer(success=False)
    holder.answer()
    reason = "none of the devices that have a thing can be reached"
    assert place.told == [("over", reason), (100, reason), (15, reason)] and not holder.asked


def test_what_cannot_be_kept_is_given_up_once():
    holder = Holder()
    place = Place(a=holder)
    place.thing.problem = "the disk is full"
    place.thing.fetch_from(["a"])
    holder.answer_all()
    place.thing.give_up("something else")
    assert place.told == [("over", "the disk is full"), (100, "the disk is full"), (15, "the disk is full")]


def test_whoever_puts_what_cannot_be_kept_is_told_as_well():
    place = Place()
    place.thing.put(CONTENT[:20])
    place.thing.problem = "the disk is full"
    with pytest.raises(StateError, match="full"):
        place.thing.put(CONTENT[20:30])
    assert place.told == [(15, ""), ("over", "the disk is full"), (100, "the disk is full")]


def test_wrong_bytes_begin_anew_with_another_holder_and_end_it_where_there_is_none():
    wrong, right = Holder(bytes(100)), Holder()
    place = Place(a=wrong, b=right)
    place.thing.fetch_from(["a", "b"])
    wrong.answer_all()
    assert ("over", "") not in place.told and [offset for offset, _, _ in right.asked] == [0, 10]
    right.answer_all()
    assert place.told[-2:] == [("over", ""), (100, "")] and place.thing.kept == CONTENT
    place = Place(a=Holder(bytes(100)))
    place.thing.fetch_from(["a"])
    place.holders["a"].answer_all()
    assert place.told[-2:] == [("over", "these are others"), (100, "these are others")]


@pytest.mark.parametrize("offset, size, is_right", [
    (0, 10, True), (90, 10, True), (99, 1, True), (0, 11, False), (0, 0, False), (-1, 5, False), (91, 10, False),
])
def test_a_range_is_short_and_of_what_there_is(offset, size, is_right):
    if is_right:
        check_range(offset, size, 100, 10)
    else:
        with pytest.raises(InvalidParams, match="1 to 10 bytes"):
            check_range(offset, size, 100, 10)
