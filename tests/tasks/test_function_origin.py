"""What every device can import by itself, and what lies in a person's folders, is told without importing it."""

import importlib
import sys

import pytest

from discompute_lite.tasks.function_origin import is_installed_module, is_own_import


@pytest.fixture(params=["site-packages", "project"])
def folder(request, tmp_path, monkeypatch):
    """Return a folder of modules: installed packages lie in the first, a person's own in the second."""
    folder = tmp_path / request.param
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    known = set(sys.modules)
    yield folder
    for name in set(sys.modules) - known:
        del sys.modules[name]


@pytest.mark.parametrize("is_imported", [False, True])
@pytest.mark.parametrize("file", ["plain_module.py", "plain_package/__init__.py", "bare_package/part.py"])
def test_where_a_package_lies_says_whose_it_is(folder, file, is_imported):
    # The last is a namespace package, as mlx and google are: it has no file of its own.
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text("")
    top = file.partition("/")[0].replace(".py", "")
    name = "bare_package.part" if top == "bare_package" else top
    if is_imported:
        module = importlib.import_module(name)
        assert is_installed_module(module) == (folder.name == "site-packages")
        assert is_installed_module(sys.modules[top]) == (folder.name == "site-packages")
    assert is_own_import(name) == (folder.name == "project")


def test_what_is_not_there_is_nobodys_own():
    assert not is_own_import("no_such_module_anywhere") and not is_own_import("json")
