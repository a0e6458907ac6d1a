"""Measure the Python interface against the standard library's process pools: `python3 tools/bench.py tasks`.

Both run the same functions on two worker processes of this machine, in turns within one run. The pools are
forked before the cluster's threads exist.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

ROOT = Path(__file__).resolve().parent.parent
WORKERS = 2
NOOPS, TRIPS, ITEMS, LARGE_BYTES = 10_000, 200, 100_000, 32 * 1024 * 1024

#: A script as a person writes it; prints the seconds from `with Cluster()` to the first result.
FIRST_RESULT = """
import time
from discompute_lite import Cluster
def f(x): return x + 1
if __name__ == "__main__":
    began = time.perf_counter()
    with Cluster() as cluster:
        assert cluster.submit(f, 1).result() == 2
        print(time.perf_counter() - began)
"""


#: A script that does nothing any more; prints the process ids of its node and of all that this has started.
IDLE = """
import os, sys, time
from discompute_lite import Cluster
def f(x): return time.sleep(0.1)
def below(pid):
    tasks = f"/proc/{pid}/task"
    children = [int(word) for task in os.listdir(tasks) for word in open(f"{tasks}/{task}/children").read().split()]
    return [pid, *(found for child in children for found in below(child))]
if __name__ == "__main__":
    with Cluster() as cluster:
        list(cluster.map(f, range(8), chunksize=1))
        print(*below(os.getpid()), flush=True)
        sys.stdin.read()
"""


def noop() -> None:
    """Do nothing."""


def square(number: int) -> int:
    """Return a trivial result."""
    return number * number


def give_back(piece: bytes) -> bytes:
    """Return what was given."""
    return piece


def bench_tasks(rounds: int) -> List[Dict[str, Any]]:
    """Measure calls one by one, round trips, a long map, the first result and idle memory."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="discompute-bench-"))
        os.environ.update(DISCOMPUTE_BIND="127.0.0.1", DISCOMPUTE_STATE_DIR=folder, DISCOMPUTE_SLOTS=str(WORKERS))
        pool = stack.enter_context(ProcessPoolExecutor(WORKERS))
        list(pool.map(square, range(100)))
        bare_pool = stack.enter_context(multiprocessing.Pool(WORKERS))
        bare_pool.map(square, range(100))
        sys.path.insert(0, str(ROOT))
        from discompute_lite import Cluster

        cluster = stack.enter_context(Cluster())
        one_by_one(cluster, 100)
        list(cluster.map(square, range(1000)))
        rate = medians(rounds, lambda: one_by_one(cluster, NOOPS), lambda: one_by_one(pool, NOOPS))
        trip = medians(rounds, lambda: trip_s(cluster), lambda: trip_s(pool))
        long_map = medians(
            rounds, lambda: map_s(lambda: cluster.map(square, range(ITEMS))),
            lambda: map_s(lambda: pool.map(square, range(ITEMS), chunksize=1000)),
            lambda: map_s(lambda: bare_pool.map(square, range(ITEMS))),
        )
        large = os.urandom(LARGE_BYTES)
        there = medians(rounds, lambda: large_s(cluster, large), lambda: large_s(pool, large))
    idle = idle_memory()
    first_s = statistics.median(first_result_s() for _ in range(rounds))
    return [
        line("no-op calls a second, one by one / ProcessPoolExecutor(2)", rate[1] / rate[0], "at least 2", 2.0, True,
             f"{NOOPS / rate[0]:,.0f} / {NOOPS / rate[1]:,.0f} calls/s"),
        line("round trip of a single call / ProcessPoolExecutor", trip[0] / trip[1], "at most 1", 1.0, False,
             f"{trip[0] * 1e6:.0f} us / {trip[1] * 1e6:.0f} us"),
        line("map of 100,000 trivial items, speed / ProcessPoolExecutor.map(chunksize=1000)", long_map[1] / long_map[0],
             "at least 3", 3.0, True, f"{long_map[0]:.3f} s / {long_map[1]:.3f} s; multiprocessing.Pool.map"
             f" {long_map[2]:.3f} s"),
        line("a call that takes and returns 32 MiB / ProcessPoolExecutor", there[0] / there[1], "at most 2", 2.0, False,
             f"{there[0]:.3f} s / {there[1]:.3f} s"),
        line("seconds from `with Cluster()` to the first result", first_s, "under 0.5", 0.5, False, "a fresh process"),
        line("idle memory of a node and two workers, MiB (proportional set size)", idle, "under 60", 60.0, False,
             "a fresh script, its workers and their guards"),
    ]


