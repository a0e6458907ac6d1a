"""Play a fleet of devices on a clock that jumps: `python3 tools/simulate.py --devices 50 --seed 7 --story`.

Prints the story if asked for, the makespan beside the least that anybody could have done, and a digest over every
event and action: the same arguments give the same digest on every Python.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, Callable, List, Optional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from discompute_lite.model.limits import Limits
from discompute_lite.sim.crowd import CROWD_WINDOW_S, Crowd
from discompute_lite.sim.scenario import WORKLOADS, Scenario
from discompute_lite.sim.world import World

#: What asks the scheduler for all that it can do.
FULL_TASK = (("pure", True), ("function", "f"))
#: Virtual seconds of a crowd.
CROWD_S = 420.0
FULL_DEVICE = (("window", 8), ("silence_s", 2.5))


def arguments_of(words: Optional[List[str]]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Simulate a fleet of devices and the scheduler over it.")
    parser.add_argument("--devices", type=int, default=50, help="how many (default: 50)")
    parser.add_argument("--subtasks", type=int, default=0, help="how many, all tasks together (default: 10 a device)")
    parser.add_argument("--tasks", type=int, default=1, help="how many tasks share them (default: 1)")
    parser.add_argument("--workload", choices=WORKLOADS, default="heavy", help="sizes of subtasks (default: heavy)")
    parser.add_argument("--speeds", default="", metavar="A,B,…", help="exact speeds instead of a mixed fleet")
    parser.add_argument("--seed", type=int, default=7, help="another seed, another world (default: 7)")
    for name, text in (
        ("churn", "devices that leave at a random moment; half of them come back"),
        ("sleepers", "devices that fall asleep for 5 to 45 s"), ("stragglers", "devices that become ten times slower"),
        ("loss", "messages that vanish"), ("late", "messages that arrive up to 15 s late"),
    ):
        parser.add_argument(f"--{name}", type=float, default=0.0, metavar="P", help=f"fraction of {text} (default: 0)")
    parser.add_argument("--plain", action="store_true", help="without second attempts, windows and learning")
    parser.add_argument("--story", action="store_true", help="print what befell whom")
    parser.add_argument("--crowd", type=int, default=0, metavar="N",
                        help="instead of work, N nodes that announce themselves on one network for seven minutes")
    return parser.parse_args(words)


class Stopwatch:
    """Call a function and add up the seconds that it takes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.seconds = 0.0

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        began = time.perf_counter()
        try:
            return self._function(*arguments)
        finally:
            self.seconds += time.perf_counter() - began


def play_crowd(nodes: int, seed: int) -> int:
    """Let a crowd announce itself, and print what that costs."""
    limits = Limits()
    report = Crowd(nodes, seed=seed).run(CROWD_S)
    for number, (sent, read) in enumerate(zip(report.sent_per_s, report.read_per_s)):
        print(f"{number * CROWD_WINDOW_S:6.0f} s  {sent:8.1f} datagrams/s in all, {read:6.1f} read by each")
    print(f"{nodes} nodes, seed {seed}: each announces itself every {report.every_s[0]:.1f} to"
          f" {report.every_s[1]:.1f} s, lists {min(report.present)} others (at most {limits.devices}),"
          f" has {max(report.links)} links (at most {limits.links_sought})")
    return 0 if report.sent_per_s[-1] < 100.0 else 1


def main(words: Optional[List[str]] = None) -> int:
    """Play one world and print what came of it."""
    asked = arguments_of(words)
    if asked.crowd:
        return play_crowd(asked.crowd, asked.seed)
    speeds = tuple(float(speed) for speed in asked.speeds.split(",") if speed)
    world = World(Scenario(
        devices=len(speeds) or asked.devices, subtasks=asked.subtasks, tasks=asked.tasks, workload=asked.workload,
        speeds=speeds, seed=asked.seed, churn=asked.churn, sleepers=asked.sleepers, stragglers=asked.stragglers,
        loss=asked.loss, late=asked.late, task_fields=() if asked.plain else FULL_TASK,
        device_fields=() if asked.plain else FULL_DEVICE,
    ), keeps_story=asked.story)
    deciding = Stopwatch(world.scheduler.apply)
    world.scheduler.apply = deciding  # type: ignore[method-assign]
    began = time.perf_counter()
    report = world.run()
    took = time.perf_counter() - began
    for line in report.story:
        print(line)
    ended = sorted(report.ended.values())
    print(f"{len(world.devices)} devices, {len(world.works)} subtasks, seed {asked.seed}: "
          + ", ".join(f"{ended.count(kind)} × {kind}" for kind in sorted(set(ended))))
    print(f"makespan {report.makespan_s:.3f} s, at least {report.bound_s:.3f} s: ratio {report.ratio:.3f}")
    print(f"{report.attempts} attempts, {report.second} of them beside another, {report.late} late messages; "
          f"{report.events} events and {report.checks} full checks in {took:.1f} s")
    each = deciding.seconds / len(world.works) * 1e6
    print(f"the scheduler took {deciding.seconds:.1f} s of it, {each:.0f} us a subtask")
    print(f"digest {report.digest}")
    return 0 if all(kind == "FinishTask" for kind in ended) else 1


if __name__ == "__main__":
    sys.exit(main())
