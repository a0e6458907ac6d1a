"""What strangers throw at a node, by the rows of the security page; after each it serves the next caller at once."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import os
import random
import socket
import ssl
import time

import pytest

MIB = 1024 * 1024


def said_to(node, data, *, half_close=False, source="127.0.0.1"):
    """Send bytes on a fresh connection; return what comes back until the node hangs up, which it must."""
    with node.client(is_owner=False, source=source) as client:
        with contextlib.suppress(ConnectionError):
            client.socket.sendall(data)
            if half_close:
                client.socket.shutdown(socket.SHUT_WR)
        return client.rest()


def code_of(answer):
    """Return the error code of a node's last words."""
    message = json.loads(answer.splitlines()[-1])
    assert set(message) == {"jsonrpc", "id", "error"}
    assert message["error"]["message"].strip().endswith((".", "?")) or " " in message["error"]["message"]
    return message["error"]["code"]


def memory_of(node):
    """Return a node's resident memory in bytes, 0 where the system does not tell."""
    with contextlib.suppress(OSError), open(f"/proc/{node.process.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def descriptors_of(node):
    try:
        return len(os.listdir(f"/proc/{node.process.pid}/fd"))
    except OSError:
        return 0


def threads_of(node):
    try:
        return len(os.listdir(f"/proc/{node.process.pid}/task"))
    except OSError:
        return 0


def peak_of(node):
    """Return the most address space that a node ever had, in bytes, 0 where the system does not tell."""
    with contextlib.suppress(OSError), open(f"/proc/{node.process.pid}/status") as file:
        return 1024 * int(re.search(r"VmPeak:\s+(\d+) kB", file.read()).group(1))
    return 0


def processor_s(node):
    """Return the processor time that a node has used."""
    with open(f"/proc/{node.process.pid}/stat") as file:
        return sum(map(int, file.read().rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")


def wait_until_ready(field, node, processes):
    """Wait until a node has so many processes: one more than it needs is always ready, and costs descriptors."""
    if os.path.isdir("/proc/self"):
        field.wait_for(lambda: len(node.children()) >= processes, "a process is ready")


@pytest.fixture(scope="module")
def well(shared):
    """What the node needs when it is well, with a warm child in each slot: (memory, descriptors, threads)."""
    node = shared.nodes[0]
    for _ in range(2):
        node.result_of(node.submit("import time\ndef split(): return [1, 2]\ndef work(part): time.sleep(0.1)"))
    wait_until_ready(shared, node, 3)
    return memory_of(node), descriptors_of(node), threads_of(node)


@pytest.fixture
def unharmed(well, node, shared, scale):
    """After each of these tests it answers soon, and needs about what it needed before the first."""
    yield node
    memory, descriptors, threads = well
    asked = time.monotonic()
    assert node.answers() and time.monotonic() - asked < scale(2.0)
    shared.wait_for(lambda: descriptors_of(node) <= descriptors + 4, "its descriptors come back", 5.0)
    shared.wait_for(lambda: threads_of(node) <= threads + 4, "its threads end", 5.0)
    assert memory_of(node) - memory < 64 * MIB


def as_base64(data):
    return base64.b64encode(data).decode("ascii")


def call(method, params=None, **extra):
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}, **extra}).encode() + b"\n"


# ---- row 1: a thousand idle connections ---------------------------------------------------------------------


