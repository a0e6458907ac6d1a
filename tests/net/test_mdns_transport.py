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
from discompute_lite.net.mdns_places import MdnsPlace, mdns_places
from discompute_lite.net.mdns_transport import MDNS_EVERY_S, MdnsTransport, beacon_txt, txt_beacon
from discompute_lite.wire.beacon import Beacon, decode_beacon, encode_beacon
from discompute_lite.wire.dns import DNS_A, DNS_AAAA, read_txt
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

    def __init__(self, transport: Any, place: MdnsPlace) -> None:
        self.place, self.offers, self.ending = place, [], ""
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
        monkeypatch.setattr(mdns_transport, "list_interfaces", lambda: [one for one in interfaces if one not in V6])
        monkeypatch.setattr(mdns_transport, "list_ipv6", lambda: [one for one in interfaces if one in V6])
        options = {"bind": "all", "port": 5005, "interface": "all", "peers": (), "interop": False, "limits": Limits()}
        loop, heard = Loop(), []
        transport = MdnsTransport(loop, TransportOptions(**{**options, **changes}))
        transport.open(lambda *words: heard.append(words))
        return transport, loop, heard

    return make


LAN, LOOPBACK = Interface("en0", "192.0.2.1"), Interface("lo0", "127.0.0.1", is_loopback=True)
LINK, WIDE = Interface("en0", "fe80::1%en0", "64", "ff02::1"), Interface("en0", "fd00::1", "64", "ff02::1")
LOOPBACK_V6, TUNNEL = Interface("lo0", "::1", "128", is_loopback=True), Interface("utun0", "fe80::9%utun0", "64")
V6 = (LINK, WIDE, LOOPBACK_V6, TUNNEL)
HERE = MdnsPlace("en0", "192.0.2.1", ("192.0.2.1",))


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
    assert [each.place for each in Speaker.made] == [HERE]


def test_both_kinds_are_spoken_and_each_tells_of_all_addresses(opened):
    """What is heard by one is the whole: a device of one kind alone learns whether it can call."""
    opened(LAN, LOOPBACK, LINK, WIDE, LOOPBACK_V6, TUNNEL)
    every = ("192.0.2.1", "fe80::1%en0", "fd00::1")
    assert [each.place for each in Speaker.made] == [
        MdnsPlace("en0", "192.0.2.1", every), MdnsPlace("en0", "", every)]
    assert [kind for kind, _ in Speaker.made[1].place.records()] == [DNS_A, DNS_AAAA, DNS_AAAA]
    assert Speaker.made[1].place.records()[1][1] == b"\xfe\x80" + bytes(13) + b"\1", "without the interface"


@pytest.mark.parametrize("bind, places", [
    ("192.0.2.1", [HERE]), ("fd00::1", [MdnsPlace("en0", "", ("fd00::1",))]),
    ("fe80::1%en0", [MdnsPlace("en0", "", ("fe80::1%en0",))]),
])
def test_a_node_that_listens_at_one_address_tells_of_that_alone(opened, bind, places):
    opened(LAN, LOOPBACK, LINK, WIDE, LOOPBACK_V6, bind=bind)
    assert [each.place for each in Speaker.made] == places


def test_of_many_interfaces_few_speak_ipv6(opened):
    many = [Interface(f"en{number}", f"fe80::1%en{number}", "64", "ff02::1") for number in range(9)]
    assert [place.name for place in mdns_places(many)] == ["en0", "en1", "en2", "en3"]


@pytest.mark.parametrize("bind", ["127.0.0.1", "::1"])
def test_a_node_that_keeps_to_its_machine_multicasts_nothing(opened, bind):
    transport, _, _ = opened(LAN, LOOPBACK, bind=bind)
    transport.announce(encode_beacon(BEACON, Limits()))
    assert Speaker.made == []


