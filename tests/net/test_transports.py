"""Destinations that fail back off and come back; sockets that die are rebuilt; nobody else is bothered."""

from __future__ import annotations

import errno
import logging
import socket
from typing import Any, Callable, Dict, List, Optional, Tuple

import pytest

from discompute_lite.model.limits import Limits
from discompute_lite.model.settings import Settings
from discompute_lite.net import broadcast, sockets
from discompute_lite.net.broadcast import EXO_PORT, BroadcastTransport, SeedTransport
from discompute_lite.net.datagrams import DatagramSocket, Destinations, TransportOptions
from discompute_lite.model.interface import Interface
from discompute_lite.net.listener import bind_host
from discompute_lite.net.mdns_transport import MdnsTransport
from discompute_lite.net.transports import TRANSPORTS

HERE = ("192.0.2.255", 5005)
THERE = ("198.51.100.255", 5005)


def refused(name: str = "EHOSTUNREACH") -> OSError:
    return OSError(getattr(errno, name), "")


# ---- destinations -------------------------------------------------------------------------------------------


def test_a_failing_destination_backs_off_and_is_never_dropped():
    destinations = Destinations()
    now, waits = 0.0, []
    for _ in range(50):
        assert destinations.may_try(HERE, now)
        destinations.failed(HERE, refused(), now)
        start = now
        while not destinations.may_try(HERE, now):
            now += 0.5
        waits.append(now - start)
    assert waits[:7] == [2, 4, 8, 16, 32, 60, 60] and waits[-1] == 60
    assert destinations.failing() == ["192.0.2.255:5005"]


def test_after_success_everything_is_as_before():
    destinations = Destinations()
    for now in (0.0, 2.0, 6.0):
        destinations.failed(HERE, refused(), now)
    destinations.succeeded(HERE)
    assert destinations.may_try(HERE, 6.0) and destinations.failing() == []
    destinations.failed(HERE, refused(), 7.0)
    assert not destinations.may_try(HERE, 8.9) and destinations.may_try(HERE, 9.0)


def test_one_destination_does_not_hold_up_another():
    destinations = Destinations()
    destinations.failed(HERE, refused(), 0.0)
    assert destinations.may_try(THERE, 0.0) and not destinations.may_try(HERE, 1.0)


def test_the_log_says_it_once_a_minute(caplog):
    caplog.set_level(logging.INFO, logger="discompute")
    destinations = Destinations()
    for now in range(0, 119, 2):
        destinations.failed(HERE, refused(), float(now))
        destinations.failed(HERE, refused("EPERM"), float(now))
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 4 and lines[0] == "cannot send to 192.0.2.255:5005: EHOSTUNREACH"


def test_destinations_of_networks_that_are_gone_are_forgotten():
    destinations = Destinations()
    destinations.failed(HERE, refused(), 0.0)
    destinations.failed(THERE, refused(), 0.0)
    destinations.keep([THERE])
    assert destinations.failing() == ["198.51.100.255:5005"] and destinations.may_try(HERE, 0.0)
    assert not destinations.may_try(THERE, 1.0)


# ---- a loop and sockets of paper ------------------------------------------------------------------------------


class PaperLoop:
    """A clock that is set by hand, and a list of who waits for what."""

    def __init__(self) -> None:
        self.time = 0.0
        self.timers: List[Tuple[float, Callable[..., None], Tuple[Any, ...]]] = []
        self.watched: Dict[Any, Callable[[], None]] = {}

    def now(self) -> float:
        return self.time

    def call_at(self, when: float, callback: Callable[..., None], *arguments: Any) -> None:
        self.timers.append((when, callback, arguments))

    def call_later(self, delay_s: float, callback: Callable[..., None], *arguments: Any) -> None:
        self.call_at(self.time + delay_s, callback, *arguments)

    def watch(self, sock: Any, on_readable: Callable[[], None], on_writable: None) -> None:
        self.watched[sock] = on_readable

    def unwatch(self, sock: Any) -> None:
        self.watched.pop(sock, None)

    def put_away(self, sock: Any, address: Any) -> None:
        assert address == sock.getsockname()
        self.unwatch(sock)
        sock.close()

    def advance_to_next_timer(self) -> None:
        self.advance(min(when for when, *_ in self.timers))

    def advance(self, until: float) -> None:
        while self.timers and min(when for when, *_ in self.timers) <= until:
            timer = min(self.timers, key=lambda entry: entry[0])
            self.timers.remove(timer)
            self.time = timer[0]
            timer[1](*timer[2])
        self.time = until


