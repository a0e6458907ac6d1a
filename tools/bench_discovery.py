"""Measure how fifty nodes know one another, beside python-zeroconf, for `python3 tools/bench.py discovery`.

Fifty nodes in eight processes on 127.0.0.0/8; then newcomers, one after the other; then one that is killed. Where
python-zeroconf is installed, fifty of its instances in as many processes do the same, on the loopback interface alone.
"""

from __future__ import annotations

import importlib.util
import json
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench_tasks import line  # noqa: E402
from fleet import CREW_NODES, Fleet  # noqa: E402

NODES, PROCESSES = 50, 8
#: Newcomers of which the median is taken, and seconds that all of this may take.
NEWCOMERS, KNOWN_LIMIT_S = 5, 20.0
#: Seconds after which all news have spread; over which the fleet is then measured; for which a loss is waited.
SETTLE_S, QUIET_S, LOST_LIMIT_S = 25.0, 15.0, 45.0
#: Seconds for which python-zeroconf is given to miss a killed one: its records live for minutes.
ZEROCONF_LOST_LIMIT_S = 10.0
POLL_S = 0.05

#: One process of python-zeroconf's fleet: what it does is said by lines on its standard input.
ZEROCONF = """
import json, os, socket, sys, time
from zeroconf import ServiceBrowser, ServiceInfo, Zeroconf
KIND, first, count = "_bench._tcp.local.", int(sys.argv[1]), int(sys.argv[2])
class Ear:
    def __init__(self):
        self.found, self.lost = {}, {}
    def add_service(self, zeroconf, kind, name):
        self.found.setdefault(name.split(".")[0], time.monotonic())
    def remove_service(self, zeroconf, kind, name):
        self.lost.setdefault(name.split(".")[0], time.monotonic())
    def update_service(self, zeroconf, kind, name):
        pass
places = []
for number in range(first, first + count):
    zeroconf, ear = Zeroconf(interfaces=["127.0.0.1"]), Ear()
    places.append((number, zeroconf, ear, ServiceBrowser(zeroconf, KIND, ear)))
print("ready", flush=True)
for text in sys.stdin:
    question, name = json.loads(text)
    if question == "register":
        began = time.monotonic()
        for number, zeroconf, ear, _ in places:
            zeroconf.register_service(ServiceInfo(KIND, f"node-{number}.{KIND}", port=8080, server=f"h{number}.local.",
                                                  addresses=[socket.inet_aton("127.0.0.1")]))
        answer = began
    else:
        answer = [getattr(ear, question).get(name) for _, _, ear, _ in places]
    print(json.dumps(answer), flush=True)
os._exit(0)
"""


def bench_discovery(rounds: int) -> List[Dict[str, Any]]:
    """Return the figures; `rounds` newcomers come, five at most."""
    newcomers = min(rounds, NEWCOMERS)
    with tempfile.TemporaryDirectory(prefix="discompute-bench-") as folder:
        ours = _our_fleet(Path(folder), newcomers)
    theirs = _zeroconf_fleet(newcomers) if importlib.util.find_spec("zeroconf") is not None else None
    came, lost_first, lost_all = ours["newcomers"], ours["lost first"], ours["lost all"]
    lines = [
        line(f"{NODES} nodes in {PROCESSES} processes know each other after the last one has started, s",
             ours["met"], "within 5", 5.0, False, f"{ours['met datagrams']:.0f} datagrams until then, of all together"),
        line(f"a newcomer among {NODES} is known to all, s", statistics.median(came), "under 0.1", 0.1, False,
             "at most " + f"{max(came):.3f} s"),
        line("a killed node is first told as lost, s", lost_first, "within 5", 5.0, False,
             f"by the last of all after {lost_all:.1f} s"),
        line(f"datagrams a second of all {NODES} once settled", ours["datagrams/s"], "under 100", 100.0, False,
             f"over {QUIET_S:.0f} s"),
        line("per cent of a core a node once settled", ours["processor %"], "under 0.5", 0.5, False,
             f"{ours['links']:.0f} links each"),
    ]
    if theirs is not None:
        their_came, their_lost = theirs
        ratio = statistics.median(their_came) / statistics.median(came)
        missed = f"{their_lost:.1f} s" if their_lost is not None else f"not within {ZEROCONF_LOST_LIMIT_S:.0f} s"
        lines.append(line(
            "a newcomer: python-zeroconf's time / ours", ratio, "at least 1", 1.0, True,
            f"{statistics.median(their_came):.3f} s there; a killed one is missed {missed}"))
    return lines


# ---- ours ---------------------------------------------------------------------------------------------------


