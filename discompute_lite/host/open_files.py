"""Have this process open as many files at once as a node may need.

Knows:   that many systems give 256 to begin with and more to who asks; a socket is a file, too.
Refuses: more than `select` can watch, which programs use beside whom a node runs.
Read next: host/active_limits.py (what a node makes of it), host/machine_check.py (who tells of it).
"""

from __future__ import annotations

#: With more, a descriptor may have a number that `select.select` cannot take.
ENOUGH_FILES = 1024


def most_open_files() -> int:
    """Return how many files this process may open from now on, after asking for enough; -1 where that is not known."""
    try:
        import resource  # Absent on Windows.

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    except (ImportError, AttributeError, OSError, ValueError):
        return -1
    if soft == resource.RLIM_INFINITY:
        return -1
    wanted = ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(ENOUGH_FILES, hard)
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
        except (OSError, ValueError):
            pass  # A sandbox that keeps it as it is.
    return int(soft)
