"""Beacons in TXT records; when they are renewed; and nothing at all where a node keeps to its machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.limits import Limits
from discompute_lite.net import mdns_transport
from discompute_lite.net.datagrams import TransportOptions
from discompute_lite.model.interface import Interface
from discompute_lite.net.mdns_transport import MDNS_EVERY_S, MdnsTransport, beacon_txt, txt_beacon
from discompute_lite.wire.beacon import Beacon, decode_beacon, encode_beacon
from discompute_lite.wire.dns import read_txt
from discompute_lite.wire.mdns_browser import MdnsFound, MdnsLost

BEACON = Beacon("k3fq9zt2" * 6 + "k3fq", 8080, name="Ann", status="AVAILABLE", boot="b1", seq=7, every_s=2.5)


class Loop:
    """Hold still."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def call_later(self, delay_s: float, callback: Any, *arguments: Any) -> Any:
        return self

    def call_at(self, when: float, callback: Any, *arguments: Any) -> Any:
        return self

    def cancel(self) -> None:
        """Stand for any timer too."""


class Speaker:
    """Stand for what speaks on one interface; keep what is offered."""

    made: List[Any] = []

    def __init__(self, transport: Any, address: str) -> None:
        self.address, self.offers, self.ending = address, [], ""
        self.responder = self.socket = self
        self.is_alive = True
        Speaker.made.append(self)

    def offer(self, name: str, host: str, port: int, txt: bytes, now: float) -> None:
        self.offers.append((name, host, port, decode_beacon(txt_beacon(read_txt(txt)), Limits())))

    def go_on(self) -> None:
        """Nothing is to be sent."""

    def close(self, *, is_leaving: bool) -> None:
        self.ending = "goodbye" if is_leaving else "quiet"


@pytest.fixture
def opened(monkeypatch):
    """Return opened(interfaces, **options) -> (transport, loop, what it heard)."""
    monkeypatch.setattr(mdns_transport, "MdnsInterface", Speaker)
    monkeypatch.setattr(Speaker, "made", [])

    def make(*interfaces: Interface, **changes: Any) -> Any:
        monkeypatch.setattr(mdns_transport, "list_interfaces", lambda: list(interfaces))
        options = {"bind": "all", "port": 5005, "interface": "all", "peers": (), "interop": False, "limits": Limits()}
        loop, heard = Loop(), []
        transport = MdnsTransport(loop, TransportOptions(**{**options, **changes}))
        transport.open(lambda *words: heard.append(words))
        return transport, loop, heard

    return make


LAN, LOOPBACK = Interface("en0", "192.0.2.1"), Interface("lo0", "127.0.0.1", is_loopback=True)


@given(st.text(max_size=200), st.text(max_size=100), st.booleans())
def test_a_beacon_comes_out_of_its_record_as_it_went_in(name, model, reply):
    datagram = encode_beacon(replace(BEACON, name=name, model=model, reply=reply), Limits())
    data = beacon_txt(BEACON, datagram)
    assert txt_beacon(read_txt(data)) == datagram
    assert read_txt(data)["id"] == BEACON.node_id.encode()


def test_a_record_of_somebody_else_holds_no_beacon():
    assert txt_beacon({"path": b"/", "b1": b"second"}) == b""


def test_it_speaks_where_others_are(opened):
    opened(LAN, LOOPBACK)
    assert [each.address for each in Speaker.made] == ["192.0.2.1"]


@pytest.mark.parametrize("bind", ["127.0.0.1", "::1"])
def test_a_node_that_keeps_to_its_machine_multicasts_nothing(opened, bind):
    transport, _, _ = opened(LAN, LOOPBACK, bind=bind)
    transport.announce(encode_beacon(BEACON, Limits()))
    assert Speaker.made == []


