"""Exceptions travel as data and are of the same type again, whatever their classes and other devices do."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import threading
import traceback
from decimal import Decimal
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.errors import TaskRejected
from discompute_lite.tasks.functions import pack_function
from discompute_lite.tasks.packed_function import PackedFunction, load_function
from discompute_lite.tasks.raised import (
    GROUP_DEPTH,
    RAISED_TEXT_CHARS,
    TRACEBACK_CHARS,
    RemoteError,
    RemoteTraceback,
    describe_exception,
    rebuild_exception,
)
from discompute_lite.tasks.values import dump_value, load_value

groups = pytest.mark.skipif(sys.version_info < (3, 11), reason="groups and notes are of Python 3.11")


def crossed(error, spaces=()):
    """Return an exception as it arrives on another device."""
    return rebuild_exception(load_value(dump_value(describe_exception(error))), spaces)


def caught(function, *args):
    """Return what a call raises."""
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError("it did not raise")


def sent(function, *args):
    """Return what a function of a person's own raises on another device, as it arrives here."""
    packed = pack_function(function)
    there = load_function(PackedFunction.from_plain(json.loads(json.dumps(packed.to_plain()))), "t")
    return crossed(caught(there, *args), packed.plan["spaces"])


def story_of(error):
    """Return the other device's traceback."""
    assert type(error.__cause__) is RemoteTraceback
    return str(error.__cause__)


# ---- exceptions of the library -----------------------------------------------------------------------

NAMES = {
    OSError: ("errno", "strerror", "filename", "filename2"), SystemExit: ("code",), StopIteration: ("value",),
    ImportError: ("name", "path", "msg"), SyntaxError: ("msg", "filename", "lineno", "offset", "text"),
    UnicodeError: ("encoding", "object", "start", "end", "reason"), json.JSONDecodeError: ("doc", "pos", "lineno"),
    subprocess.CalledProcessError: ("returncode", "cmd", "output", "stderr"),
    subprocess.TimeoutExpired: ("cmd", "timeout", "output"), TaskRejected: ("message", "data"),
}
LIBRARY = [
    Exception(), ValueError("a"), ValueError("a", 1, (2.5, None)), KeyError("a"), KeyError(("a", 1)), KeyError(""),
    IndexError("x"), ZeroDivisionError("division by zero"), Exception({"a": [1]}, {2, 3}, 10 ** 400, Decimal("1.5")),
    OSError(), OSError("odd"), OSError(2, "gone"), OSError(2, "gone", "file.txt"), OSError(13, "no", "a", None, "b"),
    BlockingIOError(11, "later"), TimeoutError("late"), ConnectionResetError(104, "reset"), BrokenPipeError(),
    UnicodeDecodeError("utf-8", b"\xff\x00", 0, 1, "bad"), UnicodeEncodeError("ascii", "\u00e4\ud800", 0, 1, "bad"),
    UnicodeTranslateError("abc", 1, 2, "bad"), SystemExit(), SystemExit(3), SystemExit("bye"), KeyboardInterrupt(),
    GeneratorExit(), StopIteration(7), AssertionError(), FloatingPointError("not here"), MemoryError(),
    RecursionError("deep"), BaseException(1), ImportError("no", name="x", path="/x"), ModuleNotFoundError("m"),
    SyntaxError("bad", ("f.py", 3, 4, "a b")), json.JSONDecodeError("Expecting", '{"a"', 3), UserWarning("careful"),
    subprocess.CalledProcessError(3, ["ls", "-l"], b"out", b"err"), subprocess.TimeoutExpired("ls", 2.5, b"so far"),
    TaskRejected("no", {"retry_after": 3}), ValueError("\ud800"), ValueError("x" * 5000),
]


@pytest.mark.parametrize("error", LIBRARY, ids=lambda error: type(error).__name__)
def test_what_python_raises_arrives_as_it_was(error):
    there = crossed(error)
    assert type(there) is type(error) and there.args == error.args
    assert str(there) == str(error) and repr(there) == repr(error)
    for kind, names in NAMES.items():
        if isinstance(error, kind):
            for name in names:
                assert getattr(there, name, None) == getattr(error, name, None), name
    assert story_of(there).endswith(traceback.format_exception_only(type(error), error)[-1].rstrip()[-100:])


