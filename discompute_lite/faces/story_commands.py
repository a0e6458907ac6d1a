"""Offer the commands that tell what happens to work: why, logs.

Knows:   how a node's reasons and what functions printed are shown.
Refuses: to find reasons (core/reasons.py does).
Read next: faces/task_commands.py (the other commands about work).
"""

from __future__ import annotations

from typing import Any, Dict, List

from ..model.codec import from_json
from ..model.device import short_id
from ..model.errors import NotFound, SettingsError
from ..model.task import SubTask
from .command import JSON_FLAG, Context, argument, command
from .console import printable
from .reach import Reach
from .task_commands import TASK, find_task

#: What this module adds to the table of commands.
STORY_COMMANDS = ("why", "logs")


@command(
    "why", argument("task", metavar="TASK[/SUBTASK]", help="a task's id, or a unique beginning of it; and a number"),
    JSON_FLAG,
)
def why_command(context: Context) -> int:
    """Say why a task, or one subtask of it, waits, is where it is, or was tried again."""
    wanted, slash, number = context.arguments.task.partition("/")
    if slash and not (number.isascii() and number.isdigit() and len(number) <= 9):
        raise SettingsError(f"{number!r} is no subtask; write the task's id, a slash and a number from 0 on")
    with Reach(context.settings) as reach:
        task_id = find_task(reach, wanted).task_id
        answer = reach.call("ExplainTask", {"task_id": task_id, "index": int(number) if slash else -1})
    if not answer["success"]:
        raise NotFound(answer["message"])
    if context.console.is_json:
        context.console.json({"task_id": task_id, "why": answer["message"]})
    else:
        for line in answer["message"].splitlines():
            context.console.print(printable(line))
    return 0


@command("logs", TASK, JSON_FLAG)
def logs_command(context: Context) -> int:
    """Print what a task's functions printed so far, each line with its device."""
    with Reach(context.settings) as reach:
        task_id = find_task(reach, context.arguments.task).task_id
        found = _all_printed(reach, task_id)
    if context.console.is_json:
        context.console.json({"task_id": task_id, "printed": found})
        return 0
    for entry in found:
        for line in entry["text"].splitlines():
            context.console.print(f"[{short_id(entry['device_id'])}] {printable(line)}")
    if not found:
        context.console.note("nothing was printed so far")
    return 0


def _all_printed(reach: Reach, task_id: str) -> List[Dict[str, Any]]:
    """Return what split, the subtasks that are done, attempts that failed and merge printed, in this order."""
    found: List[Dict[str, Any]] = []
    beside: List[Dict[str, Any]] = []
    next_index = next_printed = 0
    while True:
        answer = reach.call(
            "GetTaskResult", {"task_id": task_id, "from_index": next_index, "from_printed": next_printed}
        )
        parts = [from_json(SubTask, part) for part in answer["parts"]]
        found += [
            {"phase": "run", "device_id": part.assigned_device_id, "text": part.lite["output"]}
            for part in parts if part.lite.get("output")
        ]
        beside += answer["printed"]
        next_index, next_printed = answer["next_index"], answer["next_printed"]
        if not parts and not answer["printed"]:
            first = [entry for entry in beside if entry["phase"] == "split"]
            return first + found + [entry for entry in beside if entry["phase"] != "split"]
