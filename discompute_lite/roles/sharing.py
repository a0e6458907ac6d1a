"""Offer the program itself, as one file, to devices that do not have it yet, for as long as the owner says.

Knows:   what is offered, until when, and the page with the steps.
Refuses: any secret: who fetches the file learns the program and nothing else; what it must be, and how to join,
         is read from this device's own screen.
Read next: roles/web.py (the routes), faces/share_command.py (the line that a person types over there).
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, field
from typing import Any, List

from ..model.errors import InvalidParams
from .alarm import Alarm
from .methods import method
from .ports import LinkPort
from .web import web_route

#: Where the file is, as it is and compressed, and the page.
SHARED_FILE, SHARED_PACKED, SHARED_PAGE = "/discompute.py", "/discompute.z", "/join"
#: Seconds of one offer at most.
LONGEST_OFFER_S = 86400.0
STEPS = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>discompute-lite</title>
<style>body{{font:17px/1.5 system-ui,sans-serif;max-width:34em;margin:2em auto;padding:0 1em}}
code{{word-break:break-all}}</style>
<h1>discompute-lite</h1>
<p>{name} lends you a program that lets this device work together with it. It is one Python file; nothing is installed.
<ol>
<li><a href="/discompute.py" download>Download discompute.py</a> ({size}).
<li>Compare its SHA-256 with the one on {name}'s own screen, or use the line that stands there: it checks that itself.
<li>Pythonista, Pyto: open the file and press <b>&#9654;</b>. a-Shell, computers:
<code>python3 discompute.py start</code>
<li>To join with the code that {name} shows after <code>invite</code>: <b>Join&hellip;</b> in Pythonista, elsewhere
<code>python3 discompute.py join</code>.
</ol>
"""


@dataclass(frozen=True)
class ShareAnswer:
    """Say where the file is, what it must be, and for how long it is offered."""

    success: bool = False
    #: Of this node as others may call it, the best first: host:port.
    addresses: List[str] = field(default_factory=list)
    #: Of the file compressed by zlib, for programs; sha256 and size are the file's own.
    path: str = ""
    sha256: str = ""
    size: int = 0
    open_s: float = 0.0


@dataclass(frozen=True)
class StopShareAnswer:
    """Say that nothing is offered any more."""

    success: bool = False


class Sharing:
    """Hold the offer of one node."""

    def __init__(self, node: Any) -> None:
        self._node = node
        #: The file's bytes as they are and compressed, b"" while nothing is offered.
        self.data = self.packed = b""
        self._until = 0.0
        self._alarm = Alarm(node.clock, lambda late_s: self._end_in_time())

    @property
    def is_on(self) -> bool:
        """Whether the file is offered."""
        return bool(self.data)

    def begin(self, program: bytes, open_s: float) -> ShareAnswer:
        """Offer the file for so many seconds from now."""
        node = self._node
        self.data, self.packed = program, compressed_program(program)
        self._until = node.clock.now() + open_s
        self._alarm.set(self._until)
        node.world.audit.note("shared", {"for_s": open_s})
        return ShareAnswer(
            True, [f"{host}:{node.port}" for host in node.world.own_hosts()], SHARED_PACKED,
            hashlib.sha256(self.data).hexdigest(), len(self.data), open_s,
        )

    def end(self) -> None:
        """Offer nothing any more."""
        self.data = self.packed = b""

    def _end_in_time(self) -> None:
        if self.is_on and self._node.clock.now() < self._until:
            self._alarm.set(self._until)  # It was offered again meanwhile.
        else:
            self.end()


@method("Share", level="owner")
def share(node: Any, link: LinkPort, program: bytes = b"", open_s: float = 0.0) -> ShareAnswer:
    """Offer `program`, one file, to everybody who asks for it, for `open_s` seconds; 0 means the usual time."""
    if not program:
        raise InvalidParams("there is nothing to offer; `program` is the file")
    if not 0.0 <= open_s <= LONGEST_OFFER_S:
        raise InvalidParams(f"a file is offered for at most {LONGEST_OFFER_S:.0f} s")
    answer: ShareAnswer = node.sharing.begin(bytes(program), open_s or node.settings_limits.share_open_s)
    return answer


@method("StopShare", level="owner")
def stop_share(node: Any, link: LinkPort) -> StopShareAnswer:
    """Offer the program no more."""
    node.sharing.end()
    return StopShareAnswer(True)


def compressed_program(program: bytes) -> bytes:
    """Return a file as it is fetched."""
    # What is packed already has no long matches, and short ones would cost more than they save.
    packing = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_FILTERED)
    return packing.compress(program) + packing.flush()


@web_route(f"GET {SHARED_FILE}", level="shared")
def _web_shared_file(node: Any, connection: Any, request: Any) -> None:
    _answer_with(node, connection, request, node.sharing.data, "text/x-python; charset=utf-8")


@web_route(f"GET {SHARED_PACKED}", level="shared")
def _web_shared_packed(node: Any, connection: Any, request: Any) -> None:
    _answer_with(node, connection, request, node.sharing.packed, "application/zlib")


def _answer_with(node: Any, connection: Any, request: Any, data: bytes, content_type: str) -> None:
    if _is_offered(node, connection, request):
        if request.method == "GET":
            node.tell("shared", f"{connection.remote_address} fetches the program")
        connection.http.answer(request, 200, data, content_type)


@web_route(f"GET {SHARED_PAGE}", level="shared")
def _web_shared_page(node: Any, connection: Any, request: Any) -> None:
    if not _is_offered(node, connection, request):
        return
    import html  # Half a megabyte of names of letters.

    size = f"{len(node.sharing.data) / 1e3:,.0f} kB"
    page = STEPS.format(name=html.escape(node.name), size=size)
    connection.http.answer(request, 200, page.encode("utf-8"), "text/html; charset=utf-8")


def _is_offered(node: Any, connection: Any, request: Any) -> bool:
    """Whether there is something to answer with; the owner, who may ask at any time, hears how to change that."""
    if not node.sharing.is_on:
        connection.http.answer_error(request, 404, "nothing is offered here just now; `share` offers it")
    return bool(node.sharing.is_on)
