"""Meeting and losing each other: by every way alone, with restarts, goodbyes, kills, silence and lost links."""

from dataclasses import replace

import pytest

from discompute_lite.model.device import DeviceStatus


def assert_all_linked(hosts):
    for host in hosts:
        assert sorted(host.node.discovery.links) == sorted(other.id for other in hosts if other is not host)
        listed = host.node.discovery.list_devices()
        assert listed[0].id == host.id and {device.id for device in listed} == {other.id for other in hosts}
        assert all(device.status is DeviceStatus.AVAILABLE for device in listed)


# ---- meeting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("letters", ["ab", "abc", "edcba"])
def test_nodes_meet_by_beacons_alone(world, letters):
    hosts = [world.host(letter, discovery=("broadcast",)).start() for letter in letters]
    world.advance(2)
    assert_all_linked(hosts)
    assert all(host.kinds_told() == ["joined"] * (len(letters) - 1) for host in hosts)


def test_a_node_that_comes_last_is_known_at_once(world):
    hosts = world.nodes("abc")
    hosts.append(world.member("d").start())
    world.settle()
    assert all(host.sees(hosts[-1]) for host in hosts) and len(hosts[-1].node.discovery.list_devices()) == 4


def test_one_lost_beacon_is_made_good_by_the_next(world):
    first, second = world.host("a"), world.host("b")
    world.has_broadcast = False
    first.start(), second.start()
    world.advance(0.2)
    world.has_broadcast = True
    world.advance(2)
    assert_all_linked([first, second])


def test_nodes_meet_by_addresses_alone(world):
    world.has_broadcast = False
    first = world.host("a", peers=("127.0.0.1:8081", "127.0.0.1:8082"), discovery=("peers",))
    others = [world.host("b", peers=("127.0.0.1:8082",), discovery=("peers",)), world.host("c", discovery=("peers",))]
    for host in [first, *others]:
        host.start()
    world.advance(6)
    assert_all_linked([first, *others])


def test_nodes_of_one_machine_meet_by_their_ports_alone(world):
    world.has_broadcast = False
    hosts = [world.host(letter) for letter in "abc"]
    for host in hosts:
        host.neighbours = tuple(f"127.0.0.1:{port}" for port in range(8080, 8100))
        host.start()
    world.advance(1)
    assert_all_linked(hosts)


def test_nodes_meet_by_what_their_peers_tell(world):
    """All know the first only; it tells each of the others."""
    world.has_broadcast = False
    hosts = [world.host("c").start()]
    for letter in "adbe":
        hosts.append(world.host(letter, peers=("127.0.0.1:8080",)).start())
        world.advance(2)
    assert_all_linked(hosts)


def test_those_who_came_first_hear_of_later_ones_with_their_heartbeats(world):
    """Here only the early one may dial the late one: it learns the address from an answer to its heartbeat."""
    world.has_broadcast = False
    middle, early = world.host("b").start(), world.host("a", peers=("127.0.0.1:8080",)).start()
    world.advance(2)
    late = world.host("c", peers=("127.0.0.1:8080",))
    world.refused.add((late, early))
    late.start()
    world.advance(2)
    assert not early.is_linked_with(late)
    world.advance(20)
    assert_all_linked([middle, early, late])


def without(way):
    return tuple(name for name in ("broadcast", "mdns", "peers", "exchange", "sweep") if name != way)


def test_without_exchange_nobody_is_dialled_because_a_peer_spoke_of_him(world):
    world.has_broadcast = False
    hosts = [world.host("c").start()]
    for letter in "ab":
        hosts.append(world.host(letter, peers=("127.0.0.1:8080",), discovery=without("exchange")).start())
    world.advance(60)
    assert [sorted(host.node.discovery.links) for host in hosts[1:]] == [[hosts[0].id]] * 2


def test_without_peers_neither_given_nor_remembered_addresses_are_called(world):
    first, second = world.nodes("ab")
    first.stop(), second.stop()
    world.advance(700)
    world.has_broadcast = False
    assert "addresses" in first.store.read_json("peers.json", {})
    third = world.host("c", peers=(first.address,), discovery=without("peers"))
    for host in (first, second):
        host.settings = replace(host.settings, discovery=without("peers"))
    for host in (first, second, third):
        host.start()
    world.advance(60)
    assert not any(host.node.discovery.links for host in (first, second, third))


