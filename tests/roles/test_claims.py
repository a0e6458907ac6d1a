"""Who answers for a task is settled among those who had it: whoever merely knows its id takes it from nobody."""

from __future__ import annotations

import pytest

from discompute_lite.core.journal import JournalWriter, OwnerNamed, read_journal
from discompute_lite.core.ownership import MOST_TERM, proof_of
from discompute_lite.model.limits import Limits
from discompute_lite.roles.claims import Claims
from discompute_lite.roles.durability import COPY_MARK, journal_name
from discompute_lite.roles.keeping_methods import CompareOwnersAnswer, OwnerSaid

#: Seconds in which a device that is gone is found dead, and its lease ends.
GONE_S = Limits().owner_lease_s + 35.0


@pytest.fixture
def three(world):
    """An owner, the keeper of its copies, and a member that runs its pieces and may send work, all of which hold."""
    hosts = world.nodes("abc")
    for host in hosts:
        host.executor.holds = {"run"}
    task_id = world.owner(hosts[0]).call("SubmitTask", world.echo(range(8)))["task_id"]
    world.settle()
    assert copy(hosts[1], task_id) and not copy(hosts[2], task_id)
    assert any(task_id in run for run in hosts[2].executor.runs()), "it knows the task by its id"
    return (*hosts, task_id)


def entries(host, name):
    data = host.journals.journals.get(name)
    return None if data is None else read_journal(data).entries


def own(host, task_id):
    return entries(host, journal_name(task_id))


def copy(host, task_id):
    return entries(host, COPY_MARK + journal_name(task_id))


def assert_still_owned(world, owner, task_id, *others):
    """The task is its owner's, ends well there, and nobody else has anything of it."""
    assert own(owner, task_id)
    for host in (owner, *others):
        host.executor.holds = set()
        host.executor.release()
    world.advance(3.0)
    answer = world.owner(owner).call("GetTaskResult", {"task_id": task_id})
    assert (answer["state"], world.value(answer["result_data"])) == ("COMPLETED", list(range(8)))


TERMS = [2, MOST_TERM, MOST_TERM + 1, 2 ** 63 - 1]


@pytest.mark.parametrize("term", TERMS)
def test_whoever_may_send_work_cannot_claim_a_task_by_its_id(world, three, term):
    owner, keeper, member, task_id = three
    for host in (owner, keeper):
        answer = world.say(member, host, "CompareOwners", terms={task_id: term}, proofs={task_id: "00" * 32})
        assert answer["others"] == answer["shown"] == []
        assert host.node.counters["unproven_claims"] == 1
    assert_still_owned(world, owner, task_id, keeper, member)


@pytest.mark.parametrize("term", TERMS)
def test_nor_by_a_copy_of_its_own_making_at_the_owner_or_where_the_real_one_is(world, three, term):
    owner, keeper, member, task_id = three
    begin, *rest = own(owner, task_id)
    kept = copy(keeper, task_id)
    for secret in ("", "00" * 16):
        lines = JournalWriter().lines(type(begin)(begin.task, owner_id=owner.id, secret=secret), *rest)
        for host in (owner, keeper):
            answer = world.say(member, host, "KeepTask", task_id=task_id, term=term, lines=lines, is_whole=True)
            assert not answer["success"] and answer["owner_id"] == ""
    for host in (owner, keeper):
        lines = JournalWriter().lines(*rest)
        assert not world.say(member, host, "KeepTask", task_id=task_id, term=term, lines=lines)["success"]
    assert copy(keeper, task_id) == kept
    assert_still_owned(world, owner, task_id, keeper, member)


def test_nor_by_answering_that_it_is_somebody_elses_or_was_shown(world, three, monkeypatch):
    owner, keeper, member, task_id = three
    for term in TERMS:
        said = CompareOwnersAnswer([OwnerSaid(task_id, term, member.id, "00" * 32)], [task_id], {task_id: "00" * 32})
        monkeypatch.setattr(Claims, "compared", lambda *_, said=said: said)
        owner.drop_link(member)
        world.advance(60.0)
        assert owner.is_linked_with(member)
    monkeypatch.undo()
    assert_still_owned(world, owner, task_id, keeper, member)


def test_what_one_owner_said_is_no_proof_for_another(world, three, monkeypatch):
    owner, keeper, member, task_id = three
    heard, compared = {}, Claims.compared

    def listen(claims, sender, terms, proofs):
        heard.update(proofs)
        return compared(claims, sender, terms, proofs)

    monkeypatch.setattr(Claims, "compared", listen)
    owner.drop_link(member)
    world.advance(30.0)
    assert task_id in heard
    world.say(member, owner, "CompareOwners", terms={task_id: 1}, proofs=heard)
    world.say(member, keeper, "CompareOwners", terms={task_id: 2}, proofs=heard)
    assert_still_owned(world, owner, task_id, keeper, member)


def test_a_false_copy_that_came_first_takes_a_task_from_nobody(world):
    """Its keeper believes in it, and even takes it over: the owner goes on all the same."""
    owner, keeper, member = hosts = world.nodes("abc")
    for host in hosts:
        host.executor.holds = {"run"}
    world.part(owner, keeper)
    owner.drop_link(keeper)
    task_id = world.owner(owner).call("SubmitTask", world.echo(range(8)))["task_id"]
    world.settle()
    begin, *rest = own(owner, task_id)
    first = type(begin)(begin.task, owner_id=owner.id, secret="00" * 16)
    lines = JournalWriter().lines(first, OwnerNamed(member.id, 9), *rest)
    assert world.say(member, keeper, "KeepTask", task_id=task_id, term=9, lines=lines, is_whole=True)["success"]
    world.refused.clear()
    world.advance(60.0)
    assert owner.is_linked_with(keeper) and own(owner, task_id)
    member.kill()
    world.advance(GONE_S)
    assert own(keeper, task_id), "it goes on with what it was given"
    assert own(owner, task_id)
    assert_still_owned(world, owner, task_id, keeper)


def test_whoever_had_the_copy_is_believed_by_those_whom_it_never_met_as_an_owner(world, three):
    owner, keeper, member, task_id = three
    secret = own(owner, task_id)[0].secret
    proofs = {task_id: proof_of(secret, task_id, 2, member.id)}
    assert world.say(member, owner, "CompareOwners", terms={task_id: 2}, proofs=proofs)["others"] == []
    assert own(owner, task_id) is None and owner.node.coordinator.copies.claim_of(task_id) == (2, member.id)


def test_a_task_of_a_version_without_secrets_is_compared_as_ever_but_in_terms_that_can_be(world, three):
    owner, keeper, member, task_id = three
    owner.node.coordinator.own_record(task_id).secret = ""
    for term in TERMS[2:]:
        world.say(member, owner, "CompareOwners", terms={task_id: term})
    assert own(owner, task_id)
    world.say(member, owner, "CompareOwners", terms={task_id: 2})
    assert own(owner, task_id) is None


def test_each_task_has_a_secret_of_its_own_which_its_workers_are_not_told(world, three):
    owner, keeper, member, task_id = three
    other = world.owner(owner).call("SubmitTask", world.echo(range(8)))["task_id"]
    world.settle()
    secrets = {own(owner, each)[0].secret for each in (task_id, other)}
    assert len(secrets) == 2 and all(len(secret) == 64 for secret in secrets)
    told = repr([request.__dict__ for request in member.executor.requests])
    told += repr(world.owner(owner).call("GetTaskStatus", {"task_id": task_id}))
    assert not any(secret in told for secret in secrets)
