"""Speak TLS without a socket: ciphertext in, plaintext out, and the other way round.

Knows:   the strict contexts of a cluster's members, the handshake, who the other side has proved to be.
Refuses: sockets, clocks and messages; to take anything but the verified certificate for an identity.
Read next: net/tls_channel.py (a socket around it), net/tls_door.py (who may shake hands, and how many at once).

A `TlsPipe` moves so, and never back; `receive_data(b"")` says that the stream has ended:

    state          what it takes        what may be asked
    handshaking    receive_data         data_to_send
    open           receive_data, write  read, data_to_send, device_id, protocol
    ended          write                the other side has said that no more comes
    broken         nothing              error, data_to_send (the alert)

`ssl` is imported here only, and only where TLS is used: a node that is alone starts without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from ..crypto.certificates import certified_device
from ..model.errors import DiscomputeError, ProtocolError, StateError, Unauthenticated
from ..model.limits import KIB, Limits
from ..wire.framing import Buffer

#: What may be spoken inside, by its name in ALPN; a connection that names neither is refused.
ALPN_RPC, ALPN_HTTP = "discompute/1", "http/1.1"
#: TLS 1.2's suites with forward secrecy and authenticated encryption; TLS 1.3 has no others.
TLS_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
#: Plaintext of a whole record: what one reading gives at most.
RECORD_BYTES = 16 * KIB
#: X509_V_FLAG_NO_CHECK_TIME, which `ssl` does not name: membership ends by revocation, and a wrong clock locks nobody
#: out.
NO_CHECK_TIME = 0x200000
#: SSL_OP_IGNORE_UNEXPECTED_EOF, set by Python 3.9 on OpenSSL 3, would make a cut look like an end.
_IGNORE_CUTS = 0x80


@dataclass(frozen=True)
class TlsIdentity:
    """Say how this device proves itself and whom it believes; the files are PEM, as `ssl` reads no others."""

    certificate_file: str
    key_file: str
    #: The cluster's certificate as text: the only root.
    ca_pem: str


def bare_tls_context(*, is_server: bool) -> Any:
    """Return an `SSLContext` with our versions and ciphers that believes nobody, since it has no root yet.

    Raise StateError where this Python has no TLS, or none that is new enough.
    """
    try:
        import ssl
    except ImportError:
        raise _no_tls("this Python has no TLS (its module ssl is missing)") from None
    try:
        if not ssl.HAS_ALPN:
            raise ValueError("it cannot say what is spoken inside")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
        # The id is compared after the handshake: a host name would tell everybody on the way which device is called.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(TLS_CIPHERS)
    except (AttributeError, OSError, ValueError):
        raise _no_tls(f"this Python's TLS is too old ({getattr(ssl, 'OPENSSL_VERSION', 'of no version')})") from None
    if is_server and hasattr(context, "num_tickets"):
        # Tickets that a client never reads turn its close into a reset, which loses what it sent.
        context.num_tickets = 0
    return context


def _no_tls(reason: str) -> StateError:
    return StateError(f"{reason}, so this device stays alone", "use another Python to join a cluster")


def why_no_tls() -> str:
    """Say why this Python cannot encrypt, and what to do; "" where it can."""
    try:
        bare_tls_context(is_server=True)
    except StateError as error:
        return error.message
    return ""


def make_tls_context(identity: TlsIdentity, *, is_server: bool) -> Any:
    """Return an `SSLContext` that trusts the cluster alone, strict from its first moment; never to be changed.

    Raise StateError where this Python has no TLS or the files do not belong together.
    """
    context = bare_tls_context(is_server=is_server)
    import ssl

    for option in ("OP_NO_TICKET", "OP_NO_COMPRESSION", "OP_NO_RENEGOTIATION"):
        context.options |= getattr(ssl, option, 0)
    context.options &= ~_IGNORE_CUTS
    context.verify_flags |= ssl.VERIFY_X509_STRICT | NO_CHECK_TIME
    try:
        context.load_verify_locations(cadata=identity.ca_pem)
        context.load_cert_chain(identity.certificate_file, identity.key_file)
    except (OSError, ValueError) as error:
        raise StateError(f"this device's certificate cannot be used ({type(error).__name__})", "pair it anew") from None
    context.set_alpn_protocols([ALPN_RPC, ALPN_HTTP] if is_server else [ALPN_RPC])
    return context


class TlsPipe:
    """Hold one side of one TLS connection of members."""

    def __init__(self, context: Any, limits: Limits, *, is_server: bool, deadline: float) -> None:
        """`deadline` is when the handshake must be over; whoever has a clock holds the pipe to it."""
        import ssl

        self._limits = limits
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=is_server)
        self._wants_more = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self._failures = (ssl.SSLError, ValueError)
        self._has_ended = ssl.SSLZeroReturnError
        self._handshake_bytes = 0
        self.is_server = is_server
        self.deadline = deadline
        self.state = "handshaking"
        #: Once open: the id that the other side's verified certificate proves, and what is spoken inside.
        self.device_id = ""
        self.protocol = ""
        #: Why it is broken.
        self.error: Optional[DiscomputeError] = None
        if not is_server:
            self._shake_hands()

    def receive_data(self, data: Buffer) -> None:
        """Take ciphertext; raises nothing, whatever it is. Empty data says that the stream has ended."""
        if self.state == "broken":
            return
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        if self.state == "handshaking":
            self._handshake_bytes += len(data)
            self._shake_hands()
            if self.state == "handshaking" and self._handshake_bytes > self._limits.handshake_bytes:
                self._break(ProtocolError("its handshake is longer than any needs to be"))

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes of plaintext, b"" where there are none now."""
        if self.state != "open" or not size:
            return b""
        data = self._attempt(self._tls.read, size)
        if data == b"":
            self.state = "ended"  # Nothing at all is how `ssl` tells the other side's goodbye.
        return data or b""

    def read_into(self, view: memoryview) -> int:
        """Fill `view` with plaintext as far as there is some now; return how much."""
        read, filled, size = self._tls.read, 0, len(view)

        def read_records() -> None:
            nonlocal filled
            while filled < size:
                # A record at a time, and nothing else between two of them: most of what a large message costs is here.
                count = read(RECORD_BYTES, view[filled:])
                if not count:
                    self.state = "ended"
                    return
                filled += count

        if self.state == "open":
            self._attempt(read_records)
        return filled

    def write(self, plaintext: Buffer) -> None:
        """Encrypt all of it."""
        view = memoryview(plaintext)
        while view and self.state in ("open", "ended"):
            count = self._attempt(self._tls.write, view)
            if count is None and self.state != "broken":
                self._break(ProtocolError("it asked for a new handshake in the middle, which nobody needs"))
            view = view[count or 0:]

    def data_to_send(self) -> bytes:
        """Return the ciphertext that waits to be sent."""
        return self._outgoing.read()

    @property
    def waiting_bytes(self) -> int:
        """Return how much was received and not decrypted yet."""
        return self._incoming.pending

    @property
    def has_received(self) -> bool:
        """Whether something that was received may not have been read yet."""
        return self.state == "open" and bool(self._incoming.pending or self._tls.pending())

    def close(self) -> None:
        """Say that no more comes; what the other side still sends is not waited for."""
        if self.state in ("open", "ended"):
            self._attempt(self._tls.unwrap)
        self._break(ProtocolError("it was closed"))

    # ---- inside -----------------------------------------------------------------------------------

    def _attempt(self, action: Any, *arguments: Any) -> Any:
        """Do something that may need more bytes, find the end, or fail for good."""
        try:
            return action(*arguments)
        except self._wants_more:
            return None
        except self._has_ended:
            self.state = "ended"
        except self._failures:
            # Reasons are not told: LibreSSL's are wrong (it calls every refused certificate an early end).
            self._break(ProtocolError("the encrypted stream was cut or damaged; connect again"))
        return None

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except self._wants_more:
            return
        except (OSError, *self._failures):
            self._break(Unauthenticated(
                "Pair this device first: the other side belongs to no cluster of this node's, or is no node."
            ))
            return
        self._identify(self._tls.getpeercert(binary_form=True) or b"")

    def _identify(self, certificate: bytes) -> None:
        """The handshake has succeeded: open, or break, by what the other side has shown."""
        self.protocol = self._tls.selected_alpn_protocol() or ""
        try:
            self.device_id = certified_device(certificate)
        except ValueError:
            self._break(Unauthenticated("Pair this device first: its certificate is not a device's."))
            return
        if self.protocol not in (ALPN_RPC, ALPN_HTTP):
            # The other side has a handshake that succeeded: it is ended in order.
            self.state = "open"
            self.close()
            self.error = ProtocolError(f"name what is spoken inside TLS (ALPN): {ALPN_RPC} or {ALPN_HTTP}")
            return
        self.state = "open"

    def _break(self, error: DiscomputeError) -> None:
        self.state, self.error = "broken", self.error or error
