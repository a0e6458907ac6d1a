"""Calls on their way to devices: chunks that suit who runs them, and one outcome for each call whatever happens."""

import random

import pytest

from discompute_lite.core.events import StartAttempt, SubtasksAdded, Tick
from discompute_lite.roles.short_way import SHORT_S
from discompute_lite.roles.streams import CHUNK_BYTES, CHUNK_LEAST_S, CHUNK_S
from discompute_lite.tasks.calls import call_unit, function_line, read_outcomes
from discompute_lite.tasks.functions import pack_function
from discompute_lite.tasks.work import WorkOutcome

LINE = function_line(pack_function(divmod))


class Caller:
    """Make calls on one node, and keep what each came to."""

    def __init__(self, world, host, **options):
        self.world, self.host = world, host
        self.stream = host.node.streams.open(LINE, **options)
        self.units = []
        #: unit -> its outcomes, in the order in which they came.
        self.outcomes = {}

    def unit(self, data=None, calls=1):
        data = b"[[%d,5],{}]" % len(self.units) if data is None else data
        unit = self.stream.unit(data, calls, lambda unit, outcome: self.outcomes[unit].append(outcome))
        self.units.append(unit)
        self.outcomes[unit] = []
        return unit

    def add(self, count, **of_unit):
        units = [self.unit(**of_unit) for _ in range(count)]
        self.stream.add(units)
        self.world.settle()
        return units

    def cancel(self, *units):
        answers = [self.stream.cancel(unit) for unit in units]
        self.world.settle()
        return answers[0] if len(answers) == 1 else answers

    def outcome(self, unit):
        (outcome,) = self.outcomes[unit]
        return outcome

    def blames(self, units=None):
        return [self.outcome(unit).blame for unit in units or self.units]

    def lines(self):
        return [self.outcome(unit).line for unit in self.units]


def units_of(future):
    return future.request.data.split(b"\n")[1:]


def sizes(*hosts):
    """How many units each held request has."""
    return [len(units_of(future)) for host in hosts for future in host.executor.held]


def end_all(world, *hosts, call_s=0.0):
    """Let what is held end well: each unit's outcome is the unit."""
    for host in hosts:
        held, host.executor.held = host.executor.held, []
        for future in held:
            units = units_of(future)
            future.settle(WorkOutcome(True, b"\n".join(units), seconds=call_s * len(units)))
    world.settle()


def finish(world, *hosts, call_s=0.0, limit=300):
    """Let everything end well that is held and comes; return the sizes of all chunks, in order."""
    seen = []
    for _ in range(limit):
        if not any(host.executor.held for host in hosts):
            return seen
        seen += sizes(*hosts)
        end_all(world, *hosts, call_s=call_s)
    raise AssertionError("it does not end")


def fail(world, host, index=0, **outcome):
    """Let one held request fail."""
    host.executor.end(WorkOutcome(False, **{"error": "why", "error_type": "Died", "blame": "device", **outcome}), index)
    world.settle()


@pytest.fixture
def host(world):
    """A node with nobody beside it, which holds what it is to run, in two slots."""
    host = world.member("a").start()
    host.executor.holds = {"run"}
    return host


@pytest.fixture
def caller(world, host):
    return Caller(world, host)


@pytest.fixture
def pair(world):
    first, second = world.nodes("ab")
    first.executor.holds = second.executor.holds = {"run"}
    return first, second


def two_in_one(world, host, caller, count=3):
    """Teach the stream that calls are short, and leave it with one chunk of `count` units that runs; return these."""
    caller.add(1)
    end_all(world, host, call_s=CHUNK_LEAST_S / 10)
    blocker = Caller(world, host)
    blocker.add(2)
    units = caller.add(count)
    fail(world, host, error="that one", blame="task", error_type="TaskRejected")
    assert sizes(host) == [1, count]
    return units


# ---- the way of a call ----------------------------------------------------------------------------


