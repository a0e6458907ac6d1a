"""Search for a step size and a width by training each pair a little: `submit search_digits.py --steps 60`.

Hyper-parameter search as a job file: each trial is a part, so it goes to whichever device is free.
"""

from itertools import product
from random import Random

from discompute_lite.ml import DigitJob


def split(steps: int = 100, rates: list = (0.003, 0.01, 0.03), widths: list = (0, 16, 64)):
    """Return the trials."""
    return [{"rate": rate, "hidden": hidden, "steps": steps} for rate, hidden in product(rates, widths)]


def work(trial):
    """Return the trial with the accuracy on images that were held out."""
    job = DigitJob(hidden=trial["hidden"], rate=trial["rate"], batch=32, with_numpy=False)
    state = job.init(1)
    memory, data = job.optimizer.begin(state), job.load(0, 1)
    rng = Random(1)
    for _ in range(trial["steps"]):
        gradient, _, _ = job.step(state, data, rng, {})
        state, memory = job.optimizer.apply(state, gradient, memory)
    return {**trial, **job.evaluate(state)}


def merge(parts):
    """Return the best trials first."""
    return sorted(parts, key=lambda trial: -trial["accuracy"])
