"""Assert whatever must hold among the scheduler's books, as it is written beside their fields.

Knows:   every invariant of core/records.py and core/ledger.py and of pools; orders check their own.
Refuses: to be cheap: it costs O(everything), and is for tests and the simulator.
Read next: core/ledger.py.
"""

from __future__ import annotations

from typing import Dict, Hashable, KeysView, Set

from ..model.task import TaskState
from .ledger import FINISHED_STORIES, Ledger
from .placement import is_suitable
from .pools import DevicePool
from .records import (
    FAULTS_KEPT, OVER_KEPT, AttemptState, DeviceRecord, PoolKey, ScheduledTask, SubtaskState,
)


def check_books(books: Ledger) -> None:
    """Assert every invariant written beside a field; costs O(everything), for tests and the simulator."""
    deadlines, keys = len(books.attempts) + len(books.suspects), books.deadlines.keys()
    live = running = 0
    for key in books.suspects:
        assert key in books.devices and ("suspect", key) in keys
    tasks_of: Dict[PoolKey, Set[str]] = {}
    for key, task in books.tasks.items():
        deadlines += _check_task(keys, task)
        live += len(task.live)
        tasks_of.setdefault(task.pool_key, set()).add(key)
    for device in books.devices.values():
        deadlines += _check_device(books, keys, device)
        running += len(device.running)
    for pool in books.pools.values():
        deadlines += (("look", pool.key) in keys) + (("weigh", pool.key) in keys)
        assert pool.tasks.keys() == tasks_of[pool.key]
        _check_pool(pool, books.devices)
    # So no key is there for anything else, such as a subtask that does not rest.
    assert deadlines == len(keys)
    for key, device in books.quarantined.items():
        assert books.devices[key] is device and device.resting
    assert live == len(books.attempts) == running
    for key, attempt in books.attempts.items():
        subtask = attempt.subtask
        assert attempt.state is AttemptState.LEASED and ("lease", key) in keys, attempt.story()
        assert books.devices[attempt.device_id].running[key] is attempt, attempt.story()
        assert subtask.live[key] is attempt and subtask.task.live[key] is attempt
    assert books.pools.keys() == tasks_of.keys()
    parties = {key: task for party in books.parties.tasks.values() for key, task in party.items()}
    assert parties == {key: task for key, task in books.tasks.items() if task.party}
    assert all(books.parties.tasks.values())
    assert len(books.finished) <= FINISHED_STORIES
    for task in books.finished.values():
        assert not task.live and not task.devices


def _check_pool(pool: DevicePool, devices: Dict[str, DeviceRecord]) -> None:
    """Assert the invariants written beside a pool's fields."""
    members, names = pool.members, pool.requires
    assert members.keys() == {key for key, each in devices.items() if is_suitable(names, each.offers, each.slots)}
    # Who is paused has no room and begins nothing.
    awake = [device for device in members.values() if not (device.resting or device.silent or device.quiet)]
    assert set(pool.paused) == members.keys() - {device.device_id for device in awake}
    assert sorted([each.device_id for each in awake if pool.room(each)]) == pool.roomy.living()
    if pool._is_idle_kept:
        assert sorted([each.device_id for each in awake if each.slots > len(each.running)]) == pool.idle.living()
    assert max(len(pool.roomy.entries), len(pool.idle.entries)) <= 65 + 2 * len(devices)
    _check_tasks_of(pool)
    for key, task in pool.aside.items():
        assert pool.tasks[key] is task and task.waiting and not task.queued
        assert pool._look_for(task)[0] is None, "there is a device for it"
    assert pool.kept.keys() <= pool.aside.keys()
    pool.leading.check(pool.tasks.values())


def _check_tasks_of(pool: DevicePool) -> None:
    impure, limited, unsealed, marks = pool.impure, pool.limited, pool.unsealed, 0
    for key, task in pool.tasks.items():
        assert not task.queued or task.rank() in pool._queue
        is_limited, is_unsealed = bool(task.max_devices), task.pure and not task.is_sealed
        assert (key in impure, key in limited, key in unsealed) == (not task.pure, is_limited, is_unsealed)
        marks += (not task.pure) + is_limited + is_unsealed
        assert task.queued or is_limited or not task.waiting or key in pool.aside
    # So none of these has a task that is not of this kind.
    assert marks == len(impure) + len(limited) + len(unsealed)


def _check_device(books: Ledger, keys: KeysView[Hashable], device: DeviceRecord) -> int:
    """Check one device; return how many deadlines it has beside those of its attempts."""
    key = device.device_id
    rests, is_silent, is_quiet = ("rest", key) in keys, ("silent", key) in keys, ("quiet", key) in keys
    assert rests == device.resting and is_silent == device.silent
    if device.running:
        _check_running(books, device)
        assert is_quiet or device.quiet or not device.silence_s > 0.0
    else:
        assert not (device.waiting or device.waiting_calls or device.unsized or device.kinds)
    return rests + is_silent + is_quiet


def _check_running(books: Ledger, device: DeviceRecord) -> None:
    kinds: Dict[PoolKey, int] = {}
    waiting = waiting_calls = unsized = 0
    for attempt_id, attempt in device.running.items():
        subtask = attempt.subtask
        key = subtask.task.pool_key
        kinds[key] = kinds.get(key, 0) + 1
        unsized += not subtask.is_sized
        waits = attempt_id in device.waiting
        if waits:
            waiting += 1
            waiting_calls += subtask.calls
        assert (attempt.began_at is None) == waits
        leading = books.pools[key].leading
        assert (attempt_id in leading.quiet) == (device.quiet and attempt_id in leading.alone)
    assert waiting == len(device.waiting), "what waits there counts as running"
    assert (kinds, waiting_calls, unsized) == (device.kinds, device.waiting_calls, device.unsized)
    assert not waiting or len(device.running) - waiting >= device.slots


def _check_task(keys: KeysView[Hashable], task: ScheduledTask) -> int:
    """Check one unfinished task; return how many deadlines it has: its own, of resting subtasks, of avoided devices."""
    assert task.state is TaskState.RUNNING and (task.subtasks or not task.is_sealed)
    assert task.is_open or (task.is_sealed and not task.failed and not task.cancelled)
    assert task.done + task.failed + task.cancelled + len(task.subtasks) == task.total
    assert len(task.over) == min(task.total - len(task.subtasks), OVER_KEPT)
    pending = list(task.pending)
    assert pending == sorted(pending)
    assert sum(task.devices.values()) == len(task.live)
    assert not task.max_devices or len(task.devices) <= task.max_devices
    deadlines = len(task.avoids) + (("deadline", task.task_id) in keys)
    assert len(task.faults) <= FAULTS_KEPT
    for device_id in task.avoids:
        assert device_id in task.faults and ("avoid", task.task_id, device_id) in keys
    return deadlines + _check_subtasks(keys, task)


def _check_subtasks(keys: KeysView[Hashable], task: ScheduledTask) -> int:
    """Check the subtasks of a task that are not over; return how many rest, since each of these has a deadline."""
    total, pending, resting = task.total, 0, 0
    for index, subtask in task.subtasks.items():
        state, live = subtask.state, subtask.live
        assert subtask.index == index < total and subtask.calls >= 1
        if state is SubtaskState.RUNNING:
            assert len(live) == 1 or (live and task.pure)
            continue
        assert not live
        if state is SubtaskState.PENDING:
            pending += 1
            assert index in (task.returned if subtask.tried else task.pending)
        else:
            resting += 1
            assert state is SubtaskState.RESTING and ("retry", task.task_id, index) in keys
    assert pending == len(task.pending) + len(task.returned)
    return resting
