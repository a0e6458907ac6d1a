"""What a script may do itself with short calls, and what becomes of those that it has begun."""

import pytest

from discompute_lite.roles.short_way import PERMIT_S, SHORT_S
from discompute_lite.tasks.calls import function_line
from discompute_lite.tasks.functions import pack_function
from discompute_lite.tasks.work import WorkOutcome, WorkRequest

LINE = function_line(pack_function(divmod))
REQUEST = WorkRequest("run", "calls", LINE + b"\n[[7,5],{}]", "calls-1~1/")


class Script:
    """Make calls of one function on a node, one after the other."""

    def __init__(self, world, host, **options):
        self.world, self.host, self.outcomes = world, host, []
        self.stream = host.node.streams.open(LINE, **options)

    def unit(self):
        return self.stream.unit(b"[[7,5],{}]", 1, lambda unit, outcome: self.outcomes.append(outcome))

    def call(self, seconds=SHORT_S / 10):
        self.stream.add([self.unit()])
        self.world.settle()
        self.end(seconds)

    def end(self, seconds):
        for future in self.host.executor.held:
            future.settle(WorkOutcome(True, b'{"value":[1,2]}', seconds=seconds))
        self.host.executor.held = []
        self.world.settle()

    def adopt(self):
        """Have a call taken over that the script has begun."""
        unit, work = self.unit(), self.host.executor.submit(REQUEST)
        self.host.executor.held.remove(work)
        self.stream.adopt(unit, work)
        self.world.settle()
        return unit, work


@pytest.fixture
def host(world):
    host = world.member("a").start()
    host.executor.holds = {"run"}
    return host


@pytest.fixture
def script(world, host):
    script = Script(world, host)
    script.call()
    script.call()
    script.outcomes.clear()
    return script


def test_after_a_short_call_the_script_may_begin_some_itself_for_a_while(world, host, script):
    permit = script.stream.permit
    assert permit.until == host.node.clock.now() + PERMIT_S and (permit.line, permit.options.wall_s) == (LINE, 0.0)
    assert permit.owner == f"{script.stream.task_id}/" and permit.outcome(b"line") == (b"line", "", "", host.id, 1)
    assert host.node.worker.running == 0 and not host.node.worker.is_idle
    world.advance(PERMIT_S)
    assert host.node.worker.is_idle
    script.call()
    assert script.stream.permit.until == host.node.clock.now() + PERMIT_S


def test_what_the_script_made_itself_is_learnt_from_and_counted(script, host):
    done = host.node.worker.throughput()
    script.stream.permit.took_s += [SHORT_S * 4] * 5
    script.call()
    assert script.stream.permit is None, "they are not short any more"
    assert host.node.worker.throughput() > done + 5 / 61


@pytest.mark.parametrize("is_pinned, seconds", [(False, SHORT_S), (True, 0.0)])
def test_long_calls_and_those_with_a_place_of_their_own_are_never_permitted(world, host, is_pinned, seconds):
    script = Script(world, host, requires=(host.id,) if is_pinned else ())
    script.call(seconds)
    script.call(seconds)
    assert script.stream.permit is None


def test_while_others_wait_for_a_slot_nothing_is_permitted(world, host, script):
    other = Script(world, host)
    other.stream.add([other.unit() for _ in range(3)])
    world.settle()
    script.stream.add([script.unit()])
    world.settle()
    script.outcomes.clear()
    assert host.node.worker.lend_slots(1.0) == 0.0


def test_what_is_taken_over_counts_until_it_ends(host, script):
    unit, work = script.adopt()
    assert host.node.worker.running == 1 and unit.chunk is not None
    work.settle(WorkOutcome(True, b'{"value":[1,2]}', seconds=0.0001))
    script.world.settle()
    assert [outcome.line for outcome in script.outcomes] == [b'{"value":[1,2]}'] and host.node.worker.running == 0


def test_what_is_taken_over_dead_is_made_again_by_the_scheduler(host, script):
    _, work = script.adopt()
    work.settle(WorkOutcome(False, error="why", error_type="Died", blame="device"))
    script.world.settle()
    assert len(host.executor.held) == 1 and script.outcomes == []
    script.end(0.0001)
    assert [outcome.attempts for outcome in script.outcomes] == [2]


def test_what_is_taken_over_can_be_cancelled_and_ends_with_its_stream(host, script):
    unit, work = script.adopt()
    assert script.stream.cancel(unit) and work.stop_reason == "it was cancelled"
    _, work = script.adopt()
    script.stream.stop("enough")
    script.world.settle()
    assert work.stop_reason == "enough" and [outcome.blame for outcome in script.outcomes] == ["stopped"]
    _, late = script.adopt()
    assert late.stop_reason == "enough" and script.stream.permit is None
    assert [outcome.error for outcome in script.outcomes] == ["enough"] * 2
