"""Values that many calls take travel once to each device, from device to device, whoever vanishes meanwhile."""

import hashlib
import random

import pytest

from discompute_lite.model.codec import from_json
from discompute_lite.model.errors import InvalidParams, StateError, Unauthenticated
from discompute_lite.model.limits import KIB, MIB
from discompute_lite.roles.arriving import RANGE_S
from discompute_lite.roles.ports import Later
from discompute_lite.tasks.blob_values import Blob
from discompute_lite.tasks.calls import call_unit, function_line, read_outcomes
from discompute_lite.tasks.functions import pack_function
from discompute_lite.tasks.values import dump_value

LINE = function_line(pack_function(len))


def own(host, value):
    """Put a value on a node, as the Python interface does; return its handle."""
    text = dump_value(value)
    handle = Blob(hashlib.sha256(text).hexdigest(), len(text))
    most = host.limits.blob_range_bytes
    for offset in range(0, len(text), most):
        host.node.blobs.keep_own(handle.sha256, len(text), offset, text[offset:offset + most])
    return handle


class Calls:
    """Call `len` on one node, and keep what came."""

    def __init__(self, world, host, **options):
        self.world, self.outcomes = world, []
        self.stream = host.node.streams.open(LINE, **options)

    def add(self, *arguments):
        for each in arguments:
            self.stream.add([self.stream.unit(call_unit([each], {}), 1, lambda _, came: self.outcomes.append(came))])
        self.world.settle()

    def values(self):
        assert not [outcome.error for outcome in self.outcomes if outcome.error]
        return [value for outcome in self.outcomes for value in next(read_outcomes(outcome.line, ())).values]


class Wires:
    """Count the blobs' bytes that leave each host, by whom they go to; and cut a host off when so many have left."""

    def __init__(self, *hosts):
        self.sent = {}
        self.cuts = {}
        for host in hosts:
            read_range = host.node.blobs.read_range
            host.node.blobs.read_range = lambda *ask, host=host, read=read_range: self._counted(host, read, ask)

    def _counted(self, host, read, ask):
        self.sent[host.name[-1]] = self.sent.get(host.name[-1], 0) + ask[2]
        if self.sent[host.name[-1]] > self.cuts.get(host.name[-1], self.sent[host.name[-1]]):
            self.cuts.pop(host.name[-1])
            host.clock.post(host.kill)
        return read(*ask)

    def total(self):
        return sum(self.sent.values())


def here(host, handle):
    """How much of a blob a host has: bytes that are kept."""
    return len(host.node.world.blob_bytes.blobs.get(handle.sha256, b""))


@pytest.fixture
def quartet(world):
    """Whoever submits and takes no work himself, and three devices that do."""
    owner = world.member("a", accept="nobody").start()
    devices = [world.member(letter).start() for letter in "bcd"]
    world.advance(8.0)
    return owner, devices


def test_a_large_value_for_a_hundred_calls_leaves_its_owner_twice_and_reaches_each_device_once(world, quartet):
    owner, devices = quartet
    value = b"\xfe" * (15 * MIB)
    handle, wires, calls = own(owner, value), Wires(owner, *devices), Calls(world, owner)
    assert handle.size > 20_000_000
    calls.add(*[handle] * 100)
    world.advance(20.0)
    assert calls.values() == [len(value)] * 100
    assert {outcome.device_id for outcome in calls.outcomes} == {device.id for device in devices}
    assert wires.sent["a"] == 2 * handle.size and wires.total() == 3 * handle.size
    assert [here(device, handle) for device in devices] == [handle.size] * 3
    # It is no part of the calls.
    assert max(len(request.data) for device in devices for request in device.executor.requests) < 64 * KIB


def test_ranges_are_small_and_few_so_that_a_heartbeat_need_not_wait(world, quartet):
    owner, devices = quartet
    handle, asked = own(owner, b"x" * (5 * MIB)), []
    read_range = owner.node.blobs.read_range
    owner.node.blobs.read_range = lambda *ask: asked.append(ask) or read_range(*ask)
    Calls(world, owner, max_devices=1).add(handle)
    world.advance(5.0)
    assert max(size for _, _, size in asked) == MIB and sum(size for _, _, size in asked) == handle.size


