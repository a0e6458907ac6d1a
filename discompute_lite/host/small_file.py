"""Make the program one small file for phones: its modules' texts without what only readers need, packed.

Knows:   what phones do without, and the loader that stands before the texts in the file.
Refuses: to know who wants such a file: `share` lends it, `tools/bundle.py --lean` writes it.
Read next: host/lean_text.py (what becomes of each text), host/text_packing.py (of all of them), tools/bundle.py (the
           file to be read).

Against one long text, as the file to be read is: Python compiles a text as a whole, which takes 160 MB and seconds of a
phone's processor before its first line runs, and the memory is not given back. Here each module is compiled when it is
first imported, so a node needs as little as from a package; and the file is a sixth as large.
"""

from __future__ import annotations

import ast
import base64
import os
from typing import Dict, Mapping, Tuple

from ..model.errors import NO_ZLIB, StateError
from ..model.version import VERSION
from .lean_text import lean_text
from .text_packing import SHORT_WORDS, packed_texts

#: Rooms that are not for phones.
LEFT_OUT_ROOMS = ("sim",)
#: Modules that are not: what they offer is refused there in one sentence.
LEFT_OUT_MODULES = (
    "faces.demo_stage", "faces.joblib_backend",                                 # Processes; scikit-learn.
    "faces.averaging", "faces.train_job", "faces.train_lines", "faces.training",  # To begin a training.
    "faces.train_flags", "faces.train_run", "faces.training_news", "faces.training_saves", "faces.training_wishes",
    "ml.crew", "ml.curves", "ml.rounds", "ml.strategies", "roles.far_vectors", "roles.training_metrics",
    "host.checkpoints",                                                         # Of a training that begins here.
    "net.mdns_places", "net.mdns_transport", "wire.mdns_browser", "wire.mdns_responder",  # No app may, on a phone.
    "host.foreign_executors",                                                   # Of a cluster that is none of phones.
    "tasks.digits_data",                                                        # Go along with what needs them.
    "host.detect_macos", "host.detect_windows", "host.firewalls", "host.pc_gpus",  # No phone runs or has any.
    "core.audit",                                                               # For tests and simulations.
    "roles.metrics_page",                                                       # The owner's, who asks by loopback.
    "host.lean_text", "host.small_file", "host.text_packing", "tasks.value_table",  # To make this file; for readers.
)
#: Of these tables, by module, only the rows that begin so: no phone needs the others. Of the chips that are in Macs,
#: tablets have the smallest of each generation alone. Older iPhones end at iOS 12, for which no app has this Python.
PHONE_ROWS: Dict[str, Dict[str, Tuple[str, ...]]] = {"host.chips": {
    "PC_GPUS": (), "APPLE_MODELS": ("iPad", "iPhone8", "iPhone9", "iPhone1", "iPhone2"),
    "APPLE_CHIPS": ("A", *(f'M{number}"' for number in range(1, 10))),
}}
#: Lines that go with what is left out, by module: those that mention any of it.
LEFT_OUT_LINES: Dict[str, Tuple[str, ...]] = {
    "run": ("CheckpointFolder",), "net.transports": ("MdnsTransport",), "host.machine_check": ("firewalls",),
    "host.detect": ("detect_macos", "detect_windows"), "host.detect_linux": ("linux_gpus",),
    "core.scheduler": ("check_books",), "beside": ("FarVectors",),
    "roles.web": ("_metrics",), "faces.train_command": ("TRAIN_FLAGS",),
}
#: Characters of a line of packed text: editors manage such lines, and each end of line costs a byte.
PACKED_COLUMNS = 1000

