"""Remember which nodes run in this process, beyond a reloading of our modules, so that a second start takes over.

Knows:   an entry of `sys.modules` that no purge of ours touches, and the node that was started last on each folder.
Refuses: nodes of other processes, which host/folder_lock.py knows; and to trust that a thread ended as it should:
         apps end threads without running what stands in their `finally`.
Read next: run.py (who asks).

Inside an app of a phone every script runs in the app's own process. Whoever presses *run* twice wants one node.
"""

from __future__ import annotations

import sys
import threading
from types import ModuleType
from typing import Any, Callable

#: Where the nodes are remembered. Older and newer versions of this module must agree on it.
REGISTRY = "_discompute_lite_nodes"
#: Seconds that a node has to end by itself, goodbyes included, before it is ended from outside.
TURN_S = 3.0


class Turn:
    """Hold how one node is ended, and whether it is."""

    def __init__(self, stop: Callable[[], None], close: Callable[[], None]) -> None:
        self.stop = stop
        self.close = close
        self.is_over = threading.Event()


def take_turn(folder: str, turn: Turn) -> bool:
    """End the node that this process runs on a state folder, if there is one, and be the next; say whether it was.

    Whoever calls sets `turn.is_over` when all that its node took is released.
    """
    registry = sys.modules.setdefault(REGISTRY, ModuleType(REGISTRY))
    names = vars(registry)
    lock: Any = names.setdefault("lock", threading.Lock())
    turns = names.setdefault("turns", {})
    with lock:
        before = turns.get(folder)
        had_one = before is not None and not before.is_over.is_set()
        if had_one:
            before.stop()
            if not before.is_over.wait(TURN_S):
                # Nobody runs it any more: its thread was ended without a word.
                before.close()
        turns[folder] = turn
    return had_one
