"""Tell of a training's devices by the names that people know them by, and of what befell it, each thing once.

Knows:   names of devices, those that several have told apart as `list` does, by the beginning of the id.
Refuses: to decide anything (faces/training.py does).
Read next: faces/training.py, faces/train_lines.py (the line of a round).
"""

from __future__ import annotations

import logging
import math
import re
from typing import Any, Dict, Sequence, Set

from ..ml.trees import leaf_kinds
from ..model.device import short_id

#: What short ids look like in texts that other parts of the program made.
_SHORT_ID = re.compile(r"\b[a-z0-9]{8}\b")


#: What is said of code that a device cannot read: its file imports a module, or is written for a newer Python.
_UNFIT = re.compile(r"\bcarry_out(?:_here)? ((?:needs|is written for) [^(;]+)")


def lacking(said: str) -> str:
    """Return what a device lacks for a job, in words, where that is what befell a step there; else ""."""
    found = _UNFIT.search(said)
    return f"the job {found[1].strip()}" if found else ""


class DeviceNames:
    """Call devices by their names."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._known: Dict[str, str] = {}
        self._look()

    def of(self, device_id: str) -> str:
        """Return the name of a device, or of the device of a place, looked up when it is met.

        Who is gone keeps its name. Where two have the same, the beginning of the id follows.
        """
        device_id = device_id.partition("/")[0]
        if device_id not in self._known:
            self._look()
        name = self._known.get(device_id)
        if not name:
            return short_id(device_id)
        return name if list(self._known.values()).count(name) == 1 else f"{name} ({short_id(device_id)})"

    def put_into(self, text: str) -> str:
        """Return a text in which devices were called by the beginnings of their ids, with their names."""
        self._look()
        names = {short_id(device_id): self.of(device_id) for device_id in self._known}
        return _SHORT_ID.sub(lambda found: names.get(found[0], found[0]), text)

    def _look(self) -> None:
        self._known.update((device.id, device.name) for device in self._cluster.devices())


class TrainingNews:
    """Say, once, what people should know of a training that goes on."""

    def __init__(self, names: DeviceNames, template: Any) -> None:
        self.names = names
        self._kinds = leaf_kinds(template)
        self._has_odd_figures = False
        #: Devices that compute with lesser arrays, of which that was said.
        self._lesser: Set[str] = set()

    def odd_figures(self, number: int, *figures: Dict[str, float]) -> None:
        """Tell of a figure of a round that has become no number, whether steps measured it or the evaluation."""
        odd = dict.fromkeys(f"{name} is {value}" for each in figures for name, value in each.items()
                            if not math.isfinite(value))
        if odd and not self._has_odd_figures:
            self._has_odd_figures = True
            self._say("after round %d %s, though the state holds numbers; try a smaller rate, or look for data that "
                      "are no numbers", number, ", ".join(odd))

    def kinds(self, kinds: Sequence[str], device_id: str) -> None:
        """Tell of a device that made lesser arrays of the state than the job did."""
        lacks = [kind for kind in self._kinds if kind not in kinds]
        if lacks and device_id not in self._lesser:
            self._lesser.add(device_id)
            self._say("device %s has not the library of the state's arrays (%s): it computes with %s",
                      self.names.of(device_id), ", ".join(lacks), ", ".join(kinds))

    def left_out(self, device_id: str, lacks: str) -> None:
        """Tell of a device that lacks what the job imports."""
        self._say("device %s is left out: %s; install it there for the next training",
                  self.names.of(device_id), lacks)

    def whole_states(self, compression: str) -> None:
        """Tell that what is compressed is half of what travels."""
        self._say("with this strategy the new state is made on this machine, and travels whole to all devices: %s is "
                  "for what they send alone", compression)

    def _say(self, text: str, *values: Any) -> None:
        logging.getLogger("discompute").warning(text, *values)
