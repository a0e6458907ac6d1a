"""One node: whom it greets and how, what it shows of itself, what it tells, and what a stranger cannot make it do."""

import pytest

from discompute_lite.model.errors import InternalError, InvalidRequest, StateError, Unauthenticated, Unavailable
from discompute_lite.roles.greeter import Greeter
from discompute_lite.roles.feelings import FEEL_EVERY_S
from discompute_lite.tasks.work import WorkOutcome

# ---- Hello ----------------------------------------------------------------------------------------


def test_hello_says_who_answers_and_nothing_more(world):
    node = world.host("a").start()
    assert world.client(node, ip="10.0.0.9").call("Hello") == {
        "node_id": node.id, "name": "device a", "version": "0.1.0", "port": 8080, "boot": "a-boot-1"}


@pytest.mark.parametrize("announce", ["private", "off"])
def test_a_node_that_is_not_announced_tells_strangers_nothing_of_itself(world, announce):
    node = world.host("a", announce=announce).start()
    device = {"id": "p" * 52, "name": "peer"}
    for ip in ("127.0.0.1", "10.0.0.9"):
        for method, params in [
            ("Hello", {}), ("Hello", {"node_id": "p" * 52, "name": "peer"}), ("GetDevices", {}), ("Ping", {}),
            ("RegisterDevice", {"device": device}), ("Heartbeat", {"device_id": "p" * 52}), ("SendMessage", {}),
        ]:
            stranger = world.client(node, ip=ip)
            with pytest.raises(Unauthenticated) as refused:
                stranger.call(method, params)
            assert stranger.is_closed
            said = refused.value.message
            assert said.startswith("Pair this device first:") and node.name not in said and node.id not in said
    assert len(node.node.discovery.list_devices()) == 1 and node.node.discovery.links == {}
    status, _, body = world.browser(node, ip="10.0.0.9").ask("GET", "/healthz")
    assert status == 200 and node.name.encode() not in body


@pytest.mark.parametrize("announce", ["private", "off"])
def test_a_node_that_is_not_announced_is_itself_to_its_owner_and_to_whom_it_dials(world, announce):
    called = world.host("b").start()
    node = world.host("a", announce=announce, peers=(called.address,)).start()
    world.has_broadcast = False
    world.advance(40)
    assert node.is_linked_with(called) and called.sees(node).name == node.name
    owner = world.owner(node)
    assert owner.call("Hello")["name"] == node.name
    assert [item["name"] for item in owner.call("GetDevices")["devices"]] == [node.name, called.name]


def test_hello_of_a_node_makes_a_link_on_which_both_may_call(world):
    node = world.host("a").start()
    peer = world.client(node)
    peer.call("Hello", {"node_id": "p" * 52, "name": "peer", "port": 9000})
    assert node.node.discovery.link_to("p" * 52) is peer.link.other and peer.link.other.is_link
    assert node.node.discovery.registry.addresses("p" * 52) == ["127.0.0.1:9000"]
    world.advance(20)
    assert "Heartbeat" in peer.received


def test_hello_of_a_client_makes_no_link(world):
    node = world.host("a").start()
    world.client(node).call("Hello", {"name": "a script"})
    assert node.node.discovery.links == {} and node.told == []


def test_hello_with_our_own_id_makes_no_link_and_is_nobodys_fault_when_it_is_us(world):
    node = world.host("a").start()
    world.client(node).call("Hello", {"node_id": node.id, "boot": "a-boot-1", "port": 8080})
    assert node.node.discovery.links == {} and node.told == []


def test_a_copy_of_our_identity_is_told_once_a_minute(world):
    node = world.host("a").start()
    for _ in range(3):
        world.client(node).call("Hello", {"node_id": node.id, "boot": "another", "port": 9000})
    assert node.kinds_told() == ["warning"] and "copied" in node.told[0][1]
    world.advance(61)
    world.client(node).call("Hello", {"node_id": node.id, "boot": "another", "port": 9000})
    assert node.kinds_told() == ["warning", "warning"]


def test_row_30_two_nodes_of_one_copied_folder_both_say_so_within_ten_seconds(world):
    one, twin = world.host("a"), world.host("a")
    twin.boot_of = lambda life: "the twin's boot"
    one.start(), twin.start()
    world.advance(10.0)
    for node in (one, twin):
        told = node.texts_told("warning")
        assert len(told) == 1 and "Delete the copied state folder" in told[0]


