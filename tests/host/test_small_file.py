"""The small file for phones is the whole program without what only readers need, and loads what is asked for."""

from __future__ import annotations

import subprocess
import sys
import traceback

import pytest

from discompute_lite.host.small_file import lean_text, package_sources, small_file
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


@pytest.mark.slow
def test_tables_of_desktops_are_empty_and_those_of_phones_are_not(own_modules, root):
    load(package_sources(str(root / "discompute_lite")))
    from discompute_lite.host.chips import APPLE_MODELS, PC_GPUS

    assert len(PC_GPUS) == 0
    assert len(APPLE_MODELS) > 100
    with pytest.raises(ModuleNotFoundError):
        __import__("discompute_lite.sim")


def test_where_there_are_no_sources_that_is_said(tmp_path):
    with pytest.raises(StateError, match="share"):
        package_sources(str(tmp_path))


def test_what_is_shown_stays_and_what_is_read_goes():
    source = '''"""Module."""

# A comment.
@command("x")
def shown():
    """Help."""
    return "# no comment"


def read():
    """Read by people.

    More.
    """
    return 1


class Bare:
    """Only a docstring."""
'''
    text = lean_text(source)
    assert '"""Help."""' in text and "# no comment" in text and '"""Only a docstring."""' in text
    assert "A comment" not in text and "Read by people" not in text and "More." not in text
    compile(text, "lean", "exec")


def test_types_that_nobody_reads_go_and_those_of_what_is_decorated_stay():
    source = '''
def plain(a: int, *rest: "str", c: Dict[str,
        int] = {1: 2}, **more: Any) -> Tuple[int,
    str]:
    é: List[int] = ["é"]; x: int = a
    rest[0].word: Dict[str, int] = lambda y: {y: 1}
    return é, x, a, c[1:2] if more else c


@command("x")
def shown(a: int) -> str:
    return "# no comment"


class Bare(NamedTuple):
    x: int = 3

    def method(self, a: Callable[[int], str] = str) -> Bare:
        return a(self.x)
'''
    text = lean_text(source)
    compile(text, "lean", "exec")
    for word in ("Dict", "-> Tuple", "Any", "Callable", "List", "-> Bare", "a: int,"):
        assert word not in text, word
    assert "def shown(a: int) -> str:" in text and "x: int = 3" in text
    kept = text.partition("@command")[0].replace("rest[0].word", "word")
    space = {}
    exec(kept, space)
    assert space["plain"](4) == (["é"], 4, 4, {1: 2})


def test_formatted_texts_stay_as_they_are():
    source = 'x = 1\ny = (f"{{{x!r:>{4}}}} {"a"} "\n     f"b # {x}")  # ends\n'
    if sys.version_info < (3, 12):
        source = source.replace('{"a"}', "{'a'}")
    space = {}
    exec(lean_text(source), space)
    assert space["y"] == "{   1} a b # 1"
    assert "ends" not in lean_text(source)
