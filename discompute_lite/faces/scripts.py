"""Run a person's file as importing it would, for commands that use a function or a class of it.

Knows:   what can be wrong with a file, in one sentence each.
Refuses: to leave the module behind: afterwards it is forgotten.
Read next: faces/map_command.py, faces/train_command.py (who use it).
"""

from __future__ import annotations

import importlib.util
import os
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import Iterator, NamedTuple

from ..model.errors import SettingsError, TaskRejected
from ..tasks.jobs import read_purity

#: The person's module while the command runs; no module of theirs has this name.
_SCRIPT_MODULE = "discompute_script"


class PersonsScript(NamedTuple):
    """Hold a person's file that has been run."""

    module: ModuleType
    #: Whether two devices may do one piece at the same time; False only where the file says so, as a job does.
    is_pure: bool


@contextmanager
def script_of(file: str, advice: str) -> Iterator[PersonsScript]:
    """Give a file as it was run; `advice` is what to write where it cannot be read.

    Raises SettingsError for a file that cannot be read, `TaskRejected` for one that cannot be loaded.
    """
    try:
        with open(file, encoding="utf-8") as stream:
            source = stream.read()
    except UnicodeDecodeError:
        raise SettingsError(f"{file} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise SettingsError(f"{file} cannot be read ({error.strerror}); {advice}") from None
    label = os.path.basename(file)
    try:
        is_pure = read_purity(source, label) is not False
    except TaskRejected as error:
        raise TaskRejected(f"{error.message}; mend the file and run it again") from None
    folder = os.path.dirname(os.path.abspath(file))
    spec = importlib.util.spec_from_file_location(_SCRIPT_MODULE, os.path.abspath(file))
    assert spec is not None and spec.loader is not None
    module = sys.modules[_SCRIPT_MODULE] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, folder)
    try:
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as problem:
            text = f"{label} cannot be loaded: {type(problem).__name__}: {problem}".partition("\n")[0]
            mend = "install what it imports, or mend the file," if isinstance(problem, ImportError) else "mend the file"
            raise TaskRejected(f"{text}; {mend} and run it again") from problem
        yield PersonsScript(module, is_pure)
    finally:
        sys.modules.pop(_SCRIPT_MODULE, None)
        if folder in sys.path:
            sys.path.remove(folder)
