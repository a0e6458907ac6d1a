"""What is to be repaired follows from facts and times: after sleeps, new addresses, and ports that died unnoticed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.core.own_events import (
    AddressesSeen, ClocksRead, Knock, KnockAnswered, KnockUntold, LeaveAddresses, ListenerFailed, ListenerRebuilt,
    LookAtDatagrams, ProveLinks, RebuildFailed, RebuildListener, RenewDatagrams, SeeAddresses, ShowUp, TellUpkeep,
)
from discompute_lite.core.upkeep import (
    ASLEEP_S, CLOCKS_EVERY_S, KNOCK_PATIENCE_S, REPAIR_LAST_S, ROUND_EVERY_S, Upkeep,
)

#: The wall clock at the monotonic second 0.
WALL = 1_756_800_000.0


class Keeper:
    """An upkeep with a world around it: clocks that run, sockets that may be dead, ports that may be taken."""

    def __init__(self, *listeners):
        self.upkeep = Upkeep(listeners or ("peers",))
        self.now, self.wall = 100.0, WALL + 100.0
        #: Listeners that nobody can reach; why they cannot be rebuilt just now, "" where they can.
        self.dead = set()
        self.taken = ""
        self.addresses = ("192.168.1.20",)
        #: Whether a knock can be made at all.
        self.can_knock = True
        #: (when, action) of everything that was wished.
        self.wished = []

    def feed(self, event):
        for action in self.upkeep.apply(event, self.now):
            self.wished.append((self.now, action))
            self.obey(action)
        self.upkeep.check()

    def obey(self, action):
        if isinstance(action, SeeAddresses):
            self.feed(AddressesSeen(self.addresses))
        elif isinstance(action, Knock) and not self.can_knock:
            self.feed(KnockUntold(action.listener))
        elif isinstance(action, Knock) and action.listener in self.dead:
            self.feed(ListenerFailed(action.listener, "connection refused"))
        elif isinstance(action, Knock):
            self.feed(KnockAnswered(action.listener))
        elif isinstance(action, RebuildListener) and self.taken:
            self.feed(RebuildFailed(action.listener, self.taken))
        elif isinstance(action, RebuildListener):
            self.dead.discard(action.listener)
            self.feed(ListenerRebuilt(action.listener))

    def run(self, seconds):
        """Let time pass on both clocks; return what was wished meanwhile."""
        before, until = len(self.wished), self.now + seconds
        while True:
            due = self.upkeep.next_deadline()
            due = self.now if due is None else max(self.now, due)
            if due > until:
                break
            self.pass_by(due - self.now)
            self.feed(ClocksRead(self.wall))
        self.pass_by(until - self.now)
        return [action for _, action in self.wished[before:]]

    def pass_by(self, seconds):
        self.now += seconds
        self.wall += seconds

    def sleep(self, monotonic_s, wall_s):
        """Nothing runs, and each clock goes on as it likes."""
        self.now += monotonic_s
        self.wall += wall_s


@pytest.fixture
def keeper():
    keeper = Keeper()
    keeper.run(1.0)
    return keeper


def kinds(actions):
    return {type(action) for action in actions}


def times_of(keeper, kind):
    return [when for when, action in keeper.wished if isinstance(action, kind)]


# ---- calm -----------------------------------------------------------------------------------------------------


def test_in_calm_there_is_a_round_each_quarter_of_a_minute_and_nothing_else(keeper):
    actions = keeper.run(60.0)
    assert kinds(actions) == {LookAtDatagrams, Knock, SeeAddresses}
    assert sum(not isinstance(action, SeeAddresses) for action in actions) in (2 * 3, 2 * 4)
    rounds = times_of(keeper, LookAtDatagrams)
    assert all(ROUND_EVERY_S <= later - earlier <= ROUND_EVERY_S + CLOCKS_EVERY_S
               for earlier, later in zip(rounds, rounds[1:]))


def test_a_knock_that_cannot_be_made_is_no_reason_for_repairs(keeper):
    keeper.can_knock = False
    assert RebuildListener not in kinds(keeper.run(120.0)) and keeper.upkeep.is_well


# ---- sleep ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("monotonic_s, wall_s", [
    (10.0, 10.0), (300.0, 300.0), (0.0, 300.0), (0.0, 8.0), (0.1, 86_400.0), (10.0, 0.0), (0.0, -3600.0),
], ids=str)
def test_a_gap_on_either_clock_is_a_sleep(keeper, monotonic_s, wall_s):
    keeper.run(5.0)
    keeper.sleep(monotonic_s, wall_s)
    actions = keeper.run(CLOCKS_EVERY_S)
    assert kinds(actions) == {TellUpkeep, RenewDatagrams, Knock, SeeAddresses, ProveLinks, ShowUp}
    assert keeper.upkeep.sleeps == 1
    assert not {RenewDatagrams, ShowUp, TellUpkeep} & kinds(keeper.run(60.0)), "once is enough"


@pytest.mark.parametrize("monotonic_s, wall_s", [
    (ASLEEP_S - 0.1, ASLEEP_S - 0.1), (0.0, 4.0), (0.0, -4.0), (2.0, 0.0),
], ids=str)
def test_a_busy_moment_or_a_corrected_clock_is_none(keeper, monotonic_s, wall_s):
    keeper.run(5.0)
    keeper.sleep(monotonic_s, wall_s)
    assert not {RenewDatagrams, ProveLinks} & kinds(keeper.run(10.0)) and keeper.upkeep.sleeps == 0


def test_what_died_in_a_sleep_is_repaired_at_once(keeper):
    keeper.run(5.0)
    keeper.dead.add("peers")
    keeper.sleep(0.0, 600.0)
    actions = keeper.run(CLOCKS_EVERY_S)
    assert [type(action) for action in actions].count(RebuildListener) == 1 and not keeper.dead
    assert TellUpkeep("note", "this node's port was dead and listens again") in actions


# ---- addresses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after, words, left", [
    (("192.168.1.20", "10.0.0.7"), "10.0.0.7 is new", []),
    ((), "192.168.1.20 is gone", [LeaveAddresses(("192.168.1.20",))]),
    (("10.0.0.7",), "10.0.0.7 is new, 192.168.1.20 is gone", [LeaveAddresses(("192.168.1.20",))]),
])
def test_other_addresses_are_noticed_with_the_next_look_at_the_clocks(keeper, after, words, left):
    keeper.run(CLOCKS_EVERY_S)
    keeper.addresses = after
    actions = keeper.run(CLOCKS_EVERY_S)
    assert {RenewDatagrams, ProveLinks, ShowUp} < kinds(actions)
    assert [action for action in actions if isinstance(action, LeaveAddresses)] == left
    assert TellUpkeep("note", f"this device's address changed: {words}") in actions
    assert not {RenewDatagrams, ShowUp} & kinds(keeper.run(60.0))


# ---- listeners ----------------------------------------------------------------------------------------------------


def test_a_port_that_dies_without_a_sign_is_noticed_and_repaired_within_35_seconds(keeper):
    for _ in range(7):
        keeper.run(9.0)
        keeper.dead.add("peers")
        keeper.run(35.0)
        assert not keeper.dead and keeper.upkeep.is_well


def test_one_that_says_itself_that_it_is_dead_is_repaired_at_once(keeper):
    keeper.feed(ListenerFailed("peers", "EINVAL"))
    assert isinstance(keeper.wished[-1][1], ShowUp) and keeper.upkeep.is_well


def test_a_port_that_is_taken_is_tried_ever_more_slowly_and_people_are_told_once(keeper):
    keeper.taken = "port 8080 is in use"
    keeper.feed(ListenerFailed("peers", "EBADF"))
    keeper.run(120.0)
    tries = times_of(keeper, RebuildListener)
    waits = [round(later - earlier, 3) for earlier, later in zip(tries, tries[1:])]
    assert waits[:7] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0] and max(waits) == REPAIR_LAST_S and len(tries) < 40
    warnings = [action for _, action in keeper.wished if isinstance(action, TellUpkeep) and action.kind == "warning"]
    assert len(warnings) == 1 and "port 8080 is in use" in warnings[0].text
    keeper.taken = ""
    keeper.run(REPAIR_LAST_S)
    assert keeper.upkeep.is_well


def test_a_listener_that_dies_again_and_again_is_no_busy_loop(keeper):
    """Each new socket is dead at once, as where a system refuses an app all of them."""
    keeper.obey = lambda action: keeper.feed(
        ListenerRebuilt("peers") if isinstance(action, RebuildListener) else ListenerFailed("peers", "EINVAL")
    ) if isinstance(action, (RebuildListener, Knock)) else None
    keeper.feed(ListenerFailed("peers", "EINVAL"))
    keeper.run(120.0)
    assert len(times_of(keeper, RebuildListener)) < 40


def test_a_knock_that_nobody_tells_of_is_taken_for_unanswered(keeper):
    keeper.obey = lambda action: None
    keeper.run(ROUND_EVERY_S + CLOCKS_EVERY_S)
    assert RebuildListener in kinds(keeper.run(KNOCK_PATIENCE_S))


def test_of_two_listeners_the_dead_one_is_repaired():
    keeper = Keeper("peers", "commands")
    keeper.run(1.0)
    keeper.dead.add("commands")
    actions = keeper.run(35.0)
    assert [action for action in actions if isinstance(action, RebuildListener)] == [RebuildListener("commands")]


# ---- whatever happens ----------------------------------------------------------------------------------------------


HAPPENINGS = st.one_of(
    st.tuples(st.just("run"), st.floats(0.0, 40.0)),
    st.tuples(st.just("sleep"), st.tuples(st.floats(0.0, 600.0), st.floats(-600.0, 600.0))),
    st.tuples(st.just("die"), st.sampled_from(["peers", "commands"])),
    st.tuples(st.just("taken"), st.sampled_from(["", "in use"])),
    st.tuples(st.just("addresses"), st.sampled_from([(), ("10.0.0.7",), ("10.0.0.7", "10.0.0.8")])),
    st.tuples(st.just("say"), st.sampled_from([
        KnockAnswered("peers"), KnockUntold("peers"), ListenerFailed("peers", "x"), ListenerRebuilt("peers"),
        RebuildFailed("peers", "x")])),
)


@given(st.lists(HAPPENINGS, max_size=20))
def test_whatever_happens_repairs_are_bounded_and_in_the_end_all_is_well(happenings):
    keeper = Keeper("peers", "commands")
    keeper.run(1.0)
    reports = 0
    for what, value in happenings:
        if what == "run":
            keeper.run(value)
        elif what == "sleep":
            keeper.sleep(*value)
        elif what == "die":
            keeper.dead.add(value)
        elif what == "taken":
            keeper.taken = value
        elif what == "addresses":
            keeper.addresses = value
        else:
            reports += 1
            keeper.feed(value)
    deadline = keeper.upkeep.next_deadline()
    assert deadline is not None and deadline <= keeper.now + CLOCKS_EVERY_S
    keeper.taken = ""
    keeper.run(35.0)
    assert keeper.upkeep.is_well and not keeper.dead
    tries = times_of(keeper, RebuildListener)
    for start in tries:
        # Of each listener seven tries within five seconds, each report of a death aside.
        assert sum(start <= when < start + REPAIR_LAST_S for when in tries) <= 2 * (8 + reports + len(happenings))