@pytest.mark.parametrize("dies", ["b", "c"])
def test_a_holder_that_vanishes_in_the_middle_is_replaced_by_another(world, quartet, dies):
    owner, devices = quartet
    handle, wires = own(owner, b"y" * (6 * MIB)), Wires(owner, *devices)
    first, second, third = devices
    for device in (first, second, third):
        # In this order they stand in the tree: the third asks the first.
        owner.node.blobs.notes_for(call_unit([handle], {}), device.id)
    wires.cuts[dies] = 3 * MIB
    calls = Calls(world, owner, requires=(third.id,))
    for device in (first, second):
        Calls(world, owner, requires=(device.id,)).add(handle)
    calls.add(handle)
    world.advance(60.0)
    assert calls.values() == [6 * MIB] and here(third, handle) == handle.size
    if dies == "b":
        assert first.node is None, "it was asked, and vanished in the middle"
        # What had come was not asked for again.
        assert wires.total() <= 3 * handle.size + 2 * 3 * MIB


def test_the_owner_that_vanishes_takes_its_blobs_along(world, quartet):
    owner, devices = quartet
    handle, calls = own(owner, b"z" * MIB), Calls(world, owner)
    calls.add(*[handle] * 12)
    world.advance(5.0)
    assert any(here(device, handle) for device in devices)
    owner.kill()
    world.advance(120.0)
    assert not any(device.node.world.blob_bytes.blobs or device.node.blobs.shelf.blobs for device in devices)


def test_a_blob_that_nobody_holds_is_deleted_wherever_it_went(world, quartet):
    owner, devices = quartet
    handle, calls = own(owner, b"w" * MIB), Calls(world, owner)
    again = own(owner, b"w" * MIB)
    calls.add(*[handle] * 12)
    world.advance(5.0)
    owner.node.blobs.release_own(handle.sha256)
    world.settle()
    assert again == handle and here(owner, handle) == handle.size, "it was put twice"
    owner.node.blobs.release_own(handle.sha256)
    world.settle()
    for host in (owner, *devices):
        assert not host.node.world.blob_bytes.blobs and not host.node.blobs.shelf.blobs


def test_a_value_that_two_submitters_put_is_deleted_where_each_sent_it(world):
    first, second, third = world.nodes("abc")
    handle = own(first, b"v" * MIB)
    assert own(second, b"v" * MIB) == handle
    # The second runs a call of the first, and so keeps the value for both.
    Calls(world, first, requires=(second.id,)).add(handle)
    Calls(world, second, requires=(third.id,)).add(handle)
    world.advance(5.0)
    second.node.blobs.release_own(handle.sha256)
    world.settle()
    assert here(second, handle) == handle.size and not here(third, handle)
    first.node.blobs.release_own(handle.sha256)
    world.settle()
    assert not here(first, handle) and not here(second, handle)


def test_a_disk_that_is_full_leaves_nothing_of_a_value_behind(world):
    node = world.host("a").start()
    append, kept = node.node.world.blob_bytes.append, []

    def full(sha256, data):
        append(sha256, data[:10])
        kept.append(len(data))
        if len(kept) == 2:
            raise StateError("the folder for scratch cannot be used; make room on the disk")

    node.node.world.blob_bytes.append = full
    with pytest.raises(StateError, match="make room"):
        own(node, b"q" * (3 * MIB))
    assert kept == [MIB, MIB] and not node.node.world.blob_bytes.blobs and not node.node.blobs.shelf.blobs
    node.node.world.blob_bytes.append = append
    handle = own(node, b"q" * (3 * MIB))
    assert hashlib.sha256(node.node.world.blob_bytes.blobs[handle.sha256]).hexdigest() == handle.sha256


