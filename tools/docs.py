"""Write the generated tables into the two READMEs: `python3 tools/docs.py`; `--check` only says whether they are fresh.

A table stands between `<!-- name -->` and `<!-- /name -->`; its rows come from the code.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Callable, Dict, List, Tuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from discompute_lite.faces.command import LISTED, load_command  # noqa: E402
from discompute_lite.model.settings import SETTINGS  # noqa: E402
from discompute_lite.roles.methods import METHODS, ping  # noqa: E402
from discompute_lite.tasks.types import TASK_TYPES  # noqa: E402
from discompute_lite.tasks.value_table import value_table_markdown  # noqa: E402

PAGES = ("README.md", "discompute_lite/README.md", "tools/README.md")
LEVELS = {
    "anyone": "anyone", "certified": "whoever has a certificate of the cluster",
    "alone": "anyone while the node is alone, then its cluster's devices",
    "device": "the cluster's devices", "work": "the cluster's devices that may send work", "owner": "the owner",
}


def command_table() -> Dict[str, str]:
    """Return name -> help of every command, in the order of the help."""
    return {name: load_command(name).help for name in LISTED}


def commands_markdown() -> str:
    """Return the table of commands."""
    rows = [f"| `{name}` | {help_text} |" for name, help_text in command_table().items()]
    return "\n".join(["| command | does |", "| --- | --- |", *rows]) + "\n"


def settings_markdown() -> str:
    """Return the table of settings."""
    rows = []
    for setting in SETTINGS:
        # GitHub's Markdown strikes out what stands between two tildes.
        default = re.sub(r"~/[\w./]+", r"`\g<0>`", setting.default_text)
        rows.append(f"| {setting.key} | {default} | `{setting.environment}` | {setting.help} |")
    return "\n".join(["| setting | default | environment | |", "| --- | --- | --- | --- |", *rows]) + "\n"


def methods_markdown() -> str:
    """Return the table of RPC methods."""
    rows = []
    # Those of the protocol's own module first; which of the others comes next is for whoever imports them.
    first = ping.__module__
    modules = {name: method.function.__module__ for name, method in METHODS.items()}
    for name, method in sorted(METHODS.items(), key=lambda item: (modules[item[0]] != first, modules[item[0]])):
        parameters = ", ".join(parameter for parameter, _ in method.parameters)
        rows.append(f"| `{name}` | {LEVELS[method.level]} | {parameters or '–'} | {method.help.splitlines()[0]} |")
    return "\n".join(["| method | who may | parameters | does |", "| --- | --- | --- | --- |", *rows]) + "\n"


def task_types_markdown() -> str:
    """Return the table of task types."""
    rows = []
    # Which module comes first is for whoever imports them.
    for name, task_type in sorted(TASK_TYPES.items()):
        parameters = ", ".join(task_type.parameters) or "–"
        rows.append(f"| `{name}` | {parameters} | {(task_type.__doc__ or '').strip().splitlines()[0]} |")
    return "\n".join(["| type | parameters | does |", "| --- | --- | --- |", *rows]) + "\n"


def hostile_rows() -> Dict[int, List[Tuple[str, str]]]:
    """Return the tests of each hostile input or fault: its number -> (what the test says, where it stands)."""
    found: Dict[int, List[Tuple[str, str]]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for number, words in re.findall(r"^def test_row_(\d\d)_(\w+)", path.read_text("utf-8"), re.MULTILINE):
            found.setdefault(int(number), []).append((words.replace("_", " "), path.relative_to(ROOT).as_posix()))
    return dict(sorted(found.items()))


def hostile_rows_markdown() -> str:
    """Return the table of hostile inputs and faults with the tests that throw them."""
    rows = [
        f"| {number} | {'; '.join(f'{words} (`{path}`)' for words, path in tests)} |"
        for number, tests in hostile_rows().items()
    ]
    return "\n".join(["| row | test |", "| --- | --- |", *rows]) + "\n"


TABLES: Dict[str, Callable[[], str]] = {
    "commands": commands_markdown, "settings": settings_markdown, "methods": methods_markdown,
    "task types": task_types_markdown, "values": value_table_markdown,
    "hostile rows": hostile_rows_markdown,
}


def refreshed(text: str) -> str:
    """Return a page with its tables made anew; raise KeyError for a table that nobody makes."""

    def table(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{TABLES[match[1]]()}<!-- /{match[1]} -->"

    return re.sub(r"<!-- ([a-z ]+) -->\n.*?<!-- /\1 -->", table, text, flags=re.DOTALL)


def main() -> int:
    """Write, or with --check compare; return 1 when something was not fresh."""
    stale = []
    for page in PAGES:
        path = ROOT / page
        before = path.read_text("utf-8")
        after = refreshed(before)
        if after != before:
            stale.append(page)
            if "--check" not in sys.argv[1:]:
                path.write_text(after, "utf-8")
    for page in stale:
        print(f"{page}: {'not fresh; run python3 tools/docs.py' if '--check' in sys.argv[1:] else 'written anew'}")
    return 1 if stale and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
