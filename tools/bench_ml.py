"""Measure how devices learn together: `python3 tools/bench.py ml`, with NumPy and PyTorch installed.

Averaging: ten million float32 over four nodes of one cluster, processes on 127.0.0.1 whose links are encrypted, against
PyTorch's gloo with four processes, which encrypts nothing, and against our own ring over bare sockets. Training: four
devices at speeds 1 : 2 : 4 : 8 (a step is to sleep, as long as suits the device, and then to compute), of which one is
killed and another joins.
"""

from __future__ import annotations

import os
import selectors
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Callable, Dict, List, Sequence

from bench_hetero import SPEEDS, HeteroFleet

NUMBERS = 10_000_000
NODES = 4
#: Numbers of a piece over bare sockets: larger ones, which nodes may not send, were a tenth faster.
PIECE_NUMBERS = 131072
#: Seconds of a step at speed 1, and what a training is to reach.
STEP_S = 0.24
TARGET = 0.95
#: Rounds of the trainings whose last accuracies are compared.
ROUNDS = 12


class PacedDigits:
    """Train on the digits at the speed of the device: the node is the parent of its processes."""

    def __init__(self, speeds: Any, step_s: float) -> None:
        from discompute_lite.ml import DigitJob

        self.speeds, self.step_s = speeds, step_s
        self.digits = DigitJob(hidden=64)

    @property
    def optimizer(self) -> Any:
        """Return what steps down the gradients."""
        return self.digits.optimizer

    def init(self, seed: int) -> Any:
        """Return a network."""
        return self.digits.init(seed)

    def load(self, shard: int, shards: int) -> Any:
        """Return a part of the images."""
        return self.digits.load(shard, shards)

    def step(self, state: Any, data: Any, rng: Any, config: Any) -> Any:
        """Take the time of a step, and make it."""
        began = time.perf_counter()
        result = self.digits.step(state, data, rng, config)
        left = self.step_s / self.speeds.get(os.getppid(), 1) - (time.perf_counter() - began)
        time.sleep(max(0.0, left))
        return result

    def evaluate(self, state: Any) -> Any:
        """Return loss and accuracy."""
        return self.digits.evaluate(state)


# ---- averaging --------------------------------------------------------------------------------------


