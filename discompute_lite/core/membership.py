"""Decide who belongs to a cluster, out of signed statements that come in any order, twice, or after a partition.

Knows:   which statement about a device holds, how many are kept, and that a removed device stays removed.
Refuses: statements whose signatures its caller has not checked; what roles may do (core/access.py).
Read next: model/statement.py (what a statement says), wire/statements.py (how they travel).

Merging is union. Of each device only the highest statement is kept (`Statement.order`), of all devices only the
`limits.statements` highest: both are the maximum of a total order, so the same statements give the same membership on
every device, whatever their order and however they were batched. A revocation outranks everything else, so it
wins for ever; and while as many devices are revoked as statements fit, there is no room for members at all, so
that no flood of statements can push a revocation out and let a removed device back in.
"""

from __future__ import annotations

import hashlib
from copy import copy
from typing import Dict, Iterable, List, Optional

from ..model.limits import Limits
from ..model.statement import ROLES, STATEMENT_SEQ_MAX, Statement


class Membership:
    """Hold what one device believes about its cluster."""

    def __init__(self, cluster: str, limits: Limits) -> None:
        self.cluster = cluster
        self._limit = limits.statements
        #: Device id -> the statement about it that holds; never more than `_limit`.
        self._holding: Dict[str, Statement] = {}
        #: How many statements came that were another cluster's, or found no room.
        self.ignored = 0

    def copy(self) -> Membership:
        """Return another that believes the same."""
        twin = copy(self)
        twin._holding = dict(self._holding)
        return twin

    def merge(self, statements: Iterable[Statement]) -> List[str]:
        """Take statements; return the ids of the devices about which something else holds now, sorted."""
        before = dict(self._holding)
        for statement in statements:
            if statement.cluster != self.cluster:
                self.ignored += 1
                continue
            holds = self._holding.get(statement.device_id)
            if holds is None or statement.order > holds.order:
                self._holding[statement.device_id] = statement
        if len(self._holding) > self._limit:
            highest = sorted(self._holding.values(), key=lambda each: each.order, reverse=True)
            self.ignored += len(highest) - self._limit
            self._holding = {each.device_id: each for each in highest[:self._limit]}
        touched = {*before, *self._holding}
        return sorted(each for each in touched if before.get(each) != self._holding.get(each))

    # ---- asking -----------------------------------------------------------------------------------

    def statement_about(self, device_id: str) -> Optional[Statement]:
        """Return what holds about a device, its revocation included; None where nothing was ever said."""
        return self._holding.get(device_id)

    def role_of(self, device_id: str) -> str:
        """Return the device's role, and "" for strangers, removed devices and roles that this version does not know."""
        holds = self._holding.get(device_id)
        return holds.role if holds is not None and not holds.is_revocation and holds.role in ROLES else ""

    def is_revoked(self, device_id: str) -> bool:
        """Whether the device was removed, for ever."""
        holds = self._holding.get(device_id)
        return holds is not None and holds.is_revocation

    def members(self) -> List[Statement]:
        """Return what holds about each device that was not removed, by id."""
        return [self._holding[each] for each in sorted(self._holding) if not self._holding[each].is_revocation]

    def removed(self) -> List[str]:
        """Return the ids of the devices that were removed."""
        return [each for each in sorted(self._holding) if self._holding[each].is_revocation]

    def admins(self) -> List[str]:
        """Return the ids of the admins; without any the cluster lives on and can change no more."""
        return [each.device_id for each in self.members() if each.role == "admin"]

    def statements(self) -> List[Statement]:
        """Return all that is worth keeping and sending on, by id."""
        return [self._holding[each] for each in sorted(self._holding)]

    def digest(self) -> str:
        """Return what two devices compare to see whether they know the same statements; hexadecimal."""
        return hashlib.sha256("".join(each.digest for each in self.statements()).encode("ascii")).hexdigest()

    def next_seq(self) -> int:
        """Return the `seq` for a statement made now, above all that are known."""
        return min(max((each.seq for each in self._holding.values()), default=0) + 1, STATEMENT_SEQ_MAX)

    def removal_sentence(self, device_id: str, date: str) -> str:
        """Return what a removed device is told; `date` is its revocation's `at` as people write it."""
        holds = self._holding[device_id]
        admin = self._holding.get(holds.by)
        name = admin.name if admin is not None and admin.name else holds.by[:8]
        return (
            f"This device was removed from the cluster by {name} on {date}. To belong to it again it needs a new"
            " identity: move its state folder away, then pair it."
        )

    def check(self) -> None:
        """Assert the invariants, for tests and the simulator."""
        assert len(self._holding) <= self._limit
        assert all(key == each.device_id and each.cluster == self.cluster for key, each in self._holding.items())
        revoked = sum(each.is_revocation for each in self._holding.values())
        assert revoked < self._limit or not self.members()
