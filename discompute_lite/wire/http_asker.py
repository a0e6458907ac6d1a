"""Tell from an HTTP request's head who is asking: which page of which site, with which token.

Knows:   what browsers say about the page that sent a request, and how a token is written.
Refuses: to decide who may what, and to know any token.
Read next: wire/http.py (the conversation), roles/web.py (who decides).
"""

from __future__ import annotations

import re
from typing import Mapping, Optional

_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9\-._~+/]+=*)")
_LOOPBACK_HOST = re.compile(r"(localhost|\[::1\]|127(?:\.(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3})(?::(\d{1,5}))?", re.A)


def check_browser_headers(headers: Mapping[str, str], port: int) -> Optional[str]:
    """Return why a request to 127.0.0.1:`port` may come from somebody else's web page, or None.

    A page of another site can make its browser send requests here, and by a name that resolves to
    127.0.0.1 (DNS rebinding) even read the answers; it cannot forge these three headers.
    """
    match = _LOOPBACK_HOST.fullmatch(headers.get("host", "").lower())
    if match is None or match.group(2) not in (None, str(port)):
        return f"the header host must name this machine: open http://127.0.0.1:{port}/"
    origin = headers.get("origin")
    if origin is not None:
        own = {f"http://{match.group(1)}:{port}"} | ({f"http://{match.group(1)}"} if port == 80 else set())
        if origin.lower() not in own:
            return f"a page of another site may not ask this: open http://127.0.0.1:{port}/"
    if headers.get("sec-fetch-site", "none").lower() not in ("none", "same-origin"):
        return f"a link or page of another site may not ask this: type http://127.0.0.1:{port}/ yourself"
    return None


def bearer_token(headers: Mapping[str, str]) -> str:
    """Return the token of `Authorization: Bearer …`, or "" (compare it by `hmac.compare_digest`)."""
    match = _BEARER.fullmatch(headers.get("authorization", ""))
    return match.group(1) if match else ""