def test_calls_are_made_and_each_has_its_outcome(world):
    host = world.host("a").start()
    caller = Caller(world, host)
    caller.add(3)
    caller.add(1, data=call_unit((1, 0), {}))
    found = [next(read_outcomes(line, ())) for line in caller.lines()]
    assert [each.values for each in found] == [[(0, 0)], [(0, 1)], [(0, 2)], []]
    assert isinstance(found[3].raised, ZeroDivisionError), "what a call raises is its outcome"
    assert {caller.outcome(unit)[1:] for unit in caller.units} == {("", "", host.id, 1)}


def test_all_streams_of_a_script_share_its_processes(world, host):
    Caller(world, host).add(1)
    Caller(world, host).add(1)
    first, second = host.executor.requests
    assert first.attempt_id != second.attempt_id and first.owner == second.owner
    assert first.task_type == "calls" and first.wall_s == 0.0


def test_options_reach_the_scheduler(world, host):
    stream = Caller(world, host, function="f", priority=9, requires=("gpu",), max_devices=2, pure=True).stream
    task = host.node.attempts.scheduler.task(stream.task_id)
    assert (task.priority, task.requires, task.max_devices, task.pure) == (9, ("gpu",), 2, True)
    assert host.node.attempts.scheduler.task(stream.task_id).pace is not None


def test_nothing_runs_where_nobody_offers_what_is_required(world, host):
    caller = Caller(world, host, requires=("b" * 52,))
    caller.add(3)
    world.advance(3)
    assert host.executor.requests == []
    there = world.member("b").start()
    there.executor.holds = {"run"}
    world.advance(3)
    assert len(there.executor.held) == 2
    finish(world, there)
    assert {caller.outcome(unit).device_id for unit in caller.units} == {there.id}


# ---- the size of chunks ---------------------------------------------------------------------------


def test_one_call_at_a_time_while_nobody_knows_how_long_it_takes(world, host, caller):
    caller.add(100)
    assert sizes(host) == [1, 1]


def test_chunks_grow_with_what_is_learnt_and_shrink_towards_the_end(world, host, caller):
    caller.add(4000)
    seen = finish(world, host, call_s=0.002)
    assert sum(seen) == 4000 and seen[:2] == [1, 1] and max(seen) == CHUNK_S / 0.002
    top = seen.index(max(seen))
    assert all(after <= 8 * before for before, after in zip(seen, seen[1:top + 1])), "guesses may be far off"
    assert seen[-1] <= CHUNK_LEAST_S / 0.002 and sorted(seen[top:], reverse=True) == seen[top:]
    assert caller.lines() == [b"[[%d,5],{}]" % number for number in range(4000)]


def test_long_calls_travel_alone(world, host, caller):
    caller.add(12)
    assert set(finish(world, host, call_s=2.0)) == {1}


def test_units_of_many_calls_count_as_many(world, host, caller):
    caller.add(1, calls=1)
    end_all(world, host, call_s=0.01)
    caller.add(80, calls=10)
    assert sizes(host) == [1, 5], "a unit goes whole; after it half a second is fifty calls"


def test_the_next_unit_lies_ready_for_each_busy_slot_where_that_may_be_done_twice(world, host):
    for is_pure, held in ((True, 4), (False, 2)):
        caller = Caller(world, host, pure=is_pure, function=f"f {is_pure}")
        caller.add(1), end_all(world, host, call_s=1e-6)
        caller.add(6, calls=25_000)
        assert len(host.executor.held) == held
        finish(world, host, call_s=0.02)


def test_the_scheduler_hears_how_many_calls_a_unit_holds_and_how_long_one_takes(world, host, caller, monkeypatch):
    caller.add(1), end_all(world, host, call_s=0.02)
    told, apply = [], host.node.attempts.apply
    monkeypatch.setattr(host.node.attempts, "apply", lambda event: (told.append(event), apply(event)))
    caller.add(2, calls=50)
    added = [event for event in told if isinstance(event, SubtasksAdded)]
    assert [(event.backlog, event.calls) for event in added] == [(100, 50)]
    assert added[0].call_s == caller.stream.work_s == pytest.approx(0.02)


