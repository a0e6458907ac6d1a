"""A second node keeps each task: it takes over when the owner is gone, and gives nothing away when he is back."""

import pytest

from discompute_lite.core.journal import read_journal
from discompute_lite.core.ownership import Claim, proof_of
from discompute_lite.model.errors import Unavailable
from discompute_lite.model.limits import Limits
from discompute_lite.roles.claims import SHOWN, Claims
from discompute_lite.roles.durability import COPY_MARK, journal_name
from discompute_lite.roles.keeping_methods import CompareOwnersAnswer, OwnerSaid

#: Seconds in which a device that is gone is found dead, and its lease ends.
OWNER_LEASE_S = Limits().owner_lease_s
GONE_S = OWNER_LEASE_S + 35.0


@pytest.fixture
def pair(world):
    first, second = world.nodes("ab")
    first.executor.holds = second.executor.holds = {"run"}
    return first, second


def begin(world, host, parts=range(8), **fields):
    return world.owner(host).call("SubmitTask", world.echo(parts, **fields))["task_id"]


def own(host, task_id):
    data = host.journals.journals.get(journal_name(task_id))
    return None if data is None else read_journal(data).entries


def copy(host, task_id):
    data = host.journals.journals.get(COPY_MARK + journal_name(task_id))
    if data is None:
        return None
    reading = read_journal(data)
    assert not reading.damage
    return reading.entries


def let_go(world, *hosts, seconds=3.0):
    for host in hosts:
        host.executor.holds = set()
        host.executor.release()
    world.advance(seconds)


def again(world, host, *holds):
    host.make().executor.holds = set(holds)
    host.node.start(host.port)
    world.advance(5.0)


def three_that_hold(world):
    """Return three nodes where pieces do not end by themselves."""
    hosts = world.nodes("abc")
    for host in hosts:
        host.executor.holds = {"run"}
    return hosts


def part(world, one, other):
    """Let two nodes reach each other no more, and know it."""
    world.part(one, other)
    one.drop_link(other)


def value(world, host, task_id):
    answer = world.owner(host).call("GetTaskResult", {"task_id": task_id})
    assert answer["success"] and answer["state"] == "COMPLETED", answer
    return world.value(answer["result_data"])


def test_the_copy_follows_its_task(world, pair):
    first, second = pair
    task_id = begin(world, first)
    assert copy(second, task_id) == own(first, task_id) and len(copy(second, task_id)) == 2
    first.executor.release(2)
    world.settle()
    assert copy(second, task_id) == own(first, task_id) and len(copy(second, task_id)) == 4
    let_go(world, first, second)
    assert copy(second, task_id) == own(first, task_id) and len(copy(second, task_id)) == 2
    world.owner(first).call("AcknowledgeResult", {"task_id": task_id})
    world.settle()
    assert first.journals.journals == second.journals.journals == {}


def test_who_waits_at_a_copy_is_answered_when_it_goes(world, pair):
    first, second = pair
    task_id = begin(world, first)
    waiting = world.owner(second).begin("GetTaskResult", {"task_id": task_id, "from_index": 8, "wait_s": 60.0})
    assert waiting == []
    first.node.coordinator.copies.forgotten(task_id)
    world.settle()
    assert len(waiting) == 1, "not only when its time is over"


def test_the_second_node_takes_over_and_redoes_nothing_that_was_kept(world, pair):
    first, second = pair
    task_id = begin(world, first)
    first.executor.release(1)
    second.executor.release(1)
    world.settle()
    kept = {entry.index for entry in copy(second, task_id)[2:]}
    assert len(kept) == 2
    first.kill()
    second.executor.requests.clear()
    world.advance(GONE_S)
    assert own(second, task_id)[1].term == 2 and copy(second, task_id) is None
    let_go(world, second)
    assert value(world, second, task_id) == list(range(8))
    done = [int(run.rpartition("/")[2].partition(".")[0]) for run in second.executor.runs()]
    assert sorted(done) == sorted(set(range(8)) - kept)


