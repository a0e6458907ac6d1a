"""Tell handwritten digits apart by softmax regression with tinygrad: `train --rounds 10 train_tinygrad.py`.

tinygrad compiles for a device's GPU, and where there is none with clang, which has to be installed on such a device.
"""

from tinygrad import Tensor

from discompute_lite.tasks.digits import load_digits


class Job:
    """Step down the gradient that tinygrad gives; the state is a dict of its tensors."""

    def __init__(self, rate: float = 0.5, batch: int = 64):
        self.rate, self.batch = rate, batch

    def init(self, seed):
        """Return weights and bias that know nothing."""
        return {"weights": Tensor.zeros(64, 10).contiguous().realize(), "bias": Tensor.zeros(10).contiguous().realize()}

    def load(self, shard, shards):
        """Return a part of the images of which none is held out."""
        return self.rows(slice(shard, None, shards), is_held_out=False)

    def rows(self, part, is_held_out):
        """Return lists of pixels from 0 to 1, and labels; every fifth image is held out."""
        images, labels = load_digits()
        chosen = [index for index in range(len(labels)) if (index % 5 == 0) == is_held_out][part]
        return [[pixel / 16 for pixel in images[index]] for index in chosen], [labels[index] for index in chosen]

    def step(self, state, data, rng, config):
        """Return the state after one step on some images, how many those were, and their loss."""
        rows, labels = data
        chosen = [int(rng.random() * len(labels)) for _ in range(self.batch)]
        weights, bias = (Tensor(state[name].tolist()) for name in ("weights", "bias"))
        scores = Tensor([rows[index] for index in chosen]) @ weights + bias
        loss = scores.sparse_categorical_crossentropy(Tensor([labels[index] for index in chosen]))
        slopes = loss.gradient(weights, bias)
        moved = {"weights": weights - self.rate * slopes[0], "bias": bias - self.rate * slopes[1]}
        return {name: value.detach().realize() for name, value in moved.items()}, len(chosen), {"loss": loss.item()}

    def evaluate(self, state):
        """Return the share of held-out images that are told right."""
        rows, labels = self.rows(slice(None), is_held_out=True)
        told = (Tensor(rows) @ state["weights"] + state["bias"]).argmax(axis=1).tolist()
        return {"accuracy": sum(one == other for one, other in zip(told, labels)) / len(labels)}
