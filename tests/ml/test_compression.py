"""Less travels, and what is left out comes later: halves as NumPy rounds them, the largest numbers alone."""

import math
import struct
from array import array
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.ml.compression import (
    FLOAT16, TOP_K, Compression, HalfPacking, SparsePacking, kept_count, largest_places,
)
from discompute_lite.ml.digit_job import DigitJob
from discompute_lite.ml.ring import RING, STAR, AverageOver, AveragePlan, average_of
from discompute_lite.ml.sums import SumMemory, VectorShare, vector_sums
from discompute_lite.ml.vectors import VectorForm, fill_vector, subtract_vector, tree_of_vector, vector_form
from discompute_lite.ml.workbench import Seat, carry_out
from discompute_lite.tasks.value_buffers import optional_module

NUMPY = optional_module("numpy")
#: With NumPy, where it is here, and without.
WAYS = [None] if NUMPY is None else [None, NUMPY]
NUMBERS = st.lists(st.floats(-2.0 ** 100, 2.0 ** 100, width=32), min_size=1, max_size=60)


def as_numbers(numpy, code, values):
    return array(code, values) if numpy is None else numpy.array(values, dtype=code)


def plain(numbers):
    return [float(number) for number in numbers]


def averaged(shares, compression, *, shape=RING, residuals=None, start=None, with_numpy=True, **others):
    """Average a vector of each device; return (each one's result, what each keeps, the bytes of each)."""
    code, piece, wide = (others.get(name, usual) for name, usual in (("code", "f"), ("piece", 7), ("wide", False)))
    names = [f"device-{index}" for index in range(len(shares))]
    form, kept_code = VectorForm(code, len(shares[0])), "d" if wide else code
    results = [array(code, [0.0] * form.numbers) for _ in shares]
    remainders = [array(kept_code, [0.0] * form.numbers) for _ in shares]
    parts = {}
    for index, share in enumerate(shares):
        beside = SumMemory(start and array(code, start), residuals and residuals[index], remainders[index])
        sums = vector_sums(
            form, [VectorShare(1 / len(shares), array(code, share))], results[index], piece, wide=wide,
            compression=compression, beside=beside, with_numpy=with_numpy)
        parts[names[index]] = average_of(AveragePlan(tuple(names), shape, 0), names[index], sums)
    on_way = [(name, send) for name, part in parts.items() for send in part.begin()]
    while on_way:
        sender, send = on_way.pop(0)
        if not isinstance(send, AverageOver):
            on_way += [(send.to, each) for each in parts[send.to].piece_came(
                sender, send.piece, send.hop, bytearray(send.data))]
            on_way += [(sender, each) for each in parts[sender].acknowledged(send.to)]
    assert all(part.is_over for part in parts.values())
    return results, remainders, [part.sent_bytes for part in parts.values()]


# ---- halves -------------------------------------------------------------------------------------------


@given(NUMBERS, st.sampled_from("fd"))
def test_halves_are_those_of_numpy_and_the_same_bytes_without_it(values, code):
    packed = [bytes(HalfPacking(code, numpy).packed(as_numbers(numpy, code, values))) for numpy in WAYS]
    assert len(set(packed)) == 1
    came = [plain(HalfPacking(code, numpy).numbers(packed[0], len(values))) for numpy in WAYS]
    assert all(each == came[0] for each in came)
    if NUMPY is not None:
        shift, = struct.unpack_from("<i", packed[0])
        theirs = NUMPY.ldexp(NUMPY.ldexp(NUMPY.array(values, "f8"), shift).astype("f2").astype("f8"), -shift)
        assert came[0] == theirs.astype(code).tolist()


@given(NUMBERS)
def test_a_half_is_within_a_two_thousandth_and_nothing_overflows(values):
    packing = HalfPacking("f", None)
    largest = max(map(abs, values))
    for value, came in zip(values, packing.numbers(packing.packed(array("f", values)), len(values))):
        assert abs(came - value) <= max(abs(value) * 2.0 ** -11, largest * 2.0 ** -38)


