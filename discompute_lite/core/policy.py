"""Say who may call what, how often, and how much work this device takes: a verdict and a reason in words.

Knows:   the access table of the security page, token buckets, the battery rule.
Refuses: to look at anything; callers bring what they measured.
Read next: roles/methods.py (which method has which level), roles/worker.py (who asks for an allowance).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ..model.errors import CallError, Unauthenticated

#: What a method asks of its caller, from least to most.
ACCESS_LEVELS = ("anyone", "alone", "owner")

SENTENCE_OWNER = (
    "Pair this device first: nobody but its owner may do this,"
    " so call from the same machine with this node's control token over loopback."
)
SENTENCE_MEMBERS = "Pair this device first: the node belongs to a cluster and answers its members only."


@dataclass(frozen=True)
class Caller:
    """Say what is known for certain about who calls; nothing here comes from a field of a message."""

    #: The connection comes from 127.0.0.0/8 or ::1.
    loopback: bool = False
    #: It showed this node's control token.
    token: bool = False

    @property
    def is_owner(self) -> bool:
        """Return whether this is the user of this machine; neither loopback nor a token proves that alone."""
        return self.loopback and self.token


def access(method_level: str, caller: Caller, *, alone: bool = True) -> Optional[CallError]:
    """Return why `caller` may not call a method of this level, or None where it may.

    "anyone": Hello. "alone": what a stranger may call while this node is `alone` (belongs to no
    cluster). "owner": all the rest. An unknown level is a mistake of ours and raises ValueError.
    """
    if method_level not in ACCESS_LEVELS:
        raise ValueError(f"no such access level: {method_level!r}")
    if method_level == "anyone" or caller.is_owner:
        return None
    if method_level == "alone":
        return None if alone else Unauthenticated(SENTENCE_MEMBERS)
    return Unauthenticated(SENTENCE_OWNER)


class TokenBucket:
    """Allow `rate` things a second on average and `burst` at once; a refused one costs nothing."""

    def __init__(self, rate: float, burst: float) -> None:
        if not rate > 0.0 or not burst >= 1.0:
            raise ValueError("a bucket needs a rate above 0 and room for at least one token")
        self.rate = rate
        self.burst = burst
        #: 0 <= _tokens <= burst, as of _since.
        self._tokens = float(burst)
        self._since: Optional[float] = None

    def take(self, now: float) -> bool:
        """Take one token if there is one; `now` may stand still, and going back is treated as that."""
        self._refill(now)
        if self._tokens < 1.0 - 1e-9:  # after waiting `wait()` exactly, rounding must not refuse
            return False
        self._tokens -= 1.0
        return True

    def wait(self, now: float) -> float:
        """Return the seconds until `take` succeeds, 0.0 when it would now: the ``retry_after`` of a refusal."""
        self._refill(now)
        return max(0.0, (1.0 - self._tokens) / self.rate)

    def _refill(self, now: float) -> None:
        if self._since is not None and now > self._since:
            self._tokens = min(float(self.burst), self._tokens + (now - self._since) * self.rate)
        if self._since is None or now > self._since:
            self._since = now


@dataclass(frozen=True)
class Allowance:
    """Say how many attempts may run at once, and why fewer than usual ("" where all may)."""

    slots: int
    reason: str = ""


def work_allowance(
    slots: int, *, battery_level: float = -1.0, is_charging: bool = False, battery_min: float = 0.20
) -> Allowance:
    """Return how much new work this device takes, of `slots` at most.

    `battery_level` is 0 to 1, and anything else where there is none or its level is not known:
    a desktop is not to be refused for lack of a battery. At exactly `battery_min` it still works.
    """
    if slots <= 0:
        return Allowance(0, "takes no work: its settings give it no slots")
    if 0.0 <= battery_level < battery_min and not is_charging:
        level, least = int(battery_level * 100), round(battery_min * 100)
        return Allowance(0, f"on battery at {level} %, below {least} %: plug it in or lower battery-min")
    return Allowance(slots)
