"""Learn to read handwritten digits: the training job that is shipped, in pure Python, or with NumPy where it is there.

Knows:   the UCI digits (tasks/digits_data.py has their source), every fifth of which is held out for the evaluation.
         They go along with the job.
Refuses: to draw two machines' batches differently: chance comes in as `rng`.
Read next: ml/networks.py (the mathematics).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from ..tasks.digits import DIGIT_PIXELS, PackedDigits, packed_digits, unpacked_digits
from .networks import init_network, network_score, network_slope
from .optimizers import Adam

#: One image in so many is held out.
_HOLD_OUT = 5


class LabelledRows(NamedTuple):
    """Hold images as rows of 64 numbers from 0 to 1, with their labels."""

    rows: List[List[float]]
    labels: List[int]


@dataclass(frozen=True)
class DigitJob:
    """Train a small network on handwritten digits; `step` returns gradients, which `optimizer` applies."""

    #: Hidden units; 0 is logistic regression.
    hidden: int = 64
    #: Images a step. Of the usual parts it is all: with 32, ten rounds on a device alone ended at 95 % or just below.
    batch: int = 96
    #: Step size.
    rate: float = 0.01
    #: Use NumPy where it is installed. Without it, states are the same bit for bit on every machine.
    with_numpy: bool = True
    #: What it learns from. It goes along: the small file, which phones have, leaves it out.
    packed: PackedDigits = field(init=False, repr=False, compare=False, default_factory=packed_digits)

    @property
    def optimizer(self) -> Adam:
        """Return what steps down the gradients."""
        return Adam(self.rate)

    def init(self, seed: int) -> Dict[str, Any]:
        """Return a network that knows nothing."""
        sizes = (DIGIT_PIXELS, self.hidden, 10) if self.hidden else (DIGIT_PIXELS, 10)
        return init_network(sizes, Random(seed), self.with_numpy)

    def load(self, shard: int, shards: int) -> LabelledRows:
        """Return one device's part of the images that are not held out."""
        count = len(self.packed.labels)
        return _labelled(self.packed, [index for index in range(count) if index % _HOLD_OUT][shard::shards])

    def step(self, state: Any, data: LabelledRows, rng: Random, config: Dict[str, Any]
             ) -> Tuple[Any, int, Dict[str, float]]:
        """Return (gradient, images looked at, metrics) for one batch."""
        chosen = _drawn(len(data.rows), self.batch, rng)
        slope = network_slope(state, [data.rows[index] for index in chosen], [data.labels[index] for index in chosen])
        return slope.gradient, len(chosen), {"loss": slope.loss, "accuracy": slope.right / len(chosen)}

    def evaluate(self, state: Any) -> Dict[str, float]:
        """Return loss and accuracy over the images that are held out."""
        held_out = _held_out(self.packed)
        loss, accuracy = network_score(state, held_out.rows, held_out.labels)
        return {"loss": loss, "accuracy": accuracy}


def _drawn(count: int, wanted: int, rng: Random) -> List[int]:
    """Return so many different places of `count`, or all."""
    left, drawn = list(range(count)), []
    for _ in range(min(wanted, count)):
        # Of chance only `random()`: its numbers are promised to stay the same in all versions of Python.
        index = int(rng.random() * len(left))
        left[index], left[-1] = left[-1], left[index]
        drawn.append(left.pop())
    return drawn


@lru_cache(maxsize=1)
def _held_out(packed: PackedDigits) -> LabelledRows:
    return _labelled(packed, range(0, len(packed.labels), _HOLD_OUT))


def _labelled(packed: PackedDigits, chosen: Sequence[int]) -> LabelledRows:
    images, labels = unpacked_digits(packed)
    # Sixteenths are exact, so every machine has the same numbers.
    return LabelledRows([[pixel / 16 for pixel in images[index]] for index in chosen],
                        [labels[index] for index in chosen])
