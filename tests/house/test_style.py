"""How things are written here: shapes that fit a screen, docstrings that promise, words and calls that stay out."""

from __future__ import annotations

import ast
import re

import pytest

FUNCTION_LINES = 70
PARAMETERS = 7
NESTING = 4
FILE_LINES = 400
LINE_LENGTH = 120

FORBIDDEN_PROSE = re.compile(
    r"\b(TODO|FIXME|XXX|NotImplementedError|for now|placeholder|simulated result)\b"
    # A path of somebody's machine; `tasks/work.py` is not one.
    r"|(?<![\w./*-])/(work|root|home/\w+|Users/\w+)/", re.IGNORECASE,
)

#: Calls that have a better way here: {dotted name: (why, the files where it may stand)}.
FORBIDDEN_CALLS = {
    "platform.platform": ("it starts a process on some systems; host/probe asks for what is needed", ()),
    "platform.processor": ("it starts a process on some systems; host/probe asks for what is needed", ()),
    "platform.architecture": ("it starts a process on some systems; host/probe asks for what is needed", ()),
    "platform.uname": ("looking at what it returns starts a process; host/probe asks `os`", ()),
    "HTTPServer": ("its start asks the network for this machine's name, which may take seconds", ()),
    "uuid.getnode": ("it names the machine by its network card, and may start a process", ()),
    "uuid.uuid1": ("it names the machine by its network card, and may start a process", ()),
    "socket.getfqdn": ("it asks the network and may take seconds", ()),
    "ctypes.util.find_library": ("it starts compilers", ()),
    "os._exit": ("it skips the goodbye; only a child does so, and a process that a foreign executor holds up after it",
                 ("discompute_lite/host/child.py", "discompute_lite/host/child_guard.py",
                  "discompute_lite/host/foreign_executors.py")),
    "print": ("only faces speak to people", ("discompute_lite/faces/",)),
    "dataclass.slots": ("dataclass(slots=...) needs Python 3.10", ()),
    "dataclass.kw_only": ("dataclass(kw_only=...) needs Python 3.10", ()),
}
#: Calls whose result may be bound to a module-level name that is not a constant's or a type's.
EXTENSION_TABLES = ("Catalog",)
MUTATORS = frozenset("append add update setdefault pop popitem clear extend insert remove discard appendleft".split())


# ---- shapes ---------------------------------------------------------------------------------------


def depth_of(body, depth=0):
    """Return how deep blocks are nested in a function; `elif` is not deeper than `if`, nested functions start anew."""
    deepest = depth
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        inner = [getattr(node, part, []) for part in ("body", "orelse", "finalbody")]
        inner += [each.body for each in getattr(node, "handlers", ())]
        for part in inner:
            is_elif = part is getattr(node, "orelse", None) and len(part) == 1 and isinstance(part[0], ast.If)
            if part:
                deepest = max(deepest, depth_of(part, depth if is_elif else depth + 1))
    return deepest


def breaches_of_shape(source):
    for function in source.functions():
        lines = function.end_lineno - function.lineno + 1
        if lines > FUNCTION_LINES:
            yield source.at(function, f"{function.name} has {lines} lines; {FUNCTION_LINES} at most, aim for 50")
        args = function.args
        names = [arg.arg for arg in args.posonlyargs + args.args + args.kwonlyargs] + [
            arg.arg for arg in (args.vararg, args.kwarg) if arg]
        count = len(names) - (names[:1] in (["self"], ["cls"]))
        if count > PARAMETERS:
            yield source.at(function, f"{function.name} has {count} parameters; {PARAMETERS} at most")
        if depth_of(function.body) > NESTING:
            yield source.at(function, f"{function.name} is nested {depth_of(function.body)} deep; {NESTING} at most")


def breaches_of_size(source):
    lines = source.text.splitlines()
    if len(lines) > FILE_LINES and not source.is_data:
        yield source.at(len(lines), f"{len(lines)} lines; a file has {FILE_LINES} at most")
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_LENGTH:
            yield source.at(number, f"{len(line)} characters; a line has {LINE_LENGTH} at most")


# ---- words ----------------------------------------------------------------------------------------


def breaches_of_docstring(source):
    """A module says what it promises; then Knows, Refuses, Read next, in this order."""
    text = ast.get_docstring(source.tree) or ""
    promise = text.split("\n\n")[0].strip()
    if not promise.endswith((".", ":", "?")):
        yield source.at(1, "the module's docstring begins with one sentence that says what it promises")
    if source.name == "__init__.py" or not any(source.definitions()):
        return  # doors and tables have nothing to know or refuse
    places = []
    for word in ("Knows:", "Refuses:", "Read next:"):
        found = re.search(rf"^{word}\s+\S", text, re.M)
        if not found:
            yield source.at(1, f"the module's docstring has no line `{word} ...`")
        places.append(found.start() if found else -1)
    if places != sorted(places):
        yield source.at(1, "the order is Knows, Refuses, Read next")