def test_a_copy_says_since_when_its_owner_is_gone_until_somebody_answers_for_the_task(world, pair):
    first, second = pair
    task_id = begin(world, first)
    world.advance(2.0)

    def told():
        lite = world.owner(second).call("GetTaskStatus", {"task_id": task_id})["task"]["lite"]
        return lite.get("owner_id"), lite.get("owner_lost_at")

    assert told() == (None, None)
    lost_at = world.wall()
    first.kill()
    world.advance(OWNER_LEASE_S / 2)
    assert told() == (first.id, int(lost_at))
    again(world, first, "run")
    assert told() == (None, None), "it is back"
    first.kill()
    world.advance(GONE_S)
    assert told() == (None, None), "the second answers for it"


def test_a_restart_within_the_lease_changes_no_owner(world, pair):
    first, second = pair
    task_id = begin(world, first)
    first.kill()
    world.advance(5.0)
    again(world, first, "run")
    world.advance(GONE_S)
    assert len(own(first, task_id)) == 2 and own(second, task_id) is None and copy(second, task_id)
    let_go(world, first, second)
    assert value(world, first, task_id) == list(range(8))


def test_an_owner_that_came_back_has_its_whole_lease_again(world, pair):
    first, second = pair
    task_id = begin(world, first)
    first.kill()
    world.advance(OWNER_LEASE_S - 6.0)
    again(world, first, "run")
    first.kill()
    world.advance(OWNER_LEASE_S - 6.0)
    assert own(second, task_id) is None, "its first silence is over, the second has just begun"
    world.advance(GONE_S)
    assert own(second, task_id)[1].term == 2


def test_a_task_that_ended_while_its_keeper_was_away_is_kept_there_no_more(world, pair):
    first, second = pair
    task_id, still = begin(world, first), begin(world, first)
    second.kill()
    let_go(world, first)
    owner = world.owner(first)
    assert value(world, first, task_id) == list(range(8)) and owner.call("AcknowledgeResult", {"task_id": task_id})
    again(world, second)
    assert copy(second, task_id) is None and copy(second, still) == own(first, still)
    first.kill()
    world.advance(GONE_S)
    assert second.executor.runs() == []


def test_a_copy_that_another_node_has_by_now_is_kept_no_more(world):
    first, second, third = three_that_hold(world)
    task_id = begin(world, first)
    second.kill()
    world.advance(40.0)
    assert copy(second, task_id) and copy(third, task_id) == own(first, task_id)
    again(world, second, "run")
    assert copy(second, task_id) is None and copy(third, task_id) == own(first, task_id)


def test_a_copy_that_goes_where_the_task_was_submitted_is_kept_no_more_where_it_was(world):
    first, second, third = three_that_hold(world)
    task_id = begin(world, first)
    first.kill()
    world.advance(GONE_S)
    assert own(second, task_id) and copy(third, task_id) == own(second, task_id)
    again(world, first, "run")
    assert copy(first, task_id) == own(second, task_id) and copy(third, task_id) is None


def test_a_result_that_was_shown_ends_the_task_where_it_was_taken_over(world, pair):
    first, second = pair
    task_id = begin(world, first)
    part(world, first, second)
    world.advance(GONE_S)
    assert own(second, task_id)
    let_go(world, first)
    assert value(world, first, task_id) == list(range(8))
    assert world.owner(first).call("AcknowledgeResult", {"task_id": task_id})["success"]
    world.refused.clear()
    world.advance(60.0)
    assert first.is_linked_with(second) and first.journals.journals == second.journals.journals == {}
    status = world.owner(second).call("GetTaskStatus", {"task_id": task_id})
    assert status["task"]["lite"]["state"] == "CANCELLED" and "was shown on another" in status["lite"]["message"]


def test_a_result_that_is_here_is_shown_though_another_took_the_task_over(world, pair):
    first, second = pair
    task_id = begin(world, first)
    part(world, first, second)
    world.advance(GONE_S)
    let_go(world, first)
    world.refused.clear()
    world.advance(60.0)
    assert own(first, task_id) is None and copy(first, task_id) == own(second, task_id), "the second goes on with it"
    assert value(world, first, task_id) == list(range(8))
    assert world.owner(first).call("AcknowledgeResult", {"task_id": task_id})["success"]
    world.settle()
    assert first.journals.journals == second.journals.journals == {}


