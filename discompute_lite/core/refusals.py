"""Count who is refused, so that a flood becomes a few lines of the audit log and not the log.

Knows:   rules that refused, whom, and how often; when the next line about it is due.
Refuses: clocks (`now` comes in), files, and to judge anything.
Read next: core/audit_log.py (the lines), member_parts.py (who asks).

The first refusal of somebody by a rule is told at once, and counted are those that follow until the period is over;
then each count is told. One period after the other doubles from a minute to an hour, until there was quiet for as long.
In each, so many are told apart, whoever comes first; the others are one number for each rule.
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Tuple

#: Seconds of the first period of a flood, and of the longest.
FIRST_COUNT_S, LONGEST_COUNT_S = 60.0, 3600.0
#: Rules and callers that are told apart within a period: lines at once, and as many counts at its end.
REFUSALS_APART = 16


class RefusalCount(NamedTuple):
    """Say how often a rule refused a caller; `whom` is "" for all who are not told apart."""

    rule: str
    whom: str
    times: int
    seconds: int


class RefusalTally:
    """Decide what is told of refusals, and when."""

    def __init__(self) -> None:
        #: (rule, whom) -> refusals of this period that were not told yet; the first `REFUSALS_APART` are told apart.
        self._counts: Dict[Tuple[str, str], int] = {}
        self._apart = 0
        #: When the period began, or, while there is nothing to tell, when the last one ended.
        self._since = 0.0
        self._period_s = FIRST_COUNT_S / 2

    def add(self, rule: str, whom: str, now: float) -> bool:
        """Take a refusal; return whether it is to be told at once. All others are counted."""
        if not self._counts:
            has_rested = now - self._since >= self._period_s
            self._period_s = FIRST_COUNT_S if has_rested else min(LONGEST_COUNT_S, 2 * self._period_s)
            self._since = now
        if (rule, whom) in self._counts:
            self._counts[rule, whom] += 1
            return False
        if whom and self._apart < REFUSALS_APART:
            self._counts[rule, whom] = 0
            self._apart += 1
            return True
        self._counts[rule, ""] = self._counts.get((rule, ""), 0) + 1
        return False

    def due(self) -> Optional[float]:
        """Return when `take` is to be called; None while there is nothing to tell."""
        return self._since + self._period_s if self._counts else None

    def take(self, now: float) -> List[RefusalCount]:
        """End the period; return what has not been told."""
        seconds = int(now - self._since)
        counts = [RefusalCount(*key, count, seconds) for key, count in self._counts.items() if count]
        self._counts, self._apart, self._since = {}, 0, now
        return counts
