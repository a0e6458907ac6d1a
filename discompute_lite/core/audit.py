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
    deadlines = len(books.attempts) + len(books.suspects)
    assert all(key in books.devices and ("suspect", key) in books.deadlines for key in books.suspects)
    for task in books.tasks.values():
        deadlines += _check_task(books, task)
    running = 0
    for device in books.devices.values():
        deadlines += _check_device(books, device)
        running += len(device.running)
    for pool in books.pools.values():
        deadlines += (("look", pool.key) in books.deadlines) + (("weigh", pool.key) in books.deadlines)
        assert set(pool.tasks) == {key for key, task in books.tasks.items() if task.pool_key == pool.key}
        pool.check(books.devices)
    assert deadlines == len(books.deadlines)
    assert all(books.devices[key] is each and each.resting for key, each in books.quarantined.items())
    assert sum(len(task.live) for task in books.tasks.values()) == len(books.attempts) == running
    for key, attempt in books.attempts.items():
        assert attempt.state is AttemptState.LEASED and ("lease", key) in books.deadlines, attempt.story()
        assert books.devices[attempt.device_id].running[key] is attempt, attempt.story()
        assert attempt.subtask.live[key] is attempt and attempt.subtask.task.live[key] is attempt
    assert set(books.pools) == {task.pool_key for task in books.tasks.values()}
    assert len(books.finished) <= FINISHED_STORIES
    assert not any(task.live or task.devices for task in books.finished.values())


def _check_device(books: Ledger, device: DeviceRecord) -> int:
    """Check one device; return how many deadlines it has beside those of its attempts."""
    key, deadlines = device.device_id, books.deadlines
    rests, is_silent, is_quiet = ("rest", key) in deadlines, ("silent", key) in deadlines, ("quiet", key) in deadlines
    assert rests == device.resting and is_silent == device.silent
    if device.running:
        _check_running(books, device)
        assert is_quiet or device.quiet or not device.silence_s > 0.0
    else:
        assert not (device.waiting or device.waiting_calls or device.unsized or device.kinds)
    return rests + is_silent + is_quiet


def _check_running(books: Ledger, device: DeviceRecord) -> None:
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


def _check_task(books: Ledger, task: ScheduledTask) -> int:
    """Check one unfinished task; return how many deadlines it has: its own, of resting subtasks, of avoided devices."""
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
    deadlines = len(task.avoids) + (("deadline", task.task_id) in books.deadlines)
    assert set(task.avoids) <= set(task.faults) and len(task.faults) <= FAULTS_KEPT
    assert all(("avoid", task.task_id, device_id) in books.deadlines for device_id in task.avoids)
    for index, subtask in task.subtasks.items():
        state, live = subtask.state, len(subtask.live)
        assert subtask.index == index < task.total and subtask.calls >= 1
        rests = state is SubtaskState.RESTING
        assert live == 1 or (live and task.pure) if state is SubtaskState.RUNNING else not live
        assert rests or state is SubtaskState.PENDING or state is SubtaskState.RUNNING
        assert (("retry", task.task_id, index) in books.deadlines) == rests
        deadlines += rests
    return deadlines
