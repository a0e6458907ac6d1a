"""Say in a sentence why a task or a piece of it is where it is, waits, or was tried again.

Knows:   the ledger, and how people speak.
Refuses: to change anything.
Read next: core/scheduler.py.
"""

from __future__ import annotations

from itertools import islice
from typing import List, Optional

from ..model.device import short_id
from .ledger import Ledger
from .records import AttemptRecord, ScheduledTask, SubtaskRecord, SubtaskState
from .worth import Keeping

#: Devices that are named, each with its reason, where nobody takes a task.
REASONS_NAMED = 3
#: What a task requires is a name of a few letters, or a device's id, which is longer.
LONGEST_NAME = 32


def is_stalled(books: Ledger, task: ScheduledTask) -> bool:
    """Return whether a task waits and no device may be given any of it."""
    pool = books.pools.get(task.pool_key)
    return task.waiting > 0 and not task.live and pool is not None and not pool.members


def why_no_device(books: Ledger, task: ScheduledTask) -> str:
    """Say why no device may be given a task, device by device for the first few."""
    if not books.devices:
        return "waits: no device takes work here yet"
    ids = [name for name in task.requires if len(name) > LONGEST_NAME]
    # Where a device is asked for by its id, what others lack explains nothing.
    devices = [device for device in books.devices.values() if all(name in device.offers for name in ids)]
    if not devices:
        asked = " and ".join(short_id(name) for name in ids)
        return f"waits for a device: {asked}, which it asks for, is not here"
    reasons = []
    for device in devices[:REASONS_NAMED]:
        missing = [name for name in task.requires if name not in device.offers]
        why = f"does not offer {', '.join(missing)}" if missing else device.reason or "has no slots"
        reasons.append(f"{short_id(device.device_id)} {why}")
    more = len(devices) - REASONS_NAMED
    rest = [f"and {more} more"] if more > 0 else []
    return "waits for a device: " + "; ".join([*reasons, *rest])


def why_task(books: Ledger, task: ScheduledTask, now: float) -> str:
    """Say how far a task is, and what holds up the rest of it."""
    if task.task_id not in books.tasks:
        return f"it is over: {task.lines[-1]}"
    waiting = task.waiting
    # A pure subtask may run twice; each counts once.
    running = len({attempt.subtask.index for attempt in task.live.values()})
    resting = len(task.subtasks) - waiting - running
    parts = [f"{task.done} of {task.total} subtasks are done"]
    if task.failed:
        parts.append(f"{task.failed} failed")
    if task.cancelled:
        parts.append(f"{task.cancelled} were cancelled")
    if running:
        names = [_called(books, device_id, now) for device_id in islice(task.devices, REASONS_NAMED)]
        more = len(task.devices) - len(names)
        where = ", ".join(names) + (f" and {more} more" if more > 0 else "")
        parts.append(f"{running} {'runs' if running == 1 else 'run'} on {where}")
    if resting:
        told = next((each.told for each in task.subtasks.values() if each.state is SubtaskState.RESTING), "")
        last = f" ({told.partition(chr(10))[0]})" if told else ""
        parts.append(f"{resting} rest before they are tried again{last}")
    if waiting:
        first = next(iter([*islice(task.returned, 1), *islice(task.pending, 1)]))
        parts.append(f"{waiting} wait: {_why_pending(books, task, task.subtasks[first], now)}")
    if not task.is_sealed:
        parts.append("more may be added")
    until = books.deadlines.when(("deadline", task.task_id))
    if until is not None:
        parts.append(f"it fails if that is not over in {max(0.0, until - now):.1f} s, its deadline")
    return "; ".join(parts)


def _called(books: Ledger, device_id: str, now: float) -> str:
    """Return how a device is called where work runs on it: with its silence, if it is silent."""
    device = books.devices[device_id]
    return short_id(device_id) + (f" (not heard for {now - device.heard_at:.1f} s)" if device.quiet else "")


def why_subtask(books: Ledger, task: ScheduledTask, index: int, now: float) -> str:
    """Say where one subtask of an unfinished task is and what befell it before."""
    subtask = task.subtasks.get(index)
    if subtask is None:
        return _why_over(task, index)
    before = f"; {subtask.told}" if subtask.told else ""
    if subtask.state is SubtaskState.PENDING:
        return f"subtask {index} waits: {_why_pending(books, task, subtask, now)}{before}"
    if subtask.state is SubtaskState.RESTING:
        until = books.deadlines.when(("retry", task.task_id, index))
        return f"subtask {index} is tried again in {max(0.0, (until or now) - now):.1f} s{before}"
    where = " and ".join(_where(books, attempt, now) for attempt in subtask.live.values())
    alone = "" if task.pure else ", and on no other device meanwhile: it is not pure"
    return f"subtask {index} {where}{alone}{before}"


def _why_over(task: ScheduledTask, index: int) -> str:
    subtask = next((each for each in task.over if each.index == index), None)
    if subtask is None:
        return f"subtask {index} is over; what befell it is not kept any more"
    if subtask.done_by is None:
        return subtask.told
    attempt_id, device_id, took_s = subtask.done_by
    number = attempt_id.rpartition(".")[2]
    return f"subtask {index} is done: attempt {number} on {short_id(device_id)} took {took_s:.2f} s"


def why_second(attempt: AttemptRecord, is_quiet: bool, silent_s: float, now: float) -> str:
    """Say why an attempt gets a second one beside it."""
    first = f"attempt {number_of(attempt)} on {short_id(attempt.device_id)}"
    if is_quiet:
        return f"beside {first}, which was not heard for {silent_s:.1f} s"
    if attempt.began_at is None:
        return f"beside {first}, which still waits there"
    age_s = now - attempt.began_at
    # So young that only a faster device makes a second one worth it.
    how_old = f"runs for {age_s:.1f} s" if age_s >= 0.05 else "has just begun on a slower device"
    return f"beside {first}, which {how_old}"


