"""A cluster forms by each way of meeting alone: by addresses that are typed, by what others tell, by a sweep, by
multicast DNS, by broadcast; in a network of namespaces."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest

pytestmark = pytest.mark.namespaces


@pytest.fixture
def place(testbed: Any, host_program: Callable[..., Any], tmp_path: Path) -> Iterator[Any]:
    """Return place(host, *words), which starts a node on one of three hosts and returns it with its id."""
    hosts: List[Any] = []
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DISCOMPUTE_")}
    with testbed.Testbed(3) as bed:

        def start(number: int, *words: str) -> Any:
            command = [sys.executable, "-m", "discompute_lite", "start", "--json", "--name", f"host {number}",
                       "--state-dir", str(tmp_path / str(number)), "--config", os.devnull, *words]
            host = host_program(bed, number, command, environ, tmp_path / f"{number}.err")
            hosts.append(host)
            host.ready = host.expect(event="ready")
            host.id = host.ready["device"]["id"][:8]
            return host

        start.bed = bed
        yield start
        for host in hosts:
            host.end()
    assert all("Traceback" not in host.errors.read_text() for host in hosts)


def assert_all_met(hosts: List[Any]) -> None:
    """See that each host has met each other one."""
    for host in hosts:
        others = {other.id for other in hosts if other is not host}
        while others:
            text = host.expect(event="joined")["text"]
            others = {other for other in others if other not in text}


def test_by_typed_addresses_alone(place):
    first = place(1, "--discovery", "peers")
    assert first.ready["addresses"] == ["10.99.0.1:8080"]
    second = place(2, "--discovery", "peers", "--peer", "10.99.0.1")
    third = place(3, "--discovery", "peers", "--peer", "10.99.0.1:8080", "--peer", "10.99.0.2")
    assert_all_met([first, second, third])


def test_an_address_without_a_port_is_a_node_at_the_usual_one_known_or_not(place, tmp_path):
    """A message is sent to it, by a node that has met it and by one that is started for that and meets nobody."""
    first, second = place(1), place(2)
    second.expect(event="joined")
    for number in (2, 3):
        words = [sys.executable, "-m", "discompute_lite", "send", "10.99.0.1", f"from {number}", "--discovery", "peers",
                 "--state-dir", str(tmp_path / str(number)), "--config", os.devnull]
        done = subprocess.run(place.bed.command(number, words), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert f"from {number}" in first.expect(event="message")["text"]


def test_by_what_others_tell_alone(place):
    """Both know the first, by its address; of each other they are told."""
    first = place(1, "--discovery", "exchange")
    second, third = (place(number, "--discovery", "exchange", "--peer", "10.99.0.1") for number in (2, 3))
    assert_all_met([first, second, third])


def test_by_a_sweep_alone_also_on_a_fallback_port(place):
    first = place(1, "--discovery", "sweep")
    second = place(2, "--discovery", "sweep", "--port", "8082")
    third = place(3, "--discovery", "sweep")
    assert_all_met([first, second, third])


def test_where_no_datagram_passes_all_ways_together_find_the_one_that_does_without(place):
    for number in (1, 2):
        for program, chain in (("iptables", "INPUT"), ("iptables", "OUTPUT"), ("ip6tables", "OUTPUT")):
            if shutil.which(program) is None:
                pytest.skip(f"there is no {program} here")
            drop = place.bed.command(number, [program, "-A", chain, "-j", "DROP", "-p", "udp"])
            subprocess.run(drop, check=True, capture_output=True)
    assert_all_met([place(1), place(2)])


def test_a_permission_that_is_given_late_is_used_within_seconds(place, scale):
    """Until then the system refuses all that the first one sends and calls; only it can find the other."""
    def route(*words: str) -> None:
        subprocess.run(place.bed.command(1, ["ip", "route", *words]), check=True, capture_output=True)

    second = place(2, "--discovery", "peers")
    route("del", "10.99.0.0/24")
    route("add", "unreachable", "10.99.0.0/24")
    first = place(1, "--discovery", "sweep")
    assert "Local Network" in first.expect(event="warning")["text"]
    route("replace", "10.99.0.0/24", "dev", "eth0", "src", "10.99.0.1")
    began = time.monotonic()
    assert_all_met([first, second])
    assert time.monotonic() - began < scale(6.0)


def test_by_multicast_dns_alone(place):
    assert_all_met([place(number, "--discovery", "mdns") for number in (1, 2, 3)])


def test_by_broadcast_alone(place):
    assert_all_met([place(number, "--discovery", "broadcast") for number in (1, 2, 3)])
