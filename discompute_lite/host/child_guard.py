"""Watch over one child from a process beside it: end it when it uses too much, or when its node is gone.

Knows:   the child's memory, processes and folder; the pipe whose other end the node holds.
Refuses: to trust the child to do this itself: code in C may keep its interpreter for minutes.
Read next: host/process_tree.py (what is measured), host/child_process.py (who reads why a child was ended).

The child forks it before it has a second thread, twice, so that it is nobody's child: code that waits for all of its
own children does not wait for this. It lives in the child's process group and so ends with it. Where nothing can
be forked (Windows) a thread of the child does the same, which long calls into C may hold up.

Why a child was ended stands in a file of its folder, for the node to read.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from typing import Callable, List, NoReturn, Tuple

from ..model.limits import KIB, MIB
from .child_limits import ChildLimits
from .process_tree import resident_bytes, tree_processes

#: The file in a child's folder that says why it was ended, and as much of it as is read.
END_FILE, END_FILE_BYTES = ".end", 1000
#: Seconds between two looks at memory and processes: what is taken meanwhile is over the limit, so they are few.
GUARD_EVERY_S = 0.2
#: A look at the folder takes at most this share of the time; it is looked at no more often than every second.
FOLDER_SHARE, FOLDER_EVERY_S = 0.05, 1.0
#: Signals that a task may send to its whole group without ending its guard.
_DEAF_TO = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGPIPE")


class ChildGuard:
    """Look at one child again and again."""

    def __init__(self, limits: ChildLimits, pid: int, folder: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._pid = pid
        self._folder = folder
        self._clock = clock
        self._folder_due = clock() + FOLDER_EVERY_S

    def excess(self) -> str:
        """Return in a sentence what it uses too much of, "" while it keeps to its limits."""
        return self._excess_of_processes() or self._excess_of_folder()

    def _excess_of_processes(self) -> str:
        limits, pids = self._limits, self._processes()
        if limits.processes and len(pids) > limits.processes:
            return f"it ran more than {limits.processes} processes at once; start fewer, or raise limits task-processes"
        used = resident_bytes(pids) if limits.memory_bytes else None
        if used is None or used <= limits.memory_bytes:
            return ""
        used = resident_bytes(pids, is_exact=True) or 0
        if used <= limits.memory_bytes:
            return ""
        return (f"it used {size_text(used)} of memory, and this device gives {size_text(limits.memory_bytes)} to each"
                " subtask; make its parts smaller, or raise limits task-memory-share")

    def _excess_of_folder(self) -> str:
        limits, began = self._limits, self._clock()
        if not (limits.folder_bytes or limits.folder_files) or began < self._folder_due:
            return ""
        files, size = folder_contents(self._folder, limits.folder_files or sys.maxsize)
        now = self._clock()
        self._folder_due = now + max(FOLDER_EVERY_S, (now - began) / FOLDER_SHARE)
        if limits.folder_files and files > limits.folder_files:
            return f"it made more than {limits.folder_files} files in its folder; remove what is not needed any more"
        if limits.folder_bytes and size > limits.folder_bytes:
            return (f"it keeps {size_text(size)} in its folder, and this device gives {size_text(limits.folder_bytes)};"
                    " remove what is not needed, or raise limits task-folder-bytes")
        return ""

    def end_child(self, reason: str) -> NoReturn:
        """End it with all that it started; `reason` "" where nobody is left to read it."""
        if reason:
            write_end(self._folder, reason)
        for pid in self._processes():
            if pid != os.getpid():
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        end_own_group()

    def _processes(self) -> List[int]:
        """Return the child and what descends from it, without its guard."""
        found = tree_processes(self._pid) or [self._pid]
        return [pid for pid in found if pid == self._pid or pid != os.getpid()]


def start_guard(limits: ChildLimits, node_pipe: int) -> None:
    """Start the guard of this process; `node_pipe` is a pipe that ends when its node does. One thread only."""
    guard = ChildGuard(limits, os.getpid(), os.getcwd())
    if hasattr(os, "fork"):
        life, ours = os.pipe()
        try:
            middle = os.fork()
        except OSError:
            os.close(life)
            os.close(ours)
        else:
            if not middle:
                _be_guard(guard, node_pipe, life, ours)
            os.close(life)
            # `ours` stays open as long as this process lives: its end is what tells the guard.
            os.waitpid(middle, 0)
            return
    threading.Thread(target=_guard_in_thread, args=(guard,), daemon=True).start()


def read_end(folder: str) -> str:
    """Return why the child of `folder` was ended by its guard, "" where it was not."""
    try:
        with open(os.path.join(folder, END_FILE), "rb") as file:
            text = file.read(END_FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    # The task could have written it as well: it may blame itself, in one line.
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def write_end(folder: str, reason: str) -> None:
    """Leave word why a child was ended; on a full disk there is none."""
    with contextlib.suppress(OSError), open(os.path.join(folder, END_FILE), "wb", buffering=0) as file:
        file.write(reason.encode()[:END_FILE_BYTES])


def end_own_group() -> NoReturn:
    """End this process and all in its group, where the group is a child's own."""
    if hasattr(os, "killpg") and os.getpgrp() == os.getsid(0):
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def folder_contents(folder: str, files_most: int) -> Tuple[int, int]:
    """Return the number of files in a folder and below, and their bytes on the disk; counts to `files_most` + 1."""
    files = size = 0
    for place, names, found in os.walk(folder):
        files += len(names)
        for name in found:
            files += 1
            try:
                stat = os.lstat(os.path.join(place, name))
                size += 512 * stat.st_blocks if hasattr(stat, "st_blocks") else stat.st_size
            except OSError:
                continue  # Removed meanwhile.
            if files > files_most:
                return files, size
    return files, size


def size_text(size: int) -> str:
    """Return bytes as people read them."""
    return f"{size / MIB:.0f} MiB" if size >= MIB else f"{size / KIB:.0f} KiB"


def _be_guard(guard: ChildGuard, node_pipe: int, life: int, ours: int) -> NoReturn:
    """Be the process in the middle, and then the guard; never returns."""
    try:
        if os.fork():
            os._exit(0)
        os.close(ours)
        for name in _DEAF_TO:
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        # The pipe of results must end with the child, so nobody else may hold it open.
        for descriptor in range(256):
            if descriptor not in (node_pipe, life):
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        _watch_child(guard, node_pipe, life)
    finally:
        os._exit(0)


def _watch_child(guard: ChildGuard, node_pipe: int, life: int) -> None:
    import select

    poll = select.poll()
    poll.register(node_pipe, 0)
    poll.register(life, 0)
    while True:
        ended = [descriptor for descriptor, _ in poll.poll(1000 * GUARD_EVERY_S)]
        if life in ended:
            return  # The child has ended, or has closed what it did not open; its node sees to the rest.
        reason = "" if ended else guard.excess()
        if ended or reason:
            guard.end_child(reason)


def _guard_in_thread(guard: ChildGuard) -> None:
    tick = threading.Event()
    while not tick.wait(GUARD_EVERY_S):
        reason = guard.excess()
        if reason:
            guard.end_child(reason)
