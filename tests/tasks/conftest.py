"""A person's own modules, for tests of what travels."""

import importlib.util
import sys

import pytest


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a maker of modules from text; they can import each other, and are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    # A module made anew within the same second would be read from the byte code of the one before.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    made = []

    def make(text, name="mine"):
        path = tmp_path / f"{name}.py"
        path.write_text(text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, path)
        loaded = sys.modules[name] = importlib.util.module_from_spec(spec)
        made.append(name)
        spec.loader.exec_module(loaded)
        return loaded

    yield make
    for name in made:
        sys.modules.pop(name, None)
