"""A copy is what another device says: whatever that is, its keeper stays well, and only what its rules allow runs."""

from __future__ import annotations


import hashlib
import json
from binascii import crc32

import pytest

from discompute_lite.core.access import Sender, code_hash
from discompute_lite.core.journal import JournalWriter, OwnerNamed, TaskAccepted, TaskDivided, read_journal
from discompute_lite.model.limits import Limits
from discompute_lite.model.task import ComputeTask
from discompute_lite.roles.durability import COPY_MARK, journal_name
from discompute_lite.tasks.jobs import code_of_plain
from discompute_lite.tasks.values import dump_value

#: Seconds in which a device that is gone is found dead, and its lease ends.
GONE_S = Limits().owner_lease_s + 35.0
TASK = ComputeTask("a-task", "echo", dump_value({"parts": [1, 2]}))
#: A job's data, and those of another code under the same name.
JOB, OTHER_JOB = (
    dump_value({"name": "a.py", "source": f"def work():\n    return {number}\n", "args": {}}) for number in (1, 2))


def kept(host, task_id=TASK.task_id):
    return host.journals.journals.get(COPY_MARK + journal_name(task_id))


def begin_of(owner, task=TASK, **fields):
    """Return the first line of a task's journal, and its number."""
    writer = JournalWriter()
    return writer.lines(TaskAccepted(task, owner_id=owner.id, **fields)), writer.chain


def line_of(said, chain):
    """Return what nobody writes who is well, behind the line of this number; "HUGE" is a number without an end."""
    text = json.dumps(said, separators=(",", ":"))[1:-1].replace('"HUGE"', "1e400").encode()
    return b'["%08x",%b]\n' % (crc32(text, chain), text)


IMPOSSIBLE = [
    ["closed", {"state": "NONSENSE"}], ["closed", {"state": "RUNNING"}], ["closed", {}], ["closed", None],
    ["closed", {"state": "COMPLETED", "printed": [{"phase": []}]}], ["kept", {"index": -1}],
    ["kept", {"index": 0, "lite": {"seconds": float("nan")}}], ["owner", {"term": []}], ["closed"], [[], {}], [],
]


@pytest.mark.parametrize("said", IMPOSSIBLE)
def test_a_copy_that_says_what_cannot_be_is_refused_and_its_keeper_starts_again(world, said):
    owner, keeper = world.nodes("ab")
    params, (begin, chain) = {"task_id": TASK.task_id, "term": 1}, begin_of(owner)
    rest = line_of(said, chain)
    assert not world.say(owner, keeper, "KeepTask", **params, lines=begin + rest, is_whole=True)["success"]
    assert kept(keeper) is None
    assert world.say(owner, keeper, "KeepTask", **params, lines=begin, is_whole=True)["success"]
    assert not world.say(owner, keeper, "KeepTask", **params, lines=rest)["success"]
    assert kept(keeper) == begin
    keeper.kill()
    keeper.start()
    world.advance(3.0)
    assert keeper.is_linked_with(owner)


def accepted(owner, **fields):
    task = {"task_id": TASK.task_id, "task_type": "echo", "task_data": "eyJwYXJ0cyI6WzEsMl19"}
    return ["accepted", {"owner_id": owner.id, **fields, "task": {**task, **fields.get("task", {})}}]


#: What the first line or one after it says that no message may say, or that no clock shows.
UNTELLABLE = [
    ({"submitted_at": 1e300}, None), ({"submitted_at": -1.0}, None), ({"task": {"lite": {"x": "HUGE"}}}, None),
    ({"task": {"lite": {"x": 2 ** 64}}}, None), ({"task": {"metadata": {"name": "\ud800"}}}, None),
    ({"secret": "\udfff"}, None), ({}, ["divided", {"parts": [""], "printed": "\ud800"}]),
    ({}, ["closed", {"state": "COMPLETED", "finished_at": 1e300}]),
    ({}, ["closed", {"state": "FAILED", "story": ["\ud800"]}]),
    ({}, ["closed", {"state": "COMPLETED", "subtasks": [{"status": "COMPLETED", "lite": {"x": "HUGE"}}]}]),
]


