"""Say what a Windows PC is.

Knows:   Windows' registry and kernel32.
Refuses: PowerShell, WMI and `platform.platform()`: slow, wrong about memory above 4 GB, or crashing.
Read next: host/lookup.py (the table of PCs' GPUs); the small file for phones does without this module.
"""

from __future__ import annotations

import re
from typing import List, Optional

from ..model.device import DeviceCapabilities, Hardware
from .detect_linux import fastest_gpu
from .lookup import FoundGpu
from .pc_gpus import named_gpu
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
