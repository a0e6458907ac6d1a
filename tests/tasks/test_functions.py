"""Functions travel as text and data: what is loaded from the packed form does what the original does."""

from __future__ import annotations

import datetime
import functools
import hashlib
import importlib
import json
import linecache
import math
import operator
import sys
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.errors import TaskRejected
from discompute_lite.tasks.function_reader import FunctionUnfit
from discompute_lite.tasks.functions import pack_function
from discompute_lite.tasks.packed_function import FUNCTIONS_KEPT, PackedFunction, load_function


def travelled(function, owner=""):
    """Return the function as another device has it, by way of JSON text."""
    text = json.dumps(pack_function(function).to_plain())
    return load_function(PackedFunction.from_plain(json.loads(text)), owner)


CASES = {
    "plain": ("def f(x): return x + 1", (1,), 2),
    "global constant": ("N = 5\ndef f(x): return x + N", (1,), 6),
    "global changed since": ("N = 5\ndef f(x): return x + N\nN = 7", (1,), 8),
    "stdlib module": ("import math\ndef f(x): return math.sqrt(x)", (9,), 3.0),
    "module under another name": ("import collections.abc as c\ndef f(x): return isinstance(x, c.Sized)", ([],), True),
    "submodule": ("import xml.dom.minidom\ndef f(x): return xml.dom.minidom.parseString(x).firstChild.tagName",
                  ("<a/>",), "a"),
    "name under another name": ("from math import sqrt as root\ndef f(x): return root(x)", (9,), 3.0),
    "singleton of the library": ("from dataclasses import MISSING as M\ndef f(x): return M is x", (1,), False),
    "class of the library": ("from pathlib import PurePosixPath as P\ndef f(x): return str(P(x) / 'b')", ("a",), "a/b"),
    "import inside": ("def f(x):\n    import math as m\n    return m.floor(x)", (2.5,), 2),
    "calls another": ("def g(x): return x * 2\ndef f(x): return g(x) + 1", (3,), 7),
    "alias": ("def g(x): return x * 2\nh = g\ndef f(x): return h(x)", (3,), 6),
    "recursive": ("def f(n): return 1 if n < 2 else n * f(n - 1)", (5,), 120),
    "mutually recursive": ("def g(n): return n and f(n - 1)\ndef f(n): return n and g(n - 1)", (9,), 0),
    "defaults": ("K = [1]\ndef f(x, k=K, *, z=K): return x, k, z, k is z, k is K", (3,), (3, [1], [1], True, True)),
    "default of a function": ("def g(x): return x\ndef f(x, h=g): return h(x)", (3,), 3),
    "default evaluated once": ("import itertools\nC = itertools.count()\ndef f(x=next(C)): return x", (), 0),
    "positional only": ("def f(a, /, b, *c, d=4, **e): return a, b, c, d, e", (1, 2, 3), (1, 2, (3,), 4, {})),
    "annotations": ("import typing\nV = typing.List[int]\nlock = object()\n"
                    "def f(x: V, y: lock = 2) -> 'nowhere': return x + y", (1,), 3),
    "keyword names": ("f = dict", (), {}),
    "docstring kept": ("def f():\n    '''What it does.'''\n    return f.__doc__, f.__name__",
                       (), ("What it does.", "f")),
    "lambda": ("f = lambda x: x + 1", (1,), 2),
    "lambdas on a line": ("fs = [lambda x: x + 1, lambda x: x + 2, lambda x: x - 1]; f = fs[1]", (1,), 3),
    "lambda in a call": ("def g(h, n): return h\nf = g(lambda x: (x,\n  x + 1,\n), 3)", (1,), (1, 2)),
    "lambda with lambda": ("f = (lambda x, g=lambda y: y * 3, *h: g(x))", (2,), 6),
    "lambda after text": ("s = 'äöü€'; f = (lambda x: 'é' + x + s)", ("a",), "éaäöü€"),
    "closure": ("def make(n):\n    def inner(x):\n        return x + n\n    return inner\nf = make(3)", (1,), 4),
    "closure in a loop": ("f = [lambda x: x + i for i in range(3)][0]", (1,), 3),
    "closure with text": ("def make(n):\n    def inner(x):\n        return '''\n no\n     indent''' + x\n"
                          "    return inner\nf = make(3)", ("!",), "\n no\n     indent!"),
    "closure with tabs": ("def make(n):\n\tif n:\n\t\tdef inner(x):\n\t\t\treturn x + n\n\treturn inner\nf = make(3)",
                          (1,), 4),
    "closure over function": ("def make(g):\n    return lambda x: g(g(x))\nf = make(lambda x: x * 3)", (1,), 9),
    "closure over itself": ("def make():\n    def inner(n): return n and n + inner(n - 1)\n    return inner\n"
                            "f = make()",
                            (4,), 10),
    "empty cell": ("def make():\n    def inner(x): return x or late\n    if 0: late = 1\n    return inner\nf = make()",
                   (4,), 4),
    "shared cell": ("def make():\n    n = 0\n    def up():\n        nonlocal n\n        n += 1\n"
                    "    def get(): return n\n    return up, get\nup, get = make()\nup()\n"
                    "def f():\n    up(); up()\n    return get()", (), 3),
    "module in a cell": ("def make():\n    import math\n    return lambda x: math.sqrt(x)\nf = make()", (4,), 2.0),
    "decorated": ("import functools\ndef twice(g):\n    @functools.wraps(g)\n    def inner(*a): return g(*a), g(*a)\n"
                  "    return inner\n@twice\n@twice\ndef f(x): return x", (1,), ((1, 1), (1, 1))),
    "decorated with arguments": ("def by(n):\n    def deco(g):\n        return lambda x: g(x) * n\n    return deco\n"
                                 "@by(3)\ndef f(x): return x + 1", (1,), 6),
    "registered": ("R = {}\ndef register(g):\n    R[g.__name__] = g\n    return g\n@register\ndef a(x): return x + 1\n"
                   "@register\ndef b(x): return x + 2\ndef f(x): return [g(x) for g in R.values()]", (1,), [2, 3]),
    "registered class": ("R = {}\ndef register(c):\n    R[c.__name__] = c\n    return c\n@register\nclass A:\n"
                         "    v = 1\n"
                         "@register\nclass B(A):\n    v = 2\ndef f(n): return R[n].v, sorted(R)", ("B",),
                         (2, ["A", "B"])),
    "cached": ("import functools\n@functools.lru_cache(maxsize=None)\ndef f(n):\n"
               "    return n if n < 2 else f(n-1) + f(n-2)",
               (50,), 12586269025),
    "context manager": ("import contextlib\nR = 2\n@contextlib.contextmanager\ndef c(x):\n    yield x + R\n"
                        "def f(x):\n    with c(x) as y:\n        return y", (1,), 3),
    "partial": ("import functools\ndef g(a, b, c): return a, b, c\nf = functools.partial(g, 1, c=3)", (2,), (1, 2, 3)),
    "generator inside": ("def g(n):\n    for i in range(n): yield i * i\ndef f(n): return list(g(n))", (3,), [0, 1, 4]),
    "global statement": ("count = 5\ndef f():\n    global count\n    count += 1\n    return count", (), 6),
    "global made on first use": ("_m = None\ndef f():\n    global _m\n    if _m is None: _m = [1]\n"
                                 "    return _m", (), [1]),
    "name that is nowhere": ("def f(x):\n    try:\n        return unicode\n    except NameError:\n"
                             "        return 'missing'",
                             (1,), "missing"),
    "function attribute": ("def f(): return f.n\nf.n = 3", (), 3),
    "class": ("class A:\n    k = 2\n    def m(self, x): return self.k * x\ndef f(x): return A().m(x)", (3,), 6),
    "class changed since": ("class A:\n    k = 2\ndef f(): return A.k, A.new\nA.k = 5\nA.new = [1]", (), (5, [1])),
    "method added": ("class A:\n    pass\ndef g(self): return 7\nA.m = g\ndef f(): return A().m()", (), 7),
    "bases and super": ("class A:\n    def m(self): return 1\nclass B(A):\n    def m(self): return super().m() + 1\n"
                        "def f(): return B().m()", (), 2),
    "metaclass": ("class M(type):\n    def __call__(c, *a): return ('made', a)\nclass A(metaclass=M): pass\n"
                  "def f(): return A(1)", (), ("made", (1,))),
    "abstract class": ("import abc\nclass A(abc.ABC):\n    @abc.abstractmethod\n    def m(self): ...\n"
                       "class B(A):\n    def m(self): return 1\nb = B()\ndef f(): return b.m()", (), 1),
    "class inside a class": ("class A:\n    class B:\n        v = 3\nb = A.B()\ndef f(): return b.v, type(b) is A.B",
                             (), (3, True)),
    "names of a class body": ("import threading\nlock = threading.Lock()\nn = 4\nclass A:\n    n = n\n    lock = 1\n"
                              "    twice = lock + n\ndef f(): return A.twice, A.n", (), (5, 4)),
    "class in try": ("try:\n    import nothing_of_this_name\nexcept ImportError:\n    class A:\n        v = 3\n"
                     "def f(): return A.v", (), 3),
    "private names": ("class A:\n    def __init__(self): self.__v = 4\n    def m(self):\n"
                      "        return lambda: self.__v\n"
                      "f = A().m()", (), 4),
    "method of an instance": ("class A:\n    def __init__(self, v): self.v = v\n    def m(self, x): return self.v + x\n"
                              "f = A(4).m", (1,), 5),
    "class method": ("class A:\n    n = 3\n    @classmethod\n    def m(cls, x): return cls.n + x\nf = A.m", (1,), 4),
    "static method": ("K = 2\nclass A:\n    @staticmethod\n    def m(x): return x + K\nf = A.m", (1,), 3),
    "function of a class": ("class A:\n    def m(self): return __class__.__name__\nf = A.m", (None,), "A"),
    "callable instance": ("class A:\n    def __init__(self): self.v = 4\n    def __call__(self, x): return self.v + x\n"
                          "f = A()", (1,), 5),
    "slots": ("class A:\n    __slots__ = ('v', 'w')\na = A()\na.v = 4\n"
              "def f(): return a.v, hasattr(a, 'w')", (), (4, False)),
    "data class": ("from __future__ import annotations\nimport dataclasses\nfrom typing import ClassVar, List\n"
                   "@dataclasses.dataclass(frozen=True, order=True)\nclass P:\n    k: ClassVar[int] = 9\n    x: int\n"
                   "    y: List[int] = dataclasses.field(default_factory=list)\n"
                   "p = P(1)\ndef f(): return p == P(1, []), p < P(2), dataclasses.astuple(p), P.k",
                   (), (True, True, (1, []), 9)),
    "named tuples": ("from collections import namedtuple\nimport typing\nP = namedtuple('Q', 'x y')\n"
                     "class T(typing.NamedTuple):\n    a: int\n    b: int = 2\np, t = P(1, 2), T(1)\n"
                     "def f(): return p.y, t.b, p == P(1, 2), type(t) is T", (), (2, 2, True, True)),
    "enums": ("import enum\nclass C(enum.Enum):\n    RED = 1\n    BLUE = 2\nF = enum.IntFlag('F', 'A B C')\n"
              "c, g = C.RED, F.A | F.C\ndef f(): return c is C.RED, c in {C.RED: 1}, int(g), [e.name for e in C]",
              (), (True, True, 5, ["RED", "BLUE"])),
    "user exception": ("class Bad(ValueError): pass\ndef f():\n    try:\n        raise Bad('x')\n"
                       "    except Bad as bad:\n        return str(bad)", (), "x"),
    "table of functions": ("import operator\ndef g(x): return x + 1\n"
                           "T = {'g': g, 'l': [lambda x: x * 5], 'o': operator.neg,"
                           " 't': (g, None)}\ndef f(x): return T['g'](x), T['l'][0](x), T['o'](x), T['t'][0] is T['g']",
                           (1,), (2, 5, -1, True)),
    "cycle through a function": ("L = []\ndef f(): return L[0] is f, L[1] is L\nL += [f, L]", (), (True, True)),
    "cycle through instances": ("class N:\n    pass\na, b = N(), N()\na.o, b.o = b, a\n"
                                "def f(): return a.o.o is a", (), True),
    "shared data": ("A = [1]\nB = {'a': A}\nC = (A, A)\ndef f(x=A): return B['a'] is A, C[0] is x, A is x",
                    (), (True, True, True)),
    "cyclic data": ("A = []\nA.append(A)\ndef f(): return A[0] is A", (), True),
    "collections": ("from collections import *\nd = defaultdict(list, a=[1])\no = OrderedDict(x=1)\n"
                    "q = deque([1, 2], 3)\n"
                    "c = Counter('aab')\ndef f(): return d['b'], dict(o), list(q), q.maxlen, c['a']", (),
                    ([], {"x": 1}, [1, 2], 3, 2)),
    "pattern": ("import re\nP = re.compile('a+', re.I)\ndef f(x): return P.match(x).group()", ("AAb",), "AA"),
    "logger": ("import logging\nlog = logging.getLogger('mine')\ndef f(): return log.name", (), "mine"),
    "namespace": ("import types, argparse\nn = types.SimpleNamespace(a=1)\nm = argparse.Namespace(b=2)\n"
                  "def f(): return n.a, m.b", (), (1, 2)),
    "sentinel": ("NONE = object()\ndef f(x=NONE): return x is NONE", (), True),
    "ellipsis": ("E = [..., print]\ndef f(): return E[0] is Ellipsis and E[1] is print", (), True),
    "odd values": ("import math, datetime\nV = (math.inf, 10 ** 30, b'x', {1, 2}, datetime.date(2024, 5, 6))\n"
                   "def f(): return V", (), (math.inf, 10 ** 30, b"x", {1, 2}, datetime.date(2024, 5, 6))),
    "type alias called": ("from typing import List, TypeVar\nT = TypeVar('T')\nV = List[int]\n"
                          "def f(): return V.__origin__ is list, T.__name__", (), (True, "T")),
}


