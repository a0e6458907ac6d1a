"""Two ends of a connection call each other, in any order, however the bytes come; who breaks a rule is told once."""

from __future__ import annotations

import base64
import json
import weakref
from dataclasses import replace
from typing import Any, Dict, List, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.errors import (
    CallError,
    CallTimeout,
    DeadlineExceeded,
    DiscomputeError,
    Forbidden,
    InternalError,
    InvalidParams,
    LinkClosed,
    LocalProtocolError,
    MethodNotFound,
    ProtocolError,
    Unauthenticated,
    Unavailable,
)
from discompute_lite.model.limits import Limits
from discompute_lite.wire.rpc import AnswerReceived, CallReceived, ProtocolBroken, RpcSession

LIMITS = Limits()
LARGE = bytes(range(256)) * 20


def bytes_of(session: RpcSession) -> bytes:
    return b"".join(bytes(piece) for piece in session.data_to_send())


def sent_by(session: RpcSession) -> List[Any]:
    """Return the JSON of the lines that wait to be sent; there must be no attachments."""
    return [json.loads(line) for line in bytes_of(session).splitlines()]


def feed(session: RpcSession, data: Any, now: float = 0.0) -> List[Any]:
    """Give bytes, or a JSON value as a line, and return the events."""
    session.receive_data(data if isinstance(data, bytes) else json.dumps(data).encode() + b"\n")
    return list(iter(lambda: session.next_event(now), None))


def call_message(number: Any = 1, method: str = "Ping", **members: Any) -> Dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, **members}


def one_call(session: RpcSession, data: Any) -> CallReceived:
    (event,) = feed(session, data)
    assert isinstance(event, CallReceived)
    return event


def one_answer(session: RpcSession, data: Any) -> AnswerReceived:
    (event,) = feed(session, data)
    assert isinstance(event, AnswerReceived)
    return event


def assert_broken(session: RpcSession, data: Any, code: int) -> DiscomputeError:
    """The bytes end the session: one event, one error with `id: null`, and deaf ears afterwards."""
    events = feed(session, data)
    assert len(events) == 1 and isinstance(events[0], ProtocolBroken)
    (answer,) = sent_by(session)
    assert answer["id"] is None and answer["jsonrpc"] == "2.0"
    assert answer["error"]["code"] == code == events[0].error.code
    assert answer["error"]["message"] and "\n" not in answer["error"]["message"]
    assert session.is_closing
    assert feed(session, call_message()) == [] and sent_by(session) == []
    return events[0].error


# ---- calls made of us --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 0, -5, 2 ** 63 - 1, 1.5, "abc", "", "é\n", None])
def test_an_answer_carries_the_id_of_its_call(number):
    session = RpcSession(LIMITS)
    call = one_call(session, call_message(number, "Echo", params={"a": 1}))
    assert (call.method, call.params, call.wants_answer) == ("Echo", {"a": 1}, True)
    call.answer({"b": 2})
    assert sent_by(session) == [{"jsonrpc": "2.0", "id": number, "result": {"b": 2}}]


@pytest.mark.parametrize(("members", "params"), [({}, {}), ({"params": []}, []), ({"params": [1, "x"]}, [1, "x"])])
def test_params_may_be_absent_or_in_order(members, params):
    assert one_call(RpcSession(LIMITS), call_message(**members)).params == params


def test_a_notification_is_never_answered():
    session = RpcSession(LIMITS)
    for end in ("answer", "refuse"):
        call = one_call(session, {"jsonrpc": "2.0", "method": "update", "params": [1]})
        assert not call.wants_answer
        call.answer(5) if end == "answer" else call.refuse(InternalError("no"))
    assert bytes_of(session) == b"" and session.is_idle


def test_refusals_carry_code_sentence_and_data():
    session = RpcSession(LIMITS)
    one_call(session, call_message(4)).refuse(Forbidden("not at night", {"rule": "hours"}))
    assert sent_by(session) == [
        {"jsonrpc": "2.0", "id": 4, "error": {"code": -32003, "message": "not at night", "data": {"rule": "hours"}}}
    ]


def test_the_first_answer_counts():
    session = RpcSession(LIMITS)
    call = one_call(session, call_message())
    call.answer(1)
    call.answer(2)
    call.refuse(InternalError("no"))
    assert [message["result"] for message in sent_by(session)] == [1]
    assert session.answers_made == 1 and session.is_idle


