"""Decide whom a failed attempt is held against: its subtask, then its task on that device, and at last the device.

Knows:   which tasks fail where, and which of those succeeded elsewhere.
Refuses: to start or end anything, and to call a subtask poison; that is core/scheduler.py with core/retry.py.
Read next: core/scheduler.py (who asks), core/pools.py (`choose` heeds it).

A job that ends its own process looks just like a device that cannot hold it, and there are more such jobs than such
devices. So a failure alone keeps nobody from a device but its own task, and of others what has failed itself before;
and these only while another device could take the work. A device is at fault when work that failed there is then done
elsewhere, and that for several tasks in a row.
"""

from __future__ import annotations

from typing import Callable, List, Optional, Tuple

from ..model.device import short_id
from .events import AttemptFailed
from .ledger import Ledger
from .pools import DevicePool
from .records import FAULTS_KEPT, AttemptRecord, DeviceRecord, ScheduledTask, SubtaskRecord, TaskFault
from .retry import MISFITS_TRIED, POISON_AFTER, QUARANTINE_AFTER, refused_s, retry_s

#: A device is suspected for as long as so many failures more would make others leave it alone.
SUSPECTED_FOR = 2


def hold_against_both(books: Ledger, attempt: AttemptRecord, reason: str, now: float, roll: float) -> None:
    """Let a task leave the device alone on which it failed, and suspect the device; for longer each time in a row."""
    task, device = attempt.subtask.task, books.devices[attempt.device_id]
    if not device.failures or attempt.sent_at > device.failed_at:
        device.failures += 1
        device.failed_at = now
        # Longer than its own task leaves it alone: until something that has not failed yet was tried there.
        books.suspect(device, now + retry_s(device.failures + SUSPECTED_FOR, roll))
    fault = _fault_of(task, attempt.device_id, reason)
    if fault is None:
        return
    # Eight slots that fail at once are one piece of news.
    if not fault.failures or attempt.sent_at > fault.since:
        fault.failures += 1
        fault.since = now
        books.avoid(task, attempt.device_id, now + retry_s(fault.failures, roll))


def piece_at_fault(
    books: Ledger, attempt: AttemptRecord, event: AttemptFailed, now: float, roll: float
) -> Tuple[str, Optional[float]]:
    """End an attempt of a piece that raised, or is too much for its device; return what is told of it, and the pause
    until it is tried again, None for never.
    """
    subtask = attempt.subtask
    if event.blame == "task":
        books.end_attempt(attempt, "blames task", now)
        subtask.raised += 1
        is_over = subtask.raised > subtask.task.retries
        return f"raised: {event.reason}", None if is_over else retry_s(subtask.raised, roll)
    books.end_attempt(attempt, "refused", now)
    subtask.misfits += 1
    told, pool = f"was too much for it: {event.reason}", books.pools[subtask.task.pool_key]
    is_tried_everywhere = pool.members.keys() <= subtask.tried.keys()
    if event.blame == "outgrown" and (is_tried_everywhere or subtask.misfits >= POISON_AFTER):
        return told, None
    _note_misfit(books, attempt, event.reason, now, roll)
    # At once, where somebody else may have room for it.
    return told, 0.0 if pool.has_other(subtask.tried) else refused_s(subtask.misfits, roll)


def _note_misfit(books: Ledger, attempt: AttemptRecord, reason: str, now: float, roll: float) -> None:
    """Let a device go on with lighter work; after several misfits in a row their task leaves it alone for a moment."""
    task = attempt.subtask.task
    fault = _fault_of(task, attempt.device_id, reason)
    if fault is None:
        return
    fault.failures += 1
    if fault.failures >= MISFITS_TRIED:
        books.avoid(task, attempt.device_id, now + refused_s(fault.failures - MISFITS_TRIED + 1, roll))


def forgive(books: Ledger, task: ScheduledTask, device: DeviceRecord, now: float) -> None:
    """Hold nothing against a device any more that has just done work for a task."""
    device.charges = device.refusals = device.failures = 0
    device.cleared_at = now
    if books.suspects:
        books.end_suspicion(device)
    if device.resting:
        books.wake_device(device, "rest")
    if task.faults:
        task.faults.pop(device.device_id, None)
        books.end_avoiding(task, device.device_id)


def blame_device(
    books: Ledger, subtask: SubtaskRecord, where: DeviceRecord, now: float, roll: Callable[[], float]
) -> List[str]:
    """Charge the devices where a subtask failed that is now done `where`; return what there is to tell.

    A task charges a device once, or the pieces of one that needs what the device lacks would speak for all work.
    """
    told = []
    for harm in subtask.harms.values():
        device = books.devices.get(harm.device_id)
        fault = subtask.task.faults.get(harm.device_id)
        if not harm.lived_on or device is None or device is where or fault is None or fault.is_charged:
            continue
        if harm.sent_at >= device.cleared_at:
            fault.is_charged = True
            device.charges += 1
            if device.charges >= QUARANTINE_AFTER:
                told.append(_put_in_quarantine(books, device, fault.reason, now, roll()))
    return told


def _put_in_quarantine(books: Ledger, device: DeviceRecord, reason: str, now: float, roll: float) -> str:
    rest_s = retry_s(device.charges, roll)
    device.cleared_at, device.rest_until = now, now + rest_s
    device.rest_reason = (
        f"is in quarantine since the work of {device.charges} tasks in a row failed there and succeeded elsewhere"
        f" (the last: {reason})"
    )
    books.quarantined[device.device_id] = device
    books.rest_device(device, "rest", device.rest_until)
    return f"{short_id(device.device_id)} {device.rest_reason}, for {rest_s:.1f} s"


def freed_from_quarantine(books: Ledger, pool: DevicePool) -> List[Tuple[ScheduledTask, str]]:
    """End quarantines where work waits that no other device could take; return what there is to tell, and to whom."""
    told: List[Tuple[ScheduledTask, str]] = []
    task = pool.first_waiting() if books.quarantined and len(pool.paused) == len(pool.members) else None
    if task is None:
        return told
    for device in list(books.quarantined.values()):
        if device.device_id in pool.members and not device.silent and not device.quiet:
            books.wake_device(device, "rest")
            line = f"{short_id(device.device_id)} is taken out of quarantine: no other device could take this now"
            told.append((task, line))
    return told


def rest_refusing(books: Ledger, device: DeviceRecord, reason: str, now: float, roll: float) -> None:
    """Give a device that refused an attempt a short rest, which nobody holds against it."""
    device.refusals += 1
    until = now + refused_s(device.refusals, roll)
    if not device.resting or until > device.rest_until:
        device.rest_until = until
        device.rest_reason = f"rests since it refused an attempt ({reason})"
        books.quarantined.pop(device.device_id, None)
        books.rest_device(device, "rest", until)


def _fault_of(task: ScheduledTask, device_id: str, reason: str) -> Optional[TaskFault]:
    """Return what a task holds against a device, with its newest reason; None where it remembers no more devices."""
    fault = task.faults.get(device_id)
    if fault is None:
        if len(task.faults) >= FAULTS_KEPT:
            return None
        fault = task.faults[device_id] = TaskFault()
    fault.reason = reason
    return fault