def test_row_01_the_owner_gets_in_among_a_thousand_idle_connections(field, scale):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1200:
        pytest.skip("needs 1,200 descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    idle = []
    try:
        node = field.start("alpha", "--limits", "first-message-s=1")
        wait_until_ready(field, node, 1)
        before = descriptors_of(node)
        for _ in range(1000):
            idle.append(socket.create_connection(("127.0.0.1", node.port), scale(5.0), ("127.0.0.2", 0)))
        began = time.monotonic()
        with node.client() as owner:
            assert owner.call("GetDevices")["devices"][0]["id"] == node.id
        assert time.monotonic() - began < scale(2.0)
        if before:
            assert descriptors_of(node) - before < 64, "an address holds more than its share"
        # The first ones are hung up on when their time is over, the others were at once.
        for sock in idle:
            sock.settimeout(scale(10.0))
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(4096).count(b"\n") <= 1
        if before:
            field.wait_for(lambda: descriptors_of(node) <= before + 1, "their descriptors come back")
        assert node.answers()
    finally:
        for sock in idle:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_row_01_the_owner_gets_in_when_many_addresses_have_taken_all_places(field, scale):
    node = field.start("alpha")
    idle = []
    try:
        for last in range(2, 12):
            for _ in range(32):
                idle.append(socket.create_connection(("127.0.0.1", node.port), scale(5.0), (f"127.0.0.{last}", 0)))
        with node.client() as owner:
            assert owner.call("GetDevices")["devices"][0]["id"] == node.id
        assert node.answers()
    finally:
        for sock in idle:
            sock.close()


def test_row_01_the_owner_gets_in_where_the_system_gives_few_files_to_begin_with(field, scale):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        node = field.start("alpha", "--limits", "first-message-s=600")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with contextlib.ExitStack() as idle:
        for number in range(320):
            place = (f"127.0.0.{2 + number // 20}", 0)
            idle.enter_context(socket.create_connection(("127.0.0.1", node.port), scale(5.0), place))
        with node.client() as owner:
            assert owner.call("GetDevices")["devices"][0]["id"] == node.id
        assert node.answers()


# ---- row 3: what is not for strangers -----------------------------------------------------------------------


@pytest.mark.parametrize("data", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    bytes(range(1, 10)) * 50, b"\xff" * 100, b"SSH-2.0-OpenSSH_9.6\r\n", b"\n" * 100, b" " * 100,
], ids=["tls", "http2", "bytes", "ff", "ssh", "lines", "spaces"])
def test_row_03_bytes_of_other_protocols_are_closed(unharmed, data):
    answer = said_to(unharmed, data, half_close=True)
    assert len(answer) < 1000
    assert unharmed.id.encode() not in answer


@pytest.mark.parametrize("method", [
    "SubmitTask", "ExecuteSubtask", "GetTaskStatus", "GetTaskResult", "CancelTask", "ExplainTask", "ListTasks",
    "rpc.discover"])
def test_row_03_strangers_may_not_work(unharmed, method):
    """And no more is read of them: what follows gets no answer."""
    source = as_base64(json.dumps({"source": "def work(part): return 'run'"}).encode())
    answer = said_to(unharmed, call(method, {"task": {"task_type": "job", "task_data": source}}) + call("Ping"))
    assert code_of(answer) == -32002
    assert len(answer.splitlines()) == 1


def test_row_03_a_wrong_token_opens_nothing(unharmed):
    for token in ("", "x", unharmed.token + "x", unharmed.token[:-1], "é" * 40, "x" * 100_000):
        answer = said_to(unharmed, call("Hello", {"auth": token}) + call("GetTaskStatus", {"task_id": "x"}))
        assert code_of(answer) == -32002, token[:10]
        assert unharmed.token.encode() not in answer


def test_row_03_the_log_tells_of_an_address_once_a_minute(field):
    node = field.start("alpha", "-v")
    for source in ["127.0.0.2"] * 20 + ["127.0.0.3"]:
        assert code_of(said_to(node, b"{]\n", source=source)) == -32700
    field.wait_for(lambda: "127.0.0.3: " in node.complaints(), "it tells of the last one")
    assert node.complaints().count("127.0.0.2: ") == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_row_04_a_member_tells_strangers_in_the_handshake(field, make_cluster, version):
    node, = field.start_members(1)
    for identity in (None, make_cluster(2).device(1)[1]):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        context.set_alpn_protocols(["discompute/1"])
        if identity is not None:
            context.load_cert_chain(identity.certificate_file, identity.key_file)
        sock = socket.create_connection(("127.0.0.1", node.port), field.scale(10.0))
        with sock, pytest.raises(ssl.SSLError, match="(?i)alert"), context.wrap_socket(sock) as stranger:
            stranger.recv(100)
    assert list(node.devices()) == [node.id], "its owner is served, and nobody was let in"


