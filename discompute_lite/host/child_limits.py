"""Hold what a task's process may use, and take what the system lets a process take from itself.

Knows:   rlimits, the kernel's order of whom to end when memory runs out, and Linux's namespaces without a network.
Refuses: to watch (host/child_guard.py does), and to call any of this a sandbox: it bounds mistakes, not malice.
Read next: host/child_guard.py, host/this_device.py (which says what of this is active).

A child gets its limits as one argument, JSON:

    {"memory_bytes":2097152000,"address_bytes":0,"file_bytes":1073741824,"open_files":256,"processes":32,
     "folder_bytes":1073741824,"folder_files":10000,"network":true,"output_bytes":1048576,"error_text_bytes":1024,
     "error_trace_bytes":8192,"subtasks":4096,"allow_pickle":false}
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from typing import Any, List

from ..model.limits import MIB, Limits

#: Processes and threads beyond those of the whole system that a child may see come up: a brake that keeps a fork bomb
#: from taking the machine before it is seen, and that a user's other programs do not meet. (Root is exempt on Linux.)
PROCESS_HEADROOM = 1024
#: The first to be ended when the system runs out of memory: the work of others, before node and user's programs.
OOM_FIRST = b"1000"
#: How much less than the owner's programs a task's process gets of a busy processor: the tenth part, as nice(2) has it.
NICENESS = 10
#: unshare(2): a user namespace, in which everybody may have a network namespace, in which there is nothing.
_CLONE_NEWUSER, _CLONE_NEWNET, _CLONE_NEWNS = 0x10000000, 0x40000000, 0x00020000
#: mount(2): what is mounted here is seen here only; another name for a folder; a small disk in memory.
_MS_PRIVATE, _MS_BIND, _SMALL_DISK = 0x4000 | 0x40000, 0x1000, b"size=64k,nr_inodes=16,mode=700"
_MNT_DETACH = 2


@dataclass(frozen=True)
class ChildLimits:
    """Say what one child may use; 0 is not limited."""

    memory_bytes: int = 0
    address_bytes: int = 0
    file_bytes: int = 0
    open_files: int = 0
    processes: int = 0
    folder_bytes: int = 0
    folder_files: int = 0
    #: Whether it may use the network.
    network: bool = True
    # What tasks/work holds to, from the node's own limits.
    output_bytes: int = Limits.output_bytes
    error_text_bytes: int = Limits.error_text_bytes
    error_trace_bytes: int = Limits.error_trace_bytes
    subtasks: int = Limits.subtasks
    #: Whether values may come and go as pickles.
    allow_pickle: bool = False

    @classmethod
    def of_device(cls, limits: Limits, memory_mb: int, network: bool, allow_pickle: bool = False) -> ChildLimits:
        """Return what holds on a device with so much memory (0: not known)."""
        is_asked = limits.task_address_bytes != Limits.task_address_bytes
        return cls(
            memory_bytes=int(limits.task_memory_share * memory_mb * MIB),
            address_bytes=limits.task_address_bytes if is_asked else 0, file_bytes=limits.task_file_bytes,
            open_files=limits.task_open_files, processes=limits.task_processes,
            folder_bytes=limits.task_folder_bytes, folder_files=limits.task_folder_files, network=network,
            output_bytes=limits.output_bytes, error_text_bytes=limits.error_text_bytes,
            error_trace_bytes=limits.error_trace_bytes, subtasks=limits.subtasks, allow_pickle=allow_pickle,
        )

    @classmethod
    def from_arguments(cls, arguments: List[str]) -> ChildLimits:
        """Return what `argument` wrote, no limits where nothing was given; a second argument is less memory yet."""
        limits = cls(**json.loads(arguments[0])) if arguments else cls()
        for memory_bytes in map(int, arguments[1:]):
            limits = dataclasses.replace(limits, memory_bytes=min(memory_bytes, limits.memory_bytes or memory_bytes))
        return limits

    def work_limits(self) -> Limits:
        """Return what bounds the work itself."""
        return Limits(
            output_bytes=self.output_bytes, error_text_bytes=self.error_text_bytes,
            error_trace_bytes=self.error_trace_bytes, subtasks=self.subtasks,
        )

    def argument(self) -> str:
        """Return the argument for a child's command."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))


