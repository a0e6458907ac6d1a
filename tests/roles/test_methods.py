"""The RPC surface: who may call what, how parameters are read, and what the service says of itself."""

import inspect

import pytest

from discompute_lite.model.errors import Forbidden, InvalidParams, MethodNotFound, NotFound, Unauthenticated
from discompute_lite.core.policy import ACCESS_LEVELS
from discompute_lite.model.told_round import ToldRound
from discompute_lite.roles.methods import METHODS, Greeting
from discompute_lite.roles.script_methods import CallsToOpen
from discompute_lite.roles.vector_methods import AverageWish
from discompute_lite.tasks.types import TASK_TYPES

#: The access table of the security page: what a stranger may call while the node is alone.
FOR_STRANGERS = {"Hello", "Goodbye", "Ping", "GetDevices", "RegisterDevice", "Heartbeat", "SendMessage"}
ALL = sorted(METHODS.names())
#: Methods that take a form: its fields are their parameters.
FORMS = {"Hello": Greeting, "OpenCalls": CallsToOpen, "AverageVectors": AverageWish, "TellRound": ToldRound}


def test_the_original_methods_and_ours_are_there():
    original = {"RegisterDevice", "SendMessage", "Heartbeat", "GetDevices", "SubmitTask", "ExecuteSubtask",
                "GetTaskStatus"}
    ours = {"Hello", "Goodbye", "Ping", "CancelTask", "GetTaskResult", "ExplainTask", "ListTasks", "AcknowledgeResult",
            "KeepTask", "NeedCopies", "CompareOwners", "SyncCluster", "PutBlob", "GetBlob", "HasBlob", "DropBlob",
            "rpc.discover", "Invite", "WatchInvite", "AnswerInvite", "StopInvite", "FindHosts", "Join", "ListMembers",
            "ChangeMember", "Revoke", "LeaveCluster", "Meet", "GetPolicy", "SetPolicy", "ReadAudit", "BackUpCluster",
            "RestoreCluster",
            "ServeScript", "GetOffers", "OpenCalls", "MakeCalls", "CancelCalls", "CloseCalls", "KeepBlob", "SpreadBlob",
            "ReleaseBlob", "AskInTraining", "KeepVector", "TellRound",
            "JoinTraining", "LeaveTraining", "FetchVector", "GetVector", "AverageVectors", "StopAverage",
            "AveragePiece", "Share", "StopShare"}
    assert set(ALL) == original | ours


# ---- the access table -----------------------------------------------------------------------------


def attempt(client, name):
    """Make a call whose parameters do not matter: what is looked at is whether it is let in."""
    try:
        client.call(name)
    except Unauthenticated:
        return "refused"
    except (InvalidParams, Forbidden, NotFound):
        pass  # It got as far as to be told that this makes no sense here.
    return "let in"


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("ip", ["127.0.0.1", "10.0.0.9"])
def test_a_stranger_may_call_what_the_table_says_and_is_closed_otherwise(world, name, ip):
    node = world.host("a").start()
    stranger = world.client(node, ip=ip)
    assert attempt(stranger, name) == ("let in" if name in FOR_STRANGERS else "refused")
    assert stranger.is_closed == (name not in FOR_STRANGERS)


@pytest.mark.parametrize("name", ALL)
def test_the_owner_may_call_everything(world, name):
    node = world.host("a").start()
    owner = world.owner(node)
    assert attempt(owner, name) == "let in"
    assert not owner.is_closed


@pytest.mark.parametrize("ip, token", [("127.0.0.1", "a wrong token"), ("10.0.0.9", "the right one")])
def test_a_wrong_token_and_a_token_from_another_machine_are_refused(world, ip, token):
    node = world.host("a").start()
    stranger = world.client(node, ip=ip)
    with pytest.raises(Unauthenticated, match="control token"):
        stranger.call("Hello", {"auth": world.TOKEN if token == "the right one" else token})
    assert stranger.is_closed


def test_nothing_that_was_sent_after_a_refused_call_is_read(world):
    node = world.host("a").start()
    stranger = world.client(node)
    answers = stranger.send(
        b'{"jsonrpc":"2.0","id":1,"method":"ListTasks"}\n'
        b'{"jsonrpc":"2.0","id":2,"method":"SendMessage","params":{"payload":"aGk="}}\n')
    assert [answer["error"]["code"] for answer in answers] == [-32002]
    assert node.texts_told("message") == []


def test_an_unknown_method_is_refused_and_the_link_lives_on(world):
    node = world.host("a").start()
    stranger = world.client(node)
    with pytest.raises(MethodNotFound, match=r"rpc\.discover"):
        stranger.call("Reboot")
    assert stranger.call("Ping")["received"] == 0


