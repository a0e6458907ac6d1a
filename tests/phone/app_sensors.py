"""Be UIKit for an app's scripts, as far as scripts of ours ask it: battery, heat, low-power mode, is it on the screen.

Knows:   how the bridges of Pythonista and Pyto give a property: the one by a call, the other as it is.
Refuses: to be asked outside of the app's main thread: that has crashed apps, so it crashes this one.
Read next: app_host.py (which app has it).
"""

from __future__ import annotations

import importlib.machinery
import os
import threading
from typing import Any, Callable, Dict

#: What a phone feels at first, by the name that UIKit has for it. Before monitoring is asked for the level is -1.
WELL = {
    "batteryLevel": 0.8, "batteryState": 2, "thermalState": 0, "isLowPowerModeEnabled": False, "applicationState": 0,
    "backgroundTimeRemaining": 1.7e308,
}


class Sensors:
    """Hold what one phone feels."""

    def __init__(self) -> None:
        self.values: Dict[str, Any] = dict(WELL)
        self.main = threading.local()
        self._main_lock = threading.RLock()

    def on_main_thread(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function as the app runs it: on its main thread, one after the other."""
        def run(*arguments: Any) -> Any:
            with self._main_lock:
                self.main.is_here = True
                try:
                    return function(*arguments)
                finally:
                    self.main.is_here = False

        return run

    def object_class(self, calls: bool) -> Callable[[str], Any]:
        """Return ObjCClass of a bridge that wants a call for each property, or none."""
        return lambda kind: UIObject(self, kind, calls)

    def pyto_modules(self) -> Dict[str, Any]:
        """Return Pyto's bridge, by module."""
        package, bridge, main = (type(os)(name) for name in ("rubicon", "rubicon.objc", "mainthread"))
        bridge.ObjCClass, main.mainthread = self.object_class(calls=False), self.on_main_thread
        package.objc = bridge
        return {"rubicon": package, "rubicon.objc": bridge, "mainthread": main}


class UIObject:
    """Be one class of UIKit and its one object."""

    def __init__(self, sensors: Sensors, kind: str, calls: bool) -> None:
        self._sensors, self._kind, self._calls = sensors, kind, calls
        self._monitors = False

    def setBatteryMonitoringEnabled_(self, is_wanted: bool) -> None:
        """Begin to measure."""
        self._monitors = is_wanted

    def __getattr__(self, name: str) -> Any:
        if self._kind != "NSProcessInfo" and not getattr(self._sensors.main, "is_here", False):
            os.abort()  # The app crashes.
        value = self if name in ("currentDevice", "sharedApplication", "processInfo") else self._sensors.values[name]
        if name == "batteryLevel" and not self._monitors:
            value = -1.0
        return (lambda: value) if self._calls else value


def named_module(name: str) -> Any:
    """Return an empty module that is found like one of the app's own."""
    module = type(os)(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    return module
