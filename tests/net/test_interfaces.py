"""Interfaces are listed without guessing, and chosen as the setting says."""

from __future__ import annotations

import ipaddress

import pytest

from discompute_lite.model.interface import Interface
from discompute_lite.net.interfaces import choose_interfaces, list_interfaces

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


@pytest.mark.parametrize("error", [ImportError, OSError, AttributeError, ValueError, TypeError])
def test_without_a_list_routes_must_do(monkeypatch, error):
    import discompute_lite.net.interfaces as module

    def unavailable():
        raise error("no such thing here")
        yield  # A generator fails at its first item.

    monkeypatch.setattr(module, "_by_getifaddrs", unavailable)
    monkeypatch.setattr(module, "_by_routes", lambda: iter([WIFI]))
    assert list_interfaces() == [WIFI]
