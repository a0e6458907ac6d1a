"""Read what a script says to `Cluster` and to `Cluster.options`, and say in a sentence what is wrong with it.

Knows:   every option and argument, what it may be, and what holds where nobody says anything.
Refuses: to know what follows from one; see faces/dispatch.py and roles/streams.py.
Read next: faces/api.py (`Cluster`, `Cluster.options`).
"""

from __future__ import annotations

import operator
import os
from math import isfinite
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

from ..model.setting_kinds import words_like
from ..model.settings import Settings
from ..tasks.uploads import UploadedModule
from .uploading import read_uploads


class CallOptions(NamedTuple):
    """Say how calls are to be run; see `Cluster.options`."""

    timeout: float = 0.0
    retries: int = 0
    priority: int = 5
    requires: Tuple[str, ...] = ()
    devices: int = 0
    pure: Optional[bool] = None
    #: What it returns outlives the script, where the cluster is durable.
    durable: bool = True
    #: Modules that go along as source.
    upload: Tuple[UploadedModule, ...] = ()


#: How calls are run where nobody says anything.
PLAIN_OPTIONS = CallOptions()


def read_options(named: Dict[str, Any]) -> CallOptions:
    """Return the options that a person names; raise TypeError or ValueError that say what one may be.

    Raises `TaskRejected` for what cannot be uploaded.
    """
    found = {}
    for name, value in named.items():
        if name not in _READERS:
            *most, last = _READERS
            close = words_like(name, _READERS)
            advice = f"did you mean {close[0]}?" if close else f"there are {', '.join(most)} and {last}"
            raise TypeError(f"there is no option {name}; {advice}")
        found[name] = _read(f"the option {name}", _READERS[name], value)
    return PLAIN_OPTIONS._replace(**found)


def read_argument(name: str, value: Any) -> Any:
    """Return what `Cluster` was given as `name`; raise TypeError or ValueError that say what it may be."""
    return _read(f"{name} of Cluster", _ARGUMENT_READERS[name], value)


def _read(what: str, reader: Tuple[Callable[[Any], Any], str], value: Any) -> Any:
    read, allowed = reader
    try:
        return read(value)
    except (TypeError, ValueError) as problem:
        # Whatever kind of the two it was, a kind of its own may need more than a text.
        kind = TypeError if isinstance(problem, TypeError) else ValueError
        raise kind(f"{what} is {allowed}, and not {value!r:.60}") from None


def _seconds(value: Any) -> float:
    seconds = 0.0 if value is None else _any_seconds(value)
    if not isfinite(seconds):
        raise ValueError
    return seconds


def _any_seconds(value: Any) -> float:
    seconds = float(_no_text(value))
    if not seconds >= 0:
        raise ValueError
    return seconds


def _whole_within(least: int, most: Optional[int] = None) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        number = operator.index(_no_text(value))
        if number < least or (most is not None and number > most):
            raise ValueError
        return number

    return read


def _no_text(value: Any) -> Any:
    if isinstance(value, (bool, str, bytes)):
        raise TypeError
    return value


def _names(value: Any) -> Tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(name, str) for name in names):
        raise TypeError
    return names


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _some_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    if not value.strip():
        raise ValueError
    return value


def _some_config(value: Any) -> Any:
    if value is None:
        return ""
    return value if isinstance(value, Settings) else _some_text(os.fspath(value))


#: Of each option how it is read, and in words what it may be.
_READERS: Dict[str, Tuple[Callable[[Any], Any], str]] = {
    "timeout": (_seconds, "a number of seconds, 0 for the device's own limit"),
    "retries": (_whole_within(0), "a whole number, 0 or more"),
    "priority": (_whole_within(1, 10), "a whole number from 1 to 10"),
    "requires": (_names, 'what a device must have, such as "gpu", or a list of that'),
    "devices": (_whole_within(0), "a whole number, 0 for all"),
    "pure": (lambda value: None if value is None else _yes_or_no(value), "True or False"),
    "durable": (_yes_or_no, "True or False"),
    "upload": (read_uploads, 'the path of a module or a package, such as "helpers.py", or a list of these'),
}

#: The same of each argument of `Cluster`.
_ARGUMENT_READERS: Dict[str, Tuple[Callable[[Any], Any], str]] = {
    "an address": (_some_text, 'the text host:port, such as "192.168.1.20:8080"'),
    "config": (_some_config, "the path of a configuration file, or settings that were read"),
    "min_devices": (_whole_within(0), "a whole number, 0 or more"),
    "wait": (_any_seconds, "a number of seconds, 0 or more"),
    "local": (_yes_or_no, "True or False"),
    "durable": (lambda value: value if isinstance(value, bool) else _some_text(value),
                "True, False or the name of a run"),
}