class PaperSocket:
    """A UDP socket whose datagrams and errors a test writes down."""

    made: List[PaperSocket] = []
    refusals: List[Optional[OSError]] = []

    def __init__(self, *arguments: Any) -> None:
        error = self.refusals.pop(0) if self.refusals else None
        if error is not None:
            raise error
        self.inbox: List[Any] = []
        self.sent: List[Tuple[bytes, Tuple[str, int]]] = []
        self.send_error: Optional[OSError] = None
        #: destination -> what the system says of it.
        self.refusing: Dict[Any, OSError] = {}
        self.is_closed = False
        self.address: Any = None
        self.made.append(self)

    def setsockopt(self, *arguments: Any) -> None:
        pass

    def setblocking(self, flag: bool) -> None:
        assert flag is False

    def bind(self, address: Any) -> None:
        self.address = address

    def getsockname(self) -> Any:
        return self.address

    def sendto(self, data: bytes, destination: Tuple[str, int]) -> None:
        if self.send_error is not None:
            raise self.send_error
        if destination in self.refusing:
            raise self.refusing[destination]
        self.sent.append((data, destination))

    def recvfrom(self, size: int) -> Tuple[bytes, Tuple[str, int]]:
        if not self.inbox:
            raise BlockingIOError
        item = self.inbox.pop(0)
        if isinstance(item, OSError):
            raise item
        return item, ("127.0.0.1", 9)

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def paper(monkeypatch):
    """Let transports make paper sockets; return those made."""

    class Sockets:
        def __getattr__(self, name: str) -> Any:
            return getattr(socket, name)

        socket = PaperSocket

    monkeypatch.setattr(PaperSocket, "made", [])
    monkeypatch.setattr(PaperSocket, "refusals", [])
    monkeypatch.setattr(sockets, "socket", Sockets())
    return PaperSocket.made


def options(**changes: Any) -> TransportOptions:
    values = {"bind": "all", "port": 5005, "interface": "all", "peers": (), "interop": False, "limits": Limits()}
    return TransportOptions(**{**values, **changes})


# ---- one socket -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ENOTCONN", "EBADF", "EINVAL", "EPIPE", "ENOTSOCK", "ECONNABORTED"])
def test_a_socket_that_dies_is_rebuilt_ever_more_slowly(paper, name):
    loop, heard = PaperLoop(), []
    item = DatagramSocket(loop, ("", 5005), Limits(), lambda data, source: heard.append(data))
    built_at = []
    for _ in range(8):
        paper[-1].inbox = [refused(name)]
        loop.watched[paper[-1]]()
        assert paper[-1].is_closed and not item.is_alive and loop.watched == {}
        start = loop.time
        loop.advance_to_next_timer()
        assert item.is_alive
        built_at.append(round(loop.time - start, 2))
    assert built_at == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    paper[-1].inbox = [b"alive", refused(name)]
    loop.watched[paper[-1]]()
    loop.advance(loop.time + 0.11)
    assert heard == [b"alive"] and item.is_alive, "a socket that worked is rebuilt at once again"


@pytest.mark.parametrize("name", ["ENOTCONN", "EBADF"])
def test_a_socket_that_died_without_a_sign_is_found_by_looking(paper, name):
    """No readiness is told of a descriptor that the system has replaced."""
    loop = PaperLoop()
    item = DatagramSocket(loop, ("", 5005), Limits(), print)
    item.look()
    assert item.is_alive and len(paper) == 1, "there was nothing to read, and that is all"
    paper[0].inbox = [refused(name)]
    item.look()
    assert not item.is_alive and paper[0].is_closed
    loop.advance(1.0)
    assert item.is_alive and len(paper) == 2 and paper[1] in loop.watched


def test_a_renewed_socket_is_another_one_and_a_closed_one_stays_closed(paper):
    loop = PaperLoop()
    item = DatagramSocket(loop, ("", 5005), Limits(), print)
    item.renew()
    assert item.is_alive and paper[0].is_closed and list(loop.watched) == [paper[1]]
    item.close()
    item.renew()
    item.look()
    assert len(paper) == 2 and not item.is_alive