def test_a_task_is_known_where_it_was_given_up_before_its_copy_has_come(world, pair):
    first, second = pair
    task_id = begin(world, first)
    first.executor.release(2)
    world.settle()
    owner = world.owner(first)
    waiting = owner.begin("GetTaskResult", {"task_id": task_id, "from_index": 8, "wait_s": 60.0})
    first.node.coordinator.give_up(first.node.coordinator.own_record(task_id), Claim(2, second.id))
    world.settle()
    (result, _), = waiting
    for told in (result, owner.call("GetTaskResult", {"task_id": task_id})):
        assert told["success"] and (told["state"], told["message"]) == ("RUNNING", "2 of 8 subtasks are done")
    assert [task["task_id"] for task in owner.call("ListTasks")["tasks"]] == [task_id]
    world.advance(60.0)
    told = owner.call("GetTaskResult", {"task_id": task_id})
    assert told["success"] and told["state"] == "RUNNING", "who waits where it was submitted waits on"


def test_a_task_goes_on_where_it_was_submitted_when_who_took_it_over_is_gone_before_a_copy_came(world, pair):
    first, second = pair
    task_id = begin(world, first)
    first.executor.release(2)
    world.settle()
    first.node.coordinator.give_up(first.node.coordinator.own_record(task_id), Claim(2, second.id))
    second.kill()
    world.advance(GONE_S)
    assert own(first, task_id)[0].owner_id == first.id, "it is still known to have been submitted here"
    let_go(world, first)
    assert value(world, first, task_id) == list(range(8))


def test_a_task_is_known_where_it_was_submitted_when_it_goes_on_where_that_device_reaches_nobody(world):
    first, second, third = three_that_hold(world)
    task_id = begin(world, first)
    first.kill()
    world.advance(GONE_S)
    again(world, first, "run")
    assert copy(first, task_id) == own(second, task_id)
    part(world, first, third)
    second.node.coordinator.give_up(second.node.coordinator.own_record(task_id), Claim(3, third.id))
    world.settle()
    assert world.owner(first).call("GetTaskResult", {"task_id": task_id})["success"]
    first.drop_link(second)
    world.advance(5.0)
    assert first.is_linked_with(second)
    assert world.owner(first).call("GetTaskResult", {"task_id": task_id})["success"], "it was asked for and is needed"


def test_a_task_whose_journal_cannot_be_read_goes_on_from_its_copy(world, pair):
    first, second = pair
    task_id = begin(world, first)
    first.executor.release(1)
    world.settle()
    first.kill()
    data = first.journals.journals[journal_name(task_id)]
    first.journals.journals[journal_name(task_id)] = data.replace(b"accepted", b"agcepted", 1)
    again(world, first)
    assert "damaged: line 1" in first.texts_told("warning")[-1]
    assert any("has lost it" in text for text in second.texts_told("note"))
    let_go(world, second)
    assert value(world, first, task_id) == value(world, second, task_id) == list(range(8))


def test_an_owner_that_comes_back_has_the_result_of_who_took_over(world, pair):
    first, second = pair
    task_id = begin(world, first)
    first.kill()
    world.advance(GONE_S)
    assert own(second, task_id)
    again(world, first, "run")
    assert own(first, task_id) is None and copy(first, task_id) == own(second, task_id)
    assert any("goes on at" in text for text in first.texts_told("note"))
    assert not any("cancelled" in text for text in first.texts_told("task")), "it ends nowhere"
    for index in (-1, 3):
        why = {"task_id": task_id, "index": index}
        told = world.owner(first).call("ExplainTask", why)
        assert told["success"] and told == world.owner(second).call("ExplainTask", why)
    let_go(world, first, second)
    assert value(world, first, task_id) == value(world, second, task_id) == list(range(8))
    assert [task["task_id"] for task in world.owner(first).call("ListTasks")["tasks"]] == [task_id]
    assert world.owner(first).call("AcknowledgeResult", {"task_id": task_id})["success"]
    world.settle()
    assert first.journals.journals == second.journals.journals == {}


