"""Carry as a pickle what is no data, where both ends allow it (the setting `allow-pickle`).

Knows:   how to pickle a value whose classes may be a person's own: these are written as names of the `ClassBook`, and
         come along with the function, as source.
Refuses: to read or write a pickle where its `PickleRule` does not say yes: reading one runs what its author chose.
Read next: tasks/class_book.py (rules and names), tasks/value_writer.py and tasks/value_reader.py (who asks).

The content of the tag is ["module.Class", bytes]: the name is for refusals, and is read without the pickle.
"""

from __future__ import annotations

import io
from functools import lru_cache
from types import FunctionType
from typing import Any, List, Tuple

from ..model.errors import TaskRejected
from .class_book import ClassBook
from .function_origin import is_installed_class, is_installed_namespace

#: The newest that Python 3.9 reads.
PICKLE_PROTOCOL = 5


class PickleUnfit(TaskRejected):
    """This device does not read the pickle, but another may: one that allows it, or that has the packages."""


def pickle_value(value: Any, classes: ClassBook) -> List[Any]:
    """Return a tag's content; raise ValueError that says why there is none."""
    out = io.BytesIO()
    try:
        _own_kinds()[0](out, classes).dump(value)
    except RecursionError:
        raise
    except Exception as error:
        # A person's own __reduce__, which may raise anything.
        raise ValueError(f"it cannot be pickled either: {str(error)[:200] or type(error).__name__}") from None
    return [f"{type(value).__module__}.{type(value).__qualname__}", out.getvalue()]


def unpickle_value(content: Any, classes: ClassBook) -> Any:
    """Return what was pickled; raise `PickleUnfit` where that is not allowed or fails."""
    name, data = content if type(content) is list and len(content) == 2 else (None, None)
    if type(name) is not str or type(data) is not bytes:
        raise TaskRejected("the content of 'pickle' is the name of a class and bytes")
    if not classes.pickles.is_allowed:
        raise refused_pickle(name, classes.pickles.why_not)
    try:
        return _own_kinds()[1](io.BytesIO(data), classes).load()
    except RecursionError:
        raise
    except Exception as error:
        # A person's own __setstate__, or a package that is missing or of another version.
        raise PickleUnfit(f"the pickled {name[:100]} cannot be read here: {type(error).__name__}: "
                          f"{str(error)[:200]}") from None


def refused_pickle(name: str, why_not: str) -> PickleUnfit:
    """Return the error that says why a pickle is not read."""
    return PickleUnfit(f"a pickled {name[:100]} is not read here" + (f": {why_not}" if why_not else ""))


@lru_cache
def _own_kinds() -> Tuple[Any, Any]:
    """Return the classes that write and read pickles, made when the first one is: few nodes ever have one."""
    import pickle

    class OwnPickler(pickle.Pickler):
        """Write a person's own classes as names."""

        def __init__(self, out: io.BytesIO, classes: ClassBook) -> None:
            super().__init__(out, PICKLE_PROTOCOL)
            self._classes = classes

        def persistent_id(self, value: Any) -> Any:
            """Return the name of a class of a person's own; None for all else, which pickle writes as always."""
            if isinstance(value, type) and not is_installed_class(value):
                return list(self._classes.name_of(value))
            if type(value) is FunctionType and not is_installed_namespace(value.__globals__):
                raise ValueError(f"it holds {value.__qualname__}, a function of your own, which travels only as the "
                                 "function that is called or as something that it uses")
            return None

    class OwnUnpickler(pickle.Unpickler):
        """Find a person's own classes by their names."""

        def __init__(self, source: io.BytesIO, classes: ClassBook) -> None:
            super().__init__(source)
            self._classes = classes

        def persistent_load(self, pid: Any) -> Any:
            """Return the class of a name."""
            module, path = pid
            return self._classes.find(module, path, "")

    return OwnPickler, OwnUnpickler
