"""A second start in one process takes over from the first, however that has ended."""

from __future__ import annotations

import sys
import threading

import pytest

from discompute_lite.host import app_registry
from discompute_lite.host.app_registry import REGISTRY, Turn, take_turn


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """Let each test begin with a process in which nothing ran."""
    monkeypatch.setitem(sys.modules, REGISTRY, None)
    del sys.modules[REGISTRY]


class Node:
    """Record how it was ended; `obeys` says whether a stop is enough."""

    def __init__(self, *, obeys: bool = True) -> None:
        self.calls = []
        self._obeys = obeys
        self.turn = Turn(self._stop, self._close)

    def _stop(self) -> None:
        self.calls.append("stop")
        if self._obeys:
            self.turn.is_over.set()

    def _close(self) -> None:
        self.calls.append("close")
        self.turn.is_over.set()


def test_the_first_one_ends_nobody():
    assert not take_turn("folder", Node().turn)


def test_the_second_one_stops_the_first():
    first, second = Node(), Node()
    take_turn("folder", first.turn)
    assert take_turn("folder", second.turn)
    assert (first.calls, second.calls) == (["stop"], [])


def test_one_that_has_ended_is_left_alone():
    first = Node()
    take_turn("folder", first.turn)
    first.turn.is_over.set()
    assert not take_turn("folder", Node().turn)
    assert first.calls == []


def test_nodes_on_other_folders_are_others():
    first = Node()
    take_turn("one", first.turn)
    assert not take_turn("other", Node().turn)
    assert first.calls == []


def test_one_whose_thread_was_ended_without_a_word_is_closed_from_outside(monkeypatch):
    monkeypatch.setattr(app_registry, "TURN_S", 0.01)
    first = Node(obeys=False)
    take_turn("folder", first.turn)
    assert take_turn("folder", Node().turn)
    assert first.calls == ["stop", "close"]


def test_of_many_at_once_one_is_left():
    nodes = [Node() for _ in range(20)]
    threads = [threading.Thread(target=take_turn, args=("folder", node.turn)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(node.calls == [] for node in nodes) == 1


def test_a_reloaded_module_knows_of_what_ran_before(load_again):
    first = Node()
    take_turn("folder", first.turn)
    again = load_again(app_registry)
    assert again.take_turn("folder", again.Turn(lambda: None, lambda: None))
    assert first.calls == ["stop"]


@pytest.fixture
def load_again():
    """Return what makes a second copy of a module, as apps do that purge modules between runs."""
    import importlib.util

    def load(module):
        spec = importlib.util.spec_from_file_location("copy_of_registry", module.__file__)
        copy = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(copy)
        return copy

    return load
