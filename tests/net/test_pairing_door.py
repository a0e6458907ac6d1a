"""A pairing port over real sockets: both ends see one certificate, and who misbehaves costs a place for a while."""

from __future__ import annotations

import random
import socket
import ssl
import time

import pytest

from discompute_lite.crypto.certificates import SERIAL_BYTES, pairing_certificate
from discompute_lite.crypto.p256 import private_key
from discompute_lite.model.errors import LinkClosed, Unreachable
from discompute_lite.model.limits import Limits
from discompute_lite.net import pairing_door
from discompute_lite.net.loop import Loop
from discompute_lite.net.pairing_door import SocketPairingDoor

KEY = private_key(801)
CERTIFICATE = pairing_certificate(KEY, serial=b"\x01" * SERIAL_BYTES)


class Ear:
    """Listen to a line, and say something to whoever says something."""

    def __init__(self, line, reply=b""):
        self.line, self.reply = line, reply
        self.heard, self.is_over = b"", False

    def received(self, data):
        self.heard += data
        if self.reply:
            self.line.send(self.reply)
            self.line.finish()

    def ended(self):
        self.is_over = True


class House:
    """One loop with a door; callers are turned by hand."""

    def __init__(self, limits, patience_s):
        self.loop, self.limits, self.patience_s = Loop(), limits, patience_s
        self.door = SocketPairingDoor(self.loop, limits, "127.0.0.1", loopback_only=True)
        self.ears = []
        self.calls = []

    def open(self, reply=b""):
        def answer(line):
            self.ears.append(Ear(line, reply))
            return self.ears[-1]

        return f"127.0.0.1:{self.door.open(KEY, CERTIFICATE, answer)}"

    def call(self, address):
        def called(line, certificate, error):
            self.calls.append((line, certificate, error))
            return Ear(line) if line is not None else None

        before = len(self.calls)
        self.door.call(address, called)
        self.wait_until(lambda: len(self.calls) > before)
        return self.calls[-1]

    def wait_until(self, condition):
        until = time.monotonic() + self.patience_s
        while not condition():
            assert time.monotonic() < until, "it did not happen in time"
            self.loop.call_later(0.005, lambda: None)
            self.loop._run_once()

    def close(self):
        self.door.close_all()
        self.loop.close()


@pytest.fixture
def make_house(scale):
    made = []

    def make(**limits):
        made.append(House(Limits(**limits), scale(10.0)))
        return made[-1]

    yield make
    for house in made:
        house.close()


def test_the_caller_is_shown_the_certificate_of_the_invitation(make_house):
    house = make_house()
    line, certificate, error = house.call(house.open())
    assert (certificate, error) == (CERTIFICATE, None)
    line.send(b"hello")
    house.wait_until(lambda: house.ears and house.ears[0].heard == b"hello")
    assert house.ears[0].line.remote_address.startswith("127.0.0.1:")


def test_last_words_arrive_however_long_they_are_and_then_the_end(make_house, monkeypatch):
    # The end comes with the words, not when their time is over.
    monkeypatch.setattr(pairing_door, "_LAST_WORDS_S", 3600.0)
    house, words = make_house(), random.Random(1).randbytes(3_000_000)
    line, _, _ = house.call(house.open(words))
    ear = Ear(line)
    line._listener = ear
    line.send(b"hello")
    house.wait_until(lambda: ear.is_over)
    assert ear.heard == words


def test_where_nobody_listens_there_is_a_sentence_and_no_line(make_house):
    house = make_house()
    address = house.open()
    house.door.close()
    line, certificate, error = house.call(address)
    assert (line, certificate) == (None, b"") and isinstance(error, Unreachable)


def test_whoever_speaks_no_tls_gets_no_line(make_house):
    house = make_house()
    host, port = house.open().split(":")
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(b'{"v":1}\n')
        house.wait_until(lambda: house.door._lines)
        house.wait_until(lambda: not house.door._lines)
    assert house.ears == []


def test_a_host_that_speaks_no_tls_is_no_host(make_house):
    house = make_house()
    with socket.create_server(("127.0.0.1", 0)) as server:
        called = []
        house.door.call(f"127.0.0.1:{server.getsockname()[1]}", lambda *told: called.append(told))
        other, _ = server.accept()
        other.sendall(b"SSH-2.0-OpenSSH_9.0\r\n")
        house.wait_until(lambda: called)
        other.close()
    (line, _, error), = called
    assert line is None and isinstance(error, LinkClosed)


def test_a_slow_handshake_is_over_at_its_deadline(make_house):
    house = make_house(handshake_s=0.05)
    host, port = house.open().split(":")
    with socket.create_connection((host, int(port))):
        house.wait_until(lambda: house.door._lines)
        house.wait_until(lambda: not house.door._lines)


@pytest.mark.parametrize("limit", ["pairing_lines_per_address", "pairing_lines"])
def test_no_more_than_the_places_are_taken_and_they_are_given_back(make_house, limit):
    house = make_house(**{limit: 2})
    address = house.open()
    host, port = address.split(":")
    others = [socket.create_connection((host, int(port))) for _ in range(3)]
    house.wait_until(lambda: house.door.refused)
    assert len(house.door._lines) == 2
    for sock in others:
        sock.close()
    house.wait_until(lambda: not house.door._lines)
    assert house.call(address)[2] is None


def test_old_tls_is_refused(make_house):
    house = make_house()
    host, port = house.open().split(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    # A ClientHello of TLS 1.1: the version of the message is in its bytes 9 and 10.
    old = bytearray(outgoing.read())
    old[9:11] = b"\x03\x02"
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(old)
        house.wait_until(lambda: house.door._lines)
        house.wait_until(lambda: not house.door._lines)
    assert house.ears == []
