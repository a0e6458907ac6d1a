"""Answer HTTP on the same port: health for anyone, a little for the cluster's devices, all of it for the owner.

Knows:   the routes and who may use each, the access table's lines about HTTP, and JSON-RPC over POST.
Refuses: to read the body of a request whose head is refused; pages (faces/ adds those).
Read next: wire/http.py (the bytes), roles/node.py (the calls).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Callable, List, Optional, Tuple

from ..core.policy import Caller, access
from ..model.catalog import Catalog
from ..model.codec import to_json
from ..wire.framing import encode_message
from ..wire.http import HttpHead, HttpRefusal, HttpRequest
from ..wire.http_asker import bearer_token, check_browser_headers
from ..wire.rpc import RpcSession
from .audit_notes import note_refusal
from .bounds import devices_that_fit
from .metrics_page import answer_with_metrics
from .peer import Peer

WebAnswer = Callable[[Any, Any, HttpRequest], None]


@dataclass(frozen=True)
class WebRoute:
    """Hold what answers one path, and the level of access that it asks for (core/policy.py).

    "shared" is what everybody may have while the owner offers it, and the owner's otherwise.
    """

    level: str
    answer: WebAnswer


#: "METHOD /path" -> what is there.
ROUTES: Catalog[WebRoute] = Catalog("route")
TASK_PATH = "/api/tasks/"
SENTENCE_TOKEN = (
    "Show this node's control token: Authorization: Bearer followed by the content of control.token in its state"
    " folder, from the same machine."
)
SENTENCE_NO_PAGES = "No page of a browser may ask this over TLS. Use a client that has a device's certificate."


def web_route(name: str, level: str = "owner") -> Callable[[WebAnswer], WebAnswer]:
    """Register a function (node, connection, request) as what answers `name`, "METHOD /path"."""

    def register(answer: WebAnswer) -> WebAnswer:
        ROUTES.add(name, WebRoute(level, answer))
        return answer

    return register


def admit_web_request(node: Any, connection: Any, head: HttpHead) -> Optional[HttpRefusal]:
    """Refuse by the head whoever may not make this request; what is at no path is the owner's to ask for."""
    refusal, rule = _refusal_by_head(node, connection, head)
    if refusal is not None:
        note_refusal(node, connection, f"{head.method} {head.path}", rule=rule)
    return refusal


def _refusal_by_head(node: Any, connection: Any, head: HttpHead) -> Tuple[Optional[HttpRefusal], str]:
    """Return a refusal and its rule."""
    if connection.is_loopback:
        problem = check_browser_headers(head.headers, connection.local_port)
        if problem:
            return HttpRefusal(403, problem), "browser"
    elif connection.verified_id and "origin" in head.headers:
        return HttpRefusal(403, SENTENCE_NO_PAGES), "browser"
    route, belonging = _route_for(head.method, head.path), node.belonging
    caller = Caller(
        connection.is_loopback, node.owns(bearer_token(head.headers)), belonging.role_of(connection),
        belonging.is_certified(connection),
    )
    level = route.level if route is not None else "owner"
    if level == "shared":
        level = "anyone" if node.sharing.is_on else "owner"
    refusal = access(level, caller, alone=not belonging.is_member)
    if refusal is None:
        return None, ""
    sentence = refusal.message if caller.is_certified else SENTENCE_TOKEN
    return HttpRefusal(403 if caller.role else 401, sentence), "role" if caller.is_certified else "token"


def answer_web_request(node: Any, connection: Any, request: HttpRequest) -> None:
    """Find the route and let it answer."""
    route = _route_for(request.method, request.path)
    if route is not None:
        try:
            route.answer(node, connection, request)
        except Exception:
            # The same place for a broad except as that of RPC methods: whoever asked gets an answer.
            logging.getLogger("discompute").exception("%s %s failed", request.method, request.path)
            connection.http.answer_error(request, 500, "this node made a mistake; its log says which")
        return
    others = [name.split(" ")[0] for name in ROUTES.names() if name.endswith(f" {_route_path(request.path)}")]
    if others:
        connection.http.answer_error(request, 405, f"use {' or '.join(others)} here")
    else:
        connection.http.answer_error(request, 404, "there is nothing at this path; see the README for what there is")


def _route_for(method: str, path: str) -> Optional[WebRoute]:
    return ROUTES.get(f"{'GET' if method == 'HEAD' else method} {_route_path(path)}")


def _route_path(path: str) -> str:
    """Return the path under which a route is listed: the id of one task is `ID` there."""
    return TASK_PATH + "ID" if path.startswith(TASK_PATH) and len(path) > len(TASK_PATH) else path


