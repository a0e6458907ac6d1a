"""Calls that begin and end on their caller's thread, and those that do not go so well."""

from types import SimpleNamespace

import pytest

from discompute_lite.faces import direct as direct_module
from discompute_lite.faces import dispatch as dispatch_module
from discompute_lite.faces.direct import PAUSE_AWAKE_S, AWAKE_S, IN_VAIN_MOST, WAIT_HERE_S, DirectWay, direct_way
from discompute_lite.faces.dispatch import Dispatch, StreamKey
from discompute_lite.faces.options import CallOptions
from discompute_lite.faces.packing import PackedLine
from discompute_lite.host.executors import WorkFuture
from discompute_lite.roles.call_units import CallUnit, ShortPermit, StreamOptions, UnitOutcome
from discompute_lite.tasks.work import WorkOutcome

LINE = b'{"value":7}'
RAISED = b'{"values":[],"raised":{"name":"ValueError"}}'


class FakeExecutor:
    """Begin what it is given while it has slots; outcomes come when a test says so, on the thread of the test."""

    def __init__(self):
        self.slots, self.begun, self.stopped, self.waited, self.awake = 2, [], [], [], []
        #: What whoever waits finds, and after how long.
        self.comes, self.takes_s, self.clock = None, 0.0, 0.0

    def begin_warm(self, request, on_long):
        if len(self.begun) >= self.slots:
            return None
        work = WorkFuture(request, self)
        work.on_long = on_long
        self.begun.append(work)
        return work

    def finish_here(self, work, seconds, awake_s):
        self.waited.append(seconds)
        self.awake.append(awake_s)
        self.clock += self.takes_s
        if isinstance(self.comes, BaseException):
            raise self.comes
        if self.comes is not None and not work.done():
            work.settle(self.comes)
        return work.done()

    def interrupt(self, work, reason):
        self.stopped.append(reason)
        work.settle(WorkOutcome(False, error=reason, error_type="Stopped"))


class FakeStream:
    work_s, permit = 0.0, None

    def __init__(self):
        self.units, self.adopted = [], []

    unit = staticmethod(CallUnit)

    def add(self, units):
        self.units += units

    def adopt(self, unit, work):
        self.adopted.append((unit, work))

    def cancel(self, unit):
        for each, work in self.adopted:
            if each is unit:
                work.stop("it was cancelled")
        return True


class Town:
    """A dispatch whose one stream permits direct calls until 10.0 o'clock; its node's thread is turned by hand."""

    def __init__(self):
        self.executor, self.stream, self.posted, self.outcomes = FakeExecutor(), FakeStream(), [], []
        streams = SimpleNamespace(open=lambda line, **named: self.stream, total_slots=lambda: 2)
        way = DirectWay(self.executor, lambda: self.executor.clock)
        thread = SimpleNamespace(is_alive=lambda: True)
        self.dispatch = Dispatch(lambda *posted: self.posted.append(posted), thread, streams, direct=way)
        self.warm_up()
        self.stream.permit = self.permit = ShortPermit(10.0, b"line", "calls-1~1/", StreamOptions(), "here")

    def send(self, may_wait=True, data=b"[[],{}]", **options):
        key = StreamKey(PackedLine(b"line", "hash", ()), CallOptions(**options), False)
        return self.dispatch.send(key, data, 1, self.outcomes.append, may_wait)

    def warm_up(self, **options):
        """Make the first call of a stream, by which it is opened."""
        self.send(may_wait=False, **options)
        self.turn()
        self.end(self.stream.units.pop())
        self.outcomes.clear()

    def turn(self):
        while self.posted:
            callback, *arguments = self.posted.pop(0)
            callback(*arguments)

    def end(self, unit, line=LINE):
        unit.is_over = True
        unit.done(unit, UnitOutcome(line, "", "", "there", 1))

    def is_idle(self):
        idle = []
        self.dispatch.when_idle(lambda: idle.append(True))
        return bool(idle)


