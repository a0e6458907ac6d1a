"""The small file for phones is the whole program without what only readers need, and loads what is asked for."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import random
import re
import subprocess
import sys
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.host.lean_text import lean_text
from discompute_lite.host.small_file import (
    LEFT_OUT_LINES, LEFT_OUT_MODULES, PHONE_ROWS, SMALL_FILE, package_sources, small_file,
)
from discompute_lite.host.text_packing import SHORT_WORDS, packed_texts
from discompute_lite.model.errors import StateError

#: A package of the same name, as small as can be.
SOURCES = {
    "discompute_lite.__init__": '"""A package."""\n',
    "discompute_lite.__main__": 'from .faces.cli import main\n',
    "discompute_lite.faces.__init__": "",
    "discompute_lite.faces.cli": 'from ..model.words import WORD\n\ndef main(words):\n    print(WORD, *words)\n',
    "discompute_lite.faces.pythonista": (
        "def screen_main(environ):\n    return False\n\ndef typed_words(argv):\n    return argv[1:]\n"),
    "discompute_lite.model.__init__": "",
    "discompute_lite.model.words": '# Read by people.\nWORD = "grüße"\n',
    "discompute_lite.model.wrong": "def fail():\n    raise ValueError('wrong')\n",
}


@pytest.fixture
def own_modules():
    """Let the package under test have its modules back."""
    modules, finders = dict(sys.modules), list(sys.meta_path)
    yield
    sys.meta_path[:] = finders
    for name in [name for name in sys.modules if name.partition(".")[0] == "discompute_lite"]:
        del sys.modules[name]
    sys.modules.update({name: module for name, module in modules.items() if name.startswith("discompute_lite")})


def load(sources):
    """Run a small file as text that was pasted."""
    exec(small_file(sources), {"__name__": "pasted"})


def test_it_runs_as_a_script(tmp_path):
    (tmp_path / "dl.py").write_bytes(small_file(SOURCES))
    done = subprocess.run([sys.executable, "-I", "dl.py", "hello"], cwd=tmp_path, capture_output=True, check=True,
                          env={"PYTHONIOENCODING": "utf-8", "PYTHONUTF8": "1"})
    assert done.stdout.decode("utf-8").split() == ["grüße", "hello"]


def test_without_zlib_it_is_one_sentence(tmp_path):
    (tmp_path / "dl.py").write_bytes(small_file(SOURCES))
    words = "import sys, runpy; sys.modules['zlib'] = None; runpy.run_path('dl.py', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", words], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"discompute: this Python lacks zlib, .*; run it in .*\n", done.stderr)


def test_a_module_is_loaded_when_it_is_first_asked_for(own_modules):
    load(SOURCES)
    assert "discompute_lite.model.words" not in sys.modules
    from discompute_lite.faces.cli import WORD

    assert WORD == "grüße"
    assert "discompute_lite.model.words" in sys.modules
    with pytest.raises(ModuleNotFoundError):
        __import__("discompute_lite.model.missing")


def test_another_press_of_run_loads_all_anew_and_leaves_one_finder(own_modules):
    before = len(sys.meta_path)
    load(SOURCES)
    old = __import__("discompute_lite.model.words").model.words
    load({**SOURCES, "discompute_lite.model.words": "WORD = 'new'\n"})
    assert __import__("discompute_lite.model.words").model.words.WORD == "new"
    assert old.WORD == "grüße"
    assert len(sys.meta_path) == before + 1


def test_tracebacks_show_its_lines(own_modules):
    load(SOURCES)
    from discompute_lite.model.wrong import fail

    with pytest.raises(ValueError) as caught:
        fail()
    assert "raise ValueError('wrong')" in "".join(traceback.format_exception(ValueError, caught.value, caught.tb))


#: What begins a method that asserts invariants.
CHECK = "\n    def check(self)"


@pytest.fixture(scope="module")
def package(root, small_file):
    """The package's texts, and the small file that is made of them."""
    return package_sources(str(root / "discompute_lite")), small_file.read_bytes()


@pytest.mark.slow
def test_every_module_is_there_as_it_was_packed(own_modules, package):
    sources, file = package
    exec(file, {"__name__": "pasted"})
    loader = sys.meta_path[0]
    not_whole = {*LEFT_OUT_MODULES, *PHONE_ROWS, *LEFT_OUT_LINES}
    whole = [name for name in sources if name.partition(".")[2] not in not_whole and CHECK not in sources[name]]
    assert len(whole) > 250
    for name in random.Random(7).sample(whole, 30):
        assert loader.get_source(name.replace(".__init__", "")) == lean_text(sources[name]), name


