"""Draw the course of a training: as lines of text for a terminal, and as an SVG picture.

Knows:   scales and marks.
Refuses: to invent points: what was not measured is not drawn.
Read next: faces/train_command.py (who shows them).
"""

from __future__ import annotations

import math
from typing import List, Optional, Sequence, Tuple
from html import escape

#: Pictures are so wide and high, with so much for the words at the edges.
SVG_WIDTH, SVG_HEIGHT, SVG_MARGIN = 640, 320, 48
_COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#8250df")
#: A named row of numbers, one a round; None where a round has none.
Curve = Tuple[str, Sequence[Optional[float]]]


def curve_text(curve: Curve, width: int, height: int = 8) -> List[str]:
    """Return lines of text that show one curve, its greatest and least value written at the left."""
    name, values = curve
    points = _points(values)
    if not points or height < 2:
        return []
    low, high = min(value for _, value in points), max(value for _, value in points)
    labels = [f"{high:.4g}", f"{low:.4g}"]
    edge = max(map(len, labels))
    columns = max(1, width - edge - 3)
    last = max(1, len(values) - 1)
    grid = [[" "] * columns for _ in range(height)]
    for index, value in points:
        column = round(index / last * (columns - 1))
        row = round((high - value) / (high - low) * (height - 1)) if high > low else height - 1
        grid[row][column] = "*"
    lines = [name]
    for row, cells in enumerate(grid):
        label = labels[0] if row == 0 else labels[1] if row == height - 1 else ""
        lines.append(f"{label:>{edge}} |{''.join(cells)}".rstrip())
    return lines


def curve_svg(curves: Sequence[Curve], title: str) -> str:
    """Return a picture of curves over rounds, each on the scale of its own values."""
    rounds = max((len(values) for _, values in curves), default=0)
    left, right, top, bottom = SVG_MARGIN, SVG_WIDTH - 16, 40, SVG_HEIGHT - 32
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{SVG_WIDTH}" height="{SVG_HEIGHT}" font-family="sans-serif"'
        ' font-size="12">',
        f'<rect width="{SVG_WIDTH}" height="{SVG_HEIGHT}" fill="white"/>',
        f'<text x="{left}" y="20" font-size="14">{escape(title)}</text>',
        f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="#8c959f"/>',
        f'<text x="{right}" y="{bottom + 18}" text-anchor="end">round {rounds}</text>',
    ]
    for number, (name, values) in enumerate(curves):
        points = _points(values)
        if not points:
            continue
        colour = _COLOURS[number % len(_COLOURS)]
        low, high = min(value for _, value in points), max(value for _, value in points)
        span = (high - low) or 1.0
        line = " ".join(f"{left + index / max(1, rounds - 1) * (right - left):.1f},"
                        f"{bottom - (value - low) / span * (bottom - top):.1f}" for index, value in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{left + 8}" y="{top + 14 * (number + 1)}" fill="{colour}">{escape(name)}: '
                     f"{values_span(low, high, points[-1][1])}</text>")
    return "\n".join([*parts, "</svg>", ""])


def values_span(low: float, high: float, last: float) -> str:
    """Return words for where a curve has been and where it ends."""
    return f"{low:.4g} to {high:.4g}, at the end {last:.4g}"


def _points(values: Sequence[Optional[float]]) -> List[Tuple[int, float]]:
    return [(index, value) for index, value in enumerate(values) if value is not None and math.isfinite(value)]