@pytest.mark.parametrize("text", [
    "{}['a']", "[][1]", "None.x", "nowhere", "int('x')", "1 / 0", "open('/nowhere/at/all')", "b'\\xff'.decode()",
    "'\u00e4'.encode('ascii')", "next(iter(()))", "compile('a b', 'f.py', 'exec')", "__import__('no_such')",
    "__import__('sys').exit(4)", "__import__('json').loads('{')", "(lambda x: x)()", "'a' * 2 ** 62",
    "{}[[]]", "exec('(')",
])
def test_what_python_itself_raises_arrives(text):
    error = caught(eval, text, {})
    there = crossed(error)
    assert (type(there), there.args, str(there)) == (type(error), error.args, str(error))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    | st.tuples(inner, inner), max_leaves=6)


@given(st.sampled_from([Exception, ValueError, KeyError, OSError, SystemExit, StopIteration, ImportError]),
       st.lists(values, max_size=4), st.dictionaries(st.sampled_from(["a", "_b", "code2"]), values))
def test_arguments_and_attributes_are_kept(kind, args, attributes):
    try:
        error = kind(*args)
    except TypeError:
        return
    vars(error).update(attributes)
    there = crossed(error)
    assert type(there) is type(error) and there.args == error.args and vars(there) == vars(error)
    assert str(there) == str(error)


def test_numbers_that_python_does_not_write_out_arrive():
    assert crossed(ValueError(10 ** 5000)).args == (10 ** 5000,)


def test_shared_and_endless_arguments_stay_so():
    box = [1]
    box.append(box)
    there = crossed(ValueError(box, box))
    assert there.args[0] is there.args[1] is there.args[0][1]


# ---- a person's own classes ---------------------------------------------------------------------------

OWN = {
    "plain": ("class Odd(Exception): pass", "Odd('a', 1)", "str(e), e.args"),
    "built on another": ("class Even(ValueError): pass\nclass Odd(Even): pass", "Odd('a')",
                         "isinstance(e, ValueError)"),
    "nested": ("class Box:\n    class Odd(Exception): pass", "Box.Odd(2)", "e.args, type(e).__qualname__"),
    "with words of its own": ("class Odd(Exception):\n    def __str__(self): return f'odd {self.args[0]}'", "Odd(2)",
                              "str(e)"),
    # The commonest of all: what the constructor takes is not what it passes on.
    "with another constructor": ("class Odd(Exception):\n    def __init__(self, code, why='none'):\n"
                                 "        super().__init__(f'{code}: {why}')\n        self.code, self.why = code, why",
                                 "Odd(5, why='x')", "str(e), e.args, e.code, e.why"),
    "with needed names": ("class Odd(Exception):\n    def __init__(self, *, code):\n        self.code = code\n"
                          "    def __str__(self): return f'code {self.code}'", "Odd(code=5)", "str(e), e.args, e.code"),
    "that passes nothing on": ("class Odd(Exception):\n    def __init__(self, code): self.code = code", "Odd(5)",
                               "str(e), e.args, e.code"),
    "of a file": ("class Odd(FileNotFoundError):\n    def __init__(self, path): super().__init__(2, 'gone', path)",
                  "Odd('/x')", "str(e), e.errno, e.filename"),
    "that makes itself": ("class Odd(Exception):\n    def __new__(cls, code, extra):\n"
                          "        return super().__new__(cls, code)\n    def __init__(self, code, extra): pass",
                          "Odd(5, 6)", "str(e), e.args"),
    "with a way to be copied": ("class Odd(Exception):\n    __slots__ = ('lock',)\n    def __init__(self, code):\n"
                                "        super().__init__('made'); self.code = code; self.lock = object()\n"
                                "    def __reduce__(self): return Odd, (self.code,)",
                                "Odd(5)", "str(e), e.code, type(e.lock)"),
    "copied with attributes": ("class Odd(Exception):\n    def __init__(self, code): self.code = code\n"
                               "    def __reduce__(self): return Odd, (self.code,), {'more': self.more}\n"
                               "def late():\n    e = Odd(5)\n    e.more = 3\n    return e", "late()",
                               "e.code, e.more"),
    "copied in a way that cannot travel": ("def make(): return Odd(1)\nclass Odd(Exception):\n"
                                           "    def __reduce__(self): return make, ()", "Odd(5)", "e.args"),
    "copied by trouble": ("class Odd(Exception):\n    def __reduce__(self): raise SyntaxError", "Odd(5)", "e.args"),
    "with slots": ("class Odd(Exception):\n    __slots__ = ('code', '__own', 'unset')\n    def __init__(self, code):\n"
                   "        self.code = self.__own = code\n    def get(self): return self.__own", "Odd(5)",
                   "e.code, e.get(), hasattr(e, 'unset')"),
    "with a property": ("class Odd(Exception):\n    @property\n    def code(self): return self.args[0]", "Odd(5)",
                        "e.code"),
    "a data class": ("import dataclasses\n@dataclasses.dataclass\nclass Odd(Exception):\n    code: int\n"
                     "    why: str = ''", "Odd(5, why='x')", "e.args, e.code, e.why, str(e)"),
    "a frozen data class": ("import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass Odd(Exception):\n"
                            "    code: int", "Odd(code=5)", "e.args, e.code, e == Odd(5)"),
    "with attributes set later": ("class Odd(Exception): pass\ndef late():\n    e = Odd('a')\n    e.row = 7\n"
                                  "    return e", "late()", "e.row, str(e)"),
    "of two kinds": ("class Odd(KeyError, OSError): pass", "Odd(2, 'gone', 'x')", "e.errno, e.filename, e.args"),
    "abstract": ("import abc\nclass Odd(Exception, metaclass=abc.ABCMeta):\n    @abc.abstractmethod\n"
                 "    def m(self): ...\nclass Even(Odd):\n    def m(self): return 1", "Even(3)", "e.m(), e.args"),
    "not an Exception": ("class Odd(BaseException): pass", "Odd(3)", "e.args"),
    "with false names": ("class Odd(Exception):\n    args = None\n    with_traceback = 3", "Odd(3)", "str(e)"),
}


