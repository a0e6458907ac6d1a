"""Say what a simulated world is like: a scenario is data, and one seed gives one world.

Knows:   how many devices, how fast, which of them leave, sleep or slow down and when; how large the subtasks are.
Refuses: to play it; that is sim/world.py. Of chance only `rng.random()` is used, whose sequence Python promises.
Read next: sim/world.py.

Floats are added by `fsum`: from Python 3.12 on `sum` rounds differently, and one bit makes another world.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import fsum, sqrt
from random import Random
from typing import Any, List, Tuple

#: Speeds of a mixed fleet, 1.0 for the reference machine: a factor of twenty between an old phone and a workstation.
MIXED_SPEEDS = (0.5, 0.5, 1.0, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0)
#: Mean work of a subtask, in seconds of the reference machine.
MEAN_WORK_S = 4.0
#: A heavy tail is cut here, times the smallest: an unbounded one would make one subtask the whole task.
HEAVIEST = 60.0
WORKLOADS = ("equal", "heavy", "largest-last", "smallest-first")


@dataclass(frozen=True)
class Scenario:
    """Describe a world. Fractions are of the devices, 0 to 1, and of the messages for `loss` and `late`."""

    devices: int = 50
    #: All tasks together; 0 for ten a device.
    subtasks: int = 0
    seed: int = 7
    workload: str = "heavy"
    tasks: int = 1
    #: How many leave, at a random moment of the run; a half of these comes back a quarter of the run later.
    churn: float = 0.0
    #: How many fall asleep once: nothing is heard, nothing runs, then all goes on as if nothing had been.
    sleepers: float = 0.0
    #: How many become ten times slower at a random moment.
    stragglers: float = 0.0
    #: How many messages vanish, and how many arrive seconds late.
    loss: float = 0.0
    late: float = 0.0
    #: One-way delay of a message, seconds, before its jitter of a half to one and a half.
    latency_s: float = 0.005
    #: Attempts at once on each device, each at the device's speed.
    slots: int = 1
    #: Exact speeds instead of a mixed fleet; then `devices` is their number.
    speeds: Tuple[float, ...] = ()
    #: (number of a device, "leaves", "freezes" or "breaks", when, as a part of the run): for good, beside the fractions
    #: above.
    fates: Tuple[Tuple[int, str, float], ...] = ()
    #: True: a measured score is off by up to 30 %.
    is_score_rough: bool = True
    mean_work_s: float = MEAN_WORK_S
    #: True: each subtask is added when there is room for it, as a map over an endless iterator does.
    is_open: bool = False
    #: (number of a device, seconds there and back, bytes a second): devices behind a slow link, on which pieces of
    #: `size_bytes` go one after the other.
    far: Tuple[Tuple[int, float, float], ...] = ()
    size_bytes: int = 0
    #: Handed to the scheduler as they are: fields of `DeviceReady` and `TaskSubmitted`.
    device_fields: Tuple[Tuple[str, Any], ...] = ()
    task_fields: Tuple[Tuple[str, Any], ...] = ()


@dataclass
class DevicePlan:
    """Say what one device is and what will befall it, in seconds from the start."""

    device_id: str
    speed: float
    #: What it claims to be.
    score: float
    slots: int
    #: Seconds there and back beside the messages' own delay, and bytes a second; 0.0 where there is no slow link.
    round_trip_s: float = 0.0
    bytes_s: float = 0.0
    #: Absent from .. to; infinity where it never comes back.
    gone: List[Tuple[float, float]] = field(default_factory=list)
    is_goodbye: bool = False
    asleep: List[Tuple[float, float]] = field(default_factory=list)
    #: From then on its speed is divided by SLOWED.
    slows_at: float = float("inf")
    #: From then on all its work fails at once.
    breaks_at: float = float("inf")


#: How much slower a straggler becomes.
SLOWED = 10.0


def plan_works(scenario: Scenario, rng: Random) -> List[float]:
    """Return the work of each subtask, in seconds of the reference machine, in order of index."""
    count = scenario.subtasks or 10 * max(1, scenario.devices)
    if scenario.workload == "equal":
        return [scenario.mean_work_s] * count
    # Pareto with exponent 2, by a square root because that is exact everywhere; its mean is twice its smallest.
    works = [min(HEAVIEST, 1.0 / sqrt(1.0 - rng.random())) * scenario.mean_work_s / 2.0 for _ in range(count)]
    if scenario.workload == "largest-last":
        largest = works.index(max(works))
        works.append(works.pop(largest))
    elif scenario.workload == "smallest-first":
        works.sort()
    elif scenario.workload != "heavy":
        raise ValueError(f"no such workload: {scenario.workload!r}; choose one of {', '.join(WORKLOADS)}")
    return works


def plan_fleet(scenario: Scenario, rng: Random, total_work: float) -> List[DevicePlan]:
    """Return the devices and their fates; every device draws the same number of lots, whatever befalls it."""
    lots = []
    plans = []
    for number in range(len(scenario.speeds) or scenario.devices):
        drawn = [rng.random() for _ in range(6)]
        speed = scenario.speeds[number] if scenario.speeds else MIXED_SPEEDS[int(drawn[0] * len(MIXED_SPEEDS))]
        score = speed * (0.7 + 0.6 * drawn[1]) if scenario.is_score_rough else speed
        plans.append(DevicePlan(f"d{number:05d}", speed, score, scenario.slots))
        lots.append(drawn)
    horizon = total_work / fsum(plan.speed * plan.slots for plan in plans)
    for plan, drawn in zip(plans, lots):
        _plan_fate(plan, scenario, drawn, horizon)
    for number, round_trip_s, bytes_s in scenario.far:
        plans[number].round_trip_s, plans[number].bytes_s = round_trip_s, bytes_s
    for number, fate, part in scenario.fates:
        if fate == "breaks":
            plans[number].breaks_at = part * horizon
            continue
        # A frozen device is connected and silent for ever, as a phone in a pocket or a stopped process is.
        befallen = plans[number].gone if fate == "leaves" else plans[number].asleep
        befallen.append((part * horizon, float("inf")))
    return plans


def _plan_fate(plan: DevicePlan, scenario: Scenario, lots: List[float], horizon: float) -> None:
    fate, moment = lots[2], horizon * (0.05 + 0.9 * lots[3])
    if fate < scenario.churn:
        back = moment + horizon / 4 if lots[4] < 0.5 else float("inf")
        plan.gone.append((moment, back))
        plan.is_goodbye = lots[5] < 0.3
    elif fate < scenario.churn + scenario.sleepers:
        plan.asleep.append((moment, moment + 5.0 + 40.0 * lots[4]))
    elif fate < scenario.churn + scenario.sleepers + scenario.stragglers:
        plan.slows_at = moment


def makespan_bound(plans: List[DevicePlan], works: List[float]) -> float:
    """Return the least time in which this fleet could do this work, knowing everything beforehand, messages free."""
    changes = []
    for plan in plans:
        rate = plan.speed * plan.slots
        changes.append((0.0, rate))
        for start, end in [*plan.gone, *plan.asleep, (plan.breaks_at, float("inf"))]:
            changes += [(start, -rate), (end, rate)]
        changes.append((plan.slows_at, rate / SLOWED - rate))
    changes.sort()
    left, since, capacity = fsum(works), 0.0, 0.0
    for moment, change in changes:
        # The sum of many rates that come and go ends a hair beside zero.
        if capacity > 1e-6 and (moment - since) * capacity >= left:
            break
        if moment == float("inf"):
            break
        left -= (moment - since) * max(0.0, capacity)
        since, capacity = moment, capacity + change
    fastest = max(plan.speed for plan in plans)
    return max(since + left / capacity if capacity > 1e-6 else float("inf"), max(works) / fastest)
