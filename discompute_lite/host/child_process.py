"""Own one child process from its parent's side: start it, exchange one request for one outcome, kill it.

Knows:   processes, groups and pipes of POSIX and of Windows; how a process's end is put into words.
Refuses: to decide when a child is started, reused or killed; host/executors.py does.
Read next: host/exchange.py (what passes the pipes), host/child.py (their other end).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from typing import Callable, Dict, List, Mapping

from ..model.errors import StateError
from ..tasks.work import BLAME_DEVICE, BLAME_TASK, WorkOutcome, WorkRequest
from .black_box import read_black_box
from .child_guard import read_end
from .child_news import ChildNews, named_signal
from .exchange import Exchange
from .files import scratch_errors
from .process_tree import tree_processes
from .request_pipe import RequestPipe

#: What a child keeps of the node's environment: the rest may hold secrets.
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SYSTEMROOT", "SYSTEMDRIVE", "PATHEXT", "LD_LIBRARY_PATH")
#: One thread each: the node has one child a core already.
THREAD_COUNTS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
)
#: Bytes that a pipe for outcomes holds, where that can be had, and how Linux is asked (`fcntl` knows it from 3.10 on).
PIPE_BYTES, F_SETPIPE_SZ = 1 << 20, 1031
#: Seconds between two looks whether a silent child still lives: a grandchild may hold its pipe open.
ALIVE_EVERY_S = 1.0
#: Seconds for which a child may be seen stopped by a signal before anything follows: a person may only look at it.
STOP_MOST_S = 1.0
#: Seconds that a killed child has to disappear; only one stuck in the kernel needs any.
REAP_S = 5.0
#: Seconds in which those of its group that were killed with it disappear as well.
REAP_GROUP_S = 0.2


class ChildDied(Exception):
    """Say how a child ended; `kind` and `blame` are its outcome's error_type and blame."""

    def __init__(self, reason: str, kind: str = "Died", blame: str = BLAME_DEVICE) -> None:
        super().__init__(reason)
        self.kind = kind
        self.blame = blame


class ChildOverdue(Exception):
    """A child took longer than its request allowed."""


