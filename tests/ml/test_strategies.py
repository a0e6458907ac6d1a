"""What becomes of the shares of a round, worked by hand."""

import pytest

from discompute_lite.ml.optimizers import SGD
from discompute_lite.ml.shares import Share, mean_metrics
from discompute_lite.ml.strategies import STRATEGIES, BoundedStaleness, DiLoCo, FedAvg, Synchronous


def share(tree, samples=1, **metrics):
    return Share(tree, samples, metrics, 0.1, 1)


def test_gradients_are_averaged_by_samples_and_applied_once():
    state, memory = Synchronous().combine([1.0], {}, [share([1.0], 3), share([5.0], 1)], SGD(0.5))
    assert (state, memory) == ([0.0], {})


def test_without_an_optimizer_steps_bring_states():
    assert Synchronous().begin([1.0], None) == {}
    assert Synchronous().combine([1.0], {}, [share([1.0], 3), share([5.0], 1)], None) == ([2.0], {})


def test_the_memory_of_the_optimizer_goes_from_round_to_round():
    strategy, optimizer = Synchronous(), SGD(0.5, momentum=0.5)
    state, memory = 1.0, strategy.begin(1.0, optimizer)
    for _ in range(2):
        state, memory = strategy.combine(state, memory, [share(1.0)], optimizer)
    assert state == 1.0 - 0.5 - 0.75


def test_states_are_averaged_by_samples():
    assert FedAvg().combine([9.0], {}, [share([1.0], 1), share([4.0], 2)], None) == ([3.0], {})


def test_diloco_is_nesterov_on_the_way_that_was_gone():
    strategy = DiLoCo(outer_rate=0.5, momentum=0.5)
    memory = strategy.begin(10.0, None)
    # Way 2: velocity 2, step 0.5 * (2 + 0.5 * 2).
    state, memory = strategy.combine(10.0, memory, [share(8.0)], None)
    assert (state, memory) == (8.5, {"velocity": 2.0})
    # Way 1: velocity 2, step 0.5 * (1 + 0.5 * 2).
    assert strategy.combine(state, memory, [share(7.5)], None) == (7.5, {"velocity": 2.0})


def test_diloco_agrees_with_torch():
    torch = pytest.importorskip("torch")
    outer = torch.nn.Parameter(torch.tensor([1.0, -1.0], dtype=torch.float64))
    theirs = torch.optim.SGD([outer], lr=0.7, momentum=0.9, nesterov=True)
    strategy, state = DiLoCo(), [1.0, -1.0]
    memory = strategy.begin(state, None)
    for moved in ([0.5, -0.8], [0.3, -0.2], [0.4, 0.1]):
        outer.grad = outer.detach() - torch.tensor(moved, dtype=torch.float64)
        theirs.step()
        state, memory = strategy.combine(state, memory, [share(moved)], None)
    assert state == pytest.approx(outer.tolist())


@pytest.mark.parametrize("staleness, expected", [(0, 1.6), (1, 1.3), (5, 1.1)])
def test_the_staler_a_share_the_less_it_moves(staleness, expected):
    assert BoundedStaleness(rate=0.6).merge(1.0, share(2.0), staleness) == pytest.approx(expected)


def test_metrics_are_averaged_over_those_who_have_them():
    shares = [share(0, 3, loss=1.0), share(0, 1, loss=5.0, accuracy=0.5)]
    assert mean_metrics(shares) == {"loss": 2.0, "accuracy": 0.5}
    assert mean_metrics([]) == {}


def test_every_strategy_has_a_short_name():
    assert STRATEGIES.names() == ("sync", "fedavg", "diloco", "async")
    assert repr(STRATEGIES.get("fedavg")()) == "FedAvg(local_steps=20)"
