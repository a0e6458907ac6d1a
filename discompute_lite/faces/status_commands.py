"""Offer the commands that show how far work is: status, tasks.

Knows:   that a terminal is drawn over in place, and that a pipe gets one line for each change.
Refuses: to ask again and again: the node tells when there is something new (net/event_client.py).
Read next: faces/listing.py (how a task is written), faces/story_commands.py.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List

from ..model.codec import from_json, to_json
from ..model.errors import NotFound, SettingsError
from ..model.task import FINAL_STATES, ComputeTask
from ..model.told_round import ToldRound
from ..net.event_client import EventClient
from .command import JSON_FLAG, Context, argument, command
from .console import Console, printable
from .listing import clock_time, first_figures, halted_note, status_lines, task_lines
from .reach import Reach, reach_from
from .task_commands import find_task, find_training

#: Seconds between two pictures at least, and at most: the expected end comes nearer without any event.
PICTURE_LEAST_S, PICTURE_MOST_S = 0.1, 1.0
#: Lines of a task's story below its status.
STORY_LINES = 10
#: What is new of a task, or a training, for whoever reads lines.
TOLD_EVENTS = ("task", "progress", "round", "skipped")
WATCH = argument("--watch", action="store_true",
                 help="keep showing: in place on a terminal, else a line for each change")
FINAL_NAMES = tuple(state.value for state in FINAL_STATES)


@command(
    "status",
    argument("task", metavar="TASK", nargs="?", help="a task's id, or a training's name (default: all)"),
    JSON_FLAG, WATCH,
)
def status_command(context: Context) -> int:
    """Show how far a task is: percentage, subtasks, devices, expected end."""
    if context.arguments.task is None:
        return tasks_command(context)
    console = context.console
    with reach_from(context) as reach:
        training = find_training(reach, context.arguments.task)
        if training is not None:
            if context.arguments.watch:
                raise SettingsError("status looks at a training once; watch it with: tasks --watch")
            _show_training(console, training)
            return 0
        task_id = find_task(reach, context.arguments.task).task_id

        def show() -> bool:
            answer = reach.call("GetTaskStatus", {"task_id": task_id})
            if not answer["success"]:
                raise NotFound(answer["lite"].get("message", "the task is not known any more"))
            _show_status(console, answer, watched=context.arguments.watch, is_unattended=_is_unattended(reach, context))
            return answer["task"]["lite"]["state"] not in FINAL_NAMES

        _show_on(reach, context, task_id, show)
    return 0


@command("tasks", JSON_FLAG, WATCH)
def tasks_command(context: Context) -> int:
    """List the tasks of this machine's node, the newest first."""
    console = context.console
    with reach_from(context) as reach:

        def show() -> bool:
            answer = reach.call("ListTasks", {})
            _show_tasks(console, answer, watched=context.arguments.watch, is_unattended=_is_unattended(reach, context))
            return True

        _show_on(reach, context, "", show)
    return 0


def _is_unattended(reach: Reach, context: Context) -> bool:
    """Whether what is under way ends with this command, as far as anybody here knows."""
    return reach.local is not None and not context.arguments.watch


def _show_on(reach: Reach, context: Context, task_id: str, show: Callable[[], bool]) -> None:
    """Show once, or with --watch after everything that happens, as long as `show` says that more may come."""
    if not context.arguments.watch:
        show()
        return
    console = context.console
    # Listening begins before the first look: nothing falls in between.
    with reach.events(task_id) as events:
        goes_on = show()
        while goes_on:
            news = _next_news(events, console)
            if console.is_live or console.is_json:
                goes_on = show()
                continue
            for event in news:
                console.print(f"{clock_time()}  {printable(event['text'])}")
            if task_id and any(event.get("state") in FINAL_NAMES for event in news):
                goes_on = show()


def _next_news(events: EventClient, console: Console) -> List[Any]:
    """Return what happened next to tasks; on a terminal nothing, after a while, as a picture ages too."""
    while True:
        news = [event for event in events.wait(PICTURE_MOST_S) if event["event"] in (*TOLD_EVENTS, "placed")]
        if console.is_live or console.is_json:
            if news or console.is_live:
                time.sleep(PICTURE_LEAST_S)
                return news
        elif news:
            return [event for event in news if event["event"] in TOLD_EVENTS]


def _show_status(console: Console, answer: Any, *, watched: bool, is_unattended: bool) -> None:
    if console.is_json:
        console.json({**answer, "task": _with_note(answer["task"], is_unattended)})
        return
    lines = status_lines(answer, time.time(), is_unattended=is_unattended)
    story = [f"  {printable(line)}" for line in answer["lite"].get("story", [])[-STORY_LINES:]]
    if watched and console.is_live:
        console.redraw([*lines, *story])
        return
    console.print(lines[0], "strong")
    if watched:
        return  # Whoever reads lines gets one for each change.
    for line in lines[1:]:
        console.print(line)
    for line in story:
        console.print(line, "quiet")


def _show_training(console: Console, told: ToldRound) -> None:
    """Show the last round of a training, on a terminal in one line."""
    if console.is_json:
        console.json({"training": to_json(told)})
        return
    text = printable(told.text)
    console.print(first_figures(text, console.width) if console.is_live or console.is_in_app else text)


def _with_note(task: Dict[str, Any], is_unattended: bool) -> Dict[str, Any]:
    """Return a task's document, with what there is to say of one that nobody works on as `lite.note`."""
    _, note = halted_note(from_json(ComputeTask, task), is_unattended=is_unattended)
    return {**task, "lite": {**task["lite"], "note": note}} if note else task


def _show_tasks(console: Console, answer: Any, *, watched: bool, is_unattended: bool) -> None:
    if console.is_json:
        console.json({**answer, "tasks": [_with_note(task, is_unattended) for task in answer["tasks"]]})
        return
    # Trainings, which scripts lead by this node: a line as `train` prints it.
    lines = [printable(training["text"]) for training in answer.get("trainings", ())]
    lines += [line for item in answer["tasks"]
              for line in task_lines(from_json(ComputeTask, item), is_unattended=is_unattended)]
    if watched and console.is_live:
        console.redraw(lines or ["no tasks yet; submit FILE.py starts one"])
        return
    for line in lines:
        console.print(line)
    if not lines:
        console.note("no tasks; submit FILE.py starts one")
