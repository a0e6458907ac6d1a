"""Say which firewalls of this machine are switched on, and what lets a node's ports in.

Knows:   where Linux, macOS and Windows say it.
Refuses: phones, which have none that a script could ask for: the small file for them goes without this module.
Read next: host/machine_check.py (who asks), core/network_diagnosis.py (what follows).
"""

from __future__ import annotations

from typing import Iterator, Tuple

from .probe import Probe

_WINDOWS_FIREWALL = r"SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy"
_MACOS_FIREWALL = "/usr/libexec/ApplicationFirewall/socketfilterfw"


def firewalls(probe: Probe, port: int, discovery_port: int) -> Iterator[Tuple[str, str]]:
    """Give the firewalls that are switched on, each with what lets these ports in."""
    if "enabled=yes" in (probe.read_text("/etc/ufw/ufw.conf") or "").lower().replace(" ", ""):
        yield "ufw", f"sudo ufw allow {port}/tcp; sudo ufw allow {discovery_port}/udp"
    if probe.platform == "linux":
        if (probe.run(["firewall-cmd", "--state"]) or "").strip() == "running":
            yield "firewalld", f"sudo firewall-cmd --add-port={port}/tcp --add-port={discovery_port}/udp"
        rules = (probe.run(["nft", "list", "ruleset"]) or "") + (probe.run(["iptables", "-S", "INPUT"]) or "")
        if any(word in rules for word in ("policy drop", " drop", "reject", "-j DROP", "-j REJECT", "-P INPUT DROP")):
            yield "of the kernel (nft, iptables)", ""
    if probe.platform == "darwin" and "enabled" in (probe.run([_MACOS_FIREWALL, "--getglobalstate"]) or ""):
        yield "of macOS", "System Settings, Network, Firewall, Options: allow incoming connections for Python."
    profiles = [probe.registry(rf"{_WINDOWS_FIREWALL}\{name}", "EnableFirewall")
                for name in ("StandardProfile", "PublicProfile")]
    if 1 in profiles:
        yield "of Windows", "Windows Security, Firewall: allow Python on private networks; set this network to private."
