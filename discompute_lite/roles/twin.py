"""Notice a second process with this device's own key: its state folder was copied, and one of the two must stand back.

Knows:   where the other answers, and which of the two began later.
Refuses: to believe in it without its certificate: anybody may say that he is we.
Read next: core/registry.py (which hears of it first), roles/worker.py and roles/coordinator.py (who take no work then).

Over TLS the other proves that it has our key. Each tells the other for how long it has run, and while the other
answers, the one that began later takes no work, and keeps away from the rest: of two devices with one id, each would be
given the other's attempts, and push it from its links.
"""

from __future__ import annotations

from typing import Any

from ..core.events import LinkOpened
from .methods import Greeting
from .ports import LinkPort

#: Seconds between two looks whether the other is still there, and looks in a row without an answer that mean it is not.
TWIN_LOOK_S, GONE_AFTER = 5.0, 3
#: Of two that began within so many milliseconds the larger boot counts as later: ages travel for as long.
SAME_AGE_MS = 200


class Twin:
    """Know of one node's copy."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._began = node.clock.now()
        #: Why no work is taken here, "" where it is.
        self.reason = ""
        self._address = ""
        #: Looks since the other was last met.
        self._unanswered = 0

    def age_ms(self, now: float) -> int:
        """Return for how long this node has run, in milliseconds."""
        return int((now - self._began) * 1000)

    def suspected(self, address: str) -> None:
        """Somebody says at this address that he is we: have him prove it. While we are alone nobody can."""
        if address and self._node.belonging.is_member:
            self._node.discovery.say_hello(address, self._node.id)

    def met(self, link: LinkPort, greeting: Greeting, said_at: float) -> None:
        """Our own id said Hello, or answered ours: we ourselves by way of a seed, or under another boot another.

        `said_at` is when we said our age, so that both compare the same two: one of them is the later, and not both.
        """
        node, host = self._node, link.remote_address.rpartition(":")[0]
        address = link.remote_address if link.is_dialled else f"{host}:{greeting.port}"
        node.discovery.apply(LinkOpened(node.id, "", address, greeting.boot, verified=False))
        if link.verified_id != node.id or greeting.boot == node.boot:
            return
        self._address, self._unanswered = address, 0
        if not self._began_after(greeting, said_at):
            self._take_work_again()
        elif not self.reason:
            self.reason = (f"this device's identity is in use at {self._address} as well, by one that began earlier;"
                           " delete the state folder that was copied, and start again")
            node.tell("warning", f"no work is taken here: {self.reason}")
            node.discovery.retire_all()
            node.offers_changed()
            node.clock.call_later(TWIN_LOOK_S, self._look)

    def _began_after(self, greeting: Greeting, said_at: float) -> bool:
        earlier_ms = greeting.age_ms - self.age_ms(said_at)
        return earlier_ms > 0 if abs(earlier_ms) > SAME_AGE_MS else bool(self._node.boot > greeting.boot)

    def _look(self) -> None:
        if not self.reason or self._node.discovery.is_stopping:
            return
        if self._unanswered >= GONE_AFTER:
            self._take_work_again()
            return
        self._unanswered += 1
        self.suspected(self._address)
        self._node.clock.call_later(TWIN_LOOK_S, self._look)

    def _take_work_again(self) -> None:
        if self.reason:
            self.reason = ""
            self._node.tell("note", "no other device with this device's identity began before it: work is taken again")
            self._node.offers_changed()
            self._node.discovery.look_again()
