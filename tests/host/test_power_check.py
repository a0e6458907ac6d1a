"""What a checkup says of battery, heat and screen: each with where it was read, or why it is not known."""

from __future__ import annotations

import threading
from typing import Any, Dict

import pytest
from .recorded import PROBES, RecordedProbe, recording

from discompute_lite.host import power_check
from discompute_lite.host.app_sensors import ASKING_FILE
from discompute_lite.host.metrics import MetricsReader
from discompute_lite.host.power_check import sensed_facts
from discompute_lite.model.checkup import SensedFact


def facts_of(probe: Any, state_folder: str = "") -> Dict[str, SensedFact]:
    return {fact.what: fact for fact in sensed_facts(probe, state_folder)}


def app(values: Dict[str, Dict[str, Any]], name: str = "ios_pythonista") -> RecordedProbe:
    probe = recording(name)
    probe.facts["app_objects"] = {kind: {**told, **values.get(kind, {})}
                                  for kind, told in probe.facts["app_objects"].items()}
    return probe


@pytest.mark.parametrize("name, what, told, source", [
    ("ios_pythonista", "charge", "64%", "UIDevice.batteryLevel"),
    ("ios_pythonista", "memory left", "4200 MB", "os_proc_available_memory"),
    ("ios_pythonista", "heat", "fair", "NSProcessInfo.thermalState"),
    ("mac_m3_max", "charge", "85%", "pmset -g batt"),
    ("android_termux", "heat", "nominal", "termux-battery-status"),
    ("windows_laptop", "charge", "42%", "GetSystemPowerStatus"),
    ("windows_laptop", "plugged in", "no", "GetSystemPowerStatus"),
])
def test_what_is_told_stands_with_where_it_was_read(name: str, what: str, told: str, source: str) -> None:
    assert (facts_of(recording(name))[what].told, facts_of(recording(name))[what].source) == (told, source)


@pytest.mark.parametrize("name, what, why", [
    ("ios_ashell_313", "charge", "a-Shell gives scripts no bridge"),
    ("ios_ashell_313", "memory left", "os_proc_available_memory said"),
    ("ios_ashell_313", "screen", "a-Shell gives scripts no bridge"),
    ("android_pydroid", "low power", "Android does not tell it"),
    ("android_pydroid", "heat", "Android does not let this app read it in /sys"),
    ("windows_desktop", "charge", "shows no battery"),
    ("windows_desktop", "heat", "administrators"),
    ("linux_container_v2", "charge", "no battery in /sys/class/power_supply"),
    ("other_freebsd", "heat", "does not know where freebsd"),
])
def test_what_is_not_told_stands_with_why(name: str, what: str, why: str) -> None:
    fact = facts_of(recording(name))[what]
    assert (fact.value, fact.told) == (-1.0, "") and why in fact.source


@pytest.mark.parametrize("kind, name, answer, what, told", [
    ("UIDevice", "batteryState", 1, "plugged in", "no"), ("UIDevice", "batteryState", 3, "plugged in", "yes, full"),
    ("UIDevice", "batteryState", 2, "plugged in", "yes, charging"),
    ("NSProcessInfo", "isLowPowerModeEnabled", True, "low power", "yes"),
    ("NSProcessInfo", "thermalState", 3, "heat", "critical"),
    ("UIApplication", "applicationState", 2, "screen", "in the background"),
])
def test_what_a_phones_answers_mean(kind: str, name: str, answer: Any, what: str, told: str) -> None:
    assert facts_of(app({kind: {name: answer}}))[what].told.startswith(told)


@pytest.mark.parametrize("kind, name, answer, what", [
    ("UIDevice", "batteryLevel", -1.0, "charge"), ("UIDevice", "batteryState", 0, "plugged in"),
    ("NSProcessInfo", "thermalState", 9, "heat"), ("UIApplication", "applicationState", "odd", "screen"),
])
def test_an_answer_that_means_nothing_is_shown_as_it_came(kind: str, name: str, answer: Any, what: str) -> None:
    fact = facts_of(app({kind: {name: answer}}))[what]
    assert fact.value == -1.0 and fact.source == f"{kind}.{name} said {answer}"