@pytest.mark.parametrize("fields, said", UNTELLABLE)
def test_a_copy_that_says_what_nobody_could_be_told_is_refused_and_who_asks_for_tasks_is_answered(world, fields, said):
    owner, keeper = world.nodes("ab")
    lines = line_of(accepted(owner, **fields), 0)
    lines += line_of(said, int(lines[2:10], 16)) if said else b""
    assert not world.say(owner, keeper, "KeepTask", task_id=TASK.task_id, term=1, lines=lines, is_whole=True)["success"]
    assert kept(keeper) is None and world.owner(keeper).call("ListTasks")["tasks"] == []


def test_a_copy_that_says_too_much_to_be_told_hides_no_other_task(world):
    owner, keeper = world.nodes("ab")
    task_id = world.owner(keeper).call("SubmitTask", world.echo([1]))["task_id"]
    lines = line_of(accepted(owner, submitted_at=2e9, task={"required_capabilities": ["x"] * 100_000}), 0)
    assert world.say(owner, keeper, "KeepTask", task_id=TASK.task_id, term=1, lines=lines, is_whole=True)["success"]
    assert [task["task_id"] for task in world.owner(keeper).call("ListTasks")["tasks"]] == [task_id]


@pytest.mark.parametrize("said", IMPOSSIBLE)
def test_a_journal_that_says_what_cannot_be_is_used_up_to_there(world, said):
    host = world.host("a")
    begin, chain = begin_of(host)
    host.journals.journals[journal_name(TASK.task_id)] = begin + line_of(said, chain)
    host.start()
    world.advance(5.0)
    assert [text for text in host.texts_told("warning") if "was damaged" in text]
    answer = world.owner(host).call("GetTaskResult", {"task_id": TASK.task_id})
    assert (answer["state"], world.value(answer["result_data"])) == ("COMPLETED", [1, 2])


@pytest.mark.parametrize("task", [
    ComputeTask("a/task", "echo"), ComputeTask("t" * 65, "echo"), ComputeTask("a-task", "nonsense"),
])
def test_a_copy_of_what_nobody_could_submit_is_refused(world, task):
    owner, keeper = world.nodes("ab")
    lines, _ = begin_of(owner, task)
    assert not world.say(owner, keeper, "KeepTask", task_id=task.task_id, term=1, lines=lines, is_whole=True)["success"]
    assert kept(keeper, task.task_id) is None


@pytest.mark.parametrize("secret", ["", "00" * 16])
@pytest.mark.parametrize("term", [1, 9])
def test_a_false_copy_that_came_first_has_the_owner_keep_the_task_and_another_keep_its_copy(world, secret, term):
    hosts = owner, keeper, member, other = world.nodes("dabc")
    for host in hosts:
        host.executor.holds = {"run"}
    world.part(owner, keeper)
    owner.drop_link(keeper)
    other.kill()
    world.advance(GONE_S)
    task_id = world.owner(owner).call("SubmitTask", world.echo(range(8)))["task_id"]
    world.settle()
    journal = owner.journals.journals[journal_name(task_id)]
    begin, *rest = read_journal(journal).entries
    first = type(begin)(begin.task, owner_id=member.id, secret=secret)
    lines = JournalWriter().lines(first, OwnerNamed(member.id, term), *rest)
    assert world.say(member, keeper, "KeepTask", task_id=task_id, term=term, lines=lines, is_whole=True)["success"]
    world.refused.clear()
    world.advance(10.0)
    assert owner.is_linked_with(keeper)
    other.start().executor.holds = {"run"}
    world.advance(10.0)
    member.kill()
    world.advance(GONE_S)
    assert owner.journals.journals[journal_name(task_id)] == journal == kept(other, task_id)
    for host in (owner, keeper, other):
        host.executor.holds = set()
        host.executor.release()
    world.advance(3.0)
    answer = world.owner(owner).call("GetTaskResult", {"task_id": task_id})
    assert (answer["state"], world.value(answer["result_data"])) == ("COMPLETED", list(range(8)))


def set_rules(world, host, **policy):
    assert world.owner(host).call("SetPolicy", {"policy": policy}).get("message", "") == ""


def approved(data):
    """Rules of a device that runs only the code of this job."""
    return {"everybody": {"accept": "hash"}, "approved_code": [code_hash("job", *code_of_plain(data))]}


