"""Measure what safety costs: `python3 tools/bench.py security`.

A node that is a cluster's member runs as a process of its own, beside servers written by hand with the same
certificates; each figure is the median of rounds in which both take turns. Everything stays on 127.0.0.0/8.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench_members import bench_members  # noqa: E402
from bench_promises import bench_promises  # noqa: E402
from bench_tasks import line, medians  # noqa: E402

from discompute_lite.crypto.certificates import ca_certificate, device_certificate  # noqa: E402
from discompute_lite.crypto.p256 import generate_key, pem, pkcs8_der  # noqa: E402
from discompute_lite.host.child_limits import ChildLimits  # noqa: E402
from discompute_lite.host.process_executor import ProcessExecutor  # noqa: E402
from discompute_lite.model.limits import Limits  # noqa: E402
from discompute_lite.net.listener import Listener, open_listening_socket  # noqa: E402
from discompute_lite.net.loop import Loop  # noqa: E402
from discompute_lite.net.tls import TlsIdentity, make_tls_context  # noqa: E402
from discompute_lite.net.tls_door import TlsDoor  # noqa: E402
from discompute_lite.run import LocalNode, read_settings, relaunch_command  # noqa: E402
from discompute_lite.tasks.jobs import source_hash  # noqa: E402
from discompute_lite.tasks.values import dump_value  # noqa: E402
from discompute_lite.tasks.work import WorkRequest  # noqa: E402

MIB = 1024 * 1024
CALLS, HANDSHAKES, STRANGERS, IDLE, BULK = 2000, 60, 100, 1000, 64 * MIB
ME = "k3fq9zt2" * 6 + "k3fq"
HEARTBEAT = {
    "device_id": ME, "capabilities": {"cpu_cores": 8, "memory_mb": 16384, "battery_level": 0.85, "chip": "Apple M2"},
    "status": "AVAILABLE", "metrics": {"cpu_usage": 0.12, "memory_usage": 0.51, "active_tasks": 0},
}


# ---- servers ----------------------------------------------------------------------------------------------------


def serve_member(folder: str) -> None:
    """Be a node that is a member."""
    environ = {"DISCOMPUTE_BIND": "127.0.0.1", "DISCOMPUTE_PORT": "0", "DISCOMPUTE_STATE_DIR": folder + "/state"}
    local = LocalNode(read_settings({}, environ))
    local.start()
    local.door.enter(identity_in(folder, "server"), lambda device: None)
    print(local.node.port, flush=True)
    local.run()


def serve_bulk(folder: str) -> None:
    """Take attachments over TLS by a listener of ours, and answer with their size."""
    limits, loop = Limits(), Loop()
    door = TlsDoor(loop, limits, dict)
    door.enter(identity_in(folder, "server"), lambda device: None)
    listener = Listener(loop, open_listening_socket("127.0.0.1", 0, False), Bulk(), limits, door)
    print(listener.port, flush=True)
    loop.run()


class Bulk:
    """Answer every call with the size of its payload."""

    repeated_methods: Any = frozenset()

    def call_received(self, connection: Any, call: Any) -> None:
        """Answer."""
        call.answer(len(call.params["payload"]))

    def admit_call(self, connection: Any, method: str) -> None:
        """Let everything in."""

    def connection_closed(self, connection: Any, reason: str) -> None:
        """Do nothing."""


def serve_yardstick(folder: str) -> None:
    """Answer each line of JSON with itself over blocking TLS sockets, one connection at a time."""
    context = make_tls_context(identity_in(folder, "server"), is_server=True)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.sendall(b'{"jsonrpc":"2.0","method":"Hello","params":{}}\n')
            buffer = b""
            while True:
                data = tls.recv(65536)
                if not data:
                    break
                buffer += data
                while b"\n" in buffer:
                    one, _, buffer = buffer.partition(b"\n")
                    tls.sendall(json.dumps(json.loads(one)).encode() + b"\n")


SECURITY_SERVERS = {"member": serve_member, "bulk": serve_bulk, "yardstick": serve_yardstick}


class Server:
    """Run one of them as a process; a context manager."""

    def __init__(self, name: str, folder: str, core: int = 0) -> None:
        self.process = subprocess.Popen([sys.executable, __file__, name, folder], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        pin_to(self.process.pid, core)

    def cpu_s(self) -> float:
        """Return the processor time that it has used, 0 where the system does not say."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


