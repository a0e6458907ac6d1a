"""Crowds of two hundred and of ten thousand nodes become quiet, and cost each of them no more than its limits say."""

import pytest

from discompute_lite.model.limits import Limits
from discompute_lite.sim.crowd import Crowd

LIMITS = Limits()


@pytest.mark.parametrize("nodes, seconds, settled_s, every_s", [
    (50, 60.0, 10, 2.5), (200, 60.0, 20, 2.5), (1_000, 120.0, 40, 12.5),
])
def test_a_crowd_knows_itself_at_under_a_hundred_datagrams_a_second(nodes, seconds, settled_s, every_s):
    report = Crowd(nodes).run(seconds)
    assert max(report.sent_per_s[settled_s // 10:]) < 100.0
    assert report.present == [nodes - 1] * 2 and max(report.links) <= LIMITS.links_sought
    assert report.every_s == pytest.approx((every_s, every_s), rel=0.1)


def test_ten_thousand_settle_and_each_keeps_to_its_bounds():
    report = Crowd(10_000).run(400.0)
    assert max(report.sent_per_s[25:]) < 100.0, report.sent_per_s
    assert max(report.read_per_s) <= LIMITS.datagrams_per_s
    assert max(report.kept) <= LIMITS.devices and max(report.links) <= LIMITS.links_sought
    settled = report.sent_per_s[30:]
    assert min(report.present) > LIMITS.devices // 2 and sum(settled) / len(settled) == pytest.approx(80.0, rel=0.3)
    assert report.every_s[0] > 60.0 and report.every_s[1] < 250.0, "about 125 s, each by what it hears itself"


def test_one_seed_is_one_crowd():
    assert Crowd(60, seed=3).run(30.0) == Crowd(60, seed=3).run(30.0)
    assert Crowd(60, seed=3).run(30.0) != Crowd(60, seed=4).run(30.0)
