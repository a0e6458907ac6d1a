"""Say what an Android device, a Windows PC and any other machine is.

Knows:   Android's system properties; Windows' registry and kernel32; sysconf for the rest.
Refuses: PowerShell, WMI and `platform.platform()`: slow, wrong about memory above 4 GB, or crashing.
Read next: host/lookup.py (the tables of phones' chips and PCs' GPUs).
"""

from __future__ import annotations

import re
from typing import Dict, List, Optional

from ..model.device import DeviceCapabilities, Hardware, work_memory
from .cgroup import GroupLimits
from .detect_linux import (
    FoundGpu,
    cpuinfo_value,
    fastest_gpu,
    linux_physical_cores,
    named_gpu,
    usable_cpus,
    usable_memory_mb,
)
from .lookup import find_soc
from .probe import Probe

_CPU_KEY = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
_BIOS_KEY = r"HARDWARE\DESCRIPTION\System\BIOS"
#: The class of display adapters; its subkeys are 0000, 0001 and so on.
_DISPLAY_KEY = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}"
_DISPLAYS_MAX = 8
#: Displays that compute nothing: remote desktops, the driver of last resort, virtual screens.
_NO_GPU = ("microsoft", "remote", "virtual", "vmware", "citrix", "displaylink", "parsec")
#: Windows 11 still calls itself 10.0; its builds begin here.
_WINDOWS_11_BUILD = 22000
_SOC_PROPERTIES = ("ro.soc.model", "ro.board.platform", "ro.mediatek.platform", "ro.hardware.chipname", "ro.hardware")


def is_android(probe: Probe) -> bool:
    """Say whether this is Android: an official Python, Termux, Pydroid."""
    if probe.platform == "android":
        return True
    marks = "ANDROID_ROOT" in probe.environ or "ANDROID_DATA" in probe.environ
    return probe.platform.startswith("linux") and (marks or probe.read_text("/system/build.prop") is not None)


def detect_android(probe: Probe) -> Optional[Hardware]:
    """Detect an Android device; None elsewhere."""
    if not is_android(probe):
        return None
    sources: Dict[str, str] = {"identifier": "ro.product.model"}
    notes: List[str] = []
    names = [probe.android_property(name) for name in _SOC_PROPERTIES]
    soc = find_soc([name for name in names if name])
    cpu_facts = probe.read_text("/proc/cpuinfo") or ""
    known = [name for name in names if name] + [cpuinfo_value(cpu_facts, "Hardware")]
    chip = soc.name if soc else known[0] or probe.machine()
    sources["chip"] = "table of chips, by system property" if soc else "system property"
    gpu_model = (probe.read_text("/sys/class/kgsl/kgsl-3d0/gpu_model") or "").strip()
    gpu = soc.gpu if soc else gpu_model
    if gpu:
        sources["gpu_type"] = "table of chips" if soc else "kgsl"
    speed = soc.speed if soc else None
    if speed and speed.fp32:
        sources["tflops"] = f"nominal, table of chips: {speed.confidence} confidence"
    else:
        notes.append(f"No GPU figure is known for the {chip}.")
    release = probe.android_property("ro.build.version.release")
    capabilities = DeviceCapabilities(
        cpu_cores=usable_cpus(probe, GroupLimits(), sources, notes),
        memory_mb=usable_memory_mb(probe, GroupLimits(), sources, notes), has_gpu=bool(gpu), gpu_type=gpu,
        fp32_tflops=speed.fp32 if speed else 0.0, fp16_tflops=speed.fp16 if speed else 0.0, chip=chip,
        os_version=f"Android {release}".strip())
    return Hardware(type="android", model=_android_name(probe), identifier=probe.android_property("ro.product.model"),
                    capabilities=capabilities, physical_cores=linux_physical_cores(probe, cpu_facts),
                    work_memory_mb=work_memory(capabilities.memory_mb), sources=tuple(sources.items()),
                    notes=tuple(notes))


