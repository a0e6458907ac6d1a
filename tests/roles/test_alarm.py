"""An alarm rings once, at the earliest time it was set to, and can be set again from within its ring."""

import pytest

from discompute_lite.roles.alarm import Alarm


class Owner:
    """Somebody with an alarm, who writes down when it rang and how late that was."""

    def __init__(self, world):
        self.clock, self.rings, self.again_in_s = world.clock, [], None
        self.began = self.clock.now()
        self.alarm = Alarm(self.clock, self.ring)

    def ring(self, late_s):
        self.rings.append((self.clock.now() - self.began, late_s))
        if self.again_in_s is not None:
            self.alarm.set(self.clock.now() + self.again_in_s)

    def set(self, *seconds):
        for each in seconds:
            self.alarm.set(self.began + each)


@pytest.fixture
def owner(world):
    return Owner(world)


@pytest.mark.parametrize("seconds", [(3,), (3, 5), (5, 3), (5, 3, 4, 3)])
def test_it_rings_once_at_the_earliest_time(owner, seconds):
    owner.set(*seconds)
    owner.clock.advance(2.9)
    assert owner.rings == []
    owner.clock.advance(10)
    assert owner.rings == [(3, 0)]


def test_nothing_due_asks_for_nothing(owner):
    owner.alarm.set(None)
    owner.set(2)
    owner.alarm.set(None)
    owner.clock.advance(10)
    assert owner.rings == [(2, 0)]


def test_after_it_rang_a_later_time_counts_again(owner):
    owner.set(1)
    owner.clock.advance(2)
    owner.set(5)
    owner.clock.advance(10)
    assert owner.rings == [(1, 0), (5, 0)]


def test_its_owner_may_set_it_while_it_rings(owner):
    owner.again_in_s = 2
    owner.set(1)
    owner.clock.advance(6)
    assert owner.rings == [(1, 0), (3, 0), (5, 0)]


def test_it_says_how_late_it_rings(owner):
    owner.clock.advance(4)
    owner.set(1)
    owner.clock.advance(0)
    assert owner.rings == [(4, 3)]
