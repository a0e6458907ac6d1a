"""Whoever follows a task is told why no device takes it, once, and what to do, also where its node is lost."""

import io

import pytest

from discompute_lite.faces.console import Console
from discompute_lite.faces.task_commands import IDLE_LOOKS, _bring, _follow
from discompute_lite.model.errors import LinkClosed


class WaitingTask:
    """Answers as a node does of a task that waits, for some looks; then it is cancelled."""

    def __init__(self, looks, state="RUNNING", pending=3):
        self.looks, self.state, self.pending, self.done = looks, state, pending, 0

    def call(self, method, params, timeout_s=0.0):
        if method == "ExplainTask":
            return {"success": True, "message": "0 of 3 subtasks are done; 3 wait: there does not offer gpu"}
        if method == "GetTaskStatus":
            return {"subtasks": [], "completion_percentage": 0.0, "lite": {
                "counts": {"PENDING": self.pending, "COMPLETED": self.done}}}
        self.looks -= 1
        if self.looks < 0:
            raise KeyboardInterrupt
        return {"success": True, "state": self.state, "message": "0 of 3 subtasks are done", "parts": [], "printed": [],
                "next_index": 0, "next_printed": 0}


def said_of(task):
    said = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        _follow(task, Console(out=said, err=said), "abc")
    return said.getvalue()


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_why_nothing_happens_is_said_once(state):
    assert said_of(WaitingTask(IDLE_LOOKS - 1, state)) == ""
    assert said_of(WaitingTask(3 * IDLE_LOOKS, state)) == (
        "0 of 3 subtasks are done; 3 wait: there does not offer gpu; it goes on by itself, or: cancel abc\n")


def test_nothing_is_said_where_results_come_from_devices_that_are_not_known_here():
    class Copy(WaitingTask):
        def call(self, method, params, timeout_s=0.0):
            self.done += method == "GetTaskResult"
            return super().call(method, params, timeout_s)

    assert said_of(Copy(3 * IDLE_LOOKS)) == ""


class LostNode(WaitingTask):
    def call(self, method, params, timeout_s=0.0):
        raise LinkClosed("127.0.0.1:8080 closed the connection; look at what that node printed")


def test_who_follows_a_task_of_a_node_that_is_killed_is_told_how_it_goes_on():
    with pytest.raises(LinkClosed) as raised:
        _bring(LostNode(1), Console(out=io.StringIO(), err=io.StringIO()), "abc")
    assert raised.value.message == "the node was lost, and this task is kept; go on with: submit --resume abc"


def test_nothing_is_said_where_nothing_waits():
    assert said_of(WaitingTask(3 * IDLE_LOOKS, pending=0)) == ""
