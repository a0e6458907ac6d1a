"""Steps down a gradient, against the formulas worked by hand and against PyTorch's optimizers."""

import pytest

from discompute_lite.ml.optimizers import SGD, Adam

GRADIENTS = [[0.5, -1.0, 2.0], [0.1, 0.2, -0.3], [-1.0, 0.0, 1.0]]


def steps(optimizer, start, gradients):
    state, memory = start, optimizer.begin(start)
    for gradient in gradients:
        state, memory = optimizer.apply(state, gradient, memory)
    return state, memory


def test_plain_descent():
    assert SGD(0.5).apply({"x": [1.0, 2.0]}, {"x": [2.0, -2.0]}, {}) == ({"x": [0.0, 3.0]}, {})


def test_momentum_goes_on():
    state, memory = steps(SGD(0.5, momentum=0.5), 1.0, [1.0, 1.0])
    assert (state, memory) == (1.0 - 0.5 - 0.75, {"velocity": 1.5})


def test_the_first_step_of_adam_has_the_size_of_the_rate():
    state, _ = steps(Adam(0.01), [1.0, 1.0], [[4.0, -0.001]])
    assert state == pytest.approx([0.99, 1.01], rel=1e-4)


@pytest.mark.parametrize("ours, name, options", [
    (SGD(0.1), "SGD", {"lr": 0.1}),
    (SGD(0.1, momentum=0.9), "SGD", {"lr": 0.1, "momentum": 0.9}),
    (Adam(0.05), "Adam", {"lr": 0.05}),
    (Adam(0.05, decay=0.1), "AdamW", {"lr": 0.05, "weight_decay": 0.1}),
])
@pytest.mark.parametrize("is_tensor", [False, True])
def test_steps_are_those_of_torch(ours, name, options, is_tensor):
    torch = pytest.importorskip("torch")
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64))
    theirs = getattr(torch.optim, name)([weight], **options)
    for gradient in GRADIENTS:
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        theirs.step()
    made = (lambda values: torch.tensor(values, dtype=torch.float64)) if is_tensor else list
    state, _ = steps(ours, made([1.0, -2.0, 3.0]), [made(gradient) for gradient in GRADIENTS])
    assert list(map(float, state)) == pytest.approx(weight.tolist(), rel=1e-9)


def test_a_state_of_several_kinds_is_stepped_as_a_whole():
    state = {"w": [[1.0, 2.0], [3.0, 4.0]], "b": (0.5,), "epoch": 7}
    moved, _ = SGD(1.0).apply(state, {"w": [[1.0, 1.0], [1.0, 1.0]], "b": (0.25,), "epoch": 0}, {})
    assert moved == {"w": [[0.0, 1.0], [2.0, 3.0]], "b": (0.25,), "epoch": 7}