@pytest.mark.parametrize("name", CASES)
def test_the_loaded_function_does_the_same(module, name):
    text, args, expected = CASES[name]
    original = module(text).f
    there = travelled(original)
    assert there is not original or getattr(original, "__module__", "") == "builtins"
    assert there(*args) == expected
    # Run last: it may change what was packed.
    assert original(*args) == expected


@pytest.mark.parametrize("function, args", [
    (math.sqrt, (9,)), (len, ([1],)), (operator.add, (1, 2)), (int, ("3",)), (str.upper, ("a",)), ("a,b".split, (",",)),
    (dict.fromkeys, ("ab",)), (functools.reduce, (operator.add, [1, 2])), (json.dumps, ([1],)), ([3, 1].count, (3,)),
    (functools.partial(int, base=2), ("11",)), (operator.itemgetter(1), ("abc",)),
    (functools.partial(map, abs), ([1],)),
])
def test_what_every_device_has_travels_by_name(function, args):
    packed = pack_function(function)
    assert packed.source == ""
    assert repr(load_function(packed)(*args)).split(" at ")[0] == repr(function(*args)).split(" at ")[0]


def test_names_are_public_ones_that_other_versions_have(module):
    packed = pack_function(module("from pathlib import Path\nimport os\ng = os.getcwd\n"
                                  "def f(): return Path, g\n").f)
    assert set(packed.imports) == {"pathlib", "os"}