@pytest.mark.parametrize("name", OWN)
def test_a_persons_own_exception_arrives(module, name):
    text, make, look = OWN[name]
    mine = module(f"{text}\ndef f():\n    raise {make}\n")
    here, there = caught(mine.f), sent(mine.f)
    assert type(there) is type(here)
    expected, arrived = eval(look, {**vars(mine), "e": here}), eval(look, {**vars(mine), "e": there})
    assert arrived == expected
    assert "discompute" not in story_of(there)
    assert f"raise {make}" in story_of(there)


@pytest.mark.parametrize("constructor", ["def __init__(self, *a): OPENED.append(a)", "def __new__(cls, *a):\n"
                                         "        OPENED.append(a)\n        return super().__new__(cls, *a)"])
def test_a_constructor_that_does_things_is_not_called_again(module, constructor):
    mine = module(f"OPENED = []\nclass Odd(Exception):\n    {constructor}\ndef f(): raise Odd('door')")
    there = sent(mine.f)
    assert type(there) is mine.Odd and there.args == ("door",) and mine.OPENED == []


def test_a_class_of_another_of_the_functions_modules(module):
    errors = module("class Odd(Exception): pass", "errors")
    mine = module("import errors\ndef f(): raise errors.Odd('x')\n")
    there = sent(mine.f)
    assert type(there) is errors.Odd
    assert story_of(there).endswith("\nOdd: x")


@pytest.mark.parametrize("text", [
    "def f():\n    class Odd(Exception): pass\n    raise Odd('why')",
    "def f(): raise type('Odd', (ValueError,), {})('why')",
])
def test_a_type_that_is_not_here_arrives_in_words(module, text):
    there = sent(module(text).f)
    assert type(there) is RemoteError
    assert there.args[0] == "why" and there.type_name.endswith("Odd")
    assert str(there) == f"{there.type_name}: why" and "Odd: why" in story_of(there)