@pytest.mark.parametrize("name", ["ECONNRESET", "ECONNREFUSED", "EMSGSIZE"])
def test_errors_of_earlier_datagrams_kill_no_socket(paper, name):
    heard: List[bytes] = []
    loop = PaperLoop()
    item = DatagramSocket(loop, ("", 5005), Limits(), lambda data, source: heard.append(data))
    paper[0].inbox = [refused(name), b"next"]
    loop.watched[paper[0]]()
    loop.watched[paper[0]]()
    assert item.is_alive and heard == [b"next"] and len(paper) == 1


def test_a_port_that_is_taken_is_tried_again(paper):
    PaperSocket.refusals = [refused("EMFILE"), refused("EMFILE")]
    loop = PaperLoop()
    item = DatagramSocket(loop, ("", 5005), Limits(), print)
    assert not item.is_alive
    with pytest.raises(OSError):
        item.send(b"x", HERE)
    loop.advance(1.0)
    assert item.is_alive and len(paper) == 1


def test_a_closed_socket_stays_closed(paper):
    loop = PaperLoop()
    item = DatagramSocket(loop, ("", 5005), Limits(), print)
    paper[0].inbox = [refused("EBADF")]
    loop.watched[paper[0]]()
    item.close()
    loop.advance(60.0)
    assert len(paper) == 1 and not item.is_alive


@pytest.mark.parametrize("name", ["EPIPE", "ENOTCONN", "EBADF", "ENOTSOCK"])
def test_a_socket_found_dead_by_sending_is_rebuilt(paper, name):
    loop = PaperLoop()
    item = DatagramSocket(loop, ("", 0), Limits(), print)
    paper[0].send_error = refused(name)
    with pytest.raises(OSError):
        item.send(b"x", HERE)
    loop.advance(1.0)
    item.send(b"y", HERE)
    assert paper[1].sent == [(b"y", HERE)]


#: What sending says on one system or another while nothing is wrong with the socket.
NOBODYS_FAULT = [
    "EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "ENETDOWN", "EADDRNOTAVAIL", "ENOBUFS", "EACCES", "EPERM", "EINVAL",
    "EMSGSIZE", "ETIMEDOUT", "ECONNREFUSED", "ECONNRESET",
]


@pytest.mark.parametrize("name", NOBODYS_FAULT)
def test_a_destination_that_is_away_kills_no_socket(paper, name):
    item = DatagramSocket(PaperLoop(), ("", 0), Limits(), print)
    paper[0].send_error = refused(name)
    with pytest.raises(OSError):
        item.send(b"x", HERE)
    assert item.is_alive and len(paper) == 1


def test_a_flood_is_read_no_faster_than_the_limit(paper):
    loop, heard = PaperLoop(), []
    DatagramSocket(loop, ("", 5005), Limits(datagrams_per_s=200), lambda data, source: heard.append(data))
    flooded = paper[0]
    while loop.time < 10.0:
        flooded.inbox = [b"flood"] * 1000
        while flooded in loop.watched:
            loop.watched[flooded]()
        assert len(flooded.inbox) == 980, "a tenth of a second, a tenth of the limit"
        loop.advance_to_next_timer()
    assert 1900 < len(heard) <= 2020
    flooded.inbox = []
    loop.watched[flooded]()
    assert flooded in loop.watched


# ---- transports ---------------------------------------------------------------------------------------------------


def opened(kind: Any, paper: List[PaperSocket], interfaces: List[Interface], monkeypatch: Any, **changes: Any) -> Any:
    monkeypatch.setattr(broadcast, "list_interfaces", lambda: interfaces)
    transport = kind(PaperLoop(), options(**changes))
    transport.open(lambda data, source, name: transport.heard.append((data, source, name)))
    transport.heard = []
    return transport


INTERFACES = [
    Interface("lo", "127.0.0.1", "255.0.0.0", "", True),
    Interface("en0", "192.168.1.20", "255.255.254.0", "192.168.1.255"),
    Interface("utun0", "10.8.0.2", "255.255.255.255"),
    Interface("en5", "10.0.0.7", "255.0.0.0", "10.255.255.255"),
]


