"""Divide a training's shards among the devices that take part, by how fast each has been.

Knows:   who takes part, everybody's pace, and which shards each holds.
Refuses: to move shards without need: a device has loaded those that it holds.
Read next: ml/rounds.py (who asks).
"""

from __future__ import annotations

from typing import Dict, List, Mapping, Sequence, Set, Tuple

#: How much of a new measurement goes into a member's pace: two rounds forget half of an old one.
PACE_BLEND = 0.5
#: What a member's pace is worth that did not answer in time.
LATE_FACTOR = 0.5
#: The part of a round's steps that may be left out where the devices are ready together then.
LEVELLED_PART = 0.25


class Crew:
    """Keep the members of a training, each with a pace in steps a second."""

    def __init__(self, shards: int) -> None:
        self.shards = shards
        #: Estimates before the first measurement, in a unit of their own.
        self._scores: Dict[str, float] = {}
        self._measured: Dict[str, float] = {}
        #: Members whose pace is an estimate, since they were late; and since they made one step only, their first.
        self._late: Set[str] = set()
        self._begun: Set[str] = set()
        self._held: Dict[str, Tuple[int, ...]] = {}

    def __contains__(self, member: object) -> bool:
        return member in self._scores

    def __len__(self) -> int:
        return len(self._scores)

    @property
    def members(self) -> List[str]:
        """Return the members, in the order in which they came."""
        return list(self._scores)

    @property
    def is_measured(self) -> bool:
        """Whether somebody's pace is known."""
        return bool(self._measured)

    def is_sure_of(self, member: str) -> bool:
        """Whether this member's pace has been measured, the last time that it was to be."""
        return member in self._measured and member not in self._late and member not in self._begun

    def has_begun(self, member: str) -> bool:
        """Whether of this member no more than the first step of its process has been seen."""
        return member in self._begun

    def add(self, member: str, score: float) -> None:
        """Take in a member; `score` compares it with the others until it has been measured."""
        self._scores[member] = max(score, 1e-9)

    def remove(self, member: str) -> None:
        """Forget a member that left."""
        self._scores.pop(member, None)
        self._measured.pop(member, None)
        self._late.discard(member)
        self._begun.discard(member)
        self._held.pop(member, None)

    def measure(self, member: str, steps: int, seconds: float, first_s: float = 0.0) -> None:
        """Learn from what a member did; `first_s` are the seconds of its process's first step, where that is in it.

        The first step says little, since libraries are imported in it. It counts where there was no other, until there
        is.
        """
        if member not in self._scores or steps <= 0:
            return
        is_begun = first_s > 0 and steps == 1
        if first_s and not is_begun:
            steps, seconds = steps - 1, seconds - first_s
        pace = steps / max(seconds, 1e-6)
        known = self._measured.get(member, pace)
        # What was only assumed counts for nothing beside what was seen.
        self._measured[member] = known + PACE_BLEND * (pace - known) if self.is_sure_of(member) else pace
        self._late.discard(member)
        (self._begun.add if is_begun else self._begun.discard)(member)

    def was_late(self, member: str) -> None:
        """Expect less of a member that did not answer in time."""
        if member in self._scores:
            self._measured[member] = self.paces()[member] * LATE_FACTOR
            self._late.add(member)
            self._begun.discard(member)

    def paces(self) -> Dict[str, float]:
        """Return everybody's pace: measured, or the score in the unit of those that were."""
        known = [member for member in self._measured if member not in self._begun] or list(self._measured)
        ratios = [self._measured[member] / self._scores[member] for member in known]
        unit = sum(ratios) / len(ratios) if ratios else 1.0
        return {member: self._measured.get(member, score * unit) for member, score in self._scores.items()}

    def divide(self) -> Dict[str, Tuple[int, ...]]:
        """Return the shards of each member that has some, in proportion to the paces.

        Who has made one step only gets one at least, or would never be measured.
        """
        counts = proportional_counts(self.shards, self.paces())
        for member in sorted(self._begun):
            richest = max(counts, key=counts.__getitem__)
            if not counts[member] and counts[richest] > 1:
                counts[richest], counts[member] = counts[richest] - 1, 1
        self._held = divided_shards(self.shards, counts, self._held)
        return {member: shards for member, shards in self._held.items() if shards}


def proportional_counts(total: int, paces: Mapping[str, float]) -> Dict[str, int]:
    """Return whole counts that add up to `total`, by largest remainders; equal remainders go to whoever came first."""
    whole = sum(paces.values())
    ideal = {member: total * pace / whole for member, pace in paces.items()}
    counts = {member: int(share) for member, share in ideal.items()}
    order = sorted(paces, key=lambda member: counts[member] - ideal[member])
    for member in order[:total - sum(counts.values())]:
        counts[member] += 1
    return counts


def levelled_steps(steps: Mapping[str, int], paces: Mapping[str, float]) -> Dict[str, int]:
    """Return the steps without those at the end for which all others would wait; each member keeps one at least.

    Steps are whole, so some device is always a little later. The one that is last is spared a step as long as more
    steps a second are made by all that way: of 17, 9, 4 and 2 steps at speeds of 8, 4, 2 and 1 remain 16, 8, 4 and 2.
    """
    best, most, tried = dict(steps), 0.0, dict(steps)
    for _ in range(1 + int(LEVELLED_PART * sum(steps.values()))):
        last = max(tried, key=lambda member: tried[member] / paces[member])
        pace_of_all = sum(tried.values()) * paces[last] / tried[last]
        if pace_of_all > most * (1 + 1e-9):
            best, most = dict(tried), pace_of_all
        if tried[last] == 1:
            break
        tried[last] -= 1
    return best


def divided_shards(
    total: int, counts: Mapping[str, int], held: Mapping[str, Sequence[int]]
) -> Dict[str, Tuple[int, ...]]:
    """Return so many shards for each member; each keeps of those that it held as many as it may."""
    kept = {member: list(held.get(member, ()))[:count] for member, count in counts.items()}
    taken = {shard for shards in kept.values() for shard in shards}
    free = [shard for shard in range(total) if shard not in taken]
    divided = {}
    for member, count in counts.items():
        wanted = count - len(kept[member])
        divided[member] = tuple(sorted(kept[member] + free[:wanted]))
        free = free[wanted:]
    return divided
