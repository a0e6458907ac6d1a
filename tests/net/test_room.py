"""Room for what a node receives at once is given in turn, and not kept by those who do nothing with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.net.room import LATE_ROOM_LOOK_S, ROOM_LOOK_S, SMALL_BYTES, STANDSTILL_S, ConnectionRoom, Room

#: Seconds within which a message must be there.
MESSAGE_S = 600.0


class Row:
    """Connections of a node that receive 100 units at most, and what they were told."""

    def __init__(self, count):
        self.time, self.calls = 100.0, []
        self.told, self.stalled = [], []
        self.room = Room(lambda callback: callback(), lambda: self.time, self._call_later)
        #: Bytes of each message that are still to come.
        self.missing = [0] * count
        self.parts = [
            ConnectionRoom(
                self.room, 100 * SMALL_BYTES, MESSAGE_S, on_room=lambda number=number: self.told.append(number),
                missing=lambda number=number: self.missing[number],
                on_stalled=lambda error, number=number: self._stall(number, error))
            for number in range(count)
        ]

    def take(self, number, units):
        self.missing[number] = units * SMALL_BYTES
        self.parts[number].take(units * SMALL_BYTES)
        return not self.parts[number].is_waiting

    def pass_time(self, seconds, **came):
        """Let time pass; of some messages so many units come each second, `n0=1.5` for the first."""
        until = self.time + seconds
        while self.time < until:
            self.time += 1.0
            for name, units in came.items():
                number = int(name[1:])
                self.missing[number] = max(0, self.missing[number] - int(units * SMALL_BYTES))
            self._ring()

    def _ring(self):
        due = [call for call in self.calls if call[0] <= self.time]
        self.calls = [call for call in self.calls if call[0] > self.time]
        for _, callback in due:
            callback()

    def sleep(self, seconds):
        """This process stands still: nothing is read, nothing is called, and then what was due is."""
        self.time += seconds
        self._ring()

    def _call_later(self, delay_s, callback):
        self.calls.append((self.time + delay_s, callback))

    def _stall(self, number, error):
        self.stalled.append((number, error.message))
        self.parts[number].give_back()

    def numbers_stalled(self):
        return [number for number, _ in self.stalled]


# ---- in turn -------------------------------------------------------------------------------------------------------


def test_whoever_finds_no_room_has_it_in_turn_and_the_small_pass():
    row = Row(5)
    assert row.take(0, 60) and row.take(1, 40) and row.take(4, 1)
    assert not row.take(2, 70) and not row.take(3, 2), "behind a large one a smaller one waits as well"
    row.parts[1].give_back()
    assert row.told == [] and row.parts[2].is_waiting
    row.parts[0].give_back()
    assert row.told == [2, 3] and row.room.taken == 72 * SMALL_BYTES
    for part in row.parts * 2:
        part.give_back()
    assert row.room.taken == 0 and row.told == [2, 3]


def test_what_fits_nowhere_is_let_in_alone():
    row = Row(2)
    assert row.take(0, 200) and not row.take(1, 2)
    row.parts[0].give_back()
    assert row.told == [1]


def test_whoever_waits_no_more_holds_up_nobody():
    row = Row(3)
    assert row.take(0, 60) and not row.take(1, 70) and not row.take(2, 30)
    row.parts[1].give_back()
    assert row.told == [2] and row.room.taken == 90 * SMALL_BYTES


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99), st.integers(0, 12)), max_size=80))
def test_what_is_received_at_once_stays_within_its_bound_and_nobody_is_forgotten(steps):
    row = Row(6)
    for number, units, seconds in steps:
        part = row.parts[number]
        part.give_back()
        if units:
            row.take(number, units)
        row.pass_time(seconds)
        held = [each.size for each in row.parts if each.size and not each.is_waiting]
        waiting = [each for each in row.parts if each.is_waiting]
        assert row.room.taken == sum(held) <= 100 * SMALL_BYTES
        assert held or not waiting
        assert row.calls or not waiting, "nobody looks after those who wait"
    row.pass_time(20 * STANDSTILL_S)
    assert not any(each.is_waiting for each in row.parts) and not row.calls


# ---- those who keep it ---------------------------------------------------------------------------------------------


def test_whoever_stands_still_while_others_wait_is_stopped_with_the_reason():
    row = Row(2)
    assert row.take(0, 60)
    row.pass_time(50, n0=0.1)
    assert not row.take(1, 70)
    row.pass_time(STANDSTILL_S - 1)
    assert not row.stalled and row.parts[1].is_waiting
    row.pass_time(1 + ROOM_LOOK_S)
    assert row.told == [1] and row.numbers_stalled() == [0]
    assert row.stalled[0][1].startswith("a message of 3.8 MB was not coming on for 30 s while others waited")


def test_nobody_is_hurried_while_nobody_waits():
    row = Row(2)
    assert row.take(0, 60)
    row.pass_time(3600)
    assert not row.stalled and not row.calls
    assert not row.take(1, 70)
    row.pass_time(STANDSTILL_S - 1)
    assert not row.stalled, "what was before anybody waited is held against nobody"


def test_a_phone_that_is_suspended_for_20_s_in_the_middle_goes_on():
    row = Row(2)
    assert row.take(0, 60) and not row.take(1, 70)
    for _ in range(3):
        row.pass_time(20)
        row.pass_time(10, n0=1.5)
    assert not row.stalled and row.missing[0] > 0


@pytest.mark.parametrize("share, is_stopped", [(1.2, False), (0.5, True), (0.01, True)])
def test_whoever_trickles_slower_than_messages_may_take_is_stopped_long_before_their_time_is_over(share, is_stopped):
    row = Row(2)
    assert row.take(0, 60) and not row.take(1, 70)
    row.pass_time(120, n0=share * 60 / MESSAGE_S)
    assert bool(row.stalled) is is_stopped


def test_of_several_that_stand_still_no_more_are_stopped_than_have_to_be():
    row = Row(4)
    assert row.take(0, 50) and row.take(1, 30) and not row.take(2, 40)
    row.pass_time(2 * STANDSTILL_S, n1=0.01)
    assert row.numbers_stalled() == [0] and row.told == [2]
    assert not row.take(3, 99)
    row.pass_time(2 * STANDSTILL_S)
    assert sorted(row.numbers_stalled()) == [0, 1, 2] and row.told == [2, 3]


def test_whoever_has_its_turn_has_all_its_patience():
    row = Row(3)
    assert row.take(0, 60) and not row.take(1, 70) and not row.take(2, 70)
    row.pass_time(STANDSTILL_S)
    assert row.told == [1]
    row.pass_time(STANDSTILL_S - 1)
    assert row.numbers_stalled() == [0]
    row.pass_time(1 + ROOM_LOOK_S)
    assert row.numbers_stalled() == [0, 1] and row.told == [1, 2]


def test_after_a_sleep_of_this_process_everybody_has_all_patience_again():
    row = Row(2)
    assert row.take(0, 60) and not row.take(1, 70)
    row.sleep(ROOM_LOOK_S + LATE_ROOM_LOOK_S + STANDSTILL_S)
    row.pass_time(STANDSTILL_S - 1)
    assert not row.stalled
    row.pass_time(1 + ROOM_LOOK_S)
    assert row.numbers_stalled() == [0]
