"""Calls that outlive their script: what returned is kept, given out once, and never made again by the next run."""

import json

import pytest

from discompute_lite.core.journal import CallBegun, CallKept, read_journal
from discompute_lite.roles.journals import MemoryJournals
from discompute_lite.roles.kept_calls import KeptCalls, text_of_function, text_of_unit
from discompute_lite.tasks.calls import call_unit, function_line, has_line_raised
from discompute_lite.tasks.functions import pack_function
from discompute_lite.tasks.raw_pieces import parts_of_value
from discompute_lite.tasks.values import load_value

NAME = "run"


def double(number):
    """A function that travels."""
    if number < 0:
        raise ValueError(number)
    return 2 * number


LINE = function_line(pack_function(double))


class Life:
    """One life of a script: a run that is taken up, and what it is told."""

    def __init__(self, world, host, journals):
        self.world, self.host, self.journals, self.told = world, host, journals, []
        host.executor.requests.clear()
        self.kept = KeptCalls(
            host.node.streams, journals, NAME, journals.journals.get(NAME, b""), lambda *words: self.told.append(words))
        self.outcomes = []

    def call(self, *numbers, line=LINE, data=None):
        stream = self.kept.open(line, function="f")
        units = [stream.unit(data or call_unit((number,), {}), 1, lambda unit, outcome: self.outcomes.append(outcome))
                 for number in numbers]
        stream.add(units)
        self.world.settle()
        return stream, units

    def values(self):
        return [json.loads(outcome.line)["value"] for outcome in self.outcomes]

    def made(self):
        """How many calls were made in this life."""
        return sum(request.data.count(b"\n") for request in self.host.executor.requests if request.phase == "run")


@pytest.fixture
def host(world):
    return world.host("a").start()


@pytest.fixture
def journals():
    return MemoryJournals()


@pytest.fixture
def life(world, host, journals):
    return lambda: Life(world, host, journals)


def test_what_returned_is_not_made_again_and_what_is_new_is(life):
    first = life()
    first.call(1, 2, 3)
    assert first.values() == [2, 4, 6] and first.made() == 3
    second = life()
    second.call(2, 3, 4)
    assert second.kept.found == 3 and sorted(second.values()) == [4, 6, 8] and second.made() == 1
    devices = {outcome.device_id for outcome in first.outcomes}
    assert {outcome.device_id for outcome in second.outcomes} == devices and "" not in devices
    assert sorted(outcome.attempts for outcome in second.outcomes) == [0, 0, 1]


def test_what_is_kept_is_sealed_like_any_stream(world, host, life):
    stream, _ = life().call(1)
    assert host.node.streams._streams
    stream.seal()
    world.settle()
    assert not host.node.streams._streams, "it has ended"


def test_equal_calls_have_a_result_each_and_each_is_given_out_once(life):
    life().call(5, 5)
    second = life()
    second.call(5, 5, 5)
    assert second.values() == [10] * 3 and second.made() == 1
    third = life()
    assert third.kept.found == 3


def test_what_raised_is_made_again(life):
    first = life()
    first.call(-1, 1)
    assert [has_line_raised(outcome.line) for outcome in first.outcomes] == [True, False]
    second = life()
    second.call(-1, 1)
    assert second.kept.found == 1 and second.made() == 1


def test_a_call_that_raised_gives_its_number_to_the_one_that_is_made_for_it(life, journals):
    first = life()
    first.call(-1)
    first.call(-1)
    numbers = [entry.number for entry in read_journal(journals.journals[NAME]).entries]
    assert numbers == [0, 0]


def test_another_function_is_another_call_and_the_place_in_the_file_is_not(life):
    life().call(1)
    plain = json.loads(LINE)
    for text in plain["plan"]["texts"]:
        text[0], text[1] = "elsewhere.py", text[1] + 17
    moved = json.dumps(plain).encode()
    assert text_of_function(moved) == text_of_function(LINE)
    plain["plan"]["texts"][0][-1] = plain["plan"]["texts"][0][-1].replace("2 * number", "3 * number")
    assert text_of_function(json.dumps(plain).encode()) != text_of_function(LINE)


def test_sets_are_the_same_in_whatever_order_they_come():
    units = [b'[[{"$t":"set","v":%b},"set\\""],{}]' % order for order in (b'["a","b"]', b'["b","a"]')]
    assert text_of_unit(units[0]) == text_of_unit(units[1])
    assert text_of_unit(b'[["a","b"],{}]') != text_of_unit(b'[["b","a"],{}]')


