"""Heartbeats: how often, what they say, what is told of others and how often, and what silence means."""

import pytest

from discompute_lite.core.events import RoundTripMeasured, Tick
from discompute_lite.model.device import DeviceStatus
from discompute_lite.model.errors import Unavailable
from discompute_lite.roles.offers import offer_of, why_no_offer


@pytest.fixture
def peer(world):
    """A node that is linked and whose every call the test makes; `peer.node` is who it talks to."""
    node = world.host("a").start()
    client = world.client(node)
    client.call("Hello", {"node_id": "p" * 52, "name": "peer", "port": 9000, "boot": "1", "auth": world.TOKEN})
    client.node = node
    return client


def beats_of(host, other, world, seconds):
    """Count the heartbeats that one host sends another."""
    count, there = [], other.node.discovery.heartbeats
    received = there.received
    there.received = lambda *arguments: count.append(1) or received(*arguments)
    world.advance(seconds)
    there.received = received
    return len(count)


# ---- how often ------------------------------------------------------------------------------------


def test_an_idle_link_carries_a_heartbeat_about_every_15_seconds(world):
    first, second = world.nodes("ab")
    assert 4 <= beats_of(first, second, world, 90) <= 8


def test_a_heartbeat_that_was_answered_wakes_nobody_up_to_see_whether_it_was(world):
    first, _ = world.nodes("ab")
    world.advance(20)
    sent, woken, apply = [], [], first.node.discovery.registry.apply
    first.node.discovery.registry.apply = lambda event, now: (
        sent.append(now) if isinstance(event, RoundTripMeasured) else None,
        woken.append(now) if isinstance(event, Tick) else None, apply(event, now))[2]
    world.advance(150)
    assert len(sent) >= 8 and len(woken) <= len(sent) + 1


@pytest.mark.parametrize("ip, least, most", [("127.0.0.1", 36, 44), ("10.0.0.2", 8, 12)])
def test_links_with_work_under_way_carry_four_a_second_on_loopback_and_one_elsewhere(world, ip, least, most):
    first, second = world.nodes("ab", ip=ip)
    first.node.has_work_with = lambda device_id: True
    first.node.discovery.work_began(second.id)
    assert least <= beats_of(first, second, world, 10) <= most


def test_work_that_begins_all_the_time_does_not_put_heartbeats_off(world):
    first, second = world.nodes("ab")
    first.node.has_work_with = lambda device_id: True
    count, there = [], second.node.discovery.heartbeats
    received = there.received
    there.received = lambda *arguments: count.append(1) or received(*arguments)
    for _ in range(50):
        first.node.discovery.work_began(second.id)
        world.clock.advance(0.1)
    assert len(count) >= 18


def test_no_second_heartbeat_is_sent_while_one_is_unanswered(world):
    first, second = world.nodes("ab")
    first.node.has_work_with = lambda device_id: True
    first.node.discovery.work_began(second.id)
    link = first.node.discovery.link_to(second.id)
    world.advance(0.3)
    second.freeze()
    world.advance(5)
    beats = [entry for entry in second.late if b'"Heartbeat"' in b"".join(
        argument for argument in entry[1].arguments if isinstance(argument, bytes))]
    assert len(beats) == 1 and not link.is_closed


def test_a_device_whose_beacons_have_ceased_is_asked_at_once(world):
    """A cable was pulled: nothing closes the link, and its next heartbeat would be a quarter of a minute away."""
    first, second = world.nodes("ab", ip="10.0.0.2")
    world.advance(5)
    second.freeze()
    world.advance(18)
    assert first.kinds_told()[-1] == "suspect"
    second.thaw()
    world.advance(2)
    assert first.told[-1] == ("back", f"{second.node.name} ({second.id[:8]}) answers again")


# ---- what they say --------------------------------------------------------------------------------


def test_a_heartbeat_tells_status_metrics_and_capabilities(peer, world):
    answer = peer.call("Heartbeat", {
        "device_id": "p" * 52, "status": "BUSY", "metrics": {"cpu_usage": 0.5},
        "capabilities": {"cpu_cores": 8, "battery_level": 0.4}})
    assert answer["success"] and answer["lite"]["status"] == "AVAILABLE"
    device = peer.node.node.discovery.list_devices()[1]
    assert device.status is DeviceStatus.BUSY and device.compute_metrics.cpu_usage == 0.5
    assert device.capabilities.cpu_cores == 8


