"""Tell handwritten digits apart by a convolutional network in PyTorch: `train --rounds 10 train_torch.py`."""

import torch
from torch import nn

from discompute_lite.tasks.digits import load_digits


class Job:
    """Step a network of PyTorch; the state is its `state_dict`, as it is."""

    def __init__(self, rate: float = 0.1, batch: int = 32):
        self.rate, self.batch = rate, batch

    def network(self):
        """Return the network, as yet without the training's weights."""
        return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                             nn.Linear(128, 10))

    def init(self, seed):
        """Return a new network's weights."""
        torch.manual_seed(seed)
        return dict(self.network().state_dict())

    def load(self, shard, shards):
        """Return a part of the images of which none is held out."""
        return self.rows(slice(shard, None, shards), is_held_out=False)

    def rows(self, part, is_held_out):
        """Return images and labels; every fifth image is held out."""
        images, labels = load_digits()
        chosen = [index for index in range(len(labels)) if (index % 5 == 0) == is_held_out][part]
        pixels = torch.tensor([list(images[index]) for index in chosen], dtype=torch.float32) / 16
        return pixels.reshape(-1, 1, 8, 8), torch.tensor([labels[index] for index in chosen])

    def step(self, state, data, rng, config):
        """Return the state after one step on some images, how many those were, and their loss."""
        images, labels = data
        chosen = [int(rng.random() * len(labels)) for _ in range(self.batch)]
        network = self.network()
        network.load_state_dict(state)
        loss = nn.functional.cross_entropy(network(images[chosen]), labels[chosen])
        loss.backward()
        with torch.no_grad():
            for weights in network.parameters():
                weights -= self.rate * weights.grad
        return dict(network.state_dict()), len(chosen), {"loss": loss.item()}

    def evaluate(self, state):
        """Return the share of held-out images that are told right."""
        images, labels = self.rows(slice(None), is_held_out=True)
        network = self.network()
        network.load_state_dict(state)
        with torch.no_grad():
            return {"accuracy": float((network(images).argmax(dim=1) == labels).float().mean())}
