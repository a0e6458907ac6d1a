"""Values that were sent apart: a function gets the value itself, read once a process, and only what was lent to it."""

import pytest

from discompute_lite.tasks.blob_values import BLOBS_READ_KEPT, Blob, _values_read, blobs_in, forget_blob_value
from discompute_lite.tasks.calls import call_unit, calls_data, function_line, items_unit, read_outcomes
from discompute_lite.tasks.class_book import ClassBook
from discompute_lite.tasks.functions import pack_function
from discompute_lite.tasks.values import dump_value
from discompute_lite.tasks.work import WorkRequest, run_work

HASHES = [f"{number:064x}" for number in range(40)]


class Own:
    """An object of a class of one's own."""

    def __init__(self, number):
        self.number = number


def identity_of(value):
    return id(value)


def is_own(value):
    return isinstance(value, Own)


def is_own_as_well(value):
    return isinstance(value, Own) and value.number == 7


def run(function, units, blobs, owner, classes=()):
    data = calls_data(function_line(pack_function(function, classes=classes)), units)
    outcome = run_work(WorkRequest("run", "calls", data, f"{owner}/0.1", blobs=tuple(blobs.items())))
    assert outcome.ok, outcome.error
    return [each.values[0] if each.values else each.raised for each in read_outcomes(outcome.data, ("__main__",))]


def test_a_handle_anywhere_in_the_arguments_arrives_as_the_value(tmp_path):
    path = tmp_path / HASHES[1]
    path.write_bytes(dump_value({"a": (1, 2)}))
    blobs = {HASHES[0]: dump_value(b"\x00\xff"), HASHES[1]: path.read_bytes}
    first, second = Blob(HASHES[0]), Blob(HASHES[1])
    units = [call_unit([[first, {"key": (second, first)}]], {}), call_unit([], {"value": second})]
    assert run(repr_of, units, blobs, "anywhere") == [
        repr([b"\x00\xff", {"key": ({"a": (1, 2)}, b"\x00\xff")}]), repr({"a": (1, 2)})]


def repr_of(value):
    return repr(value)


def test_all_calls_of_a_process_get_the_same_object(tmp_path):
    path = tmp_path / "blob"
    path.write_bytes(dump_value([1, 2, 3]))
    handle = Blob(HASHES[0])
    units = [call_unit([handle], {}), items_unit([handle, handle])]
    first, second = run(identity_of, units, {HASHES[0]: path.read_bytes}, "same")
    path.unlink()  # It has been read: nobody asks for the file again.
    assert run(identity_of, [units[0]], {HASHES[0]: path.read_bytes}, "same") == [first] == [second]


def test_what_is_forgotten_is_read_anew():
    blobs, unit = {HASHES[0]: dump_value([1])}, call_unit([Blob(HASHES[0])], {})
    held = run(held_value, [unit], blobs, "forgets")  # As data: the object itself stays with the process.
    first = run(identity_of, [unit], blobs, "forgets")
    keep_alive = _values_of(HASHES[0])
    forget_blob_value(HASHES[0])
    assert held == [[1]] and keep_alive and not _values_of(HASHES[0])
    assert run(identity_of, [unit], blobs, "forgets") != first


def _values_of(sha256):
    return [value for key, value in _values_read().items() if key[0] == sha256]


def held_value(value):
    return value


def test_another_task_reads_its_own():
    blobs = {HASHES[0]: dump_value([1])}
    unit = call_unit([Blob(HASHES[0])], {})
    assert run(identity_of, [unit], blobs, "one") != run(identity_of, [unit], blobs, "other")


def test_few_values_are_kept_the_last_used_longest():
    blobs = {name: dump_value([index]) for index, name in enumerate(HASHES[:BLOBS_READ_KEPT + 1])}
    units = [call_unit([Blob(name)], {}) for name in blobs]
    run(identity_of, units[:-1], blobs, "few")
    assert [key[0] for key in _values_read()] == HASHES[:BLOBS_READ_KEPT]
    run(identity_of, [units[0], units[-1]], blobs, "few")
    # The first was used again, so the second had to go.
    assert [key[0] for key in _values_read()] == [*HASHES[2:BLOBS_READ_KEPT], HASHES[0], HASHES[BLOBS_READ_KEPT]]


def test_objects_of_own_classes_are_made_for_each_function():
    book = ClassBook()
    blobs = {HASHES[0]: dump_value(Own(7), classes=book)}
    unit = call_unit([Blob(HASHES[0])], {})
    for function in (is_own, is_own_as_well, is_own):
        assert run(function, [unit], blobs, "classes", classes=tuple(book.met)) == [True]


def test_a_function_may_hold_a_handle():
    handle = Blob(HASHES[0])
    line = function_line(pack_function(lambda: handle))
    assert blobs_in(line) == [HASHES[0]]
    outcome = run_work(WorkRequest("run", "calls", calls_data(line, [call_unit([], {})]), "holds/0.1",
                                   blobs=((HASHES[0], dump_value("held")),)))
    (came,) = read_outcomes(outcome.data, ())
    assert came.values == ["held"]


@pytest.mark.parametrize("blobs", [{}, {HASHES[1]: b"1"}])
def test_what_was_not_lent_is_refused(blobs):
    data = calls_data(function_line(pack_function(identity_of)), [call_unit([Blob(HASHES[0])], {})])
    outcome = run_work(WorkRequest("run", "calls", data, "not/0.1", blobs=tuple(blobs.items())))
    assert not outcome.ok and outcome.error_type == "TaskRejected" and outcome.blame == "task"


def test_tasks_of_other_types_take_none():
    outcome = run_work(WorkRequest("run", "echo", b"7", "t/0.1", blobs=((HASHES[0], b"1"),)))
    assert not outcome.ok and "take no blobs" in outcome.error


def test_handles_are_found_in_a_text_and_nothing_else_is_taken_for_one():
    handle = Blob(HASHES[3])
    lookalike = dump_value(handle).decode()
    assert blobs_in(dump_value([handle, (handle, Blob(HASHES[4]))])) == [HASHES[3], HASHES[4]]
    assert blobs_in(dump_value([lookalike, {"$t": "blob", "v": HASHES[3]}, {lookalike: 1}])) == []
