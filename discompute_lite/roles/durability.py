"""Keep what was accepted and what was finished in journals, and bring it back after a restart.

Knows:   which entry is written when, and what a task's journal says of it.
Refuses: to touch files (`JournalsPort` does); plain futures, which live and die with their script.
Read next: core/journal.py (the entries), roles/coordinator.py (who asks), host/journals.py (the disk).

One journal a task. While it runs: accepted, divided, a line for each result. Once it is over: its end alone, without
what went into it. Gone when whoever submitted it has acknowledged the result, or `limits.result_kept_s` later.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, Callable, Dict, List, Optional

from ..core.journal import JournalWriter, ResultKept, TaskAccepted, TaskClosed, TaskDivided, read_journal
from ..model.codec import from_json, to_json
from ..model.errors import StateError
from ..model.task import SubTask, SubTaskStatus, TaskState
from .coordinated import CoordinatedTask
from .methods import PrintedText
from .ports import JournalsPort


def journal_name(task_id: str) -> str:
    """Return the name of a task's journal: ids come from outside, and not every one could be a file's name."""
    return hashlib.sha256(task_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class Durability:
    """Write the journals of one node's tasks."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._port: JournalsPort = node.world.journals
        #: task id -> where its next line goes: exactly the tasks with a journal.
        self._writers: Dict[str, JournalWriter] = {}
        self._is_stopped = False

    @property
    def problem(self) -> str:
        """Say why nothing can be kept just now, "" when all is well."""
        return self._port.problem

    def keeps(self, record: CoordinatedTask) -> bool:
        """Whether a task outlives the process."""
        return self._port.is_lasting and record.task.task_id in self._writers

    def when_kept(self, callback: Callable[[str], None]) -> None:
        """Call back with "" when everything so far is kept, or with the reason why it cannot be yet."""
        self._port.when_written(callback)

    def stop(self) -> None:
        """Write nothing more: what ends with the node goes on with the next one."""
        self._is_stopped = True

    # ---- what befalls a task ------------------------------------------------------------------------

    def accepted(self, record: CoordinatedTask, printed: str) -> None:
        """A task was split; it may be acknowledged when this is kept."""
        writer = self._writers[record.task.task_id] = JournalWriter()
        parts = [bytes(subtask.subtask_data) for subtask in record.subtasks]
        lines = writer.lines(_acceptance(record, self._node.id), TaskDivided(parts, printed))
        # Not `append`: what a damaged journal had behind its first lines is replaced.
        self._port.replace(journal_name(record.task.task_id), lines)

    def finished(self, record: CoordinatedTask, index: int) -> None:
        """A subtask has its result; its device may forget it when this is kept."""
        done = record.subtasks[index]
        self._append(record, ResultKept(
            index, done.assigned_device_id, bytes(done.result_data), done.completed_at, done.lite,
        ))

    def closed(self, record: CoordinatedTask) -> None:
        """A task is over: only its end is kept."""
        task_id = record.task.task_id
        if self._is_stopped or task_id not in self._writers:
            return
        writer = self._writers[task_id] = JournalWriter()
        self._port.replace(journal_name(task_id), writer.lines(_acceptance(record, self._node.id), TaskClosed(
            record.state.value, record.message, bytes(record.result_data), record.subtasks,
            [to_json(text) for text in record.printed], list(record.story), record.finished_at,
        )))

    def forget(self, task_id: str) -> None:
        """Keep nothing of a task."""
        if self._writers.pop(task_id, None) is not None and not self._is_stopped:
            self._port.remove(journal_name(task_id))

    def _append(self, record: CoordinatedTask, entry: Any) -> None:
        writer = self._writers.get(record.task.task_id)
        if writer is not None and not self._is_stopped:
            self._port.append(journal_name(record.task.task_id), writer.lines(entry))

    # ---- after a restart ----------------------------------------------------------------------------

    def restore(self) -> List[CoordinatedTask]:
        """Return the tasks of earlier lives, in the order of their submission; say aloud what was damaged."""
        try:
            journals = self._port.read_all()
        except StateError as error:
            self._node.tell("warning", f"tasks of before cannot be read: {error.message}")
            return []
        found = [self._restored(name, data) for name, data in journals.items()]
        return sorted((record for record in found if record is not None), key=lambda record: record.submitted_at)

    def _restored(self, name: str, data: bytes) -> Optional[CoordinatedTask]:
        reading = read_journal(data)
        if reading.damage:
            self._keep_aside(name, data, reading.damage, len(reading.entries))
        record = restored_task(reading.entries)
        if record is None or journal_name(record.task.task_id) != name:
            self._port.remove(name)
            return None
        if reading.good_bytes < len(data):
            self._port.replace(name, data[:reading.good_bytes])
        self._writers[record.task.task_id] = JournalWriter(reading.chain)
        return record

    def _keep_aside(self, name: str, data: bytes, damage: str, entries: int) -> None:
        try:
            kept = self._port.keep_aside(name, data)
        except StateError as error:
            kept = f"(not kept: {error.message})"
        self._node.tell("warning", f"a task's journal was damaged: {damage}. The {entries} entries before it are used,"
                                   f" what followed is done again; for inspection the file is kept as {kept}")


def restored_task(entries: List[Any]) -> Optional[CoordinatedTask]:
    """Return the task that a journal tells of, None where it tells of none."""
    if not entries or not isinstance(entries[0], TaskAccepted):
        return None
    first: TaskAccepted = entries[0]
    record = CoordinatedTask(first.task, first.max_devices, first.target)
    record.submitted_at = first.submitted_at
    for entry in entries[1:]:
        if isinstance(entry, TaskDivided):
            record.divide(entry.parts)
            record.keep_printed("split", first.owner_id, entry.printed)
        elif isinstance(entry, ResultKept) and entry.index < len(record.subtasks):
            if record.subtasks[entry.index].status is not SubTaskStatus.COMPLETED:
                done = SubTask(result_data=entry.result_data, lite=entry.lite)
                record.accept(entry.index, entry.device_id, done, entry.completed_at)
        elif isinstance(entry, TaskClosed):
            _close_again(record, entry)
    return record


def _close_again(record: CoordinatedTask, entry: TaskClosed) -> None:
    record.subtasks = entry.subtasks
    record.completed = sum(subtask.status is SubTaskStatus.COMPLETED for subtask in entry.subtasks)
    record.result_data = entry.result_data
    record.printed = [from_json(PrintedText, text) for text in entry.printed]
    record.story.extend(entry.story)
    record.close(TaskState(entry.state), entry.message, entry.finished_at)


def _acceptance(record: CoordinatedTask, owner_id: str) -> TaskAccepted:
    # A task that is over has lost its data already.
    task = replace(record.task, task_data=bytes(record.task.task_data))
    return TaskAccepted(task, record.max_devices, record.target, record.submitted_at, owner_id)