# ---- rows 17 and 18: sizes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [
    b'{"jsonrpc":"2.0","id":1,"method":"Ping","params":{"x":"' + b"x" * (MIB + 1) + b'"}}\n',
    b'{"' + b"x" * (2 * MIB),
    call("Ping", attachments=[0] * 257),
    call("Ping", attachments=[2 ** 31]),
    call("Ping", attachments=[2 ** 62, 2 ** 62]),
    call("Ping", attachments=[-1]),
    call("Ping", attachments=[True]),
    call("Ping", attachments=["9"]),
    call("Ping", attachments={"0": 9}),
    call("Ping", attachments=[1.5]),
], ids=["line", "no-end", "many", "large", "sum", "negative", "true", "text", "object", "fraction"])
def test_row_17_sizes_beyond_the_limits(unharmed, data):
    assert code_of(said_to(unharmed, data)) == -32001


def test_row_17_nothing_is_allocated_for_a_length_beyond_the_limit_whoever_says_it(unharmed):
    before = peak_of(unharmed)
    for sizes in ([2 ** 31], [2 ** 32 - 1], [2 ** 31 - 1, 1], [2 ** 63 - 1]):
        with unharmed.client() as owner:
            owner.socket.sendall(call("Ping", {"payload": {"$attachment": 0}}, attachments=sizes))
            assert code_of(owner.rest()) == -32001
    assert peak_of(unharmed) - before < 1024 * MIB, "as if it were to come"


def test_row_17_attachments_of_a_stranger_are_refused_by_their_line(unharmed):
    """Long before they come, and whoever may not make the call."""
    answer = said_to(unharmed, call("Ping", {"payload": {"$attachment": 0}}, attachments=[64 * MIB]))
    assert code_of(answer) == -32002


@pytest.mark.parametrize("data", [
    call("Ping")[:-1], call("Ping")[:20], b"{", b"[", b"G", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n",
    b"POST /rpc HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{",
], ids=["no-line-end", "line", "object", "list", "letter", "head", "body"])
def test_row_18_a_message_that_is_cut(unharmed, data):
    assert len(said_to(unharmed, data, half_close=True)) < 1000


def test_row_18_an_attachment_that_is_cut(unharmed):
    client = unharmed.client()
    task = {"task_id": "cut", "task_type": "echo", "task_data": {"$attachment": 0}}
    client.socket.sendall(call("SubmitTask", {"task": task}, attachments=[MIB]) + b"x" * 1000)
    client.close()
    assert "cut" not in [item["task_id"] for item in unharmed.call("ListTasks")["tasks"]]


# ---- rows 19 to 21: JSON ------------------------------------------------------------------------------------


def check_is_refused(node, data):
    answer = said_to(node, data + b"\n" + call("Ping"))
    if answer:  # A byte order mark is no first byte of ours: such a connection is closed without a word.
        assert code_of(answer) in (-32700, -32600, -32001)
        assert len(answer.splitlines()) == 1, "it went on reading"


def end_of(data):
    return data[-12:].decode("ascii", "backslashreplace")


@pytest.mark.parametrize("data", [
    b'{"jsonrpc":"2.0","id":1,"method":"\xff\xfe"}', '{"jsonrpc":"2.0","id":1,"method":"Ping"}'.encode("utf-16"),
    b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"Ping"}', b'{"jsonrpc":"2.0","id":1,"method":"Pi\0ng"}',
    b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}',
], ids=end_of)
def test_row_19_text_that_is_no_plain_utf8(unharmed, data):
    check_is_refused(unharmed, data)


