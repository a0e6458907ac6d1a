"""Measure what the project claims, as ratios within one run: `python3 tools/bench.py rpc`, or another bench.

Each figure is the median of several rounds, in which ours and the yardstick take turns, on pinned cores
where the system can pin. Seconds are printed for orientation only; the ratios are what is promised.
Everything stays on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing.connection
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench_beside import bench_beside  # noqa: E402
from bench_discovery import bench_discovery  # noqa: E402
from bench_hetero import bench_hetero  # noqa: E402
from bench_ml import bench_ml  # noqa: E402
from bench_phone import bench_phone  # noqa: E402
from bench_security import bench_security  # noqa: E402
from bench_start import bench_start  # noqa: E402
from bench_tasks import bench_tasks  # noqa: E402

from discompute_lite.net.client import Client  # noqa: E402

MIB = 1024 * 1024
HEARTBEAT = {
    "device_id": "k3fq9zt2" * 6 + "k3fq", "capabilities": {
        "cpu_cores": 8, "memory_mb": 16384, "has_gpu": True, "gpu_type": "Apple M2", "battery_level": 0.85,
        "is_charging": False, "fp32_tflops": 3.58, "fp16_tflops": 3.58, "int8_tflops": 0.0, "chip": "Apple M2",
    }, "status": "AVAILABLE", "metrics": {"cpu_usage": 0.12, "memory_usage": 0.51, "active_tasks": 0},
}


# ---- processes ------------------------------------------------------------------------------------


class BenchNode:
    """Run one node as a process of its own; a context manager that gives clients."""

    def __init__(self, core: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="discompute-bench-")
        environ = {key: value for key, value in os.environ.items() if not key.startswith("DISCOMPUTE_")}
        environ.update(DISCOMPUTE_STATE_DIR=self._folder.name)
        settings = Path(self._folder.name) / "empty.yaml"
        settings.write_text("")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "discompute_lite", "start", "--json", "--bind", "127.0.0.1",
             "--config", str(settings)],
            cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True,
        )
        assert self.process.stdout is not None
        self.port = json.loads(self.process.stdout.readline())["port"]
        pin(self.process.pid, core)

    def client(self) -> Client:
        """Return a client that is the node's owner."""
        token = Path(self._folder.name, "control.token").read_text(encoding="ascii").strip()
        return Client(f"127.0.0.1:{self.port}", token=token, timeout_s=60.0)

    def __enter__(self) -> BenchNode:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._folder.cleanup()


