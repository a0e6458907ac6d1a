"""What its keeper's rules refuse rests until they allow it, and everybody who asks is told what it waits for."""

from __future__ import annotations

import pytest

from discompute_lite.core.journal import JournalWriter, TaskAccepted
from discompute_lite.model.limits import Limits
from discompute_lite.model.task import ComputeTask
from discompute_lite.roles.durability import COPY_MARK, journal_name
from discompute_lite.roles.own_rules import OwnRules
from discompute_lite.tasks.values import dump_value

#: Seconds in which a device that is gone is found dead, and its lease ends; and within which a node looks at itself.
GONE_S, LOOK_S = Limits().owner_lease_s + 35.0, 6.0
NOBODY, ANYBODY = {"everybody": {"accept": "nobody"}}, {"everybody": {"accept": "any"}}
JOB = dump_value({"name": "a.py", "source": "def work():\n    return 1\n", "args": {}})


def leave_tasks(world, owner, keeper, *task_ids):
    """Have a keeper hold copies of tasks that nobody works on yet."""
    replies = []
    for task_id in task_ids:
        task = ComputeTask(task_id, "job", JOB)
        lines = JournalWriter().lines(TaskAccepted(task, owner_id=owner.id))
        owner.node.link_for_work(keeper.id).call(
            "KeepTask", {"task_id": task_id, "term": 1, "lines": lines, "is_whole": True},
            lambda *reply: replies.append(reply))
        world.settle()
        assert replies.pop()[0]["success"]


def let_rest(world, owner, keeper, rules, *task_ids):
    """Have tasks rest at a keeper whose owner came to other rules, their own node being gone."""
    leave_tasks(world, owner, keeper, *task_ids)
    rule(world, keeper, rules)
    owner.kill()
    world.advance(GONE_S)
    assert all(rests(keeper, task_id) for task_id in task_ids)


def rule(world, host, policy):
    world.owner(host).call("SetPolicy", {"policy": policy})


def rests(host, task_id):
    return COPY_MARK + journal_name(task_id) in host.journals.journals


def runs(host, task_id):
    return journal_name(task_id) in host.journals.journals


def why(world, host, task_id="a-task"):
    answer = world.owner(host).call("ExplainTask", {"task_id": task_id})
    assert answer["success"]
    return answer["message"]


def lite(world, host):
    task, = world.owner(host).call("ListTasks")["tasks"]
    return task["lite"]


def test_what_rests_goes_on_when_the_rules_allow_it(world):
    owner, keeper = world.nodes("ab")
    let_rest(world, owner, keeper, NOBODY, "a-task", "b-task", "c-task")
    rule(world, keeper, ANYBODY)
    world.settle()
    for task_id in ("a-task", "b-task", "c-task"):
        assert runs(keeper, task_id) and not rests(keeper, task_id), "at once, all of them"


@pytest.mark.parametrize("count", [1, 3])
def test_and_when_the_hour_has_come(world, monkeypatch, count):
    owner, keeper = world.nodes("ab")
    tasks = [f"task-{number}" for number in range(count)]
    let_rest(world, owner, keeper, NOBODY, *tasks)
    policy = keeper.node.rules.policy
    # As if an hour of a rule had begun: no rule is changed, so that nothing says so.
    monkeypatch.setattr(keeper.node.rules, "policy", type(policy)())
    world.advance(LOOK_S)
    assert all(runs(keeper, task_id) for task_id in tasks)


def test_and_when_the_cluster_lets_its_owner_send_again(world):
    owner, keeper = world.nodes("ab")
    let_rest(world, owner, keeper, NOBODY, "a-task")
    keeper.node.rules.policy = type(keeper.node.rules.policy)()
    keeper.node.belonging._changed()
    assert runs(keeper, "a-task")


