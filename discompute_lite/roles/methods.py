"""Offer the RPC surface: one function a method, whose signature is its schema and whose docstring its help.

Knows:   every method's name, parameters, answer and who may call it.
Refuses: to do the work; each function hands it to the role whose work it is.
Read next: roles/node.py (who dispatches), core/policy.py (the levels).

To add a method, add a function here: parsing, validation, `rpc.discover` and the docs' table follow.
Levels: "anyone" (strangers too), "certified" (whoever has a certificate of its cluster), "alone" (strangers while the
node belongs to no cluster, then its devices), "device" (devices of its cluster), "work" (those that may send work),
"owner".
"""

from __future__ import annotations

import inspect
import typing
from dataclasses import dataclass, field, fields
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union

from ..model.catalog import Catalog
from ..model.codec import reader_of, schema_of
from ..model.device import ComputeMetrics, Device, DeviceCapabilities, DeviceStatus
from ..model.errors import InvalidParams
from ..model.task import ComputeTask, SubTask
from ..model.told_round import ToldRound
from ..tasks.types import task_type_schemas
from .bounds import devices_that_fit
from .ports import LinkPort

METHODS: Catalog[Method] = Catalog("method")


class Method:
    """Hold one callable of the service: how to read its parameters, who may call it, what it does."""

    def __init__(
        self, name: str, level: str, function: Callable[..., Any], *, form: Any = None, is_repeated: bool = False
    ) -> None:
        self.name = name
        self.level = level
        #: Callers say the same again and again, so what it was read as is worth remembering.
        self.is_repeated = is_repeated
        self.function = function
        self.help = inspect.getdoc(function) or ""
        hints = typing.get_type_hints(function)
        self.result_type = hints["return"]
        names = list(inspect.signature(function).parameters)[2:]
        #: With a form, the function takes one dataclass, `form`, whose fields are the wire parameters.
        self._form, self._form_name = form, names[0] if form is not None else ""
        if form is not None:
            hints, names = typing.get_type_hints(form), [item.name for item in fields(form)]
        #: (name, type) of each wire parameter, in order; the first two of the function are node and link.
        self.parameters: List[Tuple[str, Any]] = [(name, hints[name]) for name in names]
        self._readers = {name: reader_of(kind) for name, kind in self.parameters}

    def read(self, params: Union[Mapping[str, Any], List[Any]]) -> Dict[str, Any]:
        """Return the function's arguments; raise `InvalidParams` naming the parameter that does not fit.

        Missing and null ones take their default, unknown ones are ignored; an array is taken by position.
        """
        if isinstance(params, list):
            if len(params) > len(self.parameters):
                raise InvalidParams(f"{self.name} takes at most {len(self.parameters)} parameters")
            params = {name: value for (name, _), value in zip(self.parameters, params)}
        readers = self._readers
        arguments = {
            name: readers[name](value, name) for name, value in params.items() if name in readers and value is not None
        }
        return arguments if self._form is None else {self._form_name: self._form(**arguments)}


