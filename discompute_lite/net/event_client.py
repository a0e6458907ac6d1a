"""Listen to what happens on a node, from outside its loop: the blocking reader of `GET /events` that faces use.

Knows:   one connection, and that a node which lives says something every 15 s.
Refuses: threads of its own; to know what events mean.
Read next: wire/server_sent.py (the bytes), roles/web_events.py (the other end).
"""

from __future__ import annotations

import json
import socket
import time
from typing import Any, Dict, List
from urllib.parse import quote

from ..model.errors import CallTimeout, LinkClosed, Unavailable, Unreachable
from ..wire.server_sent import SentEvent, SentEventReader
from .addresses import error_words, split_address
from .sockets import call_and_wait

EVENT_READ_BYTES = 64 * 1024
#: An event has a sentence of some thousand characters and a few facts.
EVENT_BYTES_MOST = 256 * 1024
#: Bytes of an answer's head; a node's has 300.
ANSWER_HEAD_BYTES = 16 * 1024
#: Seconds without even a comment after which a node is not there any more: it has missed two of them.
NODE_SILENT_S = 45.0


class EventClient:
    """Hold one stream of events; a context manager."""

    def __init__(self, address: str, token: str, *, task_id: str = "", timeout_s: float = 10.0) -> None:
        """Connect; raise `LinkError`, or `Unavailable` with what the node says."""
        self.address = address
        try:
            self._sock = call_and_wait(*split_address(address, 8080), timeout_s)
        except OSError as error:
            raise Unreachable(f"nobody answers at {address} ({error_words(error)}); is a node running there?") from None
        self._reader = SentEventReader(EVENT_BYTES_MOST)
        self._heard_at = time.monotonic()
        path = "/events" + (f"?task={quote(task_id, safe='')}" if task_id else "")
        # As HTTP/1.0: then events come as they are, without chunks around them.
        head = f"GET {path} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n"
        try:
            self._waiting = self._begin(head.encode("ascii"))
        except BaseException:
            self.close()
            raise

    def _begin(self, request: bytes) -> List[SentEvent]:
        """Send the request, take the head of the answer; return the events that came with it."""
        try:
            self._sock.sendall(request)
            answer = b""
            while b"\r\n\r\n" not in answer:
                data = self._sock.recv(EVENT_READ_BYTES)
                if not data or len(answer) > ANSWER_HEAD_BYTES:
                    raise LinkClosed(f"{self.address} gave no answer in HTTP; look at what that node printed")
                answer += data
        except socket.timeout:
            raise CallTimeout(f"{self.address} did not answer in time; try again") from None
        except OSError as error:
            raise LinkClosed(f"the connection to {self.address} ended ({error_words(error)}); try again") from None
        line, _, rest = answer.partition(b"\r\n")
        body = rest.partition(b"\r\n\r\n")[2]
        if line.split(b" ")[1:2] != [b"200"]:
            raise Unavailable(f"the node tells no events: {_sentence_of(body)}")
        return self._reader.receive_data(body)

    def wait(self, at_most_s: float) -> List[Dict[str, Any]]:
        """Return the next events, [] where none came in that time; raise `LinkClosed` when there will be no more."""
        if not self._waiting:
            self._sock.settimeout(max(0.001, at_most_s))
            try:
                data = self._sock.recv(EVENT_READ_BYTES)
            except socket.timeout:
                if time.monotonic() > self._heard_at + NODE_SILENT_S:
                    raise CallTimeout(f"{self.address} says nothing any more; does its node still run?") from None
                return []
            except OSError as error:
                raise LinkClosed(f"the connection to {self.address} ended ({error_words(error)}); try again") from None
            if not data:
                raise LinkClosed(f"the node at {self.address} was stopped; start it and try again")
            self._heard_at = time.monotonic()
            self._waiting = self._reader.receive_data(data)
        events, self._waiting = self._waiting, []
        return [json.loads(event.data) for event in events]

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def __enter__(self) -> EventClient:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()


def _sentence_of(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return "it gave no reason; is it of an older version?"
