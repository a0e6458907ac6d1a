"""Run one phase of a task, whatever its code does, and say how it went.

Knows:   the three phases, what the code prints, how long it takes, and how an error of a person's code is told.
Refuses: to choose where this runs (host/executors.py does) and to limit what the code may do.
Read next: tasks/types.py (the phases), host/child.py (a process around this).

    phase   data                                    outcome's data
    split   task_data                               the subtasks' data, a line each: `split_parts`
    run     subtask_data                            result_data
    merge   task_data and results: `merge_data`     result_data

The one module of this room that may read the clock and touch the interpreter's streams: a person's code runs here.
(tasks/uploaded_modules.py, where such code runs too, may use a lock.)
"""

from __future__ import annotations

import io
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from typing import Any, Callable, Iterable, List, Optional, Set, Tuple

from ..model.errors import TaskRejected
from ..model.limits import Limits
from .builtin import DigitsTask
from .calls import CallsTask
from .digits import NoDigitsHere
from .function_reader import FunctionUnfit
from .jobs import JobTask, is_job_filename
from .pickles import PickleUnfit
from .vector_folder import vectors_lying_in
from .types import TASK_TYPES, TaskType, join_data, separate_data

#: What stands between a script's mark and the number of one of its streams, in the id of their task.
STREAM_MARK = "~"
#: Whose fault a failure is: the task's own (final) or this device's (another may do better).
BLAME_TASK, BLAME_DEVICE, BLAME_REFUSED = "task", "device", "refused"
#: What holds where nobody says otherwise.
WORK_LIMITS = Limits()
#: Task types that come with this package; naming them here is what fills the catalog.
BUNDLED_TASKS = (DigitsTask, JobTask, CallsTask)


@dataclass(frozen=True)
class WorkRequest:
    """Ask for one phase of one task."""

    #: "split", "run" or "merge".
    phase: str
    task_type: str
    data: bytes
    #: ``<task>/<index>.<number>`` of an attempt, or the task's id alone.
    attempt_id: str = ""
    #: Seconds after which an executor that can kills it; 0 for no limit.
    wall_s: float = 0.0
    #: Bytes of memory that its process may hold, where that is less than the device's own limit; 0 for that one alone.
    memory_bytes: int = 0
    #: How many subtasks `split` should make; 0 for its own choice.
    target: int = 0
    #: What the blobs that its data name are read from: (hash, bytes or the path of a file; in a child what reads it).
    blobs: Tuple[Tuple[str, Any], ...] = ()
    #: The folder in which the vectors of trainings lie; "" where there is none, or none is needed.
    vectors: str = ""
    #: It may be done again when it was begun already: a process that was stopped amid it is given up.
    may_repeat: bool = False

    @property
    def owner(self) -> str:
        """Return whose code this is: a task's, or that of all streams of one script; a process serves one only."""
        return self.attempt_id.partition("/")[0].partition(STREAM_MARK)[0]

    @property
    def is_of_whole(self) -> bool:
        """Return whether it concerns a task as a whole: that is not to wait for pieces, of this one or of others."""
        return self.phase != "run"


@dataclass(frozen=True)
class WorkOutcome:
    """Say how a request went."""

    ok: bool
    data: bytes = b""
    #: One line that says what went wrong, then the traceback of the person's own code.
    error: str = ""
    #: Name of the exception's class; "Stopped", "Died" and "NotStarted" are the executors' own.
    error_type: str = ""
    #: What was printed.
    output: str = ""
    seconds: float = 0.0
    #: "" where nobody is to blame, "refused" where the device could not begin it just now, else "task" or "device".
    blame: str = ""