def test_each_device_gets_as_much_as_suits_it(world, pair):
    fast, slow = pair
    caller = Caller(world, fast)
    caller.add(20_000)
    for _ in range(6):
        end_all(world, fast, call_s=0.001)
        end_all(world, slow, call_s=0.01)
    assert set(sizes(fast)) == {500} and set(sizes(slow)) == {50}


@pytest.mark.parametrize("score", [0.0, 0.05, 0.1, 0.3, 1.0])
def test_a_slow_phone_is_through_with_each_chunk_in_two_seconds(world, score):
    """It comes when the calls are known to be short here; `score` is what is known of it by then, 0.0 for nothing."""
    computer = world.member("a", slots=1).start()
    computer.executor.holds = {"run"}
    computer.node.set_measured({"score": 1.0})
    caller, here_s = Caller(world, computer), 0.005
    caller.add(6000)
    for _ in range(12):
        end_all(world, computer, call_s=here_s)
    assert max(sizes(computer)) == CHUNK_S / here_s
    phone = world.member("b", slots=1).start()
    phone.executor.holds = {"run"}
    if score:
        phone.node.set_measured({"score": score})
    there_s, took = here_s / (score or 0.1), []
    for _ in range(400):
        world.advance(0.01)
        took += [there_s * size for size in sizes(phone)]
        end_all(world, phone, call_s=there_s)
        if len(took) > 5:
            break
        if not phone.executor.held:
            world.advance(0.1)
    assert took and max(took) <= 2.0


