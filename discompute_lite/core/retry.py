"""Say how long to wait before something is tried again, and when to stop trying.

Knows:   exponential back-off with jitter, and how much harm a subtask may do before it counts as poison.
Refuses: to draw lots; `roll`, a number from 0 to 1, comes in.
Read next: core/scheduler.py and core/known.py (who wait).
"""

from __future__ import annotations

from typing import Iterable, Tuple

#: An address that did not answer is dialled again after 2 s, then 4 s … A minute at most: nobody
#: waits longer than that for a device that came back.
REDIAL_FIRST_S, REDIAL_MOST_S = 2.0, 60.0
#: A subtask or device that failed rests for half a second first, so that a device on which everything
#: fails at once cannot eat a queue; a minute at most, since what is broken may be repaired.
AGAIN_FIRST_S, AGAIN_MOST_S = 0.5, 60.0
#: A device that refuses is busy or spares its battery, which is no fault and may be over at any time: to ask it again
#: costs one message.
REFUSED_MOST_S = 5.0
#: Different tasks in a row that failed on a device and succeeded elsewhere, before it is put in quarantine.
QUARANTINE_AFTER = 3
#: Pieces of a task in a row that are too much for a device, before the task leaves it alone for a moment.
MISFITS_TRIED = 3
#: Devices that one subtask may take down before it is called poison (security page, decision 6).
POISON_AFTER = 3


def backoff_s(failures: int, first_s: float, most_s: float, roll: float) -> float:
    """Return the pause after the `failures`-th failure in a row: doubling, capped, jittered by ±20 %.

    Jitter keeps a classroom that lost its access point from coming back in one burst.
    """
    # The exponent is capped because 2.0 ** 1024 overflows; 2 ** 30 is past every cap.
    pause = min(most_s, first_s * 2.0 ** min(max(failures, 1) - 1, 30))
    return pause * (0.8 + 0.4 * roll)


def redial_s(failures: int, roll: float) -> float:
    """Return the seconds until an address that failed `failures` times in a row is dialled again."""
    return backoff_s(failures, REDIAL_FIRST_S, REDIAL_MOST_S, roll)


def retry_s(failures: int, roll: float) -> float:
    """Return the seconds until a subtask, or a device, that failed `failures` times is tried again."""
    return backoff_s(failures, AGAIN_FIRST_S, AGAIN_MOST_S, roll)


def refused_s(failures: int, roll: float) -> float:
    """Return the seconds until somebody who refused `failures` times in a row is asked again."""
    return backoff_s(failures, AGAIN_FIRST_S, REFUSED_MOST_S, roll)


def is_poison(harms: Iterable[Tuple[str, bool]]) -> bool:
    """Return whether a subtask did too much harm: (device id, whether the device lived on) of each time.

    A device that vanished counts once however often it did, for its network may be at fault; one that
    lived on and reported that its process died under the work counts each time: a retry goes to a device that
    has not tried it, so these are three devices where there are three, and where there are fewer nobody
    runs a crashing function for ever.
    """
    vanished = set()
    crashes = 0
    for device_id, lived_on in harms:
        if lived_on:
            crashes += 1
        else:
            vanished.add(device_id)
    return crashes + len(vanished) >= POISON_AFTER
