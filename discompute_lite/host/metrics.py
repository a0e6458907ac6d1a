"""Say how this device feels just now: load, memory, battery, heat, lid, and whether its app is on the screen.

Knows:   /proc and /sys with the limits of the control group; pmset, ioreg and vm_stat; kernel32; termux-battery-status;
         the app's own bridge on iPhone and iPad.
Refuses: to wait. Files are read on the spot; what needs a command or another thread's answer is asked in the
         background, commands at most once a minute, and `read` gives what was known last.
Read next: core/allowance.py (who decides by these figures), host/cgroup.py.

A usage of -1 is *not known*. Temperature is that of the processor and 0 where no sensor is surely its own.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, List, Optional, Sequence, Tuple

from ..model.device import ComputeMetrics
from .app_sensors import AppFacts, AppSensors
from .cgroup import group_cpu_seconds, group_limits, group_memory_used
from .detect_linux import meminfo_bytes
from .detect_others import is_android
from .probe import NO_BATTERY, PowerSupply, Probe

#: Commands are asked no more often than this: batteries and memory do not jump.
SLOW_FACTS_EVERY_S = 60.0
#: An app's bridge likewise, which takes a fraction of a millisecond: an app that is left is stopped within seconds.
APP_FACTS_EVERY_S = 1.0
#: Sensors and thermal zones that measure the processor, by the start of their names.
_CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu", "soc", "x86_pkg_temp", "bigcore", "littlecore")
#: Sensors report nonsense when they sleep; a processor outside this range does not run.
_CELSIUS_MIN, _CELSIUS_MAX = 1.0, 125.0
_SENSORS_MAX = 8
POWER_SUPPLIES = "/sys/class/power_supply"
#: Android's, in tenths of a degree.
BATTERY_TENTHS = f"{POWER_SUPPLIES}/battery/temp"
_LIDS = "/proc/acpi/button/lid"
#: Celsius of a phone's battery, and the heat that this is: it is not charged above 45 degrees, suffers above 50, and
#: ends the phone at 60 or so.
_BATTERY_HEAT = ((50.0, 3), (45.0, 2), (40.0, 1))
#: What the person chose in the desktop's power settings: low-power, balanced or performance.
PLATFORM_PROFILE = "/sys/firmware/acpi/platform_profile"
_VM_STAT_LINE = re.compile(r"^Pages (free|inactive):\s+(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Reading:
    """Hold one look at the device. The battery is 0 to 1, -1 where there is none or it is not known."""

    metrics: ComputeMetrics
    battery_level: float
    #: True on outside power, also when the battery is full: what matters is that work does not drain it.
    is_charging: bool
    #: Its owner asked the system to save power.
    is_low_power: bool = False
    #: 0 nominal, 1 fair, 2 serious, 3 critical, -1 where it is not known: where no degrees of a processor are told.
    heat: int = -1
    #: It runs in an app that is not on the screen, and that its system is about to stop.
    is_background: bool = False
    is_lid_closed: bool = False


@dataclass(frozen=True)
class _SlowFacts:
    """Hold what commands and bridges said last."""

    battery: PowerSupply = NO_BATTERY
    memory_usage: float = -1.0
    is_low_power: bool = False
    heat: int = -1
    is_background: bool = False
    is_lid_closed: bool = False

    @property
    def urgent(self) -> Tuple[Any, ...]:
        """Return what must not wait until somebody looks again."""
        return self.is_background, max(1, self.heat), self.is_lid_closed, self.battery.plugged, self.is_low_power


def start_in_background(work: Callable[[], None]) -> None:
    """Run `work` in a thread that no one waits for, not even the end of the program."""
    threading.Thread(target=work, name="slow-facts", daemon=True).start()


class MetricsReader:
    """Read the metrics again and again; usages are those since the last `read`. One thread at a time."""

    def __init__(self, probe: Probe, *, clock: Callable[[], float] = time.monotonic,
                 start: Callable[[Callable[[], None]], None] = start_in_background, state_folder: str = "",
                 changed: Callable[[], None] = lambda: None) -> None:
        """`changed` is called from another thread when what was asked in the background is worth a look at once."""
        self._probe = probe
        self._clock = clock
        self._start = start
        self._is_linux = probe.platform.startswith(("linux", "android"))
        self._limits = group_limits(probe) if self._is_linux else None
        self._sensors = cpu_sensor_files(probe) if self._is_linux else []
        #: Replaced whole by the background thread, so a reader sees the old or the new, never half.
        self._slow = _SlowFacts()
        self._slow_due = clock()
        self._slow_running = False
        self._changed = changed
        self.app = AppSensors(probe, state_folder)
        self._is_in_app = probe.inside_ios()
        self._has_slow_facts = probe.platform in ("darwin", "ios") or is_android(probe)
        self._app_memory = probe.app_memory_left()
        self._cpu_before = self._cpu_times()
        self._cpu_share = -1.0

    def read(self, active_tasks: int, throughput: float) -> Reading:
        """Return how the device feels. Below 2 ms on Linux, and never waits for a command."""
        self._refresh_slow_facts()
        battery = self._battery()
        metrics = ComputeMetrics(cpu_usage=self._cpu_usage(), memory_usage=self._memory_usage(), gpu_usage=-1.0,
                                 temperature=self._temperature(), active_tasks=active_tasks, throughput=throughput)
        return Reading(metrics, battery.level, battery.plugged, self._is_low_power(), self._heat(),
                       self._slow.is_background, self._is_lid_closed())

    # ---- processor ------------------------------------------------------------------------------------

    def _cpu_usage(self) -> float:
        now = self._cpu_times()
        if now is None or self._cpu_before is None:
            load = self._probe.load_average()
            return _share(load, self._probe.cpu_count()) if load >= 0 else -1.0
        busy, total = now[0] - self._cpu_before[0], now[1] - self._cpu_before[1]
        if total > 0:  # else asked twice within one tick of the kernel's clock: what was known last
            self._cpu_before, self._cpu_share = now, _share(busy, total)
        return self._cpu_share

    def _cpu_times(self) -> Optional[Tuple[float, float]]:
        """Return busy and total CPU time so far, in any unit, or None where only the load is known."""
        if not self._is_linux:
            return self._probe.windows_times() if self._probe.platform == "win32" else None
        if self._limits is not None and self._limits.cpus:
            used_s = group_cpu_seconds(self._probe, self._limits.cpu_time_file)
            if used_s >= 0:
                return used_s, self._clock() * self._limits.cpus
        return cpu_ticks(self._probe.read_text("/proc/stat") or "", self._probe.affinity() or ())

    # ---- memory ---------------------------------------------------------------------------------------

    def _memory_usage(self) -> float:
        if self._is_linux:
            return self._linux_memory_usage()
        if self._probe.inside_ios():
            left = self._probe.app_memory_left()
            # What the app may take is not told; the most that was ever left stands for it.
            self._app_memory = max(self._app_memory, left)
            return _share(self._app_memory - left, self._app_memory) if left > 0 else -1.0
        memory = self._probe.windows_memory() if self._probe.platform == "win32" else None
        return _share(memory[0] - memory[1], memory[0]) if memory else self._slow.memory_usage

    def _linux_memory_usage(self) -> float:
        facts = meminfo_bytes(self._probe)
        total, available = facts.get("MemTotal", 0), facts.get("MemAvailable", facts.get("MemFree", -1))
        usage = _share(total - available, total) if total and available >= 0 else -1.0
        limits = self._limits
        if limits is not None and limits.memory_bytes:
            used = group_memory_used(self._probe, limits.memory_group)
            if used >= 0:
                # A small group on a full machine suffers too.
                usage = max(usage, _share(used, limits.memory_bytes))
        return usage

    # ---- heat and battery -----------------------------------------------------------------------------

    def _temperature(self) -> float:
        return max((celsius_of(self._probe, path) for path in self._sensors), default=0.0)

    def _battery(self) -> PowerSupply:
        if self._probe.platform == "win32":
            return self._probe.windows_battery() or NO_BATTERY
        if self._is_linux:
            found = linux_battery(self._probe)
            if found is not None:
                return found
        return self._slow.battery

    def _is_low_power(self) -> bool:
        if self._is_linux:
            return (self._probe.read_text(PLATFORM_PROFILE) or "").strip() == "low-power"
        return self._probe.windows_saver() if self._probe.platform == "win32" else self._slow.is_low_power

    def _heat(self) -> int:
        told = supply_heat(self._probe) if self._is_linux and self._has_slow_facts else -1
        return told if told >= 0 else self._slow.heat

    def _is_lid_closed(self) -> bool:
        if not self._is_linux:
            return self._slow.is_lid_closed
        lids = self._probe.list_dir(_LIDS)
        return any("closed" in (self._probe.read_text(f"{_LIDS}/{lid}/state") or "") for lid in lids)

    # ---- what is slow to ask --------------------------------------------------------------------------

    def _refresh_slow_facts(self) -> None:
        if not self._has_slow_facts or self._slow_running or self._clock() < self._slow_due:
            return
        self._slow_running = True
        self._slow_due = self._clock() + (APP_FACTS_EVERY_S if self._is_in_app else SLOW_FACTS_EVERY_S)
        self._start(self._ask_slow_facts)

    def _ask_slow_facts(self) -> None:
        before = self._slow
        try:
            if self._is_in_app:
                told = self.app.ask() or AppFacts()
                self._slow = _SlowFacts(told.battery, -1.0, told.is_low_power, told.heat, told.is_background)
            elif self._probe.platform == "darwin":
                battery = mac_battery(self._probe)
                self._slow = _SlowFacts(
                    battery, mac_memory_usage(self._probe), bool(mac_low_power(self._probe)), mac_heat(self._probe),
                    is_lid_closed=battery.level >= 0 and mac_lid_closed(self._probe))
            else:
                battery, heat = termux_battery(self._probe)
                self._slow = _SlowFacts(battery, heat=heat)
        finally:
            self._slow_running = False
        if self._slow.urgent != before.urgent:
            self._changed()


def linux_battery(probe: Probe) -> Optional[PowerSupply]:
    """Return the battery by /sys/class/power_supply: the emptiest of several; None without one.

    Supplies are told apart by their `type`, not by their names; a mouse has a battery too (scope "Device").
    """
    levels: List[float] = []
    states: List[str] = []
    mains = False
    for name in probe.list_dir(POWER_SUPPLIES):
        folder = f"{POWER_SUPPLIES}/{name}/"
        kind = (probe.read_text(folder + "type") or "").strip()
        if kind in ("Mains", "USB"):
            mains = mains or (probe.read_text(folder + "online") or "").strip() == "1"
        elif kind == "Battery" and (probe.read_text(folder + "scope") or "").strip() != "Device":
            percent = (probe.read_text(folder + "capacity") or "").strip()
            if percent.isdigit():
                levels.append(min(100, int(percent)) / 100)
                states.append((probe.read_text(folder + "status") or "").strip())
    if not levels:
        return None
    plugged = "Charging" in states or "Full" in states or (mains and "Discharging" not in states)
    return PowerSupply(min(levels), plugged)


def mac_battery(probe: Probe) -> PowerSupply:
    """Return the battery by `pmset -g batt`: where power comes from, then NN%; a desktop prints no percent."""
    told = probe.run(["/usr/bin/pmset", "-g", "batt"]) or ""
    percent = re.search(r"(\d{1,3})%", told)
    return PowerSupply(min(100, int(percent.group(1))) / 100, "'AC Power'" in told) if percent else NO_BATTERY


def mac_low_power(probe: Probe) -> Optional[bool]:
    """Return whether `pmset -g` says that low-power mode is on; None where it does not say, as on older systems."""
    told = probe.run(["/usr/bin/pmset", "-g"]) or ""
    modes = re.findall(r"^\s*(?:lowpowermode|powermode)\s+(\d+)\b", told, re.MULTILINE)
    return "1" in modes if modes else None


def mac_heat(probe: Probe) -> int:
    """Return the heat by `pmset -g therm`: the level of warning (5 danger, 10 crisis), or how slow an Intel is made."""
    told = probe.run(["/usr/bin/pmset", "-g", "therm"])
    if told is None:
        return -1
    levels = [int(found) for found in re.findall(r"Thermal Warning Level\s*=\s*(\d+)", told, re.IGNORECASE)]
    limits = [int(found) for found in re.findall(r"CPU_Speed_Limit\s*=\s*(\d+)", told)]
    if any(level >= 10 for level in levels):
        return 3
    return 2 if any(level >= 5 for level in levels) or any(limit < 60 for limit in limits) else 0


def mac_lid_closed(probe: Probe) -> bool:
    """Return whether a MacBook's lid is closed while it works on, as with a display of its own."""
    told = probe.run(["/usr/sbin/ioreg", "-r", "-k", "AppleClamshellState", "-d", "1"]) or ""
    return re.search(r'"AppleClamshellState"\s*=\s*Yes', told) is not None


