"""Measure a script beside a node that runs, which makes the script's calls: `python3 tools/bench.py beside`.

Two nodes of one slot each, paired; a map over both against this one process, a lone call against a node of its own.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, List

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench_start import StartedNode, free_port  # noqa: E402
from bench_tasks import line, medians, noop, trip_s  # noqa: E402

from discompute_lite import Cluster  # noqa: E402
from discompute_lite.run import read_settings  # noqa: E402

#: Some two seconds of work of one process.
NUMBERS = 400_000


def steps(number: int) -> int:
    """Count the steps of Collatz's sequence down to 1."""
    count = 0
    while number != 1:
        number = number // 2 if number % 2 == 0 else 3 * number + 1
        count += 1
    return count


def bench_beside(rounds: int) -> List[Dict[str, Any]]:
    """Return the figures."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="discompute-bench-")))
        port = free_port()
        first, second = (StartedNode(folder / name, port, "--slots", "1") for name in ("first", "second"))
        for node in (first, second):
            stack.callback(node.process.wait, 10)
            stack.callback(node.process.terminate)
        link = first.client.call("Invite", {"with_token": True, "asks_nobody": True, "joins": 1})["link"]
        second.client.call("Join", {"words": link}, timeout_s=30.0)
        beside = stack.enter_context(Cluster(config=_settings(folder / "first" / "state"), min_devices=2))
        own = stack.enter_context(Cluster(config=_settings(folder / "own")))
        pairs = [(_alone_s(), _together_s(beside)) for _ in range(rounds + 1)][1:]
        gain = statistics.median(alone / together for alone, together in pairs)
        devices = len(beside.run_on_all(noop))
        trip, own_trip = medians(rounds, lambda: trip_s(beside), lambda: trip_s(own))
    return [
        line("map over two paired nodes of one slot, by a script beside one, times as fast as one process", gain,
             "at least 1.6", 1.6, True, f"{NUMBERS} calls, {devices} devices on the cores of this machine"),
        line("round trip of a lone call by the node beside, in those by a node of its own", trip / own_trip,
             "at most 3", 3.0, False, f"{trip * 1e6:.0f} µs, {own_trip * 1e6:.0f} µs"),
    ]


def _settings(state: Path) -> Any:
    return read_settings({}, {
        "DISCOMPUTE_STATE_DIR": str(state), "DISCOMPUTE_BIND": "127.0.0.1", "DISCOMPUTE_PORT": "0",
        "DISCOMPUTE_DISCOVERY": "peers", "DISCOMPUTE_SLOTS": "1",
    })


def _alone_s() -> float:
    began = time.perf_counter()
    assert sum(map(steps, range(1, NUMBERS))) > 0
    return time.perf_counter() - began


def _together_s(cluster: Any) -> float:
    began = time.perf_counter()
    assert sum(cluster.map(steps, range(1, NUMBERS))) > 0
    return time.perf_counter() - began