def test_without_broadcast_the_neighbours_of_a_loopback_are_left_alone(world):
    world.has_broadcast = False
    hosts = [world.host(letter, discovery=without("broadcast")) for letter in "ab"]
    for host in hosts:
        host.neighbours = ("127.0.0.1:8080", "127.0.0.1:8081")
        host.start()
    world.advance(60)
    assert not any(host.node.discovery.links for host in hosts)


def test_an_address_that_nobody_answers_at_is_tried_again(world):
    world.has_broadcast = False
    first = world.host("a", peers=("127.0.0.1:8081",)).start()
    world.advance(12)
    second = world.host("b").start()
    world.advance(6)
    assert_all_linked([first, second])


def test_the_addresses_of_the_last_run_are_remembered(world):
    first, second = world.nodes("ab")
    first.stop()
    world.advance(700)
    world.has_broadcast = False
    second.kill()
    second.start(), first.start()
    world.advance(1)
    assert_all_linked([first, second])


def test_what_others_say_of_third_devices_is_only_an_address_to_try(world):
    first, second = world.strangers("ab")
    liar = world.client(first)
    liar.call("Hello", {"node_id": "l" * 52, "name": "liar", "boot": "1"})
    told = [{"id": "x" * 52, "name": "made up", "address": "10.9.9.9:1", "status": "AVAILABLE"},
            {"id": second.id, "name": "renamed", "address": "10.9.9.9:2", "status": "OVERLOADED"},
            {"id": first.id, "name": "you", "address": "10.9.9.9:3"}, {"id": "y" * 65, "address": "10.9.9.9:4"},
            {"id": "z" * 52, "address": "10.9.9.9:5", "status": "OFFLINE"}]
    liar.call_received = lambda link, call: call.answer({"success": True, "updated_devices": told})
    world.advance(20)
    assert "10.9.9.9:1" in first.dialler.dialled and not {"10.9.9.9:4", "10.9.9.9:5"} & set(first.dialler.dialled)
    assert [device.name for device in first.node.discovery.list_devices()] == ["device a", "device b", "liar"]
    assert first.sees(second).status is DeviceStatus.AVAILABLE


# ---- RegisterDevice, GetDevices -------------------------------------------------------------------


def test_a_client_that_registers_is_listed_for_a_minute_and_longer_while_it_calls(world):
    node = world.host("a").start()
    client = world.client(node)
    answer = client.call("RegisterDevice", {"device": {"id": "thermostat", "name": "hall", "type": "unknown"}})
    assert answer["success"] and [device["id"] for device in answer["known_devices"]] == [node.id, "thermostat"]
    for _ in range(3):
        world.advance(50)
        assert client.call("Heartbeat", {"device_id": "thermostat", "status": "BUSY"})["success"]
    assert client.call("GetDevices")["devices"][1]["status"] == "BUSY"
    world.advance(70)
    assert client.call("GetDevices")["devices"][1]["status"] == "OFFLINE"
    assert node.kinds_told() == ["joined", "lost"]


def test_a_device_may_describe_itself_only(world):
    first, second = world.strangers("ab")
    peer = world.client(first)
    peer.call("Hello", {"node_id": "p" * 52, "name": "peer"})
    answer = peer.call("RegisterDevice", {"device": {"id": second.id, "name": "renamed"}})
    assert not answer["success"] and "itself" in answer["message"] and answer["known_devices"] == []
    stranger = world.client(first)
    assert stranger.call("RegisterDevice", {"device": {"id": second.id, "name": "renamed", "status": "OFFLINE"}})
    assert not stranger.call("Heartbeat", {"device_id": second.id, "status": "OVERLOADED"})["success"]
    assert first.sees(second).name == "device b" and first.sees(second).status is DeviceStatus.AVAILABLE


@pytest.mark.parametrize("device", [{}, {"id": ""}, {"id": "x" * 65}])
def test_a_device_without_a_proper_id_is_not_registered(world, device):
    node = world.host("a").start()
    answer = world.client(node).call("RegisterDevice", {"device": device})
    assert not answer["success"] and "1 to 64" in answer["message"]


