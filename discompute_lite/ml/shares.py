"""Say what one device did in a round of a training: its share.

Knows:   what a share is, and the mean of what several measured.
Refuses: to know what becomes of shares (ml/strategies.py does).
Read next: ml/workbench.py (who makes them), ml/strategies.py (who combines them).
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Sequence


class Share(NamedTuple):
    """Hold what one device brought back."""

    #: The state after its steps, or the mean of its gradients.
    tree: Any
    #: What weighs it in a mean.
    samples: int
    metrics: Dict[str, float]
    #: Seconds that its steps took there.
    compute_s: float
    steps: int
    #: What of the state has no mean, where the tree stayed on its device, as a vector.
    rest: Any = None
    #: The kinds of the leaves that its device made of the state: lists, where a library is missing.
    kinds: Sequence[str] = ()
    #: Whether nothing was done, since the state that was to be there was not: the device was restarted.
    lacks_state: bool = False
    #: Seconds that it took to load data.
    loading_s: float = 0.0
    #: Seconds of its first step, 0 where its process had made one before: in it libraries are imported, so it tells
    #: little of the device's pace.
    first_step_s: float = 0.0
    #: Whether its process had loaded no data before: it is new, so the time before its steps is not that of the way.
    is_first: bool = False


def mean_metrics(shares: Sequence[Share]) -> Dict[str, float]:
    """Return the mean of each metric over the shares that have it, weighted by samples."""
    sums: Dict[str, List[float]] = {}
    for share in shares:
        for name, value in share.metrics.items():
            total = sums.setdefault(name, [0.0, 0.0])
            total[0] += value * share.samples
            total[1] += share.samples
    return {name: value / count for name, (value, count) in sums.items() if count}
