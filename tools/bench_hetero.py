"""Measure how near four workers of very different speed come to the best possible: `python3 tools/bench.py hetero`.

Four nodes run as processes of their own on 127.0.0.1, one slot each, at speeds 1 : 2 : 4 : 8: the work is to sleep, as
long as suits the device. 400 pieces of heavy-tailed work, of a size that nobody knows beforehand, are spread by
`Cluster.map`, by `Cluster.submit` and as a job file; a worker is killed, or stopped as a phone in a pocket is, when
30 % of the time has passed. Each figure is the time that it took over what the workers that were there could have done.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from itertools import product, repeat
from math import sqrt
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

ROOT = Path(__file__).resolve().parent.parent
SPEEDS = (1, 2, 4, 8)
PIECES = 400
#: Seconds that all of it takes at least, with all workers.
BOUND_S = 8.0
#: When a worker is lost, as a part of that, and which: the one of speed 4.
LOST_AT, LOST = 0.3, 2
#: Seconds that devices rest before a job file is measured.
REST_S = 1.5
#: Pareto with exponent 2, cut at so many times the smallest.
HEAVIEST = 60.0

JOB = '''
import os, time
def split(works=(), speeds=None):
    return [(number, work, speeds) for number, work in enumerate(works)]
def work(piece):
    number, work, speeds = piece
    time.sleep(work / speeds[os.getppid()])
    return number
def merge(parts):
    return list(parts)
'''


def piece(number: int, work: float, speeds: Dict[int, int]) -> int:
    """Do so much work, at the speed of the device on which this runs: the node is the parent of its processes."""
    time.sleep(work / speeds[os.getppid()])
    return number


def works_of(seed: int, is_largest_last: bool = False) -> List[float]:
    """Return the pieces' works: together they fill the workers for BOUND_S."""
    rng = random.Random(seed)
    works = [min(HEAVIEST, 1.0 / sqrt(1.0 - rng.random())) for _ in range(PIECES)]
    if is_largest_last:
        works.append(works.pop(works.index(max(works))))
    scale = BOUND_S * sum(SPEEDS) / sum(works)
    return [work * scale for work in works]


class BenchCluster:
    """Make state folders of devices that belong together: what pairing leaves on them, without waiting for it."""

    def __init__(self) -> None:
        from discompute_lite.crypto.p256 import device_id, generate_key
        from discompute_lite.model.limits import Limits
        from discompute_lite.roles.own_cluster import OwnCluster, found_cluster

        self._limits = Limits()
        founder = generate_key(secrets.token_bytes)
        grant = found_cluster(founder, "founder", "linux", self._limits, secrets.token_bytes, int(time.time()))
        self._seat = OwnCluster(grant, device_id(founder), self._limits, lambda changed: None)

    def give_place(self, folder: str) -> None:
        """Make the device of this folder, which has not started yet, a member."""
        from discompute_lite.crypto.p256 import device_id
        from discompute_lite.host.store import open_state
        from discompute_lite.host.trust import TrustFiles

        key = open_state(folder).load_or_make_key(secrets.token_bytes)
        added = self._seat.welcome(device_id(key), "member", Path(folder).name, "linux", int(time.time()))
        TrustFiles(folder, self._limits).keep(self._seat.let_in(key.public, added, secrets.token_bytes))


