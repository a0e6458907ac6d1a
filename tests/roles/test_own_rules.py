"""What the owner gives others is held to, or it is said that it is not."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(("everybody", "sender", "names"), [
    ({"wall_s": 600}, {}, "wall_s of"), ({"slots": 1}, {"memory_mb": 100}, "memory_mb of"),
    ({"memory_mb": 100}, {"wall_s": 1, "slots": 1}, "wall_s and memory_mb of"), ({"hours": ["22:00-06:30"]}, {}, ""),
])
def test_bounds_that_nobody_can_hold_work_to_are_said_to_be_none(world, everybody, sender, names):
    rules = {"policy": {"everybody": everybody, "senders": {"b" * 52: sender} if sender else {}}}
    held, host = world.host("a").start(), world.host("c").make()
    assert world.owner(held).call("SetPolicy", rules).get("message", "") == ""
    host.executor.holds_to_bounds = False
    host.node.start(host.port)
    assert host.texts_told("warning") == []
    for answer in (world.owner(host).call("SetPolicy", rules), world.owner(host).call("GetPolicy")):
        said = answer.get("message", "")
        assert (said.startswith(names) and "cannot be held to here" in said) if names else said == ""
    again = host.make()
    again.executor.holds_to_bounds = False
    again.node.start(host.port)
    assert host.texts_told("warning") == ([said] if names else [])
