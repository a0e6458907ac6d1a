"""Say, once a kind of setting, which values fit: from text (environment, flags) and from typed values (file, code).

Knows:   numbers in a range, words out of a list, names, addresses, peers and the limits by name.
Refuses: whatever does not fit, by a ValueError whose argument is the part that does not, and perhaps what would;
         the setting that asked turns it into a SettingsError with its own name and source.
Read next: model/settings.py (the table that uses these).

Text is typed as a plain YAML scalar is, so `0x1F90` and `8080` mean the same in a file, a variable and a flag.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, List, Tuple

from .limits import Limits
from .yaml_subset import type_plain_scalar

#: Where a node listens, and a peer is looked for, unless told otherwise.
DEFAULT_NODE_PORT = 8080
DEFAULT_DISCOVERY_PORT = 5005
#: How text says *an empty list*; an empty variable means *not set*.
EMPTY_LIST_WORD = "none"

_SWITCH_WORDS = {
    "true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False,
}
_ADDRESS_TEXT = re.compile(r"[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?")
_PEER_TEXT = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]+)(?::([0-9]{1,5}))?")
_HOST_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"{_HOST_LABEL}(?:\.{_HOST_LABEL})*")
#: An id is 52 characters of base32, and its first eight are what people type: any such beginning is taken.
_LOOKS_LIKE_ID = re.compile("[a-z2-7]{8,52}", re.IGNORECASE)
#: Largest whole number that every JSON reader keeps.
_LARGEST_LIMIT = 2 ** 53
#: Three years: longer waits than any node lives.
_LONGEST_LIMIT_S = 1e8


def _as_plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class SettingKind:
    """Hold what one kind of value needs."""

    #: What stands after a flag in its help, such as ``PORT``.
    label: str
    #: Completes the sentence "write ...".
    wanted: str
    #: text or typed value -> the one form in which Settings hold it; ValueError with the part that does not fit.
    take: Callable[[Any], Any]
    #: that form -> what YAML writes.
    to_plain: Callable[[Any], Any] = _as_plain


def switch_kind() -> SettingKind:
    """Return the kind that is true or false."""
    def take(value: Any) -> bool:
        if isinstance(value, bool):
            return value
        word = str(value).strip().lower() if isinstance(value, (str, int)) else ""
        if word not in _SWITCH_WORDS:
            raise ValueError(value)
        return _SWITCH_WORDS[word]

    return SettingKind("BOOL", "true or false", take)


def whole_kind(low: int, high: int, label: str = "N") -> SettingKind:
    """Return the kind of whole numbers from `low` to `high`."""
    def take(value: Any) -> int:
        number = _read_number(value)
        if not isinstance(number, int) or not low <= number <= high:
            raise ValueError(value)
        return number

    return SettingKind(label, f"a whole number from {low} to {high}", take)


def number_kind(low: float, high: float, label: str = "NUMBER") -> SettingKind:
    """Return the kind of numbers from `low` to `high`."""
    def take(value: Any) -> float:
        number = _read_number(value)
        if not low <= number <= high:
            raise ValueError(value)
        return float(number)

    return SettingKind(label, f"a number from {low:g} to {high:g}", take)


def line_kind(label: str, longest: int) -> SettingKind:
    """Return the kind of text that people read: visible characters, no spaces at its ends; "" for automatic."""
    def take(value: Any) -> str:
        return _read_line(value, longest)

    return SettingKind(label, f"1 to {longest} visible characters (in quotes if it looks like a number)", take)


def alias_kind() -> SettingKind:
    """Return the kind of a device's alias: usable wherever a DEVICE is asked for, and never mistaken for an id."""
    def take(value: Any) -> str:
        alias = _read_line(value, 64)
        if _LOOKS_LIKE_ID.fullmatch(alias) or re.search(r":[0-9]+$", alias):
            raise ValueError(value)
        return alias

    return SettingKind("ALIAS", "1 to 64 visible characters that do not look like an id or an address, "
                                "such as 'kitchen-mac': 8 or more letters need a hyphen, a space, 0, 1, 8 or 9", take)


def choice_kind(label: str, words: Tuple[str, ...], *, blank: bool = False) -> SettingKind:
    """Return the kind that is one of `words`, or "" for automatic where `blank`."""
    def take(value: Any) -> str:
        word = value.strip() if isinstance(value, str) else value
        if word in words or (blank and word == ""):
            return str(word)
        raise ValueError(value)

    return SettingKind(label, "one of " + ", ".join(words), take)


def several_kind(label: str, words: Tuple[str, ...]) -> SettingKind:
    """Return the kind that is any of `words`, held in their order as a tuple."""
    def take(value: Any) -> Tuple[str, ...]:
        chosen = _read_items(value)
        for item in chosen:
            if item not in words:
                raise ValueError(item)
        return tuple(word for word in words if word in chosen)

    return SettingKind(label, f"any of {', '.join(words)}, or {EMPTY_LIST_WORD} ([] in a file)", take)