def test_answers_may_come_in_any_order():
    session = RpcSession(LIMITS)
    calls = feed(session, b"".join(json.dumps(call_message(number)).encode() + b"\n" for number in (1, 2, 3)))
    for call in (calls[2], calls[0], calls[1]):
        call.answer(call.method)
    assert [message["id"] for message in sent_by(session)] == [3, 1, 2]


def test_unknown_members_are_ignored():
    call = one_call(RpcSession(LIMITS), call_message(params={}, lite={"x": 1}, result=5, auth="?"))
    assert call.method == "Ping"


@pytest.mark.parametrize(
    "message",
    [
        1, "x", True, None, [], {}, {"jsonrpc": "2.0"}, {"id": 1}, {"method": "x"}, {"jsonrpc": "1.0", "method": "x"},
        {"jsonrpc": 2.0, "method": "x"}, {"jsonrpc": "2.0", "method": 1}, {"jsonrpc": "2.0", "method": None, "id": 1},
        call_message(params="bar"), call_message(params=None), call_message(params=3), call_message(number=True),
        call_message(number=[1]), call_message(number={}), call_message(timeout="2"), call_message(timeout=True),
        call_message(timeout=None), {"jsonrpc": "2.0", "method": ["x"], "params": {}},
    ],
)
def test_what_is_no_request_is_refused_and_ends_the_session(message):
    assert_broken(RpcSession(LIMITS), message, -32600)


@pytest.mark.parametrize(
    "line",
    [b"\xff\n", b"{]\n", b'{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]\n', b"\xef\xbb\xbf{}\n",
     '{"jsonrpc":"2.0","method":"x"}\n'.encode("utf-16"), b"\x00\n", b'{"id":1,"id":1}\n', b"[1e400]\n", b"[NaN]\n",
     rb'{"jsonrpc":"2.0","method":"\ud800"}' + b"\n", b"[" * 65 + b"]" * 65 + b"\n", b"9223372036854775808\n",
     b"{} {}\n"],
)
def test_what_is_no_json_is_refused_and_ends_the_session(line):
    assert_broken(RpcSession(LIMITS), line, -32700)


@pytest.mark.parametrize(
    "data",
    [b'"' + b"x" * 2 ** 20, b'{"attachments":[-1],"method":"x","jsonrpc":"2.0"}\n',
     json.dumps(call_message(attachments=[0] * 257)).encode() + b"\n",
     json.dumps(call_message(attachments=[2 ** 29, 2 ** 29, 1])).encode() + b"\n",
     json.dumps([call_message()] * 257).encode() + b"\n"],
)
def test_what_is_too_large_is_refused_and_ends_the_session(data):
    assert_broken(RpcSession(LIMITS, allocate=lambda size: pytest.fail("allocated")), data, -32001)


def test_calls_before_the_mistake_are_still_ours_to_answer():
    session = RpcSession(LIMITS)
    call, broken = feed(session, json.dumps(call_message(7)).encode() + b"\n}\n")
    assert isinstance(broken, ProtocolBroken)
    call.answer(True)
    assert [message["id"] for message in sent_by(session)] == [None, 7]


# ---- the specification's own examples ------------------------------------------------------------------


def arithmetic(call: CallReceived) -> None:
    """Answer as the server of the JSON-RPC 2.0 specification, section 7, does."""
    if call.method == "subtract":
        values = call.params if isinstance(call.params, list) else [call.params["minuend"], call.params["subtrahend"]]
        call.answer(values[0] - values[1])
    elif call.method == "sum":
        call.answer(sum(call.params))
    elif call.method == "get_data":
        call.answer(["hello", 5])
    else:
        call.refuse(MethodNotFound("Method not found"))


def answer(number: Any, result: Any) -> Dict[str, Any]:
    return {"jsonrpc": "2.0", "result": result, "id": number}


def error(number: Any, code: int) -> Dict[str, Any]:
    return {"jsonrpc": "2.0", "error": {"code": code}, "id": number}


