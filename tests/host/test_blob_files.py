"""Blobs as files: private, read by ranges, gone when they are removed and when another node starts in the folder."""

import errno
import os
import stat

import pytest

from discompute_lite.host.blob_files import BlobFiles
from discompute_lite.host.child import pack_request, unpack_request
from discompute_lite.model.errors import StateError, TaskRejected
from discompute_lite.tasks.work import WorkRequest

NAME = "ab" * 32


@pytest.fixture
def files(tmp_path):
    return BlobFiles(str(tmp_path / "blobs"))


def test_ranges_of_what_was_added_are_read(files):
    files.append(NAME, b"begin")
    files.append(NAME, b"ning")
    assert files.read(NAME, 0, 9) == b"beginning" and files.read(NAME, 3, 4) == b"inni"
    files.remove(NAME)
    files.remove(NAME)
    with pytest.raises(StateError, match="make room"):
        files.read(NAME, 0, 1)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_nobody_else_may_read_them(files, tmp_path):
    files.append(NAME, b"secret")
    assert stat.S_IMODE(os.stat(files.source(NAME)).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(tmp_path / "blobs").st_mode) == 0o700


def test_what_a_killed_node_left_is_swept(files, tmp_path):
    files.append(NAME, b"left")
    BlobFiles(str(tmp_path / "blobs"))
    assert os.listdir(tmp_path / "blobs") == []


def test_row_37_without_room_a_blob_is_refused_and_later_it_is_whole(files, monkeypatch):
    files.append(NAME, b"begin")
    with monkeypatch.context() as full:
        full.setattr(os, "open", no_room)
        with pytest.raises(StateError, match=r"No space left on device.*make room"):
            files.append(NAME, b"ning")
    files.append(NAME, b"ning")
    assert files.read(NAME, 0, 20) == b"beginning"


def no_room(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_folder_that_cannot_be_written_is_told(files, tmp_path):
    os.rmdir(tmp_path / "blobs")
    with pytest.raises(StateError, match="make room"):
        files.append(NAME, b"data")


def test_a_child_reads_them_by_their_path_and_says_when_it_cannot(files):
    files.append(NAME, b"value")
    request = WorkRequest("run", "calls", b"data", "t/0.1", blobs=((NAME, files.source(NAME)),))
    head, data = pack_request(request)
    ((name, read),) = unpack_request((head + data)[4:]).blobs
    assert name == NAME and read() == b"value"
    files.remove(NAME)
    with pytest.raises(TaskRejected, match="call it again"):
        read()
