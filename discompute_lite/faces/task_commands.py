"""Offer the commands that give work and take results: submit, result, cancel.

Knows:   how a job file becomes a task, and how its progress and result are shown.
Refuses: to run anything itself; the node does.
Read next: tasks/jobs.py, faces/reach.py, faces/status_commands.py (how far it is).
"""

from __future__ import annotations

import json
import logging
import os
import pprint
import secrets
from typing import Any, Dict, List, Optional

from ..model.codec import from_json
from ..model.device import short_id
from ..model.errors import DiscomputeError, NotFound, SettingsError, TaskCancelled, TaskFailed, TaskRejected
from ..model.task import RETRIES_MOST, ComputeTask, SubTask, TaskState
from ..model.told_round import ToldRound
from ..tasks.jobs import job_arguments, job_task_data, parse_job
from ..tasks.types import TASK_TYPES
from ..tasks.values import dump_value, load_value
from .command import JSON_FLAG, Context, argument, command, whole_number
from .console import Console, printable
from .failures import with_place
from .misplaced import with_advice
from .reach import Reach, following, reach_from

#: Seconds that a node may take to have a task on its disk.
ACCEPT_S = 120.0
#: Seconds that one call waits for news of a task.
NEWS_S = 0.5
#: Looks, `NEWS_S` apart, at a task that nobody works on before that is said.
IDLE_LOOKS = 6
#: Task types that job files, `Cluster` and `map` are carried by; nobody submits them by name.
OWN_TYPES = ("job", "call", "calls")
JOB_ADVICE = "mend the job and submit it again"
TASK = argument("task", metavar="TASK", help="a task's id, or a unique beginning of it")


@command(
    "submit", argument("--detach", action="store_true", help="print the task's id and leave it with the running node"),
    argument("--max-devices", type=whole_number(1, 4096), default=0, metavar="N", help="use at most N devices"),
    argument("--subtasks", type=whole_number(1, 4096), default=0, metavar="N", help="split into about N pieces"),
    argument("--priority", type=whole_number(1, 10), default=5, metavar="1-10", help="higher goes first (default 5)"),
    argument("--requires", action="append", default=[], metavar="NAME",
             help="only devices that have this: gpu, cuda, metal, a type such as mac, or a device's id"),
    argument("--private", action="store_true",
             help="keep the task and its journal on the device that --requires names"),
    argument("--retries", type=whole_number(0, RETRIES_MOST), default=0, metavar="N",
             help="try a piece that raises N times more"),
    argument("--deadline", type=whole_number(1, 10**7), default=0, metavar="SECONDS", help="fail if it takes longer"),
    argument("--impure", action="store_true",
             help="never let two devices do one piece at the same time, as a job with pure = False says itself"),
    JSON_FLAG,
    argument("--resume", metavar="TASK", default="", help="go on with a task submitted before; show its result"),
    argument("file", metavar="FILE.py", nargs="?", default="", help="a job file, or the name of a built-in task type"),
    argument("args", metavar="ARG", nargs="...", help="the job's own arguments, such as --bound 1000"),
)
def submit_command(context: Context) -> int:
    """Run a job file over the devices; show progress, then its result."""
    arguments = context.arguments
    if arguments.resume:
        return _resume(context)
    if not arguments.file:
        raise SettingsError("FILE.py is missing; give a job file, or a task to go on with: submit --resume TASK")
    task = _task_of(arguments.file, arguments.args)
    task["priority"], task["required_capabilities"] = arguments.priority, arguments.requires
    task["lite"] = {"retries": arguments.retries, "deadline_s": arguments.deadline, **task.get("lite", {})}
    if arguments.impure:
        task["lite"]["pure"] = False
    # The id is made here, so that Ctrl-C can cancel the task before the node has answered.
    task_id = task["task_id"] = secrets.token_hex(6)
    with reach_from(context) as reach:
        if arguments.detach and reach.local is not None:
            raise SettingsError("--detach leaves the task with a running node, and none runs here; run start first")
        is_member = bool(reach.call("ListMembers", {})["cluster"])
        if is_member:
            reach.look_around(None)
        if arguments.private:
            task["metadata"] = {**task.get("metadata", {}), "private": "true"}
            task["required_capabilities"] = [_whole_id(reach, wanted) for wanted in arguments.requires]
        is_left = False
        try:
            _submit(reach, context.console, task, arguments)
            is_left = bool(arguments.detach)
            if not arguments.detach and not context.console.is_json:
                if not is_member:
                    context.console.note("alone: only this machine works on it; pair it to use others: invite, join")
                context.console.note(f"task {task_id}; after a crash go on with: submit --resume {task_id}")
            if arguments.detach:
                if context.console.is_json:
                    context.console.json({"task_id": task_id})
                else:
                    context.console.print(task_id)
                return 0
            _bring(reach, context.console, task_id)
        except (KeyboardInterrupt, BrokenPipeError):
            if not is_left:
                _cancel_quietly(reach, task_id)
            raise
    return 0