def breaches_of_prose(source):
    # To find the comments takes longer than to look for the words in all that is written.
    for line, text in source.comments() if FORBIDDEN_PROSE.search(source.text) else ():
        for found in FORBIDDEN_PROSE.finditer(text):
            yield source.at(line, f"{found.group()!r} in a comment: finish it, or open an issue")
    for node in source.nodes:
        if isinstance(node, ast.Name) and node.id == "NotImplementedError":
            yield source.at(node, "NotImplementedError: what is not there is not offered")


# ---- calls and state ------------------------------------------------------------------------------


def breaches_of_calls(source):
    for node, name in source.calls():
        why, places = FORBIDDEN_CALLS.get(name, ("", ()))
        if why and not source.path.startswith(places or ("nowhere",)):
            yield source.at(node, f"no {name}(): {why}")
        if name.endswith("getLogger"):
            value = node.args[0] if node.args else None
            if getattr(value, "value", None) != "discompute":
                yield source.at(node, 'there is one logger: logging.getLogger("discompute")')
    for node in source.nodes:
        if isinstance(node, ast.Name) and node.id == "__file__":
            yield source.at(node, "no __file__: the single file has no folder of its own")
        if isinstance(node, ast.Name) and node.id == "__name__" and source.room != "__main__":
            yield source.at(node, "__name__ is for __main__.py alone")
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "dataclass":
            for keyword in node.keywords:
                why, _ = FORBIDDEN_CALLS.get(f"dataclass.{keyword.arg}", ("", ()))
                if why:
                    yield source.at(node, why)


def module_assignments(source):
    for node in source.tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                for name in [each.id for each in ast.walk(target) if isinstance(each, ast.Name)]:
                    yield node, name


def breaches_of_state(source):
    """Module level holds constants, types and extension tables; nothing there changes after import."""
    tables = set()
    constants = set()
    for node, name in module_assignments(source):
        called = node.value.func if isinstance(node.value, ast.Call) else None
        while isinstance(called, ast.Subscript):
            called = called.value
        if getattr(called, "id", "") in EXTENSION_TABLES:
            tables.add(name)
        elif re.fullmatch(r"_*[A-Z][A-Z0-9_]*", name):
            constants.add(name)
        elif not re.fullmatch(r"__\w+__|_*[A-Z]\w*", name):
            yield source.at(node, f"module-level {name!r}: constants are UPPER_CASE, and nothing else lives there")
    for function in source.functions():
        for node in ast.walk(function):
            if isinstance(node, ast.Global):
                yield source.at(node, "no `global`: state belongs to an object that somebody owns")
            changed = None
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del)):
                changed = node.value
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
                changed = node.func.value
            if isinstance(changed, ast.Name) and changed.id in constants:
                yield source.at(node, f"{changed.id} is a constant and is changed here")


def breaches_of_patience(source):
    if source.path.startswith(("tests/system/", "tests/phone/")):  # Real processes.
        return
    for node, name in source.calls():
        if name in ("sleep", "time.sleep"):
            yield source.at(node, "only tests/system and tests/phone wait")


# ---- the tests ------------------------------------------------------------------------------------

EVERYWHERE = [breaches_of_shape, breaches_of_prose]
IN_PACKAGE = [breaches_of_size, breaches_of_docstring, breaches_of_calls, breaches_of_state]


@pytest.mark.once
@pytest.mark.parametrize("rule", EVERYWHERE)
def test_every_file_obeys(everything, obeyed, rule):
    # This file must name what it forbids.
    obeyed(breach for source in everything if source.path != "tests/house/test_style.py" for breach in rule(source))


@pytest.mark.once
@pytest.mark.parametrize("rule", IN_PACKAGE)
def test_the_package_obeys(package, obeyed, rule):
    obeyed(breach for source in package for breach in rule(source))


@pytest.mark.once
def test_tools_fit_a_sitting(everything, obeyed):
    obeyed(breach for source in everything if source.path.startswith("tools/") for breach in breaches_of_size(source))


@pytest.mark.once
def test_only_tests_with_real_processes_wait(everything, obeyed):
    obeyed(breach for source in everything if source.path.startswith("tests/")
           for breach in breaches_of_patience(source))