class Ranks:
    """Run four processes of this file that average in turns with ours; a context manager."""

    def __init__(self, what: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._processes = [subprocess.Popen(
            [sys.executable, __file__, what, str(rank), str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
        ) for rank in range(NODES)]

    def average(self) -> float:
        """Average once; return the seconds of the slowest."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return max(float(process.stdout.readline()) for process in self._processes if process.stdout is not None)

    def __enter__(self) -> Ranks:
        self.average()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            assert process.stdin is not None and process.stdout is not None
            process.stdin.close()
            process.stdout.close()


def serve_rank(average: Callable[[], None]) -> None:
    """Average whenever the parent says so, and tell the seconds."""
    for _ in sys.stdin:
        began = time.perf_counter()
        average()
        print(time.perf_counter() - began, flush=True)


def serve_gloo(rank: int, port: int) -> None:
    """Be one of gloo's four."""
    import torch
    import torch.distributed

    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=NODES)
    vector = torch.ones(NUMBERS)

    def average() -> None:
        torch.distributed.all_reduce(vector)
        vector.div_(NODES)

    serve_rank(average)


def serve_bare(rank: int, port: int) -> None:
    """Be one of four whose pieces travel over bare sockets: our ring without nodes, calls and encryption."""
    from discompute_lite.ml.ring import AverageOver, AveragePlan, average_of
    from discompute_lite.ml.sums import VectorShare, vector_sums
    from discompute_lite.ml.vectors import VectorForm

    before, after = _ring_sockets(rank, port)
    form = VectorForm("f", NUMBERS)
    share, result = struct.pack("f", 1.0) * NUMBERS, bytearray(form.size)
    names = tuple(map(str, range(NODES)))

    def average() -> None:
        sums = vector_sums(form, [VectorShare(1 / NODES, share)], result, PIECE_NUMBERS)
        part = average_of(AveragePlan(names), names[rank], sums)
        _BareRing(part, names[(rank - 1) % NODES], before, after).run(part.begin(), AverageOver)

    serve_rank(average)


class _BareRing:
    """Move pieces and acknowledgements over two sockets: frames of piece, hop and size, then the bytes."""

    HEAD = struct.Struct("<iiI")

    def __init__(self, part: Any, before_name: str, before: socket.socket, after: socket.socket) -> None:
        self._part, self._before_name = part, before_name
        self._before, self._after = before, after
        self._out: List[memoryview] = []

    def run(self, actions: Sequence[Any], over: type) -> None:
        """Go on until the average is over."""
        is_over = self._take(actions, over)
        with selectors.DefaultSelector() as selector:
            selector.register(self._before, selectors.EVENT_READ)
            selector.register(self._after, selectors.EVENT_READ | selectors.EVENT_WRITE)
            while not is_over or self._out:
                mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
                selector.modify(self._after, mask)
                for key, events in selector.select():
                    is_over = self._serve(key.fileobj, events, over) or is_over

    def _serve(self, sock: Any, events: int, over: type) -> bool:
        is_over = False
        if sock is self._before:
            piece, hop, size = self.HEAD.unpack(_read(self._before, self.HEAD.size))
            actions = self._part.piece_came(self._before_name, piece, hop, _read(self._before, size))
            self._before.send(b".")
            is_over = self._take(actions, over)
        elif events & selectors.EVENT_READ:
            for _ in self._after.recv(64):
                is_over = self._take(self._part.acknowledged(self._to), over) or is_over
        if events & selectors.EVENT_WRITE and self._out:
            self._write()
        return is_over

    def _take(self, actions: Sequence[Any], over: type) -> bool:
        for action in actions:
            if isinstance(action, over):
                return True
            self._to = action.to
            self._out.append(memoryview(self.HEAD.pack(action.piece, action.hop, len(action.data))))
            self._out.append(memoryview(action.data).cast("B"))
        return False

    def _write(self) -> None:
        try:
            sent = self._after.send(self._out[0])
        except BlockingIOError:
            return
        self._out[0] = self._out[0][sent:]
        if not self._out[0]:
            del self._out[0]


def _read(sock: socket.socket, size: int) -> Any:
    import numpy

    # Not a bytearray: filling fresh memory with zeros first costs as much as the socket.
    data = memoryview(numpy.empty(size, dtype="u1"))
    view = data
    while view:
        view = view[sock.recv_into(view):]
    return data


def _ring_sockets(rank: int, port: int) -> Any:
    """Return the sockets to the one before and to the one behind, at ports counted from one that was free."""
    with socket.create_server(("127.0.0.1", port + rank)) as server:
        after = None
        while after is None:
            try:
                after = socket.create_connection(("127.0.0.1", port + (rank + 1) % NODES))
            except ConnectionRefusedError:
                time.sleep(0.02)
        before, _ = server.accept()
    for sock in (before, after):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    after.setblocking(False)
    return before, after


class OurFour:
    """Average over three nodes and this process's own."""

    def __init__(self, fleet: HeteroFleet, cluster: Any) -> None:
        import numpy
        from discompute_lite.faces.averaging import AveragingLeader
        from discompute_lite.ml.vectors import VectorForm

        self._ports, self._came = cluster.vectors(), SimpleQueue()
        self._ports.deliver = self._came.put
        self._leader = AveragingLeader(
            self._ports, numpy.zeros(NUMBERS, dtype="f4"), VectorForm("f", NUMBERS), True, False)
        self._folders = {worker.device_id(): worker.vectors() for worker in fleet.workers[:NODES - 1]}
        self._folders[self._ports.own_id] = Path(os.environ["DISCOMPUTE_STATE_DIR"], "scratch", "vectors")
        for device_id in self._folders:
            self._leader.meet(device_id, lambda: None)
        while len(self._leader.joined) < NODES or not all(self._leader.joined.values()):
            self._came.get(timeout=20.0)()
        self._ones, self._number = struct.pack("f", 1.0) * NUMBERS, 0
        self.sent_bytes: List[int] = []

    def average(self) -> float:
        """Average once; return the seconds until all have the whole."""
        from discompute_lite.faces.averaging import KeptShare

        self._number += 1
        name = self._leader.share_name(self._number)
        for folder in self._folders.values():
            (folder / name).write_bytes(self._ones)
        done: List[Any] = []
        shares = [KeptShare(device_id, name, 1) for device_id in self._folders]
        began = time.perf_counter()
        self._leader.average(shares, done.append)
        while not done:
            self._came.get(timeout=60.0)()
        seconds = time.perf_counter() - began
        assert done[0].mean is not None and not done[0].lost and float(done[0].mean[7]) == 1.0
        return seconds


def averaging_rows(rounds: int, fleet: HeteroFleet, addresses: List[str]) -> List[Dict[str, Any]]:
    """Return the figures of averaging."""
    from discompute_lite import Cluster

    yardsticks = {"bare": Ranks("--bare")}
    try:
        import torch.distributed
        if torch.distributed.is_gloo_available():
            yardsticks["gloo"] = Ranks("--gloo")
    except ImportError:
        pass
    times: Dict[str, List[float]] = {name: [] for name in (*yardsticks, "ours")}
    with Cluster(*addresses, local=False, min_devices=len(SPEEDS), wait=20.0) as cluster:
        ours = OurFour(fleet, cluster)
        ours.average()
        for ranks in yardsticks.values():
            ranks.average()
        for _ in range(rounds):
            for name, ranks in yardsticks.items():
                times[name].append(ranks.average())
            times["ours"].append(ours.average())
    for ranks in yardsticks.values():
        ranks.__exit__()
    middle = {name: statistics.median(values) for name, values in times.items()}
    detail = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in middle.items())
    rows = []
    if "gloo" in middle:
        rows.append(_row("our ring over bare sockets / gloo", middle["bare"] / middle["gloo"], 1.2, detail))
        rows.append(_row("our nodes, encrypted / gloo, which is not", middle["ours"] / middle["gloo"], 1.2, detail))
    return rows


