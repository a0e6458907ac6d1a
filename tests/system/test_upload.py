"""Modules that go along with a function, from a script to another node that does not have them."""

import sys

import pytest

from discompute_lite import Cluster
from discompute_lite.model.errors import TaskRejected

SCRIPT = "def area(side):\n    from shapes.square import Square\n    return Square(side)\n"
SHAPES = {
    "shapes/__init__.py": "",
    "shapes/square.py": ("from . import units\n\nclass Square:\n    def __init__(self, side):\n"
                         "        self.side = side\n"
                         "    def area(self):\n        return f'{self.side ** 2} {units.NAME}'\n"),
    "shapes/units.py": "NAME = 'm2'\n",
}


@pytest.fixture
def cluster(field, tmp_path, monkeypatch):
    """A cluster without cores of its own, one node, and a current folder with modules that the node does not have."""
    own, _ = field.let_belong("here", "there")
    node = field.start("there", "--slots", "1")
    for name, text in {**SHAPES, "own_script.py": SCRIPT}.items():
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path / "mine")
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    for name, value in (("STATE_DIR", str(own)), ("DISCOVERY", "peers"), ("BIND", "127.0.0.1")):
        monkeypatch.setenv("DISCOMPUTE_" + name, value)
    with Cluster(f"127.0.0.1:{node.port}", local=False) as cluster:
        yield cluster
    for name in ("own_script", "shapes", "shapes.square", "shapes.units"):
        sys.modules.pop(name, None)


def test_a_node_runs_what_was_uploaded_and_its_classes_come_back(cluster):
    import own_script
    import shapes.square
    with pytest.raises(TaskRejected, match="imports shapes.square inside itself"):
        cluster.submit(own_script.area, 3)
    with_shapes = cluster.options(upload=["shapes/"])
    square = with_shapes.submit(own_script.area, 3).result(60)
    assert type(square) is shapes.square.Square and square.area() == "9 m2"
    assert [each.side for each in with_shapes.map(own_script.area, range(20))] == list(range(20))
    assert with_shapes.submit(shapes.square.Square.area, square).result(60) == "9 m2"


def test_options_refuse_what_cannot_be_uploaded_and_unknown_names(cluster):
    with pytest.raises(TaskRejected, match="upload names missing.py, which is no Python file and no folder here"):
        cluster.options(upload=["missing.py"])
    with pytest.raises(TypeError, match="prioritty"):
        cluster.options(prioritty=3)
