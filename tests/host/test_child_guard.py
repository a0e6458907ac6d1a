"""What a guard finds too much, what it leaves for the node to read, and how limits reach a child."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from dataclasses import replace

import pytest

from discompute_lite.host.active_limits import limits_of_children
from discompute_lite.host.child_guard import (
    END_FILE, FOLDER_EVERY_S, ChildGuard, folder_contents, read_end, size_text, write_end,
)
from discompute_lite.host.child_limits import ChildLimits, lower_limit, take_child_limits
from discompute_lite.host.process_tree import resident_bytes, tree_processes
from discompute_lite.model.limits import MIB, Limits

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")


class Hand:
    """A clock that is moved by hand."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def guard_of(folder, clock=None, **limits):
    return ChildGuard(ChildLimits(**limits), os.getpid(), str(folder), clock or Hand())


# ---- limits -----------------------------------------------------------------------------------------------------


def test_limits_cross_the_command_line():
    limits = ChildLimits.of_device(Limits(), 8000, network=False)
    assert limits.memory_bytes == 2000 * MIB and limits.network is False
    assert limits.address_bytes == 0, "it is limited only when asked for"
    assert ChildLimits.from_arguments([limits.argument()]) == limits
    assert ChildLimits.from_arguments([]) == ChildLimits()
    assert ChildLimits.from_arguments([limits.argument(), "5"]) == replace(limits, memory_bytes=5)
    assert ChildLimits.from_arguments([ChildLimits(memory_bytes=4).argument(), "5"]).memory_bytes == 4
    assert ChildLimits.from_arguments([ChildLimits().argument(), "5"]).memory_bytes == 5


def test_every_limit_on_a_subtask_is_the_nodes():
    limits = Limits(
        task_memory_share=0.5, task_address_bytes=2, task_file_bytes=3, task_open_files=4, task_processes=5,
        task_folder_bytes=6, task_folder_files=7, output_bytes=8, error_text_bytes=9, error_trace_bytes=11, subtasks=10,
    )
    assert ChildLimits.of_device(limits, 1, True, allow_pickle=True) == ChildLimits(
        memory_bytes=MIB // 2, address_bytes=2, file_bytes=3, open_files=4, processes=5, folder_bytes=6, folder_files=7,
        network=True, output_bytes=8, error_text_bytes=9, error_trace_bytes=11, subtasks=10, allow_pickle=True,
    )


def test_address_space_is_limited_when_asked_for():
    assert ChildLimits.of_device(Limits(task_address_bytes=MIB), 0, True).address_bytes == MIB


def test_unknown_memory_is_not_limited():
    assert ChildLimits.of_device(Limits(), 0, network=True).memory_bytes == 0


class Rlimits:
    """Stand for the module resource."""

    RLIM_INFINITY, RLIMIT_FSIZE = -1, 7

    def __init__(self, hard, refuses=False):
        self.hard, self.refuses, self.given = hard, refuses, []

    def getrlimit(self, kind):
        return (0, self.hard)

    def setrlimit(self, kind, limits):
        if self.refuses:
            raise ValueError("not allowed to raise maximum limit")
        self.given.append((kind, limits))


@pytest.mark.parametrize("hard, lowered", [(-1, 500), (100, 100), (900, 500)])
def test_a_limit_is_never_raised(hard, lowered):
    system = Rlimits(hard)
    lower_limit(system, "RLIMIT_FSIZE", 500)
    assert system.given == [(7, (lowered, lowered))]


def test_row_48_without_the_module_resource_work_goes_on_and_none_of_its_limits_is_claimed(monkeypatch):
    limits = ChildLimits(file_bytes=MIB)
    with_it = limits_of_children(limits, is_offline=False)
    monkeypatch.setitem(sys.modules, "resource", None)
    take_child_limits(limits)
    without = limits_of_children(limits, is_offline=False)
    assert set(with_it) - set(without) == {"one file", "open files", "core files"}
    assert without == {name: said for name, said in with_it.items() if name in without}


def test_row_48_what_a_system_lacks_is_left_out():
    system = Rlimits(-1, refuses=True)
    lower_limit(system, "RLIMIT_FSIZE", 1)
    lower_limit(system, "RLIMIT_NPROC", 1)
    assert system.given == []


