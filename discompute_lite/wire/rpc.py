"""Speak JSON-RPC 2.0 in both directions over one connection, without a socket.

Knows:   calls, notifications, batches, answers out of order, deadlines, and who is to blame for what.
Refuses: methods and their meaning (roles/methods.py), sockets (net/stream.py), the time of day.
Read next: wire/framing.py below it, net/stream.py around it.

Give received bytes to `receive_data`, take `next_event` until None, send `data_to_send` whenever it
has something, and call `apply_deadlines` at `next_deadline`. When `is_closing` is set, send what there is and
close. Both ends may call; ids belong to this connection and are never remembered beyond it.

    received                                  event                       sent
    {"jsonrpc":"2.0","id":1,"method":"Ping"}  CallReceived                 {"jsonrpc":"2.0","id":1,"result":{...}}
    {"jsonrpc":"2.0","method":"Ping"}         CallReceived, no answer
    {"jsonrpc":"2.0","id":1,"result":{...}}   AnswerReceived
    [call, call]                              CallReceived twice           [answer, answer]
    {"id":null,"error":{...}}                 ProtocolBroken, no answer
    anything else                             ProtocolBroken               {"jsonrpc":"2.0","id":null,"error":{...}}

A call may carry `"timeout": seconds`; when that has passed, -32006 is answered in place of the method.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Dict, FrozenSet, List, Optional, Union

from ..model.deadlines import Deadlines
from ..model.errors import (
    CallTimeout, DeadlineExceeded, DiscomputeError, InternalError, InvalidRequest, LocalProtocolError, ProtocolError,
    TooLarge,
)
from ..model.limits import Limits
from .envelope import check_rpc_call, is_rpc_answer, rpc_error, rpc_id, rpc_refusal
from .framing import INLINE_BYTES, Buffer, MessageDecoder, RoomPort, encode_message, encode_sendable, join_attachments
from .repeats import RepeatReader

#: Kept free for each answer of a batch that must become an error.
ERROR_ANSWER_BYTES = 512


class CallReceived:
    """A call, or a notification when `wants_answer` is false, that the other side made of us.

    Answer it once, now or later, with `answer` or `refuse`; answering a notification does nothing.
    """

    __slots__ = ("method", "params", "wants_answer", "timeout_s", "_session", "_id", "_batch", "is_answered")

    def __init__(self, session: RpcSession, message: Dict[str, Any], batch: Optional[_Batch]) -> None:
        self.method: str = message["method"]
        self.params: Union[Dict[str, Any], List[Any]] = message.get("params", {})
        self.wants_answer = "id" in message
        #: Seconds that the caller gives, None for as long as it takes.
        self.timeout_s: Optional[float] = message.get("timeout")
        self.is_answered = False
        self._session = session
        self._id = message.get("id")
        self._batch = batch

    def answer(self, result: Any) -> None:
        """Send `result` (JSON types and bytes) as the answer."""
        self._session._finish_call(self, {"jsonrpc": "2.0", "id": self._id, "result": result})

    def refuse(self, error: DiscomputeError) -> None:
        """Send `error` as the answer."""
        self._session._finish_call(self, rpc_refusal(self._id, error))


class AnswerReceived:
    """The answer to one of our calls: `error` is None or says why there is no `result`."""

    __slots__ = ("context", "result", "error")

    def __init__(self, context: Any, result: Any, error: Optional[DiscomputeError]) -> None:
        self.context = context
        self.result = result
        self.error = error


class ProtocolBroken:
    """The other side broke the rules; it has been told, and the session is closing."""

    __slots__ = ("error",)

    def __init__(self, error: DiscomputeError) -> None:
        self.error = error


RpcEvent = Union[CallReceived, AnswerReceived, ProtocolBroken]


class _Batch:
    """Collect the answers of one batch until all are there."""

    __slots__ = ("missing", "answers")

    def __init__(self) -> None:
        self.missing = 0
        self.answers: List[Any] = []


class RpcSession:
    """Hold one connection's protocol state."""

    def __init__(
        self,
        limits: Limits,
        *,
        admit: Optional[Callable[[str], Optional[DiscomputeError]]] = None,
        allocate: Callable[[int], Any] = bytearray,
        on_answer: Optional[Callable[[], None]] = None,
        inline_bytes: int = INLINE_BYTES,
        repeated: FrozenSet[str] = frozenset(),
        room: Optional[RoomPort] = None,
    ) -> None:
        """`admit(method)` is asked before memory is taken for the attachments of a call; what it
        returns is answered, and the session closes without reading them. `on_answer()` is told
        whenever an answer to a call of theirs is ready to be sent; bytes up to `inline_bytes` travel as text.
        `repeated` names methods of which the same call comes again and again (wire/repeats.py); `room` is what the
        attachments of all connections share."""
        self._limits = limits
        #: Who wants bytes as text (HTTP) gets lines of any length; over a link ours must pass at the other end.
        self._line_limit = max(limits.line_bytes, inline_bytes)
        self._admit_method = admit
        self._on_answer = on_answer
        self._inline_bytes = inline_bytes
        parse = RepeatReader(repeated, limits.json_depth, limits.json_values).parse if repeated else None
        self._decoder = MessageDecoder(limits, admit=self._admit, allocate=allocate, parse=parse, room=room)
        self.direct_buffer = self._decoder.direct_buffer
        self.direct_filled = self._decoder.direct_filled
        self._events: Deque[RpcEvent] = deque()
        self._outgoing: List[Buffer] = []
        self._next_id = 0
        #: id -> context of our calls without an answer yet.
        self._waiting: Dict[int, Any] = {}
        #: Calls made of us without an answer yet; only those with a `timeout` are in `_deadlines`.
        self._unanswered = 0
        #: Answers to their calls so far, and bytes that wait in `_outgoing`: what a peer owes us to read.
        self.answers_made = 0
        self.outgoing_bytes = 0
        self._deadlines = Deadlines()
        self.is_closing = False

    # ---- their side -------------------------------------------------------------------------------

    def receive_data(self, data: Buffer) -> None:
        """Take received bytes; raises nothing, whatever they are."""
        if not self.is_closing:
            self._decoder.receive_data(data)

    def next_event(self, now: float) -> Optional[RpcEvent]:
        """Return the next thing that happened, or None until more comes."""
        while not self._events:
            if self.is_closing or self._unanswered >= self._limits.calls_in_flight:
                return None
            try:
                message = self._decoder.next_message()
                if message is None:
                    return None
                event = self._take(message[0], message[1], now)
            except DiscomputeError as error:
                self._break_off(error)
            else:
                if event is not None:
                    return event
        return self._events.popleft()

    @property
    def is_held(self) -> bool:
        """Whether too many calls are unanswered, or attachments wait for room: stop reading, ask `next_event` again
        after answers, or when there is room."""
        return self._unanswered >= self._limits.calls_in_flight or self._decoder.is_waiting

    @property
    def missing_bytes(self) -> int:
        """Return how much is still to come of attachments that are being received."""
        return self._decoder.missing_bytes

    @property
    def is_between_messages(self) -> bool:
        """Whether an end of the connection here cuts no message."""
        return self._decoder.is_between_messages

    @property
    def is_waiting(self) -> bool:
        """Whether the other side owes us an answer."""
        return bool(self._waiting)

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for an answer, on either side."""
        return not self._waiting and not self._unanswered

    # ---- our side ---------------------------------------------------------------------------------

    def call(
        self, method: str, params: Any, *, now: float, context: Any = None,
        timeout_s: Optional[float] = None, tell_timeout: bool = False,
    ) -> int:
        """Make a call and return its id; its `AnswerReceived` carries `context`.

        Without an answer after `timeout_s` it is a `CallTimeout`; `tell_timeout` lets the other side know.
        """
        self._next_id += 1
        number = self._next_id
        message: Dict[str, Any] = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        if tell_timeout and timeout_s is not None:
            message["timeout"] = timeout_s
        self._put(message)
        self._waiting[number] = context
        if timeout_s is not None:
            self._deadlines.set(number, now + timeout_s)
        return number

    def notify(self, method: str, params: Any) -> None:
        """Tell the other side something, without an answer."""
        self._put({"jsonrpc": "2.0", "method": method, "params": params})

    def close_with(self, error: DiscomputeError) -> None:
        """Say why, with `id: null`, and close."""
        self._put(rpc_refusal(None, error))
        self.is_closing = True

    def data_to_send(self) -> List[Buffer]:
        """Return the pieces to be sent next, in order, and forget them."""
        data, self._outgoing, self.outgoing_bytes = self._outgoing, [], 0
        return data

    def next_deadline(self) -> Optional[float]:
        """Return when `apply_deadlines` is next worth calling."""
        return self._deadlines.next()

    def apply_deadlines(self, now: float) -> None:
        """Give up calls whose time has passed, ours and theirs."""
        for key in self._deadlines.pop_due(now):
            if isinstance(key, CallReceived):
                key.refuse(DeadlineExceeded("the time that the caller gave ran out; allow more or ask again"))
            elif key in self._waiting:
                error = CallTimeout("no answer in time; the device may be asleep or overloaded, try again")
                self._events.append(AnswerReceived(self._waiting.pop(key), None, error))

    def abandon(self, error: DiscomputeError) -> List[AnswerReceived]:
        """End all our calls because the connection is gone: with the answer that nobody took yet, else with `error`."""
        answers = [event for event in self._events if isinstance(event, AnswerReceived)]
        answers += [AnswerReceived(context, None, error) for context in self._waiting.values()]
        self._events.clear()
        self._waiting.clear()
        self._decoder.give_room_back()
        self.is_closing = True
        return answers

    # ---- inside -----------------------------------------------------------------------------------

    def _put(self, message: Any) -> None:
        """Have a message sent; raise `LocalProtocolError` where it cannot be, and nothing of it is."""
        self._queue(encode_sendable(message, self._limits, self._inline_bytes))

    def _queue(self, pieces: List[Buffer]) -> None:
        self._outgoing += pieces
        for piece in pieces:
            self.outgoing_bytes += len(piece)

    def _admit(self, value: Dict[str, Any]) -> bool:
        """Say whether a message is worth memory for its attachments; refuse what is no message, or not allowed."""
        if is_rpc_answer(value):
            return type(value.get("id")) is int and value["id"] in self._waiting
        check_rpc_call(value)
        error = self._admit_method(value["method"]) if self._admit_method is not None else None
        if error is not None:
            self._put(rpc_refusal(rpc_id(value), error))
            self.is_closing = True
            raise error
        return True

    def _take(self, value: Any, attachments: List[Buffer], now: float) -> Optional[RpcEvent]:
        """Take one message and return its event; None for what has none, and for a batch, whose events wait."""
        if isinstance(value, dict):
            if attachments:
                value = join_attachments(value, attachments)
            if "method" not in value and ("result" in value or "error" in value):
                return self._take_answer(value)
            check_rpc_call(value)
            return self._take_call(CallReceived(self, value, None), now)
        if isinstance(value, list) and value:
            self._take_batch(value, now)
            return None
        raise InvalidRequest("a message is a JSON-RPC 2.0 object or a non-empty array of them")

    def _take_batch(self, entries: List[Any], now: float) -> None:
        if len(entries) > self._limits.batch_calls:
            raise TooLarge(f"a batch has at most {self._limits.batch_calls} calls; send several")
        calls: List[CallReceived] = []
        refusals: List[Any] = []
        batch = _Batch()
        for entry in entries:
            if is_rpc_answer(entry):
                answer = self._take_answer(entry)
                if answer is not None:
                    self._events.append(answer)
                continue
            try:
                check_rpc_call(entry)
                if "attachments" in entry:
                    raise InvalidRequest("a call in a batch has no attachments; send it on its own")
            except InvalidRequest as error:
                refusals.append(rpc_refusal(rpc_id(entry), error))
            else:
                calls.append(CallReceived(self, entry, batch))
        batch.missing = len(refusals) + sum(call.wants_answer for call in calls)
        for refusal in refusals:
            self._add_to_batch(refusal, batch)
        for call in calls:
            self._events.append(self._take_call(call, now))

    def _take_call(self, call: CallReceived, now: float) -> CallReceived:
        if call.wants_answer:
            self._unanswered += 1
            if call.timeout_s is not None:
                self._deadlines.set(call, now + max(0.0, call.timeout_s))
        return call

    def _take_answer(self, message: Dict[str, Any]) -> Optional[RpcEvent]:
        error = rpc_error(message) if "error" in message else None
        number: Any = message.get("id")
        if type(number) is int and number in self._waiting:
            self._deadlines.cancel(number)
            return AnswerReceived(self._waiting.pop(number), message.get("result"), error)
        if number is None and error is not None:
            # They could not read something of ours, and closing is theirs to explain: an error is never answered.
            self.is_closing = True
            return ProtocolBroken(error)
        # It is late: its call has been given up.
        return None

    def _finish_call(self, call: CallReceived, message: Dict[str, Any]) -> None:
        """Send the answer to a call: its result or a refusal."""
        if call.is_answered or not call.wants_answer:
            return
        call.is_answered = True
        self._unanswered -= 1
        self.answers_made += 1
        if call.timeout_s is not None:
            self._deadlines.cancel(call)
        if call._batch is None:
            self._put_answer(message)
        else:
            self._add_to_batch(message, call._batch)
        if self._on_answer is not None:
            self._on_answer()

    def _put_answer(self, message: Any) -> None:
        try:
            pieces = encode_sendable(message, self._limits, self._inline_bytes)
        except LocalProtocolError as error:
            pieces = encode_message(rpc_refusal(rpc_id(message), InternalError(error.message)))
        self._queue(pieces)

    def _add_to_batch(self, message: Dict[str, Any], batch: _Batch) -> None:
        batch.answers.append(message)
        batch.missing -= 1
        if not batch.missing:
            try:
                self._put(batch.answers)
            except LocalProtocolError:
                self._put_answer(self._sendable(batch.answers))

    def _sendable(self, answers: List[Any]) -> List[Any]:
        """Replace by errors those answers of a batch that cannot be sent, so that the others can."""
        room = self._line_limit - ERROR_ANSWER_BYTES * len(answers)
        kept = []
        for message in answers:
            try:
                size = len(encode_message([message])[0])
                if size > room:
                    raise LocalProtocolError("the answers of this batch are too long; send this call on its own")
                room -= size
            except LocalProtocolError as error:
                message = rpc_refusal(rpc_id(message), InternalError(error.message))
            kept.append(message)
        return kept

    def _break_off(self, error: DiscomputeError) -> None:
        if not self.is_closing and isinstance(error, ProtocolError):
            self._put(rpc_refusal(None, error))
        self.is_closing = True
        self._events.append(ProtocolBroken(error))
