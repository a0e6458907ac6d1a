"""Measure how devices learn together: `python3 tools/bench.py ml`, with NumPy and PyTorch installed.

Averaging: ten million float32 over four nodes of one cluster, processes on 127.0.0.1 whose links are encrypted, against
PyTorch's gloo with four processes, which encrypts nothing, and against our own ring over bare sockets. Training: four
devices at speeds 1 : 2 : 4 : 8 (a step is to sleep, as long as suits the device, and then to compute), of which one is
killed and another joins; then the command, as a person types it: killed and resumed, and alone without NumPy.
"""

from __future__ import annotations

import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Dict, List, Sequence

from bench_hetero import ROOT, SPEEDS, HeteroFleet
from bench_ring import NODES, NUMBERS, RING_BYTES, Ranks
from bench_security import make_cluster_in

#: Seconds of a step at speed 1, and what a training is to reach.
STEP_S = 0.24
TARGET = 0.95
#: Seconds within which nodes have measured their own speed, once after their start, which would disturb what they and
#: others are measured by. On a machine that is busy with other things they try again later, and are not waited for.
MEASURED_WITHIN_S = 15.0
#: Images a step: few, so that a step is short beside its pause.
BATCH = 32
#: Rounds of the trainings whose last accuracies are compared, and how many of each kind: one image of those held out
#: is 0.3 points, and from one seed to the next the accuracy differs by some of them.
ROUNDS = 16
SEEDS = (1, 2, 3)


class PacedDigits:
    """Train on the digits at the speed of the device: the node is the parent of its processes."""

    def __init__(self, speeds: Any, step_s: float) -> None:
        from discompute_lite.ml import DigitJob

        self.speeds, self.step_s = speeds, step_s
        self.digits = DigitJob(hidden=64, batch=BATCH)

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

    def begin_star(self) -> None:
        """Have all send to this process's node from now on, as where two devices cannot reach each other."""
        self._leader.is_star = True

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

    times: Dict[str, List[float]] = {}
    with tempfile.TemporaryDirectory(prefix="discompute-bench-") as folder, ExitStack() as stack:
        make_cluster_in(folder)
        names = ["copy", "sealed", *(["gloo"] if has_gloo() else []), "bare"]
        yardsticks = {name: stack.enter_context(Ranks(name, folder)) for name in names}
        cluster = stack.enter_context(Cluster(*addresses, local=False, min_devices=len(SPEEDS), wait=20.0))
        ours = OurFour(fleet, cluster)
        ours.average()
        fleet.wait_until_measured(MEASURED_WITHIN_S)
        moved = []
        for _ in range(rounds):
            for name, ranks in yardsticks.items():
                times.setdefault(name, []).append(ranks.average())
            before = loopback_bytes()
            times.setdefault("ours", []).append(ours.average())
            moved.append(loopback_bytes() - before)
        ours.begin_star()
        times["star"] = [ours.average() for _ in range(3)]
        with Ranks("plain", folder, is_warm=True) as plain:
            times["plain"] = [plain.average()]
    detail = ", ".join(f"{name} {statistics.median(seconds):.3f} s" for name, seconds in times.items())
    rows = [turns_row("our ring over bare sockets / the copying alone", times["bare"], times["copy"], 3.5, detail),
            turns_row("our nodes, encrypted / the copying through TLS alone", times["ours"], times["sealed"], 3.5),
            turns_row("fallback: all through one node / the ring", times["star"], times["ours"], 2.0),
            turns_row("fallback: without NumPy / with it, over bare sockets", times["plain"], times["bare"], 30.0)]
    if "gloo" in times:
        rows[:0] = [turns_row("our ring over bare sockets / gloo", times["bare"], times["gloo"], 1.2),
                    turns_row("our nodes, encrypted / gloo, which is not", times["ours"], times["gloo"], 1.2),
                    turns_row("the least of that: the copying through TLS alone / gloo", times["sealed"], times["gloo"],
                              2.0)]
    if any(moved):
        least = RING_BYTES * NODES
        rows.append(_row("bytes on the loopback interface / 2(N-1)/N for each", statistics.median(moved) / least, 1.02,
                         f"{statistics.median(moved) / 1e6:.1f} of {least / 1e6:.1f} MB, with acknowledgements"))
    return rows


def turns_row(
    what: str, ours: Sequence[float], yardstick: Sequence[float], most: float, detail: str = "",
) -> Dict[str, Any]:
    """Return the middle of the ratios of all turns; where one of the two had fewer, the ratio of the middles."""
    if len(ours) != len(yardstick):
        return _row(what, statistics.median(ours) / statistics.median(yardstick), most, detail)
    ratios = sorted(one / other for one, other in zip(ours, yardstick))
    return _row(what, statistics.median(ratios), most, detail or f"from {ratios[0]:.2f} to {ratios[-1]:.2f} in turns")


def has_gloo() -> bool:
    """Whether PyTorch is installed, with gloo."""
    try:
        import torch.distributed
    except ImportError:
        return False
    return bool(torch.distributed.is_gloo_available())


def loopback_bytes() -> int:
    """Return how many bytes the loopback interface has carried, 0 where the system does not say."""
    try:
        lines = Path("/proc/net/dev").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.partition(":")[2].split()[0]) for line in lines if line.strip().startswith("lo:"))


# ---- training ---------------------------------------------------------------------------------------


