"""Metrics follow the machine: what a recording says now, and what changed since the last look."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path
from typing import Any, Callable, List, Tuple

import pytest

from discompute_lite.host.metrics import (
    APP_FACTS_EVERY_S, SLOW_FACTS_EVERY_S, MetricsReader, battery_heat, linux_battery, mac_heat, mac_lid_closed,
    mac_low_power,
)
from discompute_lite.host.probe import Probe

_SPEC = importlib.util.spec_from_file_location("recorded_for_metrics", Path(__file__).with_name("recorded.py"))
assert _SPEC is not None and _SPEC.loader is not None
recorded = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(recorded)
recording = recorded.recording
RecordedProbe = recorded.RecordedProbe


class ToldClock:
    """A clock that moves when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def reader_of(probe: Any, start: Callable[[Callable[[], None]], None] = lambda work: work()
              ) -> Tuple[MetricsReader, ToldClock]:
    clock = ToldClock()
    return MetricsReader(probe, clock=clock, start=start), clock


def ticks(busy: int, idle: int, cpus: int = 2) -> str:
    lines = [f"cpu  {busy * cpus} 0 0 {idle * cpus} 0 0 0 0 0 0"]
    return "\n".join(lines + [f"cpu{number} {busy} 0 0 {idle} 0 0 0 0 0 0" for number in range(cpus)]) + "\nintr 1\n"


def supplies(**files: str) -> Any:
    """A Linux whose /sys/class/power_supply has these files; "BAT0_type" stands for BAT0/type."""
    names = {"/sys/class/power_supply/" + name.replace("_", "/", 1): text + "\n" for name, text in files.items()}
    return RecordedProbe({"platform": "linux", "files": names})


# ---- processor ----------------------------------------------------------------------------------------


def test_cpu_usage_is_the_share_of_busy_ticks_since_the_last_look() -> None:
    probe = RecordedProbe({"platform": "linux", "files": {"/proc/stat": ticks(100, 900)}})
    reader, _ = reader_of(probe)
    probe.files["/proc/stat"] = ticks(130, 910)
    assert reader.read(0, 0.0).metrics.cpu_usage == pytest.approx(0.75)
    assert reader.read(0, 0.0).metrics.cpu_usage == pytest.approx(0.75), "within one tick nothing new is known"
    probe.files["/proc/stat"] = ticks(130, 1000)
    assert reader.read(0, 0.0).metrics.cpu_usage == 0.0


def test_cpu_usage_counts_only_the_cpus_that_may_be_used() -> None:
    before = "cpu 0 0 0 0\ncpu0 0 0 0 100 0\ncpu1 0 0 0 100 0\n"
    after = "cpu 0 0 0 0\ncpu0 100 0 0 100 0\ncpu1 0 0 0 200 0\n"
    probe = RecordedProbe({"platform": "linux", "affinity": [0], "files": {"/proc/stat": before}})
    reader, _ = reader_of(probe)
    probe.files["/proc/stat"] = after
    assert reader.read(0, 0.0).metrics.cpu_usage == 1.0


def test_waiting_for_a_disk_is_idle_and_guests_are_not_counted_twice() -> None:
    probe = RecordedProbe({"platform": "linux", "files": {"/proc/stat": "cpu 0 0 0 0 0 0 0 0 0 0\n"}})
    reader, _ = reader_of(probe)
    assert reader.read(0, 0.0).metrics.cpu_usage == -1.0
    probe.files["/proc/stat"] = "cpu 10 0 0 0 0 0 0 0 0 0\n"
    reader, _ = reader_of(probe)
    probe.files["/proc/stat"] = "cpu 60 0 0 20 30 0 0 0 50 0\n"
    assert reader.read(0, 0.0).metrics.cpu_usage == pytest.approx(0.5)


@pytest.mark.parametrize(("name", "used"), [("linux_container_v2", "usage_usec {:.0f}\n"),
                                            ("linux_container_v1", "{:.0f}\n")])