def in_order(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


@pytest.mark.parametrize(
    ("request_text", "response"),
    [
        ('{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}', answer(1, 19)),
        ('{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}', answer(2, -19)),
        ('{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}', answer(3,
        19)),
        ('{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}', answer(4,
        19)),
        ('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', None),
        ('{"jsonrpc": "2.0", "method": "foobar"}', None),
        ('{"jsonrpc": "2.0", "method": "foobar", "id": "1"}', error("1", -32601)),
        ('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', error(None, -32700)),
        ('{"jsonrpc": "2.0", "method": 1, "params": "bar"}', error(None, -32600)),
        ('[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},{"jsonrpc": "2.0", "method"', error(None,
        -32700)),
        ("[]", error(None, -32600)),
        ("[1]", [error(None, -32600)]),
        ("[1,2,3]", [error(None, -32600)] * 3),
        (
            '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},'
            '{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},'
            '{"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},'
            '{"foo": "boo"},'
            '{"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},'
            '{"jsonrpc": "2.0", "method": "get_data", "id": "9"}]',
            [answer("1", 7), answer("2", 19), error(None, -32600), error("5", -32601), answer("9", ["hello", 5])],
        ),
        ('[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},'
         '{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]', None),
    ],
)
def test_the_examples_of_the_specification(request_text, response):
    session = RpcSession(LIMITS)
    for event in feed(session, request_text.encode() + b"\n"):
        if isinstance(event, CallReceived):
            arithmetic(event)
    sent = sent_by(session)
    assert len(sent) == (response is not None)

    def code_only(message: Any) -> Any:
        return {**message, "error": {"code": message["error"]["code"]}} if "error" in message else message

    if isinstance(response, list):
        # "The Response objects being returned from a batch call MAY be returned in any order."
        assert sorted(map(in_order, map(code_only, sent[0]))) == sorted(map(in_order, map(code_only, response)))
    elif response is not None:
        assert code_only(sent[0]) == response


# ---- batches -------------------------------------------------------------------------------------------


def test_a_batch_is_answered_when_its_last_answer_is_there():
    session = RpcSession(LIMITS)
    calls = feed(session, [call_message(1), {"jsonrpc": "2.0", "method": "note"}, call_message("b")])
    assert [call.wants_answer for call in calls] == [True, False, True]
    calls[2].answer(2)
    assert bytes_of(session) == b""
    calls[0].refuse(Unavailable("busy"))
    (batch,) = sent_by(session)
    assert [message["id"] for message in batch] == ["b", 1] and session.is_idle


@pytest.mark.parametrize("bad", [{"jsonrpc": "2.0", "method": 1}, 1, {}, call_message("x", params=1), {"method": "x"}])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_bad_entry_of_a_batch_costs_nobody_else_an_answer(bad, is_first):
    session = RpcSession(LIMITS)
    good = call_message("good")
    (call,) = feed(session, [bad, good] if is_first else [good, bad])
    assert bytes_of(session) == b"" and not session.is_closing
    call.answer(1)
    (batch,) = sent_by(session)
    assert [message["id"] for message in batch if "result" in message] == ["good"]
    assert [message["error"]["code"] for message in batch if "error" in message] == [-32600]
    assert one_call(session, call_message(9)).wants_answer


def test_an_entry_of_a_batch_has_no_attachments():
    session = RpcSession(LIMITS, allocate=lambda size: pytest.fail("allocated"))
    (call,) = feed(session, [call_message(1), call_message(2, attachments=[3])])
    call.answer(True)
    assert sorted(("result" in message, message["id"]) for message in sent_by(session)[0]) == [(False, 2), (True, 1)]


def test_bytes_in_a_batch_are_text():
    session = RpcSession(LIMITS)
    (call,) = feed(session, [call_message(1)])
    call.answer({"data": LARGE})
    assert base64.b64decode(sent_by(session)[0][0]["result"]["data"]) == LARGE


def test_a_batch_of_answers_is_taken():
    session = RpcSession(LIMITS)
    numbers = [session.call("a", {}, now=0.0, context=name) for name in "xy"]
    bytes_of(session)
    events = feed(session, [answer(numbers[1], 2), answer(99, 0), error_of(numbers[0], -32003, "no")])
    assert [(event.context, event.result) for event in events] == [("y", 2), ("x", None)]
    assert bytes_of(session) == b""


def test_one_answer_that_cannot_be_sent_costs_a_batch_no_other():
    session = RpcSession(LIMITS)
    calls = feed(session, [call_message(1), call_message(2), call_message(3)])
    calls[0].answer(object())
    calls[1].answer("fine")
    calls[2].answer("x" * 2 ** 20)
    (batch,) = sent_by(session)
    assert [message.get("result") for message in batch] == [None, "fine", None]
    assert [message["error"]["code"] for message in batch if "error" in message] == [-32603, -32603]
    assert not session.is_closing


# ---- our calls -----------------------------------------------------------------------------------------


def error_of(number: Any, code: Any, message: Any = "no", **data: Any) -> Dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message, **data}}