def test_a_device_that_registers_as_us_changes_nothing(world):
    node = world.host("a").start()
    world.client(node).call("RegisterDevice", {"device": {"id": node.id, "name": "another"}})
    assert [device.name for device in node.node.discovery.list_devices()] == ["device a"]


def test_devices_are_listed_with_ourselves_first_in_order_of_joining_and_filtered_by_type(world):
    first, second, third = world.strangers("bca")
    client = world.client(first)
    client.call("RegisterDevice", {"device": {"id": "phone", "type": "iphone"}})
    ids = [device["id"] for device in client.call("GetDevices")["devices"]]
    assert ids[0] == first.id and ids[-1] == "phone" and set(ids[1:3]) == {second.id, third.id}
    assert [device["id"] for device in client.call("GetDevices", {"filter_type": "iphone"})["devices"]] == ["phone"]
    assert client.call("GetDevices", {"filter_type": "toaster"})["devices"] == []


def test_descriptions_of_any_length_neither_fill_the_memory_nor_spoil_the_list(world):
    """The names fit, and an answer stays within the line that a link can carry."""
    node = world.host("a", limits={"line_bytes": 64 * 1024}).start()
    client = world.client(node)
    for number in range(80):
        long = "\u00e4" * 3000
        lite = {"model": long, "label": long, "measured": {"python": long}}
        client.call("RegisterDevice", {"device": {
            "id": f"device-{number}", "name": long, "type": long, "lite": lite, "capabilities": {"chip": long}}})
    assert max(len(known.device.name) for known in node.node.discovery.registry.devices()) <= 64
    devices = client.call("GetDevices")["devices"]
    assert devices[0]["id"] == node.id and 10 < len(devices) < 80


# ---- losing ---------------------------------------------------------------------------------------


def test_a_goodbye_is_a_device_that_left_and_no_loss(world):
    first, second, third = world.nodes("abc")
    second.stop()
    world.settle()
    for host in (first, third):
        assert host.kinds_told()[-1] == "left" and host.sees(second).status is DeviceStatus.OFFLINE
    world.advance(60)
    assert first.kinds_told().count("left") == 1 and "lost" not in first.kinds_told()
    assert not [address for address in first.dialler.dialled[2:] if address == second.address]


def test_who_leaves_before_its_hello_was_answered_has_left_too(world):
    """Whoever read the Hello has a link by it; without a goodbye its end would look like a crash."""
    world.has_broadcast = False
    first, second = world.host("a").start(), world.host("b", peers=("127.0.0.1:8080",)).start()
    second.node.discovery._greeter._hello_answered = lambda hello, result, error: None
    world.settle()
    assert first.kinds_told() == ["joined"] and second.kinds_told() == []
    second.stop()
    world.advance(20)
    assert first.kinds_told() == ["joined", "left"]


def test_a_killed_process_is_dead_at_once(world):
    first, second, third = world.nodes("abc")
    second.kill()
    world.settle()
    for host in (first, third):
        assert host.kinds_told()[-1] == "lost" and host.sees(second).status is DeviceStatus.OFFLINE
        assert "none of its addresses answers" in host.sees(second).lite["reason"]


def test_row_35_a_silent_process_is_suspected_after_6_s_and_dead_after_15(world):
    first, second = world.nodes("ab")
    second.freeze()
    seen = []
    for _ in range(40):
        world.advance(1)
        kind = first.kinds_told()[-1]
        seen.append(kind)
    # The last heartbeat may have been answered just before, so the first one unanswered comes up to 18 s later.
    assert seen.index("suspect") <= 25 and 8 <= seen.index("lost") - seen.index("suspect") <= 10
    assert first.sees(second).status is DeviceStatus.OFFLINE and not first.is_linked_with(second)


def test_row_33_a_process_that_wakes_up_again_comes_back(world):
    first, second = world.nodes("ab")
    second.freeze()
    world.advance(45)
    assert first.sees(second).status is DeviceStatus.OFFLINE
    second.thaw()
    world.advance(20)
    assert first.sees(second).status is DeviceStatus.AVAILABLE and first.is_linked_with(second)
    assert second.is_linked_with(first) and second.sees(first).status is DeviceStatus.AVAILABLE


