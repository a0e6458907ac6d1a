"""Carry one TCP connection: socket, buffers, deadlines, and the session that understands its bytes.

Knows:   how to read and write without blocking, when to stop reading, when to give up.
Refuses: what the messages mean; calls, answers and HTTP requests go to the `Receiver`.
Read next: wire/rpc.py and wire/http.py (the sessions), net/listener.py (where connections come from).

The first bytes choose the session: `{` or `[` RPC, an ASCII letter HTTP, 0x16 TLS. Nobody peeks: the
bytes that were looked at are given to the session that was chosen.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections import deque
from typing import Any, Callable, Deque, List, Optional, Protocol, Tuple

from ..model.errors import DiscomputeError, InvalidRequest, LinkClosed, LinkError, LocalProtocolError
from ..model.limits import KIB, MIB, Limits
from ..wire.framing import Buffer
from ..wire.http import HttpRequest, HttpSession
from ..wire.rpc import AnswerReceived, CallReceived, RpcSession
from ..wire.sniff import sniff
from .loop import Loop, Timer
from .memory import allocate_attachment

#: One read of a connection: large enough for many small messages.
READ_BYTES = 64 * KIB
#: What one connection may read before the others get their turn.
TURN_BYTES = 8 * MIB
#: Pieces below this size are joined before they are written: two writes cost more than one copy.
JOIN_BYTES = 64 * KIB
#: Seconds that a closing connection has to take what is still to be sent.
LINGER_S = 2.0
#: A TLS alert "handshake_failure", for a TLS client of a node that has no TLS: better than silence.
TLS_REFUSAL = b"\x15\x03\x01\x00\x02\x02\x28"

ReplyCallback = Callable[[Any, Optional[DiscomputeError]], None]


class Receiver(Protocol):
    """Say what a connection needs from whoever owns it."""

    def call_received(self, connection: Connection, call: CallReceived) -> None:
        """Answer `call`, now or later."""

    def request_received(self, connection: Connection, request: HttpRequest) -> None:
        """Answer an HTTP request by `connection.http.answer`, then `connection.flush()`."""

    def admit_call(self, connection: Connection, method: str) -> Optional[DiscomputeError]:
        """Say whether attachments of a call to `method` may be read at all."""

    def admit_request(self, connection: Connection, head: Any) -> Any:
        """Say whether the body of an HTTP request may be read at all."""

    def connection_closed(self, connection: Connection, reason: str) -> None:
        """Forget the connection."""


class Connection:
    """Own one connected socket until it is closed; all methods belong to the loop's thread."""

    def __init__(self, loop: Loop, sock: socket.socket, receiver: Receiver, limits: Limits, *, is_dialled: bool) -> None:
        self._loop = loop
        self._sock = sock
        self._receiver = receiver
        self._limits = limits
        self.is_dialled = is_dialled
        self.remote_address = address_text(sock.getpeername())
        self.local_address = address_text(sock.getsockname())
        #: What roles remember of this connection: the peer's id, whether it showed the token, and more.
        self.peer: Any = None
        #: A link to another node stays open while idle; its role decides when it ends.
        self.is_link = False
        self.rpc: Optional[RpcSession] = None
        self.http: Optional[HttpSession] = None
        self.is_closed = False
        self._is_reading = True
        #: The other side has sent its last byte but may still read (`nc` does this).
        self._is_half_closed = False
        #: Answers given while events are being taken need no flush of their own.
        self._is_processing = False
        #: We have said all we want to; what still comes is thrown away, so that our last words arrive.
        self._is_lingering = False
        #: Bytes that came before they told which session they are for.
        self._start = b""
        #: Too many calls are unanswered: nothing is read until some are.
        self._is_held = False
        self._outgoing: Deque[memoryview] = deque()
        self._outgoing_bytes = 0
        self._wake_at: Optional[float] = None
        self._wake_timer: Optional[Timer] = None
        #: When the message being received must be complete; None between messages of a link.
        self._message_due: Optional[float] = loop.now() + limits.first_message_s
        self._had_message = False
        self._last_active = loop.now()
        sock.setblocking(False)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            pass
        if is_dialled:
            self._choose("rpc")
        loop.watch(sock, self._readable, None)
        self._set_wake()

    @property
    def is_loopback(self) -> bool:
        """Whether the other end is a process of this machine."""
        return is_loopback_host(host_of(self.remote_address))

    # ---- calls ------------------------------------------------------------------------------------

    def call(
        self, method: str, params: Any, on_reply: ReplyCallback, *, timeout_s: Optional[float] = None, tell_timeout: bool = False
    ) -> None:
        """Call the other side; `on_reply(result, error)` comes exactly once, also when the link breaks."""
        if self.is_closed or self.rpc is None or self.rpc.is_closing:
            error: DiscomputeError = LinkClosed("the connection is closed; dial the device again")
            self._loop.post(on_reply, None, error)
            return
        try:
            self.rpc.call(
                method, params, now=self._loop.now(), context=on_reply, timeout_s=timeout_s, tell_timeout=tell_timeout
            )
        except LocalProtocolError as error:
            self._loop.post(on_reply, None, error)
            return
        self.flush()

    def notify(self, method: str, params: Any) -> None:
        """Tell the other side something, without an answer."""
        if not self.is_closed and self.rpc is not None and not self.rpc.is_closing:
            self.rpc.notify(method, params)
            self.flush()

    def flush(self) -> None:
        """Send what the session has to send, as far as the socket takes it."""
        session = self.rpc or self.http
        if self.is_closed or self._is_lingering or session is None:
            return
        pieces = session.data_to_send()
        if pieces:
            self._send(pieces)
        if not self.is_closed and not self._close_if_over() and self.rpc is not None:
            self._set_wake()

    def finish(self) -> None:
        """Send what is still to be sent, read nothing more, then close."""
        if self.rpc is not None:
            self.rpc.is_closing = True
        if not self._is_processing:
            self.flush()

    def close(self, reason: str) -> None:
        """Close now; calls without an answer end with `LinkClosed`."""
        if self.is_closed:
            return
        self.is_closed = True
        self._loop.unwatch(self._sock)
        if self._wake_timer is not None:
            self._wake_timer.cancel()
        self._sock.close()
        self._outgoing.clear()
        if self.rpc is not None:
            error = LinkClosed(f"the connection to {self.remote_address} ended ({reason}); try again")
            for answer in self.rpc.abandon(error):
                answer.context(None, answer.error)
        self._receiver.connection_closed(self, reason)

    # ---- reading ----------------------------------------------------------------------------------

    def _readable(self) -> None:
        budget = TURN_BYTES
        while budget > 0 and self._is_reading and not self.is_closed and not self._is_lingering:
            direct = self.rpc.direct_buffer() if self.rpc is not None else None
            try:
                if direct is not None:
                    count = self._sock.recv_into(direct)
                    data: Buffer = b""
                else:
                    data = self._sock.recv(READ_BYTES)
                    count = len(data)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self.close(error_name(error))
                return
            if not count:
                self._end_of_stream()
                return
            budget -= count
            if direct is not None and self.rpc is not None:
                direct.release()
                self.rpc.direct_filled(count)
            self._received(data)
            # A short read has emptied the socket: asking again would only cost a system call.
            if direct is None and count < READ_BYTES:
                return

    def _received(self, data: Buffer) -> None:
        if self.rpc is None and self.http is None:
            self._choose_by(bytes(data))
            if self.rpc is None and self.http is None:
                return
        elif self.rpc is not None:
            if data:
                self.rpc.receive_data(data)
        elif self.http is not None:
            self.http.receive_data(data)
        self._process()

    def _choose_by(self, data: bytes) -> None:
        start, self._start = self._start + data, b""
        kind = sniff(start)
        if kind is None:
            self._start = start
        elif kind in ("rpc", "http"):
            self._choose(kind)
            session = self.rpc or self.http
            assert session is not None
            session.receive_data(start)
        elif kind == "tls":
            self._send([TLS_REFUSAL])
            self._linger("it speaks TLS, and this node has none")
        elif kind == "http2":
            self._linger("it speaks HTTP/2, as EXO does")
        else:
            self._choose("rpc")
            assert self.rpc is not None
            self.rpc.close_with(InvalidRequest("send JSON-RPC 2.0, one message a line, or HTTP"))

    def _choose(self, kind: str) -> None:
        if kind == "rpc":
            self.rpc = RpcSession(
                self._limits,
                on_answer=self._answered,
                admit=lambda method: self._receiver.admit_call(self, method),
                allocate=allocate_attachment,
            )
        else:
            self.http = HttpSession(self._limits, admit=lambda head: self._receiver.admit_request(self, head))

    def _answered(self) -> None:
        if self._is_processing or self.is_closed:
            return
        self.flush()
        # A session that held further calls back may take them now.
        if not self.is_closed and self._is_held:
            self._is_held = False
            self._received(b"")
            if not self.is_closed and not self._is_held:
                self._after_writing()

    def _process(self) -> None:
        self._is_processing = True
        if self.rpc is not None:
            self._process_rpc(self.rpc)
        elif self.http is not None:
            for request in self.http.events():
                self._note_message()
                self._receiver.request_received(self, request)
        self._is_processing = False
        self.flush()

    def _process_rpc(self, session: RpcSession) -> None:
        now = self._loop.now()
        while not self.is_closed:
            event = session.next_event(now)
            if event is None:
                break
            if isinstance(event, CallReceived):
                self._note_message()
                self._receiver.call_received(self, event)
            elif isinstance(event, AnswerReceived):
                self._note_message()
                event.context(event.result, event.error)
            else:
                logging.getLogger("discompute").info("%s: %s", self.remote_address, event.error)
        if session.is_between_messages:
            self._message_due = None if self._had_message else self._message_due
        elif self._had_message and self._message_due is None:
            self._message_due = now + self._limits.message_s
        self._last_active = now
        if session.is_held and not self._is_held and not self.is_closed:
            self._is_held = True
            self._loop.watch(self._sock, None, self._writable if self._outgoing else None)

    def _note_message(self) -> None:
        if not self._had_message:
            self._had_message = True
            self._message_due = None

    def _end_of_stream(self) -> None:
        cut = self.rpc is not None and not self.rpc.is_between_messages
        if self.rpc is not None and not cut and not self.rpc.is_idle:
            # A client that has sent its last call and half-closed (`nc` does) still gets its answers.
            self._is_reading = False
            self._is_half_closed = True
            self._loop.watch(self._sock, None, self._writable if self._outgoing else None)
            return
        self.close("connection cut in the middle of a message" if cut else "the other side closed it")

    def _close_if_over(self) -> bool:
        session = self.rpc or self.http
        if self._outgoing:
            return False
        if session is not None and session.is_closing:
            self._linger("the conversation is over")
            return True
        if self._is_half_closed and self.rpc is not None and self.rpc.is_idle:
            self.close("the other side closed it")
        return self.is_closed

    def _linger(self, reason: str) -> None:
        """Close, but first let the last words arrive: a close with unread data resets the connection,
        and the other side may lose what it was told. (RFC 9112, 9.6)"""
        if self.is_closed or self._is_lingering:
            return
        self._is_lingering = True
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close(reason)
            return
        self._loop.watch(self._sock, lambda: self._throw_away(reason), None)
        self._loop.call_later(LINGER_S, self.close, reason)

    def _throw_away(self, reason: str) -> None:
        try:
            if self._sock.recv(READ_BYTES):
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass
        self.close(reason)

    # ---- writing ----------------------------------------------------------------------------------

    def _send(self, pieces: List[Buffer]) -> None:
        if not self._outgoing and len(pieces) == 1:
            # The hot path: one small message, an idle socket, one system call.
            try:
                sent = self._sock.send(pieces[0])
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self.close(error_name(error))
                return
            if sent == len(pieces[0]):
                return
            pieces = [memoryview(pieces[0])[sent:]]
        for piece in _joined(pieces):
            self._outgoing.append(piece)
            self._outgoing_bytes += len(piece)
        self._writable()

    def _writable(self) -> None:
        budget = TURN_BYTES
        while self._outgoing and budget > 0 and not self.is_closed:
            try:
                sent = self._sock.send(self._outgoing[0])
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self.close(error_name(error))
                return
            budget -= sent
            self._outgoing_bytes -= sent
            if sent == len(self._outgoing[0]):
                self._outgoing.popleft()
            else:
                self._outgoing[0] = self._outgoing[0][sent:]
        self._after_writing()

    def _after_writing(self) -> None:
        if self.is_closed:
            return
        if self._close_if_over():
            return
        wants_data = self._is_reading and not self._is_held and self._outgoing_bytes <= self._limits.send_buffer_bytes
        self._loop.watch(
            self._sock, self._readable if wants_data else None, self._writable if self._outgoing else None
        )

    # ---- deadlines --------------------------------------------------------------------------------

    def _set_wake(self) -> None:
        due = self.rpc.next_deadline() if self.rpc is not None else None
        for other in (self._message_due, self._idle_due()):
            if other is not None and (due is None or other < due):
                due = other
        if due is not None and (self._wake_at is None or due < self._wake_at):
            if self._wake_timer is not None:
                self._wake_timer.cancel()
            self._wake_at = due
            self._wake_timer = self._loop.call_at(due, self._wake)

    def _idle_due(self) -> Optional[float]:
        return None if self.is_link or self.is_dialled else self._last_active + self._limits.idle_s

    def _wake(self) -> None:
        self._wake_at = self._wake_timer = None
        if self.is_closed:
            return
        now = self._loop.now()
        if self._message_due is not None and now >= self._message_due:
            self.close("no complete message in time")
            return
        if self.rpc is not None:
            self.rpc.apply_deadlines(now)
            self._process()
        idle_due = self._idle_due()
        is_idle = self.rpc is None or self.rpc.is_idle
        if not self.is_closed and idle_due is not None and now >= idle_due:
            if is_idle:
                self.close("idle")
                return
            self._last_active = now
        if not self.is_closed:
            self._set_wake()


