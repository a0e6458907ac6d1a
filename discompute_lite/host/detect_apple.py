"""Say which iPhone or iPad this is, and what is inside it, with what Macs have in common with them.

Knows:   sysctl, the model identifiers and the bins of Apple's chips.
Refuses: marketing names as evidence ("pro" inside "MacBook Pro" says nothing about the chip), processes on
         iOS, and a GPU figure for a chip, a bin or a virtual machine that the tables do not have.
Read next: host/lookup.py (how the row is chosen), host/detect_macos.py (the rest of a Mac).

The order of belief: the machine's own chip string over the model's row; GPU cores from the machine, then the
model's row, then the CPU core counts, then the smallest bin; memory always from the machine.
"""

from __future__ import annotations

import re
from typing import Dict, List, Optional, Tuple

from ..model.device import DeviceCapabilities, Hardware, work_memory
from .lookup import NO_SPEED, AppleModel, NominalSpeed, find_apple_model, find_apple_speed
from .probe import IOS_MACHINES, Probe

GIGABYTE = 1 << 30
#: Every iOS app on a Mac is told that it runs on this iPad, which has 6 GB; the smallest such Mac has 8.
IPAD_OF_EVERY_MAC = "iPad8,6"
_IPAD_OF_EVERY_MAC_BYTES = 6.5 * GIGABYTE
_MAC_TYPES = (("MacBook", "macbook"), ("Mac mini", "mac_mini"), ("Macmini", "mac_mini"),
              ("Mac Studio", "mac_studio"), ("iMac", "imac"))


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
        speed = speed_of_bin(row.chip, _one_or_smallest(row.gpu_cores), sources, notes)
    if row is not None and len(row.gpu_cores) == 1 and not simulated:
        sources["gpu_type"] = f"table of models: {row.gpu_cores[0]} cores"
    cores = probe.sysctl_number("hw.ncpu") or counted_cores(probe, row, sources)
    # In the simulator of an Intel Mac the chip is a processor without a GPU of Apple's.
    gpu = chip if chip.startswith("Apple ") else ""
    memory_mb, work_memory_mb = _app_memory_mb(probe, row, sources, notes)
    capabilities = DeviceCapabilities(
        cpu_cores=cores, memory_mb=memory_mb, has_gpu=bool(gpu), gpu_type=gpu,
        fp32_tflops=speed.fp32, fp16_tflops=speed.fp16, int8_tflops=speed.int8, chip=chip,
        os_version=apple_os_version(probe, _ios_name(identifier)), supports_metal=True)
    name = row.name if row else f"{family_word(identifier)} (unknown model)"
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


def chip_of_mac(probe: Probe, row: Optional[AppleModel], sources: Dict[str, str]) -> Tuple[str, bool]:
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


def speed_of_bin(chip: str, gpu_cores: int, sources: Dict[str, str], notes: List[str]) -> NominalSpeed:
    """Return what the tables say of a chip with so many GPU cores; say in the notes where that is nothing."""
    speed = find_apple_speed(chip, gpu_cores)
    if speed.fp32:
        sources["tflops"] = (f"nominal, table of chips: {chip} with {gpu_cores} GPU cores, "
                             f"{speed.confidence} confidence")
    else:
        with_cores = f" with {gpu_cores} GPU cores" if gpu_cores else ""
        notes.append(f"No GPU figure is known for the Apple {chip}{with_cores}.")
    return speed


def mac_type(name: str) -> str:
    """Return the nearest type of a Mac, by its name or its model."""
    return next((kind for start, kind in _MAC_TYPES if name.startswith(start)), "mac")


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
    chip, _ = chip_of_mac(probe, row, sources)
    notes = ["An iOS app on a Mac: threads only, and figures of the GPU are not given."]
    capabilities = DeviceCapabilities(
        cpu_cores=probe.sysctl_number("hw.ncpu") or probe.cpu_count(), memory_mb=apple_memory_mb(probe, row, sources),
        has_gpu=chip.startswith("Apple "), gpu_type=chip if chip.startswith("Apple ") else "", chip=chip,
        os_version=apple_os_version(probe, "macOS"), supports_metal=True)
    return Hardware(type=mac_type(row.name if row else ""), model=row.name if row else "Mac (iOS app)",
                    identifier=identifier, capabilities=capabilities,
                    physical_cores=probe.sysctl_number("hw.physicalcpu") or 0,
                    sources=tuple(sources.items()), notes=tuple(notes))


def _app_memory_mb(
    probe: Probe, row: Optional[AppleModel], sources: Dict[str, str], notes: List[str]
) -> Tuple[int, int]:
    """Return what this app may use where iOS says so, else what the device has; and what of it is for work."""
    whole = apple_memory_mb(probe, row, sources)
    left = probe.app_memory_left() // (1 << 20)
    if 0 < left < whole:
        sources["memory_mb"] = "os_proc_available_memory"
        notes.append(f"This app may use {left} MB of the device's {whole} MB.")
        return left, min(left, work_memory(whole))
    notes.append("iOS ends an app that takes too much memory; how much that is, it does not say.")
    return whole, work_memory(whole)


def apple_memory_mb(probe: Probe, row: Optional[AppleModel], sources: Dict[str, str]) -> int:
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


def counted_cores(probe: Probe, row: Optional[AppleModel], sources: Dict[str, str]) -> int:
    """Return the cores where sysctl is refused: as Python counts them, else the fewest that the model is sold with."""
    counted = probe.cpu_count()
    if counted > 1 or row is None or not row.performance_cores:
        return counted
    sources["cpu_cores"] = "table of models"
    return min(row.performance_cores) + min(row.efficiency_cores, default=0)


def _one_or_smallest(counts: Tuple[int, ...]) -> int:
    return min(counts, default=0)


def family_word(identifier: str) -> str:
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
