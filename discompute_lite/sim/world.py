"""Play a scenario: one scheduler, a fleet, messages between them, and a clock that jumps from event to event.

Knows:   who says what to whom and when it arrives.
Refuses: real time, sockets, threads, and any chance but the scenario's seed.
Read next: sim/scenario.py (what can be asked for), sim/checks.py (what must hold), tools/simulate.py (prints it).
"""

from __future__ import annotations

import hashlib
import heapq
from dataclasses import dataclass, field
from math import fsum
from random import Random
from typing import Any, Callable, Dict, List, Tuple

from ..core.events import (
    AttemptFailed, AttemptSucceeded, DeviceLost, DeviceReady, LeaseRenewed, StartAttempt, StopAttempt, SubtasksAdded,
    SubtaskSized, TaskSealed, TaskSubmitted, TellStory, Tick,
)
from ..core.scheduler import Scheduler
from .checks import Watch
from .devices import SimDevice
from .scenario import Scenario, makespan_bound, plan_fleet, plan_works

#: Heartbeats while work is under way, seconds, as nodes on a network send them.
BEAT_S = 1.0
#: Heartbeats of idle devices. Played only where nothing else will ever happen: till then they change nothing.
IDLE_BEAT_S = 15.0
#: How long it takes to see that a device is gone: dialling it again is refused.
NOTICED_S = 1.5
#: A run that takes so many times the bound will not end.
HOPELESS = 1000.0
#: The scheduler's own check costs as much as the world is large: after every event up to this many devices and
#: subtasks, and in larger worlds after size / SPARSE_CHECKS events.
SMALL_WORLD, SPARSE_CHECKS = 2000, 20
#: Fields that are left out of the digest where they say nothing.
LATER_FIELDS = frozenset(["is_open", "done", "size_bytes", "backlog", "round_trip_s", "bytes_s", "is_late", "party"])