@pytest.mark.parametrize("numpy", WAYS)
def test_what_float16_itself_cannot_hold_arrives(numpy):
    values = [3e38, -1e-3, 0.0, 1e36]
    for scale in (1.0, 2.0 ** -100, 2.0 ** -126):
        packing = HalfPacking("f", numpy)
        numbers = as_numbers(numpy, "f", [value * scale for value in values])
        came = plain(packing.numbers(packing.packed(numbers), 4))
        assert came[0] == pytest.approx(3e38 * scale, rel=1e-3) and came[3] == pytest.approx(1e36 * scale, rel=1e-3)
        assert came[2] == 0.0


@pytest.mark.parametrize("numpy", WAYS)
def test_what_is_no_number_stays_none_and_spoils_no_other(numpy):
    packing = HalfPacking("f", numpy)
    came = plain(packing.numbers(packing.packed(as_numbers(numpy, "f", [math.inf, -math.inf, math.nan, 1.5])), 4))
    assert came[:2] == [math.inf, -math.inf] and math.isnan(came[2]) and came[3] == 1.5
    nothing = packing.packed(as_numbers(numpy, "f", [math.nan]))
    assert math.isnan(packing.numbers(nothing, 1)[0])


@pytest.mark.parametrize("numpy", WAYS)
@pytest.mark.parametrize("data", [b"", b"\0" * 5, b"\0" * 12, b"\xff\xff\xff\x7f\0\0"])
def test_halves_that_do_not_fit_are_refused(numpy, data):
    with pytest.raises(ValueError):
        HalfPacking("f", numpy).numbers(data, 1)


# ---- the largest numbers ---------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([0.0, -0.0, 1.5, -2.0, 2.0 ** 100]), min_size=1, max_size=60), st.sampled_from("fd"))
def test_few_numbers_travel_with_their_places_and_many_without(values, code):
    packed = [bytes(SparsePacking(code, numpy).packed(as_numbers(numpy, code, values))) for numpy in WAYS]
    assert len(set(packed)) == 1
    size = 4 if code == "f" else 8
    assert len(packed[0]) <= 4 + size * len(values)
    assert len(packed[0]) <= 4 + (4 + size) * sum(value != 0 for value in values) or len(packed[0]) == 4 + size * len(
        values)
    for numpy in WAYS:
        assert plain(SparsePacking(code, numpy).numbers(packed[0], len(values))) == values


@pytest.mark.parametrize("numpy", WAYS)
@pytest.mark.parametrize("data", [
    b"", b"\1", b"\1\0\0\0", struct.pack("<IIf", 1, 4, 1.0), struct.pack("<IIf", 2, 0, 1.0),
    struct.pack("<I4f", 2 ** 32 - 1, 1.0, 1.0, 1.0, 1.0) + b"\0", struct.pack("<IIf", 1, 0, 1.0) + b"\0",
])
def test_places_that_do_not_fit_are_refused(numpy, data):
    with pytest.raises(ValueError):
        SparsePacking("f", numpy).numbers(data, 4)


@given(st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=40), st.floats(0.001, 1.0))
def test_the_largest_are_found_and_of_equal_ones_the_first(values, part):
    count = kept_count(part, len(values))
    assert 1 <= count <= len(values)
    wanted = sorted(range(len(values)), key=lambda place: (-abs(values[place]), place))[:count]
    for numpy in WAYS:
        assert sorted(map(int, largest_places(as_numbers(numpy, "f", values), count, numpy))) == sorted(wanted)


@pytest.mark.parametrize("numpy", WAYS)
def test_what_is_no_number_is_sent_first(numpy):
    assert list(largest_places(as_numbers(numpy, "f", [9.0, math.nan, 5.0]), 1, numpy)) == [1]


# ---- averages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [RING, STAR])
@pytest.mark.parametrize("wide", [False, True])
@given(data=st.data())
def test_nothing_that_top_k_leaves_out_is_lost(shape, wide, data):
    devices, count = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 30))
    compression = Compression(TOP_K, data.draw(st.sampled_from([0.01, 0.1, 0.5, 1.0])))
    vectors = st.lists(st.floats(-100, 100, width=32), min_size=count, max_size=count)
    residuals = [array("d" if wide else "f", [0.0] * count) for _ in range(devices)]
    for _ in range(3):
        shares = data.draw(st.lists(vectors, min_size=devices, max_size=devices))
        results, remainders, _ = averaged(shares, compression, shape=shape, wide=wide, residuals=residuals)
        assert len(set(map(bytes, results))) == 1
        for place in range(count):
            computed = sum(share[place] / devices for share in shares) + sum(each[place] for each in residuals)
            remains = sum(each[place] for each in remainders)
            assert results[0][place] + remains == pytest.approx(computed, abs=1e-3)
        residuals = remainders