def test_one_task_that_rests_is_looked_at_with_each_look_at_the_device_each_in_turn_and_nothing_is_noted(
    world, monkeypatch
):
    owner, keeper = world.nodes("ab")
    let_rest(world, owner, keeper, NOBODY, "a-task", "b-task", "c-task")
    notes, told = len(keeper.audit.notes), len(keeper.texts_told("note"))
    asked, refusal_of_task = [], OwnRules.refusal_of_task

    def listen(rules, *words, **more):
        asked.append(rules)
        return refusal_of_task(rules, *words, **more)

    monkeypatch.setattr(OwnRules, "refusal_of_task", listen)
    order = list(keeper.node.coordinator.copies.task_ids())
    for _ in range(4):
        keeper.node.coordinator.copies.owners.look_again(is_all=False)
    assert len(asked) == 4
    assert keeper.node.coordinator.copies.task_ids() == [*order[1:], order[0]]
    assert (len(keeper.audit.notes), len(keeper.texts_told("note"))) == (notes, told)


def test_nothing_is_taken_over_before_its_lease_is_over(world):
    owner, keeper = world.nodes("ab")
    leave_tasks(world, owner, keeper, "a-task")
    rule(world, keeper, NOBODY)
    world.part(owner, keeper)
    owner.drop_link(keeper)
    world.advance(1.0)
    rule(world, keeper, ANYBODY)
    world.advance(LOOK_S)
    assert rests(keeper, "a-task") and not runs(keeper, "a-task")
    world.advance(GONE_S)
    assert runs(keeper, "a-task")


def test_why_says_what_a_task_waits_for(world):
    owner, keeper = world.nodes("ab")
    leave_tasks(world, owner, keeper, "a-task")
    owner.kill()
    world.settle()
    assert "this node goes on with the task" in why(world, keeper)
    rule(world, keeper, NOBODY)
    noted = len(keeper.audit.notes)
    for _ in range(2):
        assert why(world, keeper) == (
            f"its node {owner.id[:8]} cannot be reached; it rests, as the rule 'accept' keeps work of {owner.id[:8]}"
            f" from here: this node goes on once it may, or {owner.id[:8]} once it is back")
        world.advance(GONE_S)
    assert len(keeper.audit.notes) == noted + 1, "it was decided once"
    assert lite(world, keeper)["rests"] in why(world, keeper)


def test_what_is_told_of_a_task_says_that_it_rests_as_soon_as_its_node_is_missed(world):
    owner, keeper = world.nodes("ab")
    leave_tasks(world, owner, keeper, "a-task")
    rule(world, keeper, NOBODY)
    assert "rests" not in lite(world, keeper)
    owner.kill()
    world.advance(1.0)
    assert lite(world, keeper)["rests"].startswith("it rests, as the rule 'accept'")
    owner.start()
    world.advance(3.0)
    assert owner.is_linked_with(keeper) and world.owner(keeper).call("ListTasks")["tasks"] == [], "it has no such task"


def test_why_says_of_what_is_over_that_it_is(world):
    owner, keeper = world.nodes("ab")
    task_id = world.owner(owner).call("SubmitTask", world.echo([1, 2]))["task_id"]
    world.advance(2.0)
    assert rests(keeper, task_id)
    rule(world, keeper, NOBODY)
    owner.kill()
    world.advance(GONE_S)
    assert why(world, keeper, task_id) == f"its node {owner.id[:8]} cannot be reached; the task is over: completed"


def test_what_its_node_has_lost_rests_too_and_goes_on_though_that_node_is_there(world):
    owner, keeper = world.nodes("ab")
    for host in (owner, keeper):
        host.executor.holds = {"run"}
    task_id = world.owner(owner).call("SubmitTask", world.echo([1, 2]))["task_id"]
    world.settle()
    rule(world, keeper, NOBODY)
    owner.kill()
    data = owner.journals.journals[journal_name(task_id)]
    owner.journals.journals[journal_name(task_id)] = data.replace(b"accepted", b"agcepted", 1)
    owner.start()
    world.advance(5.0)
    assert why(world, keeper, task_id) == (
        f"its node {owner.id[:8]} has lost it; it rests, as the rule 'accept' keeps work of {owner.id[:8]} from here:"
        " this node goes on once it may")
    rule(world, keeper, ANYBODY)
    world.settle()
    assert runs(keeper, task_id)