def test_row_34_a_node_that_slept_itself_does_not_take_the_others_for_dead(world):
    first, second = world.nodes("ab")
    first.node.discovery.heartbeats.beat(second.id)
    first.node.discovery.work_began(second.id)
    first.freeze()
    # Its heartbeat is answered meanwhile, and it cannot read that.
    world.advance(12)
    first.thaw()
    world.advance(3)
    assert first.kinds_told() == ["joined"] and first.sees(second).status is DeviceStatus.AVAILABLE


def test_a_lost_link_between_living_nodes_is_opened_again_and_nobody_is_told(world):
    first, second = world.nodes("ab")
    told = list(first.told)
    first.drop_link(second)
    world.advance(3)
    assert_all_linked([first, second])
    assert [kind for kind, _ in first.told[len(told):]] in ([], ["suspect", "back"])


def test_a_restart_is_told_from_a_repeat(world):
    first, second = world.nodes("ab")
    second.kill()
    second.start()
    world.advance(3)
    assert "restarted" in first.kinds_told() or first.kinds_told()[-2:] == ["lost", "joined"]
    assert_all_linked([first, second])
    told = len(first.told)
    world.advance(30)
    assert len(first.told) == told


def test_a_restart_that_nobody_saw_the_end_of_closes_the_link_of_before(world):
    """The machine lost its power: nothing closed its connections."""
    first, second = world.nodes("ab")
    before = first.node.discovery.link_to(second.id)
    second.links.clear()
    second.kill()
    second.start()
    world.advance(3)
    assert "restarted" in first.kinds_told() and before.is_closed
    assert first.node.discovery.link_to(second.id).peer.boot == second.node.boot
    world.advance(60)
    assert first.sees(second).status is DeviceStatus.AVAILABLE and "lost" not in first.kinds_told()


def test_a_device_that_changed_networks_is_called_over_its_new_link(world):
    first, second = world.nodes("ab")
    before = first.node.discovery.link_to(second.id)
    for link in [before, before.other]:
        link.arrived = lambda data: None  # the old way leads nowhere
    world.connect(first, from_ip="127.0.0.9", receiver=second.node, clock=second.clock, is_dialled=True).call(
        "Hello", {"node_id": second.id, "name": second.name, "port": second.port, "boot": "b-boot-1",
                  "auth": world.TOKEN}, lambda result, error: None)
    world.settle()
    assert first.node.discovery.link_to(second.id) is not before
    world.advance(60)
    assert first.sees(second).status is DeviceStatus.AVAILABLE and "lost" not in first.kinds_told()


def test_a_device_without_its_old_address_calls_the_others_from_the_new_one_at_once(world):
    first, second = world.nodes("ab")
    before = second.node.discovery.link_to(first.id)
    second.node.discovery.leave_addresses([before.local_host])
    assert before.is_closed
    world.advance(3)
    assert_all_linked([first, second])
    after = second.node.discovery.link_to(first.id)
    second.node.discovery.leave_addresses(["127.0.0.250"])
    assert not after.is_closed and "lost" not in first.kinds_told() + second.kinds_told()


def test_a_link_that_is_closed_to_make_room_is_nobodys_death(world):
    first, second = world.nodes("ab")
    link = first.node.discovery.link_to(second.id)
    link.notify("Goodbye", {"is_leaving": False})
    link.finish()
    world.settle()
    assert second.sees(first).status is DeviceStatus.AVAILABLE and "suspect" not in second.kinds_told()
    assert "left" not in second.kinds_told()


def test_idle_links_beyond_the_limit_are_closed_and_their_devices_stay_known(world):
    node = world.host("a", limits={"idle_links": 2}).start()
    for letter in "pqrs":
        world.client(node).call("Hello", {"node_id": letter * 52, "name": letter, "port": 9000})
    world.settle()
    assert sorted(node.node.discovery.links) == ["r" * 52, "s" * 52]
    assert len(node.node.discovery.list_devices()) == 5
    assert node.kinds_told() == ["joined"] * 4


