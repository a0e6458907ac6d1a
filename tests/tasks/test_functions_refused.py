"""What cannot travel is refused when it is submitted: by name, with the file, the line and what to do."""

from __future__ import annotations

import re

import pytest

from discompute_lite.model.errors import TaskRejected
from discompute_lite.tasks.functions import pack_function


REFUSALS = {
    "lock": ("import threading\nL = threading.Lock()\ndef f():\n"
             "    with L: pass", "f (mine.py, line 4) uses L, a lock"),
    "lock of a function below": ("import threading\nL = threading.Lock()\ndef g():\n    return L\ndef f(): return g()",
                                 "g (mine.py, line 4) uses L, a lock"),
    "open file in a closure": ("def make():\n    h = open(__file__)\n    h.close()\n    def inner():\n"
                               "        return h\n"
                               "    return inner\n"
                               "f = make()", "make.<locals>.inner (mine.py, line 5) uses h, a TextIO"),
    "lock in a table": ("import threading\nT = {'a': [threading.Lock()]}\ndef f(): return T", "uses T['a'][0], a lock"),
    "lock in an instance": ("import threading\nclass A:\n    def __init__(self): self.lock = threading.Lock()\n"
                            "    def m(self): pass\nf = A().m", "its own object.lock, a lock"),
    "lock as a default": ("import threading\ndef f(x=threading.Lock()): pass",
                          "f (mine.py, line 2) uses its default values[0], a lock"),
    "generator object": ("G = (i for i in 'ab')\ndef f(): return G", "line 2) uses G, a generator"),
    "generator": ("def f():\n    yield 1", "f (mine.py, line 1) is a generator"),
    "async": ("async def f(): pass", "f (mine.py, line 1) is async"),
    "async generator": ("async def f(): yield 1", "is async"),
    "no function": ("f = 3", "int is not a function"),
    "text only in memory": ("exec(compile('def f(): return 1', '<string>', 'exec'))",
                            "f (string, line 1) has no source text that could travel; put it into a file"),
    "class in a function": ("def make():\n    class A: pass\n    return lambda: A()\nf = make()",
                            "uses A, the class make.<locals>.A, which is made inside a function"),
    "own import inside": ("def f():\n    import test_functions_own\n    return 1", ""),
    "relative import inside": ("def f():\n\n    from .x import y", "f (mine.py, line 3) imports .x inside itself"),
    "place of the file": ("def f(): return __file__", "uses __file__, the place of a file"),
    "single dispatch": ("import functools\n@functools.singledispatch\ndef g(x): return 1\ndef f(): return g(1)",
                        "uses g, a single-dispatch function"),
    "own pickling": ("class A:\n    def __getstate__(self): return {}\na = A()\ndef f(): return a",
                     "A.__getstate__ says how to pickle it"),
    "subclass of dict": ("class D(dict): pass\nd = D(a=1)\ndef f(): return d", "uses d, a D; it cannot travel"),
    "time zone table": ("import zoneinfo, datetime\n"
                        "D = [datetime.datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo('UTC'))]\n"
                        "def f(): return D", "cannot travel: D[0] is a datetime"),
    "whole own module": ("import sys\nme = sys.modules[__name__]\ndef f():\n    return vars(me)",
                         "f (mine.py, line 4) uses me, a whole module of your own"),
    "name that a module has not": ("import sys\nme = sys.modules[__name__]\ndef f():\n    return me.nothing",
                                   "uses me.nothing, which the module mine does not have"),
    "library decorator inside": ("import contextlib\ndef make():\n    @contextlib.contextmanager\n    def c(): yield\n"
                                 "    return c\nf = make()", "make.<locals>.c (mine.py, line 3)"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_the_sentence_names_the_culprit(module, name, tmp_path, monkeypatch):
    text, expected = REFUSALS[name]
    if name == "own import inside":
        monkeypatch.syspath_prepend(str(tmp_path))
        (tmp_path / "test_functions_own.py").write_text("")
        expected = "f (mine.py, line 2) imports test_functions_own inside itself"
    mine = module(text)
    with pytest.raises(TaskRejected, match=re.escape(expected)) as caught:
        pack_function(mine.f)
    # Each says what to do, in one line.
    assert "\n" not in caught.value.message and re.search(r"[;:,] ", caught.value.message)


def test_a_file_that_was_changed_since_is_not_taken_for_the_function(module, tmp_path):
    mine = module("def f(x):\n    return x + 1\n")
    (tmp_path / "mine.py").write_text("def f(x):\n    return x + 222222\n")
    with pytest.raises(TaskRejected, match=r"f \(mine.py, line 1\) is no longer what its file says"):
        pack_function(mine.f)


def test_a_class_that_was_changed_since_is_not_taken_either(module, tmp_path):
    mine = module("class A:\n    def m(self):\n        return 1\ndef f(): return A().m()\n")
    (tmp_path / "mine.py").write_text("class A:\n    def m(self):\n        return 22222\ndef f(): return A().m()\n")
    with pytest.raises(TaskRejected, match="uses A, the class A, whose source text is not found or is no longer"):
        pack_function(mine.f)


def test_too_much_text_is_refused(module):
    mine = module("def f():\n    return '''" + "x" * (1 << 20) + "'''\n")
    with pytest.raises(TaskRejected, match="needs more source text than a task may carry"):
        pack_function(mine.f)


def test_text_may_come_from_elsewhere():
    names = {"__name__": "elsewhere"}
    exec(compile("def f(x): return x * 2", "page 3", "exec"), names)
    assert "x * 2" in pack_function(names["f"], source_of={"page 3": "def f(x): return x * 2"}.get).source
