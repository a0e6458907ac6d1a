"""Which device is suitable, and which of two is better."""

import math

import pytest

from discompute_lite.core.placement import is_suitable, placement_cost


def cost(running=0, slots=4, speed=1.0, load=0.0):
    return placement_cost(running=running, slots=slots, speed=speed, load=load)


@pytest.mark.parametrize(
    "requires, offers, slots, suitable",
    [
        ((), set(), 1, True),
        ((), set(), 0, False),
        (("gpu",), {"gpu", "numpy"}, 1, True),
        (("gpu", "numpy"), {"gpu"}, 8, False),
    ],
)
def test_suitable_means_everything_offered_and_a_slot(requires, offers, slots, suitable):
    assert is_suitable(requires, offers, slots) is suitable


def test_idle_comes_before_busy_and_fast_before_slow():
    assert cost(running=0) < cost(running=1) < cost(running=3)
    assert cost(load=0.0) < cost(load=0.9)
    assert cost(speed=2.0) < cost(speed=1.0)
    assert cost(running=3, speed=2.0) < cost(running=0, speed=1.0)


@pytest.mark.parametrize("speed", [0.0, -3.0, math.nan])
def test_an_unmeasured_device_counts_as_the_reference(speed):
    assert cost(speed=speed) == cost(speed=1.0)


def test_absurd_measurements_do_not_decide_everything():
    assert cost(speed=math.inf) == cost(speed=1000.0)
    assert cost(load=math.nan) == cost(load=0.0)
    assert cost(load=50.0) == cost(load=1.0)
