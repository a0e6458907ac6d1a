"""A tree becomes a vector and a tree again, whatever its leaves are."""

from array import array

import pytest

from discompute_lite.ml.vectors import VectorForm, fill_vector, rest_of, tree_of_vector, vector_form, with_rest
from discompute_lite.model.errors import TaskFailed

PLAIN = {"weights": [[1.0, 2.0], [3.0, 4.5]], "bias": array("f", [0.5]), "rate": 0.1, "epoch": 3, "name": "net",
         "seen": [1, 2]}


def there_and_back(tree):
    form = vector_form(tree)
    memory = bytearray(form.size)
    fill_vector(tree, form, memory)
    return form, tree_of_vector(tree, form, memory)


def test_numbers_lie_in_the_trees_order_and_what_has_no_mean_stays_out():
    form, back = there_and_back(PLAIN)
    assert form == VectorForm("d", 6)
    assert back == PLAIN
    assert type(back["bias"]) is array
    memory = bytearray(form.size)
    fill_vector(PLAIN, form, memory)
    assert array("d", bytes(memory)).tolist() == [1.0, 2.0, 3.0, 4.5, 0.5, 0.1]


def test_a_tree_of_float32_has_a_vector_of_float32():
    assert vector_form([array("f", [1.0]), {"n": 3}]) == VectorForm("f", 1)


@pytest.mark.parametrize("tree", [{"n": 3}, [], ["a", None]])
def test_what_has_no_numbers_has_no_vector(tree):
    assert vector_form(tree) is None


def test_complex_numbers_have_no_vector():
    numpy = pytest.importorskip("numpy")
    assert vector_form({"a": 1.0, "c": numpy.zeros(2, dtype="c16")}) is None


def test_what_is_not_averaged_travels_beside():
    other = {**PLAIN, "epoch": 9, "seen": [5, 6]}
    assert rest_of(other) == {"weights": None, "bias": None, "rate": None, "epoch": 9, "name": None, "seen": [5, 6]}
    assert with_rest(PLAIN, rest_of(other)) == other


@pytest.mark.parametrize("tree", [1.0, [[1.0], (2.0,)], {"name": "net", "mask": [True, False], "none": None}])
def test_where_all_is_averaged_nothing_travels_beside(tree):
    assert rest_of(tree) is None and with_rest(tree, None) is tree


def test_arrays_that_are_not_averaged_find_their_places_where_their_library_is_missing():
    numpy = pytest.importorskip("numpy")

    def with_numbers(table, epoch):
        return {"mask": numpy.array([True, False]), "table": numpy.array(table), "w": numpy.ones((2, 2)),
                "empty": numpy.zeros((0, 3), int), "pair": (1, numpy.array([2])), "epoch": epoch}

    here, there = with_numbers([[1, 2], [3, 4]], 5), with_numbers([[0, 0], [0, 0]], 0)

    def as_lists(tree):
        return {name: each.tolist() if hasattr(each, "tolist") else (1, [2]) if name == "pair" else each
                for name, each in tree.items()}

    sent = {name: each.tolist() if hasattr(each, "tolist") else each for name, each in rest_of(here).items()}
    assert with_rest(as_lists(there), {**sent, "pair": [1, [2]]}) == as_lists(here)
    back = with_rest(there, rest_of(as_lists(here)))
    assert as_lists(back) == as_lists(here)
    assert all(type(back[name]) is type(here[name]) for name in here)


@pytest.mark.parametrize("tree", [[[1.0]], [[1.0, 2.0, 3.0]]])
def test_a_tree_of_another_size_is_refused(tree):
    form = vector_form([[1.0, 2.0]])
    with pytest.raises(TaskFailed, match="keep the shapes"):
        fill_vector(tree, form, bytearray(form.size))


@pytest.mark.parametrize("library, make", [
    ("numpy", lambda lib: [lib.arange(6, dtype="f4").reshape(2, 3), lib.float32(0.25), lib.zeros((0, 2), "f4")]),
    ("numpy", lambda lib: [lib.arange(6, dtype="f8").reshape(2, 3).T, lib.arange(3, dtype="f2")]),
    ("torch", lambda lib: [lib.arange(6, dtype=lib.float32).reshape(2, 3), lib.ones(2, dtype=lib.bfloat16)]),
    ("torch", lambda lib: [lib.ones(3, dtype=lib.float64, requires_grad=True), lib.arange(3)]),
    ("mlx.core", lambda lib: [lib.ones((2, 2))]), ("tinygrad", lambda lib: [lib.Tensor.ones(2, 2)]),
    ("jax.numpy", lambda lib: [lib.ones((2, 3)), lib.ones(2, lib.bfloat16), lib.arange(3)]),
])
def test_arrays_of_libraries_come_back_as_they_were(library, make):
    lib = pytest.importorskip(library)
    tree = make(lib)
    _, back = there_and_back(tree)
    for leaf, other in zip(tree, back):
        assert type(other) is type(leaf) and other.dtype == leaf.dtype and other.shape == leaf.shape
        assert other.tolist() == leaf.tolist()


def test_torchs_float32_makes_a_float32_vector():
    torch = pytest.importorskip("torch")
    assert vector_form([torch.zeros(3)]).code == "f"
