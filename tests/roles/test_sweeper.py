"""Looking for nodes address by address: only where nothing else finds anybody, and what people are told."""

from typing import NamedTuple

import pytest

from discompute_lite.core.sweep import SWEEP_AGAIN_S, SWEEP_FIRST_S, SWEEP_PERMIT_S
from discompute_lite.roles.node import Node


class Interface(NamedTuple):
    name: str
    address: str
    netmask: str = "255.255.255.0"
    broadcast: str = "10.0.0.255"
    is_loopback: bool = False


WAYS = ("broadcast", "peers", "exchange", "sweep")


def in_network(world, letter, last, *, ways=("sweep",), port=8080):
    """Make a host of 10.0.0.0/24 that meets others by these ways."""
    host = world.host(letter, ip=f"10.0.0.{last}", discovery=ways)
    del world.hosts_by_address[host.address]
    host.port = port
    world.hosts_by_address[host.address] = host
    host.prober.interfaces = [Interface("eth0", host.ip)]
    return host


@pytest.fixture
def quiet(world):
    world.has_broadcast = False
    return world


def test_three_nodes_meet_by_the_sweep_alone_one_of_them_on_a_fallback_port(quiet):
    hosts = [in_network(quiet, "a", 5), in_network(quiet, "b", 77), in_network(quiet, "c", 200, port=8082)]
    for host in hosts:
        host.prober.alive = {"10.0.0.200"}
        host.start()
    quiet.advance(15)
    assert all(one.is_linked_with(other) for one in hosts for other in hosts if one is not other)
    assert all(host.prober.most_open <= 48 for host in hosts)


def test_who_was_found_by_another_ones_sweep_sweeps_too_unless_it_is_told_of_the_others(quiet):
    first, *others = [in_network(quiet, letter, last).start() for letter, last in (("a", 5), ("b", 77))]
    told = in_network(quiet, "c", 99, ways=("exchange", "sweep")).start()
    first.prober.interfaces = told.prober.interfaces = []
    quiet.advance(15)
    assert all(host.is_linked_with(other) for host in others for other in (first, told))
    assert told.prober.tried == [] and others[0].prober.tried


def test_a_listener_that_is_no_node_is_left_alone_and_the_sweep_goes_on(quiet):
    host, other = in_network(quiet, "a", 5).start(), in_network(quiet, "b", 90).start()
    printer = in_network(quiet, "p", 6)
    printer.serve(Node.__new__(Node))
    printer.receiver.call_received = lambda link, call: link.close("what?")
    printer.receiver.connection_closed = lambda link, reason: None
    quiet.advance(15)
    assert host.is_linked_with(other) and "10.0.0.6:8080" in host.prober.tried


def test_nothing_is_swept_where_another_way_has_found_somebody(world):
    hosts = [in_network(world, letter, last, ways=WAYS).start() for letter, last in (("a", 5), ("b", 77))]
    world.advance(120)
    assert hosts[0].is_linked_with(hosts[1]) and [host.prober.tried for host in hosts] == [[], []]


def test_the_other_ways_get_their_time_first_and_less_of_it_where_broadcast_is_refused(quiet):
    host, phone = in_network(quiet, "a", 5, ways=WAYS).start(), in_network(quiet, "b", 77, ways=WAYS).make()
    phone.transport.trouble = lambda: ["broadcast to 255.255.255.255:5005 is refused by the system"]
    phone.node.start(8080)
    quiet.advance(1.3)
    assert phone.prober.tried and not host.prober.tried
    quiet.advance(SWEEP_FIRST_S + 1)
    assert host.is_linked_with(phone) and not host.prober.tried, "whoever is found need not look"


def test_without_the_way_sweep_nobody_is_looked_for(quiet):
    host = in_network(quiet, "a", 5, ways=("broadcast", "peers"))
    host.start()
    quiet.advance(60)
    assert host.prober.tried == []


