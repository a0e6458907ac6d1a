"""Task types: parameters are checked, the built-in ones are right, and their pieces give the same as the whole."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.errors import TaskRejected
from discompute_lite.tasks.builtin import even_ranges, small_primes
from discompute_lite.tasks.digits import classify_digits, left_out_lanes, load_digits
from discompute_lite.tasks.types import (
    TASK_TYPES,
    TaskType,
    join_data,
    read_params,
    run_locally,
    separate_data,
    task_type_schemas,
)
from discompute_lite.tasks.values import dump_value, load_value
from discompute_lite.tasks.work import BUNDLED_TASKS


def in_pieces(name, params, target):
    """Return (number of subtasks, result) of a task run over bytes, as devices do it."""
    task_type = TASK_TYPES.get(name)
    data = dump_value(params)
    parts = list(task_type.split_data(data, target, "t"))
    return len(parts), load_value(task_type.merge_data(data, [task_type.run_data(part, "t") for part in parts], "t"))


def assert_part_refused(name, part):
    with pytest.raises(TaskRejected):
        TASK_TYPES.get(name).run_data(dump_value(part), "")


# ---- the table --------------------------------------------------------------------------------------------


def test_the_table_has_what_the_protocol_page_names():
    assert BUNDLED_TASKS
    assert set(TASK_TYPES.names()) == {"echo", "primes", "matmul", "digits", "job", "call", "calls"}


@pytest.mark.parametrize("name", TASK_TYPES.names())
def test_every_type_describes_itself(name):
    schema = task_type_schemas()[name]
    task_type = TASK_TYPES.get(name)
    assert task_type.name == schema["title"] == name
    assert len(schema["description"]) > 20
    assert set(schema["properties"]) == set(task_type.parameters)
    assert all(item["description"] for item in schema["properties"].values())
    json.dumps(schema)
    defaults = {key: parameter.default for key, parameter in task_type.parameters.items()}
    assert read_params(task_type, b"") == read_params(task_type, b"{}") == defaults


@pytest.mark.parametrize("data, words", [
    (b"[1]", "object of parameters"), (b"7", "object"), (b'{"boud":3}', "'boud'; it has bound"),
    (b'{"bound":"3"}', "'bound' of 'primes' is of type int, not str"), (b'{"bound":true}', "not bool"), (b"{", "JSON"),
])
def test_wrong_parameters_are_named(data, words):
    with pytest.raises(TaskRejected, match=words):
        read_params(TASK_TYPES.get("primes"), data)


def test_whole_numbers_serve_as_floats():
    class Half(TaskType):
        name = "half"
        parameters = {"x": TASK_TYPES.get("primes").parameters["bound"]._replace(kind="float")}

    value = read_params(Half(), b'{"x":3}')["x"]
    assert value == 3.0 and type(value) is float


def test_an_unknown_type_is_named_with_the_known_ones():
    with pytest.raises(TaskRejected, match="'fold'; choose one of .*echo"):
        run_locally("fold", {})


# ---- texts in one text --------------------------------------------------------------------------------------


@given(st.lists(st.recursive(st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=5)))
def test_texts_come_apart_as_they_were_put_together(items):
    assert separate_data(join_data(map(dump_value, items))) == [dump_value(item) for item in items]


def test_nobody_smuggles_in_a_further_text():
    pretty = json.dumps({"a": [1, 2]}, indent=1).encode()
    parts = separate_data(join_data([pretty, b'1\n2', b"", b"3"]))
    assert len(parts) == 4
    assert load_value(parts[0]) == {"a": [1, 2]} and load_value(parts[3]) == 3
    for broken in parts[1:3]:
        with pytest.raises(TaskRejected):
            load_value(broken)
    assert len(separate_data(join_data([b""]))) == 1
    assert separate_data(join_data([])) == []


@given(st.integers(0, 500), st.integers(0, 60))
def test_ranges_are_even_and_complete(count, pieces):
    ranges = even_ranges(count, pieces)
    assert [number for span in ranges for number in range(span["start"], span["stop"])] == list(range(count))
    sizes = [span["stop"] - span["start"] for span in ranges]
    assert not sizes or (max(sizes) - min(sizes) <= 1 and min(sizes) >= 1 and len(sizes) <= max(1, pieces))


# ---- echo, primes, matmul -------------------------------------------------------------------------------------


def test_echo_returns_its_parts_whatever_they_are():
    parts = [1, (2, b"x"), {"a": float("inf")}, None]
    assert in_pieces("echo", {"parts": parts}, 0) == (4, parts)
    assert in_pieces("echo", {}, 0) == (0, [])


@pytest.mark.parametrize("bound, count",
    [(-5, 0), (0, 0), (2, 0), (3, 1), (4, 2), (25, 9), (26, 9), (1000, 168), (100_000, 9592)])
@pytest.mark.parametrize("target", [0, 1, 7])
def test_primes_are_counted(bound, count, target):
    assert in_pieces("primes", {"bound": bound}, target)[1] == count


@given(st.integers(0, 3000), st.integers(0, 300))
def test_primes_of_a_range_agree_with_trial_division(start, length):
    stop = start + length
    expected = sum(number > 1 and all(number % d for d in range(2, int(number ** 0.5) + 1)) for number in range(start,
        stop))
    assert TASK_TYPES.get("primes").run({"start": start, "stop": stop}) == expected


def test_primes_far_out_and_over_several_sieves():
    task_type = TASK_TYPES.get("primes")
    # Below 10^6, and beyond the span that is sieved at once; 999999999989 is the last prime below 10^12.
    assert task_type.run({"start": 0, "stop": 10 ** 6}) == 78498
    assert task_type.run({"start": 0, "stop": 2_100_000}) == 155805
    assert task_type.run({"start": 10 ** 12 - 30, "stop": 10 ** 12}) == 1
    assert small_primes(1) == [] and small_primes(2) == [2] and small_primes(30)[-1] == 29


def test_matrices_are_multiplied():
    def product(n, seed):
        part = {"start": 0, "stop": n, "n": n, "seed": seed}
        return TASK_TYPES.get("matmul").run(part)

    one = run_locally("matmul", {"n": 12, "seed": 5})
    rows = product(12, 5)
    assert one["trace"] == sum(rows[i][i] for i in range(12)) and one["sum"] == sum(map(sum, rows))
    for target in (1, 5, 12, 99):
        assert in_pieces("matmul", {"n": 12, "seed": 5}, target)[1] == one
    assert run_locally("matmul", {"n": 12, "seed": 6})["checksum"] != one["checksum"]
    np = pytest.importorskip("numpy")
    from discompute_lite.tasks import builtin
    first, second = ([[builtin._matrix_item(seed, i, j) for j in range(12)] for i in range(12)] for seed in (5, 6))
    assert (np.array(first) @ np.array(second)).tolist() == rows
    assert len({item for row in first for item in row}) > 80


@pytest.mark.parametrize("name, params", [
    ("primes", {"bound": 10 ** 13}), ("matmul", {"n": 0}), ("matmul", {"n": 10 ** 9}), ("digits", {"k": 0}),
    ("digits", {"k": 1000}), ("digits", {"samples": 65}), ("digits", {"samples": -1}), ("digits", {"limit": 3}),
])
def test_sizes_beyond_reason_are_refused(name, params):
    with pytest.raises(TaskRejected):
        run_locally(name, params)


def test_hostile_parts_are_refused():
    for name in ("primes", "matmul", "digits"):
        for part in (None, 7, [], {}, {"start": 0}, {"start": "0", "stop": 1}, {"start": True, "stop": 2}):
            assert_part_refused(name, part)
    for start, stop in ((-1, 5), (5, 1), (0, 10 ** 13)):
        assert_part_refused("primes", {"start": start, "stop": stop})
        assert_part_refused("matmul", {"start": start, "stop": stop, "n": 4, "seed": 1})
        assert_part_refused("digits", {"start": start, "stop": stop, "k": 3, "limit": 0, "samples": 0})
    assert_part_refused("matmul", {"start": 0, "stop": 1, "n": 10 ** 9, "seed": 1})
    assert_part_refused("digits", {"start": 0, "stop": 1, "k": 3, "limit": 0, "samples": 10 ** 9})


# ---- digits --------------------------------------------------------------------------------------


def test_the_images_are_the_uci_digits():
    images, labels = load_digits()
    assert len(images) == len(labels) == 1797
    assert {len(image) for image in images} == {64}
    assert max(map(max, images)) == 16
    assert bytes(labels[:10]) == bytes(range(10))
    assert list(images[0][:16]) == [0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0]
    # From scikit-learn: sum of all pixels, and how often each digit occurs.
    assert sum(map(sum, images)) == 561718
    assert [labels.count(digit) for digit in range(10)] == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def plain_neighbours(index, neighbours, count, left_out=()):
    """Return the label that a plain search gives: the twin of the fast one."""
    images, labels = load_digits()
    ranking = sorted(
        (sum((a - b) ** 2 for a, b in zip(images[index], images[other])), other)
        for other in range(count) if other != index and other not in left_out
    )[:neighbours]
    found = [labels[other] for _, other in ranking]
    return max(found, key=found.count)


@pytest.mark.parametrize("neighbours", [1, 3, 6])
def test_the_fast_search_finds_what_a_plain_one_finds(neighbours):
    rows = classify_digits(120, 160, neighbours=neighbours, limit=300, samples=1)
    half = {place for place in range(300) if left_out_lanes(300, 0) >> (16 * place) & 0xFFFF}
    assert 100 < len(half) < 200
    assert [row[0] for row in rows] == [plain_neighbours(index, neighbours, 300) for index in range(120, 160)]
    assert [row[1] for row in rows] == [plain_neighbours(index, neighbours, 300, half) for index in range(120, 160)]


def test_the_last_images_of_all_are_found_too():
    rows = classify_digits(1794, 1797, neighbours=3)
    assert [row[0] for row in rows] == [plain_neighbours(index, 3, 1797) for index in range(1794, 1797)]


def test_digits_in_pieces_are_the_whole():
    whole = run_locally("digits", {"limit": 240, "samples": 2})
    for target in (1, 7, 240):
        pieces, result = in_pieces("digits", {"limit": 240, "samples": 2}, target)
        assert pieces == target and result == whole
    assert whole["total"] == 240 and 225 <= whole["correct"] <= 240
    assert whole["accuracy"] == whole["correct"] / 240
    assert sum(map(sum, whole["confusion"])) == 240
    assert len(whole["accuracy_by_half"]) == 2 and all(0.8 < share < 1 for share in whole["accuracy_by_half"])


@pytest.mark.slow
def test_all_digits_by_three_neighbours():
    # 1777 of 1797 agrees with scikit-learn's KNeighborsClassifier(3), leaving one out, but for ties.
    assert run_locally("digits", {"samples": 0})["correct"] == 1777


@pytest.mark.against
def test_the_images_agree_with_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    bunch = datasets.load_digits()
    images, labels = load_digits()
    assert [list(image) for image in images] == bunch.data.astype(int).tolist()
    assert list(labels) == bunch.target.tolist()
