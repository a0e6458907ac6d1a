"""Memory for attachments is writable, of the right size, and goes back when nobody looks at it any more."""

from __future__ import annotations

import sys

import pytest

from discompute_lite.net.memory import (
    AGAIN_BYTES, HUGE_PAGE_BYTES, KEPT_IDLE_S, AttachmentMemory, allocate_attachment,
)


@pytest.mark.parametrize("size", [1, 1000, HUGE_PAGE_BYTES - 1, HUGE_PAGE_BYTES, HUGE_PAGE_BYTES + 12345])
def test_memory_is_writable_from_end_to_end(size):
    memory = allocate_attachment(size)
    assert len(memory) == size
    view = memoryview(memory)
    view[0:1] = view[size - 1:size] = b"x"
    assert bytes(view[:1]) + bytes(view[-1:]) == b"xx"


def test_without_maps_it_is_a_bytearray(monkeypatch):
    import mmap

    def refuse(*arguments, **named):
        raise OSError("no more maps")

    monkeypatch.setattr(mmap, "mmap", refuse)
    assert isinstance(allocate_attachment(HUGE_PAGE_BYTES), bytearray)
    monkeypatch.setitem(sys.modules, "mmap", None)
    assert isinstance(allocate_attachment(HUGE_PAGE_BYTES), bytearray)


MOST = 1 << 20


class Timers:
    """A loop of nothing but time."""

    def __init__(self):
        self.time, self.calls = 100.0, []

    def now(self):
        return self.time

    def call_later(self, delay_s, callback):
        self.calls.append((self.time + delay_s, callback))

    def pass_time(self, seconds):
        until = self.time + seconds
        while self.calls and self.calls[0][0] <= until:
            self.time, callback = self.calls.pop(0)
            callback()
        self.time = until


@pytest.fixture
def timers():
    return Timers()


@pytest.fixture
def memory(timers):
    return AttachmentMemory(timers.now, timers.call_later)


def test_memory_that_nobody_looks_at_any_more_is_given_again(memory):
    first = memory.allocate(AGAIN_BYTES, MOST)
    first[:] = b"x" * AGAIN_BYTES
    view = memoryview(first)[10:20]
    place = id(first)
    del first
    second = memory.allocate(AGAIN_BYTES, MOST)
    assert id(second) != place and bytes(view) == b"x" * 10
    view.release()
    assert id(memory.allocate(AGAIN_BYTES, MOST)) == place
    assert len(memory.allocate(AGAIN_BYTES + 1, MOST)) == AGAIN_BYTES + 1


def test_what_was_given_last_is_given_again_first(memory):
    held = [memory.allocate(AGAIN_BYTES, MOST) for _ in range(3)]
    first, second, third = map(id, held)
    del held[1:]
    assert id(memory.allocate(AGAIN_BYTES, MOST)) == third
    held.append(memory.allocate(AGAIN_BYTES, MOST))
    assert id(memory.allocate(AGAIN_BYTES, MOST)) == second
    del held[:]
    assert id(memory.allocate(AGAIN_BYTES, MOST)) == second != first


def test_what_is_kept_is_bounded_and_what_is_in_use_is_never_given_twice(memory):
    in_use = [memory.allocate(AGAIN_BYTES, MOST) for _ in range(3 * MOST // AGAIN_BYTES)]
    assert len(set(map(id, in_use))) == len(in_use)
    del in_use[:]
    assert memory.kept_bytes == MOST
    memory.allocate(HUGE_PAGE_BYTES, MOST), memory.allocate(1, MOST), memory.allocate(MOST + 1, MOST)
    assert memory.kept_bytes == MOST


def test_what_is_not_wanted_for_a_while_goes_back_and_then_nothing_is_waited_for(memory, timers):
    memory.allocate(AGAIN_BYTES, MOST)
    memory.allocate(2 * AGAIN_BYTES, MOST)
    timers.pass_time(KEPT_IDLE_S * 0.6)
    memory.allocate(AGAIN_BYTES, MOST)
    timers.pass_time(KEPT_IDLE_S * 0.6)
    assert memory.kept_bytes == AGAIN_BYTES
    timers.pass_time(KEPT_IDLE_S)
    assert memory.kept_bytes == 0 and not timers.calls
    memory.allocate(AGAIN_BYTES, MOST)
    assert timers.calls


def test_what_is_in_use_when_it_goes_back_stays_with_its_user(memory, timers):
    held = memory.allocate(AGAIN_BYTES, MOST)
    held[:3] = b"abc"
    timers.pass_time(3 * KEPT_IDLE_S)
    memory.allocate(AGAIN_BYTES, MOST)[:3] = b"xyz"
    assert held[:3] == b"abc" and memory.kept_bytes == AGAIN_BYTES
