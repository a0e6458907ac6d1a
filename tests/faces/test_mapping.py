"""A map alone: what is drawn when, in which units, and in which order results and failures come back."""

import concurrent.futures
import itertools

import pytest

from discompute_lite.faces.futures import CallOverLimit, PoisonedSubtask, RemoteTimeout, one_outcome
from discompute_lite.faces.mapping import (
    AHEAD_ITEMS, AHEAD_S, AHEAD_UNITS, DRAW_S, NAMED_BYTES, UNIT_ITEMS, UNIT_S, MapPorts, MapRun, MapWishes, write_out,
)
from discompute_lite.model.errors import TaskFailed, TaskRejected
from discompute_lite.tasks.raised import describe_exception
from discompute_lite.tasks.values import dump_value, load_value


class Sender:
    """Take the units of a map; answer each when a test says so, or at once."""

    def __init__(self, function=lambda row: row, at_once=False):
        self.function, self.at_once = function, at_once
        #: Rows of each unit, in order; what answers those that are not answered yet; and numbers of those cancelled.
        self.units, self.open, self.cancelled = [], {}, []
        self.slots, self.work_s = 2, 0.0
        self.problem = None
        #: The time, which goes on when a test says so; and how short calls turn out to be when the first is answered.
        self.now, self.learnt_s = 0.0, 0.0

    def send(self, data, calls, done):
        if self.problem is not None:
            raise self.problem
        unit = load_value(data)
        rows = unit.get("items", unit.get("rows"))
        assert len(rows) == calls
        number = len(self.units)
        self.units.append(rows)
        self.open[number] = done
        if self.at_once:
            self.answer(number)
        return number

    def answer(self, *numbers, printed=""):
        for number in numbers or list(self.open):
            values, plain = [], {}
            try:
                for row in self.units[number]:
                    values.append(self.function(row))
            except Exception as error:
                plain["raised"] = describe_exception(error)
            if printed:
                plain["printed"] = printed
            self.work_s = self.work_s or self.learnt_s
            self.open.pop(number)(dump_value({"values": values, **plain}), None)

    def fail(self, number, error):
        self.open.pop(number)(b"", error)

    def run(self, rows, **named):
        return self.begin(rows, **named).results()

    def begin(self, rows, *, is_single=True, ordered=True, chunksize=None, deadline=None, is_range=False):
        ports = MapPorts(self.send, self.cancelled.append, lambda line, calls: one_outcome(line, (), calls),
                         lambda: self.slots, lambda: self.work_s, write_out, now=lambda: self.now)
        wishes = MapWishes(chunksize=chunksize, ordered=ordered)
        run = MapRun(rows if is_range else iter(rows), is_single, ports, wishes, deadline)
        run.begin()
        return run

    def numbers(self, each_s):
        """Count without end, each number after so many seconds."""
        for number in itertools.count():
            self.now += each_s
            yield number

    @property
    def drawn(self):
        return sum(map(len, self.units))


# ---- drawing --------------------------------------------------------------------------------------


def test_one_item_at_a_time_and_few_ahead_while_nobody_knows_how_long_it_takes():
    sender = Sender()
    sender.run(itertools.count())
    assert sender.units == [[number] for number in range(2 * AHEAD_UNITS)]


def test_units_and_what_is_drawn_ahead_follow_the_time_of_an_item():
    sender = Sender()
    sender.work_s = UNIT_S / 10
    sender.run(itertools.count())
    assert set(map(len, sender.units)) == {10} and sender.drawn == 2 * AHEAD_S / sender.work_s
    for work_s, unit in ((10.0, 1), (1e-9, UNIT_ITEMS)):
        other = Sender()
        other.work_s = work_s
        other.run(itertools.count())
        assert set(map(len, other.units)) == {unit} and other.drawn <= AHEAD_ITEMS + UNIT_ITEMS


def test_many_slots_do_not_draw_more_than_may_be_ahead():
    sender = Sender()
    sender.slots, sender.work_s = 1000, 1e-9
    sender.run(itertools.count())
    assert sender.drawn == AHEAD_ITEMS


