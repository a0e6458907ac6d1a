"""A ring averages exactly what one machine would, in any order of events, and moves no more than it must."""

import random
from array import array
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discompute_lite.ml.ring import CHAIN, RING, STAR, AverageOver, AveragePlan, SendPiece, average_of
from discompute_lite.ml.sums import SumMemory, VectorShare, vector_sums
from discompute_lite.ml.vectors import VectorForm
from discompute_lite.model.errors import InvalidParams

ROOT = 0


def used(size):
    """Memory in which something was: numbers that are none."""
    return bytearray(b"\xff") * size


class Table:
    """Put the devices of one average around a table: `order` chooses which of the messages under way arrives next."""

    def __init__(self, vectors, *, shape=RING, code="d", piece=4, wide=False, with_numpy=None):
        self.names = [f"device-{index}" for index in range(len(vectors))]
        self.form = VectorForm(code, len(vectors[0][0][1]))
        self.results = [bytearray(self.form.size) for _ in vectors]
        plan = AveragePlan(tuple(self.names), shape, ROOT)
        self.parts = {}
        for index, (name, shares) in enumerate(zip(self.names, vectors)):
            own = [VectorShare(weight, array(code, numbers)) for weight, numbers in shares if weight]
            result = self.results[index] if shape != CHAIN or index == ROOT else None
            numpy_here = index % 2 == 0 if with_numpy is None else with_numpy
            self.parts[name] = average_of(
                plan, name, vector_sums(
                    self.form, own, result, piece, wide=wide, with_numpy=numpy_here, beside=SumMemory(allocate=used)))
        self.on_way, self.over = [], []
        self.most_on_way = 0

    def run(self, order=None, *, repeats=0.0, rng=None):
        for name, part in self.parts.items():
            self._do(name, part.begin())
        while self.on_way:
            index = order(len(self.on_way)) if order else 0
            sender, send = self.on_way.pop(index)
            if rng and rng.random() < repeats:
                # Its acknowledgement was lost with the link: it comes once more.
                self._do(send.to, self.parts[send.to].piece_came(sender, send.piece, send.hop, bytearray(send.data)))
            self._do(send.to, self.parts[send.to].piece_came(sender, send.piece, send.hop, bytearray(send.data)))
            self._do(sender, self.parts[sender].acknowledged(send.to))
        return self

    def _do(self, name, actions):
        for action in actions:
            if isinstance(action, AverageOver):
                self.over.append(name)
            else:
                assert isinstance(action, SendPiece)
                self.on_way.append((name, action))
        self.most_on_way = max(self.most_on_way, len(self.on_way))

    def numbers(self, index):
        return array(self.form.code, bytes(self.results[index]))


def mean_of(vectors):
    """The weighted sum, exactly."""
    count = len(vectors[0][0][1])
    return [float(sum(Fraction(weight) * Fraction(numbers[place]) for shares in vectors for weight, numbers in shares))
            for place in range(count)]


VECTORS = st.integers(1, 7).flatmap(lambda devices: st.integers(1, 40).flatmap(lambda count: st.lists(
    st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.lists(
        st.floats(-100, 100, width=32), min_size=count, max_size=count)), min_size=1, max_size=3),
    min_size=devices, max_size=devices)))


@given(VECTORS, st.sampled_from([RING, CHAIN, STAR]), st.sampled_from("fd"), st.integers(1, 50),
       st.randoms(use_true_random=False), st.sampled_from([0.0, 0.3]))
@settings(deadline=None)
def test_whatever_order_messages_arrive_in_all_have_the_sum(vectors, shape, code, piece, rng, repeats):
    table = Table(vectors, shape=shape, code=code, piece=piece)
    table.run(lambda count: int(rng.random() * count), repeats=repeats, rng=rng)
    assert sorted(table.over) == table.names
    wanted = mean_of(vectors)
    assert table.numbers(ROOT).tolist() == pytest.approx(wanted, rel=1e-5, abs=1e-2 if code == "f" else 1e-9)
    if shape != CHAIN:
        # Not nearly: the same bits.
        assert len(set(map(bytes, table.results))) == 1
    for part in table.parts.values():
        assert part.is_over and not part.waits_for()


