"""End what is over: a subtask by its result, alone by its failure or because nobody wants it, or with its whole task.

Knows:   what must be stopped, entered, told and wished at each end, in this order.
Refuses: to judge whether something is over, that is core/scheduler.py; and to keep the books, that is core/ledger.py.
Read next: core/scheduler.py (who asks).
"""

from __future__ import annotations

from typing import Any, Iterable, List

from ..model.task import TaskState
from .events import AcceptResult, EndCancelled, FailSubtask, FailTask, FinishTask, StopAttempt, TellStory
from .ledger import Ledger
from .records import AttemptRecord, ScheduledTask, SubtaskRecord, SubtaskState


def tell_line(task: ScheduledTask, line: str, actions: List[Any]) -> None:
    """Add a line to a task's story."""
    task.lines.append(line)
    actions.append(TellStory(task.task_id, line))


def stop_attempts(
    books: Ledger, attempts: Iterable[AttemptRecord], reason: str, now: float, actions: List[Any]
) -> None:
    """Stop live attempts; the caller says what becomes of their subtasks."""
    for attempt in list(attempts):
        books.end_attempt(attempt, "stopped", now)
        actions.append(StopAttempt(attempt.attempt_id, attempt.device_id, reason))


# ---- subtasks --------------------------------------------------------------------------------------


def accept_result(books: Ledger, attempt: AttemptRecord, took_s: float, now: float, actions: List[Any]) -> None:
    """Let an attempt that has ended be its subtask's one result."""
    subtask, task = attempt.subtask, attempt.subtask.task
    if subtask.live:
        stop_attempts(books, subtask.live.values(), "another attempt was faster", now, actions)
    subtask.done_by = (attempt.attempt_id, attempt.device_id, took_s)
    books.forget_subtask(subtask, SubtaskState.DONE)
    task.done += 1
    actions.append(AcceptResult(task.task_id, subtask.index, attempt.attempt_id, attempt.device_id))
    finish_if_over(books, task, now, actions)


def fail_for_good(
    books: Ledger, subtask: SubtaskRecord, reason: str, blame: str, now: float, actions: List[Any]
) -> None:
    """End a subtask that cannot succeed any more: alone where its task is open, else with the task."""
    task = subtask.task
    if not task.is_open:
        fail_task(books, task, reason, subtask.index, now, actions)
        return
    stop_attempts(books, subtask.live.values(), "its subtask has failed", now, actions)
    subtask.told = f"subtask {subtask.index} failed: {reason}"
    books.forget_subtask(subtask, SubtaskState.FAILED)
    task.failed += 1
    tell_line(task, subtask.told, actions)
    actions.append(FailSubtask(task.task_id, subtask.index, reason, blame))
    finish_if_over(books, task, now, actions)


def cancel_subtask(books: Ledger, subtask: SubtaskRecord, now: float, actions: List[Any]) -> None:
    """End a subtask of an open task that nobody wants any longer."""
    task = subtask.task
    stop_attempts(books, subtask.live.values(), "it was cancelled", now, actions)
    subtask.told = f"subtask {subtask.index} was cancelled"
    books.forget_subtask(subtask, SubtaskState.CANCELLED)
    task.cancelled += 1
    finish_if_over(books, task, now, actions)


# ---- tasks -----------------------------------------------------------------------------------------


def finish_if_over(books: Ledger, task: ScheduledTask, now: float, actions: List[Any]) -> None:
    """Finish a task to which nothing can be added when all its subtasks are over."""
    if task.is_sealed and not task.subtasks:
        line = "every subtask has its result"
        if task.failed or task.cancelled:
            parts = [f"{task.done} of {task.total} subtasks have their results"]
            parts += [f"{task.failed} failed"] * bool(task.failed)
            parts += [f"{task.cancelled} were cancelled"] * bool(task.cancelled)
            line = ", ".join(parts)
        _close(books, task, TaskState.COMPLETED, line, now, actions)
        actions.append(FinishTask(task.task_id))


def fail_task(books: Ledger, task: ScheduledTask, reason: str, index: int, now: float, actions: List[Any]) -> None:
    """End a task that cannot succeed any more."""
    where = f" in subtask {index}" if index >= 0 else ""
    _close(books, task, TaskState.FAILED, f"failed{where}: {reason}", now, actions)
    actions.append(FailTask(task.task_id, reason, index))


def end_cancelled(books: Ledger, task: ScheduledTask, reason: str, now: float, actions: List[Any]) -> None:
    """End a task that nobody wants any longer."""
    _close(books, task, TaskState.CANCELLED, f"cancelled: {reason}", now, actions)
    actions.append(EndCancelled(task.task_id, reason))


def _close(
    books: Ledger, task: ScheduledTask, state: TaskState, line: str, now: float, actions: List[Any]
) -> None:
    stop_attempts(books, task.live.values(), "its task has ended", now, actions)
    tell_line(task, line, actions)
    books.close_task(task, state)
