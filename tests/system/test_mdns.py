"""Meet by multicast DNS alone, in a network of namespaces, and with python-zeroconf in both directions."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest

pytestmark = pytest.mark.namespaces

#: Browse as python-zeroconf does, print what comes, until standard input ends; `register` adds a service first.
ZEROCONF = """
import json, socket, sys
from zeroconf import ServiceBrowser, ServiceInfo, Zeroconf
KIND = "_discompute._tcp.local."
zeroconf = Zeroconf(interfaces=[sys.argv[1]])
class Listener:
    def add_service(self, zeroconf, kind, name):
        info = zeroconf.get_service_info(kind, name)
        if info is not None:
            addresses = [socket.inet_ntoa(address) for address in info.addresses]
            found = {"name": name.replace("." + KIND, ""), "port": info.port, "addresses": addresses,
                     "id": (info.properties.get(b"id") or b"").decode()}
            print(json.dumps({"event": "found", **found}), flush=True)
    def remove_service(self, zeroconf, kind, name):
        print(json.dumps({"event": "lost", "name": name.replace("." + KIND, "")}), flush=True)
    def update_service(self, zeroconf, kind, name):
        pass
if len(sys.argv) > 2:
    beacon = json.loads(sys.argv[2])
    data = json.dumps(beacon, separators=(",", ":")).encode()
    pieces = {f"b{number}": data[start:start + 200] for number, start in enumerate(range(0, len(data), 200))}
    info = ServiceInfo(KIND, beacon["lite"]["name"] + "." + KIND, addresses=[socket.inet_aton(sys.argv[1])],
                       port=beacon["grpc_port"], properties={"txtvers": "1", **pieces}, server="other.local.")
    zeroconf.register_service(info)
    print(json.dumps({"event": "registered"}), flush=True)
ServiceBrowser(zeroconf, KIND, Listener())
sys.stdin.read()
if len(sys.argv) > 2:
    zeroconf.unregister_service(info)
zeroconf.close()
"""
BEACON: Dict[str, Any] = {
    "type": "discovery", "node_id": "k3fq9zt2" * 6 + "k3fq", "grpc_port": 8123,
    "device_capabilities": {"model": "M", "chip": "C", "memory": 1, "flops": {"fp32": 1, "fp16": 1, "int8": 1},
                            "type": "mac"},
    "priority": 1, "interface_name": "en0", "interface_type": "wifi", "timestamp": 1,
    "lite": {"v": 1, "name": "Old Mac", "status": "AVAILABLE", "boot": "b1", "seq": 1, "reply": False, "every": 30},
}


@pytest.fixture
def place(testbed: Any, host_program: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return place(host, "node", name) or place(host, "zeroconf", …), on two hosts of one network."""
    hosts: List[Any] = []
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DISCOMPUTE_")}
    with testbed.Testbed(2) as bed:

        def start(number: int, kind: str, *words: str) -> Any:
            if kind == "zeroconf":
                command = [sys.executable, "-c", ZEROCONF, bed.address(number), *words]
            else:
                state = str(tmp_path / f"state-{number}")
                command = [sys.executable, "-m", "discompute_lite", "start", "--json", "--discovery", "mdns",
                           "--name", *words, "--state-dir", state, "--config", os.devnull]
            host = host_program(bed, number, command, environ, tmp_path / f"{kind}-{number}.err")
            hosts.append(host)
            return host

        yield start
        for host in hosts:
            host.end()
    assert all("Traceback" not in host.errors.read_text() for host in hosts)


def test_two_devices_meet_by_multicast_dns_alone_and_say_goodbye(place):
    ann, bob = place(1, "node", "Ann"), place(2, "node", "Bob")
    ids = {name: host.expect(event="ready")["device"]["id"] for name, host in (("Ann", ann), ("Bob", bob))}
    assert ids["Bob"][:8] in ann.expect(event="joined")["text"]
    assert ids["Ann"][:8] in bob.expect(event="joined")["text"]
    bob.end()
    gone = ann.expect("left", "lost")
    assert gone["event"] == "left" and ids["Bob"][:8] in gone["text"]


def test_two_devices_of_one_name_both_are_found(place):
    first, second = place(1, "node", "Twin"), place(2, "node", "Twin")
    names = [host.expect(event="ready")["device"]["id"][:8] for host in (first, second)]
    assert names[1] in first.expect(event="joined")["text"] and names[0] in second.expect(event="joined")["text"]


@pytest.mark.against
def test_zeroconf_sees_a_node_and_its_end(place):
    pytest.importorskip("zeroconf")
    other = place(2, "zeroconf")
    node = place(1, "node", "Ann's Mac")
    ready = node.expect(event="ready")
    assert other.expect(event="found") == {
        "event": "found", "name": "Ann's Mac", "port": ready["port"], "addresses": ["10.99.0.1"],
        "id": ready["device"]["id"],
    }
    node.end()
    assert other.expect(event="lost")["name"] == "Ann's Mac"


@pytest.mark.against
def test_a_node_sees_what_zeroconf_announces(place):
    pytest.importorskip("zeroconf")
    node = place(1, "node", "Ann")
    node.expect(event="ready")
    other = place(2, "zeroconf", json.dumps(BEACON))
    other.expect(event="registered")
    joined = node.expect(event="joined")
    assert "Old Mac" in joined["text"] and "10.99.0.2:8123" in joined["text"]
