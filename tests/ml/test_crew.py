"""Shards go to members by their pace, and stay where they are loaded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.ml.crew import LEVELLED_PART, Crew, divided_shards, levelled_steps, proportional_counts


@given(st.integers(0, 200), st.dictionaries(st.text(max_size=3), st.floats(0.001, 1000), min_size=1, max_size=12))
def test_counts_add_up_and_are_fair(total, paces):
    counts = proportional_counts(total, paces)
    assert sum(counts.values()) == total
    whole = sum(paces.values())
    assert all(abs(counts[name] - total * pace / whole) < 1 for name, pace in paces.items())


@given(st.integers(1, 60), st.lists(st.dictionaries(st.sampled_from("abcdef"), st.floats(0.01, 10), min_size=1),
                                    min_size=1, max_size=6))
def test_every_shard_is_held_once_however_members_change(total, stages):
    held = {}
    for paces in stages:
        counts = proportional_counts(total, paces)
        now = divided_shards(total, counts, held)
        assert sorted(shard for shards in now.values() for shard in shards) == list(range(total))
        assert {member: len(shards) for member, shards in now.items()} == counts
        for member, shards in now.items():
            kept = set(held.get(member, ())) & set(shards)
            assert len(kept) == min(len(held.get(member, ())), counts[member])
        held = now


@given(st.dictionaries(
    st.text(max_size=3), st.tuples(st.integers(1, 60), st.floats(0.01, 100)), min_size=1, max_size=8))
def test_steps_are_left_out_only_where_more_are_made_a_second_that_way(members):
    steps = {name: count for name, (count, _) in members.items()}
    paces = {name: pace for name, (_, pace) in members.items()}

    def steps_a_second(counts):
        return sum(counts.values()) / max(count / paces[name] for name, count in counts.items())

    levelled = levelled_steps(steps, paces)
    assert all(1 <= levelled[name] <= count for name, count in steps.items())
    assert sum(levelled.values()) >= (1 - LEVELLED_PART) * sum(steps.values())
    assert levelled == steps or steps_a_second(levelled) > steps_a_second(steps)


@pytest.mark.parametrize(("steps", "paces", "levelled"), [
    ((17, 9, 4, 2), (8, 4, 2, 1), (16, 8, 4, 2)),
    ((8, 8), (1, 1), (8, 8)),
    ((1, 1), (1, 100), (1, 1)),
    ((3, 100), (1, 40), (2, 80)),
])
def test_all_are_ready_at_about_the_same_time(steps, paces, levelled):
    members = "abcd"[:len(steps)]
    assert tuple(levelled_steps(dict(zip(members, steps)), dict(zip(members, paces))).values()) == levelled


def test_who_has_not_been_measured_is_judged_by_score_beside_the_measured():
    crew = Crew(12)
    crew.add("slow", 1.0)
    crew.add("fast", 2.0)
    assert {name: len(shards) for name, shards in crew.divide().items()} == {"slow": 4, "fast": 8}
    crew.measure("slow", 10, 1.0)
    crew.add("new", 1.0)
    assert crew.paces() == {"slow": 10.0, "fast": 20.0, "new": 10.0}
    crew.measure("fast", 10, 1.0)
    assert crew.paces()["fast"] == 10.0


def test_two_measurements_forget_half_of_an_old_pace():
    crew = Crew(4)
    crew.add("a", 1.0)
    crew.measure("a", 100, 1.0)
    crew.measure("a", 200, 1.0)
    assert crew.paces() == {"a": 150.0}


def test_a_first_step_in_which_libraries_are_imported_is_left_out_of_the_pace():
    crew = Crew(8)
    crew.add("a", 1.0)
    crew.measure("a", 5, 4.0, first_s=2.0)
    assert (crew.paces(), crew.is_sure_of("a")) == ({"a": 2.0}, True)


def test_who_has_made_its_first_step_only_gets_a_part_until_its_pace_is_seen():
    crew = Crew(8)
    crew.add("old", 1.0)
    crew.measure("old", 100, 1.0)
    crew.add("new", 1.0)
    crew.measure("new", 1, 5.0, first_s=5.0)
    assert (crew.is_sure_of("new"), crew.has_begun("new")) == (False, True)
    assert {name: len(shards) for name, shards in crew.divide().items()} == {"old": 7, "new": 1}
    # Another that comes is compared with those whose pace is known.
    crew.add("third", 1.0)
    assert crew.paces()["third"] == 100.0
    crew.remove("third")
    crew.measure("new", 100, 1.0)
    assert (crew.is_sure_of("new"), crew.has_begun("new")) == (True, False)
    assert {name: len(shards) for name, shards in crew.divide().items()} == {"old": 4, "new": 4}


@pytest.mark.parametrize("end", [lambda crew: crew.measure("new", 1, 5.0), lambda crew: crew.was_late("new"),
                                 lambda crew: crew.remove("new")])
def test_a_device_that_is_slow_after_its_first_step_too_is_done_without(end):
    crew = Crew(8)
    crew.add("old", 1.0)
    crew.measure("old", 100, 1.0)
    crew.add("new", 1.0)
    crew.measure("new", 1, 5.0, first_s=5.0)
    end(crew)
    assert set(crew.divide()) == {"old"}


def test_who_was_late_gets_less():
    crew = Crew(8)
    for name in "ab":
        crew.add(name, 1.0)
        crew.measure(name, 10, 1.0)
    crew.was_late("b")
    assert {name: len(shards) for name, shards in crew.divide().items()} == {"a": 5, "b": 3}


@pytest.mark.parametrize("action", [lambda crew: crew.measure("gone", 1, 1.0), lambda crew: crew.was_late("gone"),
                                    lambda crew: crew.remove("gone")])
def test_who_is_gone_is_not_missed(action):
    crew = Crew(4)
    crew.add("a", 1.0)
    action(crew)
    assert crew.members == ["a"]
    assert "gone" not in crew


def test_more_members_than_shards_leave_some_without():
    crew = Crew(2)
    for name in "abc":
        crew.add(name, 1.0)
    assert len(crew.divide()) == 2
