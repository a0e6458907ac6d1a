"""Whatever befalls three devices that keep tasks for one another: no result is lost, nothing that was shown is kept."""

import random

import pytest

from discompute_lite.model.errors import Unavailable
from discompute_lite.model.limits import Limits

OWNER_LEASE_S = Limits().owner_lease_s
PARTS = list(range(4))
#: Seconds that pass between two events: so that links open or do not, and leases end or are just not over.
PAUSES = (0.0, 0.3, 2.0, OWNER_LEASE_S - 1.0, OWNER_LEASE_S + 1.0, 50.0)
#: Those by which copies were left behind, or a task not looked at once more, before.
SEEDS = (0, 10, 16, 34)


class Misfortune:
    """Devices that are killed and come back, links that break, and somebody who submits, looks and acknowledges."""

    def __init__(self, world, seed):
        self.world, self.rng = world, random.Random(seed)
        self.hosts = world.nodes("abc")
        for host in self.hosts:
            host.executor.holds = {"run"}
        #: task id -> where it was submitted: of tasks whose result nobody has acknowledged.
        self.tasks = {}

    def step(self):
        """Let one thing happen to one device, where it can."""
        host = self.rng.choice(self.hosts)
        if host.node is None:
            self.begin_again(host, {"run"})
            return
        event = self.rng.choice([self.submit, host.kill, self.release, self.look, self.part, self.world.refused.clear])
        if event in (self.submit, self.release, self.look, self.part):
            event(host)
        else:
            event()

    def begin_again(self, host, holds):
        host.make().executor.holds = holds
        host.node.start(host.port)

    def submit(self, host):
        if len(self.tasks) < 4:
            answer = self.world.owner(host).call("SubmitTask", self.world.echo(PARTS))
            self.tasks[answer["task_id"]] = host

    def release(self, host):
        host.executor.release(self.rng.randrange(1, 5))

    def part(self, host):
        other = self.rng.choice([each for each in self.hosts if each is not host])
        self.world.part(host, other)
        if other.node is not None:
            host.drop_link(other)

    def look(self, host):
        """Somebody asks for a result here, where it may be or not, and acknowledges it."""
        for task_id in sorted(self.tasks):
            if self.has_result(host, task_id) and self.acknowledges(host, task_id):
                del self.tasks[task_id]

    def has_result(self, host, task_id):
        answer = self.world.owner(host).call("GetTaskResult", {"task_id": task_id})
        is_there = answer["success"] and answer["state"] == "COMPLETED"
        assert not is_there or self.world.value(answer["result_data"]) == PARTS
        return is_there

    def acknowledges(self, host, task_id):
        try:
            return self.world.owner(host).call("AcknowledgeResult", {"task_id": task_id})["success"]
        except Unavailable:
            return False

    def make_good(self):
        """All devices are back, and can reach one another; time passes."""
        self.world.refused.clear()
        for host in self.hosts:
            if host.node is None:
                self.begin_again(host, set())
            host.executor.holds = set()
        for seconds in (120.0, 60.0):
            for host in self.hosts:
                host.executor.release()
            self.world.advance(seconds)


@pytest.mark.once
@pytest.mark.parametrize("seed", [SEEDS[0], *(pytest.param(seed, marks=pytest.mark.slow) for seed in SEEDS[1:])])
def test_no_result_is_lost_and_nothing_is_left_behind(world, seed):
    misfortune = Misfortune(world, seed)
    for _ in range(misfortune.rng.randrange(10, 50)):
        misfortune.step()
        world.advance(misfortune.rng.choice(PAUSES))
    misfortune.make_good()
    for task_id, host in misfortune.tasks.items():
        assert misfortune.has_result(host, task_id) and misfortune.acknowledges(host, task_id), task_id
    world.advance(30.0)
    assert [host.journals.journals for host in misfortune.hosts] == [{}, {}, {}]
