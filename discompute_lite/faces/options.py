"""Read how calls are to be run: what `Cluster.options` takes, and what is wrong with it in a sentence.

Knows:   every option, what it may be, and what holds where nobody says anything.
Refuses: to know what follows from one; see faces/dispatch.py and roles/streams.py.
Read next: faces/api.py (`Cluster.options`).
"""

from __future__ import annotations

import operator
from difflib import get_close_matches
from math import isfinite
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

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
            close = get_close_matches(name, _READERS, 1)
            advice = f"did you mean {close[0]}?" if close else f"there are {', '.join(most)} and {last}"
            raise TypeError(f"there is no option {name}; {advice}")
        read, allowed = _READERS[name]
        try:
            found[name] = read(value)
        except (TypeError, ValueError) as problem:
            text = f"the option {name} is {allowed}, and not {value!r:.60}"
            raise type(problem)(text) from None
    return PLAIN_OPTIONS._replace(**found)


def _seconds(value: Any) -> float:
    seconds = 0.0 if value is None else float(_no_text(value))
    if not (isfinite(seconds) and seconds >= 0):
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
