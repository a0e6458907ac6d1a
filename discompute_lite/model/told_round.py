"""Describe a round of a training that is over, for those who look on.

Knows:   shapes.
Refuses: behaviour.
Read next: roles/told_rounds.py (who tells of it), faces/train_lines.py (who makes it).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List


@dataclass(frozen=True)
class ToldRound:
    """Describe a round of a training that is over."""

    #: What tells this training from others, and what people call it.
    training: str = ""
    name: str = ""
    #: The round in words, as `train` prints it.
    text: str = ""
    round: int = 0
    rounds: int = 0
    #: Seconds in all, and of them for computing and for starting; the rest went into communicating.
    seconds: float = 0.0
    compute_s: float = 0.0
    starting_s: float = 0.0
    samples: int = 0
    #: What was evaluated, such as loss and accuracy; what is no number is left out.
    evaluated: Dict[str, float] = field(default_factory=dict)
    #: Samples by device.
    shares: Dict[str, int] = field(default_factory=dict)
    #: Devices of which nothing came.
    missing: List[str] = field(default_factory=list)
    #: No round follows: the training is forgotten.
    is_over: bool = False