def test_a_container_is_busy_by_its_own_quota_not_by_its_machine(name: str, used: str) -> None:
    probe = recording(name)
    reader, clock = reader_of(probe)
    file, unit, quota = (("/sys/fs/cgroup/cpu.stat", 1e6, 1.5) if name.endswith("2")
                         else ("/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", 1e9, 2.0))
    before = 5.0 if name.endswith("2") else 3.0
    probe.files[file] = used.format((before + 10 * quota * 0.8) * unit)
    clock.now += 10
    assert reader.read(0, 0.0).metrics.cpu_usage == pytest.approx(0.8)


def test_android_forbids_proc_stat_so_usage_is_not_known() -> None:
    reader, _ = reader_of(recording("android_termux"))
    assert reader.read(0, 0.0).metrics.cpu_usage == -1.0


def test_elsewhere_the_load_stands_for_it() -> None:
    reader, _ = reader_of(recording("mac_m3_max"))
    assert reader.read(0, 0.0).metrics.cpu_usage == pytest.approx(4.0 / 16)
    reader, _ = reader_of(recording("mac_m3_max", load_average=40.0))
    assert reader.read(0, 0.0).metrics.cpu_usage == 1.0


# ---- memory -------------------------------------------------------------------------------------------


def test_memory_of_a_pc_and_of_a_container() -> None:
    reader, _ = reader_of(recording("linux_pc_nvidia"))
    assert reader.read(0, 0.0).metrics.memory_usage == pytest.approx(0.5)
    reader, _ = reader_of(recording("linux_container_v1"))
    assert reader.read(0, 0.0).metrics.memory_usage == pytest.approx(0.25), "512 of 2048 MB, the cache left out"
    reader, _ = reader_of(recording("linux_container_v2"))
    assert reader.read(0, 0.0).metrics.memory_usage == pytest.approx(0.25)


def test_a_small_container_on_a_full_machine_is_full() -> None:
    probe = recording("linux_container_v1")
    probe.files["/proc/meminfo"] = "MemTotal: 1000 kB\nMemAvailable: 100 kB\n"
    reader, _ = reader_of(probe)
    assert reader.read(0, 0.0).metrics.memory_usage == pytest.approx(0.9)


def test_memory_that_no_one_tells_is_not_known() -> None:
    for text in ("", "MemTotal: x kB\n", "MemTotal: 1000 kB\n"):
        reader, _ = reader_of(RecordedProbe({"platform": "linux", "files": {"/proc/meminfo": text}}))
        assert reader.read(0, 0.0).metrics.memory_usage == -1.0


def test_memory_of_an_ios_app_is_measured_against_what_was_left_at_first() -> None:
    probe = recording("ios_pythonista")
    reader, _ = reader_of(probe)
    assert reader.read(0, 0.0).metrics.memory_usage == 0.0
    probe.facts["app_memory_left"] = 1050 << 20
    assert reader.read(0, 0.0).metrics.memory_usage == pytest.approx(0.75)
    probe.facts["app_memory_left"] = -1
    assert reader.read(0, 0.0).metrics.memory_usage == -1.0


# ---- heat ---------------------------------------------------------------------------------------------


def test_temperature_is_the_processors_and_nonsense_is_left_out() -> None:
    reader, _ = reader_of(recording("linux_pc_nvidia"))
    assert reader.read(0, 0.0).metrics.temperature == 61.0, "not the disk's 81, nor a sleeping sensor's 255"
    reader, _ = reader_of(recording("linux_raspberry_pi_5"))
    assert reader.read(0, 0.0).metrics.temperature == pytest.approx(48.2)
    reader, _ = reader_of(recording("linux_amd"))
    assert reader.read(0, 0.0).metrics.temperature == 0.0


# ---- battery ------------------------------------------------------------------------------------------


def test_a_laptop_on_battery_and_a_mouse_that_has_one_too() -> None:
    reading = reader_of(recording("linux_pc_nvidia"))[0].read(3, 1.5)
    assert (reading.battery_level, reading.is_charging) == (0.57, False)
    assert (reading.metrics.active_tasks, reading.metrics.throughput) == (3, 1.5)
    assert reading.metrics.gpu_usage == -1.0


