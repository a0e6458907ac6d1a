"""How far a task is, drawn over in place: it fits the terminal, and what follows stands below it."""

import io
import re

import pytest

from discompute_lite.faces.console import Console
from discompute_lite.faces.listing import halted_note, local_time, status_lines, task_lines
from discompute_lite.faces.node_commands import _show_devices
from discompute_lite.faces.status_commands import _show_tasks, _show_training
from discompute_lite.model.device import Device
from discompute_lite.model.task import ComputeTask
from discompute_lite.model.told_round import ToldRound


class Screen(io.StringIO):
    """A terminal that knows the four movements of a picture: up, to the left, clear below, next line."""

    def __init__(self):
        super().__init__()
        self.lines, self.row = [""], 0

    def isatty(self):
        return True

    def write(self, text):
        for up, letter, mark in re.findall(r"\x1b\[(\d*)([A-Za-z])|([^\x1b])", text):
            if letter == "A":
                self.row -= int(up)
            elif letter == "J":
                self.lines[self.row:] = [""]
            elif mark == "\n":
                self.row += 1
                self.lines += [""] if self.row == len(self.lines) else []
            elif mark not in ("\r", ""):
                self.lines[self.row] += mark
            else:
                assert letter in ("", "K", "m"), f"unknown movement {letter}"
        return len(text)


@pytest.fixture
def console(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    return Console(out=Screen(), err=Screen())


def shown(console):
    return console._out.lines


def test_a_picture_is_drawn_over_the_last_one_whatever_their_heights(console):
    for picture in (["one", "two", "three"], ["four"], ["five", "six"]):
        console.redraw(picture)
        assert shown(console) == [*picture, ""], "the cursor rests below it"


def test_a_list_that_is_watched_is_drawn_over_and_one_that_is_not_is_printed(console):
    for name in ("first", "second"):
        _show_devices(console, [Device(name * 6, name)], watched=True)
    assert "  Name: second" in shown(console) and "  Name: first" not in shown(console)
    _show_devices(console, [Device("third" * 6, "third")], watched=False)
    assert "  Name: second" in shown(console) and "  Name: third" in shown(console)


def test_trainings_that_go_on_stand_above_the_tasks_in_words(console):
    task = {"task_id": "t" * 12, "task_type": "echo", "lite": {"state": "RUNNING"}}
    tasks = {"tasks": [task], "trainings": [{"text": "a: round 1/2\x1b[2J"}]}
    _show_tasks(console, tasks, watched=True, is_unattended=False)
    assert shown(console)[0] == "a: round 1/2\\x1b[2J" and shown(console)[1].startswith("tttttttt")
    _show_tasks(console, {"tasks": [], "trainings": []}, watched=True, is_unattended=False)
    assert shown(console)[0].startswith("no tasks")


ROUND = "digits: round 3/20  loss 0.3125  accuracy 0.9123  3,422 samples/s  0.51 s, 0.40 computing, 0.11 communicating"


@pytest.mark.parametrize("columns, line", [
    (40, "digits: round 3/20  loss 0.3125"), (80, "digits: round 3/20  loss 0.3125  accuracy 0.9123  3,422 samples/s"),
    (200, ROUND)])
def test_the_last_round_of_a_training_is_one_line_with_the_first_of_its_figures(monkeypatch, console, columns, line):
    console.width = columns
    monkeypatch.setenv("COLUMNS", str(columns))
    _show_training(console, ToldRound("t1", "digits", ROUND))
    assert shown(console) == [line, ""]


def test_in_a_pipe_the_last_round_of_a_training_is_whole_and_so_it_is_for_programs():
    for is_json, wanted in ((False, ROUND), (True, f'"text": "{ROUND}", "round": 3, "rounds": 20')):
        out = io.StringIO()
        _show_training(Console(is_json=is_json, out=out), ToldRound("t1", "digits", ROUND, 3, 20))
        assert wanted in out.getvalue() and out.getvalue().count("\n") == 1


def test_what_is_printed_stays_above_the_next_picture(console):
    console.redraw(["one"])
    console.print("said")
    console.redraw(["two"])
    assert shown(console) == ["one", "said", "two", ""]


@pytest.mark.parametrize("columns", [40, 80])
def test_a_picture_fits_the_terminal(console, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    console.redraw([f"{number} " + "x" * 100 for number in range(100)])
    assert len(shown(console)) == 24, "the last row is the cursor's"
    assert all(len(line) < columns for line in shown(console)) and shown(console)[0][-2:] == "x…"


def answer(**lite):
    task = {"task_id": "abcdef012345", "task_type": "job", "lite": {"state": "RUNNING"}}
    subtasks = [{"status": "RUNNING", "assigned_device_id": "b" * 52}, {"status": "PENDING", "assigned_device_id": ""}]
    return {"task": task, "subtasks": subtasks, "completion_percentage": 25.0, "estimated_completion_time": 1060,
            "lite": {"message": "", "counts": {"COMPLETED": 2, "RUNNING": 1, "PENDING": 1}, "devices": {"a" * 52: 2},
                     **lite}}


def test_a_task_is_written_with_its_devices_and_its_end():
    assert status_lines(answer(), 1000.0) == [
        "Task abcdef012345: RUNNING, 25.0 %",
        "  Subtasks: 2 completed, 1 running, 1 pending",
        "    aaaaaaaa: 2 done",
        "    bbbbbbbb: 0 done, 1 running",
        "  Expected end: in 60 s",
    ]
    assert "  it failed\\x1b[2J" in status_lines(answer(message="it failed\x1b[2J\nhere"), 1000.0)


GONE = {"owner_id": "b" * 52, "owner_lost_at": 1000}


@pytest.mark.parametrize("lite, is_unattended, word, says", [
    ({}, False, "", ""), ({"state": "FAILED"}, True, "", ""),
    ({}, True, "HALTED", "its node ended, and none runs here (last heard of {}); go on with: submit --resume"
                         " abcdef012345, or: start"),
    (GONE, False, "LOST", "its node bbbbbbbb is gone since {}; this node goes on with it in a moment"),
    ({**GONE, "rests": "it rests here"}, False, "LOST", "its node bbbbbbbb is gone since {}; it rests here"),
    (GONE, True, "LOST", "its node bbbbbbbb is gone since {}; go on with: submit --resume abcdef012345"),
])
def test_a_task_that_nobody_works_on_says_so_and_how_it_goes_on(lite, is_unattended, word, says):
    task = ComputeTask("abcdef012345", "job", lite={"state": "RUNNING", "last_sign_at": 1000, **lite})
    says = says.format(local_time(1000))
    assert halted_note(task, is_unattended=is_unattended) == (word, says)
    lines = task_lines(task, is_unattended=is_unattended)
    state = word or task.lite["state"]
    assert lines[0].split()[1] == state and [line.strip() for line in lines[1:]] == [says] * bool(word)
    whole = answer()
    whole["task"]["lite"] = task.lite
    lines = status_lines(whole, 1000.0, is_unattended=is_unattended)
    assert lines[0].startswith(f"Task abcdef012345: {state}, ") and (lines[1].strip() == says) is bool(word)


def test_one_task_is_one_short_line():
    task = ComputeTask("abcdef012345", "job", metadata={"name": "a.py"}, lite={"state": "RUNNING", "percentage": 25.0})
    assert task_lines(task) == ["abcdef012345 RUNNING    25.0 %  a.py"] and len(task_lines(task)[0]) < 40
