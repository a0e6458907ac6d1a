"""Nothing but the standard library runs, and only what it has on every Python from 3.9 to 3.14."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest

#: Modules that Python 3.9 has and that 3.14 still has, on some platform at least. Names with an underscore are nobody's
#: to use; those two are documented.
EVERYWHERE = frozenset("""
    __future__ _thread
    abc argparse array ast asyncio atexit base64 bdb binascii bisect builtins bz2 cProfile calendar cmath cmd
    code codecs codeop collections colorsys compileall concurrent configparser contextlib contextvars copy copyreg csv
    ctypes curses dataclasses datetime dbm decimal difflib dis doctest email encodings ensurepip enum errno faulthandler
    fcntl filecmp fileinput fnmatch fractions ftplib functools gc getopt getpass gettext glob graphlib grp gzip hashlib
    heapq hmac html http imaplib importlib inspect io ipaddress itertools json keyword linecache locale logging lzma
    mailbox marshal math mimetypes mmap modulefinder msvcrt multiprocessing netrc ntpath numbers operator optparse os
    pathlib pdb pickle pickletools pkgutil platform plistlib poplib posix posixpath pprint profile pstats pty pwd
    py_compile pyclbr pydoc queue quopri random re readline reprlib resource rlcompleter runpy sched secrets select
    selectors shelve shlex shutil signal site smtplib socket socketserver sqlite3 ssl stat statistics string stringprep
    struct subprocess symtable sys sysconfig syslog tabnanny tarfile tempfile termios textwrap threading time timeit
    token tokenize trace traceback tracemalloc tty types typing unicodedata unittest urllib uuid venv warnings wave
    weakref webbrowser winreg winsound wsgiref xml xmlrpc zipapp zipfile zipimport zlib zoneinfo
""".split())
#: What is used where it happens to be there, and the rooms that may try, inside a function.
OPTIONAL = {"numpy": ("host", "ml"), "joblib": ("faces",), "objc_util": ("host", "faces"),
            "rubicon": ("host",), "mainthread": ("host",), "console": ("faces",), "ui": ("faces",), "pyto": ("faces",),
            "background": ("faces",)}
#: Importing one of these costs more than all of ours together; `version` is to answer within 0.15 s.
SLOW = ("asyncio", "email", "http", "multiprocessing", "pydoc", "sqlite3", "unittest", "urllib.request", "xml")
#: What later Pythons added to modules that 3.9 has: using it fails on a phone that we promise to run on.
TOO_NEW = {
    "itertools": ("pairwise", "batched"), "typing": ("TypeAlias", "ParamSpec", "Self", "override", "TypeGuard"),
    "enum": ("StrEnum", "verify"), "datetime": ("UTC",), "hashlib": ("file_digest",), "contextlib": ("chdir",),
    "functools": ("Placeholder",), "inspect": ("get_annotations",), "traceback": ("print_exception_only",),
}


def library_imports(source):
    """Yield (node, module, imported names, is at module level)."""
    for node in source.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name, (), node not in source.late_imports
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node, node.module, tuple(alias.name for alias in node.names), node not in source.late_imports


def breaches_of_independence(source):
    for node, module, names, is_early in library_imports(source):
        top = module.split(".")[0]
        if top in OPTIONAL:
            if is_early or source.room not in OPTIONAL[top]:
                yield source.at(node, f"{top} is optional: import it inside a function of {' or '.join(OPTIONAL[top])}")
        elif top not in EVERYWHERE:
            yield source.at(node, f"{module} is not in the standard library of every Python from 3.9 to 3.14")
        for name in names:
            if name in TOO_NEW.get(module, ()):
                yield source.at(node, f"{module}.{name} is newer than Python 3.9")


def breaches_of_quickness(source):
    for node, module, names, is_early in library_imports(source):
        for full in {module, *(f"{module}.{name}" for name in names)}:
            if is_early and any(full == slow or full.startswith(slow + ".") for slow in SLOW):
                yield source.at(node, f"{full} is slow to import and `version` must answer at once")


def test_the_package_stands_alone(package, obeyed):
    obeyed(breach for source in package for breach in breaches_of_independence(source))


def test_start_is_quick(package, obeyed):
    obeyed(breach for source in package for breach in breaches_of_quickness(source))


def test_the_whole_package_imports_without_anything_slow_or_foreign(package, root):
    """What the trees cannot show: modules that the library itself pulls in. One clean interpreter, no site-packages."""
    modules = ["discompute_lite." + source.module for source in package if source.room not in ("__init__", "__main__")]
    program = (
        "import sys, importlib; before = set(sys.modules)\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(*sorted(name for name in set(sys.modules) - before if not name.startswith('discompute_lite')))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=root, capture_output=True, text=True, timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.split()
    assert "dataclasses" in loaded, "the list of loaded modules is not one"
    assert not [name for name in loaded if name in SLOW]
    assert not [name for name in loaded if name in OPTIONAL]


def test_what_one_command_alone_needs_is_not_loaded_by_all(root):
    program = "import sys, discompute_lite.faces.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", program], cwd=root, capture_output=True, text=True, timeout=60)
    loaded = done.stdout.split()
    assert "discompute_lite.run" in loaded, done.stderr
    assert not {"discompute_lite.checkup_parts", "discompute_lite.faces.api", "statistics"} & set(loaded)


@pytest.mark.skipif(not hasattr(sys, "stdlib_module_names"), reason="Python 3.9 cannot name its own modules")
def test_the_list_of_modules_is_true_on_this_python():
    assert not EVERYWHERE - set(sys.stdlib_module_names)


@pytest.mark.parametrize("rule, path, text", [
    (breaches_of_independence, "host/x.py", "import yaml"),
    (breaches_of_independence, "host/x.py", "import tomllib"),
    (breaches_of_independence, "host/x.py", "from distutils.version import LooseVersion"),
    (breaches_of_independence, "host/x.py", "import _socket"),
    (breaches_of_independence, "host/x.py", "import numpy"),
    (breaches_of_independence, "tasks/x.py", "def f():\n    import numpy"),
    (breaches_of_independence, "net/x.py", "from itertools import pairwise"),
    (breaches_of_quickness, "net/x.py", "import http.client"),
    (breaches_of_quickness, "net/x.py", "from urllib import request"),
    (breaches_of_quickness, "net/x.py", "import asyncio"),
])
def test_a_breach_is_noticed(parse, rule, path, text):
    assert list(rule(parse(text, f"discompute_lite/{path}")))


@pytest.mark.parametrize("path, text", [
    ("host/x.py", "import os.path\ndef f():\n    import numpy"),
    ("net/x.py", "from urllib.parse import urlsplit\ndef f():\n    import http.client"),
])
def test_what_is_allowed_passes(parse, path, text):
    source = parse(text, f"discompute_lite/{path}")
    assert not [*breaches_of_independence(source), *breaches_of_quickness(source)]


def test_python_3_10_syntax_is_noticed(parse):
    with pytest.raises(SyntaxError, match=re.compile("3.10|invalid syntax")):
        parse("match x:\n    case 1:\n        pass")
