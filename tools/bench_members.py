"""Measure what needs whole nodes, for `python3 tools/bench.py security`: links that are kept, a restart full of tasks.

Both nodes of the first figure run in this process, paired as people pair theirs; everything stays on 127.0.0.1.
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

from bench_tasks import line  # noqa: E402

from discompute_lite.core.journal import JournalWriter, ResultKept, TaskAccepted, TaskDivided  # noqa: E402
from discompute_lite.model.task import ComputeTask  # noqa: E402
from discompute_lite.net.client import Client  # noqa: E402
from discompute_lite.roles.durability import journal_name  # noqa: E402
from discompute_lite.run import LocalNode, read_settings  # noqa: E402
from discompute_lite.tasks.values import dump_value  # noqa: E402

PIECES, TASKS_KEPT = 500, 10_000
PATIENCE_S = 60.0


def bench_members(rounds: int) -> List[Dict[str, Any]]:
    """Return the figures."""
    return [_reuse(), _restart(rounds)]


class Counted:
    """Run a node in a thread of its own, and count the connections that it opens and the calls that it gets."""

    def __init__(self, folder: str, name: str, peers: str = "") -> None:
        environ = {
            "DISCOMPUTE_BIND": "127.0.0.1", "DISCOMPUTE_PORT": "0", "DISCOMPUTE_DISCOVERY": "peers",
            "DISCOMPUTE_STATE_DIR": f"{folder}/{name}", "DISCOMPUTE_PEERS": peers, "DISCOMPUTE_SLOTS": "1",
        }
        self.local = LocalNode(read_settings({}, environ))
        self.local.start()
        self.opened = self.calls = 0
        node = self.local.node
        open_, call_received = node.dialler.open, node.call_received

        def opened(*words: Any) -> None:
            self.opened += 1
            open_(*words)

        def called(link: Any, call: Any) -> None:
            self.calls += bool(link.verified_id)
            call_received(link, call)

        node.dialler.open, node.call_received = opened, called  # type: ignore[method-assign]
        self.thread = self.local.run_in_thread()
        self.client = Client(f"127.0.0.1:{node.port}", token=self.local.state.control_token())

    def call(self, method: str, **params: Any) -> Any:
        """Make a call as its owner."""
        return self.client.call(method, params, timeout_s=PATIENCE_S)

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.local.stop()
        self.thread.join(PATIENCE_S)


def _reuse() -> Dict[str, Any]:
    """Have one member do a task of the other, piece by piece, and count the connections that both opened meanwhile."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="discompute-bench-"))
        first = stack.enter_context(Counted(folder, "first"))
        second = stack.enter_context(Counted(folder, "second", f"127.0.0.1:{first.local.node.port}"))
        link = first.call("Invite", with_token=True, asks_nobody=True, joins=1)["link"]
        second.call("Join", words=link)
        first.calls = second.calls = 0
        task = {"task_type": "echo", "task_data": dump_value({"parts": list(range(PIECES))}),
                "required_capabilities": [second.local.node.id]}
        task_id = first.call("SubmitTask", task=task)["task_id"]
        answer = {"state": "", "next_index": 0}
        while answer["state"] in ("", "PENDING", "RUNNING"):
            answer = first.call("GetTaskResult", task_id=task_id, wait_s=PATIENCE_S, from_index=answer["next_index"])
        assert answer["state"] == "COMPLETED", answer
        calls, opened = first.calls + second.calls, first.opened + second.opened
    return line("calls between members over a connection that was there, %", 100 * (1 - opened / calls),
                "at least 99", 99, True, f"{opened} connections, those of meeting included, for {calls} calls")


def _restart(rounds: int) -> Dict[str, Any]:
    """Start a node on a folder that holds the journals of many tasks under way."""
    with tempfile.TemporaryDirectory(prefix="discompute-bench-") as folder:
        journals = Path(folder, "node", "journals")
        journals.mkdir(parents=True)
        journals.parent.chmod(0o700)
        for number in range(TASKS_KEPT):
            task = ComputeTask(f"{number:012x}", "echo", dump_value({"parts": [1, 2]}), metadata={"name": "kept"})
            entries = (TaskAccepted(task, submitted_at=1e9, owner_id="a" * 52), TaskDivided([b"1", b"2"]),
                       ResultKept(0, "a" * 52, b"1", 5))
            (journals / f"{journal_name(task.task_id)}.journal").write_bytes(JournalWriter().lines(*entries))
        environ = {"DISCOMPUTE_BIND": "127.0.0.1", "DISCOMPUTE_PORT": "0", "DISCOMPUTE_DISCOVERY": "peers",
                   "DISCOMPUTE_STATE_DIR": f"{folder}/node"}

        def start_s() -> float:
            local = LocalNode(read_settings({}, environ))
            began = time.perf_counter()
            local.start()
            seconds = time.perf_counter() - began
            kept = len(local.node.coordinator.kept_records())
            local.close()
            assert kept == TASKS_KEPT, kept
            return seconds

        seconds = statistics.median(start_s() for _ in range(min(3, rounds)))
    return line(f"restart of a node with {TASKS_KEPT} tasks in its journals, s", seconds, "at most 1", 1, False,
                "all under way: from its journals to a schedule that has them all")
