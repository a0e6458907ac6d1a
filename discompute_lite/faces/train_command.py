"""Offer the command `train`: a training job over the devices, a line for each round, checkpoints, curves at the end.

Knows:   the words that people may type.
Refuses: to do anything: phones have this without its flags, to say that they begin no training.
Read next: faces/train_flags.py, faces/train_run.py (what is done with them).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .command import Context, argument, command
from .train_flags import TRAIN_FLAGS


@command(
    "train",
    *TRAIN_FLAGS,
    argument("file", metavar="JOB.py", help="a file with a class Job, or digits, the job that is shipped"),
    argument("args", metavar="ARG", nargs="...", help="the job's own arguments, such as --hidden 64"),
    is_for_computers=True,
)
def train_command(context: Context) -> int:
    """Train a model over the devices; print loss and accuracy of each round."""
    # Loaded here: other commands start without them, and phones have them not.
    lines = import_module("discompute_lite.faces.train_lines")

    def train(shown: Any) -> Any:
        # It takes long to load: Ctrl-C may come meanwhile.
        return import_module("discompute_lite.faces.train_run").train_and_show(context, shown)

    status: int = lines.train_by_words(context, train)
    return status
