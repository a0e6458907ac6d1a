"""Say which Mac this is, and what is inside it.

Knows:   what a Mac's own commands tell of its GPU, and what its CPU cores say where those are not allowed.
Refuses: to be on phones: what of this they need too, apps of theirs that run on a Mac included, is in
         host/detect_apple.py.
Read next: host/detect_apple.py (the order of belief), host/detect_windows.py.
"""

from __future__ import annotations

import json
import re
from typing import Dict, List, Optional, Tuple

from ..model.device import DeviceCapabilities, Hardware
from .detect_apple import (
    apple_memory_mb, apple_os_version, chip_of_mac, counted_cores, family_word, mac_type, speed_of_bin,
)
from .lookup import NO_SPEED, AppleModel, NominalSpeed, apple_gpu_bins, find_apple_model
from .probe import Probe

_GPU_CORES_LINE = re.compile(r'"gpu-core-count"\s*=\s*(\d+)')


def detect_macos(probe: Probe) -> Optional[Hardware]:
    """Detect a Mac; None elsewhere, iOS included."""
    if probe.platform != "darwin" or probe.inside_ios():
        return None
    identifier = probe.sysctl_text("hw.model") or ""
    row = find_apple_model(identifier)
    sources = {"identifier": "sysctl hw.model"}
    chip, virtual = chip_of_mac(probe, row, sources)
    virtual = virtual or identifier.startswith("VirtualMac")
    notes = _mac_notes(probe, identifier, row, virtual=virtual)
    physical = probe.sysctl_number("hw.physicalcpu") or 0
    gpu_type, speed = "", NO_SPEED
    if not virtual:
        gpu_type, speed = _gpu_of_mac(probe, chip, row, sources, notes)
    has_apple_gpu = chip.startswith("Apple ") and not virtual
    capabilities = DeviceCapabilities(
        cpu_cores=probe.sysctl_number("hw.logicalcpu") or counted_cores(probe, row, sources),
        memory_mb=apple_memory_mb(probe, row, sources), has_gpu=bool(gpu_type), gpu_type=gpu_type,
        fp32_tflops=speed.fp32, fp16_tflops=speed.fp16, int8_tflops=speed.int8, chip=chip,
        os_version=apple_os_version(probe, "macOS"), supports_metal=has_apple_gpu or bool(gpu_type))
    return Hardware(type=mac_type(row.name if row else identifier), model=_mac_name(identifier, row),
                    identifier=identifier, capabilities=capabilities, physical_cores=physical,
                    sources=tuple(sources.items()), notes=tuple(notes))


def _gpu_of_mac(probe: Probe, chip: str, row: Optional[AppleModel], sources: Dict[str, str],
                notes: List[str]) -> Tuple[str, NominalSpeed]:
    if not chip.startswith("Apple "):
        name, _ = _gpu_of_system_profiler(probe)
        if name:
            sources["gpu_type"] = "system_profiler"
        return name, NO_SPEED
    short = chip[len("Apple "):]
    fitting = row if row is not None and row.chip == short else None
    cores = _gpu_cores_of_mac(probe, short, fitting, sources, notes)
    return chip, speed_of_bin(short, cores, sources, notes)


def _gpu_cores_of_mac(probe: Probe, chip: str, row: Optional[AppleModel], sources: Dict[str, str],
                      notes: List[str]) -> int:
    told = _GPU_CORES_LINE.search(probe.run(["/usr/sbin/ioreg", "-rc", "AGXAccelerator", "-d1"]) or "")
    if told:
        sources["gpu_type"] = f"ioreg: {told.group(1)} cores"
        return int(told.group(1))
    if row is not None and len(row.gpu_cores) == 1:
        sources["gpu_type"] = f"table of models: {row.gpu_cores[0]} cores"
        return row.gpu_cores[0]
    cores = _gpu_of_system_profiler(probe)[1]
    if cores:
        sources["gpu_type"] = f"system_profiler: {cores} cores"
        return cores
    fast, slow = _core_types(probe)
    bins = apple_gpu_bins(chip, fast, slow) if fast else ()
    if len(bins) == 1:
        sources["gpu_type"] = f"{fast} + {slow} CPU cores: {bins[0]} cores"
        return bins[0]
    bins = bins or (row.gpu_cores if row else ()) or apple_gpu_bins(chip)
    if bins:
        notes.append(f"The GPU has {' or '.join(str(count) for count in bins)} cores; the figures are for {bins[0]}.")
        sources["gpu_type"] = f"table of chips: smallest of {len(bins)}"
    return bins[0] if bins else 0


def _gpu_of_system_profiler(probe: Probe) -> Tuple[str, int]:
    """Return the first GPU's name and cores from the slow command (0.3 s), ("", 0) where it says nothing."""
    told = probe.run(["/usr/sbin/system_profiler", "SPDisplaysDataType", "-json"])
    try:
        first = json.loads(told or "{}")["SPDisplaysDataType"][0]
        name, cores = str(first.get("sppci_model", "")), str(first.get("sppci_cores", ""))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return "", 0
    return name, int(cores) if cores.isdigit() else 0


def _core_types(probe: Probe) -> Tuple[int, int]:
    """Return the cores of the fastest kind and of all slower kinds; M6 has three kinds."""
    levels = probe.sysctl_number("hw.nperflevels") or 0
    counts = [probe.sysctl_number(f"hw.perflevel{level}.physicalcpu") or 0 for level in range(min(levels, 8))]
    return (counts[0], sum(counts[1:])) if counts else (0, 0)


def _mac_notes(probe: Probe, identifier: str, row: Optional[AppleModel], *, virtual: bool) -> List[str]:
    notes = []
    if virtual:
        notes.append("In a virtual machine: cores and memory are its own, GPU figures are not given.")
    elif row is None:
        notes.append(f"The model {identifier or 'of this Mac'} is not in this program's tables.")
    if probe.sysctl_number("sysctl.proc_translated") == 1:
        notes.append("This Python is translated by Rosetta; one built for arm64 is faster.")
    return notes


def _mac_name(identifier: str, row: Optional[AppleModel]) -> str:
    return row.name if row else f"{family_word(identifier)} (unknown model)"
