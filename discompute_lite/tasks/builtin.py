"""Offer task types that need no code to be sent: echo, primes, matmul, digits.

Knows:   real work in pure Python, of a size that the submitter chooses.
Refuses: libraries, chance that differs between devices, and sizes that would exhaust a phone.
Read next: tasks/types.py (what a task type is); it is the example to copy for a new one.
"""

from __future__ import annotations

from operator import mul
from typing import Any, Dict, List

from ..model.errors import TaskRejected
from .digits import classify_digits, load_digits
from .types import TASK_TYPES, TaskParameter, TaskType

#: Subtasks where the submitter names no number.
USUAL_PARTS = 16
#: Highest bound for primes: its small divisors are still found in a moment.
PRIMES_BOUND = 10 ** 12
#: Numbers that are sieved at once: one byte each.
SIEVE_SPAN = 1 << 20
#: Rows of the largest matrix: three of its size fill some 100 MB.
MATRIX_ROWS = 2000


class EchoTask(TaskType):
    """Return the given parts as they are: for trying out a cluster and for measuring it."""

    name = "echo"
    parameters = {"parts": TaskParameter("list", [], "values, one a subtask")}

    def split(self, params: Dict[str, Any], target: int) -> List[Any]:
        """Return the parts."""
        return params["parts"]

    def run(self, part: Any) -> Any:
        """Return the part."""
        return part


class PrimesTask(TaskType):
    """Count the primes below a bound; the result is their number."""

    name = "primes"
    parameters = {"bound": TaskParameter("int", 10_000_000, f"count the primes below this, at most {PRIMES_BOUND}")}

    def split(self, params: Dict[str, Any], target: int) -> List[Any]:
        """Return ranges {start, stop}."""
        bound = params["bound"]
        if bound > PRIMES_BOUND:
            raise TaskRejected(f"bound is at most {PRIMES_BOUND}")
        return even_ranges(max(bound, 0), target or USUAL_PARTS)

    def run(self, part: Any) -> int:
        """Count the primes of one range."""
        start, stop = whole_param(part, "start"), whole_param(part, "stop")
        if not 0 <= start <= stop <= PRIMES_BOUND:
            raise TaskRejected(f"the range {start} to {stop} is not within 0 to {PRIMES_BOUND}")
        divisors = small_primes(int(stop ** 0.5) + 1)
        return sum(
            _count_primes(low, min(low + SIEVE_SPAN, stop), divisors) for low in range(start, stop, SIEVE_SPAN))

    def merge(self, parts: List[Any], params: Dict[str, Any]) -> int:
        """Add them up."""
        return sum(parts)


class MatmulTask(TaskType):
    """Multiply two square matrices of small whole numbers; the result is the product's trace, sum and checksum."""

    name = "matmul"
    parameters = {
        "n": TaskParameter("int", 240, f"rows and columns, at most {MATRIX_ROWS}"),
        "seed": TaskParameter("int", 1, "which matrices"),
    }

    def split(self, params: Dict[str, Any], target: int) -> List[Any]:
        """Return blocks of rows {start, stop, n, seed}."""
        if not 1 <= params["n"] <= MATRIX_ROWS:
            raise TaskRejected(f"n is from 1 to {MATRIX_ROWS}")
        return [{**block, **params} for block in even_ranges(params["n"], target or USUAL_PARTS)]

    def run(self, part: Any) -> List[List[int]]:
        """Return the product's rows start to stop."""
        start, stop, n, seed = (whole_param(part, name) for name in ("start", "stop", "n", "seed"))
        if not 0 <= start <= stop <= n <= MATRIX_ROWS:
            raise TaskRejected(f"the rows {start} to {stop} are not within a matrix of {n}")
        columns = [[_matrix_item(seed + 1, row, column) for row in range(n)] for column in range(n)]
        rows = ([_matrix_item(seed, row, column) for column in range(n)] for row in range(start, stop))
        return [[sum(map(mul, row, column)) for column in columns] for row in rows]

    def merge(self, parts: List[Any], params: Dict[str, Any]) -> Dict[str, int]:
        """Put the rows together again, and sum them up in three numbers."""
        rows = [row for block in parts for row in block]
        checksum = 0
        for row in rows:
            for item in row:
                checksum = (checksum * 31 + item) % (2 ** 61 - 1)
        trace = sum(row[index] for index, row in enumerate(rows))
        return {"n": len(rows), "trace": trace, "sum": sum(map(sum, rows)), "checksum": checksum}