@pytest.mark.parametrize("data", [
    b'{"jsonrpc":"2.0","id":NaN,"method":"Ping"}',
    b'{"jsonrpc":"2.0","id":1,"method":"Ping","params":{"x":Infinity}}',
    b'{"jsonrpc":"2.0","id":1,"method":"Ping","params":{"x":-Infinity}}',
    b'{"jsonrpc":"2.0","id":1,"method":"Ping","params":{"x":9223372036854775808}}',
    b'{"jsonrpc":"2.0","id":1,"method":"Ping","params":{"x":-9223372036854775809}}',
    b'{"jsonrpc":"2.0","id":1,"method":"Ping","params":{"x":1e400}}',
    b'{"jsonrpc":"2.0","id":1,"method":"Ping","params":{"x":' + b"9" * 30 + b"}}",
    b'{"jsonrpc":"2.0","id":1,"method":"Ping","params":{"x":' + b"9" * 1_000_000 + b"}}",
    b'{"jsonrpc":"2.0","id":1,"id":2,"method":"Ping"}', b'{"jsonrpc":"2.0","id":1,"method":"Ping"} {}',
    b'{"jsonrpc":"2.0","id":1,"method":"Ping","params":' + b"[" * 65 + b"]" * 65 + b"}",
    b"[" * 1000, b"[" * 100_000, b'{"a":' * 100_000, b"{]", b"{'a': 1}", b'{"a": 01}',
], ids=end_of)
def test_row_20_json_that_is_not_ours(unharmed, data):
    check_is_refused(unharmed, data)


@pytest.mark.parametrize("message", [
    {}, {"jsonrpc": "1.0", "id": 1, "method": "Ping"}, {"jsonrpc": "2.0", "id": 1},
    {"jsonrpc": "2.0", "id": 1, "method": 7}, {"jsonrpc": "2.0", "id": {}, "method": "Ping"},
    {"jsonrpc": "2.0", "id": 1, "method": "Ping", "params": 7}, [], None,
], ids=["empty", "1.0", "no-method", "number", "object-id", "params", "empty-batch", "null"])
def test_row_20_json_that_is_no_request(unharmed, message):
    answer = said_to(unharmed, b'{"jsonrpc":"2.0","id":0,"method":"Ping"}\n' + json.dumps(message).encode() + b"\n",
                     half_close=True)
    assert code_of(answer) == -32600


@pytest.mark.parametrize("method, params, field_name", [
    ("Heartbeat", {"device_id": 7}, "device_id"), ("Heartbeat", {"status": "SLEEPY"}, "status"),
    ("Heartbeat", {"metrics": {"cpu_usage": "fast"}}, "metrics.cpu_usage"),
    ("RegisterDevice", {"device": {"capabilities": {"cpu_cores": True}}}, "device.capabilities.cpu_cores"),
    ("RegisterDevice", {"device": {"capabilities": {"memory_mb": 2 ** 63}}}, None),
    ("SendMessage", {"payload": "not base64!"}, "payload"), ("SendMessage", {"metadata": {"a": 1}}, "metadata.a"),
    ("GetDevices", {"filter_type": ["linux"]}, "filter_type"), ("Hello", {"port": "eighty"}, "port"),
    ("RegisterDevice", {"device": {}}, None), ("RegisterDevice", {"device": {"id": "x" * 65}}, None),
])
def test_row_21_wrong_fields_are_named_and_the_connection_stays(unharmed, method, params, field_name):
    with unharmed.client(is_owner=False) as client:
        client.send(method, params)
        message = client.receive()
        if field_name:
            assert message["error"]["code"] == -32602
            assert field_name in message["error"]["message"]
            assert client.call("Ping")
        else:
            # Out of range or without sense: refused, by an error or by `success: false`.
            assert "error" in message or not message["result"]["success"]


def test_row_21_unknown_methods_and_fields_are_no_reason_to_part(unharmed):
    with unharmed.client(is_owner=False) as client:
        client.send("MakeCoffee", {"cups": 2})
        assert client.receive()["error"]["code"] == -32601
        assert client.call("Ping", {"from_the_future": {"deep": [1, 2, {"x": None}]}})
        client.socket.sendall(b'{"jsonrpc":"2.0","id":9,"result":{"nobody":"asked"}}\n')
        assert client.call("Ping")


# ---- row 22: names ------------------------------------------------------------------------------------------


