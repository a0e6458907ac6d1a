"""Say what a phone's screen shows of its node, and do what its switch and buttons ask for.

Knows:   the facts and the lines of the screen, forty columns wide; the owner's calls behind each control.
Refuses: widgets (faces/pythonista.py has those), and to wait on the thread that draws: each of these may block.
Read next: faces/pythonista.py, roles/owner_methods.py (what is called).
"""

from __future__ import annotations

import textwrap
from collections import deque
from queue import Empty, SimpleQueue
from typing import Any, Deque, Dict, List, NamedTuple, Optional, Tuple

from ..model.device import short_id
from ..model.settings import Settings
from ..net.client import Client
from ..run import LocalNode
from .console import APP_WIDTH, printable
from .listing import clock_time

#: What happened lately, as far back as the screen shows.
NEWS_KEPT = 12
#: Seconds of joining: a person over there has to look up.
JOINING_FROM_SCREEN_S = 330.0
#: Seconds of calling an address: a dial and Hello, each of which may take its time.
MEETING_FROM_SCREEN_S = 20.0
#: What `accept` becomes when the switch is put on again and nobody knows what it was: each sender is asked about.
ACCEPT_AGAIN, ACCEPT_NOTHING = "ask", "nobody"


class DeviceRow(NamedTuple):
    """Describe one other device: its name, whether it can be given work, and how fast it measured itself."""

    name: str
    status: str
    #: Plain Python relative to the reference machine; 0.0 where it was not measured.
    speed: float


class TaskRow(NamedTuple):
    """Describe one task: its name, its state, and how much is done, 0 to 100."""

    name: str
    state: str
    percent: float


class ScreenFacts(NamedTuple):
    """Hold everything that the screen shows."""

    name: str
    address: str
    #: What the cluster is called, "" while this device is alone.
    cluster: str
    #: 0 to 1, below 0 where it is not known; and whether outside power comes in.
    battery: float
    is_charging: bool
    #: Why it takes less work than it could, "" where it does not.
    reason: str
    is_accepting: bool
    devices: Tuple[DeviceRow, ...]
    tasks: Tuple[TaskRow, ...]
    news: Tuple[str, ...]


