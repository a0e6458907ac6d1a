"""Nodes that belong to a cluster: who is let in, what changes when one is removed, and how everybody learns of it."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from dataclasses import replace

import pytest

from discompute_lite.core.access import WorkRule
from discompute_lite.crypto.p256 import device_id, private_key
from discompute_lite.model.errors import DiscomputeError, Forbidden, InvalidParams, SettingsError, Unauthenticated
from discompute_lite.model.limits import Limits
from discompute_lite.roles.blob_methods import GetBlobAnswer
from discompute_lite.roles.link_speed import PADDINGS
from discompute_lite.roles.offers import offer_of, peer_offer, why_no_offer
from discompute_lite.roles.own_cluster import OwnCluster, found_cluster
from discompute_lite.tasks.blob_values import Blob
from discompute_lite.tasks.calls import call_unit, function_line
from discompute_lite.tasks.functions import pack_function
from discompute_lite.tasks.values import dump_value
from discompute_lite.wire.beacon import Beacon, encode_beacon

LIMITS = Limits()
KEYS = {letter: private_key(700 + number) for number, letter in enumerate("abcdx")}
AT = 1756800000


class Town:
    """Hosts of one world, with real keys; the first is the admin of a cluster that has the others as members."""

    def __init__(self, world, trust):
        self.world, self._trust = world, trust
        self.hosts = {}

    def cluster(self, letters, roles=None, away="", **settings):
        """Make hosts that belong together; "a" founds, the others join; who is `away` is not started."""
        chance = random.Random(7).randbytes
        grant = found_cluster(KEYS["a"], "device a", "linux", LIMITS, chance, AT)
        seat = OwnCluster(grant, device_id(KEYS["a"]), LIMITS, lambda grant: None)
        grants = {}
        for letter in letters[1:]:
            key, role = KEYS[letter], (roles or {}).get(letter, "member")
            added = seat.welcome(device_id(key), role, f"device {letter}", "linux", AT)
            grants[letter] = seat.let_in(key.public, added, chance, with_key=role == "admin")
        grants[letters[0]] = seat.grant
        here = [letter for letter in letters if letter not in away]
        for letter in here:
            self.host(letter, self._trust(grants[letter]), **settings)
        return [self.hosts[letter] for letter in here]

    def host(self, letter, trust, **settings):
        host = self.world.host(letter, ip=f"10.0.0.{ord(letter)}", **settings)
        host.id, host.trust = device_id(KEYS[letter]), trust
        # As they are made for real: private beacons have room for no others.
        host.boot_of = lambda life: f"{ord(letter) << 8 | life:016x}"
        self.hosts[letter] = host
        return host.start()

    def settle(self, seconds=5.0):
        self.world.advance(seconds)

    def status(self, here, there):
        """How one host lists another: its status, None where it does not."""
        return {device.id: device.status.value for device in here.node.discovery.list_devices()}.get(there.id)


@pytest.fixture
def town(world, request):
    from_conftest = type(world.host("z")).__init__.__globals__["FakeTrust"]
    world.hosts.clear()
    return Town(world, from_conftest)


def submit(host, world, job):
    owner = world.owner(host)
    task_id = owner.call("SubmitTask", job)["task_id"]
    world.advance(20.0)
    return owner.call("GetTaskStatus", {"task_id": task_id}), owner.call("GetTaskResult", {"task_id": task_id})


def test_members_meet_verified_and_work_for_each_other(town, world):
    a, b = town.cluster("ab")
    town.settle()
    assert [device.verified for device in a.node.discovery.registry.devices()] == [True]
    status, result = submit(a, world, world.echo(range(40)))
    assert world.value(result["result_data"]) == list(range(40))
    assert set(status["lite"]["devices"]) == {a.id, b.id}


def test_a_stranger_learns_who_a_member_is_and_no_more(town, world):
    (a,) = town.cluster("a")
    stranger = world.client(a, ip="10.0.0.99")
    assert stranger.call("Hello", {})["node_id"] == a.id
    with pytest.raises(Unauthenticated, match="answers its members only"):
        stranger.call("GetDevices", {})
    assert stranger.is_closed


def test_a_device_that_is_alone_sees_a_member_and_gets_no_work_and_no_link(town, world):
    (a,) = town.cluster("a")
    x = town.host("x", None)
    town.settle(20.0)
    assert a.node.discovery.links == {} and x.node.discovery.links == {}
    assert town.status(x, a) is not None
    assert why_no_offer(offer_of(x.node, a.id)) == "not paired with this device"


@pytest.mark.parametrize("letter", "bcdx")
def test_a_device_that_is_alone_does_not_dial_a_cluster_with_each_of_its_beacons(town, world, letter):
    """Its Hello is answered, and what it says of itself refused: each link opens, and is closed in good order."""
    a, b = town.cluster("ax" if letter != "x" else "ab")
    alone = town.host(letter, None)
    town.settle(200.0)
    before = [len(host.dialler.dialled) for host in (a, b, alone)]
    world.advance(300.0)
    dials = [len(host.dialler.dialled) - count for host, count in zip((a, b, alone), before)]
    # Each minute once, to each of them; of beacons there are some hundred from each.
    assert dials[0] <= 7 and dials[1] <= 7 and 6 <= dials[2] <= 14
    assert town.status(alone, a) == town.status(alone, b) == "AVAILABLE"


def test_a_device_that_is_alone_does_not_call_a_cluster_ever_again_at_an_address_that_it_was_given(town, world):
    (a,) = town.cluster("a")
    world.has_broadcast = False
    alone = town.host("x", None, peers=(a.address,))
    town.settle(300.0)
    before = len(alone.dialler.dialled)
    world.advance(300.0)
    assert 3 <= len(alone.dialler.dialled) - before <= 20


def test_who_leaves_a_cluster_is_linked_by_one_that_it_refused(town, world):
    (a,) = town.cluster("a")
    alone = town.host("x", None)
    town.settle(200.0)
    assert not alone.node.discovery.links
    a.node.belonging.leave()
    town.settle(75.0)
    assert set(alone.node.discovery.links) == {a.id}


def test_what_one_admin_says_reaches_all_that_can_be_reached(town):
    a, b, c = town.cluster("abc")
    town.settle()
    seat = a.node.belonging.cluster
    seat.change(c.id, "name", "Cat", AT + 5)
    a.node.belonging.tell_all([c.id])
    town.settle(1.0)
    assert [host.node.belonging.cluster.membership.statement_about(c.id).name for host in (a, b, c)] == ["Cat"] * 3


def test_news_pass_on_through_one_who_was_there(town, world):
    a, b, c = town.cluster("abc")
    town.settle()
    world.part(a, c), a.node.discovery.drop_links(c.id)
    town.settle()
    a.node.belonging.cluster.change(b.id, "name", "Ben", AT + 5)
    a.node.belonging.tell_all([b.id])
    town.settle(1.0)
    assert c.node.belonging.cluster.membership.statement_about(b.id).name == "Ben"


def test_a_device_that_was_away_learns_it_when_it_returns(town):
    a, b = town.cluster("ab")
    b.kill()
    town.settle(20.0)
    a.node.belonging.cluster.change(b.id, "name", "Ben", AT + 5)
    a.node.belonging.tell_all([b.id])
    b.start()
    town.settle(10.0)
    assert b.node.belonging.cluster.membership.statement_about(b.id).name == "Ben"
    assert b.trust.kept[-1].statements == a.node.belonging.cluster.grant.statements


def hear(host, key, source, **said):
    """Let a host hear a beacon in the name of a device of its cluster, sealed with this key."""
    beacon = Beacon(**{"node_id": device_id(KEYS["b"]), "port": 8080, "name": "b", "boot": "b9", "seq": 1, **said})
    host.transport.arrive(encode_beacon(beacon, LIMITS, key), source)
    host.world.settle()


@pytest.mark.parametrize("key", [b"", bytes(32)])
def test_row_27_a_beacon_in_the_name_of_a_member_without_its_seal_is_an_address_to_try(town, key):
    (a, *_), b = town.cluster("ab"), town.hosts["b"]
    b.kill()
    town.settle(700.0)
    assert a.node.discovery.registry.get(b.id) is None
    sent = len(a.transport.sent)
    hear(a, key, b.udp_address, reply=True)
    assert a.node.discovery.registry.get(b.id) is None and len(a.transport.sent) == sent
    assert a.node.discovery.registry.addresses(b.id) == [f"{b.ip}:8080"]
    assert a.node.counters["unsealed_beacons"] == 1
    hear(a, a.node.belonging.beacon_key(), b.udp_address, reply=True)
    assert a.node.discovery.registry.get(b.id).present and len(a.transport.sent) == sent + 1
    # Nor can anybody else say goodbye for it.
    hear(a, key, b.udp_address, type="goodbye", seq=2)
    assert a.node.discovery.registry.get(b.id).present
    hear(a, a.node.belonging.beacon_key(), b.udp_address, type="goodbye", seq=2)
    assert not a.node.discovery.registry.get(b.id).present


def test_who_was_away_when_beacons_got_a_new_key_is_met_again_and_told(town):
    a, b, c = town.cluster("abc")
    town.settle()
    town.world.part(a, b), town.world.part(c, b)
    a.node.discovery.drop_links(b.id), c.node.discovery.drop_links(b.id)
    town.settle(700.0)
    a.node.belonging.cluster.remove(c.id, AT + 5, random.Random(1).randbytes)
    a.node.belonging.tell_all([c.id])
    town.settle()
    assert b.node.belonging.beacon_key() != a.node.belonging.beacon_key()
    town.world.refused.clear()
    town.settle(20.0)
    assert town.status(a, b) == town.status(b, a) == "AVAILABLE"
    assert b.node.belonging.beacon_key() == a.node.belonging.beacon_key()


@pytest.mark.parametrize("has_addresses", [True, False])
def test_devices_that_do_not_show_themselves_are_met_by_the_addresses_in_a_backup(town, world, has_addresses):
    a, b = town.cluster("ab", announce="private")
    town.settle()
    backup = bytes(world.owner(a).call("BackUpCluster")["backup"])
    assert json.loads(backup)["addresses"] == [b.address]
    c = town.host("c", town._trust(), announce="private")
    c.trust.key, c.node.world.pairing_door = KEYS["c"], object()
    a.kill()
    if not has_addresses:
        backup = json.dumps({**json.loads(backup), "addresses": "none"}).encode()
    world.owner(c).call("RestoreCluster", {"backup": backup})
    town.settle(10.0)
    assert (town.status(c, b) == town.status(b, c) == "AVAILABLE") is has_addresses


def test_a_cluster_whose_admin_is_lost_lives_on_from_its_backup(town, world):
    a, b = town.cluster("ab")
    backup = world.owner(a).call("BackUpCluster")["backup"]
    c = town.host("c", town._trust())
    c.trust.key = KEYS["c"]
    c.node.world.pairing_door = object()
    a.kill()
    owner = world.owner(c)
    for damage in (b"", b"{}", bytes(backup)[:-9] + b"A" * 9):
        with pytest.raises(InvalidParams, match="no whole backup.*devices --backup"):
            owner.call("RestoreCluster", {"backup": damage})
    assert owner.call("RestoreCluster", {"backup": backup})["cluster"] == b.node.belonging.cluster_name()
    town.settle(10.0)
    assert town.status(b, c) == town.status(c, b) == "AVAILABLE"
    owner.call("Revoke", {"device_id": a.id})
    town.settle(2.0)
    assert b.node.belonging.cluster.membership.admins() == [c.id]
    assert b.node.belonging.beacon_key() == c.node.belonging.beacon_key()
    with pytest.raises(Forbidden, match="Only an admin"):
        world.owner(b).call("BackUpCluster")


def test_a_removed_device_is_closed_everywhere_within_seconds_and_is_alone_again(town, world):
    a, b, c = town.cluster("abc")
    town.settle()
    assert c.node.discovery.links
    a.node.belonging.cluster.remove(c.id, AT + 5, random.Random(1).randbytes)
    a.node.belonging.tell_all([c.id])
    town.settle(5.0)
    assert c.id not in a.node.discovery.links and c.id not in b.node.discovery.links
    assert a.node.link_for_work(c.id) is None and b.node.link_for_work(c.id) is None
    with pytest.raises(Exception, match="removed"):
        raise b.node.belonging.cluster.refusal(c.id)
    # The key that beacons are sealed with went to those who stayed.
    assert b.node.belonging.beacon_key() == a.node.belonging.beacon_key()


def test_everybody_is_told_once_and_by_name_who_was_removed(town, world):
    a, b, c = town.cluster("abc")
    town.settle()
    world.owner(a).call("Revoke", {"device_id": c.id})
    town.settle(2.0)
    assert a.texts_told("removed") == b.texts_told("removed") == ["device c was removed from the cluster"]


def test_who_becomes_a_worker_has_its_work_at_home_and_who_becomes_a_member_again_has_it_everywhere(town, world):
    a, b = town.cluster("ab")
    town.settle()
    b.executor.holds = a.executor.holds = {"run"}
    for role, is_spread in (("worker", False), ("member", True)):
        world.owner(a).call("ChangeMember", {"device_id": b.id, "what": "role", "value": role})
        town.settle(1.0)
        world.owner(b).call("SubmitTask", world.echo(range(40)))
        town.settle(1.0)
        assert b.node.attempts.has_work_with(a.id) is is_spread, role


FULL_DISK = "the disk is full; free some space, then try again: /x/statements"


def test_row_37_a_removed_device_is_closed_on_a_full_disk_too_and_the_removal_is_kept_when_there_is_room(town, world):
    a, b, c = town.cluster("abc")
    town.settle()
    b.trust.problem, kept = FULL_DISK, len(b.trust.kept)
    world.owner(a).call("Revoke", {"device_id": c.id})
    town.settle(5.0)
    assert c.id not in b.node.discovery.links and b.node.link_for_work(c.id) is None
    assert b.texts_told("warning") == [f"what others say of the cluster holds, but cannot be kept: {FULL_DISK}"], "once"
    assert len(b.trust.kept) == kept
    b.trust.problem = ""
    town.settle(3.0)
    b.kill()
    town.settle(20.0)
    b.start()
    assert b.node.belonging.cluster.membership.is_revoked(c.id)
    assert b.node.belonging.beacon_key() == a.node.belonging.beacon_key()


def test_row_37_an_owner_whose_disk_is_full_is_told_and_removes_nobody(town, world):
    a, b = town.cluster("ab")
    town.settle()
    a.trust.problem = FULL_DISK
    with pytest.raises(DiscomputeError, match="the disk is full; free some space"):
        world.owner(a).call("Revoke", {"device_id": b.id})
    assert a.is_linked_with(b) and not b.texts_told("warning")
    a.trust.problem = ""
    world.owner(a).call("Revoke", {"device_id": b.id})
    town.settle(2.0)
    assert not a.is_linked_with(b)


def test_row_37_who_was_removed_is_alone_though_nothing_can_be_deleted(town, world):
    a, b = town.cluster("ab")
    town.settle()
    b.trust.problem = FULL_DISK
    world.owner(a).call("Revoke", {"device_id": b.id})
    town.settle(2.0)
    assert not b.node.belonging.is_member and not b.trust.is_member
    assert "cannot be removed" in b.texts_told("warning")[-1]


def test_a_device_that_hears_of_its_own_removal_keeps_nothing(town):
    a, b = town.cluster("ab")
    town.settle()
    lines = b"\n".join(each.line for each in [
        a.node.belonging.cluster.remove(b.id, AT + 5, random.Random(1).randbytes)])
    changed = b.node.belonging.cluster.merge_lines(lines.splitlines(), b.trust.random_bytes)
    b.node.belonging.tell_all(changed)
    assert not b.node.belonging.is_member and b.trust.load() is None and not b.trust.is_member
    assert "removed" in b.told[-1][1]


def test_a_worker_runs_what_it_gets_and_sends_nothing(town, world):
    a, b = town.cluster("ab", {"b": "worker"})
    town.settle()
    status, _ = submit(a, world, world.echo(range(40)))
    assert set(status["lite"]["devices"]) == {a.id, b.id}
    assert b.node.link_for_work(a.id) is None
    link = b.node.discovery.link_to(a.id)
    answers = []
    link.call("ExecuteSubtask", {"subtask": {"subtask_id": "x"}}, lambda result, error: answers.append(error))
    town.settle(1.0)
    assert isinstance(answers[0], Forbidden) and answers[0].data == {"rule": "role"}


def test_a_member_cannot_do_what_is_the_owners(town):
    a, b = town.cluster("ab")
    town.settle()
    answers = []
    b.node.discovery.link_to(a.id).call("ListTasks", {}, lambda result, error: answers.append(error))
    town.settle(1.0)
    assert isinstance(answers[0], Unauthenticated)


@pytest.mark.parametrize("accept, is_taken", [("any", True), ("named", True), ("nobody", False), ("ask", False)])
def test_the_owners_rule_decides_what_others_may_run(town, world, accept, is_taken):
    a, b = town.cluster("ab")
    b.kill()
    b.settings = b.settings.replace(accept=accept)
    b.start()
    town.settle()
    status, result = submit(a, world, world.echo(range(40)))
    assert world.value(result["result_data"]) == list(range(40))
    assert (b.id in status["lite"]["devices"]) == is_taken
    assert [kind for kind, _ in b.told].count("question") == (accept == "ask")


def test_code_runs_where_only_named_work_may_on_nobody_else(town, world):
    a, b = town.cluster("ab")
    b.kill()
    b.settings = b.settings.replace(accept="named")
    b.start()
    town.settle()
    source = "def split():\n    return list(range(20))\ndef work(part):\n    return part\n"
    status, result = submit(a, world, world.job(source))
    assert world.value(result["result_data"]) == list(range(20)) and set(status["lite"]["devices"]) == {a.id}


def test_devices_that_announce_themselves_privately_find_each_other_and_tell_strangers_nothing(town, world):
    a, b = town.cluster("ab", announce="private")
    x = town.host("x", None)
    town.settle()
    sent = [datagram for host in (a, b) for _, datagram in host.transport.sent]
    assert sent and all(len(datagram) == 48 and datagram.startswith(b"DCB1") for datagram in sent)
    assert [device.verified for device in b.node.discovery.registry.devices() if device.device_id == a.id] == [True]
    assert [device.device_id for device in x.node.discovery.registry.devices()] == []
    b.stop()
    town.settle(1.0)
    assert town.status(a, b) == "OFFLINE" and ("left", "device b") in [(kind, text[:8]) for kind, text in a.told]


def test_a_device_that_is_alone_and_private_says_nothing(world):
    host = world.host("a", announce="private").start()
    world.advance(5.0)
    assert host.transport.sent == [] and "belongs to none" in host.told[0][1]


def test_a_member_does_not_start_without_tls(town):
    with pytest.raises(SettingsError, match="tls false is for a device that is alone"):
        town.cluster("ab", tls=False)
    assert not town.hosts["a"].node.belonging.is_member


def test_a_device_that_takes_no_work_of_ours_says_why(town, world):
    a, b = town.cluster("ab", roles={"b": "worker"})
    x = town.host("x", None)
    town.settle(20.0)
    assert why_no_offer(offer_of(a.node, b.id)) == ""
    assert why_no_offer(offer_of(a.node, x.id)) == "not paired with this device"
    assert why_no_offer(offer_of(b.node, a.id)) == "this device's role lets it send no work"
    world.part(a, b)
    a.drop_link(b)
    assert why_no_offer(offer_of(a.node, b.id)) == "its connection was lost"


def test_two_clusters_on_one_network_leave_each_other_alone(town, world):
    (a,) = town.cluster("a")
    chance = random.Random(8).randbytes
    other = found_cluster(KEYS["x"], "device x", "linux", LIMITS, chance, AT)
    x = town.host("x", town._trust(other))
    town.settle(20.0)
    assert a.node.discovery.links == {} and x.node.discovery.links == {}
    assert why_no_offer(offer_of(a.node, x.id)) and why_no_offer(offer_of(x.node, a.id))


def test_members_whose_admin_is_away_hear_of_each_other_from_themselves(town, world):
    b, c = town.cluster("abc", away="a")
    assert b.node.belonging.cluster.membership.statement_about(c.id) is None
    town.settle()
    assert town.status(b, c) == town.status(c, b) == "AVAILABLE"
    status, _ = submit(b, world, world.echo(range(40)))
    assert set(status["lite"]["devices"]) == {b.id, c.id}


@pytest.mark.parametrize("who_dials", ["b", "c"])
def test_two_who_have_never_heard_of_each_other_are_heard_whoever_dials(town, world, who_dials):
    b, c = two_admins_two_members(town)
    dialler, other = (b, c) if who_dials == "b" else (c, b)
    world.part(b, c)
    town.settle()
    world.refused.clear()
    dialler.node.discovery.told(other.node.own_device(), by="somebody")
    town.settle(10.0)
    assert town.status(b, c) == town.status(c, b) == "AVAILABLE"
    digests = {host.node.belonging.cluster.membership.digest() for host in (b, c)}
    assert len(digests) == 1


def two_admins_two_members(town):
    """Start "b", whom the admin "a" let in, and "c", whom the admin "d" let in, who were apart meanwhile."""
    chance = random.Random(7).randbytes
    first = OwnCluster(found_cluster(KEYS["a"], "a", "linux", LIMITS, chance, AT), device_id(KEYS["a"]), LIMITS,
                       lambda grant: None)
    admin = first.welcome(device_id(KEYS["d"]), "admin", "d", "linux", AT)
    second = OwnCluster(first.let_in(KEYS["d"].public, admin, chance, with_key=True), device_id(KEYS["d"]), LIMITS,
                        lambda grant: None)
    hosts = []
    for letter, seat in (("b", first), ("c", second)):
        added = seat.welcome(device_id(KEYS[letter]), "member", letter, "linux", AT)
        hosts.append(town.host(letter, town._trust(seat.let_in(KEYS[letter].public, added, chance))))
    return hosts


def test_a_certificate_without_a_statement_opens_nothing(town, world):
    (b,) = town.cluster("ab", away="a")
    unheard = world.client(b, ip="10.0.0.99")
    unheard.link.verified_id = unheard.link.other.verified_id = device_id(KEYS["x"])
    before = b.node.belonging.cluster.membership.digest()
    forged = b'{"s":{"id":"%s"},"sig":""}\n' % unheard.link.verified_id.encode()
    answer = unheard.call("SyncCluster", {"digest": "", "statements": 10 * forged + b"others are not even read"})
    assert b.node.belonging.cluster.refused == 1, "each costs a signature's check, and it can have one"
    said = base64.b64decode(answer["statements"])
    assert b"device b" in said and b"device a" not in said and not answer.get("beacon_key")
    assert b.node.belonging.cluster.membership.digest() == before
    with pytest.raises(Unauthenticated):
        unheard.call("SyncCluster", {"statements": b"x" * 100_000})
    for method in ("GetDevices", "ExecuteSubtask", "SubmitTask", "SendMessage", "GetBlob", "Invite"):
        stranger = world.client(b, ip="10.0.0.98")
        stranger.link.verified_id = stranger.link.other.verified_id = device_id(KEYS["x"])
        with pytest.raises(Unauthenticated):
            stranger.call(method, {})
        assert stranger.is_closed


def test_who_brings_no_statement_that_holds_stays_a_stranger(town, world):
    (b,) = town.cluster("ab", away="a")
    unheard = world.client(b, ip="10.0.0.99")
    unheard.link.verified_id = unheard.link.other.verified_id = device_id(KEYS["x"])
    with pytest.raises(Unauthenticated, match="SyncCluster"):
        unheard.call("Hello", {"node_id": device_id(KEYS["x"]), "boot": "1", "name": "x"})
    assert unheard.is_closed and b.node.discovery.links == {}


def test_statements_that_nobody_signed_change_nothing(town):
    a, b = town.cluster("ab")
    town.settle()
    before = a.node.belonging.cluster.membership.digest()
    answers = []
    b.node.discovery.link_to(a.id).call(
        "SyncCluster", {"digest": "x", "statements": b"nonsense\n{}\n"}, lambda result, error: answers.append(error))
    town.settle(1.0)
    assert answers == [None] and a.node.belonging.cluster.membership.digest() == before


def test_pickles_are_read_of_members_and_of_oneself_and_never_of_workers_and_strangers(town):
    a, b, c = town.cluster("abc", {"c": "worker"})
    town.settle()
    assert [a.node.belonging.may_send_pickles(each.id) for each in (a, b, c)] == [True, True, False]
    assert c.node.belonging.may_send_pickles(c.id) and c.node.belonging.may_send_pickles(a.id)
    assert not a.node.belonging.may_send_pickles("x" * 52) and not a.node.belonging.may_send_pickles("")


def test_between_members_a_task_is_copied_and_taken_over_and_comes_back(town, world):
    a, b = town.cluster("ab")
    town.settle()
    a.executor.holds = b.executor.holds = {"run"}
    task_id = world.owner(a).call("SubmitTask", world.echo(range(8)))["task_id"]
    town.settle()
    assert [name[:5] for name in b.journals.journals] == ["copy-"]
    a.kill()
    town.settle(LIMITS.owner_lease_s + 35.0)
    assert any("goes on here" in text for text in b.texts_told("note"))
    a.make().executor.holds = {"run"}
    a.node.start(a.port)
    town.settle()
    assert [name[:5] for name in a.journals.journals] == ["copy-"]
    for host in (a, b):
        host.executor.holds = set()
        host.executor.release()
    town.settle()
    for host in (a, b):
        result = world.owner(host).call("GetTaskResult", {"task_id": task_id})
        assert world.value(result["result_data"]) == list(range(8))


# ---- values that many calls take ------------------------------------------------------------------


def put_blob(host, world, value):
    """Put a value on a node as its owner; return its handle."""
    data = dump_value(value)
    handle = Blob(hashlib.sha256(data).hexdigest(), len(data))
    put = {"sha256": handle.sha256, "size": handle.size, "offset": 0, "data": data}
    assert world.owner(host).call("PutBlob", put)["success"]
    return handle


def call_len(host, handle, there):
    """Have `len` called with a value on one device; return where its outcome will be."""
    outcomes = []
    stream = host.node.streams.open(function_line(pack_function(len)), requires=(there.id,))
    stream.add([stream.unit(call_unit([handle], {}), 1, lambda unit, outcome: outcomes.append(outcome))])
    return outcomes


def replies_over_link(here, there, method, params):
    """Call a device over the link to it; return where (result, error) will be."""
    replies = []
    here.node.discovery.link_to(there.id).call(method, params, lambda result, error: replies.append((result, error)))
    return replies


def test_workers_fetch_values_from_one_another_and_put_none(town, world):
    a, b, c = town.cluster("abc", roles={"b": "worker", "c": "worker"})
    town.settle()
    handle, asked = put_blob(a, world, "v" * 100), []
    first = call_len(a, handle, b)
    town.settle()
    read_range = b.node.blobs.read_range
    b.node.blobs.read_range = lambda *ask: asked.append(ask) or read_range(*ask)
    a.node.blobs.read_range = lambda *ask: GetBlobAnswer(False, "not from here")
    second = call_len(a, handle, c)
    town.settle()
    assert [outcomes[0].line for outcomes in (first, second)] == [b'{"value":100}'] * 2
    assert asked == [(handle.sha256, 0, handle.size)], "one worker asked the other"
    for method in ("PutBlob", "DropBlob"):
        (_, error), = settled(world, replies_over_link(c, a, method, {"sha256": handle.sha256, "size": 1}))
        assert isinstance(error, Forbidden)


def settled(world, replies):
    world.advance(1.0)
    return replies


def test_a_device_that_takes_no_work_of_a_member_keeps_none_of_its_values(town, world):
    a, b = town.cluster("ab")
    town.settle()
    policy = b.node.rules.policy
    b.node.rules.keep(replace(policy, everybody=replace(policy.everybody, accept="nobody")))
    handle = put_blob(a, world, "v" * 100)
    a.node.blobs.broadcast(handle.sha256)
    (_, error), = settled(world, replies_over_link(a, b, "PutBlob", {"sha256": handle.sha256, "size": handle.size}))
    assert isinstance(error, Forbidden) and error.data["rule"] == "accept"
    assert not b.node.blobs.shelf.blobs
    # Its own calls go on taking values.
    mine = call_len(b, put_blob(b, world, "w" * 50), b)
    town.settle()
    assert mine[0].line == b'{"value":50}'


# ---- what the owner of a device bounds --------------------------------------------------------------


def bounded(host, **limits):
    """Let everybody have this much of a device, and hold what it begins."""
    policy = host.node.rules.policy
    host.node.rules.keep(replace(policy, everybody=replace(policy.everybody, **limits)))
    host.executor.holds = {"run"}


def send(sender, to, number, **lite):
    replies = []
    subtask = {"subtask_id": f"t/{number}", "subtask_data": b"5",
               "lite": {"attempt": f"t/{number}.1", "task_type": "echo", **lite}}
    sender.node.discovery.link_to(to.id).call(
        "ExecuteSubtask", {"subtask": subtask}, lambda result, error: replies.append((result, error)))
    sender.world.settle()
    return replies


def test_a_sender_gets_so_many_slots_at_once_and_others_do_not_wait_for_it(town, world):
    a, b, c = town.cluster("abc", slots=4)
    town.settle()
    bounded(b, slots=1)
    replies = [send(a, b, number) for number in range(3)]
    own = send(c, b, 7)
    assert [name.partition(":")[2] for name in b.executor.runs()] == ["t/0.1", "t/7.1"]
    for _ in range(3):
        b.executor.release()
        world.settle()
    assert [reply[0][0]["success"] for reply in [*replies, own]] == [True] * 4
    assert [name.partition(":")[2] for name in b.executor.runs()] == ["t/0.1", "t/7.1", "t/1.1", "t/2.1"]


def test_each_sender_is_told_how_much_of_a_device_it_has(town, world):
    a, b, c = town.cluster("abc", slots=4)
    town.settle()
    policy = b.node.rules.policy
    b.node.rules.keep(replace(policy, senders={a.id: WorkRule(slots=1), c.id: WorkRule("nobody")}))
    town.settle()

    def offer(host):
        return peer_offer(host.node, host.node.discovery.registry.get(b.id))

    assert (offer(a).slots, offer(c).slots) == (1, 0)
    assert why_no_offer(offer_of(c.node, b.id)) == "its owner lets this device run nothing there"
    assert world.owner(b).call("GetDevices")["devices"][0]["lite"]["slots"] == 4
    status, _ = submit(a, world, world.echo(range(40)))
    assert b.id in status["lite"]["devices"]
    b.node.rules.keep(policy)
    town.settle()
    assert (offer(a).slots, offer(c).slots) == (4, 4)


@pytest.mark.parametrize("rule_s, asked_s, holds_s", [
    (5.0, None, 5.0), (5.0, 3.0, 3.0), (5.0, 9.0, 5.0), (0.0, 9.0, 9.0), (0.0, None, 0.0), (5.0, -1, 5.0),
    (5.0, "9", 5.0),
])
def test_the_shorter_of_what_owner_and_sender_allow_holds(town, rule_s, asked_s, holds_s):
    a, b = town.cluster("ab")
    town.settle()
    bounded(b, wall_s=rule_s, memory_mb=64)
    send(a, b, 0, **({} if asked_s is None else {"wall_s": asked_s}))
    request = b.executor.requests[-1]
    assert (request.wall_s, request.memory_bytes) == (holds_s, 64 << 20)


def test_the_owner_of_a_device_is_bound_by_no_rule_of_his_own(town, world):
    a, b = town.cluster("ab", slots=2)
    town.settle()
    bounded(b, slots=1, wall_s=5.0, memory_mb=64)
    owner = world.owner(b)
    for number in range(2):
        owner.begin("ExecuteSubtask", {"subtask": {
            "subtask_id": f"t/{number}", "subtask_data": b"5", "lite": {"task_type": "echo"}}})
    assert [(request.wall_s, request.memory_bytes) for request in b.executor.requests] == [(0.0, 0)] * 2


# ---- the way between members -----------------------------------------------------------------------


def joined_over(town, delay_s, bytes_s):
    """Return two members with such a link between them, of which the first holds what it is to run."""
    here, there = town.cluster("ab")
    town.settle()
    for link in here.node.discovery.links[there.id]:
        for end in (link, link.other):
            end.delay_s, end.bytes_s = delay_s, bytes_s
    here.executor.holds = {"run"}
    return here, there


def test_a_link_is_measured_once_there_is_work_for_it(town, world):
    here, there = joined_over(town, 0.02, 100_000.0)
    peer = here.node.link_for_work(there.id).peer
    assert not peer.is_measured
    world.owner(here).call("SubmitTask", world.echo([1]))
    world.advance(2.0)
    assert peer.round_trip_s == pytest.approx(0.04, rel=0.3)
    assert peer.bytes_s == pytest.approx(100_000.0, rel=0.1)


def test_a_broad_link_is_measured_with_more(town, world):
    here, there = joined_over(town, 0.001, 4_000_000.0)
    world.owner(here).call("SubmitTask", world.echo([1]))
    world.advance(2.0)
    peer = here.node.link_for_work(there.id).peer
    assert PADDINGS[1] / 4_000_000.0 > 0.05 and peer.bytes_s == pytest.approx(4_000_000.0, rel=0.1)


def test_what_weighs_much_stays_and_why_says_so(town, world):
    here, there = joined_over(town, 0.02, 100_000.0)
    owner = world.owner(here)
    task_id = owner.call("SubmitTask", world.echo(["x" * 300_000] * 8))["task_id"]
    world.advance(0.3)
    assert there.executor.runs() == [] and len(here.executor.runs()) > 0
    assert "of it on the way" in owner.call("ExplainTask", {"task_id": task_id, "index": -1})["message"]


def test_what_weighs_little_goes_over_the_same_link(town, world):
    here, there = joined_over(town, 0.02, 100_000.0)
    world.owner(here).call("SubmitTask", world.echo(["x"] * 8))
    world.advance(1.0)
    assert there.executor.runs()


# ---- what is written down -------------------------------------------------------------------------------------


def hold_work(town, world, source=None):
    """Let "a" send work that no host does before it is released; return the owner of "a" and the task's id."""
    a, b = town.hosts["a"], town.hosts["b"]
    for host in town.hosts.values():
        host.executor.holds.add("run")
    owner = world.owner(a)
    task_id = owner.call("SubmitTask", world.job(source) if source else world.echo(range(40)))["task_id"]
    town.settle(1.0)
    assert b.executor.held, "it works"
    return owner, task_id


