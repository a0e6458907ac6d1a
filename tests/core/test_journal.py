"""The journal of a task: what is written is read again, a cut loses nothing, damage never passes for truth."""

from binascii import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.core.journal import (
    JournalWriter, OwnerNamed, ResultKept, TaskAccepted, TaskClosed, TaskDivided, read_journal,
)
from discompute_lite.model.task import ComputeTask, SubTask, SubTaskStatus

TASK = ComputeTask("t1", "job", b'{"source": "x"}', {"name": "job.py"}, ["gpu"], 0, 7)
ENTRIES = [
    TaskAccepted(TASK, 3, 12, 1_756_800_000.25, "a" * 52, 1),
    TaskDivided([b"1", b"\x00\xff", b""], "splitting\n"),
    ResultKept(1, "b" * 52, b"[1,2]", 1_756_800_003, {"seconds": 0.5, "output": "lone \ud800 surrogate"}),
    OwnerNamed("b" * 52, 2),
    ResultKept(0, "a" * 52, b"", 1_756_800_004),
]
CLOSED = TaskClosed(
    "COMPLETED", "", b"[3]", [SubTask("t1/0", "t1", 0, status=SubTaskStatus.COMPLETED, result_data=b"x")],
    [{"phase": "split", "device_id": "a", "text": "hello"}], ["0.00 s  submitted"], 1_756_800_005.5)
LINES = [JournalWriter().lines(*ENTRIES[:count + 1]) for count in range(len(ENTRIES))]
WHOLE = LINES[-1]
STARTS = [0, *map(len, LINES)]


def lines_before(position):
    return sum(end <= position for end in STARTS[1:])


def test_what_is_written_is_read():
    reading = read_journal(WHOLE)
    assert reading.entries == ENTRIES and reading.good_bytes == len(WHOLE) and reading.damage == ""
    assert read_journal(JournalWriter().lines(ENTRIES[0], CLOSED)).entries == [ENTRIES[0], CLOSED]


def test_the_golden_line():
    assert JournalWriter().lines(OwnerNamed("me", 3)) == b'["f03e6b89","owner",{"owner_id":"me","term":3}]\n'


def test_row_38_nothing_is_an_empty_journal():
    assert read_journal(b"") == ([], 0, 0, "")


def test_what_is_written_later_follows_what_was_read():
    first, rest = WHOLE[:STARTS[2]], ENTRIES[2:]
    writer = JournalWriter(read_journal(first).chain)
    assert first + writer.lines(*rest[:1]) + writer.lines(*rest[1:]) == WHOLE


def test_the_next_lines_are_read_alone_behind_the_number_of_the_last():
    first = read_journal(WHOLE[:STARTS[2]])
    assert read_journal(WHOLE[STARTS[2]:], first.chain).entries == ENTRIES[2:]
    assert read_journal(WHOLE[STARTS[3]:], first.chain).damage == "line 1 is not as it was written"


@pytest.mark.parametrize("size", range(len(WHOLE)))
def test_row_38_a_cut_leaves_the_lines_before_it_and_is_no_damage(size):
    reading, whole = read_journal(WHOLE[:size]), lines_before(size)
    assert reading.entries == ENTRIES[:whole] and reading.good_bytes == STARTS[whole] and reading.damage == ""


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_changed_byte_is_damage_and_the_lines_before_it_hold(position, change):
    changed = bytearray(WHOLE)
    changed[position] ^= change
    reading, whole = read_journal(bytes(changed)), lines_before(position)
    assert reading.damage == f"line {whole + 1} is not as it was written"
    assert reading.entries == ENTRIES[:whole] and reading.good_bytes == STARTS[whole]


@pytest.mark.parametrize("bit", range(8))
def test_row_38_no_flipped_bit_anywhere_goes_unseen(bit):
    for position in range(len(WHOLE)):
        changed = bytearray(WHOLE)
        changed[position] ^= 1 << bit
        assert read_journal(bytes(changed)).damage, position


@given(st.lists(st.integers(0, len(ENTRIES) - 1), min_size=1, max_size=8))
def test_row_38_lines_that_are_missing_doubled_or_moved_are_damage(order):
    lines = [WHOLE[begin:end] for begin, end in zip(STARTS, STARTS[1:])]
    reading = read_journal(b"".join(lines[index] for index in order))
    right = next((at for at, index in enumerate(order) if at != index), len(order))
    assert reading.entries == ENTRIES[:right]
    assert bool(reading.damage) == (right < len(order))


@given(st.binary(max_size=200))
def test_bytes_of_somebody_else_are_no_entries(data):
    assert read_journal(data).entries == []
    reading = read_journal(WHOLE + b"\n" + data)
    assert reading.entries == ENTRIES and reading.damage


def test_row_38_an_entry_of_a_later_version_is_said_to_be_one():
    writer = JournalWriter()
    line = writer.lines(ENTRIES[0])
    text = b'"novel",{"x":1}'
    novel = b'["%08x",%b]\n' % (crc32(text, writer.chain), text)
    reading = read_journal(line + novel)
    assert reading.entries == ENTRIES[:1] and "cannot read" in reading.damage


@pytest.mark.parametrize("text", [
    b'"closed",{"state":"NONSENSE"}', b'"closed",{"state":"RUNNING"}', b'"closed",null',
    b'"closed",{"state":"FAILED","printed":[{"text":[]}]}', b'"kept",{"index":-1}', b'"kept",{"lite":{"seconds":NaN}}',
])
def test_an_entry_that_says_what_cannot_be_is_damage_as_one_of_a_later_version_is(text):
    writer = JournalWriter()
    line = writer.lines(ENTRIES[0])
    reading = read_journal(line + b'["%08x",%b]\n' % (crc32(text, writer.chain), text))
    assert reading.entries == ENTRIES[:1] and "cannot read" in reading.damage
