"""Carry one TCP connection: socket, buffers, deadlines, and the session that understands its bytes.

Knows:   how to read and write without blocking, when to stop reading, when to give up.
Refuses: what the messages mean; calls, answers and HTTP requests go to the `Receiver`.
Read next: wire/rpc.py and wire/http.py (the sessions), net/listener.py (where connections come from).

A connection is a stack: the socket, TLS where both ends are members of a cluster, and the session. Which of them
there are is found out by its opening (net/opening.py); the session is the same with TLS and without.
"""

from __future__ import annotations

import logging
import socket
from contextlib import suppress
from typing import Any, Optional, Sequence

from ..model.errors import DiscomputeError, LinkClosed, LocalProtocolError
from ..model.limits import KIB, MIB, Limits
from ..wire.framing import Buffer
from ..wire.http import HttpSession
from ..wire.rpc import CallReceived, ProtocolBroken, RpcSession
from .addresses import address_text, error_name, is_loopback_host, split_address
from .farewell import Farewell
from .hearing import Hearing
from .loop import Loop, Timer
from .opening import Opening
from .outbox import Outbox
from .receiver import Receiver, ReplyCallback
from .tls_door import TlsDoor

#: One read of a connection: large enough for many small messages.
READ_BYTES = 64 * KIB
#: What one connection may read before the others get their turn: bytes of attachments, and reads of anything else,
#: of which each may hold a thousand calls.
TURN_BYTES = 8 * MIB
TURN_READS = 4
#: Answers are written when so many bytes of them wait, though more calls are there to be answered.
ANSWER_BYTES = 256 * KIB