def test_the_link_that_was_of_use_least_recently_makes_room(world):
    node = world.host("a", limits={"idle_links": 3}).start()
    for letter in "pqr":
        world.client(node).call("Hello", {"node_id": letter * 52, "name": letter, "port": 9000})
    node.node.discovery.call("p" * 52, "SendMessage", {}, lambda result, error: None)
    world.client(node).call("Hello", {"node_id": "s" * 52, "name": "s", "port": 9000})
    world.settle()
    assert sorted(node.node.discovery.links) == ["p" * 52, "r" * 52, "s" * 52]


def test_beyond_the_links_that_are_sought_devices_are_known_by_beacon_alone(world):
    hosts = world.strangers("abcdef", limits={"links_sought": 2})
    world.advance(30.0)
    assert all(len(host.node.discovery.list_devices()) == 6 for host in hosts)
    assert sum(len(host.node.discovery.links) for host in hosts) < 6 * 5
    assert "lost" not in [kind for host in hosts for kind in host.kinds_told()]


def test_a_message_to_a_device_without_a_link_opens_one(world):
    first, second, third = world.strangers("abc", limits={"links_sought": 1}, discovery=("broadcast",))
    far = third if not first.is_linked_with(third) else second
    assert not first.is_linked_with(far)
    message = {"to_device_id": far.id, "message_type": "text", "payload": "aGVsbG8=", "metadata": {}}
    replies = world.owner(first).begin("SendMessage", message)
    world.advance(1.0)
    (answer, error), = replies
    assert error is None and answer["success"] and first.is_linked_with(far)
    assert any("hello" in text for text in far.texts_told("message"))


def test_a_message_to_a_device_that_cannot_be_linked_is_given_up_in_words(world):
    first, second, third = world.strangers("abc", limits={"links_sought": 1}, discovery=("broadcast",))
    far = third if not first.is_linked_with(third) else second
    world.part(first, far)
    message = {"to_device_id": far.id, "message_type": "text", "payload": "aGVsbG8=", "metadata": {}}
    replies = world.owner(first).begin("SendMessage", message)
    world.advance(10.0)
    (answer, error), = replies
    assert error is None and not answer["success"] and "no link" in answer["message"]


def test_work_links_the_devices_of_the_cluster_that_are_known_by_beacon_alone(world):
    hosts = world.nodes("abcd", limits={"links_sought": 1}, discovery=("broadcast",))
    assert len(hosts[0].node.discovery.links) < 3
    for host in hosts:
        host.executor.holds.add("run")
    world.owner(hosts[0]).call("SubmitTask", world.echo(range(20)))
    world.advance(3.0)
    assert len(hosts[0].node.discovery.links) == 3 and all(host.executor.held for host in hosts)


def test_a_forged_goodbye_by_datagram_changes_nothing_while_the_link_stands(world):
    first, second = world.nodes("ab")
    beacon = first.node.discovery._announcer._beacon(False, "goodbye", "en0").replace(first.id.encode(),
                                                                                    second.id.encode())
    first.transport.arrive(beacon.replace(b"a-boot-1", b"b-boot-1"), "10.0.0.9:5005")
    world.advance(30)
    assert "left" not in first.kinds_told() and first.sees(second).status is DeviceStatus.AVAILABLE


# ---- bad networks and clocks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("off_s", [86_400.0, -86_400.0, -1_756_800_000.0, 2_600_000_000.0, 9e11], ids=str)
def test_row_36_a_wall_clock_that_jumps_changes_no_lease(world, off_s):
    first, second = world.nodes("ab")
    for host in (first, second):
        host.executor.holds.add("run")
    owner = world.owner(first)
    task_id = owner.call("SubmitTask", world.echo(range(20)))["task_id"]
    world.advance(1.0)
    begun = first.executor.runs() + second.executor.runs()
    assert first.executor.held and second.executor.held
    for host in (second, first, second):
        host.wall_is_off_s = off_s - host.wall_is_off_s
        world.advance(20.0)
    assert first.executor.runs() + second.executor.runs() == begun, "nothing was tried again"
    assert not {"suspect", "lost", "left"} & {*first.kinds_told(), *second.kinds_told()}
    for host in (first, second):
        host.executor.holds.clear()
        host.executor.release()
    world.advance(5.0)
    assert world.value(owner.call("GetTaskResult", {"task_id": task_id})["result_data"]) == list(range(20))