@pytest.mark.parametrize("announce", ["open", "private"])
def test_row_30_of_two_with_one_key_the_one_that_began_later_takes_no_work_while_the_other_is_there(world, announce):
    other = world.member("b").start()
    one, twin = (world.member("a", announce=announce) for _ in range(2))
    one.boot_of, twin.boot_of = (lambda life: "b" * 16), (lambda life: "a" * 16)
    one.start()
    world.advance(5.0)
    twin.start()
    world.advance(10.0)
    assert [len(node.texts_told("warning")) for node in (one, twin)] == [1, 2]
    assert "no work is taken here" in twin.texts_told("warning")[1]
    assert world.owner(one).call("SubmitTask", world.echo([1]))["success"]
    for make_call in (
        lambda: world.owner(twin).call("SubmitTask", world.echo([1])),
        lambda: world.client(twin, member=other.id[0]).call(
            "ExecuteSubtask", {"subtask": {"subtask_id": "t/0", "lite": {"task_type": "echo"}}}),
    ):
        with pytest.raises(Unavailable, match=f"in use at {one.address} as well.*delete the state folder"):
            make_call()
    one.kill()
    world.advance(25.0)
    assert "work is taken again" in twin.texts_told("note")[-1]
    assert world.owner(twin).call("SubmitTask", world.echo([1]))["success"]
    # The first is back, and now it is the later one.
    one.start()
    world.advance(70.0)
    assert world.owner(twin).call("SubmitTask", world.echo([1]))["success"]
    with pytest.raises(Unavailable, match=f"in use at {twin.address}"):
        world.owner(one).call("SubmitTask", world.echo([1]))


def test_row_30_of_two_that_began_together_one_takes_no_work(world):
    pair = [world.member("a") for _ in range(2)]
    pair[1].boot_of = lambda life: "z"
    for node in pair:
        node.start()
    world.advance(10.0)
    assert world.owner(pair[0]).call("SubmitTask", world.echo([1]))["success"]
    with pytest.raises(Unavailable, match="began earlier"):
        world.owner(pair[1]).call("SubmitTask", world.echo([1]))


def test_row_30_whoever_only_says_that_he_is_we_stops_nothing(world):
    node, _ = world.nodes("ab")
    words = {"node_id": node.id, "boot": "another", "port": 8081, "age_ms": 10 ** 9}
    for client in (world.client(node), world.client(node, member="b")):
        answer = client.call("Hello", words)
        assert "age_ms" not in answer
    world.advance(10.0)
    assert len(node.texts_told("warning")) == 1
    assert world.owner(node).call("SubmitTask", world.echo([1]))["success"]


def test_a_copy_of_our_identity_is_noticed_by_dialling_it_too(world):
    node = world.host("a", peers=("127.0.0.1:8081",))
    world.has_broadcast = False
    twin = world.host("a").start()
    twin.kill()
    twin.start()  # under another boot than the first node's
    node.start()
    world.advance(1)
    assert "warning" in node.kinds_told() and "warning" in twin.kinds_told()


def test_an_id_that_is_too_long_is_refused(world):
    node = world.host("a").start()
    with pytest.raises(InvalidRequest, match="64 characters"):
        world.client(node).call("Hello", {"node_id": "x" * 65})


# ---- the token ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ip", ["127.0.0.1", "10.0.0.2"])
def test_a_node_never_shows_its_token_whomever_it_calls_or_answers(world, ip):
    node = world.host("a", ip=ip, peers=(f"{ip}:8081",)).start()
    called, seen = world.host("b", ip=ip), []
    called.start()
    greet = called.node.greet
    called.node.greet = lambda link, greeting: seen.append(greeting) or greet(link, greeting)
    world.advance(6)
    assert seen and all(greeting.auth == "" for greeting in seen)
    for params in ({}, {"node_id": "p" * 52}, {"node_id": "p" * 52, "auth": world.TOKEN}, {"auth": world.TOKEN}):
        if ip == "127.0.0.1" or "auth" not in params:
            assert "auth" not in world.client(node, ip=ip).call("Hello", params)


def test_who_shows_the_token_commands_this_node_and_is_given_no_work(world):
    node = world.host("a").start()
    peer = world.client(node)
    peer.call("Hello", {"node_id": "p" * 52, "auth": world.TOKEN, "boot": "1"})
    peer.call("RegisterDevice", {"device": {"id": "p" * 52, "status": "AVAILABLE", "lite": {"slots": 50}}})
    peer.call("SubmitTask", world.echo(range(20)))
    world.advance(1)
    assert len(node.executor.runs()) == 20 and "ExecuteSubtask" not in peer.received


