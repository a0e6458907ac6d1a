"""Values travel as tagged JSON: whatever goes in comes out, and whatever hostile comes in raises TaskRejected."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import enum
import fractions
import importlib
import json
import math
import pathlib
import re
import socket
import subprocess
import sys
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.errors import TaskRejected
from discompute_lite.tasks.value_kinds import VALUE_KINDS
from discompute_lite.tasks.class_book import PICKLES_ALLOWED, ClassBook
from discompute_lite.tasks.value_collections import COLLECTION_TAGS
from discompute_lite.tasks.value_objects import OBJECT_TAGS
from discompute_lite.tasks.blob_values import Blob, LentBlobs, lending
from discompute_lite.tasks.value_table import VALUE_TAGS, value_table_markdown
from discompute_lite.tasks import value_parts
from discompute_lite.tasks.value_parts import VALUE_DEPTH, shared_parts
from discompute_lite.tasks.values import LONG_TEXT_BYTES, decode_value, dump_value, encode_value, load_value


def travelled(value):
    """Return what arrives when `value` is sent."""
    return load_value(dump_value(value))


def assert_travels(value):
    arrived = travelled(value)
    assert type(arrived) is type(value)
    assert arrived == value


def assert_refused(data, *words):
    with pytest.raises(TaskRejected) as refusal:
        load_value(data if isinstance(data, bytes) else data.encode())
    for word in words:
        assert word in refusal.value.message


# ---- what travels ---------------------------------------------------------------------------------

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(),
    st.characters(categories=["Cs"]), st.decimals(allow_nan=False), st.fractions(), st.uuids(), st.dates(),
    st.datetimes(timezones=st.none() | st.just(datetime.timezone.utc)), st.times(), st.timedeltas(),
    st.complex_numbers(allow_nan=False), st.builds(range, st.integers(), st.integers(), st.integers(1, 9)),
)
hashables = st.recursive(scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4)
values = st.recursive(
    scalars | st.builds(bytearray, st.binary()),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(hashables, inner, max_size=3)
    | st.dictionaries(st.text(max_size=3) | st.just("$t"), inner, max_size=3) | st.sets(hashables, max_size=3)
    | st.builds(collections.OrderedDict, st.dictionaries(hashables, inner, max_size=3))
    | st.builds(collections.deque, st.lists(inner, max_size=3), st.none() | st.integers(3, 9)),
    max_leaves=12,
)


def same(first, second):
    """Compare with types, order and the sign of zero; sets hold equal items whose type may differ (1 and True)."""
    if type(first) is not type(second):
        return False
    if isinstance(first, collections.deque) and first.maxlen != second.maxlen:
        return False
    if isinstance(first, (list, tuple, collections.deque)):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, dict):
        return same([list(pair) for pair in first.items()], [list(pair) for pair in second.items()])
    if isinstance(first, float):
        return first == second and math.copysign(1, first) == math.copysign(1, second)
    return first == second


@given(values)
def test_whatever_is_sent_arrives(value):
    data = dump_value(value)
    assert b"\n" not in data
    data.decode("utf-8")
    assert same(load_value(data), value)
    assert same(load_value(memoryview(data)), value)


@given(values)
def test_what_is_written_is_strict_json(value):
    def refuse(text):
        raise AssertionError(text)

    plain = json.loads(dump_value(value), parse_constant=refuse)
    assert plain == encode_value(value)


@pytest.mark.parametrize("value", [
    2 ** 63 - 1, -2 ** 63, 2 ** 63, -2 ** 63 - 1, 10 ** 600, -10 ** 5000, 1 << 500_000, float("inf"), float("-inf"),
    -0.0,
    "\ud800 lone", {"$t": 1}, {1: "a", "1": "b"}, {(1, 2): [3]}, {None: 0}, slice(1, None, [2]), range(0, 10 ** 30, 7),
    array.array("d", [1.5, float("inf")]), array.array("L", [1, 2]), array.array("b"),
    memoryview(b"ab"), memoryview(bytearray(8)).cast("i"), memoryview(bytes(8)).cast("B", (2, 4)),
    memoryview(array.array("l", [1, -1])),
    datetime.datetime(2024, 8, 28, 18, 30, 45, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=-3), "X"), fold=1),
    datetime.timezone.utc, datetime.timedelta.min, decimal.Decimal("1.50"), decimal.Decimal("Infinity"),
    decimal.Decimal("1e-999999"), fractions.Fraction(-1, 3), uuid.UUID(int=7), pathlib.Path("a/b"),
    pathlib.PureWindowsPath("c:\\x"), pathlib.PurePosixPath("/"), {1, "a", (2, 3)}, frozenset([frozenset()]), (), [[]],
    collections.OrderedDict([("b", [1]), ("a", (2,))]), collections.Counter("abracadabra"), collections.deque([1, [2]]),
    collections.deque(maxlen=0), collections.defaultdict(None, {1: 2}), collections.Counter({(1, 2): 10 ** 30}),
], ids=lambda value: type(value).__name__)
def test_kinds_keep_type_and_value(value):
    assert_travels(value)


def test_containers_keep_what_they_have_besides_their_items():
    groups = travelled(collections.defaultdict(list, {"a": [1]}))
    groups["new"].append(2)
    assert groups == {"a": [1], "new": [2]} and groups.default_factory is list
    assert travelled(collections.defaultdict(collections.Counter)).default_factory is collections.Counter
    recent = travelled(collections.deque(range(50), maxlen=50))
    recent.append(50)
    assert recent.maxlen == 50 and list(recent) == list(range(1, 51))
    order = travelled(collections.OrderedDict.fromkeys("zxy"))
    order.move_to_end("z")
    assert list(order) == ["x", "y", "z"]


def test_containers_are_shared_and_may_hold_themselves():
    kinds = [collections.OrderedDict(), collections.Counter(), collections.defaultdict(list), collections.deque()]
    *arrived, second = travelled([*kinds, kinds[0]])
    assert second is arrived[0] and list(map(type, arrived)) == list(map(type, kinds))
    ring = collections.deque([1])
    ring.append((ring, "in a tuple"))
    arrived = travelled(ring)
    assert arrived[1][0] is arrived and arrived[1][1] == "in a tuple"
    tree = collections.defaultdict(list)
    tree["self"] = tree
    tree["tuple"] = (tree,)
    arrived = travelled(tree)
    assert arrived["self"] is arrived and arrived["tuple"][0] is arrived and list(arrived) == ["self", "tuple"]


def test_a_container_that_was_given_attributes_is_refused_rather_than_robbed_of_them():
    marked = collections.OrderedDict(a=1)
    marked.note = "mine"
    with pytest.raises(TaskRejected, match="attributes of its own"):
        dump_value(marked)


def test_odd_numbers_stay_odd():
    assert math.isnan(travelled(float("nan")))
    assert travelled(decimal.Decimal("sNaN")).is_snan()
    assert travelled(datetime.time(1, fold=1)).fold == 1
    assert travelled(datetime.timezone.utc) is datetime.timezone.utc
    assert [type(item) for item in travelled([True, 1, 1.0])] == [bool, int, float]


def test_views_are_as_writable_as_they_were():
    assert travelled(memoryview(b"ab")).readonly
    assert not travelled(memoryview(bytearray(b"ab"))).readonly


def test_arrays_of_c_types_fit_another_platforms_sizes():
    small = {"$t": "array", "v": ["l", 4, encode_value(array.array("i", [1, -2]).tobytes())]}
    assert decode_value(small) == array.array("l", [1, -2])
    large = {"$t": "array", "v": ["i", 8, encode_value(array.array("q", [2 ** 40]).tobytes())]}
    assert_refused(json.dumps(large), "'array'")


# ---- shared and cyclic ------------------------------------------------------------------------------


def test_shared_parts_stay_shared():
    part, data, view = [1], bytearray(b"x"), {"a": 1}
    first, second, (third, fourth), fifth, sixth = travelled([part, part, (data, data), view, {"v": view}])
    assert first is second and first == [1]
    assert third is fourth
    assert sixth["v"] is fifth


def test_cycles_stay_cycles():
    ring = [1]
    ring.append(ring)
    arrived = travelled(ring)
    assert arrived[0] == 1 and arrived[1] is arrived
    table = {}
    table["self"] = [table]
    arrived = travelled(table)
    assert arrived["self"][0] is arrived


def test_tuples_within_cycles_are_made_once():
    inner = []
    first = (inner, 1)
    second = (first, 2)
    inner += [second, first, {"k": second}]
    arrived = travelled(first)
    assert arrived[0][1] is arrived and arrived[0][0][0] is arrived
    assert arrived[0][2]["k"] is arrived[0][0]
    assert arrived[1] == 1 and arrived[0][0][1] == 2


def test_equal_parts_are_not_shared():
    first, second = travelled([[1], [1]])
    assert first is not second


def test_small_constants_are_repeated_rather_than_referred_to():
    assert dump_value([(0, 0)] * 2) == b'[{"$t":"tuple","v":[0,0]},{"$t":"tuple","v":[0,0]}]'


def test_a_tuple_small_in_memory_is_small_on_paper():
    value = ()
    for _ in range(60):
        value = (value, value)
    assert len(dump_value(value)) < 5000
    arrived = travelled(value)
    assert arrived[0] is arrived[1]


# ---- what does not travel -----------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = 1


class Names(list):
    pass


class Tally(collections.Counter):
    pass


class datetime_(datetime.date):
    pass


@pytest.mark.parametrize("value, path, kind", [
    (Names(), "result", "a Names"),
    ({"model": [1, {2: object()}]}, "result['model'][1][2]", "an object"),
    ([Tally()], "result[0]", "a Tally"), ({"a": collections.deque([object()])}, "result['a'][0]", "an object"),
    ([collections.OrderedDict(a=[object()])], "result[0]['a'][0]", "an object"),
    ([collections.defaultdict(lambda: 1)], "result[0]", "a defaultdict"),
    ([collections.defaultdict(Names)], "result[0]", "a defaultdict"),
    ({"a": Colour.RED}, "result['a']", "a Colour"),
    ((lambda: 1,), "result[0]", "a function"),
    ({object(): 1}, "result's key", "an object"),
    ([{frozenset([Colour.RED])}], "result[0]'s item's item", "a Colour"),
    ([datetime_(2024, 1, 1)], "result[0]", "a datetime_"),
    (array.array("w" if sys.version_info >= (3, 13) else "u", "ab"), "result", "an array"),
    (sys, "result", "a module"),
])
def test_the_culprit_is_named_with_its_place(value, path, kind):
    with pytest.raises(TaskRejected, match="cannot travel") as refusal:
        dump_value(value, "result")
    assert refusal.value.message.startswith(f"{path} is {kind}; it cannot travel: ")


@pytest.mark.parametrize("value, advice", [
    (Names(), "send list(it) instead"), (Tally(), "send dict(it) instead"), (datetime_(2024, 1, 1), "send plain data"),
    (type("Text", (str,), {})("x"), "send str(it) instead"), (collections.defaultdict(Names), "pass dict(it)"),
])
def test_what_to_send_instead_is_said(value, advice):
    with pytest.raises(TaskRejected, match=re.escape(advice)):
        dump_value(value)


def test_a_socket_is_no_data():
    with socket.socket() as one, pytest.raises(TaskRejected, match="is a socket"):
        dump_value([one])


def test_a_class_that_borrows_a_name_is_not_the_real_one():
    fake = type("Decimal", (), {"__module__": "decimal", "__str__": lambda self: "1"})
    with pytest.raises(TaskRejected, match="a Decimal"):
        dump_value(fake())


def test_depth_is_limited_on_both_sides_alike():
    def nested(levels, kind):
        value = kind([0])
        for _ in range(levels):
            value = kind([value])
        return value

    for kind in (list, tuple, lambda items: {"k": items[0]}, lambda items: {1: items[0]}):
        assert travelled(nested(VALUE_DEPTH - 5, kind)) is not None
        with pytest.raises(TaskRejected, match="deep"):
            dump_value(nested(VALUE_DEPTH + 5, kind))
        with pytest.raises(TaskRejected, match="deep"):
            dump_value(nested(20_000, kind))
    marked = nested(VALUE_DEPTH + 5, list)
    assert shared_parts([marked, marked]) == {id(marked)}, "what is met twice is seen above the limit"
    assert_refused("[" * (VALUE_DEPTH + 5) + "]" * (VALUE_DEPTH + 5), "deep")


def test_what_is_too_deep_is_not_looked_through(monkeypatch):
    value, looks = [], []
    for _ in range(20_000):
        value = [value]
    look = value_parts._parts_of
    monkeypatch.setattr(value_parts, "_parts_of", lambda part: (looks.append(1), look(part))[1])
    with pytest.raises(TaskRejected, match="nested deeper") as caught:
        dump_value(value)
    assert len(looks) <= VALUE_DEPTH + 2 and len(caught.value.message) < 1000


# ---- hostile data ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [
    "", " ", "{", "nul", "[1,]", "NaN", "Infinity", "1e400", "-1e400", "[1e999,2.0]", "9223372036854775808", "1" * 5000,
    "[" * 100_000, '{"a":' * 100_000, '{"$t":1}', '{"$t":null}', '{"$t":[]}', '{"$t":"nothing","v":1}',
    '{"$t":"tuple"}',
    '{"$t":"tuple","v":{}}', '{"$t":"list","v":"ab"}', '{"$t":"dict","v":[[1]]}', '{"$t":"dict","v":[1]}',
    '{"$t":"dict","v":{"a":1}}', '{"$t":"dict","v":[[[],1]]}', '{"$t":"set","v":[[]]}', '{"$t":"set","v":"abc"}',
    '{"$t":"ref","v":1}', '{"$t":"ref","v":"a"}', '{"$t":"ref","v":[]}', '{"$t":"ref"}',
    '[{"$t":"list","id":1,"v":[]},{"$t":"list","id":1,"v":[]}]', '{"$t":"list","id":-1,"v":[]}',
    '{"$t":"list","id":"x","v":[]}', '{"$t":"tuple","id":1,"v":[{"$t":"ref","v":1}]}',
    '{"$t":"tuple","id":1,"v":[{"$t":"ref","v":1},{"$t":"ref","v":1}]}',
    '{"$t":"tuple","id":1,"v":[{"$t":"set","v":[{"$t":"ref","v":1}]}]}',
    '{"$t":"tuple","id":1,"v":[{"$t":"dict","v":[[{"$t":"ref","v":1},1]]}]}',
    '{"$t":"set","id":1,"v":[{"$t":"ref","v":1}]}',
    '{"$t":"deque","v":[]}', '{"$t":"deque","v":[-1,[]]}', '{"$t":"deque","v":["3",[]]}',
    '{"$t":"deque","v":[1,[1,2]]}', '{"$t":"deque","v":[null,5]}',
    '{"$t":"deque","v":[99999999999999999999,[]]}', '{"$t":"deque","v":[true,[]]}',
    '{"$t":"counter","v":{"a":1}}', '{"$t":"counter","v":[null,[]]}', '{"$t":"ordereddict","v":[[[],1]]}',
    '{"$t":"defaultdict","v":["eval",[]]}', '{"$t":"defaultdict","v":[[],[]]}', '{"$t":"defaultdict","v":["list",5]}',
    '{"$t":"int","v":5}', '{"$t":"int","v":"x"}', '{"$t":"int","v":"0x"}', '{"$t":"float","v":"1.5"}',
    '{"$t":"float","v":[]}', '{"$t":"str","v":"x"}', '{"$t":"bytes","v":5}', '{"$t":"bytes","v":"A"}',
    '{"$t":"bytes","v":"AP8"}', '{"$t":"bytes","v":"A P8="}', '{"$t":"bytes","v":"\u00e4\u00e4\u00e4\u00e4"}',
    '{"$t":"complex","v":[1]}', '{"$t":"complex","v":["a","b"]}', '{"$t":"range","v":[0,1,0]}',
    '{"$t":"range","v":[0,1.5,1]}',
    '{"$t":"slice","v":[1]}', '{"$t":"memoryview","v":["P",[8],{"$t":"bytes","v":"AAAAAAAAAAA="}]}',
    '{"$t":"memoryview","v":["i",[3],{"$t":"bytes","v":"AP8="}]}', '{"$t":"array","v":["O",8,{"$t":"bytes","v":""}]}',
    '{"$t":"array","v":["i",3,{"$t":"bytes","v":"AP8A"}]}', '{"$t":"array","v":["h",2,{"$t":"bytes","v":"AP8A"}]}',
    '{"$t":"datetime","v":["2024-13-01T00:00:00",0,null]}', '{"$t":"datetime","v":["2024-12-01T00:00:00",0,"UTC"]}',
    '{"$t":"date","v":7}', '{"$t":"time","v":["25:00",0,null]}', '{"$t":"timedelta","v":[999999999999,0,0]}',
    '{"$t":"timezone","v":[{"$t":"timedelta","v":[2,0,0]}]}', '{"$t":"decimal","v":"one"}', '{"$t":"decimal","v":[1]}',
    '{"$t":"fraction","v":[1,0]}', '{"$t":"fraction","v":["1","2"]}', '{"$t":"uuid","v":"x"}', '{"$t":"uuid","v":5}',
    '{"$t":"path","v":["Popen","ls"]}', '{"$t":"path","v":["PosixPath",5]}', '{"$t":"path","v":"a"}',
    '{"$t":"ndarray","v":["O",[1],{"$t":"bytes","v":"AAAAAAAAAAA="}]}',
    '{"$t":"ndarray","v":["<f4",[2],{"$t":"bytes","v":""}]}',
    '{"$t":"ndarray","v":["<f4",[-1],{"$t":"bytes","v":""}]}', '{"$t":"ndarray","v":["<f4","x",{"$t":"bytes","v":""}]}',
    '{"$t":"ndarray","v":["<f99",[0],{"$t":"bytes","v":""}]}',
    '{"$t":"ndarray","v":[["<f4"],[0],{"$t":"bytes","v":""}]}',
], ids=lambda data: data[:40])
def test_hostile_text_is_refused(data):
    assert_refused(data)


def test_bytes_that_are_not_utf8_are_refused():
    assert_refused(b'"\xff"')
    assert_refused(b"\xff\xfe[\x00")


def test_what_is_not_json_is_refused():
    for plain in (object(), b"x", {1, 2}, [object()], {"a": b"x"}):
        with pytest.raises(TaskRejected):
            decode_value(plain)


def test_long_numbers_cost_little():
    # Decimal text would take seconds on Python 3.9; hexadecimal is linear.
    assert travelled(1 << 8_000_000) == 1 << 8_000_000
    assert_refused('{"$t":"int","v":"' + "9" * 1_000_000 + '"}', "hexadecimal")
    assert_refused(json.dumps({"$t": "fraction", "v": [encode_value(3 ** 400_000), 2]}), "bits")
    assert_refused(json.dumps({"$t": "decimal", "v": "1" * 200_000}), "characters")


def test_huge_ranges_and_empty_shapes_cost_nothing():
    assert travelled(range(10 ** 18)) == range(10 ** 18)
    load_value(b'{"$t":"ndarray","v":["<f4",[1000000000,0],{"$t":"bytes","v":""}]}')


json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2 ** 64) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    | st.fixed_dictionaries(
        {"$t": st.sampled_from([*VALUE_TAGS, "unknown"]), "v": inner}, optional={"id": st.integers(-1, 3)})
    | st.builds(lambda mark: {"$t": "ref", "v": mark}, st.integers(0, 3)),
    max_leaves=20,
)


@given(json_like)
def test_any_json_is_a_value_or_refused(plain):
    try:
        decode_value(plain)
    except TaskRejected:
        pass


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_refused(data):
    try:
        load_value(data)
    except TaskRejected:
        pass


# ---- NumPy --------------------------------------------------------------------------------------------------


def test_numpy_arrays_and_scalars_travel():
    np = pytest.importorskip("numpy")
    for value in (
        np.arange(6, dtype="<f4").reshape(2, 3), np.array([[1, 2], [3, 4]], order="F"), np.arange(10)[::2], np.array(5),
        np.zeros((0, 3)), np.array([True, False]), np.array([1 + 2j]), np.array(["ab", "c"]), np.array([1, 2], ">i2"),
        np.float16([0.5]),
    ):
        arrived = travelled(value)
        assert arrived.dtype == value.dtype and arrived.shape == value.shape and (arrived == value).all()
        arrived.setflags(write=True)
    for scalar in (np.float64(1.5), np.int8(-3), np.bool_(True), np.complex64(1j)):
        arrived = travelled({"loss": scalar})["loss"]
        assert type(arrived) is type(scalar) and arrived == scalar
    shared = np.zeros(2)
    first, second = travelled([shared, shared])
    assert first is second
    for odd in (np.array([object()]), np.array(["2024"], "datetime64[D]"), np.ma.array([1])):
        with pytest.raises(TaskRejected, match="ndarray|MaskedArray"):
            dump_value(odd)


def test_arrays_become_lists_where_numpy_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)

    def arrived(kind, shape, data):
        return decode_value({"$t": "ndarray", "v": [kind, shape, encode_value(data)]})

    assert arrived("<f4", [2, 2], array.array("f", [1, 2, 3, 4]).tobytes()) == [[1.0, 2.0], [3.0, 4.0]]
    assert arrived(">i2", [2], b"\x00\x01\xff\xff") == [1, -1]
    assert arrived("|b1", [1, 2, 1], b"\x01\x00") == [[[True], [False]]]
    assert arrived("<f8", None, array.array("d", [1.5]).tobytes()) == 1.5
    assert arrived("<c8", [1], array.array("f", [1, 2]).tobytes()) == [1 + 2j]
    assert arrived("<f2", [1], b"\x00\x38") == [0.5]
    assert arrived("<f4", [3, 0], b"") == []
    assert_refused('{"$t":"ndarray","v":["<U1",[1],{"$t":"bytes","v":"YQAAAA=="}]}', "NumPy")


# ---- the table --------------------------------------------------------------------------------------------------


#: Kinds that arrive as something else where their library is missing.
LIBRARIES = {"ndarray": "numpy", "torch": "torch", "mlx": "mlx.core", "tinygrad": "tinygrad", "jax": "jax"}


@pytest.mark.parametrize("tag", VALUE_TAGS)
def test_the_golden_example_is_read_and_written(tag):
    if tag in LIBRARIES:
        pytest.importorskip(LIBRARIES[tag])
    example, _ = VALUE_TAGS[tag]
    if tag in OBJECT_TAGS:
        importlib.import_module(json.loads(example)["v"][0])
    assert f'"$t":"{tag}"' in example
    classes = ClassBook(pickles=PICKLES_ALLOWED) if tag in OBJECT_TAGS | {"pickle"} else None
    if tag == "blob":
        # A handle is written, the value itself is read: tests/tasks/test_blob_values.py.
        sha256 = json.loads(example)["v"]
        assert dump_value(Blob(sha256, 3)).decode() == example
        with lending(LentBlobs({}, "t", "f")), pytest.raises(TaskRejected, match="not sent along"):
            load_value(example.encode())
        return
    assert dump_value(load_value(example.encode(), classes), classes=classes).decode() == example


def test_every_tag_is_in_the_table():
    assert set(VALUE_TAGS) == set(VALUE_KINDS) | OBJECT_TAGS | {
        "tuple", "list", "dict", "ref", "set", "frozenset", "pickle", *COLLECTION_TAGS.values()}
    table = value_table_markdown().splitlines()
    assert len(table) == len(VALUE_TAGS) + 2
    assert all(line.count(" | ") == 2 for line in table)


def test_values_are_recognised_without_importing_what_they_might_be(root):
    code = "import sys; from discompute_lite.tasks.values import dump_value; dump_value([1, object])"
    code = code.replace("object",
        "{'a': (1, b'x')}") + "; print([m for m in ('numpy', 'decimal', 'uuid') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("text", [
    b"[]", b'{"value":null}', b"[[1,2.5],{}]", b'{"a":["x",{"b":true}]}', b"1e300", b'{"key":-9223372036854775808}',
    b'{"t":"$t"}', b'{"\\u0024t":"tuple","v":[1]}', b'{"$t":"tuple","v":[]}', b"[" * 101 + b"]" * 101,
    b"[" * 50 + b"]" * 50, b"[1e999]", b'{"x":-1e999}', b"9" * 400 + b".0",
])
def test_a_short_text_without_tags_is_read_as_any_other(text):
    def outcome(read):
        try:
            return read()
        except TaskRejected:
            return "refused"

    # Beyond the length up to which texts count as short, the same text is read with every step.
    long = text + b" " * LONG_TEXT_BYTES
    assert outcome(lambda: load_value(text)) == outcome(lambda: load_value(long))
