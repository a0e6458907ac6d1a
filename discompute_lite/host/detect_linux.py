"""Say what a Linux machine is: a PC, a server, a board, a container with a part of one.

Knows:   /proc, /sys, device trees, and the limits of control groups and affinity.
Refuses: to report a machine's CPUs and memory where this process may use less.
Read next: host/cgroup.py (the limits), host/pc_gpus.py (graphics cards), host/detect_others.py (Android is a
           Linux of its own).
"""

from __future__ import annotations

import math
import re
from typing import Dict, List, Optional, Tuple

from ..model.device import DeviceCapabilities, Hardware
from .cgroup import GroupLimits, group_limits
from .lookup import FoundGpu, NamedChip, cpuinfo_value, find_soc
from .pc_gpus import linux_gpus
from .probe import Probe

_CPU_FOLDER = "/sys/devices/system/cpu"
#: "CPU part" of /proc/cpuinfo for implementer 0x41 (Arm), as util-linux's lscpu names them.
_ARM_PARTS = {"0xb76": "ARM1176", "0xc07": "Cortex-A7", "0xd03": "Cortex-A53", "0xd05": "Cortex-A55",
              "0xd07": "Cortex-A57", "0xd08": "Cortex-A72", "0xd09": "Cortex-A73", "0xd0a": "Cortex-A75",
              "0xd0b": "Cortex-A76", "0xd0c": "Neoverse-N1", "0xd40": "Neoverse-V1", "0xd49": "Neoverse-N2",
              "0xd4f": "Neoverse-V2"}
#: What makers of boards write where no name was filled in.
_NO_PRODUCT = ("", "system product name", "to be filled by o.e.m.", "default string", "none", "not specified")


def detect_linux(probe: Probe) -> Optional[Hardware]:
    """Detect a Linux machine that is not Android; None elsewhere."""
    if not probe.platform.startswith("linux"):
        return None
    limits = group_limits(probe)
    cpu_facts = probe.read_text("/proc/cpuinfo") or ""
    sources: Dict[str, str] = {}
    notes: List[str] = []
    board = find_soc(_compatible_names(probe))
    chip = linux_chip(probe, cpu_facts, board, sources)
    gpus: List[FoundGpu] = []
    gpus += linux_gpus(probe)
    if not gpus and board is not None:
        gpus = [FoundGpu(board.gpu, 0, board.speed, "table of chips, by device tree")]
    gpu = fastest_gpu(gpus, sources, notes)
    capabilities = DeviceCapabilities(
        cpu_cores=usable_cpus(probe, limits, sources, notes), memory_mb=usable_memory_mb(probe, limits, sources, notes),
        has_gpu=gpu is not None, gpu_type=gpu.name if gpu else "", fp32_tflops=gpu.speed.fp32 if gpu else 0.0,
        fp16_tflops=gpu.speed.fp16 if gpu else 0.0, int8_tflops=gpu.speed.int8 if gpu else 0.0, chip=chip,
        os_version=_distribution(probe), supports_cuda=any(found.cuda for found in gpus))
    _note_surroundings(probe, cpu_facts, notes)
    return Hardware(type="linux", model=_machine_name(probe), identifier=_dmi(probe, "product_name"),
                    capabilities=capabilities, physical_cores=linux_physical_cores(probe, cpu_facts),
                    sources=tuple(sources.items()), notes=tuple(notes))


def usable_cpus(probe: Probe, limits: GroupLimits, sources: Dict[str, str], notes: List[str]) -> int:
    """Return the CPUs that this process may keep busy, at least 1: affinity mask and quota, whichever is less."""
    online = probe.cpu_count()
    mask = probe.affinity()
    usable = min(online, len(mask)) if mask else online
    sources["cpu_cores"] = "affinity mask" if mask else "online CPUs"
    if usable < online:
        notes.append(f"May run on {usable} of {online} CPUs (affinity mask).")
    if limits.cpus is not None and limits.cpus < usable:
        usable = math.ceil(limits.cpus)
        sources["cpu_cores"] = "CPU quota of the control group"
        notes.append(f"Inside a container limited to {limits.cpus:g} of {online} CPUs.")
    return max(1, usable)


def usable_memory_mb(probe: Probe, limits: GroupLimits, sources: Dict[str, str], notes: List[str]) -> int:
    """Return the memory that this process may use: the machine's, the groups' limit, its own; the least."""
    built_in = meminfo_bytes(probe).get("MemTotal", 0)
    if not built_in:
        built_in = max(0, probe.sysconf("SC_PHYS_PAGES")) * max(0, probe.sysconf("SC_PAGE_SIZE"))
    sources["memory_mb"] = "/proc/meminfo MemTotal"
    usable = built_in
    if limits.memory_bytes is not None and (limits.memory_bytes < usable or not usable):
        usable = limits.memory_bytes
        sources["memory_mb"] = "memory limit of the control group"
        notes.append(f"Inside a container limited to {usable >> 20} of {built_in >> 20} MB of memory.")
    own = probe.memory_rlimit()
    if 0 < own < usable:
        usable = own
        sources["memory_mb"] = "RLIMIT_AS"
        notes.append(f"This process may use {own >> 20} MB (ulimit -v).")
    return usable >> 20


def meminfo_bytes(probe: Probe) -> Dict[str, int]:
    """Return /proc/meminfo in bytes: "MemTotal", "MemAvailable" and so on; {} where it cannot be read."""
    facts = {}
    for line in (probe.read_text("/proc/meminfo") or "").splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()
        if number and number[0].isdigit():
            facts[name] = int(number[0]) * (1024 if number[-1] == "kB" else 1)
    return facts


