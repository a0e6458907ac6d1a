"""Many calls of one function in one subtask: what arrives is what each call returned, raised and printed."""

from __future__ import annotations

import json
import sys
import threading
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.errors import TaskRejected
from discompute_lite.model.limits import Limits
from discompute_lite.tasks.calls import (
    LINES_KEPT,
    CallOutcome,
    CallsTask,
    call_unit,
    calls_data,
    function_line,
    items_unit,
    read_outcomes,
    rows_unit,
)
from discompute_lite.tasks.functions import pack_function
from discompute_lite.tasks.packed_function import FUNCTIONS_KEPT, PackedFunction, hash_of_plan
from discompute_lite.tasks.raised import RemoteError, RemoteTraceback
from discompute_lite.tasks.types import TASK_TYPES
from discompute_lite.tasks.values import dump_value, scalar_text
from discompute_lite.tasks.work import BLAME_DEVICE, BLAME_TASK, WORK_LIMITS, WorkRequest, run_work


def run(data, owner="t", limits=WORK_LIMITS):
    """Run a subtask as a device does."""
    return run_work(WorkRequest("run", "calls", data, f"{owner}/0.1"), limits)


def outcomes(function, *units, **options):
    """Return what became of each unit, as the person gets it."""
    packed = pack_function(function)
    outcome = run(calls_data(function_line(packed), units), **options)
    assert outcome.ok and outcome.blame == "", outcome.error
    return list(read_outcomes(outcome.data, packed.plan["spaces"]))


def one(function, *args, **kwargs):
    """Return what became of one call."""
    outcome, = outcomes(function, call_unit(args, kwargs))
    return outcome


def returned(function, *args, **kwargs):
    """Return what one call returned."""
    outcome = one(function, *args, **kwargs)
    assert outcome.raised is None, outcome.raised
    value, = outcome.values
    return value


# ---- what is returned --------------------------------------------------------------------------------


@pytest.mark.parametrize("text, args, kwargs, expected", [
    ("def f(): return 7", (), {}, 7),
    ("def f(): pass", (), {}, None),
    ("def f(a, b=2, *c, d, **e): return a, b, c, d, e", (1, 3, 5), {"d": 4, "g": 6}, (1, 3, (5,), 4, {"g": 6})),
    ("def f(function, caught, unit): return unit", (1, 2, 3), {}, 3),
    ("def f(**k): return k", (), {"self": 2, "args": 3, "rows": 4}, {"self": 2, "args": 3, "rows": 4}),
    ("f = lambda x: x * 2", ("ab",), {}, "abab"),
    ("f = len", ([1, 2],), {}, 2),
    ("import functools\nf = functools.partial(pow, 2)", (10,), {}, 1024),
    ("class A:\n    def __init__(self, n): self.n = n\n    def m(self, x): return self.n + x\nf = A(3).m", (4,), {}, 7),
    ("def f(x): return x", ("a\nb\r\u2028\x1e\ud800",), {}, "a\nb\r\u2028\x1e\ud800"),
    ("def f(x): return x", (b"\n",), {}, b"\n"),
    ("def f(x): return {'$t': x, (1, 2): {x}}", (3,), {}, {"$t": 3, (1, 2): {3}}),
    ("def f(x): return {'value': 1, 'values': [2], 'raised': 3}", (3,), {}, {"value": 1, "values": [2], "raised": 3}),
])
def test_a_call_returns_what_it_returns_at_home(module, text, args, kwargs, expected):
    assert returned(module(text).f, *args, **kwargs) == expected


def test_numbers_of_any_size_travel(module):
    assert returned(module("def f(x): return x + 1").f, 10 ** 5000) == 10 ** 5000 + 1


def test_functions_may_need_more_of_the_persons_modules(module):
    module("RATE = 3\ndef scaled(x): return x * RATE", "scales")
    mine = module("import math\nimport scales\nclass Point:\n    def __init__(self, x): self.x = x\n"
                  "def f(x): return math.floor(scales.scaled(Point(x).x))")
    assert returned(mine.f, 2.5) == 7


def test_arguments_of_one_call_stay_shared(module):
    mine = module("def f(a, b, *, c):\n    a.append(1)\n    return a is b is c[0], b, c")
    box = []
    assert returned(mine.f, box, box, c=[box]) == (True, [1], [[1]])
    assert box == []
    endless = []
    endless.append(endless)
    assert returned(module("def f(a): return a[0] is a").f, endless)
    first, second = outcomes(module("def f(a):\n    a.append(1)\n    return a").f, *[call_unit([box], {})] * 2)
    assert first.values == second.values == [[1]]


