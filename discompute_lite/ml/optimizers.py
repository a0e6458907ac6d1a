"""Step down a gradient: SGD with momentum, and Adam, over state trees of any kind of leaf.

Knows:   the update rules.
Refuses: to keep state: what an optimizer remembers is a tree that its caller keeps beside the state, and saves.
Read next: ml/trees.py (arithmetic on trees), ml/networks.py (gradients).

    optimizer = Adam(0.01)
    memory = optimizer.begin(state)
    state, memory = optimizer.apply(state, gradient, memory)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

from .trees import each_leaf


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent: v = momentum * v + g; x = x - rate * v."""

    rate: float = 0.1
    momentum: float = 0.0

    def begin(self, state: Any) -> Any:
        """Return what is remembered before the first step."""
        return {"velocity": _zeros(state)} if self.momentum else {}

    def apply(self, state: Any, gradient: Any, memory: Any) -> Tuple[Any, Any]:
        """Return (state, memory) after one step."""
        rate, momentum = self.rate, self.momentum
        if not momentum:
            return each_leaf(lambda root, x, g: x - rate * g, state, gradient), memory
        velocity = each_leaf(lambda root, v, g: momentum * v + g, memory["velocity"], gradient)
        return each_leaf(lambda root, x, v: x - rate * v, state, velocity), {"velocity": velocity}


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, 2015, algorithm 1); `decay` is that of AdamW (Loshchilov and Hutter, 2019)."""

    rate: float = 0.001
    first: float = 0.9
    second: float = 0.999
    epsilon: float = 1e-8
    decay: float = 0.0

    def begin(self, state: Any) -> Any:
        """Return what is remembered before the first step."""
        return {"steps": 0, "mean": _zeros(state), "square": _zeros(state)}

    def apply(self, state: Any, gradient: Any, memory: Any) -> Tuple[Any, Any]:
        """Return (state, memory) after one step."""
        steps = memory["steps"] + 1
        first, second, epsilon, shrink = self.first, self.second, self.epsilon, self.rate * self.decay
        mean = each_leaf(lambda root, m, g: first * m + (1 - first) * g, memory["mean"], gradient)
        square = each_leaf(lambda root, v, g: second * v + (1 - second) * (g * g), memory["square"], gradient)
        # By products: the power of a float is not rounded alike in every C library.
        first_left, second_left = 1 - _power(first, steps), 1 - _power(second, steps)
        rate = self.rate / first_left

        def moved(root: Any, x: Any, m: Any, v: Any) -> Any:
            return x - shrink * x - rate * m / (root(v / second_left) + epsilon)

        return each_leaf(moved, state, mean, square), {"steps": steps, "mean": mean, "square": square}


def _zeros(state: Any) -> Any:
    return each_leaf(lambda root, x: x - x, state)


def _power(factor: float, exponent: int) -> float:
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= factor
        factor, exponent = factor * factor, exponent >> 1
    return result
