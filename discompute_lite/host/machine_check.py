"""Look at this machine for a checkup: Python, disk, router, clocks, battery, what it runs inside of.

Knows:   where each system says these things; every question goes through a `Probe`, so that tests can record answers.
Refuses: to judge (core/diagnosis.py does), to send anything (net/network_check.py does), to raise.
Read next: model/checkup.py (the facts), host/firewalls.py.
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
from typing import List, Optional, Tuple

from ..model.checkup import MachineFacts
from ..model.errors import StateError
from .detect import app_name
from .detect_linux import surroundings
from .files import state_errors
from .firewalls import firewalls
from .open_files import most_open_files
from .power_check import sensed_facts
from .probe import Probe
from .store import StateFolder

#: Modules that are looked for: those that something needs and some Python lacks.
CHECKED_MODULES = ("socket", "selectors", "json", "hashlib", "ssl", "ctypes", "subprocess")
#: What is written into the state folder and removed again, to see that it can be.
TRIAL_DOCUMENT = "doctor.json"


def look_at_machine(
    probe: Probe, state: Optional[StateFolder], problem: Optional[StateError], ports: Tuple[int, int], wall: float
) -> MachineFacts:
    """Return what is seen; `state` is the opened folder or None, with the reason, `ports` are TCP and UDP."""
    problem = problem or (trial_of_state(state) if state is not None else None)
    path = state.path if state is not None else ""
    return MachineFacts(
        platform=probe.platform, python=sys.version_info[:3], app=app_name(probe),
        terminal=probe.environ.get("TERM_PROGRAM", ""),
        missing=tuple(name for name in CHECKED_MODULES if not probe.importable(name)),
        state_path=path, state_problem=problem.what if problem else "", state_cure=problem.cure if problem else "",
        is_state_kept=bool(path or problem),
        disk_free_mb=_disk_free_mb(path), open_files=most_open_files(), inside=surroundings(probe),
        firewalls=tuple(firewalls(probe, *ports)),
        gateway=gateway(probe), wall=wall,
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


def trial_of_state(state: StateFolder) -> Optional[StateError]:
    """Return why a state folder cannot be used, None where it can: write to it, and look at the key."""
    try:
        state.write_json(TRIAL_DOCUMENT, {})
        if state.path:
            with state_errors(state.path):
                os.remove(os.path.join(state.path, TRIAL_DOCUMENT))
        if state.has_key():
            # There is one, so nothing is made.
            state.load_or_make_key(os.urandom)
    except StateError as error:
        return error
    return None


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
