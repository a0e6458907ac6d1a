"""Keep a node's own sockets alive: bring core/upkeep.py the facts, and do what it wishes.

Knows:   both clocks, when to read them next, and who is to be told.
Refuses: to decide; and to open sockets (net/own_sockets.py and the transports do).
Read next: core/upkeep.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, Optional, Tuple

from ..core.own_events import (
    AddressesSeen, ClocksRead, Knock, KnockAnswered, KnockUntold, LeaveAddresses, ListenerFailed, ListenerRebuilt,
    LookAtDatagrams, ProveLinks, RebuildFailed, RebuildListener, RenewDatagrams, SeeAddresses, ShowUp, TellUpkeep,
)
from ..core.upkeep import Upkeep
from ..model.deadlines import COMPANY_S
from .alarm import Alarm

#: Seconds after which the clocks are read if the node is awake, and for which they may wait until it is: a sleep that
#: matters is longer.
CLOCKS_FIRST_S, CLOCKS_PATIENCE_S = 1.0, COMPANY_S - 1.0


class Keeper:
    """See to the sockets of one node; of one that has none to be seen to, nothing."""

    def __init__(self, node: Any, discovery: Any) -> None:
        self._node = node
        self._discovery = discovery
        self._sockets = node.world.sockets
        self._upkeep = Upkeep(())
        #: Those that were told last: mostly they are the same.
        self._addresses: Optional[Tuple[str, ...]] = None
        self._alarm = Alarm(node.clock, lambda late_s: self._read_clocks())

    def start(self) -> None:
        """Begin to look after them."""
        if self._sockets is not None:
            self._upkeep = Upkeep(self._sockets.listeners())
            self._sockets.when_failed(lambda name, reason: self._apply(ListenerFailed(name, reason)))
            self._read_clocks()

    def _read_clocks(self) -> None:
        if not self._discovery.is_stopping:
            # Set before anything is done: what goes wrong with one socket may not be the end of looking after them.
            self._alarm.set(self._node.clock.now() + CLOCKS_FIRST_S, CLOCKS_PATIENCE_S)
            self._apply(ClocksRead(self._node.wall()))

    def _apply(self, event: Any) -> None:
        if self._discovery.is_stopping:
            return
        actions = self._upkeep.apply(event, self._node.clock.now())
        # Repairs are in a hurry, the clocks are not.
        self._alarm.set(self._upkeep.next_repair())
        for action in actions:
            self._OBEY[type(action)](self, action)

    def _see_addresses(self, _action: SeeAddresses) -> None:
        addresses = self._sockets.addresses()
        if addresses != self._addresses:
            # Not at once: what follows from it comes after what is being done.
            self._addresses = addresses
            self._node.clock.post(self._apply, AddressesSeen(addresses))

    def _knock(self, action: Knock) -> None:
        self._sockets.knock(action.listener, partial(self._knocked, action.listener))

    def _knocked(self, listener: str, outcome: Optional[str]) -> None:
        if outcome is None:
            self._apply(KnockUntold(listener))
        else:
            self._apply(ListenerFailed(listener, outcome) if outcome else KnockAnswered(listener))

    def _rebuild(self, action: RebuildListener) -> None:
        trouble = self._sockets.rebuild(action.listener)
        done = RebuildFailed(action.listener, trouble) if trouble else ListenerRebuilt(action.listener)
        self._node.clock.post(self._apply, done)

    def _look(self, _action: LookAtDatagrams) -> None:
        self._sockets.look()
        for transport in self._node.transports:
            transport.look()

    def _renew(self, _action: RenewDatagrams) -> None:
        self._sockets.renew()
        for transport in self._node.transports:
            transport.renew()

    def _prove(self, _action: ProveLinks) -> None:
        self._discovery.prove_links()

    def _leave(self, action: LeaveAddresses) -> None:
        self._discovery.leave_addresses(action.addresses)

    def _show_up(self, _action: ShowUp) -> None:
        self._discovery.look_again()

    def _tell(self, action: TellUpkeep) -> None:
        self._node.tell(action.kind, action.text)

    _OBEY: Dict[type, Callable[..., None]] = {
        SeeAddresses: _see_addresses, Knock: _knock, RebuildListener: _rebuild, LookAtDatagrams: _look,
        RenewDatagrams: _renew, ProveLinks: _prove, LeaveAddresses: _leave, ShowUp: _show_up, TellUpkeep: _tell,
    }
