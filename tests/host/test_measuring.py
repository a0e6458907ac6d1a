"""A device's speed is measured when it is idle, anew when the figure is old or power changed, and never while busy."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from discompute_lite.host.measuring import (
    LOOK_AGAIN_S, MEASURE_AFTER_S, MEASURE_AGAIN_S, MeasuredNode, SpeedKeeper, power_of,
)
from discompute_lite.host.speed import AVERAGED_OVER, SPEED_GOOD_FOR_S, SpeedReport
from discompute_lite.host.this_device import MeasurementHere, start_measurement
from discompute_lite.host.probe import Probe
from discompute_lite.model.device import DeviceCapabilities
from discompute_lite.model.errors import InternalError, StateError

NOON = 1_700_000_000
PYTHON = ".".join(str(part) for part in sys.version_info[:3])


def report(score=1.0, taken_at=NOON, **more):
    return SpeedReport(score=score, kernels={"integers": score}, python=PYTHON,
                       implementation=sys.implementation.name, taken_at=taken_at, **more)


class Desk:
    """A device with a keeper of its speed: the clock of its loop, its folder, its work and power."""

    def __init__(self, stored=None):
        self.now = 0.0
        self.timers, self.published, self.warnings, self.started = [], [], [], 0
        self.files = {} if stored is None else {"speed.json": stored}
        self.is_idle, self.power, self.score, self.disk_is_full = True, "mains", 2.0, False
        self.makes = lambda: report(self.score, int(self.wall()))
        self.was_stopped = 0
        node = MeasuredNode(lambda: self.is_idle, lambda: self.power, self.published.append, self.warnings.append)
        self.keeper = SpeedKeeper(self, self, self.measurement, node, wall=self.wall, in_background=lambda work: work())

    def wall(self):
        return NOON + self.now

    def call_later(self, seconds, callback, *arguments):
        self.timers.append((self.now + seconds, callback, arguments))

    def post(self, callback, *arguments):
        callback(*arguments)

    def read_json(self, name, default):
        return self.files.get(name, default)

    def write_json(self, name, value):
        if self.disk_is_full:
            raise StateError("the disk is full")
        self.files[name] = value

    def measurement(self):
        self.started += 1
        return self

    def report(self):
        return self.makes()

    def stop(self):
        self.was_stopped += 1

    def let_pass(self, seconds):
        end = self.now + seconds
        while self.timers and min(self.timers, key=lambda timer: timer[0])[0] <= end:
            timer = min(self.timers, key=lambda timer: timer[0])
            self.timers.remove(timer)
            self.now = timer[0]
            timer[1](*timer[2])
        self.now = end


def test_a_new_device_is_measured_soon_after_the_start_and_remembers_it():
    desk = Desk()
    assert desk.keeper.start() is None
    desk.let_pass(MEASURE_AFTER_S)
    assert [told.score for told in desk.published] == [2.0]
    later = Desk(desk.files["speed.json"])
    later.now = 60.0
    assert later.keeper.start() == desk.published[0]
    assert desk.published[0].power == "mains"


def test_it_waits_for_work_to_end():
    desk = Desk()
    desk.is_idle = False
    desk.keeper.start()
    desk.let_pass(100 * MEASURE_AFTER_S)
    assert desk.started == 0
    desk.is_idle = True
    desk.let_pass(MEASURE_AFTER_S)
    assert desk.started == 1 and desk.published


def test_work_that_came_while_it_measured_makes_it_worthless():
    desk = Desk()

    def work_comes():
        desk.is_idle = False
        return report()

    desk.makes = work_comes
    desk.keeper.start()
    desk.let_pass(MEASURE_AFTER_S)
    assert desk.started == 1 and not desk.published and not desk.files


def test_a_figure_of_some_hours_is_measured_again_and_averaged():
    desk = Desk(report(1.0).to_dict())
    assert desk.keeper.start().score == 1.0
    desk.let_pass(MEASURE_AGAIN_S - 1)
    assert desk.started == 0
    desk.score = 4.0
    desk.let_pass(LOOK_AGAIN_S + MEASURE_AFTER_S)
    assert desk.started == 1
    assert (desk.keeper.report.score, desk.keeper.report.measurements) == (2.0, 2)


def test_a_change_of_power_is_measured_and_forgets_the_average():
    desk = Desk(report(1.0, power="mains", measurements=3).to_dict())
    desk.keeper.start()
    desk.power, desk.score = "battery", 0.5
    desk.let_pass(LOOK_AGAIN_S)
    assert (desk.keeper.report.score, desk.keeper.report.power, desk.keeper.report.measurements) == (0.5, "battery", 1)


def test_power_of_which_nothing_is_known_is_no_change():
    desk = Desk(report(1.0, power="mains").to_dict())
    desk.power = ""
    desk.keeper.start()
    desk.let_pass(10 * LOOK_AGAIN_S)
    assert desk.started == 0


def test_what_another_python_measured_does_not_count():
    desk = Desk({**report(9.0).to_dict(), "python": "3.0.1"})
    assert desk.keeper.start() is None
    desk.let_pass(MEASURE_AFTER_S)
    assert desk.keeper.report.score == 2.0


def test_what_a_version_without_power_and_averages_stored_still_counts():
    stored = report(1.5).to_dict()
    for later in ("power", "measurements", "parallel", "processes"):
        del stored[later]
    assert Desk(stored).keeper.start().score == 1.5


@pytest.mark.parametrize("outcome", [None, report(contended=True)])
def test_what_fails_is_tried_ever_more_seldom_and_leaves_the_old_figure(outcome):
    desk = Desk(report(1.0, NOON - int(MEASURE_AGAIN_S)).to_dict())
    desk.makes = lambda: outcome
    desk.keeper.start()
    desk.let_pass(24 * 3600.0)
    assert 5 < desk.started < 20
    assert desk.keeper.report.score == 1.0 and not desk.published


def test_no_process_to_be_had_is_tried_again():
    desk = Desk()
    measurement, refusals = desk.measurement, [OSError("no process"), OSError("no process")]

    def start():
        if refusals:
            raise refusals.pop()
        return measurement()

    desk.keeper._start_measurement = start
    desk.keeper.start()
    desk.let_pass(4 * LOOK_AGAIN_S)
    assert desk.published


def test_a_full_disk_is_told_and_the_figure_used():
    desk = Desk()
    desk.disk_is_full = True
    desk.keeper.start()
    desk.let_pass(MEASURE_AFTER_S)
    assert desk.warnings == ["the disk is full"] and desk.published


def test_a_stopped_node_ends_its_measurement_and_hears_no_more_of_it():
    desk = Desk()

    def stopped_meanwhile():
        desk.keeper.stop()
        return report()

    desk.makes = stopped_meanwhile
    desk.keeper.start()
    desk.let_pass(24 * 3600.0)
    assert desk.was_stopped == 1 and desk.started == 1 and not desk.published


def test_the_average_is_of_the_last_few_only():
    average = report(1.0)
    for turn in range(1, 30):
        average = report(2.0, NOON + turn).averaged_with(average)
        assert 1.0 <= average.score <= 2.0
    assert average.measurements == AVERAGED_OVER
    assert average.score == pytest.approx(2.0, rel=0.01) and average.kernels["integers"] == average.score


@pytest.mark.parametrize("before", [
    None, report(9.0, NOON - SPEED_GOOD_FOR_S), report(9.0, contended=True), report(9.0, power="battery"),
    replace(report(9.0), python="3.0.1"), replace(report(9.0), kernels={"other": 9.0}),
    replace(report(9.0), kernels={"integers": 0.0}),
])
def test_an_average_begins_anew_where_the_past_says_nothing(before):
    newest = report(1.0, power="mains")
    assert newest.averaged_with(before) == newest


def test_a_matrix_product_that_was_not_measured_again_is_kept():
    assert report(1.0).averaged_with(report(1.0, matmul_gflops=50.0)).matmul_gflops == 50.0


@pytest.mark.parametrize("level, is_charging, power", [
    (-1.0, False, ""), (0.5, False, "battery"), (1.0, True, "mains"),
])
def test_where_power_comes_from(level, is_charging, power):
    assert power_of(DeviceCapabilities(battery_level=level, is_charging=is_charging)) == power


def test_an_app_that_cannot_start_processes_measures_in_its_own(monkeypatch):
    probe = Probe()
    monkeypatch.setattr(probe, "inside_ios", lambda: True)
    here = start_measurement(probe, lambda entry: ["this is not started"], with_numpy=False)
    assert isinstance(here, MeasurementHere)
    taken = here.report()
    assert taken.score > 0 and taken.python == PYTHON and (taken.parallel, taken.processes) == (1.0, 1)
    here.stop()


def test_a_python_that_computes_wrongly_is_not_measured(monkeypatch):

    def wrong(**_):
        raise InternalError("the floats kernel computed a wrong result")

    monkeypatch.setattr("discompute_lite.host.this_device.measure_speed", wrong)
    assert MeasurementHere().report() is None
