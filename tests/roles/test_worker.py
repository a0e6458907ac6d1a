"""Running what coordinators send: slots, waiting, leases, outcomes that are kept, and work that is refused."""

import pytest

from discompute_lite.model.errors import InvalidParams, Unavailable
from discompute_lite.roles.bounds import OUTPUT_CHARS
from discompute_lite.roles.worker import CLIENT_LEASE_S, HANDED_AHEAD, KEPT_OUTCOMES, LEASE_S, WAITING_PER_SLOT
from discompute_lite.tasks.work import WorkOutcome


class Coordinator:
    """A linked node that sends attempts."""

    def __init__(self, world, host, letter="p"):
        self.world, self.host = world, host
        self.client = world.client(host)
        self.client.call("Hello", {"node_id": letter * 52, "boot": "1", "auth": world.TOKEN})

    def send(self, attempt="t/0.1", data=b"5", task_type="echo", **lite):
        """Send an attempt; return the list into which its answer will come."""
        return self.client.begin("ExecuteSubtask", {"subtask": {
            "subtask_id": attempt.rpartition(".")[0], "subtask_data": data,
            "lite": {"attempt": attempt, "task_type": task_type, **lite}}})


@pytest.fixture
def host(world):
    return world.host("a", slots=2).start()


@pytest.fixture
def sender(world, host):
    return Coordinator(world, host)


def done(replies):
    """The subtask of an answer that has come."""
    assert len(replies) == 1 and replies[0][1] is None, replies
    return replies[0][0]["completed_subtask"]


def test_an_attempt_is_run_and_answered_when_it_is_done(world, host, sender):
    host.executor.holds = {"run"}
    replies = sender.send()
    assert replies == []
    host.executor.release()
    world.settle()
    subtask = done(replies)
    assert replies[0][0]["success"] and subtask["status"] == "COMPLETED" and world.value(subtask["result_data"]) == 5
    assert subtask["assigned_device_id"] == host.id and subtask["subtask_data"] == ""
    assert subtask["lite"]["attempt"] == "t/0.1" and subtask["lite"]["seconds"] >= 0
    assert subtask["started_at"] == subtask["completed_at"] == int(world.wall())


@pytest.mark.parametrize("task_type, data, blame, says", [
    ("primes", b'{"start":9,"stop":1}', "task", "range"), ("nonsense", b"1", "device", "does not offer"),
])
def test_an_attempt_that_fails_says_whose_fault_it_is(sender, task_type, data, blame, says):
    replies = sender.send(task_type=task_type, data=data)
    subtask = done(replies)
    assert not replies[0][0]["success"] and subtask["status"] == "FAILED"
    assert subtask["lite"]["blame"] == blame and says in subtask["error_message"] == replies[0][0]["message"]


# ---- an attempt is executed once ------------------------------------------------------------------


def test_row_24_asking_again_joins_what_runs_and_then_gets_the_kept_outcome(world, host, sender):
    host.executor.holds = {"run"}
    first, again = sender.send(), sender.send()
    host.executor.release()
    world.settle()
    late = sender.send()
    assert done(first) == done(again) == done(late) and len(host.executor.runs()) == 1


def test_row_24_an_answer_that_was_lost_with_its_link_is_fetched_over_the_next(world, host, sender):
    host.executor.holds = {"run"}
    sender.send()
    sender.client.link.close("lost")
    world.settle()
    host.executor.release()
    world.settle()
    sender = Coordinator(world, host)
    assert done(sender.send())["status"] == "COMPLETED" and len(host.executor.runs()) == 1


def test_the_same_id_from_two_coordinators_is_different_work(world, host, sender):
    """Both people called their task t."""
    other = Coordinator(world, host, "q")
    results = [done(sender.send(data=b"1")), done(other.send(data=b"2"))]
    assert [world.value(result["result_data"]) for result in results] == [1, 2]
    assert len(set(host.executor.runs())) == 2, "nor do they share a process"


def test_subtasks_without_any_id_are_refused_since_they_could_be_taken_for_one_another(world, host):
    owner = world.owner(host)
    with pytest.raises(InvalidParams, match="subtask_id"):
        owner.call("ExecuteSubtask", {"subtask": {"subtask_data": b"1", "lite": {"task_type": "echo"}}})
    assert owner.call("ExecuteSubtask", {"subtask": {
        "subtask_id": "s1", "subtask_data": b"1", "lite": {"task_type": "echo"}}})["success"]