@pytest.mark.against
def test_arrays_travel(module):
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(6.0).reshape(2, 3)
    there = returned(module("def f(a, k): return a * 2, a.sum(), k").f, array, array)
    assert (there[0] == array * 2).all() and there[1] == 15.0 and (there[2] == array).all()
    both, = outcomes(module("def f(a): return a + 1").f, items_unit([array, array]))
    assert [(value == array + 1).all() for value in both.values] == [True, True]


def test_many_calls_in_a_unit(module):
    mine = module("def f(x, y=1): return x * 10 + y")
    items, rows, call, nothing, none = outcomes(
        mine.f, items_unit([1, 2, 3]), rows_unit([(1, 2), [3], (4, 5)]), call_unit((7,), {}), items_unit([]),
        rows_unit([]))
    assert items == CallOutcome([11, 21, 31], None, "") and rows.values == [12, 31, 45] and call.values == [71]
    assert nothing == none == CallOutcome([], None, "")


def test_items_may_look_like_anything(module):
    mine = module("def f(*a): return a")
    odd = [[1, {}], {"rows": [[1]]}, {}, [], None, (1,), {"items": [5]}]
    assert outcomes(mine.f, items_unit(odd))[0].values == [(each,) for each in odd]
    assert outcomes(mine.f, rows_unit([[each] for each in odd] + [[]]))[0].values == [(each,) for each in odd] + [()]


def test_a_subtask_without_units_has_an_empty_result(module):
    assert outcomes(module("def f(): pass").f) == []
    assert list(read_outcomes(b"", ())) == []


@given(st.lists(st.one_of(
    st.tuples(st.just("call"), st.lists(st.integers(), max_size=3), st.dictionaries(st.text(max_size=3), st.text())),
    st.tuples(st.just("items"), st.lists(st.text() | st.none() | st.binary())
              | st.builds(lambda start, items: range(start, start + items), st.integers(), st.integers(0, 40)),
              st.none()),
    st.tuples(st.just("rows"), st.lists(st.lists(st.integers(), max_size=2)), st.none())), max_size=5))
def test_units_of_all_kinds_keep_their_order(given_units):
    units, expected = [], []
    for kind, what, more in given_units:
        units.append({"call": lambda what=what, more=more: call_unit(what, more),
                      "items": lambda what=what: items_unit(what), "rows": lambda what=what: rows_unit(what)}[kind]())
        expected.append({"call": lambda what=what, more=more: [(tuple(what), more)],
                         "items": lambda what=what: [((each,), {}) for each in what],
                         "rows": lambda what=what: [(tuple(row), {}) for row in what]}[kind]())
    outcome = run(calls_data(GATHER, units))
    assert outcome.ok, outcome.error
    assert [each.values for each in read_outcomes(outcome.data, ())] == expected


@given(st.integers() | st.booleans(), st.integers() | st.booleans(), st.integers().filter(bool))
def test_the_unit_of_a_range_is_the_text_that_a_range_has_everywhere(start, stop, step):
    assert items_unit(range(start, stop, step)) == dump_value({"items": range(start, stop, step)})


def gather(*args, **kwargs):
    return args, kwargs


GATHER = function_line(pack_function(gather))


# ---- what is raised -----------------------------------------------------------------------------------


def test_a_call_that_raises_has_that_as_its_outcome_and_the_others_go_on(module):
    mine = module("class Odd(Exception):\n    def __init__(self, n): super().__init__(f'{n} is odd'); self.n = n\n"
                  "def f(n):\n    if n % 2: raise Odd(n)\n    return n")
    good, bad, better = outcomes(mine.f, call_unit([2], {}), call_unit([3], {}), call_unit([4], {}))
    assert good.values == [2] and better.values == [4] and good.raised is better.raised is None
    assert bad.values == [] and type(bad.raised) is mine.Odd and bad.raised.n == 3 and str(bad.raised) == "3 is odd"
    assert type(bad.raised.__cause__) is RemoteTraceback and "raise Odd(n)" in str(bad.raised.__cause__)