def test_a_copy_whose_link_ends_under_way_goes_by_the_other_link_to_that_device(world, pair):
    first, second = pair
    first.node.discovery.say_hello(second.address, second.id)
    world.advance(2.0)
    links = first.node.discovery.links[second.id]
    assert len(links) == 2
    for link in links:
        link.delay_s = link.other.delay_s = 0.2
    task_id = begin(world, first)
    first.node.link_for_work(second.id).close("cut")
    world.advance(3.0)
    assert first.is_linked_with(second) and copy(second, task_id) == own(first, task_id)


def test_it_can_go_to_and_fro(world, pair):
    first, second = pair
    task_id = begin(world, first)
    first.kill()
    world.advance(GONE_S)
    again(world, first, "run")
    second.kill()
    world.advance(GONE_S)
    assert own(first, task_id)[1].term == 3
    let_go(world, first)
    assert value(world, first, task_id) == list(range(8))


def test_two_owners_at_once_are_harmless(world, pair):
    first, second = pair
    task_id = begin(world, first)
    wait = {"task_id": task_id, "from_index": 8, "wait_s": 3600.0}
    waiting = world.owner(first).begin("GetTaskResult", wait)
    part(world, first, second)
    world.advance(GONE_S)
    assert own(first, task_id) and own(second, task_id)
    first.executor.release(1)
    second.executor.release(1)
    world.settle()
    world.refused.clear()
    world.advance(60.0)
    assert first.is_linked_with(second)
    assert own(first, task_id) is None and own(second, task_id) and copy(first, task_id)
    (result, error), = waiting
    assert error is None and result["state"] == "RUNNING", "who waits at the first is told how it goes on"
    let_go(world, first, second)
    assert value(world, first, task_id) == value(world, second, task_id) == list(range(8))


@pytest.fixture
def two_owners(world):
    """One node is through with a task, and another goes on with it, whose copy is at a third.

    The two do not see each other, and where it was submitted is gone.
    """
    first, second, submitter, keeper = hosts = world.nodes("bcdp")
    for host in hosts:
        host.executor.holds = {"run"}
    task_id = begin(world, submitter)
    submitter.kill()
    world.advance(GONE_S)
    former, = world.nodes("a")
    part(world, first, second)
    part(world, former, second)
    let_go(world, first, former, keeper)
    former.executor.holds = keeper.executor.holds = {"run"}
    world.advance(OWNER_LEASE_S)
    assert own(first, task_id)[-1].state == "COMPLETED" and copy(former, task_id) == own(first, task_id)
    assert copy(keeper, task_id) == own(second, task_id)
    return (first, second, former, submitter, keeper), task_id


def test_of_two_owners_that_meet_again_the_later_one_stays(world, two_owners):
    (first, second, former, submitter, keeper), task_id = two_owners
    let_go(world, second, former, keeper)
    world.refused.clear()
    world.advance(60.0)
    assert own(first, task_id) is None and own(second, task_id)
    again(world, submitter)
    assert value(world, submitter, task_id) == list(range(8))
    assert world.owner(submitter).call("AcknowledgeResult", {"task_id": task_id})["success"]
    world.advance(5.0)
    assert [host.journals.journals for host in (first, second, former, submitter, keeper)] == [{}] * 5


def test_an_owner_that_meets_another_where_the_result_was_shown_keeps_it_no_more(world, two_owners):
    (first, second, former, _, keeper), task_id = two_owners
    let_go(world, second, keeper)
    assert world.owner(second).call("AcknowledgeResult", {"task_id": task_id})["success"]
    assert own(first, task_id)
    world.refused.clear()
    world.advance(60.0)
    assert [host.journals.journals for host in (first, second, former, keeper)] == [{}] * 4


def test_who_takes_a_task_over_tells_all_that_may_answer_for_it_still(world, two_owners):
    (first, second, _, _, keeper), task_id = two_owners
    second.kill()
    world.advance(GONE_S)
    assert own(first, task_id) is None and own(keeper, task_id)


@pytest.fixture
def compared(monkeypatch):
    """What nodes told each other of the tasks that they answer for: (who, to whom, ids)."""
    told, compared = [], Claims.compared

    def listen(claims, sender, terms, proofs):
        told.append((sender, claims._node.id, sorted(terms)))
        return compared(claims, sender, terms, proofs)

    monkeypatch.setattr(Claims, "compared", listen)
    return told


