"""HTTP on the same port: health for anyone, a little for members, everything else for the owner, JSON-RPC by POST."""

import base64
import gzip
import json
import random
import tracemalloc
import zlib

import pytest

from discompute_lite.crypto.p256 import device_id, private_key
from discompute_lite.model.limits import Limits
from discompute_lite.roles.own_cluster import OwnCluster, found_cluster


@pytest.fixture
def host(world):
    return world.host("a").start()


@pytest.fixture
def bearer(host):
    return {"authorization": f"Bearer {host.token}"}


def read(answer):
    """Return (status, JSON body)."""
    assert answer is not None, "there is no answer"
    return answer[0], json.loads(answer[2])


def rpc(world, host, bearer, *messages, text=None):
    """POST one message; return its status and JSON, None for no body."""
    body = text if text is not None else json.dumps(messages[0]).encode()
    status, _, data = world.browser(host).ask("POST", "/rpc", body, **bearer)
    return status, json.loads(data) if data else None


def call(method, number=1, **params):
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


# ---- who may what ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ip", ["127.0.0.1", "10.0.0.9"])
def test_health_is_anybodys_while_the_node_is_alone_and_its_members_then(world, host, member_host, ip):
    assert read(world.browser(host, ip).ask("GET", "/healthz")) == (200, {"status": "ok"})
    assert read(world.browser(member_host, ip).ask("GET", "/healthz"))[0] == 401
    assert read(member_host.ask("worker", "GET", "/healthz")) == (200, {"status": "ok"})


@pytest.mark.parametrize("method, path", [
    ("GET", "/"), ("GET", "/api/devices"), ("GET", "/api/tasks"), ("POST", "/rpc"), ("POST", "/healthz"),
    ("GET", "/metrics"), ("GET", "/control.token"),
])
@pytest.mark.parametrize("ip, token", [("127.0.0.1", ""), ("127.0.0.1", "wrong"), ("10.0.0.9", "right")])
def test_everything_else_is_401_without_the_token_over_loopback(world, host, method, path, ip, token):
    """The same for paths that are there and for those that are not."""
    headers = {"authorization": f"Bearer {host.token if token == 'right' else token}"} if token else {}
    status, body = read(world.browser(host, ip).ask(method, path, b"{}" if method == "POST" else b"", **headers))
    assert status == 401 and "control.token" in body["error"]


@pytest.fixture
def member_host(world):
    """A node that is the admin of a cluster with one more member; ask as that member, a worker or somebody unheard."""
    key = private_key(701)
    chance = random.Random(3).randbytes
    grant = found_cluster(key, "a", "linux", Limits(), chance, 5)
    seat = OwnCluster(grant, device_id(key), Limits(), lambda grant: None)
    for number, role in ((702, "member"), (703, "worker")):
        joiner = private_key(number)
        added = seat.welcome(device_id(joiner), role, role, "linux", 5)
        seat.let_in(joiner.public, added, chance)
    host = world.host("a")
    host.id, host.trust = device_id(key), type(host).__init__.__globals__["FakeTrust"](seat.grant)
    host.start()

    def ask(who, method, path, body=b"", **headers):
        browser = world.browser(host, "10.0.0.9")
        browser.verified_id = device_id(private_key({"member": 702, "worker": 703, "unheard": 704}[who]))
        return browser.ask(method, path, body, **headers)

    host.ask = ask
    return host


def test_a_member_reads_the_devices_and_calls_what_its_role_allows(member_host):
    status, body = read(member_host.ask("member", "GET", "/api/devices"))
    assert status == 200 and body["devices"][0]["id"] == member_host.id
    message = json.dumps([call("GetDevices"), call("SubmitTask", 2), call("CancelTask", 3, attempt="t/0.1")]).encode()
    status, answers = read(member_host.ask("member", "POST", "/rpc", message))
    by_id = {answer["id"]: answer for answer in answers}
    assert status == 200 and "result" in by_id[1] and "result" in by_id[3]
    assert by_id[2]["error"]["code"] == -32002, "submitting is its owner's"
    message = json.dumps(call("CancelTask", attempt="t/0.1")).encode()
    assert read(member_host.ask("worker", "POST", "/rpc", message))[1]["error"]["code"] == -32003