class PhoneNode:
    """Run one node in threads of its own for a screen."""

    def __init__(self, settings: Settings) -> None:
        self._news: Deque[str] = deque(maxlen=NEWS_KEPT)
        self._local = LocalNode(settings, tell=self._heard)
        self._client: Any = None
        self._thread: Any = None
        self._accept_before = ACCEPT_AGAIN
        self._is_inviting = False
        #: Senders whose work waits for this person's word, with the question.
        self._questions: SimpleQueue[Tuple[str, str]] = SimpleQueue()

    def start(self) -> None:
        """Start it, in place of one that ran in this app before; raise what `LocalNode.start` raises."""
        self._local.start(takes_over=True)
        self._thread = self._local.run_in_thread()
        self._client = Client(f"127.0.0.1:{self._local.control_port}", token=self._local.node.identity.token)

    def facts(self) -> ScreenFacts:
        """Ask the node for what the screen shows."""
        if self._is_inviting:
            # An invitation lives as long as somebody looks at it.
            self._is_inviting = self._call("WatchInvite")["is_open"]
        own, *others = self._call("GetDevices")["devices"]
        accept = self._call("GetPolicy")["policy"]["everybody"]["accept"]
        tasks = self._call("ListTasks")["tasks"]
        return ScreenFacts(
            printable(own["name"]), own["address"], self._call("ListMembers")["cluster"],
            own["capabilities"]["battery_level"], own["capabilities"]["is_charging"], own["lite"].get("reason", ""),
            accept != ACCEPT_NOTHING, tuple(map(_device_row, others)), tuple(map(_task_row, tasks)), tuple(self._news),
        )

    def set_accepting(self, is_accepting: bool) -> None:
        """Take work as before, or none at all."""
        policy = self._call("GetPolicy")["policy"]
        rule = policy["everybody"]
        if not is_accepting and rule["accept"] != ACCEPT_NOTHING:
            self._accept_before = rule["accept"]
        rule["accept"] = self._accept_before if is_accepting else ACCEPT_NOTHING
        self._call("SetPolicy", {"policy": policy})

    def invite(self) -> str:
        """Let one device in that knows the code, which this screen alone shows; return the sentence with it."""
        opened = self._call("Invite", {"asks_nobody": True})
        self._is_inviting = True
        code = opened["code"].replace(" ", "")
        return f"On the other device: join {code}; where that does not find this one: join {code}@{opened['address']}"

    def join(self, words: str) -> str:
        """Join the cluster of whoever shows this code or link; return what came of it."""
        answer = self._call("Join", {"words": words}, JOINING_FROM_SCREEN_S)
        if not answer["success"]:
            return str(answer["message"])
        return f"This device belongs to cluster {answer['cluster']} now."

    def meet(self, address: str) -> str:
        """Call a device at an address that a person typed, now and until it answers; return what came of it."""
        met, = self._call("Meet", {"addresses": [address]}, MEETING_FROM_SCREEN_S)["met"]
        if not met["device_id"]:
            return f"Nobody answers there yet, it is called again and again: {met['message']}"
        names = {device["id"]: device["name"] for device in self._call("GetDevices")["devices"]}
        return f"{printable(names.get(met['device_id'], short_id(met['device_id'])))} answers there."

    def next_question(self) -> Optional[Tuple[str, str]]:
        """Return (sender, question) of a device whose work waits for this person's word; None where there is none."""
        try:
            return self._questions.get_nowait()
        except Empty:
            return None

    def approve(self, sender: str) -> None:
        """Let this device's work run here from now on."""
        policy = self._call("GetPolicy")["policy"]
        policy["approved_senders"].append(sender)
        self._call("SetPolicy", {"policy": policy})

    def stop(self) -> None:
        """Say goodbye and end."""
        if self._client is not None:
            self._client.close()
        self._local.stop()
        if self._thread is not None:
            self._thread.join()
        self._local.close()

    def _call(self, method: str, params: Any = None, timeout_s: float = 15.0) -> Any:
        return self._client.call(method, params or {}, timeout_s=timeout_s)

    def _heard(self, kind: str, text: str, **facts: Any) -> None:
        if kind == "question" and facts.get("sender"):
            self._questions.put((facts["sender"], printable(text)))
        else:
            self._news.append(f"{clock_time()} {printable(text)}")


def _device_row(device: Dict[str, Any]) -> DeviceRow:
    measured = device["lite"].get("measured") or {}
    return DeviceRow(printable(device["name"]), device["status"].lower(), float(measured.get("score", 0.0)))


def _task_row(task: Dict[str, Any]) -> TaskRow:
    lite = task.get("lite") or {}
    name = (task.get("metadata") or {}).get("name") or short_id(task["task_id"])
    return TaskRow(printable(name), str(lite.get("state", "")).lower(), float(lite.get("percentage", 0.0)))


def screen_lines(facts: ScreenFacts) -> List[str]:
    """Return the lines of the screen, none wider than a phone that is held upright."""
    state = f"cluster {facts.cluster}" if facts.cluster else "alone: call a device, join or let in"
    lines = [facts.name, facts.address, state, _battery_text(facts)]
    lines += [facts.reason] if facts.reason else []
    lines += _section("Devices", [
        f"{each.name}: {each.status}" + (f", {each.speed:.1f} x" if each.speed else "") for each in facts.devices
    ], "no other device yet")
    lines += _section("Tasks", [f"{each.name}: {each.state} {each.percent:.0f} %" for each in facts.tasks], "none")
    lines += _section("News", list(facts.news), "nothing yet")
    return [part for line in lines for part in textwrap.wrap(
        line, APP_WIDTH, subsequent_indent="    ", break_on_hyphens=False) or [""]]


def _battery_text(facts: ScreenFacts) -> str:
    if facts.battery < 0:
        return "battery: not known"
    return f"battery: {facts.battery:.0%}{', charging' if facts.is_charging else ''}"


def _section(title: str, rows: List[str], nothing: str) -> List[str]:
    return ["", title, *(f"  {row}" for row in rows or [nothing])]

