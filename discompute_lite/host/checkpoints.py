"""Keep a training in a folder: the newest state, replaced whole or not at all, and a line of figures for each round.

Knows:   checkpoint.json and metrics.jsonl, and that either may be older than the other after a crash.
Refuses: to know what is in them.
Read next: host/files.py (how a file is replaced), faces/training.py (who saves).
"""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Optional

from .files import state_errors, write_atomically

CHECKPOINT_FILE = "checkpoint.json"
METRICS_FILE = "metrics.jsonl"


class CheckpointFolder:
    """Save and find one training."""

    def __init__(self, path: str) -> None:
        """Make the folder where it is missing; raise StateError where that cannot be."""
        self.path = path
        with state_errors(path):
            os.makedirs(path, exist_ok=True)
        self._checkpoint = os.path.join(path, CHECKPOINT_FILE)
        self._metrics = os.path.join(path, METRICS_FILE)

    def load(self) -> Optional[bytes]:
        """Return what was saved last, None where nothing was."""
        return _whole_file(self._checkpoint)

    def save(self, data: bytes) -> None:
        """Replace what was saved; it is on the disk on return."""
        write_atomically(self._checkpoint, data)

    def begin_metrics(self, rounds: int) -> List[Dict[str, Any]]:
        """Return the figures of the rounds up to this one, and forget those after it, which will be made again."""
        kept = [line for line in self._read_metrics() if line.get("round", 0) <= rounds]
        write_atomically(self._metrics, b"".join(_metrics_line(line) for line in kept))
        return kept

    def add_metrics(self, figures: Dict[str, Any]) -> None:
        """Append the figures of one round."""
        with state_errors(self._metrics), open(self._metrics, "ab") as file:
            file.write(_metrics_line(figures))

    def _read_metrics(self) -> List[Dict[str, Any]]:
        found = []
        for line in (_whole_file(self._metrics) or b"").splitlines():
            try:
                plain = json.loads(line)
            except ValueError:
                continue  # The last line of a machine that lost its power.
            if isinstance(plain, dict):
                found.append(plain)
        return found


def _whole_file(path: str) -> Optional[bytes]:
    """Return a file of any size: a person's own training makes it, and it grows with that."""
    if not os.path.exists(path):
        return None
    with state_errors(path), open(path, "rb") as file:
        return file.read()


def _metrics_line(figures: Dict[str, Any]) -> bytes:
    return json.dumps(figures, separators=(",", ":")).encode("ascii") + b"\n"
