"""Measure what safety and durability cost without a network, for `python3 tools/bench.py security`.

Pairing, reading hostile and ordinary messages, forged beacons, journals, the simulator: each alone, in this process.
"""

from __future__ import annotations

import json
import os
import queue
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench_tasks import line  # noqa: E402

from discompute_lite.crypto.p256 import generate_key  # noqa: E402
from discompute_lite.host.journals import JournalFolder  # noqa: E402
from discompute_lite.model.errors import ParseError, ProtocolError  # noqa: E402
from discompute_lite.model.limits import Limits  # noqa: E402
from discompute_lite.sim.scenario import Scenario  # noqa: E402
from discompute_lite.sim.world import World  # noqa: E402
from discompute_lite.wire.beacon import Beacon, decode_beacon, encode_beacon  # noqa: E402
from discompute_lite.wire.invitation import Invitation  # noqa: E402
from discompute_lite.wire.pairing import PairingAsked, PairingHost, PairingJoiner  # noqa: E402
from discompute_lite.wire.strict_json import MessageParser  # noqa: E402

CODE, CERTIFICATE = "48219903", b"a certificate that both sides see"
READS, BEACONS, COMMITS, SEEDS = 5000, 5000, 1000, 100
HEADER = json.dumps({"jsonrpc": "2.0", "id": 17, "method": "Heartbeat", "params": {
    "device_id": "k3fq9zt2" * 6 + "k3fq", "status": "AVAILABLE", "metrics": {"cpu_usage": 0.25}}}).encode()


def bench_promises(rounds: int) -> List[Dict[str, Any]]:
    """Return the figures."""
    return [_pairing(rounds), *_reading(rounds), _forged(rounds), *_journal(), _simulator()]


def _pairing(rounds: int) -> Dict[str, Any]:
    def once() -> float:
        limits, key = Limits(), generate_key(os.urandom)
        host = PairingHost(Invitation(CODE, limits, expires_at=300.0), CERTIFICATE, limits, os.urandom, 0.0)
        began = time.perf_counter()
        joiner = PairingJoiner(CODE, key, {"name": "a", "kind": "mac"}, CERTIFICATE, limits, os.urandom, 0.0)
        for _ in range(4):
            joiner.receive_data(host.data_to_send())
            joiner.next_event(0.0)
            host.receive_data(joiner.data_to_send())
            if isinstance(host.next_event(0.0), PairingAsked):
                return time.perf_counter() - began
        raise AssertionError("the code was not believed")

    seconds = statistics.median(once() for _ in range(max(3, rounds)))
    return line("pairing: computing of both sides, from the code to the question, s", seconds, "at most 1", 1, False,
                "of 10 ** 8 codes three may be tried")


def _reading(rounds: int) -> List[Dict[str, Any]]:
    limits = Limits()
    parser = MessageParser(limits.json_depth, limits.json_values)

    def of(text: bytes, times: int) -> float:
        began = time.perf_counter()
        for _ in range(times):
            try:
                parser.parse(text)
            except ParseError:
                pass
        return (time.perf_counter() - began) / times

    usual_s = statistics.median(of(HEADER, READS) for _ in range(rounds))
    times = {name: statistics.median(of(text, 1) for _ in range(rounds)) for name, text in worst_lines(limits).items()}
    worst_s, name = max((seconds, name) for name, seconds in times.items())
    return [
        line("reading an ordinary message's line, us", usual_s * 1e6, "at most 15", 15, False, f"{len(HEADER)} bytes"),
        line("reading the worst line of 1 MiB, ms", worst_s * 1e3, "at most 50", 50, False,
             f"{len(times)} kinds of malice, of which the worst is: {name}"),
    ]


