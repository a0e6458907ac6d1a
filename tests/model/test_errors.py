"""Errors: one tree, the documented codes, and the same class on both sides of a wire."""

from __future__ import annotations

import pytest

from discompute_lite.model import errors
from discompute_lite.model.errors import ERRORS_BY_CODE, CallError, DiscomputeError, StateError, error_from_wire

ALL = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, DiscomputeError)]

#: Class -> (code on the wire, exit status), as the protocol and command-line pages have them.
DOCUMENTED = {
    "ParseError": (-32700, 5), "InvalidRequest": (-32600, 5), "MethodNotFound": (-32601, 1),
    "InvalidParams": (-32602, 2), "InternalError": (-32603, 1), "TooLarge": (-32001, 5),
    "Unauthenticated": (-32002, 4), "Forbidden": (-32003, 4), "NotFound": (-32004, 3),
    "Unavailable": (-32005, 5), "DeadlineExceeded": (-32006, 5),
}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_wire_error_has_its_documented_code_and_exit_status(name):
    code, exit_status = DOCUMENTED[name]
    error = error_from_wire(code, "what happened; what to do", {"retry_after": 3})
    assert type(error).__name__ == name
    assert (error.code, error.exit_status, error.message) == (code, exit_status, "what happened; what to do")
    assert error.data == {"retry_after": 3} and str(error) == error.message


def test_every_code_of_the_table_is_documented():
    assert {error.__name__ for error in ERRORS_BY_CODE.values()} == set(DOCUMENTED)
    assert len(ERRORS_BY_CODE) == len(DOCUMENTED)


@pytest.mark.parametrize("code", [-32099, -1, 0, 7, 10 ** 20])
def test_a_code_of_a_newer_version_is_an_orderly_refusal_that_keeps_it(code):
    error = error_from_wire(code, "new")
    assert type(error) is CallError and error.code == code and error.data is None


def test_rebuilding_an_error_leaves_its_class_as_it_was():
    error_from_wire(-32099, "new")
    assert CallError.code == DiscomputeError.code == -32603


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_can_travel_and_end_a_command(kind):
    error = kind("one sentence")
    assert error.exit_status in (1, 2, 3, 4, 5)
    assert error.code in ERRORS_BY_CODE
    assert kind.__doc__ and kind.__name__ in errors.__doc__


def test_what_is_wrong_with_the_state_and_its_cure_are_one_sentence_and_two_facts():
    error = StateError("the disk is full. Really; so", "free some space")
    assert (error.what, error.cure) == ("the disk is full. Really; so", "free some space")
    assert str(error) == error.message == "the disk is full. Really; so; free some space"
    assert StateError("it is broken").message == "it is broken"
