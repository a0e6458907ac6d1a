"""Let thousands of nodes announce themselves on one network of a virtual clock, and count what that costs each.

Knows:   real paces (core/pacing.py) for all, real registries (core/registry.py) for a few, datagrams that all hear.
Refuses: sockets, and to play what each registry of thousands would do: a few stand for all, who hear the same.
Read next: core/pacing.py, tools/simulate.py (prints it).

Beacons, requests for answers and answers are played as roles/announcer.py sends them, with the limits of a real node:
so many datagrams read a second, so many answers. What comes in beyond the first is lost, as by a kernel's full buffer.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from random import Random
from typing import Any, Dict, List, Tuple

from ..core.events import BeaconHeard, Dial, LinkOpened, Tick
from ..core.pacing import Pace
from ..core.registry import DeviceRegistry
from ..model.device import Device
from ..model.limits import Limits
from ..roles.announcer import FIRST_BEACONS_S

#: Nodes whose registry is a real one.
WATCHED = 2
#: Paces that stand for all when somebody asks.
ANSWERERS = 32
#: All start within so many seconds: a lecture begins, or power comes back.
STARTING_S = 2.0
#: Seconds between two figures of the report.
CROWD_WINDOW_S = 10.0


@dataclass
class CrowdReport:
    """Say what was sent, and what the watched nodes kept of it."""

    #: Datagrams a second that were sent by all nodes together, answers included, window by window.
    sent_per_s: List[float] = field(default_factory=list)
    #: Datagrams a second that reached one node (all but those beyond what it reads), window by window.
    read_per_s: List[float] = field(default_factory=list)
    #: What each watched node lists as there at the end, the most it ever kept, and its open links.
    present: List[int] = field(default_factory=list)
    kept: List[int] = field(default_factory=list)
    links: List[int] = field(default_factory=list)
    #: The present intervals, shortest and longest.
    every_s: Tuple[float, float] = (0.0, 0.0)


class CrowdNode:
    """Be one node: its pace, and where it has read up to."""

    def __init__(self, number: int, rng: Random) -> None:
        self.device_id = f"node-{number}"
        self.address = f"10.{number // 65536}.{number // 256 % 256}.{number % 256}:8080"
        self.pace = Pace(2.5, rng.random)
        self.device = Device(id=self.device_id, name=self.device_id)
        self.seq = 0
        self.started_at = 0.0
        #: What the network had carried when it last looked: regular beacons, the sum of their intervals, when.
        self.read_to = (0, 0.0, 0.0)


class Crowd:
    """Hold one network; `run` plays it for so many virtual seconds."""

    def __init__(self, nodes: int, *, seed: int = 7, limits: Limits = Limits()) -> None:
        self._rng = Random(seed)
        self._limits = limits
        self._nodes = [CrowdNode(number, self._rng) for number in range(nodes)]
        self._registries: Dict[str, DeviceRegistry] = {
            node.device_id: DeviceRegistry(node.device_id, "own boot", limits, self._rng)
            for node in self._rng.sample(self._nodes, min(WATCHED, nodes))
        }
        self._links: Dict[str, int] = dict.fromkeys(self._registries, 0)
        self._kept: Dict[str, int] = dict.fromkeys(self._registries, 0)
        #: (when, order, node, what): "first" and "regular" beacons.
        self._due: List[Tuple[float, int, CrowdNode, str]] = []
        self._order = 0
        #: Who stands for all that hear a question.
        self._answerers = [Pace(2.5, self._rng.random) for _ in range(ANSWERERS)]
        self.now = 0.0
        #: How many have started; regular beacons so far and the sum of their intervals, whom all hear.
        self._started, self._beacons, self._intervals_s = 0, 0, 0.0
        self._sent = self._read = 0
        #: Tenth of a second -> datagrams that every node has read in it.
        self._tenth, self._read_in_tenth = 0, 0
        self.report = CrowdReport()

    def run(self, seconds: float) -> CrowdReport:
        """Let all start and so much time pass."""
        for node in self._nodes:
            node.started_at = self._rng.random() * STARTING_S
            for delay_s in FIRST_BEACONS_S:
                self._at(node.started_at + delay_s, node, "first")
            self._at(node.started_at + FIRST_BEACONS_S[-1] + node.pace.wait_s(), node, "regular")
        window = CROWD_WINDOW_S
        while self._due and self._due[0][0] <= seconds:
            self.now, _, node, what = heapq.heappop(self._due)
            while self.now >= window:
                self._end_window()
                window += CROWD_WINDOW_S
            if what == "first":
                self._announce_first(node)
            else:
                self._announce_regularly(node)
        return self._finished()

    # ---- what nodes do ------------------------------------------------------------------------------------

    def _announce_first(self, node: CrowdNode) -> None:
        others = self._started if node.seq else self._begin(node)
        # Whoever has heard enough by its second beacon asks nobody with it.
        wants_answers = node.seq == 0 or node.pace.asks_again(others)
        self._carry(node)
        if wants_answers:
            self._answered(others)

    def _begin(self, node: CrowdNode) -> int:
        self._started += 1
        node.read_to = (self._beacons, self._intervals_s, self.now)
        return self._started - 1

    def _answered(self, others: int) -> None:
        """Everybody who is there and may answer does, to this node alone; some are asked for all."""
        sample = self._answerers[:others]
        share = sum(one.answers(self.now, others) for one in sample) / len(sample) if sample else 0.0
        self._sent += round(share * others)

    def _announce_regularly(self, node: CrowdNode) -> None:
        beacons, intervals_s, since = node.read_to
        count, sum_s = self._beacons - beacons, self._intervals_s - intervals_s
        readable = self._limits.datagrams_per_s * (self.now - since)
        if count:
            node.pace.heard(sum_s / count, round(min(count, readable)))
        node.read_to = (self._beacons, self._intervals_s, self.now)
        present = min(self._started, self._limits.devices) - 1
        every_s = node.pace.next_interval(self.now, present, 1)
        self._carry(node)
        self._beacons += 1
        self._intervals_s += every_s
        self._at(self.now + node.pace.wait_s(), node, "regular")

    def _carry(self, node: CrowdNode) -> None:
        """A datagram goes to everybody; the watched ones take it as real nodes do."""
        node.seq += 1
        self._sent += 1
        tenth = int(self.now * 10)
        if tenth != self._tenth:
            self._tenth, self._read_in_tenth = tenth, 0
        if self._read_in_tenth >= self._limits.datagrams_per_s // 10:
            return
        self._read_in_tenth += 1
        self._read += 1
        beacon = BeaconHeard(node.device, node.address, "boot", node.seq, node.pace.every_s, "broadcast")
        for device_id in self._registries:
            if device_id != node.device_id:
                self._tell(device_id, beacon)

    def _tell(self, device_id: str, event: Any) -> None:
        registry = self._registries[device_id]
        due = registry.next_deadline()
        events = [Tick(), event] if due is not None and due <= self.now else [event]
        for fact in events:
            for action in registry.apply(fact, self.now):
                if isinstance(action, Dial):
                    self._links[device_id] += 1
                    address = action.addresses[0]
                    registry.apply(LinkOpened(action.device_id, "", address, "boot", False), self.now)

    # ---- the clock and the figures ---------------------------------------------------------------------------

    def _at(self, when: float, node: CrowdNode, what: str) -> None:
        self._order += 1
        heapq.heappush(self._due, (when, self._order, node, what))

    def _end_window(self) -> None:
        self.report.sent_per_s.append(self._sent / CROWD_WINDOW_S)
        self.report.read_per_s.append(self._read / CROWD_WINDOW_S)
        self._sent = self._read = 0
        for device_id, registry in self._registries.items():
            self._kept[device_id] = max(self._kept[device_id], len(registry.devices()))

    def _finished(self) -> CrowdReport:
        report = self.report
        for device_id, registry in self._registries.items():
            registry.check()
            report.present.append(registry.present)
            report.kept.append(self._kept[device_id])
            report.links.append(self._links[device_id])
        paces = [node.pace.every_s for node in self._nodes]
        report.every_s = min(paces), max(paces)
        return report
