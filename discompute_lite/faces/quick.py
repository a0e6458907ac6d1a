"""Answer what needs no node at all, without loading one: the version.

Knows:   version, Python, platform.
Refuses: to import anything else of ours: a whole node takes ten times as long to load as this.
Read next: __main__.py.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Optional, Sequence

from ..model.version import VERSION


def platform_text() -> str:
    """Return system and machine; `platform.platform()` starts processes and has crashed apps on iOS."""
    machine = os.uname().machine if hasattr(os, "uname") else os.environ.get("PROCESSOR_ARCHITECTURE", "")
    return f"{sys.platform} {machine}".strip()


def version_text(*, is_json: bool) -> str:
    """Return the line that `version` prints."""
    python = ".".join(str(part) for part in sys.version_info[:3])
    if is_json:
        return json.dumps({"version": VERSION, "python": python, "platform": platform_text()})
    return f"discompute-lite {VERSION}, Python {python}, {platform_text()}"


def is_quick(words: Sequence[str]) -> bool:
    """Whether `main_quick` answers this command line; with any other word the whole program does."""
    return list(words) in (["version"], ["--version"], ["version", "--json"])


def main_quick() -> Optional[int]:
    """Print the version; None where it takes the whole program: no room for the line, nobody who reads it."""
    text = version_text(is_json="--json" in sys.argv)
    try:
        if sys.stdout.isatty() and len(text) > os.get_terminal_size(sys.stdout.fileno()).columns:
            return None
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except (AttributeError, OSError, ValueError):
        return None
    return 0