def waiting_session(count: int = 1, **options: Any) -> RpcSession:
    session = RpcSession(LIMITS)
    for number in range(1, count + 1):
        assert session.call("Ping", {}, now=0.0, context=f"call {number}", **options) == number
    bytes_of(session)
    return session


def test_a_call_is_one_line_with_an_id_of_its_own():
    session = RpcSession(LIMITS)
    assert session.call("Echo", {"a": b"x"}, now=0.0) == 1
    assert session.call("Echo", [2], now=0.0, timeout_s=2.5, tell_timeout=True) == 2
    session.call("Echo", {}, now=0.0, timeout_s=2.5)
    session.notify("Note", {"n": 1})
    assert sent_by(session) == [
        {"jsonrpc": "2.0", "id": 1, "method": "Echo", "params": {"a": "eA=="}},
        {"jsonrpc": "2.0", "id": 2, "method": "Echo", "params": [2], "timeout": 2.5},
        {"jsonrpc": "2.0", "id": 3, "method": "Echo", "params": {}},
        {"jsonrpc": "2.0", "method": "Note", "params": {"n": 1}},
    ]
    assert session.is_waiting and not session.is_idle


def test_answers_find_their_calls():
    session = waiting_session(2)
    event = one_answer(session, answer(2, {"x": 1}))
    assert (event.context, event.result, event.error) == ("call 2", {"x": 1}, None)
    event = one_answer(session, answer(1, None))
    assert (event.context, event.result, event.error) == ("call 1", None, None)
    assert session.is_idle and not session.is_waiting


@pytest.mark.parametrize(
    ("code", "kind"), [(-32601, MethodNotFound), (-32602, InvalidParams), (-32002, Unauthenticated), (-32006,
    DeadlineExceeded),
                       (7, CallError), (-32099, CallError)]
)
def test_refusals_of_our_calls_are_errors_by_their_code(code, kind):
    event = one_answer(waiting_session(), error_of(1, code, "because", data={"retry_after": 3}))
    assert type(event.error) is kind and event.result is None
    assert (event.error.code, event.error.message, event.error.data) == (code, "because", {"retry_after": 3})


@pytest.mark.parametrize("data", [None, 5, "text", [1]])
def test_error_data_that_is_no_object_is_left_out(data):
    assert one_answer(waiting_session(), error_of(1, -32000, data=data)).error.data is None


@pytest.mark.parametrize(
    "body", [None, 5, "x", {}, {"code": -1}, {"code": "x", "message": "y"}, {"code": True, "message": "y"},
             {"code": 1.5, "message": "y"}, {"code": 1, "message": None}]
)
def test_a_malformed_error_ends_the_session(body):
    session = waiting_session()
    assert_broken(session, {"jsonrpc": "2.0", "id": 1, "error": body}, -32600)
    assert [event.context for event in session.abandon(LinkClosed("gone"))] == ["call 1"]


@pytest.mark.parametrize(
    "message", [answer(2, 5), answer(0, 5), answer("1", 5), answer(1.0, 5), answer(True, 5), answer(None, 5),
    answer([1], 5),
                error_of(5, -32000)]
)
def test_answers_nobody_waits_for_are_ignored(message):
    session = waiting_session()
    assert feed(session, message) == [] and bytes_of(session) == b"" and not session.is_closing
    assert one_answer(session, answer(1, 7)).result == 7
    assert feed(session, answer(1, 8)) == []


