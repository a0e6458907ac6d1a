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
    anything else                             ProtocolBroken               {"jsonrpc":"2.0","id":null,"error":{...}}

A call may carry `"timeout": seconds`; when that has passed, -32006 is answered in place of the method.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Union

from ..model.deadlines import Deadlines
from ..model.errors import (
    CallTimeout, DeadlineExceeded, DiscomputeError, InternalError, InvalidRequest, ProtocolError, TooLarge,
    error_from_wire,
)
from ..model.limits import Limits
from .framing import INLINE_BYTES, Buffer, MessageDecoder, encode_message, join_attachments

#: The ids that JSON-RPC allows; a boolean is an int to Python and not to JSON.
_ID_TYPES = (str, int, float, type(None))


class CallReceived:
    """A call, or a notification when `wants_answer` is false, that the other side made of us.

    Answer it once, now or later, with `answer` or `refuse`; answering a notification does nothing.
    """

    __slots__ = ("method", "params", "wants_answer", "_session", "_id", "_batch", "is_answered")

    def __init__(self, session: RpcSession, message: Dict[str, Any], batch: Optional[_Batch]) -> None:
        self.method: str = message["method"]
        self.params: Union[Dict[str, Any], List[Any]] = message.get("params", {})
        self.wants_answer = "id" in message
        self.is_answered = False
        self._session = session
        self._id = message.get("id")
        self._batch = batch

    def answer(self, result: Any) -> None:
        """Send `result` (JSON types and bytes) as the answer."""
        self._session._finish_call(self, {"jsonrpc": "2.0", "id": self._id, "result": result}, self._batch)

    def refuse(self, error: DiscomputeError) -> None:
        """Send `error` as the answer."""
        self._session._finish_call(self, _error_message(self._id, error), self._batch)


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

    def __init__(self, missing: int) -> None:
        self.missing = missing
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
    ) -> None:
        """`admit(method)` is asked before memory is taken for the attachments of a call; what it
        returns is answered, and the session closes without reading them. `on_answer()` is told
        whenever an answer to a call of theirs is ready to be sent; bytes up to `inline_bytes` travel as text."""
        self._limits = limits
        self._admit_method = admit
        self._on_answer = on_answer
        self._inline_bytes = inline_bytes
        self._decoder = MessageDecoder(limits, admit=self._admit, allocate=allocate)
        self.direct_buffer = self._decoder.direct_buffer
        self.direct_filled = self._decoder.direct_filled
        self._events: Deque[RpcEvent] = deque()
        self._outgoing: List[Buffer] = []
        self._next_id = 0
        #: id -> context of our calls without an answer yet.
        self._waiting: Dict[int, Any] = {}
        #: Calls made of us without an answer yet; only those with a `timeout` are in `_deadlines`.
        self._unanswered = 0
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
            if self.is_closing or self.is_held:
                return None
            try:
                message = self._decoder.next_message()
                if message is None:
                    return None
                self._take(message[0], message[1], now)
            except DiscomputeError as error:
                self._break_off(error)
        return self._events.popleft()

    @property
    def is_held(self) -> bool:
        """Whether too many calls are unanswered: stop reading, ask `next_event` again after answers."""
        return self._unanswered >= self._limits.calls_in_flight

    @property
    def is_between_messages(self) -> bool:
        """Whether an end of the connection here cuts no message."""
        return self._decoder.is_between_messages

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
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        if tell_timeout and timeout_s is not None:
            message["timeout"] = timeout_s
        self._outgoing += self._encode(message)
        self._waiting[number] = context
        if timeout_s is not None:
            self._deadlines.set(number, now + timeout_s)
        return number

    def notify(self, method: str, params: Any) -> None:
        """Tell the other side something, without an answer."""
        self._outgoing += self._encode({"jsonrpc": "2.0", "method": method, "params": params})

    def close_with(self, error: DiscomputeError) -> None:
        """Say why, with `id: null`, and close."""
        self._outgoing += self._encode(_error_message(None, error))
        self.is_closing = True

    def data_to_send(self) -> List[Buffer]:
        """Return the pieces to be sent next, in order, and forget them."""
        data, self._outgoing = self._outgoing, []
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
        """End all our calls with `error`, because the connection is gone."""
        answers = [AnswerReceived(context, None, error) for context in self._waiting.values()]
        self._waiting.clear()
        self.is_closing = True
        return answers

    # ---- inside -----------------------------------------------------------------------------------

    def _encode(self, message: Any) -> List[Buffer]:
        return encode_message(message, self._inline_bytes)

    def _admit(self, value: Any) -> None:
        if self._admit_method is None or not isinstance(value.get("method"), str):
            return
        error = self._admit_method(value["method"])
        if error is not None:
            self._outgoing += self._encode(_error_message(_id_of(value), error))
            self.is_closing = True
            raise error

    def _take(self, value: Any, attachments: List[Buffer], now: float) -> None:
        if isinstance(value, dict):
            if attachments:
                value = join_attachments(value, attachments)
            self._take_one(value, None, now)
        elif isinstance(value, list) and value:
            self._take_batch(value, now)
        else:
            raise InvalidRequest("a message is a JSON-RPC 2.0 object or a non-empty array of them")

    def _take_batch(self, entries: List[Any], now: float) -> None:
        if len(entries) > self._limits.batch_calls:
            raise TooLarge(f"a batch has at most {self._limits.batch_calls} calls; send several")
        wanting = sum(1 for entry in entries if not isinstance(entry, dict) or "method" not in entry or "id" in entry)
        wanting -= sum(1 for entry in entries if _is_answer(entry))
        batch = _Batch(wanting)
        for entry in entries:
            try:
                if isinstance(entry, dict) and "attachments" in entry:
                    raise InvalidRequest("a call in a batch has no attachments; send it on its own")
                self._take_one(entry, batch, now)
            except InvalidRequest as error:
                self._add_to_batch(_error_message(_id_of(entry), error), batch)

    def _take_one(self, message: Any, batch: Optional[_Batch], now: float) -> None:
        if _is_answer(message):
            self._take_answer(message)
            return
        _check_call(message)
        call = CallReceived(self, message, batch)
        if call.wants_answer:
            self._unanswered += 1
            if "timeout" in message:
                self._deadlines.set(call, now + max(0.0, float(message["timeout"])))
        self._events.append(call)

    def _take_answer(self, message: Dict[str, Any]) -> None:
        number = message.get("id")
        if type(number) is not int or number not in self._waiting:
            if number is None and "error" in message:
                raise _error_of(message)
            return  # Late: its call has been given up.
        self._deadlines.cancel(number)
        error = _error_of(message) if "error" in message else None
        self._events.append(AnswerReceived(self._waiting.pop(number), message.get("result"), error))

    def _finish_call(self, call: CallReceived, message: Dict[str, Any], batch: Optional[_Batch]) -> None:
        if call.is_answered or not call.wants_answer:
            return
        call.is_answered = True
        self._unanswered -= 1
        self._deadlines.cancel(call)
        if batch is None:
            self._outgoing += self._encode_answer(message)
        else:
            self._add_to_batch(message, batch)
        if self._on_answer is not None:
            self._on_answer()

    def _encode_answer(self, message: Any) -> List[Buffer]:
        try:
            return self._encode(message)
        except ProtocolError as error:
            return self._encode(_error_message(_id_of(message), InternalError(error.message)))

    def _add_to_batch(self, message: Dict[str, Any], batch: _Batch) -> None:
        batch.answers.append(message)
        batch.missing -= 1
        if not batch.missing:
            self._outgoing += self._encode_answer(batch.answers)

    def _break_off(self, error: DiscomputeError) -> None:
        if not self.is_closing and isinstance(error, ProtocolError):
            self._outgoing += self._encode(_error_message(None, error))
        self.is_closing = True
        self._events.append(ProtocolBroken(error))


