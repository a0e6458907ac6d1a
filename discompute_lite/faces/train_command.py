"""Offer the command `train`: a training job over the devices, a line for each round, checkpoints, curves at the end.

Knows:   how JOB.py becomes a job, and how a round's figures become a line.
Refuses: to train (faces/training.py does).
Read next: faces/training.py, ml/digit_job.py (the job that is shipped).
"""

from __future__ import annotations

import inspect
import os
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ..ml.curves import curve_svg, curve_text
from ..model.errors import SettingsError, TaskFailed, TaskRejected
from ..tasks.job_arguments import JobParameter, JobSignature, match_words
from .command import JSON_FLAG, Context, argument, command, number_between, wait_seconds, whole_number
from .console import Console
from .failures import with_place
from .misplaced import with_advice
from .scripts import script_of

#: What this module adds to the table of commands.
TRAIN_COMMANDS = ("train",)
#: The job that needs no file.
DIGITS = "digits"
#: The picture beside a checkpoint.
CURVES_FILE = "curves.svg"


@command(
    "train", argument("--rounds", type=whole_number(1, 10**6), default=10, metavar="N", help="rounds (default 10)"),
    argument("--strategy", default="fedavg", metavar="NAME", help="sync, fedavg (default), diloco or async"),
    argument("--local-steps", type=whole_number(1, 10**6), default=0, metavar="N",
             help="steps that each device makes in a round"),
    argument("--checkpoint", default="", metavar="FOLDER", help="save each round there, with figures and curves"),
    argument("--resume", action="store_true", help="go on from the checkpoint"),
    argument("--min-devices", type=whole_number(1, 4096), default=1, metavar="N", help="wait until N are there"),
    argument("--wait", type=wait_seconds(), default=10.0, metavar="S", help="wait so long for them (default 10)"),
    argument("--seed", type=whole_number(0, 2**63 - 1), default=0, metavar="N", help="where all chance comes from"),
    argument("--shards", type=whole_number(1, 65536), default=0, metavar="N", help="divide the data into N parts"),
    argument("--reproducible", action="store_true", help="the same state bit for bit on any number of devices"),
    argument("--target", default="", metavar="NAME=X", help="end when an evaluation reaches it: accuracy=0.95"),
    argument("--patience", type=whole_number(0, 10**6), default=0, metavar="N", help="end after N rounds without gain"),
    argument("--average", default="auto", metavar="WHERE", help="ring, submitter or auto (default): where it is done"),
    argument("--compression", default="none", metavar="KIND",
             help="of what devices send each other: float16, or top-k (the largest numbers alone)"),
    argument("--top-k", type=number_between(1e-6, 1.0), default=0.01, metavar="X",
             help="the part of the numbers that top-k sends (default 0.01)"),
    JSON_FLAG,
    argument("file", metavar="JOB.py", help="a file with a class Job, or digits, the job that is shipped"),
    argument("args", metavar="ARG", nargs="...", help="the job's own arguments, such as --hidden 64"),
)
def train_command(context: Context) -> int:
    """Train a model over the devices; print loss and accuracy of each round."""
    arguments, console = context.arguments, context.console
    if arguments.resume and not arguments.checkpoint:
        raise SettingsError("--resume needs the folder to go on from; write --checkpoint FOLDER")
    target = _target(arguments.target)
    # Loaded here: other commands start without it.
    api, training = import_module("discompute_lite.faces.api"), import_module("discompute_lite.faces.training")
    strategy = training.strategy_of(arguments.strategy, local_steps=arguments.local_steps)
    with _job_of(arguments.file, arguments.args, arguments.reproducible) as (job, is_pure), api.Cluster(
        config=context.settings, min_devices=arguments.min_devices, wait=arguments.wait
    ) as cluster:
        names = _Names(cluster)
        places = cluster.places()
        console.note(f"{os.path.basename(arguments.file)}: {strategy!r}, "
                     f"{_in_number(len(set(map(_device, places))), 'device')}, {_in_number(len(places), 'place')}")
        wishes = {"seed": arguments.seed, "shards": arguments.shards, "reproducible": arguments.reproducible,
                  "target": target, "patience": arguments.patience, "average": arguments.average,
                  "compression": arguments.compression, "top_k": arguments.top_k, "pure": is_pure,
                  "on_round": lambda figures: _show_round(console, figures, arguments.rounds, names)}
        try:
            result = training.train(
                cluster, job, rounds=arguments.rounds, strategy=strategy, checkpoint=arguments.checkpoint,
                resume=arguments.resume, **wishes)
        except (TaskFailed, TaskRejected, SettingsError):
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RuntimeError) as problem:
            # Whatever the job raised.
            words = f"{type(problem).__name__}: {problem}".partition("\n")[0]
            story = f"\n{problem.__cause__}" if problem.__cause__ is not None else ""
            raise TaskFailed(with_place(words + story, "mend the job and train again")) from None
    _show_end(console, result, arguments.checkpoint, arguments.file)
    return 0


# ---- the job ----------------------------------------------------------------------------------------


