"""Modules that go along with a function: read, checked in words, and found on the device by this function alone."""

import dataclasses
import importlib
import json
import linecache
import sys

import pytest

from discompute_lite.faces.calling import FunctionCalls
from discompute_lite.faces.packing import FunctionPacker
from discompute_lite.faces.uploading import read_uploads
from discompute_lite.model.errors import TaskRejected
from discompute_lite.model.limits import SOURCE_BYTES
from discompute_lite.tasks.calls import calls_data, read_outcomes
from discompute_lite.tasks.functions import pack_function
from discompute_lite.tasks.packed_function import PackedFunction, hash_of_plan, load_function
from discompute_lite.tasks.work import WORK_LIMITS, WorkRequest, run_work


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a writer of files in the current folder, whose modules are forgotten in the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        linecache.checkcache()
        return tmp_path

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def on_a_device(function, *args, upload, monkeypatch):
    """Call a function where nothing of the current folder can be imported; return what the submitter gets."""
    calls = FunctionCalls(FunctionPacker(), function, uploads=read_uploads(upload))
    unit = calls.one(args, {})
    request = WorkRequest("run", "calls", calls_data(calls.packed.line, [unit]), "t/0.1")
    with monkeypatch.context() as there:
        there.setattr(sys, "path", [each for each in sys.path if "pytest-of" not in each])
        there.chdir("/")
        hidden = [name for name, module in sys.modules.items()
                  if "pytest-of" in str(getattr(module, "__file__", "")) and "discompute" not in name]
        for name in hidden:
            there.delitem(sys.modules, name)
        outcome = run_work(request, WORK_LIMITS)
    assert outcome.ok, outcome.error
    result, = read_outcomes(outcome.data, calls.packed.spaces)
    if result.raised is not None:
        raise result.raised
    return result.values[0]


PACKAGE = {
    "pkg/__init__.py": "from .parts import Part\nfrom . import rates\nNAME = 'pkg'\n",
    "pkg/parts.py": ("import dataclasses\nfrom .deep.down import depth\n\n@dataclasses.dataclass\nclass Part:\n"
                     "    size: int\n\n    def grown(self):\n        from . import rates\n"
                     "        return Part(self.size * rates.FACTOR + depth())\n"),
    "pkg/rates.py": "from pkg import parts\nFACTOR = 3\n\ndef part():\n    return parts.Part\n",
    "pkg/deep/__init__.py": "",
    "pkg/deep/down.py": "def depth():\n    from .. import rates as up\n    from ..rates import FACTOR\n"
                        "    return up.FACTOR - FACTOR + 1\n",
    "pkg/data.txt": "not sent",
    "pkg/__pycache__/x.py": "this is not Python",
}


# ---- imports ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body, expected", [
    ("import helpers\n    return helpers.twice(x)", 10),
    ("from helpers import twice as t, LIMIT\n    return t(x) + LIMIT", 17),
    ("import pkg.deep.down\n    return pkg.deep.down.depth() + len(pkg.NAME)", 4),
    ("import pkg.deep.down as d\n    return d.depth()", 1),
    ("from pkg.deep import down\n    return down.depth()", 1),
    ("from pkg import Part\n    return Part(x).grown().size", 16),
    ("import pkg\n    return pkg.rates.part() is pkg.Part", True),
    ("import json\n    return json.loads('5')", 5),
    ("import helpers.nothing", ModuleNotFoundError),
    ("import pkg.nothing", ModuleNotFoundError),
    ("from pkg import nothing", ImportError),
    ("import helpers\n    return helpers.fail()", ZeroDivisionError),
])
def test_import_statements_find_what_was_uploaded(folder, monkeypatch, body, expected):
    folder({**PACKAGE, "helpers.py": "LIMIT = 7\ndef twice(x):\n    return x * 2\ndef fail():\n    return 1 / 0\n",
            "mine.py": f"def f(x):\n    {body}\n"})
    import mine

    def run():
        return on_a_device(mine.f, 5, upload=["helpers.py", "pkg/"], monkeypatch=monkeypatch)

    if isinstance(expected, type):
        with pytest.raises(expected):
            run()
    else:
        assert run() == expected
    assert "helpers" not in sys.modules and "pkg" not in sys.modules


@pytest.mark.parametrize("text, expected", [
    ("import helpers\ndef f(x): return helpers.twice(x)", 10),
    ("import helpers\ndef f(x): return (lambda module: module.twice(x))(helpers)", 10),
    ("from helpers import twice\ndef f(x): return twice(x)", 10),
    ("from helpers import adder\nadd = adder(2)\ndef f(x): return add(x)", 7),
    ("import pkg\ndef f(x): return pkg.rates.FACTOR + pkg.Part(x).grown().size", 19),
    ("from pkg.parts import Part\nclass Big(Part): pass\ndef f(x): return Big(x).grown().size", 16),
    ("from helpers import cached\ndef f(x): return cached(x)", 6),
])
def test_what_a_function_has_at_the_top_of_its_file_comes_from_the_upload(folder, monkeypatch, text, expected):
    folder({**PACKAGE, "mine.py": text, "helpers.py": (
        "import functools\nFACTOR = 2\ndef twice(x):\n    return x * FACTOR\n"
        "def adder(n):\n    def add(x):\n        return x + n * FACTOR // 2\n    return add\n"
        "@functools.lru_cache\ndef cached(x):\n    return x + 1\n")})
    import mine
    assert on_a_device(mine.f, 5, upload=["helpers.py", "pkg"], monkeypatch=monkeypatch) == expected


