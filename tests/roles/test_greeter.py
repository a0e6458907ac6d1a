"""Opening links: the first two calls, whom they are made to, and what answers that are not what they should be do."""

from dataclasses import replace

import pytest

from discompute_lite.core.events import BeaconHeard
from discompute_lite.model.device import Device, DeviceStatus
from discompute_lite.model.errors import InvalidParams, LinkClosed
from discompute_lite.roles.greeter import GREETING_S, TYPED_ADDRESSES


class OtherNode:
    """Answers calls as a test says; stands behind an address."""

    def __init__(self, world, letter="z", **answers):
        self.host = world.host(letter).serve(self)
        self.answers = answers
        self.calls, self.links = [], []

    def call_received(self, link, call):
        self.calls.append((call.method, call.params))
        self.links.append(link)
        answer = self.answers.get(call.method)
        if answer is not None:
            call.answer(answer)

    def admit_call(self, link, method):
        return None

    def connection_closed(self, link, reason):
        pass


def test_a_link_begins_with_hello_and_register_device(world):
    other = OtherNode(world, Hello={"node_id": "z" * 52, "name": "other", "version": "1", "port": 8080},
                      RegisterDevice={"success": True, "known_devices": [
                          {"id": "z" * 52, "name": "other", "type": "windows", "status": "BUSY"}]})
    node = world.host("a", peers=("127.0.0.1:8080",)).start()
    world.advance(1)
    assert [method for method, _ in other.calls] == ["Hello", "RegisterDevice"]
    assert other.calls[0][1] == {"node_id": node.id, "name": "device a", "version": "0.1.0", "port": 8081,
                                 "boot": "a-boot-1"}
    described = other.calls[1][1]["device"]
    assert described["id"] == node.id and described["address"] == "127.0.0.1:8081" and described["lite"]["slots"] == 2
    device = node.node.discovery.list_devices()[1]
    assert (device.name, device.type, device.status.value) == ("other", "windows", "BUSY")
    assert node.node.discovery.registry.addresses("z" * 52) == ["127.0.0.1:8080"]


def test_who_is_linked_is_not_asked_again_at_the_same_address(world):
    other = OtherNode(world, Hello={"node_id": "z" * 52, "port": 8080}, RegisterDevice={"success": True})
    node = world.host("a").start()
    node.node.discovery.apply(BeaconHeard(
        Device(id="z" * 52, name="other", status=DeviceStatus.AVAILABLE), "127.0.0.1:8080", "b1", 1, 300.0, "test"))
    world.advance(1)
    node.settings = replace(node.settings, peers=("127.0.0.1:8080",))
    node.node.settings = node.settings
    node.node.discovery.look_again()
    world.advance(1)
    assert [method for method, _ in other.calls].count("Hello") == 1


@pytest.mark.parametrize("answer", [
    {}, {"node_id": ""}, {"node_id": "x" * 65}, {"node_id": 7}, [], "hello", 5, {"node_id": "z", "port": "many"},
])
def test_an_answer_that_names_no_node_makes_no_link(world, answer):
    other = OtherNode(world, Hello=answer)
    node = world.host("a", peers=("127.0.0.1:8080",)).start()
    world.advance(1)
    assert node.node.discovery.links == {} and other.links[0].is_closed
    world.advance(6)
    assert len(other.calls) == 2, "it is tried again"


def test_whoever_does_not_answer_hello_is_given_up(world):
    other = OtherNode(world)
    node = world.host("a", peers=("127.0.0.1:8080",)).start()
    world.advance(GREETING_S + 0.5)
    assert other.links[0].is_closed and node.node.discovery.links == {}


def test_it_is_known_whether_everybody_has_answered_or_refused(world):
    OtherNode(world, Hello={"node_id": "z" * 52}, RegisterDevice={})
    silent = OtherNode(world, "y", Hello={"node_id": "y" * 52})
    host = world.host("a", peers=("127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:9999", "nobody"))
    host.start()
    assert host.node.discovery.is_asking()
    world.advance(GREETING_S - 0.5)
    assert host.node.discovery.is_asking() and silent.calls[-1][0] == "RegisterDevice"
    world.advance(1)
    assert not host.node.discovery.is_asking()


