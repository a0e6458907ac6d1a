"""A failure says once what to do, and where in a person's own code it came from."""

import pytest

from discompute_lite.faces.failures import with_place

TRACE = 'Traceback (most recent call last):\n  File "<job.py 963cf355>", line 4, in work\nValueError: a. B'


@pytest.mark.parametrize(("message", "first"), [
    (f"ValueError: a. B\n{TRACE}", "ValueError: a. B (job.py, line 4, in work); mend it"),
    ("Subtask 0 is poison: 3 attempts failed on a.", "Subtask 0 is poison: 3 attempts failed on a; mend it"),
    ("Its deadline has passed; 0 of 5 subtasks were done. Allow more time.",
     "Its deadline has passed; 0 of 5 subtasks were done. Allow more time"),
])
def test_what_to_do_is_said_once(message, first):
    said = with_place(message, "mend it")
    assert said.partition("\n")[0] == first
    assert said.partition("\n")[2] == message.partition("\n")[2], "the traceback stays for --debug"
