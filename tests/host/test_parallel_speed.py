"""How much more all cores do than one: counted by children that run at the same moment, and of which none is left."""

from __future__ import annotations

import io
import sys

import pytest

from discompute_lite.host.parallel_speed import PACE_NS, PACED_PROCESSES_MAX, pace, pace_main, parallel_factor


class Child:
    """A process that answers with these lines."""

    def __init__(self, lines):
        self.stdin, self.stdout = io.BytesIO(), io.BytesIO(lines)
        self.is_over = False

    def kill(self):
        self.is_over = True

    def communicate(self):
        assert self.is_over


class Machine:
    """A machine on which the first child tells a pace alone, and all tell one together."""

    def __init__(self, first=b"0\n100\n90\n", others=b"0\n90\n", room=99):
        self.lines, self.others, self.room, self.children = first, others, room, []

    def start(self, command, **_):
        if len(self.children) >= self.room:
            raise OSError("no more processes")
        self.children.append(Child(self.others if self.children else self.lines))
        return self.children[-1]


def test_the_work_of_all_is_compared_with_that_of_one_alone():
    machine = Machine()
    assert parallel_factor(["pace"], 4, machine.start) == 3.6
    assert len(machine.children) == 4 and all(child.is_over for child in machine.children)
    assert [child.stdin.getvalue() for child in machine.children] == [b"\n\n", b"\n", b"\n", b"\n"]


def test_a_crowd_of_cores_is_not_asked_whole():
    machine = Machine()
    parallel_factor(["pace"], 500, machine.start)
    assert len(machine.children) == PACED_PROCESSES_MAX


@pytest.mark.parametrize("machine", [
    Machine(room=0), Machine(room=2), Machine(others=b""), Machine(others=b"0\nnonsense\n"),
    Machine(first=b"0\n0\n0\n"),
])
def test_where_children_fail_nothing_is_known_and_none_is_left(machine):
    assert parallel_factor(["pace"], 4, machine.start) == 0.0
    assert all(child.is_over for child in machine.children)


def test_a_pace_is_counted_over_a_moment():
    ticks = iter(range(0, 10 * PACE_NS, PACE_NS // 4))
    assert pace(lambda: next(ticks)) == pytest.approx(3 * 1e9 / (5 * PACE_NS / 4), rel=0.3)


@pytest.mark.slow
def test_real_children_compute_beside_one_another():
    command = [sys.executable, "-c", "from discompute_lite.host.parallel_speed import pace_main; pace_main()"]
    assert parallel_factor(command, 2) > 0


def test_a_child_tells_a_pace_for_each_line_and_ends_with_its_input(monkeypatch, capsys):
    monkeypatch.setattr("discompute_lite.host.parallel_speed.pace", lambda: 41.5)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n\n"))
    pace_main()
    assert capsys.readouterr().out == "0\n41.5\n41.5\n"
