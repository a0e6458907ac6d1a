"""Ask this machine one question at a time, and come back: soon, and without an exception.

Knows:   files, commands, sysctl, the registry and the few system calls that detectors and metrics need.
Refuses: to raise, to wait longer than a probe may, to start a process inside an iOS app (the host app would
         crash), and to judge an answer: None, [] or -1 say *not known*.
Read next: host/detect.py (what the answers mean), tests/host/recorded.py (the same questions to a recording).
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import Any, Callable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

#: What `uname().machine` begins with where Python runs inside an app of Apple's. It is the model identifier.
IOS_MACHINES = ("iPhone", "iPad", "iPod", "RealityDevice", "AppleTV")
#: A broken driver makes its command hang; nothing that we ask needs longer.
PROBE_TIMEOUT_S = 2.0
#: Larger than any file of /proc and /sys that we read; `cpuinfo` of a 256-core machine has 400 KB.
PROBE_READ_BYTES = 1 << 20


class PowerSupply(NamedTuple):
    """Say how full a battery is, 0 to 1 (-1: none, or not known), and whether the device has outside power."""

    level: float
    plugged: bool


NO_BATTERY = PowerSupply(-1.0, False)


class Probe:
    """Answer from the machine that this Python runs on. Every method may be asked from any thread."""

    @property
    def platform(self) -> str:
        """Return `sys.platform`."""
        return sys.platform

    @property
    def environ(self) -> Mapping[str, str]:
        """Return the environment."""
        return os.environ

    @property
    def executable(self) -> str:
        """Return the path of the interpreter, or ""."""
        return sys.executable or ""

    def uname(self) -> Tuple[str, str, str, str, str]:
        """Return system, hostname, release, version and machine; "" for each that is not known.

        `platform` is not asked: inside Pythonista it has tried to start a process, and raised.
        """
        if hasattr(os, "uname"):
            return tuple(os.uname())  # type: ignore[return-value]
        machine = self.environ.get("PROCESSOR_ARCHITEW6432") or self.environ.get("PROCESSOR_ARCHITECTURE", "")
        version = ".".join(str(part) for part in self.windows_version() or ())
        return ("Windows", self.environ.get("COMPUTERNAME", ""), version, version, machine)

    def machine(self) -> str:
        """Return the architecture, or on iOS the model identifier."""
        return self.uname()[4]

    def inside_ios(self) -> bool:
        """Say whether Python is embedded in an app of iOS, also one that runs on a Mac, or in its simulator."""
        if self.platform == "ios":
            return True
        if self.platform != "darwin":
            return False
        inside_app = "Pythonista" in self.executable or self.environ.get("APPNAME", "").startswith("a-Shell")
        # There the machine is called after the Mac's processor.
        is_simulated = "SIMULATOR_MODEL_IDENTIFIER" in self.environ
        return inside_app or is_simulated or self.machine().startswith(IOS_MACHINES)

    # ---- files and commands ---------------------------------------------------------------------------

    def read_text(self, path: str) -> Optional[str]:
        """Return the content of a small file without NULs at its end, or None."""
        try:
            with open(path, "rb") as stream:
                return stream.read(PROBE_READ_BYTES).rstrip(b"\0").decode("utf-8", "replace")
        except (OSError, ValueError):
            return None

    def list_dir(self, path: str) -> List[str]:
        """Return the sorted names in a directory; [] where there is none."""
        try:
            return sorted(os.listdir(path))
        except (OSError, ValueError):
            return []

    def run(self, argv: Sequence[str], timeout_s: float = PROBE_TIMEOUT_S) -> Optional[str]:
        """Return what a command printed, or None: not there, failed, too slow, or inside an iOS app."""
        if not argv or self.inside_ios():
            return None
        import subprocess

        hidden = getattr(subprocess, "CREATE_NO_WINDOW", 0)
        try:
            done = subprocess.run(list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, timeout=timeout_s, check=False, creationflags=hidden)
        except (OSError, ValueError, subprocess.SubprocessError):
            return None
        return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None

    # ---- processors and memory, anywhere --------------------------------------------------------------

    def cpu_count(self) -> int:
        """Return the logical CPUs of the machine, at least 1."""
        return os.cpu_count() or 1

    def affinity(self) -> Optional[Tuple[int, ...]]:
        """Return the numbers of the CPUs that this process may use, or None where no mask is known."""
        try:
            return tuple(sorted(os.sched_getaffinity(0)))  # type: ignore[attr-defined,unused-ignore]
        except (AttributeError, OSError):
            return None

    def sysconf(self, name: str) -> int:
        """Return one value of sysconf(3), -1 where unknown."""
        try:
            return os.sysconf(name)
        except (AttributeError, OSError, ValueError):
            return -1

    def load_average(self) -> float:
        """Return the load of the last minute, -1 where unknown."""
        try:
            return os.getloadavg()[0]
        except (AttributeError, OSError):
            return -1.0

    def memory_rlimit(self) -> int:
        """Return the limit of this process's address space in bytes, -1 without one."""
        try:
            import resource

            limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        except (ImportError, AttributeError, OSError, ValueError):
            return -1
        return -1 if limit == resource.RLIM_INFINITY else int(limit)

    # ---- Apple ----------------------------------------------------------------------------------------

    def sysctl_text(self, name: str) -> Optional[str]:
        """Return a text of sysctl, or None."""
        raw = self._sysctl_bytes(name)
        if raw is not None:
            return raw.rstrip(b"\0").decode("utf-8", "replace")
        told = self.run(["/usr/sbin/sysctl", "-n", name]) if self.platform == "darwin" else None
        return told.strip() if told is not None else None

    def sysctl_number(self, name: str) -> Optional[int]:
        """Return an integer of sysctl, or None. The kernel answers with 4 or with 8 bytes: both are read."""
        raw = self._sysctl_bytes(name)
        if raw is not None and len(raw) in (4, 8):
            return int.from_bytes(raw, sys.byteorder)
        told = self.run(["/usr/sbin/sysctl", "-n", name]) if self.platform == "darwin" else None
        return int(told) if told is not None and told.strip().isdigit() else None

    def _sysctl_bytes(self, name: str) -> Optional[bytes]:
        if self.platform not in ("darwin", "ios"):
            return None
        try:
            import ctypes

            ask = ctypes.CDLL(None).sysctlbyname
            size = ctypes.c_size_t(0)
            if ask(name.encode(), None, ctypes.byref(size), None, ctypes.c_size_t(0)) or not 0 < size.value < 4096:
                return None
            buffer = ctypes.create_string_buffer(max(8, size.value))
            size.value = len(buffer)
            if ask(name.encode(), buffer, ctypes.byref(size), None, ctypes.c_size_t(0)):
                return None
            return buffer.raw[:size.value]
        except (ImportError, OSError, AttributeError, ValueError):
            return None

    def app_memory_left(self) -> int:
        """Return the bytes that this iOS app may still take before the system kills it, -1 where unknown."""
        if not self.inside_ios():
            return -1
        ask = _memory_question()
        left = int(ask()) if ask is not None else -1
        return left if left > 0 else -1

    def app_bridge(self) -> Optional[Tuple[Any, Any]]:
        """Return (ObjCClass, on_main_thread) of Pythonista's or Pyto's own bridge to UIKit; None in every other app."""
        if not self.inside_ios():
            return None
        try:
            if "Pythonista" in self.executable:
                import objc_util  # type: ignore[import-not-found,unused-ignore]

                return objc_util.ObjCClass, objc_util.on_main_thread
            if self.importable("pyto"):
                from mainthread import mainthread  # type: ignore[import-not-found,unused-ignore]
                from rubicon.objc import ObjCClass  # type: ignore[import-not-found,unused-ignore]

                return ObjCClass, mainthread
        except (ImportError, AttributeError):
            pass
        return None

    def importable(self, name: str) -> bool:
        """Say whether a top-level module is there, without importing it."""
        import importlib.util

        try:
            return importlib.util.find_spec(name) is not None
        except (ImportError, ValueError, AttributeError):
            return False

    # ---- Android --------------------------------------------------------------------------------------

    def android_property(self, name: str) -> str:
        """Return a system property ("ro.soc.model"), "" where there is none."""
        try:
            import ctypes

            buffer = ctypes.create_string_buffer(92)  # PROP_VALUE_MAX of <sys/system_properties.h>
            getattr(ctypes.CDLL(None), "__system_property_get")(name.encode(), buffer)
            return buffer.value.decode("utf-8", "replace").strip()
        except (ImportError, OSError, AttributeError, ValueError):
            return (self.run(["/system/bin/getprop", name]) or "").strip()

    # ---- Windows --------------------------------------------------------------------------------------

    def windows_version(self) -> Optional[Tuple[int, int, int]]:
        """Return major, minor and build, or None."""
        try:
            found: Any = sys.getwindowsversion()  # type: ignore[attr-defined,unused-ignore]
        except AttributeError:
            return None
        return (found.major, found.minor, found.build)

    def registry(self, path: str, value: str) -> Any:
        """Return a value below HKEY_LOCAL_MACHINE as text, number or bytes; None where there is none."""
        try:
            import winreg

            key: Any = winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path)  # type: ignore[attr-defined,unused-ignore]
            with key:
                return winreg.QueryValueEx(key, value)[0]  # type: ignore[attr-defined,unused-ignore]
        except (ImportError, AttributeError, OSError):
            return None

    def windows_memory(self) -> Optional[Tuple[int, int]]:
        """Return total and available bytes (GlobalMemoryStatusEx), or None."""
        # MEMORYSTATUSEX: DWORD length, DWORD load, then seven 64-bit counters; total and available come first.
        raw = self._kernel32_filled("GlobalMemoryStatusEx", (64).to_bytes(4, "little") + bytes(60))
        return (_word(raw, 8, 8), _word(raw, 16, 8)) if raw else None

    def windows_battery(self) -> Optional[PowerSupply]:
        """Return the battery (GetSystemPowerStatus); None without one or where it is not known."""
        # SYSTEM_POWER_STATUS: BYTE line (0 battery, 1 outside power), BYTE flag (128 none, 255 unknown), BYTE percent,
        # BYTE saver (1 while it is on, from Windows 10 on).
        raw = self._kernel32_filled("GetSystemPowerStatus", bytes(12))
        if not raw or raw[1] & 128 or raw[2] > 100:
            return None
        return PowerSupply(raw[2] / 100, raw[0] == 1)

    def windows_saver(self) -> bool:
        """Say whether Windows saves battery just now (GetSystemPowerStatus, as above)."""
        raw = self._kernel32_filled("GetSystemPowerStatus", bytes(12))
        return bool(raw) and raw[3] == 1  # type: ignore[index]

    def windows_times(self) -> Optional[Tuple[int, int]]:
        """Return the busy and the total time of all CPUs in units of 100 ns (GetSystemTimes), or None."""
        try:
            import ctypes

            idle, kernel, user = (ctypes.c_uint64() for _ in range(3))
            pointers = (ctypes.byref(idle), ctypes.byref(kernel), ctypes.byref(user))
            if not ctypes.windll.kernel32.GetSystemTimes(*pointers):  # type: ignore[attr-defined,unused-ignore]
                return None
        except (ImportError, OSError, AttributeError):
            return None
        total = kernel.value + user.value  # the kernel's time includes the idle time
        return (total - idle.value, total)

    def windows_physical_cores(self) -> int:
        """Return the cores of all processor groups (GetLogicalProcessorInformationEx), 0 where unknown."""
        try:
            import ctypes

            ask = ctypes.windll.kernel32.GetLogicalProcessorInformationEx  # type: ignore[attr-defined,unused-ignore]
            size = ctypes.c_uint32(0)
            ask(0, None, ctypes.byref(size))
            buffer = ctypes.create_string_buffer(size.value)
            if not ask(0, buffer, ctypes.byref(size)):
                return 0
        except (ImportError, OSError, AttributeError):
            return 0
        return count_core_records(buffer.raw[:size.value])

    def _kernel32_filled(self, function: str, memory: bytes) -> Optional[bytes]:
        """Let a function of kernel32 fill a structure that begins as `memory`; return it, or None."""
        try:
            import ctypes

            buffer = ctypes.create_string_buffer(memory, len(memory))
            filled = getattr(ctypes.windll.kernel32, function)(buffer)  # type: ignore[attr-defined,unused-ignore]
        except (ImportError, OSError, AttributeError):
            return None
        return buffer.raw if filled else None


@lru_cache(maxsize=1)
def _memory_question() -> Optional[Callable[[], int]]:
    """Return iOS's own function, None elsewhere; looked up once, which takes longer than all that is asked by it."""
    try:
        import ctypes

        ask = ctypes.CDLL(None).os_proc_available_memory
        ask.restype, ask.argtypes = ctypes.c_size_t, []
    except (ImportError, OSError, AttributeError, ValueError):
        return None
    return ask


def count_core_records(raw: bytes) -> int:
    """Count the cores in a list of SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX.

    Each record begins with DWORD relationship (0: one core) and DWORD size of the record.
    """
    cores = start = 0
    while start + 8 <= len(raw):
        size = _word(raw, start + 4, 4)
        if size < 8:
            break
        cores += _word(raw, start, 4) == 0
        start += size
    return cores


def _word(raw: bytes, start: int, size: int) -> int:
    return int.from_bytes(raw[start:start + size], "little")
