"""Run the command line: ``python -m discompute_lite COMMAND``."""

from __future__ import annotations

import sys

from .faces.cli import main

if __name__ == "__main__":
    sys.exit(main())
