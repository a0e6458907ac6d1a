"""What keeps an app awake is taken back, and neither way does an app that refuses keep a node from its end."""

from __future__ import annotations

import logging
import sys
import types

import pytest

from discompute_lite.faces.awake import staying_awake


@pytest.fixture
def pythonista_and_pyto(monkeypatch):
    """Stand in for both apps at once; return what they were asked, and how to have one of them refuse."""
    asked, refused = [], set()

    def ask(what):
        asked.append(what)
        if what in refused:
            raise RuntimeError("no bridge")

    class BackgroundTask:
        def start(self):
            ask("silence")

        def stop(self):
            ask("quiet")

    for name, values in (
        ("console", {"set_idle_timer_disabled": lambda is_off: ask("display on" if is_off else "display off")}),
        ("objc_util", {"on_main_thread": lambda function: function}), ("pyto", {}),
        ("background", {"BackgroundTask": BackgroundTask}),
    ):
        module = types.ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    return asked, refused


def test_all_is_taken_back_also_when_what_ran_failed(pythonista_and_pyto):
    asked, _ = pythonista_and_pyto
    with pytest.raises(KeyError), staying_awake():
        raise KeyError
    assert asked == ["display on", "silence", "display off", "quiet"]


@pytest.mark.parametrize("refuses, expected", [
    ("display on", ["display on", "silence", "quiet"]),
    ("display off", ["display on", "silence", "display off", "quiet"]),
])
def test_an_app_that_refuses_is_told_of_and_the_rest_goes_on(pythonista_and_pyto, caplog, refuses, expected):
    asked, refused = pythonista_and_pyto
    refused.add(refuses)
    with caplog.at_level(logging.WARNING, "discompute"), staying_awake():
        pass
    assert asked == expected
    assert "no bridge" in caplog.text