def _whole_id(reach: Reach, wanted: str) -> str:
    """Return the id of the one device that is meant by its name or its id's beginning; other words stay as they are."""
    meant = [device.id for device in reach.devices() if wanted in (device.name, short_id(device.id))]
    return meant[0] if len(meant) == 1 else wanted


def _resume(context: Context) -> int:
    """Go on with a task that was submitted before, wherever it was interrupted."""
    arguments = context.arguments
    if arguments.file or arguments.detach:
        raise SettingsError("--resume stands alone: the task has its file and arguments already; leave out the rest")
    with reach_from(context) as reach:
        task_id = find_task(reach, arguments.resume).task_id
        _bring(reach, context.console, task_id)
    return 0


def _bring(reach: Reach, console: Console, task_id: str) -> None:
    """Show a task's result when it is there, then let the node delete it."""
    try:
        with following(task_id):
            value = _follow(reach, console, task_id)
        _show_value(console, task_id, value)
    except (TaskFailed, TaskCancelled):
        # That was its result; where it only ended with its node, its journal is out of reach and stays.
        _acknowledge_quietly(reach, task_id)
        raise
    _acknowledge_quietly(reach, task_id)


def _acknowledge_quietly(reach: Reach, task_id: str) -> None:
    """Say that the result is here; a node that cannot be told keeps it for its time, which harms nobody."""
    try:
        reach.call("AcknowledgeResult", {"task_id": task_id})
    except DiscomputeError as error:
        logging.getLogger("discompute").info("the result could not be acknowledged: %s", error.message)


def _submit(reach: Reach, console: Console, task: Dict[str, Any], arguments: Any) -> None:
    """Give a task to the node; when this returns it is on the node's disk, and perhaps not split yet."""
    answer = reach.call("SubmitTask", {
        "task": task, "max_devices": arguments.max_devices, "target_subtasks": arguments.subtasks,
        "lite": {"at_once": True},
    }, timeout_s=ACCEPT_S)
    if not answer.get("success"):
        # Why is known already; what split printed before is not.
        result = reach.call("GetTaskResult", {"task_id": task["task_id"]})
        if result.get("success"):
            _show_printed(console, result)
            _show_no_value(console, task["task_id"], result)
        raise TaskRejected(with_place(answer.get("message", "the task was refused"), JOB_ADVICE))


def _cancel_quietly(reach: Reach, task_id: str) -> None:
    """Cancel on the way out; what goes wrong here must not hide why we leave."""
    try:
        reach.call("CancelTask", {"task_id": task_id})
    except DiscomputeError as error:
        logging.getLogger("discompute").info("the task could not be cancelled: %s", error.message)


def _task_of(file: str, words: List[str]) -> Dict[str, Any]:
    """Return the ComputeTask for a job file or a built-in type and its arguments."""
    if not os.path.exists(file) and file in TASK_TYPES and file not in OWN_TYPES:
        data = dump_value(_builtin_arguments(file, words))
        return {"task_type": file, "task_data": data, "metadata": {"name": file}}
    name = os.path.basename(file)
    try:
        with open(file, "rb") as stream:
            raw = stream.read()
        source = raw.decode("utf-8")
    except FileNotFoundError:
        types = ", ".join(item for item in TASK_TYPES.names() if item not in OWN_TYPES)
        raise SettingsError(f"there is no file {file}; give a job file, or a built-in task type: {types}") from None
    except IsADirectoryError:
        raise SettingsError(f"{file} is a folder; give a job file in it") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{file} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise SettingsError(f"{file} cannot be read ({error.strerror}); check its permissions") from None
    try:
        is_pure = parse_job(source, name).pure
    except TaskRejected as error:
        raise TaskRejected(f"{error.message}; mend the file and submit it again") from None
    data = job_task_data(source, name, _read_words(source, words, file))
    return {"task_type": "job", "task_data": data, "metadata": {"name": name}, "lite": {"pure": is_pure is not False}}


def _read_words(source: str, words: List[str], file: str) -> Dict[str, Any]:
    """Return the job's arguments; a wrong one is the command line's fault, not the job's."""
    try:
        return job_arguments(source, words, os.path.basename(file))
    except TaskRejected as error:
        raise SettingsError(with_advice("submit", file, words, error.message)) from None


def _builtin_arguments(name: str, words: List[str]) -> Dict[str, Any]:
    task_type = TASK_TYPES.get(name)
    assert task_type is not None
    source = "def split(" + ", ".join(
        f"{parameter}: {kind} = {default!r}" for parameter, (kind, default, _) in task_type.parameters.items()
    ) + "): ...\ndef work(part): ...\n"
    return _read_words(source, words, name)