def test_all_tasks_that_are_taken_over_at_once_are_told_in_one_call(world, compared):
    first, second, third = world.nodes("abc")
    for host in (first, second, third):
        host.executor.holds = {"run"}
    task_ids = sorted(begin(world, first) for _ in range(3))
    assert all(copy(second, task_id) for task_id in task_ids)
    first.kill()
    world.advance(GONE_S)
    assert compared == [(second.id, third.id, task_ids)]


def test_a_task_bound_to_devices_is_told_to_no_other(world, compared):
    first, second, third = world.nodes("abc")
    task_id = begin(world, first, required_capabilities=[second.id])
    compared.clear()
    for other in (second, third):
        first.drop_link(other)
    world.advance(60.0)
    assert {whom for who, whom, told in compared if who == first.id and task_id in told} == {second.id}


def test_an_answer_about_tasks_that_nobody_asked_about_changes_nothing(world, pair, monkeypatch):
    first, second = pair
    task_id = begin(world, first, required_capabilities=[first.id])
    secret = own(first, task_id)[0].secret
    other = OwnerSaid(task_id, 9, second.id, proof_of(secret, task_id, 9, second.id))
    shown = {task_id: proof_of(secret, task_id, SHOWN, second.id)}
    monkeypatch.setattr(Claims, "compared", lambda *_: CompareOwnersAnswer([other], [task_id], shown))
    begin(world, first)
    first.drop_link(second)
    world.advance(60.0)
    assert first.is_linked_with(second) and own(first, task_id)


def test_who_gave_a_task_up_tells_in_which_term_another_answers_for_it(world):
    first, second, third = world.nodes("abc")
    first.executor.holds = {"run"}
    task_id, answers = begin(world, first), []
    secret = own(first, task_id)[0].secret
    for host, term in ((second, 7), (third, 5)):
        proofs = {task_id: proof_of(secret, task_id, term, host.id)}
        host.node.link_for_work(first.id).call(
            "CompareOwners", {"terms": {task_id: term}, "proofs": proofs},
            lambda result, error: answers.append(result["others"]))
        world.settle()
    proof = proof_of(secret, task_id, 7, second.id)
    assert answers == [[], [{"task_id": task_id, "term": 7, "owner_id": second.id, "proof": proof}]]


def test_a_node_without_an_id_answers_for_nothing(world, pair):
    first, _ = pair
    task_id = begin(world, first)
    assert world.owner(first).call("CompareOwners", {"terms": {task_id: 9}}) == {
        "others": [], "shown": [], "shown_proofs": {}}
    assert own(first, task_id)


def test_what_is_cancelled_by_way_of_the_copy_is_cancelled(world, pair):
    first, second = pair
    task_id = begin(world, first)
    assert world.owner(second).call("CancelTask", {"task_id": task_id})["success"]
    world.settle()
    for host in pair:
        assert world.owner(host).call("GetTaskStatus", {"task_id": task_id})["task"]["lite"]["state"] == "CANCELLED"


def test_why_is_told_to_the_device_that_keeps_the_copy_and_to_no_other(world):
    first, second, third = world.nodes("abc")
    for host in (first, second, third):
        host.executor.holds = {"run"}
    task_id = begin(world, first)
    assert copy(second, task_id)
    told = world.owner(second).call("ExplainTask", {"task_id": task_id})
    assert told["success"] and "subtasks are done" in told["message"]
    third.node.link_for_work(first.id).call("ExplainTask", {"task_id": task_id}, lambda *answer: answers.append(answer))
    answers = []
    world.settle()
    (answer, _), = answers
    assert not answer["success"] and "keeps no copy" in answer["message"]
    first.kill()
    world.settle()
    assert world.owner(second).call("ExplainTask", {"task_id": task_id}) == {
        "success": True, "message": f"its node {first.id[:8]} cannot be reached; once it is gone for"
        f" {OWNER_LEASE_S:g} s, this node goes on with the task"}
    with pytest.raises(Unavailable, match="cannot be reached; try again in a moment"):
        world.owner(second).call("CancelTask", {"task_id": task_id})


def test_a_task_bound_to_a_device_is_copied_nowhere_else(world, pair):
    first, second = pair
    begin(world, first, required_capabilities=[first.id])
    assert first.journals.journals and second.journals.journals == {}
    task_id = begin(world, first, required_capabilities=[second.id])
    assert copy(second, task_id)


