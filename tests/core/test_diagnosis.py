"""Every cause that a checkup knows: facts that have it are judged so, in plain words with a cure; others are not."""

from dataclasses import replace

import pytest

from discompute_lite.core import diagnosis, network_diagnosis
from discompute_lite.core.diagnosis import MODULE_USES, can_work, diagnose
from discompute_lite.core.network_diagnosis import is_lan_refused
from discompute_lite.host.machine_check import CHECKED_MODULES
from discompute_lite.model.checkup import (
    BeaconFact, MachineFacts, NetworkFacts, NodeFacts, PeerFact, Severity, Trial,
)
from discompute_lite.model.interface import Interface
from discompute_lite.model.settings import DISCOVERY_WAYS

WLAN = Interface("en0", "192.168.1.20", "255.255.255.0", "192.168.1.255")
LOOP = Interface("lo0", "127.0.0.1", "255.0.0.0", "", True)
VPN = Interface("utun3", "10.8.0.2", "255.255.255.0")
WELL_MACHINE = MachineFacts(
    "linux", (3, 11, 7), state_path="/home/ann/.discompute", disk_free_mb=9000, open_files=1024,
    gateway="192.168.1.1", wall=1_790_000_000.0)
HEARD = BeaconFact("b" * 52, "b1", "Bob", "192.168.1.30:8080")
WELL_NETWORK = NetworkFacts(
    (LOOP, WLAN), "", "", (Trial("127.0.0.1:8080", "open"), Trial("192.168.1.20:8080", "open")),
    (Trial("192.168.1.255", "heard"), Trial("255.255.255.255", "heard")), (Trial("en0", "heard"),),
    (Trial("192.168.1.20", "heard"),), (Trial("192.168.1.1:53", "refused"), Trial("192.168.1.19:8080", "silent")),
    (PeerFact(Trial("192.168.1.30:8080", "open"), "heard"),), (HEARD,))
WELL_NODE = NodeFacts("a" * 52, discovery=DISCOVERY_WAYS)


def judge(machine=None, network=None, node=None):
    return diagnose(replace(WELL_MACHINE, **machine or {}), replace(WELL_NETWORK, **network or {}),
                    replace(WELL_NODE, **node or {}))


def peer(outcome, known_by="typed", where="192.168.1.30:8080", seconds=2.5):
    return {"peers": (PeerFact(Trial(where, outcome, seconds=seconds), known_by),), "beacons": ()}


