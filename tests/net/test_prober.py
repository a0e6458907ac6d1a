"""Trying addresses of the loopback: somebody listens, nobody does, nobody answers, and what may not be tried."""

from __future__ import annotations

import errno
import socket

import pytest

from discompute_lite.net import prober as prober_module
from discompute_lite.model.interface import Interface
from discompute_lite.net.loop import Loop
from discompute_lite.net.prober import Prober, outcome_of


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


def tried(loop, prober, address, timeout_s=5.0):
    """Try one address; return (outcome, error name)."""
    outcomes = []

    def told(outcome, name, seconds):
        assert 0 <= seconds < 60
        outcomes.append((outcome, name))
        loop.stop()

    prober.probe(address, timeout_s, told)
    assert outcomes == [], "never before probe has returned"
    loop.run()
    return outcomes[0]


def test_who_listens_is_told_from_who_does_not(loop):
    with socket.create_server(("127.0.0.7", 0)) as server:
        port = server.getsockname()[1]
        prober = Prober(loop, "127.0.0.1", "all")
        assert tried(loop, prober, f"127.0.0.7:{port}") == ("open", "")
        caller, _ = server.accept()
        with caller:
            assert caller.recv(1) == b"", "it hangs up, without a word"
        assert tried(loop, prober, f"127.0.0.8:{port}") == ("refused", "ECONNREFUSED")


def test_who_does_not_answer_is_given_up_in_time(loop):
    with socket.socket() as full:
        full.bind(("127.0.0.9", 0))
        full.listen(0)
        address = full.getsockname()
        kept = []
        for _ in range(3):  # Linux takes one more than it is told; then it is silent.
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(address)
            kept.append(sock)
        outcome = tried(loop, Prober(loop, "127.0.0.1", "all"), f"127.0.0.9:{address[1]}", 0.2)
        for sock in kept:
            sock.close()
    assert outcome == ("silent", "ETIMEDOUT")


def test_a_node_of_the_loopback_tries_nobody_else(loop):
    assert tried(loop, Prober(loop, "127.0.0.1", "all"), "192.0.2.1:80") == ("unreachable", "ENETUNREACH")


@pytest.mark.parametrize("name, outcome", [
    ("", "open"), ("ECONNREFUSED", "refused"), ("ETIMEDOUT", "silent"), ("EHOSTUNREACH", "unreachable"),
    ("EHOSTDOWN", "unreachable"), ("ENETDOWN", "unreachable"), ("EMFILE", "silent"),
])
def test_each_error_says_something_about_the_other_end(name, outcome):
    assert outcome_of(name) == outcome
    assert not name or hasattr(errno, name)


@pytest.mark.parametrize("bind, interface, found", [
    ("all", "all", ["10.0.0.5", "192.168.1.5"]), ("10.0.0.5", "all", ["10.0.0.5"]), ("all", "eth1", ["192.168.1.5"]),
    ("127.0.0.3", "all", ["127.0.0.3"]), ("::1", "all", []),
])
def test_the_networks_are_those_that_the_node_is_bound_to(loop, monkeypatch, bind, interface, found):
    monkeypatch.setattr(prober_module, "list_interfaces", lambda: [
        Interface("lo", "127.0.0.1", "255.0.0.0", is_loopback=True), Interface("eth0", "10.0.0.5", "255.255.255.0"),
        Interface("eth1", "192.168.1.5", "255.255.255.0"),
    ])
    assert [item.address for item in Prober(loop, bind, interface).networks()] == found