@pytest.mark.parametrize("answer", [None, {}, {"known_devices": 5}, {"success": False, "message": "no"}])
def test_a_link_stands_without_an_answer_to_register_device(world, answer):
    OtherNode(world, Hello={"node_id": "z" * 52}, RegisterDevice=answer)
    node = world.host("a", peers=("127.0.0.1:8080",)).start()
    world.advance(8)
    assert "z" * 52 in node.node.discovery.links


def test_row_06_another_device_at_the_address_is_not_taken_for_the_one_that_was_meant(world):
    """Two machines changed their addresses: where b was expected c answers."""
    node, expected = world.host("a").start(), world.host("b")
    other = world.host("c").start()
    world.has_broadcast = False
    expected.make()
    world.advance(2)
    beacon = expected.node.discovery._announcer
    expected.node.port = other.port
    node.transport.arrive(beacon._beacon(False, "discovery", "en0"), f"127.0.0.1:{other.port}")
    world.advance(2)
    assert not node.is_linked_with(expected) and node.is_linked_with(other)
    assert node.sees(expected) and node.sees(other).name == "device c"


def test_row_06_after_the_wrong_device_its_next_address_is_tried(world):
    world.has_broadcast = False
    node, wrong, other = (world.host(name).start() for name in "acb")
    node.node.discovery._greeter.dial_device(other.id, [wrong.address, "10.0.0.1:1", other.address])
    world.advance(1)
    dialled = node.dialler.dialled
    assert dialled[:2] == [wrong.address, "10.0.0.1:1"] and dialled.count(other.address) == 1
    link, = node.node.discovery.links[other.id]
    assert link.remote_address == other.address and node.is_linked_with(other)


def test_row_06_all_addresses_of_a_device_are_tried_in_order(world):
    world.has_broadcast = False
    node, other = world.host("a").start(), world.host("b").start()
    node.node.discovery._greeter.dial_device(other.id, ["10.0.0.1:1", "10.0.0.2:2", other.address, "10.0.0.3:3"])
    world.advance(1)
    assert node.dialler.dialled == ["10.0.0.1:1", "10.0.0.2:2", other.address] and node.is_linked_with(other)


@pytest.mark.parametrize("seed", ["printer.invalid:8081", "127.0.0.1", "127.0.0.1:8081"])
def test_a_seed_whose_node_is_linked_is_not_dialled_again(world, seed):
    """By whatever name: a name, or an address without a port, is never a link's own address."""
    world.names["printer.invalid"] = "127.0.0.1"
    world.has_broadcast = False
    hosts = [world.host("a", peers=(seed,)), world.host("b")]
    if seed == "127.0.0.1":
        hosts = [world.host("c"), world.host("d", peers=(seed,))]
        world.hosts_by_address["127.0.0.1:8080"] = hosts[0]
        hosts[0].port = 8080
    for host in hosts:
        host.start()
    node = next(host for host in hosts if host.settings.peers)
    world.advance(200)
    assert [len(links) for links in node.node.discovery.links.values()] == [1]
    assert len(node.dialler.dialled) <= 2


def test_that_nobody_answers_at_an_address_of_the_settings_is_said_once(world):
    world.has_broadcast = False
    node, other = world.host("a", peers=("127.0.0.1:8081",)).start(), world.host("b")
    world.advance(60)
    assert node.texts_told("note") == [
        "nobody answers at 127.0.0.1:8081 yet, it is called again and again: nothing listens on 127.0.0.1:8081"]
    other.start()
    world.advance(6)
    assert node.is_linked_with(other) and len(node.texts_told("note")) == 1


