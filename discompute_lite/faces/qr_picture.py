"""Draw a QR code in a terminal, where it fits: two modules a character, dark on light whatever the terminal's colours.

Knows:   half blocks, the quiet zone around a code, and how much room a terminal has.
Refuses: to make the code (wire/qr.py does); to print (faces/console.py).
Read next: wire/qr.py, faces/cluster_commands.py (who shows one).
"""

from __future__ import annotations

from typing import List

from ..model.errors import TooLarge
from ..wire.qr import qr_code

#: Light modules around a code, as the standard wants them, and as few as cameras still take.
QUIET_ZONES = (4, 2)
#: Rows that stay free for what is said beside it.
ROWS_BESIDE = 3
#: (upper is light, lower is light) -> a character that paints light modules.
_HALVES = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}
#: White on black: what is light is painted, and what is dark is black on every terminal.
_DARK_ON_LIGHT = "\x1b[97;40m{}\x1b[0m"


def qr_lines(text: str, columns: int, rows: int, *, is_coloured: bool) -> List[str]:
    """Return the lines of a picture for a terminal of this size, [] where it does not fit.

    Without colours the terminal is taken for a dark one; on a light one cameras see the negative, which most read.
    """
    try:
        modules = qr_code(text.encode("utf-8"))
    except TooLarge:
        return []
    for quiet in QUIET_ZONES:
        side = len(modules) + 2 * quiet
        if side < columns and (side + 1) // 2 + ROWS_BESIDE <= rows:
            light = [[True] * side for _ in range(side + side % 2)]
            for row, line in enumerate(modules, quiet):
                light[row][quiet:side - quiet] = [not dark for dark in line]
            if side % 2:
                light[side] = [False] * side  # Half a character that is no part of it.
            pairs = zip(light[::2], light[1::2])
            lines = ["".join(_HALVES[halves] for halves in zip(upper, lower)) for upper, lower in pairs]
            return [_DARK_ON_LIGHT.format(line) for line in lines] if is_coloured else lines
    return []
