"""Tensors travel: as their own library's where it is installed, else as NumPy's arrays, else as lists."""

import struct
import sys
import types

import pytest

from discompute_lite.model.errors import TaskRejected
from discompute_lite.tasks.value_tensors import ITEM_TYPES
from discompute_lite.tasks.values import decode_value, dump_value, encode_value, load_value

FLOATS = struct.pack("<4f", 1, 2, 3, 4)


def travelled(value):
    return load_value(dump_value(value))


# ---- torch ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def test_tensors_of_torch_arrive_as_they_were(torch):
    base = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    for value in (base, base.t(), base[:, ::2], torch.tensor(5), torch.zeros(0, 3), torch.tensor([True, False]),
                  torch.tensor([1 + 2j]).conj(), torch.tensor([1.5, -2], dtype=torch.bfloat16)):
        arrived = travelled(value)
        assert type(arrived) is torch.Tensor and arrived.dtype == value.dtype and arrived.shape == value.shape
        assert torch.equal(arrived, value)
        arrived.zero_()


def test_every_item_type_of_the_table_travels(torch):
    for name in ITEM_TYPES:
        value = torch.ones(3, dtype=getattr(torch, name))
        arrived = travelled(value)
        assert arrived.dtype == value.dtype and arrived.tolist() == value.tolist()


def test_a_tensor_that_asks_for_gradients_still_does_and_leaves_its_past_here(torch):
    weights = torch.ones(2, requires_grad=True)
    first, second = travelled([weights, weights * 2])
    assert first.requires_grad and first.grad_fn is None and first.is_leaf
    assert second.requires_grad and second.grad_fn is None and second.tolist() == [2.0, 2.0]


def test_a_tensor_in_two_places_is_one(torch):
    shared = torch.zeros(2)
    first, second = travelled([shared, {"b": shared}["b"]])
    assert first is second


def test_what_no_other_device_could_read_is_refused(torch):
    for odd, words in ((torch.eye(2).to_sparse(), "to_dense"), (torch.nn.Parameter(torch.ones(1)), "Parameter")):
        with pytest.raises(TaskRejected, match="cannot travel") as refusal:
            dump_value({"state": odd})
        assert words in refusal.value.message


@pytest.mark.parametrize("tag", ["torch", "mlx", "tinygrad", "jax"])
@pytest.mark.parametrize("content", [[], ["<f4", [2], b"abc"], ["<f4", [-1], b""], ["<U4", [1], b"abcd"],
                                     ["bfloat16", [2], b"abc"], [["<f4"], [1], FLOATS], ["<f4", None, FLOATS]])
def test_hostile_tensors_are_refused_before_any_library_is_asked(monkeypatch, tag, content):
    for library in ("torch", "mlx.core", "tinygrad", "jax.numpy"):
        monkeypatch.setitem(sys.modules, library, None)
    content = content + [False] if tag == "torch" else content
    with pytest.raises(TaskRejected):
        decode_value({"$t": tag, "v": encode_value(content)})


# ---- where the library is missing -------------------------------------------------------------------------------


@pytest.mark.parametrize("tag, library", [("torch", "torch"), ("mlx", "mlx.core"), ("tinygrad", "tinygrad"),
                                          ("jax", "jax.numpy")])
def test_without_its_library_a_tensor_is_an_array_and_without_numpy_lists(monkeypatch, tag, library):
    monkeypatch.setitem(sys.modules, library, None)
    halves = struct.pack("<2H", 0x3fc0, 0xc000)

    def arrived(*content):
        return decode_value({"$t": tag, "v": encode_value([*content, False] if tag == "torch" else list(content))})

    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "numpy", None)
        assert arrived("<f4", [2, 2], FLOATS) == [[1.0, 2.0], [3.0, 4.0]]
        assert arrived("bfloat16", [2], halves) == [1.5, -2.0]
    numpy = pytest.importorskip("numpy")
    array = arrived("<f4", [2, 2], FLOATS)
    assert type(array) is numpy.ndarray and array.tolist() == [[1.0, 2.0], [3.0, 4.0]]


# ---- stand-ins: these libraries do not run on every machine ------------------------------------------------------


class MlxArray:
    """Do what is asked of an mlx array; `data` is what its buffer holds."""

    def __init__(self, data, dtype="mlx.core.uint8", shape=None):
        self.data, self.dtype, self.shape = bytes(data), dtype, tuple(shape or (len(data),))

    def __buffer__(self, flags):
        return memoryview(self.data)

    def view(self, dtype):
        return type(self)(self.data, dtype, self.shape)

    def reshape(self, shape):
        return type(self)(self.data, self.dtype, shape)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="a class written in Python has no buffer before 3.12")
