"""A client of any kind meets the HTTP session: requests come out, or one plain refusal goes back."""

from __future__ import annotations

import doctest
import importlib
import json
import re
from dataclasses import replace
from typing import Any, List, Optional, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discompute_lite.model.errors import LocalProtocolError
from discompute_lite.model.limits import Limits
from discompute_lite.wire.http import (
    PIPELINED_REQUESTS,
    HttpRefusal,
    HttpRequest,
    HttpSession,
)
from discompute_lite.wire.http_asker import bearer_token, check_browser_headers

LIMITS = replace(Limits(), line_bytes=100, http_head_bytes=500, http_headers=6)
HOST = b"Host: 127.0.0.1:8080\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"


def session_fed(data: bytes, admit: Any = None) -> HttpSession:
    session = HttpSession(LIMITS, admit)
    session.receive_data(data)
    return session


def one_request(data: bytes) -> HttpRequest:
    session = session_fed(data)
    requests = session.events()
    assert not session.data_to_send() and len(requests) == 1
    return requests[0]


def head(*lines: bytes, first: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join([first, *lines, b"", b""])


def split_answer(data: bytes) -> Tuple[int, List[str], bytes]:
    start, _, body = data.partition(b"\r\n\r\n")
    status, *fields = start.decode("latin-1").split("\r\n")
    match = re.fullmatch(r"HTTP/1\.1 (\d{3}) [A-Za-z -]+", status)
    assert match, status
    return int(match.group(1)), fields, body


def assert_refused(session: HttpSession, status: int, about: str = "") -> None:
    """The session has refused: one JSON sentence, a close, and deaf ears for what follows."""
    assert session.is_closing
    sent, fields, body = split_answer(session.data_to_send()[-1])
    assert sent == status
    assert "Connection: close" in fields and f"Content-Length: {len(body)}" in fields
    sentence = json.loads(body)["error"]
    assert about in sentence and "\n" not in sentence
    session.events()
    session.receive_data(GET)
    assert not session.events() and not session.data_to_send() and session.is_closing


# ---- requests ---------------------------------------------------------------------------------------


def test_the_example_in_the_docstring_holds():
    module = importlib.import_module("discompute_lite.wire.http")
    results = doctest.testmod(module, extraglobs={"Limits": Limits})
    assert results.attempted and not results.failed


def test_a_request_is_understood():
    data = head(
        HOST.strip(), b"X-Two:  a b\t", b"accept: x", b"Accept: y", b"Content-Length: 4",
        first=b"POST /api/tasks/a%20%C3%A9?limit=3&q=a+b%26c&flag HTTP/1.1",
    ) + b"body"
    request = one_request(data)
    assert (request.method, request.path) == ("POST", "/api/tasks/a é")
    assert request.target == "/api/tasks/a%20%C3%A9?limit=3&q=a+b%26c&flag"
    assert request.query == {"limit": "3", "q": "a b&c", "flag": ""}
    assert request.headers["x-two"] == "a b" and request.headers["accept"] == "x, y"
    assert request.body == b"body" and request.keep_alive


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [(b"1.1", b"", True), (b"1.1", b"Keep-Alive", True), (b"1.1", b"te, Close", False), (b"1.0", b"", False),
     (b"1.0", b"keep-alive", True), (b"1.0", b"keep-alive, close", False)],
)
def test_the_connection_lives_on_as_asked(version, connection, kept):
    session = session_fed(head(HOST.strip(), b"Connection: " + connection, first=b"GET / HTTP/" + version))
    request = session.events()[0]
    assert request.keep_alive is kept
    assert not session.is_closing
    session.answer(request, 200, b"{}")
    status, fields, _ = split_answer(session.data_to_send()[0])
    assert status == 200 and f"Connection: {'keep-alive' if kept else 'close'}" in fields
    assert session.is_closing is not kept


