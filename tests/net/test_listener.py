"""A listener keeps to its caps, and whoever takes all places that there are cannot shut the owner out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, List, Tuple

import pytest

from discompute_lite.model.limits import Limits
from discompute_lite.net import listener
from discompute_lite.net.interfaces import Interface
from discompute_lite.net.listener import ACCEPTS_A_TURN, Listener
from discompute_lite.net.neighbourhood import Neighbourhood

#: Addresses of strangers, more than are needed to take every place.
STRANGERS = [f"192.0.2.{number}" for number in range(1, 33)]


class WatchOnly:
    """A loop that only keeps whom to call when something can be read."""

    def watch(self, sock: Any, readable: Any, writable: Any) -> None:
        self.readable = readable


class FakeSocket:
    """A socket that somebody has connected, or one that gives such sockets away."""

    def __init__(self) -> None:
        self.waiting: List[Tuple[Any, Any]] = []
        self.is_closed = False

    def accept(self) -> Tuple[Any, Any]:
        if not self.waiting:
            raise BlockingIOError
        return self.waiting.pop(0)

    def close(self) -> None:
        self.is_closed = True


class FakeConnection:
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
