"""Clients that were written from the protocol page alone: sockets, HTTP, JSON-RPC libraries, with nothing of ours."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
import urllib.error
import urllib.request

import pytest

SEVEN = ("RegisterDevice", "SendMessage", "Heartbeat", "GetDevices", "SubmitTask", "ExecuteSubtask", "GetTaskStatus")
OURS = ("Hello", "CancelTask", "GetTaskResult", "Ping", "rpc.discover")
WORDS = '''
def split(text: str = "", rounds: int = 1):
    return [line for line in text.splitlines() for _ in range(rounds)]
def work(part):
    print("counting", part)
    return len(part.split())
def merge(parts):
    return sum(parts)
'''


def whole_conversation(port, data):
    """Send bytes, end the stream as `printf … | nc` does, and return all that comes back."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        received = b""
        while True:
            piece = sock.recv(65536)
            if not piece:
                return received
            received += piece


def post(node, body, token=None, **headers):
    """POST to /rpc by urllib; return (status, JSON or None)."""
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(
        f"http://127.0.0.1:{node.port}/rpc", body if isinstance(body, bytes) else json.dumps(body).encode(),
        {"Content-Type": "application/json", **headers},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


# ---- sockets ----------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_one_line_through_a_pipe_gets_its_answer(node):
    answer = whole_conversation(node.port, b'{"jsonrpc":"2.0","id":1,"method":"Hello","params":{}}\n')
    assert answer.endswith(b"\n")
    assert json.loads(answer)["id"] == 1
    assert json.loads(answer)["result"]["node_id"] == node.id
    assert node.token.encode() not in answer


def test_a_batch_a_notification_and_two_lines_through_a_pipe(node):
    lines = [
        [{"jsonrpc": "2.0", "id": "a", "method": "Ping"}, {"jsonrpc": "2.0", "method": "Ping"},
         {"jsonrpc": "2.0", "id": None, "method": "nothing"}, 7],
        {"jsonrpc": "2.0", "method": "Ping"},
        {"jsonrpc": "2.0", "id": 2, "method": "GetDevices", "params": {"unknown_field": {"x": [1]}}},
    ]
    answers = [json.loads(line) for line in whole_conversation(
        node.port, b"".join(json.dumps(line).encode() + b"\n" for line in lines)).splitlines()]
    batch, single = sorted(answers, key=lambda answer: isinstance(answer, dict))
    assert {(answer["id"], answer.get("error", {}).get("code")) for answer in batch} == {
        ("a", None), (None, -32601), (None, -32600)}
    assert single["id"] == 2
    assert single["result"]["devices"][0]["id"] == node.id


def test_a_line_may_come_byte_by_byte(node):
    with node.client(is_owner=False) as client:
        for byte in b'{"jsonrpc":"2.0","id":5,"method":"Ping"}\n':
            client.socket.sendall(bytes([byte]))
        assert client.receive()["id"] == 5


def test_calls_are_pipelined_and_answered_by_their_ids(node):
    with node.client() as client:
        ids = [client.send("Ping") for _ in range(100)]
        assert sorted(client.receive()["id"] for _ in ids) == sorted(ids)


def test_every_documented_method_is_there_and_described(node):
    document = node.call("rpc.discover")
    described = {method["name"]: method for method in document["methods"]}
    assert set(SEVEN + OURS) <= set(described)
    assert [parameter["name"] for parameter in described["SubmitTask"]["params"]][:4] == [
        "task", "submitting_device_id", "max_devices", "target_subtasks"]
    assert all(method["summary"] for method in described.values())


def test_a_device_that_only_registers_is_listed(node, shared):
    with node.client(is_owner=False) as client:
        device = {"id": "phone-1", "name": "a phone", "type": "iphone", "address": "127.0.0.1:9", "status": "AVAILABLE",
                  "capabilities": {"cpu_cores": 6, "memory_mb": "4096", "chip": "A17"}, "future": True}
        answer = client.call("RegisterDevice", {"device": device})
        assert answer["success"]
        assert answer["known_devices"][0]["id"] == node.id
        beat = client.call("Heartbeat", {"device_id": "phone-1", "status": "BUSY", "metrics": {"cpu_usage": 0.5}})
        assert beat["success"]
    shared.wait_for(lambda: "phone-1" in node.devices(), "the phone is listed")
    assert node.devices()["phone-1"]["capabilities"]["memory_mb"] == 4096


# ---- a job over raw RPC -----------------------------------------------------------------------------------


@pytest.mark.smoke
def test_a_job_with_attachments_over_a_raw_connection(node):
    text = "one two three\nfour five\n" + "six " * 3000
    data = json.dumps({"source": WORDS, "args": {"text": text}, "sha256": hashlib.sha256(WORDS.encode()).hexdigest()})
    task = {"task_id": "from-the-page", "task_type": "job", "task_data": {"$attachment": 0}, "priority": 7}
    with node.client() as client:
        answer = client.call("SubmitTask", {"task": task, "target_subtasks": 3}, [data.encode()])
        assert answer["success"], answer["message"]
        assert [part["subtask_index"] for part in answer["subtasks"]] == [0, 1, 2]
        parts, state = [], "RUNNING"
        while state in ("PENDING", "RUNNING") or len(parts) < 3:
            answer = client.call("GetTaskResult", {"task_id": "from-the-page", "from_index": len(parts), "wait_s": 5.0})
            parts += answer["parts"]
            state = answer["state"]
        assert state == "COMPLETED"
        assert plain(answer["result_data"]) == 3005
        assert [plain(part["result_data"]) for part in parts] == [3, 2, 3000]
        assert "counting one two three" in parts[0]["lite"]["output"]
        status = client.call("GetTaskStatus", {"task_id": "from-the-page"})
        assert status["completion_percentage"] == 100.0
        assert status["task"]["lite"]["state"] == "COMPLETED"
        # Submitting is idempotent by the task's id.
        again = client.call("SubmitTask", {"task": {**task, "task_data": base64.b64encode(data.encode()).decode()}})
        assert again["task_id"] == "from-the-page"
        assert {part["status"] for part in again["subtasks"]} == {"COMPLETED"}


def test_large_values_travel_as_attachments_both_ways(node):
    value = "x" * 3_000_000
    with node.client() as client:
        task = {"task_id": "large", "task_type": "echo", "task_data": {"$attachment": 0}}
        assert client.call("SubmitTask", {"task": task}, [json.dumps({"parts": [value]}).encode()])["success"]
        answer = {"state": ""}
        while answer["state"] != "COMPLETED":
            answer = client.call("GetTaskResult", {"task_id": "large", "wait_s": 5.0})
            assert answer["state"] != "FAILED", answer["message"]
        assert isinstance(answer["result_data"], bytes)
        assert json.loads(answer["result_data"]) == [value]


def test_repeating_an_attempt_runs_it_once(node, shared):
    count = shared.folder / "count"
    source = f"def work(part):\n    open({str(count)!r}, 'a').write('x')\n    return part"
    data = base64.b64encode(json.dumps({"source": source, "part": 5}).encode()).decode()
    subtask = {"subtask_id": "t9/0", "parent_task_id": "t9", "subtask_data": data,
               "lite": {"attempt": "t9/0.1", "task_type": "job", "lease_s": 30.0}}
    with node.client() as first, node.client() as second:
        first.send("ExecuteSubtask", {"subtask": subtask})
        second.send("ExecuteSubtask", {"subtask": subtask})
        for client in (first, second):
            answer = client.outcome_of(client.receive())
            assert answer["success"], answer["message"]
            assert plain(answer["completed_subtask"]["result_data"]) == 5
    assert count.read_text() == "x"


def plain(data):
    return json.loads(data if isinstance(data, bytes) else base64.b64decode(data))


# ---- HTTP -------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_json_rpc_over_http_is_the_owners(node):
    call = {"jsonrpc": "2.0", "id": 1, "method": "GetDevices"}
    status, answer = post(node, call, node.token)
    assert (status, answer["result"]["devices"][0]["id"]) == (200, node.id)
    for token in (None, "wrong", node.token[:-1], node.token.upper()):
        status, text = post(node, call, token)
        assert status == 401
        assert node.id not in text
        assert "control.token" in text, "it says what to do"
    assert post(node, {"jsonrpc": "2.0", "method": "Ping"}, node.token) == (204, None)
    status, answers = post(node, [call, {**call, "id": 2, "method": "nothing"}], node.token)
    assert status == 200
    assert {answer["id"]: "error" in answer for answer in answers} == {1: False, 2: True}
    assert post(node, b"{", node.token)[1]["error"]["code"] == -32700


def test_health_is_anybodys_and_everything_else_is_not(node):
    assert node.get("/healthz") == (200, '{"status":"ok"}\n')
    assert node.request("HEAD", "/healthz") == (200, "")
    for path in ("/", "/api/devices", "/api/tasks", "/rpc", "/healthz/../api/devices", "/nothing"):
        assert node.get(path)[0] == 401, path
    bearer = {"Authorization": f"Bearer {node.token}"}
    status, text = node.get("/api/devices", **bearer)
    assert (status, json.loads(text)["devices"][0]["id"]) == (200, node.id)
    assert node.get("/api/tasks", **bearer)[0] == 200
    assert node.get("/rpc", **bearer)[0] == 405
    assert node.get("/nothing", **bearer)[0] == 404


def test_a_job_over_http_alone(node):
    def call(method, **params):
        status, answer = post(node, {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, node.token)
        assert status == 200
        return answer["result"]

    data = base64.b64encode(json.dumps({"bound": 1000}).encode()).decode()
    task_id = call("SubmitTask", task={"task_type": "primes", "task_data": data})["task_id"]
    answer = {"state": ""}
    while answer["state"] != "COMPLETED":
        answer = call("GetTaskResult", task_id=task_id, wait_s=5.0)
        assert answer["state"] != "FAILED", answer["message"]
    assert plain(answer["result_data"]) == 168


@pytest.mark.against
def test_a_json_rpc_client_library(node):
    library = pytest.importorskip("jsonrpcclient")
    for request, check in (
        (library.request("Ping"), lambda result: result["received"] == 0),
        (library.request("GetDevices", params={"filter_type": "no such type"}), lambda result: result["devices"] == []),
        (library.request("GetDevices", params=("", "")), lambda result: len(result["devices"]) >= 1),
    ):
        status, answer = post(node, request, node.token)
        assert status == 200
        parsed = library.parse(answer)
        assert isinstance(parsed, library.Ok), parsed
        assert check(parsed.result)
    _, answer = post(node, library.request("nothing"), node.token)
    assert library.parse(answer).code == -32601
    _, answer = post(node, library.request("GetDevices", params={"filter_type": 7}), node.token)
    assert library.parse(answer).code == -32602


# ---- both ways --------------------------------------------------------------------------------------------


def test_a_device_that_cannot_be_dialled_is_called_on_the_connection_that_it_opened(field):
    """As a phone does: it greets, registers and waits; a message for it comes over the same connection."""
    node = field.start("host")
    with node.client(is_owner=False) as phone:
        phone.call("Hello", {"node_id": "p" * 52, "name": "phone", "version": "0.1.0", "port": 0})
        phone.call("RegisterDevice", {"device": {"id": "p" * 52, "name": "phone", "type": "iphone",
                                                 "capabilities": {"cpu_cores": 6}}})
        received = []

        def serve():
            while not received:
                message = phone.receive()
                if message.get("method") == "SendMessage":
                    received.append(message["params"])
                answer = {"jsonrpc": "2.0", "id": message.get("id"), "result": {"success": True, "message": "seen"}}
                if "id" in message and "method" in message:
                    phone.socket.sendall(json.dumps(answer).encode() + b"\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        payload = base64.b64encode(b"hello phone").decode()
        answer = node.call("SendMessage", {"to_device_id": "p" * 52, "message_type": "text", "payload": payload})
        assert answer["success"], answer["message"]
        thread.join(field.scale(5.0))
        assert base64.b64decode(received[0]["payload"]) == b"hello phone"
