"""Bound what all connections of a node receive at once: whoever finds no room waits, and whoever has it must use it.

Knows:   who has room, who waits for it and in which order, and how far each message has come.
Refuses: sizes, which are checked before (wire/framing.py); to read or to close anything: connections do.
Read next: wire/framing.py (`RoomPort`), net/opening.py (where a connection gets its part).

A message has its room from its first byte to its last. One whose sender sleeps, or wants no good, would have it for as
long as a message may take, so while others wait it has to come on: nothing is asked of it for `STANDSTILL_S`, longer
than a phone may be suspended in the middle, and then the pace at which all of it is there within the time that messages
have. Whoever is faster has `STANDSTILL_S` again. Where nobody waits nobody is looked at.
"""

from __future__ import annotations

from typing import Any, Callable, List

from ..model.errors import DiscomputeError, Unavailable
from ..model.limits import KIB, MIB

#: A message whose attachments are no larger needs no room, and waits behind none that is: one read brings as much.
SMALL_BYTES = 64 * KIB
#: Seconds for which a message may stand still while others wait for its room: a phone that is suspended for 20 s in the
#: middle stays, and one that is silent for 30 s is taken for gone anyway.
STANDSTILL_S = 30.0
#: Seconds between two looks at that, and by how much one may be late: then it was this process that stood still.
ROOM_LOOK_S, LATE_ROOM_LOOK_S = 5.0, 5.0


class Room:
    """Bound what a node's connections receive at once; those who find none wait in a row. One thread's."""

    def __init__(
        self, post: Callable[..., None], now: Callable[[], float], call_later: Callable[..., Any]
    ) -> None:
        self._post, self._now, self._call_later = post, now, call_later
        self.taken = 0
        self._waiting: List[ConnectionRoom] = []
        self._holding: List[ConnectionRoom] = []
        self._look_at = 0.0
        self._is_look_due = False

    def take(self, part: ConnectionRoom) -> bool:
        """Give a connection its room; where there is none, let it wait and return False."""
        if self._waiting or not self._has_room_for(part):
            self._waiting.append(part)
            if not self._is_look_due:
                self._begin_looking()
            return False
        self._give(part)
        return True

    def give_back(self, part: ConnectionRoom) -> None:
        """Take a connection's room back, or let it wait no more; whoever has room with that is told."""
        if part.is_waiting:
            self._waiting.remove(part)
        else:
            self._holding.remove(part)
            self.taken -= part.size
        # Behind one that is large smaller ones wait as well, or it would never have its turn.
        while self._waiting and self._has_room_for(self._waiting[0]):
            first = self._waiting.pop(0)
            self._give(first)
            first.is_waiting = False
            self._post(first.on_room)

    def _give(self, part: ConnectionRoom) -> None:
        self.taken += part.size
        self._holding.append(part)
        part.begin(self._now())

    def _has_room_for(self, part: ConnectionRoom, freed: int = 0) -> bool:
        taken = self.taken - freed
        return not taken or taken + part.size <= part.most_bytes

    def _begin_looking(self) -> None:
        for part in self._holding:
            part.begin(self._now())
        self._look_later()

    def _look_later(self) -> None:
        self._look_at, self._is_look_due = self._now() + ROOM_LOOK_S, True
        self._call_later(ROOM_LOOK_S, self._look)

    def _look(self) -> None:
        """Have those stopped who keep room from others and do not come on."""
        self._is_look_due = False
        if not self._waiting:
            return
        if self._now() > self._look_at + LATE_ROOM_LOOK_S:
            self._begin_looking()
            return
        self._look_later()
        for part in self._stalled(self._now()):
            part.on_stalled(Unavailable(
                f"a message of {part.size / MIB:.1f} MB was not coming on for {STANDSTILL_S:g} s while others waited"
                " for its memory; send it again, over a faster network or in parts"))

    def _stalled(self, now: float) -> List[ConnectionRoom]:
        """Return who does not come on, as many as it takes for the first in the row, the slowest of them."""
        slowest_first = sorted(self._holding, key=lambda part: part.come_on(now))
        stalled: List[ConnectionRoom] = []
        for part in slowest_first:
            if part.due > now or self._has_room_for(self._waiting[0], sum(each.size for each in stalled)):
                break
            stalled.append(part)
        return stalled


class ConnectionRoom:
    """Be the `RoomPort` of one connection."""

    def __init__(
        self, room: Room, most_bytes: int, message_s: float, *, on_room: Callable[[], None],
        missing: Callable[[], int], on_stalled: Callable[[DiscomputeError], None],
    ) -> None:
        """All connections have `most_bytes` together, and each of their messages has `message_s` seconds.

        `on_room()` is called when waiting is over, `on_stalled(error)` when the connection is to be closed; `missing()`
        says how much of the message is still to come.
        """
        self._room, self.most_bytes, self._message_s = room, most_bytes, message_s
        self.on_room, self._missing, self.on_stalled = on_room, missing, on_stalled
        self.size = 0
        self.is_waiting = False
        #: When it will have stood still for too long, and how much was missing when that was last reckoned.
        self.due, self._seen = 0.0, 0

    def take(self, size: int) -> None:
        """Take room for a message, or wait for it."""
        if size > SMALL_BYTES:
            self.size = size
            self.is_waiting = not self._room.take(self)

    def give_back(self) -> None:
        """Give back what there is."""
        if self.size:
            self._room.give_back(self)
            self.size, self.is_waiting = 0, False

    def begin(self, now: float) -> None:
        """Let it have all its patience from now on."""
        self.due, self._seen = now + STANDSTILL_S, self.size

    def come_on(self, now: float) -> float:
        """Put off what is due by as much as has come since the last time, in the time that this may take; return it."""
        missing = self._missing()
        came, self._seen = self._seen - missing, missing
        self.due = min(now + STANDSTILL_S, self.due + came / self.size * self._message_s)
        return self.due
