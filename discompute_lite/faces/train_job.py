"""Make the job of a command line: a class of a person's file, with the words after it, or the digits.

Knows:   how the words of a command line become a job's arguments.
Refuses: to train; phones, which begin no training, do without this.
Read next: faces/train_run.py, ml/digit_job.py (the job that is shipped).
"""

from __future__ import annotations

import inspect
import os
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ..model.errors import SettingsError, TaskRejected
from ..tasks.job_arguments import JobParameter, JobSignature, match_words
from .misplaced import with_advice
from .scripts import script_of

#: The job that needs no file.
DIGITS = "digits"


@contextmanager
def job_of(file: str, words: List[str], is_reproducible: bool) -> Iterator[Tuple[Any, bool]]:
    """Yield the job that a command line's file and words name, and whether two devices may make the same steps."""
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


def target_of(text: str) -> Optional[Dict[str, float]]:
    """Return what `--target` says, None where it says nothing."""
    if not text:
        return None
    name, _, number = text.partition("=")
    try:
        return {name.strip(): float(number)}
    except ValueError:
        raise SettingsError(f"--target cannot be {text!r}; write a name and a number, such as accuracy=0.95") from None
