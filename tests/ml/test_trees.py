"""State trees of every kind of leaf: means, arithmetic item by item, and where two trees differ."""

import math
from array import array
from collections import namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.ml.arrays import LIBRARY_KINDS, leaf_kind, plain_numbers
from discompute_lite.ml.trees import each_leaf, leaf_kinds, lost_place, mean_tree, taken_tree, tree_size
from discompute_lite.model.errors import TaskFailed
from discompute_lite.tasks.value_buffers import optional_module
from discompute_lite.tasks.values import dump_value, load_value

Pair = namedtuple("Pair", "left right")
#: Without the very smallest, of which there is no half.
FLOATS = st.floats(-1e6, 1e6, allow_subnormal=False)


def leaves_of_every_kind(values):
    """Yield (library, leaf) for these numbers, where the library is installed."""
    yield "", list(values)
    yield "", array("d", values)
    yield "", array("f", values)
    for name, wanted in (("numpy", "array"), ("torch", "tensor"), ("jax.numpy", "array")):
        module = optional_module(name)
        if module is not None:
            yield name, getattr(module, wanted)(values)


@pytest.mark.parametrize("module, leaf", list(leaves_of_every_kind([1.0, 2.0, 6.0])))
def test_arithmetic_is_the_same_for_all_kinds(module, leaf):
    other = each_leaf(lambda root, x: x * 3 + 1, leaf)
    assert type(other) is type(leaf)
    assert plain_numbers(other) == pytest.approx([4.0, 7.0, 19.0])
    mean = mean_tree([leaf, other], [1, 3])
    assert type(mean) is type(leaf)
    assert plain_numbers(mean) == pytest.approx([3.25, 5.75, 15.75])
    assert plain_numbers(each_leaf(lambda root, x: root(x * x), leaf)) == pytest.approx([1.0, 2.0, 6.0])


@pytest.mark.parametrize("module, leaf", list(leaves_of_every_kind([1.0, 2.0, 6.0])))
def test_a_leaf_that_came_as_lists_becomes_what_it_was(module, leaf):
    state = {"layers": [leaf, (leaf, 2.5)], "names": ["a", None], "steps": 3}
    lists = {"layers": [[1.0, 2.0, 6.0], [[1.0, 2.0, 6.0], 2.5]], "names": ["a", None], "steps": 3}
    taken = taken_tree(state, lists)
    assert type(taken["layers"][0]) is type(leaf)
    assert type(taken["layers"][1]) is tuple
    assert plain_numbers(taken["layers"][0]) == [1.0, 2.0, 6.0]


@pytest.mark.parametrize("shape, kind", [((2, 2), "?"), ((3,), "?"), ((), "?"), ((0, 3), "f4"), ((3, 0), "i8")])
def test_flags_and_what_is_empty_come_back_as_lists_too(shape, kind):
    numpy = pytest.importorskip("numpy")
    array = numpy.ones(shape, kind)
    taken, = taken_tree([array], [array.tolist()])
    assert (taken.dtype, taken.shape) == (array.dtype, shape) and taken.all()


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("module, leaf", list(leaves_of_every_kind([1.0, 2.0, 6.0])))
def test_where_a_state_has_become_no_number_is_named(module, leaf, odd):
    begun = {"best": math.inf, "mask": [-math.inf, 0.0], "layers": [{"bias": 0.5}, {"weights": leaf}], "steps": 3}
    lost = taken_tree(leaf, [1.0, odd, 6.0])
    assert lost_place(begun, {**begun, "best": 0.5, "mask": [0.0, 0.0]}) == ""
    assert lost_place(begun, {**begun, "layers": [{"bias": 0.5}, {"weights": lost}]}) == "state['layers'][1]['weights']"
    assert lost_place(begun, {**begun, "layers": [{"bias": odd}, {"weights": lost}]}) == "state['layers'][0]['bias']"
    assert lost_place({"weights": lost}, {"weights": lost}) == ""


@pytest.mark.parametrize("name", ["mlx.core", "tinygrad"])
def test_arrays_of_other_libraries_are_looked_through_too(name):
    library = pytest.importorskip(name)
    make = library.array if name == "mlx.core" else library.Tensor
    assert lost_place([make([1.0, 2.0])], [make([1.0, 3.0])]) == ""
    assert lost_place([make([1.0, 2.0])], [make([1.0, math.nan])]) == "state[0]"


