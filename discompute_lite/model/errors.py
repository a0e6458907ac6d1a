"""Name every way in which things go wrong, by who is to blame and what to do.

Knows:   the tree of errors, their wire codes and the exit codes of the command line.
Refuses: to catch anything; foreign exceptions are translated where they enter.
Read next: model/limits.py (the numbers that some of these errors quote).

    DiscomputeError
    +-- ProtocolError            bytes or messages that break the rules
    |   +-- ParseError           not JSON, or not our strict part of it
    |   +-- InvalidRequest       JSON, but not a JSON-RPC 2.0 message
    |   +-- TooLarge             a limit was passed: answered, then the link is closed
    |   +-- LocalProtocolError   we ourselves were about to break the rules: a bug of ours
    +-- CallError                an orderly refusal of one call: the link lives on
    |   +-- MethodNotFound, InvalidParams, InternalError
    |   +-- Unauthenticated, Forbidden, NotFound, Unavailable, DeadlineExceeded
    +-- LinkError                the network's fault
    |   +-- Unreachable          no connection; NothingListens where the host refuses it
    |   +-- LinkClosed, CallTimeout
    +-- TaskError                the task's own fault
    |   +-- TaskRejected, TaskFailed, TaskCancelled
    +-- SettingsError            the user's configuration or command line
    +-- StateError               the state folder cannot be used

Exit codes: 0 done, 1 the job failed, 2 the command line or the configuration is wrong,
3 no such device or task, 4 refused, 5 nobody answered, 130 interrupted.
"""

from __future__ import annotations

from typing import Any, Dict, Optional


#: What is said, and nothing else, where a part of the standard library that some builds leave out is missing.
NO_ZLIB = "discompute: this Python lacks zlib, which the program needs; run it in an app or Python that has it"


class DiscomputeError(Exception):
    """Carry one plain sentence that says what happened and what to do."""

    #: The JSON-RPC error code under which this travels.
    code = -32603
    #: What the command line exits with.
    exit_status = 1

    def __init__(self, message: str, data: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(message)
        self.message = message
        #: Machine-readable extras of the wire error, such as ``retry_after`` or ``rule``.
        self.data = data


class ProtocolError(DiscomputeError):
    """The other side broke the rules: answer once, close the link, keep the node."""

    code = -32600
    exit_status = 5


class ParseError(ProtocolError):
    """The line is not UTF-8, not JSON, or outside our strict part of JSON."""

    code = -32700


class InvalidRequest(ProtocolError):
    """The line is JSON, but not a JSON-RPC 2.0 message."""

    code = -32600


class TooLarge(ProtocolError):
    """A limit was passed; nothing of that size was allocated."""

    code = -32001


class LocalProtocolError(ProtocolError):
    """We were asked to send what the protocol does not allow."""

    code = -32603


class CallError(DiscomputeError):
    """One call is refused or failed in an orderly way; the link lives on."""


class MethodNotFound(CallError):
    """Nobody offers a method of that name."""

    code = -32601


class InvalidParams(CallError):
    """A parameter is missing or has the wrong type; the message names the field."""

    code = -32602
    exit_status = 2


class InternalError(CallError):
    """Our own fault; the details are in this node's log and nowhere else."""

    code = -32603


class Unauthenticated(CallError):
    """The method needs a verified peer."""

    code = -32002
    exit_status = 4


class Forbidden(CallError):
    """Verified, but policy says no; ``data.rule`` names the rule."""

    code = -32003
    exit_status = 4


class NotFound(CallError):
    """There is no such task, device or blob."""

    code = -32004
    exit_status = 3


class Unavailable(CallError):
    """Shutting down, overloaded or saving battery; ``data.retry_after`` is in seconds."""

    code = -32005
    exit_status = 5


class DeadlineExceeded(CallError):
    """The time that the caller gave ran out."""

    code = -32006
    exit_status = 5


class LinkError(DiscomputeError):
    """The network's fault: the same call may succeed elsewhere or later."""

    code = -32005
    exit_status = 5


class Unreachable(LinkError):
    """No connection could be made."""


class NothingListens(Unreachable):
    """The host is there, and refuses connections to this port: whoever listened has ended."""


class LinkClosed(LinkError):
    """The connection ended before the answer came; the call may have been carried out."""


class CallTimeout(LinkError):
    """No answer within the time given; the call may have been carried out."""


class TaskError(DiscomputeError):
    """The fault of a task, not of the machinery."""


class TaskRejected(TaskError):
    """The task cannot be accepted as it is: its code, arguments or type are wrong."""

    code = -32602
    exit_status = 1


class TaskFailed(TaskError):
    """A subtask failed for good."""


class TaskCancelled(TaskError):
    """Somebody cancelled the task."""


class SettingsError(DiscomputeError):
    """A flag, an environment variable or a line of the configuration file is wrong."""

    code = -32602
    exit_status = 2


class StateError(DiscomputeError):
    """The state folder or a file in it cannot be used: what is wrong, and the cure, "" where nobody knows one."""

    exit_status = 2

    def __init__(self, what: str, cure: str = "") -> None:
        super().__init__(f"{what}; {cure}" if cure else what)
        self.what, self.cure = what, cure


#: Wire code -> the class that a caller sees; the other half of ``DiscomputeError.code``.
ERRORS_BY_CODE = {
    error.code: error
    for error in (
        ParseError, InvalidRequest, MethodNotFound, InvalidParams, InternalError, TooLarge,
        Unauthenticated, Forbidden, NotFound, Unavailable, DeadlineExceeded,
    )
}


def error_from_wire(code: int, message: str, data: Optional[Dict[str, Any]] = None) -> DiscomputeError:
    """Rebuild the error that the other side reported; unknown codes become `CallError`."""
    error = ERRORS_BY_CODE.get(code, CallError)(message, data)
    error.code = code
    return error