@given(st.lists(st.lists(st.floats(-100, 100, width=32), min_size=24, max_size=24), min_size=1, max_size=5),
       st.sampled_from([FLOAT16, TOP_K]), st.sampled_from([RING, STAR]), st.sampled_from("fd"))
def test_with_numpy_and_without_the_bits_are_the_same(shares, kind, shape, code):
    compression, start = Compression(kind, 0.25), [float(place) for place in range(24)]
    outcomes = [averaged(shares, compression, shape=shape, code=code, start=start, with_numpy=with_numpy)
                for with_numpy in (True, False)]
    assert len({bytes(each) for results, _, _ in outcomes for each in results}) == 1
    assert len({tuple(map(bytes, remainders)) for _, remainders, _ in outcomes}) == 1


@given(st.lists(st.lists(st.floats(-100, 100, width=32), min_size=24, max_size=24), min_size=1, max_size=5))
def test_halves_are_added_to_the_state_that_all_began_with(shares):
    start = [1000.0 + place for place in range(24)]
    results, _, _ = averaged(shares, Compression(FLOAT16), start=start)
    assert len(set(map(bytes, results))) == 1
    for place in range(24):
        mean = sum(share[place] for share in shares) / len(shares)
        # Much less than the half that 1000 itself is rounded by in float16.
        assert results[0][place] == pytest.approx(start[place] + mean, abs=0.25)


@pytest.mark.parametrize("compression, part", [(Compression(FLOAT16), 0.5), (Compression(TOP_K, 0.01), 0.08),
                                               (Compression(TOP_K, 1.0), 1.0)])
def test_fewer_bytes_move(compression, part):
    shares = [[math.sin(index * place + index) for place in range(8000)] for index in range(1, 5)]
    sent, whole = (sum(averaged(shares, each, piece=500)[2]) for each in (compression, Compression()))
    assert sent / whole <= part + 0.01
    if compression.kind == FLOAT16:
        assert sent / whole >= 0.5


# ---- a training ------------------------------------------------------------------------------------------


@cache
def accuracy(compression, *, hidden, with_numpy, rounds, devices=3, steps=4):
    """Train on the digits as devices do that average among themselves; return the accuracy at the end."""
    job = DigitJob(hidden=hidden, with_numpy=with_numpy)
    template = job.init(1)
    form, shards = vector_form(template), 6
    seats = [Seat(job, shards, 1, {}) for _ in range(devices)]
    state, residuals = array(form.code, bytes(form.size)), None
    fill_vector(template, form, state)
    for index in range(rounds):
        ways = []
        for number, seat in enumerate(seats):
            began = tree_of_vector(template, form, array(form.code, state))
            tree = carry_out(seat, began, index, [number, number + devices], steps, False)["tree"]
            way = array(form.code, bytes(form.size))
            fill_vector(tree, form, way)
            subtract_vector(form, way, state)
            ways.append(way)
        results, residuals, _ = averaged(ways, compression, residuals=residuals, start=state, code=form.code, piece=150,
                                         with_numpy=with_numpy)
        state = results[0]
    return job.evaluate(tree_of_vector(template, form, state))["accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("compression", [Compression(FLOAT16), Compression(TOP_K, 0.1), Compression(TOP_K, 0.01)],
                         ids=["float16", "a tenth", "a hundredth"])
def test_a_network_learns_as_well(compression):
    pytest.importorskip("numpy")
    whole, narrow = (accuracy(each, hidden=32, with_numpy=True, rounds=120) for each in (Compression(), compression))
    assert narrow >= whole - 0.01


@pytest.mark.slow
def test_without_numpy_a_network_learns_as_well():
    whole, narrow = (accuracy(each, hidden=0, with_numpy=False, rounds=60)
                     for each in (Compression(), Compression(TOP_K, 0.05)))
    assert narrow >= whole - 0.01
