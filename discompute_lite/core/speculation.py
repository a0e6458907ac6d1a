"""Choose the attempt that most deserves a second one beside it, on a device that has nothing else to do.

Knows:   what is typical of a function, how fast devices are at it, and how old the attempts are.
Refuses: to start anything, and to look at every running attempt: it looks at the heads of a few orders.
Read next: core/scheduler.py (who asks), core/leading.py (the orders), core/paces.py (what is typical).

A second attempt uses only what would stand idle, so the question is never whether but where it gains most. With
unknown sizes the age of an attempt is the best guess of what is left of it, once it is older than is typical.
"""

from __future__ import annotations

from typing import Optional, Tuple

from .ledger import Ledger
from .pools import DevicePool
from .records import AttemptRecord, DeviceRecord

#: A second attempt that gains less than this, in seconds, is not worth its messages.
LEAST_GAIN_S = 0.02
#: An idle device of at least this part of the speed counts as equally fast: speeds are estimates.
EQUALLY_FAST = 0.9
#: Where a second attempt runs already a further one must be so many times as fast as it: then there are never many.
FAR_FASTER = 1.5
#: A younger attempt, in seconds, is not taken for stuck however short its work: the way of its outcome is as long.
STUCK_LEAST_S = 0.1
#: The least that is taken to be left of an attempt, as a part of the typical work: nothing ends at once.
LEAST_LEFT = 0.05
#: While devices are idle and attempts run alone, these are compared again after such a part of the time that has
#: passed since the oldest began, within these bounds: what deserves no second attempt yet may by growing old.
LOOK_PART, LOOK_LEAST_S, LOOK_MOST_S = 0.1, 0.05, 1.0
#: Where subtasks may be added yet, a device must stand idle for so long: most are added when one is done.
MAY_BE_FILLED_S = 0.02

Second = Tuple[AttemptRecord, DeviceRecord]


def second_beside_quiet(pool: DevicePool) -> Optional[Second]:
    """Return an attempt on a device that fell silent, and the device to try it on as well, or None."""
    for attempt in pool.leading.quiet_heads():
        device = _idle_beside(attempt, pool)
        if device is not None:
            return attempt, device
    return None


def second_beside_slow(books: Ledger, pool: DevicePool, now: float) -> Optional[Second]:
    """Return the attempt that would gain most, and the idle device to try it on as well.

    None when none would gain; then it is worth asking again when something changes, or at ("look", pool key).
    """
    best: Optional[Second] = None
    oldest = pool.leading.oldest()
    if oldest is not None and pool.idle.best() is not None:
        if pool.unsealed and not pool.is_look_due:
            look_at = books.deadlines.when(("look", pool.key))
            if look_at is None or look_at > now + MAY_BE_FILLED_S:
                books.deadlines.set(("look", pool.key), now + MAY_BE_FILLED_S)
            pool.is_to_compare = False
            return None
        most = LEAST_GAIN_S
        for attempt in pool.leading.heads():
            device = _idle_beside(attempt, pool)
            where = books.devices[attempt.device_id]
            gain = 0.0 if device is None else gain_s(attempt, where, device, now, pool.weigher.way(device))
            if device is not None and gain > most:
                most, best = gain, (attempt, device)
        if best is None:
            age_s = now - (oldest.began_at if oldest.began_at is not None else now)
            wait_s = min(LOOK_MOST_S, max(LOOK_LEAST_S, LOOK_PART * age_s))
            books.deadlines.set(("look", pool.key), now + wait_s)
    pool.is_to_compare = best is not None
    pool.is_look_due = pool.is_look_due and best is not None
    return best


def _idle_beside(attempt: AttemptRecord, pool: DevicePool) -> Optional[DeviceRecord]:
    task = attempt.subtask.task
    tried, others = attempt.subtask.tried, [*task.avoids, *pool.suspects]
    device = pool.idle.choose({*tried, *others} if others else tried)
    if device is not None and task.at_device_limit and device.device_id not in task.devices:
        return None
    return device


def gain_s(attempt: AttemptRecord, where: DeviceRecord, device: DeviceRecord, now: float, way: float = 0.0) -> float:
    """Return how many seconds sooner a subtask would be done with a second attempt on `device`; 0.0 or less: do not.

    `where` is the device of the attempt. Both times are guesses out of the typical work w of its calls, their spread c
    and the work a that the attempt has done: a piece of age a is expected to need w + c·a in all, and one far
    beyond that either a again, if works differ, or nobody knows how long, if they do not: then its device is at fault.
    """
    pace = attempt.subtask.task.pace
    work = pace.work * attempt.subtask.calls
    is_alone = len(attempt.subtask.live) == 1
    speed, other_speed = pace.speed(where.device_id, where.speed), pace.speed(device.device_id, device.speed)
    if not is_alone and other_speed < FAR_FASTER * speed:
        return 0.0
    # Before much is learnt works are taken to differ a lot.
    spread = min(1.0, max(pace.spread, 1.0 / max(1, pace.count)))
    is_waiting = attempt.began_at is None
    age = 0.0 if is_waiting else (now - (attempt.began_at or 0.0)) * speed
    is_overdue = age > max(work * (1.0 + 2.0 * spread), STUCK_LEAST_S * speed)
    if is_overdue:
        left, again = age, work + spread * max(0.0, 2.0 * age - work)
    else:
        left = max(LEAST_LEFT * work, work + (spread - 1.0) * age)
        again = work + spread * age
    left_s = left / speed
    if is_waiting:
        left_s = max(left_s, attempt.expected_end - now)
    gain = left_s - again / other_speed - way
    if is_overdue and is_alone and pace.count and other_speed >= EQUALLY_FAST * speed:
        # Insurance: a device that is stuck and yet sends heartbeats looks just like this.
        return max(gain, 2.0 * LEAST_GAIN_S)
    return gain