def test_much_data_is_sent_in_pieces(world, host, caller):
    caller.add(1)
    end_all(world, host, call_s=1e-6)
    caller.add(40, data=b"[[%s],{}]" % (b"1" * (CHUNK_BYTES // 3)))
    assert max(finish(world, host, call_s=1e-6)) == 2


@pytest.mark.parametrize("seconds", [-1.0, 0.0, float("nan"), float("inf"), "soon", None])
def test_whatever_a_device_says_of_its_time_calls_go_on(world, host, caller, seconds):
    caller.stream.learn(host.id, 1, seconds)
    caller.add(50)
    assert sum(finish(world, host)) == 50


def test_a_device_that_comes_is_filled_at_once(world):
    host = world.member("a", slots=1).start()
    host.executor.holds = {"run"}
    caller = Caller(world, host)
    caller.add(20)
    there = world.member("b", slots=6).start()
    there.executor.holds = {"run"}
    world.advance(3)
    assert len(there.executor.held) == 6, "though nothing has ended since"


def test_what_is_done_is_forgotten(world, host, caller):
    for _ in range(30):
        caller.add(10)
        finish(world, host, call_s=0.01)
    task = host.node.attempts.scheduler.task(caller.stream.task_id)
    assert not task.subtasks and not caller.stream._chunks and not caller.stream._blank
    assert all(unit.data == b"" for unit in caller.units)


# ---- what befalls it ------------------------------------------------------------------------------


def test_the_calls_of_a_device_that_dies_are_made_elsewhere(world, pair):
    first, second = pair
    caller = Caller(world, first)
    caller.add(4)
    second.kill()
    world.advance(6)
    finish(world, first)
    assert [caller.outcome(unit).attempts for unit in caller.units].count(2) == 2
    assert caller.lines() == [b"[[%d,5],{}]" % number for number in range(4)]


def test_a_refused_chunk_is_asked_for_again(world, host, caller):
    (unit,) = caller.add(1)
    for _ in range(5):
        fail(world, host, blame="refused")
        world.advance(8)
    finish(world, host)
    assert caller.outcome(unit)[1:3] == ("", "") and caller.outcome(unit).attempts == 6


def test_of_a_chunk_that_kills_its_process_only_the_culprit_fails(world, host, caller):
    units = two_in_one(world, host, caller)
    culprit = units[1].data
    for _ in range(80):
        for index in reversed(range(len(host.executor.held))):
            if culprit in units_of(host.executor.held[index]):
                fail(world, host, index, error="its process died")
            else:
                future = host.executor.held.pop(index)
                future.settle(WorkOutcome(True, b"\n".join(units_of(future)), seconds=0.001))
        world.advance(0.25)
    assert caller.blames(units) == ["", "poison", ""]
    assert "its process died" in caller.outcome(units[1]).error


def test_a_chunk_whose_process_ends_is_taken_apart_at_once(world, host, caller):
    units = two_in_one(world, host, caller)
    fail(world, host, 1, error="its process died")
    world.advance(0.01)
    end_all(world, host)
    end_all(world, host)
    assert host.executor.requests[-1].data.count(b"\n") == 1, "each goes alone, and none waits for a pardon"
    end_all(world, host)
    assert caller.blames(units) == [""] * 3


def test_calls_that_belong_together_and_end_their_process_are_given_back_for_their_maker_to_part(world, host, caller):
    (unit,) = caller.add(1, calls=40)
    fail(world, host, error="its process died")
    assert caller.outcome(unit)[1:3] == (f"it failed once, on {host.id[:8]}: its process died", "poison")
    (unit,) = caller.add(1, calls=40)
    fail(world, host, error="it used 3 GiB of memory", error_type="OverLimit", blame="task")
    assert caller.outcome(unit)[1:3] == ("it used 3 GiB of memory", "limit")


def test_a_function_that_cannot_be_rebuilt_fails_all_calls_at_once(world, host, caller):
    units = two_in_one(world, host, caller)
    fail(world, host, 1, error="it cannot be rebuilt", blame="task", error_type="TaskRejected")
    assert caller.blames(units) == ["task"] * 3 and caller.outcome(units[0]).error == "it cannot be rebuilt"


def test_what_is_too_large_together_is_tried_one_by_one(world, host, caller):
    units = two_in_one(world, host, caller)
    fail(world, host, 1, error="its data is too large", blame="task", error_type="TooLarge")
    finish(world, host)
    assert caller.blames(units) == ["", "", ""]


def test_another_number_of_outcomes_than_calls_is_no_outcome(world, host, caller):
    units = two_in_one(world, host, caller)
    host.executor.end(WorkOutcome(True, b"1\n2", seconds=0.1), 1)
    world.settle()
    assert caller.blames(units) == ["task"] * 3
    assert caller.outcome(units[0]).error == "aaaaaaaa returned 2 outcomes for 3 calls"


def test_a_limit_of_time_holds_for_each_call(world, host):
    caller = Caller(world, host, wall_s=2.5)
    caller.add(5)
    end_all(world, host, call_s=0.001)
    assert sizes(host) == [1, 1] and {future.request.wall_s for future in host.executor.held} == {2.5}
    fail(world, host, blame="task", error_type="TimedOut", error="it ran longer than its limit")
    assert caller.outcome(caller.units[2])[1:3] == ("it ran longer than its limit", "timeout")
    finish(world, host)
    assert caller.blames() == ["", "", "timeout", "", ""]


def test_a_device_that_is_slow_gets_company_only_where_that_does_no_harm(world, pair):
    first, second = pair
    pure, other = Caller(world, first, pure=True, function="p"), Caller(world, first, function="o")
    for caller in (pure, other):
        for _ in range(6):
            caller.add(4)
            world.advance(0.25)
            end_all(world, first, second, call_s=0.25)
    for caller in (pure, other):
        (unit,) = caller.add(1)
        world.advance(60)
        begun = [each for host in pair for each in host.executor.held]
        assert len(begun) == (2 if caller is pure else 1)
        end_all(world, first, second, call_s=60)
        assert caller.outcome(unit).blame == "" and caller.outcome(unit).attempts == len(begun)


# ---- the end --------------------------------------------------------------------------------------


def test_a_stream_that_is_stopped_gives_every_call_its_end(world, host, caller):
    caller.add(10)
    running = list(host.executor.held)
    caller.stream.stop("enough")
    world.settle()
    assert caller.blames() == ["stopped"] * 10 and caller.outcome(caller.units[0]).error == "enough"
    assert all(future.stop_reason for future in running)
    caller.add(1)
    assert caller.outcome(caller.units[-1]).error == "enough"
    caller.stream.stop("again")
    caller.stream.seal()
    assert host.node.attempts.scheduler.task(caller.stream.task_id).state.value == "CANCELLED"


def test_a_node_that_stops_ends_its_streams_and_opens_no_more(world, host, caller):
    caller.add(5)
    streams = host.node.streams
    host.node.stop()
    assert caller.blames() == ["stopped"] * 5
    late = Caller(world, host)
    late.add(2)
    assert late.blames() == ["stopped"] * 2 and not streams._streams


def test_a_sealed_stream_ends_when_everything_is_done(world, host, caller):
    caller.add(5)
    caller.stream.seal()
    assert not caller.stream.ended
    finish(world, host)
    assert caller.blames() == [""] * 5 and caller.stream.ended and not host.node.streams._streams
    assert host.node.attempts.scheduler.task(caller.stream.task_id).state.value == "COMPLETED"


def test_a_stream_without_calls_ends_when_it_is_sealed(world, host, caller):
    caller.stream.seal()
    assert caller.stream.ended


def test_what_is_sealed_still_tries_the_calls_of_a_bad_chunk_alone(world, host, caller):
    units = two_in_one(world, host, caller)
    caller.stream.seal()
    fail(world, host, 1, error="its data is too large", blame="task", error_type="TooLarge")
    assert not caller.stream.ended
    finish(world, host)
    assert caller.blames(units) == ["", "", ""] and caller.stream.ended


def test_a_sealed_stream_whose_calls_are_cancelled_ends_without_a_device(world, host):
    caller = Caller(world, host, requires=("gpu",))
    units = caller.add(3)
    caller.stream.seal()
    caller.cancel(*units)
    assert caller.stream.ended


# ---- cancelling -----------------------------------------------------------------------------------


def test_a_cancelled_call_that_waits_is_not_made(world, host, caller):
    units = caller.add(5)
    assert caller.cancel(units[3]) is True and caller.cancel(units[3]) is False
    finish(world, host)
    assert caller.outcomes[units[3]] == [] and caller.blames(units[:3] + units[4:]) == [""] * 4
    assert b"[[3,5],{}]" not in [unit for request in host.executor.requests for unit in request.data.split(b"\n")]


def test_a_cancelled_call_that_runs_is_stopped(world, host, caller):
    units = caller.add(3)
    future = host.executor.held[0]
    assert caller.cancel(units[0]) is True and future.stop_reason
    assert len(host.executor.held) == 3, "its slot has the next"
    host.executor.held.remove(future)
    finish(world, host)
    assert caller.outcomes[units[0]] == [] and caller.blames(units[1:]) == ["", ""]


def test_a_call_that_is_done_cannot_be_cancelled(world, host, caller):
    (unit,) = caller.add(1)
    finish(world, host)
    assert caller.cancel(unit) is False and caller.blames() == [""]


def test_one_call_of_a_chunk_is_cancelled_and_the_others_go_on(world, host, caller):
    units = two_in_one(world, host, caller)
    future = host.executor.held[1]
    caller.cancel(units[1])
    assert not future.stop_reason
    finish(world, host)
    assert caller.outcomes[units[1]] == [] and caller.blames([units[0], units[2]]) == ["", ""]


def test_a_chunk_is_stopped_when_nobody_wants_any_of_it(world, host, caller):
    units = two_in_one(world, host, caller)
    future = host.executor.held[1]
    caller.cancel(*units)
    assert future.stop_reason
    finish(world, host)
    assert not any(caller.outcomes[unit] for unit in units) and not caller.stream._chunks


def test_a_cancelled_call_of_a_bad_chunk_is_not_tried_again(world, host, caller):
    units = two_in_one(world, host, caller)
    caller.cancel(units[0])
    fail(world, host, 1, blame="task", error_type="TooLarge")
    before = len(host.executor.requests)
    finish(world, host)
    assert caller.outcomes[units[0]] == [] and caller.blames(units[1:]) == ["", ""]
    assert sum(request.attempt_id.startswith(caller.stream.task_id) for request in host.executor.requests[before:]) <= 2


def test_a_call_may_be_cancelled_before_it_is_added(world, host, caller):
    unit, other = caller.unit(), caller.unit()
    assert caller.cancel(unit) is True
    caller.stream.add([unit, other])
    world.settle()
    finish(world, host)
    assert caller.outcomes[unit] == [] and caller.blames([other]) == [""] and caller.stream.waiting_calls == 0


def test_what_waits_is_cancelled_all_at_once(world, host, caller):
    caller.add(10)
    caller.stream.cancel_waiting()
    world.settle()
    assert caller.blames(caller.units[2:]) == ["cancelled"] * 8
    finish(world, host)
    assert caller.blames(caller.units[:2]) == ["", ""]


def test_nothing_is_sent_for_a_subtask_of_which_nothing_is_left(world, host, caller):
    units = caller.add(3)
    caller.cancel(units[2])
    begun = len(host.executor.requests)
    finish(world, host)
    assert len(host.executor.requests) == begun
    task = host.node.attempts.scheduler.task(caller.stream.task_id)
    assert not task.subtasks and not host.node.attempts.has_work_with(host.id)
    caller.add(4)
    finish(world, host)
    assert caller.blames(units[:2] + caller.units[3:]) == [""] * 6


def test_a_call_that_is_cancelled_by_an_outcome_does_not_take_others_with_it(world, host, caller):
    """The wish to end its subtask has to wait until the outcome is taken care of; what comes is not put into it."""
    first, second, *others = caller.units = caller.add(6)
    first.done = lambda unit, outcome: (caller.outcomes[unit].append(outcome), caller.stream.cancel(second))
    end_all(world, host)
    finish(world, host)
    assert caller.blames([first, *others]) == [""] * 5


def test_nothing_is_put_into_a_subtask_whose_end_the_scheduler_is_yet_to_learn(world, host, caller):
    units = caller.add(3)
    index, attempts = units[0].chunk.index, host.node.attempts
    attempts._is_obeying = True
    caller.stream.cancel(units[0])
    again = StartAttempt("again", caller.stream.task_id, index, host.id, 15.0)
    assert caller.stream.begin(again) is None and units[2].waits
    attempts._is_obeying = False
    attempts.apply(Tick())
    world.settle()
    finish(world, host)
    assert caller.blames(units[1:]) == ["", ""]


# ---- whatever happens -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_every_call_has_one_outcome_or_was_cancelled(world, seed):
    chance = random.Random(seed)
    hosts = [world.member(letter).start() for letter in "abc"]
    own, *others = hosts
    callers = [Caller(world, own, pure=True, function="f"), Caller(world, own), Caller(world, own, max_devices=1)]
    cancelled = set()

    def living():
        for each in hosts:
            if each.node is not None:
                each.executor.holds = {"run"}
        return [each for each in hosts if each.node is not None and each.executor.held]

    for _ in range(150):
        caller, act = chance.choice(callers), chance.random()
        busy = living()
        if act < 0.25:
            caller.add(chance.choice([1, 3, 20]), calls=chance.choice([1, 1, 7]))
        elif act < 0.4 and caller.units:
            some = chance.sample(caller.units, min(len(caller.units), 4))
            cancelled |= {unit for unit in some if caller.cancel(unit)}
        elif act < 0.75 and busy:
            end_all(world, chance.choice(busy), call_s=chance.choice([0.0001, 0.01, 1.0]))
        elif act < 0.85 and busy:
            blame, kind = chance.choice([("device", "Died"), ("refused", ""), ("task", "TooLarge")])
            fail(world, chance.choice(busy), blame=blame, error_type=kind)
        elif act < 0.9:
            other = chance.choice(others)
            other.kill() if other.node is not None else other.start()
        world.advance(chance.choice([0.0, 0.1, 2.0]))
    for caller in callers:
        caller.stream.seal()
    for _ in range(400):
        if all(caller.stream.ended for caller in callers):
            break
        end_all(world, *living(), call_s=0.01)
        world.advance(0.5)
    assert own.node.streams._streams == {}
    for caller in callers:
        assert caller.stream.waiting_calls == 0
        for unit in caller.units:
            assert len(caller.outcomes[unit]) == (unit not in cancelled), "one outcome, or none of what was cancelled"


# ---- the short way --------------------------------------------------------------------------------


def short_caller(world, host, call_s=SHORT_S / 10, **options):
    """Return a caller whose stream knows how long a call takes."""
    caller = Caller(world, host, **options)
    caller.add(1)
    end_all(world, host, call_s=call_s)
    return caller


def went_short(host):
    """Whether each held request went past the scheduler."""
    return [not future.request.attempt_id.rpartition("/")[2] for future in host.executor.held]


def test_a_short_call_is_made_here_at_once_where_a_slot_is_free(world, host):
    caller = short_caller(world, host)
    first, second = caller.add(1) + caller.add(1)
    assert went_short(host) == [True, True] and host.node.worker.running == 2
    third, = caller.add(1)
    assert went_short(host) == [True, True, False], "the scheduler has it"
    finish(world, host)
    assert [caller.outcome(unit) for unit in (first, second, third)] == [
        (line, "", "", host.id, 1) for line in (b"[[1,5],{}]", b"[[2,5],{}]", b"[[3,5],{}]")]
    assert host.node.worker.running == 0


def test_what_takes_long_or_needs_a_device_of_its_kind_never_goes_short(world, host):
    for caller in (Caller(world, host), short_caller(world, host, call_s=SHORT_S),
                   short_caller(world, host, requires=(host.id,))):
        caller.add(1)
        assert went_short(host) == [False]
        end_all(world, host)
    caller = short_caller(world, host)
    caller.add(1, calls=20)
    assert went_short(host) == [False], "all its calls together take long"
    end_all(world, host)


def test_short_calls_that_come_together_are_shared_out_in_chunks(world, host):
    caller = short_caller(world, host)
    caller.add(8)
    assert went_short(host) == [False, False]
    finish(world, host)


def test_a_short_call_that_dies_is_made_again_by_the_scheduler(world, host):
    caller = short_caller(world, host)
    unit, = caller.add(1)
    fail(world, host)
    assert went_short(host) == [False]
    end_all(world, host)
    assert caller.outcome(unit) == (b"[[1,5],{}]", "", "", host.id, 2)


def test_a_call_that_kills_its_process_is_poison_after_three_times_the_short_way_counted(world, host):
    caller = short_caller(world, host)
    unit, = caller.add(1)
    tries = 0
    while host.executor.held:
        tries += 1
        fail(world, host)
        world.advance(10.0)
    assert tries == 3 and caller.outcome(unit)[2] == "poison" and "it failed 3 times" in caller.outcome(unit)[1]


@pytest.mark.parametrize("error_type, blame", [("TimedOut", "timeout"), ("TooLarge", "task")])
def test_a_short_call_that_is_to_blame_itself_has_failed(world, host, error_type, blame):
    caller = short_caller(world, host)
    unit, = caller.add(1)
    fail(world, host, error="too much", error_type=error_type, blame="task")
    assert caller.outcome(unit)[1:3] == ("too much", blame) and not host.executor.held


def test_a_short_call_that_is_cancelled_is_stopped(world, host):
    caller = short_caller(world, host)
    unit, = caller.add(1)
    future, = host.executor.held
    assert caller.cancel(unit) and not caller.cancel(unit)
    assert future.stop_reason == "it was cancelled" and caller.outcomes[unit] == []
    caller.add(1)
    end_all(world, host)
    assert caller.outcome(caller.units[-1]).error == ""


def test_a_stream_that_is_stopped_stops_its_short_calls_and_a_sealed_one_waits_for_them(world, host):
    caller, other = short_caller(world, host), short_caller(world, host)
    (unit,), (last,) = caller.add(1), other.add(1)
    caller.stream.stop("enough")
    other.stream.seal()
    world.settle()
    assert caller.outcome(unit)[1:3] == ("enough", "stopped") and not other.stream.ended
    end_all(world, host)
    assert other.outcome(last).error == "" and other.stream.ended
