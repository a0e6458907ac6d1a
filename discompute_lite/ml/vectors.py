"""Lay the numbers of a state tree side by side in one piece of memory, and make a tree of them again.

Knows:   which leaves are averaged, in which order they lie, and how each kind gets into memory and out of it.
Refuses: to send anything (roles/vectors.py does) and to add anything up (ml/sums.py does).
Read next: ml/arrays.py (the leaves), ml/sums.py.

    {"bias": [1.0, 2.0], "epoch": 3, "weights": array("d", [4.0])}      a tree
    1.0 2.0 4.0                                                         its vector: what has a mean, in the tree's order
    {"bias": None, "epoch": 3, "weights": None}                         its rest: what has none

A vector is of float32 ("f") where no leaf has more, else of float64 ("d"), in this machine's byte order; all machines
that run Python today are little-endian, and one that is not takes no part in averaging between devices.
"""

from __future__ import annotations

from array import array
from operator import sub
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

from ..model.errors import TaskFailed
from ..tasks.value_buffers import optional_module
from .arrays import LeafKind, LibraryKind, leaf_kind, plain_numbers
from .trees import made_like, walk_trees

#: Names of item types that float32 holds: those with 16 or 32 bits, by the end of their names in all libraries.
_NARROW_TYPES = ("float32", "float16", "bfloat16", "dtypes.float", "dtypes.half")
#: Numbers that are subtracted at once where NumPy is missing: so much memory is used for them.
_AT_ONCE = 65536


class VectorForm(NamedTuple):
    """Describe a vector: the type of its numbers, "f" or "d", and how many there are."""

    code: str
    numbers: int

    @property
    def item_bytes(self) -> int:
        """Return the bytes of a number."""
        return 4 if self.code == "f" else 8

    @property
    def size(self) -> int:
        """Return the bytes of the vector."""
        return self.numbers * self.item_bytes


def vector_form(tree: Any) -> Optional[VectorForm]:
    """Return the form of a tree's vector, None where it has none: no numbers, or complex ones."""
    count, codes = 0, set()
    for kind, leaf in _averaged_leaves(tree):
        count += _length(kind.shape(leaf))
        codes.add(_code_of(leaf))
    return None if not count or "" in codes else VectorForm("f" if codes == {"f"} else "d", count)


def fill_vector(tree: Any, form: VectorForm, memory: Any) -> None:
    """Write the numbers of a tree into memory of `form.size` bytes; raise `TaskFailed` where they do not fit."""
    view, place = _as_numbers(memory, form), 0
    for kind, leaf in _averaged_leaves(tree):
        length = _length(kind.shape(leaf))
        if place + length > form.numbers:
            break
        view[place:place + length] = memoryview(_numbers_of(kind, leaf, form.code))
        place += length
    if place != form.numbers or sum(_length(kind.shape(leaf)) for kind, leaf in _averaged_leaves(tree)) != place:
        raise TaskFailed("a step gave back more or fewer numbers than its state has; a step must keep the shapes of "
                         "its state")


def subtract_vector(form: VectorForm, memory: Any, other: Any) -> None:
    """Subtract one vector from another, in place."""
    numpy = optional_module("numpy")
    if numpy is not None:
        view = numpy.frombuffer(memory, dtype=form.code)
        numpy.subtract(view, numpy.frombuffer(other, dtype=form.code), out=view)
        return
    plain, others = _as_numbers(memory, form), _as_numbers(other, form)
    for start in range(0, form.numbers, _AT_ONCE):
        place = slice(start, start + _AT_ONCE)
        plain[place] = memoryview(array(form.code, map(sub, plain[place], others[place])))


