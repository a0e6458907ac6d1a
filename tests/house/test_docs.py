"""The pages say what the code does: tables are fresh, and what the README tells to type exists."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

PAGES = ("README.md", "discompute_lite/README.md", "tools/README.md")


@pytest.fixture(scope="module")
def docs(root: Path) -> dict:
    return runpy.run_path(str(root / "tools" / "docs.py"))


@pytest.mark.parametrize("page", PAGES)
def test_generated_tables_are_fresh(root: Path, docs: dict, page: str) -> None:
    text = (root / page).read_text("utf-8")
    assert docs["refreshed"](text) == text, f"{page} is not fresh; run python3 tools/docs.py"


def test_every_table_stands_on_a_page(root: Path, docs: dict) -> None:
    text = "".join((root / page).read_text("utf-8") for page in PAGES)
    missing = [name for name in docs["TABLES"] if f"<!-- {name} -->" not in text]
    assert not missing


def test_the_table_of_settings_has_a_row_a_setting(docs: dict) -> None:
    lines = docs["settings_markdown"]().splitlines()
    assert len(lines) == 2 + len(docs["SETTINGS"]) and {line.count("|") for line in lines} == {5}
    assert "| port | 8080 | `DISCOMPUTE_PORT` | where to listen" in "\n".join(lines)
    assert "| `~/.discompute` (`~/Documents/.discompute` on iOS) |" in "\n".join(lines)


def test_commands_in_the_readme_exist(root: Path, docs: dict) -> None:
    text = (root / "README.md").read_text("utf-8")
    typed = re.findall(r"-m discompute_lite ([a-z-]+)", text)
    assert typed and set(typed) <= set(docs["command_table"]())


def test_files_named_on_the_pages_exist(root: Path) -> None:
    text = (root / "discompute_lite" / "README.md").read_text("utf-8")
    named = set(re.findall(r"`((?:model|core|wire|crypto|tasks|host|net|roles|faces)/[a-z_]+\.py)`", text))
    assert named
    missing = sorted(name for name in named if not (root / "discompute_lite" / name).is_file())
    assert not missing


def test_each_of_the_fifty_hostile_rows_has_its_test(docs: dict) -> None:
    rows = docs["hostile_rows"]()
    assert list(rows) == list(range(1, 51)), sorted(set(range(1, 51)) ^ set(rows))
