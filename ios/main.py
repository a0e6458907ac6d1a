"""Run a node inside Pythonista: open this file in the app and press the play button.

The folder above this one holds the package, so copy the whole tree into the app's documents. Stop with the
app's stop button; a second start takes the same identity again.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from discompute_lite.faces.cli import main

    main(["start"])