# ---- several modules ---------------------------------------------------------------------------------


def test_names_of_modules_are_kept_apart(module):
    module("N = 1\ndef g(x): return x + N\ndef unused(): return LOCK\n", "first")
    module("from first import g as first_g\nimport first\nN = 10\ndef g(x): return first_g(x) + first.g(x) + N\n",
           "second")
    mine = module("import second\nfrom second import g\nN = 100\n"
                  "def f(x): return second.g(x), g is second.g, second.first.N, N\n")
    assert travelled(mine.f)(1) == mine.f(1) == (14, True, 1, 100)


def test_only_what_is_used_travels(module):
    module("import threading\nLOCK = threading.Lock()\ndef g(x): return x\ndef big(): return LOCK\n", "first")
    packed = pack_function(module("import first\ndef f(x): return first.g(x)\ndef other(): return first.big()").f)
    assert "LOCK" not in packed.source and "other" not in packed.source


def test_relative_imports_at_the_top_are_found_through_what_they_brought(module, tmp_path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "inner.py").write_text("def g(x): return x + 1\n")
    text = "from .inner import g\nfrom . import inner\ndef f(x): return inner.g(g(x))\n"
    (tmp_path / "pack" / "outer.py").write_text(text)
    outer = importlib.import_module("pack.outer")
    try:
        assert travelled(outer.f)(1) == 3
    finally:
        for name in ("pack", "pack.outer", "pack.inner"):
            sys.modules.pop(name, None)