def test_a_type_that_has_gone_here_arrives_in_words(module):
    mine = module("class Odd(Exception): pass\ndef f(): raise Odd('why')\ng = f")
    packed = pack_function(mine.f)
    error = caught(load_function(packed))
    for spaces in ((), ("nowhere",), ("sys",)):
        assert str(crossed(error, spaces)) == "Odd: why"
    mine.Odd = lambda *args: ValueError("fooled")
    assert type(crossed(error, packed.plan["spaces"])) is RemoteError


# ---- what cannot travel ---------------------------------------------------------------------------------


def test_what_cannot_travel_arrives_as_its_words():
    class Text(str):
        pass

    lock = threading.Lock()
    error = KeyError(lock, 1, [lock], Text("text"), HTTPStatus.NOT_FOUND, {"k": 2})
    error.lock, error.fine = lock, 3
    there = crossed(error)
    assert type(there) is KeyError
    assert there.args == (repr(lock), 1, repr([lock]), "text", 404, {"k": 2})
    assert [type(value) for value in there.args] == [str, int, str, str, int, dict]
    assert there.lock == repr(lock) and there.fine == 3


def test_words_that_need_what_cannot_travel_are_kept(module):
    mine = module("import threading\nclass Odd(Exception):\n"
                  "    def __str__(self): return f'locked {self.args[0].locked()}'\n"
                  "def f(): raise Odd(threading.Lock())")
    assert type(sent(mine.f)) is RemoteError and str(sent(mine.f)) == "Odd: locked False"


def test_what_is_nested_too_deeply_costs_no_more_than_itself():
    deep = []
    for _ in range(99):
        deep = [deep]
    there = crossed(ValueError("near", deep))
    assert there.args == ("near", repr(deep))


def test_values_that_cannot_be_shown():
    class Shy:
        def __repr__(self):
            raise SystemExit

    assert crossed(ValueError(Shy())).args == ("(its text cannot be made: SystemExit)",)


@pytest.mark.parametrize("trick", ["1/0", "raise SystemExit", "return 5", "return Text('odd')", "return 'x' * 10 ** 7",
                                   "return '\\ud800'", "return self.nothing", "return str(self)"])
def test_a_text_that_plays_tricks(module, trick):
    mine = module("class Text(str):\n    def __getitem__(self, i): raise SystemExit\n"
                  f"class Odd(Exception):\n    def __str__(self): {trick}\ndef f(): raise Odd(1)")
    there = sent(mine.f)
    assert type(there) is mine.Odd and there.args == (1,)
    assert len(story_of(there)) <= TRACEBACK_CHARS + 20


CLASSES_THAT_PLAY_TRICKS = [
    "class M(type):\n    @property\n    def __module__(cls): raise SystemExit\nclass Odd(Exception, metaclass=M): pass",
    "class M(type):\n    def __getattribute__(cls, name): raise SystemExit\nclass Odd(Exception, metaclass=M): pass",
    "class M(type):\n    def __call__(cls, *a): return 5\n    def __instancecheck__(cls, e): raise SystemExit\n"
    "class Odd(Exception, metaclass=M): pass",
    "class Odd(Exception):\n    def __getattribute__(self, name): raise SystemExit",
    "class Odd(Exception):\n    def __getattr__(self, name): return Odd('x')",
    "class Odd(Exception):\n    def __setattr__(self, name, value): raise SystemExit",
    "class Odd(Exception):\n    __cause__ = __traceback__ = __notes__ = __dict__ = 5",
    "class Odd(Exception):\n    __module__ = 5",
    "class Odd(Exception):\n    __module__ = 'no.such.module'",
    "class Odd(Exception):\n    __class__ = int",
    "class Odd(Exception):\n    def __eq__(self, other): raise SystemExit\n    __hash__ = None",
    "class Odd(Exception):\n    def __reduce_ex__(self, n): raise SystemExit",
    "class Odd(Exception):\n    def __reduce__(self): return Odd, (1,), None, iter([1])",
    "class Odd(Exception):\n    def __reduce__(self): return Odd, (1,), [1]",
    "class Odd(Exception):\n    def __reduce__(self): return 'Odd'",
    "class Odd(Exception):\n    exceptions = message = property(lambda self: 1 / 0)",
    "class Odd(Exception):\n    def __bool__(self): raise SystemExit\n    def __len__(self): raise SystemExit",
]


