"""The way between the scheduler and the devices: facts in order, nothing twice, nothing for what nobody wants."""

import pytest

from discompute_lite.core.events import (
    AcceptResult, AttemptFailed, AttemptSucceeded, StartAttempt, StopAttempt, SubtaskCancelled, TellStory, Tick,
)
from discompute_lite.model.errors import Unavailable
from discompute_lite.model.task import SubTask, SubTaskStatus
from discompute_lite.roles.attempts import Attempts
from discompute_lite.roles.methods import ExecuteSubtaskAnswer
from discompute_lite.roles.ports import Later


class Script:
    """Stand for the scheduler: answers each fact as a test says, and sees that one comes after the other."""

    def __init__(self):
        self.answers = {}
        self.facts = []
        self.is_asked = False

    def apply(self, event, now):
        assert not self.is_asked
        self.facts.append(event)
        return self.answers.pop(event, [])

    def next_deadline(self):
        return None

    def task(self, task_id):
        return None


class Owner:
    def __init__(self, attempts):
        self.attempts = attempts
        self.told_lines, self.accepted, self.failed_attempts = [], [], []
        self.is_empty = False

    def begin(self, action):
        if self.is_empty:
            self.attempts.apply(SubtaskCancelled("t", action.index))
            return None
        return SubTask(f"t/{action.index}", "t", action.index, b"data", lite={"wall_s": 2.0})

    def task_type(self):
        return "echo"

    def told(self, text):
        self.told_lines.append(text)
        if text == "first":
            self.attempts.apply(Tick())
            assert self.attempts.scheduler.facts[-1] != Tick(), "it waits its turn"

    def accept(self, action, done):
        self.accepted.append((action, done.result_data))

    def attempt_failed(self, action, done):
        self.failed_attempts.append((action.attempt_id, done.error_message))


class OwnWorker:
    """Stand for this device's worker: answers when a test says so, or at once."""

    def __init__(self):
        self.executed, self.cancelled, self.acknowledged_ids = [], [], []
        self.at_once = None

    def execute(self, sender, subtask):
        later = Later()
        self.executed.append((subtask, later))
        if self.at_once is not None:
            later.fail(self.at_once)
        return later

    def cancel(self, sender, attempt_id):
        self.cancelled.append(attempt_id)

    def acknowledged(self, sender, attempt_ids):
        self.acknowledged_ids += attempt_ids


@pytest.fixture
def node(world):
    """A node without anything around it, whose worker and scheduler are scripted."""
    node = world.host("a").start().node
    node.worker = OwnWorker()
    return node


@pytest.fixture
def attempts(node):
    attempts = Attempts(node)
    attempts.scheduler = Script()
    return attempts


@pytest.fixture
def owner(attempts):
    owner = Owner(attempts)
    attempts.own("t", owner)
    return owner


def start(node, index=0):
    return StartAttempt(f"t/{index}.1", "t", index, node.id, 15.0)


def outcome(ok, text):
    status = SubTaskStatus.COMPLETED if ok else SubTaskStatus.FAILED
    done = SubTask("t/0", "t", 0, status=status, result_data=text.encode(), error_message="" if ok else text,
                   lite={} if ok else {"blame": "task"})
    return ExecuteSubtaskAnswer(ok, "", done)


def test_facts_that_come_up_while_wishes_are_obeyed_wait_their_turn(attempts, owner):
    attempts.scheduler.answers["begin"] = [TellStory("t", "first"), TellStory("t", "second")]
    attempts.scheduler.answers[Tick()] = [TellStory("t", "third")]
    attempts.apply("begin")
    assert owner.told_lines == ["first", "second", "third"] and attempts.scheduler.facts == ["begin", Tick()]


def test_a_refusal_at_once_is_a_fact_like_any_other(node, attempts, owner):
    node.worker.at_once = Unavailable("all slots are taken")
    attempts.scheduler.answers["begin"] = [start(node, 0), start(node, 1), TellStory("t", "both are sent")]
    attempts.apply("begin")
    assert owner.told_lines == ["both are sent"]
    assert attempts.scheduler.facts[1:] == [
        AttemptFailed(f"t/{index}.1", "refused", "all slots are taken") for index in (0, 1)]
    assert not attempts.has_work_with(node.id)


def test_what_is_sent_says_which_attempt_it_is(node, attempts, owner):
    attempts.scheduler.answers["begin"] = [start(node)]
    attempts.apply("begin")
    ((subtask, _),) = node.worker.executed
    assert subtask.lite == {"wall_s": 2.0, "attempt": "t/0.1", "lease_s": 15.0, "task_type": "echo"}
    assert attempts.has_work_with(node.id)


def test_nothing_is_sent_or_stopped_for_a_subtask_of_which_nothing_is_left(node, attempts, owner):
    owner.is_empty = True
    attempts.scheduler.answers["begin"] = [start(node)]
    attempts.scheduler.answers[SubtaskCancelled("t", 0)] = [StopAttempt("t/0.1", node.id, "it was cancelled")]
    attempts.apply("begin")
    assert (node.worker.executed, node.worker.cancelled) == ([], [])
    assert not attempts.has_work_with(node.id) and not attempts._unsent


def test_a_result_that_is_accepted_goes_to_its_owner(node, attempts, owner):
    accept = AcceptResult("t", 0, "t/0.1", node.id)
    attempts.scheduler.answers = {"begin": [start(node)], AttemptSucceeded("t/0.1", 1): [accept]}
    attempts.apply("begin")
    node.worker.executed[0][1].resolve(outcome(True, "7"))
    assert owner.accepted == [(accept, b"7")] and node.worker.acknowledged_ids == ["t/0.1"]
    assert not attempts._arrived


def test_a_result_that_comes_too_late_is_dropped(node, attempts, owner):
    attempts.scheduler.answers = {"begin": [start(node)], "stop": [StopAttempt("t/0.1", node.id, "why")]}
    attempts.apply("begin")
    attempts.apply("stop")
    node.worker.executed[0][1].resolve(outcome(True, "7"))
    assert node.worker.cancelled == ["t/0.1"] and owner.accepted == [] and not attempts._arrived
    assert attempts.scheduler.facts == ["begin", "stop"]


def test_a_failure_is_told_to_the_owner_and_then_to_the_scheduler(node, attempts, owner):
    attempts.scheduler.answers["begin"] = [start(node)]
    attempts.apply("begin")
    node.worker.executed[0][1].resolve(outcome(False, "ValueError: no"))
    assert owner.failed_attempts == [("t/0.1", "ValueError: no")]
    assert attempts.scheduler.facts[-1] == AttemptFailed("t/0.1", "task", "ValueError: no")


def test_what_is_stopped_obeys_no_more(node, attempts, owner):
    attempts.scheduler.answers["begin"] = [start(node)]
    attempts.apply("begin")
    attempts.stop()
    node.worker.executed[0][1].resolve(outcome(True, "7"))
    attempts.apply("more")
    assert attempts.scheduler.facts == ["begin"]
