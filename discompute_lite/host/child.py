"""Be the process in which one task's code runs: requests come in by a pipe, outcomes go out by another.

Knows:   the frames of those pipes, and how to keep what a person's code does away from them.
Refuses: to outlive its parent, to serve two at once, and to import what it does not need: it starts in moments.
Read next: host/child_process.py (the other end), host/child_limits.py and host/child_guard.py (what bounds it).

A frame, both ways:

    4 bytes   length of what follows, big-endian
    header    a JSON array on one line, ended by a line feed
    data      the rest, raw

    request   [phase, task_type, attempt_id, target, blobs, vectors]    data: the request's; where there are blobs,
                                                               [[hash, path of its file], ...] and a training's folder
    outcome   [ok, error, error_type, output, seconds, blame]  data: the outcome's

For example a request to echo 7: ``00 00 00 1d``, then ``["run", "echo", "t/0.1", 0]``, a line feed, ``7``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import replace
from functools import lru_cache, partial
from queue import SimpleQueue
from typing import Any, Callable, List, Optional, Tuple, Union

from ..model.errors import TaskRejected
from ..tasks.work import WORK_LIMITS, CappedOutput, WorkOutcome, WorkRequest, install_taps, run_work
from .black_box import open_black_box
from .child_guard import end_own_group, start_guard
from .child_limits import ChildLimits, step_back, take_child_limits

#: Bytes of a frame's length.
FRAME_PREFIX = 4
#: Most bytes read at once.
REQUEST_READ_BYTES = 1 << 20
#: Seconds between two looks at who the parent is.
PARENT_EVERY_S = 1.0
#: Longest frame that the prefix can announce.
FRAME_LIMIT = 2 ** (8 * FRAME_PREFIX) - 1


def pack_request(request: WorkRequest) -> Tuple[bytes, bytes]:
    """Return a request as (prefix and header, data), so that large data need not be copied."""
    plain = request.phase, request.task_type, request.attempt_id, request.target
    line = _line_of(*plain, request.blobs, request.vectors) if request.blobs else _known_line(*plain)
    return _packed(line, request.data)


def unpack_request(body: bytes) -> WorkRequest:
    """Read a request from a frame's body."""
    (phase, task_type, attempt_id, target, *rest), data = _unpacked_frame(body)
    blobs = tuple((sha256, partial(_read_blob, path)) for sha256, path in rest[0]) if rest else ()
    vectors = rest[1] if len(rest) > 1 else ""
    return WorkRequest(phase, task_type, data, attempt_id, target=target, blobs=blobs, vectors=vectors)