@pytest.mark.parametrize("in_batch", [False, True])
def test_an_error_without_id_ends_the_session_and_is_not_answered(in_batch):
    session = waiting_session()
    message = error_of(None, -32002, "Pair this device first")
    (event,) = feed(session, [message] if in_batch else message)
    assert isinstance(event, ProtocolBroken) and type(event.error) is Unauthenticated
    assert session.is_closing and bytes_of(session) == b""


def test_errors_do_not_bounce_between_two_sessions():
    ours, theirs = RpcSession(LIMITS), RpcSession(LIMITS)
    feed(ours, b"garbage\n")
    feed(theirs, bytes_of(ours))
    assert bytes_of(theirs) == b"" and ours.is_closing and theirs.is_closing


def test_a_call_that_cannot_be_sent_was_never_made():
    session = RpcSession(LIMITS)
    for params in ({"a": object()}, {"a": "x" * 2 ** 20}, {"a": [LARGE] * 257}, {"a": float("nan")}):
        with pytest.raises(LocalProtocolError):
            session.call("Echo", params, now=0.0, timeout_s=1.0)
    with pytest.raises(LocalProtocolError):
        RpcSession(replace(LIMITS, message_bytes=len(LARGE))).notify("Note", [LARGE, LARGE])
    assert bytes_of(session) == b"" and session.is_idle and session.next_deadline() is None


@pytest.mark.parametrize("result", [object(), float("inf"), "\ud800", {"a": {1}}, "x" * 2 ** 20, [LARGE] * 257])
def test_an_answer_that_cannot_be_sent_becomes_an_internal_error(result):
    session = RpcSession(LIMITS)
    one_call(session, call_message("id")).answer(result)
    (message,) = sent_by(session)
    assert message["id"] == "id" and message["error"]["code"] == -32603 and not session.is_closing


def test_an_error_that_cannot_be_sent_becomes_an_internal_error():
    session = RpcSession(LIMITS)
    one_call(session, call_message(5)).refuse(Unavailable("later", {"retry_after": float("inf")}))
    assert sent_by(session)[0]["error"]["code"] == -32603


def test_an_id_as_long_as_a_line_upsets_nobody():
    session = RpcSession(LIMITS)
    number = "x" * (2 ** 20 - 60)
    one_call(session, json.dumps(call_message(number), separators=(",", ":")).encode() + b"\n").answer({"a": "y" * 100})
    assert sent_by(session)[0]["id"] == number


def test_our_longest_line_is_one_that_the_other_side_takes():
    ours, theirs = RpcSession(LIMITS), RpcSession(LIMITS)
    overhead = len(b'{"jsonrpc":"2.0","method":"Note","params":[""]}')
    ours.notify("Note", ["x" * (2 ** 20 - overhead)])
    (event,) = feed(theirs, bytes_of(ours))
    assert isinstance(event, CallReceived)
    with pytest.raises(LocalProtocolError):
        ours.notify("Note", ["x" * (2 ** 20 - overhead + 1)])


# ---- attachments ----------------------------------------------------------------------------------------


def test_bytes_go_both_ways():
    ours, theirs = RpcSession(LIMITS), RpcSession(LIMITS)
    ours.call("Echo", {"large": LARGE, "small": b"abc"}, now=0.0)
    (call,) = feed(theirs, bytes_of(ours))
    assert call.params == {"large": LARGE, "small": "YWJj"}
    call.answer([call.params["large"], b""])
    assert one_answer(ours, bytes_of(theirs)).result == [LARGE, ""]


def with_attachments(message: Dict[str, Any], *contents: bytes) -> bytes:
    return json.dumps({**message, "attachments": [len(item)
    for item in contents]}).encode() + b"\n" + b"".join(contents)


class Doorkeeper:
    """Admit calls to some methods only, and remember what memory was taken."""

    def __init__(self) -> None:
        self.allocated: List[int] = []
        self.session = RpcSession(LIMITS, admit=self.admit, allocate=self.allocate)

    def admit(self, method: str) -> Optional[DiscomputeError]:
        return None if method == "Open" else Unauthenticated("Pair this device first")

    def allocate(self, size: int) -> bytearray:
        self.allocated.append(size)
        return bytearray(size)