@pytest.mark.parametrize("text", CLASSES_THAT_PLAY_TRICKS)
def test_a_class_that_plays_tricks(module, text):
    mine = module(text)
    error = BaseException.__new__(mine.Odd, "a")
    plain = load_value(dump_value(describe_exception(error)))
    there = rebuild_exception(plain, ())
    assert issubclass(type(there), (mine.Odd, RemoteError))


@pytest.mark.parametrize("text", [
    "class Odd(Exception):\n    def __init__(self, *a): raise SystemExit",
    "class Odd(Exception):\n    def __new__(cls, *a): raise KeyboardInterrupt",
    "class Odd(Exception):\n    def __new__(cls, *a): return 5",
    "class Odd(Exception):\n    def __reduce__(self): return Odd, ()\n    def __init__(self, *a): raise SystemExit",
    "class Odd(Exception):\n    def __reduce__(self): return Odd, ()\n    def __new__(cls, *a): return 5",
    "class M(type):\n    def __call__(cls, *a): return None\n"
    "class Odd(Exception, metaclass=M):\n    def __reduce__(self): return Odd, ()",
])
@pytest.mark.parametrize("called", [True, False])
def test_a_constructor_that_plays_tricks_when_it_is_made_again(module, text, called):
    mine = module(text)
    there = rebuild_exception({"module": "mine", "name": "Odd", "args": ["a"], "text": "a", "called": called})
    assert type(there) in (mine.Odd, RemoteError)


# ---- groups and notes --------------------------------------------------------------------------------------


@groups
def test_a_group_arrives_with_all_that_is_in_it(module):
    mine = module("class Odd(Exception): pass\nclass Both(ExceptionGroup):\n"
                  "    def __new__(cls, errors, code):\n        self = super().__new__(cls, 'both', errors)\n"
                  "        self.code = code\n        return self\n"
                  "def f(): raise Both([Odd(1), ExceptionGroup('in', [KeyError('k'), OSError(2, 'gone', 'x')])], 7)")
    there = sent(mine.f)
    assert type(there) is mine.Both and there.code == 7 and there.message == "both"
    odd, inner = there.exceptions
    assert type(odd) is mine.Odd and odd.args == (1,) and type(inner) is ExceptionGroup  # noqa: F821
    assert inner.exceptions[0].args == ("k",) and inner.exceptions[1].filename == "x"
    assert "KeyError: 'k'" in story_of(there) and odd.__cause__ is None
    assert there.subgroup(KeyError).exceptions[0].exceptions[0] is inner.exceptions[0]


@groups
def test_a_group_of_interrupts_and_one_of_strangers(module):
    there = crossed(BaseExceptionGroup("g", [KeyboardInterrupt(), ValueError(1)]))  # noqa: F821
    assert type(there) is BaseExceptionGroup and type(there.exceptions[0]) is KeyboardInterrupt  # noqa: F821
    mine = module("def f():\n    class Odd(Exception): pass\n    raise ExceptionGroup('g', [Odd('why'), KeyError(2)])")
    there = sent(mine.f)
    assert str(there.exceptions[0]) == "f.<locals>.Odd: why" and there.exceptions[1].args == (2,)


@groups
def test_groups_end_somewhere():
    error = ValueError("innermost")
    for _ in range(500):
        error = ExceptionGroup("g", [error])  # noqa: F821
    there = crossed(error)
    for _ in range(GROUP_DEPTH):
        assert type(there) is ExceptionGroup  # noqa: F821
        (there,) = there.exceptions
    assert type(there) is RemoteError and there.type_name == "ExceptionGroup"
    deep = []
    for _ in range(60):
        deep = [deep]
    error = ValueError(deep)
    for _ in range(GROUP_DEPTH - 1):
        error = ExceptionGroup("g", [error])  # noqa: F821
    assert crossed(error).message == "g"


