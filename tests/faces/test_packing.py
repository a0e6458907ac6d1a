"""Functions kept packed: only as long as they are what they were."""

import enum
import functools
import gc
import math
import threading
import types
import weakref

import pytest

from discompute_lite.faces import packing
from discompute_lite.faces.packing import SEEN_MOST, FunctionPacker, things_seen
from discompute_lite.tasks import calls
from discompute_lite.tasks.packed_function import load_function

NUMBER = 1
TEXTS = ("a", "b")
NUMBERS = [1, 2]
OWN_MODULE = types.ModuleType("a_module_of_ones_own")
OWN_MODULE.FACTOR = 3


class Colour(enum.Enum):
    RED = 1


class Shape:
    SIDES = 4

    @staticmethod
    def area(side):
        return side * side * NUMBER

    @property
    def corners(self):
        return self.SIDES


def plain(x):
    return x + NUMBER


def through_another(x):
    return plain(x)


def inside(x):
    return [NUMBER + each for each in range(x)]


def in_a_lambda(x):
    return (lambda: NUMBER)()


def texts():
    return TEXTS


def mutable():
    return NUMBERS


def with_class(x):
    return Shape.area(x), Colour.RED


def with_default(x, y=NUMBER, *, z=5):
    return x + y + z


def recursive(n):
    return n and recursive(n - 1) + NUMBER


def library(x):
    return math.sqrt(x) + len(functools.reduce(max, [[x]]))


def of_module():
    return OWN_MODULE.FACTOR


@pytest.fixture
def packer(monkeypatch):
    packer = FunctionPacker()
    packer.times = 0
    original = packer.pack

    def counted(packed, *rest):
        packer.times += 1
        return calls.function_line(packed, *rest)

    monkeypatch.setattr("discompute_lite.faces.packing.function_line", counted)
    packer.pack = original
    return packer


def returned(packed, *arguments):
    return load_function(calls._packed_of_line(packed.line))(*arguments)


@pytest.mark.parametrize("function", [
    plain, through_another, inside, texts, with_class, with_default, recursive, library, in_a_lambda, of_module,
])
def test_a_function_that_has_not_changed_is_packed_once(packer, function):
    first = packer.pack(function)
    assert packer.pack(function) is first and packer.times == 1


def with_a_cell():
    cell = 5

    def function(x, y="default"):
        return x, y, cell, NUMBER, len, [cell for _ in range(NUMBER)]

    return function


@pytest.mark.parametrize("function", [plain, library, in_a_lambda, inside, with_a_cell()])
def test_what_refers_to_nothing_that_has_parts_is_told_by_what_it_refers_to(packer, monkeypatch, function):
    first = packer.pack(function)
    monkeypatch.setattr(packing, "things_seen", None)
    assert packer.pack(function) is first and packer.times == 1


@pytest.mark.parametrize("change", [
    lambda function, names: names.update(NUMBER=1000), lambda function, names: names.update(NUMBER=[1]),
    lambda function, names: names.update(NUMBER=plain), lambda function, names: names.update(len=max),
    lambda function, names: names.pop("NUMBER"),
    lambda function, names: setattr(function, "__defaults__", ("another",)),
    lambda function, names: setattr(function, "__defaults__", None),
    lambda function, names: setattr(function, "__kwdefaults__", {"z": 1}),
    lambda function, names: setattr(function, "note", 1),
    lambda function, names: setattr(function, "__code__", with_a_cell().__code__.replace(co_name="renamed")),
    lambda function, names: setattr(function.__closure__[0], "cell_contents", 6),
])
def test_each_of_these_may_have_changed(packer, monkeypatch, change):
    for name, value in (("NUMBER", 1), ("len", len)):
        monkeypatch.setitem(globals(), name, value)  # What it was comes back in the end.
    function = with_a_cell()
    first = packer.pack(function)
    monkeypatch.setattr(packer, "_packed_now", lambda *what: "packed anew")
    assert packer.pack(function) is first
    change(function, globals())
    assert packer.pack(function) == "packed anew"


@pytest.mark.parametrize("function, argument", [
    (plain, 1), (through_another, 1), (inside, 2), (with_class, 3), (recursive, 3), (in_a_lambda, 0),
])
def test_a_global_that_stands_for_something_else_is_seen_however_deep(packer, monkeypatch, function, argument):
    before = packer.pack(function)
    monkeypatch.setitem(globals(), "NUMBER", 1000)
    after = packer.pack(function)
    assert packer.times == 2 and returned(after, argument) != returned(before, argument)


def test_what_may_change_unseen_is_packed_each_time(packer):
    assert returned(packer.pack(mutable)) == [1, 2]
    NUMBERS.append(3)
    assert returned(packer.pack(mutable)) == [1, 2, 3] and packer.times == 2
    NUMBERS.pop()


