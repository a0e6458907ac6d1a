"""A request that was written ahead: of the node, which takes it back, and the child, which reads it, one gets it."""

from __future__ import annotations

import os
import sys

import pytest

from discompute_lite.host import child
from discompute_lite.host.child import pack_request
from discompute_lite.host.request_pipe import RequestPipe
from discompute_lite.tasks.work import WorkRequest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes wait for their reader there")

BEFORE, AHEAD = (b"".join(pack_request(WorkRequest("run", "echo", data, "t/0.1"))) for data in (b"before", b"7"))


@pytest.fixture
def pipe():
    pipe = RequestPipe()
    yield pipe
    pipe.close()


def rest_of(pipe):
    try:
        return os.read(pipe.child_end, 1 << 17)
    except BlockingIOError:
        return b""


@pytest.mark.parametrize("read", range(len(BEFORE) + len(AHEAD) + 1))
def test_it_is_taken_back_whole_or_not_at_all_whatever_the_child_has_read(pipe, read):
    os.write(pipe.fd, BEFORE)
    os.write(pipe.fd, AHEAD)
    seen = os.read(pipe.child_end, read) if read else b""
    is_back = pipe.take_back(len(AHEAD))
    assert is_back == (read <= len(BEFORE))
    assert seen + rest_of(pipe) == (BEFORE if is_back else BEFORE + AHEAD)


def test_long_ones_before_it_are_put_back_whole(pipe):
    before = bytes(range(256)) * 150
    os.write(pipe.fd, before)
    os.write(pipe.fd, AHEAD * 100)
    assert pipe.take_back(100 * len(AHEAD)) and rest_of(pipe) == before


def test_nothing_is_taken_back_twice_nor_from_a_child_that_is_gone(pipe):
    os.write(pipe.fd, AHEAD)
    assert pipe.take_back(len(AHEAD)) and not pipe.take_back(len(AHEAD))
    os.write(pipe.fd, AHEAD)
    pipe.close()
    pipe.close()
    assert not pipe.take_back(len(AHEAD))


@pytest.mark.parametrize("first", range(1, len(BEFORE)))
def test_the_child_reads_a_request_and_no_byte_of_the_next(pipe, monkeypatch, first):
    def wait(fd):
        os.write(pipe.fd, BEFORE[first:] + AHEAD)

    monkeypatch.setattr(child, "_wait_readable", wait)
    os.write(pipe.fd, BEFORE[:first])
    assert child._next_request(pipe.child_end).data == b"before" and pipe.take_back(len(AHEAD))
