"""Compute with state trees: any nesting of dict, list and tuple whose leaves are numbers and arrays.

Knows:   how trees of one structure are walked side by side, and where in a tree two of them differ.
Refuses: to average what has no mean: counters, text, None and flags stay as the first tree has them.
Read next: ml/arrays.py (the leaves), ml/optimizers.py, ml/strategies.py (who compute with trees).

    state = {"layers": [{"weights": [[0.5, 1.0], [2.0, 0.0]], "bias": [0.0, 0.0]}], "epoch": 3}

Where two trees differ, the error names the place as Python would: ``state['layers'][0]['bias']``.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, List, Sequence, Tuple

from ..model.errors import TaskFailed
from .arrays import Compute, LeafKind, leaf_kind

#: Computes the leaves at one place: ``compute(kind, leaves)``.
LeafCompute = Callable[[LeafKind, Sequence[Any]], Any]


def mean_tree(trees: Sequence[Any], weights: Sequence[float]) -> Any:
    """Return the mean of trees of one structure, weighted; in float64, and narrowed at the end.

    The weights are not negative, and of any sum but 0. Raises `TaskFailed` that names the place where two trees differ.
    """
    total = check_seen(weights)
    shares = [weight / total for weight in weights]

    def mean(kind: LeafKind, leaves: Sequence[Any]) -> Any:
        return kind.mean(leaves, shares) if kind.is_averaged(leaves[0]) else leaves[0]

    return walk_trees(mean, trees)


def check_seen(samples: Sequence[float]) -> float:
    """Return how many samples have been seen together; raise `TaskFailed` where there was none."""
    total = sum(samples)
    if not total:
        raise TaskFailed("no step of this round saw a sample; does the job's `load` return data?")
    return total


def each_leaf(compute: Compute, *trees: Any) -> Any:
    """Return a tree of ``compute(root, *items)`` for the items of the leaves; counters stay as the first has them."""

    def computed(kind: LeafKind, leaves: Sequence[Any]) -> Any:
        return kind.each(compute, leaves) if kind.is_averaged(leaves[0]) else leaves[0]

    return walk_trees(computed, trees)


def taken_tree(template: Any, tree: Any) -> Any:
    """Return a tree that came from another device with leaves of the template's kinds, checked for shape.

    A device without a library sends lists where the template has arrays: they become arrays here.
    """
    return _walk(lambda kind, leaves: kind.taken(*leaves), [template, tree], "state", is_strict=False)


def bare_tree(tree: Any) -> Any:
    """Return a tree that can travel: its arrays without what they were computed from, parameters as plain arrays."""
    return walk_trees(lambda kind, leaves: kind.bare(leaves[0]), [tree])


def tree_size(tree: Any) -> int:
    """Return how many numbers a tree holds."""
    sizes: List[int] = []

    def count(kind: LeafKind, leaves: Sequence[Any]) -> Any:
        size = 1
        for length in kind.shape(leaves[0]):
            size *= length
        sizes.append(size)
        return leaves[0]

    walk_trees(count, [tree])
    return sum(sizes)


def lost_place(begun: Any, tree: Any) -> str:
    """Return the first place where a tree holds no number, or an infinite one, and `begun`, of the same structure, did
    not; "" where there is none.

    What began so is meant: a mask, or the best loss so far.
    """
    pairs = zip(_leaves(begun, "state"), _leaves(tree, "state"))
    return next((place for (_, _, first), (place, kind, leaf) in pairs
                 if kind.is_averaged(leaf) and not kind.is_finite(leaf) and kind.is_finite(first)), "")


def leaf_kinds(tree: Any) -> List[str]:
    """Return the names of the kinds of leaves in a tree, each once, in the order of the tree."""
    names: List[str] = []

    def name(kind: LeafKind, leaves: Sequence[Any]) -> Any:
        names.append(kind.name)
        return leaves[0]

    walk_trees(name, [tree])
    return list(dict.fromkeys(names))


def walk_trees(compute: LeafCompute, trees: Sequence[Any], root: str = "state") -> Any:
    """Return a tree of what `compute` returns for the leaves at each place of trees of one structure.

    Raises `TaskFailed` that names the place where two trees differ in structure, kind or shape.
    """
    return _walk(compute, trees, root, is_strict=True)


def _walk(compute: LeafCompute, trees: Sequence[Any], place: str, is_strict: bool) -> Any:
    first, *others = trees
    if isinstance(first, dict):
        if any(not isinstance(each, dict) or each.keys() != first.keys() for each in others):
            raise TaskFailed(f"{place} has not the same keys on all devices; "
                             "a step must keep the structure of its state")
        return {key: _walk(compute, [each[key] for each in trees], f"{place}[{key!r}]", is_strict) for key in first}
    kind = leaf_kind(first)
    if kind is None and isinstance(first, (list, tuple)):
        for each in others:
            if not isinstance(each, (list, tuple)) or len(each) != len(first):
                raise TaskFailed(f"{place} has {len(first)} parts on one device and {_outline(each)} on another; "
                                 "a step must keep the structure of its state")
        items = [_walk(compute, parts, f"{place}[{index}]", is_strict) for index, parts in enumerate(zip(*trees))]
        return made_like(first, items)
    if kind is None:
        # Text, None, flags: nothing to compute.
        return first
    shape = kind.shape(first)
    for each in others:
        other = leaf_kind(each)
        if is_strict and (other is not kind or kind.shape(each) != shape):
            raise TaskFailed(f"{place} is {kind.name} of shape {shape} on one device and {_outline(each)} on another; "
                             "a step must keep the shapes of its state")
        if not is_strict and _told_by_lists(_lengths(each)) != _told_by_lists(shape):
            raise TaskFailed(f"{place} has shape {shape} here and {_outline(each)} came back; a step must keep the "
                             "shapes of its state")
    return compute(kind, trees)


def _leaves(tree: Any, place: str) -> Iterator[Tuple[str, LeafKind, Any]]:
    """Yield each leaf with its place and kind."""
    kind = leaf_kind(tree)
    if kind is not None:
        yield place, kind, tree
    elif isinstance(tree, dict):
        for key, each in tree.items():
            yield from _leaves(each, f"{place}[{key!r}]")
    elif isinstance(tree, (list, tuple)):
        for index, each in enumerate(tree):
            yield from _leaves(each, f"{place}[{index}]")


def made_like(first: Any, items: List[Any]) -> Any:
    """Return items in a list or tuple of the kind of the first."""
    if isinstance(first, list):
        return items
    return type(first)._make(items) if hasattr(first, "_make") else tuple(items)


def _told_by_lists(shape: Tuple[int, ...]) -> Tuple[int, ...]:
    """Return as much of a shape as nested lists have: of what is empty nothing is further inside."""
    return shape[:shape.index(0) + 1] if 0 in shape else shape


def _lengths(value: Any) -> Tuple[int, ...]:
    """Return the shape of a leaf, or of nested lists, which stand for an array where its library is missing."""
    kind = leaf_kind(value)
    if kind is not None:
        return kind.shape(value)
    if isinstance(value, list) and value:
        return (len(value), *_lengths(value[0]))
    return (0,) if isinstance(value, list) else () if isinstance(value, bool) else (-1,)


def _outline(value: Any) -> str:
    kind = leaf_kind(value)
    if kind is not None:
        return f"{kind.name} of shape {kind.shape(value)}"
    return f"{len(value)} parts" if isinstance(value, (list, tuple, dict)) else type(value).__name__
