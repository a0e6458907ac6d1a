"""Write and read server-sent events, as the HTML standard frames them (9.2, "Server-sent events").

Knows:   fields, line ends of all three kinds, comments, and where one event ends.
Refuses: what events mean; to hold more of a line or an event than it is allowed.
Read next: roles/web_events.py (who writes them), net/event_client.py (who reads them).

    >>> encode_sent_event("7", "joined", "{}")
    b'id: 7\\nevent: joined\\ndata: {}\\n\\n'
    >>> reader = SentEventReader(1000)
    >>> reader.receive_data(b'id: 7\\nevent: joined\\nda')
    []
    >>> reader.receive_data(b'ta: {}\\n\\n')
    [SentEvent(last_id='7', kind='joined', data='{}')]
"""

from __future__ import annotations

import re
from typing import List, NamedTuple

from ..model.errors import TooLarge

#: A comment: it keeps a connection known to be alive, and readers pass it by.
SENT_COMMENT = b": still here\n\n"
_SENT_LINE_END = re.compile(b"\r\n|\n|\r(?=.)", re.S)


class SentEvent(NamedTuple):
    """Hold one event as it was read."""

    #: What to send as `Last-Event-ID` to go on behind this event.
    last_id: str
    kind: str
    data: str


def encode_sent_event(event_id: str, kind: str, data: str) -> bytes:
    """Return one event; none of the three may hold a line end, which JSON text without indents does not."""
    return f"id: {event_id}\nevent: {kind}\ndata: {data}\n\n".encode("utf-8", "replace")


def encode_sent_place(event_id: str, retry_ms: int) -> bytes:
    """Return what tells a reader, without an event, where it is and how soon to come back when it is cut off."""
    return f"retry: {retry_ms}\nid: {event_id}\n\n".encode("ascii")


class SentEventReader:
    """Turn bytes into events; raise `TooLarge` for one of more than `most_bytes`."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._buffer = b""
        self._is_begun = False
        self._size = 0
        self._kind = ""
        self._data: List[str] = []
        #: The last id that was seen, "" for none.
        self.last_id = ""

    def receive_data(self, data: bytes) -> List[SentEvent]:
        """Take bytes as they came; return the events that are whole now."""
        events: List[SentEvent] = []
        self._buffer += data
        if not self._is_begun and self._buffer:
            if len(self._buffer) < 3 and b"\xef\xbb\xbf".startswith(self._buffer):
                return events
            self._is_begun = True
            self._buffer = self._buffer[3:] if self._buffer.startswith(b"\xef\xbb\xbf") else self._buffer
        start = 0
        for end in _SENT_LINE_END.finditer(self._buffer):
            self._take_line(self._buffer[start:end.start()].decode("utf-8", "replace"), events)
            start = end.end()
        self._buffer = self._buffer[start:]
        if self._size + len(self._buffer) > self._most_bytes:
            raise TooLarge(f"an event passes {self._most_bytes} bytes; this is not a node's stream of events")
        return events

    def _take_line(self, line: str, events: List[SentEvent]) -> None:
        if not line:
            if self._data:
                events.append(SentEvent(self.last_id, self._kind or "message", "\n".join(self._data)))
            self._kind, self._data, self._size = "", [], 0
            return
        self._size += len(line)
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._kind = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self.last_id = value
