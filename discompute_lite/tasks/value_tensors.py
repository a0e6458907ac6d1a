"""Take apart tensors of torch, mlx, tinygrad and jax, and make them again with the same library, where there is one.

Knows:   their item types by name; the form is that of NumPy's arrays: item type, shape, items row by row.
Refuses: to import any of them but to make one of its own tensors; what no other device could read (ValueError).
Read next: tasks/value_buffers.py (arrays, which these become where the library is missing).

A tensor comes from whichever device memory it is in, and arrives in that which the library uses by default. Where the
library is missing it becomes a NumPy array, and nested lists where that is missing too.
"""

from __future__ import annotations

import struct
import sys
from importlib import import_module
from typing import Any, Callable, List

from .value_buffers import optional_module, unpack_ndarray

#: Item types by the names that the libraries share, as NumPy writes them; tinygrad's own names come last.
ITEM_TYPES = {
    "bool": "|b1", "int8": "|i1", "uint8": "|u1", "int16": "<i2", "uint16": "<u2", "int32": "<i4", "uint32": "<u4",
    "int64": "<i8", "uint64": "<u8", "float16": "<f2", "float32": "<f4", "float64": "<f8", "complex64": "<c8",
    "complex128": "<c16",
    # Half of a float32, which NumPy does not have.
    "bfloat16": "bfloat16",
}
_TINYGRAD_NAMES = {
    "char": "int8", "unsigned char": "uint8", "short": "int16", "unsigned short": "uint16", "int": "int32",
    "unsigned int": "uint32", "long": "int64", "unsigned long": "uint64", "half": "float16", "float": "float32",
    "double": "float64", "__bf16": "bfloat16",
}
_NAMES = {text: name for name, text in ITEM_TYPES.items()}


def pack_torch(value: Any) -> List[Any]:
    """Return item type, shape, items and whether it asks for gradients; what it was computed from stays here."""
    if str(value.layout) != "torch.strided" or value.is_quantized:
        raise ValueError("it is sparse or quantized: send its parts, or .to_dense()")
    kind = _item_type(str(value.dtype).rpartition(".")[2])
    here = value.detach().resolve_conj().resolve_neg().cpu().contiguous()
    size = here.element_size() * here.numel()
    data = import_module("ctypes").string_at(here.data_ptr(), size) if size else b""
    return [kind, list(value.shape), _little_endian_only(data), bool(value.requires_grad)]


def unpack_torch(content: List[Any]) -> Any:
    """Rebuild a tensor in the processor's memory."""
    *array, is_trained = content

    def make(torch: Any, name: str, shape: List[int], data: bytearray) -> Any:
        kind = getattr(torch, name)
        flat = torch.frombuffer(data, dtype=kind) if data else torch.empty(0, dtype=kind)
        return flat.reshape(shape).requires_grad_(is_trained is True)

    return _made_with("torch", make, array)


def pack_mlx(value: Any) -> List[Any]:
    """Return item type, shape and items."""
    name = str(value.dtype).rpartition(".")[2]
    core = sys.modules["mlx.core"]
    # What has no buffer of its own type is read as the integers of its size.
    seen = value.view(core.uint16) if name == "bfloat16" else value
    return [_item_type(name), list(value.shape), _little_endian_only(memoryview(seen).tobytes())]


def unpack_mlx(content: List[Any]) -> Any:
    """Rebuild an array in mlx's default memory."""

    def make(core: Any, name: str, shape: List[int], data: bytearray) -> Any:
        kind = core.bool_ if name == "bool" else getattr(core, name)
        return core.array(memoryview(data)).view(kind).reshape(shape)

    return _made_with("mlx.core", make, content)


def pack_tinygrad(value: Any) -> List[Any]:
    """Return item type, shape and items; a tensor that waits to be computed is computed now."""
    name = str(value.dtype.name)
    return [_item_type(_TINYGRAD_NAMES.get(name, name)), list(value.shape),
            _little_endian_only(value.contiguous().data().tobytes())]


def unpack_tinygrad(content: List[Any]) -> Any:
    """Rebuild a tensor on tinygrad's default device."""

    def make(tinygrad: Any, name: str, shape: List[int], data: bytearray) -> Any:
        kind = getattr(tinygrad.dtypes, name)
        return tinygrad.Tensor(bytes(data), dtype=kind).reshape(*shape)

    return _made_with("tinygrad", make, content)


def pack_jax(value: Any) -> List[Any]:
    """Return item type, shape and items."""
    kind = _item_type(str(value.dtype))
    # NumPy is there: jax is made of it.
    return [kind, list(value.shape), _little_endian_only(import_module("numpy").asarray(value).tobytes())]


def unpack_jax(content: List[Any]) -> Any:
    """Rebuild an array on jax's default device; a NumPy array where jax would make its items narrower."""

    def make(jax: Any, name: str, shape: List[int], data: bytearray) -> Any:
        array = import_module("numpy").ndarray(tuple(shape), jax.dtype(name), data)
        # Unless it was told otherwise, jax makes 32 bits of 64.
        return jax.asarray(array) if jax.zeros(0, array.dtype).dtype == array.dtype else array

    return _made_with("jax.numpy", make, content)


def _item_type(name: str) -> str:
    try:
        return ITEM_TYPES[name]
    except KeyError:
        raise ValueError(f"it holds {name} items: convert them to a usual type, such as float32") from None


def _little_endian_only(data: bytes) -> bytes:
    if sys.byteorder != "little":
        raise ValueError("this machine is big-endian: send it as a NumPy array")
    return data


def _made_with(library: str, make: Callable[[Any, str, List[int], bytearray], Any], content: List[Any]) -> Any:
    """Return the tensor that `make` makes, or an array or lists where the library is missing."""
    kind, shape, data = content
    if kind not in _NAMES or type(shape) is not list:
        raise ValueError(f"the item type {str(kind)[:40]!r} cannot travel")
    plain = content
    if kind == "bfloat16":
        # Its bits are the upper ones of a float32.
        if len(data) % 2:
            raise ValueError("half a number is missing")
        halves = struct.unpack(f"<{len(data) // 2}H", data)
        data32 = struct.pack(f"<{len(halves)}I", *[half << 16 for half in halves])
        plain = ["<f4", shape, data32]
    # An array is made in any case: that checks the shape against the bytes, before a library is imported for them.
    array = unpack_ndarray(plain)
    there = optional_module(library)
    return array if there is None else make(there, _NAMES[kind], shape, bytearray(data))