def test_what_a_heartbeat_leaves_out_stays_as_it_was(peer):
    peer.call("Heartbeat", {"device_id": "p" * 52, "status": "BUSY", "metrics": {"cpu_usage": 0.5},
                            "capabilities": {"cpu_cores": 8}})
    peer.call("Heartbeat", {"device_id": "p" * 52})
    device = peer.node.node.discovery.list_devices()[1]
    assert (device.status, device.compute_metrics.cpu_usage, device.capabilities.cpu_cores) == (
        DeviceStatus.BUSY, 0.5, 8)


def test_a_repeated_heartbeat_is_a_sign_of_life_too(world):
    node = world.host("a").start()
    client = world.client(node)
    client.call("RegisterDevice", {"device": {"id": "sensor"}})
    for _ in range(200):
        client.call("Heartbeat", {"device_id": "sensor"})
        world.clock.advance(0.5)
    assert node.kinds_told() == ["joined"]


def test_a_heartbeat_of_nobody_known_is_not_successful(world):
    node = world.host("a").start()
    assert world.client(node).call("Heartbeat", {"device_id": "x" * 52}) == {
        "success": False, "updated_devices": [], "pending_tasks": []}


def test_row_26_a_link_speaks_for_its_own_device_whatever_id_it_gives(peer, world):
    other = world.client(peer.node)
    other.call("RegisterDevice", {"device": {"id": "other", "status": "AVAILABLE"}})
    peer.call("Heartbeat", {"device_id": "other", "status": "OVERLOADED"})
    listed = {device.id: device.status.value for device in peer.node.node.discovery.list_devices()}
    assert listed["other"] == "AVAILABLE" and listed["p" * 52] == "OVERLOADED"


# ---- what is told of others -----------------------------------------------------------------------


def told(client, **params):
    return [device["id"] for device in client.call("Heartbeat", params)["updated_devices"]]


def told_by(answer):
    """What one node's answer to another one's heartbeat tells of others; most answers are nothing but a yes."""
    return answer.get("updated_devices") if isinstance(answer, dict) else answer.updated_devices


def test_changes_are_told_once_to_each_caller(world):
    node = world.host("a").start()
    first, other, third = (world.client(node) for _ in range(3))
    first.call("RegisterDevice", {"device": {"id": "first"}})
    other.call("RegisterDevice", {"device": {"id": "other", "status": "AVAILABLE"}})
    assert told(first, device_id="first") == ["other"] and told(first, device_id="first") == []
    other.call("Heartbeat", {"device_id": "other", "status": "BUSY"})
    assert told(first, device_id="first") == ["other"] and told(first, device_id="first") == []
    known = third.call("RegisterDevice", {"device": {"id": "third"}})["known_devices"]
    assert {device["id"] for device in known} >= {"first", "other"}
    assert told(third, device_id="third") == [], "it was told of them at its registration"
    assert told(first, device_id="first") == ["third"]


def test_a_node_is_told_who_came_and_where_but_not_how_they_feel(peer, world):
    other = world.client(peer.node)
    other.call("RegisterDevice", {"device": {"id": "other", "status": "AVAILABLE", "address": "10.0.0.7:8080"}})
    assert told(peer) == ["other"] and told(peer) == []
    other.call("Heartbeat", {"device_id": "other", "status": "BUSY"})
    assert told(peer) == [], "it hears that by itself"
    other.call("RegisterDevice", {"device": {"id": "other", "status": "BUSY", "address": "10.0.0.8:8080"}})
    assert told(peer) == ["other"] and told(peer) == []


def test_nodes_that_know_the_same_devices_tell_each_other_of_none(world):
    nodes = world.nodes("abcdef")
    said = []
    for node in nodes:
        there = node.node.discovery.heartbeats
        received = there.received
        there.received = lambda *call, received=received: said.append(received(*call)) or said[-1]
    world.advance(120)
    assert len(said) >= 60 and not any(told_by(answer) for answer in said)


def test_whoever_knows_less_is_told(peer, world):
    other = world.client(peer.node)
    other.call("RegisterDevice", {"device": {"id": "other", "address": "10.0.0.7:8080"}})
    same = peer.node.node.discovery.registry.knows(but="p" * 52)
    assert told(peer, lite={"knows": same}) == []
    third = world.client(peer.node)
    third.call("RegisterDevice", {"device": {"id": "third", "address": "10.0.0.8:8080"}})
    assert told(peer, lite={"knows": same}) == ["third"] and told(peer, lite={"knows": 7}) == []


def test_nobody_is_told_of_himself(peer):
    assert told(peer, status="BUSY") == [] and told(peer, status="AVAILABLE") == []


