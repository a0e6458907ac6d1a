"""Addresses that people and strangers write are read in one way or refused; nothing in them upsets a resolver."""

from __future__ import annotations

import errno
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.errors import LinkError
from discompute_lite.net.addresses import (
    address_text,
    error_name,
    error_words,
    host_of,
    is_loopback_host,
    is_numeric_host,
    loopback_neighbours,
    plain_host,
    split_address,
)


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("192.168.1.20:8081", "192.168.1.20", 8081), ("192.168.1.20", "192.168.1.20", 8080), ("pi.local:1", "pi.local",
        1),
        ("pi", "pi", 8080), ("pi:", "pi", 8080), ("Ann’s-Mac.local", "Ann’s-Mac.local", 8080), ("pi:65535", "pi",
        65535),
        ("[::1]:8081", "::1", 8081), ("[::1]", "::1", 8080), ("::1", "::1", 8080), ("fe80::1%en0", "fe80::1%en0", 8080),
        ("[fe80::1%en0]:9", "fe80::1%en0", 9), ("::ffff:10.0.0.1", "::ffff:10.0.0.1", 8080), ("pi:0", "pi", 0),
    ],
)
def test_an_address_is_host_and_port(address, host, port):
    assert split_address(address, 8080) == (host, port)


@pytest.mark.parametrize(
    "address",
    ["", ":", ":80", "[]", "[]:80", "pi:65536", "pi:99999", "pi:-1", "pi:+1", "pi:x", "pi:80x", "pi: 80", "pi:8 0",
    "a b", " pi",
     "pi\n", "pi\x00", "pi:80:90", "[::1", "::1]", "[::1]x:80", "[::1]80", "[[::1]]:80", "pi:\u00b2", "pi:\u0661",
     "\ud800:80",
     "pi:" + "9" * 5000, "\x7f"],
)
def test_anything_else_is_refused(address):
    with pytest.raises(LinkError) as caught:
        split_address(address, 8080)
    assert caught.value.message.isprintable() or "’" in address


@given(st.text(max_size=20))
def test_any_text_is_an_address_or_a_link_error(text):
    try:
        host, port = split_address(text, 8080)
    except LinkError:
        return
    assert host and 0 <= port < 65536
    assert is_numeric_host(host) in (True, False)


@given(st.ip_addresses(), st.integers(1, 65535))
def test_what_is_written_is_read_again(address, port):
    text = address_text((str(address), port))
    assert split_address(text) == (plain_host(str(address)), port)
    assert host_of(text) == plain_host(str(address))


@pytest.mark.parametrize(
    ("address", "text"),
    [(("127.0.0.1", 80), "127.0.0.1:80"), (("::1", 80, 0, 0), "[::1]:80"), (("::ffff:10.0.0.1", 80, 0, 0),
    "10.0.0.1:80"),
     (("::ffff:a:b", 80, 0, 0), "[::ffff:a:b]:80"), (("fe80::1%en0", 80, 0, 4), "[fe80::1%en0]:80"),
     (("fe80::1", 80, 0, 1), "[fe80::1%lo]:80"), (("fe80::1", 80, 0, 987654), "[fe80::1%987654]:80"),
     (("fd00::1", 80, 0, 1), "[fd00::1]:80")],
)
def test_socket_addresses_are_written_for_people(address, text):
    assert address_text(address) == text


@pytest.mark.parametrize(
    ("host", "is_numeric", "is_loopback"),
    [("127.0.0.1", True, True), ("127.255.255.255", True, True), ("::1", True, True), ("10.0.0.1", True, False),
     ("fe80::1", True, False), ("fe80::1%en0", True, False), ("fd00::1%en0", False, False),
     ("10.0.0.1%en0", False, False), ("0.0.0.0", True, False),
     ("localhost", False, False), ("128.127.0.1", True, False),
     ("127.1", False, True), ("", False, False), ("\x00", False, False), ("\ud800", False, False), ("\u00b2", False,
     False)],
)
def test_kinds_of_hosts(host, is_numeric, is_loopback):
    assert (is_numeric_host(host), is_loopback_host(host)) == (is_numeric, is_loopback)


def test_errors_are_known_by_their_symbols():
    assert error_name(OSError(errno.ECONNRESET, "any text")) == "ECONNRESET"
    assert error_name(ConnectionRefusedError(errno.ECONNREFUSED, "")) == "ECONNREFUSED"
    assert error_name(socket.timeout("slow")) in ("timeout", "TimeoutError")
    assert error_name(socket.gaierror(socket.EAI_NONAME, "unknown")) == "gaierror"


def test_people_read_words():
    assert error_words(ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")) == "connection refused"
    assert error_words(socket.timeout("timed out")) == "timed out"
    assert error_words(socket.gaierror(socket.EAI_NONAME, "Name or service not known")) == "its name is not known"
    assert error_words(ValueError()) == "valueerror"


@pytest.mark.parametrize(("port", "usual", "first"), [
    (8080, True, [8080]), (0, True, [8080]), (9000, True, [8080, 9000]), (9000, False, [9000]), (8080, False, [8080]),
    (0, False, []),
])
def test_neighbours_listen_from_the_usual_port_on_and_from_ones_own(port, usual, first):
    expected = [f"127.0.0.1:{number}" for start in first for number in range(start, start + 20)]
    assert loopback_neighbours(port, usual=usual) == expected
    of_ipv6 = loopback_neighbours(port, usual=usual, host="::1")
    assert of_ipv6 == [each.replace("127.0.0.1", "[::1]") for each in expected]
