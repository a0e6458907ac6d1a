"""Each socket is of its address's family, asks Apple's systems for no signal, and knows the interface of a link."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from typing import Any, List, Tuple

import pytest

from discompute_lite.model.interface import Interface
from discompute_lite.net import sockets
from discompute_lite.net.sockets import (
    accept_from, call_and_wait, let_go_if_taken, new_socket, socket_address, spare_process, wake_pair, zone_index,
)

#: SO_NOSIGPIPE of Darwin's <sys/socket.h>.
NO_SIGPIPE = 0x1022


class AppleSocket(socket.socket):
    """A socket of a system that has SO_NOSIGPIPE, and notes who sets it."""

    set_on: List[Any] = []
    refuses = False

    def setsockopt(self, level: int, option: int, value: Any) -> None:  # type: ignore[override]
        if (level, option) == (socket.SOL_SOCKET, NO_SIGPIPE):
            if self.refuses:
                raise OSError(errno.EINVAL, "it is shut down")
            assert value == 1
            AppleSocket.set_on.append(self.fileno())
        else:
            super().setsockopt(level, option, value)

    def accept(self) -> Tuple[socket.socket, Any]:
        number, address = self._accept()  # type: ignore[attr-defined]
        return AppleSocket(self.family, self.type, self.proto, fileno=number), address


@pytest.fixture
def apple(monkeypatch):
    """Make this one of Apple's systems; return the descriptors on which the signal was turned off."""

    class Sockets:
        socket = AppleSocket

        def __getattr__(self, name: str) -> Any:
            return getattr(socket, name)

        @staticmethod
        def socketpair() -> Any:
            return tuple(AppleSocket(fileno=one.detach()) for one in socket.socketpair())

        @staticmethod
        def create_connection(address: Any, timeout: float) -> Any:
            sock = AppleSocket(socket.AF_INET, socket.SOCK_STREAM)
            sock.settimeout(timeout)
            sock.connect(address)
            return sock

    monkeypatch.setattr(sockets, "_NO_SIGPIPE", NO_SIGPIPE)
    monkeypatch.setattr(sockets, "socket", Sockets())
    monkeypatch.setattr(AppleSocket, "set_on", [])
    return AppleSocket.set_on


def test_no_connection_of_ours_can_end_an_app_by_a_signal(apple):
    """However it came about: dialled, accepted, called and waited for, or within the process."""
    made = [new_socket("127.0.0.1")]
    made[0].bind(("127.0.0.1", 0))
    made[0].listen()
    made.append(call_and_wait("127.0.0.1", made[0].getsockname()[1], 5.0))
    made.append(accept_from(made[0])[0])
    made += wake_pair()
    assert apple == [sock.fileno() for sock in made] and len(made) == 5
    for sock in made:
        sock.close()


def test_a_connection_that_died_before_it_was_told_is_kept_for_what_finds_out(apple, monkeypatch):
    monkeypatch.setattr(AppleSocket, "refuses", True)
    sock = new_socket("127.0.0.1")
    assert sock.fileno() >= 0 and apple == []
    sock.close()


def test_other_systems_are_told_nothing():
    class Plain:
        """Knows no options."""

    plain: Any = Plain()
    assert sockets._NO_SIGPIPE == 0 and spare_process(plain) is plain


@pytest.mark.parametrize("host, family", [
    ("127.0.0.1", socket.AF_INET), ("", socket.AF_INET), ("::1", socket.AF_INET6), ("fe80::1%en0", socket.AF_INET6),
])
def test_an_address_has_the_socket_of_its_family(host, family):
    with new_socket(host, socket.SOCK_DGRAM) as sock:
        assert sock.family == family


# ---- a number that is another's by now ------------------------------------------------------------------------


@pytest.fixture
def ends():
    """Both ends of a connection, and their listener."""
    with socket.create_server(("127.0.0.1", 0)) as listener, new_socket("127.0.0.1") as caller:
        caller.connect(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted:
            yield accepted, caller, listener


def names_of(sock):
    return sock.getsockname(), sock.getpeername()


def take_away(sock, stranger):
    """Have the number of a socket mean another one, as where the system has closed it; return that one's copy."""
    number = sock.fileno()
    os.dup2(stranger.fileno(), number)
    return number


@pytest.mark.parametrize("what", ["another connection", "its own listener", "a socket that is new", "a file"])
def test_a_stranger_that_has_the_number_by_now_stays_open(ends, what, tmp_path):
    accepted, caller, listener = ends
    names = names_of(accepted)
    with socket.create_connection(listener.getsockname()), open(tmp_path / "file", "w") as file:
        another, _ = listener.accept()
        with another, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as new:
            new.bind(("127.0.0.1", 0))
            strangers = {"another connection": another, "its own listener": listener, "a socket that is new": new,
                         "a file": file}
            number = take_away(accepted, strangers[what])
            let_go_if_taken(accepted, *names)
            accepted.close()
            os.close(number)  # It is there: EBADF would be raised.


def test_a_number_that_was_closed_is_let_go(ends):
    accepted, _, _ = ends
    names = names_of(accepted)
    os.close(accepted.fileno())
    let_go_if_taken(accepted, *names)
    assert accepted.fileno() < 0


@pytest.mark.parametrize("is_reset", [False, True])
def test_a_dead_connection_is_still_its_own(ends, is_reset):
    accepted, caller, _ = ends
    names = names_of(accepted)
    if is_reset:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    caller.close()
    with contextlib.suppress(ConnectionResetError):
        accepted.recv(1)  # It is dead when this returns, and not before.
    let_go_if_taken(accepted, *names)
    assert accepted.fileno() >= 0, "its owner closes it"


# ---- the interface behind a link-local address ----------------------------------------------------------------


@pytest.mark.parametrize("host", ["10.0.0.1", "::1", "fd00::1", "2001:db8::1"])
def test_other_addresses_need_no_interface(host):
    assert socket_address(host, 9) == (host, 9)


@pytest.mark.parametrize("host, index", [("fe80::1%3", 3), ("FE80::1%lo", socket.if_nametoindex("lo"))])
def test_an_interface_is_named_or_numbered(host, index):
    assert socket_address(host, 9) == (host.partition("%")[0], 9, 0, index)


def interface(name: str, broadcast: str = "ff02::1") -> Interface:
    return Interface(name, f"fe80::1%{name}", "64", broadcast)


@pytest.mark.parametrize("there", [[interface("lo")], [interface("lo"), interface("lo"), interface("tunnel", "")]])
@pytest.mark.parametrize("zone", ["", "another-devices0"])
def test_the_only_interface_needs_no_name(monkeypatch, there, zone):
    monkeypatch.setattr(sockets, "list_ipv6", lambda: there)
    assert zone_index(zone) == socket.if_nametoindex("lo")


@pytest.mark.parametrize("there", [[], [interface("en0"), interface("en1")], [interface("gone0")]])
def test_where_it_is_not_clear_nobody_guesses(monkeypatch, there):
    monkeypatch.setattr(sockets, "list_ipv6", lambda: there)
    with pytest.raises(OSError):
        zone_index("")
