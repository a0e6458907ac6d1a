"""Run the command line: ``python -m discompute_lite COMMAND``."""

from __future__ import annotations

import gc
import os
import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) == signal.default_int_handler and not (
        hasattr(os, "uname") and os.uname().machine.startswith("iP")):
    # Until a command runs there is nothing to tidy up: Ctrl-C ends this in silence. Not in an app of iPhone or iPad,
    # whose process is not ours.
    try:
        _ctrl_c = signal.signal(signal.SIGINT, signal.SIG_DFL)
    except ValueError:
        _ctrl_c = None  # Not the main thread.
else:
    _ctrl_c = None

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
    code = main()
    if _ctrl_c is not None:
        # This Python may go on, such as an editor's.
        signal.signal(signal.SIGINT, _ctrl_c)
    sys.exit(code)
