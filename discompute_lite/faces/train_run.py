"""Train as a command line says: the job that it names, on a cluster, a line for each round.

Knows:   which words become which wishes, and whose fault it is when a job raises.
Refuses: to train (faces/training.py does); phones, which begin no training, do without this.
Read next: faces/train_command.py (the words), faces/train_job.py, faces/train_lines.py.
"""

from __future__ import annotations

import os
from typing import Any

from ..model.errors import DiscomputeError, TaskFailed
from .api import Cluster
from .command import Context
from .failures import raised_story, with_place
from .train_job import job_of, target_of
from .train_lines import RoundLines
from .training import train
from .training_news import DeviceNames
from .training_wishes import strategy_of


def train_and_show(context: Context, shown: RoundLines) -> Any:
    """Return what the training came to; each of its rounds is shown."""
    arguments = context.arguments
    target = target_of(arguments.target)
    strategy = strategy_of(arguments.strategy, local_steps=arguments.local_steps)
    with job_of(arguments.file, arguments.args, arguments.reproducible) as (job, is_pure), Cluster(
        config=context.settings, min_devices=arguments.min_devices, wait=arguments.wait
    ) as cluster:
        name = os.path.basename(arguments.file)
        shown.begin(name, strategy, cluster.places(), DeviceNames(cluster).of)
        wishes = {"seed": arguments.seed, "shards": arguments.shards, "reproducible": arguments.reproducible,
                  "target": target, "patience": arguments.patience, "average": arguments.average,
                  "compression": arguments.compression, "top_k": arguments.top_k, "pure": is_pure, "name": name,
                  "on_round": shown.show}
        try:
            return train(cluster, job, rounds=arguments.rounds, strategy=strategy, checkpoint=arguments.checkpoint,
                         resume=arguments.resume, **wishes)
        except DiscomputeError:
            raise
        except (Exception, SystemExit) as problem:
            # Whatever the job raised, here or on a device.
            story = raised_story(problem, arguments.file)
            mend = "install what it imports, or mend the job," if isinstance(problem, ImportError) else "mend the job"
            raise TaskFailed(with_place(story, f"{mend} and train again")) from None
