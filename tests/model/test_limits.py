"""Limits: every number positive, explained, and never larger on a phone."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

import discompute_lite
from discompute_lite.model.limits import Limits

FIELDS = [field.name for field in dataclasses.fields(Limits)]


@pytest.mark.parametrize("name", FIELDS)
def test_a_limit_is_positive_and_no_larger_on_a_phone(name):
    assert 0 < getattr(Limits.for_phone(), name) <= getattr(Limits(), name)


@pytest.mark.parametrize("name", FIELDS)
def test_a_limit_has_a_reason_and_names_who_enforces_it(name):
    comment = re.search(rf"((?:    #: .*\n)+)    {name}: (?:int|float) = ", inspect.getsource(Limits))
    where = comment and re.search(r"\((\w+/\w+)\)$", comment.group(1).strip())
    assert where and (Path(discompute_lite.__file__).parent / f"{where.group(1)}.py").is_file()


def test_the_figures_of_the_protocol_and_security_pages():
    limits = Limits()
    assert (limits.line_bytes, limits.attachments, limits.message_bytes) == (2 ** 20, 256, 2 ** 30)
    assert (limits.json_depth, limits.batch_calls) == (64, 256)
    assert (limits.connections_per_address, limits.first_message_s, limits.datagram_bytes) == (32, 10.0, 1200)
    assert (limits.message_text_bytes, limits.messages_per_minute) == (2048, 5)


@pytest.mark.parametrize("work_memory_mb", [0, 256, 512, 1024, 2048, 4096])
def test_what_a_phone_may_hold_at_once_fits_the_memory_that_work_gets(work_memory_mb):
    limits = Limits.for_phone(work_memory_mb)
    assert limits.work_bytes == (work_memory_mb or 516) * 2 ** 20
    held = limits.receiving_bytes + limits.blob_bytes + limits.vector_bytes + limits.outcome_bytes
    held += limits.receive_kept_bytes
    assert held <= limits.work_bytes and limits.message_bytes <= 128 * 2 ** 20


def test_the_limits_fit_each_other():
    for limits in (Limits(), Limits.for_phone()):
        assert limits.line_bytes < limits.message_bytes and limits.http_head_bytes < limits.line_bytes
        assert limits.message_bytes <= limits.receiving_bytes
        assert limits.connections_per_address <= limits.connections and limits.idle_links <= limits.connections
        assert limits.connections_for_owner <= limits.connections // 2
        assert limits.first_message_s <= limits.message_s


def test_limits_are_not_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Limits().line_bytes = 1


def test_a_phone_holds_fewer_than_two_hundred_descriptors_whoever_calls():
    """Systems of phones give an app 256, and its own files and windows are among them."""
    phone = Limits.for_phone()
    files_and_own_sockets = 40
    calls = phone.connections + phone.idle_links + phone.pairing_lines + phone.sweep_sockets
    assert calls + files_and_own_sockets <= 200
