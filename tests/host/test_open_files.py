"""A node asks its system for as many open files as it may need, and for no more than `select` can watch."""

import sys
import types

import pytest

from discompute_lite.host.open_files import ENOUGH_FILES, most_open_files

INFINITY = -1


def a_system(monkeypatch, soft, hard, *, keeps=False):
    """Have `resource` be that of a system with these bounds; return what it was asked for."""
    asked = []

    def setrlimit(kind, bounds):
        if keeps:
            raise ValueError("not allowed to raise maximum limit")
        asked.append(bounds)

    monkeypatch.setitem(sys.modules, "resource", types.SimpleNamespace(
        RLIMIT_NOFILE=7, RLIM_INFINITY=INFINITY, getrlimit=lambda kind: (soft, hard), setrlimit=setrlimit))
    return asked


@pytest.mark.parametrize("soft, hard, asked, most", [
    (256, INFINITY, [(1024, INFINITY)], 1024),  # macOS
    (256, 10240, [(1024, 10240)], 1024),
    (1024, 4096, [], 1024),                     # Linux
    (65536, 65536, [], 65536),                  # What its owner has raised already.
    (200, 200, [], 200),                        # Nobody gets more.
    (200, 300, [(300, 300)], 300),
    (INFINITY, INFINITY, [], -1),
])
def test_enough_files_are_asked_for_where_there_are_fewer(monkeypatch, soft, hard, asked, most):
    said = a_system(monkeypatch, soft, hard)
    assert most_open_files() == most
    assert said == asked


def test_a_sandbox_that_keeps_its_bound_is_told_of(monkeypatch):
    a_system(monkeypatch, 256, INFINITY, keeps=True)
    assert most_open_files() == 256


def test_windows_has_no_such_bound(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    assert most_open_files() == -1


def test_what_is_asked_for_has_numbers_that_select_can_take():
    assert ENOUGH_FILES <= 1024
