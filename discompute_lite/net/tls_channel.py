"""Be a socket to those above, and TLS to the other side.

Knows:   a non-blocking socket, a `TlsPipe`, and ciphertext that the socket did not take yet.
Refuses: deadlines and messages (net/stream.py), to choose whom to believe (net/tls_door.py).
Read next: net/tls.py, net/stream.py (which takes this for its socket).

It has the methods of a socket that a connection uses, with the same promises: BlockingIOError where nothing can be
read or written just now, b"" at the end, a short read when everything that has come is read.
"""

from __future__ import annotations

import socket
from typing import Callable, List

from ..model.errors import DiscomputeError, ProtocolError
from ..model.limits import KIB, MIB
from ..wire.framing import Buffer
from .tls import RECORD_BYTES, TlsPipe

#: One read of ciphertext: more than a turn's plaintext, so that one system call is enough for it.
CIPHERTEXT_BYTES = 128 * KIB
#: Where so much of a message is still to come, its ciphertext is received into the memory that is its plaintext's in a
#: moment: up to so much at once, and so much plaintext until others get their turn.
BULK_BYTES, BULK_READ_BYTES, BULK_TURN_BYTES = 64 * KIB, 256 * KIB, 1 * MIB
#: Plaintext that is encrypted before the socket has taken it: bounds what a slow reader costs. Each time goes through
#: all layers of a connection, so of a large message it is much.
PLAINTEXT_BYTES = 256 * KIB
_NO_MEMORY = memoryview(b"")


class TlsBroken(ConnectionError):
    """The other side could not be believed, or the stream was damaged; `said` is the sentence."""

    def __init__(self, error: DiscomputeError) -> None:
        super().__init__(error.message)
        self.said = error


class TlsChannel:
    """Encrypt what one connection sends, decrypt what it receives; the handshake comes with the first reads."""

    def __init__(self, sock: socket.socket, pipe: TlsPipe, on_open: Callable[[], None],
                 on_handshake_over: Callable[[], None]) -> None:
        """`on_open()` is called within a `recv`, before anything of the other side's is read.

        `on_handshake_over()` is called once, however the handshake ends.
        """
        self.pipe = pipe
        self._sock = sock
        self._on_open = on_open
        self._on_handshake_over = on_handshake_over
        self._is_handshake_over = False
        #: Ciphertext of the `_plaintext_bytes` that `send` took last, which the socket has not taken yet.
        self._ciphertext = memoryview(b"")
        self._plaintext_bytes = 0
        #: We have said that no more comes; what the other side still sends is read by nobody.
        self._is_shut = False
        self._send_control()

    def take(self, ciphertext: Buffer) -> None:
        """Take what was read from the socket before this was made."""
        self._received(ciphertext)

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes of plaintext: fewer where a short record stands before much else, since that is a
        message's line and what follows its attachment, which is better received where it belongs."""
        if self._is_shut:
            return self._sock.recv(size)
        pieces: List[bytes] = []
        missing = size
        while missing:
            piece = self.pipe.read(missing)
            if piece:
                pieces.append(piece)
                missing -= len(piece)
                if len(piece) < RECORD_BYTES and self.pipe.waiting_bytes > missing:
                    break
            elif pieces:
                break
            elif not self._receive():
                return b""
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def recv_into(self, view: memoryview) -> int:
        """Fill `view` with plaintext as far as there is some, up to a turn; return how much."""
        view = view[:BULK_TURN_BYTES]
        filled = self.pipe.read_into(view)
        while filled < len(view):
            try:
                if not self._receive(view[filled:]):
                    break
            except BlockingIOError:
                if filled:
                    break
                raise
            filled += self.pipe.read_into(view[filled:])
        return filled

    def send(self, plaintext: Buffer) -> int:
        """Send the beginning of `plaintext`; raise BlockingIOError until its ciphertext has gone.

        Whoever is told to wait comes again with the same plaintext.
        """
        if not self._ciphertext:
            view = memoryview(plaintext)[:PLAINTEXT_BYTES]
            self.pipe.write(view)
            self._raise_if_broken()
            self._plaintext_bytes = len(view)
            self._ciphertext = memoryview(self.pipe.data_to_send())
        self._ciphertext = self._ciphertext[self._sock.send(self._ciphertext):]
        if self._ciphertext:
            raise BlockingIOError
        return self._plaintext_bytes

    @property
    def has_received(self) -> bool:
        """Whether something may be left to read of what the socket gave, which it will not tell of again."""
        return not self._is_shut and self.pipe.has_received

    def shutdown(self, how: int) -> None:
        """Say that no more comes, in TLS and in TCP; what still comes is read as it is, to be thrown away."""
        self._say_goodbye()
        self._sock.shutdown(how)

    def close(self) -> None:
        """Close the socket, with a goodbye where it takes one."""
        self._say_goodbye()
        self._end_handshake()
        self._sock.close()

    # ---- inside -----------------------------------------------------------------------------------

    def _receive(self, memory: memoryview = _NO_MEMORY) -> bool:
        """Give the pipe what the socket has, by way of `memory` where that is large; return False at its end."""
        if self.pipe.state == "ended":
            return False
        self._raise_if_broken()
        if len(memory) < BULK_BYTES:
            self._received(self._sock.recv(CIPHERTEXT_BYTES))
        else:
            self._received(memory[:self._sock.recv_into(memory[:BULK_READ_BYTES])])
        if self._is_shut:
            raise BlockingIOError  # It was refused, so nothing of it is read.
        return True

    def _received(self, ciphertext: Buffer) -> None:
        was_open = self.pipe.state != "handshaking"
        self.pipe.receive_data(ciphertext)
        if was_open:
            return
        if self.pipe.state != "handshaking":
            self._end_handshake()
        self._send_control()
        self._raise_if_broken()
        if self.pipe.state == "open":
            self._on_open()

    def _end_handshake(self) -> None:
        if not self._is_handshake_over:
            self._is_handshake_over = True
            self._on_handshake_over()

    def _send_control(self) -> None:
        """Send what belongs to the handshake: a few kilobytes, which a new socket takes at once."""
        data = self.pipe.data_to_send()
        if data and self._sock.send(data) < len(data):
            raise TlsBroken(ProtocolError("it does not read what it is sent in the handshake"))

    def _say_goodbye(self) -> None:
        if self._is_shut:
            return
        self._is_shut = True
        self.pipe.close()
        try:
            # Behind a piece that is half sent it would be read as that piece's end.
            if not self._ciphertext:
                self._sock.send(self.pipe.data_to_send())
        except OSError:
            pass  # It is gone already, or does not read: then it reads no goodbye either.

    def _raise_if_broken(self) -> None:
        if self.pipe.state == "broken":
            raise TlsBroken(self.pipe.error or ProtocolError("the encrypted stream is over"))