# ---- no work for those who do not belong here -----------------------------------------------------


def test_nodes_that_are_alone_see_each_other_and_share_no_work(world):
    first = world.host("a", token="one", peers=("127.0.0.1:8081",)).start()
    second = world.host("b", token="two").start()
    world.advance(3)
    assert first.is_linked_with(second) and second.sees(first).name == "device a"
    world.owner(first).call("SubmitTask", world.echo(range(20)))
    world.advance(1)
    assert len(first.executor.runs()) == 20 and second.executor.runs() == []


def impostor_of(world, node, other, boot="a boot of its own"):
    """Connect a stranger who says that it is `other`; return it with what it is asked."""
    stranger = world.client(node)
    stranger.call("Hello", {"node_id": other.id, "name": other.name, "port": 9999, "boot": boot})
    with pytest.raises(Unauthenticated):
        stranger.call("RegisterDevice", {"device": {"id": other.id, "name": other.name, "lite": {"slots": 50}}})
    return stranger


def test_whoever_takes_a_working_devices_name_gets_no_link_and_no_work(world):
    first, second = world.nodes("ab")
    first.executor.holds = second.executor.holds = {"run"}
    world.owner(first).call("SubmitTask", world.echo(range(4)))
    world.settle()
    running = len(second.executor.held)
    assert running == 2
    stranger = impostor_of(world, first, second)
    assert "restarted" not in first.kinds_told() and len(second.executor.held) == running
    world.owner(first).call("SubmitTask", world.echo(range(30)))
    world.advance(2)
    assert "ExecuteSubtask" not in stranger.received


def test_whoever_takes_a_dead_devices_name_is_not_asked_for_its_work(world):
    first, second = world.nodes("ab")
    second.executor.holds = {"run"}
    task_id = world.owner(first).call("SubmitTask", world.echo(range(4)))["task_id"]
    second.freeze()
    first.drop_link(second)
    stranger = impostor_of(world, first, second, boot="b-boot-1")
    world.advance(20)
    assert stranger.received == []
    answer = world.owner(first).call("GetTaskResult", {"task_id": task_id})
    assert answer["state"] == "COMPLETED" and world.value(answer["result_data"]) == [0, 1, 2, 3]


def test_a_strangers_heartbeat_neither_learns_of_attempts_nor_keeps_them_alive(world):
    node = world.host("a").start()
    node.executor.holds = {"run"}
    peer = world.client(node)
    peer.call("Hello", {"node_id": "p" * 52, "auth": world.TOKEN, "boot": "1"})
    replies = peer.begin("ExecuteSubtask", {"subtask": {"lite": {"attempt": "t/0.1", "task_type": "echo"}}})
    peer.link.close("lost")
    world.settle()
    stranger = world.client(node)
    stranger.call("Hello", {"node_id": "p" * 52, "boot": "1"})
    for _ in range(20):
        world.advance(1)
        assert "attempts" not in stranger.call("Heartbeat", {"device_id": "p" * 52}).get("lite", {})
    assert replies and node.executor.held[0].stop_reason.startswith("its lease ended")


# ---- this device ----------------------------------------------------------------------------------


def test_metrics_are_read_again_and_again_and_shown(world):
    node = world.host("a").start()
    node.reading = type(node.reading)(battery_level=0.5, is_charging=True)
    world.advance(FEEL_EVERY_S + 0.1)
    listed = world.client(node).call("GetDevices")["devices"][0]
    assert listed["capabilities"]["battery_level"] == 0.5 and listed["compute_metrics"]["cpu_usage"] == 0.25


def test_a_battery_that_ran_low_is_told_and_so_is_its_recovery(world):
    first, second = world.nodes("ab")
    second.reading = type(second.reading)(battery_level=0.05)
    world.advance(FEEL_EVERY_S + 1)
    seen = first.sees(second)
    assert seen.status.value == "OVERLOADED" and seen.lite["slots"] == 0 and "battery" in seen.lite["reason"]
    world.owner(first).call("SubmitTask", world.echo(range(10)))
    world.advance(1)
    assert second.executor.runs() == []
    second.reading = type(second.reading)(battery_level=0.9)
    world.advance(FEEL_EVERY_S + 1)
    world.owner(first).call("SubmitTask", world.echo(range(10)))
    assert first.sees(second).lite["slots"] == 2 and second.executor.runs()


