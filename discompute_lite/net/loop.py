"""Turn readiness, time and other threads' wishes into calls on one thread.

Knows:   sockets that may be read or written, timers, and callbacks posted from anywhere.
Refuses: to know what any of it is for.
Read next: net/stream.py (what reads and writes), roles/ports.py (`Clock`, which this is).

Everything a node owns is touched by the thread inside `run` and by no other. `post` is the one
door for other threads; behind it lies the only lock of the package's heart (a deque and a wake-up byte).
"""

from __future__ import annotations

import logging
import math
import selectors
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any, Callable, Deque, Optional, Tuple, Union

from ..model.deadlines import Deadlines
from .memory import AttachmentMemory
from .room import Room
from .sockets import let_go_if_taken, wake_pair

Callback = Callable[..., None]
#: A socket, or the number of a descriptor.
Watched = Union[socket.socket, int]
#: The longest sleep: a wake-up that was lost (a defunct socket pair after an app's suspension) costs no more.
LONGEST_SLEEP_S = 30.0


class Timer:
    """Stand for one call in the future."""

    __slots__ = ("_loop", "callback", "arguments", "is_cancelled")

    def __init__(self, loop: Loop, callback: Callback, arguments: Tuple[Any, ...]) -> None:
        self._loop = loop
        self.callback = callback
        self.arguments = arguments
        self.is_cancelled = False

    def cancel(self) -> None:
        """Do not call; harmless when it has been called already."""
        self.is_cancelled = True
        self._loop._deadlines.cancel(self)
        self._loop._patient.cancel(self)


