"""Play the demo: three nodes, a real job, one of them killed, the right answer.

Knows:   how to start nodes as processes of their own, pair them, watch them, kill one, and check what comes out.
Refuses: to pretend: discovery, pairing, work, loss and recovery are the real ones, and the answer is compared
         with one process's.
Read next: tasks/builtin.py (the job), roles/coordinator.py (the recovery).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import threading
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional

from ..model.codec import from_json
from ..model.device import short_id
from ..model.errors import TaskFailed, Unavailable
from ..net.client import Client
from ..run import relaunch_command
from ..tasks.types import run_locally
from ..tasks.values import dump_value, load_value
from .console import Console

NODES = 3
#: Pieces of the job: small enough that a lost one costs little, large enough to watch.
PIECES = 36
#: The node is killed when so much of the job is done.
KILL_AT = 0.4
#: Seconds between two looks at the job: less than a piece takes, or a fast machine's would be over unseen.
GLANCE_S = 0.02
#: Seconds for each step before the demo gives up.
START_S, PAIR_S, MEET_S, JOB_S, STOP_S = 20.0, 15.0, 15.0, 120.0, 5.0


@contextmanager
def held_signals() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back: a process that is just being started would belong to nobody."""
    came: List[int] = []
    before: Dict[int, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            before[number] = signal.signal(number, lambda held, _: came.append(held))
        except ValueError:
            pass  # Not the main thread, which is the one that signals disturb.
    try:
        yield
    finally:
        for held, previous in before.items():
            signal.signal(held, previous)
    if came:
        raise KeyboardInterrupt


class DemoNode:
    """Own one node's process."""

    def __init__(self, name: str, folder: str, environ: Dict[str, str]) -> None:
        import subprocess  # Absent in some app Pythons.

        self.name = name
        self._state = os.path.join(folder, name)
        settings = os.path.join(folder, "settings.yaml")
        self.process = subprocess.Popen(
            relaunch_command("faces.cli:main", is_isolated=False) + [
                "start", "--json", "--name", name, "--slots", "1", "--bind", "127.0.0.1", "--state-dir",
                self._state,
                "--config", settings,
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environ, text=True, encoding="utf-8",
        )
        self.id = ""
        self.port = 0
        self.client: Optional[Client] = None

    def wait_ready(self) -> None:
        """Wait for its first line, then open a client that is its owner."""
        assert self.process.stdout is not None
        # One that says nothing is ended, which ends its line too.
        late = threading.Timer(START_S, self.process.kill)
        late.daemon = True
        late.start()
        line = self.process.stdout.readline()
        late.cancel()
        if not line:
            raise Unavailable(f"{self.name} did not start; run it by hand to see why: python3 -m discompute_lite start")
        ready = json.loads(line)
        self.id, self.port = ready["device"]["id"], ready["port"]
        with open(os.path.join(self._state, "control.token"), encoding="ascii") as file:
            self.client = Client(f"127.0.0.1:{self.port}", token=file.read().strip())

    def call(self, method: str, params: Any, timeout_s: float = 15.0) -> Any:
        """Call the node as its owner."""
        assert self.client is not None
        return self.client.call(method, params, timeout_s=timeout_s)

    def kill(self) -> None:
        """End it without a word, as a power cut would."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """End it politely."""
        if self.client is not None:
            self.client.close()
        if self.process.poll() is None:
            import subprocess

            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()


class DemoStage:
    """Play the demo and leave nothing behind."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._folder = tempfile.mkdtemp(prefix="discompute-demo-")
        self._nodes: List[DemoNode] = []
        #: The node that was killed, "" while none is.
        self._killed = ""
        self._is_concluding = False

    def play(self, params: Dict[str, Any]) -> Dict[str, Any]:
        """Run all steps; return the facts that were shown."""
        self._say("One process alone: classifying handwritten digits by their nearest neighbours …")
        began = time.perf_counter()
        expected = run_locally("digits", params)
        alone_s = time.perf_counter() - began
        self._say(f"  {expected['accuracy']:.2%} right of {expected['total']} images, in {alone_s:.1f} s", "good")
        self._start_nodes()
        paired_s = self._pair_nodes()
        job_s, value, story = self._run_job(params)
        facts = self._conclude(value, expected, job_s, alone_s, story)
        facts.update(images=expected["total"], paired_s=round(paired_s, 3))
        return facts

    def clear(self) -> None:
        """End the nodes that still run and remove their folder."""
        for node in self._nodes:
            node.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start_nodes(self) -> None:
        # The user's own settings and nodes must not take part: an empty file, folders and a cluster of our own.
        with open(os.path.join(self._folder, "settings.yaml"), "w", encoding="utf-8") as file:
            file.write("# the demo's nodes use the defaults\n")
        environ = {key: value for key, value in os.environ.items() if not key.startswith("DISCOMPUTE_")}
        environ.update(TMPDIR=self._folder, TEMP=self._folder)
        self._say(f"Starting {NODES} nodes on this machine …")
        began = time.perf_counter()
        for number in range(1, NODES + 1):
            with held_signals():
                self._nodes.append(DemoNode(f"node-{number}", self._folder, environ))
        for node in self._nodes:
            node.wait_ready()
        for node in self._nodes:
            self._say(f"  {node.name} is {short_id(node.id)} at 127.0.0.1:{node.port}")
        self._say(f"  ready in {time.perf_counter() - began:.2f} s", "good")

    def _pair_nodes(self) -> float:
        """Do what `invite --token --yes` at the first node and `join LINK` at the others do; return the seconds."""
        first, *others = self._nodes
        self._say(f"Pairing them: {first.name} makes a cluster, the others join it by its link …")
        began = time.perf_counter()
        terms = {"with_token": True, "asks_nobody": True, "joins": len(others)}
        invitation = first.call("Invite", terms)
        for node in others:
            node.call("Join", {"words": invitation["link"]}, timeout_s=PAIR_S)
        paired_s = time.perf_counter() - began
        self._wait(MEET_S, self._have_met, "the nodes did not find one another; is the loopback interface up?")
        met_s = time.perf_counter() - began - paired_s
        self._say(f"  paired in {paired_s:.2f} s, all known to one another {met_s:.2f} s later; every link between them"
                  " is encrypted", "good")
        return paired_s

    def _have_met(self) -> bool:
        """Whether each knows what the others can do, from themselves, by their certificates."""
        for node in self._nodes:
            devices = {item["id"]: item for item in node.call("GetDevices", {})["devices"]}
            for other in self._nodes:
                device = devices.get(other.id, {"lite": {}})
                is_known = node is other or device["lite"].get("verified")
                if not is_known or device["status"] != "AVAILABLE" or not device["lite"].get("slots"):
                    return False
        return True

    def _run_job(self, params: Dict[str, Any]) -> Any:
        first, victim = self._nodes[0], self._nodes[-1]
        self._say(f"The same job over all of them; {victim.name} is killed halfway …")
        task = {"task_type": "digits", "task_data": dump_value(params), "metadata": {"name": "digits"}}
        began = time.perf_counter()
        answer = first.call("SubmitTask", {"task": task, "target_subtasks": PIECES}, timeout_s=JOB_S)
        if not answer["success"]:
            raise TaskFailed(answer["message"])
        task_id = answer["task_id"]
        deadline = time.monotonic() + JOB_S
        while time.monotonic() < deadline:
            status = first.call("GetTaskStatus", {"task_id": task_id})
            share = status["completion_percentage"] / 100
            self._console.progress(share, f"{status['task']['lite']['state'].lower()}")
            working = any(
                item["status"] == "RUNNING" and item["assigned_device_id"] == victim.id for item in status["subtasks"]
            )
            if not self._killed and share >= KILL_AT and working:
                victim.kill()
                self._killed = victim.name
                self._say(f"  {victim.name} killed with {share:.0%} done, in the middle of its work", "warn")
            if status["task"]["lite"]["state"] not in ("PENDING", "RUNNING"):
                break
            time.sleep(GLANCE_S)
        result = first.call("GetTaskResult", {"task_id": task_id})
        job_s = time.perf_counter() - began
        if result["state"] != "COMPLETED":
            raise TaskFailed(f"the job did not end well: {result['message'] or result['state']}")
        status = first.call("GetTaskStatus", {"task_id": task_id})
        return job_s, load_value(from_json(bytes, result["result_data"])), status

    def _conclude(
        self, value: Any, expected: Any, job_s: float, alone_s: float, status: Dict[str, Any]
    ) -> Dict[str, Any]:
        names = {node.id: node.name for node in self._nodes}
        done = {names.get(device_id, device_id): count for device_id, count in status["lite"]["devices"].items()}
        self._is_concluding = True
        if not self._killed:
            self._say(f"The job was over before {self._nodes[-1].name} could be killed.", "warn")
        self._say("Who did what:")
        for name in sorted(done):
            self._say(f"  {name}: {done[name]} of {len(status['subtasks'])} pieces")
        recovered = [line for line in status["lite"]["story"] if "lost" in line or "again" in line or "retr" in line]
        for line in recovered[:4]:
            for device_id, name in names.items():
                line = line.replace(short_id(device_id), name)
            self._say(f"  {line.strip()}", "quiet")
        equal = value == expected
        self._say(f"{value['accuracy']:.2%} right of {value['total']} images in {job_s:.1f} s:"
                  f" {alone_s / job_s:.2f} times as fast as one process", "good")
        self._say("The answer equals that of one process." if equal else "THE ANSWER DIFFERS from that of one process.",
                  "good" if equal else "bad")
        return {
            "equal": equal, "accuracy": value["accuracy"], "pieces_by_node": done, "one_process_s": round(alone_s, 3),
            "job_s": round(job_s, 3), "speed_up": round(alone_s / job_s, 2), "killed": self._killed,
        }

    def _wait(self, limit_s: float, condition: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                raise Unavailable(complaint)
            time.sleep(0.02)

    def _say(self, text: str, style: str = "") -> None:
        if not self._console.is_json and (self._is_concluding or not self._console.is_quiet):
            self._console.print(text, style)