def test_an_old_client_needs_no_host():
    assert one_request(head(first=b"GET / HTTP/1.0")).headers == {}


def test_one_empty_line_before_a_request_is_forgiven():
    assert one_request(b"\r\n" + GET).path == "/"
    assert_refused(session_fed(b"\r\n\r\n" + GET), 400, "request line")


def test_head_is_answered_without_its_body():
    session = session_fed(head(HOST.strip(), first=b"HEAD /healthz HTTP/1.1"))
    session.answer(session.events()[0], 200, b"12345")
    _, fields, body = split_answer(session.data_to_send()[0])
    assert "Content-Length: 5" in fields and body == b""


def test_a_session_knows_whether_something_is_open():
    session = HttpSession(LIMITS)
    assert session.is_between_messages and session.is_idle
    session.receive_data(GET[:5])
    assert not session.is_between_messages
    session.receive_data(GET[5:])
    assert session.is_between_messages and not session.is_idle
    session.answer(session.events()[0], 204)
    session.data_to_send()
    assert session.is_idle


# ---- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status", "about"),
    [
        (b"GET /\r\n", 400, "request line"),
        (b"GET  / HTTP/1.1\r\n", 400, "request line"),
        (b"GET / HTTP/1.1 \r\n", 400, "request line"),
        (b"G@T / HTTP/1.1\r\n", 400, "request line"),
        (b"GET /\x00 HTTP/1.1\r\n", 400, "request line"),
        (b"GET /\xc3\xa9 HTTP/1.1\r\n", 400, "request line"),
        (b"GET / http/1.1\r\n", 400, "HTTP/1.1"),
        (b"GET / HTTP/2.0\r\n", 505, "HTTP/1.1"),
        (b"GET / HTTP/1.2\r\n", 505, "HTTP/1.1"),
        (b"GET / HTTP/3\r\n", 505, "HTTP/1.1"),
        (b"GET / HTTP/1.1\n", 400, "CR LF"),
        (b"GET / HTTP/1.1\r\nHost: a\n", 400, "CR LF"),
        (head(), 400, "host is missing"),
        (head(b"Host: a", b"Host: a"), 400, "host came twice"),
        (head(b"Host: a", b"Origin: a", b"origin: a"), 400, "origin came twice"),
        (head(b"Host: a", b"X: 1", b" folded"), 400, "folded"),
        (head(b"Host: a", b"\tfolded"), 400, "folded"),
        (head(b" Host: a"), 400, "folded"),
        (head(b"Host : a"), 400, "name"),
        (head(b"Host: a", b"no colon"), 400, "name"),
        (head(b"Host: a", b": nameless"), 400, "name"),
        (head(b"Host: a", b"X: a\x00b"), 400, "control"),
        (head(b"Host: a", b"X: a\rb"), 400, "control"),
        (head(b"Host: a\x1b[2J"), 400, "control"),
        (head(b"Host: a", first=b"GET http://a/ HTTP/1.1"), 400, "path"),
        (head(b"Host: a", first=b"OPTIONS * HTTP/1.1"), 400, "path"),
        (head(b"Host: a", first=b"CONNECT a:1 HTTP/1.1"), 400, "path"),
        (head(b"Host: a", first=b"GET /#top HTTP/1.1"), 400, "path"),
        (head(b"Host: a", first=b"GET /%zz HTTP/1.1"), 400, "escape"),
        (head(b"Host: a", first=b"GET /%4 HTTP/1.1"), 400, "escape"),
        (head(b"Host: a", first=b"GET /%00 HTTP/1.1"), 400, "escape"),
        (head(b"Host: a", first=b"GET /%ff HTTP/1.1"), 400, "escape"),
        (head(b"Host: a", first=b"GET /?a=%0d%0a HTTP/1.1"), 400, "escape"),
        (head(b"Host: a", first=b"GET /?a=1&%61=2 HTTP/1.1"), 400, "twice"),
        (head(b"Host: a", first=b"DELETE / HTTP/1.1"), 405, "POST"),
        (head(b"Host: a", first=b"PUT / HTTP/1.1"), 405, "POST"),
        (head(b"Host: a", first=b"OPTIONS / HTTP/1.1"), 405, "POST"),
        (head(b"Host: a", first=b"get / HTTP/1.1"), 405, "POST"),
        (head(b"Host: a", b"Content-Length: 1", b"Content-Length: 1"), 400, "twice"),
        (head(b"Host: a", b"Content-Length: 1, 1"), 400, "digits"),
        (head(b"Host: a", b"Content-Length: -1"), 400, "digits"),
        (head(b"Host: a", b"Content-Length: +1"), 400, "digits"),
        (head(b"Host: a", b"Content-Length: 0x1"), 400, "digits"),
        (head(b"Host: a", b"Content-Length: \xb2"), 400, "digits"),
        (head(b"Host: a", b"Content-Length:"), 400, "digits"),
        (head(b"Host: a", b"Content-Length: 101"), 413, "100 bytes"),
        (head(b"Host: a", b"Content-Length: " + b"9" * 400), 413, "100 bytes"),
        (head(b"Host: a", b"Transfer-Encoding: chunked"), 411, "content-length"),
        (head(b"Host: a", b"Transfer-Encoding: Chunked"), 411, "content-length"),
        (head(b"Host: a", b"Transfer-Encoding: gzip, chunked"), 501, "content-length"),
        (head(b"Host: a", b"Transfer-Encoding: chunked", b"Content-Length: 3"), 400, "two lengths"),
        (head(b"Host: a", b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"), 400, "twice"),
        (head(b"Host: a", b"Content-Length: 3", b"Expect: tea"), 417, "100-continue"),
        (b"GET /" + b"x" * 500, 431, "500 bytes"),
        (head(b"Host: a", b"X: " + b"y" * 500), 431, "500 bytes"),
        (head(b"Host: a", *[b"X: 1"] * 6), 431, "6 headers"),
    ],
)
def test_broken_rules_get_one_sentence_and_a_close(data, status, about):
    assert_refused(session_fed(data), status, about)
    by_bytes = HttpSession(LIMITS)
    for position in range(len(data)):
        by_bytes.receive_data(data[position:position + 1])
    assert_refused(by_bytes, status, about)


@pytest.mark.parametrize("spare", [0, 1])
def test_the_head_may_fill_its_limit_exactly(spare):
    filler = b"X: " + b"y" * (500 - len(GET) - 5 + spare)
    data = head(HOST.strip(), filler)
    assert len(data) == 500 + spare
    session = session_fed(data)
    if spare:
        assert_refused(session, 431)
    else:
        assert len(session.events()) == 1


def test_a_body_may_fill_its_limit_exactly_and_zeros_may_lead_its_length():
    data = head(HOST.strip(), b"Content-Length: 000100", first=b"POST / HTTP/1.1") + b"z" * 100
    assert one_request(data).body == b"z" * 100


# ---- admission --------------------------------------------------------------------------------------


def test_who_is_not_admitted_is_refused_before_the_body_and_heard_no_more():
    asked = []

    def admit(seen: Any) -> Optional[HttpRefusal]:
        asked.append((seen.method, seen.path, seen.headers["host"]))
        return HttpRefusal(401, "show the token")

    # The body passes the limit, and yet a stranger learns nothing but 401.
    session = session_fed(head(b"Host: h", b"Content-Length: 1000", first=b"POST /rpc HTTP/1.1"), admit)
    assert asked == [("POST", "/rpc", "h")]
    assert not session.events()
    assert_refused(session, 401, "show the token")
    assert len(asked) == 1
    session = session_fed(head(b"Host: h", first=b"GET / HTTP/1.1"), admit)
    assert "WWW-Authenticate: Bearer" in split_answer(session.data_to_send()[0])[1]


def test_a_stranger_using_another_method_is_a_stranger():
    refuse = lambda seen: HttpRefusal(401, "show the token")  # noqa: E731
    assert_refused(session_fed(head(b"Host: h", first=b"DELETE / HTTP/1.1"), refuse), 401)


def test_who_is_admitted_is_served():
    assert len(session_fed(GET, lambda seen: None).events()) == 1


def test_a_refusal_waits_for_the_answers_before_it():
    session = session_fed(
        GET + head(b"Host: h", first=b"GET /secret HTTP/1.1"),
        lambda seen: HttpRefusal(401, "no") if seen.path == "/secret" else None,
    )
    (first,) = session.events()
    assert not session.data_to_send() and not session.is_closing
    session.answer(first, 200)
    assert session.is_closing
    assert [split_answer(data)[0] for data in session.data_to_send()] == [200, 401]


# ---- answers ----------------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order_whoever_is_first():
    session = session_fed(b"".join(head(b"Host: h", first=b"GET /%d HTTP/1.1" % number) for number in range(3)))
    first, second, third = session.events()
    session.answer(third, 200, b"3")
    session.answer(second, 200, b"2")
    assert not session.data_to_send()
    session.answer(first, 200, b"1")
    assert [split_answer(data)[2] for data in session.data_to_send()] == [b"1", b"2", b"3"]


def test_equal_requests_are_told_apart():
    session = session_fed(GET + GET)
    first, second = session.events()
    assert first == second
    session.answer(second, 200, b"2")
    session.answer(first, 200, b"1")
    assert [split_answer(data)[2] for data in session.data_to_send()] == [b"1", b"2"]


def test_who_asks_too_much_at_once_is_sent_away_after_the_answers():
    session = session_fed(GET * (PIPELINED_REQUESTS + 1))
    requests = session.events()
    assert len(requests) == PIPELINED_REQUESTS
    for request in requests:
        session.answer(request, 200)
    statuses = [split_answer(data)[0] for data in session.data_to_send()]
    assert statuses == [200] * PIPELINED_REQUESTS + [503] and session.is_closing


def test_a_client_that_waits_to_be_asked_is_asked():
    data = head(b"Host: h", b"Content-Length: 2", b"Expect: 100-Continue", first=b"POST /rpc HTTP/1.1")
    session = session_fed(GET + data)
    session.answer(session.events()[0], 200, b"first")
    first, interim = session.data_to_send()
    assert split_answer(first)[2] == b"first"
    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    session.receive_data(b"ok")
    assert session.events()[0].body == b"ok"


def test_an_old_client_is_not_sent_interim_answers():
    data = head(b"Content-Length: 2", b"Expect: 100-continue", first=b"POST / HTTP/1.0")
    assert not session_fed(data).data_to_send()


def test_an_answer_says_what_it_is():
    session = session_fed(GET)
    session.answer(session.events()[0], 200, b"<p>", "text/html", [("Cache-Control", "max-age=9"), ("X-Own", "1")])
    status, fields, body = split_answer(session.data_to_send()[0])
    assert (status, body) == (200, b"<p>")
    assert {"Content-Type: text/html", "X-Own: 1", "X-Content-Type-Options: nosniff"} <= set(fields)
    assert [field for field in fields if field.startswith("Cache-Control")] == ["Cache-Control: max-age=9"]


@pytest.mark.parametrize("status", [204, 304])
def test_some_answers_have_no_body(status):
    session = session_fed(GET)
    session.answer(session.events()[0], status, b"ignored")
    sent, fields, body = split_answer(session.data_to_send()[0])
    assert sent == status and body == b"" and not any(field.startswith("Content-") for field in fields)


def test_an_error_is_one_json_sentence():
    session = session_fed(GET)
    session.answer_error(session.events()[0], 404, "there is no task “7”")
    status, _, body = split_answer(session.data_to_send()[0])
    assert status == 404 and json.loads(body) == {"error": "there is no task “7”"}


@pytest.mark.parametrize("field", [("X", "a\r\nSet-Cookie: b"), ("X\n", "a"), ("X Y", "a"), ("", "a"), ("X", "\x00")])
def test_no_header_can_break_out_of_its_line(field):
    session = session_fed(GET)
    request = session.events()[0]
    with pytest.raises(LocalProtocolError):
        session.answer(request, 200, headers=[field])
    session.answer(request, 500)
    assert split_answer(session.data_to_send()[0])[0] == 500


def test_a_request_is_answered_once():
    session = session_fed(GET + GET)
    request, other = session.events()
    session.answer(other, 200)
    with pytest.raises(LocalProtocolError, match="already"):
        session.answer(other, 200)
    session.answer(request, 200)
    session.data_to_send()
    with pytest.raises(LocalProtocolError, match="already"):
        session.answer(request, 200)
    with pytest.raises(LocalProtocolError, match="not the status"):
        session_two = session_fed(GET)
        session_two.answer(session_two.events()[0], 100)


# ---- answers of unknown length --------------------------------------------------------------------


def chunks_of(body: bytes) -> Tuple[List[bytes], bytes]:
    """Read a body in chunks as RFC 9112, 7.1 has them; return them, and what follows the last one."""
    chunks: List[bytes] = []
    while True:
        size, end, body = body.partition(b"\r\n")
        assert end and re.fullmatch(rb"[0-9a-f]+", size), (size, body)
        length = int(size, 16)
        chunk, mark, body = body[:length], body[length:length + 2], body[length + 2:]
        assert len(chunk) == length and mark == b"\r\n"
        if not length:
            return chunks, body
        chunks.append(chunk)


def test_an_answer_of_unknown_length_comes_in_chunks_and_the_connection_lives_on():
    session = session_fed(GET + GET)
    first, second = session.events()
    stream = session.begin_answer(first, "text/event-stream", [("X", "y")])
    session.answer(second, 200, b"second")
    sent = b"".join(session.data_to_send())
    status, fields, body = split_answer(sent)
    assert (status, body) == (200, b"") and {"Transfer-Encoding: chunked", "X: y", "Connection: keep-alive"} <= set(
        fields) and not any(field.startswith("Content-Length") for field in fields)
    assert session.is_streaming and not session.is_idle and not session.is_closing, "the second waits"
    stream.send(b"one\r\n")
    stream.send(b"")
    assert b"".join(session.data_to_send()) == b"5\r\none\r\n\r\n"
    stream.send(b"x" * 20)
    stream.end()
    stream.end()
    stream.send(b"too late")
    chunks, rest = chunks_of(b"".join(session.data_to_send()))
    assert chunks == [b"x" * 20] and split_answer(rest)[2] == b"second"
    assert session.is_idle and not session.is_streaming and not session.is_closing
    session.receive_data(GET)
    assert len(session.events()) == 1


def test_a_stream_waits_for_the_answers_before_it():
    session = session_fed(GET + GET)
    first, second = session.events()
    stream = session.begin_answer(second, "text/plain")
    stream.send(b"early")
    assert not session.data_to_send() and not session.is_streaming
    session.answer(first, 200, b"first")
    sent = b"".join(session.data_to_send())
    assert sent.index(b"first") < sent.index(b"5\r\nearly\r\n") and session.is_streaming


@pytest.mark.parametrize("asked", [b"Connection: close", b"Connection: keep-alive"])
def test_an_old_client_reads_until_the_close_and_nothing_behind_it_is_answered(asked):
    old = head(asked, first=b"GET / HTTP/1.0")
    session = session_fed(old + GET)
    request = session.events()[0]
    stream = session.begin_answer(request, "text/plain")
    stream.send(b"plain")
    _, fields, body = split_answer(b"".join(session.data_to_send()))
    assert body == b"plain" and "Connection: close" in fields
    assert not any(field.startswith("Transfer-Encoding") for field in fields)
    session.receive_data(GET)
    assert not session.events() and not session.is_closing
    stream.end()
    assert session.is_closing and not b"".join(session.data_to_send())


def test_what_an_old_client_asked_behind_a_stream_is_owed_no_answer():
    session = session_fed(2 * head(b"Connection: keep-alive", first=b"GET / HTTP/1.0"))
    first, second = session.events()
    assert session.is_owed(first) and session.is_owed(second)
    session.begin_answer(first, "text/plain")
    assert session.is_owed(first) and not session.is_owed(second)


def test_a_client_that_asked_for_the_close_gets_chunks_and_the_close():
    session = session_fed(head(HOST.strip(), b"Connection: close"))
    stream = session.begin_answer(session.events()[0], "text/plain")
    stream.send(b"a")
    stream.end()
    assert chunks_of(split_answer(b"".join(session.data_to_send()))[2]) == ([b"a"], b"") and session.is_closing


def test_head_of_a_stream_is_over_at_once():
    session = session_fed(head(HOST.strip(), first=b"HEAD / HTTP/1.1"))
    stream = session.begin_answer(session.events()[0], "text/plain")
    stream.send(b"not for you")
    status, fields, body = split_answer(b"".join(session.data_to_send()))
    assert (status, body) == (200, b"") and "Transfer-Encoding: chunked" in fields
    assert stream.is_over and session.is_idle


def test_a_stream_is_the_one_answer_of_its_request():
    session = session_fed(GET)
    request = session.events()[0]
    with pytest.raises(LocalProtocolError):
        session.begin_answer(request, "text/plain", [("X", "a\r\nb")])
    stream = session.begin_answer(request, "text/plain")
    for again in (lambda: session.answer(request, 200), lambda: session.begin_answer(request, "text/plain")):
        with pytest.raises(LocalProtocolError, match="already"):
            again()
    stream.end()
    with pytest.raises(LocalProtocolError, match="already"):
        session.answer(request, 200)


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(0, 200), max_size=5))
def test_pieces_come_out_as_they_went_in_however_the_request_was_cut(pieces, cuts):
    session = HttpSession(LIMITS)
    edges = sorted({0, len(GET), *(cut % (len(GET) + 1) for cut in cuts)})
    for start, end in zip(edges, edges[1:]):
        session.receive_data(GET[start:end])
    stream = session.begin_answer(session.events()[0], "text/plain")
    sent = b""
    for piece in pieces:
        stream.send(piece)
        sent += b"".join(session.data_to_send())
    stream.end()
    chunks, rest = chunks_of(split_answer(sent + b"".join(session.data_to_send()))[2])
    assert chunks == [piece for piece in pieces if piece] and not rest