def test_only_news_are_announced_at_once(opened):
    transport, loop, _ = opened(LAN)
    speaker = Speaker.made[0]
    for seq in (7, 8, 9):
        transport.announce(encode_beacon(replace(BEACON, seq=seq, reply=seq == 7), Limits()))
    assert [offer[3].seq for offer in speaker.offers] == [7]
    assert speaker.offers[0][:3] == ("Ann", "discompute-k3fq9zt2", 8080)
    assert speaker.offers[0][3].every_s == MDNS_EVERY_S
    transport.announce(encode_beacon(replace(BEACON, seq=10, status="BUSY"), Limits()))
    loop.time += MDNS_EVERY_S
    transport.announce(encode_beacon(replace(BEACON, seq=11, status="BUSY"), Limits()))
    assert [offer[3].seq for offer in speaker.offers] == [7, 10, 11]


def test_an_interface_that_comes_is_told_and_one_that_goes_is_closed(opened, monkeypatch):
    transport, _, _ = opened(LAN)
    transport.announce(encode_beacon(BEACON, Limits()))
    monkeypatch.setattr(mdns_transport, "list_interfaces", lambda: [Interface("en1", "192.0.2.9")])
    transport._look()
    old, new = Speaker.made
    assert old.ending == "quiet", "the device has not left"
    transport.close()
    assert new.ending == "goodbye" and new.address == "192.0.2.9" and len(new.offers) == 1


def test_what_is_found_is_heard_as_a_beacon_from_its_address(opened):
    transport, _, heard = opened(LAN)
    datagram = encode_beacon(BEACON, Limits())
    found = MdnsFound("Ann", 8080, read_txt(beacon_txt(BEACON, datagram)), (b"\xc0\0\2\5", bytes(16)))
    transport.tell(found, "192.0.2.1")
    assert heard == [(datagram, "192.0.2.5:5353", "mdns")]


@pytest.mark.parametrize("addresses, host", [
    ((b"\xc0\0\2\5",), "192.0.2.5"), ((b"\xfd" + bytes(14) + b"\1", b"\xc0\0\2\5"), "192.0.2.5"),
    ((b"\xfd" + bytes(14) + b"\1",), "[fd00::1]"), ((b"\xfe\x80" + bytes(13) + b"\1",), ""),
    ((b"\xfe\x80" + bytes(13) + b"\1", b"\x20\1\x0d\xb8" + bytes(11) + b"\7"), "[2001:db8::7]"), ((), ""),
])
def test_a_device_with_ipv6_alone_is_called_there_but_not_at_an_address_that_needs_an_interface(
    opened, addresses, host
):
    transport, _, heard = opened(LAN)
    datagram = encode_beacon(BEACON, Limits())
    transport.tell(MdnsFound("Ann", 8080, read_txt(beacon_txt(BEACON, datagram)), addresses), "192.0.2.1")
    assert heard == ([(datagram, f"{host}:5353", "mdns")] if host else [])


def test_a_goodbye_is_heard_and_a_silence_is_not(opened):
    transport, _, heard = opened(LAN)
    found = MdnsFound("Ann", 8080, read_txt(beacon_txt(BEACON, encode_beacon(BEACON, Limits()))), (b"\xc0\0\2\5",))
    for is_goodbye in (False, True):
        transport.tell(found, "192.0.2.1")
        heard.clear()
        transport.tell(MdnsLost("Ann", is_goodbye), "192.0.2.1")
        assert [decode_beacon(data, Limits()).type for data, _, _ in heard] == ["goodbye"] * is_goodbye


@pytest.mark.parametrize("txt, addresses", [
    ({}, (b"\xc0\0\2\5",)), ({"b0": b"nonsense"}, (b"\xc0\0\2\5",)), ({"b0": b"x"}, (bytes(16),)), ({"b0": b"x"}, ()),
])
def test_whatever_a_stranger_offers_is_left_to_the_beacon_reader(opened, txt, addresses):
    transport, _, heard = opened(LAN)
    transport.tell(MdnsFound("X", 1, txt, addresses), "192.0.2.1")
    transport.tell(MdnsLost("X", True), "192.0.2.1")
    assert len(heard) <= 1


def test_a_port_that_is_taken_is_told(opened):
    transport, _, _ = opened(LAN)
    assert transport.trouble() == []
    Speaker.made[0].is_alive = False
    assert "192.0.2.1" in transport.trouble()[0]