@given(VECTORS, st.sampled_from([RING, STAR]), st.booleans(), st.integers(0, 2**32))
@settings(deadline=None)
def test_the_bits_depend_on_nothing_but_the_vectors(vectors, shape, wide, seed):
    rng = random.Random(seed)
    tables = [Table(vectors, shape=shape, code="f", wide=wide, with_numpy=with_numpy) for with_numpy in (True, False)]
    tables[0].run()
    tables[1].run(lambda count: int(rng.random() * count))
    assert bytes(tables[0].results[0]) == bytes(tables[1].results[0])


@pytest.mark.parametrize("devices", [2, 3, 4, 7])
def test_each_device_sends_two_times_n_minus_one_of_n(devices):
    count, piece = 28 * 60, 7
    table = Table([[(1.0, [1.0] * count)]] * devices, code="f", piece=piece).run()
    least = 2 * (devices - 1) / devices * table.form.size
    for part in table.parts.values():
        assert part.sent_bytes == pytest.approx(least, rel=0.02)


def test_a_chain_sends_the_vector_once_and_only_its_root_has_the_sum():
    table = Table([[(1.0, [1.0] * 40)]] * 4, shape=CHAIN).run()
    assert table.numbers(ROOT).tolist() == [4.0] * 40
    assert [part.sent_bytes for part in table.parts.values()] == [0, 320, 320, 320]


def test_few_pieces_are_on_their_way_at_once():
    table = Table([[(1.0, [1.0] * 4000)]] * 3).run()
    assert 3 < table.most_on_way <= 3 * 4


def test_float64_sums_of_float32_lose_nothing_on_the_way():
    # In float32 the small ones would vanish beside the large.
    vectors = [[(1.0, [1.0])], [(1.0, [2.0 ** 24])], [(1.0, [1.0])], [(1.0, [-2.0 ** 24])]]
    assert Table(vectors, code="f", wide=True).run().numbers(0).tolist() == [2.0]
    assert Table(vectors, code="f").run().numbers(0).tolist() != [2.0]


@pytest.mark.parametrize("shape, sender, piece, hop", [
    (RING, "device-2", 0, 0), (RING, "stranger", 0, 0), (RING, "device-0", 99, 0), (RING, "device-0", -1, 0),
    (RING, "device-0", 0, 9), (RING, "device-0", 0, -1), (CHAIN, "device-0", 0, 0), (STAR, "device-2", 0, 1),
    (STAR, "device-0", 0, 0),
])
def test_who_has_no_such_piece_for_us_is_refused(shape, sender, piece, hop):
    table = Table([[(1.0, [1.0] * 8)]] * 3, shape=shape)
    with pytest.raises(InvalidParams, match="not on its way"):
        table.parts["device-1"].piece_came(sender, piece, hop, bytes(32))


@pytest.mark.parametrize("with_numpy", [True, False])
@pytest.mark.parametrize("data", [b"", bytes(31), bytes(40)])
def test_a_piece_of_another_length_is_refused_and_the_right_one_taken_after_it(data, with_numpy):
    table = Table([[(1.0, [1.0] * 8)]] * 2, with_numpy=with_numpy)
    part = table.parts["device-0"]
    with pytest.raises(InvalidParams, match="does not fit"):
        part.piece_came("device-1", 0, 0, data)
    table.run()
    assert table.numbers(0).tolist() == [2.0] * 8


def test_it_says_whom_it_waits_for():
    table = Table([[(1.0, [1.0] * 8)]] * 3)
    part = table.parts["device-0"]
    part.begin()
    assert "device-2" in part.waits_for()
