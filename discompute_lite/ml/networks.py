"""Train a multilayer perceptron, or without hidden layers a logistic regression: the mathematics, to be read.

Knows:   forward, backward, and the start of the weights.
Refuses: to step (ml/optimizers.py does) and to know of devices (ml/training.py's callers do).
Read next: ml/matrices.py (the operations), ml/digit_job.py (an example).

A network of sizes (64, 32, 10) takes 64 numbers, has 32 hidden units, and tells 10 classes apart:

    hidden = max(0, inputs . W0 + b0)         64 -> 32
    scores =        hidden . W1 + b1          32 -> 10
    shares = softmax(scores)                  the probability of each class
    loss   = mean of -log(share of the right class)

Backwards, the slope of the loss by the scores is (shares - right) / rows, and each layer hands it on through its
weights; a hidden unit that gave zero hands on nothing. Sizes (64, 10) are softmax regression.
"""

from __future__ import annotations

import math
from random import Random
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from ..tasks.value_buffers import optional_module
from .matrices import PlainMatrices, matrices_for

#: The share of a class is never quite zero in a logarithm.
_LEAST_SHARE = 1e-12


class NetworkSlope(NamedTuple):
    """Hold what one look at some rows says."""

    #: A tree like the state.
    gradient: Dict[str, Any]
    #: Mean cross-entropy in nats.
    loss: float
    #: Rows that were told right.
    right: int


def init_network(sizes: Sequence[int], rng: Random, with_numpy: bool = False) -> Dict[str, Any]:
    """Return the state of a new network; `with_numpy` asks for NumPy's arrays, where it is installed.

    Weights are uniform within sqrt(6 / (inputs + outputs)) of zero (Glorot and Bengio, 2010), biases zero.
    """
    layers = []
    for inputs, outputs in zip(sizes, sizes[1:]):
        reach = math.sqrt(6.0 / (inputs + outputs))
        # One row of weights for each output.
        weights = [[reach * (2.0 * rng.random() - 1.0) for _ in range(inputs)] for _ in range(outputs)]
        layers.append({"weights": weights, "bias": [0.0] * outputs})
    numpy = optional_module("numpy") if with_numpy else None
    if numpy is not None:
        layers = [{name: numpy.array(values) for name, values in layer.items()} for layer in layers]
    return {"layers": layers}


def network_slope(state: Dict[str, Any], inputs: Any, labels: Sequence[int]) -> NetworkSlope:
    """Return the gradient of the mean loss over rows of inputs, with the loss itself."""
    layers = state["layers"]
    m = matrices_for(layers[0]["weights"])
    outputs = _forward(m, layers, m.rows(inputs))
    shares = m.softmax(outputs[-1])
    slope = m.minus_labels(shares, labels)
    gradient: List[Dict[str, Any]] = []
    for index in reversed(range(len(layers))):
        given = outputs[index]
        turned = m.transposed(slope)
        gradient.insert(0, {"weights": m.product(turned, m.transposed(given)), "bias": m.column_sums(slope)})
        if index:
            slope = m.gated(m.product(slope, m.transposed(layers[index]["weights"])), given)
    plain = m.lists(shares)
    return NetworkSlope({"layers": gradient}, _mean_loss(plain, labels), _count_right(plain, labels))


def network_score(state: Dict[str, Any], inputs: Any, labels: Sequence[int]) -> Tuple[float, float]:
    """Return (mean loss, share of rows told right)."""
    m = matrices_for(state["layers"][0]["weights"])
    shares = m.lists(m.softmax(_forward(m, state["layers"], m.rows(inputs))[-1]))
    return _mean_loss(shares, labels), _count_right(shares, labels) / len(labels)


def network_classes(state: Dict[str, Any], inputs: Any) -> List[int]:
    """Return the likeliest class of each row."""
    m = matrices_for(state["layers"][0]["weights"])
    return [row.index(max(row)) for row in m.lists(_forward(m, state["layers"], m.rows(inputs))[-1])]


def _forward(m: PlainMatrices, layers: Sequence[Dict[str, Any]], inputs: Any) -> List[Any]:
    """Return the inputs, what each hidden layer gives, and the scores."""
    outputs = [inputs]
    for index, layer in enumerate(layers):
        scores = m.with_bias(m.product(outputs[-1], layer["weights"]), layer["bias"])
        outputs.append(m.rectified(scores) if index + 1 < len(layers) else scores)
    return outputs


def _mean_loss(shares: List[List[float]], labels: Sequence[int]) -> float:
    return -math.fsum(math.log(max(row[label], _LEAST_SHARE)) for row, label in zip(shares, labels)) / len(labels)


def _count_right(shares: List[List[float]], labels: Sequence[int]) -> int:
    return sum(row.index(max(row)) == label for row, label in zip(shares, labels))