@pytest.mark.parametrize(("files", "level", "plugged"), [
    ({"BAT0_type": "Battery", "BAT0_capacity": "80", "BAT0_status": "Charging"}, 0.8, True),
    ({"BAT0_type": "Battery", "BAT0_capacity": "100", "BAT0_status": "Full"}, 1.0, True),
    ({"BAT0_type": "Battery", "BAT0_capacity": "80", "BAT0_status": "Not charging",
      "AC_type": "Mains", "AC_online": "1"}, 0.8, True),
    ({"BAT0_type": "Battery", "BAT0_capacity": "80", "BAT0_status": "Unknown",
      "AC_type": "Mains", "AC_online": "0"}, 0.8, False),
    ({"BAT0_type": "Battery", "BAT0_capacity": "80", "BAT0_status": "Discharging",
      "usb_type": "USB", "usb_online": "1"}, 0.8, False),
    ({"BAT0_type": "Battery", "BAT0_capacity": "104", "BAT0_status": "Full"}, 1.0, True),
    ({"BAT0_type": "Battery", "BAT0_capacity": "80", "BAT0_status": "Discharging",
      "BAT1_type": "Battery", "BAT1_capacity": "20", "BAT1_status": "Discharging"}, 0.2, False),
])
def test_batteries_by_their_type_and_state(files: Any, level: float, plugged: bool) -> None:
    assert linux_battery(supplies(**files)) == (level, plugged)


@pytest.mark.parametrize("files", [
    {}, {"AC_type": "Mains", "AC_online": "1"}, {"BAT0_type": "Battery", "BAT0_capacity": "?"},
    {"hid_type": "Battery", "hid_scope": "Device", "hid_capacity": "5"}])
def test_no_battery(files: Any) -> None:
    assert linux_battery(supplies(**files)) is None


@pytest.mark.parametrize("profile, is_low", [("low-power\n", True), ("balanced\n", False), (None, False)])
def test_a_linux_in_low_power_mode(profile: Any, is_low: bool) -> None:
    files = {"/sys/firmware/acpi/platform_profile": profile} if profile else {}
    assert reader_of(RecordedProbe({"platform": "linux", "files": files}))[0].read(0, 0.0).is_low_power is is_low


def test_a_mac_by_pmset_and_vm_stat() -> None:
    reading = reader_of(recording("mac_m3_max"))[0].read(0, 0.0)
    assert (reading.battery_level, reading.is_charging) == (0.85, False)
    assert reading.metrics.memory_usage == pytest.approx(0.5)
    desktop = reader_of(recording("mac_m6_three_levels"))[0].read(0, 0.0)
    assert (desktop.battery_level, desktop.is_charging) == (-1.0, False)
    assert desktop.metrics.memory_usage == -1.0, "vm_stat said nothing"


@pytest.mark.parametrize("told, is_low", [
    (" lowpowermode         1\n", True), (" lowpowermode         0\n", False), (" powermode            1\n", True),
    (" hibernatemode        3\n", None), (None, None)])
def test_a_mac_in_low_power_mode(told: Any, is_low: bool) -> None:
    probe = recording("mac_m3_max")
    probe.run = lambda command: told if command == ["/usr/bin/pmset", "-g"] else ""  # type: ignore[method-assign]
    assert mac_low_power(probe) is is_low


def test_phones() -> None:
    pythonista = reader_of(recording("ios_pythonista"))[0].read(0, 0.0)
    assert (pythonista.battery_level, pythonista.is_charging) == (0.64, False)
    a_shell = reader_of(recording("ios_ashell_313"))[0].read(0, 0.0)
    assert a_shell.battery_level == -1.0
    termux = reader_of(recording("android_termux"))[0].read(0, 0.0)
    assert (termux.battery_level, termux.is_charging) == (0.88, True)
    pydroid = reader_of(recording("android_pydroid"))[0].read(0, 0.0)
    assert (pydroid.battery_level, pydroid.is_charging) == (0.91, True)


