"""Run the subtasks that coordinators send here, and keep each outcome until it has arrived.

Knows:   attempts that run, wait or have ended here; their leases; how many slots there are.
Refuses: to run code itself (the executor does), to choose work (coordinators do).
Read next: host/executors.py (where it runs), roles/coordinator.py (who sends it).

An attempt id is executed once: asking again joins the running attempt or returns its kept outcome. So
an answer that was lost with its link is fetched, not computed again.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional

from ..core.access import Sender, WorkRule
from ..core.allowance import Allowance
from ..core.events import TellDead, TellJoined, TellLeft, TellRestarted
from ..model.deadlines import Deadlines
from ..model.errors import InvalidParams, Unavailable
from ..model.limits import MIB
from ..model.task import SubTask, SubTaskStatus
from ..tasks.work import WorkOutcome, WorkRequest
from .alarm import LATE_S, Alarm
from .blob_weight import too_heavy, weight_of
from .blobs import BlobNeed, needs_of
from .bounds import bounded_output
from .methods import CancelTaskAnswer, ExecuteSubtaskAnswer
from .ports import Later
from .run_notes import RunNotes
from .worker_attempt import OUTGROWN, RELEASED, UNFIT, AttemptKey, WorkerAttempt, outgrew, rest_after, seconds_asked

#: Attempts that may wait here for a slot, for each slot: twice what one coordinator sends in advance.
WAITING_PER_SLOT = 16
#: Of these so many, for each slot, wait in the executor, which begins them the moment that a slot comes free, or has
#: them lie ready for a process that is busy.
HANDED_AHEAD = 1
#: Seconds for which a lease is granted when the coordinator names none; clients send no heartbeats to renew theirs.
LEASE_S, CLIENT_LEASE_S = 15.0, 3600.0
#: Outcomes kept for coordinators that have not acknowledged them; beyond it the oldest goes.
KEPT_OUTCOMES = 1024
#: Seconds over which `throughput` counts.
THROUGHPUT_S = 60.0


class Worker:
    """Run attempts for one node."""

    def __init__(self, node: Any) -> None:
        self._node = node
        #: (sender, attempt id) -> attempt: waiting, running, or ended and kept.
        self._attempts: Dict[AttemptKey, WorkerAttempt] = {}
        self._queue: Deque[WorkerAttempt] = deque()
        #: Attempts whose blobs are on their way here.
        self._fetching = 0
        #: Attempts with a future: those that run, and those that the executor begins next.
        self._handed = 0
        #: When running attempts lose their lease, and when kept outcomes go.
        self._deadlines = Deadlines()
        self._finished_at: Deque[float] = deque()
        #: Until when this node's script may use free slots without a word.
        self._lent_until = 0.0
        #: Ended attempts, oldest first; some may be forgotten already.
        self._ended_order: Deque[AttemptKey] = deque()
        #: The bytes of all kept outcomes.
        self._kept_bytes = 0
        self._alarm = Alarm(node.clock, self._woken)
        self._notes = RunNotes(node)
        #: Until when nothing begins: the rest of a device that has one slot and gives a part of it.
        self._rests_until = 0.0
        self._is_stopping = False

    # ---- what methods ask -------------------------------------------------------------------------

    def execute(self, sender: str, subtask: SubTask, who: Optional[Sender] = None) -> Later:
        """Run `subtask`, or join it when it is here already; the answer comes when it has ended.

        `who` is what the cluster says of its sender, to whom the owner's rules apply; None for the owner.
        """
        later = Later()
        attempt_id = str(subtask.lite.get("attempt") or subtask.subtask_id)
        if not attempt_id:
            # Two subtasks without one would be taken for the same.
            raise InvalidParams("a subtask needs a subtask_id, or lite.attempt; give each one its own")
        attempt = self._attempts.get((sender, attempt_id))
        if attempt is None:
            refusal = self._node.rules.refusal(who, subtask) if who is not None else None
            if refusal is not None:
                later.fail(refusal)
                return later
            needs, allowance = needs_of(subtask.lite), self.allowance()
            heavy = too_heavy(weight_of(subtask), self._node.settings_limits.work_bytes)
            if heavy:
                later.fail(Unavailable(heavy, {UNFIT: True}))
                return later
            if allowance.slots == 0 or len(self._queue) + self._fetching >= WAITING_PER_SLOT * allowance.slots:
                reason = allowance.reason or "all slots of this device are taken"
                later.fail(Unavailable(f"{reason}; try another device or later", {"retry_after": 1.0}))
                return later
            lease_s = seconds_asked(subtask, "lease_s") or (LEASE_S if sender else CLIENT_LEASE_S)
            bounds = self._node.rules.policy.rule_for(who.device_id) if who is not None else WorkRule()
            attempt = WorkerAttempt(attempt_id, subtask, sender, lease_s, bounds)
            attempt.is_ruled = who is not None
            self._attempts[attempt.key] = attempt
            self._deadlines.set(attempt.key, self._node.clock.now() + attempt.lease_s)
            self._fetching += 1
            self._node.blobs.fetch(needs, sender, lambda problem: self._fetched(attempt, needs, problem))
        if attempt.outcome is not None:
            later.resolve(attempt.outcome)
        else:
            attempt.waiting.append(later)
        self._alarm.set(self._deadlines.next())
        return later

    def run_at_once(self, request: WorkRequest, done: Callable[[WorkOutcome], None]) -> Any:
        """Run a short request of this node's own where a slot is free and nobody waits for it; else return None.

        Returns what stops it (`WorkFuture`); `done(outcome)` comes later, in any case.
        """
        if not self._may_begin_at_once():
            return None
        future = self._node.executor.submit(request)
        self.adopt(future, done)
        return future

    def adopt(self, future: Any, done: Callable[[WorkOutcome], None]) -> None:
        """Count a request of this node's own that the executor has; `done(outcome)` comes later, in any case."""
        self._handed += 1
        self._node.load_changed()
        future.add_done_callback(lambda future: self._node.clock.post(self._ended_at_once, future, done))

    def lend_slots(self, seconds: float) -> float:
        """Let this node's script use free slots itself for so long; return until when, 0.0 where that cannot be.

        Requests that end well there within moments are told afterwards (`done_elsewhere`), all others are adopted.
        """
        if not self._may_begin_at_once():
            return 0.0
        self._lent_until = self._node.clock.now() + seconds
        return self._lent_until

    def done_elsewhere(self, count: int) -> None:
        """Count so many requests that ended well in slots that were lent."""
        self._finished_at.extend([self._node.clock.now()] * count)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs here, as far as can be seen from here."""
        return not self.running and self._node.clock.now() >= self._lent_until

    def cancel(self, sender: str, attempt_id: str) -> CancelTaskAnswer:
        """Stop one attempt, down to its process: a node its own, a client ("") whosever it is."""
        found = [
            attempt for attempt in self._attempts.values()
            if attempt.id == attempt_id and sender in ("", attempt.sender) and attempt.outcome is None
        ]
        for attempt in found:
            self._stop_attempt(attempt, SubTaskStatus.CANCELLED, "it was cancelled")
        return CancelTaskAnswer(bool(found), "stopped" if found else "no such attempt runs here")

    def allowance(self) -> Allowance:
        """Return how many attempts may run here, and why fewer than usual."""
        node = self._node
        if self._is_stopping:
            return Allowance(0, "this device is shutting down")
        if node.twin.reason:
            return Allowance(0, node.twin.reason)
        if node.settings.accept == "nobody":
            return Allowance(0, "this device takes no work (its setting accept is nobody)")
        return node.feelings.allowance()

    def hand_back(self, reason: str, *, is_all: bool = True) -> None:
        """Let what waits, or runs here too, be done elsewhere: its senders hear so at once and blame nobody."""
        for attempt in list(self._attempts.values()):
            if attempt.outcome is None and (is_all or attempt.future is None):
                self._stop_attempt(attempt, SubTaskStatus.FAILED, reason, blame=RELEASED)

    def running_for(self, sender: str) -> Dict[str, str]:
        """Return the attempts that run or wait here for one node, each with why it stands still or ""."""
        return {
            attempt.id: getattr(attempt.future, "standstill", "") for attempt in self._attempts.values()
            if attempt.sender == sender and attempt.outcome is None
        }

    @property
    def running(self) -> int:
        """Return how many attempts run."""
        return int(min(self._handed, self._node.slots))

    def throughput(self) -> float:
        """Return subtasks finished a second, over the last minute."""
        now = self._node.clock.now()
        while self._finished_at and self._finished_at[0] < now - THROUGHPUT_S:
            self._finished_at.popleft()
        return len(self._finished_at) / THROUGHPUT_S

    # ---- what the node tells ----------------------------------------------------------------------

    def heard_from(self, sender: str) -> None:
        """A coordinator lives: its attempts keep their leases."""
        now = self._node.clock.now()
        for attempt in self._attempts.values():
            if attempt.sender == sender and attempt.outcome is None:
                self._deadlines.set(attempt.key, now + attempt.lease_s)

    def membership_changed(self, news: Any) -> None:
        """Take note of a coordinator that went, fell silent, or came back."""
        known = self._node.discovery.registry.get(news.device_id)
        boot = known.boot if known is not None else ""
        if isinstance(news, (TellDead, TellLeft, TellRestarted)):
            self.sender_lost(news.device_id, boot if isinstance(news, TellDead) else "")
        elif isinstance(news, TellJoined):
            for attempt in list(self._attempts.values()):
                # Another life of it may give the same id to other work.
                if attempt.sender == news.device_id and attempt.silent_boot not in ("", boot):
                    self._forget(attempt)

    def sender_lost(self, sender: str, silent_boot: str = "") -> None:
        """A coordinator is gone: its attempts are stopped; what it may only sleep through is kept for it.

        `silent_boot` is the life of it that fell silent, "" where that has ended.
        """
        for attempt in list(self._attempts.values()):
            if attempt.sender == sender and sender:
                if attempt.outcome is None:
                    self._stop_attempt(attempt, SubTaskStatus.CANCELLED, "its coordinator is gone")
                attempt.silent_boot = silent_boot
                if not silent_boot or attempt.outcome is None or not attempt.outcome.success:
                    self._forget(attempt)

    def rules_changed(self) -> None:
        """Stop what would not be taken any more: the owner has other rules, or the cluster says else of its sender."""
        cluster = self._node.belonging.cluster
        for attempt in list(self._attempts.values()):
            if attempt.is_ruled and attempt.outcome is None:
                who = cluster.sender(attempt.sender) if cluster is not None else Sender(attempt.sender)
                refusal = self._node.rules.refusal(who, attempt.subtask)
                if refusal is not None:
                    self._stop_attempt(attempt, SubTaskStatus.FAILED, refusal.message, blame="refused")

    def stop(self) -> None:
        """Stop everything; the executor is shut down by the node."""
        self._is_stopping = True
        for attempt in list(self._attempts.values()):
            if attempt.outcome is None:
                self._stop_attempt(attempt, SubTaskStatus.CANCELLED, "the device is shutting down", blame=RELEASED)
        self._notes.finish()

    # ---- inside -----------------------------------------------------------------------------------

    def _fetched(self, attempt: WorkerAttempt, needs: List[BlobNeed], problem: str) -> None:
        """The blobs of an attempt are here, or will not come; it may have been stopped meanwhile."""
        self._fetching -= 1
        blobs = [] if problem else list(dict.fromkeys(need.sha256 for need in needs))
        if attempt.outcome is not None:
            self._node.blobs.release(blobs)
        elif problem:
            self._settle(attempt, SubTaskStatus.FAILED, problem, {"attempt": attempt.id, "blame": "refused"}, b"")
        else:
            attempt.blobs = blobs
            self._queue.append(attempt)
            self._start_waiting()

    def _may_begin_at_once(self) -> bool:
        allowance = self.allowance()
        return not self._queue and self._handed < allowance.slots and allowance.share == 1.0

    def _start_waiting(self) -> None:
        if self._queue and self._node.clock.now() < self._rests_until:
            self._alarm.set(self._rests_until)
            return
        while self._handed < self.allowance().slots * (1 + HANDED_AHEAD * (self.allowance().share == 1.0)):
            attempt = next(filter(self._may_begin, self._queue), None)
            if attempt is None:
                break
            self._queue.remove(attempt)
            subtask, bounds = attempt.subtask, attempt.bounds
            self._handed += 1
            attempt.started_at = int(self._node.wall())
            # A process serves one sender and one task: the work of another node carries that node's name.
            is_own = attempt.sender in ("", self._node.id)
            walls = [bounds.wall_s, seconds_asked(subtask, "wall_s")]
            request = WorkRequest(
                phase="run", wall_s=min((wall_s for wall_s in walls if wall_s > 0), default=0.0),
                memory_bytes=bounds.memory_mb * MIB, task_type=str(subtask.lite.get("task_type", "")),
                data=bytes(subtask.subtask_data),
                attempt_id=attempt.id if is_own else f"{attempt.sender}:{attempt.id}",
                blobs=self._node.blobs.lend(attempt.blobs), vectors=self._node.world.vectors.folder,
                may_repeat=subtask.lite.get("pure") is True,
            )
            attempt.future = self._node.executor.submit(request)
            attempt.future.add_done_callback(
                lambda future, attempt=attempt: self._node.clock.post(self._ended, attempt, future)
            )
        self._node.load_changed()

    def _may_begin(self, attempt: WorkerAttempt) -> bool:
        """Whether the owner's rules let its sender have one more begun; those of other senders need not wait for it."""
        most = attempt.bounds.slots
        if not most:
            return True
        begun = (each.future is not None and each.sender == attempt.sender for each in self._attempts.values())
        return sum(begun) < most

    def _ended(self, attempt: WorkerAttempt, future: Any) -> None:
        if attempt.future is future:
            attempt.future = None
            self._handed -= 1
        if attempt.outcome is None:
            self._finished_at.append(self._node.clock.now())
            work = future.result()
            # A short piece that ends in another slot does not end the rest after a long one.
            rests_until = self._node.clock.now() + rest_after(work.seconds, self.allowance())
            self._rests_until = max(self._rests_until, rests_until)
            status = SubTaskStatus.COMPLETED if work.ok else SubTaskStatus.FAILED
            lite: Dict[str, Any] = {"attempt": attempt.id, "seconds": work.seconds}
            if work.output:
                lite["output"] = bounded_output(work.output)
            if not work.ok:
                lite["blame"], lite["error_type"] = work.blame, work.error_type
                if outgrew(attempt, work):
                    lite[OUTGROWN] = True  # Beside a word that every version knows, as below.
            self._settle(attempt, status, work.error, lite, work.data)
        self._start_waiting()

    def _ended_at_once(self, future: Any, done: Callable[[WorkOutcome], None]) -> None:
        self._handed -= 1
        self._finished_at.append(self._node.clock.now())
        done(future.result())
        self._start_waiting()

    def _stop_attempt(self, attempt: WorkerAttempt, status: SubTaskStatus, reason: str, blame: str = "device") -> None:
        if attempt in self._queue:
            self._queue.remove(attempt)
        lite: Dict[str, Any] = {"attempt": attempt.id, "blame": "refused" if blame == RELEASED else blame}
        if blame == RELEASED:
            lite[RELEASED] = True
        self._settle(attempt, status, reason, lite, b"")
        if attempt.future is not None:
            attempt.future.stop(reason)

    def _settle(
        self, attempt: WorkerAttempt, status: SubTaskStatus, error: str, lite: Dict[str, Any], data: bytes
    ) -> None:
        sent = attempt.subtask
        # Without what was sent: that may be large, and nobody needs it any more.
        done = attempt.subtask = SubTask(
            sent.subtask_id, sent.parent_task_id, sent.subtask_index, b"", self._node.id, status, attempt.started_at,
            int(self._node.wall()), data, error, lite,
        )
        if attempt.sender not in ("", self._node.id):
            facts = {"sender": attempt.sender, "type": str(sent.lite.get("task_type", "")), "outcome": status.value}
            self._notes.ended(facts, sent.subtask_data)
        attempt.outcome = ExecuteSubtaskAnswer(status is SubTaskStatus.COMPLETED, error, done)
        waiting, attempt.waiting = attempt.waiting, []
        blobs, attempt.blobs = attempt.blobs, []
        self._node.blobs.release(blobs)
        for later in waiting:
            later.resolve(attempt.outcome)
        most_bytes = self._node.settings_limits.outcome_bytes
        self._ended_order.append(attempt.key)
        self._kept_bytes += len(data)
        while len(self._ended_order) > (KEPT_OUTCOMES if self._kept_bytes <= most_bytes else 1):
            oldest = self._attempts.get(self._ended_order.popleft())
            if oldest is not None and oldest.outcome is not None:
                self._forget(oldest)
        # Its coordinator asks again only after a lost link; then the next call of that link acknowledges it.
        self._deadlines.set(attempt.key, self._node.clock.now() + self._node.settings_limits.outcome_kept_s)
        self._alarm.set(self._deadlines.next())

    def acknowledged(self, sender: str, attempt_ids: List[str]) -> None:
        """The coordinator has these outcomes: they need not be kept."""
        for attempt_id in attempt_ids:
            attempt = self._attempts.get((sender, attempt_id))
            if attempt is not None and attempt.outcome is not None:
                self._forget(attempt)

    def _forget(self, attempt: WorkerAttempt) -> None:
        if self._attempts.pop(attempt.key, None) is not None and attempt.outcome is not None:
            self._kept_bytes -= len(attempt.outcome.completed_subtask.result_data)
        self._deadlines.cancel(attempt.key)

    def _woken(self, late_s: float) -> None:
        now = self._node.clock.now()
        for each in self._attempts.values() if late_s > LATE_S else ():
            if each.outcome is None:
                # It was this process that stood still: its coordinators may have spoken, and were not read yet.
                self._deadlines.set(each.key, now + each.lease_s)
        for key in self._deadlines.pop_due(now):
            attempt = self._attempts.get(key)
            if attempt is None:
                continue  # Forgotten a moment ago, to make room for another's outcome.
            if attempt.outcome is not None:
                self._forget(attempt)
            else:
                # The outcome is kept: whoever asks again for an attempt that was stopped is not to begin it anew.
                reason = "its lease ended: nothing was heard from its coordinator"
                self._stop_attempt(attempt, SubTaskStatus.FAILED, reason, blame="refused")
        self._start_waiting()
        self._alarm.set(self._deadlines.next())
