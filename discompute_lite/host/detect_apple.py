"""Say which Mac, iPhone or iPad this is, and what is inside it.

Knows:   sysctl, the model identifiers and the bins of Apple's chips.
Refuses: marketing names as evidence ("pro" inside "MacBook Pro" says nothing about the chip), processes on
         iOS, and a GPU figure for a chip, a bin or a virtual machine that the tables do not have.
Read next: host/lookup.py (how the row is chosen), host/detect.py (who calls).

The order of belief: the machine's own chip string over the model's row; GPU cores from the machine, then the
model's row, then the CPU core counts, then the smallest bin; memory always from the machine.
"""

from __future__ import annotations

import json
import re
from typing import Dict, List, Optional, Tuple

from ..model.device import DeviceCapabilities, Hardware, work_memory
from .lookup import NO_SPEED, AppleModel, NominalSpeed, apple_gpu_bins, find_apple_model, find_apple_speed
from .probe import IOS_MACHINES, Probe

GIGABYTE = 1 << 30
#: Every iOS app on a Mac is told that it runs on this iPad, which has 6 GB; the smallest such Mac has 8.
IPAD_OF_EVERY_MAC = "iPad8,6"
_IPAD_OF_EVERY_MAC_BYTES = 6.5 * GIGABYTE
_MAC_TYPES = (("MacBook", "macbook"), ("Mac mini", "mac_mini"), ("Macmini", "mac_mini"),
              ("Mac Studio", "mac_studio"), ("iMac", "imac"))
_GPU_CORES_LINE = re.compile(r'"gpu-core-count"\s*=\s*(\d+)')


def detect_macos(probe: Probe) -> Optional[Hardware]:
    """Detect a Mac; None elsewhere, iOS included."""
    if probe.platform != "darwin" or probe.inside_ios():
        return None
    identifier = probe.sysctl_text("hw.model") or ""
    row = find_apple_model(identifier)
    sources = {"identifier": "sysctl hw.model"}
    chip, virtual = _chip_of_mac(probe, row, sources)
    virtual = virtual or identifier.startswith("VirtualMac")
    notes = _mac_notes(probe, identifier, row, virtual=virtual)
    physical = probe.sysctl_number("hw.physicalcpu") or 0
    gpu_type, speed = "", NO_SPEED
    if not virtual:
        gpu_type, speed = _gpu_of_mac(probe, chip, row, sources, notes)
    has_apple_gpu = chip.startswith("Apple ") and not virtual
    capabilities = DeviceCapabilities(
        cpu_cores=probe.sysctl_number("hw.logicalcpu") or _counted_cores(probe, row, sources),
        memory_mb=_memory_mb(probe, row, sources), has_gpu=bool(gpu_type), gpu_type=gpu_type,
        fp32_tflops=speed.fp32, fp16_tflops=speed.fp16, int8_tflops=speed.int8, chip=chip,
        os_version=apple_os_version(probe, "macOS"), supports_metal=has_apple_gpu or bool(gpu_type))
    return Hardware(type=_mac_type(row.name if row else identifier), model=_mac_name(identifier, row),
                    identifier=identifier, capabilities=capabilities, physical_cores=physical,
                    sources=tuple(sources.items()), notes=tuple(notes))


