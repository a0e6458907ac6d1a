"""Say how devices learn together: what each does in a round, and what becomes of what they bring back.

Knows:   synchronous gradients, federated averaging, DiLoCo, and merging as results come, with bounded staleness.
Refuses: to know when a round ends (ml/rounds.py does) and what a step computes (the job does).
Read next: ml/optimizers.py (which steps down a gradient), ml/rounds.py.

To add a strategy, write a class like these and register it under a short name. A job with an
`optimizer` returns gradients from its steps, one without returns new states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Sequence, Tuple

from ..model.catalog import Catalog
from .shares import Share
from .trees import each_leaf, mean_tree

STRATEGIES: Catalog[type] = Catalog("strategy")


class Strategy:
    """Combine the shares of a round; what a strategy remembers is a tree, kept and saved beside the state."""

    #: Steps that each device makes in a round, before those are spread by speed.
    local_steps = 1
    #: Whether devices send gradients, which are applied once, rather than states.
    sends_gradients = False
    #: Whether each share is merged when it comes, without rounds that wait for all.
    merges_each = False

    def begin(self, state: Any, optimizer: Optional[Any]) -> Any:
        """Return what is remembered before the first round."""
        return {}

    def is_mean(self, optimizer: Optional[Any]) -> bool:
        """Whether the new state is the mean of the shares and nothing more, so that who averages them has it."""
        return True

    def combine(self, state: Any, memory: Any, shares: Sequence[Share], optimizer: Optional[Any]) -> Tuple[Any, Any]:
        """Return (state, memory) after a round in which these shares came: the mean of their states, by samples."""
        return mean_tree([share.tree for share in shares], [share.samples for share in shares]), memory


@STRATEGIES.register("sync")
@dataclass(frozen=True)
class Synchronous(Strategy):
    """Average the gradients of all devices and step once a round: the same as one machine with a larger batch."""

    sends_gradients = True

    def begin(self, state: Any, optimizer: Optional[Any]) -> Any:
        return optimizer.begin(state) if optimizer is not None else {}

    def is_mean(self, optimizer: Optional[Any]) -> bool:
        return optimizer is None

    def combine(self, state: Any, memory: Any, shares: Sequence[Share], optimizer: Optional[Any]) -> Tuple[Any, Any]:
        mean, memory = super().combine(state, memory, shares, optimizer)
        # Without an optimizer the steps returned states.
        return (mean, memory) if optimizer is None else optimizer.apply(state, mean, memory)


@STRATEGIES.register("fedavg")
@dataclass(frozen=True)
class FedAvg(Strategy):
    """Let each device make many steps of its own, and average the states by samples (McMahan et al., 2017)."""

    local_steps: int = 20


@STRATEGIES.register("diloco")
@dataclass(frozen=True)
class DiLoCo(Strategy):
    """Take the way that devices went on average in many steps as a gradient, and follow it with Nesterov's momentum.

    Douillard et al., 2023: fewer, larger exchanges than averaging needs. An inner optimizer begins anew each round,
    so that a device may leave and another go on in its place.
    """

    local_steps: int = 100
    outer_rate: float = 0.7
    momentum: float = 0.9

    def begin(self, state: Any, optimizer: Optional[Any]) -> Any:
        return {"velocity": each_leaf(lambda root, x: x - x, state)}

    def is_mean(self, optimizer: Optional[Any]) -> bool:
        return False

    def combine(self, state: Any, memory: Any, shares: Sequence[Share], optimizer: Optional[Any]) -> Tuple[Any, Any]:
        rate, momentum = self.outer_rate, self.momentum
        mean, memory = super().combine(state, memory, shares, optimizer)
        way = each_leaf(lambda root, x, y: x - y, state, mean)
        velocity = each_leaf(lambda root, v, w: momentum * v + w, memory["velocity"], way)
        moved = each_leaf(lambda root, x, w, v: x - rate * (w + momentum * v), state, way, velocity)
        return moved, {"velocity": velocity}


@STRATEGIES.register("async")
@dataclass(frozen=True)
class BoundedStaleness(Strategy):
    """Merge each share when it comes, so that nobody waits; the further its start lies behind, the less it counts.

    A share that began `staleness` merges ago moves the state by ``rate / (1 + staleness)`` of its own way (Xie et al.,
    2019, polynomial weighting); one behind by more than `bound` merges for each device is left out.
    """

    local_steps: int = 20
    bound: int = 4
    rate: float = 0.6

    merges_each = True

    def merge(self, state: Any, share: Share, staleness: int) -> Any:
        """Return the state after one share."""
        weight = self.rate / (1 + staleness)
        return mean_tree([state, share.tree], [1 - weight, weight])
