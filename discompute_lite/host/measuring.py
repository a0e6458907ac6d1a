"""Keep a node's measured speed true: measure when the device is idle, and again when the figure is old.

Knows:   when to measure: first soon after the start; then when some hours have passed, or power comes from elsewhere.
Refuses: to measure while work runs here, and to keep what was measured while others were busy.
Read next: host/speed.py and host/parallel_speed.py (what is measured), host/this_device.py (in which process).
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Callable, NamedTuple, Optional

from ..model.device import DeviceCapabilities
from ..model.errors import StateError
from .metrics import start_in_background
from .speed import SpeedReport
from .store import StateFolder

#: Seconds after the start, and between further looks at a node that is at work, until it measures itself.
MEASURE_AFTER_S = 6.0
#: Seconds between looks at what a measurement depends on; so a change of power is noticed within a minute.
LOOK_AGAIN_S = 60.0
#: Age at which an idle device measures again: heat, other programs and updates change it in the course of a day.
MEASURE_AGAIN_S = 6 * 3600.0


class MeasuredNode(NamedTuple):
    """Hold what is asked of, and told to, the node whose device is measured."""

    is_idle: Callable[[], bool]
    #: Where power comes from, as `power_of` says.
    power: Callable[[], str]
    publish: Callable[[SpeedReport], None]
    warn: Callable[[str], None]


def power_of(capabilities: DeviceCapabilities) -> str:
    """Return "mains" or "battery", "" where there is no battery or nothing is known of it."""
    if capabilities.battery_level < 0:
        return ""
    return "mains" if capabilities.is_charging else "battery"


class SpeedKeeper:
    """Measure a node's device now and then; all methods belong to the loop's thread."""

    def __init__(self, loop: Any, state: StateFolder, start_measurement: Callable[[], Any], node: MeasuredNode, *,
                 wall: Callable[[], float] = time.time,
                 in_background: Callable[[Callable[[], None]], None] = start_in_background) -> None:
        """`start_measurement` returns what has `report` and `stop`, or raises OSError where none can be had now."""
        self._loop = loop
        self._state = state
        self._start_measurement = start_measurement
        self._node = node
        self._wall = wall
        self._in_background = in_background
        self._running: Any = None
        self._failures = 0
        self._is_stopped = False
        #: What holds now; None until measured.
        self.report: Optional[SpeedReport] = None

    def start(self) -> Optional[SpeedReport]:
        """Measure from now on; return what an earlier run stored, where it still speaks for this device."""
        stored = SpeedReport.from_dict(self._state.read_json("speed.json", {}))
        if stored is not None and stored.is_current(self._wall()):
            self.report = stored
        self._loop.call_later(MEASURE_AFTER_S, self._look)
        return self.report

    def stop(self) -> None:
        """Measure no more; a second call is fine."""
        self._is_stopped = True
        if self._running is not None:
            self._running.stop()

    def _look(self) -> None:
        if self._is_stopped:
            return
        if not self._is_due():
            self._loop.call_later(LOOK_AGAIN_S, self._look)
        elif not self._node.is_idle():
            self._loop.call_later(MEASURE_AFTER_S, self._look)
        else:
            self._measure()

    def _is_due(self) -> bool:
        report = self.report
        if report is None:
            return True
        age_s = self._wall() - report.taken_at
        return not 0 <= age_s < MEASURE_AGAIN_S or report.is_of_other_power(self._node.power())

    def _measure(self) -> None:
        try:
            running = self._running = self._start_measurement()
        except OSError:
            self._try_later()  # No process can be had just now; until then the device is listed as it was.
            return
        power = self._node.power()
        self._in_background(lambda: self._loop.post(self._measured, running.report(), power))

    def _measured(self, report: Optional[SpeedReport], power: str) -> None:
        self._running = None
        if self._is_stopped:
            return
        if report is None or report.contended or not self._node.is_idle() or power != self._node.power():
            self._try_later()
            return
        self._failures = 0
        self.report = replace(report, power=power).averaged_with(self.report)
        try:
            self._state.write_json("speed.json", self.report.to_dict())
        except StateError as error:
            self._node.warn(str(error))
        self._node.publish(self.report)
        self._loop.call_later(LOOK_AGAIN_S, self._look)

    def _try_later(self) -> None:
        """Twice as late each time: on a machine that is always busy, measuring must not be part of it."""
        self._loop.call_later(min(MEASURE_AGAIN_S, LOOK_AGAIN_S * 2 ** self._failures), self._look)
        self._failures = min(self._failures + 1, 10)