def test_kept_outcomes_are_bounded_and_go_after_an_hour(world, host, sender):
    for number in range(KEPT_OUTCOMES + 5):
        sender.send(f"t/{number}.1")
    assert len(host.node.worker._attempts) == KEPT_OUTCOMES
    sender.send("t/0.1")
    sender.send(f"t/{KEPT_OUTCOMES + 4}.1")
    assert len(host.executor.runs()) == KEPT_OUTCOMES + 6, "only the oldest is run again"
    world.clock.advance(host.limits.outcome_kept_s + 1)
    assert host.node.worker._attempts == {}


def test_the_bytes_of_kept_outcomes_are_bounded_too(world):
    host = world.host("a", slots=2, limits={"outcome_bytes": 300}).start()
    sender = Coordinator(world, host)
    host.executor.holds, large = {"run"}, bytes(100)
    for number in range(4):
        sender.send(f"t/{number}.1")
        host.executor.end(WorkOutcome(True, data=large))
        world.settle()
    assert [attempt.id for attempt in host.node.worker._attempts.values()] == ["t/1.1", "t/2.1", "t/3.1"]
    sender.client.call("Heartbeat", {"lite": {"done": ["t/1.1"]}})
    sender.send("t/4.1")
    host.executor.end(WorkOutcome(True, data=large))
    world.settle()
    assert len(host.node.worker._attempts) == 3, "what was acknowledged makes room"


def test_an_attempt_that_runs_is_not_forgotten_when_old_outcomes_of_its_id_are(world, host, sender):
    sender.send("t/0.1")
    sender.client.call("Heartbeat", {"lite": {"done": ["t/0.1"]}})
    host.executor.holds = {"run"}
    replies = sender.send("t/0.1")
    host.executor.holds = set()
    for number in range(KEPT_OUTCOMES):
        sender.send(f"u/{number}.1")
    assert host.node.worker.running_for("p" * 52) == {"t/0.1": ""}
    host.executor.release()
    world.settle()
    assert done(replies)["status"] == "COMPLETED"


def test_what_an_attempt_worked_on_is_not_kept_with_its_outcome(host, sender):
    sender.send(data=b'"' + b"x" * 100_000 + b'"')
    kept = list(host.node.worker._attempts.values())
    assert len(kept) == 1 and kept[0].subtask.subtask_data == b""


def test_what_is_printed_travels_shortened_so_that_it_fits_a_line(world, host, sender):
    host.executor.holds = {"run"}
    replies = sender.send()
    host.executor.end(WorkOutcome(True, b"1", output="\x01" * 1024 * 1024))
    world.settle()
    output = done(replies)["lite"]["output"]
    assert len(output) < OUTPUT_CHARS + 100 and "more characters were printed" in output


# ---- slots ----------------------------------------------------------------------------------------


def test_no_more_attempts_run_at_once_than_there_are_slots_and_few_wait(world, host, sender):
    host.executor.holds = {"run"}
    handed = 2 * (1 + HANDED_AHEAD)
    room = handed + 2 * WAITING_PER_SLOT
    replies = [sender.send(f"t/{number}.1") for number in range(room + 1)]
    assert len(host.executor.runs()) == handed and host.node.worker.running == 2
    assert isinstance(replies[-1][0][1], Unavailable) and replies[-1][0][1].data == {"retry_after": 1.0}
    assert not any(replies[:-1])
    host.executor.release(1)
    world.settle()
    assert len(host.executor.runs()) == handed + 1
    host.executor.holds = set()
    host.executor.release()
    world.settle()
    assert [done(reply)["status"] for reply in replies[:-1]] == ["COMPLETED"] * room
    assert host.node.worker.running == 0


def test_a_stopped_attempt_keeps_its_slot_until_its_process_is_gone(world, host, sender):
    host.executor.holds = {"run"}
    for number in range(4):
        sender.send(f"t/{number}.1")
    slow = host.executor.held[0]
    slow.stop = lambda reason: None  # a thread cannot be stopped by force
    replies = sender.send("t/4.1")
    assert sender.client.call("CancelTask", {"attempt": "t/0.1"})["success"]
    assert len(host.executor.runs()) == 4 and replies == []
    host.executor.release(1)
    world.settle()
    assert len(host.executor.runs()) == 5


