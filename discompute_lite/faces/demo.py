"""Offer the command `demo`: show in under a minute what this is.

Knows:   where it can be shown, and how it ends.
Refuses: to show it (faces/demo_stage.py does, which the small file for phones leaves out: they start no processes).
Read next: faces/demo_stage.py.
"""

from __future__ import annotations

from importlib import import_module

from ..model.errors import SettingsError
from ..run import can_start_processes
from .command import JSON_FLAG, Context, argument, command, whole_number


@command(
    "demo", JSON_FLAG,
    argument("--limit", type=whole_number(10, 1797), default=0, metavar="N", help="use only the first N images"),
)
def demo_command(context: Context) -> int:
    """Start three nodes on this machine, run a real job over them, kill one halfway."""
    if not can_start_processes():
        raise SettingsError("this app cannot start processes; run demo on a computer, and start here")
    stage = import_module("discompute_lite.faces.demo_stage").DemoStage(context.console)
    try:
        facts = stage.play({"limit": context.arguments.limit} if context.arguments.limit else {})
    finally:
        stage.clear()
    if context.console.is_json:
        context.console.json(facts)
    # With few images the job may be over before anything can be killed; the whole one must show it.
    return 0 if facts["equal"] and (facts["killed"] or context.arguments.limit) else 1
