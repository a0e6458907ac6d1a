"""Decide which device runs what, and what to do when one goes quiet.

Knows:   tasks, subtasks, attempts, leases, and the devices it was told about.
Refuses: sockets, clocks, chance, threads. `now` comes in, actions go out, `rng.random()` jitters pauses.
Read next: core/events.py (the words), core/records.py (what is remembered), core/endings.py (what ends, and how),
roles/coordinator.py (who obeys).

One subtask has one result, whatever happens: an attempt's id, ``<task>/<index>.<number>``, is its fencing token, and
what is said of an attempt that is no longer live is ignored and counted. Every unfinished subtask is pending,
resting or running, so none is forgotten. Nothing here costs more than O(log devices) an event for each attempt it ends
or starts, times the number of different requirements in use, which is a handful, and O(1) for each subtask it adds.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

from ..model.device import short_id
from .audit import check_books
from .blame import blame_device, forgive, freed_from_quarantine, hold_against_both, piece_at_fault, rest_refusing
from .endings import accept_result, cancel_subtask, end_cancelled, fail_for_good, fail_task, finish_if_over, tell_line
from .events import (
    AttemptFailed, AttemptSucceeded, CancelAsked, DeviceLost, DeviceReady, LeaseRenewed, StartAttempt, StopAttempt,
    SubtaskCancelled, SubtasksAdded, SubtaskSized, TaskSealed, TaskSubmitted, Tick,
)
from .keeping import note_kept, tell_stalled, tell_stalled_news
from .ledger import Ledger
from .pools import DevicePool
from .reasons import story_of, told_of, why_poison, why_second, why_subtask, why_task
from .records import AttemptRecord, DeviceRecord, Harm, ScheduledTask
from .retry import is_poison, refused_s, retry_s
from .speculation import second_beside_quiet, second_beside_slow

#: Weight of the newest duration in the mean that fair shares are booked by.
TURN_WEIGHT = 0.1


class Scheduler:
    """Place subtasks on devices. Feed `apply`; call it with `Tick` at `next_deadline()`."""

    def __init__(self, rng: Any) -> None:
        self._random = rng.random
        self._books = Ledger()
        #: Outcomes and renewals of attempts that were no longer live.
        self.late = 0
        self._now = 0.0

    # ---- asking -----------------------------------------------------------------------------------

    def story(self, task_id: str) -> List[str]:
        """Return what befell a task, a line each, and at the end what it waits for just now, if it does."""
        return story_of(self._books, self.task(task_id))

    def why(self, task_id: str, index: Optional[int] = None) -> str:
        """Say why a task, or one subtask of it, waits, is where it is, or was tried again, as of the last event."""
        task = self.task(task_id)
        if task is None:
            return "no such task is known here; it may have been forgotten"
        if index is None or task_id not in self._books.tasks:
            return why_task(self._books, task, self._now)
        if not 0 <= index < task.total:
            return f"the task has subtasks 0 to {task.total - 1}, and no {index}"
        return why_subtask(self._books, task, index, self._now)

    def task(self, task_id: str) -> Optional[ScheduledTask]:
        """Return a task, finished ones while their story is kept, to read and not to change."""
        return self._books.tasks.get(task_id) or self._books.finished.get(task_id)

    def room_of(self, task_id: str) -> int:
        """Return how many attempts more of a task could start now, those in advance included; O(its devices)."""
        task = self._books.tasks.get(task_id)
        return 0 if task is None else self._books.pools[task.pool_key].room_for(task)

    def forget(self, task_id: str) -> None:
        """Forget the story of a task that has ended here, so that it may be submitted again."""
        self._books.finished.pop(task_id, None)

    def next_deadline(self) -> Optional[float]:
        """Return when `apply(Tick(), ...)` is next worth calling, or None."""
        return self._books.deadlines.next()

    # ---- taking facts -----------------------------------------------------------------------------

    def apply(self, event: Any, now: float) -> List[Any]:
        """Take one fact; return what must now be done, in order. `now` never goes back."""
        self._now = now
        actions: List[Any] = []
        self._TAKES[type(event)](self, event, now, actions)
        self._place(now, actions)
        return actions

    def _on_tick(self, event: Tick, now: float, actions: List[Any]) -> None:
        if event.is_late:
            self._books.forgive_silence(now)
        for key in self._books.deadlines.pop_due(now):
            kind = key[0]
            if kind == "lease":
                self._on_lease_due(key[1], now, actions)
            elif kind in ("retry", "deadline"):
                task = self._books.tasks.get(key[1])
                # A task that an earlier lease of this very tick ended takes its retries with it.
                if task is not None and kind == "retry":
                    self._books.make_pending(task.subtasks[key[2]])
                elif task is not None:
                    reason = (f"Its deadline has passed; {task.done} of {task.total} subtasks were done."
                              " Allow more time, or give it more devices.")
                    fail_task(self._books, task, reason, -1, now, actions)
            elif kind == "avoid":
                if key[1] in self._books.tasks:
                    self._books.end_avoiding(self._books.tasks[key[1]], key[2])
            elif kind == "suspect":
                self._books.end_suspicion(self._books.devices[key[1]])
            elif kind in ("look", "weigh"):
                if key[1] in self._books.pools:
                    self._books.pools[key[1]].on_time(kind, now)
            elif kind == "quiet":
                self._books.on_silence(self._books.devices[key[1]], now)
            elif key not in self._books.deadlines:  # A lease that ended in this very tick may have set it again.
                self._books.wake_device(self._books.devices[key[1]], kind)

    def _on_submitted(self, event: TaskSubmitted, now: float, actions: List[Any]) -> None:
        if self.task(event.task_id) is not None:
            return
        task = self._books.open_task(event, now)
        more = ", and more to come" if task.is_open else ""
        tell_line(task, f"waiting for devices: {event.subtasks} subtasks, priority {task.priority}{more}", actions)
        for index in event.done:
            self._books.enter_done(task.subtasks[index])
        finish_if_over(self._books, task, now, actions)

    def _on_added(self, event: SubtasksAdded, _now: float, actions: List[Any]) -> None:
        task = self._books.tasks.get(event.task_id)
        if task is not None and not task.is_sealed and event.count > 0:
            self._books.add_subtasks(task, event)
            if not task.told_waiting:
                tell_stalled(self._books, [task], actions)

    def _on_sealed(self, event: TaskSealed, now: float, actions: List[Any]) -> None:
        task = self._books.tasks.get(event.task_id)
        if task is not None and not task.is_sealed:
            self._books.seal_task(task)
            finish_if_over(self._books, task, now, actions)

    def _on_subtask_cancelled(self, event: SubtaskCancelled, now: float, actions: List[Any]) -> None:
        task = self._books.tasks.get(event.task_id)
        subtask = None if task is None or not task.is_open else task.subtasks.get(event.index)
        if subtask is not None:
            cancel_subtask(self._books, subtask, now, actions)

    def _on_sized(self, event: SubtaskSized, now: float, _actions: List[Any]) -> None:
        task = self._books.tasks.get(event.task_id)
        subtask = None if task is None else task.subtasks.get(event.index)
        if subtask is not None:
            self._books.size_subtask(subtask, max(1, event.calls))
            for number, device_id in enumerate(event.died_on):
                subtask.harms[f"before {number}"] = Harm(device_id, True, now)

    def _on_ready(self, event: DeviceReady, now: float, _actions: List[Any]) -> None:
        device = self._books.open_device(event.device_id)
        device.slots = max(0, event.slots)
        device.speed, device.load, device.offers = event.speed, event.load, frozenset(event.offers)
        device.reason, device.lease_s = event.reason, event.lease_s
        device.window, device.silence_s = max(0, event.window), event.silence_s
        device.round_trip_s, device.bytes_s = event.round_trip_s, event.bytes_s
        self._books.begin_waiting(device, now)
        if device.slots or not device.running:  # Else it may be said because it does not answer.
            self._books.heard(device, now)
        self._books.watch_for_silence(device)
        self._books.device_changed(device)

    def _on_device_lost(self, event: DeviceLost, now: float, actions: List[Any]) -> None:
        device = self._books.close_device(event.device_id)
        if device is None:
            return
        for attempt in list(device.running.values()):
            if attempt.attempt_id in self._books.attempts:  # Poison may have ended its task a moment ago.
                self._books.end_attempt(attempt, "device lost", now)
                told = f"was lost with its device: {event.reason}"
                harm = None if event.clean else Harm(device.device_id, False, attempt.sent_at, f"it {told}")
                self._go_on(attempt, told, harm, 0.0, now, actions)

    def _on_renewed(self, event: LeaseRenewed, now: float, actions: List[Any]) -> None:
        device = self._books.devices.get(event.device_id)
        if device is not None:
            self._books.heard(device, now)
        for attempt_id in event.attempts:
            attempt = self._books.attempts.get(attempt_id)
            if attempt is not None and attempt.device_id == event.device_id and device is not None:
                attempt.move("renewed")
                attempt.lease_until = now + device.lease_s
            else:
                self._on_late(attempt_id)
                if attempt is None:
                    actions.append(StopAttempt(attempt_id, event.device_id, "it is no longer wanted"))

    def _on_succeeded(self, event: AttemptSucceeded, now: float, actions: List[Any]) -> None:
        attempt = self._books.attempts.get(event.attempt_id)
        if attempt is None:
            self._on_late(event.attempt_id)
            return
        device, subtask = self._books.devices[attempt.device_id], attempt.subtask
        task = subtask.task
        took_s = self._book_turn(attempt, now)
        self._books.learn(attempt, event.size_bytes, now)
        self._books.end_attempt(attempt, "succeeded", now)
        self._books.heard(device, now)
        forgive(self._books, task, device, now)
        if subtask.harms:
            for line in blame_device(self._books, subtask, device, now, self._random):
                tell_line(task, line, actions)
        accept_result(self._books, attempt, took_s, now, actions)

    def _on_failed(self, event: AttemptFailed, now: float, actions: List[Any]) -> None:
        attempt = self._books.attempts.get(event.attempt_id)
        if attempt is None:
            self._on_late(event.attempt_id)
            return
        device, subtask = self._books.devices[attempt.device_id], attempt.subtask
        self._books.heard(device, now)
        self._book_turn(attempt, now)
        if event.blame in ("task", "unfit", "outgrown"):
            told, pause = piece_at_fault(self._books, attempt, event, now, self._random())
            if pause is None:
                fail_for_good(self._books, subtask, event.reason, "task", now, actions)
            else:
                self._go_on(attempt, told, None, pause, now, actions)
            return
        if event.blame == "released":
            self._books.end_attempt(attempt, "released", now)
            if device.slots:  # What it says of itself is still on its way.
                rest_refusing(self._books, device, event.reason, now, self._random())
            self._go_on(attempt, f"was handed back: {event.reason}", None, 0.0, now, actions)
            return
        subtask.failures += 1
        if event.blame == "refused":
            self._books.end_attempt(attempt, "refused", now)
            rest_refusing(self._books, device, event.reason, now, self._random())
            pause = refused_s(subtask.failures, self._random())
            self._go_on(attempt, f"was refused: {event.reason}", None, pause, now, actions)
            return
        self._books.end_attempt(attempt, "blames device", now)
        hold_against_both(self._books, attempt, event.reason, now, self._random())
        harm = Harm(device.device_id, True, attempt.sent_at, event.reason, event.blame == "died")
        pause = retry_s(subtask.failures, self._random())
        self._go_on(attempt, f"failed there: {event.reason}", harm, pause, now, actions)

    def _book_turn(self, attempt: AttemptRecord, now: float) -> float:
        """Learn how long attempts of a task hold a slot; return how long this one did."""
        took_s = 0.0 if attempt.began_at is None else now - attempt.began_at
        task = attempt.subtask.task
        task.turns += 1
        task.turn_s += max(TURN_WEIGHT, 1.0 / task.turns) * (took_s - task.turn_s)
        return took_s

    def _on_cancel(self, event: CancelAsked, now: float, actions: List[Any]) -> None:
        task = self._books.tasks.get(event.task_id)
        if task is not None:
            end_cancelled(self._books, task, event.reason, now, actions)

    _TAKES: Dict[type, Callable[..., None]] = {
        Tick: _on_tick, TaskSubmitted: _on_submitted, DeviceReady: _on_ready, DeviceLost: _on_device_lost,
        LeaseRenewed: _on_renewed, AttemptSucceeded: _on_succeeded, AttemptFailed: _on_failed,
        CancelAsked: _on_cancel, SubtasksAdded: _on_added, TaskSealed: _on_sealed,
        SubtaskCancelled: _on_subtask_cancelled, SubtaskSized: _on_sized,
    }

    def _on_lease_due(self, attempt_id: str, now: float, actions: List[Any]) -> None:
        attempt = self._books.attempts.get(attempt_id)
        if attempt is None:
            return  # Its task ended a moment ago, within this very tick.
        if attempt.lease_until > now:
            self._books.deadlines.set(("lease", attempt_id), attempt.lease_until)
            return
        device = self._books.devices[attempt.device_id]
        self._books.rest_device(device, "silent", now + device.lease_s)
        self._books.end_attempt(attempt, "lease ended", now)
        actions.append(StopAttempt(attempt_id, device.device_id, "its lease ended"))
        told = f"was given up after {device.lease_s:.0f} s without a sign of life"
        harm = Harm(device.device_id, False, attempt.sent_at, f"it {told}")
        self._go_on(attempt, told, harm, 0.0, now, actions)

    def _on_late(self, attempt_id: str) -> None:
        """Ignore and count what is said of an attempt that is not live, and learn that it killed nobody."""
        self.late += 1
        task_id, _, rest = attempt_id.rpartition("/")
        task, index = self._books.tasks.get(task_id), rest.partition(".")[0]
        # Ids come from outside; twelve digits are more than any task has subtasks.
        is_number = len(index) <= 12 and index.isascii() and index.isdigit()
        subtask = task.subtasks.get(int(index)) if task is not None and is_number else None
        if task is not None and subtask is not None:
            harm = subtask.harms.get(attempt_id)
            if harm is not None and not harm.lived_on:
                del subtask.harms[attempt_id]
                # It may have waited only because something was held against it.
                self._books.pools[task.pool_key].queue(task, 0.0)

    # ---- attempts and subtasks --------------------------------------------------------------------

    def _place(self, now: float, actions: List[Any]) -> None:
        """Start whatever can be started: beside what fell silent, by fair shares, and then beside what is slow."""
        pools = self._books.pools
        for pool in pools.values():
            for waiting, line in freed_from_quarantine(self._books, pool):
                tell_line(waiting, line, actions)
        # Before anything new: what runs on a silent device may be what all will wait for.
        for pool in pools.values():
            second = second_beside_quiet(pool) if pool.leading.quiet else None
            while second is not None:
                self._start_second(*second, now, actions)
                second = second_beside_quiet(pool)
        self._place_waiting(now, actions)
        # From the first again: what starts for one kind of tasks may be what those of another are to be compared with.
        while any(self._place_beside_slow(pool, now, actions) for pool in pools.values()):
            pass
        tell_stalled_news(self._books, actions)

    def _place_beside_slow(self, pool: DevicePool, now: float, actions: List[Any]) -> bool:
        """Start the second attempt that gains most; return whether there was one, which changes what others see."""
        second = second_beside_slow(self._books, pool, now) if pool.is_to_compare else None
        if second is not None:
            self._start_second(*second, now, actions)
            # Who was set aside looks once more at the device, which has changed.
            self._place_waiting(now, actions)
        return second is not None

    def _place_waiting(self, now: float, actions: List[Any]) -> None:
        pools = self._books.pools
        while True:
            best: Optional[ScheduledTask] = None
            for pool in pools.values():
                task = pool.next_task()
                if task is not None and (best is None or task.rank() < best.rank()):
                    best = task
            if best is None:
                break
            self._place_one(best, pools[best.pool_key], now, actions)

    def _place_one(self, task: ScheduledTask, pool: DevicePool, now: float, actions: List[Any]) -> None:
        chosen = pool.choose(task)
        if chosen is None:
            note_kept(self._books, pool, task, now, actions)  # The pool has set it aside.
            return
        subtask, device = chosen
        self._books.served = max(self._books.served, task.served)
        self._books.take_pending(subtask)
        pool.serve(task, task.turn_s * self._books.parties.sharers_of(task))
        attempt = self._books.open_attempt(subtask, device, now)
        if subtask.attempts > 1 or task.told_waiting:
            task.told_waiting = False
            line = f"subtask {subtask.index}: attempt {subtask.attempts} goes to {short_id(device.device_id)}"
            tell_line(task, line, actions)
        self._start(attempt, device, actions)

    def _start(self, attempt: AttemptRecord, device: DeviceRecord, actions: List[Any]) -> None:
        subtask = attempt.subtask
        actions.append(StartAttempt(
            attempt.attempt_id, subtask.task.task_id, subtask.index, device.device_id, device.lease_s
        ))

    def _start_second(self, attempt: AttemptRecord, device: DeviceRecord, now: float, actions: List[Any]) -> None:
        subtask, where = attempt.subtask, self._books.devices[attempt.device_id]
        second = self._books.open_attempt(subtask, device, now)
        why = why_second(attempt, where.quiet, now - where.heard_at, now)
        line = f"subtask {subtask.index}: attempt {subtask.attempts} goes to {short_id(device.device_id)}, {why}"
        tell_line(subtask.task, line, actions)
        self._start(second, device, actions)

    # ---- what becomes of it -----------------------------------------------------------------------

    def _go_on(
        self, attempt: AttemptRecord, told: str, harm: Optional[Harm], pause: float, now: float, actions: List[Any],
    ) -> None:
        """Decide what becomes of a subtask whose attempt was lost: again, after a pause, or never."""
        subtask, task = attempt.subtask, attempt.subtask.task
        subtask.told = told_of(subtask, attempt, told)
        tell_line(task, subtask.told, actions)
        if harm is not None:
            subtask.harms[attempt.attempt_id] = harm
        harms = subtask.harms.values()
        if is_poison([(each.device_id, each.lived_on) for each in harms]):
            fail_for_good(self._books, subtask, why_poison(subtask), "poison", now, actions)
        elif subtask.live:
            return  # The other attempt goes on.
        elif harm is not None and harm.is_death and task.is_open and subtask.calls > 1:
            # One of them is the culprit: tried together again, it would take the others along again.
            fail_for_good(self._books, subtask, why_poison(subtask), "poison", now, actions)
        elif pause > 0.0:
            self._books.rest_subtask(subtask, now + pause)
        else:
            self._books.make_pending(subtask)

    def check(self) -> None:
        """Assert every invariant; costs O(everything), for tests and the simulator."""
        check_books(self._books)
        # Whoever could be given work now has been: `_place` leaves no task's turn behind.
        assert all(pool.next_task() is None for pool in self._books.pools.values())
        # Nor does anything run alone that could have had company by now.
        assert not any(pool.is_to_compare or second_beside_quiet(pool) for pool in self._books.pools.values())
