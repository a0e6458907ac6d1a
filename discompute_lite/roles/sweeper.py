"""Look for nodes by trying the addresses of the own network, where no other way has found anybody.

Knows:   when that is needed, and what people are told about it.
Refuses: to choose addresses and times (core/sweep.py), to connect (net/prober.py), to say Hello (roles/greeter.py).
Read next: core/sweep.py.
"""

from __future__ import annotations

from typing import Any, Callable, List, Optional, Set

from ..core.sweep import (
    FURTHER_PORTS, Sweep, SweepTimes, SweptNetwork, TryOutcome, hosts_to_sweep, networks_to_sweep,
)
from .greeter import USUAL_PORT
from .ports import TimerPort

#: The ways by which one who knows somebody hears of others.
TELLING_WAYS = ("broadcast", "mdns", "exchange")

#: Seconds for which a node that knows somebody may wait with its look whether that is still so.
LOOK_PATIENCE_S = 5.0


class Sweeper:
    """Sweep for one node; at most one sweep at a time."""

    def __init__(
        self, node: Any, discovery: Any, greet: Callable[..., None], remembered: Callable[[], List[str]]
    ) -> None:
        """`greet(address, done)` says Hello to whoever is there; `remembered()` are the addresses of the last run."""
        self._node = node
        self._discovery = discovery
        self._greet = greet
        self._remembered = remembered
        self._times = SweepTimes()
        self._sweep: Optional[Sweep] = None
        self._swept: List[SweptNetwork] = []
        #: The next look, of which there is but one.
        self._timer: Optional[TimerPort] = None
        #: Sentences that people have been told, so that none comes every few minutes.
        self._told: Set[str] = set()

    @property
    def is_sweeping(self) -> bool:
        """Whether a sweep is under way."""
        return self._sweep is not None

    def start(self) -> None:
        """Sweep when the time comes, if nobody is met before."""
        if self._is_wanted():
            self._after(self._times.first_s(is_broadcast_refused=True), self._first_look)

    def ask(self) -> None:
        """Somebody wants to meet a device now: sweep soon, unless another way finds one first."""
        if self._is_wanted() and self._sweep is None and not self._knows_enough():
            self._after(self._times.first_s(is_broadcast_refused=True), self._look)

    def _is_wanted(self) -> bool:
        return "sweep" in self._node.settings.discovery and self._node.world.prober is not None

    def _first_look(self) -> None:
        # The first broadcasts are out now, and whether the system let them pass is known.
        refused = any(way.name == "broadcast" and way.trouble() for way in self._node.transports)
        spent_s = self._times.first_s(is_broadcast_refused=True)
        self._after(self._times.first_s(is_broadcast_refused=refused) - spent_s, self._look)

    def _look(self) -> None:
        if self._discovery.is_stopping or self._sweep is not None:
            return
        if self._knows_enough():
            self._after(self._times.next_s(was_somebody_there=True), self._look, LOOK_PATIENCE_S)
        else:
            self._begin()

    # ---- inside -------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._swept, refusal = networks_to_sweep(self._node.world.prober.networks())
        if refusal:
            self._say("note", f"nobody is looked for by address: {refusal}")
            self._after(self._times.next_s(was_somebody_there=False), self._look)
            return
        remembered = [address.rpartition(":")[0] for address in self._remembered()]
        hosts = [host for swept in self._swept for host in hosts_to_sweep(swept, remembered)]
        # A loopback has no hosts that are there and do not listen: there it is one port for all.
        further = () if self._swept[0].own.is_loopback else FURTHER_PORTS
        ports = list(dict.fromkeys(port for port in (USUAL_PORT, self._node.settings.port) if port))
        self._sweep = Sweep(hosts, ports, self._node.settings_limits.sweep_sockets, self._node.rng.random, further)
        self._go_on()

    def _go_on(self) -> None:
        sweep = self._sweep
        assert sweep is not None
        while not self._discovery.is_stopping:
            attempt = sweep.next_try()
            if attempt is None:
                break
            self._node.world.prober.probe(*attempt, self._tried_at(attempt.address))
        if sweep.is_over:
            self._end(sweep)

    def _tried_at(self, address: str) -> Callable[[str, str, float], None]:
        def tried(outcome: str, error_name: str, seconds: float) -> None:
            if TryOutcome(outcome) is TryOutcome.OPEN:
                # Its place stays taken until we know who that is.
                self._greet(address, lambda error: ended(TryOutcome.OPEN, seconds))
            else:
                ended(TryOutcome(outcome), seconds)

        def ended(outcome: TryOutcome, seconds: float) -> None:
            if self._sweep is not None and not self._discovery.is_stopping:
                self._sweep.ended(address, outcome, seconds)
                self._go_on()

        return tried

    def _end(self, sweep: Sweep) -> None:
        self._sweep = None
        networks = ", ".join(str(swept.network) for swept in self._swept)
        if sweep.is_refused:
            self._say("warning", f"the system lets this program reach nobody on {networks}; on an iPhone, iPad or Mac"
                                 " allow it in Settings, Privacy & Security, Local Network; `doctor` says more")
        elif not self._knows_somebody():
            self._say("note", f"nobody was found on {networks}, each address was tried; start a node there, or give the"
                              " address of a device in another network with --peer; `doctor` says more")
        wait_s = self._times.next_s(was_somebody_there=self._knows_enough(), was_refused=sweep.is_refused)
        self._after(wait_s, self._look)

    def _knows_enough(self) -> bool:
        """Whether somebody is known; but where no other way is on, nobody would tell of the rest."""
        return self._knows_somebody() and any(way in TELLING_WAYS for way in self._node.settings.discovery)

    def _knows_somebody(self) -> bool:
        return any(device.present and not device.foreign for device in self._discovery.registry.devices())

    def _say(self, kind: str, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._node.tell(kind, text)

    def _after(self, delay_s: float, callback: Callable[[], None], patience_s: float = 0.0) -> None:
        # What many begin at once, after a power cut, is spread a little.
        if self._timer is not None:
            self._timer.cancel()
        due = self._node.clock.now() + delay_s * (0.9 + 0.2 * self._node.rng.random())
        self._timer = self._node.clock.call_between(due, due + patience_s, callback)
