"""Answer `GET /events`: what happens on this node, as server-sent events, for as long as somebody reads.

Knows:   where each reader is, how much waits for it, and when to say that we are still here.
Refuses: to hold events back for a reader: what it has not taken stays in the log, until the log lets it go.
Read next: roles/event_log.py (the source), wire/server_sent.py (the bytes).

`?task=ID` gives only what concerns that task. `Last-Event-ID` goes on behind that event, as far as it is kept; without
it a reader gets what happens from now on.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Tuple

from ..wire.http import HttpRequest
from ..wire.server_sent import SENT_COMMENT, encode_sent_event, encode_sent_place
from .event_log import NodeEvent

#: Seconds of silence after which a comment is sent: most proxies and readers wait for half a minute.
COMMENT_AFTER_S = 15.0
#: Seconds until a reader that was full is looked at again.
FULL_FOR_S = 0.25
#: Milliseconds after which a browser that was cut off comes back.
COME_BACK_MS = 2000
#: Events that are written at one go.
EVENTS_AT_ONCE = 64
#: What only one task is about is known by this fact.
TASK_FACT = "task_id"


class EventReaders:
    """Own the readers of one node; each is one connection."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._readers: Dict[Any, EventReader] = {}
        #: Events that readers did not get, all together.
        self.skipped = 0
        node.events.watchers.append(self._woken)

    def __len__(self) -> int:
        return len(self._readers)

    def open(self, connection: Any, request: HttpRequest) -> None:
        """Begin to answer `GET /events`."""
        most = self._node.settings_limits.event_readers
        if connection in self._readers or len(self._readers) >= most:
            why = f"{most} readers of events are open here" if connection not in self._readers else (
                "this connection reads events already")
            connection.http.answer_error(request, 503, f"{why}; close one of them")
            return
        reader = EventReader(self, self._node, connection, request)
        if not reader.is_over:
            self._readers[connection] = reader
        reader.begin()

    def connection_closed(self, connection: Any) -> None:
        """Forget a reader that is gone."""
        reader = self._readers.pop(connection, None)
        if reader is not None:
            reader.stop()

    def stop(self) -> None:
        """End all streams in good order."""
        for connection, reader in list(self._readers.items()):
            self.connection_closed(connection)
            reader.end()

    def _woken(self) -> None:
        for reader in self._readers.values():
            reader.wake()


class EventReader:
    """Write events to one connection, as fast as its other end takes them."""

    def __init__(self, readers: EventReaders, node: Any, connection: Any, request: HttpRequest) -> None:
        self._readers, self._log, self._clock = readers, node.events, node.clock
        self._connection = connection
        self._most_bytes = node.settings_limits.event_backlog_bytes
        self._task_id = request.query.get("task", "")
        last_id = request.headers.get("last-event-id", "")
        known = self._log.number_of(last_id)
        #: The number of the last event that it was given or that was passed by.
        self._seen: int = self._log.last if known is None else known
        self._is_from_before = bool(last_id) and known is None
        self._is_due = False
        self._said_at = self._clock.now()
        self._stream = connection.http.begin_answer(request, "text/event-stream; charset=utf-8")
        self._timer: Any = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more is sent."""
        return bool(self._stream.is_over)

    def begin(self) -> None:
        """Say where it is, and what it has missed."""
        self._stream.send(encode_sent_place(self._log.id_of(self._seen), COME_BACK_MS))
        if self._is_from_before:
            self._stream.send(self._skipped(self._seen, None))
        self._connection.flush()
        if not self.is_over:
            self._timer = self._clock.call_later(COMMENT_AFTER_S, self._stay_known)
            self.wake()

    def wake(self) -> None:
        """There is something new; it is sent soon, together with what comes until then."""
        if not self._is_due:
            self._is_due = True
            self._clock.post(self._write)

    def stop(self) -> None:
        """Its connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
        self._is_due = True

    def end(self) -> None:
        """The node stops."""
        self._stream.end()
        self._connection.flush()

    def _write(self) -> None:
        if self._is_gone():
            return
        self._is_due = False
        while self._connection.waiting_bytes < self._most_bytes:
            skipped, events = self._log.after(self._seen, EVENTS_AT_ONCE)
            pieces: List[bytes] = []
            if skipped:
                self._readers.skipped += skipped
                pieces.append(self._skipped(self._seen + skipped, skipped))
            pieces += [self._encoded(event) for event in events if self._task_id in ("", event.facts.get(TASK_FACT))]
            self._seen += skipped + len(events)
            if pieces:
                self._said_at = self._clock.now()
                self._stream.send(b"".join(pieces))
                self._connection.flush()
            if not events or self._is_gone():
                return
        self._is_due = True
        self._clock.call_later(FULL_FOR_S, self._write)

    def _stay_known(self) -> None:
        if self._is_gone():
            return
        now = self._clock.now()
        if now >= self._said_at + COMMENT_AFTER_S and self._connection.waiting_bytes < self._most_bytes:
            self._said_at = now
            self._stream.send(SENT_COMMENT)
            self._connection.flush()
        if not self._is_gone():
            self._timer = self._clock.call_later(max(1.0, self._said_at + COMMENT_AFTER_S - now), self._stay_known)

    def _is_gone(self) -> bool:
        return self.is_over or bool(self._connection.is_closed)

    def _encoded(self, event: NodeEvent) -> bytes:
        return encode_sent_event(self._log.id_of(event.number), *event_document(event))

    def _skipped(self, number: int, count: Any) -> bytes:
        text = f"{count} events were skipped: this reader was slow, or away for long" if count else (
            "the node was started anew; what happened in between is not known")
        data = json.dumps({"event": "skipped", "text": text, "count": count})
        return encode_sent_event(self._log.id_of(number), "skipped", data)


def event_document(event: NodeEvent) -> Tuple[str, str]:
    """Return an event's kind, and the JSON text that travels of it."""
    facts = {**event.facts, "event": event.kind, "text": event.text, "time": round(event.at, 3)}
    return event.kind, json.dumps(facts, ensure_ascii=False)
