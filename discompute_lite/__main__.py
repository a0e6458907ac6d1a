"""Run the command line: ``python -m discompute_lite COMMAND``."""

from __future__ import annotations

import gc
import sys

from .faces.quick import is_quick, main_quick

# Before a whole node is loaded: what needs none is answered in a tenth of the time.
if is_quick(sys.argv[1:]) and main_quick() is not None:
    sys.exit(0)
else:
    # What is loaded stays: looking through it again and again costs a start a twentieth of its time.
    gc.disable()

from .model.errors import NO_ZLIB

try:
    import zlib  # noqa: F401 - some builds of Python leave it out, and modules below need it.
except ImportError:
    sys.exit(NO_ZLIB)

from .faces.cli import main

gc.enable()

if __name__ == "__main__":
    sys.exit(main())