@pytest.mark.parametrize("unit", [items_unit([4, 2, 0, 1]), rows_unit([[4], [2], [0], [1]])])
def test_calls_after_the_one_that_raises_are_not_made(module, unit):
    mine = module("def f(n):\n    print(n)\n    return 8 // n")
    outcome, following = outcomes(mine.f, unit, call_unit([8], {}))
    assert outcome.values == [2, 4] and type(outcome.raised) is ZeroDivisionError
    assert outcome.printed == "4\n2\n0\n" and following.values == [1]


@pytest.mark.parametrize("body, kind, words", [
    ("import sys; sys.exit(3)", SystemExit, "3"),
    ("exit('bye')", SystemExit, "bye"),
    ("raise KeyboardInterrupt", KeyboardInterrupt, ""),
    ("raise GeneratorExit", GeneratorExit, ""),
    ("return f(x)", RecursionError, "maximum recursion depth exceeded"),
    ("return bytearray(1 << 62)", MemoryError, ""),
    ("raise StopIteration(5)", StopIteration, "5"),
    ("raise", RuntimeError, "No active exception to reraise"),
    ("raise 5", TypeError, "exceptions must derive from BaseException"),
    ("raise x", TypeError, "exceptions must derive from BaseException"),
    ("return open('/nowhere/at/all')", FileNotFoundError, "[Errno 2] No such file or directory: '/nowhere/at/all'"),
])
def test_whatever_is_raised_ends_nothing_else(module, body, kind, words):
    bad, good = outcomes(module(f"def f(x):\n    if x: {body}\n    return 1").f, call_unit([5], {}), items_unit([0, 0]))
    assert type(bad.raised) is kind and str(bad.raised).startswith(words) and good.values == [1, 1]


@pytest.mark.parametrize("unit", [items_unit([1, 5, 0, 1]), items_unit(range(1, 9, 4)), rows_unit([[1], [5], [0]])])
@pytest.mark.parametrize("body, kind, args", [
    ("raise StopIteration(x, 'it is')", StopIteration, (5, "it is")),
    ("next(iter(()))", StopIteration, ()),
    ("raise StopIteration(x) from KeyError(x)", StopIteration, (5,)),
    ("raise RuntimeError('twice') from StopIteration(1)", RuntimeError, ("twice",)),
    ("list(next(iter(())) for _ in 'a')", RuntimeError, ("generator raised StopIteration",)),
])
def test_a_call_that_says_there_is_no_more_has_raised_that(module, unit, body, kind, args):
    mine = module(f"def f(x):\n    if x % 5: return x\n    {body}")
    outcome, = outcomes(mine.f, unit)
    assert outcome.values == [1] and type(outcome.raised) is kind and outcome.raised.args == args
    story = str(outcome.raised.__cause__)
    assert "in f" in story and body in story and "discompute" not in story
    assert ("direct cause" in story) == (kind is RuntimeError or " from " in body)


@pytest.mark.parametrize("unit", [call_unit([1, 2], {}), call_unit([], {"y": 1}), rows_unit([[]])])
def test_calls_that_do_not_fit_say_so(module, unit):
    outcome, = outcomes(module("def f(x): return x").f, unit)
    assert type(outcome.raised) is TypeError and "f()" in str(outcome.raised)


@pytest.mark.parametrize("text", [
    "import functools\ndef g(x): raise Odd(x)\nf = functools.partial(g, 1)\n",
    "import functools\n@functools.lru_cache(maxsize=None)\ndef f(): raise Odd(1)\n",
    "class A:\n    def __call__(self): raise Odd(1)\nf = A()\n",
    "class A:\n    @classmethod\n    def m(cls): raise Odd(1)\nf = A.m\n",
    "import contextlib\n@contextlib.contextmanager\ndef c():\n    raise Odd(1)\n    yield\n"
    "def f():\n    with c(): pass\n",
    "import functools\ndef g(a, b): raise Odd(1)\nf = functools.partial(functools.reduce, g, [1, 2])\n",
])
def test_classes_of_the_functions_module_are_found_whatever_the_function_is(module, text):
    mine = module("class Odd(Exception): pass\n" + text)
    there = one(mine.f).raised
    assert type(there) is mine.Odd and there.args == (1,) and "discompute" not in str(there.__cause__)


