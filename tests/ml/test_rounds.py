"""A training is led through its rounds, whatever devices do: come, go, are late, or fail."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discompute_lite.ml.rounds import (
    FIRST_ROUND_S, CombineShares, GiveOrder, MemberLeft, MembersJoined, OrderLost, RoundClosed, ShareCame,
    SharesCombined, TimePassed, TrainingPlan, TrainingRounds, WithdrawOrder,
)
from discompute_lite.ml.shares import Share
from discompute_lite.ml.strategies import BoundedStaleness, FedAvg, Synchronous


class Drill:
    """Play the devices: keep what orders are out, and answer them."""

    def __init__(self, strategy=None, shards=4, rounds=3, is_reproducible=False, is_averaged_there=False):
        plan = TrainingPlan(strategy or FedAvg(local_steps=4), None, shards, rounds, is_reproducible, is_averaged_there)
        self.rounds = TrainingRounds(plan, [0.0], {})
        self.now = 0.0
        self.out = {}
        self.closed = []
        #: Shares that the devices are to average.
        self.combining = ()

    def do(self, event):
        for action in self.rounds.apply(event, self.now):
            if isinstance(action, GiveOrder):
                assert action.order.id not in self.out
                assert action.order.shards
                assert action.order.steps > 0
                self.out[action.order.id] = action.order
            elif isinstance(action, WithdrawOrder):
                del self.out[action.order_id]
            elif isinstance(action, CombineShares):
                assert not self.combining and not self.out
                self.combining = action.shares
            else:
                assert isinstance(action, RoundClosed)
                self.closed.append(action)

    def join(self, *members):
        """One after another, as a test needs it who is the first."""
        for member in members:
            self.do(MembersJoined({member: 1.0}))

    def answer(self, order, value=1.0, after=1.0, steps=0, **share):
        """Answer after so many steps, all where nothing is said; `share` are other fields of that."""
        made = steps or order.steps
        self.now += after
        del self.out[order.id]
        fields = {"compute_s": after, "steps": made, **share}
        self.do(ShareCame(order.id, Share([value], made, {"loss": 1.0}, **fields), order.member or "somebody"))

    def combine(self, lost=(), is_hopeless=False):
        """The devices have averaged, without the shares of these orders."""
        shares, self.combining = self.combining, ()
        left = [share for order, share in shares if order.id not in lost]
        mean = None if is_hopeless or not left else [sum(share.tree[0] for share in left) / len(left)]
        self.do(SharesCombined(mean, tuple(lost)))

    def order_of(self, member):
        return next(order for order in self.out.values() if order.member == member)


def drill_after_first_round(*members, **options):
    """Return a drill whose members joined in time for the second round."""
    drill = Drill(**options)
    drill.join(*members)
    for order in list(drill.out.values()):
        drill.answer(order)
    assert len(drill.closed) == 1
    return drill


def test_who_comes_first_begins_and_the_others_take_part_from_the_next_round_on():
    drill = Drill(shards=4)
    drill.join("a", "b")
    assert [(order.member, order.shards) for order in drill.out.values()] == [("a", (0, 1, 2, 3))]
    drill.answer(drill.order_of("a"), value=2.0)
    assert drill.rounds.state == [2.0]
    assert sorted((order.member, len(order.shards)) for order in drill.out.values()) == [("a", 2), ("b", 2)]


def test_those_who_come_together_begin_together_for_a_short_time_in_which_their_paces_are_learnt():
    drill = Drill(FedAvg(local_steps=16), shards=30)
    drill.do(MembersJoined({"slow": 1.0, "fast": 1.0}))
    assert [(order.member, len(order.shards), order.steps, order.within_s) for order in drill.out.values()] == [
        ("slow", 15, 16, FIRST_ROUND_S), ("fast", 15, 16, FIRST_ROUND_S)]
    drill.answer(drill.order_of("fast"), after=0.2, steps=2)
    drill.answer(drill.order_of("slow"), after=0.8, steps=2)
    assert drill.closed[0].shares == {"fast": 2, "slow": 2}
    # Measured 10 and 2.5 steps a second: four fifths of all steps are the fast one's, less the two by which it would be
    # late.
    assert [(order.member, len(order.shards), order.steps) for order in drill.out.values()] == [
        ("slow", 6, 6), ("fast", 24, 24)]
    assert {order.within_s for order in drill.out.values()} == {0.0}


def test_one_alone_makes_all_steps_at_once_since_nobody_waits_for_it():
    drill = Drill(FedAvg(local_steps=16))
    drill.join("a")
    assert (drill.order_of("a").steps, drill.order_of("a").within_s) == (16, 0.0)


def test_who_joins_later_has_as_long_as_the_others_are_known_to_need():
    drill = Drill(FedAvg(local_steps=8), shards=12, rounds=9)
    drill.join("a")
    drill.answer(drill.order_of("a"), after=4.0)
    drill.join("b")
    drill.answer(drill.order_of("a"), after=4.0)
    a, b = drill.order_of("a"), drill.order_of("b")
    # Of "a" two steps a second are known; nobody has seen "b".
    assert (a.steps, a.within_s, b.steps, b.within_s) == (8, 0.0, 8, 4.0)
    drill.answer(a, after=4.0)
    drill.answer(b, after=0.0, steps=1)
    assert drill.order_of("b").within_s == 0.0



def test_a_joiner_that_imports_a_library_in_its_first_step_is_measured_by_those_after_it():
    drill = Drill(FedAvg(local_steps=8), shards=12, rounds=9)
    drill.join("a")
    drill.answer(drill.order_of("a"), after=1.0)
    drill.join("b")
    drill.answer(drill.order_of("a"), after=1.0)
    drill.answer(drill.order_of("a"), after=1.0)
    drill.answer(drill.order_of("b"), after=9.0, steps=1, first_step_s=9.0)
    b = drill.order_of("b")
    # A step in nine seconds would be none of twelve parts: it gets one, for as long as "a" is known to need.
    assert len(b.shards) == 1
    assert 0.0 < b.within_s <= 3.0
    drill.answer(b, after=0.125)
    drill.answer(drill.order_of("a"), after=1.0)
    assert len(drill.order_of("b").shards) > 3


def test_where_all_have_made_their_first_step_only_the_next_round_is_not_short():
    drill = Drill(FedAvg(local_steps=4), shards=8, rounds=9)
    drill.do(MembersJoined({"a": 1.0, "b": 1.0}))
    for member in "ab":
        drill.answer(drill.order_of(member), after=0.0, steps=1, compute_s=2.0, first_step_s=2.0)
    assert [(order.steps, order.within_s) for order in drill.out.values()] == [(4, 8.0), (4, 8.0)]


def test_a_round_ends_when_all_have_answered_and_weighs_by_samples():
    drill = drill_after_first_round("a", "b", shards=4)
    drill.answer(drill.order_of("a"), value=1.0)
    assert len(drill.closed) == 1
    drill.answer(drill.order_of("b"), value=3.0)
    assert drill.rounds.state == [2.0]
    assert drill.closed[1]._replace(metrics={}) == RoundClosed(2, 2.0, 1.0, 0.0, 8, {}, {"a": 4, "b": 4}, ())


def test_what_new_processes_need_before_their_steps_is_no_communication():
    drill = Drill(strategy=FedAvg(local_steps=2), rounds=2)
    drill.do(MembersJoined({"a": 1.0, "b": 1.0}))
    drill.answer(drill.order_of("a"), after=1.0, compute_s=0.5, is_first=True)
    drill.answer(drill.order_of("b"), after=0.5, compute_s=0.25, is_first=True)
    drill.answer(drill.order_of("a"), after=0.5, compute_s=0.5)
    drill.answer(drill.order_of("b"), after=0.5, compute_s=0.5, loading_s=0.25)
    figures = [(each.seconds, each.compute_s, each.starting_s) for each in drill.closed]
    # It was "b" that the first round waited for: 1.25 seconds until it could begin. Then it loaded some more data.
    assert figures == [(1.5, 0.25, 1.25), (1.0, 0.5, 0.25)]


def test_where_orders_are_anybodys_a_place_computes_as_long_as_all_do_on_average():
    drill = Drill(shards=4, is_reproducible=True)
    drill.do(MembersJoined({"mac/0": 1.0, "mac/1": 1.0}))
    orders = list(drill.out.values())
    for order in orders[:2]:
        drill.answer(order, after=0.5, compute_s=1.0)
    # One place is left, which computes all the time, as both did.
    drill.do(MemberLeft("mac/1"))
    for order in orders[2:]:
        drill.answer(order, after=1.0, compute_s=1.0)
    assert (drill.closed[0].seconds, drill.closed[0].compute_s) == (3.0, 3.0)


def test_the_fast_make_more_steps_in_the_same_time():
    drill = drill_after_first_round("a", "b", shards=8, rounds=9)
    for _ in range(4):
        a, b = drill.order_of("a"), drill.order_of("b")
        drill.answer(a, after=a.steps / 3.0)
        drill.answer(b, after=b.steps / 1.0)
    assert (len(drill.order_of("a").shards), len(drill.order_of("b").shards)) == (6, 2)
    assert (drill.order_of("a").steps, drill.order_of("b").steps) == (6, 2)


def test_the_last_round_gives_no_more_orders():
    drill = Drill(rounds=2)
    drill.join("a")
    drill.answer(drill.order_of("a"))
    drill.answer(drill.order_of("a"))
    assert drill.rounds.is_over
    assert drill.out == {}
    drill.join("b")
    assert drill.out == {}


def test_who_is_late_is_left_out_when_a_quorum_has_come():
    drill = drill_after_first_round("a", "b", "c", "d", shards=8)
    for member in "abc":
        drill.answer(drill.order_of(member), after=0.5)
    deadline = drill.rounds.next_deadline()
    assert deadline == drill.now + 1.5
    drill.now = deadline - 0.01
    drill.do(TimePassed())
    assert len(drill.closed) == 1
    late = drill.order_of("d")
    drill.now = deadline
    drill.do(TimePassed())
    assert drill.closed[1].missing == ("d",)
    assert "d" not in drill.closed[1].shares
    # Its share comes when nobody wants it any more.
    before = drill.rounds.state
    drill.do(ShareCame(late.id, Share([99.0], 4, {}, 9.0, 4), "d"))
    assert drill.rounds.state == before
    assert len(drill.order_of("d").shards) < 2
    # Nobody knows how late it would have been: this time it is bounded, and its pace is what it shows.
    assert drill.order_of("d").within_s > 0.0 and drill.order_of("a").within_s == 0.0
    drill.answer(drill.order_of("d"), after=8.0, steps=2)
    assert drill.rounds.crew.paces()["d"] == 0.25


def test_there_is_no_deadline_before_a_quorum():
    drill = drill_after_first_round("a", "b", shards=4)
    drill.answer(drill.order_of("a"))
    assert drill.rounds.next_deadline() is None
    drill.now += 1000
    drill.do(TimePassed())
    assert len(drill.closed) == 1


def test_a_lost_order_goes_to_another_where_a_quorum_needs_it():
    drill = drill_after_first_round("a", "b", shards=4)
    lost = drill.order_of("b")
    drill.do(MemberLeft("b"))
    again = [order for order in drill.out.values() if order.shards == lost.shards]
    assert [order.member for order in again] == ["a"]
    for order in list(drill.out.values()):
        drill.answer(order)
    assert drill.closed[1].missing == ("b",)
    assert drill.closed[1].samples == 8


def test_a_lost_order_is_left_out_where_a_quorum_is_there_without_it():
    drill = drill_after_first_round(*"abcde", shards=10)
    drill.do(MemberLeft("e"))
    assert len(drill.out) == 4
    for member in "abcd":
        drill.answer(drill.order_of(member))
    assert drill.closed[1].missing == ("e",)
    assert set(drill.closed[1].shares) == set("abcd")


def test_work_waits_for_somebody_when_all_have_left():
    drill = Drill()
    drill.join("a")
    order = drill.order_of("a")
    drill.do(MemberLeft("a"))
    assert drill.out == {}
    drill.join("b")
    assert drill.order_of("b").shards == order.shards
    drill.answer(drill.order_of("b"))
    assert len(drill.closed) == 1


def test_the_last_one_leaves_after_some_have_answered():
    drill = drill_after_first_round("a", "b", shards=4)
    drill.answer(drill.order_of("a"))
    drill.do(MemberLeft("a"))
    drill.do(MemberLeft("b"))
    assert drill.out == {}
    drill.join("c")
    drill.answer(drill.order_of("c"))
    assert drill.closed[1].samples == 8


def test_a_gradient_is_made_for_each_shard():
    drill = Drill(strategy=Synchronous(), shards=6)
    drill.join("a")
    assert drill.order_of("a").steps == 6


def test_reproducible_rounds_do_not_depend_on_who_is_there():
    states = []
    for members, order_of_answers in (("a", 1), ("abc", -1)):
        drill = Drill(shards=5, is_reproducible=True)
        drill.join(*members)
        while not drill.rounds.is_over:
            waiting = list(drill.out.values())
            assert {order.member for order in waiting} == {""}
            assert [order.shards for order in waiting] == [(shard,) for shard in range(5)]
            for order in waiting[::order_of_answers]:
                drill.answer(order, value=0.1 * (order.shards[0] + 1))
        states.append(drill.rounds.state)
    assert states[0] == states[1]


def test_a_reproducible_round_waits_for_each_and_has_a_lost_one_made_again():
    drill = Drill(shards=3, is_reproducible=True)
    drill.join("a")
    first, second, third = list(drill.out.values())
    drill.answer(first)
    drill.answer(second)
    assert drill.rounds.next_deadline() is None
    del drill.out[third.id]
    drill.do(OrderLost(third.id))
    again = next(iter(drill.out.values()))
    assert (again.shards, again.round) == (third.shards, third.round)
    drill.answer(again)
    assert len(drill.closed) == 1


def test_where_devices_average_a_round_is_over_when_they_have():
    drill = Drill(is_averaged_there=True)
    drill.join("a")
    drill.answer(drill.order_of("a"), value=3.0)
    drill.join("b")
    drill.now += 5.0
    drill.do(TimePassed())
    assert drill.closed == [] and drill.out == {} and drill.rounds.next_deadline() is None
    drill.combine()
    assert drill.rounds.state == [3.0]
    assert (drill.closed[0].seconds, drill.closed[0].samples) == (6.0, 4)
    assert sorted(order.member for order in drill.out.values()) == ["a", "b"]


def test_a_share_that_was_lost_with_its_device_is_missing_from_the_round():
    drill = drill_of_averaging_pair()
    lost = drill.order_of("b")
    drill.answer(drill.order_of("a"), value=1.0)
    drill.answer(lost, value=9.0)
    drill.do(MemberLeft("b"))
    drill.combine(lost=[lost.id])
    assert drill.rounds.state == [1.0]
    assert (drill.closed[1].missing, drill.closed[1].shares) == (("b",), {"a": 4})


@pytest.mark.parametrize("is_hopeless", [False, True])
def test_a_round_of_which_nothing_is_left_is_made_once_more(is_hopeless):
    drill = drill_of_averaging_pair()
    ids = list(drill.out)
    for order in list(drill.out.values()):
        drill.answer(order, value=9.0)
    drill.combine(lost=ids, is_hopeless=is_hopeless)
    assert len(drill.closed) == 1 and drill.rounds.state == [0.0]
    assert {order.round for order in drill.out.values()} == {1}
    for order in list(drill.out.values()):
        drill.answer(order, value=2.0)
    drill.combine()
    assert drill.rounds.state == [2.0]


def test_an_average_that_comes_after_the_end_changes_nothing():
    drill = drill_of_averaging_pair()
    for order in list(drill.out.values()):
        drill.answer(order, value=9.0)
    drill.rounds.stop()
    drill.combine()
    assert drill.rounds.state == [0.0] and drill.out == {}


def drill_of_averaging_pair():
    """Return a drill of two whose devices average, after a first round."""
    drill = Drill(is_averaged_there=True)
    drill.join("a", "b")
    drill.answer(drill.order_of("a"), value=0.0)
    drill.combine()
    return drill


def test_merging_gives_the_next_order_at_once():
    drill = Drill(strategy=BoundedStaleness(local_steps=4, bound=1, rate=0.5), shards=4, rounds=2)
    drill.join("a", "b")
    assert sorted(order.member for order in drill.out.values()) == ["a", "b"]
    drill.answer(drill.order_of("a"), value=1.0)
    assert drill.rounds.state == [0.5]
    drill.answer(drill.order_of("a"), value=0.5)
    assert len(drill.closed) == 1
    stale = drill.order_of("b")
    drill.answer(drill.order_of("a"), value=0.5)
    # b began three merges ago, and with two devices two are allowed.
    drill.answer(stale, value=100.0)
    assert drill.rounds.state == [0.5]
    assert drill.order_of("b").version == drill.rounds.version
    drill.answer(drill.order_of("a"), value=0.5)
    assert drill.closed[1].missing == ("b",)
    assert drill.rounds.is_over
    assert drill.out == {}


def test_one_who_leaves_does_not_stop_merging():
    drill = Drill(strategy=BoundedStaleness(), shards=4, rounds=2)
    drill.join("a", "b")
    drill.do(MemberLeft("b"))
    assert [order.member for order in drill.out.values()] == ["a"]
    drill.answer(drill.order_of("a"))
    assert drill.order_of("a").shards == (0, 1, 2, 3)


def test_stopping_withdraws_what_is_out():
    drill = drill_after_first_round("a", "b")
    ids = sorted(drill.out)
    assert sorted(action.order_id for action in drill.rounds.stop()) == ids
    assert drill.rounds.stop() == []


def test_who_joins_twice_is_one():
    drill = Drill()
    drill.join("a", "a")
    assert len(drill.out) == 1


MOVES = st.lists(st.tuples(st.sampled_from(["join", "leave", "answer", "lose", "wait"]), st.integers(0, 9)),
                 max_size=60)


@settings(max_examples=4 * settings.default.max_examples // 5)
@pytest.mark.parametrize("strategy, is_reproducible, is_averaged_there", [
    (FedAvg(local_steps=3), False, False), (Synchronous(), False, False),
    (BoundedStaleness(local_steps=3), False, False), (FedAvg(local_steps=3), True, False),
    (FedAvg(local_steps=3), False, True)])
@given(moves=MOVES)
def test_whatever_happens_all_rounds_are_made_in_the_end(strategy, is_reproducible, is_averaged_there, moves):
    drill = Drill(strategy, shards=5, rounds=4, is_reproducible=is_reproducible, is_averaged_there=is_averaged_there)
    for move, number in moves:
        waiting = sorted(drill.out)
        if move == "join":
            drill.join("abcdef"[number % 6])
        elif move == "leave":
            drill.do(MemberLeft("abcdef"[number % 6]))
        elif move == "answer" and waiting:
            drill.answer(drill.out[waiting[number % len(waiting)]])
        elif move == "lose" and waiting:
            order = drill.out.pop(waiting[number % len(waiting)])
            drill.do(OrderLost(order.id))
        elif move == "lose" and drill.combining:
            drill.combine(lost=[order.id for order, _ in drill.combining][:number])
        elif move == "wait" and drill.combining:
            drill.combine()
        elif move == "wait":
            drill.now += number
            drill.do(TimePassed())
    drill.join("last")
    for _ in range(200):
        if drill.rounds.is_over:
            break
        if drill.combining:
            drill.combine()
        else:
            drill.answer(drill.out[min(drill.out)])
    assert drill.rounds.is_over
    assert [closed.round for closed in drill.closed] == [1, 2, 3, 4]
    assert drill.out == {}
