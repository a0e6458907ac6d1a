"""Say what roles need from outside: small Protocols that net, host and a simulation provide.

Knows:   shapes. Nothing else crosses the wall between roles and the world.
Refuses: behaviour; and sockets, threads, files, clocks in any other form than these.
Read next: roles/node.py (who uses them), run.py (who provides the real ones).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, Protocol, Sequence

from ..core.audit_log import AuditFact
from ..crypto.p256 import PrivateKey
from ..model.errors import DiscomputeError
from ..wire.pairing_grant import PairingGrant
from .blob_bytes import MemoryBlobs
from .journals import MemoryJournals
from .sockets_port import SocketsPort, TransportPort
from .vector_memory import MemoryVectors

OnReply = Callable[[Any, Optional[DiscomputeError]], None]


class TimerPort(Protocol):
    """Stand for one call in the future."""

    def cancel(self) -> None:
        """Do not call."""


class Clock(Protocol):
    """Give the time and the thread that owns all state."""

    def now(self) -> float:
        """Return monotonic seconds."""

    def call_at(self, when: float, callback: Callable[..., None], *arguments: Any) -> TimerPort:
        """Call back at `when`."""

    def call_later(self, delay_s: float, callback: Callable[..., None], *arguments: Any) -> TimerPort:
        """Call back after `delay_s` seconds."""

    def call_between(
        self, first: float, last: float, callback: Callable[..., None], *arguments: Any
    ) -> TimerPort:
        """Call back when this node is awake anyway from `first` on, and at `last` at the latest."""

    def post(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Call back soon; any thread may call this."""


class HearingPort(Protocol):
    """Say for how long the other end of a link has been silent."""

    #: Called when the link is not read any more for want of room or slots here: it cannot be heard then.
    on_unread: Callable[[], None]

    def silent_s(self, since: float, now: float) -> float:
        """Return for how many seconds nothing was heard that could have been, beginning with `since`."""


class LinkPort(Protocol):
    """Be one open connection to another node or client."""

    remote_address: str
    #: The address of this device that it was made from, or came to.
    local_host: str
    is_loopback: bool
    is_dialled: bool
    is_closed: bool
    is_link: bool
    #: The id that the other end's certificate proved, "" where the connection is not encrypted.
    verified_id: str
    #: A `Peer`, set by roles/node.py.
    peer: Any
    #: What ended the conversation, where one of both ends said so.
    broken_by: Optional[DiscomputeError]

    @property
    def hearing(self) -> HearingPort:
        """Return what is heard of its other end."""

    def call(
        self, method: str, params: Any, on_reply: OnReply, *,
        timeout_s: Optional[float] = None, tell_timeout: bool = False,
    ) -> None:
        """Call the other side; `on_reply(result, error)` comes exactly once."""

    def notify(self, method: str, params: Any) -> None:
        """Tell the other side something, without an answer."""

    def finish(self) -> None:
        """Send what there is, then close."""

    def close(self, reason: str) -> None:
        """Close now."""


OnDialledLink = Callable[[Optional[LinkPort], Optional[DiscomputeError]], None]


class DiallerPort(Protocol):
    """Open connections."""

    def open(self, address: str, default_port: int, on_dialled: OnDialledLink) -> None:
        """Connect to host:port; `on_dialled(link, error)` comes exactly once."""


class ProberPort(Protocol):
    """Try addresses of the own networks."""

    def networks(self) -> List[Any]:
        """Return the own addresses whose networks may be looked through (model/interface.py)."""

    def probe(self, address: str, timeout_s: float, tried: Callable[[str, str, float], None]) -> None:
        """Connect to host:port and hang up; `tried(outcome, error name, seconds)` comes exactly once, later."""


class ExecutorPort(Protocol):
    """Run work: `submit(request)` returns a future with `stop(reason)`."""
    holds_to_bounds: bool  # Whether work is held to its time and memory, by force.

    def submit(self, request: Any) -> Any:
        """Start or queue a `WorkRequest`; the future's result is a `WorkOutcome`."""

    def shutdown(self, now: bool = True) -> None:
        """End all work."""