def test_what_the_functions_own_statements_raise_is_the_outcome_of_its_calls(module):
    mine = module("import threading\nclass Odd(Exception): pass\n"
                  "def mark(cls):\n    if threading.current_thread().name == 'elsewhere': raise Odd('here only')\n"
                  "    return cls\n@mark\nclass A:\n    v = 3\ndef f(x): return A.v\n")
    line = function_line(pack_function(mine.f))
    thread = threading.current_thread()
    name, thread.name = thread.name, "elsewhere"
    try:
        results = [run(calls_data(line, [call_unit([1], {}), items_unit([]), items_unit([1, 2])])) for _ in range(2)]
    finally:
        thread.name = name
    for outcome in results:
        assert outcome.ok, outcome.error
        first, nothing, last = read_outcomes(outcome.data, ["mine"])
        assert type(first.raised) is type(last.raised) is mine.Odd and nothing.raised is None
        story = str(last.raised.__cause__)
        assert story.count("in mark") == 1 and story.endswith("\nOdd: here only") and "discompute" not in story
    # It is tried again, and here it works.
    assert returned(mine.f, 1) == 3


# ---- what cannot be sent or returned --------------------------------------------------------------------


@pytest.mark.parametrize("make, words", [
    (lambda odd: call_unit([1, odd], {}), "args[1] is a module; it cannot travel"),
    (lambda odd: call_unit([[{"a": (odd,)}]], {}), "args[0][0]['a'][0] is a module"),
    (lambda odd: call_unit([], {"key": odd}), "kwargs['key'] is a module"),
    (lambda odd: items_unit([1, 2, odd]), "items[2] is a module"),
    (lambda odd: rows_unit([[1], [2, odd]]), "items[1][1] is a module"),
])
def test_what_cannot_be_sent_is_named(make, words):
    with pytest.raises(TaskRejected) as info:
        make(sys)
    assert info.value.message.startswith(words)


def test_what_is_nested_too_deeply_to_be_sent_is_refused():
    deep = []
    for _ in range(5000):
        deep = [deep]
    for make in (lambda: call_unit([deep], {}), lambda: items_unit(deep), lambda: rows_unit([[deep]])):
        with pytest.raises(TaskRejected, match="deep"):
            make()


@pytest.mark.parametrize("result, words", [
    ("(n for n in 'ab')", "the result of f() is a generator; it cannot travel"),
    ("object()", "the result of f() is an object; it cannot travel"),
    ("open", "the result of f() is a builtin_function_or_method"),
    ("[1, {'a': iter('')}]", "the result of f()[1]['a'] is a str_iterator" if sys.version_info < (3, 11) else
     "the result of f()[1]['a'] is a str_ascii_iterator"),
    ("Odd()", "the result of f() is an Odd; it cannot travel"),
    ("Text('x')", "the result of f() is a Text; it cannot travel"),
    ("deep", "the result of f()"),
])
def test_a_result_that_cannot_travel_fails_its_unit_only(module, result, words):
    mine = module("class Odd:\n    def __reduce__(self): return Odd, ()\n"
                  "class Text(str): pass\ndef f(x):\n    print('so far')\n    deep = []\n"
                  f"    for _ in range(5000): deep = [deep]\n    return {result} if x else 7")
    bad, many, good = outcomes(mine.f, call_unit([1], {}), items_unit([0, 0, 1, 0]), call_unit([0], {}))
    assert type(bad.raised) is TaskRejected and bad.raised.message.startswith(words) and bad.values == []
    assert many.values == [7, 7] and many.raised.message == bad.raised.message
    assert (bad.printed, many.printed, good) == ("so far\n", "so far\n" * 4, CallOutcome([7], None, "so far\n"))


def test_of_a_result_that_cannot_travel_and_an_error_the_first_is_told(module):
    mine = module("def f(x):\n    if x > 2: raise KeyError(x)\n    return object() if x == 2 else x")
    outcome, = outcomes(mine.f, items_unit([0, 1, 2, 3]))
    assert outcome.values == [0, 1] and type(outcome.raised) is TaskRejected


def test_a_result_nested_as_deeply_as_may_be_stops_no_other(module):
    mine = module("def f(n):\n    deep = []\n    for _ in range(n): deep = [deep]\n    return deep")
    for depth in range(95, 104):
        many, = outcomes(mine.f, items_unit([0, depth]))
        assert many.values[0] == [] and (many.raised is None) == (len(many.values) == 2)


# ---- what is printed --------------------------------------------------------------------------------------