def why_poison(subtask: SubtaskRecord) -> str:
    """Say how often a subtask failed, where, and of what; of a subtask of an open task without its number."""
    harms = list(subtask.harms.values())
    names = list(dict.fromkeys(short_id(each.device_id) for each in harms))
    times = {1: "once", 2: "twice"}.get(len(harms), f"{len(harms)} times")
    reasons = [reason.partition("\n")[0] for reason in dict.fromkeys(each.reason for each in harms) if reason]
    alone = "all " if len(harms) > len(names) == 1 else ""
    each_time = "each time " if len(harms) > len(reasons) == 1 else ""
    said = f"it failed {times}, {alone}on {_listed(names)}: {each_time}{', then '.join(reasons)}"
    return said if subtask.task.is_open else f"Subtask {subtask.index} is poison: {said}."


def _listed(names: List[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def number_of(attempt: AttemptRecord) -> int:
    """Return which attempt of its subtask it is, from 1."""
    return int(attempt.attempt_id.rpartition(".")[2])


def _where(books: Ledger, attempt: AttemptRecord, now: float) -> str:
    device = books.devices[attempt.device_id]
    name = short_id(attempt.device_id)
    quiet = f", not heard for {now - device.heard_at:.1f} s" if device.quiet else ""
    if attempt.began_at is None:
        return f"waits on {name} (attempt {number_of(attempt)}), sent there in advance{quiet}"
    return f"runs on {name} (attempt {number_of(attempt)}) for {now - attempt.began_at:.1f} s{quiet}"


def _why_pending(books: Ledger, task: ScheduledTask, subtask: SubtaskRecord, now: float) -> str:
    pool = books.pools[task.pool_key]
    if not pool.members:
        return why_no_device(books, task).partition(": ")[2]
    barred = _why_barred(books, subtask, now) if task.task_id in pool.aside else []
    parts = barred[:REASONS_NAMED]
    if task.at_device_limit:
        most = task.max_devices
        taken = "1 device at once, and that is busy" if most == 1 else f"{most} devices at once, and these are busy"
        return "; ".join([*parts, f"it may use {taken}"])
    if task.task_id in pool.kept:
        return "; ".join([*parts, why_kept(pool.kept[task.task_id])])
    parts += [_why_paused(books, device_id, now) for device_id in islice(pool.paused, REASONS_NAMED)]
    busy = len(pool.members) - len(pool.paused) - len(barred)
    if busy:
        others = [each for each in books.tasks.values() if each is not task and (each.live or each.waiting)]
        higher = sum(1 for each in others if each.priority > task.priority)
        shared = f", shared with {len(others)} other task{'s' * (len(others) > 1)}" if others else ""
        shared += f", {higher} of higher priority" if higher else ""
        devices = f"{busy} {'other ' if parts else ''}device{'s' * (busy > 1)}"
        parts.append(f"every slot of the {devices} that may run it is taken{shared}")
        strained = (device for device in pool.members.values() if device.reason)
        parts += [f"{short_id(device.device_id)} {device.reason}" for device in islice(strained, REASONS_NAMED)]
    return "; ".join(parts)


def why_kept(keeping: Keeping) -> str:
    """Say why a piece of work is not given to a device that has room."""
    way = f", {keeping.way_s:.1f} s of it on the way" if keeping.way_s > keeping.there_s / 10 else ""
    return (f"nothing is sent to {short_id(keeping.device_id)}, since a subtask would be back from there in"
            f" {keeping.there_s:.1f} s{way}, and {short_id(keeping.fastest_id)} alone does all that waits in"
            f" {keeping.alone_s:.1f} s")


def _why_paused(books: Ledger, device_id: str, now: float) -> str:
    device = books.devices[device_id]
    if device.resting:
        return f"{short_id(device_id)} {device.rest_reason}, for {max(0.0, device.rest_until - now):.1f} s more"
    return f"{short_id(device_id)} was not heard for {now - device.heard_at:.1f} s"


def _why_barred(books: Ledger, subtask: SubtaskRecord, now: float) -> List[str]:
    """Say of each device that may have room why a subtask rather waits for another."""
    task = subtask.task
    pool = books.pools[task.pool_key]
    reasons = {}
    for device_id in books.suspects if subtask.harms else ():
        until = books.deadlines.when(("suspect", device_id)) or now
        reasons[device_id] = f"{short_id(device_id)} is tried with other work first, for {max(0.0, until - now):.1f} s"
    for device_id in subtask.tried:
        reasons[device_id] = f"it was tried on {short_id(device_id)} before"
    for device_id, until in task.avoids.items():
        fault, name = task.faults[device_id], short_id(device_id)
        times = f"{fault.failures} failure{'s' * (fault.failures > 1)} in a row there, the last: {fault.reason}"
        reasons[device_id] = f"{name} is left alone by this task for {max(0.0, until - now):.1f} s more ({times})"
    return [why for key, why in reasons.items() if key in pool.members and key not in pool.paused]


def story_of(books: Ledger, task: Optional[ScheduledTask]) -> List[str]:
    """Return what befell a task, a line each, and at the end what it waits for just now, if it does."""
    if task is None:
        return []
    lines = list(task.lines)
    if is_stalled(books, task) and why_no_device(books, task) not in lines[-1:]:
        lines.append(why_no_device(books, task))
    return lines


def told_of(subtask: SubtaskRecord, attempt: AttemptRecord, what: str) -> str:
    """Return the line about the end of an attempt."""
    return f"subtask {subtask.index}: attempt {number_of(attempt)} on {short_id(attempt.device_id)} {what}"
