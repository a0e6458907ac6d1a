"""Say for a checkup what a device tells of battery, saving, heat, screen and an app's memory, each with its source.

Knows:   for each system where these stand, and why one may not be known there.
Refuses: to judge, and to read otherwise than a node does: the readings are host/metrics.py's and host/app_sensors.py's.
Read next: model/checkup.py (the facts), faces/doctor_command.py (who prints them).
"""

from __future__ import annotations

import threading
from typing import Iterator, List, Optional, Tuple

from ..model.checkup import SensedFact
from .app_sensors import AppAnswers, AppSensors
from .detect import app_name
from .detect_others import is_android
from .metrics import (
    BATTERY_TENTHS, PLATFORM_PROFILE, POWER_SUPPLIES, celsius_of, cpu_sensor_files, linux_battery, mac_battery,
    mac_heat, mac_low_power, supply_heat, termux_battery,
)
from .probe import NO_BATTERY, PowerSupply, Probe

#: Seconds that an app's main thread has for an answer: a screen that is busy for longer hangs.
ANSWER_WITHIN_S = 3.0
#: The steps of heat as Apple names them.
HEAT_STEPS = ("nominal", "fair", "serious", "critical")
_TERMUX = "termux-battery-status"
_POWER_STATUS = "GetSystemPowerStatus"


def sensed_facts(probe: Probe, state_folder: str) -> Tuple[SensedFact, ...]:
    """Return what is known of battery, power saving and heat, and of what is not known why; takes up to seconds."""
    if probe.inside_ios():
        return tuple(_of_app(probe, state_folder))
    if probe.platform == "darwin":
        return tuple(_of_mac(probe))
    if probe.platform == "win32":
        return tuple(_of_windows(probe))
    if is_android(probe):
        return tuple(_of_android(probe))
    if probe.platform.startswith("linux"):
        return tuple(_of_linux(probe))
    why = f"this program does not know where {probe.platform} says it"
    return tuple(_unknown(what, why) for what in ("charge", "plugged in", "low power", "heat"))


def _of_app(probe: Probe, state_folder: str) -> Iterator[SensedFact]:
    # How much of its memory iOS gives an app differs between apps and systems, and no table has it.
    left = probe.app_memory_left() >> 20
    yield _heard("memory left", (left, f"{left} MB") if left > 0 else None, "os_proc_available_memory", left)
    answers, why = app_answers(probe, AppSensors(probe, state_folder))
    if answers is None:
        for what in ("charge", "plugged in", "low power", "heat", "screen"):
            yield _unknown(what, why)
        return
    level = "UIDevice.batteryLevel"
    yield _charge_of(answers.charge, level, _not_said(level, answers.battery_level))
    state = answers.battery_state
    words = {1: (0.0, "no"), 2: (1.0, "yes, charging"), 3: (1.0, "yes, full")}
    yield _heard("plugged in", words.get(state) if isinstance(state, int) else None, "UIDevice.batteryState", state)
    is_low = answers.is_low_power
    yield _heard("low power", _yes(bool(is_low)) if is_low in (0, 1) else None, "NSProcessInfo.isLowPowerModeEnabled",
                 is_low)
    yield _heard("heat", _step(answers.heat), "NSProcessInfo.thermalState", answers.thermal_state)
    on_screen = {0: (1.0, "active"), 1: (1.0, "inactive"), 2: (0.0, "in the background")}.get(answers.application_state)
    left_s = answers.background_time
    if on_screen is not None and isinstance(left_s, (int, float)):
        # Where an app may stay, iOS says the largest number that there is.
        on_screen = on_screen[0], f"{on_screen[1]}, {f'{left_s:.0f} s' if left_s < 1e6 else 'no end'} of background"
    yield _heard("screen", on_screen, "UIApplication.applicationState", answers.application_state)