def test_each_unit_has_what_its_calls_printed(module, capsys):
    mine = module("import sys\ndef f(x):\n    if x: print('out', x)\n"
                  "    if x == 2: print('err\\u00e4', file=sys.stderr)\n"
                  "    if x == 3: sys.stdout.buffer.write(b'raw\\xff'); 1/0\n    return x")
    first, second, silent, third = outcomes(
        mine.f, call_unit([1], {}), items_unit([1, 2]), call_unit([0], {}), call_unit([3], {}))
    assert (first.printed, second.printed, silent.printed) == ("out 1\n", "out 1\nout 2\nerr\u00e4\n", "")
    assert third.printed == "out 3\nraw\ufffd" and type(third.raised) is ZeroDivisionError
    assert capsys.readouterr() == ("", "")


def test_what_is_printed_beyond_the_limit_is_counted(module):
    mine = module("def f(x): print('x' * x, end='')")
    units = [call_unit([50], {}), call_unit([0], {}), call_unit([50], {}), call_unit([5], {}), call_unit([0], {})]
    printed = [each.printed for each in outcomes(mine.f, *units, limits=Limits(output_bytes=60))]
    assert printed == ["x" * 50, "", "x" * 10 + "\n[40 more bytes were printed; 60 are kept]\n",
                       "\n[45 more bytes were printed; 60 are kept]\n", ""]


@pytest.mark.parametrize("stream", ["io.StringIO()", "None", "5", "io.TextIOWrapper(io.BytesIO())"])
def test_a_call_that_puts_something_else_into_stdout_is_heard_before(module, stream):
    mine = module(f"import io, sys\ndef f():\n    print('so far')\n    sys.stdout = {stream}\n    return 1")
    before = sys.stdout
    first, second = outcomes(mine.f, call_unit([], {}), call_unit([], {}))
    assert first.printed == "so far\n" and first.values == [1] and sys.stdout is before
    assert second.printed == ""


def test_without_anybody_who_listens_it_runs_as_well(module):
    line = function_line(pack_function(module("def f(): print('heard here')").f))
    assert TASK_TYPES.get("calls").run_data(calls_data(line, [call_unit([], {})]), "") == b'{"value":null}'


# ---- the function's line ------------------------------------------------------------------------------------


def test_a_line_is_plain_and_the_same_every_time(module):
    packed = pack_function(module("def f(x): return 'a\\nb\\u00e4'").f)
    line = function_line(packed)
    assert line == function_line(packed) and line.isascii() and b"\n" not in line
    assert PackedFunction.from_plain(json.loads(line)) == packed


def test_a_function_is_built_once_for_each_task(module):
    mine = module("n = []\ndef f():\n    n.append(1)\n    return len(n)")
    call = call_unit([], {})
    assert [each.values for each in outcomes(mine.f, call, call)] == [[1], [2]]
    assert [each.values for each in outcomes(mine.f, call, owner="other")] == [[1]]
    assert [each.values for each in outcomes(mine.f, call)] == [[3]]


def test_a_line_is_read_once(module, monkeypatch):
    line = function_line(pack_function(module("def f(): return 'once'").f))
    data = calls_data(line, [call_unit([], {})])
    assert run(data).ok
    monkeypatch.setattr(json, "loads", None)
    assert run(data).ok and run(data, "other").ok


def test_few_functions_are_kept_and_those_forgotten_are_built_again(module):
    data = calls_data(function_line(pack_function(module(
        "import dataclasses, typing\n@dataclasses.dataclass\nclass Odd(Exception):\n    n: 'int'\n"
        "def f(): return str(typing.get_type_hints(Odd)['n'])").f)), [call_unit([], {})])
    for round_ in range(2):
        for number in range(LINES_KEPT + FUNCTIONS_KEPT if round_ else LINES_KEPT - 1):
            # The first line is remembered all the time, its function is forgotten in between.
            assert read_value(run(data)) == "<class 'int'>"
            other = pack_function(module(f"def f(): return {round_}, {number}", "others").f)
            assert read_value(run(calls_data(function_line(other), [call_unit([], {})]))) == (round_, number)


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.characters()


@given(value=PLAIN | st.tuples(PLAIN) | st.binary())
def test_the_text_of_a_plain_scalar_is_the_one_that_it_has_anyhow(value):
    text = scalar_text(value)
    if text is None:
        # Whatever that text does not say.
        assert not isinstance(value, (bool, type(None))) and not (isinstance(value, int) and abs(value) < 2**62)
    else:
        assert text.encode("ascii") == dump_value(value)
        assert call_unit([value, 1], {}) == dump_value([[value, 1], {}])