def training_rows(fleet: HeteroFleet, addresses: List[str]) -> List[Dict[str, Any]]:
    """Return the figures of trainings."""
    from discompute_lite import Cluster
    from discompute_lite.ml import FedAvg, train

    with Cluster(*addresses, local=False, min_devices=len(SPEEDS), wait=20.0) as cluster:
        job = PacedDigits(fleet.speeds(), STEP_S)
        began = time.perf_counter()
        result = train(cluster, job, rounds=80, strategy=FedAvg(local_steps=8), target={"accuracy": TARGET})
        seconds = time.perf_counter() - began
        steps = sum(figures["samples"] for figures in result.history) / BATCH
        ideal = steps * STEP_S / sum(SPEEDS)
        reached = result.metrics["accuracy"]
        rows = [_row(f"FedAvg at speeds 1:2:4:8 to {TARGET:.0%}: time / ideal", seconds / ideal, 1.25,
                     f"{len(result.history)} rounds, {seconds:.2f} s, ideally {ideal:.2f} s, reached {reached:.3f}")]
        assert reached >= TARGET, result.metrics
        return [*rows, storm_row(fleet, cluster)]


def storm_row(fleet: HeteroFleet, cluster: Any) -> Dict[str, Any]:
    """Return how much it costs that a device is killed in each training and another joins: the mean over the seeds."""
    from discompute_lite.ml import FedAvg, train

    def disturb(figures: Dict[str, Any]) -> None:
        if figures["round"] == ROUNDS // 3:
            fleet.replace(1)

    accuracies: Dict[bool, List[float]] = {False: [], True: []}
    devices = []
    for seed in SEEDS:
        for is_stormy, found in accuracies.items():
            result = train(cluster, PacedDigits({}, 0.02), rounds=ROUNDS, strategy=FedAvg(local_steps=16), seed=seed,
                           on_round=disturb if is_stormy else None)
            found.append(result.metrics["accuracy"])
            devices.append(len({each.partition("/")[0] for figures in result.history for each in figures["shares"]}))
    calm, stormy = (statistics.mean(found) for found in accuracies.values())
    detail = ", ".join(f"{one:.4f} and {other:.4f}" for one, other in zip(*accuracies.values()))
    return _row("a device killed and one joined: points of accuracy, mean", 100 * abs(stormy - calm), 1.0,
                f"{detail}; {'/'.join(map(str, devices))} devices")


# ---- the command --------------------------------------------------------------------------------------


def command_rows(fleet: HeteroFleet) -> List[Dict[str, Any]]:
    """Return the figures of `train digits`: in pure Python on this machine alone, and killed amid a ring."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="discompute-bench-") as alone:
        last = _trained("--checkpoint", alone, "digits", "--no-with-numpy", DISCOMPUTE_STATE_DIR=alone)
    seconds, accuracy = time.perf_counter() - began, last["evaluated"]["accuracy"]
    assert accuracy > TARGET, last
    return [_row("train digits in pure Python, one device: two minutes", seconds / 120.0, 1.0,
                 f"{seconds:.1f} s, accuracy {accuracy:.4f}"), resumed_row(fleet)]


def resumed_row(fleet: HeteroFleet) -> Dict[str, Any]:
    """Return how much it costs that a training whose devices average is killed in its middle, and resumed."""
    environ = {"DISCOMPUTE_PEERS": ",".join(worker.address for worker in fleet.workers)}
    found = []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory(prefix="discompute-bench-") as folder:
            whole, cut = os.path.join(folder, "whole"), os.path.join(folder, "cut")
            words = ["--min-devices", str(len(SPEEDS)), "--average", "ring", "--rounds", str(ROUNDS), "--seed",
                     str(seed), "--checkpoint"]
            first = _trained(*words, whole, "digits", **environ)
            training = subprocess.Popen(_train_command(*words, cut, "digits"), env={**os.environ, **environ}, cwd=ROOT,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while training.poll() is None and len(_rounds_in(cut)) < ROUNDS // 2:
                time.sleep(0.005)
            training.kill()
            training.wait()
            found.append((first["evaluated"]["accuracy"], len(_rounds_in(cut)), _trained(
                "--resume", *words, cut, "digits", **environ)["evaluated"]["accuracy"]))
    points = 100 * abs(statistics.mean(one for one, _, _ in found) - statistics.mean(other for _, _, other in found))
    detail = ", ".join(f"{one:.4f} and {other:.4f} (after {rounds})" for one, rounds, other in found)
    return _row("killed with -9 amid a ring and resumed: points of accuracy, mean", points, 1.0, detail)


def _trained(*words: str, **environ: str) -> Dict[str, Any]:
    """Train by the command; return the last round's figures."""
    done = subprocess.run(
        _train_command(*words), env={**os.environ, **environ}, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return _rounds_in(words[words.index("--checkpoint") + 1])[-1]


def _train_command(*words: str) -> List[str]:
    return [sys.executable, "-m", "discompute_lite", "train", *words]


def _rounds_in(folder: str) -> List[Dict[str, Any]]:
    try:
        lines = Path(folder, "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("}")]


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
            if only in "command":
                rows += command_rows(fleet)
        finally:
            fleet.end()
    return rows


def _row(what: str, ratio: float, most: float, detail: str) -> Dict[str, Any]:
    return {"what": what, "ratio": round(ratio, 3), "wanted": f"at most {most}", "met": ratio <= most, "detail": detail}