class Loop:
    """Run callbacks when sockets are ready, when time has come, and when other threads ask."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._deadlines = Deadlines()
        #: From when on those of `call_between` may be called, and a time before which none of them may.
        self._patient, self._patient_from = Deadlines(), math.inf
        self._posted: Deque[Tuple[Callback, Tuple[Any, ...]]] = deque()
        self._wake_lock = threading.Lock()
        self._watch_lock = threading.Lock()
        self._is_woken = False
        self._is_running = False
        self._is_closed = False
        #: The thread inside `run`, 0 while there is none.
        self._thread_id = 0
        self._wake_receiver: socket.socket
        self._wake_sender: socket.socket
        self._make_wakes()
        #: What all connections of this loop receive into.
        self.attachments = AttachmentMemory(self.now, self.call_later)
        self.room = Room(self.post, self.now, self.call_later)

    #: now() -> monotonic seconds.
    now = staticmethod(time.monotonic)

    def call_at(self, when: float, callback: Callback, *arguments: Any) -> Timer:
        """Call back at `when` (monotonic seconds), on the loop's thread."""
        timer = Timer(self, callback, arguments)
        self._deadlines.set(timer, when)
        return timer

    def call_later(self, delay_s: float, callback: Callback, *arguments: Any) -> Timer:
        """Call back after `delay_s` seconds, on the loop's thread."""
        return self.call_at(time.monotonic() + delay_s, callback, *arguments)

    def call_between(self, first: float, last: float, callback: Callback, *arguments: Any) -> Timer:
        """Call back when the loop is awake anyway from `first` on, and at `last` at the latest.

        To wake up costs an idle device more than most of what is done then: what can wait is done together.
        """
        timer = self.call_at(last, callback, *arguments)
        self._patient.set(timer, first)
        self._patient_from = min(self._patient_from, first)
        return timer

    def post(self, callback: Callback, *arguments: Any) -> None:
        """Call back soon, on the loop's thread; the one method that any thread may call."""
        self._posted.append((callback, arguments))
        if threading.get_ident() == self._thread_id:
            return  # It looks at what was posted before it sleeps.
        with self._wake_lock:
            if self._is_woken or self._is_closed:
                return
            try:
                self._wake_sender.send(b"\0")
            except OSError:
                pass  # Full: it is awake already. Dead: LONGEST_SLEEP_S bounds the wait.
            # Not before: Ctrl-C in between would have it sleep through whatever is posted from now on.
            self._is_woken = True

    def call_now(self, callback: Callback, *arguments: Any) -> None:
        """Call at once, from the loop's thread; what the callback raises is logged, and concerns nobody else."""
        try:
            callback(*arguments)
        except Exception:
            # One of three places for a broad except: a bug in one callback must not end the node.
            logging.getLogger("discompute").exception("a callback of the loop failed: %r", callback)

    def watch(self, sock: Watched, on_readable: Optional[Callback], on_writable: Optional[Callback]) -> None:
        """Call back whenever a socket, or where pipes can be watched a pipe, is ready; twice None unwatches it.

        Where `is_watching_for_all`, this and `unwatch` are for any thread, for one at a time of each socket.
        """
        events = (selectors.EVENT_READ if on_readable else 0) | (selectors.EVENT_WRITE if on_writable else 0)
        if not events:
            self.unwatch(sock)
            return
        with self._watch_lock:
            try:
                if self._selector.get_key(sock).fileobj != sock:
                    # Another one was closed behind our back, and its number is this one's now.
                    self._selector.unregister(sock)
                    raise KeyError
                self._selector.modify(sock, events, (on_readable, on_writable))
            except KeyError:
                self._selector.register(sock, events, (on_readable, on_writable))

    def unwatch(self, sock: Watched) -> None:
        """Stop watching; sockets that are not watched, or were closed under us, are fine."""
        with self._watch_lock:
            try:
                if self._selector.get_key(sock).fileobj == sock:
                    self._selector.unregister(sock)
            except (KeyError, ValueError, RuntimeError, OSError):
                pass

    @property
    def is_watching_for_all(self) -> bool:
        """Whether the system takes note of what is watched while it waits for readiness (epoll and kqueue do)."""
        return type(self._selector).__name__ in ("EpollSelector", "KqueueSelector")

    def put_away(self, sock: socket.socket, local: Any, remote: Any = None, channel: Any = None) -> None:
        """Unwatch and close a socket that may be dead, with what encrypts it; `local` and `remote` are its names.

        Where its number is another socket's by now, that one stays as it is.
        """
        self.unwatch(sock)
        let_go_if_taken(sock, local, remote)
        with suppress(OSError):  # It may die at this very moment; whoever noticed that it is of no use is not to fail.
            (channel or sock).close()

    def look_at_wakes(self) -> None:
        """Try the sockets by which other threads wake this one: dead ones are replaced."""
        self._drain_wakes()

    def renew_wakes(self) -> None:
        """Replace the sockets by which other threads wake this one."""
        with self._wake_lock:
            self._replace_wakes()

    def run(self) -> None:
        """Run until `stop`; one thread at a time."""
        self._is_running, self._thread_id = True, threading.get_ident()
        try:
            while self._is_running:
                self._run_once()
        finally:
            self._thread_id = 0

    def stop(self) -> None:
        """Let `run` return soon; any thread may call this."""
        self.post(self._stop_running)

    def close(self) -> None:
        """Release the selector, the wake-up sockets and those that are still watched; after `run` has returned."""
        with self._wake_lock:
            self._is_closed = True
        # Their owners wait for an event that does not come any more: a dial under way, last words that are read.
        for key in list((self._selector.get_map() or {}).values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        self._wake_receiver.close()
        self._wake_sender.close()

    def _run_once(self) -> None:
        wait_s = LONGEST_SLEEP_S
        due_at = self._deadlines.next()
        if self._posted:
            wait_s = 0.0
        elif due_at is not None:
            wait_s = min(wait_s, max(0.0, due_at - time.monotonic()))
        for key, mask in self._selector.select(wait_s):
            on_readable, on_writable = key.data
            if mask & selectors.EVENT_READ and on_readable is not None:
                self.call_now(on_readable)
            if mask & selectors.EVENT_WRITE and on_writable is not None:
                self.call_now(on_writable)
        now = time.monotonic()
        if due_at is not None and now >= due_at:
            for timer in self._deadlines.pop_due(now):
                self._patient.cancel(timer)
                # One that was due at the same time may have cancelled it.
                if not timer.is_cancelled:
                    self.call_now(timer.callback, *timer.arguments)
        if now >= self._patient_from:
            self._call_patient(now)
        # Only as many as are here now: callbacks that post again must not starve the sockets.
        for _ in range(len(self._posted)):
            callback, arguments = self._posted.popleft()
            self.call_now(callback, *arguments)

    def _call_patient(self, now: float) -> None:
        for timer in self._patient.pop_due(now):
            if not timer.is_cancelled:
                self._deadlines.cancel(timer)
                self.call_now(timer.callback, *timer.arguments)
        first = self._patient.next()
        self._patient_from = math.inf if first is None else first

    def _stop_running(self) -> None:
        self._is_running = False

    def _make_wakes(self) -> None:
        self._wake_receiver, self._wake_sender = wake_pair()
        for end in (self._wake_receiver, self._wake_sender):
            end.setblocking(False)
        self._selector.register(self._wake_receiver, selectors.EVENT_READ, (self._drain_wakes, None))

    def _drain_wakes(self) -> None:
        with self._wake_lock:
            self._is_woken = False
            try:
                # One byte at most is in it: whoever sends one sees to that. So there is nothing to come back for.
                if self._wake_receiver.recv(4096):
                    return
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                pass
            # The system took the pair away while the app slept: a dead one is readable for ever.
            self._replace_wakes()

    def _replace_wakes(self) -> None:
        self._is_woken = False
        for end in (self._wake_receiver, self._wake_sender):
            self.put_away(end, "")
        self._make_wakes()