def read_value(outcome):
    assert outcome.ok, outcome.error
    (value,), _, _ = next(read_outcomes(outcome.data, ()))
    return value


# ---- whose fault it is ----------------------------------------------------------------------------------------


def changed_line(function, **changes):
    """Return the line of a function whose plan says something else."""
    packed = pack_function(function)
    plan = {**packed.plan, **changes}
    return function_line(PackedFunction(packed.name, plan, hash_of_plan(packed.name, plan)))


@pytest.mark.parametrize("changes, words", [
    ({"python": 99}, "is written for Python 3.99 or later"),
    ({"imports": [["no_such_package", "1.2"]]}, "needs no_such_package 1.2, which this device cannot import"),
    ({"steps": [["bind", 0, "g", ["name", "math", "no_such_name"]]]}, "needs math.no_such_name, which this device"),
    ({"texts": [["mine.py", 1, 0, "def f() = new"]]}, "write it without newer syntax"),
])
def test_a_function_that_another_device_may_run_is_not_the_tasks_fault(module, changes, words):
    line = changed_line(module("def f(): return 1").f, **changes)
    outcome = run(calls_data(line, [call_unit([], {})]))
    assert not outcome.ok and outcome.blame == BLAME_DEVICE and words in outcome.error


HOSTILE_UNITS = [
    b"", b"null", b"5", b"[]", b"{}", b"[[],{},1]", b"[[]]", b'[{},[]]', b'[[],{"$t":"dict","v":[[1,2]]}]', b"\xff",
    b'["ab",{}]', b'[null,{}]', b'[[],null]', b'{"items":5}', b'{"items":null}', b'{"items":{"a":1}}', b"[" * 999,
    b'{"rows":[5]}', b'{"rows":["ab"]}', b'{"rows":[[1],{}]}', b'{"rows":"ab"}', b'{"items":[],"rows":[]}',
    b'{"calls":[]}', b'{"items":[],"more":1}', b'{"$t":"ref","v":1}', b'{"$t":"tuple","v":[[],{}]}',
    b'[[{"$t":"no such"}],{}]', b'{"$t":"range","v":[0,2,1]}', b'{"items":{"$t":"tuple","v":[1]}}',
    b'{"rows":[{"$t":"tuple","v":[1]}]}', b'{"$t":"dict","v":[[["items"],[1]]]}',
]


@pytest.mark.parametrize("unit", HOSTILE_UNITS)
def test_hostile_units_are_refused(unit):
    outcome = run(calls_data(GATHER, [unit]))
    assert (outcome.ok, outcome.error_type, outcome.blame) == (False, "TaskRejected", BLAME_TASK)


@pytest.mark.parametrize("line", [
    b"", b"null", b"{}", b"[]", b"5", b"\xff", b"[" * 99_999, b'{"name":"f","plan":{},"sha256":""}', b'"' * 9, b"NaN",
    GATHER[:-1], GATHER.replace(b"gather", b"father"), b'{"name":5,"plan":{},"sha256":""}', b"\x00",
])
def test_hostile_lines_are_refused(line):
    outcome = run(calls_data(line, [call_unit([], {})]))
    assert (outcome.ok, outcome.error_type, outcome.blame) == (False, "TaskRejected", BLAME_TASK)


@pytest.mark.parametrize("changes", [
    {"entry": ["global", 0, "nowhere"], "steps": []}, {"entry": ["value", 0], "values": [5]}, {"entry": []},
    {"entry": ["row", 0], "rows": [{"kind": "tuple", "items": [["row", 0]]}]}, {"spaces": []},
    {"steps": [["bind", 0, "g", ["global", 0, "nowhere"]]]}, {"values": [{"$t": "ref", "v": 1}]},
    {"texts": [["mine.py", 10 ** 30, 0, "def f(): pass"]]}, {"imports": [[5, ""]]}, {"imports": [["", ""]]},
])
def test_hostile_plans_are_refused(module, changes):
    line = changed_line(module("def f(): return 1").f, **changes)
    outcome = run(calls_data(line, [call_unit([], {})]))
    assert (outcome.ok, outcome.error_type, outcome.blame) == (False, "TaskRejected", BLAME_TASK)


