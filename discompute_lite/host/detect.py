"""Find out what this device is, whatever it runs on, quickly and without ever failing.

Knows:   the detectors, in the order in which platforms are told apart.
Refuses: to guess. What nobody says is 0, "" or a sentence in `notes`.
Read next: host/detect_apple.py, host/detect_linux.py, host/detect_others.py (one detector a platform).

To add a platform: a function `(probe) -> Optional[Hardware]` that returns None elsewhere, one line in
`DETECTORS`, and one recorded probe below tests/host/probes.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Callable, Optional

from ..model.catalog import Catalog
from ..model.device import Hardware
from .detect_apple import detect_ios
from .detect_linux import detect_linux
from .detect_macos import detect_macos
from .detect_others import detect_android, detect_other
from .detect_windows import detect_windows
from .probe import Probe
from .relaunch import can_relaunch

Detector = Callable[[Probe], Optional[Hardware]]

#: Tried in this order. iOS before macOS: most of its Pythons say "darwin" too; Android before Linux likewise.
DETECTORS: Catalog[Detector] = Catalog("detector")
DETECTORS.add("ios", detect_ios)
DETECTORS.add("android", detect_android)
DETECTORS.add("macos", detect_macos)
DETECTORS.add("linux", detect_linux)
DETECTORS.add("windows", detect_windows)
DETECTORS.add("other", detect_other)

#: Hostnames that say nothing: iOS 17 calls every phone "localhost", Android does too.
_NO_HOSTNAMES = ("", "localhost", "localhost.localdomain", "iphone", "ipad", "android", "unknown", "(none)")


def detect_hardware(probe: Probe) -> Hardware:
    """Return what this device is. Below 30 ms on Linux; up to some tenths of a second on a Mac (ioreg)."""
    for _, detector in DETECTORS.items():
        hardware = detector(probe)
        if hardware is not None:
            return replace(hardware, app=app_name(probe))
    return Hardware(app=app_name(probe))


def has_processes(probe: Probe) -> bool:
    """Say whether this Python can start others. Inside an iOS app, or as pasted text, it cannot: threads only."""
    return not probe.inside_ios() and can_relaunch()


def has_tls() -> bool:
    """Say whether this Python can encrypt. Some app Pythons cannot. Nothing is imported: only TLS pays for that."""
    import importlib.util

    return importlib.util.find_spec("_ssl") is not None


def app_name(probe: Probe) -> str:
    """Return the app that Python is embedded in: Pythonista, a-Shell, Pyto, Termux, Pydroid; "" for none of them."""
    if probe.inside_ios():
        if "Pythonista" in probe.executable:
            return "Pythonista"
        if "a-Shell" in probe.environ.get("TERM_PROGRAM", "") + probe.environ.get("APPNAME", ""):
            return "a-Shell"
        # Asked last: Pyto also has modules that are called like those of the others.
        return "Pyto" if probe.importable("pyto") else ""
    if "TERMUX_VERSION" in probe.environ or "com.termux" in probe.environ.get("PREFIX", ""):
        return "Termux"
    return "Pydroid" if "ru.iiec.pydroid3" in probe.executable else ""


def device_name(probe: Probe, hardware: Hardware) -> str:
    """Return what to call this device: its hostname, or what it is where that says nothing."""
    hostname = re.sub(r"\.local\.?$", "", probe.uname()[1].strip())
    if hostname.lower() not in _NO_HOSTNAMES:
        return hostname
    return hardware.model or hardware.capabilities.chip or hardware.type
