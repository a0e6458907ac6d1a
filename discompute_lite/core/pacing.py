"""Decide how often a node announces itself, and whom it answers, so that a crowd of any size stays quiet.

Knows:   what the beacons that were heard say of how many nodes there are.
Refuses: to send; clocks and chance: `now` and `roll`, from 0 to 1, come in.
Read next: roles/announcer.py (who obeys), sim/crowd.py (ten thousand of these).

A node that announces itself every `e` seconds is heard `1 / e` times a second. So whoever adds up the `e` of all
beacons heard, and divides by the seconds that this took, has counted the nodes, without a list of them: the estimate
holds beyond what any table can keep, and gets better the more there are.
"""

from __future__ import annotations

from typing import Callable, Optional

#: The whole network stays under 100 datagrams a second; the interval stretches to keep to this much of it.
NETWORK_DATAGRAMS_PER_S = 75.0
#: The interval grows to so many times itself at once: whoever waits for the next beacon must not think of death.
STRETCH_AT_ONCE = 2.0
#: The longest interval: a newcomer is answered at once, so it is only for what was lost.
SLOWEST_PACE_S = 300.0
#: Answers that a newcomer can use: it learns the others from these, and from their own beacons. When many come at once
#: they share them: each of them speaks, so that all hear of all without a question.
ANSWERS_WANTED = 64
#: Intervals differ by so much of themselves, so that nodes which began together do not go on together; and by more
#: from so many times the least interval on: in a crowd all have stretched as one, and would go on as one.
JITTER, JITTER_STRETCHED, STRETCHED = 0.2, 0.5, 1.5
#: What is counted beyond the list moves what is believed by so much. One look is at one interval, in which a crowd that
#: speaks in waves shows a crest or a trough; believed at once, each wave would make the next one.
COUNT_WEIGHT = 0.5
#: Nodes known at the second and third beacon from which on these ask nobody: the first was heard.
KNOWN_ENOUGH = 8


class Pace:
    """Hold the pace of one node: `heard` for each regular beacon, `next_interval` before each of its own."""

    def __init__(self, least_s: float, roll: Callable[[], float]) -> None:
        """`least_s` is the interval where few nodes are."""
        self._least_s = least_s
        self._roll = roll
        #: The present interval, seconds.
        self.every_s = least_s
        #: How many nodes there seem to be, this one included.
        self.crowd = 1.0
        #: Questions heard in the last second or so, and when the last one came.
        self._asked, self._asked_at = 0.0, 0.0
        #: How much the next wait may differ from the interval.
        self._jitter = JITTER
        #: Sum of the intervals that the beacons said which came since `_since`; None before the first look.
        self._heard_s = 0.0
        self._since: Optional[float] = None

    def heard(self, every_s: float, count: int = 1) -> None:
        """So many regular beacons came whose senders have this interval."""
        if every_s > 0.0:
            self._heard_s += min(every_s, SLOWEST_PACE_S) * count

    def next_interval(self, now: float, present: int, targets: int) -> float:
        """Return the interval from now on, where `present` others are listed and a beacon goes to `targets`."""
        counted = 0.0
        if self._since is not None and now > self._since:
            counted = self._heard_s / (now - self._since)
        self._heard_s, self._since = 0.0, now
        if counted > present:
            self.crowd = max(1.0 + present, self.crowd + COUNT_WEIGHT * (1.0 + counted - self.crowd))
        else:
            self.crowd = 1.0 + present
        # All destinations of all nodes together, were they all as we are.
        wanted = max(self._least_s, self.crowd * max(1, targets) / NETWORK_DATAGRAMS_PER_S)
        self.every_s = min(wanted, self.every_s * STRETCH_AT_ONCE, max(SLOWEST_PACE_S, self._least_s))
        self._jitter = JITTER_STRETCHED if self.every_s > STRETCHED * self._least_s else JITTER
        return self.every_s

    def wait_s(self) -> float:
        """Return how long to wait until the next beacon: about an interval."""
        return self.every_s * (1.0 + self._jitter * (2.0 * self._roll() - 1.0))

    def asks_again(self, present: int) -> bool:
        """Whether one more of the first beacons should ask for answers, where so many others are known by now."""
        return present < KNOWN_ENOUGH

    def answers(self, now: float, present: int) -> bool:
        """Somebody asks: return whether to answer. All do where few are; of a crowd about `ANSWERS_WANTED` a second."""
        self._asked = self._asked * max(0.0, 1.0 - (now - self._asked_at)) + 1.0
        self._asked_at = now
        answers = self._asked * max(self.crowd, 1.0 + present)
        return answers <= ANSWERS_WANTED or self._roll() * answers < ANSWERS_WANTED
