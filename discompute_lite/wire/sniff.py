"""Tell from its first bytes what a connection speaks.

Knows:   the first byte of TLS, JSON-RPC and HTTP, and the preface of HTTP/2 (RFC 9113, section 3.4).
Refuses: to take bytes away: whoever asked gives all of them to the session that was chosen.
Read next: wire/rpc.py, wire/http.py.

    16 03 01 …         "tls"      a TLS record of type handshake
    {  or  [           "rpc"      a JSON-RPC message or batch
    PRI * HTTP/2.0     "http2"    what an EXO node sends after it heard our beacon; closed politely
    an ASCII letter    "http"     an HTTP/1.1 request line
    anything else      "unknown"
"""

from __future__ import annotations

from typing import Optional

#: As much of the preface as tells it from an HTTP/1.1 request for `*`; the rest of it need not arrive.
HTTP2_PREFACE = b"PRI * HTTP/2.0"

_FIRST_BYTES = {0x16: "tls", ord("{"): "rpc", ord("["): "rpc"}


def sniff(data: bytes) -> Optional[str]:
    """Return "tls", "rpc", "http", "http2" or "unknown"; None asks for more bytes (at most 14 in all)."""
    if data.startswith(HTTP2_PREFACE):
        return "http2"
    if HTTP2_PREFACE.startswith(data):
        return None
    first = data[:1]
    return _FIRST_BYTES.get(first[0], "http" if first.isalpha() else "unknown")
