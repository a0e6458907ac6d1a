"""The multilayer perceptron: slopes against differences, plain lists against NumPy, and the same bits everywhere."""

import hashlib
import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.ml.digit_job import DigitJob
from discompute_lite.ml.matrices import NumpyMatrices, PlainMatrices, exact_exp
from discompute_lite.ml.networks import init_network, network_classes, network_score, network_slope
from discompute_lite.ml.optimizers import SGD
from discompute_lite.ml.trees import mean_tree


def some_rows(count, width, seed=5):
    rng = Random(seed)
    return [[2 * rng.random() - 1 for _ in range(width)] for _ in range(count)], [i % 3 for i in range(count)]


@pytest.mark.parametrize("sizes", [(4, 3), (4, 5, 3), (4, 5, 4, 3)])
def test_the_gradient_is_the_slope_of_the_loss(sizes):
    state = init_network(sizes, Random(1))
    for number, layer in enumerate(state["layers"]):
        # Off the kink: with no bias a unit whose inputs are all zero stands right on it.
        layer["bias"] = [0.1 + 0.01 * (number + unit) for unit in range(len(layer["bias"]))]
    inputs, labels = some_rows(7, 4)
    slope = network_slope(state, inputs, labels)
    assert slope.loss == pytest.approx(network_score(state, inputs, labels)[0])
    step = 1e-6
    for layer, gradient in zip(state["layers"], slope.gradient["layers"]):
        for row, slopes in [*zip(layer["weights"], gradient["weights"]), (layer["bias"], gradient["bias"])]:
            for index in range(len(row)):
                before = row[index]
                row[index] = before + step
                above = network_score(state, inputs, labels)[0]
                row[index] = before - step
                below = network_score(state, inputs, labels)[0]
                row[index] = before
                assert slopes[index] == pytest.approx((above - below) / (2 * step), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("sizes", [(4, 3), (4, 6, 3)])
def test_numpy_computes_the_same(sizes):
    pytest.importorskip("numpy")
    plain, arrays = (init_network(sizes, Random(3), with_numpy) for with_numpy in (False, True))
    assert type(arrays["layers"][0]["weights"]) is not list
    inputs, labels = some_rows(9, 4)
    first, second = (network_slope(state, inputs, labels) for state in (plain, arrays))
    assert (first.loss, first.right) == (pytest.approx(second.loss), second.right)
    for ours, theirs in zip(first.gradient["layers"], second.gradient["layers"]):
        for row, other in zip(ours["weights"], theirs["weights"].tolist()):
            assert row == pytest.approx(other)
        assert ours["bias"] == pytest.approx(theirs["bias"].tolist())
    assert network_classes(plain, inputs) == network_classes(arrays, inputs)


def test_a_network_learns_what_no_line_divides():
    inputs, labels = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0]
    state = init_network((2, 8, 2), Random(2))
    for _ in range(400):
        state, _ = SGD(0.5).apply(state, network_slope(state, inputs, labels).gradient, {})
    assert network_classes(state, inputs) == labels
    assert network_score(state, inputs, labels)[1] == 1.0


def test_the_start_is_the_same_with_every_python():
    state = init_network((3, 2), Random(7))
    # From the definition of Random(7).random(), which is the same in all versions.
    reach, rng = math.sqrt(6 / 5), Random(7)
    assert state["layers"][0]["weights"][0] == [reach * (2 * rng.random() - 1) for _ in range(3)]
    assert state["layers"][0]["bias"] == [0.0, 0.0]


@given(st.floats(-745, 700))
def test_the_exponential_is_that_of_the_library(x):
    exact = math.exp(x)
    assert abs(exact_exp(x) - exact) <= 2 * math.ulp(exact)


def test_what_is_too_small_for_a_float_is_zero():
    assert exact_exp(-746.0) == 0.0
    assert exact_exp(0.0) == 1.0


@given(st.lists(st.lists(st.floats(-9, 9), min_size=3, max_size=3), min_size=1, max_size=4),
       st.lists(st.lists(st.floats(-9, 9), min_size=3, max_size=3), min_size=1, max_size=4))
def test_the_operations_agree_with_numpy(left, right):
    numpy = pytest.importorskip("numpy")
    plain, arrays = PlainMatrices(), NumpyMatrices(numpy)
    a, b = arrays.rows(left), arrays.rows(right)
    for ours, theirs in (
        (plain.product(left, right), arrays.product(a, b)),
        (plain.transposed(left), arrays.transposed(a)),
        (plain.with_bias(left, right[0]), arrays.with_bias(a, b[0])),
        (plain.rectified(left), arrays.rectified(a)),
        (plain.gated(left, left), arrays.gated(a, a)),
        ([plain.column_sums(left)], [arrays.column_sums(a)]),
        (plain.softmax(left), arrays.softmax(a)),
        (plain.minus_labels(left, [1] * len(left)), arrays.minus_labels(a, [1] * len(left))),
    ):
        assert numpy.allclose(ours, theirs, atol=1e-9)


def test_the_digits_are_divided_without_rest_or_repeat():
    job = DigitJob()
    shards = [job.load(shard, 5) for shard in range(5)]
    assert sum(len(shard.rows) for shard in shards) == 1797 - 360
    assert {len(shard.rows) for shard in shards} <= {287, 288}
    assert all(0.0 <= pixel <= 1.0 for pixel in shards[0].rows[0])


def test_a_few_steps_on_the_digits_give_these_very_bits():
    job = DigitJob(hidden=4, batch=8, with_numpy=False)
    state = job.init(11)
    memory, data = job.optimizer.begin(state), job.load(0, 4)
    for index in range(5):
        gradient, samples, metrics = job.step(state, data, Random(f"11/{index}"), {})
        state, memory = job.optimizer.apply(state, gradient, memory)
    assert samples == 8
    assert metrics["loss"] > 0
    digest = hashlib.sha256(repr(mean_tree([state, state, state], [1, 2, 3])).encode()).hexdigest()
    assert digest == "bcf97a1ae6feac926128af8076cdb7f4d3387c904dc57747470ff9e99208b91c"


class Shown:
    """Show as data what a step looks at."""

    def __init__(self, count):
        self.rows, self.labels, self.seen = self, [0] * count, []

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        self.seen.append(index)
        return [0.0] * 64


@pytest.mark.parametrize("count, batch", [(20, 8), (20, 20), (5, 96)])
def test_a_step_looks_at_no_image_twice(count, batch):
    job, data = DigitJob(hidden=0, batch=batch, with_numpy=False), Shown(count)
    _, samples, _ = job.step(job.init(0), data, Random(3), {})
    assert len(set(data.seen)) == len(data.seen) == samples == min(batch, count)
    assert set(data.seen) <= set(range(count))


def test_logistic_regression_has_no_hidden_layer():
    job = DigitJob(hidden=0, with_numpy=False)
    state = job.init(0)
    assert len(state["layers"]) == 1
    before = job.evaluate(state)
    gradient, _, _ = job.step(state, job.load(0, 1), Random(1), {})
    state, _ = SGD(0.5).apply(state, gradient, {})
    assert job.evaluate(state)["loss"] < before["loss"]
