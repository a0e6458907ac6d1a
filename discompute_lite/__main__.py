"""Run the command line: ``python -m discompute_lite COMMAND``."""

from __future__ import annotations

import sys

from .faces.quick import is_quick, main_quick

if is_quick(sys.argv[1:]):
    main = main_quick
else:
    from .faces.cli import main

if __name__ == "__main__":
    sys.exit(main())