AT_ONCE = {
    "neighbours": (Trial("192.168.1.1:53", "unreachable", "EHOSTUNREACH", 0.001),
                   Trial("192.168.1.19:8080", "unreachable", "EHOSTUNREACH", 0.002)),
    "peers": (), "beacons": (),
}
SKEWED = replace(HEARD, clock_off_s=7200.0)
#: cause, how much it matters, what differs from a device that is well (machine, network, node), words of text and cure.
CAUSES = [
    ("python-old", "bad", {"python": (3, 8, 10)}, {}, {}, "3.8.10", "3.9 or newer"),
    ("module-missing", "bad", {"missing": ("socket",)}, {}, {}, "lacks the module socket", "another Python"),
    ("module-missing", "warning", {"missing": ("ssl",)}, {}, {}, "encrypted", "another Python"),
    ("module-missing", "warning", {"missing": ("ssl",), "platform": "ios"}, {}, {}, "encrypted", "another app"),
    ("few-files", "warning", {"open_files": 64}, {}, {}, "64 files", "ulimit"),
    ("clock-unset", "warning", {"wall": 5.0}, {}, {}, "clock", "set its time"),
    ("state-unusable", "bad", {"state_problem": "it is read-only"}, {}, {}, "it is read-only.", "--state-dir"),
    ("state-unusable", "bad", {"state_problem": "it is a file", "state_cure": "choose another folder"}, {}, {},
     "State folder: it is a file.", "Choose another folder"),
    ("state-lost", "warning", {"is_state_kept": False}, {}, {}, "new one at each start", "--state-dir"),
    ("disk-full", "warning", {"disk_free_mb": 3}, {}, {}, "3 MB", "Free some space"),
    ("bound-here", "warning", {}, {}, {"bind": "127.0.0.1"}, "127.0.0.1", "without --bind"),
    ("hidden", "warning", {}, {}, {"announce": "private"}, "private", "open"),
    ("no-ways", "warning", {}, {}, {"discovery": ()}, "off", "discovery"),
    ("few-ways", "note", {}, {}, {"discovery": ("peers",)}, "peers", "discovery"),
    ("port-taken", "bad", {}, {"port_error": "EADDRINUSE"}, {"is_port_chosen": True}, "8080", "another --port"),
    ("port-moves", "note", {}, {"port_error": "EADDRINUSE"}, {}, "next free one", "Stop that program"),
    ("cannot-listen", "bad", {}, {"port_error": "EADDRNOTAVAIL"}, {"bind": "10.1.1.1"}, "10.1.1.1", "--bind"),
    ("udp-taken", "warning", {}, {"udp_error": "EADDRINUSE"}, {}, "5005", "--discovery-port"),
    ("self-unreachable", "bad", {}, {"self_dials": (Trial("127.0.0.1:8080", "silent"),)}, {}, "call itself",
     "firewall"),
    ("incoming-blocked", "warning", {}, {"self_dials": (
        Trial("127.0.0.1:8080", "open"), Trial("192.168.1.20:8080", "silent"))}, {}, "192.168.1.20", "TCP port 8080"),
    ("same-identity", "bad", {}, {"beacons": (replace(HEARD, node_id="a" * 52),)}, {"boot": "mine"},
     "192.168.1.30", "Delete the copied state folder"),
    ("no-network", "bad", {}, {"interfaces": (LOOP,)}, {}, "in no network", "Join a Wi-Fi"),
    ("no-interface", "warning", {}, {"interfaces": (LOOP,), "interface_names": ("en0", "en5")},
     {"interface": "wlan9"}, "called wlan9", "(en0, en5)"),
    ("vpn-only", "warning", {}, {"interfaces": (LOOP, VPN)}, {}, "10.8.0.2", "--peer"),
    ("vpn-on", "note", {}, {"interfaces": (LOOP, WLAN, VPN)}, {}, "VPN is on", "switch it off"),
    ("wsl", "warning", {"inside": "wsl"}, {}, {}, "WSL", "mirrored"),
    ("container", "warning", {"inside": "container"}, {}, {}, "container", "--network host"),
    ("lan-refused", "bad", {"platform": "ios", "app": "a-Shell"}, AT_ONCE, {}, "reach nobody", "switch on a-Shell"),
    ("lan-refused", "bad", {"platform": "darwin", "terminal": "WarpTerminal"}, AT_ONCE, {}, "reach nobody",
     "switch on WarpTerminal"),
    ("lan-refused", "bad", {"platform": "android", "app": "Termux"}, AT_ONCE, {}, "reach nobody", "nearby devices"),
    ("lan-refused", "bad", {}, AT_ONCE, {}, "reach nobody", "firewall or a VPN"),
    ("broadcast-refused", "warning", {}, {"broadcasts": (Trial("255.255.255.255", "refused", "ENETUNREACH"),)}, {},
     "ENETUNREACH", "by address"),
    ("broadcast-refused", "note", {"platform": "ios"}, {"broadcasts": (
        Trial("192.168.1.255", "refused", "EHOSTUNREACH"),)}, {}, "normal here", "--peer"),
    ("broadcast-unheard", "warning", {}, {"broadcasts": (Trial("192.168.1.255", "unheard"),)}, {}, "not heard",
     "UDP port 5005"),
    ("multicast-unheard", "note", {}, {"multicasts": (Trial("en0", "unheard"),)}, {}, "no mDNS", "5353"),
    ("multicast-refused", "note", {}, {"multicasts": (Trial("en0", "refused", "ENODEV"),)}, {}, "ENODEV", "5353"),
    ("unicast-unheard", "warning", {}, {"unicasts": (Trial("192.168.1.20", "unheard"),)}, {}, "did not arrive", "UDP"),
    ("unicast-refused", "warning", {}, {"unicasts": (Trial("192.168.1.20", "refused", "EPERM"),)}, {}, "EPERM", "UDP"),
    ("firewall-on", "note", {"firewalls": (("ufw", "sudo ufw allow 8080/tcp"),)}, {}, {}, "ufw", "sudo ufw allow"),
    ("peer-no-node", "warning", {}, peer("refused"), {}, "is there", "Run start there"),
    ("peer-elsewhere", "warning", {}, peer("silent", where="10.7.1.5:8080"), {}, "10.7.1.5", "guest network"),
    ("peer-firewall", "warning", {}, {**peer("silent", "heard"), "beacons": (HEARD,)}, {}, "announces itself",
     "firewall drops calls"),
    ("peer-silent", "warning", {}, {**peer("silent"), "neighbours": ()}, {}, "does not answer", "awake"),
    ("isolated", "bad", {}, peer("silent"), {}, "keeps devices apart", "isolation"),
    ("isolated", "warning", {}, peer("silent", "remembered"), {}, "keeps devices apart", "isolation"),
    ("nobody", "note", {}, {"peers": (), "beacons": ()}, {}, "No other device", "--peer"),
    ("clock-off", "warning", {}, {"beacons": (SKEWED,)}, {}, "Bob is 2 hours ahead", "set its time"),
    ("clock-off", "warning", {}, {"beacons": (replace(HEARD, name="Eve"), SKEWED)}, {}, "Bob is 2 hours ahead",
     "set its time"),
    ("clock-off", "warning", {}, {"beacons": (SKEWED, replace(SKEWED, boot="2", name="Eve"))}, {},
     "This device's clock is 2 hours behind", "set its time"),
]
LINK = Interface("eth0", "fe80::2%eth0", "64", "ff02::1")
GOOD = {"python", "state", "port", "running", "interface", "broadcast", "multicast", "peer"}