def test_another_node_keeps_the_copy_when_the_first_is_gone(world):
    first, second, third = three_that_hold(world)
    task_id = begin(world, first)
    assert copy(second, task_id) and copy(third, task_id) is None
    second.kill()
    world.advance(40.0)
    assert copy(third, task_id) == own(first, task_id)


def test_a_keeper_that_was_restarted_takes_over_too(world, pair):
    first, second = pair
    task_id = begin(world, first)
    second.kill()
    first.kill()
    again(world, second)
    world.advance(OWNER_LEASE_S + 1)
    assert own(second, task_id) and value(world, second, task_id) == list(range(8))


def test_a_node_without_an_id_leaves_no_copy(world, pair):
    answer = world.owner(pair[0]).call("KeepTask", {"task_id": "x", "term": 9, "is_whole": True})
    assert not answer["success"] and pair[0].journals.journals == {}


def test_the_next_lines_of_a_copy_that_is_not_there_are_refused(world, pair):
    first, second = pair
    task_id = begin(world, first)
    second.journals.journals.clear()
    second.kill()
    again(world, second, "run")
    assert copy(second, task_id) == own(first, task_id)


def test_a_damaged_copy_is_said_kept_aside_and_used_up_to_there(world, pair):
    first, second = pair
    task_id = begin(world, first)
    first.executor.release(1)
    world.settle()
    name = COPY_MARK + journal_name(task_id)
    data = second.journals.journals[name]
    at = data.rindex(b"kept")
    damaged = second.journals.journals[name] = data[:at] + b"lept" + data[at + 4:]
    first.kill()
    second.kill()
    again(world, second)
    assert "the copy of a task's journal was damaged: line 3" in second.texts_told("warning")[-1]
    assert second.journals.journals[f"{name}.damaged"] == damaged and len(copy(second, task_id)) == 2
    world.advance(OWNER_LEASE_S + 1)
    assert value(world, second, task_id) == list(range(8))


def test_lines_that_do_not_fit_are_refused_and_the_copy_is_sent_whole(world, pair):
    first, second = pair
    task_id = begin(world, first)
    second.node.coordinator.copies._held[task_id].chain ^= 1
    for _ in range(2):
        first.executor.release(1)
        world.settle()
    assert copy(second, task_id)[2:] == own(first, task_id)[2:] and len(copy(second, task_id)) == 4


def test_what_a_copy_says_is_read_once_however_often_it_is_asked_for(world, pair, monkeypatch):
    first, second = pair
    task_id = begin(world, first)
    first.executor.release(2)
    world.settle()
    monkeypatch.setattr("discompute_lite.roles.copies.read_journal", None)
    owner = world.owner(second)
    for _ in range(3):
        assert [task["task_id"] for task in owner.call("ListTasks")["tasks"]] == [task_id]
        assert owner.call("GetTaskStatus", {"task_id": task_id})["lite"]["counts"]["COMPLETED"] == 2


def test_a_private_task_names_its_device_or_is_refused(world):
    first, second, third = world.nodes("abc")
    owner = world.owner(first)
    for requires in ([], ["gpu"], ["b"]):
        task = world.echo([1], metadata={"private": "true"}, required_capabilities=requires)
        refused = owner.call("SubmitTask", task)
        assert not refused["success"] and "Name one: submit --private --requires DEVICE" in refused["message"]
    third.executor.holds = {"run"}
    task_id = begin(world, first, metadata={"private": "true"}, required_capabilities=[third.id])
    assert copy(third, task_id) and second.journals.journals == {}
    third.kill()
    world.advance(40.0)
    assert own(first, task_id) and second.journals.journals == {}, "nobody else is told of it"


def test_whoever_takes_a_private_task_over_brings_it_back_where_it_was_submitted(world, pair):
    first, second = pair
    task_id = begin(world, first, metadata={"private": "true"}, required_capabilities=[second.id])
    first.kill()
    world.advance(GONE_S)
    assert own(second, task_id)
    again(world, first, "run")
    let_go(world, first, second)
    assert value(world, first, task_id) == list(range(8)) and copy(first, task_id) == own(second, task_id)