NASTY = [
    "../../x", "/etc/passwd", "C:\\con", "nul", "a" * 300, "\u202egpj.exe", "\x1b[2J\x1b]0;owned\x07",
    "a\nb", "'; --", "", "nul\0byte", "\x9b2Jc1", "\u2066isolated",
]


def test_row_22_names_are_words_and_nothing_else(unharmed, shared):
    def files():
        """Return what there is but for the journals of tasks, whose names are digests, whatever a task is called.

        A journal that is being rewritten stands beside its `.new` for a moment.
        """
        journal = re.compile(r"[0-9a-f]{32}\.journal(\.[0-9a-f]+\.new)?")
        found = [path for path in shared.folder.rglob("*") if "scratch" not in path.parts]
        return sorted(path for path in found if not journal.fullmatch(path.name))

    before = files()
    for number, name in enumerate(NASTY):
        with unharmed.client(is_owner=False) as client:
            with contextlib.suppress(Exception):
                device = {"id": f"nasty-{number}", "name": name, "type": name, "address": name}
                client.call("RegisterDevice", {"device": device})
            with contextlib.suppress(Exception):
                client.call("SendMessage", {"from_device_id": name, "payload": as_base64(name.encode())})
        data = as_base64(json.dumps({"source": "def work(part=None): return 1", "name": name}).encode())
        task = {"task_id": name, "task_type": "job", "task_data": data, "metadata": {"name": name}}
        with contextlib.suppress(Exception):
            unharmed.call("SubmitTask", {"task": task})  # By such an id; some are refused.
        assert unharmed.call("SubmitTask", {"task": {**task, "task_id": f"named-{number}"}})["success"]
    commands = [("list",), ("tasks",), *(("why", f"named-{number}") for number in range(len(NASTY)))]
    shown = [shared.type(*words, DISCOMPUTE_STATE_DIR=str(unharmed.state)) for words in commands]
    assert not any(done.code for done in shown), shown
    assert all(mark.isprintable() or mark == "\n" for done in shown for mark in done.out + done.err)
    for done in shown[:2]:
        assert all(word in done.out for word in ("../../x", "\\x202egpj.exe", "\\x1b[2J", "nul\\x00byte", "\\x9b2Jc1"))
    assert files() == before
    assert not any(os.path.exists(os.path.join(unharmed.state, "scratch", name)) for name in ("x", "nul"))


# ---- row 27: datagrams --------------------------------------------------------------------------------------


def beacon(number=0, **changes):
    lite = {"v": 1, "name": "ghost", "status": "AVAILABLE", "boot": f"{number:016x}", "seq": 1, "reply": True,
            "every": 2.5}
    message = {
        "type": "discovery", "node_id": f"ghost-{number}", "grpc_port": 9, "priority": 2, "interface_name": "eth0",
        "interface_type": "ethernet", "timestamp": int(time.time()), "lite": lite,
        "device_capabilities": {"model": "m", "chip": "c", "memory": 1, "flops": {"fp32": 0, "fp16": 0, "int8": 0},
                                "type": "linux"}, **changes}
    return json.dumps(message, separators=(",", ":")).encode()


ODD_DATAGRAMS = [
    b"", b"{}", b"null", b"[]", b"DCB1" + bytes(43), b"DCB1" + bytes(45), bytes(47), bytes(49), b"\xff" * 1200,
    b"x" * 1201, b"{" * 1200, b'{"type":"discovery"}', beacon(1, node_id="x" * 65), beacon(2, node_id=7),
    beacon(3, grpc_port=-1), beacon(4, grpc_port=True), beacon(5, lite=[]), beacon(6, timestamp=1e300),
    beacon(9, padding="x" * 2000), b"x" * 65_507,
]
#: What a flood may cost, as a part of one core, and in how many looks of a second at the most that is to be seen once:
#: a machine that is busy with other things makes each instruction slower, to half its speed, and never faster.
FLOOD_SHARE, FLOODS = 0.10, 15