def test_a_class_that_changes_is_seen(packer, monkeypatch):
    before = packer.pack(with_class)
    monkeypatch.setattr(Shape, "area", staticmethod(lambda side: -side))
    assert packer.pack(with_class) is not before
    monkeypatch.setattr(Shape, "SIDES", [])
    packer.pack(with_class)
    packer.pack(with_class)
    assert packer.times == 4, "a list in a class may change unseen"


class Meta(type):
    @property
    def number(cls):
        return NUMBER


class OfMeta(metaclass=Meta):
    pass


class Scaled(float):
    def __new__(cls, value):
        return super().__new__(cls, value * NUMBER)

    @property
    def __doubled__(self):
        return 2 * NUMBER

    def __class_getitem__(cls, item):
        return item * NUMBER


class Size(enum.Enum):
    SMALL = 2

    @classmethod
    def all(cls):
        return len(cls) * NUMBER

    @staticmethod
    def unit():
        return NUMBER

    @property
    def scaled(self):
        return self.value * NUMBER

    def method(self):
        return self.value * NUMBER


def calling_a_member():
    member = Size.SMALL
    return lambda: member.method()


@pytest.mark.parametrize("function", [
    lambda: float(Scaled(1)), lambda: Scaled[1], lambda: Scaled(1).__doubled__, lambda: OfMeta.number,
    lambda: Size.all(), lambda: Size.unit(), lambda: Size.SMALL.scaled, calling_a_member(),
])
def test_whatever_a_class_does_is_seen(packer, monkeypatch, function):
    before = packer.pack(function)
    assert packer.pack(function) is before
    monkeypatch.setitem(globals(), "NUMBER", 1000)
    after = packer.pack(function)
    assert returned(after) == function() != returned(before)


def test_defaults_and_attributes_are_seen(packer, monkeypatch):
    before = packer.pack(with_default)
    monkeypatch.setattr(with_default, "__kwdefaults__", {"z": 50})
    after = packer.pack(with_default)
    assert returned(after, 1) == 52 and returned(before, 1) == 7
    monkeypatch.setattr(with_default, "__defaults__", (100,))
    assert returned(packer.pack(with_default), 1) == 151
    monkeypatch.setattr(with_default, "note", 1, raising=False)
    packer.pack(with_default)
    assert packer.times == 4


def test_a_module_of_ones_own_is_seen_by_what_is_used_of_it(packer, monkeypatch):
    before = things_seen(of_module)
    monkeypatch.setattr(OWN_MODULE, "UNUSED", 5, raising=False)
    assert things_seen(of_module) == before
    monkeypatch.setattr(OWN_MODULE, "FACTOR", 4)
    assert things_seen(of_module) != before


def test_closures_are_seen(packer):
    number = 1

    def inner():
        return number

    assert returned(packer.pack(inner)) == 1
    number = 2
    assert returned(packer.pack(inner)) == 2 and packer.pack(inner) and packer.times == 2


def test_which_of_several_equal_things_is_meant_is_seen(packer, monkeypatch):
    names = globals()
    for name, value in (("A", "x"), ("B", "x"), ("C", "y")):
        monkeypatch.setitem(names, name, value)
    function = eval("lambda: (A, B, C)", names)
    before = things_seen(function)
    monkeypatch.setitem(names, "B", "y")
    after = things_seen(function)
    assert len(before) != len(after) or any(one is not other for one, other in zip(before, after))


def test_what_is_no_plain_function_is_packed_each_time(packer):
    for each in (math.sqrt, functools.partial(plain, 1), Shape().__class__.area):
        packer.pack(each)
    packer.pack(functools.partial(plain, 1))
    assert packer.times == 4


def test_too_much_to_compare_is_packed_each_time(packer):
    many = tuple(str(number) for number in range(SEEN_MOST + 1))
    assert things_seen(lambda: many) is None


def made_anew():
    def fresh(n):
        return n and fresh(n - 1)

    return fresh


def test_a_function_that_is_gone_is_forgotten(packer):
    function = made_anew()
    packer.pack(function)
    dead = weakref.ref(function)
    del function
    gc.collect()
    assert dead() is None and not len(packer._packed)


def test_no_two_threads_pack_at_once(monkeypatch):
    busy, met, together = threading.Lock(), [], threading.Barrier(8)
    pack = packing.pack_function

    def pack_function(*args, **named):
        met.append(busy.acquire(blocking=False))
        # Lets others in, as the collector does in the middle of a syntax tree.
        threading.Event().wait(0.001)
        busy.release()
        return pack(*args, **named)

    monkeypatch.setattr(packing, "pack_function", pack_function)
    packer = FunctionPacker()
    threads = [threading.Thread(target=lambda: [together.wait(), packer.pack(len)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert met == [True] * 8
