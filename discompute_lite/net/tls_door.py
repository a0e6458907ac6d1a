"""Hold what one node needs to speak TLS: its membership's contexts, and how many may knock at once.

Knows:   the membership of now, handshakes under way and failed ones, and from where.
Refuses: to judge who may stay: `admit` of the membership does, by the id that a certificate proved.
Read next: net/tls.py, net/stream.py (who asks).

A node has one door for as long as it lives. While it is alone the door has no membership, and TLS is refused as it
always was; `enter` and `leave` change that for connections made from then on. Contexts are never changed: another
membership brings others.
"""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, Optional, Tuple

from ..model.errors import DiscomputeError
from ..model.limits import Limits
from .addresses import OWNER_HOSTS
from .loop import Loop
from .tls import TlsIdentity, TlsPipe, make_tls_context

#: Seconds for which the failures of a host are counted, and the hosts that are counted at once.
FAILURES_S, FAILING_HOSTS = 60.0, 1024
#: on_refused(rule, host or device id, facts): somebody was refused before a byte of ours was read.
OnRefused = Callable[[str, str, Dict[str, Any]], None]
#: admit(device id) -> why this member may not stay, None where it may. It is asked before anything of it is read.
Admit = Callable[[str], Optional[DiscomputeError]]


class TlsDoor:
    """Make pipes for one node; all methods belong to the loop's thread."""

    def __init__(self, loop: Loop, limits: Limits, greeting: Callable[[], Any]) -> None:
        """`greeting()` returns our `Hello`, the first word to every member that calls."""
        self._loop = loop
        self._limits = limits
        self.greeting = greeting
        self._server_context: Any = None
        self._client_context: Any = None
        self._admit: Optional[Admit] = None
        #: Handshakes under way by the remote host; without zeros.
        self._knocking: Dict[str, int] = {}
        #: Remote hosts whose handshakes failed lately: since when, and how many.
        self._failures: Dict[str, Tuple[float, int]] = {}
        #: Whether connections from a host are taken at all.
        self.takes: Callable[[str], bool] = lambda host: True
        self.on_refused: OnRefused = lambda rule, whom, facts: None
        #: Handshakes since the start that were refused because there were too many, and that failed.
        self.refused = self.failed = 0

    @property
    def is_member(self) -> bool:
        """Whether there is a membership: then everything between machines travels over TLS."""
        return self._server_context is not None

    def enter(self, identity: TlsIdentity, admit: Admit) -> None:
        """Belong to a cluster from now on, or to what it has become; raise StateError and leave all as it was."""
        server_context = make_tls_context(identity, is_server=True)
        client_context = make_tls_context(identity, is_server=False)
        self._server_context, self._client_context, self._admit = server_context, client_context, admit

    def leave(self) -> None:
        """Belong to no cluster: TLS is refused, and links are plain, from now on."""
        self._server_context = self._client_context = self._admit = None

    def answering_pipe(self, host: str) -> Optional[TlsPipe]:
        """Return a pipe for who has called from `host`; None where there is no membership or no place.

        `knock_over(host, pipe)` gives its place back.
        """
        limits, knocking = self._limits, self._knocking
        if self._server_context is None:
            return None
        is_full = sum(knocking.values()) >= limits.handshakes or knocking.get(host, 0) >= limits.handshakes_per_address
        # Whoever calls from this machine itself has no need of a handshake to use its processor.
        if is_full or (host not in OWNER_HOSTS and self._failures_of(host)[1] >= limits.failed_handshakes):
            self.refused += 1
            self.on_refused("crowd", host, {})
            return None
        knocking[host] = knocking.get(host, 0) + 1
        return TlsPipe(self._server_context, limits, is_server=True, deadline=self._deadline())

    def knock_over(self, host: str, pipe: TlsPipe) -> None:
        """Take a handshake that has ended out of the count.

        One that failed counts against its host for a minute, of which the log tells once.
        """
        self._knocking[host] -= 1
        if not self._knocking[host]:
            del self._knocking[host]
        if pipe.state == "open":
            return
        self.failed += 1
        self.on_refused("handshake", host, {"reason": str(pipe.error or "it was cut")})
        since, count = self._failures_of(host)
        if not count:
            logging.getLogger("discompute").info("%s: %s", host, pipe.error)
            if len(self._failures) >= FAILING_HOSTS:
                self._failures.clear()
        self._failures[host] = since, count + 1

    def _failures_of(self, host: str) -> Tuple[float, int]:
        now = self._loop.now()
        since, count = self._failures.get(host, (now, 0))
        return (since, count) if now < since + FAILURES_S else (now, 0)

    def calling_pipe(self) -> TlsPipe:
        """Return a pipe for a call to another member; only where `is_member`."""
        return TlsPipe(self._client_context, self._limits, is_server=False, deadline=self._deadline())

    def refusal(self, device_id: str) -> Optional[DiscomputeError]:
        """Return why a device that has proved its id may not stay, None where it may."""
        refusal = self._admit(device_id) if self._admit is not None else None
        if refusal is not None:
            self.on_refused("membership", device_id, {})
        return refusal

    def _deadline(self) -> float:
        return self._loop.now() + self._limits.handshake_s
