"""Measure how nodes begin, meet, miss each other, rest and end, for `python3 tools/bench.py start`.

Each round starts three nodes on the loopback interface with folders of their own, kills one and ends the others.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench_tasks import line  # noqa: E402

from discompute_lite.net.client import Client  # noqa: E402

POLL_S, LIMIT_S = 0.002, 30.0
#: Seconds after which a node has done what it does once, and over which its idling is then measured.
SETTLED_S, IDLE_S = 4.0, 10.0


class StartedNode:
    """Own one node, from its start to its end."""

    def __init__(self, folder: Path, discovery_port: int, *words: str) -> None:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("DISCOMPUTE_")}
        folder.mkdir(parents=True)
        (folder / "empty.yaml").write_text("")
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "discompute_lite", "start", "--json", "--bind", "127.0.0.1", "--discovery-port",
             str(discovery_port), "--state-dir", str(folder / "state"), "--config", str(folder / "empty.yaml"), *words],
            cwd=ROOT, env=environ, stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        facts = json.loads(self.process.stdout.readline())
        #: Seconds from the command to its line that says that it is ready.
        self.ready_s = time.perf_counter() - began
        self.id = facts["device"]["id"]
        token = (folder / "state" / "control.token").read_text(encoding="ascii").strip()
        self.client = Client(f"127.0.0.1:{facts['port']}", token=token, timeout_s=LIMIT_S)

    def sees(self, device_id: str) -> bool:
        """Whether it lists a device as available, with what it can do."""
        listed = {each["id"]: each for each in self.client.call("GetDevices", {})["devices"]}
        device = listed.get(device_id, {"status": ""})
        return device["status"] == "AVAILABLE" and device["capabilities"]["cpu_cores"] > 0

    def end(self, number: int) -> float:
        """Send a signal; return the seconds until the process has ended."""
        began = time.perf_counter()
        self.client.close()
        self.process.send_signal(number)
        self.process.wait(LIMIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return time.perf_counter() - began


def bench_start(rounds: int) -> List[Dict[str, Any]]:
    """Return the figures; those of memory and processor where /proc is."""
    taken: Dict[str, List[float]] = {name: [] for name in ("ready", "met", "lost", "ended")}
    with tempfile.TemporaryDirectory(prefix="discompute-bench-") as folder:
        for number in range(rounds):
            _play(Path(folder, str(number)), taken)
        idle = _idle(Path(folder, "idle")) if os.path.isdir("/proc/self") else []
    middle = {name: statistics.median(seconds) for name, seconds in taken.items()}
    most = {name: f"at most {max(seconds):.3f} s" for name, seconds in taken.items()}
    return [
        line("start until ready, s", middle["ready"], "under 0.5", 0.5, False, most["ready"]),
        line("three nodes know each other after the last one is ready, s", middle["met"], "within 0.3", 0.3, False,
             most["met"]),
        line("SIGKILL until the others show it as not available, s", middle["lost"], "within 5", 5, False,
             most["lost"]),
        line("Ctrl-C until the process has ended, s", middle["ended"], "within 1", 1, False, most["ended"]),
        line("version, s", statistics.median(_version_s() for _ in range(rounds)), "under 0.15", 0.15, False,
             "a new Python each time"),
        *idle,
    ]


def _play(folder: Path, taken: Dict[str, List[float]]) -> None:
    discovery_port = free_port()
    nodes = [StartedNode(folder / str(number), discovery_port) for number in range(3)]
    taken["met"].append(_seconds_until(lambda: all(one.sees(other.id) for one in nodes for other in nodes)))
    taken["ready"] += [node.ready_s for node in nodes]
    lost = nodes.pop()
    lost.end(signal.SIGKILL)
    taken["lost"].append(_seconds_until(lambda: not any(node.sees(lost.id) for node in nodes)))
    taken["ended"] += [node.end(signal.SIGINT) for node in nodes]


def free_port() -> int:
    """Return a UDP port that nobody uses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _seconds_until(condition: Callable[[], bool]) -> float:
    began = time.perf_counter()
    while not condition():
        assert time.perf_counter() - began < LIMIT_S, "it never happened"
        time.sleep(POLL_S)
    return time.perf_counter() - began


def _version_s() -> float:
    began = time.perf_counter()
    command = [sys.executable, "-m", "discompute_lite", "version"]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def _idle(folder: Path) -> List[Dict[str, Any]]:
    node = StartedNode(folder, free_port())
    try:
        time.sleep(SETTLED_S)
        busy = _processor_s(node.process.pid)
        time.sleep(IDLE_S)
        share = (_processor_s(node.process.pid) - busy) / IDLE_S
        pages = int(Path("/proc", str(node.process.pid), "statm").read_text().split()[1])
    finally:
        node.end(signal.SIGINT)
    megabytes = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return [
        line("resident memory of an idle node, MB", megabytes, "under 40", 40, False, "10 s after its start"),
        line("processor of an idle node, %", share * 100, "under 0.5", 0.5, False, f"of one core, over {IDLE_S:.0f} s"),
    ]


def _processor_s(pid: int) -> float:
    words = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
