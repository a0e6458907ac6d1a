"""Say which processes descend from one, and how much memory they use: for whoever watches over a task.

Knows:   /proc on Linux and Android, libproc on macOS, kernel32 on Windows.
Refuses: to decide what is too much, and to fail: what cannot be seen is None.
Read next: host/child_guard.py (who decides).

Memory is what is resident, since libraries reserve far more than they use. Processes that were forked share pages, so
Linux is asked for each one's proportional part before anybody is blamed: it costs a millisecond, so only then.
"""

from __future__ import annotations

import os
import struct
import sys
from typing import Any, List, Optional

#: Processes looked at: beyond that nobody needs to know how many more there are.
TREE_MOST = 4096
#: `proc_pidinfo`'s flavour that answers with a struct proc_taskinfo, and that struct's size (macOS, sys/proc_info.h).
_PROC_PIDTASKINFO, _TASKINFO_BYTES = 4, 96
#: OpenProcess: PROCESS_QUERY_LIMITED_INFORMATION.
_QUERY_LIMITED = 0x1000


def tree_processes(root: int) -> Optional[List[int]]:
    """Return `root` and what descends from it, or on macOS is in its group; None where that cannot be seen."""
    if sys.platform.startswith(("linux", "android")):
        return _linux_tree(root) if os.path.exists(f"/proc/{root}/task/{root}/children") else None
    if sys.platform == "darwin":
        return _macos_group(root)
    return None


def resident_bytes(pids: List[int], *, is_exact: bool = False) -> Optional[int]:
    """Return the memory that these processes use, None where that cannot be seen; those that are gone use none.

    `is_exact` counts what several of them share once, where the system can tell.
    """
    measure = _measure()
    if measure is None:
        return None
    if is_exact and measure is _linux_resident:
        measure = _linux_proportional
    return sum(map(measure, pids))


def _measure() -> Any:
    if sys.platform.startswith(("linux", "android")):
        return _linux_resident if os.path.exists("/proc/self/statm") else None
    try:
        import ctypes  # Absent in some app Pythons.

        if sys.platform == "darwin":
            ctypes.CDLL("/usr/lib/libproc.dylib")
            return _macos_resident
        return _windows_resident if sys.platform == "win32" else None
    except (ImportError, OSError):
        return None


# ---- Linux ------------------------------------------------------------------------------------------------------


def _linux_tree(root: int) -> List[int]:
    found, unread = [root], [root]
    while unread and len(found) < TREE_MOST:
        pid = unread.pop()
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                    children = list(map(int, file.read().split()))
                found += children
                unread += children
        except (OSError, ValueError):
            continue  # Ended meanwhile.
    return found


def _linux_resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _linux_proportional(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return 1024 * int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass  # An old kernel, or another user's process.
    return _linux_resident(pid)


# ---- macOS, Windows ---------------------------------------------------------------------------------------------


def _macos_group(group: int) -> Optional[List[int]]:
    try:
        import ctypes

        library = ctypes.CDLL("/usr/lib/libproc.dylib")
        pids = (ctypes.c_int * TREE_MOST)()
        count = library.proc_listpgrppids(group, ctypes.byref(pids), ctypes.sizeof(pids))
    except (ImportError, OSError, AttributeError):
        return None
    return [group, *(pid for pid in pids[:max(0, count)] if pid not in (0, group))]


def _macos_resident(pid: int) -> int:
    import ctypes

    info = ctypes.create_string_buffer(_TASKINFO_BYTES)
    library = ctypes.CDLL("/usr/lib/libproc.dylib")
    size = library.proc_pidinfo(pid, _PROC_PIDTASKINFO, ctypes.c_uint64(0), info, _TASKINFO_BYTES)
    # Its first two members: virtual and resident size.
    return int(struct.unpack_from("=QQ", info.raw)[1]) if size == _TASKINFO_BYTES else 0


def _windows_resident(pid: int) -> int:
    import ctypes

    library: Any = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    library.OpenProcess.restype = ctypes.c_void_p
    process = library.OpenProcess(_QUERY_LIMITED, False, pid)
    if not process:
        return 0
    # PROCESS_MEMORY_COUNTERS: two 32-bit numbers, then eight of a pointer's size; the second of these is resident.
    words = struct.calcsize("P")
    counters = ctypes.create_string_buffer(8 + 8 * words)
    struct.pack_into("=I", counters, 0, len(counters))
    is_told = library.K32GetProcessMemoryInfo(ctypes.c_void_p(process), counters, len(counters))
    library.CloseHandle(ctypes.c_void_p(process))
    return int.from_bytes(counters.raw[8 + words:8 + 2 * words], "little") if is_told else 0