def test_a_device_that_is_well_has_nothing_to_mend():
    findings = judge()
    assert can_work(findings) and {finding.severity for finding in findings} == {Severity.GOOD}
    assert all(not finding.cure for finding in findings)
    assert GOOD - {"running"} == {finding.cause for finding in findings}
    assert "running" in {finding.cause for finding in judge(node={"is_running": True})}


def test_a_device_that_has_ipv6_alone_is_well_and_in_a_network():
    network = {"interfaces": (LOOP, LINK), "broadcasts": (), "beacons": (), "self_dials": (
        Trial("127.0.0.1:8080", "open"), Trial("[fe80::2%eth0]:8080", "open")),
        "peers": (PeerFact(Trial("[fe80::3%eth0]:8080", "open"), "typed"),)}
    findings = judge(network=network)
    assert {finding.severity for finding in findings} == {Severity.GOOD}
    assert "eth0: fe80::2%eth0/64" in [finding.text for finding in findings]
    (tunnel,) = [one for one in judge(network={**network, "interfaces": (LOOP, replace(LINK, broadcast=""))})
                 if one.severity is not Severity.GOOD]
    assert tunnel.cause == "vpn-only"


@pytest.mark.parametrize("cause, severity, machine, network, node, text, cure", CAUSES)
def test_each_cause_is_named_with_its_cure(cause, severity, machine, network, node, text, cure):
    findings = judge(machine, network, node)
    (found,) = [finding for finding in findings if finding.cause == cause]
    assert found.severity.value == severity and text in found.text and cure in found.cure
    assert can_work(findings) == (severity != "bad")
    # Nothing else is wrong: what is not well is well without it.
    others = {each.cause for each in findings if each.severity in (Severity.BAD, Severity.WARNING)} - {cause}
    assert others == set()


