"""Give the figures of trainings that `GET /metrics` has: the newest round of each.

Knows:   what is told of a round.
Refuses: to write (roles/metrics_page.py does). Phones, by whose nodes nobody leads a training, do without this.
Read next: roles/metrics_page.py, roles/told_rounds.py.
"""

from __future__ import annotations

from typing import Any, Iterable, Sequence, Tuple

from ..model.told_round import ToldRound


def about_trainings(rounds: Sequence[ToldRound]) -> Iterable[Tuple[str, str, str, Any]]:
    """Yield (name, kind, help, samples) of each figure."""
    told = [({"training": each.training, "name": each.name}, each) for each in rounds]
    yield "training_round", "gauge", "The newest round of each training that a script leads by this node.", [
        (labels, each.round) for labels, each in told]
    yield "training_samples", "gauge", "Samples that devices computed with in that round.", [
        ({**labels, "device": device}, count) for labels, each in told for device, count in each.shares.items()]
    yield "training_round_seconds", "gauge", "What that round took, by what for.", [
        ({**labels, "part": part}, seconds) for labels, each in told for part, seconds in (
            ("computing", each.compute_s), ("starting", each.starting_s),
            ("communicating", max(0.0, each.seconds - each.compute_s - each.starting_s)))]
    yield "training_evaluated", "gauge", "What was evaluated after that round.", [
        ({**labels, "figure": figure}, value) for labels, each in told for figure, value in each.evaluated.items()]