class HeteroWorker:
    """Run one node at one speed."""

    def __init__(self, folder: str, cluster: BenchCluster, accept: str = "any", peers: str = "") -> None:
        self._state = state = tempfile.mkdtemp(prefix="node-", dir=folder)
        cluster.give_place(state)
        settings = Path(state) / "empty.yaml"
        settings.write_text("")
        environ = {key: value for key, value in os.environ.items() if not key.startswith("DISCOMPUTE_")}
        environ.update(DISCOMPUTE_ACCEPT=accept, **({"DISCOMPUTE_PEERS": peers} if peers else {}))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "discompute_lite", "start", "--json", "--bind", "127.0.0.1", "--slots", "1",
             "--port", "0", "--state-dir", state, "--config", str(settings)],
            cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True,
        )
        self.address = ""

    def wait_ready(self) -> None:
        """Wait for its first line."""
        assert self.process.stdout is not None
        self.address = f"127.0.0.1:{json.loads(self.process.stdout.readline())['port']}"

    def device_id(self) -> str:
        """Return who it is."""
        from discompute_lite.crypto.p256 import device_id
        from discompute_lite.host.store import open_state

        return device_id(open_state(self._state).load_or_make_key(secrets.token_bytes))

    def vectors(self) -> Path:
        """Return where its vectors lie."""
        return Path(self._state, "scratch", "vectors")

    @property
    def is_measured(self) -> bool:
        """Whether it has measured its own speed."""
        return Path(self._state, "speed.json").exists()

    def token(self) -> str:
        """Return what shows that its owner calls."""
        return Path(self._state, "control.token").read_text(encoding="ascii").strip()

    def end(self) -> None:
        """End it, whatever state it is in."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(5.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class HeteroFleet:
    """Hold the four workers and a cluster over them; a lost one is replaced before the next run."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._cluster = BenchCluster()
        own = str(Path(folder) / "own")
        self._cluster.give_place(own)
        os.environ.update(
            DISCOMPUTE_BIND="127.0.0.1", DISCOMPUTE_STATE_DIR=own, DISCOMPUTE_PORT="0", DISCOMPUTE_DISCOVERY="peers",
        )
        self.workers: List[HeteroWorker] = []
        self.fill()

    def fill(self) -> None:
        """Start the workers that are missing."""
        for number in range(len(SPEEDS)):
            if number == len(self.workers):
                self.workers.append(HeteroWorker(self._folder, self._cluster))
            elif self.workers[number].process.poll() is not None:
                self.workers[number] = HeteroWorker(self._folder, self._cluster)
        for worker in self.workers:
            if not worker.address:
                worker.wait_ready()

    def replace(self, number: int) -> None:
        """Kill a worker, and start another, which meets the rest."""
        self.workers[number].process.kill()
        self.workers[number].process.wait()
        peers = ",".join(worker.address for index, worker in enumerate(self.workers) if index != number)
        self.workers[number] = HeteroWorker(self._folder, self._cluster, peers=peers)

    def wait_until_measured(self, seconds: float) -> None:
        """Wait until all have measured their own speed, so many seconds at most."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not all(worker.is_measured for worker in self.workers):
            time.sleep(0.1)

    def speeds(self) -> Dict[int, int]:
        """Return the speed of each node, by its process."""
        return {worker.process.pid: speed for worker, speed in zip(self.workers, SPEEDS)}

    @contextmanager
    def front(self) -> Iterator[HeteroWorker]:
        """Give a node that takes no work itself."""
        front = HeteroWorker(self._folder, self._cluster, accept="nobody")
        try:
            front.wait_ready()
            yield front
        finally:
            front.end()

    def lose_at(self, when_s: float, how: int) -> threading.Timer:
        """Send one worker a signal so many seconds from now; the timer is to be started."""
        return threading.Timer(when_s, self.workers[LOST].process.send_signal, (how,))

    def end(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.end()


Run = Callable[[HeteroFleet, List[float], int], float]


def run_cluster(fleet: HeteroFleet, works: List[float], loss: int, start: Callable[[Any, List[float]], Any]) -> float:
    """Return the seconds until every result is here, right, each once, by way of the Python interface."""
    from discompute_lite import Cluster

    addresses = [worker.address for worker in fleet.workers]
    with Cluster(*addresses, local=False, min_devices=len(SPEEDS), wait=20.0) as cluster:
        cluster.run_on_all(piece, 0, 0.0, fleet.speeds())
        losing = fleet.lose_at(LOST_AT * BOUND_S, loss) if loss else None
        began = time.perf_counter()
        if losing is not None:
            losing.start()
        results = list(start(cluster, works))
        seconds = time.perf_counter() - began
    assert results == list(range(PIECES)), "results are wrong, missing or doubled"
    return seconds


def run_map(fleet: HeteroFleet, works: List[float], loss: int = 0) -> float:
    """Spread the pieces by `Cluster.map`."""
    return run_cluster(fleet, works, loss, lambda cluster, asked: cluster.map(
        piece, range(PIECES), asked, repeat(fleet.speeds())
    ))


def run_submit(fleet: HeteroFleet, works: List[float], loss: int = 0) -> float:
    """Spread the pieces by `submit`, one by one, as work that may be done twice."""
    def start(cluster: Any, asked: List[float]) -> Iterator[int]:
        pure = cluster.options(pure=True)
        futures = [pure.submit(piece, number, work, fleet.speeds()) for number, work in enumerate(asked)]
        return (future.result() for future in futures)

    return run_cluster(fleet, works, loss, start)


def run_job(fleet: HeteroFleet, works: List[float], loss: int = 0) -> float:
    """Spread the pieces as a job file, submitted to a node that takes no work itself."""
    from discompute_lite.model.codec import from_json
    from discompute_lite.net.client import Client
    from discompute_lite.tasks.values import dump_value, load_value

    with fleet.front() as front, Client(front.address, token=front.token(), timeout_s=60.0) as client:
        def ready() -> int:
            return sum(bool(device["lite"].get("slots")) for device in client.call("GetDevices", {})["devices"])

        while ready() < len(SPEEDS):
            time.sleep(0.02)

        def result_of(asked: List[float]) -> Any:
            args = {"works": asked, "speeds": fleet.speeds()}
            task = {"task_type": "job", "task_data": dump_value({"source": JOB, "args": args})}
            answer = client.call("SubmitTask", {"task": task})
            assert answer["success"], answer["message"]
            state = "PENDING"
            while state in ("PENDING", "RUNNING"):
                asked_of = {"task_id": answer["task_id"], "from_index": PIECES, "wait_s": 30.0}
                found = client.call("GetTaskResult", asked_of)
                state = found["state"]
            assert state == "COMPLETED", found["message"]
            return load_value(from_json(bytes, found["result_data"]))

        result_of([0.0] * 8)
        # The processes of one task serve no other: as people find them, devices have rested and laid one ready.
        time.sleep(REST_S)
        losing = fleet.lose_at(LOST_AT * BOUND_S, loss) if loss else None
        began = time.perf_counter()
        if losing is not None:
            losing.start()
        result = result_of(works)
        seconds = time.perf_counter() - began
    assert result == list(range(PIECES)), "results are wrong, missing or doubled"
    return seconds


#: What, the most that is promised, whether the largest comes last, how it is run, how a worker is lost.
CASES: Tuple[Tuple[str, float, bool, Run, int], ...] = (
    ("map, random order", 1.05, False, run_map, 0),
    ("map, largest last", 1.10, True, run_map, 0),
    ("submit, random order", 1.05, False, run_submit, 0),
    ("job file, random order", 1.05, False, run_job, 0),
    ("job file, largest last", 1.10, True, run_job, 0),
    ("map, a worker killed at 30 %", 1.06, False, run_map, signal.SIGKILL),
    ("map, a worker stopped at 30 %", 1.06, False, run_map, signal.SIGSTOP),
    ("job file, a worker stopped at 30 %", 1.06, False, run_job, signal.SIGSTOP),
)


def bound_of(loss: int) -> float:
    """Return the least seconds: all work over all speeds, from a loss on over those of the workers that remain."""
    if not loss:
        return BOUND_S
    lost_s = LOST_AT * BOUND_S
    return lost_s + (BOUND_S - lost_s) * sum(SPEEDS) / (sum(SPEEDS) - SPEEDS[LOST])


def bench_hetero(rounds: int, only: str = "") -> List[Dict[str, Any]]:
    """Measure each case whose name has `only` in it so many times, in turns, each time with other sizes."""
    cases = [case for case in CASES if only in case[0]]
    ratios: Dict[str, List[float]] = {case[0]: [] for case in cases}
    with tempfile.TemporaryDirectory(prefix="discompute-bench-") as folder:
        fleet = HeteroFleet(folder)
        try:
            for number, (what, _, is_largest_last, run, loss) in product(range(rounds), cases):
                fleet.fill()
                seconds = run(fleet, works_of(number, is_largest_last), loss)
                ratios[what].append(seconds / bound_of(loss))
                if loss:
                    fleet.workers[LOST].end()
        finally:
            fleet.end()
    return [_figure(what, most, ratios[what]) for what, most, *_ in cases]


def _figure(what: str, most: float, ratios: List[float]) -> Dict[str, Any]:
    middle = statistics.median(ratios)
    return {
        "what": f"{what}: makespan / the least possible", "ratio": round(middle, 3), "wanted": f"at most {most}",
        "met": middle <= most, "detail": "each " + ", ".join(f"{ratio:.3f}" for ratio in ratios),
    }
