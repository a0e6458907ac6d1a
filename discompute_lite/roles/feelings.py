"""Keep how this device feels, say what that allows, and do at once what follows from it.

Knows:   when to look again, and who has to hear that less work is taken: the scheduler, the other devices, people.
Refuses: to measure (host/metrics.py does) and to judge (core/allowance.py does).
Read next: core/allowance.py, roles/worker.py (what runs, and is handed back).
"""

from __future__ import annotations

from typing import Any, Callable, Optional, Tuple

from ..core.allowance import Allowance, AllowancePolicy, Feeling
from ..model.device import PHONE_TYPES
from .alarm import Alarm

#: Seconds between two looks at load, memory and battery; on a phone that does nothing, and is to sleep, seldom.
FEEL_EVERY_S, FEEL_RESTING_S = 5.0, 15.0
#: The part of these after which a node that is awake for something else looks too.
FEEL_EARLIER = 0.7
#: The same on a phone that works: its system stops an app some five seconds after it has left the screen, and until
#: then the work has to be back.
FEEL_AT_WORK_S = 1.0
#: Seconds that what runs has to end when the device is about to leave, and between two looks whether it has.
LEAVE_WITHIN_S, LEAVE_LOOK_S = 10.0, 0.1


class Feelings:
    """Hold the last look at one node's device."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self.reading = node.world.read_metrics(0, 0.0)
        self._policy = AllowancePolicy()
        #: The reading that was last judged, and the verdict.
        self._judged: Tuple[Any, Allowance] = (None, Allowance(0))
        self._told_cause = ""
        #: Since when it takes nothing more because it is about to leave, and what is called when it may.
        self._leaving_since: Optional[float] = None
        self._when_done: Callable[[], None] = lambda: None
        self._is_phone = node.hardware.type in PHONE_TYPES
        self._alarm = Alarm(node.clock, lambda late_s: self._rung())

    def start(self) -> None:
        """Look again and again from now on."""
        self._tell_people(self.allowance())
        self._feel_later()

    def load_changed(self) -> None:
        """Something began or ended: a phone that works looks more often."""
        if self._is_phone and self._node.worker.running:
            self._alarm.set(self._node.clock.now() + FEEL_AT_WORK_S)

    def allowance(self) -> Allowance:
        """Return how much work the device takes as it felt when last looked at."""
        if self._leaving_since is not None:
            return Allowance(0, "it leaves in a moment: its time is over", cause="leaving")
        if self._judged[0] is not self.reading:
            self._judged = self.reading, self._judge(self.reading)
        return self._judged[1]

    def look(self) -> None:
        """Look now; let everybody know who has to, and hand back what runs where that must not go on."""
        node = self._node
        if node.is_stopping:
            return
        before = node.worker.allowance()
        self.reading = node.world.read_metrics(node.worker.running, node.worker.throughput())
        node.description_changed()
        if node.worker.allowance() != before:
            # First, so that nobody sends again what is handed back in a moment.
            node.offers_changed()
        felt = self.allowance()
        self._tell_people(felt)
        if felt.hands_back:
            node.worker.hand_back(felt.reason)

    def leave(self, when_done: Callable[[], None]) -> None:
        """Take nothing more, end what runs, or give it back after `LEAVE_WITHIN_S`; `when_done()` comes once."""
        if self._leaving_since is None:
            self._leaving_since, self._when_done = self._node.clock.now(), when_done
            self._node.offers_changed()
            self._tell_people(self.allowance())
            self._node.worker.hand_back(self.allowance().reason, is_all=False)
            self._see_whether_done()

    # ---- inside -------------------------------------------------------------------------------------

    def _see_whether_done(self) -> None:
        now = self._node.clock.now()
        if self._node.worker.running and now < (self._leaving_since or 0.0) + LEAVE_WITHIN_S:
            self._node.clock.call_later(LEAVE_LOOK_S, self._see_whether_done)
        else:
            self._when_done()

    def _rung(self) -> None:
        node = self._node
        self.look()
        if node.is_stopping:
            return
        node.coordinator.copies.owners.look_again(is_all=False)
        # No heartbeat goes to ourselves: this is the sign of life of what runs here for us.
        node.worker.heard_from(node.id)
        running = node.worker.running_for(node.id)
        node.attempts.lease_renewed(node.id, tuple(running), running)
        self._feel_later()
        self.load_changed()

    def _feel_later(self) -> None:
        every_s = FEEL_RESTING_S if self._is_phone and not self._node.worker.running else FEEL_EVERY_S
        self._alarm.set(self._node.clock.now() + every_s * FEEL_EARLIER, every_s * (1.0 - FEEL_EARLIER))

    def _judge(self, reading: Any) -> Allowance:
        node, metrics = self._node, reading.metrics
        own_share = node.worker.running / max(1, node.hardware.capabilities.cpu_cores)
        feeling = Feeling(
            reading.battery_level, reading.is_charging, reading.is_low_power, metrics.temperature,
            metrics.memory_usage, metrics.cpu_usage, own_share, reading.heat, reading.is_background,
            reading.is_lid_closed,
        )
        return self._policy.allow(
            node.slots, feeling, battery_min=node.settings.battery_min, yields_to_owner=not node.settings.slots,
        )

    def _tell_people(self, felt: Allowance) -> None:
        if felt.cause == self._told_cause:
            return
        self._told_cause = felt.cause
        takes = "takes no work now" if not felt.slots else "takes less work now"
        self._node.tell("note", f"{takes}: {felt.reason}" if felt.cause else "takes work as usual again")
