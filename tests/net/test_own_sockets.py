"""A node's own ports: a knock tells the living from the dead, whatever they say, and the same port is opened anew."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import Any, Iterator, List

import pytest

from discompute_lite.model.interface import Interface
from discompute_lite.model.limits import Limits
from discompute_lite.net import own_sockets
from discompute_lite.net.loop import Loop
from discompute_lite.net.own_sockets import OwnSockets


class Silent:
    """Whoever connects is nobody's concern here."""

    repeated_methods = frozenset()

    def connection_closed(self, connection: Any, reason: str) -> None:
        pass


class Ports:
    """Real listeners on a real loop, turned by the test."""

    def __init__(self, bind: str = "127.0.0.1") -> None:
        self.loop = Loop()
        self.own = OwnSockets(self.loop, bind)
        self.own.open(0, False, print)
        self.own.serve(Silent(), Limits(), None)
        self.others: List[socket.socket] = []

    @property
    def listener(self) -> Any:
        return self.own._listeners["peers"]

    def knock(self, name: str = "peers") -> Any:
        answers: List[Any] = []
        self.own.knock(name, lambda outcome: (answers.append(outcome), self.loop.stop()))
        self.loop.run()
        assert len(answers) == 1
        return answers[0]

    def replace(self, how: str) -> None:
        """Do to the listening socket what a system does to a sleeping app's."""
        number = self.listener._sock.fileno()
        if how == "closed":
            os.close(number)
            return
        other = socket.socket()
        if how == "silent":
            other.bind(("127.0.0.1", 0))
            other.listen()
        self.others.append(other)
        os.dup2(other.fileno(), number)

    def is_callable(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.own.port), 5.0).close()
        except ConnectionRefusedError:
            return False
        return True

    def close(self) -> None:
        self.own.close()
        for other in self.others:
            other.close()
        self.loop.close()


@pytest.fixture
def ports() -> Iterator[Ports]:
    ports = Ports()
    yield ports
    ports.close()


def test_a_listener_that_is_well_takes_our_knock_and_it_is_no_connection(ports):
    assert ports.knock() == "" and ports.knock() == ""
    assert ports.listener.connections() == [] and ports.listener.taken == 2


@pytest.mark.parametrize("how", ["silent", "noisy", "closed"])
def test_a_dead_one_is_found_out_and_opened_anew_at_the_same_port(ports, how):
    port = ports.own.port
    ports.replace(how)
    assert "refused" in ports.knock() and not ports.is_callable()
    assert ports.own.rebuild("peers") == "" and ports.own.port == port
    assert ports.knock() == "" and ports.is_callable()


def test_a_port_that_somebody_else_has_taken_is_said_and_opened_when_it_is_free(ports):
    ports.replace("silent")
    with socket.socket() as other:
        other.bind(("127.0.0.1", ports.own.port))
        other.listen()
        assert str(ports.own.port) in ports.own.rebuild("peers")
        assert ports.knock() == "nobody takes connections there", "the other program does, but not ours"
    assert ports.own.rebuild("peers") == "" and ports.knock() == ""


def test_a_socket_that_has_the_number_of_a_closed_one_is_left_alone(ports):
    number = ports.listener._sock.fileno()
    ports.replace("closed")
    strangers = []
    while not strangers or strangers[-1].fileno() != number:
        strangers.append(socket.create_server(("127.0.0.1", 0)))
    heard: List[bool] = []
    ports.loop.watch(strangers[-1], lambda: (heard.append(True), ports.loop.stop()), None)
    assert ports.own.rebuild("peers") == ""
    caller = socket.create_connection(strangers[-1].getsockname())
    ports.loop.run()
    assert heard
    for sock in [caller, *strangers]:
        sock.close()


def test_without_a_descriptor_nobody_can_tell(ports, monkeypatch):
    def none_left(*arguments: Any) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("discompute_lite.net.sockets.socket.socket", none_left)
    assert ports.knock() is None


def test_a_listener_that_is_busy_with_others_is_not_taken_for_dead(ports, monkeypatch):
    monkeypatch.setattr(own_sockets, "KNOCK_S", 0.2)
    monkeypatch.setattr(ports.listener, "_acceptable", lambda: None)
    ports.loop.watch(ports.listener._sock, lambda: setattr(ports.listener, "taken", 1), None)
    assert ports.knock() is None