def destinations_of(sock: PaperSocket) -> List[str]:
    return [f"{host}:{port}" for _, (host, port) in sock.sent]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["192.168.1.255:5005", "10.255.255.255:5005", "255.255.255.255:5005"]),
        ({"interface": "en5"}, ["10.255.255.255:5005"]),
        ({"interface": "utun0"}, []),
        ({"bind": "192.168.1.20"}, ["192.168.1.255:5005", "255.255.255.255:5005"]),
        ({"bind": "127.0.0.1"}, ["127.255.255.255:5005"]),
        ({"bind": "127.0.0.1", "interop": True}, [f"127.255.255.255:{port}" for port in (5005, EXO_PORT)]),
        ({"port": 6000, "interface": "en0"}, ["192.168.1.255:6000"]),
    ],
)
def test_broadcasts_go_to_every_interface_that_broadcasts(paper, monkeypatch, changes, expected):
    transport = opened(BroadcastTransport, paper, INTERFACES, monkeypatch, **changes)
    transport.announce(b"beacon")
    assert destinations_of(paper[0]) == expected
    assert transport.trouble() == []


@pytest.mark.parametrize("bind, interfaces", [
    ("fd00::1", [Interface("en0", "192.168.1.20", "255.255.254.0", "192.168.1.255")]), ("::1", []),
    ("all", [Interface("lo0", "127.0.0.1", "255.0.0.0", is_loopback=True)]),
])
def test_where_there_is_ipv6_alone_nothing_is_broadcast_and_nothing_is_missed(paper, monkeypatch, bind, interfaces):
    monkeypatch.setattr(broadcast, "list_interfaces", lambda: interfaces)
    monkeypatch.setattr(broadcast, "list_ipv6", lambda: [Interface("en0", "fd00::1", "64", "ff02::1")])
    transport = BroadcastTransport(PaperLoop(), options(bind=bind))
    transport.open(lambda *words: None)
    transport.announce(b"x")
    assert all(sock.sent == [] for sock in paper) and transport.trouble() == [] and transport.targets() == []
    transport.close()


def test_a_node_of_the_loopback_listens_where_its_broadcasts_arrive(paper, monkeypatch):
    opened(BroadcastTransport, paper, INTERFACES, monkeypatch, bind="127.0.0.1")
    assert [sock.address for sock in paper] == [("127.0.0.1", 0), ("127.255.255.255", 5005)]


def test_a_refused_broadcast_backs_off_and_is_told(paper, monkeypatch):
    transport = opened(BroadcastTransport, paper, INTERFACES, monkeypatch, interface="en0")
    paper[0].send_error = refused()
    transport.announce(b"one")
    assert transport.trouble() == ["broadcast to 192.168.1.255:5005 is refused by the system"]
    assert not transport.reaches_anybody()
    paper[0].send_error = None
    transport.announce(b"two")
    assert paper[0].sent == []
    transport._loop.advance(2.0)
    assert transport.reaches_anybody()
    transport.announce(b"three")
    assert paper[0].sent == [(b"three", ("192.168.1.255", 5005))] and transport.trouble() == []


@pytest.mark.parametrize("name", NOBODYS_FAULT)
def test_whatever_one_destination_says_the_others_get_theirs_and_it_is_tried_for_ever(paper, monkeypatch, name):
    transport = opened(BroadcastTransport, paper, INTERFACES, monkeypatch)
    failing, *others = transport.targets()
    paper[0].refusing = {failing: refused(name)}
    for _ in range(50):
        transport.announce(b"x")
        transport._loop.advance(transport._loop.time + 61.0)
    assert [paper[0].sent.count((b"x", each)) for each in others] == [50, 50] and len(transport.trouble()) == 1
    paper[0].refusing = {}
    transport.announce(b"y")
    assert (b"y", failing) in paper[0].sent and transport.trouble() == []


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "all"])
def test_every_name_of_all_addresses_announces_on_all_interfaces(paper, monkeypatch, bind):
    bind = Settings(bind=bind).bind
    assert bind_host(bind) == ""
    transport = opened(BroadcastTransport, paper, INTERFACES, monkeypatch, bind=bind)
    assert [host for host, _ in transport.targets()] == ["192.168.1.255", "10.255.255.255", "255.255.255.255"]


def test_interfaces_are_looked_at_again(paper, monkeypatch):
    interfaces = list(INTERFACES)
    transport = opened(BroadcastTransport, paper, interfaces, monkeypatch, interface="all")
    paper[0].send_error = refused()
    transport.announce(b"one")
    assert len(transport.trouble()) == 3 and transport.interface_name == "en0"
    del interfaces[1]
    transport._loop.advance(20.0)
    assert transport.targets() == [("10.255.255.255", 5005), ("255.255.255.255", 5005)]
    assert transport.interface_name == "en5" and len(transport.trouble()) == 2


