"""Look at this machine for a checkup: Python, disk, firewalls, router, clocks, battery, what it runs inside of.

Knows:   where each system says these things; every question goes through a `Probe`, so that tests can record answers.
Refuses: to judge (core/diagnosis.py does), to send anything (net/network_check.py does), to raise.
Read next: model/checkup.py (the facts).
"""

from __future__ import annotations

import os
import selectors
import shutil
import socket
import struct
import sys
import threading
import time
from typing import Iterator, List, Optional, Tuple

from ..model.checkup import MachineFacts
from ..model.errors import StateError
from .detect import app_name
from .power_check import sensed_facts
from .probe import Probe
from .store import StateFolder

#: Modules that are looked for: those that something needs and some Python lacks.
CHECKED_MODULES = ("socket", "selectors", "json", "hashlib", "ssl", "ctypes", "subprocess")
#: What is written into the state folder and removed again, to see that it can be.
TRIAL_DOCUMENT = "doctor.json"
_WINDOWS_FIREWALL = r"SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy"
_MACOS_FIREWALL = "/usr/libexec/ApplicationFirewall/socketfilterfw"


def look_at_machine(
    probe: Probe, state: Optional[StateFolder], state_problem: str, ports: Tuple[int, int], wall: float
) -> MachineFacts:
    """Return what is seen; `state` is the opened folder or None, with the reason, `ports` are TCP and UDP."""
    problem = state_problem or (trial_of_state(state) if state is not None else "")
    path = state.path if state is not None else ""
    return MachineFacts(
        platform=probe.platform, python=sys.version_info[:3], app=app_name(probe),
        terminal=probe.environ.get("TERM_PROGRAM", ""),
        missing=tuple(name for name in CHECKED_MODULES if not probe.importable(name)),
        state_path=path, state_problem=problem, is_state_kept=bool(path) or bool(problem),
        disk_free_mb=_disk_free_mb(path), open_files=_open_files(), inside=surroundings(probe),
        firewalls=tuple(firewalls(probe, *ports)), gateway=gateway(probe), wall=wall,
        monotonic=time.monotonic(), is_main_thread=threading.current_thread() is threading.main_thread(),
        machine=probe.machine(), release=" ".join(filter(None, (probe.uname()[0], probe.uname()[2]))),
        numpy=numpy_version(probe), selector=selectors.DefaultSelector.__name__, sensed=sensed_facts(probe, path),
    )


def numpy_version(probe: Probe) -> str:
    """Return NumPy's version without importing it, "" where there is none."""
    if not probe.importable("numpy"):
        return ""
    from importlib import metadata

    try:
        return metadata.version("numpy")
    except metadata.PackageNotFoundError:
        return "of a version that is not told"


def trial_of_state(state: StateFolder) -> str:
    """Return why a state folder cannot be used, "" where it can: write to it, and look at the key."""
    try:
        state.write_json(TRIAL_DOCUMENT, {})
        if state.path:
            os.remove(os.path.join(state.path, TRIAL_DOCUMENT))
        if state.has_key():
            # There is one, so nothing is made.
            state.load_or_make_key(os.urandom)
    except StateError as error:
        return error.message
    except OSError as error:
        return f"{error.strerror or error}"
    return ""


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


def gateway(probe: Probe) -> str:
    """Return the router's address, "" where it is not known."""
    for line in (probe.read_text("/proc/net/route") or "").splitlines()[1:]:
        fields = line.split()
        if len(fields) > 2 and fields[1] == "00000000" and fields[2] != "00000000":
            # The kernel prints the address as a number of this machine's byte order.
            return socket.inet_ntoa(struct.pack("=L", int(fields[2], 16)))
    if probe.platform == "darwin":
        words = (probe.run(["/sbin/route", "-n", "get", "default"]) or "").split()
        return _address_in(words[words.index("gateway:") + 1:][:1] if "gateway:" in words else [])
    if probe.platform == "win32":
        for line in (probe.run(["route", "print", "-4", "0.0.0.0"]) or "").splitlines():
            fields = line.split()
            if fields[:2] == ["0.0.0.0", "0.0.0.0"]:
                return _address_in(fields[2:3])
    return ""


def surroundings(probe: Probe) -> str:
    """Return what this system runs inside of: "wsl", "container", or ""."""
    if probe.platform != "linux":
        return ""
    if "microsoft" in probe.uname()[2].lower():
        return "wsl"
    marks = ("/.dockerenv", "/run/.containerenv")
    return "container" if any(probe.read_text(path) is not None for path in marks) else ""


def _address_in(words: List[str]) -> str:
    """Return the IPv4 address that these words begin with, "" where they do not."""
    try:
        socket.inet_pton(socket.AF_INET, words[0])
        return words[0]
    except (OSError, IndexError):
        return ""


def _disk_free_mb(path: str) -> int:
    try:
        return shutil.disk_usage(path).free >> 20 if path else -1
    except OSError:
        return -1


def _open_files() -> int:
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except (ImportError, AttributeError, OSError, ValueError):
        return -1
    return -1 if limit == resource.RLIM_INFINITY else int(limit)
