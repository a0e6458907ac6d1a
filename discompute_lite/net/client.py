"""Call one node from outside its loop: the blocking client that faces use.

Knows:   one connection, one call at a time or a few in a row, and answers.
Refuses: threads of its own, and being called by a node.
Read next: faces/cli.py.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from typing import Any, Optional

from ..model.errors import CallTimeout, DiscomputeError, LinkClosed, MethodNotFound, Unreachable
from ..model.limits import Limits
from ..model.setting_kinds import DEFAULT_NODE_PORT
from ..wire.envelope import check_rpc_call, is_rpc_answer, rpc_error, rpc_refusal
from ..wire.framing import MessageDecoder, encode_message, encode_sendable, join_attachments
from ..wire.repeats import RepeatedAnswer
from .addresses import address_text, error_words, is_loopback_host, is_numeric_host, split_address
from .memory import allocate_attachment
from .sockets import call_and_wait

#: One read: a whole answer in most cases.
CLIENT_READ_BYTES = 64 * 1024


class Client:
    """Hold one connection to a node; a context manager."""

    def __init__(self, address: str, *, token: str = "", timeout_s: float = 10.0, limits: Limits = Limits()) -> None:
        """Connect to host:port and, on loopback, show the control `token`; raise `LinkError` or what the node says."""
        host, port = split_address(address, DEFAULT_NODE_PORT)
        self.address = address
        self._timeout_s = timeout_s
        try:
            self._sock = call_and_wait(host, port, timeout_s)
        except (OSError, ValueError) as error:
            raise Unreachable(f"nobody answers at {address} ({error_words(error)}); is a node running there?") from None
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.settimeout(None)
        self._receive_limit_s = 0.0
        self._limits = limits
        self._decoder = MessageDecoder(limits, allocate=allocate_attachment)
        #: The last answer; nothing while the decoder has bytes of another message.
        self._last = RepeatedAnswer()
        #: Calls so far: the number of the last one.
        self._calls = 0
        self.hello: Any = None
        if token and is_loopback_host(self._sock.getpeername()[0]):
            try:
                self.hello = self.call("Hello", {"auth": token})
            except DiscomputeError:
                self.close()
                raise

    def call(self, method: str, params: Any, *, timeout_s: Optional[float] = None) -> Any:
        """Return the result of one call; raise what the node answered, or `LinkError`."""
        wait_s = self._timeout_s if timeout_s is None else timeout_s
        if wait_s != self._receive_limit_s:
            self._limit_receiving(wait_s)
        deadline = time.monotonic() + wait_s
        # An answer to an earlier call that was given up (Ctrl-C) has another number.
        self._calls = number = self._calls + 1
        pieces = encode_sendable({"jsonrpc": "2.0", "id": number, "method": method, "params": params}, self._limits)
        try:
            for piece in pieces:
                self._sock.sendall(piece)
            data = self._sock.recv(CLIENT_READ_BYTES)
            last = self._last
            # Written here and not there: with eight clients on one core, each further function costs a microsecond.
            if last.rest and data == last.HEAD % number + last.rest:
                return last.result()
            return self._read_answer(data, number, deadline)
        except (BlockingIOError, socket.timeout):
            self.close()
            raise CallTimeout(f"{self.address} did not answer in time; try again, or allow more time") from None
        except OSError as error:
            raise LinkClosed(f"the connection to {self.address} ended ({error_words(error)}); try again") from None

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def _limit_receiving(self, wait_s: float) -> None:
        """Let the kernel end a `recv` or `send` after `wait_s`: a Python time-out costs two more system calls."""
        self._receive_limit_s = wait_s
        if sys.platform == "win32":
            limit = struct.pack("@L", max(1, int(wait_s * 1000)))
        else:
            limit = struct.pack("@ll", int(wait_s), int(wait_s % 1 * 1_000_000) or 1)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._sock.setsockopt(socket.SOL_SOCKET, option, limit)

    def _read_answer(self, data: bytes, number: int, deadline: float) -> Any:
        """Return the result of call `number`, whose answer begins in `data` or comes later."""
        decoder, last = self._decoder, self._last
        last.forget()
        decoder.receive_data(data)
        while True:
            message = decoder.next_message()
            if message is None:
                data = b""
                self._receive_more(deadline)
                continue
            value, attachments = message
            if type(value) is dict and value.get("id") == number and "result" in value:
                if decoder.is_between_messages:
                    last.remember(data, number, value)
                return join_attachments(value["result"], attachments) if attachments else value["result"]
            self._take_other(value)

    def _receive_more(self, deadline: float) -> None:
        """Receive the rest of a message, or the next one; the first bytes after a call are received by `call`."""
        if time.monotonic() > deadline:
            raise socket.timeout
        direct = self._decoder.direct_buffer()
        if direct is None:
            data = self._sock.recv(CLIENT_READ_BYTES)
            count = len(data)
            self._decoder.receive_data(data)
        else:
            count = self._sock.recv_into(direct)
            direct.release()
            self._decoder.direct_filled(count)
        if not count:
            raise LinkClosed(f"{self.address} closed the connection; look at what that node printed")

    def _take_other(self, message: Any) -> None:
        """Take what is not the result of the last call: raise the error where it is that, refuse a call, pass by what
        comes too late."""
        if is_rpc_answer(message):
            if "error" in message and message.get("id") in (self._calls, None):
                raise rpc_error(message)
            return
        check_rpc_call(message)
        if "id" in message:
            error = MethodNotFound("this is a command-line client; it offers no methods")
            for piece in encode_message(rpc_refusal(message["id"], error)):
                self._sock.sendall(piece)


def call_once(address: str, method: str, params: Any, *, token: str = "", timeout_s: float = 10.0) -> Any:
    """Connect, make one call, close; raise as `Client` does."""
    with Client(address, token=token, timeout_s=timeout_s) as client:
        return client.call(method, params, timeout_s=timeout_s)


def address_in(text: str) -> str:
    """Return host:port where `text` is that, or an address without a port, which is the usual one; "" otherwise."""
    try:
        host, port = split_address(text)
    except DiscomputeError:
        return ""
    # A word without a port may be a device's name; nobody is called like a number.
    port = port or (DEFAULT_NODE_PORT if is_numeric_host(host) else 0)
    return address_text((host, port)) if port else ""