@pytest.mark.parametrize("told, heat", [
    ("Note: No thermal warning level has been recorded\n", 0),
    ("CPU Power notify\n\tCPU_Scheduler_Limit \t= 100\n\tCPU_Speed_Limit \t= 100\n", 0),
    ("\tCPU_Speed_Limit \t= 48\n", 2), ("Thermal Warning Level = 5\n", 2), ("Thermal Warning Level = 10\n", 3),
    (None, -1)])
def test_the_heat_of_a_mac(told: Any, heat: int) -> None:
    probe = recording("mac_m3_max")
    probe.run = lambda command: told if command == ["/usr/bin/pmset", "-g", "therm"] else ""  # type: ignore
    assert mac_heat(probe) == heat


@pytest.mark.parametrize("told, is_closed", [
    ('+-o IOPMrootDomain\n    "AppleClamshellState" = Yes\n', True), ('"AppleClamshellState" = No\n', False),
    (None, False)])
def test_the_lid_of_a_macbook(told: Any, is_closed: bool) -> None:
    probe = recording("mac_m3_max")
    probe.run = lambda command: told if "AppleClamshellState" in command else None  # type: ignore[method-assign]
    assert mac_lid_closed(probe) is is_closed


@pytest.mark.parametrize("state, is_closed", [("state:      closed\n", True), ("state:      open\n", False)])
def test_the_lid_of_a_linux_laptop(state: str, is_closed: bool) -> None:
    probe = RecordedProbe({"platform": "linux", "files": {"/proc/acpi/button/lid/LID0/state": state}})
    assert reader_of(probe)[0].read(0, 0.0).is_lid_closed is is_closed


@pytest.mark.parametrize("celsius, heat", [(25.0, 0), (39.9, 0), (40.0, 1), (45.0, 2), (49.9, 2), (50.0, 3), (61.0, 3)])
def test_the_heat_of_a_phones_battery(celsius: float, heat: int) -> None:
    assert battery_heat(celsius) == heat


def test_the_heat_of_android_by_its_file_and_by_termux() -> None:
    pydroid = recording("android_pydroid")
    pydroid.files["/sys/class/power_supply/battery/temp"] = "462\n"
    assert reader_of(pydroid)[0].read(0, 0.0).heat == 2
    termux = recording("android_termux")
    assert reader_of(termux)[0].read(0, 0.0).heat == 0
    told = termux.facts["commands"]["termux-battery-status"]
    termux.facts["commands"] = {"termux-battery-status": told.replace("31.0", "51.5")}
    assert reader_of(termux)[0].read(0, 0.0).heat == 3
    assert reader_of(recording("linux_pc_nvidia"))[0].read(0, 0.0).heat == -1, "there the processor tells degrees"


def test_windows_saves_battery() -> None:
    assert not reader_of(recording("windows_laptop"))[0].read(0, 0.0).is_low_power
    probe = recording("windows_laptop")
    probe.facts["windows"] = {**probe.facts["windows"], "saver": True}
    assert reader_of(probe)[0].read(0, 0.0).is_low_power


def app_objects(probe: Any, **values: Any) -> None:
    """Let an app's objects tell other values."""
    probe.facts["app_objects"] = {
        kind: {**told, **{name: value for name, value in values.items() if name in told}}
        for kind, told in probe.facts["app_objects"].items()
    }


def test_a_phone_says_heat_saving_and_that_it_was_left() -> None:
    probe = recording("ios_pythonista")
    assert reader_of(probe)[0].read(0, 0.0).heat == 1
    app_objects(probe, thermalState=3, isLowPowerModeEnabled=True, applicationState=2)
    reading = reader_of(probe)[0].read(0, 0.0)
    assert (reading.heat, reading.is_low_power, reading.is_background) == (3, True, True)


