"""Do one order of a training on the device that got it: load the data once, make the steps, say how long they took.

Knows:   the job, the data that this process has loaded, and the clock.
Refuses: to know of rounds and other devices.
Read next: ml/rounds.py (who gives orders), tasks/blob_values.py (why a seat is the same object for all orders).

A seat travels as a blob: each process of a device reads it once, so that what it has loaded stays with it. This
module runs a person's code, and so it alone in this room may look at the clock.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from ..model.errors import TaskFailed
from ..tasks.value_buffers import optional_module
from ..tasks.vector_folder import vector_folder
from .digit_job import DigitJob
from .optimizers import SGD, Adam
from .shares import Share, mean_metrics
from .trees import bare_tree, leaf_kinds, mean_tree, taken_tree
from .vectors import VectorForm, fill_vector, rest_of, subtract_vector, tree_of_vector, with_rest

#: Classes of ours that a job may hold or be: nothing is imported for a name that data bring, so they are loaded here.
BROUGHT_ALONG = (Adam, DigitJob, SGD)
#: None in a Python without it, whose node keeps vectors in its memory: there no order names a file.
MAPS: Any = optional_module("mmap")


@dataclass
class Seat:
    """Keep a job and the data that were loaded for it in one process."""

    job: Any
    #: Parts into which all data are divided.
    shards: int
    seed: int
    config: Dict[str, Any]
    #: A state like all others, the one that the training began with; None where states travel with orders.
    template: Any = None
    #: What this process has loaded, by part.
    loaded: Dict[int, Any] = field(default_factory=dict)
    #: Seconds of its first step, in which the job may import a library; 0 before it.
    first_step_s: float = 0.0

    def data_of(self, shard: int) -> Any:
        """Return the data of one part, loaded at first use."""
        if shard not in self.loaded:
            self.loaded[shard] = self.job.load(shard, self.shards)
        return self.loaded[shard]

    def step(self, state: Any, shard: int, round_index: int, index: int) -> Tuple[Any, int, Dict[str, float]]:
        """Return what the job's step returns: (tree, samples, metrics), checked.

        Chance depends on the place of the step in the training alone, so that a step made anew gives the same.
        """
        rng = Random(f"{self.seed}/{round_index}/{shard}/{index}")
        config = {**self.config, "round": round_index, "step": index}
        began = time.perf_counter()
        result = self.job.step(state, self.data_of(shard), rng, config)
        self.first_step_s = self.first_step_s or time.perf_counter() - began
        if not isinstance(result, (tuple, list)) or len(result) != 3:
            raise TaskFailed("step must return three things: a new state or gradient, the number of samples, and a "
                             "dict of metrics")
        tree, samples, metrics = result
        try:
            count = int(samples)
        except (TypeError, ValueError):
            count = -1
        if count < 0:
            raise TaskFailed(f"the second thing that step returns is the number of samples, 0 or more, not {samples!r}")
        return bare_tree(tree), count, figures_of(metrics, "the third thing that step returns")


def figures_of(metrics: Any, what: str) -> Dict[str, float]:
    """Return metrics as names and numbers; raise `TaskFailed` for something else, which `what` a job returned."""
    try:
        return {str(name): float(value) for name, value in dict(metrics).items()}
    except (TypeError, ValueError):
        raise TaskFailed(f"{what} must be a dict of metrics, such as {{'loss': 0.5}}, not {metrics!r:.80}") from None


class VectorOrder(NamedTuple):
    """Say which vectors an order begins from and ends with, on the device that carries it out."""

    #: Where the state is; "" for the seat's own.
    source: str
    #: What the share is called that stays on the device.
    share: str
    code: str
    numbers: int
    #: What of the state is not averaged, of the state's structure.
    rest: Any
    #: Whether the share is how far the state went, rather than where it is.
    is_way: bool = False


class Steps(NamedTuple):
    """Say which steps an order makes."""

    round: int
    shards: Sequence[int]
    number: int
    #: Whether the mean of their gradients is wanted rather than the state after them.
    sends_gradients: bool
    #: Seconds that they may take, one step at least; 0 for any.
    within_s: float = 0.0


def carry_out_here(seat: Seat, vectors: Sequence[Any], *asked: Any) -> Dict[str, Any]:
    """Carry out an order whose state and share are vectors on this device; `vectors` are those of a `VectorOrder`, and
    `asked` those of `Steps`.

    The share's tree is None, and its `rest` is what is not averaged. Where nothing can be kept here, the tree is there;
    where the state is not here, as on a device that was restarted meanwhile, nothing is done, and that is said.
    """
    order, folder = VectorOrder(*vectors), vector_folder()
    form, source = VectorForm(order.code, order.numbers), os.path.join(folder, order.source)
    try:
        state = tree_of_vector(seat.template, form, _mapped(source)) if order.source else seat.template
    except FileNotFoundError:
        return {"tree": None, "samples": 0, "metrics": {}, "compute_s": 0.0, "steps": 0, "lacks_state": True}
    fields = carry_out(seat, with_rest(state, order.rest), *asked)
    tree = taken_tree(seat.template, fields["tree"])
    fields["rest"] = rest_of(tree)
    try:
        part = _written_share(os.path.join(folder, order.share), tree, form, source if order.is_way else "")
        os.replace(part, os.path.join(folder, order.share))
    except OSError:
        return fields
    return {**fields, "tree": None}


def _written_share(path: str, tree: Any, form: VectorForm, begun_from: str) -> str:
    """Write a tree as a vector; as the way from the state in the file `begun_from`, where one is named.

    It gets its name, `path`, only when it is whole. Two may be at the same order: each writes a file of its own.
    """
    folder, name = os.path.split(path)
    with tempfile.NamedTemporaryFile("w+b", prefix=name + "-", dir=folder, delete=False) as part:
        part.truncate(form.size)
        memory = MAPS.mmap(part.fileno(), form.size)
        fill_vector(tree, form, memory)
        if begun_from:
            # Read anew: a step may have changed the arrays that it was given.
            subtract_vector(form, memory, _mapped(begun_from))
    return part.name


def _mapped(path: str) -> Any:
    with open(path, "rb") as file:
        return MAPS.mmap(file.fileno(), 0, access=MAPS.ACCESS_COPY)


def carry_out(seat: Seat, state: Any, *asked: Any) -> Dict[str, Any]:
    """Return the fields of a `Share`: what an order's steps come to; `asked` are the fields of `Steps`.

    Parts without data are left out: a large cluster divides a small set into more parts than there are samples.
    """
    wanted, is_first, came = Steps(*asked), not seat.loaded, time.perf_counter()
    wanted = wanted._replace(shards=[shard for shard in wanted.shards if not _is_empty(seat.data_of(shard))])
    began, is_warm = time.perf_counter(), seat.first_step_s > 0
    start = {"loading_s": began - came, "is_first": is_first, "kinds": leaf_kinds(state)}
    if not wanted.shards:
        return {"tree": state, "samples": 0, "metrics": {}, "compute_s": 0.0, "steps": 0, **start}
    optimizer = getattr(seat.job, "optimizer", None)
    if wanted.sends_gradients and optimizer is not None:
        tree, made = _gradients(seat, state, wanted.round, wanted.shards)
    else:
        tree, made = _way(seat, state, wanted, optimizer)
    return {
        "tree": tree, "samples": sum(each.samples for each in made), "metrics": mean_metrics(made),
        "compute_s": time.perf_counter() - began, "steps": len(made),
        "first_step_s": 0.0 if is_warm else seat.first_step_s, **start,
    }


def _is_empty(data: Any) -> bool:
    return hasattr(data, "__len__") and len(data) == 0


def _gradients(seat: Seat, state: Any, round_index: int, shards: Sequence[int]) -> Tuple[Any, List[Share]]:
    """Return the mean gradient of a step on each shard, all from the same state."""
    made = []
    for shard in shards:
        tree, samples, metrics = seat.step(state, shard, round_index, 0)
        made.append(Share(tree, samples, metrics, 0.0, 1))
    if len(made) == 1:
        return made[0].tree, made
    return mean_tree([each.tree for each in made], [each.samples for each in made]), made


def _way(seat: Seat, state: Any, wanted: Steps, optimizer: Any) -> Tuple[Any, List[Share]]:
    """Return the state after so many steps, or as many as fit into the time, each on the next of the shards."""
    memory = optimizer.begin(state) if optimizer is not None else None
    made: List[Share] = []
    began, shards = time.perf_counter(), wanted.shards
    for index in range(wanted.number):
        took = time.perf_counter() - began
        if made and wanted.within_s and took + took / index > wanted.within_s:
            break
        # Rounds with fewer steps than shards begin each at another one.
        shard = shards[(wanted.round * wanted.number + index) % len(shards)]
        tree, samples, metrics = seat.step(state, shard, wanted.round, index)
        if optimizer is None:
            state = tree
        else:
            state, memory = optimizer.apply(state, tree, memory)
        made.append(Share(None, samples, metrics, 0.0, 1))
    return state, made