def test_attachments_of_a_refused_call_are_not_read():
    door = Doorkeeper()
    data = with_attachments(call_message("id", "Closed"), LARGE)
    for end in (data.index(b"\n") + 1, len(data)):
        events = feed(door.session, data[:end])
        if events:
            assert isinstance(events[0], ProtocolBroken) and type(events[0].error) is Unauthenticated
            (message,) = sent_by(door.session)
            assert message["id"] == "id" and message["error"]["code"] == -32002
    assert door.session.is_closing and door.allocated == [] and bytes_of(door.session) == b""


def test_a_refused_method_without_attachments_is_for_the_receiver_to_refuse():
    door = Doorkeeper()
    assert one_call(door.session, call_message(1, "Closed")).method == "Closed"
    assert one_call(door.session, with_attachments(call_message(2, "Open", params=[{"$attachment": 0}]),
    LARGE)).params == [LARGE]


@pytest.mark.parametrize(
    "message", [{}, {"id": 1}, {"method": "Open"}, {"jsonrpc": "2.0", "method": 5}, call_message(params="x",
    method="Open"),
                call_message(True, "Open")]
)
def test_no_memory_is_taken_for_what_is_no_message(message):
    door = Doorkeeper()
    data = with_attachments(message, LARGE)
    assert_broken(door.session, data, -32600)
    assert door.allocated == []


@pytest.mark.parametrize("step", [1, 1000, 10 ** 6])
def test_no_memory_is_taken_for_answers_nobody_waits_for(step):
    door = Doorkeeper()
    data = with_attachments(answer(77, {"$attachment": 0}), LARGE) + with_attachments(error_of(3, -1), b"\n" * 5) \
        + json.dumps(call_message()).encode() + b"\n"
    events = [event for start in range(0, len(data), step) for event in feed(door.session, data[start:start + step])]
    assert [type(event) for event in events] == [CallReceived] and door.allocated == []
    assert not door.session.is_closing


@pytest.mark.parametrize("reference", [1, -1, True, "0", None])
def test_a_reference_to_no_attachment_ends_the_session(reference):
    data = with_attachments(call_message(params={"a": {"$attachment": reference}}), b"x")
    assert_broken(RpcSession(LIMITS), data, -32600)


@pytest.mark.parametrize("member", ["params", "id", "method", "jsonrpc", "timeout"])
def test_bytes_where_they_make_no_sense_end_the_session(member):
    message = {**call_message(params={}), member: {"$attachment": 0}}
    assert_broken(RpcSession(LIMITS), with_attachments(message, b"x"), -32600)


def test_who_wants_bytes_as_text_may_have_long_lines():
    session = RpcSession(LIMITS, inline_bytes=LIMITS.message_bytes)
    one_call(session, call_message()).answer(bytes(2 ** 21))
    assert len(sent_by(session)[0]["result"]) > 2 ** 21


# ---- time -----------------------------------------------------------------------------------------------


def test_a_call_without_answer_times_out_and_a_late_answer_is_ignored():
    session = RpcSession(LIMITS)
    session.call("Ping", {}, now=10.0, context="slow", timeout_s=2.0)
    session.call("Ping", {}, now=10.0, context="patient")
    bytes_of(session)
    assert session.next_deadline() == 12.0
    session.apply_deadlines(11.9)
    assert session.next_event(11.9) is None
    session.apply_deadlines(12.0)
    event = session.next_event(12.0)
    assert isinstance(event, AnswerReceived) and event.context == "slow" and type(event.error) is CallTimeout
    assert feed(session, answer(1, "late")) == []
    assert one_answer(session, answer(2, "in time")).context == "patient"


def test_an_answer_in_time_disarms_the_deadline():
    session = waiting_session(timeout_s=2.0)
    feed(session, answer(1, 0))
    assert session.next_deadline() is None
    session.apply_deadlines(100.0)
    assert session.next_event(100.0) is None


@pytest.mark.parametrize("timeout", [2, 2.5, 0, -3, 1e300, 2 ** 62])
def test_the_time_that_a_caller_gives_is_kept(timeout):
    session = RpcSession(LIMITS)
    (call,) = feed(session, call_message(8, timeout=timeout), now=100.0)
    assert call.timeout_s == timeout
    due = 100.0 + max(0, timeout)
    assert session.next_deadline() == due
    session.apply_deadlines(due)
    (message,) = sent_by(session)
    assert message["id"] == 8 and message["error"]["code"] == -32006
    call.answer("too late")
    assert bytes_of(session) == b"" and session.is_idle