def test_what_says_the_same_as_before_is_not_read_again(opened, monkeypatch):
    transport = opened()[0]
    transport.announce(encode_beacon(BEACON, Limits()))
    monkeypatch.setattr(mdns_transport, "decode_beacon", lambda *_: pytest.fail("it was read"))
    transport.announce(encode_beacon(replace(BEACON, seq=BEACON.seq + 1), Limits()))
    with pytest.raises(pytest.fail.Exception):
        transport.announce(encode_beacon(replace(BEACON, seq=BEACON.seq + 2, status="BUSY"), Limits()))


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
    assert new.ending == "goodbye" and new.place.address == "192.0.2.9" and len(new.offers) == 1


def test_what_is_found_is_heard_as_a_beacon_from_its_address(opened):
    transport, _, heard = opened(LAN)
    datagram = encode_beacon(BEACON, Limits())
    found = MdnsFound("Ann", 8080, read_txt(beacon_txt(BEACON, datagram)), (b"\xc0\0\2\5", bytes(16)))
    transport.tell(found, HERE)
    assert heard == [(datagram, "192.0.2.5:5353", "mdns")]


V4, FAR, NEAR = b"\xc0\0\2\5", b"\x20\1\x0d\xb8" + bytes(11) + b"\7", b"\xfe\x80" + bytes(13) + b"\5"


@pytest.mark.parametrize("ours, addresses, hosts", [
    ((LAN,), (V4,), ["192.0.2.5"]),
    ((LAN,), (FAR, V4), ["192.0.2.5"]),
    ((LAN,), (b"\xc0\0\2\4", V4), ["192.0.2.5"]),
    ((LAN,), (FAR,), ["[2001:db8::7]"]),
    ((LAN,), (NEAR,), ["[fe80::5%en0]"]),
    ((LAN, LINK), (V4, NEAR), ["[fe80::5%en0]", "192.0.2.5"]),
    ((LAN, LINK), (FAR, NEAR), ["[fe80::5%en0]"]),
    ((LINK,), (V4, NEAR), ["[fe80::5%en0]"]),
    ((LINK, WIDE), (NEAR, FAR), ["[fe80::5%en0]", "[2001:db8::7]"]),
    ((LAN,), (), []),
])
def test_a_device_is_called_where_both_have_an_address_of_one_kind(opened, ours, addresses, hosts):
    """The best comes last: it is the one that is tried first."""
    transport, _, heard = opened(*ours)
    datagram = encode_beacon(BEACON, Limits())
    transport.tell(MdnsFound("Ann", 8080, read_txt(beacon_txt(BEACON, datagram)), addresses), Speaker.made[-1].place)
    assert heard == [(datagram, f"{host}:5353", "mdns") for host in hosts]


def test_a_goodbye_is_heard_and_a_silence_is_not(opened):
    transport, _, heard = opened(LAN)
    found = MdnsFound("Ann", 8080, read_txt(beacon_txt(BEACON, encode_beacon(BEACON, Limits()))), (b"\xc0\0\2\5",))
    for is_goodbye in (False, True):
        transport.tell(found, HERE)
        heard.clear()
        transport.tell(MdnsLost("Ann", is_goodbye), HERE)
        assert [decode_beacon(data, Limits()).type for data, _, _ in heard] == ["goodbye"] * is_goodbye


@pytest.mark.parametrize("txt, addresses", [
    ({}, (b"\xc0\0\2\5",)), ({"b0": b"nonsense"}, (b"\xc0\0\2\5",)), ({"b0": b"x"}, (bytes(16),)), ({"b0": b"x"}, ()),
])
def test_whatever_a_stranger_offers_is_left_to_the_beacon_reader(opened, txt, addresses):
    transport, _, heard = opened(LAN)
    transport.tell(MdnsFound("X", 1, txt, addresses), HERE)
    transport.tell(MdnsLost("X", True), HERE)
    assert len(heard) <= 1


def test_a_port_that_is_taken_is_told(opened):
    transport, _, _ = opened(LAN)
    assert transport.trouble() == []
    Speaker.made[0].is_alive = False
    assert ["en0" in line for line in transport.trouble()] == [True]


def test_what_works_by_one_kind_of_address_is_no_trouble(opened):
    transport, _, _ = opened(LAN, LINK)
    Speaker.made[1].is_alive = False
    assert transport.trouble() == []
    Speaker.made[0].is_alive = False
    assert len(transport.trouble()) == 1
