"""Tell of the trainings that scripts lead by this node: each round when it is over, and how far each training is.

Knows:   the newest round of each training that goes on.
Refuses: to know what its figures mean; the script says them in words as well.
Read next: faces/training.py (who tells), roles/event_log.py, roles/metrics_page.py (who shows).
"""

from __future__ import annotations

from typing import Callable, Dict, List

from ..model.codec import to_json
from ..model.told_round import ToldRound

#: Trainings that are told of at once; beyond it the one that was silent for longest goes.
TRAININGS_TOLD = 64
ROUND_EVENT = "round"


class ToldRounds:
    """Hold what one node has been told."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self._tell = tell
        #: By training, the one that was told of last comes last.
        self._newest: Dict[str, ToldRound] = {}

    def told(self, told: ToldRound) -> None:
        """A round is over, or the training is."""
        self.forget(told.training)
        if told.is_over:
            return
        self._newest[told.training] = told
        if len(self._newest) > TRAININGS_TOLD:
            self.forget(next(iter(self._newest)))
        facts = to_json(told)
        del facts["text"], facts["is_over"]
        self._tell(ROUND_EVENT, told.text, **facts)

    def forget(self, training: str) -> None:
        """A training does not go on."""
        self._newest.pop(training, None)

    def newest(self) -> List[ToldRound]:
        """Return the newest round of each training that goes on."""
        return list(self._newest.values())
