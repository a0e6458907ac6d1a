"""Beacons: when they are sent, what they say, who is answered and what odd ones do."""

import json

import pytest

from discompute_lite.model.errors import Unreachable
from discompute_lite.roles.announcer import NOWHERE_PATIENCE_S, Announcer
from discompute_lite.roles.heartbeats import Heartbeats
from discompute_lite.wire.beacon import decode_beacon


def ours(host):
    return [decode_beacon(datagram, host.limits) for _, datagram in host.transport.sent]


def hear(host, source="10.0.0.9:5005", **changes):
    """Let a host hear a beacon of a made-up node; return the datagram."""
    message = {
        "type": "discovery", "node_id": "n" * 52, "grpc_port": 8080,
        "device_capabilities": {"model": "Box", "chip": "Chip", "memory": 1024, "type": "linux",
                                "flops": {"fp32": 1.5, "fp16": 3.0, "int8": 6.0}},
        "priority": 1, "interface_name": "en0", "interface_type": "wifi", "timestamp": 1756800000,
        "lite": {"v": 1, "name": "box", "status": "AVAILABLE", "boot": "n1", "seq": 1, "reply": False, "every": 2.5},
    }
    lite = changes.pop("lite", {})
    message.update(changes)
    if lite is None:
        del message["lite"]
    else:
        message["lite"] = {**message["lite"], **lite}
    host.transport.arrive(json.dumps(message).encode(), source)
    host.world.settle()


# ---- sending --------------------------------------------------------------------------------------


def test_three_beacons_in_the_first_second_ask_for_an_answer_and_later_ones_do_not(world):
    node = world.host("a").start()
    world.advance(30)
    times = [when - node.transport.sent[0][0] for when, _ in node.transport.sent]
    assert times[:3] == pytest.approx([0.0, 0.3, 0.9])
    assert [beacon.reply for beacon in ours(node)] == [True] * 3 + [False] * (len(times) - 3)
    pauses = [later - earlier for earlier, later in zip(times[2:], times[3:])]
    assert all(2.0 <= pause <= 3.0 for pause in pauses) and len({round(pause, 3) for pause in pauses}) > 3


def test_what_goes_wrong_in_one_announcement_is_not_the_end_of_them(world, monkeypatch):
    node = world.host("a").start()
    world.advance(10)

    def fail(heartbeats):
        raise OSError("a socket that is gone")

    with monkeypatch.context() as patched:
        patched.setattr(Heartbeats, "ask_the_silent", fail)
        with pytest.raises(OSError):
            world.advance(5)
    sent = len(node.transport.sent)
    world.advance(10)
    assert len(node.transport.sent) >= sent + 3


def test_a_beacon_says_who_and_what_the_node_is(world):
    node = world.host("a", device_id="desk").start()
    world.settle()
    beacon = ours(node)[0]
    assert (beacon.node_id, beacon.port, beacon.name, beacon.label) == (node.id, 8080, "device a", "desk")
    assert (beacon.boot, beacon.status, beacon.every_s) == ("a-boot-1", "AVAILABLE", 2.5)
    assert (beacon.chip, beacon.memory_mb, beacon.kind, beacon.interface_type) == ("Test chip", 8192, "linux", "wifi")
    world.advance(10)
    numbers = [beacon.seq for beacon in ours(node)]
    assert numbers == sorted(set(numbers))


@pytest.mark.slow
def test_the_interval_stretches_so_that_a_crowd_stays_under_a_hundred_datagrams_a_second(world):
    node = world.host("a", limits={"idle_links": 1}).start()
    for number in range(399):
        hear(node, f"10.0.{number // 250}.{number % 250 + 1}:5005", node_id=f"node-{number}", lite={"every": 5.0})
    world.advance(4)
    before = len(node.transport.sent)
    world.advance(20)
    sent = ours(node)[before:]
    # 400 nodes, one destination, 75 datagrams a second: 5.3 s each.
    assert 2 <= len(sent) <= 5 and sent[-1].every_s == pytest.approx(5.33, abs=0.2)


