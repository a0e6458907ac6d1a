"""Short texts between people: shown here, forwarded once, bounded, and never taken for more than they are."""

import pytest

from discompute_lite.model.errors import InvalidParams, Unavailable
from discompute_lite.roles.post import FORWARDED, SENDERS


def message(text="hello", to="", **more):
    return {"to_device_id": to, "payload": text if isinstance(text, bytes) else text.encode(), **more}


@pytest.fixture
def pair(world):
    """Two nodes of different owners, linked."""
    first = world.host("a", token="one", device_id="desk").start()
    second = world.host("b", token="two").start()
    world.advance(3)
    return first, second


def shown(host):
    return host.texts_told("message")


@pytest.mark.parametrize("to", ["", "a" * 52, "device a", "desk", "aaaa", "AAAAAA"])
def test_a_message_to_this_device_is_shown_by_whatever_name(world, pair, to):
    answer = world.owner(pair[0]).call("SendMessage", message(to=to))
    assert answer == {"success": True, "message": "shown on device a", "timestamp": int(world.wall())}
    assert len(shown(pair[0])) == 1 and shown(pair[0])[0].endswith(": hello")


def test_the_senders_name_is_shown_where_it_is_known_else_where_it_came_from(world, pair):
    first, second = pair
    owner = world.owner(first)
    for sender in (second.id, "nobody-known", ""):
        owner.call("SendMessage", message(from_device_id=sender))
    assert shown(first)[0] == "message from device b (bbbbbbbb): hello"
    assert shown(first)[1] == "message from nobody-k: hello"
    assert shown(first)[2].startswith("message from 127.0.0.1:")


def test_what_a_stranger_says_is_marked_as_unverified(world, pair):
    world.client(pair[0], ip="10.0.0.9").call("SendMessage", message(from_device_id=pair[1].id))
    assert shown(pair[0]) == ["message from device b (bbbbbbbb) (unverified): hello"]


@pytest.mark.parametrize("to", ["b" * 52, "device b", "bbbb"])
def test_a_message_to_another_device_is_forwarded_and_marked(world, pair, to):
    first, second = pair
    answer = world.owner(first).call("SendMessage", message(to=to))
    assert answer["success"] and answer["message"] == "shown on device b"
    assert shown(first) == [] and shown(second) == ["message from device a (aaaaaaaa) (unverified): hello"]


@pytest.mark.parametrize("size", [1, 1024, 1025, 2048])
def test_messages_of_any_allowed_size_are_forwarded_by_strangers_to_each_other(world, pair, size):
    """Bytes over 1 KiB usually travel as an attachment, which a stranger may not send."""
    first, second = pair
    answer = world.owner(first).call("SendMessage", message("x" * size, to=second.id))
    assert answer["success"] and shown(second)[0].endswith(": " + "x" * size)
    assert first.is_linked_with(second)


def test_a_message_is_forwarded_once_and_no_further(world):
    hosts = world.nodes("abc")
    answer = world.owner(hosts[0]).call("SendMessage", message(to=hosts[2].id, metadata={FORWARDED: "x", "a": "b"}))
    assert not answer["success"] and "forwarded once already" in answer["message"]
    assert not any(shown(host) for host in hosts)
    world.owner(hosts[0]).call("SendMessage", message(to=hosts[0].id, metadata={FORWARDED: "x"}))
    assert "(unverified)" in shown(hosts[0])[0], "nobody vouches for where it came from"


def test_a_message_to_nobody_known_or_to_several_is_not_sent(world):
    first, *twins = [world.host("a").start(), world.host("b").start(), world.host("c").start()]
    world.advance(3)
    owner = world.owner(first)
    assert "no device is called 'printer'" in owner.call("SendMessage", message(to="printer"))["message"]
    first.node.discovery.registry.get(twins[0].id).device = first.sees(twins[1])
    answer = owner.call("SendMessage", message(to="device c"))
    assert not answer["success"] and "several devices" in answer["message"]


def test_a_message_to_a_foreign_node_is_not_sent(world):
    node = world.host("a").start()
    beacon = b'{"type":"discovery","node_id":"go-node","grpc_port":8080,"timestamp":1,"device_capabilities":{}}'
    node.transport.arrive(beacon, "10.0.0.9:1")
    answer = world.owner(node).call("SendMessage", message(to="go-node"))
    assert not answer["success"] and node.dialler.dialled == []


def test_a_device_that_does_not_answer_or_is_not_linked_is_an_answer_too(world, pair):
    first, second = pair
    owner = world.owner(first)
    second.freeze()
    replies = owner.begin("SendMessage", message(to=second.id))
    world.advance(8.1)
    assert not replies[0][0]["success"] and "bbbbbbbb: no answer in time" in replies[0][0]["message"]
    second.kill()
    world.settle()
    answer = owner.call("SendMessage", message(to=second.id))
    assert not answer["success"] and "no link" in answer["message"]


def test_a_refusal_by_the_addressee_is_passed_on(world, pair):
    first, second = pair
    stranger = world.client(second, ip=first.ip)
    for _ in range(5):
        stranger.call("SendMessage", message())
    answer = world.owner(first).call("SendMessage", message(to=second.id))
    assert not answer["success"] and "too many messages" in answer["message"]


# ---- bounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload, says", [(b"x" * 2049, "at most 2048 bytes"), (b"\xff\xfe", "UTF-8")])
def test_what_is_no_short_text_is_refused(world, pair, payload, says):
    with pytest.raises(InvalidParams, match=says):
        world.owner(pair[0]).call("SendMessage", message(payload))
    assert shown(pair[0]) == []


def test_a_stranger_may_send_five_messages_a_minute_from_all_his_connections(world, pair):
    node = pair[0]
    for _ in range(5):
        world.client(node, ip="10.0.0.9").call("SendMessage", message())
    with pytest.raises(Unavailable, match="too many messages") as caught:
        world.client(node, ip="10.0.0.9").call("SendMessage", message())
    assert caught.value.data == {"retry_after": 12.0}
    assert world.client(node, ip="10.0.0.8").call("SendMessage", message())["success"]
    world.advance(12)
    assert world.client(node, ip="10.0.0.9").call("SendMessage", message())["success"]
    assert len(shown(node)) == 7


def test_the_owner_is_not_limited(world, pair):
    owner = world.owner(pair[0])
    assert all(owner.call("SendMessage", message())["success"] for _ in range(20))


def test_a_crowd_of_strangers_is_not_remembered_for_ever(world, pair):
    node = pair[0]
    for number in range(SENDERS + 10):
        world.client(node, ip=f"10.0.{number // 250}.{number % 250}").call("SendMessage", message())
    assert len(node.node.post_office._buckets) == SENDERS