def test_classes_of_two_modules_come_in_the_order_of_their_need(module):
    module("class A:\n    def who(self): return 'A'\n", "first")
    mine = module("import first\ndef tag(c):\n    c.tag = mark(c)\n    return c\ndef mark(c): return c.__name__ + '!'\n"
                  "class C(first.A):\n    def peer(self): return D\n@tag\nclass D(C): pass\n"
                  "def f(): return D().who(), D.tag, C().peer() is D\n")
    assert travelled(mine.f)() == ("A", "D!", True)


# ---- notebooks ---------------------------------------------------------------------------------------


@pytest.fixture
def notebook(monkeypatch):
    """Return a way to run cells as a notebook does: one namespace, their text in linecache only."""
    names = {"__name__": "__main__", "__builtins__": __builtins__}
    made = []
    main = type(sys)("__main__")
    main.__dict__.update(names)
    monkeypatch.setitem(sys.modules, "__main__", main)

    def cell(text):
        filename = f"<ipython-input-{len(made) + 1}-0123>"
        made.append(filename)
        linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
        exec(compile(text, filename, "exec"), vars(main))
        return main

    yield cell
    for filename in made:
        linecache.cache.pop(filename, None)


def test_notebook_cells_travel_also_when_run_out_of_order(notebook):
    notebook("def f(x): return B(x).v + g(x)")
    notebook("class B:\n    v = 100\n    def __init__(self, x): pass")
    notebook("import math\nclass A:\n    def __init__(self, x): self.v = math.floor(x)\n\ndef g(x): return N + x")
    notebook("N = 7\nclass B(A): pass")
    assert travelled(notebook("pass").f)(2.5) == 11.5