def _joined(pieces: List[Buffer]) -> List[memoryview]:
    """Join neighbouring small pieces; large ones stay as they are, uncopied."""
    result: List[memoryview] = []
    small: List[Buffer] = []
    for piece in pieces:
        if len(piece) < JOIN_BYTES:
            small.append(piece)
            continue
        if small:
            result.append(memoryview(b"".join(small)))
            small = []
        result.append(memoryview(piece))
    if small:
        result.append(memoryview(b"".join(small)))
    return result


def address_text(address: Tuple[Any, ...]) -> str:
    """Return a socket address as ``host:port``, IPv6 in brackets, mapped IPv4 as IPv4."""
    host, port = str(address[0]), address[1]
    if host.startswith("::ffff:") and "." in host:
        host = host[7:]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_of(address: str) -> str:
    """Return the host of ``host:port``."""
    return address.rpartition(":")[0].strip("[]")


def split_address(address: str, default_port: int = 0) -> Tuple[str, int]:
    """Return (host, port) of ``host:port`` or ``host``; raise `LinkError` for anything else."""
    host, colon, port = address.rpartition(":")
    if not colon or (address.startswith("[") and address.endswith("]")) or (":" in host and not host.startswith("[")):
        host, port = address, ""
    if port and not (port.isdigit() and int(port) < 65536):
        raise LinkError(f"{address!r} is not host:port")
    return host.strip("[]"), int(port) if port else default_port


def is_loopback_host(host: str) -> bool:
    """Whether an address (not a name) belongs to this machine's loopback interface."""
    return host.startswith("127.") or host == "::1"


def error_name(error: OSError) -> str:
    """Return an OSError as its symbol, such as ECONNRESET: numbers and texts differ between systems."""
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
