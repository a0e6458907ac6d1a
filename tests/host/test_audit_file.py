"""The audit log's files: bounded, private, one chain over restarts and over files, and a cut costs half a line."""

from __future__ import annotations

import json
import os

import pytest

from discompute_lite.core.audit_log import verify_audit_lines
from discompute_lite.host import audit_file
from discompute_lite.host.audit_file import AuditFile
from discompute_lite.member_parts import AuditBook


@pytest.fixture
def told():
    return []


class TurnedClock:
    """A loop's clock that tests turn."""

    def __init__(self):
        self.time, self._due = 1000.0, []

    def now(self):
        return self.time

    def call_at(self, when, callback):
        self._due.append((when, callback))

    def turn(self, seconds):
        self.time += seconds
        due, self._due = [each for each in self._due if each[0] <= self.time], [
            each for each in self._due if each[0] > self.time]
        for _, callback in due:
            callback()


@pytest.fixture
def clock():
    return TurnedClock()


@pytest.fixture
def open_book(tmp_path, told, clock):
    return lambda: AuditBook(AuditFile(str(tmp_path)), lambda kind, text: told.append(text), clock)


def verdict(book):
    return verify_audit_lines(book.lines().splitlines())


def test_a_log_is_one_chain_over_restarts(open_book, tmp_path):
    for number in range(3):
        open_book().note("ran", {"size": number})
    assert (verdict(open_book()).good, verdict(open_book()).bad_line) == (3, 0)
    if os.name == "posix":
        assert os.stat(tmp_path / "audit").st_mode & 0o777 == 0o600


def test_it_keeps_two_files_whatever_happens(open_book, tmp_path, monkeypatch):
    monkeypatch.setattr(audit_file, "AUDIT_BYTES", 2000)
    book = open_book()
    for number in range(100):
        book.note("ran", {"size": number})
    assert sorted(os.listdir(tmp_path)) == ["audit", "audit.old"]
    assert len(book.lines()) < 5000
    found = verdict(book)
    assert found.bad_line == 0 and found.good > 100, "the lines that begin a file count too"


def test_half_a_line_is_taken_away(open_book, tmp_path):
    book = open_book()
    book.note("ran", {"size": 1}), book.note("ran", {"size": 2})
    data = (tmp_path / "audit").read_bytes()
    (tmp_path / "audit").write_bytes(data[:-10])
    again = open_book()
    again.note("ran", {"size": 3})
    assert (verdict(again).good, verdict(again).bad_line) == (2, 0)


def test_what_is_no_log_is_kept_aside_and_told(open_book, tmp_path, told):
    (tmp_path / "audit").write_bytes(b"shopping list\n")
    book = open_book()
    book.note("ran", {"size": 1})
    assert "audit.damaged" in told[0]
    assert (tmp_path / "audit.damaged").read_bytes() == b"shopping list\n"
    assert verdict(book).good == 1


def test_row_37_a_disk_that_takes_nothing_is_told_once(open_book, told, monkeypatch):
    book = open_book()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(audit_file.os, "open", full)
    book.note("ran", {"size": 1}), book.note("ran", {"size": 2})
    assert len(told) == 1 and "disk is full" in told[0]


def entries(book):
    return [json.loads(line) for line in book.lines().splitlines()]


def test_a_flood_of_refusals_is_a_few_lines_with_right_counts(open_book, clock, tmp_path):
    book = open_book()
    for number in range(20_000):
        book.refused("stranger", f"10.0.0.{number % 100}", {"call": "SubmitTask"})
    assert (tmp_path / "audit").stat().st_size < 5000
    clock.turn(61.0)
    size = (tmp_path / "audit").stat().st_size
    assert size < 10_000
    refused = entries(book)
    assert refused[0]["from"] == "10.0.0.0" and refused[0]["call"] == "SubmitTask" and refused[0]["rule"] == "stranger"
    assert sum(entry.get("count", 1) for entry in refused) == 20_000
    assert refused[-1]["from"] == "others" and verdict(book).bad_line == 0
    clock.turn(10_000.0)
    assert (tmp_path / "audit").stat().st_size == size, "nothing more is written when nobody comes"
    book.refused("code", "10.0.0.7", {"reason": "That code did not match."})
    assert entries(book)[-1]["rule"] == "code"


def test_counts_are_written_when_they_are_asked_for(open_book, clock):
    book = open_book()
    for _ in range(5):
        book.refused("handshake", "10.0.0.9", {})
    assert [entry.get("count") for entry in entries(book)] == [None, 4]
    book.refused("handshake", "10.0.0.9", {})
    clock.turn(61.0), clock.turn(200.0)
    assert sum(entry.get("count", 1) for entry in entries(book)) == 6


def test_row_37_half_a_line_on_a_full_disk_is_none_and_the_log_goes_on(open_book, tmp_path, told, monkeypatch):
    book = open_book()
    book.note("ran", {"size": 1})
    before, write = (tmp_path / "audit").read_bytes(), os.write

    def nearly_full(descriptor, data):
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return write(descriptor, bytes(data)[:len(data) // 2])

    with monkeypatch.context() as patched:
        patched.setattr(audit_file.os, "write", nearly_full)
        book.note("ran", {"size": 2})
    assert (tmp_path / "audit").read_bytes() == before and len(told) == 1
    book.note("ran", {"size": 3})
    lines = (tmp_path / "audit").read_bytes().splitlines()
    assert len(lines) == 2 and b'"n":3,' in lines[1], "the missing number shows that a line is missing"
