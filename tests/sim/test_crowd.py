"""Crowds of two hundred and of ten thousand nodes become quiet, and cost each of them no more than its limits say."""

import os

import pytest

from discompute_lite.model.limits import Limits
from discompute_lite.sim.crowd import Crowd

LIMITS = Limits()
#: Crowds of ten thousand take seconds each.
LARGE_SEEDS = [7, 1, 2, 3] if os.environ.get("DISCOMPUTE_TEST_LONG") else [7]


@pytest.mark.parametrize("nodes, seconds, settled_s, every_s", [
    (50, 60.0, 10, 2.5), pytest.param(200, 60.0, 20, 2.7, marks=pytest.mark.once),
    pytest.param(1_000, 120.0, 40, 13.3, marks=pytest.mark.slow),
])
def test_a_crowd_knows_itself_well_under_a_hundred_datagrams_a_second(nodes, seconds, settled_s, every_s):
    for seed in (1, 2, 7):
        report = Crowd(nodes, seed=seed).run(seconds)
        assert max(report.sent_per_s[settled_s // 10:]) < 85.0
        assert report.present == [nodes - 1] * 2 and max(report.links) <= LIMITS.links_sought
        assert report.every_s == pytest.approx((every_s, every_s), rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", LARGE_SEEDS)
def test_ten_thousand_settle_for_good_and_each_keeps_to_its_bounds(seed):
    """Not in waves: a crowd whose nodes believe each look at it grows quieter and louder by turns, for ever."""
    report = Crowd(10_000, seed=seed).run(600.0)
    assert max(report.sent_per_s[25:]) < 90.0, report.sent_per_s
    assert max(report.read_per_s) <= LIMITS.datagrams_per_s
    assert max(report.kept) <= LIMITS.devices and max(report.links) <= LIMITS.links_sought
    assert min(report.present) > LIMITS.devices // 2 and min(report.sent_per_s[40:]) > 60.0
    assert report.every_s == pytest.approx((133.3, 133.3), rel=0.15), "each by what it hears itself"


def test_one_seed_is_one_crowd():
    assert Crowd(60, seed=3).run(30.0) == Crowd(60, seed=3).run(30.0)
    assert Crowd(60, seed=3).run(30.0) != Crowd(60, seed=4).run(30.0)
