"""Say which graphics cards a PC has, and what the tables know of each.

Knows:   what the drivers of Linux tell, and how differently a card's name is written.
Refuses: to start a process, except nvidia-smi where the driver is loaded and names no GPU in /proc; a figure for a
         card that is in no table; and to be on phones, which have none.
Read next: host/chips.py (the table), host/detect_linux.py, host/detect_windows.py (who ask).
"""

from __future__ import annotations

import re
from typing import List, Optional

from .chips import PC_GPUS
from .lookup import NO_SPEED, FoundGpu, NamedChip, NominalSpeed, cpuinfo_value
from .probe import Probe

_NVIDIA_FOLDER = "/proc/driver/nvidia"
#: PCI vendors whose cards compute; a server's ASPEED or a virtual display is no GPU to us.
_GPU_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
_SYMBOLS = re.compile(r"\((?:R|TM|C)\)|[®™]", re.IGNORECASE)
_MEMORY_AT_END = re.compile(r"\s*(?:\(\s*\d+ ?gb\s*\)|\b\d+ ?gb)$")
_PARENTHESIS_AT_END = re.compile(r"\s*\([^)]*\)$")
_VENDOR_WORDS = ("nvidia ", "amd ", "ati ", "intel ")


def linux_gpus(probe: Probe) -> List[FoundGpu]:
    """Return all GPUs: NVIDIA's own driver first, then what /sys/class/drm has besides."""
    nvidia = _nvidia_gpus(probe)
    others = [gpu for gpu in _drm_gpus(probe) if not (nvidia and gpu.name.startswith("NVIDIA"))]
    return nvidia + others


def _nvidia_gpus(probe: Probe) -> List[FoundGpu]:
    gpus = []
    for address in probe.list_dir(_NVIDIA_FOLDER + "/gpus"):
        facts = probe.read_text(f"{_NVIDIA_FOLDER}/gpus/{address}/information") or ""
        name = cpuinfo_value(facts, "Model")
        if name and name != "Unknown":
            gpus.append(named_gpu(name, 0, "/proc/driver/nvidia", cuda=True))
    if not gpus and probe.list_dir(_NVIDIA_FOLDER):
        query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
        for line in (probe.run(query) or "").splitlines():
            name, _, memory = line.rpartition(",")
            if name:
                megabytes = int(memory) if memory.strip().isdigit() else 0
                gpus.append(named_gpu(name.strip(), megabytes, "nvidia-smi", cuda=True))
    return gpus


def _drm_gpus(probe: Probe) -> List[FoundGpu]:
    gpus = []
    for card in probe.list_dir("/sys/class/drm"):
        folder = f"/sys/class/drm/{card}/device/"
        vendor = (probe.read_text(folder + "vendor") or "").strip()
        if not re.fullmatch(r"card\d+", card) or vendor not in _GPU_VENDORS:
            continue
        memory = (probe.read_text(folder + "mem_info_vram_total") or "").strip()
        name = (probe.read_text(folder + "product_name") or "").strip()
        if not name:
            device = (probe.read_text(folder + "device") or "").strip()
            name = f"{_GPU_VENDORS[vendor]} GPU {vendor[2:]}:{device[2:]}"
        gpus.append(named_gpu(name, int(memory) >> 20 if memory.isdigit() else 0, "/sys/class/drm"))
    return gpus


def named_gpu(name: str, memory_mb: int, source: str, *, cuda: bool = False) -> FoundGpu:
    """Return a GPU with the figures of its row, or without figures."""
    row = find_gpu(name, memory_mb)
    return FoundGpu(name, memory_mb, row.speed if row else NO_SPEED, source, cuda)


def find_gpu(driver_name: str, memory_mb: int = 0) -> Optional[NamedChip]:
    """Return the row of a PC's GPU by the name that its driver prints, or None.

    Of several rows the one with this memory is taken, else the slowest. A memory size at the end of the
    name is dropped only when nothing is called so; "Laptop GPU" is part of the name.
    """
    wanted = normal_gpu_name(driver_name)
    for candidate in dict.fromkeys((wanted, _MEMORY_AT_END.sub("", wanted), _without_gpu_word(wanted))):
        rows = [row for row in PC_GPUS if candidate and candidate in _names_of_gpu(row[0], row[6])]
        if rows:
            fitting = [row for row in rows if memory_mb and abs(row[1] * 1024 - memory_mb) <= memory_mb * 0.1]
            name, _, fp32, fp16, int8, confidence, _ = min(fitting or rows, key=lambda row: row[2])
            return NamedChip(name, name, NominalSpeed(fp32, fp16, int8, confidence or "high"))
    return None


def normal_gpu_name(name: str) -> str:
    """Return a GPU's name in small letters, without trademarks, vendor and double blanks."""
    plain = name if name.isascii() and "(" not in name else _SYMBOLS.sub(" ", name)
    text = " ".join(plain.lower().split())
    for word in _VENDOR_WORDS:
        if text.startswith(word):
            return text[len(word):]
    return text


def _without_gpu_word(name: str) -> str:
    name = _MEMORY_AT_END.sub("", name)
    return name[:-len(" gpu")] if name.endswith(" gpu") and not name.endswith(" laptop gpu") else name


def _names_of_gpu(name: str, driver_names: str) -> List[str]:
    """Return everything a row may be called: its own name, without memory size or remark, and the drivers' names."""
    own = normal_gpu_name(name)
    names = [own, _PARENTHESIS_AT_END.sub("", own)] if own.endswith(")") else [own]
    return names + [normal_gpu_name(text) for text in driver_names.split("|") if text]