class Flood:
    """Send beacons of devices that do not exist, as fast as one process can, to all nodes of a test."""

    def __init__(self, field):
        self.sent = 0
        self._target = ("127.255.255.255", field.discovery_port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MIB)

    def send(self, datagram):
        with contextlib.suppress(OSError):
            self._socket.sendto(datagram, self._target)

    def go_on(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for number in range(self.sent, self.sent + 100):
                self.send(beacon(number))
            self.sent += 100

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()


@pytest.fixture
def flood(field):
    if not os.path.isdir("/proc/self"):
        pytest.skip("needs the broadcast address of Linux's loopback")
    with Flood(field) as flood:
        yield flood


def test_row_27_datagrams_of_every_kind(field, flood):
    node, generator = field.start("alpha"), random.Random(27)
    for datagram in [*ODD_DATAGRAMS, beacon(7, type="goodbye", node_id=node.id), beacon(8, node_id=node.id)]:
        flood.send(datagram)
    for _ in range(50):
        flood.send(bytes(generator.getrandbits(8) for _ in range(generator.randrange(1, 1300))))
    flood.send(beacon(10))
    field.wait_for(lambda: "ghost-10" in node.devices(), "it hears the last one")
    assert set(node.devices()) <= {node.id, "ghost-10"}, "something that is no beacon was taken for one"
    assert node.answers()


def test_row_27_a_flood_costs_a_tenth_of_a_core_and_fills_nothing(field, flood, scale):
    node = field.start("alpha", "--limits", "devices=64")
    flood.go_on(0.5)
    memory, shares = memory_of(node), []
    while not shares or (min(shares) > FLOOD_SHARE and len(shares) < FLOODS):
        busy, began = processor_s(node), time.monotonic()
        flood.go_on(1.0)
        shares.append((processor_s(node) - busy) / (time.monotonic() - began))
    assert flood.sent > 2000, "not much of a flood"
    assert min(shares) <= FLOOD_SHARE, f"{shares} of a core for a flood of {flood.sent} datagrams"
    for _ in range(20):
        flood.go_on(0.02)
        asked = time.monotonic()
        assert node.answers()
        assert time.monotonic() - asked < scale(2.0)
    assert memory_of(node) - memory < 64 * MIB
    assert len(node.devices()) <= 64 + 1, "made-up devices fill the table"


# ---- row 40: tasks that misbehave ---------------------------------------------------------------------------


def groups_of(processes):
    """Return the process groups of those that have not ended in the meantime."""
    groups = set()
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            groups.add(os.getpgid(process))
    return groups


@pytest.mark.parametrize("body", [
    "while True: pass",
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_IGN)\n    time.sleep(600)",
    "os.fork() or time.sleep(600)\n    time.sleep(600)",
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n    time.sleep(600)",
    "threading.Thread(target=time.sleep, args=(600,)).start()\n    time.sleep(600)",
], ids=["endless", "deaf", "fork", "grandchild", "thread"])
def test_row_40_a_cancelled_task_is_gone_with_all_it_started(field, posix, body):
    head = "import os, signal, subprocess, sys, threading, time\ndef work(folder):\n"
    source = f"{head}    print(os.getpgrp(), file=open(os.path.join(folder, 'begun'), 'w'))\n    {body}\n"
    node = field.start("alpha", "--slots", "1")
    task_id = node.submit("def split(folder=''): return [folder]\n" + source, folder=str(field.folder))
    field.wait_for(lambda: (field.folder / "begun").is_file() and (field.folder / "begun").read_text(), "it begins")
    group = int((field.folder / "begun").read_text())
    assert group in groups_of(field.processes()) - {os.getpgid(node.process.pid)}
    assert node.call("CancelTask", {"task_id": task_id})["success"]
    # A child that waits for the next task has a group of its own.
    field.wait_for(lambda: group not in groups_of(field.processes()), "all its processes are gone", 5.0)
    # The slot is free again.
    assert node.result_of(node.submit("def work(part=None): return 5")) == ("COMPLETED", 5)


