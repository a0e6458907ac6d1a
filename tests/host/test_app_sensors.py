"""What Pythonista and Pyto tell of a phone: each answer alone, on the main thread, and never again after a crash."""

from __future__ import annotations

import sys
import types
from typing import Any, Dict, List

import pytest

from discompute_lite.host.app_sensors import ASKING_FILE, AppFacts, AppSensors, ask_app
from discompute_lite.host.probe import NO_BATTERY, PowerSupply, Probe

WELL: Dict[str, Dict[str, Any]] = {
    "UIDevice": {"batteryLevel": 0.5, "batteryState": 2},
    "NSProcessInfo": {"thermalState": 0, "isLowPowerModeEnabled": False},
    "UIApplication": {"applicationState": 0, "backgroundTimeRemaining": 1.7e308},
}


class Thing:
    """An object of UIKit. `calls`: whether the bridge wants a call for each property, as Pythonista's does."""

    def __init__(self, values: Dict[str, Any], calls: bool) -> None:
        self._values, self._calls = values, calls

    def setBatteryMonitoringEnabled_(self, wanted: bool) -> None:
        assert wanted

    def __getattr__(self, name: str) -> Any:
        if name in ("currentDevice", "sharedApplication", "processInfo"):
            value: Any = self
        elif name not in self._values:
            raise AttributeError(name)
        else:
            value = self._values[name]
        return (lambda: value) if self._calls else value


def facts(calls: bool = True, **changed: Dict[str, Any]) -> AppFacts:
    kinds = {name: {**values, **changed.get(name, {})} for name, values in WELL.items()}
    told = ask_app(lambda kind: Thing(kinds[kind], calls), lambda function: function)
    assert told is not None
    return told.facts()


@pytest.mark.parametrize("calls", [True, False], ids=["pythonista", "pyto"])
@pytest.mark.parametrize("kind, values, expected", [
    ("UIDevice", {}, AppFacts(PowerSupply(0.5, True), 0)),
    ("UIDevice", {"batteryState": 1}, AppFacts(PowerSupply(0.5, False), 0)),
    ("UIDevice", {"batteryState": 3}, AppFacts(PowerSupply(0.5, True), 0)),
    ("UIDevice", {"batteryState": 0}, AppFacts(PowerSupply(0.5, False), 0)),
    ("UIDevice", {"batteryLevel": -1.0}, AppFacts(NO_BATTERY, 0)),
    ("UIDevice", {"batteryLevel": "full"}, AppFacts(NO_BATTERY, 0)),
    ("NSProcessInfo", {"thermalState": 3}, AppFacts(PowerSupply(0.5, True), 3)),
    ("NSProcessInfo", {"thermalState": 7}, AppFacts(PowerSupply(0.5, True), -1)),
    ("NSProcessInfo", {"isLowPowerModeEnabled": True}, AppFacts(PowerSupply(0.5, True), 0, True)),
    ("UIApplication", {"applicationState": 1}, AppFacts(PowerSupply(0.5, True), 0)),
    ("UIApplication", {"applicationState": 2, "backgroundTimeRemaining": 29.0},
     AppFacts(PowerSupply(0.5, True), 0, False, True)),
    ("UIApplication", {"applicationState": 2}, AppFacts(PowerSupply(0.5, True), 0)),
])
def test_what_each_answer_means(calls: bool, kind: str, values: Dict[str, Any], expected: AppFacts) -> None:
    assert facts(calls, **{kind: values}) == expected


def test_what_one_class_does_not_answer_costs_nothing_of_the_others() -> None:
    def some(kind: str) -> Any:
        if kind == "UIDevice":
            raise ValueError("no Objective-C class named UIDevice found")
        return Thing({"thermalState": 2}, True)

    told = ask_app(some, lambda function: function)
    assert told is not None and told.facts() == AppFacts(NO_BATTERY, 2)
    assert (told.battery_level, told.is_low_power) == (None, None)


def test_a_main_thread_that_cannot_be_had_is_not_known() -> None:
    def refuse(function: Any) -> Any:
        raise RuntimeError("no main thread")

    assert ask_app(lambda kind: Thing(WELL[kind], True), refuse) is None


class Bridged(Probe):
    """A phone whose app has a bridge, or dies when it is used."""

    def __init__(self, on_ask: Any) -> None:
        self._on_ask = on_ask

    def inside_ios(self) -> bool:
        return True

    def app_bridge(self) -> Any:
        return (lambda kind: Thing(WELL[kind], True)), lambda function: lambda: (self._on_ask(), function())


def test_a_first_question_that_ends_the_app_is_the_last_one_until_its_mark_is_deleted(tmp_path: Any) -> None:
    marks: List[bool] = []
    mark = tmp_path / ASKING_FILE
    well = AppSensors(Bridged(lambda: marks.append(mark.exists())), str(tmp_path))
    assert well.ask() == well.ask() == facts() and marks == [True, False] and not mark.exists()

    class AppDies(BaseException):
        """What no code of ours sees."""

    def die() -> None:
        raise AppDies

    with pytest.raises(AppDies):
        AppSensors(Bridged(die), str(tmp_path)).ask()
    again = AppSensors(Bridged(die), str(tmp_path))
    assert again.ask() is None and "not asked any more" in again.why_not and str(mark) in again.why_not
    mark.unlink()
    assert AppSensors(Bridged(lambda: None), str(tmp_path)).ask() == facts()


def test_a_folder_that_cannot_be_written_costs_the_mark_alone(tmp_path: Any) -> None:
    assert AppSensors(Bridged(lambda: None), str(tmp_path / "gone")).ask() == facts()
    assert not (tmp_path / "gone").exists()


def test_which_app_has_which_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    modules: Dict[str, Dict[str, Any]] = {
        "objc_util": {"ObjCClass": "its class", "on_main_thread": "its thread"},
        "rubicon": {}, "rubicon.objc": {"ObjCClass": "Pyto's class"}, "mainthread": {"mainthread": "Pyto's thread"},
    }
    for name, values in modules.items():
        module = types.ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)

    class Phone(Probe):
        executable = ""
        offers = ("pyto",)

        def inside_ios(self) -> bool:
            return True

        def importable(self, name: str) -> bool:
            return name in self.offers

    phone: Any = Phone()
    assert phone.app_bridge() == ("Pyto's class", "Pyto's thread")
    Phone.offers = ()
    assert phone.app_bridge() is None, "a-Shell"
    Phone.executable = "/Bundle/Pythonista3.app/Pythonista3"
    assert phone.app_bridge() == ("its class", "its thread")
    monkeypatch.setitem(sys.modules, "objc_util", None)
    assert phone.app_bridge() is None
    assert Probe().app_bridge() is None
