"""An alarm rings once, at the earliest time it was set to, and can be set again from within its ring."""

import pytest

from discompute_lite.host.app_script import SCRIPT_LOOK_MOST_S, SCRIPT_LOOK_S
from discompute_lite.model.deadlines import COMPANY_S
from discompute_lite.roles.alarm import Alarm
from discompute_lite.roles.announcer import NOWHERE_PATIENCE_S
from discompute_lite.roles.feelings import FEEL_EARLIER, FEEL_RESTING_S
from discompute_lite.roles.greeter import SEED_EARLIER, SEED_KNOWN_S
from discompute_lite.roles.heartbeats import BEAT_PATIENCE_S
from discompute_lite.roles.keeper import CLOCKS_FIRST_S, CLOCKS_PATIENCE_S


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


def test_with_patience_it_rings_at_the_latest_when_that_is_over(owner):
    owner.alarm.set(owner.began + 2, 3.0)
    owner.clock.advance(4.9)
    assert owner.rings == []
    owner.clock.advance(10)
    assert owner.rings == [(5, 0)]


def test_whoever_is_in_a_hurry_is_not_kept_waiting_by_who_is_patient(owner):
    owner.alarm.set(owner.began + 1, 9.0)
    owner.set(3)
    owner.alarm.set(owner.began + 2, 9.0)
    owner.clock.advance(20)
    assert owner.rings == [(3, 0)]


def test_one_that_was_cleared_does_not_ring_and_may_be_set_to_a_later_time(owner):
    owner.set(2)
    owner.alarm.clear()
    owner.clock.advance(3)
    assert owner.rings == []
    owner.set(5)
    owner.clock.advance(10)
    assert owner.rings == [(5, 0)]
    owner.alarm.clear()


#: What a node at rest does again and again: seconds after which it may be done again, and those after which it must.
AT_REST = {
    "clocks": (CLOCKS_FIRST_S, CLOCKS_FIRST_S + CLOCKS_PATIENCE_S),
    "script": (SCRIPT_LOOK_S, SCRIPT_LOOK_MOST_S),
    "announcements for nobody, early": (2.0, 2.0 + NOWHERE_PATIENCE_S),
    "announcements for nobody, late": (3.0, 3.0 + NOWHERE_PATIENCE_S),
    "feelings": (FEEL_RESTING_S * FEEL_EARLIER, FEEL_RESTING_S),
    "heartbeats": (12.0 - BEAT_PATIENCE_S, 12.0),
    "seeds": (SEED_KNOWN_S * SEED_EARLIER, SEED_KNOWN_S),
}


@pytest.mark.parametrize("first_s, last_s", AT_REST.values(), ids=AT_REST)
@pytest.mark.parametrize("gaps", [(2.5,), (2.0,), (3.0,), (2.0, 3.0), (3.0, 3.0, 2.0), (2.9, 2.1, 2.6)], ids=str)
def test_what_is_done_at_rest_is_done_with_a_neighbours_beacons_and_wakes_nobody_up(gaps, first_s, last_s):
    done_at, now = 0.0, 0.0
    for number in range(200):
        now += gaps[number % len(gaps)]
        assert now <= done_at + last_s, "it would have woken up the node before the beacon came"
        if now >= done_at + first_s:
            done_at = now
    assert done_at and max(gaps) < COMPANY_S