def detect_ios(probe: Probe) -> Optional[Hardware]:
    """Detect an iPhone, an iPad and what pretends to be one: a simulator, an iOS app on a Mac; None elsewhere."""
    if not probe.inside_ios():
        return None
    simulated = probe.environ.get("SIMULATOR_MODEL_IDENTIFIER", "")
    identifier = simulated or probe.machine()
    if not simulated and _is_mac_with_ios_app(probe, identifier):
        return _ios_app_on_mac(probe)
    row = find_apple_model(identifier)
    sources = {"identifier": "SIMULATOR_MODEL_IDENTIFIER" if simulated else "uname"}
    notes: List[str] = []
    chip, speed = f"Apple {row.chip}" if row else "", NO_SPEED
    if simulated or row is None:
        # Off a Mac this text is often missing or says no more than "Apple processor".
        chip = _plain_chip(probe.sysctl_text("machdep.cpu.brand_string") or "")[0]
        sources["chip"] = "sysctl machdep.cpu.brand_string" if chip else "not known"
        notes.append("In the simulator: chip, cores and speed are those of the Mac." if simulated else
                     f"The model {identifier} is newer than this program's tables.")
    else:
        sources["chip"] = "table of models"
        speed = _speed_of_bin(row.chip, _one_or_smallest(row.gpu_cores), sources, notes)
    if row is not None and len(row.gpu_cores) == 1 and not simulated:
        sources["gpu_type"] = f"table of models: {row.gpu_cores[0]} cores"
    cores = probe.sysctl_number("hw.ncpu") or _counted_cores(probe, row, sources)
    # In the simulator of an Intel Mac the chip is a processor without a GPU of Apple's.
    gpu = chip if chip.startswith("Apple ") else ""
    memory_mb, work_memory_mb = _app_memory_mb(probe, row, sources, notes)
    capabilities = DeviceCapabilities(
        cpu_cores=cores, memory_mb=memory_mb, has_gpu=bool(gpu), gpu_type=gpu,
        fp32_tflops=speed.fp32, fp16_tflops=speed.fp16, int8_tflops=speed.int8, chip=chip,
        os_version=apple_os_version(probe, _ios_name(identifier)), supports_metal=True)
    name = row.name if row else f"{_family_word(identifier)} (unknown model)"
    return Hardware(type=_ios_type(identifier), model=name + (" (simulator)" if simulated else ""),
                    identifier=identifier, capabilities=capabilities,
                    physical_cores=probe.sysctl_number("hw.physicalcpu") or 0, work_memory_mb=work_memory_mb,
                    sources=tuple(sources.items()), notes=tuple(notes))


def apple_os_version(probe: Probe, system: str) -> str:
    """Return "macOS 15.5" or "iOS 26.1"; where the version is not told, the kernel's: "iOS (Darwin 25.1.0)"."""
    version = probe.sysctl_text("kern.osproductversion")
    if version:
        return f"{system} {version}"
    release = probe.uname()[2]
    return f"{system} (Darwin {release})" if release else system


# ---- Macs ---------------------------------------------------------------------------------------------


def _chip_of_mac(probe: Probe, row: Optional[AppleModel], sources: Dict[str, str]) -> Tuple[str, bool]:
    """Return the chip as people call it, and whether it is a virtual one."""
    chip, virtual = _plain_chip(probe.sysctl_text("machdep.cpu.brand_string") or "")
    if chip:
        sources["chip"] = "sysctl machdep.cpu.brand_string"
        return chip, virtual
    if row is not None and row.chip and row.chip != "Intel":
        sources["chip"] = "table of models"
        return f"Apple {row.chip}", virtual
    return (row.chip if row else ""), virtual


def _plain_chip(brand: str) -> Tuple[str, bool]:
    """Return the chip without "(Virtual)", and whether that was there; "" for what Rosetta shows instead."""
    brand = " ".join(brand.split())
    # A program under Rosetta reads "VirtualApple @ 2.50GHz processor" on every Apple chip.
    if brand.startswith("VirtualApple") or brand == "Apple processor":
        return "", brand == "Apple processor"
    plain = brand.replace(" (Virtual)", "")
    return plain, plain != brand


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
    return chip, _speed_of_bin(short, cores, sources, notes)


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


def _speed_of_bin(chip: str, gpu_cores: int, sources: Dict[str, str], notes: List[str]) -> NominalSpeed:
    speed = find_apple_speed(chip, gpu_cores)
    if speed.fp32:
        sources["tflops"] = (f"nominal, table of chips: {chip} with {gpu_cores} GPU cores, "
                             f"{speed.confidence} confidence")
    else:
        with_cores = f" with {gpu_cores} GPU cores" if gpu_cores else ""
        notes.append(f"No GPU figure is known for the Apple {chip}{with_cores}.")
    return speed


def _mac_notes(probe: Probe, identifier: str, row: Optional[AppleModel], *, virtual: bool) -> List[str]:
    notes = []
    if virtual:
        notes.append("In a virtual machine: cores and memory are its own, GPU figures are not given.")
    elif row is None:
        notes.append(f"The model {identifier or 'of this Mac'} is not in this program's tables.")
    if probe.sysctl_number("sysctl.proc_translated") == 1:
        notes.append("This Python is translated by Rosetta; one built for arm64 is faster.")
    return notes


def _mac_type(name: str) -> str:
    return next((kind for start, kind in _MAC_TYPES if name.startswith(start)), "mac")


def _mac_name(identifier: str, row: Optional[AppleModel]) -> str:
    return row.name if row else f"{_family_word(identifier)} (unknown model)"


# ---- iPhones, iPads and Macs that run their apps ------------------------------------------------------


