"""Keep a training in a folder: the newest state, replaced whole or not at all, figures of each round, a picture.

Knows:   checkpoint.json and metrics.jsonl, and that either may be older than the other after a crash; curves.svg.
Refuses: to know what is in them.
Read next: host/files.py (how a file is replaced), faces/training.py (who saves).
"""

from __future__ import annotations

import json
import math
import os
from typing import Any, Dict, List, Optional

from ..model.codec import strict_numbers
from ..model.errors import SettingsError
from .files import state_errors, write_atomically

CHECKPOINT_FILE = "checkpoint.json"
METRICS_FILE = "metrics.jsonl"
CURVES_FILE = "curves.svg"
#: What chooses another folder.
FOLDER_FLAG = "--checkpoint"


class CheckpointFolder:
    """Save and find one training."""

    def __init__(self, path: str, goes_on: bool) -> None:
        """Make the folder where it is missing; raise StateError where that cannot be.

        A training that is there already is somebody's work of hours: raise SettingsError unless this one goes on
        with it.
        """
        self.path = path
        with state_errors(path, FOLDER_FLAG):
            os.makedirs(path, exist_ok=True)
        self._checkpoint = os.path.join(path, CHECKPOINT_FILE)
        self._metrics = os.path.join(path, METRICS_FILE)
        if self.is_saved_in(path) and not goes_on:
            raise SettingsError(f"{path} holds a training already; go on with it by --resume (in Python resume=True), "
                                "or name another folder")

    @staticmethod
    def is_saved_in(path: str) -> bool:
        """Whether a training was saved in this folder, which is not made; "" is no folder."""
        return bool(path) and os.path.exists(os.path.join(path, CHECKPOINT_FILE))

    def load(self) -> Optional[bytes]:
        """Return what was saved last, None where nothing was."""
        return _whole_file(self._checkpoint)

    def save(self, data: bytes) -> None:
        """Replace what was saved; it is on the disk on return."""
        write_atomically(self._checkpoint, data, FOLDER_FLAG)

    def begin_metrics(self, rounds: int) -> List[Dict[str, Any]]:
        """Return the figures of the rounds up to this one, and forget those after it, which will be made again."""
        kept = [line for line in self._read_metrics() if line.get("round", 0) <= rounds]
        write_atomically(self._metrics, b"".join(_metrics_line(line) for line in kept), FOLDER_FLAG)
        return kept

    def add_metrics(self, figures: Dict[str, Any]) -> None:
        """Append the figures of one round."""
        with state_errors(self._metrics, FOLDER_FLAG), open(self._metrics, "ab") as file:
            file.write(_metrics_line(figures))

    def save_picture(self, svg: str) -> None:
        """Replace the picture of the curves."""
        write_atomically(os.path.join(self.path, CURVES_FILE), svg.encode("utf-8"), FOLDER_FLAG)

    def _read_metrics(self) -> List[Dict[str, Any]]:
        found = []
        for line in (_whole_file(self._metrics) or b"").splitlines():
            try:
                plain = json.loads(line, object_hook=_with_odd_numbers)
            except ValueError:
                continue  # The last line of a machine that lost its power.
            if isinstance(plain, dict):
                found.append(plain)
        return found


def _whole_file(path: str) -> Optional[bytes]:
    """Return a file of any size: a person's own training makes it, and it grows with that."""
    if not os.path.exists(path):
        return None
    with state_errors(path, FOLDER_FLAG), open(path, "rb") as file:
        return file.read()


def _metrics_line(figures: Dict[str, Any]) -> bytes:
    return json.dumps(strict_numbers(figures), separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def _with_odd_numbers(plain: Dict[str, Any]) -> Dict[str, Any]:
    """Return figures with a number that is none where null was written: each figure stays one that can be compared."""
    return {name: math.nan if value is None else value for name, value in plain.items()}
