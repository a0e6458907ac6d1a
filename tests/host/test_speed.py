"""The score follows the clock, is not fooled by a busy machine, and survives being stored."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.host import speed
from discompute_lite.host.speed import SPEED_KERNELS, SpeedClocks, SpeedKernel, SpeedReport, measure_speed, time_kernels
from discompute_lite.model.errors import InternalError

MS = 1_000_000
BUDGET_NS = 800 * MS


class FakeMachine:
    """A machine on which a step of a kernel takes a told time, by the wall and by the CPU."""

    def __init__(self, step_ns: float, *, slow_runs: float = 1.0, cpu_share: float = 1.0,
                 others: float = 0.0, tells_others: bool = True) -> None:
        self.wall_ns = 0.0
        self.cpu_ns = 0.0
        self.step_ns = step_ns
        #: Every second run takes so much longer, by the wall only.
        self.slow_runs = slow_runs
        self.cpu_share = cpu_share
        #: CPUs that other programs keep busy.
        self.others = others
        self.tells_others = tells_others
        self.steps: List[int] = []

    def run(self, steps: int) -> int:
        if steps == 64 and not self.steps:
            self.steps.append(steps)
            return 7
        self.steps.append(steps)
        took = steps * self.step_ns
        self.cpu_ns += took * self.cpu_share
        self.wall_ns += took * (self.slow_runs if len(self.steps) % 2 else 1.0)
        return 7

    def clock(self) -> int:
        return int(self.wall_ns)

    def cpu_clock(self) -> int:
        return int(self.cpu_ns)

    def busy_clock(self) -> int:
        return int(self.cpu_ns + self.wall_ns * self.others) if self.tells_others else -1

    def clocks(self) -> SpeedClocks:
        return SpeedClocks(self.clock, self.cpu_clock, self.busy_clock)

    def measure(self, reference_ns: float = 100.0) -> Any:
        kernel = SpeedKernel("told", self.run, 7, reference_ns)
        scores, contended = time_kernels([kernel], self.clocks(), BUDGET_NS)
        return scores["told"], contended


@pytest.mark.parametrize("step_ns", [1.0, 50.0, 100.0, 5000.0, 1e6])
def test_twice_as_slow_is_half_the_score(step_ns: float) -> None:
    assert FakeMachine(step_ns).measure()[0] == pytest.approx(100.0 / step_ns, rel=0.01)


def test_a_repetition_is_made_long_enough_to_be_timed() -> None:
    machine = FakeMachine(10.0)
    machine.measure()
    assert machine.steps[-1] * machine.step_ns >= 10 * MS
    assert machine.steps.count(machine.steps[-1]) >= 1 + speed.REPETITIONS_MIN


def test_the_best_repetition_counts_not_the_mean() -> None:
    score, _ = FakeMachine(100.0, slow_runs=1.15).measure()
    assert score == pytest.approx(1.0, rel=0.01)


def test_a_busy_machine_is_told_and_given_until_the_end_of_the_budget() -> None:
    quiet, busy = FakeMachine(100.0), FakeMachine(100.0, cpu_share=0.5)
    assert quiet.measure()[1] is False
    assert quiet.wall_ns < BUDGET_NS / 2
    assert busy.measure()[1] is True
    assert BUDGET_NS <= busy.wall_ns < BUDGET_NS * 1.1


@pytest.mark.parametrize(("others", "told", "contended"), [(0.1, True, False), (1.0, True, True), (1.0, False, False)])
def test_other_programs_on_other_cpus_count_where_they_are_told(others: float, told: bool, contended: bool) -> None:
    assert FakeMachine(100.0, others=others, tells_others=told).measure()[1] is contended


def test_a_very_slow_machine_is_measured_once_and_left_alone() -> None:
    machine = FakeMachine(1e7)  # 64 steps take 0.64 s
    assert machine.measure()[0] == pytest.approx(1e-5, rel=0.01)
    assert machine.wall_ns < 2 * BUDGET_NS


def test_a_wrong_result_is_refused() -> None:
    broken = SpeedKernel("told", lambda steps: 8, 7, 100.0)
    with pytest.raises(InternalError, match="told kernel computed a wrong result"):
        time_kernels([broken], FakeMachine(1.0).clocks(), BUDGET_NS)


@pytest.mark.parametrize("kernel", SPEED_KERNELS, ids=[kernel.name for kernel in SPEED_KERNELS])
def test_every_kernel_computes_what_is_known_and_needs_its_steps(kernel: SpeedKernel) -> None:
    assert kernel.run(64) == kernel.expected
    assert kernel.reference_ns > 0
    if kernel.name != "floats":  # settles at one value, whatever the number of steps
        assert kernel.run(63) != kernel.expected


def test_the_score_is_the_geometric_mean_and_the_report_says_what_was_measured() -> None:
    ticking = iter(range(0, 10 ** 12, 10 * MS))
    report = measure_speed(lambda: next(ticking), lambda: 0, 2.0, wall=lambda: 1_700_000_000.9)
    assert set(report.kernels) == {kernel.name for kernel in SPEED_KERNELS}
    product = 1.0
    for value in report.kernels.values():
        product *= value
    assert report.score == pytest.approx(product ** 0.25, rel=1e-3)
    assert report.python == ".".join(str(part) for part in sys.version_info[:3])
    assert report.implementation == sys.implementation.name
    assert report.taken_at == 1_700_000_000 and report.contended and report.matmul_gflops == 0.0


def test_this_machine_is_measured_in_time() -> None:
    report = measure_speed(budget_s=0.3)
    assert report.score > 0 and all(value > 0 for value in report.kernels.values())


def test_the_matrix_product_where_numpy_is() -> None:
    pytest.importorskip("numpy", reason="NumPy is not installed: nothing to measure")
    assert measure_speed(budget_s=0.3, with_numpy=True).matmul_gflops > 0


def test_without_numpy_the_matrix_product_is_not_known(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert measure_speed(budget_s=0.2, with_numpy=True).matmul_gflops == 0.0


REPORTS = st.builds(
    SpeedReport, score=st.floats(0.001, 1000), kernels=st.dictionaries(st.text(max_size=9), st.floats(0.001, 1000)),
    contended=st.booleans(), python=st.text(max_size=9), implementation=st.text(max_size=9),
    taken_at=st.integers(0, 2 ** 40), matmul_gflops=st.floats(0, 1e6))


@given(REPORTS)
def test_a_report_survives_being_stored_as_json(report: SpeedReport) -> None:
    assert SpeedReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


@pytest.mark.parametrize("raw", [None, 7, [], {}, {"score": "fast"}, {"score": 1.0, "kernels": [1]}, {"score": 0},
                                 {"score": 1.0, "kernel_version": 0}, {"score": -1.0}])
def test_a_damaged_or_older_report_is_none(raw: Any) -> None:
    assert SpeedReport.from_dict(raw) is None


def test_a_report_speaks_for_this_python_for_a_week() -> None:
    now = 1_700_000_000.0
    report = SpeedReport(score=1.0, python=".".join(str(part) for part in sys.version_info[:3]),
                         implementation=sys.implementation.name, taken_at=int(now) - 3600)
    assert report.is_current(now)
    assert not report.is_current(now + 7 * 24 * 3600)
    assert not report.is_current(now - 7200), "taken in the future: the clock was set back"
    assert not replace(report, python="3.0.0").is_current(now)
    assert not replace(report, implementation="other").is_current(now)
    assert not replace(report, contended=True).is_current(now)
