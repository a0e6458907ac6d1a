"""Ask the app that Python runs in on an iPhone or iPad: battery, heat, low-power mode, and whether it is on the screen.

Knows:   UIDevice, UIApplication and NSProcessInfo, through the app's own bridge (`Probe.app_bridge`): Pythonista and
         Pyto have one. a-Shell has none, so there nothing of this is known.
Refuses: Objective-C through ctypes, where one wrong call ends the app; and to ask again at a start after asking has
         ended the app: a file that marks the first question is left behind then.
Read next: host/metrics.py (who asks, in a thread that nobody waits for), core/allowance.py (what follows).
"""

from __future__ import annotations

import os
from typing import Any, List, NamedTuple, Optional, Tuple

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


class AppAnswers(NamedTuple):
    """Hold the answers as they came, by UIKit's names in our spelling; None for each that did not come."""

    battery_level: Any = None
    battery_state: Any = None
    thermal_state: Any = None
    is_low_power: Any = None
    application_state: Any = None
    background_time: Any = None

    @property
    def charge(self) -> float:
        """Return how full the battery is, 0 to 1; -1 where that was not told."""
        level = self.battery_level
        return float(level) if isinstance(level, (int, float)) and 0.0 <= level <= 1.0 else -1.0

    @property
    def heat(self) -> int:
        """Return the step of heat, -1 where none that is known was told."""
        return int(self.thermal_state) if self.thermal_state in (0, 1, 2, 3) else -1

    @property
    def is_background(self) -> bool:
        """Whether the app is off the screen and about to be stopped for it."""
        left_s = self.background_time
        stays = isinstance(left_s, (int, float)) and left_s > STAYS_S
        return self.application_state == APP_IN_BACKGROUND and not stays

    def facts(self) -> AppFacts:
        """Return what they mean."""
        battery = PowerSupply(self.charge, self.battery_state in PLUGGED_STATES) if self.charge >= 0 else NO_BATTERY
        return AppFacts(battery, self.heat, bool(self.is_low_power), self.is_background)


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
        answers = self.answers()
        return answers.facts() if answers is not None else None

    def answers(self) -> Optional[AppAnswers]:
        """Return the same as it was told."""
        bridge = None if self.why_not else self._probe.app_bridge()
        if bridge is None:
            return None
        is_first, self._has_asked = not self._has_asked, True
        if is_first:
            self._set_mark()
        told = ask_app(*bridge)
        if is_first and self._mark:
            try:
                os.remove(self._mark)
            except OSError:
                pass  # It could not be made either.
        return told

    def _set_mark(self) -> None:
        try:
            if self._mark:
                with open(self._mark, "wb"):
                    pass
        except OSError:
            pass  # A folder that cannot be written to: then the app is asked each time.


def ask_app(object_class: Any, on_main_thread: Any) -> Optional[AppAnswers]:
    """Return what UIKit tells on the app's main thread, where alone it may be asked; each answer may be missing."""
    told: List[AppAnswers] = []

    def ask() -> None:
        process = _one_of(object_class, "NSProcessInfo", "processInfo")
        device = _one_of(object_class, "UIDevice", "currentDevice")
        app = _one_of(object_class, "UIApplication", "sharedApplication")
        level, state = _battery(device)
        told.append(AppAnswers(
            level, state, _told_by(process, "thermalState"), _told_by(process, "isLowPowerModeEnabled"),
            _told_by(app, "applicationState"), _told_by(app, "backgroundTimeRemaining"),
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


def _battery(device: Any) -> Tuple[Any, Any]:
    """Return batteryLevel and batteryState."""
    try:
        device.setBatteryMonitoringEnabled_(True)  # Else the level is -1.
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return None, None
    return _told_by(device, "batteryLevel"), _told_by(device, "batteryState")
