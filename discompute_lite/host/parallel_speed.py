"""Measure how much more processes on all cores do together than one alone: the parallel factor.

Knows:   one child for each core, told to run at the same moment; what they did is counted over the same short time.
Refuses: threads, which share one interpreter; and to judge whether the machine was idle, see host/speed.py.
Read next: host/speed.py (the kernels, and who asks).

On chips whose cores differ, or with two threads a core, or under a quota, cores times speed overstates badly.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from typing import Any, Callable, List, Optional

from .speed import SPEED_KERNELS, measure_speed

#: More children than this show nothing new, and cost 10 MB each.
PACED_PROCESSES_MAX = 32
#: How long the children run, once alone and once together.
PACE_NS = 150_000_000
#: Of one kernel at a time, in the reference machine's nanoseconds.
_PORTION_NS = 500_000


def parallel_factor(command: List[str], processes: int, start: Optional[Callable[..., Any]] = None) -> float:
    """Return the work of so many processes at once relative to one alone; 0.0 where it could not be measured.

    `command` runs `pace_main`; `start` is `subprocess.Popen` where nothing is given. No process is left when this
    returns, nor when whoever called it is killed: a child ends with its input.
    """
    import subprocess  # Absent in some app Pythons.

    start = start or subprocess.Popen
    children: List[Any] = []
    try:
        for _ in range(min(processes, PACED_PROCESSES_MAX)):
            children.append(start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
        for child in children:
            _number_from(child)  # Ready: what it takes to start is not counted.
        alone, together = _paces_of(children[:1]), _paces_of(children)
        return round(together / alone, 2) if alone > 0 else 0.0
    except (OSError, ValueError, IndexError):
        return 0.0
    finally:
        for child in children:
            child.kill()
            child.communicate()


def _paces_of(children: List[Any]) -> float:
    for child in children:
        child.stdin.write(b"\n")
        child.stdin.flush()
    return sum(_number_from(child) for child in children)


def _number_from(child: Any) -> float:
    return float(child.stdout.readline())


def pace(clock: Callable[[], int] = time.perf_counter_ns) -> float:
    """Run the kernels in turn for a moment; return how many rounds a second that was."""
    portions = [(kernel.run, max(1, int(_PORTION_NS / kernel.reference_ns))) for kernel in SPEED_KERNELS]
    start, rounds = clock(), 0
    while clock() - start < PACE_NS:
        for run, steps in portions:
            run(steps)
        rounds += 1
    return rounds * 1e9 / max(1, clock() - start)


def speed_main() -> None:
    """Measure in a process of its own and write the report to standard output.

    Arguments: the command that runs `pace_main` as JSON, how many of it, and "numpy" to ask for NumPy.
    """
    command, processes = json.loads(sys.argv[1]), int(sys.argv[2])
    report = measure_speed(with_numpy="numpy" in sys.argv[3:])
    if not report.contended:
        report = replace(report, parallel=parallel_factor(command, processes), processes=processes)
    sys.stdout.write(json.dumps(report.to_dict()))


def pace_main() -> None:
    """Say that we are ready by a number, then a pace for each line that comes, until the input ends."""
    sys.stdout.write("0\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        sys.stdout.write(f"{pace():.6g}\n")
        sys.stdout.flush()