def test_a_sweep_that_found_nobody_says_so_once_and_is_made_again_ever_more_seldom(quiet):
    host = in_network(quiet, "a", 5).start()
    quiet.advance(SWEEP_FIRST_S * 1.2 + 10)
    assert len(host.prober.tried) == 253
    assert host.texts_told("note") == [
        "nobody was found on 10.0.0.0/24, each address was tried; start a node there, or give the address of a device"
        " in another network with --peer; `doctor` says more"]
    quiet.advance(SWEEP_AGAIN_S * 1.2)
    assert len(host.prober.tried) == 2 * 253 and len(host.texts_told("note")) == 1
    quiet.advance(SWEEP_AGAIN_S * 1.5)
    assert len(host.prober.tried) == 2 * 253


def test_after_the_last_device_has_gone_the_sweep_looks_for_others(quiet):
    host, other = in_network(quiet, "a", 5).start(), in_network(quiet, "b", 77).start()
    quiet.advance(15)
    assert host.is_linked_with(other)
    other.kill()
    late = in_network(quiet, "c", 99)
    late.start()
    late.prober.interfaces = []
    quiet.advance(120)
    assert host.is_linked_with(late)


def test_a_remembered_host_is_tried_first(quiet):
    host = in_network(quiet, "a", 5)
    host.store.documents["peers.json"] = {"addresses": ["10.0.0.222:8080"]}
    host.start()
    quiet.advance(SWEEP_FIRST_S * 1.2 + 1)
    assert host.prober.tried[:2] == ["10.0.0.222:8080", "10.0.0.4:8080"]


@pytest.mark.parametrize("interfaces, words", [
    ([Interface("utun2", "100.72.3.4", "255.255.255.255", "")], "VPN or of a cellular network"),
    ([], "in no network of its own"),
])
def test_vpn_cellular_and_no_network_are_refused_with_one_sentence(quiet, interfaces, words):
    host = in_network(quiet, "a", 5)
    host.prober.interfaces = interfaces
    host.start()
    quiet.advance(400)
    (said,) = host.texts_told("note")
    assert words in said and "--peer" in said and host.prober.tried == []


def test_a_system_that_lets_nobody_be_reached_is_told_with_its_remedy(quiet):
    host = in_network(quiet, "a", 5)
    host.prober.is_refused = True
    host.start()
    quiet.advance(SWEEP_FIRST_S * 1.1 + 1)
    (said,) = host.texts_told("warning")
    assert "Local Network" in said and len(host.prober.tried) < 100


def test_a_permission_that_comes_late_is_used_within_seconds(quiet):
    host, other = in_network(quiet, "a", 5), in_network(quiet, "b", 77)
    host.prober.is_refused = True
    other.start()
    other.prober.interfaces = []
    host.start()
    quiet.advance(20)
    assert not host.is_linked_with(other)
    host.prober.is_refused = False
    quiet.advance(SWEEP_PERMIT_S * 1.1 + 3)
    assert host.is_linked_with(other) and len(host.texts_told("warning")) == 1


def test_whoever_wants_to_join_need_not_wait_for_the_first_sweep(quiet):
    host = in_network(quiet, "a", 5, ways=WAYS).start()
    quiet.advance(0.1)
    host.node.discovery.look_again()
    quiet.advance(1.2)
    assert host.prober.tried


def test_a_node_that_stops_sweeps_no_more(quiet):
    host = in_network(quiet, "a", 5).start()
    quiet.advance(SWEEP_FIRST_S * 1.2)
    tried = len(host.prober.tried)
    assert 0 < tried < 253
    host.node.stop()
    quiet.advance(100)
    assert len(host.prober.tried) == tried


def test_its_own_configured_port_is_tried_too(quiet):
    host = quiet.host("a", ip="10.0.0.5", discovery=("sweep",), port=9000)
    host.prober.interfaces = [Interface("eth0", host.ip)]
    host.start()
    quiet.advance(20)
    assert len(host.prober.tried) == 506 and "10.0.0.9:9000" in host.prober.tried
