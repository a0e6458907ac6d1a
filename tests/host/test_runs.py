"""Journals of runs: one process has one, whatever it is called, and old ones go."""

import os
import queue

import pytest

from discompute_lite.host import folder_lock
from discompute_lite.host.runs import RunJournal, forget_old_runs
from discompute_lite.host.store import StateFolder, open_state
from discompute_lite.model.errors import StateError


def take(folder, run="a"):
    return RunJournal(str(folder), run, lambda *posted: None)


def test_a_run_is_one_process_s_at_a_time_and_is_found_again(tmp_path):
    first = take(tmp_path / "runs", "any/name \ud800")
    with pytest.raises(StateError, match="a name of its own"):
        take(tmp_path / "runs", "any/name \ud800")
    other = take(tmp_path / "runs", "other")
    first.journals.append(first.name, b"line\n")
    first.close()
    again = take(tmp_path / "runs", "any/name \ud800")
    assert again.read() == b"line\n" and other.read() == b""
    again.close(), other.close()


def test_runs_belong_to_the_user_whichever_instance_a_node_is(tmp_path):
    with open_state(str(tmp_path)) as first, open_state(str(tmp_path)) as second:
        assert (first.lock(), second.lock()) == (1, 2)
        posted = queue.Queue()
        run = second.open_run("a", lambda *words: posted.put(words), 100.0)
        run.journals.append(run.name, b"line\n")
    with open_state(str(tmp_path)) as first:
        first.lock()
        assert first.open_run("a", posted.put, 100.0).read() == b"line\n"


def test_without_a_folder_nothing_can_be_kept():
    with pytest.raises(StateError, match="no folder can be written"):
        StateFolder("").open_run("a", lambda *posted: None, 1.0)


def test_old_runs_are_forgotten_unless_somebody_has_them(tmp_path):
    runs = [take(tmp_path, name) for name in ("old", "held", "new")]
    for run in runs:
        run.journals.append(run.name, b"line\n")
    old, held, new = runs
    old.close(), new.close()
    for path in tmp_path.iterdir():
        if not path.name.startswith(new.name):
            os.utime(path, (1000.0, 1000.0))
    forget_old_runs(str(tmp_path), 3600.0)
    assert {path.name.partition(".")[0] for path in tmp_path.iterdir()} == {held.name, new.name}
    held.close()
    forget_old_runs(str(tmp_path / "nowhere"), 1.0)


def test_of_a_run_that_was_killed_its_lock_goes_too(tmp_path):
    run = take(tmp_path)
    for name in ("killed.lock", "killed.journal", "killed-before-any-result.lock"):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (1000.0, 1000.0))
    forget_old_runs(str(tmp_path), 3600.0)
    assert [path.name for path in tmp_path.iterdir()] == [f"{run.name}.lock"]
    run.close()


def test_a_run_that_is_over_leaves_no_file(tmp_path):
    run = take(tmp_path)
    run.journals.append(run.name, b"line\n")
    run.journals.remove(run.name)
    run.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="elsewhere no file is removed that somebody has open")
def test_a_lock_that_was_removed_while_somebody_opened_it_is_nobody_s(tmp_path, monkeypatch):
    first, try_lock = take(tmp_path), folder_lock._try_lock

    def end_first_and_try(descriptor, **how):
        monkeypatch.setattr(folder_lock, "_try_lock", try_lock)
        first.close()
        return try_lock(descriptor, **how)

    monkeypatch.setattr(folder_lock, "_try_lock", end_first_and_try)
    second = take(tmp_path)
    # It holds the file that whoever comes next would open.
    with pytest.raises(StateError, match="a name of its own"):
        take(tmp_path)
    second.close()