@pytest.mark.parametrize("announce", ["off", "private"])
def test_a_node_that_does_not_announce_itself_openly_sends_nothing_at_all(world, announce):
    quiet, other = world.host("a", announce=announce).start(), world.host("b").start()
    hear(quiet, other.udp_address, lite={"reply": True})
    world.advance(5)
    quiet.node.stop()
    assert quiet.transport.sent == [] and quiet.sees(other).name == "device b"


def test_an_announcement_that_would_go_nowhere_waits_until_the_node_is_awake_for_something_else(world):
    node, waits = world.host("a").start(), []
    call_between = node.clock.call_between
    node.clock.call_between = lambda first, last, callback, *arguments: (
        waits.append(last - first) if callback.__name__ == "_announce_regularly" else None,
        call_between(first, last, callback, *arguments))[1]
    world.advance(20)
    assert set(waits) == {0.0}
    node.transport.is_refused = True
    del waits[:]
    world.advance(20)
    sent = len(node.transport.sent)
    assert set(waits[1:]) == {NOWHERE_PATIENCE_S}
    node.transport.is_refused = False
    world.advance(3.0 + NOWHERE_PATIENCE_S)
    assert len(node.transport.sent) > sent


def test_a_node_that_stops_says_goodbye_and_closes_its_transports(world):
    node = world.host("a").start()
    world.advance(3)
    node.node.stop()
    assert ours(node)[-1].type == "goodbye" and not node.transport.is_open
    count = len(node.transport.sent)
    world.advance(10)
    assert len(node.transport.sent) == count


def test_who_has_heard_enough_asks_nobody_any_more(world):
    node = world.host("a", limits={"idle_links": 1}).start()
    for number in range(20):
        hear(node, f"10.0.0.{number + 1}:5005", node_id=f"node-{number}")
    world.advance(1.0)
    assert [beacon.reply for beacon in ours(node)[:3]] == [True, False, False]


@pytest.mark.slow
def test_of_a_crowd_only_some_answer(world):
    node = world.host("a", limits={"idle_links": 1, "beacon_replies_per_s": 1000}).start()
    for number in range(400):
        hear(node, f"10.0.{number // 250}.{number % 250 + 1}:5005", node_id=f"node-{number}", lite={"every": 60.0})
    world.advance(5)
    asking = world.host("z")
    asking.make()
    before = len(node.transport.sent)
    for number in range(40):
        hear(node, asking.udp_address, lite={"seq": number + 1, "reply": True})
        world.advance(2.0)
    regular = 80.0 / 5.0
    assert 1 <= len(node.transport.sent) - before - regular <= 20, "64 of 400 answer, and so one in six times"


# ---- hearing --------------------------------------------------------------------------------------


def test_a_beacon_makes_a_device_known_and_dialled_at_the_address_that_it_came_from(world):
    node = world.host("a").start()
    hear(node, "10.0.0.9:40123", grpc_port=9000)
    device = node.node.discovery.list_devices()[1]
    assert (device.id, device.name, device.address, device.type) == ("n" * 52, "box", "10.0.0.9:9000", "linux")
    assert device.capabilities.fp32_tflops == 1.5 and device.lite["model"] == "Box"
    assert node.dialler.dialled == ["10.0.0.9:9000"]


def test_a_beacon_that_asks_is_answered_to_its_sender_alone_and_within_a_limit(world):
    node = world.host("a", limits={"beacon_replies_per_s": 5}).start()
    asking = world.host("z")
    asking.make()
    world.advance(1)
    before = len(node.transport.sent)
    for number in range(20):
        hear(node, asking.udp_address, lite={"seq": number + 1, "reply": True})
    answers = ours(node)[before:]
    assert len(answers) == 5 and not any(answer.reply for answer in answers)


def test_a_beacon_that_does_not_ask_is_not_answered(world):
    node = world.host("a").start()
    world.advance(1)
    before = len(node.transport.sent)
    hear(node)
    assert len(node.transport.sent) == before


def test_our_own_beacons_are_not_taken_for_another_device(world):
    node = world.host("a").start()
    world.settle()
    for _, datagram in list(node.transport.sent):
        node.transport.arrive(datagram, "10.0.0.1:5005")
    assert len(node.node.discovery.list_devices()) == 1 and node.told == []


