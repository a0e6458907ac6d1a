"""Say what may be wished of a training, what it came to, and when there has been enough of it.

Knows:   the names of options and strategies, and which figures are better than others.
Refuses: to train (faces/training.py does).
Read next: faces/training.py, ml/strategies.py, ml/compression.py.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Union

from ..ml.compression import COMPRESSION_WORDS, TOP_K, Compression
from ..ml.strategies import STRATEGIES, Strategy
from ..model.errors import SettingsError

#: Where shares may be averaged.
AVERAGE_WORDS = ("auto", "ring", "submitter")


class TrainingResult(NamedTuple):
    """Hold what a training came to."""

    state: Any
    #: Figures of each round: round, seconds, compute_s, starting_s, average_s, moved_bytes, samples, metrics,
    #: evaluated, shares, missing.
    history: List[Dict[str, Any]]
    #: Why there were no more rounds, in words.
    ended: str

    @property
    def metrics(self) -> Dict[str, float]:
        """Return what `evaluate` said last."""
        return self.history[-1]["evaluated"] if self.history else {}


class TrainingWishes(NamedTuple):
    """Hold what may be wished of a training beside the job, its rounds and its strategy.

    seed          from which all chance is drawn
    shards        parts into which the data are divided; 0 for as many as suit the devices (16 where reproducible)
    reproducible  the state is the same bit for bit on any number of devices, if the steps' is
    target        {"accuracy": 0.95}: end when an evaluation reaches it; of a "loss" or "error", when it falls to it
    patience      end after so many rounds in which no evaluation was better; 0 for never
    config        given to each step, with "round" and "step"
    on_round      called with the figures of each round
    average       where shares are averaged: "ring", between the devices; "submitter", on this machine; or "auto"
    float64_sums  add up float32 in float64, for half as many bytes again
    compression   of what devices send each other for that: "none"; "float16"; or "top-k", of what each has computed the
                  largest numbers alone, the others being added to the next round's
    name          what the training is called by those who look on; "" for the name of the job's class
    pure          whether two devices may make the same steps at the same time
    top_k         the part of the numbers that each device sends, with "top-k" alone; 0.01 where nothing is said
    """

    seed: int = 0
    shards: int = 0
    reproducible: bool = False
    target: Optional[Dict[str, float]] = None
    patience: int = 0
    config: Optional[Dict[str, Any]] = None
    on_round: Optional[Callable[[Dict[str, Any]], Any]] = None
    average: str = "auto"
    float64_sums: bool = False
    compression: str = "none"
    top_k: Optional[float] = None
    name: str = ""
    pure: bool = True

    def compressed(self, *, of_ways: bool) -> Compression:
        """Return the compression that is wished; raise SettingsError for one that there is not."""
        if self.compression not in COMPRESSION_WORDS:
            raise SettingsError(f"compression cannot be {self.compression!r}; write one of "
                                f"{', '.join(COMPRESSION_WORDS)}")
        if self.top_k is not None and self.compression != TOP_K:
            raise SettingsError(f"top_k belongs to the compression top-k, and this one is {self.compression}; choose "
                                "top-k, or leave out top_k")
        top_k = Compression().top_k if self.top_k is None else self.top_k
        if not 0.0 < top_k <= 1.0:
            raise SettingsError(f"top_k cannot be {top_k:g}; write a part above 0 and 1 at most, such as 0.01")
        if self.compression == COMPRESSION_WORDS[0]:
            return Compression()
        return Compression(self.compression, top_k if self.compression == TOP_K else 1.0, of_ways)


def strategy_of(wanted: Union[Strategy, str], *, local_steps: int = 0) -> Strategy:
    """Return a strategy for its short name, with so many local steps, 0 for its own; raise SettingsError for none."""
    if isinstance(wanted, Strategy):
        return wanted
    kind: Any = STRATEGIES.get(wanted)
    if kind is None:
        raise SettingsError(f"there is no strategy {wanted!r}; write one of {', '.join(STRATEGIES.names())}")
    if local_steps and kind.sends_gradients:
        raise SettingsError(f"{wanted} makes one step a round on each part of the data; leave out the local steps")
    return kind(local_steps=local_steps) if local_steps else kind()  # type: ignore[no-any-return]


def why_enough(wishes: TrainingWishes, history: Sequence[Dict[str, Any]]) -> str:
    """Return why the last round of a history is to be a training's last one, or ""."""
    evaluated = history[-1]["evaluated"]
    for name, wanted in (wishes.target or {}).items():
        if name not in evaluated:
            raise SettingsError(f"the job's evaluate gives no {name!r}; it gives {', '.join(evaluated)}")
        if is_better(name, evaluated[name], wanted) or evaluated[name] == wanted:
            return f"{name} {evaluated[name]:.4g} reached {wanted:g}"
    if wishes.patience and evaluated:
        name = next(iter(evaluated))
        values = [figures["evaluated"][name] for figures in history if name in figures["evaluated"]]
        best, since = values[0], 0
        for value in values[1:]:
            since = 0 if is_better(name, value, best) else since + 1
            best = value if since == 0 else best
        if since >= wishes.patience:
            return f"{name} has not been better than {best:.4g} for {since} rounds"
    return ""


def is_better(name: str, value: float, than: float) -> bool:
    """Whether a metric is better: less of a loss or an error, more of anything else, any number than none."""
    if math.isnan(value) or math.isnan(than):
        return math.isnan(than) and not math.isnan(value)
    is_less = any(word in name.lower() for word in ("loss", "error", "perplexity"))
    return value < than if is_less else value > than