def method(
    name: str, level: str, *, form: Any = None, is_repeated: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function (node, link, parameters...) as the method `name`; see `Method` for the options."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        METHODS.add(name, Method(name, level, function, form=form, is_repeated=is_repeated))
        return function

    return register


# ---- answers: the original's messages, and ours ---------------------------------------------------------


@dataclass(frozen=True)
class PingAnswer:
    """Say when and how much was received."""

    timestamp: float = 0.0
    received: int = 0


@dataclass(frozen=True)
class RegisterDeviceAnswer:
    """List the devices that the answering node knows, itself first."""

    success: bool = False
    message: str = ""
    known_devices: List[Device] = field(default_factory=list)


@dataclass(frozen=True)
class SendMessageAnswer:
    """Acknowledge a message; `timestamp` is the receiver's, Unix seconds."""

    success: bool = False
    message: str = ""
    timestamp: int = 0


@dataclass(frozen=True)
class HeartbeatAnswer:
    """List what changed since this caller was last told; `lite` has our status and running attempts."""

    success: bool = False
    updated_devices: List[Device] = field(default_factory=list)
    pending_tasks: List[ComputeTask] = field(default_factory=list)
    lite: Dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class GetDevicesAnswer:
    """List devices, the answering node first."""

    devices: List[Device] = field(default_factory=list)


@dataclass(frozen=True)
class SubmitTaskAnswer:
    """Name the task and the pieces that it was split into."""

    success: bool = False
    message: str = ""
    task_id: str = ""
    subtasks: List[SubTask] = field(default_factory=list)


@dataclass(frozen=True)
class ExecuteSubtaskAnswer:
    """Return the subtask with its result, or with the reason why there is none."""

    success: bool = False
    message: str = ""
    completed_subtask: SubTask = SubTask()


@dataclass(frozen=True)
class GetTaskStatusAnswer:
    """Say how far a task is; the expected end is in Unix seconds, 0 while nothing can be said.

    `lite` has ``message``, ``story`` (lines), ``devices`` (id -> subtasks done) and ``counts`` (status -> subtasks);
    of a task with very many subtasks only the first ones are listed.
    """

    success: bool = False
    task: ComputeTask = ComputeTask()
    subtasks: List[SubTask] = field(default_factory=list)
    completion_percentage: float = 0.0
    estimated_completion_time: int = 0
    lite: Dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PrintedText:
    """Hold what a task's split or merge, or a failed attempt, printed on a device; `phase` is split, run or merge."""

    phase: str = ""
    device_id: str = ""
    text: str = ""


@dataclass(frozen=True)
class GetTaskResultAnswer:
    """Return the merged result when `state` is COMPLETED, and the parts from `from_index` on that are there.

    `parts` are in order without gaps, as many as one answer carries; ask again from `next_index` for what follows.
    Beside large parts there may be no room for the result; past the last part it always comes.
    What parts printed is in their `lite.output`; `printed` has the rest, to be asked for from `next_printed` on.
    """

    success: bool = False
    message: str = ""
    state: str = ""
    result_data: bytes = b""
    parts: List[SubTask] = field(default_factory=list)
    next_index: int = 0
    printed: List[PrintedText] = field(default_factory=list)
    next_printed: int = 0


@dataclass(frozen=True)
class CancelTaskAnswer:
    """Say whether there was something to cancel."""

    success: bool = False
    message: str = ""


@dataclass(frozen=True)
class ExplainTaskAnswer:
    """Give the reason, as of now; or say that there is no such task or subtask."""

    success: bool = False
    message: str = ""


@dataclass(frozen=True)
class ListTasksAnswer:
    """List the tasks of a node, newest first; each one's `lite` has state, message and percentage."""

    tasks: List[ComputeTask] = field(default_factory=list)
    #: Of each training that a script leads here, its newest round.
    trainings: List[ToldRound] = field(default_factory=list)


# ---- meeting ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Greeting:
    """Say who calls or answers: what `Hello` takes and returns, all that a stranger learns from a cluster's node."""

    node_id: str = ""
    name: str = ""
    version: str = ""
    port: int = 0
    boot: str = ""
    auth: str = ""
    #: The pairing port, while a person lets devices in there.
    pair: int = 0
    #: Milliseconds for which this node has run, said to whoever has the same key (roles/twin.py).
    age_ms: int = 0


@method("Hello", level="anyone", form=Greeting)
def hello(node: Any, link: LinkPort, greeting: Greeting) -> Greeting:
    """Say who calls and learn who answers: the first call that either side may make.

    A node gives its id, name, version and port, so that who is called knows the caller. The owner shows
    the control token as `auth`, over loopback only.
    """
    return node.greet(link, greeting)


@method("Goodbye", level="anyone")
def goodbye(node: Any, link: LinkPort, is_leaving: bool = False) -> None:
    """Say that this link is about to be closed: its node is leaving, or makes room for other links."""
    node.discovery.said_goodbye(link, is_leaving)


@method("Ping", level="alone")
def ping(node: Any, link: LinkPort, payload: bytes = b"") -> PingAnswer:
    """Measure the round trip, and with a payload the bandwidth; as an attachment the owner's only."""
    return PingAnswer(timestamp=node.wall(), received=len(payload))


@method("RegisterDevice", level="alone")
def register_device(node: Any, link: LinkPort, device: Device = Device()) -> RegisterDeviceAnswer:
    """Describe the calling device, and learn which devices the answering node knows."""
    message = node.discovery.register(link, device)
    if message:
        return RegisterDeviceAnswer(success=False, message=message)
    everybody = node.discovery.list_devices(link)
    devices = devices_that_fit(everybody, node.settings_limits)
    if len(devices) == len(everybody):
        node.peer_of(link).told_version = node.discovery.registry.version
    return RegisterDeviceAnswer(success=True, message=f"welcome to {node.name}", known_devices=devices)


@method("Heartbeat", level="alone", is_repeated=True)
def heartbeat(
    node: Any, link: LinkPort, device_id: str = "", capabilities: Optional[DeviceCapabilities] = None,
    status: DeviceStatus = DeviceStatus.UNKNOWN, metrics: Optional[ComputeMetrics] = None,
    lite: Optional[Dict[str, Any]] = None,
) -> HeartbeatAnswer:
    """Say that the calling device is alive and how it feels; learn which devices changed.

    What is left out is as it was before. `lite.done` lists attempts whose outcome has arrived at the caller and
    `lite.knows` sums up whom it knows; the answer's `lite.attempts` lists those that run here.
    """
    if lite and node.belonging.is_trusted(link):
        node.heartbeat_notes_received(link.verified_id or link.peer.node_id, lite)
    return node.discovery.heartbeats.received(link, device_id, capabilities, status, metrics, lite)


@method("GetDevices", level="alone")
def get_devices(node: Any, link: LinkPort, requesting_device_id: str = "", filter_type: str = "") -> GetDevicesAnswer:
    """List the devices that this node knows, itself first; `filter_type` keeps one type of device."""
    devices = node.discovery.list_devices(link)
    wanted = [device for device in devices if not filter_type or device.type == filter_type]
    return GetDevicesAnswer(devices_that_fit(wanted, node.settings_limits))


@method("SendMessage", level="alone")
def send_message(
    node: Any, link: LinkPort, from_device_id: str = "", to_device_id: str = "", message_type: str = "",
    payload: bytes = b"", metadata: Optional[Dict[str, str]] = None,
) -> SendMessageAnswer:
    """Show a text to the person at a device; a node that is not the addressee forwards it once."""
    return node.post_office.deliver(link, from_device_id, to_device_id, message_type, payload, metadata or {})


# ---- work -------------------------------------------------------------------------------------------


@method("SubmitTask", level="owner")
def submit_task(
    node: Any, link: LinkPort, task: ComputeTask = ComputeTask(), submitting_device_id: str = "",
    max_devices: int = 0, target_subtasks: int = 0, lite: Optional[Dict[str, Any]] = None,
) -> SubmitTaskAnswer:
    """Split a task and spread it; with `lite.at_once`, answer before it is split; a known `task_id` is that task."""
    return node.coordinator.submit(task, max_devices, target_subtasks, (lite or {}).get("at_once") is True)


@method("ExecuteSubtask", level="work")
def execute_subtask(
    node: Any, link: LinkPort, subtask: SubTask = SubTask(), executing_device_id: str = ""
) -> ExecuteSubtaskAnswer:
    """Run one subtask here, and answer when it is done; repeating an attempt joins it or returns its outcome."""
    return node.worker.execute(link.verified_id or link.peer.node_id, subtask, node.belonging.sender_of(link))


@method("GetTaskStatus", level="owner")
def get_task_status(
    node: Any, link: LinkPort, task_id: str = "", requesting_device_id: str = ""
) -> GetTaskStatusAnswer:
    """Say how far a task is, where its subtasks are and what happened to it."""
    return node.coordinator.durability.once_kept(node.coordinator.status(task_id))


@method("GetTaskResult", level="owner")
def get_task_result(
    node: Any, link: LinkPort, task_id: str = "", requesting_device_id: str = "", from_index: int = 0,
    wait_s: float = 0.0, from_printed: int = 0,
) -> GetTaskResultAnswer:
    """Return a task's merged result, or its parts from `from_index`, and what it printed, as they come.

    Waits up to `wait_s` seconds (at most 60) for something new. The result is kept until it is acknowledged, for
    `limits.result_kept_s`, or until `limits.finished_tasks` later ones have finished.
    """
    answer = node.coordinator.result(task_id, from_index, from_printed, min(60.0, max(0.0, wait_s)))
    return node.coordinator.durability.once_kept(answer)


@method("CancelTask", level="work")
def cancel_task(
    node: Any, link: LinkPort, task_id: str = "", requesting_device_id: str = "", attempt: str = ""
) -> CancelTaskAnswer:
    """Cancel a task, down to its running processes; with `attempt`, stop only that attempt on this device."""
    sender = link.verified_id
    if attempt or (sender and not node.coordinator.copies.is_kept_at(task_id, sender)):
        # Another device may stop what it sent here itself, or tasks of ours that it keeps for us, and nothing else.
        return node.worker.cancel(sender or link.peer.node_id, attempt)
    return node.coordinator.cancel(task_id)


@method("ListTasks", level="owner")
def list_tasks(node: Any, link: LinkPort) -> ListTasksAnswer:
    """List the tasks that this node coordinates or has lately finished."""
    return node.coordinator.durability.once_kept(node.coordinator.list_tasks())


@method("rpc.discover", level="owner")
def discover(node: Any, link: LinkPort) -> Dict[str, Any]:
    """Return this service as an OpenRPC document, made from the methods' signatures."""
    return openrpc_document(node.version)


#: Methods whose callers say the same again and again (wire/repeats.py).
REPEATED_METHODS = frozenset(name for name, entry in METHODS.items() if entry.is_repeated)


def openrpc_document(version: str) -> Dict[str, Any]:
    """Describe every method by its own signature (https://spec.open-rpc.org, version 1.2.6)."""
    methods = [
        {
            "name": name,
            "summary": entry.help.split("\n")[0],
            "description": entry.help,
            "x-access": entry.level,
            "paramStructure": "either",
            "params": [
                {"name": parameter, "required": False, "schema": schema_of(kind)}
                for parameter, kind in entry.parameters
            ],
            "result": {"name": "result", "schema": schema_of(entry.result_type)},
        }
        for name, entry in METHODS.items()
    ]
    return {
        "openrpc": "1.2.6",
        "info": {"title": "discompute DeviceService", "version": version},
        "methods": methods,
        "x-task-types": task_type_schemas(),
    }