def _is_answer(message: Any) -> bool:
    return isinstance(message, dict) and "method" not in message and ("result" in message or "error" in message)


def _id_of(message: Any) -> Any:
    number = message.get("id") if isinstance(message, dict) else None
    return number if isinstance(number, _ID_TYPES) and not isinstance(number, bool) else None


def _check_call(message: Any) -> None:
    if not isinstance(message, dict):
        raise InvalidRequest("a call is a JSON object")
    if message.get("jsonrpc") != "2.0":
        raise InvalidRequest('a call has "jsonrpc": "2.0"')
    if not isinstance(message.get("method"), str):
        raise InvalidRequest("a call has a method, a string")
    if not isinstance(message.get("params", {}), (dict, list)):
        raise InvalidRequest("params is an object or an array")
    number = message.get("id")
    if isinstance(number, bool) or not isinstance(number, _ID_TYPES):
        raise InvalidRequest("an id is a string, a number or null")
    timeout = message.get("timeout", 0)
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise InvalidRequest("timeout is a number of seconds")


def _error_message(number: Any, error: DiscomputeError) -> Dict[str, Any]:
    body: Dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data:
        body["data"] = error.data
    return {"jsonrpc": "2.0", "id": number, "error": body}


def _error_of(message: Dict[str, Any]) -> DiscomputeError:
    body = message["error"]
    if not isinstance(body, dict) or type(body.get("code")) is not int or not isinstance(body.get("message"), str):
        raise InvalidRequest("an error has a code, an integer, and a message, a string")
    data = body.get("data")
    return error_from_wire(body["code"], body["message"], data if isinstance(data, dict) else None)
