"""The sweep's plan: whose networks, in which order, how many at once, how long, and when again."""

import ipaddress
import random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.core.sweep import (
    FURTHER_PORTS, REFUSED_AT_ONCE, SWEEP_AGAIN_S, SWEEP_FIRST_S, SWEEP_LONGEST_S, SWEEP_PERMIT_S, SWEPT_NETWORKS,
    Sweep, SweepTimes, SweptNetwork, TryOutcome, hosts_to_sweep, networks_to_sweep,
)

MASK_24 = "255.255.255.0"


class Interface(NamedTuple):
    name: str
    address: str
    netmask: str = MASK_24
    broadcast: str = "yes"
    is_loopback: bool = False


def swept(*found):
    networks, refusal = networks_to_sweep([Interface(*each) for each in found])
    assert bool(networks) != bool(refusal)
    return [str(each.network) for each in networks] or refusal


# ---- whose networks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("interface, network", [
    (("en0", "192.168.1.20", MASK_24), "192.168.1.0/24"),
    (("wlan0", "10.7.3.9", "255.255.252.0"), "10.7.0.0/22"),
    (("eth0", "10.7.130.9", "255.255.0.0"), "10.7.128.0/22"),
    (("bridge100", "172.20.10.1", "255.255.255.240"), "172.20.10.0/28"),
    (("eth0", "169.254.7.7", "255.255.0.0"), "169.254.4.0/22"),
    (("", "192.168.7.7", "", ""), "192.168.7.0/24"),
    (("lo", "127.0.3.1", MASK_24, "", True), "127.0.3.0/24"),
])
def test_the_own_private_network_is_swept_by_its_mask_and_no_more_than_a_little_of_a_large_one(interface, network):
    assert swept(interface) == [network]


@pytest.mark.parametrize("interface", [
    ("utun3", "10.8.0.2", "255.255.255.0", ""),
    ("ppp0", "192.168.9.1", "255.255.255.255", "yes"),
    ("pdp_ip0", "100.72.3.4", "255.255.255.255", ""),
    ("tailscale0", "100.100.1.2", "255.192.0.0", "yes"),
    ("", "100.72.3.4", "", ""),
    ("eth0", "8.8.8.8"),
])
def test_a_vpn_and_a_cellular_network_are_refused_in_one_sentence(interface):
    refusal = swept(interface)
    assert interface[1] in refusal and "VPN or of a cellular network" in refusal and "--peer" in refusal


def test_without_a_network_that_is_said():
    assert "in no network" in swept() and "in no network" in swept(("docker0", "172.17.0.1", "255.255.0.0"))


def test_beside_a_vpn_the_wifi_is_swept_and_networks_of_containers_are_not():
    assert swept(("utun3", "10.8.0.2", MASK_24, ""), ("docker0", "172.17.0.1"), ("br-7", "172.18.0.1"),
                 ("en0", "192.168.1.20"), ("en1", "192.168.1.21")) == ["192.168.1.0/24"]


def test_not_more_than_a_few_networks_are_swept():
    assert len(swept(*((f"eth{number}", f"10.0.{number}.1") for number in range(9)))) == SWEPT_NETWORKS


# ---- which hosts, in which order ---------------------------------------------------------------------


def hosts(own, network, remembered=()):
    return hosts_to_sweep(SweptNetwork(ipaddress.IPv4Address(own), ipaddress.IPv4Network(network)), remembered)


def test_first_the_remembered_then_the_neighbours_then_the_rest():
    found = hosts("192.168.1.20", "192.168.1.0/24", ["192.168.1.200", "10.0.0.1", "192.168.1.20", "192.168.1.30"])
    assert found[:6] == [f"192.168.1.{last}" for last in (200, 30, 19, 21, 18, 22)]
    assert len(found) == len(set(found)) == 253


@given(st.integers(22, 30), st.integers(0, 2 ** 32 - 1))
def test_every_other_host_of_the_network_comes_once_and_nothing_else(prefix, number):
    network = ipaddress.IPv4Network((number, prefix), strict=False)
    own = ipaddress.IPv4Address(number)
    assert sorted(hosts(own, network)) == sorted(str(each) for each in network.hosts() if each != own)


# ---- how many at once, how long ----------------------------------------------------------------------


class Place:
    """A network in which hosts answer as a test says; its time is that of the tries."""

    def __init__(self, answers, sweep):
        self.answers, self.sweep = answers, sweep
        self.now, self.order, self.most = 0.0, [], 0

    def play(self):
        under_way = []
        while True:
            while True:
                attempt = self.sweep.next_try()
                if attempt is None:
                    break
                host = attempt.address.rpartition(":")[0]
                outcome, seconds = self.answers.get(
                    attempt.address, self.answers.get(host, (TryOutcome.SILENT, attempt.timeout_s)))
                self.order.append(attempt.address)
                under_way.append((self.now + seconds, attempt.address, outcome, seconds))
                self.most = max(self.most, len(under_way))
                self.sweep.check()
            if not under_way:
                return self
            under_way.sort()
            self.now, address, outcome, seconds = under_way.pop(0)
            self.sweep.ended(address, outcome, seconds)
            self.sweep.check()


