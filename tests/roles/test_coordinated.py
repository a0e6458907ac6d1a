"""A task keeps what was printed beside its results, within bounds, and tells it in pages that fit a line."""

import pytest

from discompute_lite.model.limits import GIB
from discompute_lite.model.task import ComputeTask, SubTask, SubTaskStatus, TaskState
from discompute_lite.roles.bounds import OUTPUT_CHARS
from discompute_lite.roles.coordinated import (
    KEPT_PRINTED_CHARS, OUTPUT_TOLD_CHARS, PARTS_TOLD, PRINTED_TOO_MUCH, CoordinatedTask,
)


@pytest.fixture
def task():
    return CoordinatedTask(ComputeTask(task_id="t"), 0, 0)


def pages_of(task):
    """Every page of what was printed."""
    pages, index = [], 0
    while True:
        answer = task.result_from(0, index, GIB)
        if not answer.printed:
            return pages
        pages.append([entry.text for entry in answer.printed])
        index = answer.next_printed


@pytest.mark.parametrize("times, size, expected", [(1000, 200_000, 17), (1000, 3000, 176), (20_000, 100, 5244)])
def test_what_is_printed_beside_the_results_is_bounded_and_comes_in_pages(task, times, size, expected):
    for _ in range(times):
        task.keep_printed("run", "a", "\x01" * size)
    pages = pages_of(task)
    texts = [text for page in pages for text in page]
    assert KEPT_PRINTED_CHARS <= sum(map(len, texts)) < KEPT_PRINTED_CHARS + 2 * OUTPUT_CHARS
    assert texts[-1] == PRINTED_TOO_MUCH and texts.count(PRINTED_TOO_MUCH) == 1 and len(texts) == expected
    for page in pages:
        assert len(page) <= PARTS_TOLD and sum(map(len, page)) < OUTPUT_TOLD_CHARS + OUTPUT_CHARS + 100


def test_what_one_attempt_printed_is_cut_and_that_is_said(task):
    task.keep_printed("run", "a", "x" * (OUTPUT_CHARS + 5))
    assert pages_of(task) == [["x" * OUTPUT_CHARS + "\n[5 more characters were printed]\n"]]


@pytest.mark.parametrize("output", ["", None, 7, ["text"], {"text": 1}])
def test_what_is_no_text_is_not_kept(task, output):
    task.keep_printed("run", "a", output)
    assert task.result_from(0, 0, GIB).printed == []


def test_what_merge_printed_comes_with_the_last_of_the_parts(task):
    task.subtasks = [SubTask(status=SubTaskStatus.COMPLETED)] * (PARTS_TOLD + 1)
    for phase in ("split", "run", "merge"):
        task.keep_printed(phase, "a", phase)
    first = task.result_from(0, 0, GIB)
    assert [entry.phase for entry in first.printed] == ["split", "run"]
    last = task.result_from(first.next_index, first.next_printed, GIB)
    assert len(last.parts) == 1 and [entry.phase for entry in last.printed] == ["merge"]


def test_what_became_of_each_subtask_is_told_when_it_has_ended_with_what_befell_it_before(task):
    task.divide([b"1", b"2", b"3", b"4"])
    task.story.extend(["   0.50 s  subtask 1: attempt 1 on here failed there", "   0.60 s  subtask 11: is another"])
    for index, done in enumerate([SubTask(lite={"seconds": 1.5}), SubTask(), SubTask(lite={"seconds": "soon"})]):
        task.accept(index, f"device-{index}", done, 10.0)
    assert task.has_ended(1) and not task.has_ended(3)
    assert [task.end_of(index) for index in range(3)] == [
        "subtask 0 is done: device-0 took 1.50 s",
        "subtask 1 is done: device-1\n   0.50 s  subtask 1: attempt 1 on here failed there",
        "subtask 2 is done: device-2"]
    task.fail(2, "it divides by zero")
    task.close(TaskState.FAILED, "it divides by zero", 20.0)
    assert task.end_of(2) == "subtask 2 failed: it divides by zero"
    assert task.end_of(3) == "subtask 3 ended with its task: it divides by zero"
