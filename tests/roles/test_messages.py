"""Every message of the original service, as a real proto3 JSON parser reads and writes it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discompute_lite.model.codec import from_json, to_json
from discompute_lite.model.device import ComputeMetrics, Device, DeviceCapabilities, DeviceStatus
from discompute_lite.model.task import ComputeTask, SubTask, SubTaskStatus
from discompute_lite.roles.methods import (
    METHODS, ExecuteSubtaskAnswer, GetDevicesAnswer, GetTaskStatusAnswer, HeartbeatAnswer, RegisterDeviceAnswer,
    SendMessageAnswer, SubmitTaskAnswer,
)
from discompute_lite.wire.framing import encode_message

pytestmark = pytest.mark.against
json_format = pytest.importorskip("google.protobuf.json_format")

#: The messages of the original's .proto. A trailing * means repeated, `map` is map<string, string>.
PROTO = {
    "DeviceCapabilities": "cpu_cores:int32 memory_mb:int64 has_gpu:bool gpu_type:string battery_level:double"
                          " is_charging:bool fp32_tflops:double fp16_tflops:double int8_tflops:double chip:string"
                          " os_version:string supports_metal:bool supports_cuda:bool",
    "ComputeMetrics": "cpu_usage:double memory_usage:double gpu_usage:double temperature:double active_tasks:int32"
                      " throughput:double",
    "Device": "id:string name:string type:string address:string capabilities:DeviceCapabilities last_seen:int64"
              " status:DeviceStatus compute_metrics:ComputeMetrics",
    "ComputeTask": "task_id:string task_type:string task_data:bytes metadata:map required_capabilities:string*"
                   " estimated_duration_seconds:int64 priority:int32",
    "SubTask": "subtask_id:string parent_task_id:string subtask_index:int32 subtask_data:bytes"
               " assigned_device_id:string status:SubTaskStatus started_at:int64 completed_at:int64"
               " result_data:bytes error_message:string",
    "RegisterDeviceRequest": "device:Device",
    "RegisterDeviceAnswer": "success:bool message:string known_devices:Device*",
    "SendMessageRequest": "from_device_id:string to_device_id:string message_type:string payload:bytes metadata:map",
    "SendMessageAnswer": "success:bool message:string timestamp:int64",
    "HeartbeatRequest": "device_id:string capabilities:DeviceCapabilities status:DeviceStatus metrics:ComputeMetrics",
    "HeartbeatAnswer": "success:bool updated_devices:Device* pending_tasks:ComputeTask*",
    "GetDevicesRequest": "requesting_device_id:string filter_type:string",
    "GetDevicesAnswer": "devices:Device*",
    "SubmitTaskRequest": "task:ComputeTask submitting_device_id:string max_devices:int32 target_subtasks:int32",
    "SubmitTaskAnswer": "success:bool message:string task_id:string subtasks:SubTask*",
    "ExecuteSubtaskRequest": "subtask:SubTask executing_device_id:string",
    "ExecuteSubtaskAnswer": "success:bool message:string completed_subtask:SubTask",
    "GetTaskStatusRequest": "task_id:string requesting_device_id:string",
    "GetTaskStatusAnswer": "success:bool task:ComputeTask subtasks:SubTask* completion_percentage:double"
                           " estimated_completion_time:int64",
}
ENUMS = {
    "DeviceStatus": "UNKNOWN AVAILABLE BUSY OFFLINE OVERLOADED",
    "SubTaskStatus": "PENDING ASSIGNED RUNNING COMPLETED FAILED CANCELLED",
}
SERVICE = ("RegisterDevice", "SendMessage", "Heartbeat", "GetDevices", "SubmitTask", "ExecuteSubtask", "GetTaskStatus")
OURS = (Device, DeviceCapabilities, ComputeMetrics, ComputeTask, SubTask, RegisterDeviceAnswer, SendMessageAnswer,
        HeartbeatAnswer, GetDevicesAnswer, SubmitTaskAnswer, ExecuteSubtaskAnswer, GetTaskStatusAnswer)


def add_field(message, number, text):
    name, _, kind = text.partition(":")
    field = message.field.add(name=name, number=number, label=3 if kind.endswith("*") or kind == "map" else 1)
    kind = kind.rstrip("*")
    if kind == "map":
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        for place, part in enumerate(("key", "value"), 1):
            entry.field.add(name=part, number=place, type=9, label=1)
        field.type, field.type_name = 11, f".discompute.{message.name}.{entry.name}"
    elif kind in ENUMS or kind in PROTO:
        field.type, field.type_name = 14 if kind in ENUMS else 11, f".discompute.{kind}"
    else:
        field.type = {"double": 1, "int64": 3, "int32": 5, "bool": 8, "string": 9, "bytes": 12}[kind]


@pytest.fixture(scope="module")
def original():
    """Return {name: message class}, made from the table above."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="service.proto", package="discompute", syntax="proto3")
    for name, values in ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values.split()):
            enum.value.add(name=value, number=number)
    for name, fields in PROTO.items():
        message = file.message_type.add(name=name)
        for number, text in enumerate(fields.split(), 1):
            add_field(message, number, text)
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"discompute.{name}")) for name in PROTO
    }


