"""Whatever is done to a line of the audit log but cutting off its end is found, at the right line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.core.audit_log import (
    AUDIT_START, AuditLog, AuditVerdict, resume_audit_log, verify_audit_lines,
)
from discompute_lite.model.errors import LocalProtocolError

FACTS = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda name: name not in ("n", "at", "what", "hash")),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
              st.text(max_size=30)),
    max_size=3,
)
ENTRIES = st.lists(st.tuples(st.sampled_from(["paired", "refused", "task-began"]), FACTS, st.integers(0, 2 ** 40)),
                   min_size=1, max_size=6)


def written(entries):
    log = AuditLog()
    return [log.append(what, facts, at) for what, facts, at in entries], log


@given(ENTRIES)
def test_what_was_written_is_verified_and_says_what_was_meant(entries):
    lines, log = written(entries)
    assert verify_audit_lines(lines) == AuditVerdict(len(entries), 0, log.head)
    for number, (line, (what, facts, at)) in enumerate(zip(lines, entries), 1):
        assert line.isascii() and b"\n" not in line
        said = json.loads(line)
        said.pop("hash")
        assert said == {"n": number, "at": at, "what": what, **facts}


@given(ENTRIES, st.data())
def test_a_flipped_bit_is_found_in_its_line(entries, data):
    lines, _ = written(entries)
    at = data.draw(st.integers(0, len(lines) - 1))
    bit = data.draw(st.integers(0, 8 * len(lines[at]) - 1))
    spoilt = bytearray(lines[at])
    spoilt[bit // 8] ^= 1 << bit % 8
    verdict = verify_audit_lines([*lines[:at], bytes(spoilt), *lines[at + 1:]])
    assert (verdict.bad_line, verdict.good) == (at + 1, at)


@given(ENTRIES, st.data())
def test_lines_taken_out_put_in_or_moved_are_found(entries, data):
    lines, _ = written(entries)
    at = data.draw(st.integers(0, len(lines) - 1))
    other = data.draw(st.integers(0, len(lines) - 1))
    assert verify_audit_lines([*lines[:at], lines[other], *lines[at:]]).bad_line == (at + 2 if other == at else at + 1)
    if at < len(lines) - 1:
        assert verify_audit_lines(lines[:at] + lines[at + 1:]).bad_line == at + 1
        swapped = [*lines[:at], lines[at + 1], lines[at], *lines[at + 2:]]
        assert verify_audit_lines(swapped).bad_line == at + 1


@given(ENTRIES, st.data())
def test_a_line_of_another_log_does_not_fit(entries, data):
    lines, log = written(entries)
    others, _ = written([("policy", {"other": True}, 0), *entries])
    at = data.draw(st.integers(0, len(lines) - 1))
    verdict = verify_audit_lines([*lines[:at], others[at], *lines[at + 1:]])
    # The first line of a log fits at the start of any; then the second does not, or the head is another.
    assert verdict.bad_line == (at + 1 if at else 2 * (len(lines) > 1))
    assert verdict.head != log.head


@given(ENTRIES, ENTRIES)
def test_a_log_goes_on_after_a_restart(before, after):
    lines, _ = written(before)
    verdict = verify_audit_lines(lines)
    log = AuditLog(verdict.head, verdict.good)
    lines += [log.append(what, facts, at) for what, facts, at in after]
    assert verify_audit_lines(lines) == AuditVerdict(len(before) + len(after), 0, log.head)


@given(ENTRIES, st.data())
def test_a_torn_line_at_the_end_is_found_and_what_stands_before_it_can_go_on(entries, data):
    lines, _ = written(entries)
    torn = lines[-1][:data.draw(st.integers(0, len(lines[-1]) - 1))]
    verdict = verify_audit_lines([*lines[:-1], torn])
    assert verdict.bad_line == len(lines)
    log = AuditLog(verdict.head, verdict.good)
    assert verify_audit_lines([*lines[:-1], log.append("restarted", {}, 5)]).bad_line == 0


def test_a_log_that_was_cut_off_has_another_head():
    """The one thing that verifying alone cannot see."""
    lines, log = written([("paired", {}, 1), ("removed", {}, 2)])
    assert verify_audit_lines(lines[:1]).bad_line == 0
    assert verify_audit_lines(lines[:1]).head != log.head


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=3))
def test_any_bytes_have_a_verdict(lines):
    assert verify_audit_lines(lines) == AuditVerdict(0, 1, AUDIT_START)


def test_a_line_with_another_number_is_found_although_its_seal_is_right():
    assert verify_audit_lines([AuditLog(count=4).append("paired", {}, 1)]).bad_line == 1


def test_an_empty_log_is_a_good_log():
    assert verify_audit_lines([]) == AuditVerdict(0, 0, AUDIT_START)


def test_long_texts_are_cut_and_control_characters_escaped():
    line = AuditLog().append("paired", {"name": "\x1b[2J\n" + "x" * 1000}, 1)
    assert len(line) < 500 and b"\\u001b" in line


@pytest.mark.parametrize(("what", "facts"), [
    ("", {}), ("Paired", {}), ("two words", {}), ("x" * 33, {}), ("paired", {"hash": "0"}), ("paired", {"n": 7}),
])
def test_lines_that_could_be_read_in_two_ways_are_not_written(what, facts):
    log = AuditLog()
    with pytest.raises(LocalProtocolError):
        log.append(what, facts, 1)
    assert log.count == 0 and log.head == AUDIT_START


def test_a_log_goes_on_after_its_last_line_and_may_begin_in_the_middle():
    first = AuditLog()
    lines = [first.append("paired", {"device": "a"}, 1)]
    second = resume_audit_log(lines[0])
    lines.append(second.append("continued", {"before": second.head}, 2))
    lines.append(second.append("removed", {"device": "a"}, 3))
    assert verify_audit_lines(lines) == AuditVerdict(3, 0, second.head)
    assert verify_audit_lines(lines[1:]) == AuditVerdict(3, 0, second.head)
    assert verify_audit_lines([lines[1], lines[2].replace(b"removed", b"changed")]).bad_line == 3
    assert resume_audit_log(b"").count == 0 and resume_audit_log(b"no line") is None


def test_row_36_lines_keep_their_order_whatever_the_clock_says():
    log = AuditLog()
    lines = [log.append("ran", {}, at) for at in (1_756_800_000, 0, 4_102_444_800, 1_756_800_001)]
    assert [json.loads(line)["n"] for line in lines] == [1, 2, 3, 4]
    assert verify_audit_lines(lines).good == 4 and verify_audit_lines(sorted(lines, reverse=True)).bad_line
