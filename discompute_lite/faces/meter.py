"""Show how far a long row of results is: a bar on a terminal, nothing anywhere else.

Knows:   how many came, how fast, and what share that is, where anybody can know it.
Refuses: to draw more often than an eye follows; to draw itself (faces/console.py does).
Read next: faces/console.py, faces/api.py (`map(progress=True)`), faces/map_command.py.
"""

from __future__ import annotations

import sys
import time
from typing import Any, Callable, Iterator, Optional, Sequence

from .console import Console

#: Seconds between two pictures.
DRAW_EVERY_S = 0.1


class Meter:
    """Count results, and show it; the bar is gone once `end` was called."""

    def __init__(
        self, console: Console, *, total: Optional[int] = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`total` is how many will come; without it only the count is shown."""
        self._console = console
        self._total = total
        self._clock = clock
        self._began = clock()
        self._drawn_at = float("-inf")
        self.count = 0

    def step(self, count: int = 1) -> None:
        """So many more results are there."""
        self.count += count
        self.draw()

    def draw(self) -> None:
        """Show how far it is, if the last picture is old enough."""
        now = self._clock()
        if now - self._drawn_at < DRAW_EVERY_S:
            return
        self._drawn_at = now
        took_s = max(now - self._began, 1e-9)
        share = None if self._total is None else self.count / self._total if self._total else 1.0
        parts = [f"{self.count:,} of {self._total:,}" if self._total is not None else f"{self.count:,} done"]
        if self.count:
            parts.append(f"{_rate_text(self.count / took_s)}/s")
        if share:
            parts.append(f"{duration_text(took_s * (1 - share) / share)} left")
        # What a narrow terminal has room for: how long it still takes is worth most.
        self._console.progress(share, ", ".join(parts), parts[-1] if share else parts[0])

    def end(self) -> None:
        """Take the bar away."""
        self._console.end_progress()


class MapBar:
    """Be the bar of one `map(progress=True)`."""

    def __init__(self, iterables: Sequence[Any]) -> None:
        console = Console()
        # Whatever cannot tell its length has no share: a generator.
        sized = all(hasattr(each, "__len__") for each in iterables)
        self._console = console
        self.meter = Meter(console, total=min(map(len, iterables)) if sized and iterables else None)

    def show(self, text: str) -> None:
        """Let what calls print stand above the bar."""
        self._console.end_progress()
        sys.stdout.write(text)
        sys.stdout.flush()


def metered(results: Iterator[Any], meter: Meter) -> Iterator[Any]:
    """Yield results, counting them."""
    meter.draw()
    try:
        for result in results:
            meter.step()
            yield result
    finally:
        meter.end()
        close = getattr(results, "close", None)
        if close is not None:
            close()


def duration_text(seconds: float) -> str:
    """Return so many seconds as a person says it: 0 s, 45 s, 3 min, 2 h 5 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _rate_text(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
