"""Real connections on 127.0.0.1: whoever comes is told apart, answered as promised, and never holds up the others."""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from dataclasses import replace
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import pytest

from discompute_lite.model.errors import (
    CallTimeout,
    LinkClosed,
    MethodNotFound,
    SettingsError,
    Unauthenticated,
    Unreachable,
)
from discompute_lite.model.limits import MIB, Limits
from discompute_lite.net import memory, room
from discompute_lite.net.client import Client, call_once
from discompute_lite.net.links import Dialler
from discompute_lite.net.listener import FALLBACK_PORTS, Listener, open_listening_socket
from discompute_lite.net.loop import Loop
from discompute_lite.net.stream import Connection
from discompute_lite.net.datagrams import DatagramSocket

#: No test may depend on one of these: whoever waits for longer has failed.
PATIENCE_S = 20.0
LARGE = 64 * MIB


def assert_soon(condition: Callable[[], Any], scale: Callable[[float], float]) -> None:
    deadline = time.monotonic() + scale(PATIENCE_S)
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


class Node:
    """A listener with a few methods on a loop of its own thread; `connections` are all it ever had."""

    def __init__(self, limits: Limits) -> None:
        self.loop = Loop()
        self.limits = limits
        self.connections: List[Connection] = []
        self.reasons: List[str] = []
        self.later: List[Any] = []
        self.requests: List[Any] = []
        self.listener = Listener(self.loop, open_listening_socket("127.0.0.1", 0, False), self, limits)
        self.port = self.listener.port
        self.dialler = Dialler(self.loop, self, limits, loopback_only=True)
        self.thread = threading.Thread(target=self.loop.run, daemon=True)
        self.thread.start()

    repeated_methods = frozenset(("Echo",))

    def call_received(self, connection: Connection, call: Any) -> None:
        self._know(connection)
        params = call.params
        if call.method == "Echo":
            call.answer(params)
        elif call.method == "Bytes":
            call.answer([bytes(params["size"])])
        elif call.method == "Text":
            call.answer("x" * params["size"])
        elif call.method == "Later":
            self.later.append(call)
        elif call.method == "Mistake":
            raise RuntimeError("on purpose")
        else:
            call.refuse(MethodNotFound("there is no such method"))

    def request_received(self, connection: Connection, request: Any) -> None:
        self._know(connection)
        if request.path == "/later":
            self.requests.append((connection, request))
        else:
            connection.http.answer(request, 200, b"size %d\n" % len(request.body))

    def admit_call(self, connection: Connection, method: str) -> Any:
        return Unauthenticated("Pair this device first") if method == "Closed" else None

    def admit_request(self, connection: Connection, head: Any) -> Any:
        return None

    def connection_closed(self, connection: Connection, reason: str) -> None:
        self._know(connection)
        self.reasons.append(reason)
        self.listener.forget(connection)

    def _know(self, connection: Connection) -> None:
        if connection not in self.connections:
            self.connections.append(connection)

    def on_loop(self, action: Callable[[], Any]) -> Any:
        """Run something on the loop's thread and return what it returned."""
        done = threading.Event()
        box: List[Any] = []
        self.loop.post(lambda: (box.append(action()), done.set()))
        assert done.wait(60)
        return box[0]

    def stop(self) -> None:
        self.loop.stop()
        self.thread.join(60)
        self.listener.close()
        for connection in self.listener.connections() + self.connections:
            connection.close("the test is over")
        self.loop.close()


@pytest.fixture
def start(scale: Callable[[float], float]) -> Iterator[Callable[..., Node]]:
    """Start a node with some limits changed."""
    nodes: List[Node] = []

    def start_node(**limits: Any) -> Node:
        nodes.append(Node(replace(Limits(), **limits)))
        return nodes[-1]

    yield start_node
    for node in nodes:
        node.stop()


@pytest.fixture
def connect(scale: Callable[[float], float]) -> Iterator[Callable[..., socket.socket]]:
    """Connect to a node as a bare socket."""
    sockets: List[socket.socket] = []

    def connect_to(node: Node, source: str = "127.0.0.1") -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", node.port), scale(PATIENCE_S), (source, 0))
        sockets.append(sock)
        return sock

    yield connect_to
    for sock in sockets:
        sock.close()


def line_of(method: str, params: Any = None, number: Any = 1) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params or {}}).encode() + b"\n"


