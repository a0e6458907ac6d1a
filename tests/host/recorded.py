"""Answer a detector's questions from a recording instead of a machine.

Knows:   the JSON files beside it in probes/; what is not in a recording is not known, as on a machine.
Refuses: to look at the machine that the tests run on.
Read next: discompute_lite/host/probe.py (the questions).

    {"modelled_on": "what the recording was made from", "platform": "linux", "uname": [5 texts],
     "environ": {}, "executable": "", "files": {path: text}, "commands": {"argv joined": output},
     "sysctl": {name: text or number}, "properties": {Android's}, "registry": {"path\\\\value": ...},
     "cpu_count": 4, "affinity": [0, 1], "importable": [], "windows": {"memory": [total, available], ...}}
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from discompute_lite.host.probe import PowerSupply, Probe

PROBES = Path(__file__).parent / "probes"


class AppObject:
    """Be a class of UIKit and its one object, through a bridge that calls a method for each property."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self.monitors = False

    def currentDevice(self) -> AppObject:
        return self

    sharedApplication = processInfo = currentDevice

    def setBatteryMonitoringEnabled_(self, wanted: bool) -> None:
        self.monitors = wanted

    def __getattr__(self, name: str) -> Any:
        if name not in self._values:
            raise AttributeError(name)
        value = self._values[name]
        return lambda: -1.0 if name == "batteryLevel" and not self.monitors else value


class RecordedProbe(Probe):
    """Answer from a dict; `questions` counts the commands that were asked for."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.facts = dict(facts)
        self.files: Dict[str, str] = dict(self.facts.get("files", {}))
        self.commands_asked: List[str] = []

    @property
    def platform(self) -> str:
        return str(self.facts["platform"])

    @property
    def environ(self) -> Mapping[str, str]:
        return dict(self.facts.get("environ", {}))

    @property
    def executable(self) -> str:
        return str(self.facts.get("executable", ""))

    def uname(self) -> Tuple[str, str, str, str, str]:
        system, node, release, version, machine = self.facts.get("uname", [""] * 5)
        return system, node, release, version, machine

    def read_text(self, path: str) -> Optional[str]:
        text = self.files.get(path)
        return None if text is None else text.rstrip("\0")

    def list_dir(self, path: str) -> List[str]:
        start = path.rstrip("/") + "/"
        return sorted({name[len(start):].split("/")[0] for name in self.files if name.startswith(start)})

    def run(self, argv: Sequence[str], timeout_s: float = 2.0) -> Optional[str]:
        assert not self.inside_ios(), "a process was started inside an iOS app"
        self.commands_asked.append(" ".join(argv))
        found = self.facts.get("commands", {}).get(" ".join(argv))
        return None if found is None else str(found)

    def cpu_count(self) -> int:
        return int(self.facts.get("cpu_count", 1))

    def affinity(self) -> Optional[Tuple[int, ...]]:
        mask = self.facts.get("affinity")
        return None if mask is None else tuple(mask)

    def sysconf(self, name: str) -> int:
        return int(self.facts.get("sysconf", {}).get(name, -1))

    def load_average(self) -> float:
        return float(self.facts.get("load_average", -1.0))

    def memory_rlimit(self) -> int:
        return int(self.facts.get("memory_rlimit", -1))

    def sysctl_text(self, name: str) -> Optional[str]:
        found = self.facts.get("sysctl", {}).get(name)
        return found if isinstance(found, str) else None

    def sysctl_number(self, name: str) -> Optional[int]:
        found = self.facts.get("sysctl", {}).get(name)
        return found if isinstance(found, int) else None

    def app_memory_left(self) -> int:
        return int(self.facts.get("app_memory_left", -1))

    def app_bridge(self) -> Optional[Tuple[Any, Any]]:
        """Return a bridge to the app's objects of the recording: {class: {property: value}}."""
        found = self.facts.get("app_objects")
        return (lambda kind: AppObject(found[kind]), lambda function: function) if found else None

    def importable(self, name: str) -> bool:
        return name in self.facts.get("importable", [])

    def android_property(self, name: str) -> str:
        return str(self.facts.get("properties", {}).get(name, ""))

    def windows_version(self) -> Optional[Tuple[int, int, int]]:
        major, minor, build = self.facts["windows"]["version"]
        return major, minor, build

    def registry(self, path: str, value: str) -> Any:
        return self.facts.get("registry", {}).get(f"{path}\\{value}")

    def windows_memory(self) -> Optional[Tuple[int, int]]:
        total, available = self.facts["windows"]["memory"]
        return total, available

    def windows_battery(self) -> Optional[PowerSupply]:
        found = self.facts["windows"].get("battery")
        return PowerSupply(*found) if found else None

    def windows_saver(self) -> bool:
        return bool(self.facts["windows"].get("saver"))

    def windows_times(self) -> Optional[Tuple[int, int]]:
        busy, total = self.facts["windows"]["times"]
        return busy, total

    def windows_physical_cores(self) -> int:
        return int(self.facts["windows"].get("physical_cores", 0))


def recording(name: str, **changes: Any) -> RecordedProbe:
    """Return the recording of probes/<name>.json, with some of its facts changed."""
    with open(PROBES / f"{name}.json", encoding="utf-8") as stream:
        return RecordedProbe({**json.load(stream), **changes})
