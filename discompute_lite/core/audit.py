"""Assert whatever must hold among the scheduler's books, as it is written beside their fields.

Knows:   every invariant of core/records.py and core/ledger.py; pools and orders check their own.
Refuses: to be cheap: it costs O(everything), and is for tests and the simulator.
Read next: core/ledger.py.
"""

from __future__ import annotations

from typing import Dict

from ..model.task import TaskState
from .ledger import FINISHED_STORIES, Ledger
from .records import (
    FAULTS_KEPT, OVER_KEPT, AttemptState, DeviceRecord, PoolKey, ScheduledTask, SubtaskState,
)


def check_books(books: Ledger) -> None:
    """Assert every invariant written beside a field; costs O(everything), for tests and the simulator."""
    deadlines = sum(device.resting + device.silent for device in books.devices.values()) + len(books.attempts)
    assert all(key in books.devices and ("suspect", key) in books.deadlines for key in books.suspects)
    deadlines += len(books.suspects)
    deadlines += sum(("quiet", key) in books.deadlines for key in books.devices)
    deadlines += sum(("look", key) in books.deadlines for key in books.pools)
    deadlines += sum(("weigh", key) in books.deadlines for key in books.pools)
    deadlines += sum(("deadline", key) in books.deadlines for key in books.tasks)
    for task in books.tasks.values():
        deadlines += _check_task(books, task)
    assert all(books.devices[key] is each and each.resting for key, each in books.quarantined.items())
    assert deadlines == len(books.deadlines)
    assert sum(len(task.live) for task in books.tasks.values()) == len(books.attempts)
    assert sum(len(device.running) for device in books.devices.values()) == len(books.attempts)
    for device in books.devices.values():
        assert (("rest", device.device_id) in books.deadlines) == device.resting
        assert (("silent", device.device_id) in books.deadlines) == device.silent
        _check_device(books, device)
    for key, attempt in books.attempts.items():
        assert attempt.state is AttemptState.LEASED and ("lease", key) in books.deadlines, attempt.story()
        assert books.devices[attempt.device_id].running[key] is attempt, attempt.story()
        assert attempt.subtask.live[key] is attempt and attempt.subtask.task.live[key] is attempt
    assert set(books.pools) == {task.pool_key for task in books.tasks.values()}
    for pool in books.pools.values():
        assert set(pool.tasks) == {key for key, task in books.tasks.items() if task.pool_key == pool.key}
        pool.check(books.devices)
    assert len(books.finished) <= FINISHED_STORIES
    assert not any(task.live or task.devices for task in books.finished.values())


def _check_device(books: Ledger, device: DeviceRecord) -> None:
    kinds: Dict[PoolKey, int] = {}
    for attempt in device.running.values():
        key = attempt.subtask.task.pool_key
        kinds[key] = kinds.get(key, 0) + 1
        assert (attempt.began_at is None) == (attempt.attempt_id in device.waiting)
        is_quiet = attempt.attempt_id in books.pools[key].leading.quiet
        assert is_quiet == (device.quiet and attempt.attempt_id in books.pools[key].leading.alone)
    assert device.waiting_calls == sum(attempt.subtask.calls for attempt in device.waiting.values())
    assert device.unsized == sum(not attempt.subtask.is_sized for attempt in device.running.values())
    assert kinds == device.kinds and all(key in device.running for key in device.waiting)
    assert not device.waiting or len(device.running) - len(device.waiting) >= device.slots
    if device.running and device.silence_s > 0.0 and not device.quiet:
        assert ("quiet", device.device_id) in books.deadlines


def _check_task(books: Ledger, task: ScheduledTask) -> int:
    """Check one unfinished task; return how many deadlines it has for resting subtasks and avoided devices."""
    assert task.state is TaskState.RUNNING and (task.subtasks or not task.is_sealed)
    assert task.is_open or (task.is_sealed and not task.failed and not task.cancelled)
    assert task.done + task.failed + task.cancelled + len(task.subtasks) == task.total
    assert len(task.over) == min(task.total - len(task.subtasks), OVER_KEPT)
    pending = [index for index, subtask in task.subtasks.items() if subtask.state is SubtaskState.PENDING]
    assert sorted([*task.pending, *task.returned]) == pending and list(task.pending) == sorted(task.pending)
    assert not any(task.subtasks[index].tried for index in task.pending)
    assert all(task.subtasks[index].tried for index in task.returned)
    assert sum(task.devices.values()) == len(task.live)
    assert not task.max_devices or len(task.devices) <= task.max_devices
    resting = len(task.avoids)
    assert set(task.avoids) <= set(task.faults) and len(task.faults) <= FAULTS_KEPT
    assert all(("avoid", task.task_id, device_id) in books.deadlines for device_id in task.avoids)
    for index, subtask in task.subtasks.items():
        assert subtask.index == index < task.total and subtask.calls >= 1
        assert subtask.state in (SubtaskState.PENDING, SubtaskState.RESTING, SubtaskState.RUNNING)
        assert bool(subtask.live) == (subtask.state is SubtaskState.RUNNING)
        assert len(subtask.live) == 1 or task.pure or not subtask.live
        rests = subtask.state is SubtaskState.RESTING
        assert (("retry", task.task_id, subtask.index) in books.deadlines) == rests
        resting += rests
    return resting