class Memory(bytearray):
    """Memory of which can be told whether anybody still has it."""


def test_a_call_that_is_answered_in_time_lets_go_of_its_attachments():
    given: List[Any] = []

    def allocate(size: int) -> Memory:
        memory = Memory(size)
        given.append(weakref.ref(memory))
        return memory

    session = RpcSession(LIMITS, allocate=allocate)
    message = call_message(params={"data": {"$attachment": 0}}, timeout=20)
    call = one_call(session, with_attachments(message, LARGE))
    assert bytes(call.params["data"]) == LARGE
    call.answer("done")
    del call
    assert [each() for each in given] == [None]


def test_an_answered_call_has_no_deadline():
    session = RpcSession(LIMITS)
    one_call(session, call_message(timeout=5)).answer(1)
    assert session.next_deadline() is None


def test_a_notification_has_no_deadline():
    session = RpcSession(LIMITS)
    feed(session, {"jsonrpc": "2.0", "method": "x", "timeout": 1})
    assert session.next_deadline() is None


def test_a_call_in_a_batch_times_out_alone():
    session = RpcSession(LIMITS)
    calls = feed(session, [call_message(1, timeout=1), call_message(2)])
    session.apply_deadlines(1.0)
    assert bytes_of(session) == b""
    calls[1].answer("there")
    assert [message.get("result") for message in sent_by(session)[0]] == [None, "there"]


# ---- how much at once -------------------------------------------------------------------------------------


def test_calls_beyond_the_limit_wait_unread():
    told: List[int] = []
    session = RpcSession(replace(LIMITS, calls_in_flight=2), on_answer=lambda: told.append(1))
    calls = feed(session, b"".join(json.dumps(call_message(number)).encode() + b"\n" for number in range(1, 6)))
    assert len(calls) == 2 and session.is_held
    calls[0].answer(1)
    assert not session.is_held and told == [1]
    (third,) = feed(session, b"")
    assert session.is_held and session.next_event(0.0) is None
    for call in (calls[1], third):
        call.answer(1)
    assert len(feed(session, b"")) == 2
    assert [message["id"] for message in sent_by(session)] == [1, 2, 3]


def test_notifications_and_answers_hold_nobody():
    session = RpcSession(replace(LIMITS, calls_in_flight=1))
    assert len(feed(session, b'{"jsonrpc":"2.0","method":"x"}\n' * 5)) == 5 and not session.is_held


def test_a_deadline_frees_a_place():
    session = RpcSession(replace(LIMITS, calls_in_flight=1))
    feed(session, json.dumps(call_message(1, timeout=1)).encode() + b"\n" + json.dumps(call_message(2)).encode()
    + b"\n")
    assert session.is_held
    session.apply_deadlines(1.0)
    assert len(feed(session, b"")) == 1


def test_the_bytes_that_wait_are_counted():
    session = RpcSession(LIMITS)
    session.notify("Note", {"large": LARGE})
    one_call(session, call_message()).answer(1)
    counted = session.outgoing_bytes
    assert counted == len(bytes_of(session)) > len(LARGE) and session.outgoing_bytes == 0


# ---- the end ------------------------------------------------------------------------------------------------


def test_when_the_link_is_gone_every_call_ends_once():
    session = waiting_session(3)
    session.receive_data(json.dumps([answer(1, "first"), answer(2, "second")]).encode() + b"\n")
    first = session.next_event(0.0)
    assert first.result == "first"
    gone = LinkClosed("gone")
    # An answer that had come already is not replaced by an error.
    assert [(event.context, event.result, event.error) for event in session.abandon(gone)] == [
        ("call 2", "second", None), ("call 3", None, gone)
    ]
    assert session.abandon(gone) == [] and session.next_event(0.0) is None and session.is_closing


def test_closing_says_why():
    session = RpcSession(LIMITS)
    session.close_with(Unauthenticated("Pair this device first"))
    assert sent_by(session) == [error_of(None, -32002, "Pair this device first")]
    assert session.is_closing and feed(session, call_message()) == []


