"""Tell handwritten digits apart by softmax regression with NumPy: `train --rounds 20 train_numpy.py --rate 0.5`."""

import numpy

from discompute_lite.tasks.digits import load_digits


class Job:
    """Step down the gradient; the state is a dict of NumPy arrays."""

    def __init__(self, rate: float = 0.5, batch: int = 64):
        self.rate, self.batch = rate, batch

    def init(self, seed):
        """Return weights and bias that know nothing."""
        return {"weights": numpy.zeros((64, 10), dtype="f4"), "bias": numpy.zeros(10, dtype="f4")}

    def load(self, shard, shards):
        """Return a part of the images of which none is held out."""
        return self.rows(slice(shard, None, shards), is_held_out=False)

    def rows(self, part, is_held_out):
        """Return pixels from 0 to 1 and labels; every fifth image is held out."""
        images, labels = load_digits()
        chosen = [index for index in range(len(labels)) if (index % 5 == 0) == is_held_out][part]
        return (numpy.array([list(images[index]) for index in chosen], dtype="f4") / 16,
                numpy.array([labels[index] for index in chosen]))

    def shares(self, state, pixels):
        """Return the probability of each class for each image."""
        scores = pixels @ state["weights"] + state["bias"]
        powers = numpy.exp(scores - scores.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def step(self, state, data, rng, config):
        """Return the state after one step on some images, how many those were, and their loss."""
        pixels, labels = data
        chosen = [int(rng.random() * len(labels)) for _ in range(self.batch)]
        pixels, labels = pixels[chosen], labels[chosen]
        shares = self.shares(state, pixels)
        loss = -numpy.log(shares[numpy.arange(len(labels)), labels] + 1e-12).mean()
        shares[numpy.arange(len(labels)), labels] -= 1
        slope = (shares / len(labels)).astype("f4")
        rate = numpy.float32(self.rate)
        return {"weights": state["weights"] - rate * (pixels.T @ slope),
                "bias": state["bias"] - rate * slope.sum(axis=0)}, len(labels), {"loss": float(loss)}

    def evaluate(self, state):
        """Return the share of held-out images that are told right."""
        pixels, labels = self.rows(slice(None), is_held_out=True)
        return {"accuracy": float((self.shares(state, pixels).argmax(axis=1) == labels).mean())}
