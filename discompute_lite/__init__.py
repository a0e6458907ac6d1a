"""Turn the devices that people already own into one computer for Python work.

Read next: README.md in this folder (the map), model/errors.py, roles/node.py.
"""

from importlib import import_module
from typing import Any

from .model.version import VERSION

__version__ = VERSION
__all__ = ["Cluster", "ClusterFuture", "PoisonedSubtask", "__version__", "register_joblib"]
#: Where the public names are, which are loaded when they are first asked for: processes that run subtasks need none.
_PLACES = {"Cluster": "api", "ClusterFuture": "futures", "PoisonedSubtask": "futures",
           "register_joblib": "joblib_backend"}


def __getattr__(name: str) -> Any:
    """Load a public name."""
    if name not in _PLACES:
        raise AttributeError(f"discompute_lite has no public name {name!r}")
    return getattr(import_module(f"discompute_lite.faces.{_PLACES[name]}"), name)