def run_work(
    request: WorkRequest, limits: Limits = WORK_LIMITS, on_print: Optional[Callable[[bytes], None]] = None,
    allow_pickle: bool = False,
) -> WorkOutcome:
    """Run one phase in this thread; never raises, whatever the task's code raises, `SystemExit` included.

    `on_print` is told at once what is printed, for whom the outcome comes too late. `allow_pickle` is this device's own
    setting: whether values may come and go as pickles.
    """
    began = time.perf_counter()
    printed = CappedOutput(limits.output_bytes, on_print)
    ok, data, error, error_type, blame = True, b"", "", "", ""
    with _Capturing(printed):
        try:
            task_type = TASK_TYPES.get(request.task_type)
            if task_type is None:
                raise _UnknownTaskType(f"this device does not offer the task type {request.task_type[:60]!r}")
            data = _run_phase(task_type, request, limits, allow_pickle)
        except BaseException as problem:
            # A person's code: anything may come out of it, and sys.exit() in it must not end the node.
            ok, error_type = False, type(problem).__name__
            blame = BLAME_DEVICE if isinstance(problem, _UNFIT_HERE) else BLAME_TASK
            error = _error_text(problem, limits)
    return WorkOutcome(ok, data, error, error_type, printed.text(), time.perf_counter() - began, blame)


def split_parts(outcome: WorkOutcome) -> List[bytes]:
    """Return the subtasks' data out of the outcome of a split."""
    return separate_data(outcome.data)


def merge_data(task_data: bytes, results: Iterable[bytes]) -> bytes:
    """Return the data of a merge request."""
    return join_data([task_data, *results])


class _UnknownTaskType(TaskRejected):
    """Another device may offer it."""


#: What another device may do better.
_UNFIT_HERE = (_UnknownTaskType, FunctionUnfit, NoDigitsHere, PickleUnfit)


def _run_phase(task_type: TaskType, request: WorkRequest, limits: Limits, allow_pickle: bool) -> bytes:
    if request.phase == "split":
        parts: List[bytes] = []
        for part in task_type.split_data(bytes(request.data), max(0, request.target), request.owner):
            if len(parts) == limits.subtasks:
                # Said here, because a generator may have no end.
                raise TaskRejected(f"split makes more than {limits.subtasks} parts; make them larger")
            parts.append(part)
        return join_data(parts)
    if request.phase == "run":
        if request.blobs:
            with vectors_lying_in(request.vectors):
                return task_type.run_with_blobs(bytes(request.data), request.owner, dict(request.blobs), allow_pickle)
        return task_type.run_data(bytes(request.data), request.owner, allow_pickle)
    if request.phase == "merge":
        task_data, *results = separate_data(request.data) or [b""]
        return task_type.merge_data(task_data, results, request.owner)
    raise TaskRejected(f"there is no phase {request.phase[:60]!r}")


# ---- errors -----------------------------------------------------------------------------------------


def _error_text(problem: BaseException, limits: Limits) -> str:
    """Return what a person needs to mend their code: a short line, then the traceback; never raises."""
    most = limits.error_text_bytes
    if isinstance(problem, TaskRejected):
        return _shortened(problem.message, most)
    try:
        story = traceback.TracebackException(type(problem), problem, problem.__traceback__)
        said = [line for line in "".join(story.format_exception_only()).splitlines() if line[:1] not in ("", " ")]
        # The module of a job has a made-up name; its classes are known without it.
        module = f"{type(problem).__module__}."
        text = _shortened((said or [type(problem).__name__])[0].replace(module, ""), most)
        if _keep_own_frames(story, set()):
            # Long texts in it are shortened one by one, so that its lines of code stay.
            lines = [_shortened(each.replace(module, ""), most, "\n[...]\n") for each in story.format()]
            text = _shortened(f"{text}\n{''.join(lines).rstrip()}", limits.error_trace_bytes, "\n[...]\n")
        return text
    except BaseException as odd:
        # Formatting calls the exception's own __str__, which is a person's code too.
        return _shortened(f"{type(problem).__name__} (its text cannot be made: {type(odd).__name__})", most)


def _keep_own_frames(story: Any, seen: Set[int]) -> bool:
    """Keep only the frames of jobs in a traceback and in those it was caused by; return whether there are any."""
    if story is None or id(story) in seen:
        return False
    seen.add(id(story))
    own = [frame for frame in story.stack if is_job_filename(frame.filename)]
    story.stack = traceback.StackSummary.from_list(own)
    causes = (story.__cause__, story.__context__, *(getattr(story, "exceptions", None) or ()))
    return any([bool(own), *[_keep_own_frames(cause, seen) for cause in causes]])