ATOMS = st.sampled_from([None, True, -1, 0, 1, 2, 99, 10 ** 30, 1.5, "", "f", "mine", "value", "row", "global", "space",
                         "builtins", "len", "def f(): pass", "a b", "\ud800", "kind", "function", [], {}])
PLAIN = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
    st.sampled_from(["kind", "text", "code", "space", "cells", "of", "name", "qualname", "items", "function"]), inner,
    max_size=5), max_leaves=12)


def paths_in(plain, path=()):
    """Yield the way to every part of a plan."""
    yield path
    parts = plain.items() if type(plain) is dict else enumerate(plain) if type(plain) is list else ()
    for step, part in parts:
        yield from paths_in(part, (*path, step))


@pytest.fixture(scope="module")
def rich_plan(tmp_path_factory):
    """Return the plan of a function that is made of rows, steps and values."""
    mine = sys.modules["rich"] = types.ModuleType("rich")
    text = ("import math\nclass A:\n    def __init__(self): self.v = {1, 2}\na = A()\nKEPT = [a, len, {'k': a}]\n"
            "def make(n):\n    def f(x=KEPT): return math.sqrt(n) + len(x)\n    return f\nf = make(4)\n")
    path = tmp_path_factory.mktemp("rich") / "rich.py"
    path.write_text(text, encoding="utf-8")
    mine.__file__ = str(path)
    exec(compile(text, str(path), "exec"), vars(mine))
    yield json.loads(json.dumps(pack_function(mine.f).plan))
    del sys.modules["rich"]


@given(st.data())
def test_a_plan_changed_anywhere_is_refused_or_run(rich_plan, data):
    path = data.draw(st.sampled_from([each for each in paths_in(rich_plan) if each]))
    changed = json.loads(json.dumps(rich_plan))
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = data.draw(PLAIN)
    line = function_line(PackedFunction("f", changed, hash_of_plan("f", changed)))
    outcome = run(calls_data(line, [call_unit([], {})]), "hostile")
    if outcome.ok:
        # What the person's own lines raise is the call's outcome; all else is refused.
        raised = next(read_outcomes(outcome.data, ())).raised
        assert type(raised) in (type(None), TypeError) or "<rich.py " in str(raised.__cause__)
    else:
        assert outcome.error_type in ("TaskRejected", "FunctionUnfit"), (outcome.error_type, outcome.error)


@pytest.mark.parametrize("result", [
    b"null", b"5", b"[]", b"{}", b'{"values":5}', b'{"values":null}', b'{"value":1,"values":[2]}', b'{"raised":{}}',
    b'{"value":1,"raised":{}}', b'{"values":[],"printed":5}', b'{"value":1,"printed":null}', b"{", b"\xff", b"\n",
    b'"x"', b'{"value":1,"printed":{"$t":"int","v":"0x1' + b"0" * 5000 + b'"}}', b'{"values":{"$t":"tuple","v":[]}}',
    b'{"value":1}\n\n{"value":2}', b'{"$t":"tuple","v":[]}', b'{"$t":"dict","v":[[[1],2]]}',
])
def test_hostile_results_are_refused(result):
    with pytest.raises(TaskRejected):
        list(read_outcomes(result, ()))


@pytest.mark.parametrize("raised", [
    b"null", b"5", b"{}", b'{"name":"x"}', b'[1]', b'{"module":0,"name":"Odd","args":[]}'])
def test_hostile_errors_are_errors(raised):
    outcome, = read_outcomes(b'{"values":[1],"raised":' + raised + b"}", ())
    assert outcome.values == [1] and type(outcome.raised) is RemoteError


@given(st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
    st.sampled_from(["value", "values", "raised", "printed", "name", "module", "args"]), inner, max_size=4)))
def test_any_result_is_read_or_refused(plain):
    try:
        for outcome in read_outcomes(dump_value(plain), ("mine",)):
            assert type(outcome.values) is list and type(outcome.printed) is str
            assert outcome.raised is None or isinstance(outcome.raised, BaseException)
    except TaskRejected:
        pass


def test_newer_devices_may_say_more():
    assert list(read_outcomes(b'{"value":1,"seconds":2}', ())) == [CallOutcome([1], None, "")]


def test_calls_are_not_submitted_as_a_task():
    outcome = run_work(WorkRequest("split", CallsTask.name, calls_data(GATHER, [call_unit([], {})]), "t"))
    assert outcome.error_type == "TaskRejected" and "Python interface" in outcome.error