@pytest.mark.parametrize("reading, settings, why", [
    ({"battery_level": 0.1}, {}, "battery"), ({}, {"accept": "nobody"}, "takes no work"),
])
def test_a_device_that_takes_no_work_refuses_it_and_says_why(world, reading, settings, why):
    host = world.host("a", **settings)
    host.reading = type(host.reading)(**reading)
    replies = Coordinator(world, host.start()).send()
    assert isinstance(replies[0][1], Unavailable) and why in replies[0][1].message and host.executor.runs() == []


def test_throughput_counts_the_last_minute(world, host, sender):
    for number in range(30):
        sender.send(f"t/{number}.1")
    assert host.node.worker.throughput() == pytest.approx(0.5)
    world.advance(61)
    assert host.node.worker.throughput() == 0.0


# ---- leases and ends ------------------------------------------------------------------------------


def test_an_attempt_whose_coordinator_is_silent_is_stopped_and_not_begun_again(world, host, sender):
    host.executor.holds = {"run"}
    replies = sender.send()
    world.advance(LEASE_S + 0.1)
    assert host.executor.held[0].stop_reason.startswith("its lease ended")
    assert done(replies)["status"] == "FAILED" and done(replies)["lite"]["blame"] == "refused"
    assert done(sender.send()) == done(replies) and len(host.executor.runs()) == 1


@pytest.mark.parametrize("asked, granted", [(40, 40), (0.5, 0.5), (-3, LEASE_S), ("long", LEASE_S), (0, LEASE_S)])
def test_the_coordinator_says_how_long_a_lease_is(world, host, sender, asked, granted):
    host.executor.holds = {"run"}
    sender.send(lease_s=asked)
    world.advance(granted - 0.1)
    sent_away = host.executor.held[0].stop_reason
    world.advance(0.2)
    assert not sent_away and host.executor.held[0].stop_reason


def test_a_client_that_waits_needs_no_heartbeats(world, host):
    host.executor.holds = {"run"}
    replies = world.owner(host).begin("ExecuteSubtask", {"subtask": {
        "subtask_id": "s", "subtask_data": b"5", "lite": {"task_type": "echo"}}})
    world.clock.advance(CLIENT_LEASE_S / 2)
    host.executor.release()
    world.settle()
    assert done(replies)["status"] == "COMPLETED"


def test_an_attempt_that_waits_loses_its_lease_too(world, host, sender):
    host.executor.holds = {"run"}
    replies = [sender.send(f"t/{number}.1") for number in range(6)]
    world.advance(LEASE_S + 0.1)
    assert [done(reply)["status"] for reply in replies] == ["FAILED"] * 6
    assert len(host.executor.runs()) == 4, "what waited was never begun"


def test_when_a_coordinator_is_gone_its_attempts_are_stopped_and_forgotten(world, host, sender):
    other = Coordinator(world, host, "q")
    host.executor.holds = {"run"}
    sender.send("t/0.1")
    kept = other.send("u/0.1")
    sender.client.call("Goodbye", {"is_leaving": True})
    sender.client.link.close("bye")
    world.settle()
    assert host.executor.held[0].stop_reason == "its coordinator is gone" and not host.executor.held[1].stop_reason
    assert host.node.worker.running_for("p" * 52) == {} and kept == []


def test_a_coordinator_cancels_its_own_attempts_and_a_client_any(world, host, sender):
    other, client = Coordinator(world, host, "q"), world.owner(host)
    host.executor.holds = {"run"}
    replies = sender.send("t/0.1")
    assert not other.client.call("CancelTask", {"attempt": "t/0.1"})["success"]
    assert client.call("CancelTask", {"attempt": "t/0.1"})["success"]
    assert done(replies)["status"] == "CANCELLED" and host.executor.held[0].stop_reason == "it was cancelled"
    assert not client.call("CancelTask", {"attempt": "t/0.1"})["success"], "it is over"


def test_a_device_that_shuts_down_answers_that_it_would_not_and_begins_nothing(world, host, sender):
    host.executor.holds = {"run"}
    replies = [sender.send(f"t/{number}.1") for number in range(5)]
    host.node.worker.stop()
    world.settle()
    assert [done(reply)["lite"]["blame"] for reply in replies] == ["refused"] * 5
    assert isinstance(sender.send("t/9.1")[0][1], Unavailable) and len(host.executor.runs()) == 4