@groups
def test_notes_arrive(module):
    mine = module("class Odd(Exception):\n    def __reduce__(self): return Odd, self.args\n"
                  "def f(kind):\n    e = (Odd if kind else ValueError)('a')\n    e.add_note('look')\n"
                  "    e.add_note('there')\n    raise e")
    for kind in (0, 1):
        there = sent(mine.f, kind)
        assert there.__notes__ == ["look", "there"] and "\nlook\nthere" in story_of(there)
        assert "".join(traceback.format_exception_only(type(there), there)).endswith("a\nlook\nthere\n")


# ---- the traceback there ------------------------------------------------------------------------------------


def test_a_traceback_shows_the_persons_lines_with_their_causes(module):
    mine = module("import json\nclass Odd(Exception): pass\ndef g(x):\n    return json.loads(x)\n"
                  "def f(x):\n    try:\n        g(x)\n    except ValueError as error:\n"
                  "        raise Odd('outer') from error\n")
    story = story_of(sent(mine.f, "{"))
    for words in ("in f\n    g(x)", "in g\n    return json.loads(x)", "JSONDecodeError: Expecting", "direct cause",
                  "raise Odd('outer') from error", "\nOdd: outer", '<mine.py '):
        assert words in story
    assert "discompute" not in story and story.startswith("\nTraceback")


def test_a_context_is_told_too(module):
    story = story_of(sent(module("def f():\n    try:\n        1/0\n    finally:\n        {}['k']").f))
    assert "ZeroDivisionError" in story and "During handling" in story and story.endswith("KeyError: 'k'")


def test_the_whole_story_shows_when_it_is_raised_here(module):
    there = sent(module("def f(): return 1/0").f)
    text = "".join(traceback.format_exception(type(there), there, there.__traceback__))
    assert text.index("return 1/0") < text.index("direct cause") < text.rindex("ZeroDivisionError: division by zero")


def test_a_call_that_does_not_fit_has_no_traceback_of_ours(module):
    assert story_of(sent(module("def f(x): return x").f)).startswith("\nTypeError: f() missing 1 required positional")


def test_long_stories_keep_their_beginning_and_end(module):
    mine = module("def f(n):\n    try:\n        raise ValueError('a' * 9000 + 'b' * 9000 + 'c' * 9000)\n"
                  "    except ValueError:\n        raise KeyError('end')")
    story = story_of(sent(mine.f, 3))
    assert story.startswith("\nTraceback") and "[...]" in story and story.endswith("KeyError: 'end'")
    assert len(story) < TRACEBACK_CHARS + 20


def test_endless_recursion_is_told(module):
    there = sent(module("def f(): return f()").f)
    assert type(there) is RecursionError and "Previous line repeated" in story_of(there)


def test_a_chain_that_bites_its_tail():
    first, second = ValueError(1), ValueError(2)
    first.__cause__, second.__cause__ = second, first
    assert crossed(first).args == (1,)


def test_endless_chains_are_told_or_not_but_do_not_raise():
    error = None
    for number in range(3000):
        following = ValueError(number)
        following.__context__ = error
        error = following
    assert crossed(error).args == (2999,)


# ---- what hostile devices send ----------------------------------------------------------------------------

HOSTILE = [
    None, 5, "x", [], [1, 2], {}, {"name": 5}, {"name": "ValueError"}, {"module": "builtins"}, {"module": ["builtins"]},
    {"module": "builtins", "name": "int", "args": ["5"]}, {"module": "builtins", "name": "eval", "args": ["1/0"]},
    {"module": "builtins", "name": "", "args": []}, {"module": "builtins", "name": ".", "args": []},
    {"module": "os", "name": "system", "args": ["false"]}, {"module": "builtins", "name": "ValueError", "args": {}},
    {"module": "builtins", "name": "ValueError", "args": None}, {"module": "", "name": "ValueError", "args": []},
    {"module": "builtins", "name": "ValueError.__init__", "args": []}, {"module": True, "name": "Odd", "args": []},
    {"module": "builtins", "name": "ValueError.mro", "args": []}, {"module": -1, "name": "Odd", "args": []},
    {"module": 10 ** 400, "name": "Odd", "args": []}, {"module": "builtins", "name": "UnicodeDecodeError", "args": [1]},
    {"module": "subprocess", "name": "os.error", "args": []}, {"module": "builtins", "name": "KeyError", "text": 5},
    {"module": "builtins", "name": "SystemExit", "args": [3], "state": [1]}, {"traceback": 10 ** 5000, "text": b"x"},
    {"module": "builtins", "name": "Exception", "args": [], "called": True}, {"text": 10 ** 5000, "name": 10 ** 5000},
    {"module": "builtins", "name": "ExceptionGroup", "args": ["g"], "exceptions": []},
    {"module": "builtins", "name": "ExceptionGroup", "args": [5], "exceptions": [5]},
    {"module": "builtins", "name": "ExceptionGroup", "args": [], "exceptions": {"a": 1}},
    {"module": "builtins", "name": "ValueError", "args": ["g"], "exceptions": [{"name": "x"}, None]},
    {"module": "no.such.module", "name": "Odd", "args": []}, {1: 2, None: 3, ("module",): "builtins"},
]


