"""Meet by multicast DNS alone, in a network of namespaces; and with python-zeroconf and Avahi, in both directions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
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
here = sys.argv[1]
is_ipv6 = ":" in here
if is_ipv6:
    from zeroconf import IPVersion
    zeroconf = Zeroconf(interfaces=[socket.if_nametoindex("eth0")], ip_version=IPVersion.V6Only)
else:
    zeroconf = Zeroconf(interfaces=[here])
family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
class Listener:
    def add_service(self, zeroconf, kind, name):
        info = zeroconf.get_service_info(kind, name)
        if info is not None:
            addresses = info.parsed_scoped_addresses() if is_ipv6 else info.parsed_addresses()
            found = {"name": name.replace("." + KIND, ""), "port": info.port,
                     "addresses": [each for each in addresses if (":" in each) == is_ipv6],
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
    info = ServiceInfo(KIND, beacon["lite"]["name"] + "." + KIND, addresses=[socket.inet_pton(family, here)],
                       port=beacon["grpc_port"], properties={"txtvers": "1", **pieces}, server="other.local.")
    zeroconf.register_service(info)
    print(json.dumps({"event": "registered"}), flush=True)
ServiceBrowser(zeroconf, KIND, Listener())
sys.stdin.read()
if len(sys.argv) > 2:
    zeroconf.unregister_service(info)
zeroconf.close()
"""
#: Run Avahi with a D-Bus of its own, both unseen by the rest of the machine; print what `avahi-browse` sees, until
#: standard input ends. What follows the folder is offered by `avahi-publish`.
AVAHI = """
import json, os, subprocess, sys, threading
folder, *offer = sys.argv[1:]
bus = os.path.join(folder, "bus")
with open(bus + ".conf", "w") as file:
    file.write(f"<busconfig><type>system</type><listen>unix:path={bus}</listen><auth>EXTERNAL</auth>"
               "<policy context='default'><allow send_destination='*' eavesdrop='true'/><allow eavesdrop='true'/>"
               "<allow own='*'/><allow user='*'/></policy></busconfig>")
with open(folder + "/avahi.conf", "w") as file:
    file.write("[server]\\nhost-name=avahi-host\\nuse-ipv4=yes\\nuse-ipv6=yes\\n")
os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = "unix:path=" + bus
# A host of the testbed has its own mounts, so this hides nothing but from here.
subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
os.mkdir("/run/avahi-daemon")
def start(*words, **options):
    running.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, text=True, **options))
    return running[-1]
running = []
start("dbus-daemon", "--config-file", bus + ".conf", "--nofork", "--nopidfile", "--print-address",
      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.readline()
daemon = start("avahi-daemon", "-f", folder + "/avahi.conf", "--no-drop-root", "--no-chroot", "--no-rlimits",
               stderr=subprocess.PIPE)
for line in daemon.stderr:
    if "startup complete" in line:
        break
if offer:
    start("avahi-publish", "-s", *offer, stderr=subprocess.DEVNULL)
browse = start("avahi-browse", "--parsable", "--resolve", "_discompute._tcp", stdout=subprocess.PIPE)
def end():
    sys.stdin.read()
    for process in reversed(running):
        process.kill()
ending = threading.Thread(target=end)
ending.start()
for line in browse.stdout:
    if not line.endswith("\\n"):
        break  # It was killed amid it.
    what, interface, protocol, name, *more = line.rstrip().split(";")
    seen = {"name": name, "protocol": protocol}
    if what == "=":
        seen.update(event="found", address=more[3], port=int(more[4]), txt=more[5])
    print(json.dumps({"event": {"-": "lost", "+": "named"}.get(what), **seen}), flush=True)
"""
BEACON: Dict[str, Any] = {
    "type": "discovery", "node_id": "k3fq9zt2" * 6 + "k3fq", "grpc_port": 8123,
    "device_capabilities": {"model": "M", "chip": "C", "memory": 1, "flops": {"fp32": 1, "fp16": 1, "int8": 1},
                            "type": "mac"},
    "priority": 1, "interface_name": "en0", "interface_type": "wifi", "timestamp": 1,
    "lite": {"v": 1, "name": "Old Mac", "status": "AVAILABLE", "boot": "b1", "seq": 1, "reply": False, "every": 30},
}


