"""Every cause that a network can be made to have is named by `doctor` with its cure: on hosts in namespaces, each with
one thing wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

import pytest

#: Doctors at a time: they mostly wait, and have seconds for what takes milliseconds.
DOCTORS = 8
#: Those who are to be heard within the seconds of a checkup speak often: in these seconds some are on a busy machine.
OFTEN = "--broadcast-interval", "0.5"
#: Keep a port until standard input ends: `tcp 8080` or `udp 5005`.
HOLDER = """
import socket, sys
kind = socket.SOCK_STREAM if sys.argv[1] == "tcp" else socket.SOCK_DGRAM
with socket.socket(socket.AF_INET, kind) as sock:
    sock.bind(("", int(sys.argv[2])))
    if kind == socket.SOCK_STREAM:
        sock.listen()
    print('{"event": "held"}', flush=True)
    sys.stdin.read()
"""
#: Announce a device whose clock is two hours behind, again and again until standard input ends.
OLD_CLOCK = """
import json, select, socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
beacon = {"type": "discovery", "node_id": "q" * 52, "grpc_port": 8123, "device_capabilities": {
    "model": "M", "chip": "C", "memory": 1, "flops": {"fp32": 0, "fp16": 0, "int8": 0}, "type": "linux"},
    "priority": 1, "interface_name": "eth0", "interface_type": "ethernet", "timestamp": int(time.time()) - 7200}
print('{"event": "held"}', flush=True)
for number in range(1000):
    beacon["lite"] = {"v": 1, "name": "Old", "status": "AVAILABLE", "boot": "b", "seq": number, "every": 1}
    sock.sendto(json.dumps(beacon, separators=(",", ":")).encode(), ("10.99.0.255", 5005))
    if select.select([sys.stdin], [], [], 0.5)[0]:
        break
