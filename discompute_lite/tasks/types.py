"""Say what a task type is: three functions over values, and the bytes that travel between them.

Knows:   the table of task types, their parameters (also as JSON Schema), and how task data becomes the data of
         subtasks, results and the merged result.
Refuses: to run anything where a person's code may raise; tasks/work.py stands around it.
Read next: tasks/builtin.py (four small ones), tasks/jobs.py (a person's own).

    task_data --split_data--> subtask_data, ... --run_data--> result_data, ... --merge_data--> result_data

All of them are tagged JSON texts (tasks/values.py); `task_data` is an object of the type's parameters. A subtask's
data is all that its device needs. Several texts in one are lines, which `join_data` and `separate_data` make.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Tuple

from ..model.catalog import Catalog
from ..model.errors import TaskRejected
from .raw_pieces import split_texts
from .values import dump_value, load_value


class TaskParameter(NamedTuple):
    """Describe one parameter of a task type."""

    #: "int", "float", "str", "bool", "list", "dict" or "any".
    kind: str
    default: Any
    help: str


class TaskType:
    """Do one kind of task in three steps; subclasses write `split`, `run` and `merge` and their docstring is help.

    One object serves all tasks and threads, so it keeps nothing between calls.
    """

    name = ""
    parameters: Dict[str, TaskParameter] = {}

    def split(self, params: Dict[str, Any], target: int) -> Iterable[Any]:
        """Return the parts, one a subtask; `target` is how many are wanted, 0 where nobody minds."""
        raise TaskRejected(f"the task type {self.name!r} cannot be split")

    def run(self, part: Any) -> Any:
        """Return the result of one part."""
        raise TaskRejected(f"the task type {self.name!r} cannot be run")

    def merge(self, parts: List[Any], params: Dict[str, Any]) -> Any:
        """Return the task's result from its parts' results, which are in order."""
        return parts

    # The three steps over bytes. A type that can spare reading its values, or that runs code which belongs to
    # somebody, overrides these; `owner` is the task whose code it is.

    def split_data(self, task_data: bytes, target: int, owner: str) -> Iterable[bytes]:
        """Yield the data of each subtask."""
        for part in self.split(read_params(self, task_data), target):
            yield dump_value(part, "a part")

    def run_data(self, subtask_data: bytes, owner: str, allow_pickle: bool = False) -> bytes:
        """Return a subtask's result; `allow_pickle` says whether this device may read and write pickles."""
        return dump_value(self.run(load_value(subtask_data)), "the result")

    def run_with_blobs(
        self, subtask_data: bytes, owner: str, sources: Dict[str, Any], allow_pickle: bool = False
    ) -> bytes:
        """Return the result of a subtask whose data name blobs; `sources` are bytes or what reads them, by hash."""
        raise TaskRejected(f"tasks of the type {self.name} take no blobs; send plain data")

    def code_in(self, subtask_data: bytes) -> Tuple[str, str]:
        """Return name and text of the code that a subtask brings; both are "" for a type that brings none."""
        return "", ""

    def merge_data(self, task_data: bytes, results: Iterable[bytes], owner: str) -> bytes:
        """Return the task's result from its subtasks' results, given in order."""
        parts = [load_value(result) for result in results]
        return dump_value(self.merge(parts, read_params(self, task_data)), "the result")


#: Task types by name; filled at import.
TASK_TYPES: Catalog[TaskType] = Catalog("task type")


def read_params(task_type: TaskType, task_data: bytes) -> Dict[str, Any]:
    """Read task data with the type's defaults filled in; raise `TaskRejected` that names what does not fit."""
    given = load_value(task_data) if task_data else {}
    if type(given) is not dict:
        raise TaskRejected(f"the data of a {task_type.name!r} task is an object of parameters")
    known = task_type.parameters
    for name in given:
        if name not in known:
            raise TaskRejected(f"{task_type.name!r} has no parameter {name!r}; it has {', '.join(known) or 'none'}")
    return {
        name: _checked_param(task_type, name, given[name]) if name in given else parameter.default
        for name, parameter in known.items()
    }


def _checked_param(task_type: TaskType, name: str, value: Any) -> Any:
    kind = task_type.parameters[name].kind
    if kind == "any" or type(value).__name__ == kind:
        return value
    if kind == "float" and type(value) is int:
        return float(value)
    raise TaskRejected(f"{name!r} of {task_type.name!r} is of type {kind}, not {type(value).__name__}")


def run_locally(name: str, params: Dict[str, Any]) -> Any:
    """Return the result of a task, computed here and now; raise `TaskRejected`, or what its code raises."""
    task_type = TASK_TYPES.get(name)
    if task_type is None:
        raise TaskRejected(f"there is no task type {name!r}; choose one of {', '.join(TASK_TYPES.names())}")
    task_data = dump_value(params, "the parameters")
    results = [task_type.run_data(part, "") for part in task_type.split_data(task_data, 0, "")]
    return load_value(task_type.merge_data(task_data, results, ""))


def join_data(texts: Iterable[bytes]) -> bytes:
    """Put several tagged JSON texts into one, a line each.

    A line break in JSON is always white space between values, so replacing it changes no value: nobody can
    smuggle in a further line.
    """
    return b"\n".join([bytes(text).replace(b"\n", b" ") or b" " for text in texts])


def separate_data(data: bytes, most: Optional[int] = None) -> List[bytes]:
    """Return the texts that `join_data` put together, or `join_texts`; some more than `most` where there are more."""
    return split_texts(data, most)


_SCHEMA_NAMES = {
    "int": "integer", "float": "number", "str": "string", "bool": "boolean", "list": "array", "dict": "object",
}


def task_type_schemas() -> Dict[str, Dict[str, Any]]:
    """Return help and parameters of every task type as JSON Schema, for rpc.discover."""
    schemas = {}
    for name, task_type in TASK_TYPES.items():
        properties: Dict[str, Dict[str, Any]] = {}
        for key, parameter in task_type.parameters.items():
            properties[key] = {"description": parameter.help, "default": parameter.default}
            if parameter.kind in _SCHEMA_NAMES:
                properties[key]["type"] = _SCHEMA_NAMES[parameter.kind]
        schemas[name] = {
            "title": name,
            "description": " ".join((task_type.__doc__ or "").split()),
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
        }
    return schemas
