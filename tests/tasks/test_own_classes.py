"""Values of a person's own classes: they travel with their class, and come back as the class that is here."""

import argparse
import dataclasses
import enum
import functools
import http
import json
import re
import sys
import types
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.faces.calling import FunctionCalls
from discompute_lite.faces.packing import FunctionPacker
from discompute_lite.model.errors import TaskRejected
from discompute_lite.tasks.calls import calls_data, read_outcomes
from discompute_lite.tasks.class_book import ClassBook
from discompute_lite.tasks.jobs import JobTask
from discompute_lite.tasks.values import dump_value, load_value
from discompute_lite.tasks.work import WORK_LIMITS, WorkRequest, run_work


class Colour(enum.Enum):
    RED = object()
    BLUE = 2


class Access(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4


class Level(enum.IntEnum):
    LOW = 1


class Pair(NamedTuple):
    left: Any
    right: Any = 0


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0
    made: int = dataclasses.field(default=0, init=False)

    def __post_init__(self):
        self.made += 1

    @functools.cached_property
    def far(self):
        return self.x * self.x + self.y * self.y


@dataclasses.dataclass(frozen=True)
class Fixed:
    __slots__ = ("inner", "tag")
    inner: Any
    tag: str

    class Part(NamedTuple):
        size: int


class Plain:
    def __init__(self, first, *, second):
        self.first, self.total = first, first + second

    @property
    def twice(self):
        return self.total * 2


class Tree:
    def __init__(self):
        self.children, self.parent = [], None

    def add(self):
        child = Tree()
        child.parent = self
        self.children.append(child)
        return child


class Pickled:
    def __reduce__(self):
        return (Pickled, ())


class Closing:
    def __del__(self):
        pass


class Loud:
    made = 0

    def __new__(cls, *args):
        cls.made += 1
        return super().__new__(cls)


def same(value):
    return value


def there_and_back(function, *args):
    """Call a function as a device does, with nothing but what was sent; return what the submitter gets."""
    calls = FunctionCalls(FunctionPacker(), function)
    unit = calls.one(args, {})
    outcome = run_work(WorkRequest("run", "calls", calls_data(json_line(calls), [unit]), "t/0.1"), WORK_LIMITS)
    assert outcome.ok, outcome.error
    result, = read_outcomes(outcome.data, calls.packed.spaces)
    if result.raised is not None:
        raise result.raised
    return result.values[0]


def json_line(calls):
    assert json.loads(calls.packed.line)["name"]
    return calls.packed.line


MEMBERS = st.sampled_from([*Colour, *Access, Access.READ | Access.RUN, Access(0), Level.LOW, http.HTTPStatus.OK,
                           re.IGNORECASE | re.MULTILINE])
VALUES = st.recursive(
    st.one_of(st.integers(), st.text(), MEMBERS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.builds(Pair, inner, inner), st.builds(Point, inner, inner),
        st.builds(Fixed, inner, st.text()), st.dictionaries(MEMBERS, inner, max_size=3),
        st.builds(lambda part: types.SimpleNamespace(part=part), inner)),
    max_leaves=12)


@given(VALUES)
def test_what_has_a_class_arrives_as_that_class(value):
    book = ClassBook([__name__])
    again = load_value(dump_value(value, classes=book), book)
    assert again == value and type(again) is type(value)


@pytest.mark.parametrize("value", [
    Colour.RED, Access.READ | Access.WRITE, Access(0), Level.LOW, Pair([1], Colour.BLUE), Point(1.5, 2),
    Fixed((1,), "a"), Fixed.Part(3), [Point(1), {"a": {Pair(1, 2): Colour.BLUE}}], http.HTTPStatus.NOT_FOUND,
    argparse.Namespace(a=[1]),
], ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", repr(value)))
def test_a_function_gets_it_and_returns_it_though_it_never_names_the_class(value):
    again = there_and_back(same, value)
    assert again == value and type(again) is type(value)


def test_methods_work_there_and_the_result_is_ones_own_class():
    def grown(point):
        import sys
        assert type(point).__module__ not in ("__main__", "tests"), "the class of the device, not this one"
        assert "pytest" not in getattr(sys.modules[type(point).__module__], "__dict__", {})
        return type(point)(point.x + 1, point.far)

    point = there_and_back(grown, Point(3, 4))
    assert type(point) is Point and (point.x, point.y) == (4, 25)


def test_constructors_are_not_called_again():
    assert there_and_back(same, Point(1)).made == 1
    plain = there_and_back(same, Plain(1, second=2))
    assert (plain.first, plain.total, plain.twice) == (1, 3, 6)
    loud = Loud()
    made = Loud.made
    assert type(load_value(dump_value(loud, classes=ClassBook([__name__])), ClassBook([__name__]))) is Loud
    assert Loud.made == made


def test_what_is_computed_again_stays_at_home():
    point = Point(3, 4)
    assert point.far == 25
    assert "far" not in vars(there_and_back(same, point))


def test_shared_parts_and_cycles_stay_what_they_are():
    tree = Tree()
    tree.add().add()
    again = there_and_back(same, tree)
    assert again.children[0].parent is again and again.children[0].children[0].parent is again.children[0]
    point = Point(1)
    first, second = there_and_back(same, [point, point])
    assert first is second
    items = []
    pair = Pair(items, 1)
    items.append(pair)
    again = there_and_back(same, pair)
    assert type(again) is Pair and again.left[0] is again


def test_a_map_brings_classes_that_turn_up_later():
    calls = FunctionCalls(FunctionPacker(), same)
    calls.many([1, 2], True)
    first = calls.packed
    calls.many([Point(1)], True)
    second = calls.packed
    calls.many([Point(2)], True)
    assert first.sha256 != second.sha256 and calls.packed is second
    assert second.spaces[:len(first.spaces)] == first.spaces


# ---- refusals ------------------------------------------------------------------------------------------


def test_what_cannot_travel_is_named_before_anything_is_sent():
    class Inner:
        pass

    cases = [
        (Inner(), "args[0].a is an Inner; it cannot travel: its class Inner is made inside a function"),
        (Pickled(), "args[0].a is a Pickled; it cannot travel: "),
        (Closing(), "args[0].a is a Closing; it cannot travel: "),
        (open, "args[0].a is a builtin_function_or_method"),
    ]
    for value, words in cases:
        calls = FunctionCalls(FunctionPacker(), same)
        with pytest.raises(TaskRejected) as refused:
            calls.one([types.SimpleNamespace(a=value)], {})
        assert words in str(refused.value)


def test_a_class_without_source_is_refused_and_forgotten(monkeypatch):
    home = types.ModuleType("typed_in")
    monkeypatch.setitem(sys.modules, "typed_in", home)
    exec("class Lost:\n    def m(self): return 1", vars(home))
    calls = FunctionCalls(FunctionPacker(), same)
    for _ in range(2):
        with pytest.raises(TaskRejected, match=r"same \(test_own_classes.py, line \d+\) uses an argument's class, the"):
            calls.one([home.Lost()], {})
    assert calls.one([1], {})


@pytest.mark.parametrize("text", [
    '{"$t":"object","v":["os","stat_result",{}]}',
    '{"$t":"object","v":["subprocess","Popen",{"args":"x"}]}',
    '{"$t":"object","v":["not_loaded_at_all","Point",{}]}',
    '{"$t":"object","v":["elsewhere","Point",{}]}',
    '{"$t":"object","v":["%s","Point",{"__class__":1}]}',
    '{"$t":"object","v":["%s","Point",[]]}',
    '{"$t":"object","v":["%s","Point"]}',
    '{"$t":"object","v":["%s","Pair",{}]}',
    '{"$t":"object","v":["%s","Point.__init__",{}]}',
    '{"$t":"namedtuple","v":["%s","Pair",[1]]}',
    '{"$t":"namedtuple","v":["%s","Pair",7]}',
    '{"$t":"enum","v":["%s","Colour","GREEN"]}',
    '{"$t":"enum","v":["%s","Colour",2]}',
    '{"$t":"enum","v":["%s","Colour",[]]}',
    '{"$t":"enum","v":["%s","Access",1e9]}',
    '{"$t":"enum","v":[["a"],"Access",1]}',
])
def test_hostile_data_make_nothing(text):
    with pytest.raises(TaskRejected):
        load_value((text % __name__ if "%s" in text else text).encode(), ClassBook([__name__]))


def test_a_module_that_is_not_the_functions_gives_no_class():
    text = dump_value(Point(1), classes=ClassBook([__name__]))
    with pytest.raises(TaskRejected, match="there is no class 'Point'"):
        load_value(text, ClassBook(["another"]))
    with pytest.raises(TaskRejected, match="no class belongs to these data"):
        load_value(text)


def test_a_job_hands_its_own_classes_from_split_to_merge():
    source = ("from dataclasses import dataclass\nfrom enum import Enum\n"
              "class Side(Enum):\n    A = 1\n    B = 2\n"
              "@dataclass\nclass Part:\n    side: Side\n    size: int\n"
              "def split(n: int = 3): return [Part(Side(1 + i % 2), i) for i in range(n)]\n"
              "def work(part):\n    assert isinstance(part, Part)\n    return Part(part.side, part.size * 10)\n"
              "def merge(parts): return [[part.side.name, part.size] for part in parts]\n")
    job = JobTask()
    task = dump_value({"source": source, "args": {"n": 3}})
    results = [job.run_data(part, f"device{index}") for index, part in enumerate(job.split_data(task, 3, "split"))]
    assert load_value(job.merge_data(task, results, "merge")) == [["A", 0], ["B", 10], ["A", 20]]
