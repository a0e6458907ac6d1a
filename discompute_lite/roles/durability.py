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
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from ..core.journal import (
    JournalReading, JournalWriter, OwnerNamed, ResultKept, TaskAccepted, TaskClosed, TaskDivided, read_journal,
)
from ..model.codec import from_json, to_json
from ..model.errors import DiscomputeError, StateError
from ..model.task import SubTask, SubTaskStatus, TaskState
from .coordinated import CoordinatedTask
from .methods import PrintedText
from .ports import JournalsPort, Later

#: What the names of the journals begin with that are copies of other nodes' tasks.
COPY_MARK = "copy-"


def journal_name(task_id: str) -> str:
    """Return the name of a task's journal: ids come from outside, and not every one could be a file's name."""
    return hashlib.sha256(task_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def unkept_sentence(problem: str) -> str:
    """Say why a task is refused; `problem` says what is wrong with the disk, and what to do."""
    return f"it cannot be kept here. {problem[:1].upper()}{problem[1:]}"


class Durability:
    """Write the journals of one node's tasks."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._port: JournalsPort = node.world.journals
        #: task id -> where its next line goes: exactly the tasks with a journal.
        self._writers: Dict[str, JournalWriter] = {}
        self._is_stopped = False
        #: Names of journals that were here and tell of no task any more; None while no journal could be read at all.
        self._lost: Optional[Set[str]] = set()
        #: Where copies go; set by whoever makes both (roles/copies.py).
        self.copies: Any = None

    @property
    def problem(self) -> str:
        """Say why nothing can be kept just now, "" when all is well."""
        return self._port.problem

    def has(self, record: CoordinatedTask) -> bool:
        """Whether a task has a journal."""
        return record.task.task_id in self._writers

    def has_lost(self, task_id: str) -> bool:
        """Whether there may have been a journal of this task whose beginning cannot be read."""
        return self._lost is None or journal_name(task_id) in self._lost

    def keeps(self, record: CoordinatedTask) -> bool:
        """Whether a task outlives the process."""
        return self._port.is_lasting and record.task.task_id in self._writers

    def when_kept(self, callback: Callable[[str], None]) -> None:
        """Call back with "" when everything so far is kept, or with the reason why it cannot be yet."""
        self._port.when_written(callback)

    def then_tell(self, tell: Callable[[], None]) -> None:
        """Let people know something when all that it can be about is kept, with the sync that is under way for it.

        While nothing can be kept they know at once: on a full disk too they shall see how far their task is.
        """
        if self.problem:
            tell()
        else:
            self.when_kept(lambda _problem: tell())

    def once_kept(self, answer: Any) -> Later:
        """Promise an answer, or what a promise comes to, for when all that it can tell of is kept (`then_tell`)."""
        later = Later()

        def known(result: Any, error: Optional[DiscomputeError]) -> None:
            if error is not None:
                later.fail(error)
            else:
                self.then_tell(lambda: later.resolve(result))

        if isinstance(answer, Later):
            answer.then(known)
        else:
            known(answer, None)
        return later

    def stop(self) -> None:
        """Write nothing more: what ends with the node goes on with the next one."""
        self._is_stopped = True

    # ---- what befalls a task ------------------------------------------------------------------------

    def write(self, record: CoordinatedTask) -> None:
        """Keep a task as it is now, which was split, taken over, or is over; tell nobody of it before it is kept."""
        if not self._is_stopped:
            writer = self._writers[record.task.task_id] = JournalWriter()
            # Not `append`: whatever was there under this name is replaced.
            self._port.replace(journal_name(record.task.task_id), writer.lines(*entries_of(record, self._node.id)))
            self.copies.changed(record, None)

    def divided(self, record: CoordinatedTask) -> None:
        """A task that is kept was split."""
        self._append(record, _division_of(record))

    def finished(self, record: CoordinatedTask, index: int) -> None:
        """A subtask has its result; its device may forget it when this is kept."""
        self._append(record, _result_of(record.subtasks[index]))

    def closed(self, record: CoordinatedTask) -> None:
        """A task is over: only its end is kept."""
        if record.task.task_id in self._writers:
            self.write(record)

    def forget(self, task_id: str) -> None:
        """Keep nothing of a task, here and where its copy is."""
        if self.let_go(task_id):
            self.copies.forgotten(task_id)

    def let_go(self, task_id: str) -> bool:
        """Keep nothing of a task here; return whether something was kept."""
        if self._writers.pop(task_id, None) is None or self._is_stopped:
            return False
        self._port.remove(journal_name(task_id))
        return True

    def _append(self, record: CoordinatedTask, entry: Any) -> None:
        writer = self._writers.get(record.task.task_id)
        if writer is not None and not self._is_stopped:
            self._port.append(journal_name(record.task.task_id), writer.lines(entry))
            self.copies.changed(record, entry)

    # ---- after a restart ----------------------------------------------------------------------------

    def restore(self) -> List[CoordinatedTask]:
        """Return the tasks of earlier lives, in the order of their submission; say aloud what was damaged."""
        try:
            journals = self._port.read_all()
        except StateError as error:
            self._node.tell("warning", f"tasks of before cannot be read: {error.message}")
            self._lost = None
            return []
        found = []
        for name, data in journals.items():
            mark = COPY_MARK if name.startswith(COPY_MARK) else ""
            record, chain = self._read(name, data, mark)
            if record is None:
                continue
            if mark:
                self.copies.restore(record, chain, len(data))
            else:
                self._writers[record.task.task_id] = JournalWriter(chain)
                found.append(record)
        return sorted(found, key=lambda record: record.submitted_at)

    def _read(self, name: str, data: bytes, mark: str) -> Tuple[Optional[CoordinatedTask], int]:
        """Return the task of a journal and its chain, cut back to what is good."""
        reading = read_journal(data)
        if reading.damage:
            keep_damaged(self._port, self._node.tell, name, data, reading,
                         "the copy of a task's journal" if mark else "a task's journal")
        record = restored_task(reading.entries)
        if record is None or mark + journal_name(record.task.task_id) != name:
            self._port.remove(name)
            if self._lost is not None and not mark:
                self._lost.add(name)
            return None, 0
        if reading.good_bytes < len(data):
            self._port.replace(name, data[:reading.good_bytes])
        return record, reading.chain


def keep_damaged(
    port: JournalsPort, tell: Callable[[str, str], None], name: str, data: bytes, reading: JournalReading, what: str
) -> None:
    """Keep a damaged journal aside, and say so aloud."""
    try:
        kept = port.keep_aside(name, data)
    except StateError as error:
        kept = f"(not kept: {error.message})"
    tell("warning", f"{what} was damaged: {reading.damage}. The {len(reading.entries)} entries before it are used,"
                    f" what followed is done again; for inspection the file is kept as {kept}")


def restored_task(entries: List[Any]) -> Optional[CoordinatedTask]:
    """Return the task that a journal tells of, None where it tells of none."""
    if not entries or not isinstance(entries[0], TaskAccepted):
        return None
    first: TaskAccepted = entries[0]
    record = CoordinatedTask(first.task, first.max_devices, first.target)
    record.submitted_at, record.secret = first.submitted_at, first.secret
    record.term, record.owner_id, record.first_owner_id = first.term, first.owner_id, first.owner_id
    retell(record, entries[1:])
    return record


def retell(record: CoordinatedTask, entries: List[Any]) -> None:
    """Let a task be what further entries of its journal make of it: it is divided once, and nothing follows its end."""
    for entry in entries:
        if record.is_over:
            return
        if isinstance(entry, TaskDivided) and not record.subtasks:
            record.divide(entry.parts)
            record.keep_printed("split", record.first_owner_id, entry.printed)
        elif isinstance(entry, ResultKept) and entry.index < len(record.subtasks):
            if record.subtasks[entry.index].status is not SubTaskStatus.COMPLETED:
                done = SubTask(result_data=entry.result_data, lite=entry.lite)
                record.accept(entry.index, entry.device_id, done, entry.completed_at)
        elif isinstance(entry, OwnerNamed):
            record.term, record.owner_id = entry.term, entry.owner_id
        elif isinstance(entry, TaskClosed):
            _close_again(record, entry)


def _close_again(record: CoordinatedTask, entry: TaskClosed) -> None:
    record.subtasks = entry.subtasks
    record.completed = sum(subtask.status is SubTaskStatus.COMPLETED for subtask in entry.subtasks)
    record.result_data = entry.result_data
    record.printed = [from_json(PrintedText, text) for text in entry.printed]
    record.story.extend(entry.story)
    record.close(TaskState(entry.state), entry.message, entry.finished_at)


def entries_of(record: CoordinatedTask, owner_id: str) -> List[Any]:
    """Return the journal of a task as it is now, of which this node is the owner."""
    # A task that is over has lost its data already.
    task = replace(record.task, task_data=bytes(record.task.task_data))
    first_owner_id = record.first_owner_id or owner_id
    entries: List[Any] = [
        TaskAccepted(
            task, record.max_devices, record.target, record.submitted_at, first_owner_id, secret=record.secret),
    ]
    if record.term > 1:
        entries.append(OwnerNamed(owner_id, record.term))
    if record.is_over:
        entries.append(TaskClosed(
            record.state.value, record.message, bytes(record.result_data), record.subtasks,
            [to_json(text) for text in record.printed], list(record.story), record.finished_at,
        ))
    elif record.state is TaskState.RUNNING:
        entries.append(_division_of(record))
        entries += [
            _result_of(each) for each in record.subtasks if each.status is SubTaskStatus.COMPLETED
        ]
    return entries


def _division_of(record: CoordinatedTask) -> TaskDivided:
    printed = "".join(text.text for text in record.printed if text.phase == "split")
    return TaskDivided([bytes(each.subtask_data) for each in record.subtasks], printed)


def _result_of(done: SubTask) -> ResultKept:
    return ResultKept(
        done.subtask_index, done.assigned_device_id, bytes(done.result_data), done.completed_at, done.lite,
    )