def tree_of_vector(template: Any, form: VectorForm, memory: Any) -> Any:
    """Return a tree like the template with a vector's numbers; what is not averaged is the template's.

    Arrays of libraries lie in the memory itself where NumPy is there: it is to be the tree's alone, and writable.
    """
    view, place = _as_numbers(memory, form), 0

    def taken(kind: LeafKind, leaves: Sequence[Any]) -> Any:
        nonlocal place
        leaf = leaves[0]
        if not kind.is_averaged(leaf):
            return leaf
        length = _length(kind.shape(leaf))
        numbers, place = view[place:place + length], place + length
        return _leaf_of(kind, leaf, numbers, form.code)

    return walk_trees(taken, [template])


def rest_of(tree: Any) -> Any:
    """Return a tree of the leaves that are not averaged, with None for all else; None where there are none.

    It has the tree's structure, since what is one array here is nested lists where its library is missing.
    """
    kind = leaf_kind(tree)
    if kind is not None:
        return None if kind.is_averaged(tree) else tree
    if isinstance(tree, dict):
        rest: Any = {key: rest_of(each) for key, each in tree.items()}
        return rest if any(each is not None for each in rest.values()) else None
    rest = [rest_of(each) for each in tree] if isinstance(tree, (list, tuple)) else []
    return rest if any(each is not None for each in rest) else None


def with_rest(tree: Any, rest: Any) -> Any:
    """Return the tree with the leaves of a rest in place of those that are not averaged."""
    kind = leaf_kind(tree)
    if rest is None or kind is not None:
        return tree if kind is None or rest is None or kind.is_averaged(tree) else kind.taken(tree, rest)
    if isinstance(tree, dict):
        return {key: with_rest(each, rest[key]) for key, each in tree.items()}
    return made_like(tree, [*map(with_rest, tree, rest)]) if isinstance(tree, (list, tuple)) else tree


def _as_numbers(memory: Any, form: VectorForm) -> Any:
    view: Any = memoryview(memory).cast("B")
    return view.cast(form.code)


def _averaged_leaves(tree: Any) -> List[Tuple[LeafKind, Any]]:
    found: List[Tuple[LeafKind, Any]] = []

    def take(kind: LeafKind, leaves: Sequence[Any]) -> Any:
        if kind.is_averaged(leaves[0]):
            found.append((kind, leaves[0]))
        return leaves[0]

    walk_trees(take, [tree])
    return found


def _length(shape: Sequence[int]) -> int:
    length = 1
    for each in shape:
        length *= each
    return length


def _code_of(leaf: Any) -> str:
    if isinstance(leaf, array):
        return leaf.typecode
    name = str(getattr(leaf, "dtype", "float64"))
    if "complex" in name:
        return ""
    return "f" if name.endswith(_NARROW_TYPES) else "d"


def _numbers_of(kind: LeafKind, leaf: Any, code: str) -> Any:
    """Return a leaf's numbers as something whose memory holds them: without a copy of Python's numbers where it can."""
    if isinstance(leaf, array) and leaf.typecode == code:
        return leaf
    numpy = optional_module("numpy") if isinstance(kind, LibraryKind) else None
    if numpy is not None:
        bare = kind.bare(leaf)
        bare = bare.cpu() if hasattr(bare, "cpu") else bare
        try:
            return numpy.ascontiguousarray(numpy.asarray(bare), dtype=numpy.dtype(code)).reshape(-1)
        except (TypeError, ValueError, RuntimeError):
            pass  # A type that NumPy has not, such as bfloat16.
    return array(code, plain_numbers(leaf))


def _leaf_of(kind: LeafKind, leaf: Any, numbers: Any, code: str) -> Any:
    numpy = optional_module("numpy") if isinstance(kind, LibraryKind) else None
    if numpy is not None:
        return kind.of_memory(leaf, numpy.frombuffer(numbers, dtype=code))  # type: ignore[attr-defined]
    values: Any = array(code)
    values.frombytes(numbers.cast("B"))
    if isinstance(kind, LibraryKind):
        return kind.of_memory(leaf, values)
    return values[0] if type(leaf) is float else kind.taken(leaf, values)
