"""The map of the house holds: who imports whom, and in which form, so that the single file can be made."""

from __future__ import annotations

import ast

import pytest

#: The table "Who may import whom" of discompute_lite/README.md; `net.client` is one module of a room.
MAY_IMPORT = {
    "model": (),
    "core": ("model",),
    "crypto": ("model",),
    "tasks": ("model",),
    "wire": ("crypto", "model"),
    "ml": ("tasks", "model"),
    "host": ("wire", "tasks", "crypto", "model"),
    "net": ("wire", "crypto", "model"),
    "roles": ("core", "wire", "crypto", "tasks", "ml", "model"),
    "member_parts": ("net", "host", "core", "model"),
    "run": ("member_parts", "roles", "net", "host", "ml", "core", "wire", "crypto", "tasks", "model"),
    "own_node": ("run", "roles", "net", "host", "model"),
    "beside": ("own_node", "run", "roles", "net", "host", "model"),
    "checkup_parts": ("run", "net", "host", "core", "crypto", "model"),
    "faces": ("run", "own_node", "beside", "checkup_parts", "net.client", "net.event_client", "wire.invitation",
              "wire.qr", "tasks", "ml", "model"),
    "sim": ("roles", "core", "wire", "crypto", "tasks", "ml", "model"),
    # The doors: they name what the rooms offer and add nothing.
    "__main__": ("faces", "run", "model"),
    "__init__": ("faces", "run", "ml", "tasks", "model"),
}
#: Rooms without clocks, chance, threads or I/O, where `now` and `rng` come in as arguments.
PURE_ROOMS = ("model", "core", "wire", "crypto", "tasks", "ml", "roles")
#: Modules of pure rooms that run the user's code.
IMPURE_MODULES = ("tasks.work", "tasks.uploaded_modules", "ml.workbench")
IMPURE_LIBRARY = (
    "asyncio", "ctypes", "glob", "multiprocessing", "os", "platform", "secrets", "select", "selectors", "shutil",
    "signal", "socket", "ssl", "subprocess", "tempfile", "threading", "time", "uuid",
)
#: Rooms that may import library modules inside a function: those that only some platforms have, or that are slow
#: to import and seldom needed (`version` answers within 0.15 s).
ROOMS_WITH_LATE_IMPORTS = ("host", "net")
#: They stand between us and what some Pythons lack: joblib most, subprocess and ui what is no app or is one.
#: The last four need what is large and seldom wanted, and would hold it in every phone at rest.
MODULES_WITH_LATE_IMPORTS = (
    "faces.awake", "faces.joblib_backend", "faces.demo_stage", "faces.pythonista",
    "model.setting_kinds", "ml.curves", "roles.sharing", "tasks.pickles",
)


def imports_of_ours(source):
    """Yield (node, absolute module below the package) of each relative import; `` for the package itself."""
    folder = source.path.split("/")[1:-1]
    for node in source.nodes:
        if isinstance(node, ast.ImportFrom) and node.level:
            base = folder[: len(folder) - (node.level - 1)]
            yield node, ".".join(base + ([node.module] if node.module else []))


def breaches_of_the_map(source):
    allowed = MAY_IMPORT.get(source.room)
    if allowed is None:
        yield source.at(1, f"the room {source.room!r} is not on the map (MAY_IMPORT in {__name__})")
        return
    for node, target in imports_of_ours(source):
        room = target.split(".")[0]
        if room != source.room and room not in allowed and target not in allowed:
            yield source.at(node, f"{source.room} may not import {target or 'the package'}; it may import "
                                  f"{', '.join(allowed) or 'nothing of ours'}")


def breaches_of_form(source):
    relative = {node for node, _ in imports_of_ours(source)}
    for node in relative:
        if node not in source.tree.body:
            yield source.at(node, "ours are imported at module level only, not in a function, an if or a try")
        if not node.module:
            yield source.at(node, "write `from .module import name`, not `from . import module`")
    for node in source.nodes:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                if alias.asname:
                    yield source.at(node, f"no `as`: the single file has one name for one thing ({alias.name})")
                if alias.name == "*":
                    yield source.at(node, "no star imports")
                if node not in relative and (getattr(node, "module", None) or alias.name).startswith("discompute_lite"):
                    yield source.at(node, "inside the package, import ours relatively")
        elif isinstance(node, ast.Name) and node.id == "TYPE_CHECKING":
            yield source.at(node, "no TYPE_CHECKING: an import for a type is an import")


def breaches_of_lateness(source):
    if source.room in ROOMS_WITH_LATE_IMPORTS or source.module in MODULES_WITH_LATE_IMPORTS:
        return
    for node in source.late_imports:
        if not getattr(node, "level", 0):
            yield source.at(node, f"import at module level; later only in {' and '.join(ROOMS_WITH_LATE_IMPORTS)}")