@pytest.mark.parametrize("plain", HOSTILE)
def test_data_of_any_shape_gives_an_exception(plain):
    error = rebuild_exception(plain)
    assert isinstance(error, BaseException)
    str(error), repr(error)
    traceback.format_exception(type(error), error, None)


keys = st.sampled_from(["module", "name", "args", "state", "text", "traceback", "exceptions", "called"])
names = st.sampled_from(["builtins", "json.decoder", "subprocess", "mine", "", "ValueError", "OSError",
                         "ExceptionGroup", "JSONDecodeError", "TimeoutExpired", "__notes__", "__class__", "args",
                         "__cause__", "__dict__", "__traceback__", "with_traceback", "errno", "characters_written"])
plains = st.recursive(
    names | values | st.integers(-2, 3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys | names, inner, max_size=8), max_leaves=20)


@given(st.one_of(plains, st.fixed_dictionaries(
    {"module": names, "name": names, "args": st.lists(plains, max_size=5)},
    optional={"state": st.dictionaries(names, plains), "exceptions": st.lists(plains), "called": st.booleans(),
              "text": plains, "traceback": plains})))
def test_anything_gives_an_exception_that_can_be_raised(plain):
    error = rebuild_exception(plain, ("builtins",))
    with pytest.raises(BaseException) as info:
        raise error
    assert info.value is error
    assert isinstance(error.__cause__, (RemoteTraceback, type(None))) and isinstance(error.args, tuple)
    str(error)
    traceback.format_exception(type(error), error, error.__traceback__)


def test_groups_without_end_end():
    plain = {"module": "builtins", "name": "ExceptionGroup", "args": ["g"], "text": "g"}
    plain["exceptions"] = [plain, plain]
    assert isinstance(rebuild_exception(plain), BaseException)
    plain = {"module": "builtins", "name": "ValueError", "args": []}
    for _ in range(30):
        plain = {"module": "builtins", "name": "ExceptionGroup", "args": ["g"], "text": "g", "exceptions": [plain] * 9}
    assert isinstance(rebuild_exception(plain), BaseException)


def test_nobody_imports_for_a_type(module, monkeypatch):
    lazy = module("def __getattr__(name): raise SystemExit(f'imports {name}')", "lazy")
    plain = {"module": "lazy", "name": "Odd", "args": ["a"], "text": "a"}
    assert str(rebuild_exception(plain)) == "Odd: a"
    for name in ("this", "antigravity"):
        assert name not in sys.modules
        rebuild_exception({"module": name, "name": "Odd", "args": []})
        assert name not in sys.modules
    monkeypatch.setitem(sys.modules, "lazy", None)
    assert str(rebuild_exception(plain)) == "Odd: a"
    assert lazy


# ---- and on from here ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RemoteError("why", "Odd"), RemoteError("", "Odd"), RemoteTraceback("x")])
def test_ours_can_be_copied_and_sent_on(error):
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error)), crossed(error)):
        assert type(other) is type(error) and str(other) == str(error) and vars(other) == vars(error)


def test_texts_are_short():
    assert len(describe_exception(ValueError("x" * 10 ** 6))["text"]) == RAISED_TEXT_CHARS
