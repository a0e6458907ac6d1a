"""Give the system back the memory that was needed once: the C library keeps what it has freed.

Knows:   what that is called on Linux and on Apple's systems.
Refuses: to do so again and again: it takes some milliseconds, and the next piece of work needs memory anyway.
Read next: run.py (who asks, once its node is at rest).
"""

from __future__ import annotations

from typing import Any

#: Seconds after which a node has read, compiled and told what it does once.
SETTLED_S = 5.0


def return_free_memory() -> None:
    """Have the C library return what it can, where there is one that does."""
    try:
        import ctypes  # Absent in some app Pythons, so asked for only here.

        library: Any = ctypes.CDLL(None)
    except (ImportError, OSError, TypeError):
        return  # Windows has no library of this kind, and says so by a TypeError.
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(ctypes.c_size_t(0))
    elif hasattr(library, "malloc_zone_pressure_relief"):
        # Of all zones, as much as there is.
        library.malloc_zone_pressure_relief(None, ctypes.c_size_t(0))
