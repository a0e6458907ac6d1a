"""A lean text does what the text did, in fewer characters."""

from __future__ import annotations

import ast
import random
import sys

import pytest

from discompute_lite.host.lean_text import lean_text
from discompute_lite.host.small_file import package_sources


def test_what_is_shown_stays_in_one_line_and_what_is_read_goes():
    source = '''"""Module."""

# A comment.
@command("x")
def shown():
    """Help.

    For readers.
    """
    return "# no comment"


def read():
    """Read by people.

    More.
    """
    return 1


class Bare:
    """Only a docstring."""
'''
    assert lean_text(source) == (
        '@command("x")\ndef shown():\n \'Help.\'\n return"# no comment"\ndef read():return 1\nclass Bare:"."\n')


def test_a_comma_behind_the_last_of_several_goes_and_that_of_a_tuple_of_one_stays():
    source = "several = [1, 2,]\nwithin = call(\n    (1, 2,), {3: 4, 5: 6,},\n)\n"
    source += "one = (1,)\nonly: int = call(one,)\nx[1, 2,]\n"
    assert lean_text(source) == (
        "several=[1,2]\nwithin=call((1,2),{3:4,5:6})\none=(1,)\nonly=call(one,)\nx[1,2]\n")


def test_types_that_nobody_reads_go_and_those_of_methods_and_classes_stay():
    source = '''
def plain(a: int, *rest: "str", c: Dict[str,
        int] = {1: 2}, **more: Any) -> Tuple[int,
    str]:
    é: List[int] = ["é"]; x: int = a
    rest[0].word: Dict[str, int] = lambda y: {y: 1}
    return é, x, a, c[1:2] if more else c


@method("x")
def shown(a: int) -> str:
    return "# no comment"


class Bare(NamedTuple):
    x: int = 3

    def method(self, a: Callable[[int], str] = str) -> Bare:
        return a(self.x)
'''
    text = lean_text(source)
    for word in ("Dict", "Tuple[", "Any", "Callable", "List", "->Bare", "a:int,"):
        assert word not in text, word
    assert "def shown(a:int)->str:" in text and "x:int=3" in text
    kept = text.partition("@method")[0].replace("rest[0].word", "word")
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


def test_imports_that_only_types_needed_go():
    source = """from __future__ import annotations
from typing import Any, Dict, NamedTuple
import os

def take(x: Dict[str, Any]) -> None:
    os.fspath(x)

class Pair(NamedTuple):
    x: Any
"""
    assert lean_text(source) == (
        "from typing import Any,NamedTuple\nimport os\ndef take(x):os.fspath(x)\nclass Pair(NamedTuple):x:Any\n")


def test_of_a_protocol_the_name_is_left_and_a_data_class_needs_no_signature():
    source = '''class Port(Protocol):
    """What a port offers."""

    is_open: bool

    def send(self, data: bytes) -> None:
        """Send."""


@dataclass(frozen=True)
class Row:
    """Hold a row."""

    x: int = 0
'''
    assert lean_text(source) == (
        'class Port(Protocol):"."\n@dataclass(frozen=True,repr=False)\nclass Row:\n "."\n x:int=0\n')


def test_no_repr_is_made_for_data_classes():
    assert lean_text("@dataclass\nclass Row:\n    x: int = 0\n") == "@dataclass(repr=False)\nclass Row:x:int=0\n"


@pytest.mark.parametrize("source", [
    "x = 1 if 2 else 3\n", "x = 'a'if 1 else'b'\n", "x = 1 .real + 1. .real\n", "x = [0x1f for _ in ()] or not 1\n",
    "x = (y := 3), *[1], - - 1, {**{}}\n", "x = f'{1 + 1 !r:>{4}}' 'b' \"c\"\n", "x = lambda * a, b = 1 : a\n",
    "if 1:\n    x = 1\nelif 2:\n    x = 2; y = 3\nelse:\n    if 3:\n        x = 4\n    else:\n        x = 5\nx += 1\n",
    "try:\n    x = 1\nexcept ValueError: x = 2\nfinally:\n    while x:\n        x = 0\n",
    "def f():\n    @ f\n    def g(): pass\n\n    return g\n\n\nx = 1  # end", "x = '''a\n  b''' \\\n    'c'\n",
    "x = a [ 1 : : 2 ] @ b\n", "async def f():\n    async with a as b: await b\n", "", "#\n",
])
def test_a_lean_text_means_the_same(source):
    assert ast.dump(ast.parse(lean_text(source))) == ast.dump(ast.parse(source))


class Meaning(ast.NodeTransformer):
    """Take out of a tree what a lean text may lack."""

    def visit_FunctionDef(self, node):
        node.returns, node.body = None, without_docstring(node.body)
        return self.generic_visit(node)

    def visit_ClassDef(self, node):
        is_protocol = any(getattr(base, "id", "") == "Protocol" for base in node.bases)
        node.body = [] if is_protocol else without_docstring(node.body)
        for number, each in enumerate(node.decorator_list):
            if isinstance(each, ast.Call) and getattr(each.func, "id", "") == "dataclass":
                each.keywords = [keyword for keyword in each.keywords if keyword.arg != "repr"]
                node.decorator_list[number] = each if each.keywords else each.func
        return self.generic_visit(node)

    def visit_Module(self, node):
        node.body = without_docstring(node.body)
        return self.generic_visit(node)

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_AnnAssign(self, node):
        self.generic_visit(node)
        return node if node.value is None else ast.Assign(targets=[node.target], value=node.value)

    def visit_ImportFrom(self, node):
        return None if node.module in ("typing", "__future__") else node


def without_docstring(body):
    is_text = body and isinstance(body[0], ast.Expr) and isinstance(getattr(body[0].value, "value", None), str)
    return body[1:] if is_text else body


def meaning(text):
    return ast.dump(Meaning().visit(ast.parse(text)))


def hold_their_meaning(sources):
    for name, source in sources:
        assert meaning(lean_text(source)) == meaning(source), name


def test_modules_of_ours_mean_what_they_meant(root):
    hold_their_meaning(random.Random(7).sample(sorted(package_sources(str(root / "discompute_lite")).items()), 40))


@pytest.mark.slow
def test_every_module_of_ours_means_what_it_meant(root):
    hold_their_meaning(package_sources(str(root / "discompute_lite")).items())
