"""Say what an Android device and any other machine is.

Knows:   Android's system properties; sysconf for the rest.
Refuses: `platform.platform()`: slow, or crashing.
Read next: host/lookup.py (the table of phones' chips), host/detect_windows.py.
"""

from __future__ import annotations

from typing import Dict, List, Optional

from ..model.device import DeviceCapabilities, Hardware, work_memory
from .cgroup import GroupLimits
from .detect_linux import linux_physical_cores, usable_cpus, usable_memory_mb
from .lookup import cpuinfo_value, find_soc
from .probe import Probe

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