@dataclass
class SimReport:
    """Say how a run went. Times are virtual seconds."""

    makespan_s: float = 0.0
    bound_s: float = 0.0
    events: int = 0
    attempts: int = 0
    #: Attempts that were started beside a living one.
    second: int = 0
    late: int = 0
    checks: int = 0
    #: task id -> FinishTask, FailTask or EndCancelled.
    ended: Dict[str, str] = field(default_factory=dict)
    #: SHA-256 over every event and action, in order, with its time.
    digest: str = ""
    story: List[str] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Return how much longer it took than the best that anybody could have done."""
        return self.makespan_s / self.bound_s


class World:
    """Hold the clock, the messages under way, the devices and the scheduler."""

    def __init__(self, scenario: Scenario, *, keeps_story: bool = False, check_every: int = 0) -> None:
        """Build a world; the scheduler checks itself every `check_every` events, 0 for as often as is affordable."""
        self.scenario = scenario
        self._rng = Random(scenario.seed)
        self.works = plan_works(scenario, self._rng)
        plans = plan_fleet(scenario, self._rng, fsum(self.works))
        self.devices = {plan.device_id: SimDevice(plan) for plan in plans}
        self.scheduler = Scheduler(Random(scenario.seed + 1))
        self.watch = Watch()
        self.report = SimReport(bound_s=makespan_bound(plans, self.works))
        self.now = 0.0
        self._keeps_story = keeps_story
        size = len(self.works) + len(plans)
        self._check_every = check_every or (1 if size <= SMALL_WORLD else size // SPARSE_CHECKS)
        self._digest = hashlib.sha256()
        #: (when, number, what to call, its arguments): the number keeps the order of equal times.
        self._due: List[Tuple[float, int, Callable[..., None], Tuple[Any, ...]]] = []
        self._number = 0
        #: task id -> index of its first work in `works`.
        self._first: Dict[str, int] = {}
        #: task id -> how many subtasks are to be added to it yet.
        self._to_add: Dict[str, int] = {}
        #: Devices of which the scheduler was told that they are there.
        self._known: Dict[str, None] = {}

    def run(self) -> SimReport:
        """Play until every task has ended; raise AssertionError when something does not hold."""
        for device in self.devices.values():
            self._introduce(device)
            self._plan(device)
        self._submit()
        hopeless = HOPELESS * self.report.bound_s + 1000.0
        while self.watch.open:
            due = self.scheduler.next_deadline()
            if due is not None and (not self._due or due <= self._due[0][0]):
                self.now = max(self.now, due)
                self._feed(Tick())
            elif not self._due:
                self._idle_beat()
            else:
                self.now, _, call, arguments = heapq.heappop(self._due)
                call(*arguments)
            assert self.now <= hopeless, "this will never end"
        self.scheduler.check()
        self.watch.at_end()
        report = self.report
        report.makespan_s, report.digest, report.late = self.now, self._digest.hexdigest(), self.scheduler.late
        report.attempts, report.second, report.ended = self.watch.attempts, self.watch.second, self.watch.ended
        return report

    # ---- the clock, the messages, the scheduler -------------------------------------------------------

    def _at(self, when: float, call: Callable[..., None], *arguments: Any) -> None:
        self._number += 1
        heapq.heappush(self._due, (when, self._number, call, arguments))

    def _send(self, call: Callable[..., None], *arguments: Any) -> bool:
        """Let a message arrive some time later, or never; return whether it will."""
        scenario = self.scenario
        delay = scenario.latency_s * (0.5 + self._rng.random())
        if scenario.loss or scenario.late:
            lot = self._rng.random()
            if lot < scenario.loss:
                return False
            if lot < scenario.loss + scenario.late:
                delay += 15.0 * self._rng.random()
        self._at(self.now + delay, call, *arguments)
        return True

    def _send_over(self, device: SimDevice, call: Callable[..., None], *arguments: Any) -> None:
        """Let a message go to a device; where its link is slow, behind what is under way there."""
        plan = device.plan
        if not plan.round_trip_s:
            self._send(call, device, *arguments)
            return
        size = self.scenario.size_bytes if call == self._started else 0
        device.link_until = max(self.now, device.link_until) + size / plan.bytes_s
        self._at(device.link_until + plan.round_trip_s / 2, self._arrives_there, call, device, *arguments)

    def _arrives_there(self, call: Callable[..., None], *arguments: Any) -> None:
        self._send(call, *arguments)

    def _feed(self, event: Any) -> None:
        actions = self.scheduler.apply(event, self.now)
        self._note([event, *actions])
        self.watch.after(event, actions, self.now)
        self.report.events += 1
        self._check()
        for action in actions:
            kind = type(action)
            if kind is StartAttempt:
                work = self.works[self._first[action.task_id] + action.index]
                self._send_over(self.devices[action.device_id], self._started, action.attempt_id, work)
                if self.scenario.is_open:
                    self._feed(SubtaskSized(action.task_id, action.index, 1))
            elif kind is StopAttempt:
                self._send_over(self.devices[action.device_id], self._stopped, action.attempt_id)
            elif kind is TellStory:
                self._tell(action.task_id, action.text)
        for task_id in list(self._to_add):
            self._add_what_has_room(task_id)

    def _add_what_has_room(self, task_id: str) -> None:
        room = min(self.scheduler.room_of(task_id), self._to_add.get(task_id, 0))
        if room:
            backlog = self._to_add[task_id]
            self._to_add[task_id] -= room
            if not self._to_add[task_id]:
                del self._to_add[task_id]
            self._feed(SubtasksAdded(task_id, room, backlog, self.scenario.size_bytes))
            if task_id not in self._to_add:
                self._feed(TaskSealed(task_id))

    def _note(self, told: List[Any]) -> None:
        now, lines = repr(self.now), []
        for what in told:
            # Without what came later and was not asked for, so that digests can be compared with older ones.
            values = tuple([value for name, value in what.__dict__.items() if value or name not in LATER_FIELDS])
            lines.append(f"{now} {type(what).__name__} {values!r}\n")
        self._digest.update("".join(lines).encode())

    def _check(self) -> None:
        if self.report.events % self._check_every == 0:
            self.report.checks += 1
            self.scheduler.check()

    def _tell(self, who: str, text: str) -> None:
        if self._keeps_story:
            self.report.story.append(f"{self.now:10.3f}  {who:<14}{text}")

    # ---- what befalls devices -------------------------------------------------------------------------

    def _submit(self) -> None:
        count, first = max(1, self.scenario.tasks), 0
        for number in range(count):
            size = len(self.works) // count + (number < len(self.works) % count)
            self._first[f"task-{number}"] = first
            first += size
            fields = {"size_bytes": self.scenario.size_bytes, **dict(self.scenario.task_fields)}
            if self.scenario.is_open and size:
                self._to_add[f"task-{number}"] = size
                fields["is_open"], size = True, 0
            self._feed(TaskSubmitted(f"task-{number}", size, **fields))

    def _introduce(self, device: SimDevice) -> None:
        self._known[device.plan.device_id] = None
        self._tell(device.plan.device_id, f"is there, speed {device.plan.speed:g}")
        self._feed(DeviceReady(
            device.plan.device_id, device.plan.slots, device.plan.score, round_trip_s=device.plan.round_trip_s,
            bytes_s=device.plan.bytes_s, **dict(self.scenario.device_fields)
        ))

    def _plan(self, device: SimDevice) -> None:
        for start, end in device.plan.gone:
            self._at(start, self._leaves, device)
            if end < float("inf"):
                self._at(end, self._returns, device)
        for start, end in device.plan.asleep:
            self._at(start, self._falls_asleep, device, end)
        if device.plan.slows_at < float("inf"):
            self._at(device.plan.slows_at, self._slows, device)

    def _leaves(self, device: SimDevice) -> None:
        device.vanish()
        self._tell(device.plan.device_id, "says goodbye" if device.plan.is_goodbye else "vanishes")
        noticed = self.now + (self.scenario.latency_s if device.plan.is_goodbye else NOTICED_S)
        self._at(noticed, self._is_missed, device)

    def _is_missed(self, device: SimDevice) -> None:
        # Who is back before it was missed has been told of then.
        if not device.is_here and device.plan.device_id in self._known:
            del self._known[device.plan.device_id]
            self._feed(DeviceLost(device.plan.device_id, "it is gone", clean=device.plan.is_goodbye))

    def _returns(self, device: SimDevice) -> None:
        self._is_missed(device)
        device.is_here = True
        self._introduce(device)

    def _falls_asleep(self, device: SimDevice, until: float) -> None:
        if device.is_here:
            self._tell(device.plan.device_id, f"falls asleep for {until - self.now:.1f} s")
            device.fall_asleep(until, self.now)
            self._at(until, self._wakes, device)

    def _wakes(self, device: SimDevice) -> None:
        if device.is_asleep:
            self._tell(device.plan.device_id, "wakes")
            device.is_asleep = False
            inbox, device.inbox = device.inbox, []
            for kind, attempt_id, work in inbox:
                if kind == "start":
                    self._started(device, attempt_id, work)
                else:
                    self._stopped(device, attempt_id)
            self._beat(device)

    def _slows(self, device: SimDevice) -> None:
        if device.is_here:
            self._tell(device.plan.device_id, "becomes ten times slower")
            device.slow_down(self.now)

    # ---- what devices hear and say --------------------------------------------------------------------

    def _started(self, device: SimDevice, attempt_id: str, work: float) -> None:
        if device.is_asleep:
            device.inbox.append(("start", attempt_id, work))
        elif device.is_here:
            for begun, done_at in device.take(attempt_id, work, self.now):
                self._at(done_at, self._done, device, begun)
            if not device.is_beating:
                device.is_beating = True
                self._at(self.now + BEAT_S, self._beats, device)

    def _stopped(self, device: SimDevice, attempt_id: str) -> None:
        if device.is_asleep:
            device.inbox.append(("stop", attempt_id, 0.0))
            return
        for begun, done_at in device.drop(attempt_id, self.now):
            self._at(done_at, self._done, device, begun)

    def _done(self, device: SimDevice, attempt_id: str) -> None:
        done_at = device.running.get(attempt_id)
        if done_at is None:
            return
        if done_at > self.now:  # It slept or slowed down meanwhile.
            self._at(done_at, self._done, device, attempt_id)
            return
        self._stopped(device, attempt_id)
        self._say_result(device, attempt_id)

    def _say_result(self, device: SimDevice, attempt_id: str) -> None:
        event: Any = AttemptSucceeded(attempt_id)
        if device.is_broken(self.now):
            event = AttemptFailed(attempt_id, "device", "its process died")
        if device.plan.round_trip_s:
            self._at(self.now + device.plan.round_trip_s / 2, self._comes_back, device, event)
        else:
            self._comes_back(device, event)

    def _comes_back(self, device: SimDevice, event: Any) -> None:
        if not self._send(self._arrives, event):
            device.outbox.append(event.attempt_id)

    def _arrives(self, event: Any) -> None:
        self._feed(event)

    def _beats(self, device: SimDevice) -> None:
        device.is_beating = False
        if not device.is_asleep:
            self._beat(device)

    def _beat(self, device: SimDevice) -> None:
        known = device.known_attempts
        if not device.is_here or device.is_beating or not known:
            return
        device.is_beating = True
        self._at(self.now + BEAT_S, self._beats, device)
        self._send(self._heard, LeaseRenewed(device.plan.device_id, known))
        outbox, device.outbox = device.outbox, []
        for attempt_id in outbox:
            self._say_result(device, attempt_id)

    def _idle_beat(self) -> None:
        awake = [key for key in self._known if self.devices[key].is_here and not self.devices[key].is_asleep]
        assert awake, f"nothing will happen any more, and these are open: {list(self.watch.open)}"
        self.now += IDLE_BEAT_S
        for device_id in awake:
            self._heard(LeaseRenewed(device_id, self.devices[device_id].known_attempts))

    def _heard(self, event: LeaseRenewed) -> None:
        # What comes late from a device that has been declared lost is not let through by the link.
        if event.device_id in self._known:
            self._feed(event)
