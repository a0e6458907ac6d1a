"""Fifty real nodes in eight processes know each other soon after the last has started, and are quiet then."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Callable

NODES = 50
#: Seconds over which what is sent is counted, once all is settled.
COUNTED_S = 6.0


def test_fifty_nodes_know_each_other_and_send_less_than_a_hundred_datagrams_a_second(
    load_tool: Callable[[str], Any], tmp_path: Path, scale: Callable[[float], float], field: Any
) -> None:
    with load_tool("fleet").Fleet(tmp_path, NODES, field.discovery_port) as fleet:
        assert len(fleet.crews) <= 8
        fleet.start()
        until = time.monotonic() + scale(5.0)
        while min(fleet.ask("known")) < NODES - 1:
            assert time.monotonic() < until, sorted(fleet.ask("known"))
        before = fleet.ask("spent")
        # Those that start at once are together far below what each would get if all answered all: 7,500.
        assert sum(each["datagrams"] for each in before) < 3000
        time.sleep(4.0)
        before = fleet.ask("spent")
        time.sleep(COUNTED_S)
        after = fleet.ask("spent")
        passed_s = after[0]["at"] - before[0]["at"]
        sent = sum(late["datagrams"] - early["datagrams"] for early, late in zip(before, after))
        assert sent / passed_s < 100.0
        assert max(fleet.ask("links")) < 64 and min(fleet.ask("known")) == NODES - 1