def mac_memory_usage(probe: Probe) -> float:
    """Return the share of memory in use by `vm_stat`: all but free and inactive pages, as psutil counts."""
    told = probe.run(["/usr/bin/vm_stat"]) or ""
    page = re.search(r"page size of (\d+) bytes", told)
    pages = dict(_VM_STAT_LINE.findall(told))
    total = probe.sysctl_number("hw.memsize") or 0
    if not page or "free" not in pages or total <= 0:
        return -1.0
    return _share(total - int(page.group(1)) * sum(int(count) for count in pages.values()), total)


def termux_battery(probe: Probe) -> Tuple[PowerSupply, int]:
    """Return battery and heat by `termux-battery-status`.

    The command is there with the Termux:API add-on only, and hangs where the add-on's app is missing.
    """
    told = probe.run(["termux-battery-status"]) or ""
    percent = re.search(r'"percentage"\s*:\s*(\d+)', told)
    plugged = re.search(r'"plugged"\s*:\s*"PLUGGED_', told)
    degrees = re.search(r'"temperature"\s*:\s*(\d+(?:\.\d+)?)', told)
    battery = PowerSupply(min(100, int(percent.group(1))) / 100, plugged is not None) if percent else NO_BATTERY
    return battery, battery_heat(float(degrees.group(1))) if degrees else -1


