"""Start this program again in a new Python: from a package, from an archive, or from a single file.

Knows:   where the program was read from, and how it is had as one file.
Refuses: to start anything.
Read next: host/child_process.py (who starts children).
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, List

from ..model.errors import StateError
from .whole_file import sources_in

PROGRAM = "discompute_lite"


def can_relaunch() -> bool:
    """Whether the program can be read again: not where its text was pasted, and no file holds it."""
    return _single_file() is not None


def relaunch_words(entry: str, *, is_isolated: bool = True) -> List[str]:
    """Return the command that runs `entry` ("module:function" of this package) in a new Python.

    Isolated (-I), neither the user's environment nor the current folder changes what is imported; the
    module path is ours, so that NumPy and friends are there.
    """
    module, _, function = entry.partition(":")
    paths = [os.path.abspath(path) for path in sys.path]
    file = _single_file()
    load = "" if not file else (
        f"from importlib.util import module_from_spec, spec_from_file_location as place; here = place({PROGRAM!r} "
        f"'_file', {file!r}); here.loader.exec_module(module_from_spec(here)); ")
    code = f"import sys; sys.path[:] = {paths!r}; {load}from {PROGRAM}.{module} import {function}; {function}()"
    return [sys.executable, *(["-I"] if is_isolated else []), "-c", code]


def read_program() -> bytes:
    """Return this whole program as the small file, the same from wherever it runs; raise StateError where it cannot be.

    Takes some seconds of processor where it has to be made.
    """
    path = _single_file()
    if path is None:
        raise StateError("this program was pasted and lies in no file", "run `share` where it is a file or a clone")
    if not path:
        making, folder = _making(), next(iter(sys.modules[PROGRAM].__path__))
        return bytes(making.small_file(making.package_sources(os.path.abspath(folder))))
    try:
        with open(str(path), "rb") as file:
            data = file.read()
    except OSError as error:
        raise StateError(f"{path} cannot be read any more ({error.strerror}); put it back, or start it again from where"
                         " it is now") from None
    # The one to be read holds texts, the small one is what is lent.
    sources = sources_in(data.decode("utf-8", "replace"))
    return bytes(_making().small_file(sources)) if sources else data


def _making() -> Any:
    """Return the module that makes the small file, which that file does without."""
    return import_module(f"{PROGRAM}.host.small_file")


def _single_file() -> object:
    """Return the file that holds all of this program, "" where it is a package, None where it is in no file."""
    return getattr(sys.modules.get(PROGRAM), "single_file", "")