# ---- any bytes --------------------------------------------------------------------------------------

LINES = st.sampled_from(
    [b"GET / HTTP/1.1\r\n", b"POST /a?b=c HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n", b"HOST: h\r\n",
     b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n",
     b"Connection: close\r\n", b"X: y\r\n", b" fold\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"abc", b"\x00", GET]
)
CONVERSATIONS = st.lists(st.one_of(LINES, LINES, st.binary(max_size=8)), max_size=30).map(b"".join)


def conversation(data: bytes, cuts: List[int]) -> Tuple[List[HttpRequest], bytes, bool]:
    """Feed `data` in pieces and answer each request as it comes; return all that came out."""
    session, seen, sent = HttpSession(LIMITS), [], b""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in zip(edges, edges[1:]):
        session.receive_data(memoryview(data)[start:end])
    seen = session.events()
    for request in seen:
        session.answer(request, 200, request.body)
    sent = b"".join(session.data_to_send())
    return seen, sent, session.is_closing


@given(CONVERSATIONS, st.lists(st.integers(0, 1000), max_size=10))
def test_any_bytes_give_the_same_in_any_pieces(data, cuts):
    whole = conversation(data, [])
    assert conversation(data, cuts) == whole
    assert conversation(data, list(range(len(data)))) == whole


@settings(max_examples=settings.default.max_examples // 2)
@given(st.binary(max_size=700))
def test_noise_holds_at_most_one_request(data):
    session = session_fed(data)
    assert len(session._buffer) <= LIMITS.http_head_bytes + LIMITS.line_bytes
    assert all(data.startswith(b"HTTP/1.1 ") for data in session.data_to_send())


def test_a_slow_trickle_costs_no_more_than_a_burst():
    session = HttpSession(replace(LIMITS, http_head_bytes=20_000))
    session.receive_data(b"GET / HTTP/1.1\r\nX: ")
    for _ in range(10_000):
        session.receive_data(b"y")
    # Searched once each: a search from the start each time would take 10,000 times as long as the last one.
    assert session._searched == len(session._buffer)


# ---- who is asking ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:8080"},
        {"host": "localhost:8080"},
        {"host": "LOCALHOST"},
        {"host": "[::1]:8080"},
        {"host": "127.0.0.2"},
        {"host": "127.255.10.1:8080", "origin": "http://127.255.10.1:8080"},
        {"host": "localhost:8080", "origin": "http://localhost:8080", "sec-fetch-site": "same-origin"},
        {"host": "[::1]:8080", "origin": "http://[::1]:8080"},
        {"host": "127.0.0.1:8080", "sec-fetch-site": "none"},
    ],
)
def test_the_users_own_browser_and_tools_may_ask(headers):
    assert check_browser_headers(headers, 8080) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": ""},
        {"host": "evil.example"},
        {"host": "evil.example:8080"},
        {"host": "127.0.0.1.evil.example:8080"},
        {"host": "127.0.0.1:8081"},
        {"host": "127.0.0.1:"},
        {"host": "127.0.0.1:8080:8080"},
        {"host": "127.1"},
        {"host": "127.0.0.256"},
        {"host": "127.0.0.01"},
        {"host": "128.0.0.1:8080"},
        {"host": "user@127.0.0.1:8080"},
        {"host": "localhost.:8080"},
        {"host": "192.168.1.2:8080"},
        {"host": "127.0.0.1:8080\n"},
        {"host": "localhost:8080", "origin": "null"},
        {"host": "localhost:8080", "origin": ""},
        {"host": "localhost:8080", "origin": "http://evil.example"},
        {"host": "localhost:8080", "origin": "https://localhost:8080"},
        {"host": "localhost:8080", "origin": "http://localhost:3000"},
        {"host": "localhost:8080", "origin": "http://localhost"},
        {"host": "localhost:8080", "origin": "http://127.0.0.1:8080"},
        {"host": "localhost:8080", "origin": "http://localhost:8080.evil.example"},
        {"host": "localhost:8080", "sec-fetch-site": "cross-site"},
        {"host": "localhost:8080", "sec-fetch-site": "same-site"},
    ],
)
def test_other_sites_may_not_ask(headers):
    refusal = check_browser_headers(headers, 8080)
    assert refusal is not None and "http://127.0.0.1:8080/" in refusal


def test_port_80_goes_without_saying():
    assert check_browser_headers({"host": "localhost", "origin": "http://localhost"}, 80) is None


@pytest.mark.parametrize(
    ("value", "token"),
    [("Bearer abc_-.~+/9==", "abc_-.~+/9=="), ("bearer x", "x"), ("BEARER  x", "x"), ("Bearer", ""), ("Bearer ", ""),
     ("Basic abc", ""), ("Bearer a b", ""), ("Bearer a,b", ""), ("Bearerabc", ""), ("Bearer é", ""), ("", "")],
)
def test_the_token_is_read_from_its_header(value, token):
    assert bearer_token({"authorization": value}) == token
    assert bearer_token({}) == ""