@pytest.fixture
def town():
    return Town()


def test_a_call_alone_begins_and_ends_without_the_nodes_thread(town):
    call = town.send()
    (work,) = town.executor.begun
    assert work.request.data == b"line\n[[],{}]" and work.request.attempt_id == "calls-1~1/" and call.is_running
    assert not town.is_idle()
    town.executor.comes = WorkOutcome(True, LINE, seconds=0.25)
    town.dispatch.wait_here(call, WAIT_HERE_S)
    assert town.outcomes == [UnitOutcome(LINE, "", "", "here", 1)] and call.is_over and not call.is_running
    assert town.posted == [] and town.is_idle() and town.permit.took_s == [0.25]
    town.dispatch.wait_here(call, WAIT_HERE_S)
    assert len(town.outcomes) == len(town.executor.waited) == 1


@pytest.mark.parametrize("why_not", ["nobody waits", "too late", "never permitted", "a blob", "no process is free"])
def test_what_is_not_permitted_goes_to_the_nodes_thread(town, why_not):
    if why_not == "too late":
        town.executor.clock = 10.0
    if why_not == "never permitted":
        town.stream.permit = None
    if why_not == "no process is free":
        town.executor.slots = 0
    blob = b'[[{"$t":"blob","v":"%s"}],{}]' % (b"ab" * 32)
    call = town.send(why_not != "nobody waits", blob if why_not == "a blob" else b"[[],{}]")
    assert town.executor.begun == [] and len(town.posted) == 1
    town.dispatch.wait_here(call, WAIT_HERE_S)
    town.turn()
    assert len(town.stream.units) == 1 and town.executor.waited == []


def test_beside_calls_that_went_to_the_node_nothing_goes_past_it(town):
    for _ in range(3):
        town.send()
    assert [work is not None for work in town.executor.begun] == [True, True], "there are no more slots"
    town.turn()
    assert [work for _, work in town.stream.adopted] == town.executor.begun, "it has to know what is taken"
    assert [unit.data for unit in town.stream.units] == [b"[[],{}]"]
    town.executor.slots = 9
    town.send()
    assert len(town.executor.begun) == 2
    town.turn()
    for unit in [*town.stream.units, *(unit for unit, _ in town.stream.adopted)]:
        town.end(unit)
    assert len(town.outcomes) == 4 and town.is_idle()


@pytest.mark.parametrize(
    "what", ["nobody waits", "it takes long", "it is left", "it dies", "it is no line", "Ctrl-C"])
def test_what_does_not_end_well_in_moments_is_the_nodes(town, what):
    call = town.send()
    (work,) = town.executor.begun
    if what == "nobody waits":
        work.settle(WorkOutcome(True, LINE))
    elif what == "it is left":
        work.on_long(work)
    else:
        town.executor.comes = {
            "it dies": WorkOutcome(False, error="why", error_type="Died", blame="device"),
            "it is no line": WorkOutcome(True, LINE + b"\n" + LINE), "Ctrl-C": KeyboardInterrupt()}.get(what)
        if what == "Ctrl-C":
            with pytest.raises(KeyboardInterrupt):
                town.dispatch.wait_here(call, WAIT_HERE_S)
        else:
            town.dispatch.wait_here(call, WAIT_HERE_S)
    town.turn()
    ((unit, adopted),) = town.stream.adopted
    assert adopted is work and unit.data == b"[[],{}]" and town.outcomes == [] and not town.is_idle()
    town.dispatch.wait_here(call, WAIT_HERE_S)
    town.end(unit)
    assert town.outcomes == [UnitOutcome(LINE, "", "", "there", 1)] and town.is_idle()