def test_a_call_with_a_large_piece_of_memory_is_known_again_and_so_is_what_it_returned(life):
    large = bytes(range(256)) * 64
    data = call_unit((large, {1, 2}), {})
    line = function_line(pack_function(lambda piece, more: piece + piece))
    for _ in range(2):
        one = life()
        one.call(0, line=line, data=data)
        assert load_value(one.outcomes[0].line) == {"value": large + large}
    assert one.kept.found == 1 and one.made() == 0
    assert text_of_unit(data) == text_of_unit(call_unit((large, {2, 1}), {})) != text_of_unit(
        call_unit((large[::-1], {1, 2}), {}))


def test_units_with_sets_are_told_apart_by_each_of_their_pieces_and_not_by_the_order_of_these():
    one, other = b"a" * 5000, b"b" * 5000
    half, rest = one + other[:1], other[1:]
    assert text_of_unit(call_unit((one, other, {1}), {})) != text_of_unit(call_unit((half, rest, {1}), {}))
    text, *pieces = map(bytes, parts_of_value(call_unit(({one, other},), {})))
    units = [b"\1[%d,5000,5000]\n" % len(text) + b"".join([text, *order]) for order in (pieces, pieces[::-1])]
    assert units[0] != units[1] and load_value(units[0]) == load_value(units[1]) == [[{one, other}], {}]
    assert text_of_unit(units[0]) == text_of_unit(units[1])


def test_row_37_nobody_has_a_result_before_it_is_kept(world, host, slow_journals):
    journals = slow_journals()
    life = Life(world, host, journals)
    life.call(1)
    entries = read_journal(journals.journals[NAME]).entries
    assert life.made() == 1 and life.outcomes == []
    assert [type(entry) for entry in entries] == [CallBegun, CallKept]
    journals.sync("The disk is full.")
    journals.sync("The disk is full.")
    assert life.outcomes == [] and life.told == [
        ("warning", "results of calls wait until they can be kept: The disk is full.")]
    journals.sync()
    assert life.values() == [2]


def test_a_call_that_is_cancelled_while_it_is_written_down_is_heard_of_no_more(world, host, slow_journals):
    journals = slow_journals()
    life = Life(world, host, journals)
    stream, units = life.call(1)
    stream.cancel(units[0])
    journals.sync()
    assert life.outcomes == []


def test_calls_that_were_cut_off_are_counted_and_made_again(world, host, journals):
    host.executor.holds = {"run"}
    Life(world, host, journals).call(1)
    host.executor.holds = set()
    second = Life(world, host, journals)
    assert (second.kept.found, second.kept.interrupted) == (0, 1)
    told = "results of the run before: 0; calls that it was cut off in, to be made again: 1"
    assert second.told == [("note", told)]
    second.call(1)
    assert second.values() == [2]


def test_nothing_is_left_when_the_script_is_through(life, journals):
    first = life()
    first.call(1)
    first.kept.end()
    assert journals.journals == {}
    first.call(1)
    assert life().kept.found == 1, "what follows is another run"


def test_damage_is_said_kept_aside_and_costs_what_follows_only(life, journals):
    first = life()
    first.call(1)
    first.call(2)
    data = journals.journals[NAME]
    damaged = journals.journals[NAME] = data[:-20] + b"?" + data[-19:]
    second = life()
    assert second.kept.found == 1 and journals.journals[f"{NAME}.damaged"] == damaged
    assert second.told[0][0] == "warning" and "the journal of kept calls was damaged: line 4" in second.told[0][1]
    second.call(1, 2)
    assert sorted(second.values()) == [2, 4] and second.made() == 1 and life().kept.found == 2


@pytest.mark.parametrize("size", [1, 40, 150])
def test_a_cut_costs_nothing_but_what_is_cut_off(life, journals, size):
    life().call(1)
    journals.journals[NAME] = journals.journals[NAME][:-size]
    second = life()
    second.call(1)
    assert second.values() == [2] and [kind for kind, _ in second.told] in ([], ["note"]) and life().kept.found == 1


def test_a_stream_that_is_sealed_or_emptied_passes_that_on(world, host, life):
    host.executor.holds = {"run"}
    first = life()
    stream, _ = first.call(*range(12))
    stream.cancel_waiting()
    world.settle()
    assert {outcome.blame for outcome in first.outcomes} == {"cancelled"}
    host.executor.holds = set()
    host.executor.release()
    world.settle()
    stream.seal()
    world.settle()
    assert first.kept.open(LINE).work_s == 0.0 and first.kept.total_slots() == host.node.total_slots()
