"""Write values as YAML on one line, such that every YAML 1.1 or 1.2 reader gets the same values back.

Knows:   what YAML 1.1 would take for a number, a date or a truth value; such text is put in quotes.
Refuses: half surrogate pairs (SettingsError), and values that are no YAML (TypeError).
Read next: model/yaml_subset.py (the reader).
"""

from __future__ import annotations

import re
from typing import Any

from .errors import SettingsError

#: Beginning with a letter, ~ or / rules out numbers, dates and indicators of both YAML versions.
_YAML_PLAIN_SAFE = re.compile(r"[A-Za-z~/](?:[\w./@+~-]|:(?=[\w/]))*", re.ASCII)
#: What some reader does not take for text.
_YAML_PLAIN_WORDS = ("~", "null", "true", "false", "yes", "no", "on", "off", "y", "n")


def dump_scalar(value: Any) -> str:
    """Return None, a bool, a number or a text as YAML that any YAML 1.1 or 1.2 reader types the same."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _dump_float(value)
    if not isinstance(value, str):
        raise TypeError(f"not a scalar: {type(value).__name__}")
    if _YAML_PLAIN_SAFE.fullmatch(value) and value.lower() not in _YAML_PLAIN_WORDS:
        return value
    return '"' + "".join(_dump_character(character) for character in value) + '"'


def dump_yaml(value: Any) -> str:
    """Return `value` (scalars, lists, tuples, mappings with text keys) as YAML on one line."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(dump_yaml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{dump_scalar(key)}: {dump_yaml(item)}" for key, item in value.items()) + "}"
    return dump_scalar(value)


def _dump_float(value: float) -> str:
    if value != value or value in (float("inf"), -float("inf")):
        return {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"}[repr(value)]
    mantissa, mark, exponent = repr(value).partition("e")
    # YAML 1.1 wants a point, and a sign on the exponent; `repr` always writes that sign.
    return mantissa + ("" if "." in mantissa else ".0") + mark + exponent


def _dump_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[character]
    if not character.isprintable():
        if "\ud800" <= character <= "\udfff":
            raise SettingsError("half of a surrogate pair cannot be written as YAML; take it out of the text")
        return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"
    return character
