"""The desk of a node: an invitation lasts while somebody looks, and hosts are remembered within bounds."""

from __future__ import annotations

import pytest

from discompute_lite.crypto.p256 import device_id, private_key
from discompute_lite.model.errors import DiscomputeError, Forbidden, NotFound, StateError, Unreachable
from discompute_lite.roles.front_desk import PAIRING_HOST_S, PAIRING_HOSTS, PairingHosts
from discompute_lite.wire.invitation import read_join_words

KEY = private_key(901)


class NoDoor:
    """A pairing port at which nobody calls."""

    def __init__(self):
        self.is_open = False

    def open(self, key, certificate, answer):
        self.is_open = True
        return 49200

    def close(self):
        self.is_open = False

    def call(self, address, called):
        called(None, b"", Unreachable("nobody listens there; look at the address"))


@pytest.fixture
def host(world):
    return make_host(world)


def make_host(world, **settings):
    here = world.host("a", **settings)
    here.id, here.trust = device_id(KEY), type(here).__init__.__globals__["FakeTrust"]()
    here.trust.key = KEY
    here.start()
    here.node.world.pairing_door = NoDoor()
    return here


def test_the_first_invitation_makes_the_cluster_and_the_next_does_not(world, host):
    owner = world.owner(host)
    first, second = owner.call("Invite", {}), owner.call("Invite", {"with_token": True})
    assert (first["is_new_cluster"], second["is_new_cluster"]) == (True, False)
    assert first["cluster"] == second["cluster"] == host.node.belonging.cluster_name()
    assert second["link"].startswith("discompute://join/1/") and not first["link"]
    assert world.client(host, ip="10.0.0.9").call("Hello")["pair"] == 49200
    owner.call("StopInvite")
    assert not host.node.world.pairing_door.is_open
    assert "pair" not in world.client(host, ip="10.0.0.9").call("Hello")


def test_a_device_that_was_started_without_tls_joins_nobody_and_founds_nothing(world):
    here = make_host(world, tls=False)
    for method, params in (("Invite", {}), ("Join", {"words": "12345678@10.0.0.9:49200"})):
        with pytest.raises(Forbidden, match="tls false"):
            world.owner(here).call(method, params)
    assert not here.node.belonging.is_member


def test_a_link_names_every_address_under_which_the_host_may_be_found(world, host):
    host.ip, host.other_ips = "192.168.1.20", ("10.8.0.3", "[fd00::7]")
    opened = world.owner(host).call("Invite", {"with_token": True})
    places = "192.168.1.20:49200", "10.8.0.3:49200", "[fd00::7]:49200"
    assert read_join_words(opened["link"]).addresses == places and opened["address"] == places[0]


def test_an_invitation_ends_when_nobody_looks_at_it_any_more(world, host):
    owner = world.owner(host)
    opened = owner.call("Invite", {})
    owner.begin("WatchInvite", {"from_event": opened["next_event"], "wait_s": 50.0})
    world.advance(60.0)
    assert host.node.world.pairing_door.is_open
    world.advance(30.0)
    assert not host.node.world.pairing_door.is_open
    answer = owner.call("WatchInvite", {"from_event": opened["next_event"]})
    assert [event["kind"] for event in answer["events"]] == ["closed"] and not answer["is_open"]


def test_who_is_alone_changes_nothing_and_nobody_is_answered_who_did_not_ask(world, host):
    owner = world.owner(host)
    for method in ("ChangeMember", "Revoke", "LeaveCluster"):
        with pytest.raises(Forbidden, match="alone"):
            owner.call(method)
    with pytest.raises(NotFound, match="asks no more"):
        owner.call("AnswerInvite", {"device_id": "x"})


def test_a_member_joins_no_other_cluster_before_it_has_left(world, host):
    owner = world.owner(host)
    owner.call("Invite", {})
    with pytest.raises(Forbidden, match="leave"):
        owner.call("Join", {"words": "12345678@10.0.0.1:49200"})
    owner.call("LeaveCluster")
    with pytest.raises(DiscomputeError, match="nobody listens"):
        owner.call("Join", {"words": "12345678@10.0.0.1:49200"})


def test_row_37_an_approval_that_cannot_be_kept_holds_until_the_next_start(world, host):
    rules = host.node.rules
    rules.approve("b" * 52)
    assert world.owner(host).call("GetPolicy")["policy"]["approved_senders"] == ["b" * 52]
    host.store.write_json = refuse
    rules.approve("c" * 52)
    assert rules.policy.approved_senders == ("b" * 52, "c" * 52)
    assert host.told[-1] == ("warning", "the disk is full; make room")


def refuse(*_):
    raise StateError("the disk is full; make room")


def test_row_48_without_tls_nobody_is_invited_and_nothing_is_kept_of_it(world, host):
    host.trust.why_no_tls = lambda: "this Python has no TLS, so this device stays alone; use another Python"
    for method, params in (
        ("Invite", {}), ("Join", {"words": "12345678@10.0.0.9:49200"}), ("RestoreCluster", {"backup": b""}),
    ):
        with pytest.raises(Forbidden, match="this Python has no TLS, .* use another Python"):
            world.owner(host).call(method, params)
    assert not host.node.belonging.is_member and host.trust.kept == []


def test_row_28_places_are_bounded_and_forgotten():
    now = [0.0]
    hosts = PairingHosts(lambda: now[0])
    for number in range(10_000):
        hosts.heard(f"device {number}", "n" * 500, "10.0.0.1:5005", 49200)
    assert len(hosts.places()) == PAIRING_HOSTS
    assert hosts.places()[0].address == "10.0.0.1:49200" and len(hosts.places()[0].name) <= 128
    hosts.heard("device 0", "", "10.0.0.1:5005", 0)
    assert len(hosts.places()) == PAIRING_HOSTS - 1
    now[0] += PAIRING_HOST_S + 1
    assert hosts.places() == []