"""


class Case(NamedTuple):
    """One host with something wrong, and what doctor has to say there."""

    cause: str
    is_bad: bool = False
    #: Commands inside the host, {own} for its address; and how doctor is started.
    setup: str = ""
    words: str = ""
    #: A port that another program holds there.
    holder: str = ""


DROP = "iptables -A INPUT -j DROP -p"
CASES = dict(enumerate([
    Case("broadcast-unheard", setup=f"{DROP} udp --dport 5005"),
    Case("firewall-on", setup=f"{DROP} tcp --dport 9999"),
    Case("incoming-blocked", setup=f"{DROP} tcp --dport 8080 -d {{own}}"),
    Case("self-unreachable", True, setup=f"{DROP} tcp -i lo"),
    Case("multicast-unheard", setup=f"{DROP} udp --dport 5353"),
    Case("unicast-unheard", setup=f"{DROP} udp -d {{own}}"),
    Case("broadcast-refused", setup="iptables -A OUTPUT -j DROP -p udp --dport 5005"),
    Case("lan-refused", True, setup="ip route del 10.99.0.0/24; ip route add unreachable 10.99.0.0/24"),
    Case("no-network", True, setup="ip link set eth0 down"),
    Case("no-interface", words="--discovery-interface wlan9"),
    Case("vpn-only", setup="ip link set eth0 down; ip tuntap add dev tun0 mode tun; ip addr add 10.8.0.2/24 dev tun0;"
                           " ip link set tun0 up"),
    Case("udp-taken", holder="udp 5005"),
    Case("port-taken", True, words="--port 8080", holder="tcp 8080"),
    Case("port-moves", holder="tcp 8080"),
    Case("cannot-listen", True, words="--bind 10.99.7.7"),
    Case("incoming-blocked", setup=f"{DROP} tcp --dport 8080 -d {{own}}", words="--bind {own}"),
    Case("state-unusable", True, words="--state-dir /dev/null/x"),
    Case("peer-no-node", words="--peer 10.99.0.2:8099"),
    Case("peer-elsewhere", words="--peer 10.77.0.1"),
    Case("same-identity", True, words="--state-dir {copy}"),
    Case("hidden", words="--announce off"),
    Case("bound-here", words="--bind 127.0.0.1"),
    Case("few-ways", words="--discovery peers"),
], 3))


class Doctors:
    """Run doctor on hosts of one bed."""

    def __init__(self, bed: Any, folder: Path) -> None:
        self.bed, self.folder = bed, folder
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("DISCOMPUTE_")}

    def run(self, number: int, *words: str) -> Any:
        """Return (exit code, document)."""
        command = [sys.executable, "-m", "discompute_lite", "doctor", "--json", "--config", os.devnull]
        if "--state-dir" not in words:
            command += ["--state-dir", str(self.folder / f"doctor-{number}")]
        done = subprocess.run(self.bed.command(number, [*command, *words]), env=self.environ, capture_output=True,
                              text=True, timeout=180)
        assert done.returncode in (0, 1), done.stderr
        return done.returncode, json.loads(done.stdout)

    def start(self, number: int, host_program: Any, *words: str) -> Any:
        """Start a node on a host."""
        command = [sys.executable, "-m", "discompute_lite", "start", "--json", "--config", os.devnull,
                   "--state-dir", str(self.folder / f"node-{number}"), *words]
        node = host_program(self.bed, number, command, self.environ, self.folder / f"{number}.err")
        node.expect(event="ready")
        return node

    def hold(self, number: int, host_program: Any, program: str, *words: str) -> Any:
        """Run a program on a host that says when it is ready."""
        held = host_program(self.bed, number, [sys.executable, "-c", program, *words], self.environ,
                            self.folder / f"held-{number}.err")
        held.expect(event="held")
        return held

    def prepare(self, number: int, commands: str) -> None:
        """Do something to a host."""
        for command in filter(None, commands.split(";")):
            words = command.format(own=self.bed.address(number)).split()
            done = subprocess.run(self.bed.command(number, words), capture_output=True, text=True)
            assert done.returncode == 0, (command, done.stderr)


@pytest.fixture(scope="module")
def outcomes(testbed: Any, host_program: Any, tmp_path_factory: pytest.TempPathFactory) -> Dict[int, Any]:
    """Return what doctor says on each host: 1 has a node, 2 is well, the others have something wrong."""
    if shutil.which("iptables") is None:
        pytest.skip("there is no iptables here")
    folder = tmp_path_factory.mktemp("doctors")
    running: List[Any] = []
    with testbed.Testbed(2 + len(CASES)) as bed:
        doctors = Doctors(bed, folder)
        try:
            running.append(doctors.start(1, host_program, "--name", "Ann", *OFTEN))
            shutil.copytree(folder / "node-1", folder / "copy")
            for number, case in CASES.items():
                doctors.prepare(number, case.setup)
                if case.holder:
                    running.append(doctors.hold(number, host_program, HOLDER, *case.holder.split()))
            words = {number: case.words.format(copy=folder / "copy", own=bed.address(number)).split()
                     for number, case in CASES.items()}
            with ThreadPoolExecutor(DOCTORS) as pool:
                begun = {number: pool.submit(doctors.run, number, *words.get(number, ()))
                         for number in (2, *CASES)}
                begun[1] = pool.submit(doctors.run, 1, "--state-dir", str(folder / "node-1"))
                return {number: each.result() for number, each in begun.items()}
        finally:
            for each in running:
                each.end()


@pytest.mark.namespaces
def test_a_host_that_is_well_works_and_hears_its_neighbour(outcomes):
    code, document = outcomes[2]
    causes = {finding["cause"]: finding for finding in document["findings"]}
    assert (code, document["works"]) == (0, True)
    assert {"broadcast", "multicast", "peer", "interface"} <= set(causes)
    assert "10.99.0.1:8080 answers" in causes["peer"]["text"]
    wrong = [each for each in document["findings"] if each["severity"] in ("warning", "bad")
             and each["cause"] not in ("container", "wsl")]
    assert wrong == []


@pytest.mark.namespaces
def test_beside_a_node_that_runs_it_is_that_node_which_is_looked_at(outcomes):
    code, document = outcomes[1]
    causes = {finding["cause"] for finding in document["findings"]}
    assert code == 0 and "running" in causes and not causes & {"port-moves", "same-identity", "udp-taken"}


@pytest.mark.namespaces
@pytest.mark.parametrize("number", CASES, ids=lambda number: CASES[number].cause)
def test_what_is_wrong_on_a_host_is_named_with_its_cure(outcomes, number):
    case, (code, document) = CASES[number], outcomes[number]
    found = [finding for finding in document["findings"] if finding["cause"] == case.cause]
    assert found and found[0]["cure"], document
    assert (code, document["works"]) == ((1, False) if case.is_bad else (0, True)), document["findings"]
    wrong = {finding["cause"] for finding in document["findings"] if finding["severity"] in ("warning", "bad")}
    assert wrong <= {case.cause, "container", "wsl"}, document["findings"]


@pytest.mark.namespaces
@pytest.mark.parametrize("bind", ["127.0.0.1", "::1"])
def test_a_node_that_was_bound_to_this_machine_is_no_sign_of_a_firewall(testbed, host_program, tmp_path, bind):
    """Doctor is told nothing of it: --bind was said to start alone."""
    with testbed.Testbed(1) as bed:
        doctors = Doctors(bed, tmp_path)
        node = doctors.start(1, host_program, "--bind", bind)
        code, document = doctors.run(1, "--state-dir", str(tmp_path / "node-1"))
        node.end()
    findings = {finding["cause"]: finding["text"] for finding in document["findings"]}
    assert code == 0 and "incoming-blocked" not in findings, findings
    assert findings["bound-here"] == f"Bound to {bind}: only programs of this machine are met."


@pytest.mark.namespaces
def test_a_node_is_looked_at_as_it_was_started_though_doctor_is_told_nothing_of_it(testbed, host_program, tmp_path):
    """It hears one of two addresses, others meet it at another port than this machine's commands, and elsewhere."""
    with testbed.Testbed(2) as bed:
        doctors = Doctors(bed, tmp_path)
        doctors.prepare(1, "ip addr add 10.50.0.1/24 brd + dev eth0")
        code = HOLDER.replace('sock.bind(("",', 'sock.bind(("127.0.0.1",')
        running = [doctors.hold(1, host_program, code, "tcp", "8080")]
        try:
            words = "--bind", "10.99.0.1", "--discovery-port", "5115", "--discovery", "broadcast,peers", *OFTEN
            running += [doctors.start(number, host_program, *words[0 if number == 1 else 2:]) for number in (1, 2)]
            running[1].expect(event="joined")
            code, document = doctors.run(1, "--state-dir", str(tmp_path / "node-1"))
        finally:
            for each in running:
                each.end()
    findings = {finding["cause"]: finding["text"] for finding in document["findings"]}
    assert code == 0 and not {"incoming-blocked", "self-unreachable", "nobody"} & set(findings), findings
    assert findings["running"] == "A node runs here, port 8080"
    assert findings["interface"] == "eth0: 10.99.0.1/24" and findings["peer"] == "10.99.0.2:8080 answers"
    assert [each["where"] for each in document["network"]["self_dials"]] == ["127.0.0.1:8081", "10.99.0.1:8080"]
    assert [each["address"] for each in document["network"]["beacons"]] == ["10.99.0.2:8080"]


