"""Turn the devices that people already own into one computer for Python work.

Read next: README.md in this folder (the map), model/errors.py, roles/node.py.
"""

from .model.version import VERSION

__version__ = VERSION
__all__ = ["__version__"]