def test_our_own_beacons_are_known_again_without_being_read(world, monkeypatch):
    node = world.host("a").start()
    world.advance(10)
    monkeypatch.setattr("discompute_lite.roles.announcer.decode_beacon", lambda *_: pytest.fail("it was read"))
    node.transport.arrive(node.transport.sent[-1][1], "10.0.0.1:5005")
    with pytest.raises(pytest.fail.Exception):
        node.transport.arrive(node.transport.sent[-1][1] + b" ", "10.0.0.1:5005")
        world.settle()


def test_a_copy_of_our_identity_is_told(world):
    node = world.host("a").start()
    hear(node, node_id=node.id)
    assert node.kinds_told() == ["warning"] and "10.0.0.9:8080" in node.told[0][1]


@pytest.mark.parametrize("fields, program", [
    ({"lite": None}, "discompute (Go)"),
    ({"lite": None, "timestamp": 1.5, "grpc_port": 0}, "discompute (Go)"),
])
def test_nodes_of_other_programs_are_listed_and_never_dialled(world, fields, program):
    node = world.host("a").start()
    hear(node, **fields)
    world.advance(5)
    device = node.node.discovery.list_devices()[1]
    assert device.lite["foreign"] == program and device.name == "Box"
    assert node.dialler.dialled == []


@pytest.mark.parametrize("datagram", [b"", b"{", b"[]", b"\xff" * 40, b"{}", b"x" * 2000, b'{"type":"discovery"}'])
def test_broken_datagrams_are_counted_and_forgotten(world, datagram):
    node = world.host("a").start()
    node.transport.arrive(datagram, "10.0.0.9:5005")
    world.settle()
    assert node.node.counters == {"bad_datagrams": 1} and len(node.node.discovery.list_devices()) == 1


def test_a_private_beacon_is_left_alone(world):
    node = world.host("a").start()
    node.transport.arrive(b"DCB1" + bytes(44), "10.0.0.9:5005")
    assert node.node.counters == {} and len(node.node.discovery.list_devices()) == 1


def test_a_goodbye_of_the_boot_that_is_known_is_believed_and_of_another_one_is_not(world):
    node = world.host("a").start()
    hear(node)
    hear(node, type="goodbye", lite={"boot": "n0", "seq": 9})
    assert node.kinds_told() == ["joined"]
    hear(node, type="goodbye", lite={"seq": 10})
    assert node.kinds_told() == ["joined", "left"]


def test_a_device_known_by_beacon_alone_is_dropped_after_silence(world):
    node = world.host("a").start()
    node.dialler.open = lambda address, port, on_dialled: node.clock.post(on_dialled, None, Unreachable("silent"))
    hear(node)
    world.advance(29)
    assert node.kinds_told() == ["joined"]
    world.advance(2)
    assert node.kinds_told() == ["joined", "lost"]


def test_it_is_dropped_sooner_where_its_host_says_that_nothing_listens(world):
    node = world.host("a").start()
    hear(node)
    world.advance(8)
    assert node.kinds_told() == ["joined"]
    world.advance(12)
    assert node.kinds_told() == ["joined", "lost"] and "nothing listens" in node.texts_told("lost")[0]


def test_an_unknown_status_is_no_reason_to_ignore_a_device(world):
    node = world.host("a").start()
    hear(node, lite={"status": "PARTYING"})
    assert node.node.discovery.list_devices()[1].status.value == "UNKNOWN"


def test_an_interrupt_while_transports_are_opened_leaves_none_open_and_none_asked_to_speak(world, monkeypatch):
    host = world.host("a").start()
    transport, opened = host.transport, type(host.transport).open
    announcer = Announcer(host.node, host.node.discovery)
    transport.close()
    transport.sent.clear()

    def interrupted(self, heard):
        opened(self, heard)
        raise KeyboardInterrupt

    monkeypatch.setattr(type(transport), "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        announcer.start()
    assert transport.is_open
    announcer.stop()
    assert transport.sent == [] and not transport.is_open