def test_whether_the_app_may_stay_in_the_background_is_told() -> None:
    for left_s, words in ((29.0, "29 s of background"), (1.7e308, "no end of background")):
        probe = app({"UIApplication": {"applicationState": 0, "backgroundTimeRemaining": left_s}})
        assert facts_of(probe)["screen"].told == f"active, {words}"


def test_an_app_that_asking_has_ended_is_not_asked_by_a_checkup_either(tmp_path: Any) -> None:
    (tmp_path / ASKING_FILE).write_bytes(b"")
    facts = facts_of(recording("ios_pythonista"), str(tmp_path))
    del facts["memory left"]  # Which is no question to the app.
    assert all(fact.value == -1.0 and "has ended it once" in fact.source for fact in facts.values())


def test_a_main_thread_that_never_answers_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power_check, "ANSWER_WITHIN_S", 0.01)
    busy = threading.Event()
    probe: Any = recording("ios_pythonista")
    kinds = probe.app_bridge()[0]
    probe.app_bridge = lambda: (kinds, lambda function: busy.wait)
    facts = facts_of(probe)
    busy.set()
    del facts["memory left"]
    assert all("did not answer within" in fact.source for fact in facts.values())


def test_a_linux_laptop_says_its_files() -> None:
    files = {"/sys/class/power_supply/BAT0/type": "Battery\n", "/sys/class/power_supply/BAT0/capacity": "17\n",
             "/sys/class/power_supply/BAT0/status": "Discharging\n",
             "/sys/firmware/acpi/platform_profile": "low-power\n",
             "/sys/class/hwmon/hwmon3/name": "coretemp\n", "/sys/class/hwmon/hwmon3/temp1_input": "71000\n"}
    facts = facts_of(RecordedProbe({"platform": "linux", "files": files}))
    assert {what: (fact.told, fact.value) for what, fact in facts.items()} == {
        "charge": ("17%", 0.17), "plugged in": ("no", 0.0), "low power": ("yes", 1.0), "processor": ("71 °C", 71.0)}
    assert facts["processor"].source == "/sys/class/hwmon/hwmon3/temp1_input"


PMSET = {"/usr/bin/pmset -g batt": "Now drawing from 'AC Power'\n -InternalBattery-0 (id=1)\t85%; charged;",
         "/usr/bin/pmset -g": " sleep 1\n lowpowermode 1\n",
         "/usr/bin/pmset -g therm": "Note: No thermal warning level has been recorded\n"}


@pytest.mark.parametrize("command, what, told, why", [
    ("/usr/bin/pmset -g batt", "charge", "85%", "shows no battery"),
    ("/usr/bin/pmset -g", "low power", "yes", "said nothing"),
    ("/usr/bin/pmset -g therm", "heat", "nominal", "said nothing"),
])
def test_a_mac_says_it_and_may_lack_a_command_or_its_line(command: str, what: str, told: str, why: str) -> None:
    assert facts_of(recording("mac_m3_max", commands=PMSET))[what].told == told
    without = recording("mac_m3_max", commands={name: text for name, text in PMSET.items() if name != command})
    fact = facts_of(without)[what]
    assert fact.value == -1.0 and why in fact.source


@pytest.mark.parametrize("name", sorted(path.stem for path in PROBES.glob("*.json")))
def test_it_says_what_a_node_there_would_go_by(name: str) -> None:
    facts = facts_of(recording(name))
    reading = MetricsReader(recording(name), start=lambda work: work()).read(0, 0.0)
    assert facts["charge"].value == reading.battery_level
    assert (facts["plugged in"].value == 1.0) == reading.is_charging
    assert (facts["low power"].value == 1.0) == reading.is_low_power
    if "heat" in facts:
        assert facts["heat"].value == reading.heat
    else:
        assert max(facts["processor"].value, 0.0) == reading.metrics.temperature
    assert all(fact.source for fact in facts.values())
