"""Read what Linux allows this process: the CPUs and the memory of its control groups.

Knows:   cgroup v1, v2 and both at once; groups inside groups; containers that see another path than they have.
Refuses: to believe the machine's own figures: a container with 2 CPUs of 64 has 2.
Read next: host/detect_linux.py, host/metrics.py.

    /proc/self/cgroup     4:memory:/docker/3f1b        hierarchy, controllers, path of this process's group
                          0::/user.slice/session-2     v2: no controllers named
    /proc/self/mountinfo  35 31 0:32 /docker/3f1b /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
                                     root         mount point               type   source options

A limit anywhere between the group and the root binds, so the whole way up is read and the least taken
(HTCondor does so too). Inside a container the listed path may not exist below the mount point: what
is not there is passed over, and the mount point itself is the container's own group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Iterator, List, Optional, Tuple, TypeVar

from .probe import Probe

Limit = TypeVar("Limit", int, float)

#: v1 writes "no limit" as the largest multiple of a page below 2**63; no machine has 2**60 bytes.
UNLIMITED_BYTES = 1 << 60
_V2 = "v2"


@dataclass(frozen=True)
class GroupLimits:
    """Say what the control groups allow; None where they allow everything."""

    cpus: Optional[float] = None
    memory_bytes: Optional[int] = None
    #: The directory whose memory limit binds, for `group_memory_used`; "" without one.
    memory_group: str = ""
    #: The file that counts CPU time, and how many of its units are a second; "" without a limit.
    cpu_time_file: str = ""


def group_limits(probe: Probe) -> GroupLimits:
    """Read all limits. Costs some ten small files; ask once, they hardly ever change."""
    paths = _group_paths(probe.read_text("/proc/self/cgroup") or "")
    mounts = _group_mounts(probe.read_text("/proc/self/mountinfo") or "")
    cpus: List[Tuple[float, str]] = []
    memory: List[Tuple[int, str]] = []
    for directory in _way_up(paths.get(_V2), mounts.get(_V2)):
        cpus += _found(_v2_cpus(probe.read_text(directory + "/cpu.max")), directory + "/cpu.stat")
        for name in ("/memory.max", "/memory.high"):
            memory += _found(_bytes_of(probe.read_text(directory + name)), directory)
    for directory in _way_up(paths.get("cpu"), mounts.get("cpu")):
        quota = _integer(probe.read_text(directory + "/cpu.cfs_quota_us"))
        period = _integer(probe.read_text(directory + "/cpu.cfs_period_us"))
        cpus += _found(quota / period if quota > 0 and period > 0 else None, directory + "/cpuacct.usage")
    for directory in _way_up(paths.get("memory"), mounts.get("memory")):
        memory += _found(_bytes_of(probe.read_text(directory + "/memory.limit_in_bytes")), directory)
    quota_cpus, time_file = min(cpus) if cpus else (None, "")
    memory_bytes, group = min(memory) if memory else (None, "")
    return GroupLimits(quota_cpus, memory_bytes, group, time_file)


def group_memory_used(probe: Probe, directory: str) -> int:
    """Return the bytes that a group uses without the file cache that it would give back, -1 where unknown."""
    used = _integer(probe.read_text(directory + "/memory.current"))
    if used < 0:
        used = _integer(probe.read_text(directory + "/memory.usage_in_bytes"))
    if used < 0:
        return -1
    facts = dict(line.split(" ", 1) for line in (probe.read_text(directory + "/memory.stat") or "").splitlines()
                 if " " in line)
    # v1 counts the whole tree below a group under names that begin with "total_".
    return max(0, used - max(0, _integer(facts.get("total_inactive_file", facts.get("inactive_file")))))


def group_cpu_seconds(probe: Probe, cpu_time_file: str) -> float:
    """Return the CPU seconds that a group has used since it was made, -1 where unknown."""
    text = probe.read_text(cpu_time_file) if cpu_time_file else None
    if text is None:
        return -1.0
    if cpu_time_file.endswith("/cpu.stat"):
        for line in text.splitlines():
            if line.startswith("usage_usec "):
                return max(-1, _integer(line.split()[1])) / 1e6
        return -1.0
    nanoseconds = _integer(text)
    return nanoseconds / 1e9 if nanoseconds >= 0 else -1.0


def _group_paths(text: str) -> Dict[str, str]:
    """Map controllers (and "v2") to the path of this process's group."""
    paths: Dict[str, str] = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in (controllers.split(",") if controllers else [_V2] if number == "0" else []):
            paths[controller] = path
    return paths


def _group_mounts(text: str) -> Dict[str, Tuple[str, str]]:
    """Map controllers (and "v2") to the root and the point of their mount."""
    mounts: Dict[str, Tuple[str, str]] = {}
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or not kind:
            continue
        names = [_V2] if kind[0] == "cgroup2" else kind[-1].split(",") if kind[0] == "cgroup" else []
        for name in names:
            mounts.setdefault(name, (fields[3], fields[4]))
    return mounts


def _way_up(path: Optional[str], mount: Optional[Tuple[str, str]]) -> Iterator[str]:
    """Yield the directories from the group up to the mount point."""
    if path is None or mount is None:
        return
    root, point = mount
    if root != "/" and (path == root or path.startswith(root.rstrip("/") + "/")):
        path = path[len(root.rstrip("/")):]
    # With a namespace of its own a process can be outside what it sees: "/../other".
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for depth in range(len(parts), -1, -1):
        yield "/".join([point.rstrip("/"), *parts[:depth]])


def _found(value: Optional[Limit], where: str) -> List[Tuple[Limit, str]]:
    return [] if value is None else [(value, where)]


def _v2_cpus(text: Optional[str]) -> Optional[float]:
    """Read "150000 100000" as 1.5 CPUs; "max 100000" limits nothing."""
    numbers = (text or "").split()
    if len(numbers) != 2 or not all(number.isdigit() for number in numbers) or numbers[1] == "0":
        return None
    return int(numbers[0]) / int(numbers[1])


def _bytes_of(text: Optional[str]) -> Optional[int]:
    value = _integer(text)
    return value if 0 < value < UNLIMITED_BYTES else None


def _integer(text: Optional[str]) -> int:
    """Return a whole number of a kernel file, -1 for anything else ("max", nothing)."""
    text = (text or "").strip()
    return int(text) if text.isdigit() else -1
