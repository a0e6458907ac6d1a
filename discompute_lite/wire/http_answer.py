"""Write the answers of HTTP/1.1.

Knows:   statuses, the fields that every answer carries, and which answers have no body (RFC 9110).
Refuses: header values that would end their line: whoever chose one could write answers of their own.
Read next: wire/http.py (the conversation that answers are part of).
"""

from __future__ import annotations

import re
from typing import Iterable, List, Tuple

from ..model.errors import LocalProtocolError

_HTTP_REASONS = {
    200: "OK", 202: "Accepted", 204: "No Content", 206: "Partial Content", 302: "Found", 303: "See Other",
    304: "Not Modified", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 409: "Conflict", 411: "Length Required", 413: "Content Too Large",
    415: "Unsupported Media Type", 417: "Expectation Failed", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented",
    503: "Service Unavailable", 505: "HTTP Version Not Supported",
}
#: What RFC 9110 demands beside a status.
_HTTP_STATUS_FIELDS = {401: ("WWW-Authenticate", "Bearer"), 405: ("Allow", "GET, HEAD, POST")}
#: What every answer says unless it says otherwise: no cache keeps it, no browser guesses its type.
_HTTP_USUAL_FIELDS = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
#: A field as it may leave: a token, a colon, printable text.
_HTTP_FIELD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\t -~\x80-\xff]*")


def encode_http_answer(
    status: int,
    body: bytes,
    content_type: str,
    headers: Iterable[Tuple[str, str]] = (),
    *,
    is_head: bool = False,
    keep_alive: bool = False,
) -> bytes:
    """Return a whole answer; one to HEAD says how long its body would be. Raises LocalProtocolError."""
    if not 200 <= status <= 599:
        raise LocalProtocolError(f"{status} is not the status of an answer")
    fields = list(headers)
    has_body = status not in (204, 304)
    if has_body:
        fields += [("Content-Type", content_type), ("Content-Length", str(len(body)))]
    if status in _HTTP_STATUS_FIELDS:
        fields.append(_HTTP_STATUS_FIELDS[status])
    return _encode_head(status, fields, keep_alive) + (body if has_body and not is_head else b"")


def encode_http_stream_head(
    content_type: str, headers: Iterable[Tuple[str, str]], in_chunks: bool, keep_alive: bool
) -> bytes:
    """Return the head of an answer of unknown length: in chunks, or until the close. Raises LocalProtocolError."""
    fields = [*headers, ("Content-Type", content_type)]
    if in_chunks:
        fields.append(("Transfer-Encoding", "chunked"))
    return _encode_head(200, fields, keep_alive)


def _encode_head(status: int, fields: List[Tuple[str, str]], keep_alive: bool) -> bytes:
    given = {name.lower() for name, _ in fields}
    fields += [field for field in _HTTP_USUAL_FIELDS if field[0].lower() not in given]
    # An HTTP/1.0 client keeps the connection only when told so; to HTTP/1.1 the word is no news.
    fields.append(("Connection", "keep-alive" if keep_alive else "close"))
    lines = [f"HTTP/1.1 {status} {_HTTP_REASONS.get(status, 'Other')}".encode("ascii")]
    for name, value in fields:
        line = f"{name}: {value}".encode("latin-1", "replace")
        if not _HTTP_FIELD.fullmatch(line):
            raise LocalProtocolError(f"the header {name!r} cannot be sent: it would break the message")
        lines.append(line)
    return b"\r\n".join(lines) + b"\r\n\r\n"