def test_every_cause_that_the_code_names_is_in_this_table():
    import inspect
    import re
    source = inspect.getsource(diagnosis) + inspect.getsource(network_diagnosis)
    named = set(re.findall(r'Finding\(\s*"([a-z-]+?)"[,)]', source)) | {"wsl", "container"}
    named |= {f"{kind}-{outcome}" for kind in ("multicast", "unicast") for outcome in ("refused", "unheard")}
    assert named == GOOD | {cause for cause, *_ in CAUSES}


def test_the_modules_that_are_looked_for_are_those_whose_use_is_known():
    assert set(CHECKED_MODULES) == set(MODULE_USES)


@pytest.mark.parametrize("network", [
    {**AT_ONCE, "neighbours": AT_ONCE["neighbours"][:1]},
    {**AT_ONCE, "neighbours": (*AT_ONCE["neighbours"], Trial("192.168.1.21:8080", "silent"))},
    {**AT_ONCE, "self_dials": (Trial("127.0.0.1:8080", "silent"),)},
    {**AT_ONCE, "neighbours": tuple(replace(each, seconds=3.0) for each in AT_ONCE["neighbours"])},
])
def test_one_host_that_is_away_is_no_refusal_by_the_system(network):
    assert not is_lan_refused(replace(WELL_NETWORK, **network))


def test_a_refusal_that_a_busy_machine_hears_of_late_is_still_one():
    late = tuple(replace(each, seconds=0.4) for each in AT_ONCE["neighbours"])
    assert is_lan_refused(replace(WELL_NETWORK, **{**AT_ONCE, "neighbours": late}))


def test_a_refusal_by_the_system_is_told_instead_of_all_that_follows_from_it():
    causes = {finding.cause for finding in judge(network={
        **AT_ONCE, "broadcasts": (Trial("192.168.1.255", "refused", "EHOSTUNREACH"),)})}
    assert "lan-refused" in causes and not causes & {"broadcast-refused", "nobody", "peer-silent"}


@pytest.mark.parametrize("network, node", [
    ({"port_error": "EADDRNOTAVAIL", "interfaces": (LOOP,)}, {"bind": "10.1.1.1"}),
    ({"interfaces": (LOOP,)}, {}),
    ({"interfaces": (LOOP, VPN)}, {}),
    ({"interfaces": (LOOP,)}, {"bind": "127.0.0.1"}),
])
def test_where_no_network_is_looked_at_nothing_is_said_of_it(network, node):
    """That a broadcast is refused there, or nobody heard, follows from what is said already."""
    findings = judge(network={"peers": (), "beacons": (), "broadcasts": (), **network}, node=node)
    refused = judge(network={"peers": (), "beacons": (), **network, "broadcasts": (
        Trial("255.255.255.255", "refused", "ENETUNREACH"),)}, node=node)
    assert len([each for each in findings if each.severity is not Severity.GOOD]) == 1
    assert {each.cause for each in refused} - {each.cause for each in findings} <= (
        {"broadcast-refused"} if node.get("bind") == "127.0.0.1" else set())


def test_a_broadcast_that_needs_a_route_is_not_missed_where_those_of_the_networks_are_heard():
    trials = Trial("192.168.1.255", "heard"), Trial("255.255.255.255", "refused", "ENETUNREACH")
    assert {finding.severity for finding in judge(network={"broadcasts": trials})} == {Severity.GOOD}
    trials = Trial("192.168.1.255", "unheard"), Trial("255.255.255.255", "unheard")
    assert [finding.cause for finding in judge(network={"broadcasts": trials}) if finding.cure] == ["broadcast-unheard"]


def test_one_own_node_is_no_copied_folder():
    own = (replace(HEARD, node_id="a" * 52, boot="mine"),)
    assert "same-identity" not in {each.cause for each in judge(network={"beacons": own}, node={"boot": "mine"})}