def _is_mac_with_ios_app(probe: Probe, identifier: str) -> bool:
    if not identifier.startswith(IOS_MACHINES):
        return True
    if identifier != IPAD_OF_EVERY_MAC:
        return False
    brand = probe.sysctl_text("machdep.cpu.brand_string") or ""
    return brand.startswith("Apple M") or (probe.sysctl_number("hw.memsize") or 0) > _IPAD_OF_EVERY_MAC_BYTES


def _ios_app_on_mac(probe: Probe) -> Hardware:
    identifier = probe.sysctl_text("hw.model") or ""
    row = find_apple_model(identifier)
    if row is None:
        identifier = ""
    sources = {"identifier": "sysctl hw.model"} if row else {}
    chip, _ = _chip_of_mac(probe, row, sources)
    notes = ["An iOS app on a Mac: threads only, and figures of the GPU are not given."]
    capabilities = DeviceCapabilities(
        cpu_cores=probe.sysctl_number("hw.ncpu") or probe.cpu_count(), memory_mb=_memory_mb(probe, row, sources),
        has_gpu=chip.startswith("Apple "), gpu_type=chip if chip.startswith("Apple ") else "", chip=chip,
        os_version=apple_os_version(probe, "macOS"), supports_metal=True)
    return Hardware(type=_mac_type(row.name if row else ""), model=row.name if row else "Mac (iOS app)",
                    identifier=identifier, capabilities=capabilities,
                    physical_cores=probe.sysctl_number("hw.physicalcpu") or 0,
                    sources=tuple(sources.items()), notes=tuple(notes))


def _app_memory_mb(
    probe: Probe, row: Optional[AppleModel], sources: Dict[str, str], notes: List[str]
) -> Tuple[int, int]:
    """Return what this app may use where iOS says so, else what the device has; and what of it is for work."""
    whole = _memory_mb(probe, row, sources)
    left = probe.app_memory_left() // (1 << 20)
    if 0 < left < whole:
        sources["memory_mb"] = "os_proc_available_memory"
        notes.append(f"This app may use {left} MB of the device's {whole} MB.")
        return left, min(left, work_memory(whole))
    notes.append("iOS ends an app that takes too much memory; how much that is, it does not say.")
    return whole, work_memory(whole)


def _memory_mb(probe: Probe, row: Optional[AppleModel], sources: Dict[str, str]) -> int:
    """Return the memory that is built in; iOS keeps a little, so it is rounded to a size that is sold."""
    told = probe.sysctl_number("hw.memsize") or 0
    sources["memory_mb"] = "sysctl hw.memsize"
    if told <= 0:
        told = max(0, probe.sysconf("SC_PHYS_PAGES")) * max(0, probe.sysconf("SC_PAGE_SIZE"))
        sources["memory_mb"] = "sysconf"
    if told <= 0:
        sources["memory_mb"] = "table of models" if row and row.memory_gb else "not known"
        return min(row.memory_gb) * 1024 if row and row.memory_gb else 0
    sizes = [size * 1024 for size in (row.memory_gb if row else ()) if 0 <= size * GIGABYTE - told < told * 0.1]
    return min(sizes) if sizes else told >> 20


def _counted_cores(probe: Probe, row: Optional[AppleModel], sources: Dict[str, str]) -> int:
    """Return the cores where sysctl is refused: as Python counts them, else the fewest that the model is sold with."""
    counted = probe.cpu_count()
    if counted > 1 or row is None or not row.performance_cores:
        return counted
    sources["cpu_cores"] = "table of models"
    return min(row.performance_cores) + min(row.efficiency_cores, default=0)


def _one_or_smallest(counts: Tuple[int, ...]) -> int:
    return min(counts, default=0)


def _family_word(identifier: str) -> str:
    """Return "iPhone" for "iPhone20,1" and "MacBookPro" for "MacBookPro19,1"."""
    word = re.match(r"[A-Za-z]*", identifier)
    return word.group() if word and word.group() else "Mac"


def _ios_type(identifier: str) -> str:
    """Return the nearest type: an iPod is an iPhone that cannot call, Vision runs the apps of the iPad."""
    if identifier.startswith(("iPhone", "iPod")):
        return "iphone"
    return "ipad" if identifier.startswith(("iPad", "RealityDevice")) else "unknown"


def _ios_name(identifier: str) -> str:
    if identifier.startswith("iPad"):
        return "iPadOS"
    return {"Real": "visionOS", "Appl": "tvOS"}.get(identifier[:4], "iOS")
