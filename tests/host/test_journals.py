"""Journals on the disk: what is said to be kept is there, in order; a full disk is said, nothing is there twice."""

import os
import queue
import stat
import threading

import pytest

from discompute_lite.host import journals as journals_module
from discompute_lite.host.journals import JournalFolder
from discompute_lite.model.errors import StateError


class Keeper:
    """A folder of journals, and the loop whose thread this is."""

    def __init__(self, path, **options):
        self._posted = queue.Queue()
        self.folder = JournalFolder(str(path), lambda callback, *words: self._posted.put((callback, words)), **options)
        self.heard = []

    def ask(self):
        """Ask to be told when all is written."""
        self.folder.when_written(self.heard.append)

    def turn(self):
        """Let one thing that the disk's thread posted happen."""
        callback, words = self._posted.get(timeout=30)
        callback(*words)

    def settle(self):
        """Let everything that was asked for be on the disk."""
        before = len(self.heard)
        self.ask()
        while len(self.heard) == before:
            self.turn()
        return self.heard[-1]


@pytest.fixture
def keeper(tmp_path):
    keeper = Keeper(tmp_path / "journals", retry_s=0.01)
    yield keeper
    keeper.folder.close()


def fresh(keeper):
    """What a node that starts now reads."""
    return JournalFolder(keeper.folder.path, lambda *posted: None).read_all()


def test_nothing_asked_for_is_nothing_written(keeper, tmp_path):
    keeper.ask()
    assert keeper.heard == [""] and not (tmp_path / "journals").exists() and fresh(keeper) == {}


def test_lines_are_there_in_order_when_it_is_said(keeper):
    for number in range(50):
        keeper.folder.append("a", b"%d\n" % number)
        keeper.folder.append("b", b"x")
    assert keeper.heard == [] and keeper.settle() == ""
    assert fresh(keeper) == {"a": b"".join(b"%d\n" % number for number in range(50)), "b": b"x" * 50}


def test_journals_are_replaced_and_removed_in_the_order_asked(keeper):
    folder = keeper.folder
    folder.append("a", b"1")
    folder.replace("a", b"2")
    folder.append("a", b"3")
    folder.append("b", b"1")
    folder.remove("b")
    folder.append("c", b"1")
    folder.remove("c")
    folder.append("c", b"2")
    assert keeper.settle() == "" and fresh(keeper) == {"a": b"23", "c": b"2"}
    folder.append("a", b"4")
    folder.remove("c")
    assert keeper.settle() == "" and fresh(keeper) == {"a": b"234"}


def test_a_node_that_starts_again_goes_on_behind_what_is_there(keeper):
    keeper.folder.append("a", b"1")
    keeper.settle()
    second = Keeper(keeper.folder.path)
    assert second.folder.read_all() == {"a": b"1"}
    second.folder.append("a", b"2")
    second.settle()
    assert fresh(keeper) == {"a": b"12"}


def test_what_comes_while_the_disk_is_busy_is_synced_once(keeper, monkeypatch):
    began, may_end, syncs = threading.Event(), threading.Event(), []

    def slow_sync(descriptor):
        syncs.append(descriptor)
        began.set()
        assert may_end.wait(30)

    monkeypatch.setattr(journals_module, "sync_file", slow_sync)
    keeper.folder.append("a", b"0")
    assert began.wait(30)
    for number in range(100):
        keeper.folder.append("a", b"%d" % (number % 10))
    may_end.set()
    assert keeper.settle() == "" and len(syncs) == 2 and len(fresh(keeper)["a"]) == 101


def test_nobody_is_told_before_the_sync_is_over(keeper, monkeypatch):
    began, may_end = threading.Event(), threading.Event()
    monkeypatch.setattr(journals_module, "sync_file", lambda descriptor: (began.set(), may_end.wait(30)))
    keeper.folder.append("a", b"0")
    keeper.ask()
    assert began.wait(30) and keeper._posted.empty() and keeper.heard == []
    may_end.set()
    keeper.turn()
    assert keeper.heard == [""]


def test_row_37_a_full_disk_is_said_and_later_everything_is_there_once(keeper, monkeypatch):
    real_write, is_full = os.write, True

    def write(descriptor, data):
        if is_full and bytes(data[:1]) == b"B":
            real_write(descriptor, data[:3])  # As a full disk does: a part, then nothing.
            raise OSError(28, "No space left on device")
        return real_write(descriptor, data)

    keeper.folder.append("z", b"first\n")
    keeper.settle()
    monkeypatch.setattr(journals_module.os, "write", write)
    keeper.folder.append("a", b"Aaaaa\n")
    keeper.folder.append("z", b"Bbbbb\n")
    keeper.heard.clear()
    keeper.ask()
    while not keeper.heard:
        keeper.turn()
    assert "the disk is full; free some space" in keeper.heard[0] and keeper.folder.problem == keeper.heard[0]
    is_full = False
    while keeper.settle():
        pass
    assert keeper.folder.problem == "" and fresh(keeper) == {"a": b"Aaaaa\n", "z": b"first\nBbbbb\n"}


def test_row_37_what_a_failed_sync_may_have_lost_is_written_anew(keeper, monkeypatch):
    real_sync, is_broken = journals_module.sync_file, True

    def sync(descriptor):
        if is_broken:
            os.ftruncate(descriptor, len(b"first\n"))  # The system drops what it could not write, and says so once.
            raise OSError(5, "Input/output error")
        real_sync(descriptor)

    keeper.folder.append("z", b"first\n")
    keeper.settle()
    monkeypatch.setattr(journals_module, "sync_file", sync)
    keeper.folder.append("z", b"second\n")
    assert "cannot be used" in keeper.settle()
    is_broken = False
    keeper.folder.append("z", b"third\n")
    while keeper.settle():
        pass
    assert keeper.folder.problem == "" and fresh(keeper) == {"z": b"first\nsecond\nthird\n"}


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "journals").write_text("a file is in the way")
    keeper = Keeper(tmp_path / "journals", retry_s=0.01)
    keeper.folder.append("a", b"1")
    assert "choose another folder" in keeper.settle()
    keeper.folder.close()


def test_what_was_asked_for_is_written_before_the_end(keeper):
    keeper.folder.append("a", b"1")
    keeper.folder.close()
    assert fresh(keeper) == {"a": b"1"}


def test_only_the_owner_may_read(keeper):
    if os.name != "posix":
        pytest.skip("needs POSIX modes")
    keeper.folder.append("a", b"1")
    keeper.settle()
    path = keeper.folder.path
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(os.path.join(path, "a.journal")).st_mode) == 0o600


def test_links_are_not_followed(keeper, tmp_path):
    if os.name != "posix":
        pytest.skip("needs links")
    keeper.folder.append("a", b"1")
    keeper.settle()
    (tmp_path / "journals" / "b.journal").symlink_to(tmp_path / "journals" / "a.journal")
    with pytest.raises(StateError):
        fresh(keeper)


def test_damaged_bytes_are_kept_beside(keeper, tmp_path):
    keeper.folder.append("a", b"good\n")
    keeper.settle()
    kept = keeper.folder.keep_aside("a", b"good\nbad")
    assert (tmp_path / "journals" / "a.damaged").read_bytes() == b"good\nbad" and kept.endswith("a.damaged")
    assert fresh(keeper) == {"a": b"good\n"}