def test_items_are_drawn_as_results_are_taken():
    sender = Sender(at_once=True)
    run = sender.run(itertools.count())
    ahead = sender.drawn
    assert [next(run) for _ in range(100)] == list(range(100))
    assert sender.drawn - 100 <= ahead


def test_what_is_drawn_before_anybody_asks_does_not_depend_on_how_soon_calls_are_done():
    sender = Sender(at_once=True)
    sender.learnt_s = 1e-7
    run = sender.run(itertools.count())
    assert sender.drawn == 2 * AHEAD_UNITS
    assert next(run) == 0 and sender.drawn > 1000


def test_items_that_are_slow_to_come_go_in_units_of_what_there_is():
    sender = Sender()
    sender.work_s = 1e-6
    sender.run(sender.numbers(DRAW_S / 4))
    assert set(map(len, sender.units)) == {7} and sender.now <= 4 * DRAW_S, "one unit for each slot, and no more"


def test_a_result_that_is_there_does_not_wait_for_many_items_that_are_slow_to_come():
    sender = Sender(at_once=True)
    sender.work_s = 1e-6
    run = sender.run(sender.numbers(10.0))
    for number in range(5):
        assert next(run) == number
        assert sender.drawn == number + 3, "one more for each that was taken"


def test_while_no_result_is_there_items_are_drawn_however_slow_they_come():
    sender = Sender()
    sender.work_s = 1.0
    run = sender.begin(sender.numbers(10.0))
    assert sender.drawn == 2
    run._changed.wait = lambda left_s: sender.answer()
    assert next(run.results()) == 0 and sender.drawn == 2 * AHEAD_UNITS


def test_a_chunksize_of_ones_own_is_kept_however_slow_items_come():
    sender = Sender(at_once=True)
    run = sender.run(sender.numbers(10.0), chunksize=100)
    assert next(run) == 0 and set(map(len, sender.units)) == {100}


def test_a_chunksize_of_ones_own_is_kept():
    sender = Sender(at_once=True)
    assert list(sender.run(range(10), chunksize=4)) == list(range(10))
    assert list(map(len, sender.units)) == [4, 4, 2]


def test_while_one_item_takes_long_the_others_do_not_wait_for_it():
    """It is the last to know that calls are short: the first result is not there, others are."""
    sender = Sender()
    run = sender.begin(itertools.count())
    ahead = sender.drawn
    answers = iter(range(1, ahead))

    def wait(left_s):
        number = next(answers, None)
        if number is None:
            sender.answer(0)
        else:
            sender.work_s = 0.01
            sender.answer(number)

    run._changed.wait = wait
    assert next(run.results()) == 0 and sender.drawn >= 2 * AHEAD_S / 0.01


def test_an_empty_map_is_over_at_once():
    assert list(Sender().run([])) == []


def test_rows_of_several_iterables_travel_as_rows():
    sender = Sender(function=lambda row: row[0] * 10 + row[1], at_once=True)
    assert list(sender.run(zip([1, 2, 3], [4, 5]), is_single=False)) == [14, 25]
    assert sender.units == [[[1, 4]], [[2, 5]]]


# ---- taking ---------------------------------------------------------------------------------------


def test_results_come_in_order_whatever_the_order_of_arrival():
    sender = Sender()
    run = sender.run(range(4))
    sender.answer(3, 1, 2, 0)
    assert list(run) == [0, 1, 2, 3]


def test_without_order_results_come_as_they_arrive():
    sender = Sender()
    run = sender.run(range(4), ordered=False)
    sender.answer(3, 1)
    assert [next(run), next(run)] == [3, 1]
    sender.answer(0, 2)
    assert list(run) == [0, 2]


def test_what_is_there_is_returned_though_its_time_is_over():
    sender = Sender()
    run = sender.run(range(3), deadline=0.0)
    sender.answer(0)
    assert next(run) == 0
    with pytest.raises(concurrent.futures.TimeoutError):
        next(run)
    assert sender.cancelled == [1, 2] and list(run) == []