def says_at_once(sock: socket.socket, data: bytes) -> socket.socket:
    sock.sendall(data)
    return sock


def read_to_end(sock: socket.socket) -> bytes:
    """Return everything until the other side ends the stream; a reset fails the test."""
    pieces = []
    while True:
        piece = sock.recv(65536)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


def read_lines(sock: socket.socket, count: int) -> List[Any]:
    data = b""
    while data.count(b"\n") < count:
        piece = sock.recv(65536)
        assert piece, "the stream ended early"
        data += piece
    return [json.loads(line) for line in data.splitlines()]


# ---- who is it? -------------------------------------------------------------------------------------------------


CLIENT_HELLO = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"


@pytest.mark.smoke
@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (line_of("Echo", {"a": 1}), b'{"jsonrpc":"2.0","id":1,"result":{"a":1}}\n'),
        (b"[" + line_of("Echo").strip() + b"]\n", b'[{"jsonrpc":"2.0","id":1,"result":{}}]\n'),
        (b"POST /x HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", b"HTTP/1.1 200 OK"),
        (b"PATCH /x HTTP/1.0\r\n\r\n", b"HTTP/1.1 405 "),
        (CLIENT_HELLO, b"\x15\x03\x01\x00\x02\x02\x28"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", b""),
        (b"\x00\x01\x02 random", b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,'),
        (b"\r\n", b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,'),
        (b"{]\n", b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,'),
    ],
)
def test_the_first_bytes_tell_what_a_connection_speaks(start, connect, first, expected, in_pieces):
    sock = connect(start())
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in [first[i:i + 1] for i in range(len(first))] if in_pieces else [first]:
        try:
            sock.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            break  # It was refused by its first bytes already.
    sock.shutdown(socket.SHUT_WR)
    answer = read_to_end(sock)
    assert answer.startswith(expected) and (expected or not answer)


def test_a_stranger_without_a_first_message_is_closed(start, connect, scale):
    node = start(first_message_s=scale(0.5))
    busy = connect(node)
    busy.sendall(line_of("Echo"))
    assert read_lines(busy, 1)
    silent, slow = connect(node), connect(node)
    slow.sendall(b'{"jsonrpc":')
    assert read_to_end(silent) == b"" and read_to_end(slow) == b""
    assert_soon(lambda: len(node.reasons) == 2, scale)
    assert set(node.reasons) == {"no complete message in time"}
    busy.sendall(line_of("Echo"))
    assert read_lines(busy, 1), "a first message is enough"


def test_a_message_that_never_ends_is_closed_and_a_busy_link_is_not(start, connect, scale):
    node = start(message_s=scale(1.0))
    stuck, busy = connect(node), connect(node)
    for sock in (stuck, busy):
        sock.sendall(line_of("Echo") + line_of("Echo")[:20])
        assert read_lines(sock, 1)
    # Always in the middle of a message, and never of the same one for long.
    for _ in range(4):
        time.sleep(scale(0.3))
        busy.sendall(line_of("Echo")[20:] + line_of("Echo")[:20])
        assert read_lines(busy, 1)
    assert read_to_end(stuck) == b""
    assert_soon(lambda: node.reasons == ["no complete message in time"], scale)


def test_an_idle_connection_is_closed_and_one_that_waits_is_not(start, connect, scale):
    node = start(idle_s=scale(0.5))
    said = line_of("Later"), b"GET /later HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", line_of("Echo")
    # Each says at once what it has to say.
    waiting, asking, idle = [says_at_once(connect(node), line) for line in said]
    assert read_lines(idle, 1) and read_to_end(idle) == b""
    assert_soon(lambda: node.later and node.requests, scale)
    # Twice the time that closed the first one.
    again = connect(node)
    again.sendall(line_of("Echo"))
    assert read_lines(again, 1) and read_to_end(again) == b""
    node.on_loop(lambda: node.later.pop().answer("late"))
    assert read_lines(waiting, 1)[0]["result"] == "late"
    connection, request = node.requests.pop()
    node.on_loop(lambda: (connection.http.answer(request, 200, b"late"), connection.flush()))
    assert asking.recv(100).startswith(b"HTTP/1.1 200")


def test_connections_of_one_address_are_counted(start, connect, scale):
    node = start(connections_per_address=2, connections=3)
    first, second = connect(node), connect(node)
    for sock in (first, second):
        sock.sendall(line_of("Echo"))
        assert read_lines(sock, 1)
    third = connect(node)
    try:
        assert third.recv(1) == b""
    except ConnectionResetError:
        pass
    assert node.listener.refused == 1
    elsewhere = connect(node, "127.0.0.2")
    elsewhere.sendall(line_of("Echo"))
    assert read_lines(elsewhere, 1), "another address has its own room"
    first.close()
    assert_soon(lambda: len(node.listener.connections()) == 2, scale)
    replacement = connect(node)
    replacement.sendall(line_of("Echo"))
    assert read_lines(replacement, 1)


# ---- the end -----------------------------------------------------------------------------------------------------


def test_a_refusal_arrives_although_more_was_sent(start, connect):
    for _ in range(5):
        sock = connect(start())
        sender = threading.Thread(target=send_all_or_fail, args=(sock, b"{]\n" + b"x" * 4 * MIB))
        sender.start()
        answer = read_to_end(sock)
        assert json.loads(answer)["error"]["code"] == -32700
        sock.close()
        sender.join()


def send_all_or_fail(sock: socket.socket, data: Any) -> None:
    try:
        sock.sendall(data)
    except OSError:
        pass


def test_attachments_of_a_refused_call_are_not_waited_for(start, connect):
    sock = connect(start())
    message = {"jsonrpc": "2.0", "id": 5, "method": "Closed", "attachments": [2 ** 30]}
    sock.sendall(json.dumps(message).encode() + b"\n")
    assert json.loads(read_to_end(sock))["error"]["code"] == -32002


def test_a_client_that_has_said_everything_gets_every_answer(start, connect, scale):
    """`printf ... | nc` half-closes after its last byte."""
    node = start(calls_in_flight=3)
    sock = connect(node)
    sock.sendall(b"".join(line_of("Later", number=number) for number in range(10)))
    sock.shutdown(socket.SHUT_WR)
    answered = 0
    while answered < 10:
        assert_soon(lambda: node.later, scale)
        node.on_loop(lambda: node.later.pop(0).answer("x" * 100_000))
        answered += 1
    answers = [json.loads(line) for line in read_to_end(sock).splitlines()]
    assert [answer["id"] for answer in answers] == list(range(10))


def test_a_half_closed_client_gets_what_waits_to_be_sent(start, connect):
    # More than the kernel keeps, and not so much that we stop reading.
    sock = connect(start(send_buffer_bytes=64 * MIB))
    sock.sendall(line_of("Bytes", {"size": 32 * MIB}))
    sock.shutdown(socket.SHUT_WR)
    line, _, content = read_to_end(sock).partition(b"\n")
    assert json.loads(line)["attachments"] == [32 * MIB] and len(content) == 32 * MIB


def test_a_half_closed_http_client_gets_its_answer(start, connect, scale):
    node = start()
    sock = connect(node)
    sock.sendall(b"GET /later HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    sock.shutdown(socket.SHUT_WR)
    assert_soon(lambda: node.requests, scale)
    connection, request = node.requests.pop()
    node.on_loop(lambda: (connection.http.answer(request, 200, b"late"), connection.flush()))
    assert read_to_end(sock).endswith(b"\r\n\r\nlate")


def dialled(node: Node, address: str, scale: Callable[[float], float]) -> Connection:
    outcomes: List[Any] = []
    node.loop.post(node.dialler.open, address, 0, lambda *outcome: outcomes.append(outcome))
    assert_soon(lambda: outcomes, scale)
    (connection, error), = outcomes
    if error is not None:
        raise error
    node.connections.append(connection)
    return connection


@pytest.mark.parametrize("is_mid_message", [False, True])
def test_a_lost_link_ends_its_calls_at_once_and_once(start, scale, is_mid_message):
    """A node that died has closed its sockets too; who still waits for its answers must hear of it now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        node = start()
        link = dialled(node, f"127.0.0.1:{server.getsockname()[1]}", scale)
        replies: List[Tuple[Any, Any]] = []
        for _ in range(3):
            node.loop.post(link.call, "Later", {}, lambda *reply: replies.append(reply))
        other, _ = server.accept()
        read_lines(other, 3)
        other.sendall(b'{"jsonrpc":"2.0","id":1,"result":5}\n' + (b'{"json' if is_mid_message else b""))
        assert_soon(lambda: replies, scale)
        other.close()
        assert_soon(lambda: len(replies) == 3, scale)
    assert replies[0] == (5, None)
    assert [type(error) for _, error in replies[1:]] == [LinkClosed, LinkClosed]
    node.loop.post(link.call, "Later", {}, lambda *reply: replies.append(reply))
    assert_soon(lambda: len(replies) == 4, scale)
    assert type(replies[3][1]) is LinkClosed and len(node.reasons) == 1


@pytest.mark.parametrize("is_replaced", [False, True], ids=["closed", "replaced"])
def test_a_link_whose_socket_the_system_has_taken_ends_and_whoever_sends_does_not_fail(start, scale, is_replaced):
    """An app that slept finds its descriptors closed, or another, dead socket behind them."""
    node = start()
    link = dialled(node, f"127.0.0.1:{node.port}", scale)
    replies: List[Tuple[Any, Any]] = []

    def take_and_call() -> str:
        number = link._sock.fileno()
        if is_replaced:
            with socket.socket() as dead:
                os.dup2(dead.fileno(), number)
        else:
            os.close(number)
        link.call("Echo", {}, lambda *reply: replies.append(reply))
        return "went on"

    assert node.on_loop(take_and_call) == "went on"
    assert_soon(lambda: replies, scale)
    assert type(replies[0][1]) is LinkClosed and link.is_closed


def test_a_call_ends_in_time_when_nobody_answers(start, scale):
    node = start()
    link = dialled(node, f"127.0.0.1:{node.port}", scale)
    replies: List[Tuple[Any, Any]] = []
    node.loop.post(lambda: link.call("Later", {}, lambda *reply: replies.append(reply), timeout_s=0.05,
    tell_timeout=True))
    assert_soon(lambda: replies, scale)
    assert type(replies[0][1]).__name__ in ("CallTimeout", "DeadlineExceeded")
    node.loop.post(lambda: link.call("Echo", {"still": "alive"}, lambda *reply: replies.append(reply)))
    assert_soon(lambda: len(replies) == 2, scale)
    assert replies[1] == ({"still": "alive"}, None)


def test_a_mistake_of_the_receiver_costs_one_answer(start, connect, caplog):
    sock = connect(start(first_message_s=1000.0))
    sock.sendall(line_of("Echo", number=1) + line_of("Mistake", number=2) + line_of("Echo", number=3))
    assert [answer["id"] for answer in read_lines(sock, 2)] == [1, 3]
    sock.sendall(line_of("Echo", number=4))
    assert read_lines(sock, 1)[0]["id"] == 4
    assert "on purpose" in caplog.text


# ---- much ----------------------------------------------------------------------------------------------------------

#: A call whose attachment, which follows, takes all the room that the node below has for what it receives.
LARGE_LINE = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "Bytes", "attachments": [2 * MIB],
                         "params": {"size": 9, "data": {"$attachment": 0}}}).encode() + b"\n"


@pytest.fixture
def half_received(start: Any, connect: Any, scale: Callable[[float], float]) -> Tuple[Node, socket.socket]:
    """Return a node that has room for one large message, and who holds it: half of its message has come."""
    node = start(message_bytes=2 * MIB, receiving_bytes=2 * MIB, first_message_s=1000.0)
    holder = connect(node)
    holder.sendall(LARGE_LINE + bytes(MIB))
    assert_soon(lambda: node.loop.room.taken == 2 * MIB, scale)
    return node, holder


def test_a_crowd_that_sends_much_at_once_is_received_one_after_the_other(half_received, connect, scale):
    node, first = half_received

    def waiting() -> int:
        return sum(each.rpc is not None and each.rpc.is_held for each in node.listener.connections())

    others = [connect(node) for _ in range(7)]
    for sock in others:
        sock.sendall(LARGE_LINE)
    assert_soon(lambda: node.on_loop(waiting) == len(others), scale)
    # What is small passes.
    small = connect(node)
    small.sendall(line_of("Echo", number=5))
    assert read_lines(small, 1)[0]["id"] == 5 and node.loop.room.taken == 2 * MIB
    # The first one goes in the middle of its message.
    first.close()
    senders = [threading.Thread(target=sock.sendall, args=(bytes(2 * MIB),)) for sock in others]
    for sender in senders:
        sender.start()
    for sock, sender in zip(others, senders):
        assert read_lines(sock, 1)[0]["id"] == 1
        sender.join(scale(PATIENCE_S))
    assert_soon(lambda: node.loop.room.taken == 0, scale)


def test_whoever_stops_in_the_middle_of_a_message_that_others_wait_for_is_told_so_and_closed(
    half_received, connect, scale, monkeypatch, caplog
):
    monkeypatch.setattr(room, "STANDSTILL_S", 0.3)
    monkeypatch.setattr(room, "ROOM_LOOK_S", 0.05)
    caplog.set_level("INFO", "discompute")
    node, first = half_received
    second = connect(node)
    second.sendall(LARGE_LINE + bytes(2 * MIB))
    assert read_lines(second, 1)[0]["id"] == 1
    error = json.loads(read_to_end(first))["error"]
    assert error["code"] == -32005 and error["message"].startswith("a message of 2.0 MB was not coming on")
    first.close()
    assert_soon(lambda: len(node.reasons) == 1, scale)
    assert error["message"] in node.reasons
    assert error["message"] in caplog.text and node.loop.room.taken == 0


def test_whoever_is_not_read_for_want_of_room_is_not_silent_and_somebody_hears_of_it(half_received, connect, scale):
    node, holder = half_received
    waiter = connect(node)
    waiter.sendall(line_of("Echo", number=7))
    assert read_lines(waiter, 1)[0]["id"] == 7
    link, unread = node.connections[-1], threading.Event()
    link.hearing.on_unread = unread.set
    waiter.sendall(LARGE_LINE + bytes(2 * MIB))
    assert unread.wait(scale(PATIENCE_S))
    assert node.on_loop(lambda: link.hearing.silent_s(0.0, node.loop.now() + 500.0)) == 0.0
    holder.close()
    assert read_lines(waiter, 1)[0]["id"] == 1
    assert node.on_loop(lambda: link.hearing.silent_s(0.0, node.loop.now() + 500.0)) > 499.0


def test_whoever_reads_nothing_is_read_again_once_it_is_asked_something(start, connect, scale):
    """Where both send much, each waits for the other: a heartbeat is what goes on then, and its answer must get in."""
    node = start(send_buffer_bytes=MIB)
    sock = connect(node)
    for number in range(2):
        sock.sendall(json.dumps({"jsonrpc": "2.0", "id": number, "method": "Bytes", "params": {"size": 16 * MIB}}
                                ).encode() + b"\n")
    assert_soon(lambda: node.connections and node.on_loop(lambda: node.connections[0].waiting_bytes) > MIB, scale)
    sock.sendall(line_of("Later", number=5))
    node.on_loop(lambda: node.connections[0].call("Ping", {}, lambda result, error: None))
    assert_soon(lambda: node.later, scale)


def test_what_all_connections_keep_to_receive_into_has_one_bound(start, connect):
    node = start(receive_kept_bytes=2 * MIB)
    sockets = [connect(node) for _ in range(12)]
    line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "Later", "params": {"data": {"$attachment": 0}},
                       "attachments": [MIB]}).encode() + b"\n"
    for number, sock in enumerate(sockets):
        sock.sendall(line + bytes([number]) * MIB)
    for sock in sockets:
        sock.sendall(line_of("Echo", number=2))
    for sock in sockets:
        read_lines(sock, 1)
    # All of them wait for an answer, so each has memory of its own; what is kept beyond that is the node's.
    assert sorted(call.params["data"][0] for call in node.later) == list(range(12))
    assert node.on_loop(lambda: node.loop.attachments.kept_bytes) == 2 * MIB


def test_large_attachments_both_ways_are_held_once(start, connect, monkeypatch):
    allocated: List[int] = []

    def allocate(size: int) -> bytearray:
        allocated.append(size)
        return bytearray(size)

    monkeypatch.setattr(memory, "allocate_attachment", allocate)
    sock = connect(start())
    content = os.urandom(MIB) * (LARGE // MIB)
    received = bytearray(LARGE)
    line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "Echo", "params": {"data": {"$attachment": 0}},
                       "attachments": [LARGE]}).encode() + b"\n"
    tracemalloc.start()
    try:
        sender = threading.Thread(target=lambda: (sock.sendall(line), sock.sendall(content)))
        sender.start()
        header = b""
        while not header.endswith(b"\n"):
            header += sock.recv(1)
        view = memoryview(received)
        while view:
            view = view[sock.recv_into(view):]
        sender.join()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert json.loads(header)["attachments"] == [LARGE] and received == content
    assert allocated == [LARGE]
    assert peak < LARGE * 1.2, f"{peak / LARGE:.2f} times the attachment"


def test_a_peer_that_does_not_read_fills_no_memory_and_holds_up_nobody(start, connect, scale):
    node = start(send_buffer_bytes=1 * MIB)
    deaf, other = connect(node), connect(node)
    calls = b"".join(line_of("Text", {"size": 100_000}, number) for number in range(3000))
    sender = threading.Thread(target=send_all_or_fail, args=(deaf, calls))
    sender.start()
    assert_soon(lambda: node.connections, scale)
    for number in range(200):
        other.sendall(line_of("Echo", number=number))
        assert read_lines(other, 1)[0]["id"] == number
    (loud,) = [item for item in node.connections if item._outbox.waiting_bytes]
    # 300 MB of answers were asked for: some are with the kernel, one limit and one turn's worth are with us.
    assert node.on_loop(lambda: loud._outbox.waiting_bytes + loud.rpc.outgoing_bytes) < 2 * MIB
    found: Dict[int, int] = {}
    tail = b""
    while len(found) < 3000:
        *lines, tail = (tail + deaf.recv(MIB)).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            found[answer["id"]] = len(answer["result"])
    sender.join()
    assert list(found) == list(range(3000)) and set(found.values()) == {100_000}


def test_a_peer_that_floods_leaves_others_their_turn(start, connect):
    node = start()
    flooding, other = connect(node), connect(node)
    flood = b"\n" * MIB + b'{"jsonrpc":"2.0","method":"Echo"}\n' * 20_000
    is_over = threading.Event()

    def send_flood() -> None:
        while not is_over.is_set():
            send_all_or_fail(flooding, flood)

    sender = threading.Thread(target=send_flood)
    flooding.settimeout(None)
    flooding.sendall(line_of("Echo"))
    sender.start()
    for number in range(30):
        other.sendall(line_of("Echo", number=number))
        assert read_lines(other, 1)[0]["id"] == number
    is_over.set()
    flooding.shutdown(socket.SHUT_RDWR)
    sender.join()


def test_two_nodes_may_send_each_other_large_answers_at_once(start, scale):
    """If both stopped reading until the other had read, both would wait for ever."""
    node = start(send_buffer_bytes=1 * MIB)
    link = dialled(node, f"127.0.0.1:{node.port}", scale)
    replies: List[Any] = []
    node.on_loop(lambda: link.call("Echo", {}, lambda *reply: replies.append(reply)))
    assert_soon(lambda: replies, scale)
    (back,) = [item for item in node.connections if item is not link]

    def ask_both() -> None:
        for _ in range(5):
            for end in (link, back):
                end.call("Bytes", {"size": 8 * MIB}, lambda result, error: replies.append((len(result[0]), error)))
                end.call("Echo", {"data": bytes(8 * MIB)}, lambda result, error: replies.append((len(result["data"]),
                error)))

    node.on_loop(ask_both)
    assert_soon(lambda: len(replies) == 21, scale)
    assert replies[1:] == [(8 * MIB, None)] * 20


# ---- when the system has no more -------------------------------------------------------------------------------------

EXHAUSTED_NODE = """
import os, resource, sys, threading, time
from discompute_lite.model.limits import Limits
from discompute_lite.net.listener import Listener, open_listening_socket
from discompute_lite.net.loop import Loop

class Receiver:
    repeated_methods = frozenset()
    def call_received(self, connection, call):
        call.answer({"processor_s": time.process_time(), "now": time.monotonic()})
    def connection_closed(self, connection, reason):
        listener.forget(connection)

loop = Loop()
listener = Listener(loop, open_listening_socket("127.0.0.1", 0, False), Receiver(), Limits())
threading.Thread(target=lambda: (sys.stdin.read(), loop.stop()), daemon=True).start()
used = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 16
resource.setrlimit(resource.RLIMIT_NOFILE, (used + 4, used + 4))
print(listener.port, flush=True)
loop.run()
"""


def test_row_39_without_descriptors_accepting_pauses_and_recovers(scale):
    pytest.importorskip("resource")
    child = subprocess.Popen([sys.executable, "-c", EXHAUSTED_NODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    sockets: List[socket.socket] = []
    try:
        port = int(child.stdout.readline())
        for _ in range(12):
            sockets.append(socket.create_connection(("127.0.0.1", port), scale(PATIENCE_S)))
        for sock in sockets:
            sock.sendall(line_of("Ping"))
        before = read_lines(sockets[0], 1)[0]["result"]
        # The pause is half a second: three of them pass while a busy loop would use three half seconds.
        time.sleep(1.6)
        sockets[0].sendall(line_of("Ping"))
        after = read_lines(sockets[0], 1)[0]["result"]
        used = (after["processor_s"] - before["processor_s"]) / (after["now"] - before["now"])
        assert used < 0.5, f"{used:.0%} of a processor while nothing can be accepted"
        # As the first ones leave, those in the queue get their answers.
        while len(sockets) > 4:
            sockets.pop(0).close()
        for sock in sockets:
            assert read_lines(sock, 1)[0]["result"]
        child.stdin.close()
        assert child.wait(scale(PATIENCE_S)) == 0
    finally:
        for sock in sockets:
            sock.close()
        child.kill()
        child.wait()
        child.stdout.close()


# ---- datagrams ------------------------------------------------------------------------------------------------------


@pytest.fixture
def loop_in_thread() -> Iterator[Loop]:
    loop = Loop()
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    yield loop
    loop.stop()
    thread.join(60)
    loop.close()


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def comes_soon(heard: List[bytes]) -> bool:
    """Whether something is heard within a fifth of a second: then not much more is on its way."""
    until = time.monotonic() + 0.2
    while not heard and time.monotonic() < until:
        time.sleep(0.002)
    return bool(heard)


def has_another_socket(item: DatagramSocket, former: Any) -> bool:
    return item._sock is not None and item._sock is not former


@pytest.mark.skipif(not hasattr(selectors, "PollSelector"), reason="no poll on this system")
def test_a_udp_socket_that_dies_is_rebuilt_and_does_not_spin(monkeypatch, scale):
    # epoll forgets a descriptor whose file was exchanged under it; poll reports it for ever, as an app's kqueue does.
    monkeypatch.setattr(selectors, "DefaultSelector", selectors.PollSelector)
    loop = Loop()
    rounds: List[int] = []
    original = loop._run_once
    loop._run_once = lambda: (rounds.append(1), original())
    heard: List[bytes] = []
    port = free_port()
    item = DatagramSocket(loop, ("127.0.0.1", port), Limits(), lambda data, source: heard.append(data))
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        for _ in range(3):
            heard.clear()
            # Sent again and again: one that comes while there is no socket is lost.
            assert_soon(lambda: sender.sendto(b"beacon", ("127.0.0.1", port)) and comes_soon(heard), scale)
            seen = len(heard) + len(rounds)
            is_rebuilt = partial(has_another_socket, item, item._sock)
            unconnected = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            os.dup2(unconnected.fileno(), item._sock.fileno())
            unconnected.close()
            loop.post(lambda: None)
            assert_soon(is_rebuilt, scale)
            assert len(heard) + len(rounds) - seen < 20, "a dead socket is looked at once"
    finally:
        sender.close()
        loop.stop()
        thread.join(60)
        item.close()
        loop.close()


def test_a_flood_of_datagrams_costs_little(loop_in_thread, scale):
    loop = loop_in_thread
    heard: List[float] = []
    port = free_port()
    limits = replace(Limits(), datagrams_per_s=200)
    item = DatagramSocket(loop, ("127.0.0.1", port), limits, lambda *_: heard.append(loop.now()))
    is_over = threading.Event()

    def flood() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not is_over.is_set():
                send_datagram_or_fail(sender, port)

    def processor_s() -> float:
        box: List[float] = []
        loop.post(lambda: box.append(time.thread_time()))
        assert_soon(lambda: box, scale)
        return box[0]

    before, started = processor_s(), time.monotonic()
    thread = threading.Thread(target=flood)
    thread.start()
    assert_soon(lambda: len(heard) >= 300, scale)
    # In this order: what is heard after the count, while this thread waits for its turn, is not in it.
    count, used, elapsed = len(heard), processor_s() - before, time.monotonic() - started
    is_over.set()
    thread.join()
    loop.post(item.close)
    assert count <= 200 * (elapsed + 0.2)
    assert used < 0.2 * elapsed, f"{used / elapsed:.0%} of a processor"


def send_datagram_or_fail(sender: socket.socket, port: int) -> None:
    try:
        sender.sendto(b"x" * 1000, ("127.0.0.1", port))
    except OSError:
        pass


# ---- dialling and listening --------------------------------------------------------------------------------------


def test_dialling_ends_with_a_link_or_a_reason(start, scale):
    node = start()
    assert dialled(node, f"127.0.0.1:{node.port}", scale).is_loopback
    with pytest.raises(Unreachable, match="is the node there running"):
        dialled(node, f"127.0.0.1:{free_port()}", scale)
    with pytest.raises(Unreachable, match="no device is called nobody.invalid"):
        dialled(node, "nobody.invalid:80", scale)
    assert dialled(node, f"localhost:{node.port}", scale).remote_address == f"127.0.0.1:{node.port}"


def test_a_taken_port_is_told_or_moved_from():
    with open_listening_socket("127.0.0.1", 0, False) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port} is in use"):
            open_listening_socket("127.0.0.1", port, False)
        with open_listening_socket("127.0.0.1", port, True) as moved:
            assert moved.getsockname()[1] != port
            assert moved.getsockname()[1] in FALLBACK_PORTS or moved.getsockname()[1] > 1023


def test_an_address_that_is_not_ours_is_told():
    with pytest.raises(SettingsError, match="--bind"):
        open_listening_socket("192.0.2.1", 0, True)


# ---- the blocking client ------------------------------------------------------------------------------------------


def test_the_client_calls_and_is_answered(start):
    node = start()
    with Client(f"127.0.0.1:{node.port}", timeout_s=PATIENCE_S) as client:
        assert client.call("Echo", {"a": [1, None]}) == {"a": [1, None]}
        (content,) = client.call("Bytes", {"size": 8 * MIB})
        assert bytes(content) == bytes(8 * MIB)
        assert bytes(client.call("Echo", {"data": b"x" * 4 * MIB})["data"]) == b"x" * 4 * MIB
        with pytest.raises(MethodNotFound):
            client.call("Nothing", {})
        assert client.call("Echo", [1]) == [1], "a refusal ends no connection"


def test_the_client_does_not_wait_for_ever(start):
    node = start()
    with Client(f"127.0.0.1:{node.port}", timeout_s=PATIENCE_S) as client, pytest.raises(CallTimeout):
        client.call("Later", {}, timeout_s=0.05)


def test_the_client_says_why_nobody_answers(scale):
    with pytest.raises(Unreachable, match="is a node running there"):
        call_once(f"127.0.0.1:{free_port()}", "Ping", {})
    with pytest.raises(Unreachable):
        call_once("nobody.invalid:80", "Ping", {})


def answer_with(data: bytes, received: Optional[List[bytes]] = None) -> Tuple[str, threading.Thread]:
    """Answer one connection's first line with `data` and an end of the stream."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with server:
            sock, _ = server.accept()
            with sock:
                line = sock.recv(65536)
                if received is not None:
                    received.append(line)
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    return f"127.0.0.1:{server.getsockname()[1]}", thread


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", LinkClosed), (b'{"jsonrpc":"2.0","id":1,', LinkClosed),
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":-32002,"message":"Pair this device first"}}\n', Unauthenticated),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}\n', MethodNotFound),
    ],
)
def test_the_client_raises_what_the_node_says(data, error):
    address, thread = answer_with(data)
    with pytest.raises(error):
        call_once(address, "Ping", {}, timeout_s=PATIENCE_S)
    thread.join()


def test_the_client_shows_its_token_first_and_leaves_nothing_open_when_refused():
    received: List[bytes] = []
    refusal = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"wrong token"}}\n'
    address, thread = answer_with(refusal, received)
    with pytest.raises(Unauthenticated, match="wrong token"):
        Client(address, token="secret", timeout_s=PATIENCE_S)
    # It ends only when the client has closed its socket.
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert json.loads(received[0])["method"] == "Hello" and json.loads(received[0])["params"] == {"auth": "secret"}


def test_the_client_refuses_to_be_called():
    received: List[bytes] = []
    address, thread = answer_with(line_of("Heartbeat") + b'{"jsonrpc":"2.0","id":1,"result":7}\n', received)
    assert call_once(address, "Ping", {}, timeout_s=PATIENCE_S) == 7
    thread.join()
