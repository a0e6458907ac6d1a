"""Multiply matrices, with NumPy where a state's arrays are NumPy's, and with plain lists where not: one interface.

Knows:   the handful of operations that a multilayer perceptron needs.
Refuses: anything that two machines would round differently, in the plain path: sums are exact (`math.fsum`), and the
         exponential is computed from operations that IEEE 754 defines to the last bit.
Read next: ml/networks.py (who uses it).

A matrix is a list of rows, or a NumPy array of two dimensions. `sum` of floats differs from Python 3.11 to 3.12, and
`math.exp` from one C library to another; neither may, where training must end in the same state on every device.
"""

from __future__ import annotations

import math
from operator import mul
from typing import Any, List, Sequence

from ..tasks.value_buffers import optional_module

#: ln 2 in two parts: the upper one has trailing zeros, so that its multiples up to 2**11 are exact (Cody and Waite).
_LN2_UPPER = 6.93147180369123816490e-01
_LN2_LOWER = 1.90821492927058770002e-10
#: Taylor's terms of exp on [-ln2/2, ln2/2]: the next one is below half a unit in the last place.
_EXP_TERMS = tuple(1.0 / math.factorial(power) for power in range(13, -1, -1))
#: Below it exp is zero in float64.
_EXP_LOWEST = -745.0


def exact_exp(x: float) -> float:
    """Return e to the power of `x`, for `x` at most 700; the same bits on every machine, within two units of exact."""
    if x < _EXP_LOWEST:
        return 0.0
    twos = round(x * 1.4426950408889634)
    rest = (x - twos * _LN2_UPPER) - twos * _LN2_LOWER
    result = 0.0
    for term in _EXP_TERMS:
        result = result * rest + term
    return math.ldexp(result, twos)


class PlainMatrices:
    """Compute with lists of rows."""

    def rows(self, values: Sequence[Sequence[float]]) -> Any:
        """Return a matrix of these rows."""
        return [list(row) for row in values]

    def product(self, left: Any, right: Any) -> Any:
        """Return left times right transposed: each row of the one with each row of the other."""
        fsum = math.fsum
        return [[fsum(map(mul, row, other)) for other in right] for row in left]

    def transposed(self, matrix: Any) -> Any:
        """Return the matrix with rows for columns."""
        return [list(column) for column in zip(*matrix)]

    def with_bias(self, matrix: Any, bias: Any) -> Any:
        """Return the matrix with the bias added to each row."""
        return [[value + each for value, each in zip(row, bias)] for row in matrix]

    def rectified(self, matrix: Any) -> Any:
        """Return the matrix with zeros for what is negative."""
        return [[value if value > 0.0 else 0.0 for value in row] for row in matrix]

    def gated(self, matrix: Any, gate: Any) -> Any:
        """Return the matrix with zeros where `gate` is not positive: the slope of `rectified`."""
        return [[value if open_ > 0.0 else 0.0 for value, open_ in zip(row, gates)]
                for row, gates in zip(matrix, gate)]

    def column_sums(self, matrix: Any) -> Any:
        """Return the sum of each column."""
        return [math.fsum(column) for column in zip(*matrix)]

    def softmax(self, matrix: Any) -> Any:
        """Return each row as shares of one, by its exponentials."""
        shares = []
        for row in matrix:
            top = max(row)
            powers = [exact_exp(value - top) for value in row]
            total = math.fsum(powers)
            shares.append([power / total for power in powers])
        return shares

    def minus_labels(self, shares: Any, labels: Sequence[int]) -> Any:
        """Return (shares - one at each row's label) / rows: the gradient of the mean cross-entropy."""
        count = len(shares)
        return [[(share - (index == label)) / count for index, share in enumerate(row)]
                for row, label in zip(shares, labels)]

    def lists(self, matrix: Any) -> List[List[float]]:
        """Return the matrix as lists of Python's own numbers."""
        return matrix  # type: ignore[no-any-return]


class NumpyMatrices(PlainMatrices):
    """Compute with NumPy's arrays."""

    def __init__(self, numpy: Any) -> None:
        self._numpy = numpy

    def rows(self, values: Any) -> Any:
        return self._numpy.asarray(values, dtype=self._numpy.float64)

    def product(self, left: Any, right: Any) -> Any:
        return left @ right.T

    def transposed(self, matrix: Any) -> Any:
        return matrix.T

    def with_bias(self, matrix: Any, bias: Any) -> Any:
        return matrix + bias

    def rectified(self, matrix: Any) -> Any:
        return self._numpy.maximum(matrix, 0.0)

    def gated(self, matrix: Any, gate: Any) -> Any:
        return matrix * (gate > 0.0)

    def column_sums(self, matrix: Any) -> Any:
        return matrix.sum(axis=0)

    def softmax(self, matrix: Any) -> Any:
        powers = self._numpy.exp(matrix - matrix.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def minus_labels(self, shares: Any, labels: Sequence[int]) -> Any:
        slopes = shares.copy()
        slopes[self._numpy.arange(len(slopes)), list(labels)] -= 1.0
        return slopes / len(slopes)

    def lists(self, matrix: Any) -> List[List[float]]:
        return matrix.tolist()  # type: ignore[no-any-return]


def matrices_for(weights: Any) -> PlainMatrices:
    """Return how to compute with these weights: lists stay with lists, everything else is NumPy's."""
    return PlainMatrices() if isinstance(weights, list) else NumpyMatrices(optional_module("numpy"))