def pin_to(pid: int, core: int) -> None:
    """Keep a process on one core where the system can."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(ALL_OUR_CORES)
        os.sched_setaffinity(pid, {cores[core % len(cores)]})


ALL_OUR_CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


# ---- clients ----------------------------------------------------------------------------------------------------


def make_cluster_in(folder: str) -> float:
    """Make a cluster with a server, a client and a stranger in `folder`; return the seconds of one identity."""
    ca, other = generate_key(os.urandom), generate_key(os.urandom)
    Path(folder, "ca.pem").write_text(pem("CERTIFICATE", ca_certificate(ca, serial=os.urandom(15))))
    for name, signer in (("server", ca), ("stranger", other), ("client", ca)):
        began = time.perf_counter()
        key = generate_key(os.urandom)
        certificate = device_certificate(signer, key.public, serial=os.urandom(15))
        seconds = time.perf_counter() - began
        Path(folder, f"{name}.pem").write_text(pem("CERTIFICATE", certificate))
        Path(folder, f"{name}.key").write_text(pem("PRIVATE KEY", pkcs8_der(key)))
    return seconds


def identity_in(folder: str, name: str) -> TlsIdentity:
    """Return one of those identities."""
    return TlsIdentity(f"{folder}/{name}.pem", f"{folder}/{name}.key", Path(folder, "ca.pem").read_text())


def connect(port: int, context: Any, source: str = "127.0.0.1") -> Tuple[Any, float]:
    """Connect and hear the first word; return the TLS socket and the seconds that took."""
    began = time.perf_counter()
    sock = socket.create_connection(("127.0.0.1", port), 10.0, (source, 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tls = context.wrap_socket(sock)
    assert b'"Hello"' in tls.recv(65536)
    return tls, time.perf_counter() - began


def exchange(sock: Any, method: str, params: Any) -> Any:
    """Make one call by hand."""
    message = {"jsonrpc": "2.0", "id": 1234, "method": method, "params": params}
    sock.sendall(json.dumps(message).encode() + b"\n")
    buffer = b""
    while not buffer.endswith(b"\n"):
        buffer += sock.recv(65536)
    return json.loads(buffer)


def heartbeats_s(sock: Any) -> float:
    """Return the seconds of CALLS heartbeats."""
    began = time.perf_counter()
    for _ in range(CALLS):
        exchange(sock, "Heartbeat", HEARTBEAT)
    return time.perf_counter() - began


# ---- figures ----------------------------------------------------------------------------------------------------


def bench_security(rounds: int) -> List[Dict[str, Any]]:
    """Measure TLS around calls, handshakes, strangers, and the start and end of task processes."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="discompute-bench-"))
        identity_s = statistics.median(make_cluster_in(folder) for _ in range(rounds))
        context = make_tls_context(identity_in(folder, "client"), is_server=False)
        member, bulk, yardstick = [
            stack.enter_context(Server(name, folder)) for name in ("member", "bulk", "yardstick")]
        pin_to(0, 1)
        results = [
            line("making a device's key and certificate, ms", identity_s * 1e3, "at most 50", 50, False, "pure Python"),
            *_calls(member, yardstick, context, rounds),
            *_handshakes(member, yardstick, context, folder),
            _past_idle(member, context),
            _bulk(bulk, context, rounds),
        ]
        if ALL_OUR_CORES:
            os.sched_setaffinity(0, ALL_OUR_CORES)
        return results + _tasks(folder, rounds) + bench_members(rounds) + bench_promises(rounds)