def _android_name(probe: Probe) -> str:
    """Return "Google Pixel 8 Pro", without naming the maker twice."""
    model = probe.android_property("ro.product.marketname") or probe.android_property("ro.product.model")
    maker = probe.android_property("ro.product.manufacturer")
    maker = maker[:1].upper() + maker[1:]
    return model if model.lower().startswith(maker.lower()) else f"{maker} {model}".strip()


def detect_windows(probe: Probe) -> Optional[Hardware]:
    """Detect a Windows PC; None elsewhere."""
    if probe.platform != "win32":
        return None
    sources = {"chip": "registry", "cpu_cores": "GetActiveProcessorCount", "memory_mb": "GlobalMemoryStatusEx"}
    notes: List[str] = []
    gpu = fastest_gpu(_windows_gpus(probe), sources, notes)
    memory = probe.windows_memory()
    if memory is None:
        sources["memory_mb"] = "not known"
    maker, product = (str(probe.registry(_BIOS_KEY, name) or "").strip()
                      for name in ("SystemManufacturer", "SystemProductName"))
    chip = " ".join(str(probe.registry(_CPU_KEY, "ProcessorNameString") or probe.machine()).split())
    capabilities = DeviceCapabilities(
        cpu_cores=probe.cpu_count(), memory_mb=memory[0] >> 20 if memory else 0, has_gpu=gpu is not None,
        gpu_type=gpu.name if gpu else "", fp32_tflops=gpu.speed.fp32 if gpu else 0.0,
        fp16_tflops=gpu.speed.fp16 if gpu else 0.0, int8_tflops=gpu.speed.int8 if gpu else 0.0, chip=chip,
        os_version=_windows_name(probe), supports_cuda=gpu is not None and gpu.cuda)
    return Hardware(type="windows", model=product if product.startswith(maker) else f"{maker} {product}".strip(),
                    identifier=product, capabilities=capabilities, physical_cores=probe.windows_physical_cores(),
                    sources=tuple(sources.items()), notes=tuple(notes))


def _windows_gpus(probe: Probe) -> List[FoundGpu]:
    gpus = []
    for number in range(_DISPLAYS_MAX):
        key = f"{_DISPLAY_KEY}\\{number:04d}"
        name = probe.registry(key, "DriverDesc")
        if not isinstance(name, str) or any(word in name.lower() for word in _NO_GPU):
            continue
        # The 32-bit MemorySize beside it wraps at 4 GB.
        memory = probe.registry(key, "HardwareInformation.qwMemorySize")
        megabytes = memory >> 20 if isinstance(memory, int) else 0
        gpus.append(named_gpu(name.strip(), megabytes, "registry", cuda=bool(re.search("nvidia", name, re.IGNORECASE))))
    return gpus


def _windows_name(probe: Probe) -> str:
    version = probe.windows_version()
    if version is None:
        return "Windows"
    name = "11" if version[0] == 10 and version[2] >= _WINDOWS_11_BUILD else f"{version[0]}.{version[1]}"
    return f"Windows {'10' if name == '10.0' else name} (build {version[2]})"


def detect_other(probe: Probe) -> Optional[Hardware]:
    """Say what any machine with a Python tells: its system, its CPUs, its memory. Never None."""
    system, _, release, _, machine = probe.uname()
    mask = probe.affinity()
    memory = max(0, probe.sysconf("SC_PHYS_PAGES")) * max(0, probe.sysconf("SC_PAGE_SIZE"))
    capabilities = DeviceCapabilities(cpu_cores=len(mask) if mask else probe.cpu_count(), memory_mb=memory >> 20,
                                      chip=machine, os_version=f"{system} {release}".strip())
    notes = (f"No detector knows the platform {probe.platform!r}: only what every system tells is shown.",)
    return Hardware(type="unknown", model="", capabilities=capabilities, notes=notes,
                    sources=(("cpu_cores", "os"), ("memory_mb", "sysconf"), ("chip", "uname")))
