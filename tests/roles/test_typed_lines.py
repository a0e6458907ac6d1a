"""What the owner types where a node runs: an address is called and the answer told, anything else gets a hint."""

from __future__ import annotations

import pytest

from discompute_lite.roles.typed_lines import take_typed_line


@pytest.fixture
def pair(world):
    """Return two nodes that meet by typed addresses alone."""
    return tuple(world.host(name, discovery=()).start() for name in "ab")


def told(host):
    return host.texts_told("note")


@pytest.mark.parametrize("line", ["{address}", "call {address}", "CALL {address}"])
def test_an_address_is_called_and_who_answers_is_told(world, pair, line):
    ours, other = pair
    take_typed_line(ours.node, line.format(address=other.address))
    world.advance(2)
    assert f"device b answers at {other.address}" in told(ours)
    assert ours.sees(other).name == "device b"


def test_where_nobody_answers_that_is_told_and_it_is_called_again(world, pair):
    ours, _ = pair
    take_typed_line(ours.node, "10.9.9.9:8080")
    world.advance(10)
    assert any(text.startswith("nobody answers there yet") for text in told(ours))


@pytest.mark.parametrize("line", ["help", "call", "call a b", "attic", "what is 1.2", "?"])
def test_for_anything_else_there_is_a_hint(pair, line):
    ours, _ = pair
    take_typed_line(ours.node, line)
    assert told(ours) == ["type an address such as 192.168.1.20, or call NAME; q ends the node"]


@pytest.mark.parametrize("line", ["10.0.0.7:99999", "call 300.1.1.1", "fe80::1", "a/b.c"])
def test_what_is_nearly_an_address_is_refused_with_one_that_is(pair, line):
    ours, _ = pair
    take_typed_line(ours.node, line)
    assert len(told(ours)) == 1 and "is no address; type one such as 192.168.1.20" in told(ours)[0]


def test_ones_own_address_is_told_to_be_that_and_is_not_called_again(world, pair):
    ours, _ = pair
    own = f"{ours.address} is the node of this device itself: name another device's address"
    for _ in range(2):
        take_typed_line(ours.node, ours.address)
        world.advance(1)
    assert told(ours) == [own, own]
    calls = len(ours.dialler.dialled)
    world.advance(120)
    assert len(ours.dialler.dialled) == calls
