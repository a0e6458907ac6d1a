"""Measure phones: how they join, work, sleep and rest, for `python3 tools/bench.py phone`.

A desktop node and the apps of tests/phone, which are as strict as the real ones, as processes of this machine. A phone
joins by the line that `share --invite` prints, as a person would paste it.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "phone")]

from apps import App  # noqa: E402
from bench_start import StartedNode, free_port  # noqa: E402
from bench_tasks import line  # noqa: E402

from discompute_lite import Cluster  # noqa: E402
from discompute_lite.run import read_settings  # noqa: E402

#: What the emulated phones are called in the list.
NAMES = {"pythonista": "iPhone 14", "pyto": "iPhone SE (2nd generation)"}
POLL_S, LIMIT_S = 0.01, 60.0
#: Seconds after which a phone has done what it does once, over which its idling is then measured, and how often: each
#: time all that it does now and then is done once.
SETTLED_S, IDLE_S, IDLE_WINDOWS = 15.0, 15.0, 5
#: The map with losses: pieces, seconds of sleep of each on a phone, and how much faster the desktop is.
PIECES, PIECE_S, DESKTOP_SPEED = 320, 0.25, 2
#: When one phone is suspended and the other stopped for good, and for how long the first sleeps.
SUSPENDED_AT_S, STOPPED_AT_S, SLEEP_S = 6.0, 8.0, 20.0


def spin(loops: int) -> int:
    """Keep a core busy; say on which process."""
    total = 0
    for number in range(loops):
        total += number * number % 7
    return os.getpid()


def rest(number: int, seconds: float, speeds: Dict[int, int]) -> Tuple[int, int]:
    """Work by sleeping, as long as suits the device: a phone's process, or the parent of a desktop's."""
    pid = os.getpid()
    time.sleep(seconds / speeds.get(pid, DESKTOP_SPEED))
    return number, pid


def bench_phone(rounds: int) -> List[Dict[str, Any]]:
    """Return the figures; those that take long are taken once."""
    joined, figures = [], []
    for _ in range(rounds):
        with PhoneField() as field:
            joined.append(field.join("pythonista")[1])
    figures.append(line("return pressed on the one-line installer until the desktop lists the phone, s",
                        sorted(joined)[len(joined) // 2], "within 5", 5, False, f"at most {max(joined):.2f} s"))
    with PhoneField() as field:
        phone, _ = field.join("pythonista")
        figures += [*_idle(phone), *_share(field, phone)]
    with PhoneField() as field:
        figures.append(_losses(field))
    return figures


class PhoneField:
    """Own a desktop node of one slot, with what it offers to phones, and the apps that are open."""

    def __enter__(self) -> PhoneField:
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="discompute-bench-")))
            self.meeting = {"DISCOMPUTE_BIND": "127.0.0.1", "DISCOMPUTE_DISCOVERY_PORT": str(free_port())}
            self.desktop = StartedNode(
                self._folder / "desktop", int(self.meeting["DISCOMPUTE_DISCOVERY_PORT"]), "--slots", "1")
            stack.callback(self.desktop.end, signal.SIGINT)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def join(self, profile: str) -> Tuple[App, float]:
        """Have a phone join by the line; return it, and the seconds until the desktop lists it as available."""
        state = {**os.environ, "DISCOMPUTE_STATE_DIR": str(self._folder / "desktop" / "state"), **self.meeting}
        command = [sys.executable, "-m", "discompute_lite", "share", "--invite", "--json"]
        share = subprocess.Popen(command, cwd=ROOT, env=state, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                 text=True)
        assert share.stdout is not None
        text = json.loads(share.stdout.readline())["line"]
        app = App(profile, self._folder / profile, lambda seconds: seconds, ROOT)
        self._stack.callback(app.close)
        app.do("look")
        began = time.perf_counter()
        app.do("run", name="line", text=text, argv=["untitled.py"], environ={**self.meeting, "DISCOMPUTE_PORT": "0"})
        try:
            _until(lambda: self.sees(NAMES[profile]), lambda: app.printed("line"))
            return app, time.perf_counter() - began
        finally:
            share.send_signal(signal.SIGINT)
            share.communicate()

    def sees(self, name: str) -> bool:
        """Whether the desktop lists a device of this name as available."""
        devices = self.desktop.client.call("GetDevices", {})["devices"]
        return any(device["name"] == name and device["status"] == "AVAILABLE" for device in devices)

    def cluster(self) -> Cluster:
        """Return what a script on the desktop has."""
        return Cluster(config=read_settings({}, {
            "DISCOMPUTE_STATE_DIR": str(self._folder / "desktop" / "state"), **self.meeting}))


def _until(condition: Callable[[], bool], story: Callable[[], str]) -> None:
    began = time.perf_counter()
    while not condition():
        assert time.perf_counter() - began < LIMIT_S, f"it never happened:\n{story()}"
        time.sleep(POLL_S)


def _idle(phone: App) -> List[Dict[str, Any]]:
    time.sleep(SETTLED_S)
    shares = [_processor_share(phone) for _ in range(IDLE_WINDOWS)]
    return [
        line("processor of an idle phone, % of a core", statistics.median(shares), "under 0.5", 0.5, False,
             f"the middle of {IDLE_WINDOWS} times {IDLE_S:.0f} s, {min(shares):.2f} to {max(shares):.2f} %"),
        line("resident memory of an idle phone, MB", phone.look()["resident_kb"] / 1000, "under 40", 40, False,
             "of the emulated app as a whole, joined by the line"),
    ]


def _processor_share(phone: App) -> float:
    """Return what of a core a phone takes over `IDLE_S`, in per cent."""
    before, began = phone.look()["processor_s"], time.monotonic()
    time.sleep(IDLE_S)
    return (phone.look()["processor_s"] - before) / (time.monotonic() - began) * 100


def _share(field: PhoneField, phone: App) -> List[Dict[str, Any]]:
    """Measure what part of a map a phone takes, against what its speed is worth, and what the map gains."""
    loops, count = 20_000, 2_000
    with field.cluster() as cluster:
        alone = {}
        for name, requires in (("desktop", field.desktop.id), ("phone", "")):
            device = requires or next(each["id"] for each in field.desktop.client.call("GetDevices", {})["devices"]
                                      if each["name"] == NAMES["pythonista"])
            only = cluster.options(requires=[device])
            list(only.map(spin, [loops] * 50))
            began = time.perf_counter()
            list(only.map(spin, [loops] * (count // 4)))
            alone[name] = (count // 4) / (time.perf_counter() - began)
        began = time.perf_counter()
        pids = Counter(cluster.map(spin, [loops] * count))
        seconds = time.perf_counter() - began
    took, fair = pids[phone.process.pid] / count, alone["phone"] / sum(alone.values())
    detail = f"{took:.1%} of {count} calls; alone {alone['phone']:.0f}/s, the desktop {alone['desktop']:.0f}/s"
    return [
        line("what a phone takes of a map, in fair shares by measured speed", took / fair, "at least 0.85", 0.85, True,
             detail),
        line("that map, in the least time that both could take", seconds * sum(alone.values()) / count, "at most 1.2",
             1.2, False, f"{seconds:.2f} s"),
    ]


def _losses(field: PhoneField) -> Dict[str, Any]:
    """Map over a desktop and two phones, of which one sleeps a while, its sockets with it, and one for good."""
    sleeper, stopped = (field.join(profile)[0] for profile in ("pythonista", "pyto"))
    speeds = {sleeper.process.pid: 1, stopped.process.pid: 1}
    events = [(SUSPENDED_AT_S, sleeper.suspend), (STOPPED_AT_S, stopped.suspend),
              (SUSPENDED_AT_S + SLEEP_S, lambda: sleeper.resume(dead="silent"))]
    with field.cluster() as cluster:
        cluster.run_on_all(rest, 0, 0.0, speeds)
        began = time.perf_counter()
        futures = [cluster.options(pure=True).submit(rest, number, PIECE_S, speeds) for number in range(PIECES)]
        for when, happens in events:
            time.sleep(max(0.0, when - (time.perf_counter() - began)))
            happens()
        results = [future.result() for future in futures]
        seconds = time.perf_counter() - began
    assert [number for number, _ in results] == list(range(PIECES)), "results are wrong, missing or doubled"
    took = Counter(pid for _, pid in results)
    bound = least_s(PIECES * PIECE_S)
    return line("map over a desktop and two phones, one asleep for 20 s, one for good, in the least time",
                seconds / bound, "at most 1.3", 1.3, False, f"{seconds:.1f} s, at least {bound:.1f} s; the sleeper did"
                f" {took[sleeper.process.pid]} of {PIECES}, the other {took[stopped.process.pid]}")


def least_s(work: float) -> float:
    """Return the least seconds for so much work, with the devices that are there at each moment."""
    done, now = 0.0, 0.0
    step = 0.01
    while done < work:
        speed = DESKTOP_SPEED + (not SUSPENDED_AT_S <= now < SUSPENDED_AT_S + SLEEP_S) + (now < STOPPED_AT_S)
        done, now = done + speed * step, now + step
    return now