@contextmanager
def _job_of(file: str, words: List[str], is_reproducible: bool) -> Iterator[Tuple[Any, bool]]:
    if file == DIGITS and not os.path.exists(file):
        ml = import_module("discompute_lite.ml")
        # NumPy sums in an order of its own on each machine.
        fixed = {"with_numpy": False} if is_reproducible else {}
        yield _made(ml.DigitJob, words, file, fixed), True
        return
    with script_of(file, f"give a file with a class Job, or {DIGITS}") as script:
        kind = getattr(script.module, "Job", None)
        if not isinstance(kind, type):
            raise SettingsError(f"{os.path.basename(file)} has no class Job; write one with init, load, step, evaluate")
        yield _made(kind, words, file, {}), script.is_pure


def _made(kind: Any, words: List[str], file: str, fixed: Dict[str, Any]) -> Any:
    """Return a job made with the arguments that command line words give."""
    try:
        return kind(**{**match_words(_signature_of(kind), words), **fixed})
    except TaskRejected as error:
        problem = f"{os.path.basename(file)}: {error.message}"
        raise SettingsError(with_advice("train", file, words, problem)) from None


def _signature_of(kind: Any) -> JobSignature:
    parameters = []
    for each in inspect.signature(kind).parameters.values():
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            continue
        is_required = each.default is each.empty
        said = getattr(each.annotation, "__name__", str(each.annotation))
        word = said if said in ("int", "float", "str", "bool", "list", "dict", "tuple") else ""
        if not word and not is_required and each.default is not None:
            word = type(each.default).__name__
        parameters.append(JobParameter(each.name, word, is_required, each.kind is not each.KEYWORD_ONLY))
    return JobSignature("Job", tuple(parameters), "", False)


def _target(text: str) -> Optional[Dict[str, float]]:
    if not text:
        return None
    name, _, number = text.partition("=")
    try:
        return {name.strip(): float(number)}
    except ValueError:
        raise SettingsError(f"--target cannot be {text!r}; write a name and a number, such as accuracy=0.95") from None


# ---- what is shown ----------------------------------------------------------------------------------


class _Names:
    """Call devices by their names."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._known: Dict[str, str] = {}

    def of(self, device_id: str) -> str:
        """Return the name of a device, looked up when it is met."""
        if device_id not in self._known:
            self._known = {device.id: device.name for device in self._cluster.devices()}
        return self._known.get(device_id, device_id[:8])


def _in_number(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def _in_megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB" if count >= 1e8 else f"{count / 1e6:.3g} MB"


def _device(member: str) -> str:
    return member.partition("/")[0]


def _show_round(console: Console, figures: Dict[str, Any], rounds: int, names: _Names) -> None:
    if not console.is_json:
        console.print(round_line(figures, rounds, names.of))


def round_line(figures: Dict[str, Any], rounds: int, name_of: Any) -> str:
    """Return one round's figures on a line: what was evaluated, the speed, the time, and each device's share."""
    parts = [f"round {figures['round']}/{rounds}"]
    parts += [f"{name} {value:.4g}" for name, value in figures["evaluated"].items()]
    seconds, samples = figures["seconds"], figures["samples"]
    parts.append(f"{samples / max(seconds, 1e-6):,.0f} samples/s")
    compute_s = figures["compute_s"]
    parts.append(f"{seconds:.2f} s, {compute_s:.2f} computing, {max(0.0, seconds - compute_s):.2f} communicating")
    if figures["moved_bytes"]:
        parts.append(f"{_in_megabytes(figures['moved_bytes'])} moved")
    shares: Dict[str, int] = {}
    for member, count in figures["shares"].items():
        shares[_device(member)] = shares.get(_device(member), 0) + count
    if len(shares) > 1:
        parts.append(", ".join(f"{name_of(device)} {count / max(samples, 1):.0%}" for device, count in shares.items()))
    missing = dict.fromkeys(map(_device, figures["missing"]))
    if missing:
        parts.append("without " + ", ".join(map(name_of, missing)))
    return "  ".join(parts)


def _show_end(console: Console, result: Any, checkpoint: str, file: str) -> None:
    curves = [(name, [figures["evaluated"].get(name) for figures in result.history]) for name in result.metrics]
    if checkpoint:
        with open(os.path.join(checkpoint, CURVES_FILE), "w", encoding="utf-8") as picture:
            picture.write(curve_svg(curves, f"{len(result.history)} rounds"))
    if console.is_json:
        console.json({"rounds": result.history, "ended": result.ended, "metrics": result.metrics})
        return
    if console.is_live and len(result.history) > 2:
        for curve in curves:
            for line in curve_text(curve, min(console.width, 72)):
                console.print(line)
    words = "  ".join(f"{name} {value:.4g}" for name, value in result.metrics.items())
    console.print(f"{result.ended}: {words}" if words else result.ended)
    if checkpoint:
        console.note(f"saved in {checkpoint}; go on with: train --resume --checkpoint {checkpoint} --rounds N {file}")
