"""Flags behind a file are given back in the line as it should have been typed."""

import pytest

import discompute_lite.faces.cli  # noqa: F401  It fills the table of commands.
from discompute_lite.faces.misplaced import with_advice


@pytest.mark.parametrize("command, words, line", [
    ("train", ["--rounds", "2"], "train --rounds 2 digits"),
    ("train", ["--rounds=2", "--hidden", "8", "--reproducible"], "train --rounds=2 --reproducible digits"),
    ("submit", ["3", "--state-dir", "/my folder"], "submit --state-dir '/my folder' digits"),
    ("submit", ["--detach", "--priority"], "submit --detach --priority 1-10 digits"),
    ("submit", ["--peer", "attic", "--tls"], "submit --peer attic --tls digits"),
])
def test_the_line_is_shown_as_it_should_be(command, words, line):
    advice = with_advice(command, "digits", words, "there is no argument so")
    assert advice == f"there is no argument so; {command}'s own flags stand before the file: {line}"


def test_where_no_flag_is_misplaced_the_problem_stands_with_one_advice():
    assert with_advice("train", "digits", ["--hiden", "8"], "no --hiden") == "no --hiden; mend the command line"
    assert with_advice("train", "digits", [], "no --hiden; it takes --hidden") == "no --hiden; it takes --hidden"