def test_an_array_of_mlx_travels_as_its_documentation_says(monkeypatch):
    core = types.ModuleType("mlx.core")
    core.array = array = type("array", (MlxArray,), {"__module__": "mlx.core"})
    core.float32, core.bool_ = "mlx.core.float32", "mlx.core.bool"
    core.uint16, core.bfloat16 = "mlx.core.uint16", "mlx.core.bfloat16"
    monkeypatch.setitem(sys.modules, "mlx", types.ModuleType("mlx"))
    monkeypatch.setitem(sys.modules, "mlx.core", core)
    for value in (array(FLOATS, core.float32, (2, 2)), array(b"\1\0", core.bool_, (2,)),
                  array(b"\xc0\x3f", core.bfloat16, (1,))):
        arrived = travelled(value)
        assert (arrived.data, arrived.dtype, arrived.shape) == (value.data, value.dtype, value.shape)


@pytest.mark.parametrize("library", ["mlx.core", "tinygrad"])
def test_arrays_of_the_real_libraries_arrive_as_they_were(library):
    real = pytest.importorskip(library)
    kinds = (real.float32, real.int64, real.bool_, real.bfloat16, real.float16) if library == "mlx.core" else (
        real.dtypes.float32, real.dtypes.int64, real.dtypes.bool)
    zeros = real.zeros if library == "mlx.core" else real.Tensor.zeros
    for kind in kinds:
        ones = real.ones((2, 3), dtype=kind) if library == "mlx.core" else real.Tensor.ones(2, 3, dtype=kind)
        arrived = travelled(ones)
        assert type(arrived) is type(ones) and arrived.dtype == ones.dtype and arrived.tolist() == ones.tolist()
    assert tuple(travelled(zeros((0, 3))).shape) == (0, 3)


def test_arrays_of_the_real_jax_arrive_as_they_were():
    jax = pytest.importorskip("jax.numpy")
    for value in (jax.ones((2, 3)), jax.arange(3), jax.zeros(2, bool), jax.ones(2, jax.bfloat16), jax.zeros((0, 3)),
                  jax.float32(4.0), jax.ones((2, 3)).T):
        arrived = travelled(value)
        assert type(arrived) is type(value) and arrived.dtype == value.dtype and arrived.shape == value.shape
        assert arrived.tolist() == value.tolist()


class JaxArray:
    """Do what is asked of an array of jax."""

    def __init__(self, array, dtype=None):
        self.array, self.dtype, self.shape = array, dtype or array.dtype, array.shape

    def __array__(self, dtype=None, copy=None):
        return self.array


def test_an_array_of_jax_travels_as_its_documentation_says_and_none_gets_narrower(monkeypatch):
    numpy = pytest.importorskip("numpy")
    jax, jaxlib, library = types.ModuleType("jax"), types.ModuleType("jaxlib"), types.ModuleType("jaxlib._jax")
    made = library.ArrayImpl = type("ArrayImpl", (JaxArray,), {"__module__": "jaxlib._jax"})
    jax.numpy = types.ModuleType("jax.numpy")
    jax.numpy.dtype, jax.numpy.asarray = numpy.dtype, made
    # As jax does where nobody asked for 64 bits.
    jax.numpy.zeros = lambda shape, dtype: numpy.zeros(shape, "f4" if dtype == "f8" else dtype)
    for name, module in (("jax", jax), ("jax.numpy", jax.numpy), ("jaxlib", jaxlib), ("jaxlib._jax", library)):
        monkeypatch.setitem(sys.modules, name, module)
    arrived = travelled(made(numpy.ones((2, 3), "f4")))
    assert type(arrived) is made and arrived.array.tolist() == [[1.0] * 3] * 2
    wide = travelled(made(numpy.ones(2)))
    assert type(wide) is numpy.ndarray and wide.dtype == numpy.float64
    with pytest.raises(TaskRejected, match="convert them to a usual type"):
        dump_value(made(numpy.ones(2), "key<fry>"))


class TinyTensor:
    """Do what is asked of a tinygrad tensor."""

    def __init__(self, data, dtype, shape=None):
        self._data, self.dtype, self.shape = bytes(data), dtype, tuple(shape or ())

    def contiguous(self):
        return self

    def data(self):
        return memoryview(self._data)

    def reshape(self, *shape):
        return type(self)(self._data, self.dtype, shape)


def test_a_tensor_of_tinygrad_travels_as_its_documentation_says(monkeypatch):
    tinygrad, tensor = types.ModuleType("tinygrad"), types.ModuleType("tinygrad.tensor")
    tinygrad.dtypes = types.SimpleNamespace(float32=types.SimpleNamespace(name="float"))
    made = tinygrad.Tensor = tensor.Tensor = type("Tensor", (TinyTensor,), {"__module__": "tinygrad.tensor"})
    monkeypatch.setitem(sys.modules, "tinygrad", tinygrad)
    monkeypatch.setitem(sys.modules, "tinygrad.tensor", tensor)
    value = made(FLOATS, tinygrad.dtypes.float32, (2, 2))
    arrived = travelled(value)
    assert type(arrived) is made and arrived.dtype is value.dtype
    assert (arrived.shape, arrived.data().tobytes()) == ((2, 2), FLOATS)
    odd = made(b"", types.SimpleNamespace(name="fp8e4m3"), (0,))
    with pytest.raises(TaskRejected, match="fp8e4m3"):
        dump_value(odd)
