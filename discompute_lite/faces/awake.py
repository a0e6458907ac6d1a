"""Keep an app of a phone running while a node runs in it, as far as the app lets a script, and take that back.

Knows:   Pythonista's display, which sleeps and takes the app along; Pyto's background tasks.
Refuses: a-Shell, which keeps the display on by itself while a command runs; and to be needed: what an app does not
         offer, or refuses, is left out.
Read next: faces/node_commands.py and faces/pythonista.py (who asks).
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import Any, Callable, Iterator, List, Optional

#: Takes back what kept an app awake.
Undo = Callable[[], Any]


@contextmanager
def staying_awake() -> Iterator[None]:
    """Keep this app awake for as long as this lasts."""
    undone: List[Undo] = []
    for begin in (_display_on, _background_task):
        undo = _asked_of_app(begin, "the app cannot be kept awake (%s); keep it open")
        if undo is not None:
            undone.append(undo)
    try:
        yield
    finally:
        for undo in undone:
            _asked_of_app(undo, "the app may stay awake (%s); close it to let the device sleep")


def _asked_of_app(action: Callable[[], Any], sentence: str) -> Any:
    """Return what comes of an action; where it fails, None, and the log says so."""
    try:
        return action()
    except Exception as problem:
        # An app's own bridge: anything may come out of it, and a node is worth more than an awake display.
        logging.getLogger("discompute").warning(sentence, problem)
        return None


def _display_on() -> Optional[Undo]:
    """Keep Pythonista's display on; None in another app.

    Only on the app's main thread: called from a script's thread this has crashed Pythonista 3.3.
    """
    try:
        from console import set_idle_timer_disabled
        from objc_util import on_main_thread
    except ImportError:
        return None
    on_main_thread(set_idle_timer_disabled)(True)
    return lambda: on_main_thread(set_idle_timer_disabled)(False)


def _background_task() -> Optional[Undo]:
    """Have Pyto play silence, which lets it run on when it leaves the screen; None in another app."""
    try:
        # Other people have modules called background; none of them has this one too.
        import pyto  # noqa: F401
        from background import BackgroundTask
    except ImportError:
        return None
    task = BackgroundTask()
    task.start()
    return lambda: task.stop()