def test_a_seed_that_is_ourselves_is_recognised(world):
    world.has_broadcast = False
    node = world.host("a", peers=("127.0.0.1:8080",)).start()
    world.advance(60)
    assert node.dialler.dialled == ["127.0.0.1:8080"] and node.node.discovery.links == {} and node.told == []


def test_a_seed_is_not_dialled_while_it_is_being_dialled(world):
    other = OtherNode(world)
    other.host.freeze()
    node = world.host("a", peers=("127.0.0.1:8080",)).start()
    node.node.discovery._greeter.greet_seeds()
    world.settle()
    assert node.dialler.dialled == ["127.0.0.1:8080"]


def test_links_that_open_while_a_node_stops_are_closed(world):
    world.has_broadcast = False
    node, other = world.host("a", peers=("127.0.0.1:8081",)), world.host("b").start()
    node.start()
    node.node.stop()
    world.advance(1)
    assert node.node.discovery.links == {} and not other.is_linked_with(node)
    assert all(link.is_closed for link in node.links)


def test_a_link_that_breaks_during_hello_is_a_failed_dial(world):
    other = OtherNode(world)
    other.call_received = lambda link, call: link.close("gone")
    node = world.host("a").start()
    replies = []
    node.node.discovery._greeter._dial("127.0.0.1:8080", "", replies.append)
    world.settle()
    assert len(replies) == 1 and isinstance(replies[0], LinkClosed)


# ---- addresses that a person types while the node runs ----------------------------------------------


def test_typed_addresses_are_called_at_once_and_each_is_answered_for(world):
    world.has_broadcast = False
    node, other = world.host("a").start(), world.host("b").start()
    replies = world.owner(node).begin("Meet", {"addresses": [other.address, "127.0.0.1:9999", node.address]})
    world.advance(1)
    (answer, error), = replies
    assert error is None and not answer.get("success")
    there, nobody, own = answer["met"]
    assert there["device_id"] == other.id and node.is_linked_with(other)
    assert "nothing listens" in nobody["message"] and "this device itself" in own["message"]


def test_an_address_that_is_being_called_is_not_called_twice_for_who_types_it(world):
    world.has_broadcast = False
    other = world.host("b").start()
    node = world.host("a", peers=(other.address,)).start()
    replies = world.owner(node).begin("Meet", {"addresses": [other.address]})
    world.advance(1)
    (answer, _), = replies
    assert answer["met"][0]["device_id"] == other.id and node.dialler.dialled == [other.address]


def test_a_typed_address_is_called_until_somebody_answers(world):
    world.has_broadcast = False
    node, other = world.host("a").start(), world.host("b")
    assert world.owner(node).call("Meet", {"addresses": [other.address]})["met"][0]["message"]
    other.start()
    world.advance(6)
    assert node.is_linked_with(other)


def test_who_is_linked_already_is_not_called_again(world):
    node, other = world.nodes("ab")
    assert node.links[0].is_dialled
    dialled = len(node.dialler.dialled)
    answer = world.owner(node).call("Meet", {"addresses": [other.address]})
    assert answer["met"][0]["device_id"] == other.id and len(node.dialler.dialled) == dialled


@pytest.mark.parametrize("addresses", [["a b"], ["127.0.0.1:0"], [""], ["300.1.1.1"]])
def test_what_is_no_address_is_refused_by_name(world, addresses):
    node = world.host("a").start()
    with pytest.raises(InvalidParams, match="host:port"):
        world.owner(node).call("Meet", {"addresses": addresses})


def test_nothing_typed_is_answered_too_and_the_number_that_is_kept_is_bounded(world):
    node = world.host("a").start()
    owner = world.owner(node)
    assert owner.call("Meet")["success"]
    many = [f"127.0.0.1:{port}" for port in range(9000, 9000 + TYPED_ADDRESSES + 5)]
    assert len(owner.call("Meet", {"addresses": many})["met"]) == len(many)
    assert len(node.node.discovery._greeter.seeds(True)) == TYPED_ADDRESSES
