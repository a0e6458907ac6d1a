"""Lay the modules of the package one after another into a single file that can be pasted on a phone.

    python3 tools/bundle.py                      writes ios/discompute.py, which a test holds fresh
    python3 tools/bundle.py --lean OUTPUT.py     the small one that `share` lends, packed

The order is that of the imports. What modules import from one another is there already, and what they import from the
library stands once, at the top; so their imports are comments, from which the file knows a module's whole text when it
lends itself (host/whole_file.py). Before each module's text `__name__` is set to its name, so that its functions and
classes know where they are from, and values travel between a single file and a package by the same names. When all have
run, each module is entered in `sys.modules` with what it defines.
"""

from __future__ import annotations

import argparse
import ast
import pathlib
import re
import sys
from typing import Dict, List, NamedTuple, Sequence, Set, Tuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from discompute_lite.host.small_file import LEFT_OUT_ROOMS, package_sources, small_file  # noqa: E402
from discompute_lite.model.errors import NO_ZLIB  # noqa: E402
from discompute_lite.host.whole_file import NOT_RUN, SECTION_CALL, section_rule  # noqa: E402
from discompute_lite.roles.sharing import compressed_program  # noqa: E402

PACKAGE = "discompute_lite"

HEAD = '''#!/usr/bin/env python3
"""discompute-lite {version} in one file: turn the devices you own into one computer for Python work.

    python3 {name} start          run a node; without arguments it does the same
    python3 {name} --help         everything else

It needs Python 3.9 or newer and nothing else: on iPhone and iPad in Pythonista, a-Shell or Pyto, and everywhere that
Python runs. Made by tools/bundle.py from the package discompute_lite, whose modules follow in the order of their
imports; change them there. Licence: MIT.
"""

from __future__ import annotations

import os
import signal
import sys

{until_loaded}

try:
    import zlib
except ImportError:
    sys.exit("{no_zlib}")

{imports}


class _Section(ModuleType):
    """Be one of the modules below while it is read, when all of them share one namespace."""

    @property
    def __dict__(self) -> Any:
        """Return the namespace of the file: decorators look for the names of a module there."""
        return globals()


#: What the library gives to all of them.
_FROM_LIBRARY = [each for each in globals() if not each.startswith("_")]


def _begin_section(name: str) -> str:
    """Enter a module before its text is run; return its name."""
    sys.modules[name] = _Section(name)
    return name


def _end_sections(defined: Any, doors: Any) -> None:
    """Enter each module with what it defines and imports, and the doors with what they offer."""
    for name in {packages!r}:
        sys.modules[name] = _made_module(name, {{"__path__": []}})
    for name, names in defined.items():
        sys.modules[name] = _made_module(name, {{each: globals()[each] for each in (*_FROM_LIBRARY, *names)}})
    # What starts a new process reads this file there; text that was pasted starts none.
    file = globals().get("__file__")
    sys.modules["discompute_lite"].single_file = os.path.abspath(file) if file and os.path.isfile(file) else None
    for name, places in doors.items():
        vars(sys.modules[name])["__getattr__"] = _door(name, places)
    for name in (*{packages!r}, *defined):
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, sys.modules[name])


def _door(door: str, places: Any) -> Any:
    """Return what finds the public names of a package, which does not hold them: here no more than elsewhere."""
    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"{{door}} has no public name {{name!r}}")
        return globals()[name]
    return find


def _made_module(name: str, names: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(names, __package__=name.rpartition(".")[0])
    return module


#: What this file is called where it runs.
_FILE_NAME = __name__
'''

TAIL = '''

# ---- the end ----------------------------------------------------------------------------------------

__name__ = _FILE_NAME
_end_sections({defined}, {doors})

if __name__ == "__main__":
    if typed_words(sys.argv) or not screen_main(os.environ):
        code = main(typed_words(sys.argv) or ["start"])
        if _ctrl_c is not None:
            # This Python may go on, such as an editor's.
            signal.signal(signal.SIGINT, _ctrl_c)
        sys.exit(code)
'''