@pytest.mark.parametrize("name", sorted(LIBRARY_KINDS))
def test_a_library_is_known_without_being_imported(name):
    leaf = type("Tensor", (), {"shape": (2, 3), "dtype": "float32"})
    leaf.__module__ = f"{name}.core"
    kind = leaf_kind(leaf())
    assert kind is LIBRARY_KINDS[name]
    assert kind.shape(leaf()) == (2, 3)
    assert kind.is_averaged(leaf())


def test_what_has_no_shape_is_no_leaf_of_a_library():
    thing = type("Dtype", (), {})
    thing.__module__ = "numpy"
    assert leaf_kind(thing()) is None


def test_matrices_of_numpy_keep_shape_and_type():
    numpy = pytest.importorskip("numpy")
    matrix = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
    mean = mean_tree([matrix, matrix * 3], [1, 1])
    assert mean.shape == (2, 3)
    assert mean.dtype == numpy.float32
    assert (mean == matrix * 2).all()
    assert (taken_tree(matrix, matrix.tolist()) == matrix).all()


def test_sums_of_small_floats_are_made_in_float64():
    numpy = pytest.importorskip("numpy")
    ones = numpy.ones(1, dtype=numpy.float16)
    # In float16 the sum of 4,096 ones stops at 2,048.
    assert mean_tree([ones] * 4096, [1] * 4096)[0] == 1.0


def test_a_parameter_of_torch_is_averaged_without_its_history():
    torch = pytest.importorskip("torch")
    weight = torch.nn.Parameter(torch.tensor([1.0, 3.0]))
    mean = mean_tree([weight, (weight * 2).detach()], [1, 1])
    assert mean.tolist() == [1.5, 4.5]
    assert not mean.requires_grad
    assert not each_leaf(lambda root, x: x + 1, weight).requires_grad


def test_counters_text_and_flags_stay_as_they_are():
    first = {"steps": 3, "name": "a", "on": True, "none": None, "ints": [1, 2], "x": 1.0}
    second = {"steps": 5, "name": "b", "on": False, "none": None, "ints": [3, 4], "x": 2.0}
    assert mean_tree([first, second], [1, 1]) == {**first, "x": 1.5}


def test_containers_keep_their_kind():
    tree = {"a": Pair(1.0, (2.0, [[3.0], [4.0]])), 5: []}
    doubled = each_leaf(lambda root, x: 2 * x, tree)
    assert doubled == {"a": Pair(2.0, (4.0, [[6.0], [8.0]])), 5: []}
    assert type(doubled["a"]) is Pair
    assert tree_size(tree) == 4
    assert leaf_kinds(tree) == ["number", "list"]


@pytest.mark.parametrize("other, place", [
    ({"a": [1.0, 2.0]}, "state has not the same keys"),
    ({"a": [1.0, 2.0], "b": [(1.0,), [1.0, 2.0]], "c": 1}, "state has not the same keys"),
    ({"a": [1.0, 2.0, 3.0], "b": [(1.0,), [1.0]]}, "state['a'] is list of shape (2,)"),
    ({"a": [1.0, 2.0], "b": [(1.0,), [1.0, 2.0]]}, "state['b'][1]"),
    ({"a": [1.0, 2.0], "b": [(1.0, 2.0), [1.0]]}, "state['b'][0]"),
    ({"a": "text", "b": [(1.0,), [1.0]]}, "state['a']"),
    ([1.0], "state has not the same keys"),
])
def test_where_trees_differ_is_named(other, place):
    tree = {"a": [1.0, 2.0], "b": [(1.0,), [1.0]]}
    with pytest.raises(TaskFailed) as caught:
        mean_tree([tree, other], [1, 1])
    assert place in caught.value.message
    with pytest.raises(TaskFailed):
        taken_tree(tree, other)


@given(st.lists(st.tuples(FLOATS, st.integers(1, 1000)), min_size=1, max_size=9), st.randoms())
def test_the_mean_of_plain_numbers_does_not_depend_on_the_order(pairs, rng):
    mixed = list(pairs)
    rng.shuffle(mixed)
    first, second = ([mean_tree([[value] for value, _ in each], [weight for _, weight in each]) for each in
                      (pairs, mixed)])
    assert first == second
    exact = math.fsum(value * weight for value, weight in pairs) / sum(weight for _, weight in pairs)
    assert first[0] == pytest.approx(exact, rel=1e-9, abs=1e-6)


@given(st.recursive(FLOATS | st.lists(FLOATS, min_size=1, max_size=4) | st.text(max_size=3) | st.none(),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
                    max_leaves=12))
def test_a_tree_survives_the_way_and_its_mean_with_itself(tree):
    came = load_value(dump_value(tree))
    assert taken_tree(tree, came) == tree
    assert mean_tree([tree, came], [1, 1]) == tree
