"""Interfaces are listed without guessing, and chosen as the setting says."""

from __future__ import annotations

import gc
import ipaddress
import socket
import tracemalloc

import pytest

from discompute_lite.model.interface import Interface
from discompute_lite.net.interfaces import ALL_NODES, choose_interfaces, list_interfaces, list_ipv6

WIFI = Interface("en0", "192.168.1.20", "255.255.255.0", "192.168.1.255")
WIRED = Interface("en5", "10.0.0.7", "255.0.0.0", "10.255.255.255")
SECOND = Interface("en5", "10.9.0.7", "255.255.0.0", "10.9.255.255")


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [("all", [WIFI, WIRED, SECOND]), ("", [WIFI, WIRED, SECOND]), ("en0", [WIFI]), ("en5", [WIRED, SECOND]),
     ("10.9.0.7", [SECOND]), ("en", []), ("10.9.0", [])],
)
def test_an_interface_is_chosen_by_name_or_address(wanted, chosen):
    assert choose_interfaces([WIFI, WIRED, SECOND], wanted) == chosen


def test_this_machine_has_a_loopback_interface():
    found = list_interfaces()
    loopback = [item for item in found if item.address == "127.0.0.1"]
    assert len(loopback) == 1 and loopback[0].is_loopback and loopback[0].netmask == "255.0.0.0"
    assert loopback[0].broadcast == "", "what is sent there reaches nobody"
    for item in found:
        assert item.name and ipaddress.ip_address(item.address).version == 4
        if item.broadcast:
            network = ipaddress.ip_network(f"{item.address}/{item.netmask}", strict=False)
            assert item.broadcast == str(network.broadcast_address) or not item.is_loopback


def test_a_node_that_looks_for_days_keeps_nothing_of_it():
    def look():
        for _ in range(25):
            list_interfaces()
            list_ipv6()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        look()  # What is made once.
        before = look()
        assert look() - before < 2_500, "7 kB each time are 290 MB a day"
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("error", [ImportError, OSError, AttributeError, ValueError, TypeError])
def test_without_a_list_routes_must_do(monkeypatch, error):
    import discompute_lite.net.interfaces as module

    def unavailable():
        raise error("no such thing here")
        yield  # A generator fails at its first item.

    monkeypatch.setattr(module, "_by_getifaddrs", unavailable)
    monkeypatch.setattr(module, "_by_routes", lambda: iter([WIFI]))
    assert list_interfaces() == [WIFI]


def test_addresses_of_ipv6_are_listed_apart_and_link_local_ones_with_their_interface():
    for item in list_ipv6():
        address, _, zone = item.address.partition("%")
        assert ipaddress.ip_address(address).version == 6 and 0 < int(item.netmask) <= 128
        assert (zone == item.name) == ipaddress.ip_address(address).is_link_local
        assert item.broadcast == ("" if item.is_loopback else ALL_NODES)
    assert all(":" not in item.address for item in list_interfaces())


@pytest.mark.parametrize("raw, address", [
    ("fe80000500000000000000000000000a", "fe80::a%en0"), ("fd00" + "00" * 13 + "01", "fd00::1"),
    ("00" * 15 + "01", "::1"),
])
def test_an_address_is_read_where_bsd_keeps_the_interface_in_it_too(raw, address):
    import discompute_lite.net.interfaces as module

    assert module._ipv6_interface("en0", bytes.fromhex(raw), "64", True, False).address == address


def test_without_a_list_each_interface_is_asked_for_its_own_address(monkeypatch):
    """As on Windows: connecting a datagram socket sends nothing, and shows the address that leads there."""
    import discompute_lite.net.interfaces as module

    class Sockets:
        def __getattr__(self, name):
            return getattr(socket, name)

        @staticmethod
        def if_nameindex():
            return [(1, "loopback_0"), (7, "ethernet_7")]

        class socket:
            def __init__(self, family, kind):
                assert family == socket.AF_INET6

            def __enter__(self):
                return self

            def __exit__(self, *exception):
                pass

            def connect(self, address):
                self.own = {("fe80::1", 7): "fe80::b", ("fd00::1", 0): "fd00::b", ("fe80::1", 1): "::1"}.get(
                    (address[0], address[3]))
                if self.own is None:
                    raise OSError(101, "no route")

            def getsockname(self):
                return self.own, 50000, 0, 0

    monkeypatch.setattr(module, "_addresses_listed", list)
    monkeypatch.setattr(module, "socket", Sockets())
    assert list_ipv6() == [Interface("ethernet_7", "fe80::b%ethernet_7", "", ALL_NODES), Interface("", "fd00::b")]
