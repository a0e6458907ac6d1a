"""The line that a person pastes on a phone: short of nothing, checked before it runs, good for shells too."""

from __future__ import annotations

import ast
import shlex

import pytest

from discompute_lite.faces.share_command import share_line

OFFER = {"path": "/discompute.z", "sha256": "ab" * 32}


@pytest.mark.parametrize("link", ["", "discompute://join/1/abcdefghijklmnopqrstuvwxyz@192.168.1.20:40001,10.0.0.3:40001"])
def test_the_line_is_python_that_checks_before_it_runs(link):
    line = share_line("192.168.1.20:8080", OFFER, link)
    assert "\n" not in line
    kinds = [type(node).__name__ for node in ast.parse(line).body]
    assert kinds.index("Assert") < kinds.index("Expr")
    assert 'urlopen("http://192.168.1.20:8080/discompute.z")' in line
    assert OFFER["sha256"] in line
    assert line.endswith('main(["start"])')
    assert (f'main(["join","{link}"]);' in line) == bool(link)


def test_a_shell_takes_it_in_single_quotes():
    line = share_line("192.168.1.20:8080", OFFER)
    assert shlex.split(f"python3 -c '{line}'") == ["python3", "-c", line]
