"""Find the modules' texts again in the single file to be read, so that it too can lend the small one to phones.

Knows:   how that file keeps what it does not run: imports of modules, and the doors of packages, as marked comments.
Refuses: to run or to write it (tools/bundle.py does).
Read next: host/small_file.py (what becomes of the texts), host/relaunch.py (who asks).
"""

from __future__ import annotations

import re
from typing import Dict

#: Stands before a line that a module has and the file does not run.
NOT_RUN = "#> "
#: Runs before each module's own lines, and is none of them.
SECTION_CALL = "__name__ = _begin_section("
_RULE = re.compile(r"^# ---- (\w+(?:/\w+)*)\.py -+$", re.MULTILINE)


def section_rule(path: str) -> str:
    """Return the line that begins a module: "discompute_lite/model/errors.py"."""
    return f"{f'# ---- {path} ':-<103}"


def sources_in(text: str) -> Dict[str, str]:
    """Return the modules' texts by name, none for a file that is another; blank lines may be fewer than they were."""
    _, *parts = _RULE.split(text)
    return {path.replace("/", "."): _as_written(part) for path, part in zip(parts[::2], parts[1::2])}


def _as_written(section: str) -> str:
    lines = section.partition("\n# ---- the end -")[0].splitlines()
    kept = [line[len(NOT_RUN):] if line.startswith(NOT_RUN.rstrip()) else line for line in lines
            if not line.startswith(SECTION_CALL)]
    return "\n".join(kept).strip("\n") + "\n"