def supply_heat(probe: Probe) -> int:
    """Return the heat by the file that Androids have for their battery, in tenths of a degree; -1 without it."""
    tenths = (probe.read_text(BATTERY_TENTHS) or "").strip()
    return battery_heat(int(tenths) / 10) if tenths.isdigit() else -1


def celsius_of(probe: Probe, path: str) -> float:
    """Return the degrees that a thermometer's file says, 0 where it says none that can be."""
    text = (probe.read_text(path) or "").strip()
    celsius = int(text) / 1000 if text.isdigit() else 0.0
    return celsius if _CELSIUS_MIN <= celsius <= _CELSIUS_MAX else 0.0


def battery_heat(celsius: float) -> int:
    """Return the heat of a phone whose battery has so many degrees: 0 nominal to 3 critical."""
    return next((heat for mark, heat in _BATTERY_HEAT if celsius >= mark), 0)


def cpu_ticks(text: str, cpus: Sequence[int]) -> Optional[Tuple[float, float]]:
    """Return busy and total ticks of these CPUs (all, where none is named) by /proc/stat, None where it is empty.

    A line: cpu3 user nice system idle iowait irq softirq steal guest guest_nice; guest time is in user already.
    Android forbids the file.
    """
    wanted = {f"cpu{number}" for number in cpus}
    busy = total = 0
    for line in text.splitlines():
        name, *ticks = line.split() or [""]
        if name in wanted or (not wanted and name == "cpu"):
            numbers = [int(tick) for tick in ticks[:8] if tick.isdigit()]
            if len(numbers) >= 4:
                total += sum(numbers)
                busy += sum(numbers) - sum(numbers[3:5])
    return (busy, total) if total else None


def cpu_sensor_files(probe: Probe) -> List[str]:
    """Return the files of the processor's thermometers, in thousandths of a degree Celsius."""
    files: List[str] = []
    for device in probe.list_dir("/sys/class/hwmon"):
        folder = f"/sys/class/hwmon/{device}/"
        if (probe.read_text(folder + "name") or "").startswith(_CPU_SENSORS):
            files += [folder + name for name in probe.list_dir(folder[:-1]) if re.fullmatch(r"temp\d+_input", name)]
    if not files:
        for zone in probe.list_dir("/sys/class/thermal"):
            folder = f"/sys/class/thermal/{zone}/"
            if zone.startswith("thermal_zone") and (probe.read_text(folder + "type") or "").startswith(_CPU_SENSORS):
                files.append(folder + "temp")
    return files[:_SENSORS_MAX]


def _share(part: float, whole: float) -> float:
    return min(1.0, max(0.0, part / whole)) if whole > 0 else -1.0