class StorePort(Protocol):
    """Keep small JSON documents."""

    def read_json(self, name: str, default: Any, *, is_vital: bool = False) -> Any:
        """Return the document, `default` when there is none or it is damaged; raise StateError for a vital one."""

    def write_json(self, name: str, value: Any) -> None:
        """Replace the document."""


class JournalsPort(Protocol):
    """Keep journals, in the order in which that is asked for and without holding up the clock's thread."""

    #: Whether they outlive the process.
    is_lasting: bool
    #: Why nothing can be written just now, "" when all is well; what was asked for is tried again by itself.
    problem: str

    def read_all(self) -> Dict[str, bytes]:
        """Return every journal, by name; only before anything else is asked for."""

    def keep_aside(self, name: str, data: bytes) -> str:
        """Keep the bytes of a damaged journal for people; return where."""

    def append(self, name: str, data: bytes) -> None:
        """Add lines to a journal."""

    def replace(self, name: str, data: bytes) -> None:
        """Let a journal hold these lines and no others."""

    def remove(self, name: str) -> None:
        """Forget a journal."""

    def when_written(self, callback: Callable[[str], None]) -> None:
        """Call back once: with "" when all that was asked for is kept, or with the reason why it is not yet."""


class BlobBytesPort(Protocol):
    """Keep the bytes of blobs; hashes are in hexadecimal. What fails raises StateError."""

    def append(self, sha256: str, data: bytes) -> None:
        """Add bytes to a blob."""

    def read(self, sha256: str, offset: int, size: int) -> bytes:
        """Return a range."""

    def source(self, sha256: str) -> Any:
        """Return what the executor's workers read it from: a path, or the bytes."""

    def remove(self, sha256: str) -> None:
        """Forget a blob; one that is not there is fine."""


class VectorsPort(Protocol):
    """Keep the vectors of trainings, as memory."""

    #: Where workers of the executor find them as files, and leave their own; "" where they cannot.
    folder: str

    def make(self, name: str, size: int) -> Any:
        """Return new memory of so many bytes under this name; raise StateError where there is no room."""

    def reserve(self, name: str, size: int) -> None:
        """Have room for a new vector of so many bytes that is to be written; raise StateError where there is none."""

    def write(self, name: str, offset: int, data: Any) -> None:
        """Write a part of a vector for which there is room; raise StateError where that fails."""

    def prepare(self) -> None:
        """Load, without holding up anybody, what vectors are added up with."""

    def find(self, name: str) -> Optional[Any]:
        """Return a vector as memory of the caller's own, None where there is none of this name."""

    def remove(self, name: str) -> None:
        """Forget a vector, if it is here."""

    def remove_all(self, beginning: str) -> None:
        """Forget all whose names begin so."""


class PairingLine(Protocol):
    """Be one connection of a pairing port, its TLS handshake done."""

    remote_address: str

    def send(self, data: bytes) -> None:
        """Send these bytes."""

    def finish(self) -> None:
        """Send what there is, then close; `ended` is not called any more."""


class PairingListener(Protocol):
    """Take what comes in by a line."""

    def received(self, data: bytes) -> None:
        """Take bytes as they came."""

    def ended(self) -> None:
        """Take note that the other side has closed, or the connection broke."""


#: called(line, certificate, error): a line and the DER of the certificate that it showed, or why there is none.
#: Returns who listens to the line.
OnPairingCall = Callable[[Optional[PairingLine], bytes, Optional[DiscomputeError]], Optional[PairingListener]]


class PairingDoor(Protocol):
    """Open pairing ports and call them; the TLS of both trusts nobody."""

    def open(self, key: PrivateKey, certificate: bytes, answer: Callable[[PairingLine], PairingListener]) -> int:
        """Listen with this certificate; return the port."""

    def close(self) -> None:
        """Listen no more; lines that are open stay so."""

    def call(self, address: str, called: OnPairingCall) -> None:
        """Connect to host:port; `called` comes exactly once."""


class AuditPort(Protocol):
    """Write down what happened, without holding up the clock's thread."""

    def note(self, what: str, facts: Mapping[str, AuditFact]) -> None:
        """Append a line."""

    def refused(self, rule: str, whom: str, facts: Mapping[str, AuditFact]) -> None:
        """Take note that a rule refused a device (its id) or a stranger (its address); a flood costs a few lines."""

    def lines(self) -> bytes:
        """Return all lines that are kept, the oldest first."""


