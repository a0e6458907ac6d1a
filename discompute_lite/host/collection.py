"""Spare Python's search for garbage what stays: a search looks at everything that lives.

Knows:   that a node's parts live as long as it does, and that reading 10,000 tasks has it search some hundred times.
Refuses: to keep it off for good.
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


@contextmanager
def collection_of_new() -> Iterator[None]:
    """Search only among what is made meanwhile: what is there now is taken to live as long."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