def test_without_an_upload_the_refusal_recommends_one_that_works(folder, monkeypatch):
    folder({"helpers.py": "def twice(x): return x * 2",
            "mine.py": "def f(x):\n    import helpers\n    return helpers.twice(x)"})
    import mine
    with pytest.raises(TaskRejected, match=r"mine.py, line 2\) imports helpers inside itself.*upload=\[\.\.\.\]"):
        pack_function(mine.f)
    assert on_a_device(mine.f, 5, upload="helpers.py", monkeypatch=monkeypatch) == 10


def test_a_function_of_an_uploaded_module_may_be_the_one_that_is_called(folder, monkeypatch):
    folder(PACKAGE)
    import pkg.parts
    part = on_a_device(pkg.parts.Part.grown, pkg.parts.Part(5), upload=["pkg/"], monkeypatch=monkeypatch)
    assert type(part) is pkg.parts.Part and dataclasses.astuple(part) == (16,)


def test_two_functions_may_bring_different_modules_of_one_name(folder):
    folder({"a/helpers.py": "NAME = 'a'", "b/helpers.py": "NAME = 'b'", "helpers.py": "NAME = 'here'",
            "mine.py": "def f():\n    import helpers\n    return helpers.NAME\n"})
    import mine
    functions = [load_function(pack_function(mine.f, uploads=read_uploads([f"{name}/helpers.py"]))) for name in "ab"]
    assert [function() for function in functions] == ["a", "b"] == [function() for function in functions]
    assert mine.f() == "here"


def test_a_module_runs_once_and_only_when_it_is_imported(folder):
    folder({"helpers.py": "import counted\ncounted.runs += 1\n", "counted.py": "runs = 0\n", "never.py": "1 / 0\n",
            "mine.py": "def f():\n    import helpers, counted\n    import helpers as again\n    return counted.runs\n"})
    import mine
    there = load_function(pack_function(mine.f, uploads=read_uploads(["helpers.py", "counted.py", "never.py"])))
    assert [there(), there()] == [1, 1]


def test_a_module_that_raises_is_told_with_its_line_each_time(folder):
    folder({"helpers.py": "x = 1\n1 / 0\n", "mine.py": "def f():\n    import helpers\n"})
    import mine
    there = load_function(pack_function(mine.f, uploads=read_uploads(["helpers.py"])))
    for _ in range(2):
        with pytest.raises(ZeroDivisionError) as failure:
            there()
        last = failure.traceback[-1]
        assert "helpers.py" in str(last.path) and last.lineno == 1
        assert linecache.getline(last.frame.code.raw.co_filename, 2) == "1 / 0\n"


# ---- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("files, upload, words", [
    ({}, ["nothing.py"], "upload names nothing.py, which is no Python file and no folder here"),
    ({"data.txt": ""}, ["data.txt"], "which is no Python file and no folder here"),
    ({"json.py": ""}, ["json.py"], "json is a module of the standard library or of this package, which it would hide"),
    ({"email/__init__.py": ""}, ["email/"], "email is a module of the standard library"),
    ({"my-helpers.py": ""}, ["my-helpers.py"], "cannot be imported by that name; rename it"),
    ({"bad.py": "x = 1\ndef f(:\n"}, ["bad.py"], "bad.py, line 2: "),
    ({"pkg/__init__.py": "", "pkg/bad.py": "\n\nx ="}, ["pkg"], "pkg/bad.py, line 3: "),
    ({"a/h.py": "", "b/h.py": ""}, ["a/h.py", "b/h.py"], "upload names the module h twice"),
    ({"h.py": "import other_own"}, ["h.py"], "h.py, line 1 imports other_own, which other devices do not have"),
    ({"h.py": "p = __file__"}, ["h.py"], "h.py, line 1 uses __file__"),
    ({"h.py": "#" * (SOURCE_BYTES + 1)}, ["h.py"], f"and a task carries {SOURCE_BYTES}; leave out"),
])
def test_what_cannot_be_uploaded_is_refused_in_words(folder, files, upload, words):
    folder({**files, "other_own.py": ""})
    with pytest.raises(TaskRejected) as refusal:
        read_uploads(upload)
    assert words in refusal.value.message and "\n" not in refusal.value.message


def test_a_file_of_another_encoding_is_read_as_python_reads_it(folder):
    path = folder({}) / "latin.py"
    path.write_bytes("# -*- coding: latin-1 -*-\nNAME = 'é'\n".encode("latin-1"))
    assert read_uploads("latin.py")[0].text.endswith("NAME = 'é'\n")
    path.write_bytes(b"NAME = '\xe9'\n")
    with pytest.raises(TaskRejected, match=r"upload cannot read latin\.py: "):
        read_uploads("latin.py")


@pytest.mark.parametrize("rows", [1, [1], [["a", True, "a.py"]], [["a", 1, "a.py", ""]], [["a", True, "a.py", ""]] * 9])
def test_hostile_plans_are_refused(folder, rows):
    folder({"mine.py": "def f(): return 1"})
    import mine
    packed = pack_function(mine.f)
    plan = {**packed.plan, "modules": rows}
    with pytest.raises(TaskRejected):
        load_function(PackedFunction.from_plain(json.loads(json.dumps(
            PackedFunction("f", plan, hash_of_plan("f", plan)).to_plain()))))


def test_all_text_that_travels_can_be_read_before_it_is_approved(folder):
    folder({"helpers.py": "SECRET = 1\n", "mine.py": "def f():\n    import helpers\n"})
    import mine
    assert "SECRET = 1" in pack_function(mine.f, uploads=read_uploads("helpers.py")).source