def test_half_a_message_is_told_from_the_end_of_one():
    session = RpcSession(LIMITS)
    data = with_attachments(call_message(), b"abc")
    feed(session, data[:-1])
    assert not session.is_between_messages
    feed(session, data[-1:])
    assert session.is_between_messages


# ---- two sessions talk ----------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2 ** 63), 2 ** 63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3).filter(str.isascii), inner,
    max_size=3),
    max_leaves=5,
)
STEPS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.one_of(
            st.tuples(st.just("call"), VALUES, st.integers(0, 3000)),
            st.tuples(st.just("notify"), VALUES, st.just(0)),
            st.tuples(st.sampled_from(["answer", "refuse"]), st.integers(0, 5), st.integers(0, 3000)),
            st.tuples(st.just("carry"), st.integers(1, 4000), st.just(0)),
        ),
    ),
    max_size=25,
)


class Conversation:
    """Two sessions and the pipes between them; bytes are carried in pieces of any size."""

    def __init__(self, step: Optional[int]) -> None:
        self.ends = [RpcSession(LIMITS), RpcSession(LIMITS)]
        self.step = step
        self.pipes = [bytearray(), bytearray()]
        self.open_calls: List[List[CallReceived]] = [[], []]
        self.story: List[List[Any]] = [[], []]
        self.made = 0

    def carry(self, sender: int, count: Optional[int] = None) -> None:
        """Move up to `count` bytes to the other end."""
        self.pipes[sender] += bytes_of(self.ends[sender])
        data = bytes(self.pipes[sender][:count])
        del self.pipes[sender][:len(data)]
        step = self.step or max(1, len(data))
        for start in range(0, len(data), step):
            for event in feed(self.ends[1 - sender], data[start:start + step]):
                self.note(1 - sender, event)

    def note(self, end: int, event: Any) -> None:
        assert not isinstance(event, ProtocolBroken), event.error
        if isinstance(event, CallReceived):
            self.story[end].append((event.method, json_form(event.params), event.wants_answer))
            if event.wants_answer:
                self.open_calls[end].append(event)
        else:
            self.story[end].append((event.context, json_form(event.result), event.error and event.error.code))

    def act(self, end: int, kind: str, value: Any, size: int) -> None:
        session = self.ends[end]
        if kind == "call":
            self.made += 1
            session.call("Do", {"value": value, "data": bytes(size)}, now=0.0, context=self.made)
        elif kind == "notify":
            session.notify("Note", [value])
        elif kind == "carry":
            self.carry(end, value)
        elif self.open_calls[end]:
            call = self.open_calls[end].pop(value % len(self.open_calls[end]))
            call.answer([call.params["value"], bytes(size)]) if kind == "answer" else call.refuse(Unavailable("later"))

    def finish(self) -> None:
        for _ in range(3):
            for end in (0, 1):
                self.carry(end)
                while self.open_calls[1 - end]:
                    self.open_calls[1 - end].pop().answer(None)
        assert all(session.is_idle and session.is_between_messages for session in self.ends)


def json_form(value: Any) -> str:
    return json.dumps(value, default=lambda item: f"{len(item)} bytes {bytes(item[:5])!r}")


def story_of(steps: Any, step: Optional[int]) -> List[List[Any]]:
    conversation = Conversation(step)
    for end, (kind, value, size) in steps:
        conversation.act(end, kind, value, size)
    conversation.finish()
    return conversation.story


@given(STEPS)
def test_a_conversation_is_the_same_whole_and_byte_by_byte(steps):
    whole = story_of(steps, None)
    made = sum(kind == "call" for _, (kind, *_) in steps)
    answers = [entry for story in whole for entry in story if isinstance(entry[0], int)]
    assert sorted(number for number, *_ in answers) == list(range(1, made + 1))
    # Only the order in which several things arrive together could differ, and it must not.
    assert story_of(steps, 1) == whole
    assert story_of(steps, 977) == whole


@given(st.lists(st.binary(max_size=30), max_size=10))
def test_any_bytes_are_events_or_one_protocol_error(pieces):
    session = RpcSession(LIMITS)
    events = [event for piece in pieces for event in feed(session, piece)]
    for event in events:
        if isinstance(event, ProtocolBroken):
            assert isinstance(event.error, ProtocolError) and event is events[-1] and session.is_closing
