"""Run a node inside Pythonista: open this file in the app and press the play button.

The folder above this one holds the package, so copy the whole tree into the app's documents. There is a screen where
the app has one, and text elsewhere. Close it, or use the app's stop button, to end the node; another press of play
takes over from it, as the same device.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from discompute_lite.faces.cli import main
    from discompute_lite.faces.pythonista import screen_main

    if not screen_main(os.environ):
        main(["start"])