def app_answers(probe: Probe, sensors: AppSensors) -> Tuple[Optional[AppAnswers], str]:
    """Return what an app of iOS tells, or None and why it tells nothing."""
    if sensors.why_not:
        return None, sensors.why_not
    app = app_name(probe)
    if probe.app_bridge() is None:
        if app in ("Pythonista", "Pyto"):
            return None, f"the bridge of {app} to the system cannot be imported"
        return None, f"{app or 'this app'} gives scripts no bridge to the system that could be asked"
    told: List[Optional[AppAnswers]] = []
    # A main thread that is busy, or waits for this script, would never come round.
    asking = threading.Thread(target=lambda: told.append(sensors.answers()), name="app-check", daemon=True)
    asking.start()
    asking.join(ANSWER_WITHIN_S)
    if not told:
        return None, f"the main thread of {app or 'the app'} did not answer within {ANSWER_WITHIN_S:.0f} s"
    return told[0], "" if told[0] is not None else f"the main thread of {app or 'the app'} could not be had"


def _of_mac(probe: Probe) -> Iterator[SensedFact]:
    yield from _supply(mac_battery(probe), "pmset -g batt", "pmset -g batt shows no battery")
    is_low = mac_low_power(probe)
    yield _heard("low power", None if is_low is None else _yes(is_low), "pmset -g, lowpowermode", None)
    yield _heard("heat", _step(mac_heat(probe)), "pmset -g therm", None)


def _of_windows(probe: Probe) -> Iterator[SensedFact]:
    yield from _supply(probe.windows_battery() or NO_BATTERY, _POWER_STATUS, f"{_POWER_STATUS} shows no battery")
    yield SensedFact("low power", *_yes(probe.windows_saver()), _POWER_STATUS)
    yield _unknown("heat", "Windows tells it to administrators' programs only")


def _of_android(probe: Probe) -> Iterator[SensedFact]:
    battery, heat = linux_battery(probe), supply_heat(probe)
    sources = [POWER_SUPPLIES, BATTERY_TENTHS]
    termux = termux_battery(probe) if battery is None or heat < 0 else (NO_BATTERY, -1)
    if battery is None:
        battery, sources[0] = termux[0], _TERMUX
    if heat < 0:
        heat, sources[1] = termux[1], _TERMUX
    closed = "Android does not let this app read it in /sys"
    why = closed + (f", and {_TERMUX} gives no answer: install the Termux:API add-on and its app"
                    if app_name(probe) == "Termux" else "")
    yield from _supply(battery, sources[0], why)
    yield _unknown("low power", "Android does not tell it to scripts")
    step = _step(heat)
    yield SensedFact("heat", *step, sources[1]) if step is not None else _unknown("heat", why)


def _of_linux(probe: Probe) -> Iterator[SensedFact]:
    yield from _supply(linux_battery(probe) or NO_BATTERY, POWER_SUPPLIES, f"no battery in {POWER_SUPPLIES}")
    profile = (probe.read_text(PLATFORM_PROFILE) or "").strip()
    yield (SensedFact("low power", *_yes(profile == "low-power"), f"{PLATFORM_PROFILE}: {profile}") if profile else
           _unknown("low power", f"there is no {PLATFORM_PROFILE}"))
    degrees, source = max(((celsius_of(probe, path), path) for path in cpu_sensor_files(probe)), default=(0.0, ""))
    yield (SensedFact("processor", degrees, f"{degrees:.0f} °C", source) if degrees else
           _unknown("processor", "no thermometer in /sys is surely the processor's"))


def _supply(battery: PowerSupply, source: str, why: str) -> Iterator[SensedFact]:
    yield _charge_of(battery.level, source, why)
    yield (SensedFact("plugged in", *_yes(battery.plugged), source) if battery.level >= 0 else
           _unknown("plugged in", why))


def _charge_of(level: float, source: str, why: str) -> SensedFact:
    return SensedFact("charge", level, f"{level:.0%}", source) if level >= 0 else _unknown("charge", why)


def _heard(what: str, answer: Optional[Tuple[float, str]], source: str, said: object) -> SensedFact:
    return SensedFact(what, *answer, source) if answer is not None else _unknown(what, _not_said(source, said))


def _not_said(source: str, said: object) -> str:
    return f"{source} said {'nothing' if said is None else said}"


def _unknown(what: str, why: str) -> SensedFact:
    return SensedFact(what, -1.0, "", why)


def _yes(holds: bool) -> Tuple[float, str]:
    return (1.0, "yes") if holds else (0.0, "no")


def _step(heat: int) -> Optional[Tuple[float, str]]:
    return (float(heat), HEAT_STEPS[heat]) if heat >= 0 else None