# ---- excess -----------------------------------------------------------------------------------------------------


def test_who_keeps_to_the_limits_is_left_alone(tmp_path):
    assert guard_of(tmp_path).excess() == ""
    assert guard_of(tmp_path, memory_bytes=1 << 50, processes=1000).excess() == ""


@linux
def test_memory_is_told_with_both_figures_and_a_remedy(tmp_path):
    excess = guard_of(tmp_path, memory_bytes=2 * MIB).excess()
    assert excess.startswith("it used ") and "gives 2 MiB to each subtask" in excess and "smaller" in excess


@linux
def test_a_process_that_was_started_is_found_and_counted(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in tree_processes(os.getpid())
        assert "more than 1 processes" in guard_of(tmp_path, processes=1).excess()
        assert resident_bytes([child.pid]) > 0
        child.stdin.close()
    assert child.pid not in tree_processes(os.getpid())


@linux
def test_shared_memory_is_counted_once():
    block = bytearray(os.urandom(1024)) * (64 * 1024)  # 64 MiB, touched
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    try:
        both = [os.getpid(), pid]
        assert resident_bytes(both) - resident_bytes(both, is_exact=True) > 32 * MIB
    finally:
        os.close(writing)
        os.waitpid(pid, 0)
        os.close(reading)
    assert len(block) == 64 * MIB


def test_who_is_gone_uses_nothing():
    assert resident_bytes([2 ** 22 + 1]) in (0, None)
    assert resident_bytes([]) in (0, None)


def test_files_are_counted_below_too_and_only_as_far_as_needed(tmp_path):
    (tmp_path / "below").mkdir()
    for number in range(9):
        (tmp_path / "below" / str(number)).write_bytes(b"x" * 5000)
    files, size = folder_contents(str(tmp_path), 100)
    assert files == 10 and size >= 45_000
    assert folder_contents(str(tmp_path), 3)[0] == 4


def test_the_folder_is_looked_at_every_second(tmp_path):
    clock = Hand()
    guard = guard_of(tmp_path, clock, folder_files=2)
    for name in "abc":
        (tmp_path / name).touch()
    assert guard.excess() == ""
    clock.now += FOLDER_EVERY_S
    assert guard.excess() == "it made more than 2 files in its folder; remove what is not needed any more"
    for name in "bc":
        (tmp_path / name).unlink()
    clock.now += FOLDER_EVERY_S
    assert guard.excess() == ""


def test_large_files_are_told(tmp_path):
    clock = Hand()
    guard = guard_of(tmp_path, clock, folder_bytes=10_000)
    (tmp_path / "big").write_bytes(b"x" * 20_000)
    clock.now += FOLDER_EVERY_S
    assert guard.excess().startswith("it keeps 20 KiB in its folder, and this device gives 10 KiB;")


# ---- last words -------------------------------------------------------------------------------------------------


def test_why_a_child_was_ended_is_one_printable_line(tmp_path):
    assert read_end(str(tmp_path)) == ""
    write_end(str(tmp_path), "too much")
    assert read_end(str(tmp_path)) == "too much"
    (tmp_path / END_FILE).write_bytes(b"\x1b[31mred\n\xff" + b"y" * 10_000)
    text = read_end(str(tmp_path))
    assert text.startswith("[31mred") and text.isprintable() and len(text) <= 1000


def test_nowhere_to_leave_word_is_no_error(tmp_path):
    write_end(str(tmp_path / "gone"), "too much")


@pytest.mark.parametrize("size, text", [(0, "0 KiB"), (2048, "2 KiB"), (5 * MIB, "5 MiB"), (6000 * MIB, "6000 MiB")])
def test_sizes_are_told_in_units_that_people_read(size, text):
    assert size_text(size) == text


def test_core_files_are_the_only_limit_without_arguments():
    code = ("from discompute_lite.host.child_limits import *; import resource; take_child_limits(ChildLimits());"
            "print(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_FSIZE)[0])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split(") ") == ["(0, 0", f"{resource.getrlimit(resource.RLIMIT_FSIZE)[0]}\n"]
