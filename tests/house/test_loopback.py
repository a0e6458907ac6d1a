"""Tests cannot leave this machine, nor touch the user's files: the guard of tests/conftest.py holds."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

#: TEST-NET-1 of RFC 5737: nobody's address, should the guard fail.
ELSEWHERE = ("192.0.2.1", 9)


@pytest.fixture
def forgiven(_loopback_rule):
    """Let the attempts of these tests not count against them."""
    yield
    _loopback_rule.attempts.clear()


@pytest.mark.parametrize("send", [
    lambda sock: sock.connect(ELSEWHERE),
    lambda sock: sock.connect_ex(ELSEWHERE),
    lambda sock: sock.sendto(b"x", ELSEWHERE),
    lambda sock: sock.sendto(b"x", 0, ELSEWHERE),
    lambda sock: sock.sendto(b"x", ("255.255.255.255", 9)),
    lambda sock: socket.create_connection(ELSEWHERE, timeout=0.1),
    lambda sock: socket.create_connection(("example.org", 9), timeout=0.1),
])
def test_sending_elsewhere_is_refused(send, forgiven):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(AssertionError, match="a test"):
        send(sock)


def test_an_attempt_is_remembered_even_if_its_error_is_swallowed(_loopback_rule, forgiven):
    with pytest.raises(AssertionError):
        _loopback_rule.check(ELSEWHERE)
    assert _loopback_rule.attempts == ["192.0.2.1:9"]


def test_the_loopback_is_allowed():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        sender.sendto(b"hello", receiver.getsockname())
        assert receiver.recv(10) == b"hello"


def test_a_name_that_cannot_exist_fails_as_it_would():
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("nobody.invalid", 80)


def test_home_and_state_are_temporary(tmp_path_factory):
    temporary = tmp_path_factory.getbasetemp()
    assert temporary in Path.home().parents
    assert temporary in Path(os.environ["DISCOMPUTE_STATE_DIR"]).parents
    assert os.environ["DISCOMPUTE_BIND"] == "127.0.0.1"