def play(answers, *, ports=(8080,), sockets=48, network="192.168.1.0/24", further=FURTHER_PORTS):
    sweep = Sweep(hosts("192.168.1.20", network), ports, sockets, random.Random(1).random, further)
    place = Place(answers, sweep).play()
    assert sweep.is_over
    return place


def test_a_whole_network_of_silence_takes_less_than_15_seconds_and_48_sockets():
    place = play({}, ports=(8080, 9000))
    assert place.now < 15 and place.most == 48
    assert len(place.order) == len(set(place.order)) == 506


def test_who_listens_is_found_and_who_refuses_is_asked_for_its_other_ports_next():
    place = play({"192.168.1.21": (TryOutcome.REFUSED, 0.01), "192.168.1.21:8082": (TryOutcome.OPEN, 0.01),
                  "192.168.1.99": (TryOutcome.OPEN, 0.1)})
    assert place.sweep.found == ["192.168.1.21:8082", "192.168.1.99:8080"]
    assert list(place.sweep.alive) == ["192.168.1.21", "192.168.1.99"]
    assert [address for address in place.order if address.startswith("192.168.1.21:")] == [
        f"192.168.1.21:{port}" for port in (8080, *FURTHER_PORTS)]
    assert place.order.index("192.168.1.21:8082") < 60, "before the silent rest"


def test_a_port_that_is_tried_everywhere_is_no_further_one():
    place = play({"192.168.1.21": (TryOutcome.REFUSED, 0.01)}, ports=(8080, 8082))
    assert place.order.count("192.168.1.21:8082") == 1


def test_where_everything_fails_at_once_the_system_refuses_and_the_sweep_ends():
    place = play({f"192.168.1.{last}": (TryOutcome.UNREACHABLE, 0.001) for last in range(255)})
    assert place.sweep.is_refused and REFUSED_AT_ONCE <= len(place.order) <= 48 + REFUSED_AT_ONCE


def test_hosts_that_are_not_there_are_no_refusal_by_the_system():
    late = {f"192.168.1.{last}": (TryOutcome.UNREACHABLE, 0.9) for last in range(255)}
    assert not play(late).sweep.is_refused
    mixed = {f"192.168.1.{last}": (TryOutcome.UNREACHABLE, 0.001) for last in range(255)}
    mixed["192.168.1.1"] = (TryOutcome.REFUSED, 0.01)
    mixed["192.168.1.19"] = (TryOutcome.SILENT, 0.0)
    assert not play(mixed).sweep.is_refused


@given(st.dictionaries(st.integers(0, 31), st.sampled_from(list(TryOutcome))), st.integers(1, 7))
def test_whatever_hosts_do_each_is_tried_and_never_more_at_once_than_allowed(outcomes, sockets):
    answers = {f"192.168.1.{last}": (outcome, 0.2) for last, outcome in outcomes.items()}
    place = play(answers, sockets=sockets, network="192.168.1.0/27")
    assert place.most <= sockets
    assert {address.rpartition(":")[0] for address in place.order} == set(hosts("192.168.1.20", "192.168.1.0/27"))


# ---- when -------------------------------------------------------------------------------------------


def test_sweeps_that_find_nobody_become_seldom_and_somebody_brings_them_back():
    times = SweepTimes()
    assert times.first_s(is_broadcast_refused=True) < times.first_s(is_broadcast_refused=False) == SWEEP_FIRST_S
    waits = [times.next_s(was_somebody_there=False) for _ in range(8)]
    assert waits[:3] == [SWEEP_AGAIN_S, 2 * SWEEP_AGAIN_S, 4 * SWEEP_AGAIN_S] and waits[-1] == SWEEP_LONGEST_S
    times.next_s(was_somebody_there=True)
    assert times.next_s(was_somebody_there=False) == SWEEP_AGAIN_S


def test_while_a_person_may_be_asked_for_permission_half_a_minute_of_sweeps_follow_closely():
    times = SweepTimes()
    waits = [times.next_s(was_somebody_there=False, was_refused=True) for _ in range(12)]
    assert waits == [SWEEP_PERMIT_S] * 10 + [SWEEP_AGAIN_S, 2 * SWEEP_AGAIN_S] and sum(waits[:10]) == 30
    assert times.next_s(was_somebody_there=False) == 4 * SWEEP_AGAIN_S, "it was let through, and nobody was there"
    assert times.next_s(was_somebody_there=False, was_refused=True) == SWEEP_PERMIT_S
