"""Put off Python's search for garbage while much is made that stays.

Knows:   that a search looks at everything that lives, and that reading 10,000 tasks has it look some hundred times.
Refuses: to keep it off for good: what is put off here is made up for.
Read next: run.py (who reads them).
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import Iterator


@contextmanager
def collection_put_off() -> Iterator[None]:
    """Search for no garbage meanwhile."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