class Module(NamedTuple):
    """Hold one module of the package."""

    name: str
    source: str
    tree: ast.Module

    @property
    def needs(self) -> List[str]:
        """Return the modules of ours that it imports, in order."""
        folder = self.name.split(".")[:-1]
        return [".".join(folder[:len(folder) - (node.level - 1)] + [node.module or ""]).strip(".")
                for node in self.tree.body if isinstance(node, ast.ImportFrom) and node.level]


def read_modules(root: pathlib.Path) -> Dict[str, Module]:
    """Return the package's modules by name, those left out aside."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        name = ".".join(path.relative_to(root / PACKAGE).with_suffix("").parts)
        # The doors are made anew for the single file.
        if name.split(".")[0] not in LEFT_OUT_ROOMS and not name.endswith(("__init__", "__main__")):
            source = path.read_text(encoding="utf-8")
            found[name] = Module(name, source, ast.parse(source))
    return found


def in_order(modules: Dict[str, Module]) -> List[Module]:
    """Return the modules, each behind those that it imports."""
    done: List[Module] = []
    seen: Set[str] = set()

    def visit(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        for needed in modules[name].needs:
            visit(needed)
        done.append(modules[name])

    for name in modules:
        visit(name)
    return done


def library_imports(modules: Sequence[Module]) -> Tuple[List[str], Set[str]]:
    """Return the lines that import what modules need of the library, and the names that these bind.

    Raises ValueError where one name would stand for two things.
    """
    whole: Set[str] = {"import os", "import sys"}
    parts: Dict[str, Set[str]] = {"types": {"ModuleType"}, "typing": {"Any"}}
    bound: Dict[str, str] = {}
    for module in modules:
        for node in module.tree.body:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    whole.add(f"import {alias.name}")
                    _bind(bound, alias.name.partition(".")[0], f"import {alias.name.partition('.')[0]}", module.name)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module != "__future__":
                for alias in node.names:
                    parts.setdefault(str(node.module), set()).add(alias.name)
                    _bind(bound, alias.name, f"from {node.module}", module.name)
    lines = sorted(whole)
    for source, names in sorted(parts.items()):
        lines += _folded(f"from {source} import ", sorted(names))
    return lines, set(bound) | {"os", "sys", "ModuleType", "Any"}


def _bind(bound: Dict[str, str], name: str, source: str, module: str) -> None:
    if bound.setdefault(name, source) != source:
        raise ValueError(f"{module}: {name} is {source}, and elsewhere {bound[name]}: a file has one namespace")


def _folded(start: str, names: List[str]) -> List[str]:
    line = start + ", ".join(names)
    if len(line) <= 120:
        return [line]
    lines, row = [start + "("], "   "
    for name in names:
        if len(row) + len(name) + 2 > 118:
            lines.append(row)
            row = "   "
        row += f" {name},"
    return [*lines, row, ")"]


def defined_names(module: Module) -> List[str]:
    """Return what a module defines at its top level, in order."""
    names: List[str] = []
    for node in module.tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target] if node.value else []
            names += [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]
        elif isinstance(node, (ast.If, ast.Try)):
            names += [each.id for part in ast.walk(node) if isinstance(part, ast.Assign)
                      for target in part.targets for each in ast.walk(target) if isinstance(each, ast.Name)]
    return list(dict.fromkeys(names))


def imported_names(module: Module) -> List[str]:
    """Return what a module imports from other modules of ours."""
    return [alias.name for node in module.tree.body if isinstance(node, ast.ImportFrom) and node.level
            for alias in node.names]


def body_of(module: Module) -> str:
    """Return a module's text with its top-level imports as comments."""
    lines = module.source.splitlines()
    if any(line.startswith(NOT_RUN.rstrip()) for line in lines):
        raise ValueError(f"{module.name}: a line begins like those that a single file does not run")
    for node in module.tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for number in range(node.lineno - 1, (node.end_lineno or node.lineno)):
                lines[number] = NOT_RUN + lines[number]
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines)).strip("\n")