def one_by_one(executor: Any, count: int) -> float:
    """Return the seconds that so many calls take, submitted one after the other."""
    began = time.perf_counter()
    for future in [executor.submit(noop) for _ in range(count)]:
        future.result()
    return time.perf_counter() - began


def trip_s(executor: Any) -> float:
    """Return the median seconds of a call that nothing else waits beside."""
    trips = []
    for _ in range(TRIPS):
        began = time.perf_counter()
        executor.submit(noop).result()
        trips.append(time.perf_counter() - began)
    return statistics.median(trips)


def large_s(executor: Any, piece: bytes) -> float:
    """Return the seconds of a call that takes and returns a large piece of memory."""
    began = time.perf_counter()
    returned = executor.submit(give_back, piece).result()
    seconds = time.perf_counter() - began
    assert returned == piece
    return seconds


def map_s(start: Callable[[], Any]) -> float:
    """Return the seconds until all results of a map are there, and right."""
    began = time.perf_counter()
    results = list(start())
    seconds = time.perf_counter() - began
    assert results == [number * number for number in range(ITEMS)]
    return seconds


def medians(rounds: int, *measures: Callable[[], float]) -> List[float]:
    """Return the median of each measure, taken in turns; the first round warms up."""
    taken = [[measure() for measure in measures] for _ in range(rounds + 1)][1:]
    return [statistics.median(column) for column in zip(*taken)]


def first_result_s() -> float:
    """Return what a fresh script needs for its first result."""
    with fresh_script(FIRST_RESULT) as script:
        return float(script.communicate()[0])


def idle_memory() -> float:
    """Return the proportional set size of a fresh script's node and its workers, MiB; 0 where the system does not say.

    None of these processes shares a page with this one, but for the interpreter's own files.
    """
    if not Path("/proc/self/smaps_rollup").exists():
        return 0.0
    with fresh_script(IDLE, stdin=subprocess.PIPE) as script:
        pids = [int(word) for word in script.stdout.readline().split()]
        memory = sum(map(pss, pids))
        script.communicate("")
    assert len(pids) >= 1 + WORKERS
    return memory


@contextmanager
def fresh_script(text: str, **pipes: Any) -> Iterator[Any]:
    """Run a script in a process, a folder and a state of its own."""
    with tempfile.TemporaryDirectory(prefix="discompute-bench-") as folder:
        script = Path(folder) / "script.py"
        script.write_text(text)
        environ = {**os.environ, "DISCOMPUTE_STATE_DIR": str(Path(folder) / "state"), "PYTHONPATH": str(ROOT)}
        with subprocess.Popen([sys.executable, str(script)], env=environ, stdout=subprocess.PIPE, text=True,
                              **pipes) as process:
            yield process


def pss(pid: int) -> float:
    """Return one process's proportional set size, MiB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(entry.split()[1]) / 1024 for entry in text.splitlines() if entry.startswith("Pss:"))


def line(what: str, value: float, wanted: str, bound: float, is_least: bool, detail: str) -> Dict[str, Any]:
    """Return one line of the table."""
    is_met = value >= bound if is_least else value <= bound
    return {"what": what, "ratio": round(value, 3), "wanted": wanted, "met": is_met, "detail": detail}
