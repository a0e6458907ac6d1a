"""Scripts beside a node: it makes their calls on all devices; whoever ends, no call is lost, and none has two ends."""

import hashlib
import json

import pytest

from discompute_lite.core.events import Tick
from discompute_lite.model.errors import InvalidRequest, Unauthenticated
from discompute_lite.roles.call_units import UnitOutcome
from discompute_lite.roles.far_blobs import FarBlobs
from discompute_lite.roles.far_streams import SENT_UNITS, FarStreams, LinkCarrier, OwnCarrier
from discompute_lite.tasks.blob_values import Blob
from discompute_lite.tasks.calls import call_unit, function_line
from discompute_lite.tasks.functions import pack_function
from discompute_lite.tasks.values import dump_value
from discompute_lite.tasks.work import WorkOutcome

LINE = function_line(pack_function(divmod))
LENGTH = function_line(pack_function(len))


class FakeScript:
    """A script's end of the way: what beside.py puts together, on the clock of a world."""

    def __init__(self, world, host=None, **wishes):
        self.world, self.wishes = world, wishes
        self.streams, self.blobs = FarStreams(), FarBlobs(1 << 20)
        self.link = self.carrier = None
        #: unit -> its outcomes, in the order in which they came.
        self.outcomes = {}
        if host is not None:
            self.reach(host)

    def reach(self, host):
        link = self.link = self.world.connect(
            host, from_ip="127.0.0.1", receiver=self, clock=self.world.clock, is_dialled=True)
        answers = []
        link.call("Hello", {"auth": host.token}, lambda result, error: None)
        link.call("ServeScript", self.wishes, lambda result, error: answers.append(result))
        self.world.settle()
        self.carrier = LinkCarrier(link, self.streams, answers[0]["slots"])
        self.blobs.move_to(link, lambda: self.streams.carry_by(self.carrier))
        self.world.settle()

    def call_received(self, link, call):
        self.carrier.told(call.method, call.params)

    def admit_call(self, link, method):
        return None

    def connection_closed(self, link, reason):
        self.streams.put_down()
        self.blobs.put_down()

    def die(self):
        self.link.close("killed")
        self.world.settle()

    def open(self, line=LINE, **named):
        return self.streams.open(line, **named)

    def add(self, stream, *data):
        units = [stream.unit(each, 1, lambda unit, came: self.outcomes[unit].append(came)) for each in data]
        self.outcomes.update((unit, []) for unit in units)
        stream.add(units)
        self.world.settle()
        return units

    def put(self, value):
        text = dump_value(value)
        sha256 = hashlib.sha256(text).hexdigest()
        errors = []
        for offset in range(0, len(text), 1 << 20):
            self.blobs.keep_own(sha256, len(text), offset, text[offset:offset + (1 << 20)]).then(
                lambda result, error: errors.append(error))
            self.world.settle()
        return Blob(sha256, len(text)), errors

    def outcome(self, unit):
        (outcome,) = self.outcomes[unit]
        return outcome

    def values(self, units):
        return [json.loads(self.outcome(unit).line)["value"]["v"] for unit in units]


def call(number, by=5):
    return call_unit((number, by), {})


def end_all(world, *hosts, seconds=0.5):
    """Let what is held be done, and what comes after it, until nothing is held; return who did how many units."""
    done = dict.fromkeys(hosts, 0)
    while any(host.executor.held for host in hosts):
        for host in hosts:
            for future in host.executor.held:
                units = future.request.data.split(b"\n")[1:]
                done[host] += len(units)
                future.settle(WorkOutcome(True, b"\n".join(b'{"value":{"v":0}}' for _ in units), seconds=seconds))
            host.executor.held = []
        world.settle()
    return [done[host] for host in hosts]


@pytest.fixture
def host(world):
    return world.host("a").start()


@pytest.fixture
def holding(host):
    host.executor.holds = {"run"}
    return host


@pytest.fixture
def script(world, host):
    return FakeScript(world, host)


# ---- calls ------------------------------------------------------------------------------------------


