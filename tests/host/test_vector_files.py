"""Vectors lie in files that the node and its workers map into memory at the same time."""

import os
import threading

import pytest

from discompute_lite.host import vector_files
from discompute_lite.host.vector_files import VectorFiles
from discompute_lite.model.errors import StateError


@pytest.fixture
def files(tmp_path):
    return VectorFiles(str(tmp_path / "vectors"))


def test_what_one_writes_the_other_reads(files):
    memory = files.make("a-s1", 8)
    memory[:] = b"12345678"
    assert bytes(files.find("a-s1")) == b"12345678"
    with open(os.path.join(files.folder, "a-s1"), "rb") as file:
        assert file.read() == b"12345678"


def test_a_file_that_a_worker_left_is_a_vector(files):
    with open(os.path.join(files.folder, "a-o1"), "wb") as file:
        file.write(b"abcd")
    assert bytes(files.find("a-o1")) == b"abcd"


def test_what_is_found_is_the_finders_own(files):
    files.make("a-s1", 8)
    found = files.find("a-s1")
    found[0] = 1
    assert bytes(found) == b"\1" + bytes(7) and bytes(files.find("a-s1")) == bytes(8)
    files.remove("a-s1")
    assert bytes(found) == b"\1" + bytes(7)


def test_what_is_not_there_or_empty_is_none(files):
    open(os.path.join(files.folder, "empty"), "wb").close()
    assert files.find("a-s1") is None and files.find("empty") is None


def test_a_new_one_takes_the_place_of_an_old_one(files):
    old = files.make("a-s1", 8)
    old[:] = b"12345678"
    assert bytes(files.make("a-s1", 4)) == bytes(4)
    assert bytes(old) == b"12345678"


def test_one_is_removed_and_none_whose_name_goes_on(files):
    for name in ("a-o1", "a-o10", "a-o12"):
        files.make(name, 8)
    files.remove("a-o1")
    files.remove("a-o1")
    assert sorted(os.listdir(files.folder)) == ["a-o10", "a-o12"]


def test_all_of_a_training_are_removed(files):
    for name in ("a-s1", "a-o1", "b-s1"):
        files.make(name, 8)
    files.remove_all("a-")
    files.remove_all("c-")
    assert os.listdir(files.folder) == ["b-s1"]


def test_a_folder_that_is_gone_is_said(files):
    os.rmdir(files.folder)
    with pytest.raises(StateError, match="make room"):
        files.make("a-s1", 8)
    files.remove("a-s1")
    files.remove_all("a-")


def test_what_a_killed_node_left_is_swept(files):
    files.make("a-s1", 8)
    assert os.listdir(VectorFiles(files.folder).folder) == []


def test_a_vector_is_written_part_by_part(files):
    files.make("a-s1", 3)
    files.reserve("a-s1", 8)
    files.write("a-s1", 4, memoryview(b"5678"))
    assert bytes(files.find("a-s1")) == bytes(4) + b"5678"
    files.write("a-s1", 0, b"1234")
    assert bytes(files.find("a-s1")) == b"12345678"
    files.remove("a-s1")
    with pytest.raises(StateError, match="scratch cannot be used"):
        files.write("a-s1", 0, b"1234")


def test_what_adds_up_is_loaded_by_another_thread(files, monkeypatch):
    asked = []
    monkeypatch.setattr(vector_files, "optional_module", lambda name: asked.append((name, threading.current_thread())))
    files.prepare()
    for thread in threading.enumerate():
        if thread.name == "numpy":
            thread.join()
    assert [(name, thread is threading.current_thread()) for name, thread in asked] == [("numpy", False)]