def let_work_go_on(town):
    for host in town.hosts.values():
        host.executor.holds.clear()
        host.executor.release()
    town.settle(3.0)


@pytest.mark.parametrize("method, params", [
    ("ExecuteSubtask", {"subtask": {"subtask_id": "x", "lite": {"task_type": "echo"}}}),
    ("SubmitTask", {"task": {"task_type": "echo", "task_data": "e30="}, "submitting_device_id": "ADMIN"}),
    ("CancelTask", {"task_id": "TASK", "requesting_device_id": "ADMIN"}), ("Invite", {"asks_nobody": True}),
    ("Revoke", {"device_id": "ADMIN"}), ("ChangeMember", {"device_id": "SELF", "what": "role", "value": "admin"}),
    ("SetPolicy", {"policy": {"accept": "any"}}), ("KeepTask", {"task_id": "x"}),
], ids=lambda value: value if isinstance(value, str) else "")
def test_row_08_a_worker_is_refused_what_its_role_does_not_allow_and_that_is_written_down(town, world, method, params):
    a, b = town.cluster("ab", {"b": "worker"})
    town.settle()
    owner, task_id = hold_work(town, world)
    words = {"ADMIN": a.id, "SELF": b.id, "TASK": task_id}
    params = {key: words.get(value, value) if isinstance(value, str) else value for key, value in params.items()}
    before = a.node.belonging.cluster.membership.digest(), list(a.executor.requests), a.node.rules.policy
    answers = []
    b.node.discovery.link_to(a.id).call(method, params, lambda result, error: answers.append(error))
    world.settle()
    assert isinstance(answers[0], (Forbidden, Unauthenticated))
    assert (a.node.belonging.cluster.membership.digest(), list(a.executor.requests), a.node.rules.policy) == before
    assert a.node.belonging.desk.port == 0
    assert owner.call("GetTaskStatus", {"task_id": task_id})["task"]["lite"]["state"] == "RUNNING"
    refused, = a.audit.refusals()
    assert (refused["from"], refused["call"]) == (b.id, method) and refused["rule"] in ("role", "owner")