def _calls(member: Server, yardstick: Server, context: Any, rounds: int) -> List[Dict[str, Any]]:
    secure, bare = connect(member.port, context)[0], connect(yardstick.port, context)[0]
    plain = socket.create_connection(("127.0.0.1", member.port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for sock in (secure, plain):
        exchange(sock, "RegisterDevice", {"device": {"id": ME, "name": "bench", "type": "mac"}})
        assert exchange(sock, "Heartbeat", HEARTBEAT)["result"]["success"]
    times = medians(
        rounds, lambda: heartbeats_s(secure), lambda: heartbeats_s(bare), lambda: heartbeats_s(plain))
    ours, yard, open_ = [1e6 * seconds / CALLS for seconds in times]
    for sock in (secure, bare, plain):
        sock.close()
    return [
        line("Heartbeat over TLS / bare blocking TLS echo of the same JSON", ours / yard, "at most 1.5", 1.5, False,
             f"{ours:.0f} us / {yard:.0f} us a call"),
        line("what TLS adds to a call, ms", (ours - open_) / 1e3, "at most 0.1", 0.1, False,
             f"{ours:.0f} us with, {open_:.0f} us without"),
    ]


def _handshakes(member: Server, yardstick: Server, context: Any, folder: str) -> List[Dict[str, Any]]:
    def times(server: Server) -> List[float]:
        found = []
        for _ in range(HANDSHAKES):
            sock, seconds = connect(server.port, context)
            found.append(seconds * 1e3)
            sock.close()
        return sorted(found)

    before = member.cpu_s()
    ours = times(member)
    of_members_ms = 1e3 * (member.cpu_s() - before) / HANDSHAKES
    yard = times(yardstick)
    strange = make_tls_context(identity_in(folder, "stranger"), is_server=False)
    strange.verify_mode = 0  # It takes any server, so that the server judges it.
    before = member.cpu_s()
    for _ in range(STRANGERS):
        try:
            connect(member.port, strange)
        except (OSError, AssertionError):
            continue
        raise AssertionError("a stranger came in")
    of_strangers_ms = 1e3 * (member.cpu_s() - before) / STRANGERS
    p95 = ours[int(0.95 * len(ours))]
    return [
        line("connect, handshake and first word of a member, p95 ms", p95, "at most 25", 25, False,
             f"p50 {statistics.median(ours):.1f} ms; blocking TLS by hand {statistics.median(yard):.1f} ms;"
             f" {of_members_ms:.1f} ms of the node's processor time"),
        line("processor time of the node for a stranger's handshake, ms", of_strangers_ms, "at most 2", 2, False,
             f"{STRANGERS} strangers with another cluster's certificate, none came in"),
    ]


def _past_idle(member: Server, context: Any) -> Dict[str, Any]:
    """Have many connect and say nothing, then one member from elsewhere."""
    idle = []
    try:
        for _ in range(IDLE):
            try:
                idle.append(socket.create_connection(("127.0.0.1", member.port), 1.0, ("127.0.0.2", 0)))
            except OSError:
                continue  # Refused at once: that is one fewer.
        sock, seconds = connect(member.port, context)
        sock.close()
    finally:
        for each in idle:
            each.close()
    return line(f"a member comes in while {IDLE} idle connections come from one address, s", seconds, "under 0.5", 0.5,
                False, "32 of these are kept, for 10 s")


def _bulk(server: Server, context: Any, rounds: int) -> Dict[str, Any]:
    payload = os.urandom(MIB) * (BULK // MIB)
    sock, _ = connect(server.port, context)
    head = {"jsonrpc": "2.0", "id": 1, "method": "Take", "params": {"payload": {"$attachment": 0}},
            "attachments": [BULK]}

    def send_s() -> float:
        began = time.perf_counter()
        sock.sendall(json.dumps(head).encode() + b"\n")
        sock.sendall(payload)
        assert json.loads(sock.recv(65536))["result"] == BULK
        return time.perf_counter() - began

    seconds, = medians(rounds, send_s)
    sock.close()
    return line(f"MB/s of a {BULK // MIB} MiB attachment over TLS", BULK / seconds / 1e6, "at least 105", 105, True,
                "a gigabit link has 125")


def _tasks(folder: str, rounds: int) -> List[Dict[str, Any]]:
    scratch = Path(folder, "scratch")
    scratch.mkdir()
    limits = ChildLimits.of_device(Limits(), 8000, network=True)
    command = [*relaunch_command("host.child:child_main"), limits.argument()]

    def fresh(request: Callable[[], WorkRequest]) -> float:
        executor = ProcessExecutor(1, command, os.environ, str(scratch))
        began = time.perf_counter()
        executor.submit(request()).result()
        seconds = time.perf_counter() - began
        executor.shutdown()
        return seconds

    start_s, = medians(rounds, lambda: fresh(lambda: WorkRequest("run", "echo", b"7", "t/0.1")))
    late_s, = medians(rounds, lambda: fresh(lambda: _endless(0.3)) - 0.3 - start_s)
    return [
        line("a task in a fresh process, with its limits and guard, ms", start_s * 1e3, "at most 60", 60, False,
             "from asking to its answer"),
        line("a task is gone after its time limit, s", max(0.0, late_s), "at most 0.5", 0.5, False, "an endless loop"),
    ]


def _endless(wall_s: float) -> WorkRequest:
    source = "def work(part):\n    while True: pass\n"
    data = dump_value({"source": source, "sha256": source_hash(source), "name": "endless.py", "part": None})
    return WorkRequest("run", "job", data, "t/0.1", wall_s=wall_s)


if __name__ == "__main__":
    SECURITY_SERVERS[sys.argv[1]](sys.argv[2])
