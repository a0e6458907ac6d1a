"""Work spread over devices is never slower than the fastest of them alone, and `why` says what is kept for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.core.events import AttemptSucceeded, StartAttempt, SubtasksAdded, SubtaskSized
from discompute_lite.core.paces import FunctionPace
from discompute_lite.core.records import DeviceRecord
from discompute_lite.core.worth import UNMEASURED_BYTES_S, Weigher, alone_s, there_s, way_s

seconds, sizes, rates = st.floats(0.0, 1e4), st.floats(0.0, 1e9), st.floats(1.0, 1e9)
counts = st.integers(0, 1000)


def started(actions):
    return [(action.attempt_id, action.device_id) for action in actions if isinstance(action, StartAttempt)]


# ---- what things take ------------------------------------------------------------------------------


@pytest.mark.parametrize("size_bytes, round_trip_s, bytes_s, sharing, expected", [
    (1e9, 0.0, 1.0, 5, 0.0), (0.0, 0.05, 1e6, 3, 0.05), (1e6, 0.1, 1e6, 0, 1.1), (1e6, 0.1, 1e6, 2, 3.1),
    (UNMEASURED_BYTES_S, 0.1, 0.0, 0, 1.1),
])
def test_a_way_is_a_round_trip_and_the_bytes_of_all_who_share_it(size_bytes, round_trip_s, bytes_s, sharing, expected):
    way = way_s(size_bytes=size_bytes, round_trip_s=round_trip_s, bytes_s=bytes_s, sharing=sharing)
    assert way == pytest.approx(expected)


@given(sizes, st.floats(1e-6, 10.0), rates, counts)
def test_a_way_grows_with_what_is_sent_and_shrinks_with_what_the_link_carries(size, trip, rate, sharing):
    def way(**changes):
        return way_s(**{"size_bytes": size, "round_trip_s": trip, "bytes_s": rate, "sharing": sharing, **changes})

    assert trip <= way() <= way(size_bytes=size + 1.0) and way() <= way(sharing=sharing + 1)
    assert way(bytes_s=rate * 2) <= way()


@given(seconds, seconds, counts, st.integers(1, 64))
def test_who_has_more_to_do_is_back_later(piece_s, way, running, slots):
    there = there_s(piece_s=piece_s, way=way, running=running, slots=slots)
    assert way + piece_s <= there <= there_s(piece_s=piece_s, way=way, running=running + 1, slots=slots)


@given(st.floats(1e-6, 1e3), st.integers(1, 10**6), seconds, st.integers(1, 64))
def test_alone_takes_at_least_a_piece_and_at_least_all_of_them_over_the_slots(piece_s, waiting, running_s, slots):
    alone = alone_s(piece_s=piece_s, waiting=waiting, running_s=running_s, slots=slots)
    assert alone >= piece_s and alone >= piece_s * waiting / slots * 0.999
    assert alone <= alone_s(piece_s=piece_s, waiting=waiting + 1, running_s=running_s, slots=slots)


def test_who_turns_out_slow_is_the_fastest_no_more():
    pace, members = FunctionPace(), {}
    weigher = Weigher(pace, members)
    for order, (name, speed) in enumerate([("first", 8.0), ("second", 1.0)]):
        device = members[name] = DeviceRecord(name, order)
        device.slots, device.speed = 1, speed
        weigher.consider(device)
    assert weigher.fastest is members["first"]
    for _ in range(50):
        pace.learn("second", 1.0, 1.0)
        pace.learn("first", 8.0, 20.0)
    for device in members.values():
        weigher.consider(device)
    assert weigher.fastest is members["second"]


# ---- what the scheduler makes of it ----------------------------------------------------------------


def test_a_slow_device_gets_nothing_that_the_fast_one_would_have_done_by_then(world):
    world.devices("fast", speed=8.0)
    world.devices("slow", speed=1.0)
    assert started(world.submit(subtasks=6, function="f")) == [("t/0.1", "fast")]
    assert "nothing is sent to slow" in world.scheduler.why("t")
    assert started(world.submit("u", subtasks=40, function="g")) == [("u/0.1", "slow")], "another task may have it"


def test_of_much_work_the_slow_device_gets_its_share(world):
    world.devices("fast", speed=8.0)
    world.devices("slow", speed=1.0)
    assert started(world.submit(subtasks=20, function="f")) == [("t/0.1", "fast"), ("t/1.1", "slow")]


def test_over_a_slow_link_goes_what_is_worth_it_and_the_story_says_why_the_rest_does_not(world):
    world.devices("here", speed=1.0)
    world.devices("far", speed=4.0, round_trip_s=0.1, bytes_s=100_000.0)
    # One piece is 10 s on its way: while nobody knows how long it takes, it stays.
    assert started(world.submit(subtasks=12, function="f", size_bytes=1_000_000)) == [("t/0.1", "here")]
    world.wait(0.5, renew=("here",))
    assert started(world.succeed("t/0.1")) == [("t/1.1", "here")]
    assert world.scheduler.story("t")[-1] == (
        "nothing is sent to far, since a subtask would be back from there in 10.2 s, 10.1 s of it on the way,"
        " and here alone does all that waits in 5.2 s"
    )
    assert "10.1 s of it on the way" in world.scheduler.why("t")
    assert "nothing is sent to far" in world.scheduler.why("t", 5)


def test_what_turns_out_to_be_long_goes_over_the_same_link(world):
    world.devices("here", speed=1.0)
    world.devices("far", speed=4.0, round_trip_s=0.1, bytes_s=100_000.0)
    assert started(world.submit(subtasks=12, function="f", size_bytes=1_000_000)) == [("t/0.1", "here")]
    # It is weighed again as what runs grows older: 11 times 2 s is more than 10 s and a little.
    assert started(world.wait(2.0, renew=("here",))) == [("t/1.1", "far")]


def test_nothing_goes_far_that_is_worth_it_only_if_what_runs_goes_on_running(world):
    """As old as it is, it may end at once: then the two that wait are done here before one would be back."""
    world.devices("here", speed=1.0)
    world.devices("far", speed=4.0, round_trip_s=0.3, bytes_s=50_000.0)
    assert started(world.submit(subtasks=3, function="f", size_bytes=10_000)) == [("t/0.1", "here")]
    assert started(world.wait(0.2, renew=("here",))) == []
    # Of 0.4 s, which it then is at least, two are 0.8, and one is back from there in 0.6.
    assert started(world.wait(0.2, renew=("here",))) == [("t/1.1", "far")]


def test_who_runs_nothing_of_a_task_is_not_waited_for(world):
    world.devices("fast", speed=8.0)
    world.submit("other", subtasks=1, function="g")
    world.devices("slow", speed=1.0)
    assert started(world.submit(subtasks=1, function="f")) == [("t/0.1", "slow")]


def test_what_is_kept_goes_as_soon_as_the_fast_one_is_lost(world):
    world.devices("fast", speed=8.0)
    world.devices("slow", speed=1.0)
    world.submit(subtasks=3, function="f")
    assert started(world.lose("fast")) == [("t/0.2", "slow")]


def test_of_a_task_that_is_fed_all_counts_that_waits_at_its_owner(world):
    world.devices("fast", speed=8.0)
    world.devices("slow", speed=1.0)
    world.submit(subtasks=0, function="f", is_open=True)
    assert started(world(SubtasksAdded("t", 2, backlog=50))) == [("t/0.1", "fast"), ("t/1.1", "slow")]
    world.succeed("t/0.1"), world.succeed("t/1.1")
    assert started(world(SubtasksAdded("t", 2, backlog=2))) == [("t/2.1", "fast")]
    world(SubtaskSized("t", 2, 1))


def test_trivial_calls_stay_here_though_the_first_was_taken_for_long_with_the_start_of_its_process(world):
    world.devices("here", slots=2, window=4)
    world.devices("far", slots=2, speed=0.5, window=4, round_trip_s=0.03, bytes_s=2e6)
    world.submit(subtasks=0, function="f", is_open=True, pure=True)
    # 100,000 calls of 1 µs, of which nobody knows as much: the first goes alone, and the others in fours.
    for index, calls, took_s in [(0, 1, 0.081), (1, 25_000, 0.026), (2, 25_000, 0.026), (3, 25_000, 0.026)]:
        assert started(world(SubtasksAdded("t", 1, calls, size_bytes=300))) == [(f"t/{index}.1", "here")]
        world(SubtaskSized("t", index, calls))
        world.wait(took_s)
        world.succeed(f"t/{index}.1")
    # Alone that takes 0.05 s. One of them is on its way for 0.12, and would take 0.05 more there.
    waiting, begun = started(world(SubtasksAdded("t", 4, 100_000, size_bytes=175_000))), []
    while waiting:
        begun.append(waiting.pop(0))
        waiting += started(world(SubtaskSized("t", len(begun) + 3, 25_000)))
    assert [device_id for _, device_id in begun] == ["here"] * 4


def test_all_devices_may_have_more_sent_in_advance_as_soon_as_one_shows_how_short_calls_are(world):
    world.devices("one", "two", window=4)
    world.submit(subtasks=0, function="f", is_open=True, pure=True)
    assert len(started(world(SubtasksAdded("t", 2, 200_000)))) == 2
    for index in (0, 1):
        world(SubtaskSized("t", index, 1))
    world.wait(1.0), world.succeed("t/0.1"), world.succeed("t/1.1")
    assert len(started(world(SubtasksAdded("t", 3, 200_000)))) == 2
    for index in (2, 3):
        world(SubtaskSized("t", index, 25_000))
    world.wait(0.2)
    assert ("t/4.1", "one") in started(world.succeed("t/2.1"))
    world(SubtaskSized("t", 4, 25_000))
    added = started(world(SubtasksAdded("t", 8, 200_000)))
    assert {device_id for _, device_id in added} == {"one", "two"}


def test_the_way_counts_for_no_work_of_the_device(world):
    """Else a device behind a slow link would count as slow, and what weighs nothing would not be sent there either."""
    world.devices("far", speed=1.0, round_trip_s=0.1, bytes_s=100_000.0)
    world.submit(subtasks=2, function="f", size_bytes=1_000_000)
    world.wait(11.1, renew=("far",))
    world.succeed("t/0.1")
    assert world.scheduler.task("t").pace.typical_s("far") == pytest.approx(1.0)


def learnt(world, calls, call_s):
    """Let a task have two pieces of so many calls done here, each with a millisecond of its own."""
    world.submit(subtasks=0, function="f", is_open=True)
    for index in (0, 1):
        world(SubtasksAdded("t", 1, calls))
        world(SubtaskSized("t", index, calls))
        world.wait(calls * call_s + 0.001)
        world.succeed(f"t/{index}.1")


def test_a_piece_of_many_calls_does_not_go_to_a_slow_device_as_if_it_were_one_call(world):
    world.devices("fast", slots=2)
    learnt(world, 5000, 1e-5)
    world.devices("slow", speed=0.1, round_trip_s=0.003, bytes_s=1e6)
    # 40,000 calls are 0.2 s here, and 5,000 of them are 0.5 s there: one alone would be back in 3 ms.
    given, told = [], {"calls": 5000, "call_s": 1e-5}
    for index in range(2, 10):
        given += started(world(SubtasksAdded("t", 1, 5000 * (10 - index), **told)))
        world(SubtaskSized("t", index, 5000))
    assert [device_id for _, device_id in given] == ["fast", "fast"]


def test_a_piece_of_many_calls_goes_to_a_fast_device_whose_way_takes_longer_than_one_call(world):
    world.devices("slow", speed=0.1)
    learnt(world, 10, 1e-3)
    world.devices("fast", speed=2.0, round_trip_s=0.003, bytes_s=1e6)
    # 800 calls of 0.1 ms are 0.8 s here, and there 0.04 and the way, which alone is three calls here.
    assert started(world(SubtasksAdded("t", 1, 800, calls=800, call_s=1e-4))) == [("t/2.1", "fast")]


def test_what_came_with_earlier_pieces_does_not_count_for_each_call_of_a_larger_one(world):
    """The first call of a function took 50 ms with the start of its process: sixty do not take three seconds."""
    world.devices("here")
    world.submit(subtasks=0, function="f", is_open=True)
    world(SubtasksAdded("t", 1, 1)), world(SubtaskSized("t", 0, 1)), world.wait(0.05), world.succeed("t/0.1")
    world.devices("far", speed=2.0, round_trip_s=0.15, bytes_s=1e8)
    assert started(world(SubtasksAdded("t", 1, 60, calls=60, call_s=2e-5))) == [("t/1.1", "here")]


def test_of_one_call_what_was_learnt_of_many_says_more_than_the_last_of_them():
    pace = FunctionPace()
    pace.learn("here", 1.0, 0.2)
    weigher = Weigher(pace, {})
    weigher.call_s = 1e-6
    assert weigher.work(pace) == pytest.approx(0.2)
    weigher.calls = 10
    assert weigher.work(pace) == pytest.approx(1e-5)


def test_what_comes_back_weighs_as_much_as_there_are_calls(world):
    world.devices("here")
    world.submit(subtasks=0, function="f", is_open=True)
    world(SubtasksAdded("t", 1, 100)), world(SubtaskSized("t", 0, 100)), world.wait(0.01)
    world(AttemptSucceeded("t/0.1", 10_000))
    weigher = Weigher(world.scheduler.task("t").pace, {})
    far = DeviceRecord("far", 0)
    far.round_trip_s, far.bytes_s = 0.01, 1e6
    assert weigher.way(far) == pytest.approx(0.01 + 1e-4)
    weigher.calls = 5000
    assert weigher.way(far) == pytest.approx(0.51)
