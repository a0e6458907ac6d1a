"""Take scikit-learn's wrapper off a call, and put its settings around the call where that is made.

Knows:   what `sklearn.utils.parallel.delayed` puts around each function.
Refuses: to import scikit-learn where no call of it is made.
Read next: faces/joblib_backend.py (who asks).

The wrapper is an object, and what is wrapped often a function of a person's own, which travels as source: so the
function goes alone, with what the wrapper holds beside it.
"""

from __future__ import annotations

import warnings
from functools import partial
from importlib import import_module
from typing import Any, Callable, Dict, List, Sequence


def unwrapped_call(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does the same and can travel, for scikit-learn's wrappers; any other as it is."""
    kind = type(function)
    if (kind.__module__, kind.__name__) != ("sklearn.utils.parallel", "_FuncWrapper"):
        return function
    wrapped: Any = function
    filters = [list(each) for each in getattr(wrapped, "warning_filters", ())]
    return partial(call_configured, wrapped.function, dict(getattr(wrapped, "config", {})), filters)


def call_configured(
    function: Callable[..., Any], config: Dict[str, Any], filters: Sequence[List[Any]], /, *args: Any, **kwargs: Any
) -> Any:
    """Call a function with the settings and the filters of warnings that hold where it was called."""
    with import_module("sklearn").config_context(**config), warnings.catch_warnings():
        warnings.resetwarnings()
        # Each goes before those that are there.
        for action, message, category, module, line in reversed(filters):
            warnings.filterwarnings(action, _pattern(message), category, _pattern(module), line)
        return function(*args, **kwargs)


def _pattern(wanted: Any) -> str:
    """Return the text of a filter's pattern, which is compiled, text, or None for any."""
    return wanted if isinstance(wanted, str) else getattr(wanted, "pattern", "")
