"""Tell what a JSON-RPC 2.0 object is: a call, an answer, or neither.

Knows:   the members of calls, answers and errors, and which of their values the specification allows.
Refuses: batches, deadlines and who waits for what (wire/rpc.py).
Read next: wire/rpc.py.

    call          {"jsonrpc": "2.0", "id": 7, "method": "Ping", "params": {}, "timeout": 2.5}
    notification  a call without "id"
    answer        {"jsonrpc": "2.0", "id": 7, "result": {}}
    refusal       {"jsonrpc": "2.0", "id": 7, "error": {"code": -32601, "message": "...", "data": {}}}
"""

from __future__ import annotations

from typing import Any, Dict

from ..model.errors import DiscomputeError, InvalidRequest, error_from_wire

#: The types that JSON-RPC allows, as JSON gives them: a boolean is an int to Python and not to JSON.
_ID_TYPES = frozenset((str, int, float, type(None)))
_PARAMS_TYPES = frozenset((dict, list))
_TIMEOUT_TYPES = frozenset((int, float))


def is_rpc_answer(message: Any) -> bool:
    """Whether a JSON value is an answer, with a result or an error, to a call of ours."""
    return isinstance(message, dict) and "method" not in message and ("result" in message or "error" in message)


def check_rpc_call(message: Any) -> None:
    """Raise `InvalidRequest` for a JSON value that is no call and no notification."""
    if type(message) is not dict:
        raise InvalidRequest("a call is a JSON object")
    if message.get("jsonrpc") != "2.0":
        raise InvalidRequest('a call has "jsonrpc": "2.0"')
    if type(message.get("method")) is not str:
        raise InvalidRequest("a call has a method, a string")
    if "params" in message and type(message["params"]) not in _PARAMS_TYPES:
        raise InvalidRequest("params is an object or an array")
    if type(message.get("id")) not in _ID_TYPES:
        raise InvalidRequest("an id is a string, a number or null")
    if "timeout" in message and type(message["timeout"]) not in _TIMEOUT_TYPES:
        raise InvalidRequest("timeout is a number of seconds")


def rpc_id(message: Any) -> Any:
    """Return the id to answer a JSON value with: its own where it has a proper one, else None."""
    number = message.get("id") if isinstance(message, dict) else None
    return number if type(number) in _ID_TYPES else None


def rpc_refusal(number: Any, error: DiscomputeError) -> Dict[str, Any]:
    """Return the answer that carries `error`."""
    body: Dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data:
        body["data"] = error.data
    return {"jsonrpc": "2.0", "id": number, "error": body}


def rpc_error(message: Dict[str, Any]) -> DiscomputeError:
    """Return the error that an answer carries; raise `InvalidRequest` when that is no error."""
    body = message["error"]
    if not isinstance(body, dict) or type(body.get("code")) is not int or not isinstance(body.get("message"), str):
        raise InvalidRequest("an error has a code, an integer, and a message, a string")
    data = body.get("data")
    return error_from_wire(body["code"], body["message"], data if isinstance(data, dict) else None)
