"""Say what this device is, how fast, and what holds for tasks that run on it: what `info` shows.

Knows:   detectors, the stored measurement, and how to measure anew beside the node.
Refuses: to change anything but the stored measurement.
Read next: host/detect.py, host/measuring.py (when a node measures), host/active_limits.py.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, List, Optional, Union

from ..crypto.p256 import device_id
from ..model.device import PHONE_TYPES, Hardware
from ..model.errors import InternalError
from ..model.settings import Settings
from .active_limits import is_kept_offline, limits_for_tasks, runs_in_processes
from .detect import detect_hardware, device_name, has_processes, has_tls
from .parallel_speed import PACED_PROCESSES_MAX
from .probe import Probe
from .speed import SpeedReport, measure_speed
from .store import StateFolder, default_state_folders

#: Seconds that a measurement may take; it needs one.
MEASUREMENT_S = 20.0
#: And in the node's own process.
MEASUREMENT_HERE_S = 0.3


@dataclass(frozen=True)
class ThisDevice:
    """Hold what `info` shows: this device without a node running."""

    #: "" before the first start, which makes the identity.
    id: str
    name: str
    hardware: Hardware
    measured: Dict[str, Any]
    #: Name of a limit for tasks -> what holds here, "not limited" where nothing does.
    limits: Dict[str, str]


def describe_device(
    settings: Settings, probe: Probe, state: StateFolder, random_bytes: Callable[[int], bytes],
    report: Optional[SpeedReport], *, network_check: List[str],
) -> ThisDevice:
    """Detect this device; a fresh `report` is stored, without one the stored measurement is shown.

    `network_check` is the command that tries whether tasks can be kept from the network here.
    """
    hardware = detect_hardware(probe)
    if report is not None:
        state.write_json("speed.json", report.to_dict())
    else:
        report = SpeedReport.from_dict(state.read_json("speed.json", {}))
    return ThisDevice(
        id=device_id(state.load_or_make_key(random_bytes)) if state.has_key() else "",
        name=settings.name or device_name(probe, hardware),
        hardware=hardware,
        measured=measured_facts(report) if report is not None else {},
        limits=limits_for_tasks(settings, probe, hardware, is_kept_offline(settings, probe, network_check)),
    )


def slots_here(settings: Settings, hardware: Hardware) -> int:
    """Return how many subtasks run at once on this device."""
    return settings.slots or (1 if hardware.type in PHONE_TYPES else max(1, hardware.capabilities.cpu_cores))


def settings_here(settings: Settings, probe: Probe) -> Settings:
    """Return the settings with what those come to on this device that were left to it."""
    hardware = detect_hardware(probe)
    folders = default_state_folders(probe.environ, os.path.expanduser("~"), on_ios=probe.inside_ios())
    return replace(
        settings, name=settings.name or device_name(probe, hardware), slots=slots_here(settings, hardware),
        executor=settings.executor or ("process" if runs_in_processes(settings, probe) else "thread"),
        accept=settings.accept or ("ask" if hardware.type in PHONE_TYPES else "any"),
        state_dir=settings.state_dir or (folders[0] if folders else ""),
    )


def start_warnings(settings: Settings, probe: Probe, network_check: List[str]) -> List[str]:
    """Return what a node that starts with these settings cannot do, a sentence each; parameters as above."""
    found = []
    if not (settings.task_network or is_kept_offline(settings, probe, network_check)):
        found.append("task-network false cannot be had here: tasks can use the network all the same")
    if not has_tls():
        found.append("this Python has no TLS (its module ssl is missing), so this device stays alone; use another"
                     " Python to work together with others")
    return found


def measured_facts(report: SpeedReport) -> Dict[str, Any]:
    """Return a measurement as devices tell it to one another."""
    measured: Dict[str, Any] = {"score": round(report.score, 3), "python": report.python}
    if report.matmul_gflops:
        measured["matmul_gflops"] = round(report.matmul_gflops, 1)
    if report.parallel > 0:
        measured["parallel"], measured["processes"] = round(report.parallel, 2), report.processes
    return measured


class Measurement:
    """Measure this machine in a fresh Python, so that nothing of ours disturbs it; it starts at once."""

    def __init__(self, command: List[str]) -> None:
        """Start `command`, which prints a `SpeedReport` as JSON; raise OSError where no process can be had."""
        import subprocess  # Absent in some app Pythons.

        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def report(self) -> Optional[SpeedReport]:
        """Wait for the outcome; None when there is none. No process is left when this returns."""
        import subprocess

        with self._process:
            try:
                printed, _ = self._process.communicate(timeout=MEASUREMENT_S)
                return SpeedReport.from_dict(json.loads(printed))
            except (OSError, ValueError, subprocess.SubprocessError):
                return None
            finally:
                self._process.kill()

    def stop(self) -> None:
        """Make `report` return soon; any thread may call this."""
        self._process.kill()


class MeasurementHere:
    """Measure in this process, for apps that cannot start another: shorter, since phones get hot."""

    def report(self) -> Optional[SpeedReport]:
        """Measure on the thread that calls; None where this Python computes wrong results.

        What the node does meanwhile on its own thread shows as waiting, so as a measurement that does not count.
        """
        own_clock = getattr(time, "thread_time_ns", time.process_time_ns)
        try:
            # One interpreter computes one thing at a time, whatever the number of threads.
            return replace(measure_speed(cpu_clock=own_clock, budget_s=MEASUREMENT_HERE_S), parallel=1.0, processes=1)
        except InternalError:
            return None

    def stop(self) -> None:
        """Do nothing: it is over in a moment, and then nobody listens."""


def start_measurement(
    probe: Probe, relaunch: Callable[[str], List[str]], *, with_numpy: bool
) -> Union[Measurement, MeasurementHere]:
    """Start to measure by commands that `relaunch` gives for `speed_main` and `pace_main`, or in this process where
    there can be no other; raise OSError as above."""
    if not has_processes(probe):
        return MeasurementHere()
    command, pace_command = (relaunch(f"host.parallel_speed:{entry}") for entry in ("speed_main", "pace_main"))
    processes = max(1, min(len(probe.affinity() or ()) or probe.cpu_count(), PACED_PROCESSES_MAX))
    return Measurement([*command, json.dumps(pace_command), str(processes), *(["numpy"] if with_numpy else [])])