def test_an_app_is_asked_each_second_and_only_what_cannot_wait_asks_for_a_look() -> None:
    probe, looks = recording("ios_pythonista"), []
    clock = ToldClock()
    reader = MetricsReader(probe, clock=clock, start=lambda work: work(), changed=lambda: looks.append(clock.now))
    reader.read(0, 0.0)
    app_objects(probe, batteryLevel=0.63, thermalState=0)
    clock.now += APP_FACTS_EVERY_S / 2
    assert reader.read(0, 0.0).battery_level == 0.64, "too soon"
    clock.now += APP_FACTS_EVERY_S
    reading = reader.read(0, 0.0)
    assert (reading.battery_level, reading.heat, looks) == (0.63, 0, [])
    app_objects(probe, applicationState=2)
    clock.now += APP_FACTS_EVERY_S
    reader.read(0, 0.0)
    assert looks == [clock.now]
    clock.now += APP_FACTS_EVERY_S
    reader.read(0, 0.0)
    assert len(looks) == 1


def test_windows_with_and_without_battery() -> None:
    probe = recording("windows_laptop")
    reader, _ = reader_of(probe)
    probe.facts["windows"]["times"] = [1600, 5000]
    reading = reader.read(0, 0.0)
    assert (reading.battery_level, reading.is_charging) == (0.42, False)
    assert reading.metrics.cpu_usage == pytest.approx(0.6) and 0 < reading.metrics.memory_usage < 1
    desktop = reader_of(recording("windows_desktop"))[0].read(0, 0.0)
    assert (desktop.battery_level, desktop.is_charging) == (-1.0, False)
    assert desktop.metrics.memory_usage == pytest.approx(12 / 32)


# ---- what is slow to ask ------------------------------------------------------------------------------


def test_commands_run_once_a_minute_however_often_one_looks() -> None:
    probe = recording("mac_m3_max")
    reader, clock = reader_of(probe)
    for _ in range(50):
        clock.now += 1
        reader.read(0, 0.0)
    assert len(probe.commands_asked) == len(set(probe.commands_asked)) == 5
    clock.now += SLOW_FACTS_EVERY_S
    reader.read(0, 0.0)
    assert len(probe.commands_asked) == 10


def test_a_look_never_waits_for_a_command_and_none_is_asked_twice_at_once() -> None:
    waiting: List[Callable[[], None]] = []
    reader, clock = reader_of(recording("mac_m3_max"), waiting.append)
    assert reader.read(0, 0.0).battery_level == -1.0
    clock.now += 10 * SLOW_FACTS_EVERY_S
    reader.read(0, 0.0)
    assert len(waiting) == 1
    waiting.pop()()
    assert reader.read(0, 0.0).battery_level == 0.85
    assert len(waiting) == 1, "the next minute's question"


def test_linux_starts_no_process() -> None:
    probe = recording("linux_pc_nvidia")
    reader, clock = reader_of(probe)
    clock.now += 1000
    reader.read(0, 0.0)
    assert probe.commands_asked == []


@pytest.mark.parametrize("name", sorted(path.stem for path in recorded.PROBES.glob("*.json")))
def test_every_recording_gives_usages_in_range(name: str) -> None:
    reader, _ = reader_of(recording(name))
    reading = reader.read(1, 2.0)
    for usage in (reading.metrics.cpu_usage, reading.metrics.memory_usage, reading.battery_level):
        assert usage == -1.0 or 0.0 <= usage <= 1.0


# ---- this machine -------------------------------------------------------------------------------------


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the bound is for Linux")
def test_a_look_at_this_machine_is_quick() -> None:
    reader = MetricsReader(Probe())
    times: List[float] = []
    for _ in range(10):
        before = time.perf_counter()
        reader.read(0, 0.0)
        times.append(time.perf_counter() - before)
    assert min(times) < 0.002


def test_psutil_agrees() -> None:
    psutil = pytest.importorskip("psutil", reason="psutil is not installed: nothing to compare with")
    probe = Probe()
    reading = MetricsReader(probe, start=lambda work: work()).read(0, 0.0)
    if reading.metrics.memory_usage >= 0 and sys.platform.startswith("linux"):
        memory = psutil.virtual_memory()
        assert reading.metrics.memory_usage >= (memory.total - memory.available) / memory.total - 0.05
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    assert (battery is None) == (reading.battery_level < 0)