def test_row_26_a_worker_that_names_itself_the_submitter_stays_who_its_certificate_says(town, world):
    a, b, c = town.cluster("abc", {"b": "worker"})
    town.settle()
    link, answers = b.node.discovery.link_to(c.id), []
    claim = {"node_id": a.id, "boot": "another", "port": 8080}
    link.call("Hello", claim, lambda result, error: answers.append(result))
    device = {"id": a.id, "name": "device a", "address": "10.9.9.9:8080"}
    link.call("RegisterDevice", {"device": device}, lambda result, error: answers.append(result))
    subtask = {"subtask_id": "s", "assigned_device_id": c.id, "lite": {"attempt": "s.1", "task_type": "echo"}}
    link.call("ExecuteSubtask", {"subtask": subtask, "submitting_device_id": a.id},
              lambda result, error: answers.append(error))
    town.settle(1.0)
    assert not answers[1]["success"] and isinstance(answers[2], Forbidden)
    assert c.executor.requests == [] and c.audit.refusals()[0]["from"] == b.id
    assert c.sees(a).address != "10.9.9.9:8080" and c.is_linked_with(a)


def test_row_45_other_rules_end_what_runs_at_once(town, world):
    a, b = town.cluster("ab")
    town.settle()
    owner, task_id = hold_work(town, world)
    world.owner(b).call("SetPolicy", {"policy": {"everybody": {"accept": "nobody"}}})
    town.settle(1.0)
    assert b.executor.held and all("takes no work from you" in future.stop_reason for future in b.executor.held)
    assert ("rules", {"accept": "nobody"}) in b.audit.notes
    assert {facts["rule"] for facts in b.audit.refusals() if facts["from"] == a.id} == {"accept"}
    ended = [facts for what, facts in b.audit.notes if what == "ran"]
    assert ended and {facts["outcome"] for facts in ended} == {"FAILED"}
    let_work_go_on(town)
    assert world.value(owner.call("GetTaskResult", {"task_id": task_id})["result_data"]) == list(range(40))