def _our_fleet(folder: Path, newcomers: int) -> Dict[str, Any]:
    figures: Dict[str, Any] = {}
    with Fleet(folder, NODES, _free_port()) as fleet:
        last = fleet.start()
        _until(lambda: min(fleet.ask("known")) >= NODES - 1, KNOWN_LIMIT_S, "all know each other")
        figures["met"] = time.monotonic() - last
        figures["met datagrams"] = sum(each["datagrams"] for each in fleet.ask("spent"))
        figures["newcomers"] = [_newcomer(fleet) for _ in range(newcomers)]
        time.sleep(SETTLE_S)
        before = _spent(fleet)
        time.sleep(QUIET_S)
        after = _spent(fleet)
        passed_s = after[2] - before[2]
        figures["processor %"] = (after[0] - before[0]) / passed_s / NODES * 100.0
        figures["datagrams/s"] = (after[1] - before[1]) / passed_s
        figures["links"] = statistics.mean(fleet.ask("links"))
        figures["lost first"], figures["lost all"] = _killed(fleet)
    return figures


def _newcomer(fleet: Fleet) -> float:
    """Return the seconds from a newcomer's start until all others have told of it; then it leaves again."""
    crew = fleet.add(1)
    fleet.remove(crew)
    began = crew.ask("start")[0]
    name = crew.ask("ids")[0][:8]
    known = _until(lambda: _all_heard(fleet, "joined", name), KNOWN_LIMIT_S, "a newcomer is known to all")
    crew.end()
    _until(lambda: _all_heard(fleet, "left", name), KNOWN_LIMIT_S, "it has left")
    return max(known) - began


def _killed(fleet: Fleet) -> Tuple[float, float]:
    """Return the seconds until the first and the last of all have told that a killed node is lost."""
    crew = fleet.add(1)
    fleet.remove(crew)
    crew.ask("start")
    name = crew.ask("ids")[0][:8]
    _until(lambda: _all_heard(fleet, "joined", name), KNOWN_LIMIT_S, "it is known to all")
    # Long enough for its links to be there.
    time.sleep(3.0)
    began = time.monotonic()
    crew.kill()
    told = _until(lambda: _all_heard(fleet, "lost", name), LOST_LIMIT_S, "all miss it")
    return min(told) - began, max(told) - began


def _all_heard(fleet: Fleet, kind: str, name: str) -> Optional[List[float]]:
    told = fleet.ask("heard", [kind, name])
    return None if None in told else told


def _spent(fleet: Fleet) -> Tuple[float, float, float]:
    spent = fleet.ask("spent")
    return (sum(each["processor_s"] for each in spent), sum(each["datagrams"] for each in spent),
            statistics.mean(each["at"] for each in spent))


# ---- python-zeroconf's ----------------------------------------------------------------------------------------


class ZeroconfCrew:
    """Own one process of python-zeroconf's fleet."""

    def __init__(self, first: int, count: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", ZEROCONF, str(first), str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True)
        self._read()

    def ask(self, question: str, name: str = "") -> Any:
        """Ask, and return the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([question, name]) + "\n")
        self.process.stdin.flush()
        return json.loads(self._read())

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _read(self) -> str:
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], KNOWN_LIMIT_S)
        text = self.process.stdout.readline() if readable else ""
        if not text:
            raise AssertionError("python-zeroconf does not answer; multicast may be impossible on this loopback")
        return text


def _zeroconf_fleet(newcomers: int) -> Tuple[List[float], Optional[float]]:
    """Return the seconds until all know newcomers, and until a killed one is missed, None where it is not."""
    crews = [ZeroconfCrew(first, min(CREW_NODES, NODES - first)) for first in range(0, NODES, CREW_NODES)]
    came: List[float] = []
    try:
        for number in range(newcomers):
            crew = ZeroconfCrew(1000 + number, 1)
            try:
                began = crew.ask("register")
                name = f"node-{1000 + number}"
                known = _until(partial(_heard_there, crews, "found", name), KNOWN_LIMIT_S, name)
                came.append(max(known) - began)
            finally:
                killed_at = time.monotonic()
                crew.kill()
        told = _until(partial(_heard_there, crews, "lost", name), ZEROCONF_LOST_LIMIT_S, "")
    finally:
        for crew in crews:
            crew.kill()
    return came, max(told) - killed_at if told else None


def _heard_there(crews: List[ZeroconfCrew], what: str, name: str) -> Optional[List[float]]:
    told = [at for crew in crews for at in crew.ask(what, name)]
    return None if None in told else told


# ---- both -----------------------------------------------------------------------------------------------------


def _until(condition: Callable[[], Any], limit_s: float, what: str) -> Any:
    """Return the first true value; without one fail, or where nobody says `what` is waited for, return None."""
    until = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= until:
            if not what:
                return None
            raise AssertionError(f"{what}: not within {limit_s:.0f} s")
        time.sleep(POLL_S)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
