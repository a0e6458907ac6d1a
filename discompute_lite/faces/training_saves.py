"""Save a training round by round, and find out what an earlier one left to go on from.

Knows:   what a checkpoint holds, and for which training it is good.
Refuses: to save a state that has become no number: the last good one stays.
Read next: faces/training.py, host/checkpoints.py (the folder).
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

from ..ml.curves import curve_svg
from ..ml.trees import lost_place, taken_tree
from ..model.errors import SettingsError, TaskFailed, TaskRejected
from ..run import TrainingFolder
from ..tasks.values import dump_value, load_value

CHECKPOINT_FORMAT = 1


class TrainingSaves:
    """Keep one training in a folder, or nowhere."""

    def __init__(self, path: str, goes_on: bool, strategy: str) -> None:
        """`path` may be "" for no folder; `strategy` is that of this training, in words."""
        self._folder = TrainingFolder(path, goes_on) if path else None
        self._strategy = strategy
        #: The round that was saved last, 0 before one was.
        self._saved_round = 0

    def find(self, goes_on: bool) -> Optional[Dict[str, Any]]:
        """Return what is there to go on from, None where nothing is or is wanted; SettingsError for another's."""
        data = self._folder.load() if self._folder is not None and goes_on else None
        if self._folder is None or data is None:
            return None
        try:
            saved = load_value(data)
        except TaskRejected:
            saved = None
        if not isinstance(saved, dict) or saved.get("format") != CHECKPOINT_FORMAT:
            raise SettingsError(f"{self._folder.path} holds no checkpoint that this version reads; name another folder")
        if saved["strategy"] != self._strategy:
            raise SettingsError(f"{self._folder.path} was made with {saved['strategy']}, not {self._strategy}; "
                                "use the same, or another folder")
        self._saved_round = saved["round"]
        return saved

    def state_in(self, saved: Dict[str, Any], template: Any) -> Any:
        """Return a checkpoint's state in a job's form; raise SettingsError where it is another job's."""
        assert self._folder is not None
        try:
            return taken_tree(template, saved["state"])
        except TaskFailed:
            raise SettingsError(f"{self._folder.path} holds the state of another job, or of this one with other "
                                "arguments; use the same, or another folder") from None

    def begin(self) -> List[Dict[str, Any]]:
        """Return the figures of the rounds that were saved; those of later ones are forgotten, and made again."""
        return self._folder.begin_metrics(self._saved_round) if self._folder is not None else []

    def check(self, number: int, begun: Any, state: Any) -> None:
        """Raise `TaskFailed` for the state after a round that has become no number where it was one when it began.

        No further round can mend it, and to save it would cost the one that can be gone on from.
        """
        place = lost_place(begun, state)
        if place:
            stays = f"; {self._folder.path} keeps the state of round {self._saved_round}" if (
                self._folder is not None and self._saved_round) else ""
            raise TaskFailed(f"in round {number} {place} has become infinite or no number, which no further round mends"
                             f"{stays}; train again with a smaller rate, or without data that are no numbers")

    def add(self, figures: Dict[str, Any], saved: Dict[str, Any]) -> None:
        """Save a round: its figures, and what the next one goes on from."""
        if self._folder is None:
            return
        self._folder.add_metrics(figures)
        self._folder.save(dump_value({
            "format": CHECKPOINT_FORMAT, "round": figures["round"], "strategy": self._strategy, **saved}, "the state"))
        self._saved_round = figures["round"]

    def draw(self, history: Sequence[Dict[str, Any]]) -> None:
        """Draw the curves of all that was evaluated, beside what was saved."""
        if self._folder is not None and history:
            names = history[-1]["evaluated"]
            curves = [(name, [figures["evaluated"].get(name) for figures in history]) for name in names]
            rounds = f"{len(history)} round{'s' * (len(history) != 1)}"
            self._folder.save_picture(curve_svg(curves, f"{self._strategy}, {rounds}"))
