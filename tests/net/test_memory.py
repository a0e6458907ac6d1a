"""Memory for attachments is writable, of the right size, and goes back when nobody looks at it any more."""

from __future__ import annotations

import pytest

from discompute_lite.net.memory import AGAIN_BYTES, HUGE_PAGE_BYTES, KEPT_BYTES, AttachmentMemory, allocate_attachment


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


def test_memory_that_nobody_looks_at_any_more_is_given_again():
    memory = AttachmentMemory()
    first = memory.allocate(AGAIN_BYTES)
    first[:] = b"x" * AGAIN_BYTES
    view = memoryview(first)[10:20]
    place = id(first)
    del first
    second = memory.allocate(AGAIN_BYTES)
    assert id(second) != place and bytes(view) == b"x" * 10
    view.release()
    assert id(memory.allocate(AGAIN_BYTES)) == place
    assert len(memory.allocate(AGAIN_BYTES + 1)) == AGAIN_BYTES + 1


def test_what_is_kept_is_bounded_and_what_is_in_use_is_never_given_twice():
    memory = AttachmentMemory()
    in_use = [memory.allocate(AGAIN_BYTES) for _ in range(3 * KEPT_BYTES // AGAIN_BYTES)]
    assert len(set(map(id, in_use))) == len(in_use)
    del in_use[:]
    assert sum(map(len, memory._kept)) == KEPT_BYTES
    memory.allocate(HUGE_PAGE_BYTES), memory.allocate(1)
    assert sum(map(len, memory._kept)) == KEPT_BYTES