@pytest.mark.parametrize(("who", "path", "headers", "status", "says"), [
    ("member", "/api/tasks", {}, 403, "owner"), ("member", "/events", {}, 403, "owner"),
    ("member", "/nothing", {}, 403, "owner"),
    ("member", "/api/devices", {"origin": "https://evil.example"}, 403, "page"),
    ("unheard", "/api/devices", {}, 401, "SyncCluster"), ("unheard", "/healthz", {}, 401, "SyncCluster"),
])
def test_what_a_certificate_does_not_open(member_host, who, path, headers, status, says):
    answer = read(member_host.ask(who, "GET", path, **headers))
    assert answer[0] == status and says in json.dumps(answer[1])


def test_the_body_of_a_refused_request_is_not_read_and_the_connection_ends(world, host):
    browser = world.browser(host)
    browser.http.receive_data(b"POST /rpc HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Length: 900000\r\n\r\n")
    browser.flush()
    assert browser.take()[0] == 401 and browser.http.is_closing


@pytest.mark.parametrize("headers", [
    {"host": "evil.example"}, {"host": "127.0.0.1:9999"}, {"host": "127.0.0.1.evil.example:8080"},
    {"origin": "https://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:9999"},
    {"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"},
])
def test_other_sites_pages_are_refused_though_their_browser_has_the_token(world, host, bearer, headers):
    status, body = read(world.browser(host).ask("GET", "/api/devices", **{**bearer, **headers}))
    assert status == 403 and "127.0.0.1" in body["error"]


@pytest.mark.parametrize("headers", [
    {"host": "localhost:8080"}, {"host": "localhost"}, {"origin": "http://127.0.0.1:8080"},
    {"sec_fetch_site": "same-origin"}, {"sec_fetch_site": "none"},
])
def test_our_own_pages_are_let_in(world, host, bearer, headers):
    assert read(world.browser(host).ask("GET", "/api/devices", **{**bearer, **headers}))[0] == 200


# ---- routes ---------------------------------------------------------------------------------------


def test_devices_and_tasks_are_listed_as_the_methods_list_them(world, host, bearer):
    owner = world.owner(host)
    owner.call("SubmitTask", world.echo([1], task_id="mine"))
    browser = world.browser(host)
    assert read(browser.ask("GET", "/api/devices", **bearer)) == (200, owner.call("GetDevices"))
    assert read(browser.ask("GET", "/api/tasks", **bearer)) == (200, owner.call("ListTasks"))


def test_head_is_answered_like_get_without_the_body(world, host, bearer):
    for path, headers in [("/healthz", {}), ("/api/devices", bearer)]:
        status, fields, body = world.browser(host).ask("HEAD", path, **headers)
        length = len(world.browser(host).ask("GET", path, **headers)[2])
        assert status == 200 and body == b"" and int(fields["content-length"]) == length > 0


@pytest.mark.parametrize("method, path, status, says", [
    ("GET", "/nothing", 404, "nothing at this path"), ("GET", "/healthz/", 404, "nothing at this path"),
    ("POST", "/api", 404, "nothing at this path"), ("POST", "/api/devices", 405, "use GET here"),
    ("GET", "/rpc", 405, "use POST here"),
])
def test_wrong_paths_and_wrong_methods(world, host, bearer, method, path, status, says):
    answer = read(world.browser(host).ask(method, path, **bearer))
    assert answer[0] == status and says in answer[1]["error"]


# ---- POST /rpc ------------------------------------------------------------------------------------


def test_a_call_is_answered(world, host, bearer):
    status, answer = rpc(world, host, bearer, call("GetDevices", 7, filter_type="linux"))
    assert status == 200 and answer["id"] == 7 and answer["result"]["devices"][0]["id"] == host.id


def test_the_owner_may_call_everything_without_hello(world, host, bearer):
    data = json.loads(json.dumps({"task_type": "echo", "task_data": "eyJwYXJ0cyI6WzEsMl19", "task_id": "mine"}))
    status, answer = rpc(world, host, bearer, call("SubmitTask", task=data))
    assert status == 200 and answer["result"]["success"] and answer["result"]["message"] == "2 subtasks"
    status, answer = rpc(world, host, bearer, call("GetTaskResult", task_id="mine"))
    assert answer["result"]["state"] == "COMPLETED" and world.value(answer["result"]["result_data"]) == [1, 2]


def test_results_of_any_size_come_as_base64_text(world, host, bearer):
    world.owner(host).call("SubmitTask", world.echo(["x" * 5000], task_id="mine"))
    world.settle()
    answer = rpc(world, host, bearer, call("GetTaskResult", task_id="mine"))[1]
    assert world.value(answer["result"]["parts"][0]["result_data"]) == "x" * 5000