def breaches_of_purity(source):
    if source.room not in PURE_ROOMS or source.module in IMPURE_MODULES:
        return
    for node in source.nodes:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module.split(".")[0]]
            if node.module == "random" and [alias.name for alias in node.names] != ["Random"]:
                yield source.at(node, "chance comes in as `rng`; of random only the class Random, for annotations")
        for name in names:
            if name in IMPURE_LIBRARY:
                yield source.at(node, f"{source.room} is pure: no {name}; what it gives comes in as an argument")
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "random" and node.attr != "Random":
                yield source.at(node, "chance comes in as `rng`, not from the module random")
            if node.value.id in ("datetime", "date") and node.attr in ("now", "utcnow", "today"):
                yield source.at(node, f"{source.room} has no clock: `now` comes in as an argument")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("open", "input"):
            yield source.at(node, f"{source.room} is pure: no {node.func.id}()")


def cycles(sources):
    """Yield each cycle found as text `a -> b -> a`."""
    graph = {source.module: [target for _, target in imports_of_ours(source)] for source in sources}
    state = {}

    def visit(module, path):
        state[module] = "open"
        for target in graph.get(module, ()):
            if state.get(target) == "open":
                yield " -> ".join([*path[path.index(target):], target])
            elif target in graph and target not in state:
                yield from visit(target, [*path, target])
        state[module] = "done"

    for module in graph:
        if module not in state:
            yield from visit(module, [module])


RULES = [breaches_of_the_map, breaches_of_form, breaches_of_lateness, breaches_of_purity]


@pytest.mark.once
@pytest.mark.parametrize("rule", RULES)
def test_the_package_obeys(package, obeyed, rule):
    obeyed(breach for source in package for breach in rule(source))


def test_no_cycles(package, obeyed):
    obeyed(cycles(package))


def test_every_import_of_ours_exists(package, obeyed):
    modules = {source.module for source in package}
    obeyed(source.at(node, f"there is no {target}")
           for source in package for node, target in imports_of_ours(source) if target not in modules)


@pytest.mark.parametrize("rule, room, text", [
    (breaches_of_the_map, "model", "from ..core.events import Tick"),
    (breaches_of_the_map, "core", "from ..wire.rpc import RpcSession"),
    (breaches_of_the_map, "roles", "def f():\n    from ..net.loop import Loop"),
    (breaches_of_the_map, "roles", "if TYPE_CHECKING:\n    from ..host.probe import Probe"),
    (breaches_of_the_map, "faces", "from ..net.loop import Loop"),
    (breaches_of_the_map, "faces", "from ..host.probe import Probe"),
    (breaches_of_the_map, "net", "from .. import run"),
    (breaches_of_the_map, "attic", ""),
    (breaches_of_form, "net", "def f():\n    from .loop import Loop"),
    (breaches_of_form, "net", "from .loop import Loop as L"),
    (breaches_of_form, "net", "import socket as s"),
    (breaches_of_form, "net", "from . import loop"),
    (breaches_of_form, "net", "from .loop import *"),
    (breaches_of_form, "net", "import discompute_lite.net"),
    (breaches_of_form, "net", "from discompute_lite.net.loop import Loop"),
    (breaches_of_form, "net", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import os"),
    (breaches_of_lateness, "faces", "def f():\n    import json"),
    (breaches_of_lateness, "tasks", "def f():\n    import numpy"),
    (breaches_of_purity, "core", "import time"),
    (breaches_of_purity, "core", "from os.path import join"),
    (breaches_of_purity, "core", "from random import random"),
    (breaches_of_purity, "wire", "import random\nrandom.random()"),
    (breaches_of_purity, "roles", "from datetime import datetime\ndatetime.now()"),
    (breaches_of_purity, "tasks", "open('x')"),
])
def test_a_breach_is_noticed(parse, rule, room, text):
    assert list(rule(parse(text, f"discompute_lite/{room}/example.py")))


@pytest.mark.parametrize("room, text", [
    ("faces", "from ..net.client import Client\nfrom ..run import build_node"),
    ("core", "from random import Random\nfrom ..model.task import Task\nfrom .events import Tick"),
    ("host", "def f():\n    import winreg"),
])
def test_what_is_allowed_passes(parse, room, text):
    source = parse(text, f"discompute_lite/{room}/example.py")
    assert not [breach for rule in RULES for breach in rule(source)]


def test_a_cycle_is_noticed(parse):
    first = parse("from .second import b", "discompute_lite/net/first.py")
    second = parse("from .first import a", "discompute_lite/net/second.py")
    assert list(cycles([first, second])) == ["net.first -> net.second -> net.first"]