def test_lambdas_on_the_first_line_of_a_cell(notebook):
    main = notebook("n = 3; f = lambda x: x + n; g = (lambda n: lambda x: x * n)(4)\n")
    assert travelled(main.f)(1) == 4 and travelled(main.g)(2) == 8


# ---- the packed form ---------------------------------------------------------------------------------


def test_the_same_function_gives_the_same_hash(module):
    text = "S = {'a', 'b', 'c', 'd'}\nclass A:\n    v = S\ndef f(x): return x in S, A.v"
    assert pack_function(module(text).f).sha256 == pack_function(module(text).f).sha256
    assert pack_function(module(text).f) != pack_function(module(text.replace("'d'", "'e'")).f)


def test_it_is_built_once_for_each_task(module):
    packed = pack_function(module("n = []\ndef f(): n.append(1); return len(n)").f)
    assert load_function(packed, "t1") is load_function(packed, "t1")
    assert load_function(packed, "t1")() == 1 and load_function(packed, "t1")() == 2
    assert load_function(packed, "t2")() == 1


def test_few_stay_loaded(module):
    for number in range(FUNCTIONS_KEPT + 5):
        load_function(pack_function(module(f"def f(): return {number}").f))
    left = [name for name in sys.modules if name.startswith("discompute_function_")]
    assert len(left) <= 2 * FUNCTIONS_KEPT


def test_tracebacks_show_the_lines_and_numbers_of_the_file(module):
    there = travelled(module("\n\n\ndef make(n):\n    def inner(x):\n        return n / x  # here\n    return inner\n"
                             "f = make(1)\ng = [lambda x: x,\n     lambda x: 1 / x]\n").f)
    with pytest.raises(ZeroDivisionError) as caught:
        there(0)
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert last.filename.startswith("<mine.py ") and last.lineno == 6 and last.line == "return n / x  # here"


def test_a_constructor_that_raises_on_the_other_side_is_the_users_own(module):
    mine = module("ready = True\nclass A:\n    def __init_subclass__(cls): assert ready is True, 'not ready'\n"
                  "class B(A): pass\ndef f(): return B\n")
    mine.ready = False
    with pytest.raises(AssertionError, match="not ready"):
        travelled(mine.f)


@pytest.mark.parametrize("change", [
    lambda plain: plain.pop("plan"), lambda plain: plain.update(sha256="0" * 64),
    lambda plain: plain["plan"].pop("rows"), lambda plain: plain["plan"].update(entry={}),
    lambda plain: plain["plan"]["texts"].append(["a", 1, 0, "b"]), lambda plain: plain.update(name=3),
])
def test_a_changed_form_is_refused(module, change):
    plain = json.loads(json.dumps(pack_function(module("def f(): return g()\ndef g(): return 1").f).to_plain()))
    change(plain)
    with pytest.raises(TaskRejected):
        PackedFunction.from_plain(plain)


@functools.cache
def text_of_a_plan():
    def local(x, k=(1, [2])):
        return table[x], k
    table = {"a": len, "b": [print]}
    return json.dumps(pack_function(local).plan)