def test_what_a_call_raises_comes_after_the_results_before_it_and_ends_the_map():
    sender = Sender(function=lambda row: 6 // (3 - row))
    run = sender.run(range(9), chunksize=2)
    sender.answer(1, 0)
    assert [next(run) for _ in range(3)] == [2, 3, 6]
    with pytest.raises(ZeroDivisionError):
        next(run)
    assert sender.cancelled == [2, 3, 4] and list(run) == []


def test_a_unit_without_outcome_raises_in_its_turn():
    sender = Sender()
    run = sender.run(range(3))
    sender.fail(1, TaskFailed("it is poison"))
    sender.answer(0, 2)
    assert next(run) == 0
    with pytest.raises(TaskFailed, match="poison"):
        next(run)


class Deadly(Sender):
    """Be devices on which some rows end their process, and with it the unit that they are in."""

    def __init__(self, *deadly, error=PoisonedSubtask("it failed once, on a: it died"), **named):
        super().__init__(at_once=True, **named)
        self.deadly, self.error, self.stays_open = deadly, error, set()

    def answer(self, *numbers, printed=""):
        for number in numbers or list(self.open):
            if number in self.stays_open:
                continue
            if any(row in self.deadly for row in self.units[number]):
                self.fail(number, self.error)
            else:
                super().answer(number, printed=printed)


@pytest.mark.parametrize("count, chunksize, culprit", [
    (1, 1, 0), (100, 10, 37), (100, 100, 99), (9, 9, 0), (3000, 1000, 1999), (2, 2, 1)])
def test_of_a_unit_that_one_item_ends_the_others_arrive_and_that_one_is_named(count, chunksize, culprit):
    sender = Deadly(culprit)
    run = sender.run(range(count), chunksize=chunksize)
    results = []
    with pytest.raises(PoisonedSubtask) as caught:
        for result in run:
            results.append(result)
    assert results == list(range(culprit)) and list(run) == []
    assert str(caught.value).startswith(f"the function({culprit}), item {culprit} of its map, failed once, on a: it d")
    assert sum(culprit in unit for unit in sender.units) <= 5, "it may end few more"


@pytest.mark.parametrize("error, words", [
    (RemoteTimeout("it ran longer than its limit of 2 s"), "the function(3), item 3 of its map, ran longer than its"),
    (CallOverLimit("it used 3 GiB"), "the function(3), item 3 of its map, used 3 GiB"),
])
def test_one_item_that_is_ended_for_what_it_takes_takes_no_other_along(error, words):
    run = Deadly(3, error=error).run(range(9), chunksize=9)
    assert [next(run) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(type(error)) as caught:
        next(run)
    assert str(caught.value).startswith(words)


def test_a_unit_that_fails_for_another_reason_is_not_tried_in_parts():
    sender = Deadly(3, error=TaskFailed("the function cannot be rebuilt"))
    with pytest.raises(TaskFailed):
        next(sender.run(range(9), chunksize=9))
    assert len(sender.units) == 1


def test_without_order_what_others_returned_comes_before_and_after_a_unit_in_parts():
    run = Deadly(99).run(range(12), chunksize=4, ordered=False)
    assert list(run) == list(range(12))
    run = Deadly(5).run(range(8), chunksize=4, ordered=False)
    assert [next(run) for _ in range(5)] == [0, 1, 2, 3, 4]


def test_whoever_stops_amid_the_parts_of_a_unit_has_all_that_is_open_cancelled():
    sender = Deadly(3)
    sender.stays_open = {1, 4, 5}
    run = sender.run(range(16), chunksize=8)
    assert [next(run), next(run)] == [0, 1]
    run.close()
    assert sender.units[2:] == [[0], [1], [2], [3], [4], [5], [6], [7]][:len(sender.units) - 2]
    assert set(sender.cancelled) == {1, 4, 5}


@pytest.mark.parametrize("row, words", [
    ("x" * 500, "'xxxx"), ([1] * 500, "[1, 1, 1, 1, 1, 1, ...]"), ("y" * (NAMED_BYTES + 1), "..."), (None, "None")])
def test_a_culprit_is_named_in_few_words(row, words):
    with pytest.raises(PoisonedSubtask) as caught:
        next(Deadly(row).run([row]))
    assert str(caught.value).startswith(f"the function({words}") and len(str(caught.value)) < 250


def test_a_culprit_of_several_arguments_is_named_with_all():
    with pytest.raises(PoisonedSubtask, match=r"^the function\(1, 'a'\), item 0 of its map, failed"):
        next(Deadly([1, "a"]).run(zip([1], ["a"]), is_single=False))


@pytest.mark.parametrize("line", [b'{"values":[1]}', b'{"values":[1,2,3]}', b'{"value":1}', b"nonsense", b"[]"])
def test_an_answer_that_does_not_fit_is_no_result(line):
    sender = Sender()
    run = sender.run(range(4), chunksize=2)
    sender.open.pop(0)(line, None)
    sender.answer()
    with pytest.raises((TaskFailed, TaskRejected)):
        next(run)


def test_what_was_printed_is_printed_here(capsys):
    sender = Sender()
    run = sender.run(range(2))
    sender.answer(0, printed="from afar\n")
    sender.answer(1)
    assert list(run) == [0, 1] and capsys.readouterr().out == "from afar\n"


def test_whoever_takes_no_more_has_the_rest_cancelled():
    sender = Sender()
    results = sender.run(range(6))
    sender.answer(0)
    assert next(results) == 0
    results.close()
    assert sender.cancelled == [1, 2, 3, 4, 5]
    sender.answer(3)


# ---- what cannot be drawn or sent -----------------------------------------------------------------


def test_an_iterator_that_fails_does_so_after_the_results_of_what_it_gave():
    def rows():
        yield from range(5)
        raise OSError("no more of the file")

    sender = Sender(at_once=True)
    run = sender.run(rows(), chunksize=2)
    assert [next(run) for _ in range(5)] == list(range(5))
    with pytest.raises(OSError, match="no more of the file"):
        next(run)
    assert list(run) == []


def test_an_iterator_that_fails_at_once_does_so_at_once():
    with pytest.raises(ZeroDivisionError):
        Sender().run(1 // number for number in range(3))


@pytest.mark.parametrize("chunksize", [1, 3, 100])
def test_an_item_that_cannot_travel_is_named_after_the_results_before_it(chunksize):
    sender = Sender(at_once=True)
    run = sender.run([0, 1, 2, 3, object(), 5], chunksize=chunksize)
    assert [next(run) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(TaskRejected, match=r"items\[4\]"):
        next(run)
    assert sender.drawn == 4


def test_a_first_item_that_cannot_travel_is_refused_at_once():
    with pytest.raises(TaskRejected, match=r"items\[0\]\['a'\]"):
        Sender().run([{"a": object()}, 2])
    with pytest.raises(TaskRejected, match=r"items\[0\]\[1\]"):
        Sender().run([(1, object())], is_single=False)


def test_a_cluster_that_is_shut_down_meanwhile_returns_what_was_sent():
    sender = Sender()
    run = sender.run(range(100))
    sender.problem = RuntimeError("cannot schedule new futures after shutdown")
    sender.answer()
    assert [next(run) for _ in range(8)] == list(range(8))
    with pytest.raises(RuntimeError, match="shutdown"):
        next(run)
    with pytest.raises(RuntimeError):
        sender.run([1])


def test_a_range_is_drawn_where_its_items_are_used():
    sender = Sender()
    results = sender.run(range(10, 0, -2), chunksize=2, is_range=True)
    assert sender.units == [range(10, 6, -2), range(6, 2, -2), range(2, 0, -2)]
    sender.answer()
    assert list(results) == [10, 8, 6, 4, 2]
    assert list(sender.run(range(0), is_range=True)) == []


def test_results_that_are_closed_come_no_more_and_are_cancelled():
    sender = Sender()
    results = sender.run(range(4), chunksize=1)
    sender.answer(0)
    assert next(results) == 0
    results.close()
    assert list(results) == [] and sorted(sender.cancelled) == [1, 2, 3]