def _read_blob(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise TaskRejected(f"a blob of this call cannot be read here ({error.strerror}); call it again") from None


def pack_outcome(outcome: WorkOutcome) -> Tuple[bytes, bytes]:
    """Return an outcome as (prefix and header, data)."""
    said = outcome.error, outcome.error_type, outcome.output
    if outcome.ok and not any(said) and not outcome.blame:
        line = b'[true, "", "", "", %a, ""]\n' % outcome.seconds  # As most are.
    else:
        line = _line_of(outcome.ok, *said, outcome.seconds, outcome.blame)
    return _packed(line, outcome.data)


def unpack_outcome(frame: Union[bytes, bytearray], start: int = 0) -> WorkOutcome:
    """Read an outcome from a frame's body, which begins at `start`; raise ValueError or TypeError where it is none."""
    try:
        (ok, error, error_type, output, seconds, blame), data = _unpacked_frame(frame, start)
        return WorkOutcome(bool(ok), data, str(error), str(error_type), str(output), float(seconds), str(blame))
    except (OverflowError, RecursionError):
        # A task's own code may write into the pipe; whoever reads is the node's loop, or a slot's only thread.
        raise ValueError("a number without end, or depth without end") from None


def _line_of(*header: Any) -> bytes:
    return json.dumps(header).encode("ascii") + b"\n"


@lru_cache(maxsize=16)
def _known_line(*header: Any) -> bytes:
    """Do the same for headers of which many are alike, one after the other: those of a script's single calls."""
    return _line_of(*header)


def _packed(line: bytes, data: bytes) -> Tuple[bytes, bytes]:
    length = len(line) + len(data)
    if length > FRAME_LIMIT:
        raise ValueError(f"{length} bytes are more than a frame can hold")
    return length.to_bytes(FRAME_PREFIX, "big") + line, data


def _unpacked_frame(frame: Union[bytes, bytearray], start: int = 0) -> Tuple[Any, bytes]:
    end = frame.index(b"\n", start)
    # The data may be large: one copy, and not one for each slice.
    return json.loads(str(frame[start:end], "utf-8")), bytes(memoryview(frame)[end + 1:])


def write_all(fd: int, *buffers: bytes) -> None:
    """Write everything, small buffers in one piece."""
    if sum(map(len, buffers)) <= 65536:
        buffers = (b"".join(buffers),)
    for buffer in buffers:
        view = memoryview(buffer)
        while view:
            view = view[os.write(fd, view):]


def child_main() -> None:
    """Serve requests until the parent closes the pipe or dies; never returns."""
    requests_fd, results_fd = _hide_pipes()
    limits = ChildLimits.from_arguments(sys.argv[1:])
    take_child_limits(limits)
    start_guard(limits, requests_fd)
    # Behind the guard's start: who watches is not to wait for those whom it watches.
    step_back()
    work_limits = limits.work_limits()
    black_box = open_black_box(os.getcwd())
    on_print = black_box.add if black_box is not None else None
    catcher = DescriptorCatcher(work_limits.output_bytes, on_print)
    if hasattr(signal, "SIGINT"):
        # Ctrl-C at the terminal is for the node, which ends its children itself.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    for stream in (sys.stdout, sys.stderr):
        # What threads of the code print, which no tap catches, goes to the catcher line by line.
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    install_taps()
    take = _requests_from(requests_fd)
    while True:
        outcome = run_work(take(), work_limits, on_print, limits.allow_pickle)
        said = catcher.take()
        if said:
            outcome = replace(outcome, output=outcome.output + said)
        try:
            write_all(results_fd, *_sendable(outcome))
        except OSError:
            end_own_group()
        if black_box is not None:
            black_box.clear()


def _sendable(outcome: WorkOutcome) -> Tuple[bytes, bytes]:
    size, most = len(outcome.data), WORK_LIMITS.message_bytes
    if size <= most:
        return pack_outcome(outcome)
    reason = f"the result is too large: {size} bytes, and {most} can be sent; return less at once"
    return pack_outcome(WorkOutcome(False, b"", reason, "TooLarge", blame="task"))


def _hide_pipes() -> Tuple[int, int]:
    """Move the pipes out of the way of code that reads 0 or prints to 1; return their new numbers."""
    requests_fd, results_fd = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    return requests_fd, results_fd


def _requests_from(fd: int) -> Callable[[], WorkRequest]:
    """Return what waits for the next request; when the pipe ends so does this process, whatever it is doing."""
    if sys.platform == "win32":
        # Pipes cannot be watched there without reading them, so another thread reads.
        inbox: SimpleQueue[WorkRequest] = SimpleQueue()

        def read() -> None:
            while True:
                inbox.put(_next_request(fd))

        threading.Thread(target=read, daemon=True).start()
        return inbox.get
    threading.Thread(target=_end_with_parent, args=(fd,), daemon=True).start()
    return partial(_next_request, fd)


def _next_request(fd: int) -> WorkRequest:
    try:
        # No byte more than this request: what lies behind it the node may take back until its turn comes.
        length = int.from_bytes(_read_exactly(fd, FRAME_PREFIX), "big")
        return unpack_request(_read_exactly(fd, length))
    except (OSError, EOFError, ValueError, TypeError):
        pass  # Whatever this is, it is no parent that can be served.
    end_own_group()


def _read_exactly(fd: int, size: int) -> bytes:
    """Wait for so many bytes; raise EOFError where the pipe ends before."""
    pieces: List[bytes] = []
    while size > 0:
        try:
            piece = os.read(fd, min(size, REQUEST_READ_BYTES))
        except BlockingIOError:
            _wait_readable(fd)
            continue
        if not piece:
            raise EOFError
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _wait_readable(fd: int) -> None:
    import select

    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.poll()


def _end_with_parent(fd: int) -> None:
    """End this process when nobody holds the other end of the pipe, or when the parent is another one than it was."""
    import select

    parent, poll = os.getppid(), select.poll()
    # Nothing is asked for but the end, which is always told; where a system does not tell it, the parent shows it.
    poll.register(fd, 0)
    while os.getppid() == parent:
        ended = poll.poll(1000 * PARENT_EVERY_S)
        if ended and ended[0][1] & select.POLLNVAL:
            return  # The task's code has closed it; the node sees that by the other pipe, and says so.
        if ended:
            break
    end_own_group()


class DescriptorCatcher:
    """Catch what goes to descriptors 1 and 2 past sys.stdout: programs that the code starts, libraries in C.

    On Windows, where a pipe cannot be asked whether it is empty, that goes nowhere instead.
    """

    def __init__(self, limit: int, on_print: Optional[Callable[[bytes], None]] = None) -> None:
        """`on_print` is told at once what has been read."""
        self._limit = limit
        self._on_print = on_print
        self._lock = threading.Lock()
        self._printed = CappedOutput(limit, on_print)
        self._has_text = False
        self._fd = -1
        if sys.platform == "win32":
            os.dup2(1, 2)
            return
        self._fd, writing = os.pipe()
        os.set_blocking(self._fd, False)
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        # `writing` stays open: code that closes 1 and 2 must not make the pipe end.
        threading.Thread(target=self._drain, daemon=True).start()

    def take(self) -> str:
        """Return what has been written since the last call."""
        if self._fd < 0:
            return ""
        for stream in (sys.__stdout__, sys.__stderr__):
            try:
                if stream is not None:
                    stream.flush()
            except (ValueError, OSError):
                pass
        with self._lock:
            self._read()
            if not self._has_text:
                return ""
            printed, self._printed, self._has_text = self._printed, CappedOutput(self._limit, self._on_print), False
            return printed.text()

    def _drain(self) -> None:
        """Keep the pipe from filling up, which would block whoever prints."""
        import select

        poll = select.poll() if hasattr(select, "poll") else None
        if poll is not None:
            poll.register(self._fd, select.POLLIN)
        while True:
            if poll is not None:
                poll.poll()
            else:
                select.select([self._fd], [], [])
            with self._lock:
                self._read()

    def _read(self) -> None:
        try:
            while True:
                data = os.read(self._fd, 65536)
                if not data:
                    return
                self._printed.write(data)
                self._has_text = True
        except BlockingIOError:
            return
