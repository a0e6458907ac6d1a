"""A dial ends once, later, with a connection or a sentence that says what to do; bad addresses never raise."""

from __future__ import annotations

import errno
import socket
from typing import Any, List, Tuple

import pytest

from discompute_lite.model.errors import DiscomputeError, LinkError, Unreachable
from discompute_lite.model.limits import Limits
from discompute_lite.net import links, sockets
from discompute_lite.net.links import Dialler


class PostOnly:
    """A loop that only keeps what is posted."""

    def __init__(self) -> None:
        self.posted: List[Tuple[Any, ...]] = []

    def post(self, callback: Any, *arguments: Any) -> None:
        self.posted.append((callback, *arguments))


def dial(address: str, **changes: Any) -> Tuple[Any, DiscomputeError]:
    loop = PostOnly()
    outcomes: List[Any] = []
    dialler = Dialler(loop, None, Limits(), loopback_only=changes.get("loopback_only", False))
    dialler.open(address, 8080, lambda *outcome: outcomes.append(outcome))
    assert outcomes == [], "never before open has returned"
    ((callback, *arguments),) = loop.posted
    callback(*arguments)
    (outcome,) = outcomes
    return outcome


@pytest.mark.parametrize("address", ["", ":80", "a b:80", "pi:99999", "pi:\u00b2", "\x00:1", "pi\x00", "\ud800"])
def test_a_bad_address_is_told_like_any_other_failure(address):
    connection, error = dial(address)
    assert connection is None and isinstance(error, LinkError)


@pytest.mark.parametrize("address", ["192.0.2.1:80", "10.0.0.1", "[2001:db8::1]:80", "0.0.0.0:80"])
def test_a_node_of_the_loopback_dials_nobody_else(address):
    connection, error = dial(address, loopback_only=True)
    assert connection is None and type(error) is Unreachable and "--bind" in error.message


def test_without_descriptors_a_dial_fails_politely(monkeypatch):
    class Sockets:
        def __getattr__(self, name: str) -> Any:
            return getattr(socket, name)

        def socket(self, *arguments: Any) -> Any:
            raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(sockets, "socket", Sockets())
    connection, error = dial("127.0.0.1:80")
    assert connection is None and type(error) is Unreachable and "too many open files" in error.message


@pytest.mark.parametrize("address", ["fe80::1", "[fe80::1]:9", "[fe80::1%attic0]:9"])
def test_an_address_of_one_link_without_an_interface_is_told_what_it_lacks(monkeypatch, address):
    monkeypatch.setattr(sockets, "list_ipv6", list)
    connection, error = dial(address)
    assert connection is None and "fe80::1%eth0" in error.message


@pytest.mark.parametrize(
    ("name", "about"),
    [("ECONNREFUSED", "is the node there running?"), ("ETIMEDOUT", "awake and on this network"), ("EHOSTDOWN", "awake"),
     ("EHOSTUNREACH", "(no route to host)"), ("ENETUNREACH", "check the address")],
)
def test_each_way_to_fail_has_its_sentence(name, about):
    error = links._unreachable("127.0.0.1", 80, getattr(errno, name))
    assert about in error.message and "127.0.0.1:80" in error.message
