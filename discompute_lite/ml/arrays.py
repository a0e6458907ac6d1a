"""Know the leaves of a state tree: numbers, lists of numbers, `array.array`, and the arrays of the usual libraries.

Knows:   each kind's arithmetic; libraries are recognised by the module of a value's type, never by importing them.
Refuses: to change a leaf: what is computed is new.
Read next: ml/trees.py (nestings of leaves).

To add a library, add a row to `LIBRARY_KINDS`. Arithmetic is written once, as a function of numbers with + - * / and
the root it is given; a list applies it item by item, a library's array as a whole:

    adam = lambda root, x, m, v: x - 0.001 * m / (root(v) + 1e-8)
    leaf_kind(x).each(adam, [x, m, v])
"""

from __future__ import annotations

import math
from array import array
from importlib import import_module
from operator import mul
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

#: A computation on numbers or arrays alike: its first argument is the square root for them.
Compute = Callable[..., Any]


class LeafKind:
    """Compute with one kind of leaf. This one is for single numbers."""

    name = "number"

    def shape(self, leaf: Any) -> Tuple[int, ...]:
        """Return the lengths of a leaf's dimensions."""
        return ()

    def is_averaged(self, leaf: Any) -> bool:
        """Whether the mean of several means something: not of counters, nor of what is true or false."""
        return isinstance(leaf, float)

    def each(self, compute: Compute, leaves: Sequence[Any]) -> Any:
        """Return ``compute(root, *leaves)`` for each item of leaves of one shape."""
        return compute(math.sqrt, *leaves)

    def mean(self, leaves: Sequence[Any], weights: Sequence[float]) -> Any:
        """Return the sum of leaves times weights, in float64; the weights are those of a mean, so their sum is 1.

        Python's own numbers are summed exactly and rounded once, so the order of the leaves does not matter and every
        version of Python gives the same bits.
        """
        return math.fsum(map(mul, leaves, weights))

    def taken(self, template: Any, leaf: Any) -> Any:
        """Return what came from another device as a leaf of the template's kind; raise TypeError or ValueError."""
        return type(template)(leaf)

    def bare(self, leaf: Any) -> Any:
        """Return a leaf without what it was computed from; a network's parameter as a plain array."""
        return leaf

    def numbers(self, leaf: Any) -> List[float]:
        """Return a leaf's items in one list, row by row."""
        return [leaf]

    def is_finite(self, leaf: Any) -> bool:
        """Whether all items are numbers, and none infinite."""
        return math.isfinite(leaf)


class ListKind(LeafKind):
    """Compute with lists of numbers."""

    name = "list"

    def shape(self, leaf: Any) -> Tuple[int, ...]:
        return (len(leaf),)

    def is_averaged(self, leaf: Any) -> bool:
        return any(type(item) is float for item in leaf)

    def each(self, compute: Compute, leaves: Sequence[Any]) -> Any:
        return self._made(leaves[0], [compute(math.sqrt, *items) for items in zip(*leaves)])

    def mean(self, leaves: Sequence[Any], weights: Sequence[float]) -> Any:
        return self._made(leaves[0], [math.fsum(map(mul, items, weights)) for items in zip(*leaves)])

    def taken(self, template: Any, leaf: Any) -> Any:
        return self._made(template, plain_numbers(leaf))

    def numbers(self, leaf: Any) -> List[float]:
        return list(leaf)

    def is_finite(self, leaf: Any) -> bool:
        return all(map(math.isfinite, leaf))

    def _made(self, like: Any, items: List[Any]) -> Any:
        return list(items)


class ArrayKind(ListKind):
    """Compute with `array.array`."""

    name = "array"

    def is_averaged(self, leaf: Any) -> bool:
        return leaf.typecode in "fd"

    def _made(self, like: Any, items: List[Any]) -> Any:
        return array(like.typecode, items)