def test_row_40_a_task_that_prints_without_end_fills_no_memory(unharmed):
    source = "def work(part=None):\n    for _ in range(3000): print('x' * 10_000)\n    return 1"
    assert unharmed.result_of(unharmed.submit(source)) == ("COMPLETED", 1)


@pytest.mark.parametrize("source, about", [
    ("def work(", "line 1"), ("x = '\0'\ndef work(part): pass", "NUL"), ("# " + "x" * 2_000_000, "longer"),
    ("def work(part): return " + "(" * 3000 + ")" * 3000, ""), ("def other(part): pass", "work"),
    ("# coding: latin-1\ndef work(part): pass", "latin-1"),
], ids=["syntax", "nul", "long", "deep", "no-work", "coding"])
def test_row_41_source_that_is_none(unharmed, source, about):
    data = json.dumps({"source": source, "name": "job.py"}).encode()
    with unharmed.client() as client:
        answer = client.call("SubmitTask", {"task": {"task_type": "job", "task_data": {"$attachment": 0}}}, [data])
    assert not answer["success"]
    assert about in answer["message"]
    assert len(answer["message"]) < 9000


@pytest.mark.parametrize("data", [
    b"", b"{", b"[]", b'{"source": 7}', b'{"source": "def work(part): pass", "sha256": "0"}',
    b'{"$t": "pickle", "data": "gASVBQAAAAAAAACMAWGULg=="}',
])
def test_row_41_task_data_that_is_none(unharmed, data):
    task = {"task_type": "job", "task_data": as_base64(data)}
    assert not unharmed.call("SubmitTask", {"task": task})["success"]


# ---- row 42: results that cannot travel ----------------------------------------------------------------------


@pytest.mark.slow
def test_row_42_ten_million_levels_fail_their_task_once_and_in_few_words(unharmed):
    """Such a list takes most of a gigabyte: a device that has no more than that for a task ends it for its memory."""
    source = "def work(part=None):\n    deep = []\n    for _ in range(10 ** 7): deep = [deep]\n    return deep"
    task_id = unharmed.submit(source)
    state, message = unharmed.result_of(task_id, 60.0)
    assert state == "FAILED" and ("nested deeper" in message or "memory" in message)
    assert len(message.encode()) <= 1024
    if "nested" in message:
        story = unharmed.call("GetTaskStatus", {"task_id": task_id})["lite"]["story"]
        assert not any("tried again" in line or "attempt 2" in line for line in story), story


# ---- row 49: browsers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [
    {"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example"}, {"Host": "127.0.0.1:1"}, {"Origin": "http://evil.example"},
    {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
], ids=str)
def test_row_49_pages_of_others_are_refused_even_with_the_token(unharmed, headers):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "GetDevices"}).encode()
    for token in ({}, {"Authorization": f"Bearer {unharmed.token}"}):
        for method, path in (("POST", "/rpc"), ("GET", "/api/devices"), ("GET", "/healthz")):
            status, text = unharmed.request(method, path, body if method == "POST" else None, {**headers, **token})
            assert status in (401, 403), (method, path)
            assert unharmed.id not in text
            assert "Access-Control" not in text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "BREW"])
def test_row_49_other_methods_do_nothing(unharmed, method):
    assert unharmed.request(method, "/rpc")[0] in (401, 405, 501)
    assert unharmed.request(method, "/rpc", headers={"Authorization": f"Bearer {unharmed.token}"})[0] in (404, 405, 501)


@pytest.mark.parametrize("head", [
    b"GET / HTTP/1.1\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET  /  HTTP/1.1\r\n\r\n",
    b"GET /healthz HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n folded: x\r\n\r\n",
    b"POST /rpc HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /rpc HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
    b"POST /rpc HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\n",
    b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1000 + b"\r\n",
    b"GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"GET / HTTP/1.1\rHost: 127.0.0.1\r\r",
], ids=lambda head: head[:40].decode("ascii", "backslashreplace"))
def test_row_49_heads_that_are_none(unharmed, head):
    answer = said_to(unharmed, head, half_close=True)
    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5", b"HTTP/1.0 4", b"HTTP/1.0 5")), answer[:100]
