"""Have a small trained network classify many images, some hundred at a time: `submit classify_digits.py --images 600`.

Batch inference as a job file: the network is made once in each process and stays there; the parts are ranges.
"""

from random import Random

from discompute_lite.ml.networks import init_network, network_classes, network_slope
from discompute_lite.ml.optimizers import Adam
from discompute_lite.tasks.digits import load_digits

NETWORKS = {}


def split(images: int = 1797, batch: int = 100):
    """Return ranges of images."""
    last = min(images, len(load_digits()[1]))
    return [(start, min(start + batch, last)) for start in range(0, last, batch)]


def work(part):
    """Return the class of each image of a range."""
    rows = [[pixel / 16 for pixel in image] for image in load_digits()[0][part[0]:part[1]]]
    return network_classes(network(), rows)


def merge(parts):
    """Return how many there were of each class, and the share that was told right."""
    told, labels = [each for part in parts for each in part], load_digits()[1]
    right = sum(one == other for one, other in zip(told, labels))
    return {"counts": {digit: told.count(digit) for digit in range(10)}, "accuracy": round(right / len(told), 4)}


def network():
    """Return the network: where yours is a file, read it here, or `put` it and let `work` take it."""
    if not NETWORKS:
        images, labels = load_digits()
        rng, adam = Random(1), Adam(0.02)
        state = init_network((64, 16, 10), rng)
        memory = adam.begin(state)
        for _ in range(150):
            chosen = [int(rng.random() * len(labels)) for _ in range(32)]
            rows = [[pixel / 16 for pixel in images[index]] for index in chosen]
            slope = network_slope(state, rows, [labels[index] for index in chosen])
            state, memory = adam.apply(state, slope.gradient, memory)
        NETWORKS["digits"] = state
    return NETWORKS["digits"]