class Connection:
    """Own one connected socket until it is closed; all methods belong to the loop's thread."""

    def __init__(self, loop: Loop, sock: socket.socket, receiver: Receiver, limits: Limits, *, is_dialled: bool,
                 door: Optional[TlsDoor] = None) -> None:
        self._loop, self._sock = loop, sock
        #: What is read from and written to: the socket, or TLS around it (net/opening.py).
        self._channel: Any = sock
        #: The id that the other side's certificate proved, "" over plain TCP.
        self.verified_id = ""
        self._opening = Opening(self, loop, sock, limits, door)
        self.receiver, self._limits, self.is_dialled = receiver, limits, is_dialled
        #: Both ends' names, by which the socket is known though its number should become another's.
        self._names = sock.getsockname(), sock.getpeername()
        self.remote_address = address_text(self._names[1])
        self.local_host, self.local_port = self._names[0][:2]
        #: Whether the other end is a process of this machine.
        self.is_loopback = is_loopback_host(split_address(self.remote_address)[0])
        #: What roles remember of this connection: the peer's id, whether it showed the token, and more.
        self.peer: Any = None
        #: A link to another node stays open while idle; its role decides when it ends.
        self.is_link = False
        self.rpc: Optional[RpcSession] = None
        self.http: Optional[HttpSession] = None
        self.is_closed = False
        #: What ended the conversation, where the other side or TLS said so.
        self.broken_by: Optional[DiscomputeError] = None
        self._is_reading = True
        #: The other side has sent its last byte but may still read (`nc` does this).
        self._is_half_closed = False
        #: Answers given while events are being taken need no flush of their own.
        self._is_processing = False
        #: We have said all we want to; what still comes is thrown away, so that our last words arrive.
        self._is_lingering = False
        #: Too many calls are unanswered, answers unread or attachments under way: nothing more is taken until then.
        self._is_held = False
        self.hearing = Hearing(loop.now(), limits.message_s)
        self._outbox = Outbox(sock)
        self._wake_at: Optional[float] = None
        self._wake_timer: Optional[Timer] = None
        #: When the message being received must be complete; None between messages of a link.
        self._message_due: Optional[float] = loop.now() + limits.first_message_s
        self._had_message = False
        self._last_active = loop.now()
        sock.setblocking(False)
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if is_dialled:
            self._opening.call()
        loop.watch(sock, self._readable, None)
        self._set_wake()

    # ---- calls ------------------------------------------------------------------------------------

    def call(
        self, method: str, params: Any, on_reply: ReplyCallback, *,
        timeout_s: Optional[float] = None, tell_timeout: bool = False,
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
        if session is None or self.is_closed or self._is_lingering:
            return
        pieces = session.data_to_send()
        if pieces:
            self.send(pieces)
        if not self._is_held and self._must_hold():
            self._hold()
        elif self._is_held and not self._is_processing:
            self.resume()  # Of whoever is called meanwhile, and owes an answer now, more is read.
        # A message that has begun must be complete in time, unless it is us who do not read it.
        if self._had_message and (self._is_held or session.is_between_messages):
            self._message_due = None
        elif self._message_due is None:
            self._message_due = self._loop.now() + self._limits.message_s
        if not self.is_closed and not self._close_if_over():
            self._set_wake()

    @property
    def waiting_bytes(self) -> int:
        """Return how much the other side has not taken yet."""
        return self._outbox.waiting_bytes

    def finish(self) -> None:
        """Send what is still to be sent, read nothing more, then close."""
        if self.rpc is None:
            self.close("the conversation is over")
            return
        self.rpc.is_closing = True
        if not self._is_processing:
            self.flush()

    def close(self, reason: str) -> None:
        """Close now; calls without an answer end with `LinkClosed`."""
        if self.is_closed:
            return
        self.is_closed = True
        if self._wake_timer is not None:
            self._wake_timer.cancel()
        self._loop.put_away(self._sock, *self._names, channel=self._channel)
        self._outbox.clear()
        if self.rpc is not None:
            error = LinkClosed(f"the connection to {self.remote_address} ended ({reason}); try again")
            for answer in self.rpc.abandon(error):
                self._loop.call_now(answer.context, answer.result, answer.error)
        self.receiver.connection_closed(self, reason)

    # ---- reading ----------------------------------------------------------------------------------

    def _readable(self) -> None:
        budget, reads = TURN_BYTES, TURN_READS
        while budget > 0 and reads > 0:
            direct = self.rpc.direct_buffer() if self.rpc is not None else None
            try:
                if direct is not None:
                    count = self._channel.recv_into(direct)
                    data: Buffer = b""
                else:
                    data = self._channel.recv(READ_BYTES)
                    count = len(data)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self.failed(error)
                return
            if not count:
                self._end_of_stream()
                return
            budget, reads = budget - count, reads - (direct is None)
            if direct is not None:
                direct.release()
            self._received(data, direct is None or self.rpc is None or self.rpc.direct_filled(count))
            # A short read has emptied the socket: asking again would only cost a system call.
            if (direct is None and count < READ_BYTES) or not self._wants_data():
                break
        self._read_on()

    def _received(self, data: Buffer, is_worth_a_look: bool) -> None:
        session = self.rpc or self.http
        if session is None or not session.is_closing:
            self._last_active = self.hearing.heard_at = self._loop.now()
        if session is None:
            self._opening.take(bytes(data))
            is_worth_a_look = self.rpc is not None or self.http is not None
        else:
            session.receive_data(data)
        if is_worth_a_look:
            self._process()

    def use_channel(self, channel: Any, due: float) -> None:
        """Read and write through `channel` from now on; a message must be complete by `due`."""
        self._channel = channel
        self._outbox.use(channel)
        self._message_due = due
        self._set_wake()

    def answered(self) -> None:
        """An answer is ready to be sent."""
        if not self._is_processing and not self.is_closed:
            self.flush()
            self.resume()

    def _must_hold(self) -> bool:
        is_ours = self.rpc is not None and self.rpc.is_held
        return is_ours or self._outbox.is_left_unread(self.rpc, self._limits.send_buffer_bytes)

    def _hold(self) -> None:
        self._is_held = True
        self._watch()
        if self.rpc is not None and self.rpc.is_held and not self.is_closed:
            self.hearing.stop(self._loop.now())
            self._loop.post(self.hearing.on_unread)

    def resume(self) -> None:
        """Take the calls that were held back, when that may be again."""
        if self._is_held and not self.is_closed and not self._must_hold():
            self._is_held = False
            self.hearing.go_on(self._loop.now())
            self._process()
            self._watch()

    def _process(self) -> None:
        self._is_processing = True
        if self.rpc is not None:
            self._process_rpc(self.rpc)
        elif self.http is not None:
            for request in filter(self.http.is_owed, self.http.events()):
                self._had_message, self._message_due = True, None
                self._loop.call_now(self.receiver.request_received, self, request)
        self._is_processing = False
        self.flush()

    def _process_rpc(self, session: RpcSession) -> None:
        now, call_now, receiver = self._loop.now(), self._loop.call_now, self.receiver
        while not self.is_closed:
            if session.outgoing_bytes > ANSWER_BYTES:
                self.send(session.data_to_send())
                if self._must_hold():
                    self._hold()
                    break
            if (event := session.next_event(now)) is None:
                break
            if isinstance(event, CallReceived):
                self._had_message, self._message_due = True, None
                call_now(receiver.call_received, self, event)
            elif isinstance(event, ProtocolBroken):
                self.broken_by = event.error
                if self.is_dialled:  # Of those who call the listener tells, and not each time.
                    logging.getLogger("discompute").info("%s: %s", self.remote_address, event.error)
            else:
                self._had_message, self._message_due = True, None
                call_now(event.context, event.result, event.error)

    def _read_on(self) -> None:
        """Come back for what TLS has decrypted or could: the socket does not tell of it again."""
        if self._channel is not self._sock and self._channel.has_received and self._wants_data():
            self._loop.post(self._readable)

    def failed(self, error: OSError) -> None:
        """The channel has failed."""
        self.broken_by = getattr(error, "said", None)
        if self.broken_by is None:
            self.close(error_name(error))
        else:
            self.end_politely(self.broken_by.message)

    def _end_of_stream(self) -> None:
        session = self.rpc or self.http
        is_cut = session is not None and not session.is_between_messages
        is_owed = session is not None and (self._outbox.waiting_bytes > 0 or not session.is_idle)
        # A client that has sent its last call and half-closed (`nc` does) still gets its answers. A node never
        # half-closes: where it does not send any more, it has died.
        if is_owed and not is_cut and not self.is_link and not self.is_dialled:
            self._is_reading = False
            self._is_half_closed = True
            self._watch()
            return
        self.close("connection cut in the middle of a message" if is_cut else "the other side closed it")

    def _is_over(self) -> bool:
        session = self.rpc or self.http
        return session is not None and session.is_closing

    def _close_if_over(self) -> bool:
        session = self.rpc or self.http
        if session is None or self._outbox.waiting_bytes or not (session.is_closing or self._is_half_closed):
            return False
        if session.is_closing:
            self.end_politely("the conversation is over")
            return True
        if session.is_idle:
            self.close("the other side closed it")
        return self.is_closed

    def end_politely(self, reason: str) -> None:
        """Send what the socket takes at once, say that no more comes, then close."""
        if not self.is_closed and not self._is_lingering:
            self._is_lingering = True
            Farewell(self._loop, self._sock, self._channel).begin(lambda: self.close(reason))

    # ---- writing ----------------------------------------------------------------------------------

    def send(self, pieces: Sequence[Buffer]) -> None:
        """Send bytes as they are, after those that wait."""
        try:
            self._outbox.send(pieces, self.rpc.answers_made if self.rpc is not None else 0)
        except OSError as error:
            self.failed(error)
            return
        self._last_active = self._loop.now()
        if self._outbox.waiting_bytes:
            self._watch()

    def _writable(self) -> None:
        try:
            if self._outbox.push():
                self._last_active = self.hearing.heard_at = self._loop.now()
        except OSError as error:
            self.failed(error)
            return
        if not self._close_if_over():
            self.resume()
            self._watch()

    def _wants_data(self) -> bool:
        return self._is_reading and not (self._is_held or self.is_closed or self._is_lingering)

    def _watch(self) -> None:
        """Tell the loop which readiness this connection waits for."""
        if not self.is_closed and not self._is_lingering:
            self._loop.watch(
                self._sock,
                self._readable if self._wants_data() else None,
                self._writable if self._outbox.waiting_bytes else None,
            )
            self._read_on()

    # ---- deadlines --------------------------------------------------------------------------------

    def _set_wake(self) -> None:
        due = self.rpc.next_deadline() if self.rpc is not None else None
        if self._message_due is not None and (due is None or self._message_due < due):
            due = self._message_due
        # Being idle is never due before it was: where a wake-up is set, it is early enough for that, but at the end.
        idle_due = self._idle_due() if self._wake_at is None or self._is_over() else None
        if idle_due is not None and (due is None or idle_due < due):
            due = idle_due
        if due is not None and (self._wake_at is None or due < self._wake_at):
            if self._wake_timer is not None:
                self._wake_timer.cancel()
            self._wake_at = due
            self._wake_timer = self._loop.call_at(due, self._wake)

    def _idle_due(self) -> Optional[float]:
        if (self.is_link or self.is_dialled) and not self._is_over():
            return None
        return self._last_active + self._limits.idle_s

    def _wake(self) -> None:
        self._wake_at = self._wake_timer = None
        if self.is_closed:
            return
        now = self._loop.now()
        if self._message_due is not None and now >= self._message_due:
            self.close("no complete message in time")
            return
        idle_due = self._idle_due()
        if idle_due is not None and now >= idle_due:
            session = self.rpc or self.http
            if session is None or session.is_idle or session.is_closing:
                self.close("idle")
                return
            self._last_active = now
        if self.rpc is not None:
            self.rpc.apply_deadlines(now)
            self._process()
        if not self.is_closed:
            self._set_wake()
