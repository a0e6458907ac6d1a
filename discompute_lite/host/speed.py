"""Measure how fast this Python computes, in less than a second, and say when the figure is not to be trusted.

Knows:   four small programs of the kinds that tasks are made of; with NumPy, one matrix product.
Refuses: FLOPS. The score is relative: 1.0 is `REFERENCE`. It contains the Python version, as a task will feel it.
Read next: host/measuring.py (when), core/placement.py (who uses the score as a first guess).

Score = geometric mean over the kernels of (reference time / best time). The best of at least five repetitions
is taken, never the mean: a single repetition was seen up to 68 % slower than the best. Each kernel is first
run at a small size and its result compared with a known one, which is a free test of the interpreter.
Each repetition is made to last about 10 ms; kernels take turns, so that a disturbance hits all of them alike.
"""

from __future__ import annotations

import hashlib
import math
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple, Union

from ..model.codec import from_json
from ..model.errors import InternalError, InvalidParams
from .metrics import cpu_ticks
from .probe import Probe

NanosecondClock = Callable[[], int]

#: Scores of different kernel versions are not comparable: raise it with any change to a kernel or its reference.
KERNEL_VERSION = 1
#: Whose score is 1.0.
REFERENCE = "one core of an AMD EPYC (Zen 4) virtual machine, CPython 3.11"
REPETITION_NS = 10_000_000
REPETITIONS_MIN = 5
#: The measurement is over when this many rounds made no kernel faster than by this ratio.
SETTLED_ROUNDS, SETTLED_RATIO = 3, 0.97
#: Wall time above CPU time by more than this factor: something else was running.
CONTENDED_RATIO = 1.2
#: Other programs used more than this share of one CPU: on cores with two threads they cost us a third.
OTHERS_RATIO = 0.3
#: What a measurement is good for; then power, heat or Python may have changed.
SPEED_GOOD_FOR_S = 7 * 24 * 3600
#: A running average weighs its newest measurement with at least one in so many.
AVERAGED_OVER = 4
#: Left for the matrix product, its import (0.1 s and more) not counted.
_MATMUL_NS = 150_000_000
_CHECK_STEPS = 64
_HASH_BLOCK = bytes(range(256)) * 16


class SpeedKernel(NamedTuple):
    """Describe one program: `run(steps)` costs the same for every step."""

    name: str
    run: Callable[[int], Union[int, float, str]]
    #: What `run(64)` returns on every Python.
    expected: Union[int, float, str]
    #: Nanoseconds a step on `REFERENCE`.
    reference_ns: float


class SpeedClocks(NamedTuple):
    """Hold three clocks in nanoseconds: the wall's, this process's CPU time, the CPU time of all programs (or -1)."""

    wall: NanosecondClock
    own: NanosecondClock
    everyone: NanosecondClock

    def read(self) -> Tuple[int, int, int]:
        """Return all three."""
        return self.wall(), self.own(), self.everyone()


