"""Ask the app that Python runs in on an iPhone or iPad: battery, heat, low-power mode, and whether it is on the screen.

Knows:   UIDevice, UIApplication and NSProcessInfo, through the app's own bridge (`Probe.app_bridge`): Pythonista and
         Pyto have one. a-Shell has none, so there nothing of this is known.
Refuses: Objective-C through ctypes, where one wrong call ends the app; and to ask again at a start after asking has
         ended the app: a file that marks the first question is left behind then.
Read next: host/metrics.py (who asks, in a thread that nobody waits for), core/allowance.py (what follows).
"""

from __future__ import annotations

import os
from typing import Any, List, NamedTuple, Optional

from .probe import NO_BATTERY, PowerSupply, Probe

#: The file in the state folder that is there while the first question is under way.
ASKING_FILE = "asking-the-app"
#: UIApplication's applicationState of an app that is not on the screen (0 active, 1 about to be left or come back to).
APP_IN_BACKGROUND = 2
#: UIDevice's batteryState: 0 unknown, 1 unplugged, 2 charging, 3 full.
PLUGGED_STATES = (2, 3)
#: Whoever has so many seconds left in the background has leave to stay there, such as to play audio: iOS tells such an
#: app the largest number, and all others some 30.
STAYS_S = 3600.0


class AppFacts(NamedTuple):
    """Hold what the app told; what it did not is as it stands here."""

    battery: PowerSupply = NO_BATTERY
    #: NSProcessInfo's thermalState: 0 nominal, 1 fair, 2 serious, 3 critical.
    heat: int = -1
    is_low_power: bool = False
    is_background: bool = False


class AppSensors:
    """Ask one app again and again; one thread at a time."""

    def __init__(self, probe: Probe, state_folder: str = "") -> None:
        self._probe = probe
        self._mark = os.path.join(state_folder, ASKING_FILE) if state_folder and probe.inside_ios() else ""
        #: Why the app is not asked any more, "" while it is.
        self.why_not = ""
        if self._mark and os.path.exists(self._mark):
            self.why_not = (f"asking this app for its battery and heat has ended it once, so it is not asked any more;"
                            f" delete {self._mark} to try it again")
        self._has_asked = False

    def ask(self) -> Optional[AppFacts]:
        """Return what the app tells now; None where it tells nothing, or is not asked."""
        bridge = None if self.why_not else self._probe.app_bridge()
        if bridge is None:
            return None
        is_first, self._has_asked = not self._has_asked, True
        if is_first:
            self._set_mark()
        facts = ask_app(*bridge)
        if is_first and self._mark:
            try:
                os.remove(self._mark)
            except OSError:
                pass  # It could not be made either.
        return facts

    def _set_mark(self) -> None:
        try:
            if self._mark:
                with open(self._mark, "wb"):
                    pass
        except OSError:
            pass  # A folder that cannot be written to: then the app is asked each time.


def ask_app(object_class: Any, on_main_thread: Any) -> Optional[AppFacts]:
    """Return what UIKit tells on the app's main thread, where alone it may be asked; each answer may be missing."""
    told: List[AppFacts] = []

    def ask() -> None:
        process = _one_of(object_class, "NSProcessInfo", "processInfo")
        heat, is_low = _told_by(process, "thermalState"), _told_by(process, "isLowPowerModeEnabled")
        told.append(AppFacts(
            _battery(_one_of(object_class, "UIDevice", "currentDevice")), int(heat) if heat in (0, 1, 2, 3) else -1,
            bool(is_low), _is_left(_one_of(object_class, "UIApplication", "sharedApplication")),
        ))

    try:
        on_main_thread(ask)()
    except (AttributeError, TypeError, ValueError, RuntimeError, OSError):
        return None
    return told[0] if told else None


def _one_of(object_class: Any, kind: str, name: str) -> Any:
    """Return the one object of a class of UIKit, or None."""
    try:
        return _told_by(object_class(kind), name)
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return None


def _told_by(owner: Any, name: str) -> Any:
    """Return a property: Pythonista's bridge calls a method for it, Pyto's has its value; None where there is none."""
    try:
        found = getattr(owner, name)
        return found() if callable(found) else found
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return None


def _battery(device: Any) -> PowerSupply:
    try:
        device.setBatteryMonitoringEnabled_(True)  # Else the level is -1.
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return NO_BATTERY
    level, state = _told_by(device, "batteryLevel"), _told_by(device, "batteryState")
    if not isinstance(level, (int, float)) or not 0.0 <= level <= 1.0:
        return NO_BATTERY
    return PowerSupply(float(level), state in PLUGGED_STATES)


def _is_left(app: Any) -> bool:
    if _told_by(app, "applicationState") != APP_IN_BACKGROUND:
        return False
    left_s = _told_by(app, "backgroundTimeRemaining")
    return not (isinstance(left_s, (int, float)) and left_s > STAYS_S)