def bind_kind() -> SettingKind:
    """Return the kind of an address to listen on: "all", however it was written, or an IP address as text."""
    def take(value: Any) -> str:
        text = value.strip() if isinstance(value, str) else ""
        if text in ("all", "localhost"):
            return {"all": "all", "localhost": "127.0.0.1"}[text]
        address = _read_address(text, value)
        # Both mean every address: held in one form, so that nobody after this has to know the others.
        return "all" if address in ("0.0.0.0", "::") else address

    return SettingKind("ADDRESS", "all, or an IP address of this machine such as 127.0.0.1", take)


def executor_kind() -> SettingKind:
    """Return the kind of an executor's name; "" for automatic."""
    def take(value: Any) -> str:
        text = value.strip() if isinstance(value, str) else None
        if text in ("", "process", "thread"):
            return str(text)
        parts = (text or "").split(":")
        if len(parts) != 2 or not all(name.isidentifier() for part in parts for name in part.split(".")):
            raise ValueError(value)
        return ":".join(parts)

    return SettingKind("EXECUTOR", "process, thread, or module:callable", take)


def peers_kind() -> SettingKind:
    """Return the kind of addresses to contact: a tuple of host:port, IPv6 in brackets, none of them twice."""
    def take(value: Any) -> Tuple[str, ...]:
        return tuple(dict.fromkeys(_read_peer(item) for item in _read_items(value)))

    return SettingKind("HOST[:PORT],...", "host or host:port, IPv6 as [::1]:8080, ports from 1 to 65535, "
                                          f"separated by commas (a list in a file), or {EMPTY_LIST_WORD}", take)


def words_like(word: str, known: Iterable[str], most: int = 1, likeness: float = 0.6) -> List[str]:
    """Return the known words that may have been meant, the likest first."""
    import difflib  # A quarter of a megabyte, which only a slip of the pen needs.

    return difflib.get_close_matches(word, list(known), most, likeness)


def limits_kind() -> SettingKind:
    """Return the kind that changes fields of Limits: a tuple of (name with hyphens, number) in their order."""
    def take(value: Any) -> Tuple[Tuple[str, float], ...]:
        numbers: Dict[str, Any] = {}
        for name, number in _read_pairs(value):
            if name not in standard:
                close = words_like(str(name), standard, 3)
                raise ValueError(name, f"{' or '.join(close) or 'one of ' + ', '.join(standard)} with a number")
            if name in numbers:
                raise ValueError(name)
            numbers[name] = _read_limit(number, standard[name])
        return tuple((name, numbers[name]) for name in standard if name in numbers)

    standard = {field.name.replace("_", "-"): field.default for field in dataclasses.fields(Limits)}
    wanted = "NAME=NUMBER,... (NAME: NUMBER in a file) with each name once and numbers above 0"
    return SettingKind("NAME=NUMBER,...", wanted, take, to_plain=dict)


def _read_number(value: Any) -> Any:
    """Return an int or a float."""
    try:
        number = type_plain_scalar(value.strip()) if isinstance(value, str) else value
    except ValueError:
        number = None
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise ValueError(value)
    return number


def _read_line(value: Any, longest: int) -> str:
    if not isinstance(value, str) or not value.isprintable() or len(value.strip()) > longest:
        raise ValueError(value)
    if value and not value.strip():
        raise ValueError(value)
    return value.strip()


def _read_items(value: Any) -> List[Any]:
    """Return the items of a list, or of text with commas."""
    if isinstance(value, str):
        text = value.strip()
        return [] if text in ("", EMPTY_LIST_WORD) else [item.strip() for item in text.split(",")]
    if not isinstance(value, (list, tuple)):
        raise ValueError(value)
    return list(value)


def _read_pairs(value: Any) -> Iterable[Tuple[Any, Any]]:
    """Return the pairs of a mapping, of a list of pairs, or of text such as ``a=1,b=2``."""
    if isinstance(value, dict):
        return value.items()
    pairs = []
    for item in _read_items(value):
        pair = tuple(part.strip() for part in item.split("=")) if isinstance(item, str) else item
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError(item)
        pairs.append(pair)
    return pairs


def _read_limit(value: Any, standard: Any) -> float:
    """Return a positive number of the kind that the limit's standard value is."""
    number = _read_number(value)
    whole = isinstance(standard, int)
    if not 0 < number <= (_LARGEST_LIMIT if whole else _LONGEST_LIMIT_S) or (whole and not isinstance(number, int)):
        raise ValueError(value)
    return int(number) if whole else float(number)


def _read_address(text: str, value: Any) -> str:
    if not _ADDRESS_TEXT.fullmatch(text):
        raise ValueError(value)
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(value) from None


def _read_peer(value: Any) -> str:
    found = _PEER_TEXT.fullmatch(value.strip()) if isinstance(value, str) else None
    if not found:
        raise ValueError(value)
    host, port = found.group(1), int(found.group(2) or DEFAULT_NODE_PORT)
    if not 0 < port < 65536:
        raise ValueError(value)
    if host.startswith("["):
        address = _read_address(host[1:-1], value)
        if ":" not in address:
            raise ValueError(value)
        return f"[{address}]:{port}"
    if len(host) > 253 or not _HOST_NAME.fullmatch(host):
        raise ValueError(value)
    # A name that ends in digits is an address to every resolver, and 300.1.1.1 is none.
    if host.rpartition(".")[2].isdigit():
        host = _read_address(host, value)
    return f"{host}:{port}"