def test_after_a_sleep_no_grudge_is_borne_and_the_interfaces_are_looked_at(paper, monkeypatch):
    interfaces = INTERFACES[:2]
    transport = opened(BroadcastTransport, paper, interfaces, monkeypatch, interface="all")
    paper[0].send_error = refused()
    transport.announce(b"one")
    assert transport.trouble()
    interfaces.append(INTERFACES[3])
    transport.renew()
    transport.announce(b"two")
    own = next(sock for sock in paper if sock.sent)
    assert own is not paper[0] and not own.is_closed and transport.trouble() == []
    assert destinations_of(own) == ["192.168.1.255:5005", "10.255.255.255:5005", "255.255.255.255:5005"]


def test_answers_to_strangers_are_not_remembered(paper, monkeypatch):
    transport = opened(BroadcastTransport, paper, INTERFACES, monkeypatch)
    transport.answer(b"answer", "127.0.0.1:40000")
    assert paper[0].sent == [(b"answer", ("127.0.0.1", 40000))]
    paper[0].send_error = refused()
    for port in range(1, 1000):
        transport.answer(b"answer", f"127.0.0.1:{port}")
    assert transport.trouble() == [] and transport._destinations._complained == {}


def test_a_full_queue_is_nobodys_fault(paper, monkeypatch):
    transport = opened(BroadcastTransport, paper, INTERFACES, monkeypatch)
    paper[0].send_error = BlockingIOError()
    transport.announce(b"x")
    assert transport.trouble() == []


def test_what_is_heard_comes_with_its_source(paper, monkeypatch):
    transport = opened(BroadcastTransport, paper, INTERFACES, monkeypatch, interop=True)
    assert [sock.address[1] for sock in paper] == [0, 5005, EXO_PORT]
    for sock in paper:
        sock.inbox = [b"beacon"]
        transport._loop.watched[sock]()
    assert transport.heard == [(b"beacon", "127.0.0.1:9", "broadcast")] * 3


@pytest.mark.parametrize("name", NOBODYS_FAULT)
def test_where_the_system_lets_nothing_be_sent_others_are_heard_all_the_same(paper, monkeypatch, name):
    """On an iPhone the one may be allowed without the other."""
    transport = opened(BroadcastTransport, paper, INTERFACES, monkeypatch)
    for sock in paper:
        sock.send_error = refused(name)
    for number in range(20):
        transport.announce(b"beacon")
        transport.look()
        transport._loop.advance(100.0 * (number + 1))
    assert len(paper) == 2 and all(sock.sent == [] for sock in paper)
    for sock in paper:
        sock.inbox = [b"of another"]
        transport._loop.watched[sock]()
    assert transport.heard == [(b"of another", "127.0.0.1:9", "broadcast")] * 2


def test_where_nothing_can_be_heard_what_is_to_be_sent_is_sent_all_the_same(paper, monkeypatch):
    PaperSocket.refusals = [None, refused("EADDRINUSE")]
    transport = opened(BroadcastTransport, paper, INTERFACES, monkeypatch, interface="en0")
    transport.announce(b"beacon")
    assert paper[0].sent == [(b"beacon", ("192.168.1.255", 5005))] and transport.reaches_anybody()


def test_a_port_that_cannot_be_opened_is_told(paper, monkeypatch):
    PaperSocket.refusals = [None, refused("EADDRINUSE")]
    transport = opened(BroadcastTransport, paper, INTERFACES, monkeypatch)
    assert transport.trouble() == ["UDP port 5005 cannot be opened; another program may hold it"]
    transport.close()
    transport._loop.advance(60.0)
    assert len(paper) == 1 and paper[0].is_closed


@pytest.mark.parametrize(
    ("bind", "expected"), [("all", ["192.0.2.1:5005", "127.0.0.1:5005"]), ("127.0.0.1", ["127.0.0.1:5005"])]
)
def test_seeds_get_a_datagram_each(paper, monkeypatch, bind, expected):
    peers = ("192.0.2.1:8080", "127.0.0.1", "pi.local", "[fe80::1]:80", "1.2.3", "\u00b2")
    transport = opened(SeedTransport, paper, INTERFACES, monkeypatch, peers=peers, bind=bind)
    transport.announce(b"beacon")
    assert destinations_of(paper[0]) == expected


def test_transports_have_the_names_of_the_setting():
    assert {name: TRANSPORTS.get(name) for name in TRANSPORTS.names()} == {
        "broadcast": BroadcastTransport, "mdns": MdnsTransport, "peers": SeedTransport
    }
