"""Speak the server's side of HTTP/1.1: bytes in, requests out; answers in, bytes out.

Knows:   RFC 9112 in its strict form, and what a browser says about who is asking.
Refuses: paths, tokens and who may do what: `admit` and the receiver of the requests decide. Bodies are
         announced by Content-Length only; every other way to frame them has been used to smuggle requests.
Read next: net/stream.py (who feeds it), the access table of the security page.

    >>> session = HttpSession(Limits())
    >>> session.receive_data(b"GET /healthz?full=1 HTTP/1.1\\r\\nHost: 127.0.0.1:8080\\r\\n\\r\\n")
    >>> request = session.events()[0]
    >>> request.method, request.path, request.query
    ('GET', '/healthz', {'full': '1'})

Errors have one shape: a status, and the body {"error": "one sentence"}; after one, nothing more is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Callable, Dict, Iterable, List, Mapping, Optional, Tuple, Union

from ..model.errors import LocalProtocolError
from ..model.limits import Limits
from .http_answer import encode_http_answer, encode_http_stream_head
from .http_reply import HttpReply, HttpStream
from .strict_json import encode_json

#: Requests of one connection that may wait for their answers; browsers send one at a time. Beyond: 503, close.
PIPELINED_REQUESTS = 16

_HTTP_METHODS = ("GET", "HEAD", "POST")
#: Fields that say one thing: two of them mean that two readers may believe different ones.
_HTTP_SINGLE_FIELDS = (
    "authorization", "content-length", "content-type", "expect", "host", "origin", "sec-fetch-site",
    "transfer-encoding",
)
_HTTP_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HTTP_TARGET = re.compile(rb"[!-~]+")
#: Printable bytes, space and tab; controls (NUL and a lone CR among them) never.
_HTTP_VALUE = re.compile(rb"[\t -~\x80-\xff]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HTTP_CONTROLS = re.compile("[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class HttpHead:
    """Hold what a request says before its body."""

    method: str
    #: As sent, such as "/api/tasks?limit=3".
    target: str
    #: The target's path, percent-decoded.
    path: str
    query: Dict[str, str]
    #: Names in lower case; a field that came several times is joined by commas.
    headers: Dict[str, str]
    #: Whether the connection lives on after the answer.
    keep_alive: bool
    #: Whether whoever asks reads an answer in chunks; for HTTP/1.0 one without a length lasts until the close.
    takes_chunks: bool = True


@dataclass(frozen=True)
class HttpRequest(HttpHead):
    """Hold one whole request; every request must be answered once, by `HttpSession.answer`."""

    body: bytes = b""


@dataclass(frozen=True)
class HttpRefusal:
    """Say no to a head: the status, and one sentence that says what to do."""

    status: int
    sentence: str


class _BadRequest(Exception):
    """Carry the answer to bytes that break the rules."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.refusal = HttpRefusal(status, sentence)


