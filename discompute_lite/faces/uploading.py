"""Read the modules that a person wants to send with a function.

Knows:   files and folders of Python modules.
Refuses: what is neither, by name.
Read next: tasks/uploads.py (what is checked).
"""

from __future__ import annotations

import os
import tokenize
from typing import Iterator, List, Sequence, Tuple, Union

from ..model.errors import TaskRejected
from ..tasks.uploads import UploadedModule, check_uploads


def read_uploads(paths: Union[str, Sequence[str]]) -> Tuple[UploadedModule, ...]:
    """Return the modules of files such as "helpers.py" and folders such as "pkg/"; raise `TaskRejected`."""
    modules: List[UploadedModule] = []
    for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        text = os.fspath(path)
        whole = os.path.abspath(text)
        if os.path.isdir(whole):
            modules.extend(_package(whole, os.path.basename(whole)))
        elif os.path.isfile(whole) and whole.endswith(".py"):
            file = os.path.basename(whole)
            modules.append(UploadedModule(file[:-3], False, file, _text(whole, file)))
        else:
            raise TaskRejected(f"upload names {text}, which is no Python file and no folder here; give a path from "
                               f"{os.getcwd()}")
    check_uploads(modules)
    return tuple(modules)


def _package(folder: str, name: str) -> Iterator[UploadedModule]:
    shown = name.replace(".", "/")
    first = os.path.join(folder, "__init__.py")
    text = _text(first, f"{shown}/__init__.py") if os.path.isfile(first) else ""
    yield UploadedModule(name, True, f"{shown}/__init__.py", text)
    for entry in sorted(os.listdir(folder)):
        path = os.path.join(folder, entry)
        if entry.endswith(".py") and entry != "__init__.py" and os.path.isfile(path):
            yield UploadedModule(f"{name}.{entry[:-3]}", False, f"{shown}/{entry}", _text(path, f"{shown}/{entry}"))
        elif entry.isidentifier() and entry != "__pycache__" and os.path.isdir(path) and not os.path.islink(path):
            below = list(_package(path, f"{name}.{entry}"))
            if any(not module.is_package or module.text for module in below):
                yield from below


def _text(path: str, file: str) -> str:
    try:
        with tokenize.open(path) as stream:
            return stream.read()
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise TaskRejected(f"upload cannot read {file}: {error}; mend it, then upload it") from None
