"""Decide what of a node's own sockets is to be looked at and repaired, after a sleep and at any other time.

Knows:   when both clocks were read last, which addresses this device had, and how each listener is.
Refuses: to touch a socket: facts and times come in, repairs go out.
Read next: core/own_events.py (the words), roles/keeper.py (who obeys), net/own_sockets.py (the sockets).

Systems take the sockets of an app away while it sleeps, and say nothing: a listener may go on waiting for connections
that the system refuses in its name. So nothing is believed because no error came: a listener is well when it takes a
connection that this very node has made to it. And a sleep shows on the clocks only, sometimes on one of both.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from .own_events import (
    AddressesSeen, ClocksRead, Knock, KnockAnswered, KnockUntold, LeaveAddresses, ListenerFailed, ListenerRebuilt,
    LookAtDatagrams, ProveLinks, RebuildFailed, RebuildListener, RenewDatagrams, SeeAddresses, ShowUp, TellUpkeep,
)

#: Seconds between two readings of the clocks, and two looks at the own addresses, which cost 20 us; longer ones, by
#: either clock and by so much, mean that nothing ran.
CLOCKS_EVERY_S = 2.0
ASLEEP_S = 5.0
#: Seconds between two rounds in which listeners are knocked at and sockets tried: what is dead without a sign is
#: noticed within twice that, and a round costs under a millisecond.
ROUND_EVERY_S = 15.0
#: Seconds between two tries to repair a listener, doubled each time: a port that is taken must not cost a core.
REPAIR_FIRST_S, REPAIR_LAST_S = 0.1, 5.0
#: A knock of which nobody tells the end is taken for one that was not answered.
KNOCK_PATIENCE_S = 5.0
#: Tries after which people are told that a listener cannot be repaired: before, it may be back unnoticed.
TRIES_IN_SILENCE = 4


class ListenerHealth:
    """Hold what is known of one listener."""

    __slots__ = ("name", "state", "tries", "due", "is_told")

    def __init__(self, name: str) -> None:
        self.name = name
        #: "well": took the last knock. "asked": a knock is under way. "broken": to be repaired at `due`. "repairing".
        self.state = "well"
        #: Repairs in a row after which no knock was answered yet.
        self.tries = 0
        #: When the repair is due, or the patience with a knock ends; None while well or being repaired.
        self.due: Optional[float] = None
        #: Whether people know that it is broken.
        self.is_told = False


class Upkeep:
    """Keep one node's sockets; feed `apply`, with `ClocksRead` no later than at `next_deadline()`."""

    def __init__(self, listeners: Sequence[str]) -> None:
        self._listeners: Dict[str, ListenerHealth] = {name: ListenerHealth(name) for name in listeners}
        #: Monotonic and wall clock at the last reading.
        self._read: Optional[Tuple[float, float]] = None
        self._round_due = 0.0
        self._addresses: Optional[Tuple[str, ...]] = None
        #: How often this process found that it had been asleep.
        self.sleeps = 0

    @property
    def is_well(self) -> bool:
        """Return whether every listener took the last knock."""
        return all(health.state == "well" for health in self._listeners.values())

    def next_deadline(self) -> Optional[float]:
        """Return when `apply(ClocksRead(...))` is next worth calling, None before the first time."""
        if self._read is None:
            return None
        clocks_due, repair_due = self._read[0] + CLOCKS_EVERY_S, self.next_repair()
        return clocks_due if repair_due is None else min(clocks_due, repair_due)

    def next_repair(self) -> Optional[float]:
        """Return when `apply(ClocksRead(...))` is due for the sake of a listener, None while all are well."""
        return min([health.due for health in self._listeners.values() if health.due is not None], default=None)

    def apply(self, event: Any, now: float) -> List[Any]:
        """Take one fact; return what is to be done now, in order."""
        actions: List[Any] = []
        self._TAKES[type(event)](self, event, now, actions)
        return actions

    # ---- clocks -------------------------------------------------------------------------------------------

    def _on_clocks(self, event: ClocksRead, now: float, actions: List[Any]) -> None:
        before, self._read = self._read, (now, event.wall)
        slept_s = 0.0
        if before is not None:
            passed_s = now - before[0]
            # On Apple's systems the monotonic clock stands still while the device sleeps. The other may be set.
            jumped_s = event.wall - before[1] - passed_s
            slept_s = max(passed_s - CLOCKS_EVERY_S, abs(jumped_s))
        if slept_s > ASLEEP_S:
            self._woke_up(slept_s, now, actions)
        elif now >= self._round_due:
            self._begin_round(now, actions, LookAtDatagrams())
        actions.append(SeeAddresses())
        for health in self._listeners.values():
            if health.due is not None and now >= health.due:
                self._overdue(health, now, actions)

    def _woke_up(self, slept_s: float, now: float, actions: List[Any]) -> None:
        self.sleeps += 1
        actions.append(TellUpkeep("note", f"this device slept for {slept_s:.0f} s, or its clock was set; looking for"
                                          " the others again"))
        # They cost nothing, remember nothing, and one cannot ask whether a system has left a group in our name.
        self._begin_round(now, actions, RenewDatagrams())
        actions += [ProveLinks(), ShowUp()]

    def _begin_round(self, now: float, actions: List[Any], datagrams: Any) -> None:
        self._round_due = now + ROUND_EVERY_S
        actions.append(datagrams)
        for health in self._listeners.values():
            if health.state == "well":
                self._knock(health, now, actions)
            elif health.state == "broken":
                health.due = now

    # ---- addresses ----------------------------------------------------------------------------------------

    def _on_addresses(self, event: AddressesSeen, now: float, actions: List[Any]) -> None:
        before, self._addresses = self._addresses, event.addresses
        if before is None or before == event.addresses:
            return
        new = [address for address in event.addresses if address not in before]
        gone = [address for address in before if address not in event.addresses]
        news = [f"{' and '.join(new)} is new"] * bool(new) + [f"{' and '.join(gone)} is gone"] * bool(gone)
        if news:
            actions.append(TellUpkeep("note", f"this device's address changed: {', '.join(news)}"))
        actions.append(RenewDatagrams())
        if gone:
            actions.append(LeaveAddresses(tuple(gone)))
        actions += [ProveLinks(), ShowUp()]

    # ---- listeners ----------------------------------------------------------------------------------------

    def _knock(self, health: ListenerHealth, now: float, actions: List[Any]) -> None:
        health.state, health.due = "asked", now + KNOCK_PATIENCE_S
        actions.append(Knock(health.name))

    def _on_answered(self, event: KnockAnswered, now: float, actions: List[Any]) -> None:
        health = self._listeners[event.listener]
        if health.state != "asked":
            return
        was_repaired = health.tries > 0
        health.state, health.due, health.tries, health.is_told = "well", None, 0, False
        if was_repaired:
            actions += [TellUpkeep("note", "this node's port was dead and listens again"), ShowUp()]

    def _on_untold(self, event: KnockUntold, now: float, actions: List[Any]) -> None:
        health = self._listeners[event.listener]
        if health.state == "asked":
            # Nothing speaks against it; the next round asks again.
            health.state, health.due = "well", None

    def _on_failed(self, event: ListenerFailed, now: float, actions: List[Any]) -> None:
        health = self._listeners[event.listener]
        if health.state in ("well", "asked"):
            self._break(health, event.reason, now, actions)
            self._overdue(health, now, actions)

    def _on_rebuilt(self, event: ListenerRebuilt, now: float, actions: List[Any]) -> None:
        health = self._listeners[event.listener]
        if health.state == "repairing":
            self._knock(health, now, actions)

    def _on_rebuild_failed(self, event: RebuildFailed, now: float, actions: List[Any]) -> None:
        health = self._listeners[event.listener]
        if health.state == "repairing":
            self._break(health, event.reason, now, actions)

    def _break(self, health: ListenerHealth, reason: str, now: float, actions: List[Any]) -> None:
        wait_s = min(REPAIR_LAST_S, REPAIR_FIRST_S * 2.0 ** (health.tries - 1)) if health.tries else 0.0
        health.state, health.due = "broken", now + wait_s
        if health.tries >= TRIES_IN_SILENCE and not health.is_told:
            health.is_told = True
            actions.append(TellUpkeep("warning", f"nobody can call this node, and it goes on trying: {reason}"))

    def _overdue(self, health: ListenerHealth, now: float, actions: List[Any]) -> None:
        if health.state == "asked":
            self._break(health, "its own port does not answer", now, actions)
        if health.state == "broken" and health.due is not None and now >= health.due:
            health.state, health.due = "repairing", None
            health.tries += 1
            actions.append(RebuildListener(health.name))

    _TAKES: Dict[type, Callable[..., None]] = {
        ClocksRead: _on_clocks, AddressesSeen: _on_addresses, KnockAnswered: _on_answered, KnockUntold: _on_untold,
        ListenerFailed: _on_failed, ListenerRebuilt: _on_rebuilt, RebuildFailed: _on_rebuild_failed,
    }

    def check(self) -> None:
        """Assert the invariants written beside the fields, for tests."""
        for health in self._listeners.values():
            assert health.state in ("well", "asked", "broken", "repairing"), health.state
            assert (health.due is not None) == (health.state in ("asked", "broken")), (health.state, health.due)
            assert health.state != "well" or not (health.tries or health.is_told)
