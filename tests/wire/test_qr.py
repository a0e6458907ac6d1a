"""QR codes: the standard's own examples, what a code must look like, and what a real decoder reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.errors import TooLarge
from discompute_lite.wire.qr import (
    qr_blocks, qr_capacity, qr_code, qr_correction, qr_format_bits, qr_penalty, qr_version_bits,
)

LINK = b"discompute://join/1/0123456789ABCDEFGHJKMNPQRS@192.168.178.120:49200"


# ---- known figures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("data, correction", [
    # HELLO WORLD, version 1-M (a common worked example), and 01234567, version 1-M (ISO/IEC 18004, annex I).
    ("205b0b78d172dc4d4340ec11ec11ec11", "c4232777ebd7e7e25d17"),
    ("10200c5661 80ec11ec11ec11ec11ec11".replace(" ", ""), "a524d4c1ed36c7872c55"),
])
def test_error_correction_of_known_codewords(data, correction):
    assert qr_correction(bytes.fromhex(data), 10).hex() == correction


@pytest.mark.parametrize("level_bits, mask, bits", [
    (0b01, 0, "111011111000100"), (0b00, 5, "100000011001110"), (0b00, 2, "101111001111100"),
    (0b01, 7, "110100101110110"), (0b00, 0, "101010000010010"),
])
def test_format_bits(level_bits, mask, bits):
    assert f"{qr_format_bits(level_bits, mask):015b}" == bits


@pytest.mark.parametrize("version, bits", [
    (7, "000111110010010100"), (8, "001000010110111100"), (9, "001001101010011001"), (10, "001010010011010011"),
])
def test_version_bits(version, bits):
    assert f"{qr_version_bits(version):018b}" == bits


def test_capacities_in_bytes():
    assert [qr_capacity(version, "L") for version in range(1, 23)] == [
        17, 32, 53, 78, 106, 134, 154, 192, 230, 271, 321, 367, 425, 458, 520, 586, 644, 718, 792, 858, 929, 1003]
    assert [qr_capacity(version, "M") for version in range(1, 23)] == [
        14, 26, 42, 62, 84, 106, 122, 152, 180, 213, 251, 287, 331, 362, 412, 450, 504, 560, 624, 666, 711, 779]
    assert qr_blocks(5, "L") == (0b01, 26, 1)


# ---- what a code must look like -------------------------------------------------------------------------


FINDER = ["1111111", "1000001", "1011101", "1011101", "1011101", "1000001", "1111111"]


@given(st.binary(max_size=1003))
def test_every_code_has_its_patterns_and_the_size_that_its_length_needs(data):
    modules = qr_code(data, mask=0)
    size = len(modules)
    version = (size - 17) // 4
    assert len(data) <= qr_capacity(version, "L") and (version == 1 or len(data) > qr_capacity(version - 1, "L"))
    for top, left in ((0, 0), (0, size - 7), (size - 7, 0)):
        assert ["".join("01"[dark] for dark in row[left:left + 7]) for row in modules[top:top + 7]] == FINDER
    timing = [at % 2 == 0 for at in range(8, size - 8)]
    assert modules[6][8:size - 8] == timing and [row[6] for row in modules[8:size - 8]] == timing
    assert modules[size - 8][8], "the module that is always dark"


def test_both_copies_of_the_format_say_level_and_mask():
    modules = qr_code(b"HELLO", mask=5)
    size = len(modules)
    wanted = f"{qr_format_bits(0b00, 5):015b}"
    beside = [(8, column) for column in (0, 1, 2, 3, 4, 5, 7, 8)] + [(row, 8) for row in (7, 5, 4, 3, 2, 1, 0)]
    apart = [(row, 8) for row in range(size - 1, size - 8, -1)] + [(8, column) for column in range(size - 8, size)]
    for places in (beside, apart):
        assert "".join("01"[modules[row][column]] for row, column in places) == wanted


def test_masks_differ_where_data_is_and_the_one_with_the_least_penalty_is_taken():
    codes = [qr_code(LINK, mask=number) for number in range(8)]
    assert len({str(code) for code in codes}) == 8
    assert qr_penalty(qr_code(LINK)) == min(map(qr_penalty, codes))


def test_penalties():
    size = 21
    even = [[(row + column) % 2 == 0 for column in range(size)] for row in range(size)]
    assert qr_penalty(even) == 0
    # 42 lines of 21 alike, 400 squares alike, nothing but dark.
    assert qr_penalty([[True] * size for _ in range(size)]) == 42 * (3 + 16) + 400 * 3 + 100


def test_more_than_the_largest_holds_is_refused():
    assert len(qr_code(b"x" * 1003, mask=1)) == 105
    with pytest.raises(TooLarge, match="1004 bytes"):
        qr_code(b"x" * 1004)


def test_the_better_level_is_taken_where_it_costs_nothing():
    def level(data):
        modules = qr_code(data, mask=0)
        bits = (modules[8][0], modules[8][1])
        return {(True, True): "L", (True, False): "M"}[bits]

    assert (level(b"x" * 14), level(b"x" * 15)) == ("M", "L")


# ---- a real decoder -------------------------------------------------------------------------------------


def picture(modules, scale=4, quiet=4):
    numpy = pytest.importorskip("numpy")
    dark = numpy.pad(numpy.array(modules, dtype=bool), quiet)
    return numpy.where(numpy.kron(dark, numpy.ones((scale, scale), dtype=bool)), 0, 255).astype(numpy.uint8)


def read(modules):
    zxing = pytest.importorskip("zxingcpp")
    found = zxing.read_barcodes(picture(modules))
    return found[0].text if found else ""


@pytest.mark.against
@pytest.mark.parametrize("size", [1, 14, 17, 26, 42, 53, 78, 106, 122, 154, 192, 230, 271,
                                  321, 367, 425, 458, 520, 586, 644, 718, 779, 792, 858, 929, 1003])
def test_a_real_decoder_reads_every_version(size):
    text = (LINK.decode() * 15)[:size]
    assert read(qr_code(text.encode())) == text


@pytest.mark.against
@pytest.mark.parametrize("mask", range(8))
def test_a_real_decoder_reads_every_mask(mask):
    assert read(qr_code(LINK, mask=mask)) == LINK.decode()
