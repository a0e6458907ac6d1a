"""Send whole modules beside a function: what a person names in `upload`, checked before anything is sent.

Knows:   what an uploaded module is, what is wrong with one, and which live objects stand in one.
Refuses: to read files (faces/uploading.py does) and to import anything.
Read next: tasks/uploaded_modules.py (the other device), tasks/function_writer.py (who asks for operands).

What stands in an uploaded module travels by its name there, for the module is run anew on the device: it has what its
text says, not what it was given here since.
"""

from __future__ import annotations

import ast
import sys
from types import ModuleType
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..model.errors import TaskRejected
from ..model.limits import SOURCE_BYTES
from .function_origin import at_path, is_library, is_own_import
from .function_text import CutText, inner_imports, line_of_name, oldest_python


class UploadedModule(NamedTuple):
    """Hold one module as text."""

    #: Dotted, as it is imported.
    name: str
    is_package: bool
    #: Its file as people know it, such as "pkg/parts.py".
    file: str
    text: str

    @property
    def python(self) -> int:
        """Return the minor version of the oldest Python 3 that can read it."""
        return oldest_python(CutText(self.file, 1, 0, self.text))


def check_uploads(modules: Sequence[UploadedModule]) -> None:
    """Raise `TaskRejected` that names the file, and the line where there is one, and says what to do."""
    size = sum(len(module.text) for module in modules)
    if size > SOURCE_BYTES:
        raise TaskRejected(f"upload holds {size} characters, and a task carries {SOURCE_BYTES}; leave out modules that "
                           "the function does not need")
    seen: Dict[str, str] = {}
    for module in modules:
        if module.name in seen:
            raise TaskRejected(f"upload names the module {module.name} twice, as {seen[module.name]} and "
                               f"{module.file}; leave one out")
        seen[module.name] = module.file
    tops = {name.partition(".")[0] for name in seen}
    for module in modules:
        _check_upload(module, tops)


def _check_upload(module: UploadedModule, tops: Any) -> None:
    top = module.name.partition(".")[0]
    if not all(part.isidentifier() for part in module.name.split(".")):
        raise TaskRejected(f"upload names {module.file}, which cannot be imported by that name; rename it to a Python "
                           "name")
    if is_library(top) or top in ("__main__", "discompute_lite"):
        raise TaskRejected(f"upload names {module.file}, and {top} is a module of the standard library or of this "
                           "package, which it would hide; rename it")
    try:
        tree = ast.parse(module.text)
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None) or 1
        raise TaskRejected(f"{module.file}, line {line}: {getattr(error, 'msg', error)}; mend it, then upload it"
                           ) from None
    line = line_of_name(tree, "__file__")
    if line:
        raise TaskRejected(f"{module.file}, line {line} uses __file__, the place of a file that other devices do not "
                           "have; pass the data instead")
    for name, line in inner_imports(tree):
        if not name.startswith(".") and name.partition(".")[0] not in tops and is_own_import(name):
            raise TaskRejected(f"{module.file}, line {line} imports {name}, which other devices do not have; upload it "
                               "too")


class UploadBook:
    """Tell where live objects stand in the uploaded modules of one function; module i is space i of its plan."""

    def __init__(self, modules: Sequence[UploadedModule]) -> None:
        self.modules = list(modules)
        self._indexes = {module.name: index for index, module in enumerate(modules)}
        self._tops = {module.name.partition(".")[0] for module in modules}

    def names_of(self, module: UploadedModule) -> Dict[str, Any]:
        """Return the globals of a module as it is loaded here, or of one that is not."""
        loaded = sys.modules.get(module.name)
        return vars(loaded) if isinstance(loaded, ModuleType) else {"__name__": module.name}

    def has_import(self, name: str) -> bool:
        """Whether `import name` finds an uploaded module on the device."""
        return name.partition(".")[0] in self._tops

    def module_index(self, module: Any) -> Optional[int]:
        """Return the index of a live module, None where it was not uploaded."""
        index = self._indexes.get(module.__name__) if self._indexes and isinstance(module, ModuleType) else None
        return index if index is not None and sys.modules.get(module.__name__) is module else None

    def place_of(self, value: Any) -> Optional[Tuple[int, str]]:
        """Return (module's index, dotted name) of a function or class that stands in an uploaded module."""
        name, path = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
        if type(name) is not str or name not in self._indexes or type(path) is not str or "<" in path:
            return None
        try:
            return (self._indexes[name], path) if at_path(sys.modules.get(name), path) is value else None
        except AttributeError:
            return None

    def rows(self) -> List[List[Any]]:
        """Return JSON types for the plan."""
        return [list(module) for module in self.modules]