def child_environ(environ: Mapping[str, str], folder: str) -> Dict[str, str]:
    """Return the environment of a child that lives in `folder`."""
    kept = {name: environ[name] for name in KEPT_VARIABLES if name in environ}
    kept.setdefault("LANG", "C.UTF-8")
    kept.update(dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"), folder))
    kept.update(dict.fromkeys(THREAD_COUNTS, "1"))
    return kept


class ChildProcess:
    """Hold one running child; one thread exchanges, any thread may kill."""

    def __init__(self, command: List[str], environ: Mapping[str, str], folder: str) -> None:
        """Start it in `folder`, which it makes and removes.

        Raise StateError where the disk takes no such folder, OSError where the system starts no process.
        """
        import subprocess  # Absent in some app Pythons.

        self.folder = folder
        #: The task that it serves, and the memory that it was given for that, as `WorkRequest` has them.
        self.owner, self.memory_bytes = "", 0
        self._lock = threading.Lock()
        self._is_killed = False
        #: It has started well: what it said before that is no reason for its end.
        self.has_answered = False
        # Pipes cannot be read without waiting on Windows.
        self._requests = RequestPipe() if sys.platform != "win32" else None
        try:
            with contextlib.ExitStack() as stack:
                with scratch_errors():
                    os.makedirs(folder, mode=0o700)
                    complaints = stack.enter_context(open(os.path.join(folder, ".start"), "wb"))
                stdin = subprocess.PIPE if self._requests is None else self._requests.child_end
                self._process = subprocess.Popen(
                    command, stdin=stdin, stdout=subprocess.PIPE, stderr=complaints, bufsize=0, cwd=folder,
                    env=child_environ(environ, folder), start_new_session=True,
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                )
        except (OSError, StateError):
            shutil.rmtree(folder, ignore_errors=True)
            if self._requests is not None:
                self._requests.close()
            raise
        assert self._process.stdout is not None
        self._stdout = self._process.stdout
        self._news = ChildNews(self._process, self._lock)
        #: Where requests are written, and where outcomes are read, both without blocking where that can be had.
        self.outcome_fd = self._stdout.fileno()
        if self._requests is None:
            assert self._process.stdin is not None
            self.request_fd = self._process.stdin.fileno()
        else:
            self.request_fd = self._requests.fd
            # Of two who are told that there is something to read the second one finds nothing.
            os.set_blocking(self.outcome_fd, False)
            _widen(self.outcome_fd)

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    def serves(self, request: WorkRequest) -> bool:
        """Whether it may be given this request."""
        return self.owner == request.owner and self.memory_bytes == request.memory_bytes

    def is_alive(self) -> bool:
        """Whether it runs and nobody has killed it."""
        return not self._is_killed and not self._news.has_ended()

    def is_ready(self) -> bool:
        """Whether it may be given a request: it lives, and nobody has stopped it meanwhile."""
        return self.is_alive() and not self._news.stopped_s()

    def take_back(self, size: int) -> bool:
        """Take back the request that was written last, by its length; return False where it has been begun."""
        return self._requests is not None and self._requests.take_back(size)

    def wait_outcome(self, seconds: float, awake_s: float = 0.0) -> bool:
        """Wait until there is something to read, its end included; return whether there is.

        For `awake_s` of these seconds this thread looks again and again: nobody has to wake it then.
        """
        import select

        poll = select.poll()
        poll.register(self.outcome_fd, select.POLLIN)
        began = time.monotonic()
        while awake_s and time.monotonic() < began + min(seconds, awake_s):
            if poll.poll(0):
                return True
        return bool(poll.poll(max(0.0, 1000 * (seconds - awake_s))))

    def finish(
        self, exchange: Exchange, on_stop: Callable[[str], None] = lambda how: None,
        on_sent: Callable[[], None] = lambda: None,
    ) -> WorkOutcome:
        """Wait for the outcome of an exchange, however far it is; raise `ChildDied` or `ChildOverdue`.

        `on_stop(how)` hears each second that a signal has stopped it meanwhile, and "" when it goes on; it may raise.
        `on_sent()` is called once the child has all that it needs, in time that nobody waits for.
        """
        clock = None
        if sys.platform == "win32":
            # Pipes cannot be waited for with a time limit there.
            clock = threading.Timer(exchange.deadline - time.monotonic(), self.kill)
            clock.daemon = True
            clock.start()
        try:
            outcome = self._drive(exchange, on_stop, on_sent)
        except (OSError, EOFError):
            if clock is not None and time.monotonic() >= exchange.deadline:
                raise ChildOverdue from None  # The clock has ended it.
            raise self._death() from None
        except ValueError:
            raise ChildDied("the process sent what is no outcome; does the task's code write to pipes?") from None
        finally:
            if clock is not None:
                clock.cancel()
        self.has_answered = True
        return outcome

    def kill(self) -> None:
        """Kill it, its group and what descends from it at once; only who left both is out of reach."""
        with self._lock:
            self._is_killed = True
            # Its number cannot belong to another process: only `end`, under this lock, gives it back.
            if self._process.returncode is not None:
                return
            if hasattr(os, "killpg"):
                # Looked up before, because whoever loses its parent descends from nobody.
                elsewhere = [pid for pid in tree_processes(self._process.pid) or () if pid != self._process.pid]
                # A group that is gone already is fine; macOS says PermissionError of a group of zombies.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                for pid in elsewhere:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)
            self._process.kill()

    def end(self) -> str:
        """Kill it, wait for it, and remove all traces; return what it had printed and not sent."""
        import subprocess

        self.kill()
        with self._lock:
            try:
                self._process.wait(REAP_S)
            except subprocess.TimeoutExpired:
                pass
            self._reap_group()
        if self._requests is not None:
            self._requests.close()
        elif self._process.stdin is not None:
            self._process.stdin.close()
        self._stdout.close()
        printed = read_black_box(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        return printed

    def _reap_group(self) -> None:
        """Take leave of those of its group that have become our children: where we are process 1 of a container."""
        until = time.monotonic() + REAP_GROUP_S
        with contextlib.suppress(ChildProcessError, AttributeError):
            # Elsewhere there are none, and the first question says so.
            while os.waitpid(-self._process.pid, os.WNOHANG) != (0, 0) or time.monotonic() < until:
                time.sleep(0.001)

    def _drive(
        self, exchange: Exchange, on_stop: Callable[[str], None], on_sent: Callable[[], None]
    ) -> WorkOutcome:
        if exchange.problem is not None:
            raise exchange.problem
        is_sent, outcome = False, None
        while not is_sent:
            try:
                exchange.write(self.request_fd)
                is_sent = True
            except BlockingIOError:
                self._wait(self.request_fd, False, exchange.deadline, on_stop)
        on_sent()
        while outcome is None:
            if sys.platform != "win32":
                self._wait(self.outcome_fd, True, exchange.deadline, on_stop)
            outcome = exchange.read(self.outcome_fd)
        return outcome

    def _wait(self, fd: int, for_reading: bool, deadline: float, on_stop: Callable[[str], None]) -> None:
        """Wait until a pipe is ready; raise `ChildOverdue` at the deadline and `ChildDied` when nobody is there."""
        import select

        poll = select.poll()
        # Who is gone shows by the end of its outcomes: the other pipe stays open, since we hold its other end too.
        poll.register(self.outcome_fd, 0)
        poll.register(fd, select.POLLIN if for_reading else select.POLLOUT)
        wait_s = 0.0
        while True:
            ready = dict(poll.poll(1000 * max(0.0, min(wait_s, deadline - time.monotonic()))))
            if fd in ready:
                return
            if ready:
                raise self._death()
            if time.monotonic() >= deadline:
                raise ChildOverdue
            if self._news.has_ended():
                raise self._death()
            stopped_s = self._news.stopped_s()
            is_long = stopped_s >= STOP_MOST_S
            on_stop(f"was stopped by {self._news.stop_signal}" if is_long else "")
            # Of a stop it is to be known soon whether it lasts.
            wait_s = STOP_MOST_S - stopped_s if 0 < stopped_s < STOP_MOST_S else ALIVE_EVERY_S

    def _death(self) -> ChildDied:
        died, excess = self._last_words(), read_end(self.folder)
        return ChildDied(excess, "OverLimit", BLAME_TASK) if excess else died

    def _last_words(self) -> ChildDied:
        """Return in a sentence why its pipe has ended; its group has ended too when this returns."""
        until = time.monotonic() + ALIVE_EVERY_S
        while not self._news.has_ended() and time.monotonic() < until:
            time.sleep(0.002)
        if not self._news.has_ended():
            self.kill()
            return ChildDied("the process closed its pipes; does the task's code close what it has not opened?")
        # While its number is still its own, end what is left of its group.
        self.kill()
        with self._lock:
            status = self._process.wait(REAP_S)
        complaint = "" if self.has_answered or status < 0 else self._complaint()
        return ChildDied(describe_exit(status, complaint), "NotStarted" if complaint else "Died")

    def _complaint(self) -> str:
        try:
            with open(os.path.join(self.folder, ".start"), "rb") as file:
                lines = file.read(65536).decode("utf-8", "replace").strip().splitlines()
            return lines[-1][:300] if lines else ""
        except OSError:
            return ""


def _widen(fd: int) -> None:
    """Let a pipe hold more, where the system can: whoever writes into a full one waits for its reader to wake up."""
    if sys.platform == "linux":
        import fcntl

        # Refused where this user's share is used up: it works without.
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES)


def describe_exit(status: int, complaint: str = "") -> str:
    """Say how a process ended, from `Popen.returncode` and the last line it wrote before it was ready."""
    if status >= 0:
        return f"the process could not start: {complaint}" if complaint else (
            f"the process ended by itself with exit status {status}")
    return f"the process was killed by {named_signal(-status)}"