# ---- training ---------------------------------------------------------------------------------------


def training_rows(fleet: HeteroFleet, addresses: List[str]) -> List[Dict[str, Any]]:
    """Return the figures of trainings."""
    from discompute_lite import Cluster
    from discompute_lite.ml import FedAvg, train

    with Cluster(*addresses, local=False, min_devices=len(SPEEDS), wait=20.0) as cluster:
        job = PacedDigits(fleet.speeds(), STEP_S)
        began = time.perf_counter()
        result = train(cluster, job, rounds=80, strategy=FedAvg(local_steps=4), target={"accuracy": TARGET})
        seconds = time.perf_counter() - began
        steps = sum(figures["samples"] for figures in result.history) / 32
        ideal = steps * STEP_S / sum(SPEEDS)
        reached = result.metrics["accuracy"]
        rows = [_row(f"FedAvg at speeds 1:2:4:8 to {TARGET:.0%}: time / ideal", seconds / ideal, 1.25,
                     f"{len(result.history)} rounds, {seconds:.2f} s, ideally {ideal:.2f} s, reached {reached:.3f}")]
        assert reached >= TARGET, result.metrics
        quiet = train(cluster, PacedDigits({}, 0.02), rounds=ROUNDS, strategy=FedAvg(local_steps=16), seed=1)

        def disturb(figures: Dict[str, Any]) -> None:
            if figures["round"] == ROUNDS // 3:
                fleet.replace(1)

        stormy = train(cluster, PacedDigits({}, 0.02), rounds=ROUNDS, strategy=FedAvg(local_steps=16), seed=1,
                       on_round=disturb)
    points = 100 * abs(stormy.metrics["accuracy"] - quiet.metrics["accuracy"])
    members = {member.partition("/")[0] for figures in stormy.history for member in figures["shares"]}
    rows.append(_row("a device killed and one joined: points of accuracy", points, 1.0,
                     f"{quiet.metrics['accuracy']:.4f} and {stormy.metrics['accuracy']:.4f}, {len(members)} devices"))
    return rows


def bench_ml(rounds: int, only: str = "") -> List[Dict[str, Any]]:
    """Measure averaging so many times in turns, and each training once."""
    rows: List[Dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="discompute-bench-") as folder:
        fleet = HeteroFleet(folder)
        try:
            addresses = [worker.address for worker in fleet.workers]
            if only in "averaging":
                rows += averaging_rows(rounds, fleet, addresses)
            if only in "training":
                rows += training_rows(fleet, addresses)
        finally:
            fleet.end()
    return rows


def _row(what: str, ratio: float, most: float, detail: str) -> Dict[str, Any]:
    return {"what": what, "ratio": round(ratio, 3), "wanted": f"at most {most}", "met": ratio <= most, "detail": detail}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    {"--gloo": serve_gloo, "--bare": serve_bare}[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))
