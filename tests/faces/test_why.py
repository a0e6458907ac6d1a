"""`why` asks the node that runs here, which knows more than what it tells of a task at any time."""

from __future__ import annotations

import io
from contextlib import contextmanager

import pytest

from discompute_lite.faces import story_commands
from discompute_lite.faces.command import Context
from discompute_lite.faces.command_line import CommandLine
from discompute_lite.faces.console import Console

#: A task as a keeper tells of it whose owner is gone.
LOST = {"task_id": "abcdef012345", "task_type": "job",
        "lite": {"state": "RUNNING", "owner_id": "b" * 52, "owner_lost_at": 1000}}
RESTS = "it rests, as a rule keeps work of bbbbbbbb from here"


class ToldReach:
    """Be a node that keeps the copy of a task; `local` where it is the command's own."""

    def __init__(self, local):
        self.local = local

    def call(self, method, params):
        return {"ListTasks": {"tasks": [LOST]}, "ExplainTask": {"success": True, "message": RESTS}}[method]


@pytest.mark.parametrize("local, says", [(None, RESTS), (object(), "submit --resume abcdef012345")])
def test_why_asks_the_node_that_runs_here_what_a_task_waits_for_whose_own_is_gone(monkeypatch, local, says):
    @contextmanager
    def reach(context):
        yield ToldReach(local)

    monkeypatch.setattr(story_commands, "reach_from", reach)
    out = io.StringIO()
    words = CommandLine(["why"]).parse(["why", "abc"])
    assert story_commands.why_command(Context(None, words, Console(out=out, err=io.StringIO()))) == 0
    assert says in out.getvalue() and "in a moment" not in out.getvalue()