class LibraryKind(LeafKind):
    """Compute with the arrays of one library, by their own operators."""

    def __init__(
        self, name: str, module: str, wide: Callable[[Any, Any], Any], narrow: Callable[[Any, Any, Any], Any],
        made: Callable[[Any, Any, List[float]], Any], type_name: Callable[[Any], str] = lambda leaf: str(leaf.dtype),
    ) -> None:
        """`wide(library, leaf)` has float64 items where the library can; `narrow(library, wide, like)` has the items
        of `like` again; `made(library, like, numbers)` is an array of the shape and items of `like`."""
        self.name, self._module = name, module
        self._wide, self._narrow, self._made, self._type_name = wide, narrow, made, type_name

    def shape(self, leaf: Any) -> Tuple[int, ...]:
        return tuple(leaf.shape)

    def is_averaged(self, leaf: Any) -> bool:
        return any(word in self._type_name(leaf) for word in ("float", "half", "double", "bf16", "complex"))

    def each(self, compute: Compute, leaves: Sequence[Any]) -> Any:
        bare = [*map(self.bare, leaves)]
        return self._narrow(self._library(), compute(_root_of_array, *bare), bare[0])

    def mean(self, leaves: Sequence[Any], weights: Sequence[float]) -> Any:
        library = self._library()
        total = self._wide(library, leaves[0]) * weights[0]
        for leaf, weight in zip(leaves[1:], weights[1:]):
            total = total + self._wide(library, leaf) * weight
        return self._narrow(library, total, leaves[0])

    def taken(self, template: Any, leaf: Any) -> Any:
        if type(leaf) is type(template) and self._type_name(leaf) == self._type_name(template):
            return leaf
        return self._made(self._library(), template, plain_numbers(leaf))

    def bare(self, leaf: Any) -> Any:
        return leaf.detach() if hasattr(leaf, "detach") else leaf

    def numbers(self, leaf: Any) -> List[float]:
        return plain_numbers(leaf.tolist())

    def is_finite(self, leaf: Any) -> bool:
        # tinygrad has it as a method alone, NumPy as a function alone.
        flags = leaf.isfinite() if hasattr(leaf, "isfinite") else self._library().isfinite(leaf)
        return bool(flags.all().item())

    def of_memory(self, like: Any, numbers: Any) -> Any:
        """Return an array like another with the numbers of an `array.array` or a flat NumPy array, in whose memory it
        lies where the library can."""
        plain = numbers.tolist() if isinstance(numbers, array) else numbers
        return self._made(self._library(), like, plain)

    def _library(self) -> Any:
        # It is there: a value of its own is in our hands.
        return import_module(self._module)


def _root_of_array(values: Any) -> Any:
    return values ** 0.5


def _with_numpy_items(numpy: Any, like: Any, numbers: List[float]) -> Any:
    # Of no dimensions it is one of NumPy's numbers, or an array of one, as that was.
    made = numpy.asarray(numbers, dtype=like.dtype).reshape(like.shape)
    return made if isinstance(like, numpy.ndarray) else made[()]


def _with_torch_items(torch: Any, like: Any, numbers: List[float]) -> Any:
    return torch.as_tensor(numbers, dtype=like.dtype).reshape(like.shape)


#: The libraries whose arrays can be leaves, by the first word of their types' module.
LIBRARY_KINDS: Dict[str, LibraryKind] = {
    "numpy": LibraryKind(
        "NumPy", "numpy", lambda numpy, leaf: leaf.astype(numpy.result_type(leaf, numpy.float64)),
        lambda numpy, wide, like: numpy.asarray(wide).astype(like.dtype)[()], _with_numpy_items),
    "torch": LibraryKind(
        "PyTorch", "torch", lambda torch, leaf: leaf.detach().to(torch.promote_types(leaf.dtype, torch.float64)),
        lambda torch, wide, like: wide.to(like.dtype), _with_torch_items),
    # Neither has float64 on the devices that it is chosen for.
    "mlx": LibraryKind(
        "MLX", "mlx.core", lambda mlx, leaf: leaf, lambda mlx, wide, like: wide.astype(like.dtype),
        lambda mlx, like, numbers: mlx.array(numbers).astype(like.dtype).reshape(like.shape)),
    "tinygrad": LibraryKind(
        "tinygrad", "tinygrad", lambda tinygrad, leaf: leaf, lambda tinygrad, wide, like: wide.cast(like.dtype),
        lambda tinygrad, like, numbers: tinygrad.Tensor(numbers, dtype=like.dtype).reshape(like.shape)),
    "jax": LibraryKind(
        "JAX", "jax.numpy", lambda jax, leaf: leaf, lambda jax, wide, like: wide.astype(like.dtype),
        lambda jax, like, numbers: jax.array(numbers, dtype=like.dtype).reshape(like.shape)),
}
LIBRARY_KINDS["jaxlib"] = LIBRARY_KINDS["jax"]
_NUMBER, _LIST, _ARRAY = LeafKind(), ListKind(), ArrayKind()


def leaf_kind(value: Any) -> Optional[LeafKind]:
    """Return how to compute with a leaf, None for what is no numbers: text, None, a container."""
    kind = type(value)
    if kind in (float, int):
        return _NUMBER
    if kind is array:
        return _ARRAY
    if kind is list:
        # A list of lists is a container, and a mixed one a container of single leaves.
        return _LIST if value and set(map(type, value)) <= {float, int} else None
    library = LIBRARY_KINDS.get(kind.__module__.partition(".")[0])
    return library if library is not None and hasattr(value, "shape") else None


def plain_numbers(values: Any) -> List[float]:
    """Return the numbers of nested lists or of any leaf, row by row."""
    if isinstance(values, (list, tuple)):
        return [number for each in values for number in plain_numbers(each)]
    if isinstance(values, bool):
        return [values]  # Of an array of flags.
    kind = leaf_kind(values)
    if kind is None:
        raise TypeError(f"{type(values).__name__} holds no numbers")
    return kind.numbers(values)