def test_a_device_that_was_met_with_an_empty_battery_gets_work_once_it_is_charged(world):
    first, second = world.member("a"), world.member("b")
    second.reading = type(second.reading)(battery_level=0.05)
    first.start(), second.start()
    world.advance(3)
    assert first.sees(second).lite["slots"] == 0
    second.reading = type(second.reading)(battery_level=0.05, is_charging=True)
    world.advance(FEEL_EVERY_S + 1)
    world.owner(first).call("SubmitTask", world.echo(range(10)))
    world.advance(1)
    assert second.executor.runs()


def test_a_measurement_is_told_to_those_who_are_linked(world):
    first, second = world.nodes("ab")
    second.node.set_measured({"score": 1.7, "python": "3.9"})
    world.advance(1)
    assert first.sees(second).lite["measured"] == {"score": 1.7, "python": "3.9"}


def test_a_busy_device_says_so_and_does_not_flood_the_network_with_it(world):
    first, second = world.nodes("ab", slots=1)
    world.advance(2)
    before = len(second.transport.sent)
    second.executor.holds = {"run"}
    owner = world.owner(second)
    for number in range(50):
        # Each lasts long enough to be seen as busy.
        owner.begin("ExecuteSubtask", {"subtask": {"subtask_id": f"s{number}", "lite": {"task_type": "echo"}}})
        world.clock.advance(0.01)
        second.executor.end(WorkOutcome(True, b"null"))
        world.clock.advance(0.01)
    assert len(second.transport.sent) - before <= 4
    owner.begin("ExecuteSubtask", {"subtask": {"subtask_id": "last", "lite": {"task_type": "echo"}}})
    world.advance(1.5)
    assert first.sees(second).status.value == "BUSY"
    second.executor.end(WorkOutcome(True, b"null"))
    world.advance(1.5)
    assert first.sees(second).status.value == "AVAILABLE"


def seeds_of(host, nobody_known):
    return Greeter(host.node, host.node.discovery).seeds(nobody_known)


def test_seeds_come_from_the_user_the_last_run_and_while_alone_the_neighbours(world):
    node = world.host("a", peers=("10.0.0.5:8080",))
    node.neighbours = ("127.0.0.1:8080", "127.0.0.1:8081")
    node.store.documents["peers.json"] = {"addresses": ["10.0.0.6:8080", 7, "10.0.0.5:8080"]}
    node.start()
    assert seeds_of(node, True) == ["10.0.0.5:8080", "10.0.0.6:8080", "127.0.0.1:8081"]
    assert seeds_of(node, False) == ["10.0.0.5:8080", "10.0.0.6:8080"]


@pytest.mark.parametrize("document", [[], "x", {"addresses": 5}, {"addresses": None}, {}])
def test_odd_remembered_addresses_stop_nobody(world, document):
    node = world.host("a")
    node.store.documents["peers.json"] = document
    assert seeds_of(node.start(), True) == []


# ---- mistakes, and the end ------------------------------------------------------------------------


def test_a_mistake_in_one_method_is_answered_without_its_details_and_ends_nothing(world, monkeypatch):
    node = world.host("a").start()
    monkeypatch.setattr(node.node.coordinator, "list_tasks", lambda: 1 / 0)
    owner = world.owner(node)
    with pytest.raises(InternalError) as caught:
        owner.call("ListTasks")
    assert "division" not in caught.value.message
    assert owner.call("Ping")["received"] == 0


def test_a_node_that_stops_ends_its_tasks_says_goodbye_and_closes_its_links(world):
    first, second = world.nodes("ab")
    first.executor.holds = second.executor.holds = {"run"}
    task_id = world.owner(first).call("SubmitTask", world.echo(range(4)))["task_id"]
    first.node.stop()
    first.node.stop()
    world.settle()
    assert first.node.coordinator.status(task_id).task.lite["state"] == "CANCELLED"
    assert "left" in second.kinds_told() and "lost" not in second.kinds_told()
    assert not second.is_linked_with(first) and not first.transport.is_open
    assert all(future.stop_reason for future in second.executor.held + first.executor.held)


def test_a_full_disk_does_not_keep_a_node_from_saying_goodbye(world):
    first, second = world.nodes("ab")

    def refuse(name, value):
        raise StateError("the disk is full")

    first.store.write_json = refuse
    first.stop()
    assert "left" in second.kinds_told() and first.texts_told("warning") == ["the disk is full"]


def test_the_wrong_word_is_refused_in_words_that_help(world):
    node = world.host("a").start()
    with pytest.raises(Unauthenticated, match="Pair this device first"):
        world.client(node).call("SubmitTask", world.echo([1]))
