"""Functions packed by one Python run on another, in both directions between 3.9 and 3.13."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TIME_LIMIT_S = 60
VERSIONS = ("3.9", "3.13")

MODULE = '''
from __future__ import annotations
import contextlib
import enum
import functools
import math
import re
from collections import Counter, namedtuple
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import ClassVar, List

RATE = 0.5
WORD = re.compile(r"\\w+")
Point = namedtuple("Point", "x y")
class Color(enum.Enum):
    RED = "r"
    BLUE = "b"
@dataclass(order=True)
class Item:
    unit: ClassVar[str] = "kg"
    weight: float
    tags: List[str] = field(default_factory=list)
    def price(self):
        return self.weight * RATE
def traced(function):
    calls = []
    @functools.wraps(function)
    def wrapper(*args, **options):
        calls.append(args)
        return function(*args, **options), len(calls)
    return wrapper
@traced
def area(radius: float | None) -> float:
    return math.floor(math.pi * radius * radius)
@functools.lru_cache(maxsize=None)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
@contextlib.contextmanager
def scaled(value):
    yield value * RATE
SHARED = [1, 2]
TABLE = {"area": area, "fib": fib, "item": Item(2.0, SHARED), "shared": SHARED}
def make(base):
    total = base
    def add(n):
        nonlocal total
        total += sum(k * n for k in range(3))
        return total
    return add
add = make(10)
def f(text, *, where=PurePosixPath("a"), color=Color.BLUE):
    with scaled(8) as half:
        pass
    squares = [(lambda y: y * y)(x) for x in range(4)]
    try:
        int("no")
    except ValueError as error:
        kind = type(error).__name__
    return {"words": dict(Counter(WORD.findall(text))), "area": TABLE["area"](2), "fib": TABLE["fib"](40),
            "price": TABLE["item"].price(), "same": TABLE["item"].tags is SHARED, "half": half, "add": [add(1), add(2)],
            "where": str(where / "b"), "color": color is Color.BLUE, "point": Point(1, 2)._replace(y=5).y,
            "squares": squares, "kind": kind, "unit": Item.unit, "sorted": min(Item(2.0), Item(1.0)).weight,
            "path": isinstance(Path("x"), Path), "text": f"{text!r:>12}"}
'''
PACK = ("import json, mine; from discompute_lite.tasks.functions import *; "
        "print(json.dumps(pack_function(mine.f).to_plain()))")
LOAD = ("import json, sys; from discompute_lite.tasks.packed_function import *; "
        "f = load_function(PackedFunction.from_plain(json.load(sys.stdin))); print(json.dumps(f('a b a')))")
HOME = "import json, mine; print(json.dumps(mine.f('a b a')))"


@pytest.fixture(scope="module")
def interpreters():
    """Return {version: command} of the Pythons that start here."""
    found = {}
    installed = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for version in VERSIONS:
        paths = [sys.executable, shutil.which(f"python{version}"), *sorted(installed.glob(f"{version}.*/bin/python3"))]
        for path in filter(None, paths):
            asked = subprocess.run([path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], text=True,
                                   capture_output=True, timeout=TIME_LIMIT_S, stdin=subprocess.DEVNULL)
            if asked.stdout.strip() == version:
                found.setdefault(version, path)
    return found


def said(interpreter, program, folder, text=""):
    """Return what a program prints, as JSON; it finds this repository and `folder`."""
    setup = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(folder)!r}]; "
    done = subprocess.run([interpreter, "-I", "-B", "-c", setup + program], input=text, text=True, capture_output=True,
                          timeout=TIME_LIMIT_S)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("sender, receiver", [("3.9", "3.13"), ("3.13", "3.9")])
def test_a_function_of_many_parts_does_the_same_on_the_other_python(interpreters, tmp_path, sender, receiver):
    for version in (sender, receiver):
        if version not in interpreters:
            pytest.skip(f"python{version} is not installed here")
    (tmp_path / "mine.py").write_text(MODULE)
    packed = said(interpreters[sender], PACK, tmp_path)
    (tmp_path / "elsewhere").mkdir()
    there = said(interpreters[receiver], LOAD, tmp_path / "elsewhere", json.dumps(packed))
    assert there == said(interpreters[sender], HOME, tmp_path)
    assert there["words"] == {"a": 2, "b": 1} and there["add"] == [13, 19]


def test_syntax_that_the_other_python_cannot_read_is_told_with_both_versions(interpreters, tmp_path):
    for version in VERSIONS:
        if version not in interpreters:
            pytest.skip(f"python{version} is not installed here")
    (tmp_path / "mine.py").write_text("def f(x):\n    match x:\n        case 'a': return 1\n    return f'{'nested'}'\n")
    packed = said(interpreters["3.13"], PACK, tmp_path)
    program = LOAD.replace("print(json.dumps(f('a b a')))", "").replace("f = load", "load")
    program = ("import json\ntry:\n    " + program.replace("import json, sys; ", "import sys; ")
               + "\nexcept Exception as error:\n    print(json.dumps([type(error).__name__, error.message]))")
    kind, message = said(interpreters["3.9"], "\n" + program, tmp_path, json.dumps(packed))
    assert kind == "FunctionUnfit" and "3.10" in message and "3.9" in message
    packed["plan"]["python"] = 9
    program = program.replace("PackedFunction.from_plain(", "PackedFunction(*(")
    program = program.replace("json.load(sys.stdin)", "json.load(sys.stdin))")
    kind, message = said(interpreters["3.9"], "\n" + program, tmp_path, json.dumps(["f", packed["plan"], "0" * 64]))
    assert kind == "FunctionUnfit" and message.startswith("mine.py, line 2: ") and "Python 3.9" in message


VALUES = "[mine.Item(2.5, ['a']), mine.Point(1, 2), {mine.Color.RED: [mine.Color.BLUE]}]"
CALL = ("import json, mine; from discompute_lite.faces.calling import FunctionCalls; "
        "from discompute_lite.faces.packing import FunctionPacker; calls = FunctionCalls(FunctionPacker(), mine.same); "
        f"unit = calls.one([{VALUES}], {{}}); print(json.dumps([calls.packed.line.decode(), unit.decode()]))")
WORK = ("import json, sys; from discompute_lite.tasks.work import *; data = '\\n'.join(json.load(sys.stdin)).encode(); "
        "done = run_work(WorkRequest('run', 'calls', data, 't/0.1'), WORK_LIMITS); "
        "print(json.dumps([done.ok, done.error, done.data.decode()]))")
READ = ("import json, sys, mine; from discompute_lite.tasks.calls import read_outcomes; "
        "outcome, = read_outcomes(json.load(sys.stdin).encode(), ['mine']); value, = outcome.values; "
        f"print(json.dumps([value == {VALUES}, type(value[0]) is mine.Item, type(value[1]) is mine.Point, "
        "mine.Color.RED in value[2]]))")


@pytest.mark.parametrize("sender, receiver", [("3.9", "3.13"), ("3.13", "3.9")])
def test_values_of_own_classes_go_to_the_other_python_and_come_back(interpreters, tmp_path, sender, receiver):
    for version in (sender, receiver):
        if version not in interpreters:
            pytest.skip(f"python{version} is not installed here")
    (tmp_path / "mine.py").write_text(MODULE + "def same(value):\n    return value\n")
    (tmp_path / "elsewhere").mkdir()
    sent = said(interpreters[sender], CALL, tmp_path)
    is_ok, error, back = said(interpreters[receiver], WORK, tmp_path / "elsewhere", json.dumps(sent))
    assert is_ok, error
    assert said(interpreters[sender], READ, tmp_path, json.dumps(back)) == [True] * 4