#: Two hosts whose only addresses are link-local ones of IPv6.
IPV6_ALONE = pytest.mark.parametrize("bed", ["IPv6"], indirect=True)


@pytest.fixture
def bed(request: Any, testbed: Any) -> Iterator[Any]:
    """Return two hosts of one network."""
    with testbed.Testbed(2, is_ipv6=getattr(request, "param", "") == "IPv6") as bed:
        yield bed


@pytest.fixture
def place(bed: Any, host_program: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return place(host, "node", name), place(host, "zeroconf", …), or with a host's node place(host, "invite", …)."""
    hosts: List[Any] = []
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DISCOMPUTE_")}

    def start(number: int, kind: str, *words: str) -> Any:
        program = [sys.executable, "-m", "discompute_lite"]
        own = ["--state-dir", str(tmp_path / f"state-{number}"), "--config", os.devnull]
        command = {
            "zeroconf": [sys.executable, "-c", ZEROCONF, bed.address(number), *words],
            "avahi": [sys.executable, "-c", AVAHI, str(tmp_path), *words],
            "node": [*program, "start", "--json", "--discovery", "mdns", *own, "--name", *words],
        }.get(kind, [*program, kind, *own, *words])
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


@IPV6_ALONE
def test_without_ipv4_two_devices_meet_and_work_together(place, bed, tmp_path):
    """All of it over link-local addresses: beacons, links, pairing, TLS, and a piece of work on the other."""
    ann, bob = place(1, "node", "Ann"), place(2, "node", "Bob")
    ready = {name: host.expect(event="ready") for name, host in (("Ann", ann), ("Bob", bob))}
    assert ready["Ann"]["addresses"] == ["[fe80::1%eth0]:8080"]
    assert "[fe80::2%eth0]:8080" in ann.expect(event="joined")["text"]
    assert "[fe80::1%eth0]:8080" in bob.expect(event="joined")["text"]
    link = place(1, "invite", "--token", "--yes", "--json").expect()["link"]
    place(2, "join", link, "--json").expect()
    ann.expect(event="pairing")
    (tmp_path / "job.py").write_text("def split():\n    return ['abc']\ndef work(x):\n    return x[::-1]\n"
                                     "def merge(parts):\n    return parts[0]\n")
    command = [sys.executable, "-m", "discompute_lite", "submit", "--requires", ready["Bob"]["device"]["id"],
               "--state-dir", str(tmp_path / "state-1"), "--config", os.devnull, str(tmp_path / "job.py")]
    done = subprocess.run(bed.command(1, command), capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "cba", done.stderr
    bob.end()
    assert ann.expect("left", "lost")["event"] == "left"


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


def told_of_zeroconf(place):
    """Return what a node says when python-zeroconf announces a device to it."""
    pytest.importorskip("zeroconf")
    node = place(1, "node", "Ann")
    node.expect(event="ready")
    other = place(2, "zeroconf", json.dumps(BEACON))
    other.expect(event="registered")
    text = node.expect(event="joined")["text"]
    assert "Old Mac" in text
    return text


@pytest.mark.against
def test_a_node_sees_what_zeroconf_announces(place):
    assert "10.99.0.2:8123" in told_of_zeroconf(place)


@pytest.mark.against
@IPV6_ALONE
def test_zeroconf_of_ipv6_alone_sees_a_node_and_its_end(place):
    pytest.importorskip("zeroconf")
    other = place(2, "zeroconf")
    node = place(1, "node", "Ann's Mac")
    ready = node.expect(event="ready")
    found = other.expect(event="found")
    assert found["name"] == "Ann's Mac" and found["id"] == ready["device"]["id"] and found["port"] == ready["port"]
    assert [address.partition("%")[0] for address in found["addresses"]] == ["fe80::1"]
    node.end()
    assert other.expect(event="lost")["name"] == "Ann's Mac"


@pytest.mark.against
@IPV6_ALONE
def test_a_node_sees_what_zeroconf_of_ipv6_alone_announces(place):
    assert "[fe80::2%eth0]:8123" in told_of_zeroconf(place)


@pytest.fixture
def avahi(place: Callable[..., Any]) -> Callable[..., Any]:
    """Return avahi(host, *offer), which starts it there; skip where it is not installed."""
    for program in ("avahi-daemon", "avahi-browse", "avahi-publish", "dbus-daemon", "mount"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program} here (apt-get install avahi-daemon avahi-utils dbus)")
    return lambda number, *offer: place(number, "avahi", *offer)


def test_avahi_sees_nodes_beside_itself_and_elsewhere_and_their_end(place, avahi):
    """The node on its own host shares port 5353 with it."""
    near, other = place(1, "node", "Near"), avahi(1)
    ids = {"Near": near.expect(event="ready")["device"]["id"]}
    far = place(2, "node", "Far")
    ids["Far"] = far.expect(event="ready")["device"]["id"]
    for _ in ("Near", "Far"):
        found = other.expect(event="found", protocol="IPv4")
        # It tells whichever of the two addresses it has first.
        expected = "10.99.0.1" if found["name"] == "Near" else "10.99.0.2"
        assert found["port"] == 8080 and (found["address"] == expected or found["address"].startswith("fe80:"))
        assert f'"id={ids.pop(found["name"])}"' in found["txt"]
    assert near.expect(event="joined") and far.expect(event="joined"), "with Avahi beside them they meet as ever"
    far.end()
    assert other.expect(event="lost", protocol="IPv4")["name"] == "Far"
    near.end()
    assert other.expect(event="lost", protocol="IPv4")["name"] == "Near"


def test_nodes_beside_avahi_and_elsewhere_see_what_it_publishes(place, avahi):
    data = json.dumps(BEACON, separators=(",", ":"))
    pieces = [f"b{number}={data[at:at + 200]}" for number, at in enumerate(range(0, len(data), 200))]
    avahi(1, "Old Mac", "_discompute._tcp", "8123", "txtvers=1", *pieces)
    for number, name in ((1, "Near"), (2, "Far")):
        node = place(number, "node", name)
        node.expect(event="ready")
        texts = [node.expect(event="joined")["text"]]
        if "Old Mac" not in texts[0]:
            texts.append(node.expect(event="joined")["text"])
        # By IPv6 it tells of its address of IPv6 alone.
        assert "Old Mac" in texts[-1] and ("10.99.0.1:8123" in texts[-1] or "%eth0]:8123" in texts[-1])


@IPV6_ALONE
def test_avahi_and_nodes_see_each_other_by_ipv6_alone(place, avahi):
    """The near node shares the port with it, and the far one is heard over the network."""
    data = json.dumps(BEACON, separators=(",", ":"))
    pieces = [f"b{number}={data[at:at + 200]}" for number, at in enumerate(range(0, len(data), 200))]
    near = place(1, "node", "Near")
    near.expect(event="ready")
    other = avahi(1, "Old Mac", "_discompute._tcp", "8123", "txtvers=1", *pieces)
    far = place(2, "node", "Far")
    seen = {}
    while len(seen) < 2:
        found = other.expect(event="found", protocol="IPv6")
        if found["name"] != "Old Mac":
            seen[found["name"]] = found["address"], found["port"]
    assert seen == {"Near": ("fe80::1", 8080), "Far": ("fe80::2", 8080)}
    for node in (near, far):
        while "Old Mac" not in node.expect(event="joined")["text"]:
            pass
    far.end()
    assert other.expect(event="lost", protocol="IPv6")["name"] == "Far"
