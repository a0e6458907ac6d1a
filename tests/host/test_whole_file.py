"""The file to be read holds each module's whole text, though it runs only some of its lines."""

from __future__ import annotations

from discompute_lite.host.whole_file import NOT_RUN, SECTION_CALL, section_rule, sources_in

FILE = f"""#!/usr/bin/env python3
import os

{section_rule("discompute_lite/model/words.py")}

{SECTION_CALL}"discompute_lite.model.words")
{NOT_RUN}from os import (
{NOT_RUN}    getcwd,
{NOT_RUN})

WORD = getcwd()  # ---- not a rule ----


{section_rule("discompute_lite/__init__.py")}

{NOT_RUN}from .model.words import WORD
{NOT_RUN.rstrip()}
{NOT_RUN}NAME = WORD


# ---- the end ----------------------------------------------------------------------------------------

run(WORD)
"""


def test_each_module_is_found_with_what_the_file_does_not_run_of_it():
    assert sources_in(FILE) == {
        "discompute_lite.model.words": "from os import (\n    getcwd,\n)\n\nWORD = getcwd()  # ---- not a rule ----\n",
        "discompute_lite.__init__": "from .model.words import WORD\n\nNAME = WORD\n",
    }


def test_another_file_holds_none():
    assert sources_in("#!/usr/bin/env python3\nprint('x')\n") == {}