def test_more_changes_than_one_answer_carries_are_told_with_the_next_ones(world):
    node = world.host("a", limits={"devices_per_answer": 3}).start()
    for number in range(8):
        world.client(node).call("RegisterDevice", {"device": {"id": f"device-{number}"}})
    client = world.client(node)
    client.call("RegisterDevice", {"device": {"id": "me"}})
    seen = [told(client, device_id="me") for _ in range(4)]
    assert [len(answer) for answer in seen] == [3, 3, 2, 0]
    assert sorted(sum(seen, [])) == [f"device-{number}" for number in range(8)]


# ---- attempts -------------------------------------------------------------------------------------


def begin_attempt(peer, attempt="t/0.1", **lite):
    peer.node.executor.holds = {"run"}
    return peer.begin("ExecuteSubtask", {
        "subtask": {"subtask_data": b"5", "lite": {"attempt": attempt, "task_type": "echo", **lite}}})


def test_the_answer_names_the_attempts_that_run_here_for_the_caller(peer, world):
    begin_attempt(peer)
    begin_attempt(peer, "t/1.1")
    assert peer.call("Heartbeat", {"device_id": "p" * 52})["lite"]["attempts"] == ["t/0.1", "t/1.1"]
    other = world.client(peer.node)
    other.call("Hello", {"node_id": "q" * 52, "auth": world.TOKEN})
    assert "attempts" not in other.call("Heartbeat", {})["lite"]
    peer.node.executor.release()
    world.settle()
    world.clock.advance(1)
    assert "attempts" not in peer.call("Heartbeat", {"device_id": "p" * 52})["lite"]


def test_heartbeats_renew_leases_and_without_them_attempts_are_stopped(peer, world):
    begin_attempt(peer, lease_s=15.0)
    for _ in range(30):
        world.advance(2)
        peer.call("Heartbeat", {"device_id": "p" * 52})
    assert not peer.node.executor.held[0].stop_reason
    world.advance(15.1)
    assert peer.node.executor.held[0].stop_reason.startswith("its lease ended")


def test_an_acknowledgement_forgets_a_kept_outcome(peer, world):
    replies = begin_attempt(peer)
    peer.node.executor.release()
    world.settle()
    assert replies[0][0]["success"]
    begin_attempt(peer)
    assert len(peer.node.executor.runs()) == 1, "it is kept"
    peer.call("Heartbeat", {"device_id": "p" * 52, "lite": {"done": ["t/0.1", 7, "nonsense"]}})
    begin_attempt(peer)
    assert len(peer.node.executor.runs()) == 2


def test_a_stranger_who_takes_the_name_of_a_lost_coordinator_cannot_acknowledge(world):
    node = world.host("a").start()

    def connect(**token):
        client = world.client(node)
        client.call("Hello", {"node_id": "p" * 52, "boot": "1", **token})
        client.node = node
        return client

    peer = connect(auth=world.TOKEN)
    begin_attempt(peer)
    node.executor.release()
    world.settle()
    peer.link.close("lost")
    world.settle()
    assert connect().call("Heartbeat", {"lite": {"done": ["t/0.1"]}})["success"]
    assert begin_attempt(connect(auth=world.TOKEN))[0][0]["success"] and len(node.executor.runs()) == 1


def test_a_node_acknowledges_the_outcomes_that_arrived_with_its_next_heartbeat(world):
    first, second = world.nodes("ab")
    world.owner(first).call("SubmitTask", world.echo(range(8)))
    world.advance(1)
    assert second.executor.runs() and not [
        attempt for attempt in second.node.worker._attempts.values() if attempt.sender == first.id]


# ---- odd answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [
    {}, {"success": False}, {"lite": {"attempts": [1, None, "nobody's"]}}, {"updated_devices": [{"id": ""}]},
    {"lite": {"attempts": ["nobody's"], "still": {"nobody's": 5}}}, {"lite": {"attempts": ["t/0.1"], "still": 5}},
    {"lite": {"status": "PARTYING"}}, {"updated_devices": 5}, [], 7,
])
def test_odd_answers_to_a_heartbeat_are_survived(peer, world, answer):
    peer.call_received = lambda link, call: call.answer(answer)
    world.advance(60)
    assert not peer.is_closed and peer.node.kinds_told() == ["joined"]


def test_a_status_that_an_answer_does_not_give_is_no_news(peer, world):
    peer.call("RegisterDevice", {"device": {"id": "p" * 52, "status": "BUSY"}})
    peer.call_received = lambda link, call: call.answer({"success": True, "lite": {"attempts": []}})
    world.advance(20)
    assert peer.node.node.discovery.list_devices()[1].status is DeviceStatus.BUSY


# ---- beacons that cease -----------------------------------------------------------------------------