@pytest.mark.parametrize("name", ["SubmitTask", "Ping", "Nonsense"])
def test_attachments_of_a_stranger_are_refused_before_they_are_read(world, name):
    node = world.host("a").start()
    stranger = world.client(node)
    line = b'{"jsonrpc":"2.0","id":1,"method":"%s","params":{},"attachments":[1000000000]}\n' % name.encode()
    assert [answer["error"]["code"] for answer in stranger.send(line)] == [-32002]
    assert stranger.is_closed


def test_the_owner_may_send_attachments(world):
    node = world.host("a").start()
    assert world.owner(node).call("Ping", {"payload": b"x" * 100_000})["received"] == 100_000


# ---- reading parameters ---------------------------------------------------------------------------


def test_parameters_come_by_name_or_by_position_and_missing_ones_take_their_default(world):
    node = world.host("a").start()
    client = world.client(node)
    assert len(client.call("GetDevices", {"requesting_device_id": "x", "filter_type": "linux"})["devices"]) == 1
    assert client.call("GetDevices", ["x", "iphone"])["devices"] == []
    assert len(client.call("GetDevices", {"filter_type": None, "unknown": 1})["devices"]) == 1
    with pytest.raises(InvalidParams, match="at most 2 parameters"):
        client.call("GetDevices", ["x", "y", "z"])
    with pytest.raises(InvalidParams, match="filter_type must be a string"):
        client.call("GetDevices", {"filter_type": 5})


def test_a_repeated_call_is_read_anew_when_its_type_is_another(world):
    node = world.host("a").start()
    client = world.owner(node)
    assert client.call("GetTaskResult", {"task_id": "x", "from_index": 1})["success"] is False
    with pytest.raises(InvalidParams, match="from_index"):
        client.call("GetTaskResult", {"task_id": "x", "from_index": True})


def test_what_a_call_brought_is_not_kept_with_the_link(world):
    node = world.host("a").start()
    owner = world.owner(node)
    owner.call("Ping", {"payload": b"x" * 100_000})
    peer = owner.link.other.peer
    assert peer.memo_params is None and peer.memo_arguments is None


def test_a_form_stands_for_its_fields():
    method = METHODS.get("Hello")
    names = ["node_id", "name", "version", "port", "boot", "auth", "pair", "age_ms"]
    assert [name for name, _ in method.parameters] == names
    assert method.read(["x", "Ann"]) == {"greeting": Greeting(node_id="x", name="Ann")}


# ---- rpc.discover ---------------------------------------------------------------------------------


@pytest.fixture
def document(world):
    return world.owner(world.host("a").start()).call("rpc.discover")


def test_the_document_has_the_shape_of_openrpc(document):
    assert document["openrpc"] == "1.2.6"
    assert set(document["info"]) == {"title", "version"}
    assert sorted(entry["name"] for entry in document["methods"]) == ALL
    for entry in document["methods"]:
        assert entry["summary"] and entry["description"].startswith(entry["summary"])
        assert entry["paramStructure"] in ("by-name", "by-position", "either")
        assert set(entry["result"]) == {"name", "schema"}
        assert entry["x-access"] in ACCESS_LEVELS
        for parameter in entry["params"]:
            assert set(parameter) == {"name", "required", "schema"} and parameter["schema"].get("type")
    assert set(document["x-task-types"]) == set(TASK_TYPES.names())


def test_every_method_is_documented_by_its_docstring_and_its_parameters_are_its_signature(document):
    described = {entry["name"]: entry for entry in document["methods"]}
    for name, method in METHODS.items():
        assert inspect.getdoc(method.function), f"{name} has no docstring"
        assert described[name]["description"] == inspect.getdoc(method.function)
        own = list(inspect.signature(method.function).parameters)[2:]
        told = [parameter["name"] for parameter in described[name]["params"]]
        assert told == ([*FORMS[name].__dataclass_fields__] if name in FORMS else own)


def test_schemas_describe_the_messages(document):
    described = {entry["name"]: entry for entry in document["methods"]}
    task = described["SubmitTask"]["params"][0]["schema"]["properties"]
    assert task["task_data"] == {"type": "string", "contentEncoding": "base64"}
    assert task["required_capabilities"] == {"type": "array", "items": {"type": "string"}}
    beat = {parameter["name"]: parameter["schema"] for parameter in described["Heartbeat"]["params"]}
    assert beat["status"]["enum"] == ["UNKNOWN", "AVAILABLE", "BUSY", "OFFLINE", "OVERLOADED"]
    assert beat["capabilities"]["properties"]["battery_level"] == {"type": "number"}
    assert described["GetDevices"]["result"]["schema"]["properties"]["devices"]["items"]["title"] == "Device"