def _answer_json(node: Any, connection: Any, request: HttpRequest, value: Any) -> None:
    # Bytes as base64 text, however many.
    line = encode_message(value, node.settings_limits.message_bytes)[0]
    connection.http.answer(request, 200, bytes(line))


def _answer_when_kept(node: Any, connection: Any, request: HttpRequest, answer: Any) -> None:
    """Answer with what is known of tasks now, as soon as that is kept."""
    value = to_json(answer)

    def told() -> None:
        if not connection.is_closed:
            _answer_json(node, connection, request, value)
            connection.flush()

    node.coordinator.durability.then_tell(told)


@web_route("GET /healthz", level="alone")
def _web_health(node: Any, connection: Any, request: HttpRequest) -> None:
    _answer_json(node, connection, request, {"status": "ok"})


@web_route("GET /api/devices", level="device")
def _web_devices(node: Any, connection: Any, request: HttpRequest) -> None:
    devices = devices_that_fit(node.discovery.list_devices(), node.settings_limits)
    _answer_json(node, connection, request, {"devices": to_json(devices)})


@web_route("GET /api/tasks")
def _web_tasks(node: Any, connection: Any, request: HttpRequest) -> None:
    _answer_when_kept(node, connection, request, node.coordinator.list_tasks())


@web_route("GET /api/tasks/ID")
def _web_task(node: Any, connection: Any, request: HttpRequest) -> None:
    """Answer as GetTaskStatus does; 404 for a task that is not here."""
    task_id = request.path[len(TASK_PATH):]
    answer = node.coordinator.status(task_id)
    if answer.success:
        _answer_when_kept(node, connection, request, answer)
    else:
        connection.http.answer_error(request, 404, f"this node knows no task {task_id!r}; /api/tasks lists them")


@web_route("GET /events")
def _web_events(node: Any, connection: Any, request: HttpRequest) -> None:
    """Answer with what happens from now on, or since `Last-Event-ID`."""
    node.event_readers.open(connection, request)


web_route("GET /metrics")(answer_with_metrics)


@web_route("POST /rpc", level="device")
def _web_rpc(node: Any, connection: Any, request: HttpRequest) -> None:
    """Answer one JSON-RPC message; a notification gets 204 and no body."""
    exchange = _WebExchange(node, connection, request)
    exchange.run()


class _WebExchange:
    """Stand in for a link while one HTTP request's JSON-RPC message is answered."""

    is_dialled = False
    is_closed = False
    is_link = False

    def __init__(self, node: Any, connection: Any, request: HttpRequest) -> None:
        self._node = node
        self._connection = connection
        self._request = request
        self.remote_address = connection.remote_address
        self.is_loopback = connection.is_loopback
        self.verified_id = connection.verified_id
        self.peer = Peer()
        self.peer.is_owner = connection.is_loopback and node.owns(bearer_token(request.headers))
        self.peer.can_be_called = False
        self._session = RpcSession(
            node.settings_limits, on_answer=self._flush, inline_bytes=node.settings_limits.message_bytes
        )
        self._is_answered = False
        self._is_reading = True

    def run(self) -> None:
        """Take the message, and answer it now or later."""
        if not self._request.body.strip():
            self._refuse("there is no message; send JSON-RPC 2.0 in the body")
            return
        self._session.receive_data(self._request.body.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n")
        calls: List[Any] = []
        while True:
            event = self._session.next_event(self._node.clock.now())
            if event is None:
                break
            calls.append(event)
        wants_answer = False
        for call in calls:
            if hasattr(call, "method"):
                wants_answer = wants_answer or call.wants_answer
                self._node.call_received(self, call)
        self._is_reading = False
        if not self._session.is_between_messages:
            self._refuse("attachments do not travel over HTTP; send bytes as base64 text")
        self._flush()
        if not wants_answer and not self._is_answered:
            self._is_answered = True
            self._connection.http.answer(self._request, 204)
        due = self._session.next_deadline()
        if due is not None:
            self._node.clock.call_at(due, self._overdue)

    def _refuse(self, sentence: str) -> None:
        self._is_answered = True
        self._connection.http.answer_error(self._request, 400, sentence)

    def _overdue(self) -> None:
        """The time that the caller gave has passed: what is unanswered is refused."""
        self._session.apply_deadlines(self._node.clock.now())

    def finish(self) -> None:
        """A refused call is answered like any other: whoever may not ask at all got no further than the head."""

    def notify(self, method: str, params: Any) -> None:
        """HTTP cannot carry calls back; nobody sends any over an exchange."""

    def _flush(self) -> None:
        if self._is_reading or self._is_answered:
            return
        pieces = self._session.data_to_send()
        if pieces:
            self._is_answered = True
            self._connection.http.answer(self._request, 200, b"".join(bytes(piece) for piece in pieces))
            self._connection.flush()
