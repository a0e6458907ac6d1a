"""Choose the row of a table that fits what a machine says about itself, or none.

Knows:   how identifiers, chips and the names that drivers print are written.
Refuses: to inherit a figure from a neighbour: an unknown name has no row, and no row means 0 TFLOPS.
Read next: host/chips.py (the tables), host/detect_apple.py (which asks most), host/pc_gpus.py (cards of PCs).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

from .chips import APPLE_CHIPS, APPLE_MODELS, PHONE_SOCS


@dataclass(frozen=True)
class NominalSpeed:
    """Give the nominal TFLOPS of one GPU (0 where no source has any) and how sure the source is."""

    fp32: float = 0.0
    fp16: float = 0.0
    int8: float = 0.0
    #: "high", "medium" or "low"; "" when there is no figure.
    confidence: str = ""


NO_SPEED = NominalSpeed()


@dataclass(frozen=True)
class AppleModel:
    """Describe a row of the Apple models; several numbers are the variants that share an identifier."""

    name: str
    chip: str
    memory_gb: Tuple[int, ...]
    performance_cores: Tuple[int, ...]
    efficiency_cores: Tuple[int, ...]
    gpu_cores: Tuple[int, ...]


@dataclass(frozen=True)
class NamedChip:
    """Describe a GPU or a phone's chip that is in a table: its name there, its GPU, its speed."""

    name: str
    gpu: str
    speed: NominalSpeed


@dataclass(frozen=True)
class FoundGpu:
    """Describe one GPU of a PC; `speed` is nothing where the name is in no table."""

    name: str
    memory_mb: int
    speed: NominalSpeed
    source: str
    cuda: bool = False


def find_apple_model(identifier: str) -> Optional[AppleModel]:
    """Return the row of "Mac15,8" or "iPhone17,1", or None."""
    for identifiers, name, chip, *numbers in APPLE_MODELS:
        if identifier in identifiers.split():
            return AppleModel(name, chip, *(tuple(int(number) for number in text.split()) for text in numbers))
    return None


def find_apple_speed(chip: str, gpu_cores: int) -> NominalSpeed:
    """Return the speed of one bin, such as ("M3 Max", 40); nothing unless that very bin is in the table."""
    for name, cores, _, _, fp32, fp16, int8, confidence in APPLE_CHIPS:
        if name == chip and cores == gpu_cores and fp32:
            return NominalSpeed(fp32, fp16, int8, confidence or "high")
    return NO_SPEED


def apple_gpu_bins(chip: str, performance_cores: int = 0, efficiency_cores: int = 0) -> Tuple[int, ...]:
    """Return the GPU core counts in which a chip is sold, fewest first; only those with these CPU cores if given."""
    fitting = set()
    for name, cores, fast, slow, *_ in APPLE_CHIPS:
        cpu_fits = not performance_cores or (str(performance_cores) in fast.split()
                                             and str(efficiency_cores) in slow.split())
        if name == chip and cpu_fits:
            fitting.add(cores)
    return tuple(sorted(fitting))


def cpuinfo_value(cpu_facts: str, key: str) -> str:
    """Return the first value of a key of /proc/cpuinfo, or ""."""
    found = re.search(rf"^{re.escape(key)}\s*:\s*(.+)$", cpu_facts, re.MULTILINE)
    return found.group(1).strip() if found else ""


def find_soc(names: Sequence[str]) -> Optional[NamedChip]:
    """Return the row of a phone's or board's chip by the first of these names that is in the table, or None.

    Vendors append grades: "SM8550-AB", "MT6983Z/TZA". A row fits when the rest begins with anything but a digit.
    """
    for wanted in (name.strip().lower() for name in names):
        best: Tuple[int, Optional[NamedChip]] = (0, None)
        for name, models, gpu, fp32, fp16, confidence in PHONE_SOCS:
            keys = [key for key in models.lower().split("|") if key]
            # Google says "Tensor G3"; one word alone is a code name of something else (an LG phone was "g3").
            exact = wanted == name.lower() or " " in wanted and name.lower().endswith(" " + wanted)
            length = 1000 if exact else max((len(key) for key in keys if _is_grade_of(wanted, key)), default=0)
            if length > best[0]:
                speed = NominalSpeed(fp32, fp16, 0.0, confidence or "high") if fp32 else NO_SPEED
                best = (length, NamedChip(name, gpu, speed))
        if best[1] is not None:
            return best[1]
    return None


def _is_grade_of(wanted: str, key: str) -> bool:
    return wanted == key or (wanted.startswith(key) and not wanted[len(key)].isdigit())