def test_a_linked_device_whose_beacons_cease_is_suspected_long_before_its_heartbeat_is_due(world):
    first, second = world.nodes("ab")
    world.advance(10)  # Beacons come; the next heartbeat may be 18 s away.
    second.freeze()
    world.advance(3 * 2.5 * 1.2 + 2.5 * 1.2 + 8)
    assert first.texts_told("suspect")


def test_a_device_that_is_cut_off_as_soon_as_it_is_linked_is_suspected_as_early(world):
    first, second = [world.host(letter).start() for letter in "ab"]
    while second.id not in first.node.discovery.links:
        world.clock.advance(0.001)
    second.freeze()
    world.advance(3 * 2.5 * 1.2 + 8)
    assert first.texts_told("suspect")


def test_devices_without_beacons_are_not_asked_early(world):
    first, second = world.nodes("ab")
    asked = []
    first.node.discovery.heartbeats.beat = asked.append
    first.node.discovery.heartbeats._beacon_due.clear()
    first.node.discovery.heartbeats.ask_the_silent()
    assert not asked


# ---- answers that are stuck ---------------------------------------------------------------------------


def busy(world, letters="ab"):
    """Two nodes of which the first has a piece of work at the second, which holds it; and both ends of their link."""
    first, second = world.nodes(letters, ip="10.0.0.2")
    for host in (first, second):
        host.executor.holds.add("run")
    world.owner(first).call("SubmitTask", world.echo(range(6), lite={"pure": False}))
    world.advance(1.0)
    assert second.executor.held and first.executor.held
    link = first.node.discovery.link_to(second.id)
    return first, second, link, second.node.discovery.link_to(first.id)


def assert_nothing_was_lost(*hosts):
    for host in hosts:
        assert not {"suspect", "lost", "left", "restarted"} & set(host.kinds_told())
        assert not [future for future in host.executor.held if future.stop_reason]


@pytest.mark.parametrize("reads", [(True, False), (False, True), (False, False)], ids=["back", "there", "neither"])
def test_whoever_has_no_room_to_read_is_not_silent_and_finds_nobody_so(world, reads):
    first, second, *ends = busy(world)
    before = first.executor.runs() + second.executor.runs()
    waiting = [end for end, is_read in zip(ends, reads) if not is_read]
    for end in waiting:
        end.read_no_more()
    world.advance(120.0)
    for end in waiting:
        end.read_on()
    world.advance(60.0)
    assert first.node.discovery.link_to(second.id) is ends[0] and not ends[0].is_closed
    assert_nothing_was_lost(first, second)
    assert first.executor.runs() + second.executor.runs() == before, "nothing was begun anew"


def test_an_idle_link_that_is_not_read_any_more_is_spoken_over_at_once(world):
    """Its other end, which sends something large, has asked just before and would wait for no more than 15 s."""
    first, second = world.nodes("ab", ip="10.0.0.2")
    world.advance(30.0)
    link = second.node.discovery.link_to(first.id)
    first.node.discovery.prove_links()
    link.read_no_more()
    heard_before = link.other.hearing.heard_at
    world.advance(0.1)
    assert link.other.hearing.heard_at > heard_before
    world.advance(60.0)
    assert link.other.hearing.heard_at > world.clock.time - 2.0
    assert_nothing_was_lost(first, second)


def test_a_message_that_takes_minutes_is_a_sign_of_life_although_its_senders_answers_stand_behind_it(world):
    first, second, ours, theirs = busy(world)
    # What comes of it comes in pieces, and what is said meanwhile stands behind.
    ours.read_no_more()
    ours.hearing.go_on(world.clock.time)
    for _ in range(120):
        world.advance(1.0)
        ours.hearing.heard_at = world.clock.time
    assert_nothing_was_lost(first, second)
    ours.read_on()
    world.advance(30.0)
    assert_nothing_was_lost(first, second)


def test_whoever_dies_while_it_is_not_read_is_missed_when_it_is_again(world):
    first, second, link, _ = busy(world)
    link.read_no_more()
    second.freeze()
    world.advance(60.0)
    assert "lost" not in first.kinds_told()
    link.read_on()
    world.advance(16.0)
    assert "lost" in first.kinds_told()


def test_whoever_is_not_read_for_ever_is_lost_in_the_end(world):
    first, second, link, _ = busy(world)
    link.read_no_more()
    second.freeze()
    world.advance(first.limits.message_s + 5.0)
    assert "lost" in first.kinds_told() and link.is_closed


def test_why_says_what_ended_a_link(world):
    first, second = world.nodes("ab")
    link = first.node.discovery.link_to(second.id)
    link.broken_by = Unavailable("a message was not coming on")
    second.freeze()
    link.close("a message was not coming on")
    world.settle()
    assert why_no_offer(offer_of(first.node, second.id)) == "its connection was closed: a message was not coming on"