def test_one_that_raises_and_may_be_made_again_is_the_nodes(town):
    town.warm_up(retries=1)
    call = town.send(retries=1)
    town.executor.comes = WorkOutcome(True, RAISED)
    town.dispatch.wait_here(call, WAIT_HERE_S)
    town.turn()
    ((unit, _),) = town.stream.adopted
    town.end(unit, RAISED)
    (again,) = town.stream.units
    town.end(again)
    assert [outcome.attempts for outcome in town.outcomes] == [2]


def test_one_that_is_given_up_is_stopped(town):
    call = town.send()
    town.dispatch.cancel(call)
    town.turn()
    assert town.executor.stopped == ["it was cancelled"] and call.is_over and town.is_idle() and town.outcomes == []


def test_one_that_is_given_up_while_its_outcome_comes_is_over_once(town):
    call = town.send()
    town.executor.comes = WorkOutcome(True, LINE)
    finish = town.executor.finish_here

    def finish_and_give_up(work, seconds, awake_s):
        there = finish(work, seconds, awake_s)
        town.dispatch.cancel(call)
        town.turn()
        return there

    town.executor.finish_here = finish_and_give_up
    town.dispatch.wait_here(call, WAIT_HERE_S)
    town.turn()
    assert town.is_idle() and call.is_over and town.outcomes == [] and not call.open.users


def test_whoever_waits_stays_awake_unless_that_was_in_vain_several_times_a_moment_ago(town):
    town.executor.comes = WorkOutcome(True, LINE)
    short, long = AWAKE_S / 2, 2 * AWAKE_S
    in_vain = [long] * (IN_VAIN_MOST - 1)
    for town.executor.takes_s in (*in_vain, short, *in_vain, long, short, PAUSE_AWAKE_S, short):
        town.dispatch.wait_here(town.send(), WAIT_HERE_S)
        town.executor.begun.clear()
    assert [awake_s == AWAKE_S for awake_s in town.executor.awake] == [True] * 2 * IN_VAIN_MOST + [False, False, True]


def test_one_that_turns_out_long_before_its_own_thread_knows_what_carries_it_is_the_nodes(town):
    begin_warm = town.executor.begin_warm

    def begin_warm_beside_the_node(request, on_long):
        work = begin_warm(request, on_long)
        work.on_long(work)
        town.turn()
        return work

    town.executor.begin_warm = begin_warm_beside_the_node
    town.send()
    assert [work for _, work in town.stream.adopted] == town.executor.begun


def test_ctrl_c_while_it_begins_leaves_nothing_under_way(town):
    def interrupted(request, on_long):
        raise KeyboardInterrupt

    town.executor.begin_warm = interrupted
    with pytest.raises(KeyboardInterrupt):
        town.send()
    town.turn()
    assert town.is_idle()


@pytest.mark.parametrize("does_send", [True, False])
@pytest.mark.parametrize("comes", [WorkOutcome(True, LINE), WorkOutcome(False, error="why"), None])
def test_ctrl_c_at_any_step_leaves_each_call_its_outcome_and_nothing_under_way(comes, does_send, is_interrupted):
    modules = direct_module, dispatch_module
    is_interrupted(modules, 0, Town().send)  # Python 3.12 tells of no steps the first time.
    for before in range(1, 1000):
        town = Town()
        town.executor.comes = comes
        call = None if does_send else town.send()
        action = [town.send] if call is None else [town.dispatch.wait_here, call, WAIT_HERE_S]
        if not is_interrupted(modules, before, *action):
            break
        town.turn()
        for work in town.executor.begun:
            work.settle(WorkOutcome(True, LINE))
        town.turn()
        for unit in [*town.stream.units, *(unit for unit, _ in town.stream.adopted)]:
            town.end(unit)
        town.turn()
        assert town.is_idle() and not town.dispatch._direct_calls
        assert call is None or {outcome.line for outcome in town.outcomes} == {LINE}
    assert 50 < before < 999


def test_executors_without_warm_processes_have_no_such_way():
    assert direct_way(object()) is None and direct_way(FakeExecutor()) is not None