def linux_chip(probe: Probe, cpu_facts: str, board: Optional[NamedChip], sources: Dict[str, str]) -> str:
    """Return the processor's name: as printed on a PC, by board or core type on ARM; the architecture at least."""
    for key in ("model name", "Hardware", "cpu model", "Processor"):
        found = cpuinfo_value(cpu_facts, key)
        if found and not found.startswith("BCM28"):  # every Raspberry Pi calls itself BCM2835
            sources["chip"] = f"/proc/cpuinfo {key}"
            return " ".join(found.split())
    if board is not None:
        sources["chip"] = "table of chips, by device tree"
        return board.name
    names = _compatible_names(probe)
    cores = [_ARM_PARTS[part] for part in re.findall(r"^CPU part\s*:\s*(\w+)", cpu_facts, re.MULTILINE)
             if part in _ARM_PARTS]
    counted = " + ".join(f"{cores.count(name)} {name}" for name in dict.fromkeys(cores))
    sources["chip"] = "device tree" if names else "/proc/cpuinfo CPU part" if counted else "uname"
    if names:
        return f"{names[0].upper()} ({counted})" if counted else names[0].upper()
    return counted or probe.machine()


def linux_physical_cores(probe: Probe, cpu_facts: str) -> int:
    """Return the cores that are built in (SMT siblings are one), 0 where unknown."""
    siblings = set()
    for name in probe.list_dir(_CPU_FOLDER):
        if re.fullmatch(r"cpu\d+", name):
            topology = f"{_CPU_FOLDER}/{name}/topology/"
            siblings.add(probe.read_text(topology + "core_cpus_list")
                         or probe.read_text(topology + "thread_siblings_list"))
    siblings.discard(None)
    if siblings:
        return len(siblings)
    packages = {}
    for block in cpu_facts.split("\n\n"):
        cores = cpuinfo_value(block, "cpu cores")
        if cores.isdigit():
            packages[cpuinfo_value(block, "physical id")] = int(cores)
    return sum(packages.values())


# ---- GPUs ---------------------------------------------------------------------------------------------


def fastest_gpu(gpus: List[FoundGpu], sources: Dict[str, str], notes: List[str]) -> Optional[FoundGpu]:
    """Return the GPU to speak of, by nominal speed, then memory; say where it comes from and what else there is."""
    if not gpus:
        return None
    chosen = max(gpus, key=lambda gpu: (gpu.speed.fp32, gpu.memory_mb))
    sources["gpu_type"] = chosen.source
    if chosen.speed.fp32:
        sources["tflops"] = f"nominal, table of GPUs: {chosen.speed.confidence} confidence"
    else:
        notes.append(f"No figure is known for {chosen.name}.")
    others = list(gpus)
    others.remove(chosen)
    if others:
        notes.append(f"Further GPUs: {', '.join(gpu.name for gpu in others)}.")
    return chosen


# ---- the machine --------------------------------------------------------------------------------------


def _machine_name(probe: Probe) -> str:
    """Return "Raspberry Pi 5 Model B Rev 1.0" or "LENOVO ThinkPad X1", "" where nothing says."""
    board = (probe.read_text("/proc/device-tree/model") or "").strip()
    if board:
        return board
    product, maker = _dmi(probe, "product_name"), _dmi(probe, "sys_vendor")
    if maker.upper() == "LENOVO":
        product = _dmi(probe, "product_version") or product  # Lenovo's product_name is an order number
    return product if product.startswith(maker) else f"{maker} {product}".strip()


def _dmi(probe: Probe, name: str) -> str:
    value = " ".join((probe.read_text(f"/sys/class/dmi/id/{name}") or "").split())
    return "" if value.lower() in _NO_PRODUCT else value


def _compatible_names(probe: Probe) -> List[str]:
    """Return the chip of the device tree, if any: "raspberrypi,4-model-b\\0brcm,bcm2711" gives ["bcm2711"].

    The first entry is the board, the last the chip, but for Apple's, which ends with "apple,arm-platform".
    """
    text = probe.read_text("/proc/device-tree/compatible") or ""
    names = [entry.partition(",")[2] for entry in text.split("\0")[1:] if "," in entry]
    return [name for name in names if not name.endswith("-platform")][-1:]


def _distribution(probe: Probe) -> str:
    found = re.search(r'^PRETTY_NAME="?([^"\n]+)', probe.read_text("/etc/os-release") or "", re.MULTILINE)
    return found.group(1).strip() if found else f"Linux {probe.uname()[2]}".strip()


def surroundings(probe: Probe) -> str:
    """Return what this system runs inside of: "wsl", "container", or ""."""
    if probe.platform != "linux":
        return ""
    if "microsoft" in probe.uname()[2].lower():
        return "wsl"
    marks = ("/.dockerenv", "/run/.containerenv")
    return "container" if any(probe.read_text(path) is not None for path in marks) else ""


def _note_surroundings(probe: Probe, cpu_facts: str, notes: List[str]) -> None:
    release, inside = probe.uname()[2].lower(), surroundings(probe)
    flags: Tuple[str, ...] = tuple(cpuinfo_value(cpu_facts, "flags").split())
    if inside == "container" and not any("Inside a container" in note for note in notes):
        notes.append("Inside a container without limits of its own.")
    if inside == "wsl":
        notes.append("Inside the Windows Subsystem for Linux.")
    elif "ish" in release.split("-"):
        notes.append("Inside iSH, which emulates a PC on an iPhone: slow.")
    elif "hypervisor" in flags:
        notes.append("In a virtual machine.")