def take_child_limits(limits: ChildLimits) -> None:
    """Take them from this process, for good; before it has a second thread. What cannot be had is left out."""
    if not limits.network and leave_network():
        hide_other_folders(os.getcwd())
    try:
        import resource  # Absent on Windows.
    except ImportError:
        return
    # What a crash leaves would be the task's data on the disk.
    lower_limit(resource, "RLIMIT_CORE", 0)
    for name, most in (
        ("RLIMIT_FSIZE", limits.file_bytes), ("RLIMIT_NOFILE", limits.open_files), ("RLIMIT_AS", limits.address_bytes),
        ("RLIMIT_NPROC", _running_in_all() + PROCESS_HEADROOM if limits.processes and _running_in_all() else 0),
    ):
        if most:
            lower_limit(resource, name, most)
    try:
        with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
            file.write(OOM_FIRST)
    except OSError:
        pass  # No Linux, or one that keeps this to itself.


def step_back() -> None:
    """Let the owner's own programs go first from now on, where the system has an order of them."""
    try:
        os.nice(NICENESS)
    except (AttributeError, OSError):
        pass  # Windows.
    try:
        # Woken by a request, it waits until the node has written the next one, too; where the owner has chosen an order
        # for the node, that is the child's as well.
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except (AttributeError, OSError):
        pass  # No Linux, or a sandbox that keeps this to itself.


def lower_limit(resource: Any, name: str, most: int) -> None:
    """Lower an rlimit, soft and hard; where the system's is lower already, that stays."""
    kind = getattr(resource, name, None)
    if kind is None:
        return
    try:
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    except (OSError, ValueError):
        pass  # This system has it in name only (macOS: RLIMIT_AS).


def leave_network() -> bool:
    """Move this process into a network namespace that holds nothing; return whether it is there. One thread only."""
    user, group = (os.getuid(), os.getgid()) if hasattr(os, "getuid") else (0, 0)
    if not sys.platform.startswith("linux") or not _unshare(_CLONE_NEWUSER | _CLONE_NEWNET):
        return False
    # Who we are is what we were: without these lines files would seem to belong to somebody else.
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        try:
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
        except OSError:
            pass  # It runs as nobody then, and still without a network.
    return True


def hide_other_folders(folder: str) -> bool:
    """Let this process see nothing of what lies beside its own folder; return whether that is so.

    It costs tasks nothing that leaving the network has not cost already: both need a user namespace. One thread only.
    """
    parent = os.path.dirname(folder)
    try:
        import ctypes

        library = ctypes.CDLL(None)
        mount = library.mount
        if not _unshare(_CLONE_NEWNS) or mount(b"none", b"/", None, _MS_PRIVATE, None):
            return False
        own = os.open(folder, os.O_RDONLY)
        try:
            if mount(b"none", os.fsencode(parent), b"tmpfs", 0, _SMALL_DISK):
                return False
            os.mkdir(folder, 0o700)
            is_own = not mount(b"/proc/self/fd/%d" % own, os.fsencode(folder), None, _MS_BIND, None)
        finally:
            os.close(own)
        if not is_own:
            # A task is better off in its folder beside others than in the sixteen files of the empty one.
            library.umount2(os.fsencode(parent), _MNT_DETACH)
        os.chdir(folder)
        return is_own
    except (ImportError, AttributeError, OSError):
        return False


def network_check_main() -> None:
    """Try in a process of its own whether tasks can be kept from the network here; say so by the exit status."""
    sys.exit(0 if leave_network() else 1)


def _unshare(flags: int) -> bool:
    try:
        if hasattr(os, "unshare"):  # From Python 3.12 on.
            os.unshare(flags)
            return True
        import ctypes

        return bool(ctypes.CDLL(None).unshare(flags) == 0)
    except (ImportError, AttributeError, OSError):
        return False


def _running_in_all() -> int:
    """Return how many processes and threads the system has, 0 where it does not say: "0.20 0.18 0.12 1/80 11206"."""
    try:
        with open("/proc/loadavg", "rb") as file:
            return int(file.read().split()[3].split(b"/")[1])
    except (OSError, ValueError, IndexError):
        return 0