class NoAudit:
    """Write nothing down, as a simulated node does."""

    def note(self, what: str, facts: Mapping[str, AuditFact]) -> None:
        """Forget it."""

    def refused(self, rule: str, whom: str, facts: Mapping[str, AuditFact]) -> None:
        """Forget it."""

    def lines(self) -> bytes:
        """Return none."""
        return b""


class TrustPort(Protocol):
    """Keep what makes this device a member, and open or shut the door that TLS comes in by."""

    #: Who this device is.
    key: PrivateKey

    def random_bytes(self, count: int) -> bytes:
        """Return chance that nobody can guess, for keys and codes."""

    def why_no_tls(self) -> str:
        """Say why nothing can be encrypted here, and what to do; "" where it can."""

    def load(self) -> Optional[PairingGrant]:
        """Return what was kept, None where this device is alone; raise StateError for what does not fit together."""

    def keep(self, grant: PairingGrant) -> None:
        """Put it on the disk; raise StateError."""

    def forget(self) -> None:
        """Remove it from the disk."""

    def enter(self, grant: PairingGrant, refusal: Callable[[str], Optional[DiscomputeError]]) -> None:
        """Speak TLS from now on; `refusal(device id)` says why a device of the cluster may not stay."""

    def leave(self) -> None:
        """Speak none any more."""


@dataclass
class ClockAndWorld:
    """Hold everything outside that one node was given by its composition root."""

    clock: Clock
    #: Unix seconds.
    wall: Callable[[], float]
    #: Anything with `.random()`.
    rng: Any
    dialler: DiallerPort
    transports: Sequence[TransportPort]
    executor: ExecutorPort
    store: StorePort
    #: tell(kind, sentence): shows people one event, of those that they want to see.
    tell: Callable[..., None]
    #: read_metrics(active_tasks, throughput) -> host/metrics.Reading.
    read_metrics: Callable[[int, float], Any]
    #: Subtasks that the executor runs at once.
    slots: int
    #: The addresses under which others may call this machine, the best first; "127.0.0.1" where only itself can.
    own_hosts: Callable[[], List[str]]
    #: Loopback addresses where other nodes of this machine may listen.
    neighbours: Sequence[str] = ()
    #: Where devices are looked for address by address; None where they are not.
    prober: Optional[ProberPort] = None
    #: The node's own ports; None where nobody sees to them.
    sockets: Optional[SocketsPort] = None
    #: Told about every connection that ended.
    connection_closed: Callable[[Any], None] = lambda link: None
    #: Where accepted tasks and their results are kept.
    journals: JournalsPort = field(default_factory=MemoryJournals)
    #: Where blobs are kept.
    blob_bytes: BlobBytesPort = field(default_factory=MemoryBlobs)
    #: Where the vectors of trainings are kept.
    vectors: VectorsPort = field(default_factory=MemoryVectors)
    #: allocate(size): memory, with whatever is in it, that is given again when all references to it are gone.
    allocate: Callable[[int], Any] = bytearray
    #: None where this device can only be alone.
    trust: Optional[TrustPort] = None
    #: Where devices are let in; None where nobody is.
    pairing_door: Optional[PairingDoor] = None
    #: Where what happened is written down.
    audit: AuditPort = field(default_factory=NoAudit)


class Later:
    """Promise a result: resolved or failed once; callbacks set before or after that."""

    __slots__ = ("_callback", "_outcome")

    def __init__(self) -> None:
        self._callback: Optional[OnReply] = None
        self._outcome: Any = None

    def resolve(self, result: Any) -> None:
        """Give the result."""
        self._settle((result, None))

    def fail(self, error: DiscomputeError) -> None:
        """Give the reason why there is none."""
        self._settle((None, error))

    def then(self, callback: OnReply) -> None:
        """Call `callback(result, error)` when it is known."""
        self._callback = callback
        if self._outcome is not None:
            callback(*self._outcome)

    def _settle(self, outcome: Any) -> None:
        if self._outcome is None:
            self._outcome = outcome
            if self._callback is not None:
                self._callback(*outcome)
