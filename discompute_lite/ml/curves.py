"""Draw the course of a training: as lines of text for a terminal, and as an SVG picture.

Knows:   scales and marks.
Refuses: to invent points: what was not measured is not drawn.
Read next: faces/train_lines.py (who shows them).
"""

from __future__ import annotations

import math
from typing import List, Optional, Sequence, Tuple

#: Pictures are so wide, with so much free at both sides; curves are so high.
SVG_WIDTH, SVG_MARGIN, SVG_PLOT_HEIGHT = 640, 32, 240
#: Where the names of curves begin, above all curves, and how far each stands below the last one.
_NAMES_TOP, _NAME_HEIGHT = 42, 16
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
    """Return a picture of curves over rounds, each on the scale of its own values, which its name above them tells."""
    from html import escape  # Half a megabyte of names of letters.

    drawn = [(name, _points(values)) for name, values in curves if _points(values)]
    last = max((index for _, points in drawn for index, _ in points), default=0)
    left, right, top = SVG_MARGIN, SVG_WIDTH - SVG_MARGIN, _NAMES_TOP + _NAME_HEIGHT * len(drawn)
    bottom = top + SVG_PLOT_HEIGHT
    height = bottom + 32
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{SVG_WIDTH}" height="{height}"'
        f' viewBox="0 0 {SVG_WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{SVG_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="22" font-size="14">{escape(title)}</text>',
        f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="#8c959f"/>',
        f'<text x="{left}" y="{bottom + 18}" text-anchor="middle">1</text>',
        f'<text x="{right}" y="{bottom + 18}" text-anchor="end">round {last + 1}</text>',
    ]
    for number, (name, points) in enumerate(drawn):
        colour = _COLOURS[number % len(_COLOURS)]
        low, high = min(value for _, value in points), max(value for _, value in points)
        places = [(left + index / max(1, last) * (right - left),
                   bottom - (value - low) / ((high - low) or 1.0) * SVG_PLOT_HEIGHT) for index, value in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        # Of one alone there is no line to be seen.
        parts.append(f'<circle cx="{places[-1][0]:.1f}" cy="{places[-1][1]:.1f}" r="3" fill="{colour}"/>')
        parts.append(f'<text x="{left}" y="{_NAMES_TOP + _NAME_HEIGHT * number}" fill="{colour}">{escape(name)}: '
                     f"{values_span(low, high, points[-1][1])}</text>")
    return "\n".join([*parts, "</svg>", ""])


def values_span(low: float, high: float, last: float) -> str:
    """Return words for where a curve has been and where it ends."""
    return f"{low:.4g} to {high:.4g}, at the end {last:.4g}"


def _points(values: Sequence[Optional[float]]) -> List[Tuple[int, float]]:
    return [(index, value) for index, value in enumerate(values) if value is not None and math.isfinite(value)]