class DigitsTask(TaskType):
    """Classify the 1,797 UCI handwritten digits, each by its k nearest among all others (leave one out).

    The result: how many are right, which were taken for which (row: the truth), and how far the accuracy
    varies when only a random half of the images may be neighbours.
    """

    name = "digits"
    parameters = {
        "k": TaskParameter("int", 3, "neighbours that vote"),
        "limit": TaskParameter("int", 0, "use only the first so many images, 0 for all"),
        "samples": TaskParameter("int", 12, "random halves to try, at most 64"),
    }

    def split(self, params: Dict[str, Any], target: int) -> List[Any]:
        """Return ranges of images {start, stop, k, limit, samples}."""
        total = len(load_digits()[1])
        count = min(params["limit"], total) if params["limit"] > 0 else total
        return [{**span, **params} for span in even_ranges(count, target or USUAL_PARTS)]

    def run(self, part: Any) -> Dict[str, Any]:
        """Return the labels found with all neighbours, and how many are right with each half of them."""
        start, stop, k, limit, samples = (
            whole_param(part, name) for name in ("start", "stop", "k", "limit", "samples"))
        if not 0 <= samples <= 64:
            raise TaskRejected("samples is from 0 to 64")
        truth = load_digits()[1][start:stop] if 0 <= start <= stop else b""
        rows = classify_digits(start, stop, neighbours=k, limit=limit, samples=samples)
        right = [sum(row[sample + 1] == label for row, label in zip(rows, truth)) for sample in range(samples)]
        return {"labels": [row[0] for row in rows], "right": right}

    def merge(self, parts: List[Any], params: Dict[str, Any]) -> Dict[str, Any]:
        """Compare the labels with the truth."""
        found: List[int] = []
        right = [0] * params["samples"]
        for part in parts:
            found += part["labels"]
            right = [sum(pair) for pair in zip(right, part["right"])]
        confusion = [[0] * 10 for _ in range(10)]
        for label, guess in zip(load_digits()[1], found):
            confusion[label][guess] += 1
        correct, total = sum(confusion[digit][digit] for digit in range(10)), len(found)
        return {
            "accuracy": correct / total if total else 0.0, "correct": correct, "total": total, "confusion": confusion,
            "accuracy_by_half": [count / total for count in right] if total else [],
        }


TASK_TYPES.add(EchoTask.name, EchoTask())
TASK_TYPES.add(PrimesTask.name, PrimesTask())
TASK_TYPES.add(MatmulTask.name, MatmulTask())
TASK_TYPES.add(DigitsTask.name, DigitsTask())


def even_ranges(count: int, pieces: int) -> List[Dict[str, int]]:
    """Cut 0 to `count` into at most `pieces` ranges {start, stop} of nearly equal length, none empty."""
    pieces = max(1, min(pieces, count))
    edges = [count * piece // pieces for piece in range(pieces + 1)]
    return [{"start": start, "stop": stop} for start, stop in zip(edges, edges[1:]) if stop > start]


def whole_param(part: Any, name: str) -> int:
    """Return a whole number out of a part; parts come from other devices, so they are checked."""
    value = part.get(name) if type(part) is dict else None
    if type(value) is not int:
        raise TaskRejected(f"the part has no whole number {name!r}")
    return value


def small_primes(bound: int) -> List[int]:
    """Return the primes up to `bound` (sieve of Eratosthenes)."""
    sieve = bytearray([1]) * (bound + 1)
    sieve[:2] = bytes(min(2, bound + 1))
    for number in range(2, int(bound ** 0.5) + 1):
        if sieve[number]:
            sieve[number * number::number] = bytes(len(range(number * number, bound + 1, number)))
    return [number for number in range(bound + 1) if sieve[number]]


def _count_primes(low: int, high: int, divisors: List[int]) -> int:
    """Count the primes from `low` to below `high`; `divisors` are the primes up to the root of `high`."""
    sieve = bytearray([1]) * (high - low)
    for number in range(low, min(2, high)):
        sieve[number - low] = 0
    for prime in divisors:
        if prime * prime >= high:
            break
        first = max(prime * prime, -(-low // prime) * prime) - low
        sieve[first::prime] = bytes(len(range(first, high - low, prime)))
    return sum(sieve)


def _matrix_item(seed: int, row: int, column: int) -> int:
    """Return a number of 0 to 255 that depends on nothing but its place (multiplicative hashing)."""
    return ((seed * 1000003 + row) * 1000003 + column) * 2654435761 % 2 ** 32 >> 24