PROMISE = '"""Do it."""\n'
DEFINITION = "def f(): pass\n"
LINES = '"""Do it.\n\nKnows:   x.\nRefuses: y.\nRead next: z.\n"""\n'


@pytest.mark.parametrize("rule, text", [
    (breaches_of_shape, "def f():\n" + "    x = 1\n" * FUNCTION_LINES),
    (breaches_of_shape, "def f(a, b, c, d, *, e, f, g, h): pass"),
    (breaches_of_shape, "class C:\n    def f(self, a, b, c, d, e, f, *g, **h): pass"),
    (breaches_of_shape, "def f():\n if 1:\n  for x in y:\n   while 1:\n    with z:\n     if x:\n      p\n"),
    (breaches_of_size, "x = 1\n" * (FILE_LINES + 1)),
    (breaches_of_size, "#" * (LINE_LENGTH + 1)),
    (breaches_of_docstring, "x = 1"),
    (breaches_of_docstring, PROMISE + DEFINITION),
    (breaches_of_docstring, LINES.replace("Refuses: y.\n", "") + DEFINITION),
    (breaches_of_docstring, LINES.replace("Do it.", "Do it")),
    (breaches_of_docstring, '"""Do it.\n\nRefuses: y.\nKnows: x.\nRead next: z.\n"""\n' + DEFINITION),
    (breaches_of_prose, "x = 1  # TODO: more"),
    (breaches_of_prose, "# good enough for now"),
    (breaches_of_prose, "# see /" "root/notes.txt"),
    (breaches_of_prose, '"""A placeholder."""'),
    (breaches_of_prose, "def f():\n    raise NotImplementedError"),
    (breaches_of_calls, "print(1)"),
    (breaches_of_calls, "import os\nos._exit(1)"),
    (breaches_of_calls, "import platform\nplatform.processor()"),
    (breaches_of_calls, "import platform\nplatform.uname()"),
    (breaches_of_calls, "from http.server import HTTPServer\nHTTPServer()"),
    (breaches_of_calls, "import logging\nLOG = logging.getLogger(__name__)"),
    (breaches_of_calls, "import logging\nLOG = logging.getLogger()"),
    (breaches_of_calls, "HERE = __file__"),
    (breaches_of_calls, "if __name__ == '__main__':\n    pass"),
    (breaches_of_calls, "@dataclass(frozen=True, slots=True)\nclass C: pass"),
    (breaches_of_state, "cache = {}"),
    (breaches_of_state, "started: bool = False"),
    (breaches_of_state, "CACHE = {}\ndef f(): CACHE['x'] = 1"),
    (breaches_of_state, "SEEN = set()\ndef f(): SEEN.add(1)"),
    (breaches_of_state, "def f():\n    global x\n    x = 1"),
])
def test_a_breach_is_noticed(parse, rule, text):
    assert list(rule(parse(text)))


@pytest.mark.parametrize("rule, path, text", [
    (breaches_of_shape, "discompute_lite/net/x.py", "def f(self, a, b, c, d, e, f, g): pass"),
    (breaches_of_shape, "discompute_lite/net/x.py", "def f():\n" + "".join(
        f"    {'el' if n else ''}if x == {n}:\n        pass\n" for n in range(9))),
    (breaches_of_size, "discompute_lite/host/chips.py", "x = 1\n" * (FILE_LINES + 1)),
    (breaches_of_docstring, "discompute_lite/net/x.py", LINES),
    (breaches_of_docstring, "discompute_lite/net/__init__.py", PROMISE + DEFINITION),
    (breaches_of_docstring, "discompute_lite/model/version.py", PROMISE + "VERSION = '1'"),
    (breaches_of_prose, "discompute_lite/net/x.py", "# see tasks/work.py and ../root/x; information"),
    (breaches_of_calls, "discompute_lite/faces/x.py", "print(1)"),
    (breaches_of_calls, "discompute_lite/host/child.py", "os._exit(1)"),
    (breaches_of_calls, "discompute_lite/net/x.py", "logging.getLogger('discompute')"),
    (breaches_of_state, "discompute_lite/net/x.py",
     "T = TypeVar('T')\nReply = dict\nMETHODS = Catalog('method')\nLIMITS = {}\ndef f():\n    METHODS.add('x', f)\n"),
    (breaches_of_patience, "tests/system/test_x.py", "time.sleep(1)"),
])
def test_what_is_allowed_passes(parse, rule, path, text):
    assert not list(rule(parse(text, path)))


def test_a_sleeping_test_is_noticed(parse):
    assert list(breaches_of_patience(parse("import time\ntime.sleep(1)", "tests/net/test_loop.py")))