RULES = [
    {"everybody": {"accept": "nobody"}}, {"everybody": {"accept": "named"}}, approved(OTHER_JOB),
    {"everybody": {}, "senders": {"a" * 52: {"accept": "named"}}},
]


@pytest.mark.parametrize("rules", RULES)
def test_a_copy_of_work_that_its_keeper_would_not_run_is_refused(world, rules):
    owner, keeper = world.nodes("ab")
    set_rules(world, keeper, **rules)
    lines, _ = begin_of(owner, ComputeTask("a-task", "job", JOB))
    assert not world.say(owner, keeper, "KeepTask", task_id="a-task", term=1, lines=lines, is_whole=True)["success"]
    assert kept(keeper) is None and "refused" in [what for what, _ in keeper.audit.notes]


def test_nor_what_a_device_sends_that_the_cluster_lets_send_nothing(world, monkeypatch):
    owner, keeper = world.nodes("ab")
    cluster = keeper.node.belonging.cluster
    monkeypatch.setattr(cluster, "sender", lambda device_id: Sender(device_id, "", "member", "nobody"))
    lines, _ = begin_of(owner)
    assert not world.say(owner, keeper, "KeepTask", task_id="a-task", term=1, lines=lines, is_whole=True)["success"]


@pytest.mark.parametrize("rules", RULES)
def test_whoever_is_gone_has_nothing_run_where_the_rules_refuse_its_work_by_now(world, rules):
    owner, keeper, other = world.nodes("abc")
    writer = JournalWriter()
    lines = writer.lines(TaskAccepted(ComputeTask("a-task", "job", JOB), owner_id=owner.id))
    assert world.say(owner, keeper, "KeepTask", task_id="a-task", term=1, lines=lines, is_whole=True)["success"]
    set_rules(world, keeper, **rules)
    owner.kill()
    world.advance(GONE_S)
    assert kept(keeper) == lines
    assert keeper.executor.requests == other.executor.requests == []
    assert [text for text in keeper.texts_told("note") if text.startswith("task a-task rests")]


def test_pieces_of_a_copy_are_held_to_the_rules_as_the_whole_is(world):
    owner, keeper = world.nodes("ab")
    set_rules(world, keeper, **approved(JOB))
    writer, params = JournalWriter(), {"task_id": "a-task", "term": 1}
    begin = writer.lines(TaskAccepted(ComputeTask("a-task", "job", JOB), owner_id=owner.id))
    parts = writer.lines(TaskDivided([JOB, OTHER_JOB]))
    assert not world.say(owner, keeper, "KeepTask", **params, lines=begin + parts, is_whole=True)["success"]
    assert world.say(owner, keeper, "KeepTask", **params, lines=begin, is_whole=True)["success"]
    assert world.say(owner, keeper, "KeepTask", **params, lines=parts)["success"]
    owner.kill()
    world.advance(GONE_S)
    assert kept(keeper) == begin + parts and keeper.executor.requests == []


def test_a_task_goes_on_where_it_was_submitted_whatever_that_device_takes_from_others(world):
    first, second = world.nodes("ab")
    first.executor.holds = second.executor.holds = {"run"}
    task_id = world.owner(first).call("SubmitTask", world.echo(range(4)))["task_id"]
    world.settle()
    first.kill()
    world.advance(GONE_S)
    assert second.journals.journals[journal_name(task_id)]
    first.start()
    set_rules(world, first, everybody={"accept": "nobody"})
    world.advance(GONE_S)
    assert kept(first, task_id)
    second.kill()
    world.advance(GONE_S)
    answer = world.owner(first).call("GetTaskResult", {"task_id": task_id})
    assert (answer["state"], world.value(answer["result_data"])) == ("COMPLETED", list(range(4)))


def test_nobody_foresees_the_id_of_a_task(world):
    host = world.nodes("a")[0]
    task_id = world.owner(host).call("SubmitTask", world.echo([1]))["task_id"]
    seeds = (f"{host.id}/{host.node.boot}/1", f"{host.node.boot}/1", host.id, "")
    assert task_id not in [hashlib.sha256(seed.encode()).hexdigest()[:12] for seed in seeds]
