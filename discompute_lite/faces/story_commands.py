"""Offer the commands that tell what happens to work: why, logs.

Knows:   how a node's reasons and what functions printed are shown.
Refuses: to find reasons (core/reasons.py does).
Read next: faces/task_commands.py (the other commands about work).
"""

from __future__ import annotations

from itertools import chain
from typing import Any, Dict, Iterator, List

from ..model.codec import from_json
from ..model.device import short_id
from ..model.errors import NotFound, SettingsError
from ..model.task import SubTask
from .command import JSON_FLAG, Context, argument, command
from .console import Console, printable
from .listing import halted_note
from .reach import Reach, following, reach_from
from .status_commands import FINAL_NAMES
from .task_commands import TASK, find_task, find_training

#: Seconds that one call of `logs --follow` waits for something new.
FOLLOW_WAIT_S = 5.0


@command(
    "why", argument("task", metavar="TASK[/SUBTASK]",
                    help="a task's id or a unique beginning of it, with /NUMBER for a subtask"),
    JSON_FLAG,
)
def why_command(context: Context) -> int:
    """Say why a task, or one subtask of it, waits, is where it is, or was tried again."""
    wanted, slash, number = context.arguments.task.partition("/")
    if slash and not (number.isascii() and number.isdigit() and len(number) <= 9):
        raise SettingsError(f"{number!r} is no subtask; write the task's id, a slash and a number from 0 on")
    with reach_from(context) as reach:
        training = None if slash else find_training(reach, wanted)
        if training is not None:
            task_id, note = training.training, f"a script leads this training; its last round: {training.text}"
        else:
            task = find_task(reach, wanted)
            # Where a node runs, that one knows more.
            task_id, note = task.task_id, halted_note(task, is_unattended=True)[1] if reach.local is not None else ""
        answer: Dict[str, Any] = {"success": True, "message": note} if note else reach.call(
            "ExplainTask", {"task_id": task_id, "index": int(number) if slash else -1})
    if not answer["success"]:
        raise NotFound(answer["message"])
    if context.console.is_json:
        context.console.json({"task_id": task_id, "why": answer["message"]})
    else:
        for line in answer["message"].splitlines():
            context.console.print(printable(line))
    return 0


@command("logs", TASK, JSON_FLAG, argument("--follow", action="store_true", help="go on until the task is over"))
def logs_command(context: Context) -> int:
    """Print what a task's functions printed so far, each line with its device."""
    console = context.console
    with reach_from(context) as reach:
        task_id = find_task(reach, context.arguments.task).task_id
        if context.arguments.follow:
            pages = _pages_of_printed(reach, task_id, is_following=True)
            with following(task_id):
                for entry in chain.from_iterable(map(_in_order, pages)):
                    _show_entry(console, task_id, entry)
            return 0
        found = _in_order([entry for page in _pages_of_printed(reach, task_id, is_following=False) for entry in page])
    if console.is_json:
        console.json({"task_id": task_id, "printed": found})
        return 0
    for entry in found:
        _show_entry(console, task_id, entry)
    if not found:
        console.note("nothing was printed so far")
    return 0


def _show_entry(console: Console, task_id: str, entry: Dict[str, Any]) -> None:
    if console.is_json:
        console.json({"task_id": task_id, **entry})
        return
    for line in entry["text"].splitlines():
        console.print(f"[{short_id(entry['device_id'])}] {printable(line)}")


def _in_order(entries: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Return what split printed before what subtasks did, and what merge printed last."""
    return sorted(entries, key=lambda entry: {"split": 0, "merge": 2}.get(entry["phase"], 1))


def _pages_of_printed(reach: Reach, task_id: str, *, is_following: bool) -> Iterator[List[Dict[str, Any]]]:
    """Give what was printed page by page: of subtasks in their order, and of attempts that failed; then, where it is
    followed, what is printed until the task is over."""
    next_index = next_printed = 0
    while True:
        answer = reach.call("GetTaskResult", {
            "task_id": task_id, "from_index": next_index, "from_printed": next_printed,
            "wait_s": FOLLOW_WAIT_S if is_following else 0.0,
        })
        if not answer["success"]:
            raise NotFound(answer["message"])
        parts = [from_json(SubTask, part) for part in answer["parts"]]
        printed = [
            {"phase": "run", "device_id": part.assigned_device_id, "text": part.lite["output"]}
            for part in parts if part.lite.get("output")
        ]
        yield printed + answer["printed"]
        next_index, next_printed = answer["next_index"], answer["next_printed"]
        if not parts and not answer["printed"] and (not is_following or answer["state"] in FINAL_NAMES):
            return