SMALL_FILE = '''#!/usr/bin/env python3
"""discompute-lite {version} in one small file, for phones: turn the devices you own into one computer for Python work.

    python3 discompute.py start     run a node; without arguments it does the same
    python3 discompute.py --help    everything else

It needs Python 3.9 or newer and nothing else. The modules' texts stand below, without comments and compressed; the
file to be read is ios/discompute.py of the project. Licence: MIT.
"""

import __future__
import base64
import importlib.machinery
import os
import re
import sys

try:
    import zlib
except ImportError:
    sys.exit("{no_zlib}")

PROGRAM = "discompute_lite"
LEFT_OUT = """
{left_out}
""".split()
# A word is a byte, or from this one on a byte and another that is neither 0 nor 1.
LONG = {long}
CODE = re.compile(b"[\\x80-%c]|[%c-\\xff]." % (LONG - 1, LONG), re.S)


class PackedTexts:
    """Find and load the modules whose texts stand below, each when it is first imported."""

    def __init__(self, packed, file):
        self._packed, self._file = packed, file
        self._held = self._read()
        self._names, self._loading = set(self._held[0]), []

    def _read(self):
        first, *pieces = zlib.decompress(self._packed).split(b"\\0")
        count = int(first)
        codes = [bytes([each]) for each in range(0x80, LONG)]
        codes += [bytes([high, low]) for high in range(LONG, 0x100) for low in range(2, 0x100)]
        words = dict(zip(codes, pieces[4 * count:]))
        names, *parts = (pieces[start * count:][:count] for start in range(4))
        return {{_spelled(name, words).decode("ascii"): rest for name, *rest in zip(names, *parts)}}, words

    def path_of(self, name):
        end = ".__init__" if name + ".__init__" in self._names else ""
        return name + end, os.path.join(self._file, *(name + end).split(".")) + ".py"

    def find_spec(self, name, path=None, target=None):
        key, origin = self.path_of(name)
        if key in LEFT_OUT:
            raise ModuleNotFoundError(name + " is not in the small file for phones; fetch ios/discompute.py of the"
                                      " project, which has everything, or do this on a computer", name=name)
        if key not in self._names:
            return None
        return importlib.machinery.ModuleSpec(name, self, origin=origin, is_package=key != name)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        key, origin = self.path_of(module.__name__)
        self._loading.append(key)
        try:
            held = self._held = self._held or self._read()
            exec(_compiled(key, origin, *held), vars(module))
        finally:
            self._loading.remove(key)
            if not self._loading:
                # What is imported later has them read again: seldom, and they would stay for good.
                self._held = None

    def get_source(self, name):
        texts, words = self._read()
        key = self.path_of(name)[0]
        return _text(texts[key], words).decode("utf-8") if key in texts else None

    def get_code(self, name):
        return _compiled(*self.path_of(name), *self._read())


def _spelled(text, words):
    return CODE.sub(lambda code: words[code.group()], text)


def _text(parts, words):
    # Each byte 1 in the statements stands for the next of the strings.
    imports, statements, strings = parts
    others = [*strings.split(b"\\1"), b""]
    return _spelled(imports + b"".join(map(b"".join, zip(statements.split(b"\\1"), others))), words)


def _compiled(key, origin, texts, words):
    # The texts come without their future imports.
    return compile(_text(texts[key], words), origin, "exec", __future__.annotations.compiler_flag, True)


def _load(packed):
    # Another press of *run* in the same interpreter: what was loaded before may be of another version.
    for name in [name for name in sys.modules if name.partition(".")[0] == PROGRAM]:
        del sys.modules[name]
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "PackedTexts"]
    file = globals().get("__file__")
    path = os.path.abspath(file) if file and os.path.isfile(file) else None
    sys.meta_path.insert(0, PackedTexts(base64.b64decode(packed), path or "discompute.py"))
    # What starts a new process reads this file there; text that was pasted starts none.
    __import__(PROGRAM).single_file = path


_load("""
{packed}
""")

if __name__ == "__main__":
    from discompute_lite.faces.cli import main
    from discompute_lite.faces.pythonista import screen_main, typed_words

    if typed_words(sys.argv) or not screen_main(os.environ):
        sys.exit(main(typed_words(sys.argv) or ["start"]))
'''


def small_file(sources: Mapping[str, str]) -> bytes:
    """Return the small file of modules, their texts given by name: "discompute_lite.model.errors"."""
    texts = {name: lean_text(_for_phones(name, source)) for name, source in sources.items()
             if name.partition(".")[2] not in LEFT_OUT_MODULES}
    packed = base64.b64encode(packed_texts(texts)).decode("ascii")
    lines = (packed[start:start + PACKED_COLUMNS] for start in range(0, len(packed), PACKED_COLUMNS))
    left_out = "\n".join(f"discompute_lite.{name}" for name in LEFT_OUT_MODULES)
    return SMALL_FILE.format(version=VERSION, no_zlib=NO_ZLIB, left_out=left_out, long=0x80 + SHORT_WORDS,
                             packed="\n".join(lines)).encode("ascii")


def package_sources(folder: str) -> Dict[str, str]:
    """Return the texts of the package in a folder, by module; raise StateError where they are not there."""
    package, found = os.path.basename(folder), {}
    for place, _, files in os.walk(folder):
        parts = [package, *(part for part in os.path.relpath(place, folder).split(os.sep) if part != ".")]
        if len(parts) > 1 and parts[1] in LEFT_OUT_ROOMS:
            continue
        for file in files:
            if file.endswith(".py"):
                with open(os.path.join(place, file), encoding="utf-8") as text:
                    found[".".join([*parts, file[:-len(".py")]])] = text.read()
    if not found:
        raise StateError("the program's sources are not here", "run `share` where they are: in a clone, or in one file")
    return found


def _for_phones(name: str, source: str) -> str:
    """Return a module's text without the lines that no phone needs, and with those rows of its tables, each a line."""
    module, lines = name.partition(".")[2], source.splitlines(keepends=True)
    tables, left_out = PHONE_ROWS.get(module, {}), LEFT_OUT_LINES.get(module, ())
    tree = ast.parse(source)
    for node in ast.walk(tree) if module.startswith("core.") else ():
        # Invariants are asserted after each event by tests and simulations, and by nobody else.
        if isinstance(node, ast.FunctionDef) and node.name == "check":
            lines[node.lineno - 1:node.end_lineno] = [""] * ((node.end_lineno or node.lineno) - node.lineno + 1)
    for node in tree.body if tables else ():
        target = node.target if isinstance(node, ast.AnnAssign) else None
        beginning = tables.get(target.id) if isinstance(target, ast.Name) else None
        if beginning is not None:
            for number in range(node.lineno, (node.end_lineno or node.lineno) - 1):
                if not lines[number].lstrip(' ("').startswith(beginning):
                    lines[number] = ""
    return "".join(line for line in lines if not any(each in line for each in left_out))
