"""Say who may call what and how often: a verdict and a reason in words.

Knows:   the access table of the security page, token buckets.
Refuses: to look at anything; callers bring what they measured.
Read next: roles/methods.py (which method has which level), core/allowance.py (how much work is taken).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ..model.errors import CallError, Unauthenticated
from .access import Sender, decide_operation

#: What a method asks of its caller, from least to most.
ACCESS_LEVELS = ("anyone", "certified", "alone", "device", "work", "owner")

SENTENCE_OWNER = (
    "Pair this device first: nobody but its owner may do this,"
    " so call from the same machine with this node's control token over loopback."
)
SENTENCE_MEMBERS = "Pair this device first: the node belongs to a cluster and answers its members only."
SENTENCE_UNHEARD = (
    "This node has not heard of your device yet: first bring the statement that makes it a member, by SyncCluster, or"
    " try again when the admin that paired it is there."
)


@dataclass(frozen=True)
class Caller:
    """Say what is known for certain about who calls; nothing here comes from a field of a message."""

    #: The connection comes from 127.0.0.0/8 or ::1.
    loopback: bool = False
    #: It showed this node's control token.
    token: bool = False
    #: Its certificate proved a device of this node's cluster, which has this role; "" for all others.
    role: str = ""
    #: Its certificate is this cluster's and was not revoked, whether or not anybody has said here who it is.
    is_certified: bool = False

    @property
    def is_owner(self) -> bool:
        """Return whether this is the user of this machine; neither loopback nor a token proves that alone."""
        return self.loopback and self.token


def access(method_level: str, caller: Caller, *, alone: bool = True) -> Optional[CallError]:
    """Return why `caller` may not call a method of this level, or None where it may.

    "anyone": Hello. "certified": whoever has a certificate of this node's cluster. "alone": what a stranger may call
    while this node is `alone` (belongs to no cluster), and then the devices of its cluster. "device": those alone.
    "work": those of them that may send work, by their role. "owner": all the rest. An unknown level is a mistake of
    ours and raises ValueError.
    """
    if method_level not in ACCESS_LEVELS:
        raise ValueError(f"no such access level: {method_level!r}")
    if method_level == "anyone" or caller.is_owner or (method_level == "alone" and alone):
        return None
    if method_level == "owner" or (alone and method_level != "alone"):
        return Unauthenticated(SENTENCE_OWNER)
    if method_level == "certified" and caller.is_certified:
        return None
    if not caller.role:
        return Unauthenticated(SENTENCE_UNHEARD if caller.is_certified else SENTENCE_MEMBERS)
    if method_level == "work":
        decision = decide_operation("member", Sender("", role=caller.role))
        return None if decision.allowed else decision.error()
    return None


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