def _follow(reach: Reach, console: Console, task_id: str) -> Any:
    """Show progress until the task is over; return its value, or raise what ended it."""
    next_index, next_printed, idle_looks, done_before = 0, 0, 0, 0
    while True:
        answer = reach.call("GetTaskResult", {
            "task_id": task_id, "from_index": next_index, "from_printed": next_printed, "wait_s": NEWS_S,
        }, timeout_s=60.0)
        if not answer.get("success"):
            raise NotFound(answer.get("message", "the task is not known"))
        has_printed = _show_printed(console, answer)
        next_index, next_printed, state = answer["next_index"], answer["next_printed"], answer["state"]
        if has_printed and state not in (TaskState.PENDING.value, TaskState.RUNNING.value):
            continue  # They come in pages; what was printed is shown to the end.
        if state == TaskState.COMPLETED.value:
            console.end_progress()
            return load_value(from_json(bytes, answer["result_data"]))
        if state in (TaskState.FAILED.value, TaskState.CANCELLED.value):
            _show_no_value(console, task_id, answer)
            if state == TaskState.FAILED.value:
                raise TaskFailed(with_place(answer["message"], JOB_ADVICE))
            raise TaskCancelled(f"{answer['message']}; submit it again to have its result")
        status = reach.call("GetTaskStatus", {"task_id": task_id})
        devices = len({item["assigned_device_id"] for item in status["subtasks"] if item["status"] == "RUNNING"})
        done = status["lite"].get("counts", {}).get("COMPLETED", 0)
        console.progress(
            status["completion_percentage"] / 100, f"{answer['message']}, {devices} device(s) at work", f"{done} done"
        )
        is_left = not devices and status["lite"].get("counts", {}).get("PENDING", 0) > 0
        is_waiting = state == TaskState.PENDING.value or (is_left and done == done_before)
        idle_looks, done_before = (idle_looks + 1 if is_waiting else 0), done
        if idle_looks == IDLE_LOOKS:
            why = printable(reach.call("ExplainTask", {"task_id": task_id})["message"])
            console.note(f"{why}; it goes on by itself, or: cancel {task_id}")


def _show_printed(console: Console, answer: Dict[str, Any]) -> bool:
    """Show what one page of a task's results says of what was printed; return whether there may be a further page."""
    parts = [from_json(SubTask, part) for part in answer["parts"]]
    printed = [(part.assigned_device_id, str(part.lite.get("output", ""))) for part in parts]
    for entry in answer["printed"]:
        # In the order of the phases: split, parts that succeeded, attempts that did not, merge.
        printed.insert(0 if entry["phase"] == "split" else len(printed), (entry["device_id"], entry["text"]))
    for device_id, text in printed:
        for line in text.splitlines():
            console.note(f"[{short_id(device_id)}] {printable(line)}")
    return bool(printed)


def _show_value(console: Console, task_id: str, value: Any) -> None:
    if console.is_json:
        console.json({"task_id": task_id, "state": "COMPLETED", "result": _as_tagged_json(value)})
    elif value is not None:
        is_text = isinstance(value, str)
        console.result(value if is_text else pprint.pformat(value, width=console.width, sort_dicts=False))


def _show_no_value(console: Console, task_id: str, answer: Dict[str, Any]) -> None:
    """Give programs their document where a task ended without a result; people get the error's sentence."""
    if console.is_json:
        console.json({"task_id": task_id, "state": answer["state"], "result": None, "message": answer["message"]})


def _as_tagged_json(value: Any) -> Any:
    """Return a value as its tagged JSON."""
    return json.loads(dump_value(value))


def find_training(reach: Reach, wanted: str) -> Optional[ToldRound]:
    """Return the last round of the training that a person means by its name or id; None where no such one goes on."""
    told = [from_json(ToldRound, item) for item in reach.call("ListTasks", {}).get("trainings", ())]
    found = [each for each in told if wanted in (each.name, each.training)]
    if len(found) > 1:
        ids = ", ".join(each.training for each in found)
        raise NotFound(f"{wanted!r} may mean several trainings ({ids}); give one of these ids")
    return found[0] if found else None


def find_task(reach: Reach, wanted: str) -> ComputeTask:
    """Return the task of this machine's node that a person means; raise `NotFound`."""
    tasks = [from_json(ComputeTask, item) for item in reach.call("ListTasks", {})["tasks"]]
    found = [task for task in tasks if task.task_id == wanted]
    found = found or [task for task in tasks if wanted and task.task_id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        raise NotFound(f"{wanted!r} may mean several tasks; give more of the id")
    raise NotFound(f"no task is called {wanted!r} on this machine's node; `tasks` lists them")


@command("result", TASK, JSON_FLAG)
def result_command(context: Context) -> int:
    """Print a task's result, waiting for it where it is still running."""
    with reach_from(context) as reach:
        task_id = find_task(reach, context.arguments.task).task_id
        _bring(reach, context.console, task_id)
    return 0


@command("cancel", TASK, JSON_FLAG)
def cancel_command(context: Context) -> int:
    """Cancel a task, down to its running processes."""
    with reach_from(context) as reach:
        task_id = find_task(reach, context.arguments.task).task_id
        answer = reach.call("CancelTask", {"task_id": task_id})
    if context.console.is_json:
        context.console.json({"task_id": task_id, **answer})
    if not answer["success"]:
        raise NotFound(f"there is nothing to cancel: {answer['message']}; `tasks` lists what still runs")
    if not context.console.is_json:
        context.console.print(f"{task_id}: {printable(answer['message'])}")
    return 0
