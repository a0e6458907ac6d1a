"""The benches start: what they measure is theirs, that they can be run at all is everybody's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parents[2] / "tools" / "bench.py"


def test_the_benches_say_which_there_are():
    done = subprocess.run([sys.executable, str(BENCH), "--help"], capture_output=True, text=True, check=True)
    assert "{beside,discovery,hetero,ml,phone,rpc,security,start,tasks}" in done.stdout