def test_a_blob_stays_while_another_needs_it(world):
    first, second, third = world.nodes("abc")
    for host in (first, second):
        handle = own(host, b"v" * MIB)
        Calls(world, host, requires=(third.id,)).add(handle)
    world.advance(5.0)
    first.node.blobs.release_own(handle.sha256)
    world.settle()
    assert here(third, handle) == handle.size
    second.node.blobs.release_own(handle.sha256)
    world.settle()
    assert not here(third, handle)


def test_broadcast_has_all_devices_fetch_it_before_anybody_calls(world, quartet):
    owner, devices = quartet
    handle, wires = own(owner, b"u" * (4 * MIB)), Wires(owner, *devices)
    owner.node.blobs.broadcast(handle.sha256)
    world.advance(5.0)
    assert [here(device, handle) for device in devices] == [handle.size] * 3
    assert wires.sent["a"] == 2 * handle.size
    calls = Calls(world, owner)
    calls.add(*[handle] * 12)
    world.advance(5.0)
    assert len(calls.values()) == 12 and wires.total() == 3 * handle.size


def test_wrong_bytes_are_never_used_and_another_holder_is_asked(world, quartet):
    owner, (first, second, third) = quartet
    handle = own(owner, b"t" * (3 * MIB))
    for device in (first, second, third):
        owner.node.blobs.notes_for(call_unit([handle], {}), device.id)
    Calls(world, owner, requires=(first.id,)).add(handle)
    world.advance(5.0)
    first.node.world.blob_bytes.blobs[handle.sha256][MIB] ^= 1
    calls = Calls(world, owner, requires=(third.id,))
    calls.add(handle)
    world.advance(5.0)
    assert calls.values() == [3 * MIB] and third.node.counters["blobs_wrong"] == 1
    kept = third.node.world.blob_bytes.blobs[handle.sha256]
    assert hashlib.sha256(kept).hexdigest() == handle.sha256


def test_where_there_is_no_room_calls_go_elsewhere(world):
    owner = world.member("a", accept="nobody").start()
    small = world.member("b", limits={"blob_bytes": MIB}).start()
    large = world.member("c").start()
    world.advance(8.0)
    handle, calls = own(owner, b"s" * (2 * MIB)), Calls(world, owner)
    calls.add(*[handle] * 6)
    world.advance(60.0)
    assert calls.values() == [2 * MIB] * 6
    assert {outcome.device_id for outcome in calls.outcomes} == {large.id} and not here(small, handle)


def test_what_was_used_longest_ago_makes_room(world):
    owner = world.member("a", accept="nobody").start()
    device = world.member("b", limits={"blob_bytes": 3 * MIB}).start()
    world.advance(8.0)
    handles = [own(owner, letter * MIB) for letter in (b"1", b"2", b"3")]
    calls = Calls(world, owner)
    for handle in handles:
        calls.add(handle)
        world.advance(5.0)
    assert [bool(here(device, handle)) for handle in handles] == [False, True, True]
    calls.add(handles[0])
    world.advance(5.0)
    assert len(calls.values()) == 4 and not here(device, handles[1])


def test_a_call_that_is_cancelled_while_its_blob_travels_leaves_no_use_behind(world, quartet):
    owner, devices = quartet
    handle, calls = own(owner, b"r" * (4 * MIB)), Calls(world, owner)
    unit = calls.stream.unit(call_unit([handle], {}), 1, lambda unit, came: calls.outcomes.append(came))
    asked = []
    # It is never answered: the fetch is under way when the call is cancelled.
    owner.node.blobs.read_range = lambda *ask: asked.append(ask) or Later()
    calls.stream.add([unit])
    world.settle()
    assert asked and sum(len(device.node.blobs.shelf.blobs) for device in devices) == 1
    assert calls.stream.cancel(unit)
    world.advance(RANGE_S + 5.0)
    assert not calls.outcomes and not any(device.node.blobs.shelf.blobs for device in devices)


