"""Say by name what bounds the code of tasks on this device, and what does not.

Knows:   which limits each kind of executor enforces here: the same questions to the system as those who enforce them.
Refuses: to promise a limit that nobody enforces: that is "not limited".
Read next: host/child_limits.py, host/child_guard.py (who enforce them).
"""

from __future__ import annotations

import os
import sys
from typing import Dict, List

from ..model.device import PHONE_TYPES, Hardware
from ..model.limits import KIB, Limits
from ..model.settings import Settings
from .child_guard import size_text
from .child_limits import NICENESS, ChildLimits
from .detect import has_processes
from .open_files import most_open_files
from .probe import Probe
from .process_executor import WALL_S
from .process_tree import resident_bytes, tree_processes

NOT_LIMITED = "not limited"
#: What tries in a process of its own whether tasks can be kept from the network, and the seconds that it may take; it
#: needs a twentieth of one.
NETWORK_CHECK, NETWORK_CHECK_S = "host.child_limits:network_check_main", 10.0


def runs_in_processes(settings: Settings, probe: Probe) -> bool:
    """Whether tasks run here in processes of their own, which can be killed."""
    return settings.executor in ("", "process") and has_processes(probe)


def is_kept_offline(settings: Settings, probe: Probe, network_check: List[str]) -> bool:
    """Whether tasks are to be kept from the network and can be: `network_check`, a command, tries it."""
    if settings.task_network or not runs_in_processes(settings, probe) or not probe.platform.startswith("linux"):
        return False
    import subprocess  # Absent in some app Pythons.

    try:
        done = subprocess.run(network_check, stdin=subprocess.DEVNULL, timeout=NETWORK_CHECK_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def limits_here(settings: Settings, hardware: Hardware) -> Limits:
    """Return a node's limits on this device; asks the system for as many open files as it may need."""
    return settings.limits_for(hardware.type in PHONE_TYPES, hardware.work_memory_mb, most_open_files())


def limits_for_tasks(settings: Settings, probe: Probe, hardware: Hardware, is_offline: bool) -> Dict[str, str]:
    """Return by name what holds for tasks here; `is_offline` says that they are kept from the network."""
    limits = limits_here(settings, hardware)
    if runs_in_processes(settings, probe):
        child = ChildLimits.of_device(limits, hardware.capabilities.memory_mb, settings.task_network)
        facts = limits_of_children(child, is_offline)
    elif ":" in settings.executor:
        facts = {"process": f"as {settings.executor} has it", "environment": "not known", "time": NOT_LIMITED}
    else:
        facts = {
            "process": "a thread of the node, which cannot be stopped by force: what is cancelled ends by itself",
            "environment": "the node's own", "time": NOT_LIMITED,
        }
    if hardware.work_memory_mb:
        facts["pieces of work"] = f"{size_text(limits.work_bytes)} with all that they name, else they go elsewhere"
    facts["output"] = f"{limits.output_bytes // KIB} KiB of what a subtask prints, the rest is dropped"
    for name in ("memory", "priority", "processor", "processes", "own folder", "network"):
        facts.setdefault(name, NOT_LIMITED)
    others = "but not another task's folder" if is_offline else "another task's folder too while it runs"
    facts["files"] = f"{NOT_LIMITED}: tasks may read and change what you may, {others}"
    return facts


def limits_of_children(child: ChildLimits, is_offline: bool) -> Dict[str, str]:
    """Return by name what holds for tasks in processes of their own."""
    me = [os.getpid()]
    with_it = "with its group" if hasattr(os, "killpg") else "alone: programs that it has started may outlive it"
    facts = {
        "process": f"one a slot for one task of one sender, killed {with_it}",
        "environment": "clean, with a home and folder of its own that is removed",
        "time": f"{WALL_S / 3600:g} h a subtask unless it names its own, then killed",
        "when the node is killed": f"its tasks end within {2 if hasattr(os, 'fork') else 1} s",
    }
    if hasattr(os, "nice"):
        facts["priority"] = f"nice {NICENESS}: your own programs go first"
    if child.memory_bytes and resident_bytes(me) is not None:
        facts["memory"] = f"{size_text(child.memory_bytes)} resident a subtask, then killed"
    if child.processes and tree_processes(me[0]) is not None:
        facts["processes"] = f"{child.processes} a subtask, then killed; those that leave its group may outlive it"
    facts["own folder"] = f"{size_text(child.folder_bytes)} in {child.folder_files} files, then killed"
    if _has_rlimits():
        facts["one file"] = f"{size_text(child.file_bytes)}, then an error"
        facts["open files"] = f"{child.open_files}, then an error"
        facts["core files"] = "none"
        if child.address_bytes and sys.platform != "darwin":
            facts["address space"] = f"{size_text(child.address_bytes)}, then an error"
    if not child.network:
        facts["network"] = "none" if is_offline else f"{NOT_LIMITED}: this system cannot keep tasks from it"
    return facts


def _has_rlimits() -> bool:
    try:
        import resource  # Absent on Windows.
    except ImportError:
        return False
    return hasattr(resource, "RLIMIT_FSIZE")