@dataclass(frozen=True)
class SpeedReport:
    """Hold one measurement. `score` and `kernels` are relative to `REFERENCE`; larger is faster."""

    score: float = 0.0
    kernels: Dict[str, float] = field(default_factory=dict)
    #: The machine was busy meanwhile: the score is a lower bound; measure again when idle.
    contended: bool = False
    python: str = ""
    implementation: str = ""
    kernel_version: int = KERNEL_VERSION
    #: Unix seconds.
    taken_at: int = 0
    #: Float32 product of NumPy with as many threads as it takes, in GFLOPS; 0 where it was not measured.
    matmul_gflops: float = 0.0
    #: What `processes` processes do at once, relative to one alone; 0 where it was not measured.
    parallel: float = 0.0
    processes: int = 0
    #: Where power came from: "mains", "battery", or "" where that is not known.
    power: str = ""
    #: How many measurements this is the average of, at most `AVERAGED_OVER`.
    measurements: int = 1

    def to_dict(self) -> Dict[str, Any]:
        """Return the report as JSON types, for the state store."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Any) -> Optional[SpeedReport]:
        """Read a stored report; None when it is damaged or of another kernel version."""
        try:
            report = from_json(cls, raw, "speed")
        except InvalidParams:
            return None
        usable = report.kernel_version == KERNEL_VERSION and 0 < report.score < math.inf
        return report if usable else None

    def is_current(self, now_s: float) -> bool:
        """Say whether it still speaks for this Python, at `now_s` Unix seconds."""
        same = (self.python, self.implementation) == (_python_version(), sys.implementation.name)
        return same and not self.contended and 0 <= now_s - self.taken_at < SPEED_GOOD_FOR_S

    def is_of_other_power(self, power: str) -> bool:
        """Say whether it was taken on mains and the device runs on battery now, or the other way round."""
        return bool(self.power and power) and self.power != power

    def averaged_with(self, before: Optional[SpeedReport]) -> SpeedReport:
        """Return the running average of this newest measurement and those before it; itself where they are of another
        Python, another power source or too old. The mean is geometric, as the score is."""
        if before is None or not before.is_current(self.taken_at) or self.is_of_other_power(before.power):
            return self
        if before.kernels.keys() != self.kernels.keys() or not all(value > 0 for value in before.kernels.values()):
            return self
        count = max(1, min(before.measurements, AVERAGED_OVER - 1)) + 1

        def average(old: float, new: float) -> float:
            return _four_digits(old ** (1 - 1 / count) * new ** (1 / count))

        return replace(
            self, score=average(before.score, self.score), measurements=count,
            kernels={name: average(before.kernels[name], value) for name, value in self.kernels.items()},
            matmul_gflops=self.matmul_gflops or before.matmul_gflops,
            parallel=self.parallel or before.parallel, processes=self.processes if self.parallel else before.processes)


def machine_busy_ns() -> int:
    """Return the CPU time that all programs together have used since the start, -1 where it is not told."""
    probe = Probe()
    if probe.platform == "win32":
        times = probe.windows_times()
        return times[0] * 100 if times else -1
    ticks = cpu_ticks(probe.read_text("/proc/stat") or "", ()) if probe.platform.startswith("linux") else None
    per_second = probe.sysconf("SC_CLK_TCK")
    return int(ticks[0] * 1_000_000_000 / per_second) if ticks and per_second > 0 else -1


def measure_speed(clock: NanosecondClock = time.perf_counter_ns, cpu_clock: NanosecondClock = time.process_time_ns,
                  budget_s: float = 0.8, *, with_numpy: bool = False, busy_clock: NanosecondClock = machine_busy_ns,
                  wall: Callable[[], float] = time.time) -> SpeedReport:
    """Measure; takes about half a second, at most `budget_s` and one repetition.

    `with_numpy` adds the matrix product where NumPy is installed: importing it costs 0.1 s and 30 MB.
    Raises `InternalError` when a kernel's result is wrong: this Python or this machine cannot be trusted.
    """
    numpy_ns = _MATMUL_NS if with_numpy else 0
    clocks = SpeedClocks(clock, cpu_clock, busy_clock)
    scores, contended = time_kernels(SPEED_KERNELS, clocks, int(budget_s * 1e9) - numpy_ns)
    score = math.exp(sum(math.log(value) for value in scores.values()) / len(scores))
    return SpeedReport(
        score=_four_digits(score), kernels={name: _four_digits(value) for name, value in scores.items()},
        contended=contended, python=_python_version(), implementation=sys.implementation.name, taken_at=int(wall()),
        matmul_gflops=_four_digits(_matmul_gflops(clock, _MATMUL_NS)) if with_numpy else 0.0)


def time_kernels(kernels: Sequence[SpeedKernel], clocks: SpeedClocks,
                 budget_ns: int) -> Tuple[Dict[str, float], bool]:
    """Return each kernel's speed relative to its reference, and whether the machine was busy.

    While rounds still improve the best, or the machine is busy, more are run, to the end of the budget, in
    search of a quiet moment.
    """
    before = clocks.read()
    best: Dict[str, float] = {}
    steps: Dict[str, int] = {}
    for kernel in kernels:
        if kernel.run(_CHECK_STEPS) != kernel.expected:
            raise InternalError(f"the {kernel.name} kernel computed a wrong result; do not use this Python for work")
        steps[kernel.name], best[kernel.name] = _size_by_time(kernel, clocks.wall)
    rounds, improved_in, contended = 0, 0, False
    while clocks.wall() - before[0] < budget_ns:
        if rounds >= REPETITIONS_MIN and rounds - improved_in >= SETTLED_ROUNDS and not contended:
            break
        rounds += 1
        for kernel in kernels:
            per_step = _once(kernel, steps[kernel.name], clocks.wall)
            if per_step < best[kernel.name]:
                improved_in = rounds if per_step < best[kernel.name] * SETTLED_RATIO else improved_in
                best[kernel.name] = per_step
        contended = _was_contended(before, clocks.read())
    return {kernel.name: kernel.reference_ns / best[kernel.name] for kernel in kernels}, contended


def _was_contended(before: Tuple[int, int, int], after: Tuple[int, int, int]) -> bool:
    """Say whether others were busy, by (wall, own CPU, all CPUs' busy) nanoseconds at the start and now.

    Over the whole run, not for each repetition: the CPU clock of Windows ticks every 16 ms.
    """
    wall_ns, own_ns, all_ns = (late - early for early, late in zip(before, after))
    waited = wall_ns > own_ns * CONTENDED_RATIO
    return waited or (before[2] >= 0 and all_ns - own_ns > wall_ns * OTHERS_RATIO)


def _size_by_time(kernel: SpeedKernel, clock: NanosecondClock) -> Tuple[int, float]:
    """Double the steps until a repetition lasts long enough; return them and the time of one step."""
    steps = _CHECK_STEPS
    while True:
        per_step = _once(kernel, steps, clock)
        if per_step * steps >= REPETITION_NS or steps >= 1 << 30:
            return steps, per_step
        steps *= 2


def _once(kernel: SpeedKernel, steps: int, clock: NanosecondClock) -> float:
    before = clock()
    kernel.run(steps)
    return max(1, clock() - before) / steps


def _four_digits(value: float) -> float:
    return float(f"{value:.4g}")


def _python_version() -> str:
    return ".".join(str(part) for part in sys.version_info[:3])


# ---- the kernels --------------------------------------------------------------------------------------


def _integers(steps: int) -> int:
    """Run a linear congruential generator: small integers, one loop."""
    state = 1
    for _ in range(steps):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
    return state


def _floats(steps: int) -> float:
    """Run the logistic map where it settles: floats that stay the same on every machine (IEEE 754)."""
    value = 0.5
    for _ in range(steps):
        value = 2.5 * value * (1.0 - value) + 0.0625 * value
    return round(value, 9)


def _containers(steps: int) -> int:
    """Fill and read a dict of 64 keys and a list, as programs do between their loops."""
    total = 0
    for step in range(steps):
        table: Dict[int, int] = {}
        for key in range(64):
            table[key * 7 + step] = key
        total += len([key for key in table if table[key] & 1])
    return total


def _hashing(steps: int) -> str:
    """Hash 4 KB blocks: the share of work that C code does for Python."""
    digest = hashlib.sha256()
    for _ in range(steps):
        digest.update(_HASH_BLOCK)
    return digest.hexdigest()[:16]


SPEED_KERNELS: Tuple[SpeedKernel, ...] = (
    SpeedKernel("integers", _integers, 255202753, 80.0),
    SpeedKernel("floats", _floats, 0.625, 53.0),
    SpeedKernel("containers", _containers, 2048, 6800.0),
    SpeedKernel("hashing", _hashing, "2312394bd99545d9", 2340.0),
)


# ---- NumPy --------------------------------------------------------------------------------------------


def _matmul_gflops(clock: NanosecondClock, budget_ns: int) -> float:
    """Return 2 n^3 / best time of a float32 product, n doubled until it lasts long enough; 0.0 without NumPy."""
    try:
        import numpy
    except ImportError:
        return 0.0
    end, size, best = clock() + budget_ns, 128, 0.0
    repetitions = 0
    while repetitions < REPETITIONS_MIN and clock() < end:
        left = numpy.ones((size, size), dtype=numpy.float32)
        right = left * numpy.float32(0.5)
        before = clock()
        product = left @ right
        elapsed = max(1, clock() - before)
        if abs(float(product[0, -1]) - size * 0.5) > 1e-3 * size:
            raise InternalError("NumPy's matrix product is wrong; do not use this NumPy for work")
        best = max(best, 2.0 * size ** 3 / elapsed)  # operations a nanosecond are GFLOPS
        if elapsed < REPETITION_NS // 2 and size < 2048:
            size *= 2
        else:
            repetitions += 1
    return best