def test_a_blob_that_comes_after_its_call_was_cancelled_is_used_by_nobody(world, quartet):
    owner, devices = quartet
    handle, calls = own(owner, b"r" * 4000), Calls(world, owner)
    unit = calls.stream.unit(call_unit([handle], {}), 1, lambda unit, came: calls.outcomes.append(came))
    held, read_range = [], owner.node.blobs.read_range
    owner.node.blobs.read_range = lambda *ask: held.append((Later(), ask)) or held[-1][0]
    calls.stream.add([unit])
    world.settle()
    assert calls.stream.cancel(unit)
    world.settle()
    for later, ask in held:
        later.resolve(read_range(*ask))
    world.settle()
    (device,) = [each for each in devices if each.node.blobs.shelf.blobs]
    assert here(device, handle) == handle.size and not any(blob.uses for blob in device.node.blobs.shelf.blobs.values())


# ---- the calls, as any client makes them --------------------------------------------------------------


def put(client, whole, **changed):
    params = {"sha256": hashlib.sha256(whole).hexdigest(), "size": len(whole), "offset": 0, "data": whole, **changed}
    return client.call("PutBlob", params)


def test_a_blob_is_put_and_got_by_ranges(world):
    node = world.host("a").start()
    client, data = world.owner(node), random.Random(7).getrandbits(8 * 5000).to_bytes(5000, "little")
    name = hashlib.sha256(data).hexdigest()
    assert client.call("HasBlob", {"sha256": name}) == {"success": False, "size": 0, "received": 0}
    assert put(client, data, data=data[:3000])["received"] == 3000
    assert client.call("HasBlob", {"sha256": name}) == {"success": True, "size": 5000, "received": 3000}
    refused = put(client, data, offset=4000, data=data[4000:])
    assert not refused["success"] and refused["received"] == 3000
    waiting = client.begin("GetBlob", {"sha256": name, "offset": 2500, "size": 1000})
    assert waiting == [], "it has not come yet"
    assert put(client, data, offset=3000, data=data[3000:])["success"]
    world.settle()
    (answer, error), = waiting
    assert error is None and from_json(bytes, answer["data"]) == data[2500:3500]
    answer = client.call("GetBlob", {"sha256": name, "offset": 0, "size": 5000})
    assert bytes(answer["data"]) == data and answer["size"] == 5000
    assert client.call("DropBlob", {"sha256": name}) == {"success": True}
    assert client.call("DropBlob", {"sha256": name}) == {"success": False}
    assert not client.call("GetBlob", {"sha256": name, "offset": 0, "size": 1})["success"]
    assert not node.node.world.blob_bytes.blobs


def test_bytes_that_are_not_those_of_the_hash_are_deleted(world):
    node = world.host("a").start()
    client = world.owner(node)
    answer = put(client, b"right", data=b"wrong")
    assert not answer["success"] and answer["received"] == 0
    assert not node.node.world.blob_bytes.blobs and not node.node.blobs.shelf.blobs


@pytest.mark.parametrize("params", [
    {"sha256": "../../etc/passwd", "size": 5}, {"sha256": "A" * 64, "size": 5}, {"size": 0}, {"size": -1},
    {"data": b""}, {"size": 3}, {"data": b"x" * (MIB + 1), "size": 2 * MIB},
])
def test_what_makes_no_sense_is_refused(world, params):
    node = world.host("a").start()
    with pytest.raises(InvalidParams):
        put(world.owner(node), b"right", **params)
    assert not node.node.world.blob_bytes.blobs


@pytest.mark.parametrize("method", ["PutBlob", "GetBlob", "HasBlob", "DropBlob"])
def test_a_stranger_is_refused(world, method):
    node = world.host("a").start()
    handle = own(node, b"secret")
    stranger = world.client(node, ip="10.0.0.9")
    with pytest.raises(Unauthenticated):
        stranger.call(method, {"sha256": handle.sha256, "offset": 0, "size": 1})
    assert stranger.is_closed


def test_a_subtask_that_names_no_sensible_blob_is_refused(world):
    node = world.host("a").start()
    for blobs in ("all", [["x", 1, []]], [[1]], [["a" * 64, 0, []]]):
        subtask = {"subtask_id": "t/1", "lite": {"task_type": "echo", "blobs": blobs}}
        with pytest.raises(InvalidParams):
            world.owner(node).call("ExecuteSubtask", {"subtask": subtask})