@given(st.data())
def test_malformed_plans_are_refused(data):
    plan = json.loads(text_of_a_plan())
    spots, stack = [], [plan]
    while stack:
        box = stack.pop()
        for key in (box if type(box) is dict else range(len(box))):
            spots.append((box, key))
            if type(box[key]) in (dict, list):
                stack.append(box[key])
    box, key = data.draw(st.sampled_from(spots))
    box[key] = data.draw(st.sampled_from([None, -1, 99, "value", [], {}, ["row", 0], [[]], 1.5]))
    packed = PackedFunction("local", plan, "0" * 40 + f"{data.draw(st.integers(0, 2 ** 60)):x}")
    try:
        assert callable(load_function(packed))
    except TaskRejected:
        pass


MAKE = "def make(value):\n    again = [value]\n    def read(): return value, again\n    return read\n"


@given(st.recursive(
    st.none() | st.integers() | st.floats(allow_nan=False) | st.text() | st.sampled_from([len, math.sqrt, int]),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner)
    | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=12))
def test_whatever_is_captured_comes_along(value):
    names = {"__name__": "elsewhere"}
    exec(compile(MAKE, "page", "exec"), names)
    there, kept = load_function(pack_function(names["make"](value), source_of={"page": MAKE}.get))()
    assert there == value and kept == [there]
    assert type(value) not in (list, dict) or kept[0] is there


# ---- newer and older ---------------------------------------------------------------------------------


def test_an_older_python_says_so(module):
    packed = pack_function(module("def f(): return 1").f)
    plan = dict(packed.plan, python=sys.version_info[1] + 1)
    with pytest.raises(FunctionUnfit, match="is written for Python 3"):
        load_function(PackedFunction("f", plan, "1" * 64))
    plan = dict(packed.plan, texts=[["mine.py", 1, 0, "def f(): return 1 +"]])
    with pytest.raises(FunctionUnfit, match="mine.py, line 1: .*this device has Python"):
        load_function(PackedFunction("f", plan, "2" * 64))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is that of Python 3.12")
def test_newer_syntax_is_noticed(module):
    match = pack_function(module("def f(x):\n    match x:\n        case [a, b]: return a\n    return 0").f)
    typed = pack_function(module("def f[T](x: T) -> T: return x").f)
    assert (match.python, typed.python) == (10, 12)
    assert load_function(match)([3, 4]) == 3 and load_function(typed)(5) == 5


def test_a_missing_package_is_named(module):
    packed = pack_function(module("import math\ndef f(): return math.pi").f)
    plan = dict(packed.plan, imports=[["nothing_of_this_name.x", "1.2"]])
    with pytest.raises(FunctionUnfit, match=r"f needs nothing_of_this_name.x 1.2, which this device cannot import"):
        load_function(PackedFunction("f", plan, "3" * 64))
    with pytest.raises(FunctionUnfit, match="needs math.nothing"):
        plan = dict(packed.plan, entry=["name", "math", "nothing"])
        load_function(PackedFunction("f", plan, "4" * 64))


def test_numpy_travels_by_name(module):
    numpy = pytest.importorskip("numpy")
    mine = module("import numpy as np\nfrom numpy import add, ndarray\nA = np.arange(3.0)\nf64 = np.float64\n"
                  "def f(x): return np.linalg.norm(add(A, x)), np.sum(A), isinstance(A, ndarray), f64(2)")
    packed = pack_function(mine.f)
    assert packed.imports["numpy"] == numpy.__version__
    assert travelled(mine.f)(1) == mine.f(1)
    assert travelled(numpy.sum)([1, 2]) == 3 and travelled(numpy.add)(1, 2) == 3


def test_many_functions_in_a_chain_do_not_exhaust_the_stack(module):
    text = "".join(f"def f{number}(x): return f{number + 1}(x)\n" for number in range(400)) + "def f400(x): return x\n"
    assert len(pack_function(module(text).f0).plan["texts"]) == 401


def test_two_threads_may_load_it_at_once(module):
    packed = pack_function(module("n = 0\ndef f(): return n").f)
    busy = "discompute_function_" + hashlib.sha256(f"t\n{packed.sha256}".encode()).hexdigest()[:16]
    # Another thread has begun and is not done.
    sys.modules[busy] = type(sys)(busy)
    try:
        assert load_function(packed, "t")() == 0
        assert load_function(packed, "t") is load_function(packed, "t")
    finally:
        sys.modules.pop(busy, None)