# ---- messages with anything in them ---------------------------------------------------------------

text, count = st.text(max_size=6), st.integers(0, 2 ** 31 - 1)
wide = st.integers(-(2 ** 63), 2 ** 63 - 1)
number = st.floats(allow_nan=False, allow_infinity=False)
#: 0.0 is proto3's default and so not written, and a battery that is not written is one that is not there: -1.
battery = number.filter(bool)
lite = st.dictionaries(text, st.one_of(text, number, st.booleans(), st.lists(text, max_size=2)), max_size=2)
texts = st.dictionaries(text, text, max_size=2)
capabilities = st.builds(
    DeviceCapabilities, count, wide, st.booleans(), text, battery, st.booleans(), number, number, number, text, text,
    st.booleans(), st.booleans())
metrics = st.builds(ComputeMetrics, number, number, number, number, count, number)
devices = st.builds(
    Device, text, text, text, text, capabilities, wide, st.sampled_from(DeviceStatus), metrics, lite)
tasks = st.builds(ComputeTask, text, text, st.binary(max_size=9), texts, st.lists(text, max_size=2), wide, count, lite)
subtasks = st.builds(
    SubTask, text, text, count, st.binary(max_size=2000), text, st.sampled_from(SubTaskStatus), wide, wide,
    st.binary(max_size=9), text, lite)
few_devices, few_subtasks = st.lists(devices, max_size=2), st.lists(subtasks, max_size=2)
MESSAGES = {
    Device: devices, DeviceCapabilities: capabilities, ComputeMetrics: metrics, ComputeTask: tasks, SubTask: subtasks,
    RegisterDeviceAnswer: st.builds(RegisterDeviceAnswer, st.booleans(), text, few_devices),
    SendMessageAnswer: st.builds(SendMessageAnswer, st.booleans(), text, wide),
    HeartbeatAnswer: st.builds(HeartbeatAnswer, st.booleans(), few_devices, st.lists(tasks, max_size=2), lite),
    GetDevicesAnswer: st.builds(GetDevicesAnswer, few_devices),
    SubmitTaskAnswer: st.builds(SubmitTaskAnswer, st.booleans(), text, text, few_subtasks),
    ExecuteSubtaskAnswer: st.builds(ExecuteSubtaskAnswer, st.booleans(), text, subtasks),
    GetTaskStatusAnswer: st.builds(GetTaskStatusAnswer, st.booleans(), tasks, few_subtasks, number, wide, lite),
}


def as_text(message):
    """Return a message as it stands in a line, all bytes as base64 text."""
    return encode_message(to_json(message), 1 << 20)[0]


def without_lite(value):
    """Return JSON without what the original does not know."""
    if isinstance(value, dict):
        return {key: without_lite(item) for key, item in value.items() if key != "lite"}
    return [without_lite(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
@settings(max_examples=settings.default.max_examples // 4)
@given(data=st.data())
def test_the_original_reads_ours_and_we_read_the_original(original, kind, data):
    message = data.draw(MESSAGES[kind])
    theirs = json_format.Parse(as_text(message), original[kind.__name__](), ignore_unknown_fields=True)
    back = from_json(kind, json.loads(json_format.MessageToJson(theirs, preserving_proto_field_name=True)))
    assert without_lite(json.loads(as_text(back))) == without_lite(json.loads(as_text(message)))


def test_what_is_ours_alone_is_unknown_to_the_original(original):
    with pytest.raises(json_format.ParseError, match="lite"):
        json_format.Parse(as_text(Device(id="x", lite={"label": "desk"})), original["Device"]())
    json_format.Parse(as_text(Device(id="x")), original["Device"]())


@pytest.mark.parametrize("name", SERVICE)
def test_requests_of_the_original_are_read_by_our_methods(original, name):
    """Every field of the original's request is a parameter of the method of that name, and nothing else but lite."""
    parameters = [parameter for parameter, _ in METHODS.get(name).parameters if parameter != "lite"]
    assert [field.name for field in original[f"{name}Request"].DESCRIPTOR.fields] == parameters


@settings(max_examples=settings.default.max_examples // 2)
@given(device=devices, task=tasks, subtask=subtasks, words=texts, payload=st.binary(max_size=2000))
def test_requests_survive_the_way(original, device, task, subtask, words, payload):
    given_requests = {
        "RegisterDevice": {"device": device},
        "SendMessage": {"from_device_id": "a", "to_device_id": "b", "payload": payload, "metadata": words},
        "Heartbeat": {"device_id": "a", "capabilities": device.capabilities, "status": device.status},
        "SubmitTask": {"task": task, "max_devices": 3},
        "ExecuteSubtask": {"subtask": subtask, "executing_device_id": "b"},
    }
    for name, request in given_requests.items():
        sent = json_format.Parse(as_text(request), original[f"{name}Request"](), ignore_unknown_fields=True)
        read = METHODS.get(name).read(json.loads(json_format.MessageToJson(sent, preserving_proto_field_name=True)))
        for key, value in read.items():
            assert without_lite(json.loads(as_text({"it": value}))) == without_lite(
                json.loads(as_text({"it": request[key]})))