@pytest.mark.namespaces
def test_an_access_point_that_keeps_devices_apart_is_told_from_a_device_that_sleeps(testbed, tmp_path):
    with testbed.Testbed(3) as bed:
        doctors = Doctors(bed, tmp_path)
        for number in (1, 2):
            testbed.ip("-n", bed.bridge, "link", "set", f"port{number}", "type", "bridge_slave", "isolated", "on")
        doctors.prepare(1, "ip route replace default via 10.99.0.3")
        code, document = doctors.run(1, "--peer", "10.99.0.2:8080")
    (found,) = [finding for finding in document["findings"] if finding["cause"] == "isolated"]
    assert "10.99.0.3 answers and 10.99.0.2 does not" in found["text"] and "isolation" in found["cure"]
    assert code == 1


@pytest.mark.namespaces
def test_a_device_whose_firewall_drops_calls_and_a_clock_that_is_wrong(testbed, host_program, tmp_path):
    if shutil.which("iptables") is None:
        pytest.skip("there is no iptables here")
    running: List[Any] = []
    with testbed.Testbed(3) as bed:
        doctors = Doctors(bed, tmp_path)
        try:
            doctors.prepare(1, f"{DROP} tcp --dport 8080 -i eth0")
            running.append(doctors.start(1, host_program, "--name", "Eve", *OFTEN))
            running.append(doctors.hold(2, host_program, OLD_CLOCK))
            code, document = doctors.run(3)
        finally:
            for each in running:
                each.end()
    causes = {finding["cause"]: finding for finding in document["findings"]}
    assert "10.99.0.1" in causes["peer-firewall"]["text"]
    assert "Old is 2 hours behind" in causes["clock-off"]["text"] and code == 0


def test_on_loopback_it_fits_a_phone_and_ends_well(field):
    node = field.start("node")
    done = field.type("doctor", DISCOMPUTE_STATE_DIR=str(node.state))
    lines = done.out.splitlines()
    assert done.code == 0 and lines[-1] == "A node can work here."
    assert max(map(len, lines)) <= 40 and any(line.startswith("ok A node runs here") for line in lines)


def test_a_state_folder_that_cannot_be_used_ends_with_1_and_says_so(field):
    path = field.folder / "taken"
    path.write_text("a file")
    done = field.type("doctor", "--json", DISCOMPUTE_STATE_DIR=str(path))
    (found,) = [each for each in done.document["findings"] if each["cause"] == "state-unusable"]
    assert done.code == 1 and not done.document["works"] and "--state-dir" in found["cure"]


def test_without_ipv4_a_host_is_well_and_calls_whom_its_node_has_met(testbed, host_program, tmp_path):
    """The other is heard by nothing that doctor does itself: there is no broadcast."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DISCOMPUTE_")}
    with testbed.Testbed(2, is_ipv6=True) as bed:
        nodes = [
            host_program(bed, number, [sys.executable, "-m", "discompute_lite", "start", "--json", "--state-dir",
                                       str(tmp_path / str(number)), "--config", os.devnull], environ,
                         tmp_path / f"{number}.err") for number in (1, 2)]
        nodes[0].expect(event="joined")
        command = [sys.executable, "-m", "discompute_lite", "doctor", "--json", "--state-dir", str(tmp_path / "1"),
                   "--config", os.devnull]
        done = subprocess.run(bed.command(1, command), env=environ, capture_output=True, text=True)
        for node in nodes:
            node.end()
    findings = {each["cause"]: each for each in json.loads(done.stdout)["findings"]}
    assert done.returncode == 0 and not {"no-network", "nobody", "broadcast-refused"} & set(findings), findings
    assert findings["interface"]["text"] == "eth0: fe80::1%eth0/64" and findings["multicast"]["severity"] == "good"
    assert findings["peer"]["text"] == "[fe80::2%eth0]:8080 answers"