class HttpSession:
    """Understand one connection; send `data_to_send()` after each call, close once `is_closing`.

    `admit(head)` is asked when a head is complete and before any of its body is read; the refusal that it
    may return is the answer, and the connection ends with it.
    """

    def __init__(self, limits: Limits, admit: Optional[Callable[[HttpHead], Optional[HttpRefusal]]] = None) -> None:
        self._limits = limits
        self._admit = admit
        self._buffer = bytearray()
        #: How far `_buffer` was searched for the end of a line, so that a slow trickle costs no more than a burst.
        self._searched = 0
        #: Lines of the head being read, without their ends; empty between requests.
        self._lines: List[bytes] = []
        self._head_bytes = 0
        #: The request whose body is being read, and how long that is.
        self._head: Optional[HttpHead] = None
        self._body_bytes = 0
        self._events: List[HttpRequest] = []
        #: Answers given and owed, in the order of the requests.
        self._replies: List[HttpReply] = []
        #: True once nothing more is read: the last request has come, or the rules were broken.
        self._is_last = False

    @property
    def is_closing(self) -> bool:
        """Whether the last answer has been given: send what there is, then close."""
        return self._is_last and all(reply.is_whole for reply in self._replies)

    @property
    def is_streaming(self) -> bool:
        """Whether an answer is being sent that has begun and not ended."""
        return bool(self._replies) and self._replies[0].is_begun

    @property
    def is_between_messages(self) -> bool:
        """Whether no request is half-read."""
        return not self._buffer and not self._lines and self._head is None

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for anything: no request half-read, none whose answer has not begun."""
        return self.is_between_messages and len(self._replies) == self.is_streaming

    def receive_data(self, data: Union[bytes, bytearray, memoryview]) -> None:
        """Take bytes as they came; never raises, whatever they are. After the last request they are dropped."""
        if self._is_last:
            return
        self._buffer += data
        try:
            while not self._is_last and (self._read_body() if self._head is not None else self._read_line()):
                pass
        except _BadRequest as error:
            self._refuse_and_end(error.refusal)
        if self._is_last:
            self._buffer.clear()

    def events(self) -> List[HttpRequest]:
        """Return the requests that became complete since the last call, in order."""
        events, self._events = self._events, []
        return events

    def answer(
        self,
        request: HttpRequest,
        status: int,
        body: bytes = b"",
        content_type: str = "application/json",
        headers: Iterable[Tuple[str, str]] = (),
    ) -> None:
        """Answer a request, now or later; answers leave in the order of the requests.

        The body of an answer to HEAD is measured and not sent. Raises LocalProtocolError for a request
        that is not waiting, or for a header that would break the message.
        """
        self._reply_to(request).complete(encode_http_answer(
            status, body, content_type, headers, is_head=request.method == "HEAD", keep_alive=request.keep_alive
        ))

    def begin_answer(
        self, request: HttpRequest, content_type: str, headers: Iterable[Tuple[str, str]] = ()
    ) -> HttpStream:
        """Begin an answer of status 200 whose length nobody knows yet; raises LocalProtocolError as `answer` does.

        It travels in chunks, or for HTTP/1.0 until the close of the connection. To HEAD it is over at once.
        """
        reply, is_head = self._reply_to(request), request.method == "HEAD"
        keep_alive = request.keep_alive and request.takes_chunks
        reply.begin(encode_http_stream_head(content_type, headers, request.takes_chunks, keep_alive))
        if not keep_alive:
            # What was asked behind it on this connection cannot be answered any more.
            self._is_last = True
            del self._replies[self._replies.index(reply) + 1:]
        stream = HttpStream(reply, in_chunks=request.takes_chunks and not is_head)
        if is_head:
            stream.end()
        return stream

    def is_owed(self, request: HttpRequest) -> bool:
        """Whether a request can be answered still: one behind an answer that lasts until the close cannot."""
        return any(reply.request is request for reply in self._replies)

    def _reply_to(self, request: HttpRequest) -> HttpReply:
        for reply in self._replies:
            if reply.request is request and not reply.is_begun and not reply.is_whole:
                return reply
        raise LocalProtocolError("this request was answered already, or came on another connection")

    def answer_error(self, request: HttpRequest, status: int, sentence: str) -> None:
        """Answer a request with a status and one sentence that says what to do."""
        self.answer(request, status, encode_json({"error": sentence}))

    def data_to_send(self) -> List[bytes]:
        """Return the bytes to be sent now, each once."""
        ready: List[bytes] = []
        while self._replies:
            ready += self._replies[0].take()
            if not self._replies[0].is_whole:
                break
            del self._replies[0]
        return ready

    # ---- reading ----------------------------------------------------------------------------------

    def _read_line(self) -> bool:
        """Take one line of a head off the buffer; return whether there was one."""
        end = self._buffer.find(b"\n", self._searched)
        self._searched = len(self._buffer) if end < 0 else 0
        length = len(self._buffer) if end < 0 else end + 1
        if self._head_bytes + length > self._limits.http_head_bytes:
            raise _BadRequest(431, f"the headers pass {self._limits.http_head_bytes} bytes; send fewer")
        if end < 0:
            return False
        line = bytes(self._buffer[:length])
        del self._buffer[:length]
        self._head_bytes += length
        if not line.endswith(b"\r\n"):
            raise _BadRequest(400, "a line does not end with CR LF; end every line of the head with both")
        self._take_line(line[:-2])
        return True

    def _take_line(self, line: bytes) -> None:
        if line:
            self._lines.append(line)
            if len(self._lines) == 1:
                _read_request_line(line)
            elif len(self._lines) > self._limits.http_headers + 1:
                raise _BadRequest(431, f"there are more than {self._limits.http_headers} headers; send fewer")
        elif self._lines:
            lines, self._lines, self._head_bytes = self._lines, [], 0
            self._head_complete(_read_http_head(lines))
        elif self._head_bytes > 2:
            # RFC 9112, 2.2: one empty line before a request is forgiven, since old clients sent it after a body.
            raise _BadRequest(400, "the request line is missing; start with a method, a path and HTTP/1.1")

    def _head_complete(self, head: HttpHead) -> None:
        refusal = self._admit(head) if self._admit is not None else None
        if refusal is not None:
            self._refuse_and_end(refusal)
            return
        if head.method not in _HTTP_METHODS:
            raise _BadRequest(405, "this method is not served; use GET, HEAD or POST")
        self._body_bytes = _http_body_length(head.headers, self._limits.line_bytes)
        if sum(1 for reply in self._replies if reply.request is not None) >= PIPELINED_REQUESTS:
            raise _BadRequest(503, f"{PIPELINED_REQUESTS} requests wait for answers; read those first")
        expectation = head.headers.get("expect", "").lower()
        if expectation not in ("", "100-continue"):
            raise _BadRequest(417, "this expectation cannot be met; only 100-continue can")
        if expectation and self._body_bytes:
            # It has its place in the order too: an earlier answer must not be overtaken.
            self._replies.append(HttpReply(None, b"HTTP/1.1 100 Continue\r\n\r\n"))
        self._head = head

    def _read_body(self) -> bool:
        """Take a whole body off the buffer; return whether it was there."""
        head = self._head
        if head is None or len(self._buffer) < self._body_bytes:
            return False
        body = bytes(self._buffer[:self._body_bytes])
        del self._buffer[:self._body_bytes]
        self._head = None
        self._is_last = not head.keep_alive
        request = HttpRequest(**vars(head), body=body)
        self._events.append(request)
        self._replies.append(HttpReply(request))
        return True

    def _refuse_and_end(self, refusal: HttpRefusal) -> None:
        body = encode_json({"error": refusal.sentence})
        self._replies.append(HttpReply(None, encode_http_answer(refusal.status, body, "application/json")))
        self._is_last = True
        self._lines, self._head = [], None


# ---- heads -----------------------------------------------------------------------------------------


def _read_request_line(line: bytes) -> Tuple[str, str, str]:
    """Return method, target and the version's last digit; raise _BadRequest."""
    parts = line.split(b" ")
    if len(parts) != 3 or not _HTTP_TOKEN.fullmatch(parts[0]) or not _HTTP_TARGET.fullmatch(parts[1]):
        raise _BadRequest(400, "the request line is malformed; start with a method, a path and HTTP/1.1")
    if parts[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
        is_other_version = re.fullmatch(rb"HTTP/\d(\.\d)?", parts[2])
        raise _BadRequest(505 if is_other_version else 400, "this is not HTTP/1.1; use that version")
    return parts[0].decode("ascii"), parts[1].decode("ascii"), chr(parts[2][-1])


def _read_http_head(lines: List[bytes]) -> HttpHead:
    """Read the lines of a head, request line first, without their ends; raise _BadRequest."""
    method, target, minor = _read_request_line(lines[0])
    headers: Dict[str, str] = {}
    for line in lines[1:]:
        name, value = _read_header(line)
        if name not in headers:
            headers[name] = value
        elif name in _HTTP_SINGLE_FIELDS:
            raise _BadRequest(400, f"the header {name} came twice; send it once")
        else:
            headers[name] += ("; " if name == "cookie" else ", ") + value
    if minor == "1" and "host" not in headers:
        raise _BadRequest(400, "the header host is missing; HTTP/1.1 needs it")
    path, query = _read_target(target)
    options = [option.strip().lower() for option in headers.get("connection", "").split(",")]
    keep_alive = "close" not in options and (minor == "1" or "keep-alive" in options)
    if minor == "0":
        headers.pop("expect", None)  # RFC 9110, 10.1.1: HTTP/1.0 does not know interim answers.
    return HttpHead(method, target, path, query, headers, keep_alive, minor == "1")


def _read_header(line: bytes) -> Tuple[str, str]:
    if line[:1] in (b" ", b"\t"):
        raise _BadRequest(400, "a header is folded over two lines; write it in one")
    name, colon, value = line.partition(b":")
    if not colon or not _HTTP_TOKEN.fullmatch(name):
        raise _BadRequest(400, "a header has no proper name; write each as name: value")
    if not _HTTP_VALUE.fullmatch(value):
        raise _BadRequest(400, "a header holds control characters; leave them out")
    return name.decode("ascii").lower(), value.strip(b" \t").decode("latin-1")


def _read_target(target: str) -> Tuple[str, Dict[str, str]]:
    """Split and decode a target in origin form; the forms for proxies are not for us."""
    if not target.startswith("/") or "#" in target:
        raise _BadRequest(400, "the target is not a path; ask for one that begins with /")
    path, _, text = target.partition("?")
    query: Dict[str, str] = {}
    for pair in text.split("&") if text else ():
        name, _, value = pair.replace("+", " ").partition("=")
        name = _percent_decoded(name)
        if name in query:
            raise _BadRequest(400, "the query names a value twice; send each once")
        query[name] = _percent_decoded(value)
    return _percent_decoded(path), query


def _percent_decoded(text: str) -> str:
    if "%" not in text:
        return text
    if not _BAD_ESCAPE.search(text):
        first, *rest = text.split("%")
        data = first.encode("ascii") + b"".join(bytes([int(part[:2], 16)]) + part[2:].encode("ascii") for part in rest)
        try:
            decoded = data.decode("utf-8")
        except UnicodeDecodeError:
            decoded = "\x00"
        if not _HTTP_CONTROLS.search(decoded):
            return decoded
    raise _BadRequest(400, "the target holds a broken %-escape; encode UTF-8 text without control characters")


def _http_body_length(headers: Mapping[str, str], limit: int) -> int:
    """Return how many bytes of body follow a head; raise _BadRequest past `limit` and for other framings."""
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if length is not None:
            raise _BadRequest(400, "the body has two lengths; send content-length alone")
        status = 411 if coding.lower() == "chunked" else 501
        raise _BadRequest(status, "a body in transfer-encoding is not read; send content-length instead")
    if length is None:
        return 0
    if not (length.isascii() and length.isdigit()):
        raise _BadRequest(400, "the header content-length is not a number; send decimal digits")
    # Cut before converting: thousands of digits are slow to read, and more than 18 are too many anyway.
    digits = length.lstrip("0")
    if len(digits) > 18 or int(digits or "0") > limit:
        raise _BadRequest(413, f"the body passes {limit} bytes; send less")
    return int(digits or "0")