def test_row_45_what_a_removed_device_sent_ends_at_once(town, world):
    a, b, c = town.cluster("abc", {"c": "admin"})
    town.settle()
    hold_work(town, world)
    held = list(b.executor.held)
    world.owner(c).call("Revoke", {"device_id": a.id})
    town.settle(1.0)
    assert held and all(future.stop_reason for future in held) and b.node.worker.running_for(a.id) == {}
    told = [facts for what, facts in b.audit.notes if what == "removed"]
    assert [(facts["device"], facts["by"]) for facts in told] == [(a.id, c.id)]


def test_what_a_removed_device_was_doing_is_done_elsewhere_at_once(town, world):
    a, b, _ = town.cluster("abc")
    town.settle()
    owner, task_id = hold_work(town, world)
    owner.call("Revoke", {"device_id": b.id})
    town.settle(1.0)
    assert not a.node.attempts.has_work_with(b.id)
    let_work_go_on(town)
    assert world.value(owner.call("GetTaskResult", {"task_id": task_id})["result_data"]) == list(range(40))


def test_everybody_writes_down_who_was_removed_changed_and_let_in(town, world):
    a, b, c = town.cluster("abc")
    town.settle()
    owner = world.owner(a)
    owner.call("ChangeMember", {"device_id": b.id, "what": "name", "value": "Ben"})
    owner.call("Revoke", {"device_id": c.id})
    town.settle(5.0)
    assert ("removed", {"device": c.id}) in a.audit.notes
    for host in (b, c):
        told = {what: facts for what, facts in host.audit.notes if what in ("removed", "changed")}
        assert told["removed"]["device"] == c.id and told["removed"]["by"] == a.id
    assert [facts["name"] for what, facts in b.audit.notes if what == "changed"] == ["Ben"]


def test_strangers_are_written_down_by_their_address(town, world):
    a, _ = town.cluster("ab")
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            world.client(a, ip="10.0.0.99").call("SubmitTask", {})
        with pytest.raises(Unauthenticated):
            world.client(a, ip="10.0.0.97").call("GetDevices", {})
    with pytest.raises(Unauthenticated):
        world.client(a, ip="127.0.0.1").call("Hello", {"auth": "wrong"})
    world.browser(a, ip="10.0.0.98").ask("GET", "/api/devices")
    world.browser(a, ip="127.0.0.1").ask("GET", "/api/devices", origin="http://evil.example")
    assert a.audit.refusals() == [
        # Whoever only wants to meet, as devices that are alone do, is a number.
        *[{"rule": "stranger", "from": "10.0.0.99", "call": "SubmitTask"}, {"rule": "meeting", "from": ""}] * 3,
        {"rule": "token", "from": "127.0.0.1", "call": "Hello"},
        {"rule": "token", "from": "10.0.0.98", "call": "GET /api/devices"},
        {"rule": "browser", "from": "127.0.0.1", "call": "GET /api/devices"},
    ]