def worst_lines(limits: Limits) -> Dict[str, bytes]:
    """Return lines that are made to be slow to read: as long as one may be, or of as many values as one may have."""
    most, many = limits.line_bytes, limits.json_values
    towers = b"[" * (limits.json_depth - 2) + b"]" * (limits.json_depth - 2)
    endless = {
        "lists in lists": b"[", "objects in objects": b'{"a":', "one number": b"9", "escapes": b'"' + b"\\n" * most,
        "empty objects": b"[" + b"{}," * most, "pairs": b"[" + b'{"":0},' * most, "numbers": b"[" + b"1," * most,
        "towers": b"[" + (towers + b",") * (most // len(towers)), "texts": b"[" + b'"",' * most, "blanks": b" ",
    }
    whole = {
        "as many objects as may be": b"[" + b'{"":0},' * (many // 3 - 2) + b"1]",
        "as many pairs as may be": b"{" + b",".join(b'"%x":0.1' % number for number in range(many - 2)) + b"}",
        "as many towers as may be": b"[" + (towers + b",") * (many // (len(towers) + 1) - 2) + b"1]",
        "as many texts as may be": b"[" + rb'"\u00e9",' * (many - 4) + b"1]",
        "halves of surrogates": b'["' + rb"\ud83d\ude00" * (most // 13) + rb'\ud83d"]',
        "commas in a text": b'["' + b"{[," * (most // 3 - 2) + b'"]',
    }
    return {**{name: (start * (most // len(start) + 1))[:most] for name, start in endless.items()}, **whole}


def _forged(rounds: int) -> Dict[str, Any]:
    limits, key = Limits(), bytes(range(32))
    forged = encode_beacon(Beacon("k3fq9zt2" * 6 + "k3fq", 8080), limits, bytes(32))

    def once() -> float:
        began = time.perf_counter()
        for _ in range(BEACONS):
            try:
                decode_beacon(forged, limits, key)
            except ProtocolError:
                pass
        return (time.perf_counter() - began) / BEACONS

    share = statistics.median(once() for _ in range(rounds)) * limits.datagrams_per_s
    return line("processor for forged beacons at the rate that is read, %", share * 100, "at most 5", 5, False,
                f"{limits.datagrams_per_s} a second are read, the rest is not")


def _journal() -> List[Dict[str, Any]]:
    """Write lines in a journal and by hand, by turns: what a disk does in one second it may not do in the next."""
    posted: queue.Queue[Any] = queue.Queue()
    text, heard = b"x" * 499 + b"\n", []  # type: bytes, List[str]

    def by_journal() -> None:
        number = len(heard)
        journals.append("a", text)
        journals.when_written(heard.append)
        while len(heard) == number:
            callback, words = posted.get(timeout=30)
            callback(*words)

    def by_hand() -> None:
        os.write(descriptor, text)
        os.fsync(descriptor)

    with tempfile.TemporaryDirectory(prefix="discompute-bench-") as folder:
        journals = JournalFolder(folder + "/journals", lambda callback, *words: posted.put((callback, words)))
        descriptor = os.open(folder + "/bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        ours, bare = [], []  # type: List[float], List[float]
        for _ in range(COMMITS):
            for write, times in ((by_journal, ours), (by_hand, bare)):
                began = time.perf_counter()
                write()
                times.append(time.perf_counter() - began)
        journals.close()
        os.close(descriptor)
    slow, slow_bare = [sorted(times)[int(0.99 * COMMITS)] * 1e3 for times in (ours, bare)]
    return [
        line("durable lines a second, each waited for", COMMITS / sum(ours), "at least 1000", 1000, True,
             f"500 bytes each; write and fsync by hand {COMMITS / sum(bare):.0f} a second, {sum(ours) / sum(bare):.2f}"
             " times as fast"),
        line("a durable line, p99 ms", slow, "at most 5", 5, False, f"by hand {slow_bare:.2f} ms"),
    ]


def _simulator() -> Dict[str, Any]:
    began, played_s = time.perf_counter(), 0.0
    for seed in range(SEEDS):
        storm = Scenario(devices=5, seed=seed, tasks=2, subtasks=12, churn=0.2, sleepers=0.1, stragglers=0.1, loss=0.02)
        played_s += World(storm).run().makespan_s
    return line("simulated seconds a second", played_s / (time.perf_counter() - began), "at least 10000", 10000, True,
                f"{SEEDS} seeds, every invariant checked after every event")