def test_a_batch_is_answered_in_one_and_notifications_are_not(world, host, bearer):
    note = {"jsonrpc": "2.0", "method": "Ping"}
    status, answer = rpc(world, host, bearer, [call("Ping", 1), note, call("Nonsense", 2), 5])
    assert status == 200 and {entry["id"]: entry.get("error", {}).get("code") for entry in answer} == {
        1: None, 2: -32601, None: -32600}
    assert rpc(world, host, bearer, note) == (204, None)
    assert rpc(world, host, bearer, [note, note]) == (204, None)


def test_pretty_printed_json_is_read_too(world, host, bearer):
    text = json.dumps(call("Ping", 3), indent=4).replace("\n", "\r\n").encode() + b"\r\n\r\n"
    status, answer = rpc(world, host, bearer, text=text)
    assert status == 200 and answer["id"] == 3 and "result" in answer


@pytest.mark.parametrize("text, code", [
    (b"{", -32700), (b"hello", -32700), (b'{"a":1,"a":2}', -32700), (b"5", -32600), (b"[]", -32600), (b"{}", -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":"Ping"} {"jsonrpc":"2.0","id":2,"method":"Ping"}', -32700),
])
def test_broken_messages_get_their_error(world, host, bearer, text, code):
    status, answer = rpc(world, host, bearer, text=text)
    assert status == 200 and answer["id"] is None and answer["error"]["code"] == code


@pytest.mark.parametrize("text", [b"", b"  \r\n ", b'{"jsonrpc":"2.0","id":1,"method":"Ping","attachments":[3]}'])
def test_no_message_and_attachments_are_refused(world, host, bearer, text):
    status, answer = rpc(world, host, bearer, text=text)
    assert status == 400 and answer["error"]


def test_an_answer_may_come_later(world, host, bearer):
    host.executor.holds = {"run"}
    world.owner(host).call("SubmitTask", world.echo([1], task_id="mine"))
    browser = world.browser(host)
    waiting = json.dumps(call("GetTaskResult", task_id="mine", wait_s=30)).encode()
    assert browser.ask("POST", "/rpc", waiting, **bearer) is None
    host.executor.release()
    world.settle()
    status, answer = read(browser.take())
    assert status == 200 and len(answer["result"]["parts"]) == 1


def test_the_time_that_a_call_gives_is_kept(world, host, bearer):
    host.executor.holds = {"run"}
    world.owner(host).call("SubmitTask", world.echo([1], task_id="mine"))
    browser = world.browser(host)
    waiting = json.dumps({**call("GetTaskResult", task_id="mine", wait_s=30), "timeout": 2.0}).encode()
    assert browser.ask("POST", "/rpc", waiting, **bearer) is None
    world.advance(2.1)
    assert read(browser.take())[1]["error"]["code"] == -32006


def test_a_request_is_nobodys_link_whatever_its_hello_says(world, host, bearer):
    status, answer = rpc(world, host, bearer, call("Hello", node_id="p" * 52, name="web"))
    assert status == 200 and answer["result"]["node_id"] == host.id
    assert host.node.discovery.links == {}
    world.advance(30)


def test_what_a_closed_connection_waited_for_hurts_nobody(world, host, bearer):
    host.executor.holds = {"run"}
    world.owner(host).call("SubmitTask", world.echo([1], task_id="mine"))
    browser = world.browser(host)
    browser.ask("POST", "/rpc", json.dumps(call("GetTaskResult", task_id="mine", wait_s=30)).encode(), **bearer)
    host.node.connection_closed(browser, "gone")
    host.executor.release()
    world.settle()
    assert world.owner(host).call("Ping")["received"] == 0


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress], ids=["gzip", "deflate"])
def test_row_23_nothing_is_unpacked_that_somebody_sends(world, host, bearer, pack):
    """64 MiB of blanks in 64 KiB: it stays what it is, which is no JSON."""
    bomb = pack(b" " * (64 << 20) + b"{}")
    tracemalloc.start()
    try:
        began = tracemalloc.get_traced_memory()[1]
        status, _, data = world.browser(host).ask("POST", "/rpc", bomb, content_encoding="gzip", **bearer)
        task = {"task_type": "job", "task_data": base64.b64encode(bomb).decode("ascii")}
        answer = world.owner(host).call("SubmitTask", {"task": task})
        assert tracemalloc.get_traced_memory()[1] - began < 8 << 20
    finally:
        tracemalloc.stop()
    assert status in (200, 400, 415) and (status != 200 or json.loads(data)["error"]["code"] == -32700)
    assert not answer["success"]