def imported_at_once(name, source):
    """Yield what a module of the package imports when it is loaded, and the lines that do."""
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            found = importlib.util.resolve_name("." * node.level + (node.module or ""), name.rpartition(".")[0])
            for each in (found, *(f"{found}.{alias.name}" for alias in node.names)):
                yield each, "\n".join(lines[node.lineno - 1:node.end_lineno])


def test_nothing_that_is_there_loads_what_is_left_out(root):
    """What is left out is asked for by name, and refused in a sentence: its users must not fall with it."""
    left_out = {f"discompute_lite.{name}" for name in LEFT_OUT_MODULES}
    for name, source in package_sources(str(root / "discompute_lite")).items():
        without = LEFT_OUT_LINES.get(name.partition(".")[2], ())
        for other, line in imported_at_once(name, source) if name not in left_out else ():
            assert other not in left_out or any(each in line for each in without), f"{name}: {line}"


@pytest.mark.slow
def test_invariants_that_only_tests_assert_are_not_there_and_what_stands_around_them_is(own_modules, package):
    sources, file = package
    exec(file, {"__name__": "pasted"})
    found = {name: sys.meta_path[0].get_source(name) for name in sources if CHECK in sources[name] and ".core." in name}
    assert len(found) > 10
    for name, text in found.items():
        kept, whole = (
            {node.name for node in ast.walk(ast.parse(each)) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
            for each in (text, sources[name]))
        assert whole - kept == {"check"}, name


@pytest.mark.slow
def test_what_phones_need_of_tables_is_there_and_nothing_else(own_modules, package):
    exec(package[1], {"__name__": "pasted"})
    from discompute_lite.host.chips import APPLE_MODELS, PC_GPUS, PHONE_SOCS

    assert len(PC_GPUS) == 0
    assert {identifiers[:2] for identifiers, *_ in APPLE_MODELS} == {"iP"}
    assert len(APPLE_MODELS) > 80 and len(PHONE_SOCS) > 40


@pytest.mark.slow
def test_it_announces_itself_by_all_ways_that_a_phone_has(own_modules, package):
    exec(package[1], {"__name__": "pasted"})
    from discompute_lite.net.transports import TRANSPORTS

    assert TRANSPORTS.names() == ("broadcast", "peers")


@pytest.mark.slow
@pytest.mark.parametrize("name", [f"discompute_lite.{name}" for name in LEFT_OUT_MODULES])
def test_what_is_left_out_says_where_it_is(own_modules, package, name):
    assert name in package[0]
    exec(package[1], {"__name__": "pasted"})
    with pytest.raises(ModuleNotFoundError, match=r"ios/discompute\.py of the project") as caught:
        importlib.import_module(name)
    assert caught.value.name == name


@pytest.mark.slow
def test_the_simulated_world_is_not_there(own_modules, package):
    exec(package[1], {"__name__": "pasted"})
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("discompute_lite.sim")


@pytest.mark.slow
@pytest.mark.parametrize("words", [["demo"], ["train", "digits"], ["train", "--rounds", "3", "digits"]])
def test_a_command_that_needs_what_is_left_out_is_one_sentence(package, tmp_path, words):
    (tmp_path / "dl.py").write_bytes(package[1])
    environ = {**os.environ, "DISCOMPUTE_STATE_DIR": str(tmp_path), "DISCOMPUTE_BIND": "127.0.0.1"}
    done = subprocess.run([sys.executable, "dl.py", *words], cwd=tmp_path, capture_output=True, text=True, env=environ)
    assert done.returncode == 2
    assert re.fullmatch(r"discompute: .* is not in the small file for phones; .*do this on a computer\n", done.stderr)


#: Names that differ, and texts with whatever a text may have: not what marks their parts.
TEXTS = st.dictionaries(st.sampled_from("abcdef"), st.text(
    st.one_of(st.sampled_from("self._x '\"\\\n from import"), st.characters(
        min_codepoint=2, blacklist_categories=["Cs"])), max_size=80), min_size=1)


@given(TEXTS)
def test_any_texts_come_out_as_they_went_in(texts):
    space = {"__name__": "pasted"}
    source = SMALL_FILE.format(version="", no_zlib="", left_out="", packed="", long=0x80 + SHORT_WORDS)
    exec(source.partition("\n_load(")[0], space)
    loader = space["PackedTexts"](packed_texts(texts), "dl.py")
    assert {name: loader.get_source(name) for name in texts} == texts


def test_where_there_are_no_sources_that_is_said(tmp_path):
    with pytest.raises(StateError, match="share"):
        package_sources(str(tmp_path))
