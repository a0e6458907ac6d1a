"""The codec: what is written reads back, proto3's JSON rules hold, and nothing else gets in."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Dict, List, Mapping, Optional, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.codec import from_json, reader_of, schema_of, to_json
from discompute_lite.model.device import ComputeMetrics, Device, DeviceCapabilities, DeviceStatus
from discompute_lite.model.errors import InvalidParams
from discompute_lite.model.task import ComputeTask, SubTask, SubTaskStatus


class Colour(Enum):
    UNKNOWN = "UNKNOWN"
    RED = "RED"


@dataclass(frozen=True)
class Inner:
    number: int = 7
    colour: Colour = Colour.RED


@dataclass(frozen=True)
class Outer:
    flag: bool = True
    text: str = "as it was"
    data: bytes = b"data"
    share: float = 0.5
    inner: Inner = field(default_factory=Inner)
    maybe: Optional[int] = None
    items: List[Inner] = field(default_factory=list)
    pair: Tuple[int, ...] = ()
    counts: Dict[str, int] = field(default_factory=dict)
    anything: Any = None
    lite: Dict[str, Any] = field(default_factory=dict)


INT64 = st.integers(-(2 ** 63), 2 ** 63 - 1)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), INT64, DOUBLES, st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6)
OBJECTS = st.dictionaries(st.text(max_size=5), JSON, max_size=3)
INNERS = st.builds(Inner, number=INT64, colour=st.sampled_from(Colour))
OUTERS = st.builds(
    Outer, flag=st.booleans(), text=st.text(), data=st.binary(), share=DOUBLES, inner=INNERS,
    maybe=st.one_of(st.none(), INT64), items=st.lists(INNERS, max_size=3), pair=st.lists(INT64, max_size=3).map(tuple),
    counts=st.dictionaries(st.text(), INT64, max_size=3), anything=JSON, lite=OBJECTS)
DEVICES = st.builds(
    Device, id=st.text(), name=st.text(), last_seen=INT64, status=st.sampled_from(DeviceStatus), lite=OBJECTS,
    capabilities=st.builds(DeviceCapabilities, cpu_cores=INT64, has_gpu=st.booleans(), battery_level=DOUBLES),
    compute_metrics=st.builds(ComputeMetrics, cpu_usage=DOUBLES, active_tasks=INT64))
TASKS = st.builds(ComputeTask, task_id=st.text(), task_data=st.binary(), metadata=st.dictionaries(st.text(), st.text()),
                  required_capabilities=st.lists(st.text(), max_size=3), priority=INT64, lite=OBJECTS)
SUBTASKS = st.builds(SubTask, subtask_id=st.text(), subtask_data=st.binary(), status=st.sampled_from(SubTaskStatus))
KINDS = [Outer, Device, ComputeTask, SubTask, List[Inner], Dict[str, Inner], Optional[Inner], Colour, int, float, bool,
         str]


def over_the_wire(value):
    """Through JSON text, with bytes as base64: what another program would send."""
    return json.loads(json.dumps(to_json(value), default=lambda data: base64.b64encode(data).decode()))


def assert_refused(kind, raw, *words, where=""):
    with pytest.raises(InvalidParams) as refusal:
        from_json(kind, raw, where)
    for word in words:
        assert word in refusal.value.message


# ---- there and back ------------------------------------------------------------------------------


@given(st.one_of(OUTERS, DEVICES, TASKS, SUBTASKS))
def test_a_message_survives_the_wire(message):
    assert from_json(type(message), over_the_wire(message)) == message
    assert from_json(type(message), to_json(message)) == message


@given(st.one_of(JSON, st.builds(object)), st.sampled_from(KINDS))
def test_any_value_is_read_or_refused(raw, kind):
    try:
        read = from_json(kind, raw, "params")
    except InvalidParams as refusal:
        assert refusal.message.startswith("params")
    else:
        assert from_json(kind, to_json(read)) == read


@given(st.dictionaries(st.sampled_from([*Outer.__dataclass_fields__, "else"]), JSON))
def test_any_object_is_read_or_refused_by_field(raw):
    try:
        from_json(Outer, raw)
    except InvalidParams as refusal:
        assert refusal.message.split()[0].split(".")[0].split("[")[0] in raw


def test_ours_is_left_out_where_there_is_nothing_to_say():
    assert "lite" not in to_json(Device()) and to_json(Device(lite={"slots": 1}))["lite"] == {"slots": 1}
    assert to_json(Device())["last_seen"] == 0 and to_json(Device())["status"] == "UNKNOWN"


def test_bytes_are_left_for_the_encoder_to_place():
    assert to_json(ComputeTask(task_data=b"\x00"))["task_data"] == b"\x00"


# ---- proto3's rules ------------------------------------------------------------------------------


def test_missing_and_null_fields_are_the_default():
    names = list(Outer.__dataclass_fields__)
    assert from_json(Outer, {}) == from_json(Outer, dict.fromkeys(names)) == from_json(Outer, None) == Outer()


def test_unknown_fields_are_ignored():
    assert from_json(Inner, {"number": 1, "newer": {"x": [1]}}) == Inner(number=1)


@pytest.mark.parametrize("kind, null", [
    (int, 0), (float, 0.0), (str, ""), (bool, False), (bytes, b""), (List[int], []), (Tuple[int, ...], ()),
    (Dict[str, Any], {}), (Dict[str, int], {}), (Colour, Colour.UNKNOWN), (Optional[int], None), (Any, None),
])
def test_null_alone_is_the_zero_of_its_type(kind, null):
    assert from_json(kind, None) == null and type(from_json(kind, None)) is type(null)


@pytest.mark.parametrize("raw, number", [
    (5, 5), ("5", 5), ("-5", -5), (5.0, 5), (-0.0, 0), (2 ** 53 * 1.0, 2 ** 53), (str(-(2 ** 63)), -(2 ** 63)),
    (2 ** 63 - 1, 2 ** 63 - 1),
])
def test_an_integer_may_be_written_as(raw, number):
    assert from_json(int, raw) == number and type(from_json(int, raw)) is int


@pytest.mark.parametrize("raw", [
    True, 5.5, "", "-", "--5", "5-", "5.0", "+5", " 5", "5_0", "٣", "²", "1" * 30, 2 ** 63, str(2 ** 63),
    -(2 ** 63) - 1, 1e300, math.inf, math.nan, [], {}, b"5",
])
def test_not_an_integer(raw):
    assert_refused(int, raw, "cpu_cores must be an integer", where="cpu_cores")


@pytest.mark.parametrize("raw, number", [
    (1, 1.0), (1.5, 1.5), ("1.5", 1.5), ("-1e3", -1000.0), ("1E-2", 0.01), ("7", 7.0),
])
def test_a_double_may_be_written_as(raw, number):
    assert from_json(float, raw) == number and type(from_json(float, raw)) is float


@pytest.mark.parametrize("raw", [
    True, "NaN", "Infinity", "-Infinity", "inf", "1e999", "", "1_0", " 1", "٣", "1.", "0x1", math.inf, math.nan,
    10 ** 400, [], {}, b"1",
])
def test_not_a_double(raw):
    assert_refused(float, raw, "must be a number")


@pytest.mark.parametrize("raw", [
    "+/8=", "-_8=", "+/8", "-_8", b"\xfb\xff", bytearray(b"\xfb\xff"), memoryview(b"\xfb\xff"),
])
def test_bytes_may_be_base64_of_either_alphabet_or_an_attachment(raw):
    assert bytes(from_json(bytes, raw)) == b"\xfb\xff"


@given(st.binary(max_size=40))
def test_base64_of_every_length_is_read(data):
    for text in (base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()):
        assert from_json(bytes, text) == from_json(bytes, text.rstrip("=")) == data


@pytest.mark.parametrize("raw", [
    "A", "AAAAA", "AA=", "AA===", "A===", "=", "AA==AA==", "A!AA", "AA AA", "AAAA\n", "é", 5, [], True,
])
def test_not_bytes(raw):
    assert_refused(bytes, raw, "must be base64 text or an attachment")


@pytest.mark.parametrize("raw", ["RED", 1])
def test_an_enum_may_be_its_name_or_its_number(raw):
    assert from_json(Colour, raw) is Colour.RED


@pytest.mark.parametrize("raw", ["red", "", 2, -1, 1.0, True, [], {}])
def test_not_an_enum(raw):
    assert_refused(Colour, raw, "must be one of UNKNOWN, RED")


@pytest.mark.parametrize("raw", [1, 0, "true", "", [], {}])
def test_not_a_truth_value(raw):
    assert_refused(bool, raw, "must be true or false")


@pytest.mark.parametrize("kind, raw, words", [
    (Outer, [], "the value must be an object, not an array"), (Outer, "x", "an object, not this string"),
    (Outer, {"inner": {"number": "x"}}, "inner.number must be an integer, not this string"),
    (Outer, {"items": [{}, {"colour": "BLUE"}]}, "items[1].colour must be one of UNKNOWN, RED"),
    (Outer, {"counts": {"a": True}}, "counts.a must be an integer, not true or false"),
    (Outer, {"pair": {}}, "pair must be an array, not an object"),
    (Outer, {"text": 1}, "text must be a string, not this number"),
    (Outer, {"text": b"x"}, "text must be a string, not an attachment"),
    (Outer, {"lite": []}, "lite must be an object"), (Outer, {"maybe": []}, "maybe must be an integer"),
])
def test_a_refusal_names_the_field(kind, raw, words):
    assert_refused(kind, raw, words)


def test_a_type_that_no_message_uses_is_a_bug_of_ours():
    with pytest.raises(TypeError, match="set"):
        reader_of(set)


# ---- schemas -------------------------------------------------------------------------------------


def test_a_schema_says_the_types_of_every_field():
    properties = schema_of(Outer)["properties"]
    assert list(properties) == list(Outer.__dataclass_fields__)
    assert properties["data"] == {"type": "string", "contentEncoding": "base64"}
    assert properties["inner"]["properties"]["colour"] == {"type": "string", "enum": ["UNKNOWN", "RED"]}
    assert properties["items"]["items"]["title"] == "Inner"
    assert properties["pair"] == {"type": "array", "items": {"type": "integer"}}
    assert properties["maybe"] == {"type": "integer"} and properties["anything"] == {}
    counts = {"type": "object", "additionalProperties": {"type": "integer"}}
    assert properties["counts"] == schema_of(Mapping[str, int]) == counts
    json.dumps(schema_of(Device))