def unread_sections(root: pathlib.Path) -> List[str]:
    """Return the modules that the single file makes anew or does without, as comments."""
    sections = []
    for name, source in sorted(package_sources(str(root / PACKAGE)).items()):
        if name.endswith(("__init__", "__main__")):
            lines = "\n".join((NOT_RUN + line).rstrip() for line in source.splitlines())
            sections.append(f"{section_rule(name.replace('.', '/') + '.py')}\n\n{lines}\n")
    return sections


def doors(root: pathlib.Path) -> Dict[str, List[str]]:
    """Return the public names of the package and of its parts that have some."""
    found = {}
    for name, path in ((PACKAGE, "__init__.py"), (f"{PACKAGE}.ml", "ml/__init__.py")):
        tree = ast.parse((root / PACKAGE / path).read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
                found[name] = [each for each in ast.literal_eval(node.value) if not each.startswith("__")]
    return found


def until_loaded(root: pathlib.Path) -> str:
    """Return what the package's start has Ctrl-C do until all is loaded: its first statement behind the imports."""
    source = (root / PACKAGE / "__main__.py").read_text(encoding="utf-8")
    statement = next(node for node in ast.parse(source).body if isinstance(node, ast.If))
    return ast.get_source_segment(source, statement) or ""


def bundled(root: pathlib.Path, name: str = "discompute.py") -> str:
    """Return the text of the single file."""
    modules = in_order(read_modules(root))
    imports, bound = library_imports(modules)
    defined: Dict[str, List[str]] = {}
    owners: Dict[str, str] = {}
    sections = []
    for module in modules:
        names = defined_names(module)
        for each in names:
            if each in owners or each in bound:
                raise ValueError(f"{module.name}: the name {each} is taken by {owners.get(each, 'an import')}")
            owners[each] = module.name
        defined[f"{PACKAGE}.{module.name}"] = names + imported_names(module)
        rule = section_rule(f"{PACKAGE}/{module.name.replace('.', '/')}.py")
        sections.append(f"{rule}\n\n{SECTION_CALL}\"{PACKAGE}.{module.name}\")\n{body_of(module)}\n")
    version = ast.literal_eval(_version(root))
    packages = tuple(dict.fromkeys([PACKAGE, *(f"{PACKAGE}.{module.name.split('.')[0]}" for module in modules
                                               if "." in module.name)]))
    head = HEAD.format(version=version, until_loaded=until_loaded(root), no_zlib=NO_ZLIB, name=name,
                       imports="\n".join(imports), packages=packages)
    tail = TAIL.format(defined=_table(defined), doors=_table(doors(root)))
    return head + "\n\n" + "\n\n".join([*sections, *unread_sections(root)]) + tail


def _version(root: pathlib.Path) -> str:
    source = (root / PACKAGE / "model" / "version.py").read_text(encoding="utf-8")
    return re.search(r"^VERSION = (\".*?\")", source, re.M).group(1)  # type: ignore[union-attr]


def _table(rows: Dict[str, List[str]]) -> str:
    lines = ["{"]
    for name, names in rows.items():
        text = f"    {name!r}: \"{' '.join(names)}\".split(),"
        while len(text) > 118:
            cut = text.rindex(" ", 0, 116)
            lines.append(text[:cut] + ' "')
            text = '        "' + text[cut + 1:]
        lines.append(text)
    return "\n".join([*lines, "}"]).replace("'", '"')


def main() -> int:
    """Write a single file."""
    parser = argparse.ArgumentParser(description="Write the package as a single file.")
    parser.add_argument("output", nargs="?", help="where to (default ios/discompute.py)")
    parser.add_argument("--lean", action="store_true", help="the small one, for phones")
    arguments = parser.parse_args()
    target = pathlib.Path(arguments.output) if arguments.output else ROOT / "ios" / "discompute.py"
    data = small_file(package_sources(str(ROOT / PACKAGE))) if arguments.lean else bundled(
        ROOT, target.name).encode("utf-8")
    target.write_bytes(data)
    fetched = f"; phones fetch {len(compressed_program(data)) / 1000:,.1f} kB" if arguments.lean else ""
    print(f"{target.name}: {len(data) / 1000:,.1f} kB{fetched}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
