"""Memory for attachments is writable, of the right size, and goes back when nobody looks at it any more."""

from __future__ import annotations

import pytest

from discompute_lite.net.memory import HUGE_PAGE_BYTES, allocate_attachment


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
