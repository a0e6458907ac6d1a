"""Say in one sentence what a person's own code raised elsewhere, and where in it.

Knows:   how a traceback of code that travelled names its places.
Refuses: to show a traceback by itself; it follows in further lines, for --debug.
Read next: tasks/raised.py (what travels).
"""

from __future__ import annotations

import os
import re
import traceback

#: A line of a traceback in code that travelled: the file's name, without the start of its hash; line; function.
_PLACE = re.compile(r'File "<([^">]*?)(?: [0-9a-f]{8})?>", line (\d+), in (\S+)')


def with_place(message: str, advice: str) -> str:
    """Return a failure's message, the place in the person's own code moved into its first line, with what to do.

    Where the message is no traceback and has a second sentence, that one says already what to do.
    """
    first, _, rest = message.partition("\n")
    places = _PLACE.findall(rest)
    where = f" ({places[-1][0]}, line {places[-1][1]}, in {places[-1][2]})" if places else ""
    if not rest and re.search(r"\. [A-Z]", first):
        return first.rstrip(".")
    return f"{first.rstrip('.')}{where}; {advice}" + (f"\n{rest}" if rest else "")


def raised_story(problem: BaseException, file: str) -> str:
    """Return what a person's code raised: a line of words, then its traceback.

    Of what was raised in another process the traceback is its cause; of what was raised here it is made, and places in
    `file` are named as those are.
    """
    words = f"{type(problem).__name__}: {problem}".partition("\n")[0]
    if problem.__cause__ is not None:
        return f"{words}\n{problem.__cause__}"
    label, here = os.path.basename(file), os.path.abspath(file)
    places = [f'  File "<{label}>", line {frame.lineno}, in {frame.name}'
              for frame in traceback.extract_tb(problem.__traceback__) if frame.filename == here]
    return "\n".join([words, *places])