def test_one_that_accepts_nobody_is(ports, monkeypatch):
    monkeypatch.setattr(own_sockets, "KNOCK_S", 0.2)
    ports.loop.unwatch(ports.listener._sock)
    assert ports.knock() == "nobody takes connections there"


def test_a_node_at_another_address_has_a_second_port_for_commands():
    ports = Ports("127.0.0.7")
    try:
        assert ports.own.listeners() == ["peers", "commands"] and ports.own.own_hosts() == ["127.0.0.7"]
        assert ports.knock("peers") == "" and ports.knock("commands") == ""
        os.close(ports.own._listeners["commands"]._sock.fileno())
        assert ports.knock("commands") and ports.knock("peers") == ""
    finally:
        ports.close()


@pytest.mark.parametrize("how", ["look", "renew"])
def test_the_loop_is_woken_again_after_its_own_sockets_died(ports, how):
    with socket.socket() as other:
        for end in (ports.loop._wake_receiver, ports.loop._wake_sender):
            os.dup2(other.fileno(), end.fileno())
    getattr(ports.own, how)()
    ports.loop.call_later(20.0, ports.loop.stop)
    began = time.monotonic()
    threading.Thread(target=ports.loop.stop).start()
    ports.loop.run()
    assert time.monotonic() - began < 10.0


# ---- IPv6 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bind, names", [("127.0.0.1", ["peers"]), ("::1", ["peers", "commands"])])
def test_a_node_of_the_loopback_listens_where_it_was_told_to(bind, names):
    ports = Ports(bind)
    assert ports.own.listeners() == names
    assert [ports.knock(name) for name in names] == [""] * len(names)
    assert ports.own.own_hosts() == {"::1": ["[::1]"]}.get(bind, ["127.0.0.1"])
    ports.close()


def test_a_node_at_one_address_of_ipv6_is_called_there_and_is_opened_anew():
    ports = Ports("::1")
    socket.create_connection(("::1", ports.own.port), 5.0).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ports.own.port + 1), 5.0)
    port = ports.own.port
    ports.replace("closed")
    assert "refused" in ports.knock() and ports.own.rebuild("peers") == "" and ports.own.port == port
    assert ports.knock() == ""
    ports.close()


@pytest.mark.parametrize("ipv4, ipv6, hosts", [
    (["127.0.0.1"], [], ["127.0.0.1"]),
    (["127.0.0.1", "10.0.0.7"], ["fe80::7%en0", "fd00::7"], ["10.0.0.7"]),
    (["127.0.0.1"], ["::1", "fe80::7%en0", "fd00::7"], ["[fd00::7]", "[fe80::7%en0]"]),
])
def test_a_node_shows_addresses_of_ipv6_where_it_has_no_others(monkeypatch, ipv4, ipv6, hosts):
    def listed(addresses: List[str]) -> Any:
        return lambda: [Interface("en0", each, is_loopback=each in ("127.0.0.1", "::1")) for each in addresses]

    monkeypatch.setattr(own_sockets, "list_interfaces", listed(ipv4))
    monkeypatch.setattr(own_sockets, "list_ipv6", listed(ipv6))
    monkeypatch.setattr(own_sockets, "addresses_out", tuple)
    loop = Loop()
    assert OwnSockets(loop, "all").own_hosts() == hosts
    loop.close()


def test_the_interfaces_are_listed_again_when_another_address_leads_out_or_after_a_while(monkeypatch):
    loop, times, ways_out, here = Loop(), [0.0], ["192.168.1.20"], [Interface("en0", "192.168.1.20")]
    monkeypatch.setattr(loop, "now", lambda: times[0])
    monkeypatch.setattr(own_sockets, "addresses_out", lambda: tuple(ways_out))
    monkeypatch.setattr(own_sockets, "list_interfaces", lambda: here)
    own = OwnSockets(loop, "all")
    assert own.addresses() == ("192.168.1.20",)
    here = [Interface("en0", "192.168.1.20"), Interface("en5", "10.0.0.7")]
    assert own.addresses() == ("192.168.1.20",), "nothing says that anything has changed"
    times[0] = own_sockets.OWN_HOSTS_EVERY_S
    assert own.addresses() == ("192.168.1.20", "10.0.0.7")
    here, ways_out = [Interface("en5", "10.0.0.7")], ["10.0.0.7"]
    assert own.addresses() == ("10.0.0.7",)
    loop.close()