class YardstickServer:
    """Run one of this file's own servers (`--serve NAME`) as a process."""

    def __init__(self, name: str, core: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", name], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        pin(self.process.pid, core)

    def __enter__(self) -> YardstickServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def pin(pid: int, core: int) -> None:
    """Keep a process on one core where the system can: unpinned ratios swing by 40 % (measured)."""
    if hasattr(os, "sched_setaffinity"):
        # Not out of those that this process has just now: once it is pinned itself, that is one for all.
        cores = sorted(ALL_CORES)
        os.sched_setaffinity(pid, {cores[core % len(cores)]})


ALL_CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def unpin() -> None:
    """Give this process all cores again."""
    if ALL_CORES:
        os.sched_setaffinity(0, ALL_CORES)


# ---- yardsticks: what a careful person writes by hand ---------------------------------------------------


def serve_json_echo() -> None:
    """Answer each line of JSON with itself: blocking sockets, one connection at a time."""
    for connection in _connections():
        buffer = b""
        while True:
            data = connection.recv(65536)
            if not data:
                break
            buffer += data
            while b"\n" in buffer:
                line, _, buffer = buffer.partition(b"\n")
                connection.sendall(json.dumps(json.loads(line)).encode() + b"\n")


def serve_bytes() -> None:
    """Take an 8-byte length and so many bytes into a fresh buffer; answer with one byte."""
    for connection in _connections():
        while True:
            head = connection.recv(8, socket.MSG_WAITALL)
            if len(head) < 8:
                break
            view = memoryview(bytearray(int.from_bytes(head, "big")))
            while view:
                view = view[connection.recv_into(view):]
            connection.sendall(b"!")


def serve_multiprocessing() -> None:
    """Answer objects with themselves: `multiprocessing.connection`, a thread a connection."""
    listener = multiprocessing.connection.Listener(("127.0.0.1", 0), backlog=16)
    print(listener.address[1], flush=True)

    def serve(connection: Any) -> None:
        try:
            while True:
                connection.send(connection.recv())
        except (EOFError, OSError):
            pass

    while True:
        threading.Thread(target=serve, args=(listener.accept(),), daemon=True).start()


def _connections() -> Any:
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


SERVERS = {"json": serve_json_echo, "bytes": serve_bytes, "multiprocessing": serve_multiprocessing}


# ---- rpc --------------------------------------------------------------------------------------------


def bench_rpc(rounds: int) -> List[Dict[str, Any]]:
    """Measure calls and attachments against bare sockets and `multiprocessing.connection`."""
    with BenchNode(core=0) as node:
        results = [_sequential(node, rounds), _concurrent(node, rounds), _attachment(node, rounds)]
    return results


def _sequential(node: BenchNode, rounds: int, calls: int = 4000) -> Dict[str, Any]:
    pin(0, 1)
    line = json.dumps({"jsonrpc": "2.0", "id": 1234, "method": "Heartbeat", "params": HEARTBEAT}).encode() + b"\n"

    def bare(sock: socket.socket) -> float:
        message = json.loads(line)
        began = time.perf_counter()
        for _ in range(calls):
            sock.sendall(json.dumps(message).encode() + b"\n")
            buffer = b""
            while not buffer.endswith(b"\n"):
                buffer += sock.recv(65536)
            json.loads(buffer)
        return time.perf_counter() - began

    def ours(client: Client) -> float:
        began = time.perf_counter()
        for _ in range(calls):
            client.call("Heartbeat", HEARTBEAT)
        return time.perf_counter() - began

    with YardstickServer("json", core=0) as echo, node.client() as client:
        # A device that the node knows: an unknown one would be refused, which is cheaper than believing it.
        client.call("RegisterDevice", {"device": {"id": HEARTBEAT["device_id"], "name": "bench", "type": "mac"}})
        assert client.call("Heartbeat", HEARTBEAT)["success"]
        sock = socket.create_connection(("127.0.0.1", echo.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ratio, mine, yard = compare(lambda: ours(client), lambda: bare(sock), rounds)
        sock.close()
    unpin()
    return row(
        "sequential Heartbeat / bare blocking JSON echo of the same bytes", ratio, "at most 1.3", ratio <= 1.3,
        f"{mine / calls * 1e6:.0f} us / {yard / calls * 1e6:.0f} us a call, {len(line)} bytes",
    )


def _concurrent(node: BenchNode, rounds: int, clients: int = 8, calls: int = 1500) -> Dict[str, Any]:
    with YardstickServer("multiprocessing", core=0) as server:
        ratio, mine, yard = compare(
            lambda: _drive("ours", node.port, clients, calls),
            lambda: _drive("multiprocessing", server.port, clients, calls), rounds,
        )
    total = clients * calls
    return row(
        f"calls/s of {clients} concurrent clients / multiprocessing.connection, same payload",
        1 / ratio, "at least 1.0", 1 / ratio >= 1.0, f"{total / mine:,.0f} / {total / yard:,.0f} calls/s",
    )


def _drive(kind: str, port: int, clients: int, calls: int) -> float:
    """Let `clients` processes make `calls` each; return the seconds from the common start to the last end."""
    workers = [
        subprocess.Popen(
            [sys.executable, __file__, "--drive", kind, str(port), str(calls)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(clients)
    ]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
        pin(worker.pid, 1)
    began = time.perf_counter()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(b"go\n")
        worker.stdin.flush()
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    seconds = time.perf_counter() - began
    for worker in workers:
        worker.communicate()
    return seconds


def drive(kind: str, port: int, calls: int) -> None:
    """Be one of the concurrent clients."""
    call: Callable[[], Any]
    if kind == "ours":
        client = Client(f"127.0.0.1:{port}", timeout_s=60.0)
        call = lambda: client.call("Heartbeat", HEARTBEAT)  # noqa: E731
    else:
        connection = multiprocessing.connection.Client(("127.0.0.1", port))

        def call() -> None:
            connection.send(HEARTBEAT)
            connection.recv()

    call()
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(calls):
        call()
    print("done", flush=True)


def _attachment(node: BenchNode, rounds: int, size: int = 64 * MIB) -> Dict[str, Any]:
    pin(0, 1)
    payload = memoryview(os.urandom(MIB) * (size // MIB))

    def bare(sock: socket.socket) -> float:
        began = time.perf_counter()
        sock.sendall(size.to_bytes(8, "big"))
        sock.sendall(payload)
        sock.recv(1)
        return time.perf_counter() - began

    def ours(client: Client) -> float:
        began = time.perf_counter()
        answer = client.call("Ping", {"payload": payload})
        assert answer["received"] == size
        return time.perf_counter() - began

    with YardstickServer("bytes", core=0) as server, node.client() as client:
        before = peak_memory(node.process.pid), peak_memory(os.getpid())
        ours(client)
        after = peak_memory(node.process.pid), peak_memory(os.getpid())
        sock = socket.create_connection(("127.0.0.1", server.port))
        ratio, mine, yard = compare(lambda: ours(client), lambda: bare(sock), rounds)
        sock.close()
    unpin()
    copies = [(late - early) / size for early, late in zip(before, after)]
    speed = 1 / ratio
    return row(
        f"speed of a {size // MIB} MiB attachment / hand-written sendall, recv_into a fresh buffer",
        speed, "at least 0.8", speed >= 0.8 and copies[0] <= 2.1 and copies[1] <= 1.1,
        f"{size / mine / MIB:,.0f} / {size / yard / MIB:,.0f} MiB/s; memory grew by {copies[0]:.2f} payloads at the"
        f" receiver, {copies[1]:.2f} at the sender",
    )


def peak_memory(pid: int) -> int:
    """Return the most memory a process has held, bytes; 0 where the system does not say."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmHWM")), 0)


# ---- figures ----------------------------------------------------------------------------------------


def compare(ours: Callable[[], float], yardstick: Callable[[], float], rounds: int) -> Tuple[float, float, float]:
    """Return (median ratio, median ours, median yardstick) of seconds, taking turns; the first round warms up."""
    pairs = [(ours(), yardstick()) for _ in range(rounds + 1)][1:]
    ratio = statistics.median(mine / yard for mine, yard in pairs)
    return ratio, statistics.median(mine for mine, _ in pairs), statistics.median(yard for _, yard in pairs)


def row(what: str, value: float, wanted: str, is_met: bool, detail: str) -> Dict[str, Any]:
    """Return one line of the table."""
    return {"what": what, "ratio": round(value, 3), "wanted": wanted, "met": is_met, "detail": detail}


BENCHES: Dict[str, Callable[..., List[Dict[str, Any]]]] = {
    "ml": bench_ml,
    "rpc": bench_rpc, "security": bench_security, "start": bench_start, "tasks": bench_tasks, "hetero": bench_hetero,
    "beside": bench_beside, "discovery": bench_discovery, "phone": bench_phone,
}
#: Those of which some cases can be run alone.
WITH_CASES = ("hetero", "ml")


def main() -> int:
    """Run the benches that were asked for and print a table; exit 1 when a promise is not kept."""
    if sys.argv[1:2] == ["--serve"]:
        SERVERS[sys.argv[2]]()
        return 0
    if sys.argv[1:2] == ["--drive"]:
        drive(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=sorted(BENCHES), help="which figures")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of which the median is taken (default 7)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--only", default="", metavar="TEXT", help="of hetero and ml, cases with this in their names")
    arguments = parser.parse_args()
    if arguments.only and arguments.what not in WITH_CASES:
        parser.error(f"--only goes with {' and '.join(WITH_CASES)}; {arguments.what} is run as a whole")
    named = {"only": arguments.only} if arguments.only else {}
    results = BENCHES[arguments.what](arguments.rounds, **named)
    if arguments.json:
        facts = {"bench": arguments.what, "python": sys.version.split()[0], "rounds": arguments.rounds, "rows": results}
        print(json.dumps(facts))
    else:
        print(f"{arguments.what}, Python {sys.version.split()[0]}, median of {arguments.rounds} rounds")
        for line in results:
            mark = "ok " if line["met"] else "NOT"
            print(f"{mark} {line['ratio']:6.2f}  {line['what']} ({line['wanted']})\n            {line['detail']}")
    return 0 if all(line["met"] for line in results) else 1


if __name__ == "__main__":
    sys.exit(main())