def test_calls_of_a_script_are_made_by_the_node_beside_it(host, script):
    units = script.add(script.open(), *map(call, range(12)))
    assert script.values(units) == [[number // 5, number % 5] for number in range(12)]
    assert {(each.device_id, each.attempts) for each in map(script.outcome, units)} == {(host.id, 1)}
    assert script.streams.total_slots() == 2 and host.node.scripts.script_of(script.link.other).streams[1].units == {}


def test_they_spread_over_the_devices_of_its_cluster(world):
    first, second = world.nodes("ab")
    first.executor.holds = second.executor.holds = {"run"}
    script = FakeScript(world, first)
    assert script.streams.total_slots() == 4
    units = script.add(script.open(pure=True), *map(call, range(8)))
    done = end_all(world, first, second)
    assert sum(done) == 8 and min(done) > 0
    assert {script.outcome(unit).device_id for unit in units} == {first.id, second.id}


def test_options_of_a_stream_are_those_that_the_script_gave(world):
    first, second = world.nodes("ab")
    script = FakeScript(world, first)
    there = script.add(script.open(requires=(second.id,), wall_s=7.5), call(1))
    assert script.outcome(there[0]).device_id == second.id and second.executor.requests[-1].wall_s == 7.5
    stream = script.open(function="f", priority=9, max_devices=3, pure=True)
    script.add(stream, call(1))
    task = first.node.attempts.scheduler.task(f"calls-{first.node.boot}-1~2")
    assert (task.priority, task.max_devices, task.pure, task.function) == (9, 3, True, "f")


def test_scripts_share_the_devices_however_many_functions_each_of_them_calls(world, holding):
    """One of them calls four functions, the other one: they get the same time."""
    busy, calm = FakeScript(world, holding), FakeScript(world, holding)
    for script, streams in ((busy, 4), (calm, 1)):
        for number in range(streams):
            script.add(script.open(function=f"{number}", wall_s=60.0), *map(call, range(400)))
    begun = []
    for _ in range(150):
        future = holding.executor.held.pop(0)
        begun.append(future.request.attempt_id)
        world.advance(1.0)
        future.settle(WorkOutcome(True, b'{"value":{"v":0}}', seconds=1.0))
        world.settle()
    counts = {mark: sum(f"-{mark}~" in attempt for attempt in begun) for mark in (1, 2)}
    assert sum(counts.values()) == 150 and 60 <= counts[2] <= 90, counts


def test_many_calls_travel_in_several_messages(world, script):
    units = script.add(script.open(), *map(call, range(SENT_UNITS + 10)))
    assert len(script.values(units)) == SENT_UNITS + 10
    (large,) = script.add(script.open(LENGTH), call_unit(("x" * 5_000_000,), {}))
    assert json.loads(script.outcome(large).line) == {"value": 5_000_000}


def test_without_its_own_cores_a_script_uses_the_others(world):
    first, second = world.nodes("ab")
    script = FakeScript(world, first, elsewhere=True)
    units = script.add(script.open(), *map(call, range(6)))
    assert {script.outcome(unit).device_id for unit in units} == {second.id} and script.streams.total_slots() == 2
    own, other = first.node.scripts.offers(script.link.other)
    assert "local=False" in own.why_not and not own.slots and (other.slots, other.why_not) == (2, "")


def test_what_cannot_be_done_fails_and_says_why(world, host, script):
    (unit,) = script.add(script.open(b"no function"), call(1))
    assert script.outcome(unit).error and script.outcome(unit).blame == "task"
    script.carrier.open(script.streams.streams[1])
    world.settle()
    (later,) = script.add(script.streams.streams[1], call(1))
    assert "stream of that number" in script.outcome(later).error


def test_a_result_that_is_larger_than_a_message_is_a_failure(world):
    host = world.host("a", limits={"message_bytes": 3_000}).start()
    script = FakeScript(world, host)
    line = function_line(pack_function(bytes))
    units = [unit for size in (10, 5_000, 20) for unit in script.add(script.open(line), call_unit((size,), {}))]
    assert [bool(script.outcome(unit).line) for unit in units] == [True, False, True]
    assert "more than travels at once" in script.outcome(units[1]).error


# ---- cancelling -------------------------------------------------------------------------------------


def test_cancelling_reaches_what_runs_and_what_waits(world, holding, script):
    stream = script.open()
    units = script.add(stream, *map(call, range(4)))
    world.advance(0.01)
    assert [unit.chunk for unit in units] == [True, True, None, None], "two slots"
    running = list(holding.executor.held)
    assert stream.cancel(units[0]) and stream.cancel(units[3]) and not stream.cancel(units[0])
    world.settle()
    assert [future.stop_reason != "" for future in running] == [True, False]
    world.advance(0.01)
    assert units[2].chunk is True, "it has the slot that became free"
    holding.executor.held = [future for future in holding.executor.held if future.outcome is None]
    end_all(world, holding)
    assert [len(script.outcomes[unit]) for unit in units] == [0, 1, 1, 0]


def test_cancelling_what_waits_leaves_what_runs(world, holding, script):
    stream = script.open()
    units = script.add(stream, *map(call, range(4)))
    known = []
    stream.cancel_waiting().then(lambda result, error: known.extend(script.outcomes[units[3]]))
    world.settle()
    assert known == script.outcomes[units[3]], "who waits for it has the outcomes by then"
    assert [script.outcomes[unit] == [] for unit in units] == [True, True, False, False]
    assert script.outcome(units[3]).blame == "cancelled"
    script.die()
    stream.cancel_waiting()
    assert script.outcome(units[0]).blame == "cancelled", "nobody carries it"


def test_a_stream_that_is_closed_is_forgotten_at_both_ends_when_it_is_over(world, holding, script):
    stream = script.open()
    script.add(stream, call(1))
    stream.seal()
    world.settle()
    there = host_streams(holding, script)
    assert list(there) == list(script.streams.streams) == [1]
    end_all(world, holding)
    assert there == script.streams.streams == {}


def host_streams(host, script):
    return host.node.scripts.script_of(script.link.other).streams


# ---- whoever ends -----------------------------------------------------------------------------------


def test_with_its_script_all_of_its_work_ends(world):
    first, second = world.nodes("ab")
    first.executor.holds = second.executor.holds = {"run"}
    script, other = FakeScript(world, first), FakeScript(world, first)
    script.add(script.open(), *map(call, range(20)))
    running = first.executor.held + second.executor.held
    kept = other.add(other.open(), call(3))
    script.die()
    world.advance(0.1)
    assert len(running) >= 4 and all(future.stop_reason for future in running)
    first.executor.held = [future for future in first.executor.held if future.outcome is None]
    second.executor.held = [future for future in second.executor.held if future.outcome is None]
    assert sum(end_all(world, first, second)) == 1 and other.outcome(kept[0]).line, "the other's goes on"


def test_a_node_that_is_killed_and_comes_back_makes_what_had_no_outcome(world, holding, script):
    stream = script.open()
    units = script.add(stream, *map(call, range(6)))
    first, second = holding.executor.held
    first.settle(WorkOutcome(True, b'{"value":{"v":1}}', seconds=1.0))
    world.settle()
    (cancelled,) = script.add(stream, call(7))
    holding.kill()
    world.settle()
    assert [unit.chunk for unit in units] == [None] * 6 and stream.cancel(cancelled)
    late = script.add(stream, call(8))
    holding.start()
    holding.executor.holds = {"run"}
    script.reach(holding)
    assert end_all(world, holding) == [6], "five of the first six, and the one that came meanwhile"
    assert [len(script.outcomes[unit]) for unit in (*units, *late, cancelled)] == [1] * 7 + [0]


def test_a_node_that_stops_leaves_no_outcome_behind(world, holding, script):
    units = script.add(script.open(), *map(call, range(4)))
    running = list(holding.executor.held)
    holding.stop()
    assert script.link.is_closed and [script.outcomes[unit] for unit in units] == [[]] * 4
    assert all(future.stop_reason for future in running)


def test_a_node_of_its_own_goes_on_where_the_other_ended(world, holding, script):
    stream, sealed = script.open(requires=()), script.open()
    units = script.add(stream, *map(call, range(4))) + script.add(sealed, call(5))
    sealed.seal()
    holding.kill()
    world.settle()
    own = world.host("b").start()
    own.executor.holds = {"run"}
    script.streams.carry_by(OwnCarrier(own.node.streams))
    world.settle()
    (late,) = script.add(stream, call(9))
    assert stream.cancel(late) and script.streams.total_slots() == 2
    assert end_all(world, own, seconds=0.25) == [5] and stream.work_s == 0.25
    assert {script.outcome(unit).device_id for unit in units} == {own.id}
    waiting = script.add(stream, *map(call, range(3)))
    stream.cancel_waiting()
    stream.seal()
    assert script.outcome(waiting[2]).blame == "cancelled"


def test_where_there_is_no_node_any_more_all_calls_say_so(world, holding, script):
    stream = script.open()
    units = script.add(stream, call(1), call(2))
    holding.kill()
    world.settle()
    script.streams.give_up("nobody is there")
    units += script.add(stream, call(3)) + script.add(script.open(), call(4))
    assert {script.outcome(unit) for unit in units} == {UnitOutcome(error="nobody is there", blame="stopped")}


def test_what_is_told_and_makes_no_sense_is_noticed(script):
    (unit,) = script.add(script.open(), call(1))
    for params in ({}, {"stream": 1, "numbers": [1]}, {"stream": 1, "work_s": "x"}, {"stream": 1, "failed": [1]}):
        with pytest.raises((LookupError, TypeError, ValueError)):
            script.carrier.told("CallsCame", params)
    script.carrier.told("CallsCame", {"stream": 77})
    script.carrier.told("CallsBegan", {"stream": 1, "units": [[99, True]]})
    script.outcome(unit)


# ---- side by side -----------------------------------------------------------------------------------


def test_two_scripts_get_as_much_each_and_processes_of_their_own(world, holding):
    scripts = [FakeScript(world, holding), FakeScript(world, holding)]
    for script in scripts:
        script.add(script.open(), *map(call, range(40)))
    owners = []
    for _ in range(20):
        owners += [future.request.owner for future in holding.executor.held]
        for future in holding.executor.held:
            units = future.request.data.split(b"\n")[1:]
            future.settle(WorkOutcome(True, b"\n".join(b'{"value":0}' for _ in units), seconds=0.5 * len(units)))
        holding.executor.held = []
        world.advance(0.5)
        holding.node.attempts.apply(Tick())
    shares = {owner: owners.count(owner) for owner in set(owners)}
    # The first had all slots until the second came.
    assert len(shares) == 2 and min(shares.values()) > 0.7 * max(shares.values()), shares


def test_nobody_but_the_owner_has_calls_made(world):
    first, second = world.nodes("ab")
    for client in (world.client(first), world.client(first, member="b"), world.client(first, ip="10.0.0.9")):
        with pytest.raises(Unauthenticated):
            client.call("ServeScript")
    with pytest.raises(Unauthenticated):
        world.client(first, token="a guess")
    token = f"Bearer {first.token}"
    body = b'{"jsonrpc":"2.0","id":1,"method":"ServeScript","params":{}}'
    status, _, answer = world.browser(first).ask("POST", "/rpc", body, authorization=token)
    assert status == 200 and json.loads(answer)["error"]["code"] == InvalidRequest.code
    assert first.node.scripts._scripts == {}


# ---- values -----------------------------------------------------------------------------------------


def test_a_value_goes_to_the_devices_that_need_it_and_leaves_with_its_last_use(world):
    first, second = world.nodes("ab")
    script = FakeScript(world, first)
    blob, errors = script.put(list(range(300_000)))
    assert errors and not any(errors)
    (unit,) = script.add(script.open(LENGTH, requires=(second.id,)), call_unit((blob,), {}))
    world.advance(1.0)
    assert json.loads(script.outcome(unit).line) == {"value": 300_000}
    assert script.put(list(range(300_000)))[0].sha256 == blob.sha256
    for is_there in (True, False):
        script.blobs.release_own(blob.sha256)
        world.advance(1.0)
        assert [host.node.blobs.state_of(blob.sha256).success for host in (first, second)] == [is_there] * 2


def test_values_are_put_again_where_the_node_is_another(world, host, script):
    blob, _ = script.put([1, 2, 3])
    host.kill()
    world.settle()
    meanwhile, errors = script.put("x" * 3_000_000)
    assert errors == [None] * len(errors)
    stream = script.open(LENGTH)
    units = script.add(stream, call_unit((blob,), {}), call_unit((meanwhile,), {}))
    host.start()
    script.reach(host)
    assert [json.loads(script.outcome(unit).line)["value"] for unit in units] == [3, 3_000_000]
    host.kill()
    world.settle()
    own = world.host("b").start()
    script.blobs.move_to_own(own.node.blobs)
    script.streams.carry_by(OwnCarrier(own.node.streams))
    late, _ = script.put([4])
    (unit,) = script.add(stream, call_unit((late,), {}))
    assert json.loads(script.outcome(unit).line) == {"value": 1}
    script.blobs.release_own(late.sha256)
    assert not own.node.blobs.state_of(late.sha256).success and own.node.blobs.state_of(blob.sha256).success


def test_a_value_for_which_there_is_no_room_is_refused_and_goes_with_its_script(world):
    host = world.host("a", limits={"blob_bytes": 100}).start()
    script = FakeScript(world, host)
    small, errors = script.put("small")
    assert errors == [None]
    _, errors = script.put("x" * 200)
    assert "no room" in str(errors[0])
    script.die()
    assert not host.node.blobs.state_of(small.sha256).success
