"""A listener keeps to its caps, and whoever takes all places that there are cannot shut the owner out."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any, List, Tuple

import pytest

from discompute_lite.model.limits import Limits
from discompute_lite.net import listener
from discompute_lite.model.interface import Interface
from discompute_lite.net.listener import ACCEPTS_A_TURN, Listener
from discompute_lite.net.neighbourhood import Neighbourhood

#: Addresses of strangers, more than are needed to take every place.
STRANGERS = [f"192.0.2.{number}" for number in range(1, 33)]


class WatchOnly:
    """A loop that only keeps whom to call when something can be read."""

    def __init__(self) -> None:
        self.later: List[Any] = []
        self.is_watching = False

    def watch(self, sock: Any, readable: Any, writable: Any) -> None:
        self.readable, self.is_watching = readable, True

    def unwatch(self, sock: Any) -> None:
        self.is_watching = False

    def put_away(self, sock: Any, address: Any) -> None:
        self.is_watching = False
        sock.close()

    def call_later(self, delay_s: float, callback: Any) -> None:
        self.later.append(callback)


class FakeSocket:
    """A socket that somebody has connected, or one that gives such sockets away."""

    def __init__(self) -> None:
        self.waiting: List[Tuple[Any, Any]] = []
        self.is_closed = False

    def accept(self) -> Tuple[Any, Any]:
        if not self.waiting:
            raise BlockingIOError
        if isinstance(self.waiting[0], OSError):
            raise self.waiting[0]
        return self.waiting.pop(0)

    def getsockname(self) -> Tuple[str, int]:
        return "0.0.0.0", 8080

    def fileno(self) -> int:
        return -1 if self.is_closed else 7

    def close(self) -> None:
        self.is_closed = True


class FakeConnection:
    rpc = broken_by = None

    def __init__(self, loop: Any, sock: Any, receiver: Any, limits: Limits, *, is_dialled: bool, door: Any) -> None:
        self.remote_address = f"[{sock.host}]:4000" if ":" in sock.host else f"{sock.host}:4000"


class Door:
    """A listener at which others knock."""

    def __init__(self, limits: Limits, **fields: Any) -> None:
        self._sock, self._loop = FakeSocket(), WatchOnly()
        #: Who was not even looked at.
        self.turned_away: List[str] = []
        tls_door = SimpleNamespace(
            takes=Neighbourhood(lambda: 0.0, **fields).takes,
            on_refused=lambda rule, host, facts: self.turned_away.append(host),
        )
        self.listener = Listener(self._loop, self._sock, None, limits, tls_door)

    def knock(self, host: str, times: int = 1) -> int:
        """Let somebody connect so often; return how many of them are let in."""
        arriving = [FakeSocket() for _ in range(times)]
        for sock in arriving:
            sock.host = host.replace("::ffff:", "")
            self._sock.waiting.append((sock, (host, 4000)))
        for _ in range(0, times, ACCEPTS_A_TURN):
            self._loop.readable()
        return sum(not sock.is_closed for sock in arriving)


@pytest.fixture(autouse=True)
def _no_real_connections(monkeypatch):
    monkeypatch.setattr(listener, "Connection", FakeConnection)


@pytest.mark.parametrize("limits", [Limits(), Limits.for_phone()], ids=["computer", "phone"])
@pytest.mark.parametrize("own", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_strangers_at_many_addresses_leave_room_for_the_owner(limits, own):
    door = Door(limits)
    let_in = sum(door.knock(host, limits.connections_per_address) for host in STRANGERS)
    assert let_in == limits.connections - limits.connections_for_owner
    assert door.knock(own, limits.connections) == limits.connections_for_owner
    assert len(door.listener.connections()) == limits.connections


def test_other_loopback_addresses_are_strangers():
    door = Door(Limits())
    assert sum(door.knock(f"127.0.0.{last}", 32) for last in range(2, 34)) == 240
    assert door.knock("127.0.0.1") == 1


def test_places_that_the_owner_has_taken_are_not_kept_free_twice():
    door = Door(Limits())
    assert door.knock("127.0.0.1", 40) == 32
    assert sum(door.knock(host, 32) for host in STRANGERS) == 256 - 32


def test_of_few_places_at_most_half_are_kept_for_the_owner():
    door = Door(Limits(connections=3))
    assert door.knock("192.0.2.1", 3) == 2 and door.knock("127.0.0.1", 3) == 1


def test_a_place_is_free_again_when_its_connection_is_forgotten():
    door = Door(Limits(connections_per_address=1))
    assert door.knock("192.0.2.1", 2) == 1
    door.listener.forget(door.listener.connections()[0])
    assert door.knock("192.0.2.1", 2) == 1 and door.listener.refused == 2


CAMPUS = [Interface("en0", "131.159.20.7", "255.255.252.0", "131.159.23.255"), Interface("tun0", "10.8.0.2")]


@pytest.mark.parametrize("host, is_taken", [
    ("127.0.0.1", True), ("::1", True), ("10.1.2.3", True), ("172.16.0.9", True), ("192.168.1.20", True),
    ("169.254.9.9", True), ("fe80::1%en0", True), ("fd00::7", True), ("100.64.3.4", True),
    ("::ffff:192.168.1.20", True),
    ("131.159.21.200", True), ("131.159.24.1", False), ("8.8.8.8", False), ("::ffff:8.8.8.8", False),
    ("2001:4860:4860::8888", False), ("nonsense", False),
])
def test_row_29_who_calls_from_a_public_address_is_closed_at_accept(host, is_taken):
    door = Door(Limits(), interfaces=lambda: CAMPUS)
    assert door.knock(host, 3) == (3 if is_taken else 0)
    assert len(door.turned_away) == (0 if is_taken else 3)
    assert Door(Limits(), takes_all=True).knock(host) == 1, "the owner may want it so"


def test_row_29_a_flood_from_outside_looks_at_the_interfaces_once():
    looks = []
    door = Door(Limits(), interfaces=lambda: looks.append(1) or CAMPUS)
    for number in range(100):
        assert door.knock(f"8.8.4.{number}", 10) == 0
    assert len(looks) == 1 and door.listener.connections() == []


# ---- dead sockets --------------------------------------------------------------------------------------------


def failing(name: str) -> OSError:
    return OSError(getattr(errno, name), "")


@pytest.mark.parametrize("name", ["EINVAL", "EBADF", "ENOTCONN", "ENOTSOCK"])
def test_a_socket_that_says_that_it_is_dead_is_watched_no_more_and_told_of(name):
    door, told = Door(Limits()), []
    door.listener.on_failed = told.append
    door._sock.waiting = [failing(name)]
    door._loop.readable()
    assert told == [name] and not door._loop.is_watching and door._loop.later == []


def test_one_whose_callers_have_all_hung_up_is_dead_too():
    """A defunct listener may say ECONNABORTED for ever; a caller that really hung up is one error."""
    door, told = Door(Limits()), []
    door.listener.on_failed = told.append
    door._sock.waiting = [failing("ECONNABORTED")]
    door._loop.readable()
    assert told == ["ECONNABORTED"]


def test_a_lack_of_descriptors_is_no_death():
    door, told = Door(Limits()), []
    door.listener.on_failed = told.append
    door._sock.waiting = [failing("EMFILE")]
    door._loop.readable()
    assert told == [] and door.listener.is_paused and len(door._loop.later) == 1
    door._sock.waiting = []
    door._loop.later[0]()
    assert not door.listener.is_paused and door._loop.is_watching and door.knock("192.0.2.1") == 1


def test_where_nobody_repairs_it_a_dead_socket_is_tried_again_later():
    door = Door(Limits())
    door._sock.waiting = [failing("EINVAL")]
    door._loop.readable()
    assert not door._loop.is_watching and len(door._loop.later) == 1


def test_a_rebuilt_listener_takes_its_own_port_and_a_closed_one_none(monkeypatch):
    door, asked = Door(Limits()), []

    def listen(host: str, port: int) -> FakeSocket:
        asked.append((host, port))
        return FakeSocket()

    monkeypatch.setattr(listener, "listen_on", listen)
    door.listener.rebuild()
    assert asked == [("0.0.0.0", 8080)] and door._sock.is_closed and door._loop.is_watching
    door.listener.close()
    door.listener.rebuild()
    assert len(asked) == 1 and not door._loop.is_watching


def test_our_own_knock_takes_no_place_and_is_nobodys_connection():
    door, arrived = Door(Limits(connections=1)), []
    door.knock("192.0.2.1")
    door.listener.expect("127.0.0.1:4000", lambda: arrived.append(True))
    assert door.knock("127.0.0.2") == 0 and arrived == [], "another address is not ours"
    assert door.knock("127.0.0.1") == 0 and arrived == [True] and door.listener.refused == 1
    assert len(door.listener.connections()) == 1
