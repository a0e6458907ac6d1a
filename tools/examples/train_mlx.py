"""Tell handwritten digits apart by softmax regression with MLX: `train --rounds 20 train_mlx.py`.

MLX is made for Apple's chips, and computes on Linux too (`pip install "mlx[cpu]"`), where this file was tried.
"""

import mlx.core as mx

from discompute_lite.tasks.digits import load_digits


class Job:
    """Step down the gradient that MLX gives; the state is a dict of its arrays."""

    def __init__(self, rate: float = 0.5, batch: int = 64):
        self.rate, self.batch = rate, batch

    def init(self, seed):
        """Return weights and bias that know nothing."""
        return {"weights": mx.zeros((64, 10)), "bias": mx.zeros((10,))}

    def load(self, shard, shards):
        """Return a part of the images of which none is held out."""
        return self.rows(slice(shard, None, shards), is_held_out=False)

    def rows(self, part, is_held_out):
        """Return lists of pixels from 0 to 1, and labels; every fifth image is held out."""
        images, labels = load_digits()
        chosen = [index for index in range(len(labels)) if (index % 5 == 0) == is_held_out][part]
        return [[pixel / 16 for pixel in images[index]] for index in chosen], [labels[index] for index in chosen]

    def loss(self, state, pixels, labels):
        """Return the mean cross-entropy."""
        scores = pixels @ state["weights"] + state["bias"]
        right = mx.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
        return mx.mean(mx.logsumexp(scores, axis=1) - right)

    def step(self, state, data, rng, config):
        """Return the state after one step on some images, how many those were, and their loss."""
        rows, labels = data
        chosen = [int(rng.random() * len(labels)) for _ in range(self.batch)]
        pixels, right = mx.array([rows[index] for index in chosen]), mx.array([labels[index] for index in chosen])
        loss, slope = mx.value_and_grad(self.loss)(state, pixels, right)
        moved = {name: state[name] - self.rate * slope[name] for name in state}
        mx.eval(moved)
        return moved, len(chosen), {"loss": loss.item()}

    def evaluate(self, state):
        """Return the share of held-out images that are told right."""
        rows, labels = self.rows(slice(None), is_held_out=True)
        scores = mx.array(rows) @ state["weights"] + state["bias"]
        return {"accuracy": mx.mean(mx.argmax(scores, axis=1) == mx.array(labels)).item()}