def _shortened(text: str, limit: int, mark: str = " [...] ") -> str:
    """Return a text of at most `limit` bytes of UTF-8, with `mark` where its middle was."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= limit:
        return data.decode("utf-8")
    head = max(0, limit - len(mark)) // 3
    tail = max(0, limit - len(mark) - head)
    return data[:head].decode("utf-8", "ignore") + mark + data[len(data) - tail:].decode("utf-8", "ignore")


# ---- what is printed --------------------------------------------------------------------------------


class CappedOutput(io.BufferedIOBase):
    """Keep the first bytes written and count the rest."""

    def __init__(self, limit: int, on_print: Optional[Callable[[bytes], None]] = None) -> None:
        super().__init__()
        self._limit = limit
        self._on_print = on_print
        self._kept = bytearray()
        self._dropped = 0

    def writable(self) -> bool:
        """Return True: that is all it is for."""
        return True

    def write(self, data: Any) -> int:
        """Keep what fits."""
        view = memoryview(data).cast("B")
        fitting = min(len(view), self._limit - len(self._kept))
        self._kept += view[:fitting]
        self._dropped += len(view) - fitting
        if self._on_print is not None:
            self._on_print(bytes(view))
        return len(view)

    @property
    def written_bytes(self) -> int:
        """Return how many bytes have been written, kept or not."""
        return len(self._kept) + self._dropped

    def text(self, start: int = 0) -> str:
        """Return what was written from byte `start` on, with a last line that says how much is missing."""
        text = self._kept[start:].decode("utf-8", "replace")
        if self._dropped:
            text += f"\n[{self._dropped} more bytes were printed; {self._limit} are kept]\n"
        return text


class OutputTap(io.TextIOBase):
    """Stand in sys.stdout for threads whose output is caught; other threads' goes where it went before.

    It stays in place from one request to the next, because code such as logging keeps the stream that it finds.
    """

    encoding = "utf-8"

    def __init__(self, original: Any) -> None:
        super().__init__()
        self.original = original
        #: Those who need it; the last one to leave takes it out.
        self.users = 0
        self._thread = threading.local()

    def write(self, text: str) -> int:
        """Write to what catches this thread's output, else to the original."""
        caught = getattr(self._thread, "printed", None)
        if caught is None:
            self.original.write(text)
        else:
            caught.write(text.encode("utf-8", "backslashreplace"))
        return len(text)

    def flush(self) -> None:
        """Flush the original; some consoles have nothing but `write`."""
        flush = getattr(self.original, "flush", None)
        if flush is not None:
            flush()

    def close(self) -> None:
        """Stay open: it is not the code's to close, and the original belongs to somebody else."""

    @property
    def buffer(self) -> Any:
        """Return where bytes go."""
        return getattr(self._thread, "printed", None) or self.original.buffer

    def catch(self, printed: Optional[CappedOutput]) -> Optional[CappedOutput]:
        """Catch from now on what this thread prints, with None no more; return what caught it before."""
        before: Optional[CappedOutput] = getattr(self._thread, "printed", None)
        self._thread.printed = printed
        return before


def install_taps() -> None:
    """Put taps into sys.stdout and sys.stderr; whoever runs work in threads of this process holds them."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, OutputTap):
            stream = OutputTap(stream)
            setattr(sys, name, stream)
        stream.users += 1


def remove_taps() -> None:
    """Undo one `install_taps`; what others have put there meanwhile stays."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, OutputTap):
            stream.users -= 1
            if stream.users == 0:
                setattr(sys, name, stream.original)


class _Capturing:
    """Catch what this thread prints meanwhile; `with`, in fewer steps than a generator takes."""

    def __init__(self, printed: CappedOutput) -> None:
        self._printed = printed

    def __enter__(self) -> None:
        install_taps()
        out: Any = sys.stdout
        err: Any = sys.stderr
        self._taps = out, err
        self._before = [tap.catch(self._printed) for tap in self._taps]

    def __exit__(self, *_problem: Any) -> None:
        for tap, before in zip(self._taps, self._before):
            tap.catch(before)
        # The code may have put something else there.
        sys.stdout, sys.stderr = self._taps
        remove_taps()
