"""Train across devices: the public names of `discompute_lite.ml`.

Read next: ml/rounds.py (a training's decisions), ml/strategies.py, ml/digit_job.py (an example).
"""

from importlib import import_module
from typing import Any

__all__ = ["Adam", "BoundedStaleness", "DiLoCo", "DigitJob", "FedAvg", "SGD", "Synchronous", "TrainingResult",
           "train"]
#: Where the public names are, which are loaded when they are first asked for.
_TRAINING_NAMES = {
    "Adam": "ml.optimizers", "BoundedStaleness": "ml.strategies", "DiLoCo": "ml.strategies",
    "DigitJob": "ml.digit_job", "FedAvg": "ml.strategies", "SGD": "ml.optimizers", "Synchronous": "ml.strategies",
    "TrainingResult": "faces.training", "train": "faces.training",
}


def __getattr__(name: str) -> Any:
    """Load a public name."""
    if name not in _TRAINING_NAMES:
        raise AttributeError(f"discompute_lite.ml has no public name {name!r}")
    return getattr(import_module(f"discompute_lite.{_TRAINING_NAMES[name]}"), name)
