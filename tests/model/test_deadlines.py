"""Deadlines: one a key, in order of time, whatever was set, replaced and cancelled before."""

from __future__ import annotations

import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.deadlines import Deadlines

KEYS, TIMES = st.sampled_from("abcdef"), st.integers(0, 9).map(float)
STEPS = st.lists(st.one_of(
    st.tuples(st.just("set"), KEYS, TIMES), st.tuples(st.just("cancel"), KEYS), st.tuples(st.just("pop"), TIMES),
), max_size=60)


def assert_like(deadlines, model):
    assert deadlines.next() == (min(when for when, _ in model.values()) if model else None)
    assert len(deadlines) == len(model) and all(key in deadlines for key in model)


@given(STEPS)
def test_it_behaves_like_a_plain_dict_that_is_sorted_every_time(steps):
    deadlines, model = Deadlines(), {}
    for number, step in enumerate(steps):
        if step[0] == "set":
            deadlines.set(step[1], step[2])
            model[step[1]] = (step[2], number)
        elif step[0] == "cancel":
            deadlines.cancel(step[1])
            model.pop(step[1], None)
        else:
            due = sorted((key for key in model if model[key][0] <= step[1]), key=model.get)
            assert deadlines.pop_due(step[1]) == due
            for key in due:
                del model[key]
        assert_like(deadlines, model)


def test_a_deadline_is_due_at_its_moment_and_only_once():
    deadlines = Deadlines()
    deadlines.set("lease", 5.0)
    assert deadlines.pop_due(4.999) == [] and deadlines.next() == 5.0
    assert deadlines.pop_due(5.0) == ["lease"] and deadlines.pop_due(99.0) == [] and "lease" not in deadlines


def test_equal_deadlines_come_in_order_of_setting_even_when_keys_do_not_compare():
    deadlines = Deadlines()
    for key in ("b", 1, ("a", 2), None):
        deadlines.set(key, 5.0)
    deadlines.set("b", 5.0)
    assert deadlines.pop_due(5.0) == [1, ("a", 2), None, "b"]


def test_a_deadline_may_move_either_way():
    deadlines = Deadlines()
    deadlines.set("a", 5.0)
    deadlines.set("a", 9.0)
    assert deadlines.pop_due(8.0) == [] and deadlines.next() == 9.0
    deadlines.set("a", 1.0)
    assert deadlines.pop_due(1.0) == ["a"] and deadlines.pop_due(99.0) == []


def test_cancelling_what_is_not_there_is_fine():
    deadlines = Deadlines()
    deadlines.cancel("a")
    assert deadlines.next() is None and len(deadlines) == 0


def test_memory_follows_the_living_whether_the_others_were_replaced_or_cancelled():
    deadlines = Deadlines()
    for when in range(2_000):
        deadlines.set("renewed", float(when))
        assert len(deadlines._heap) <= 64 + 2 * len(deadlines)
    for key in range(2_000):
        deadlines.set(key, 1e9)
    for key in range(2_000):
        deadlines.cancel(key)
        assert len(deadlines._heap) <= 64 + 2 * len(deadlines)
    assert deadlines.next() == 1999.0


class Key:
    """A key that much memory may hang on."""


@pytest.mark.parametrize("forget", [
    lambda deadlines, key: deadlines.cancel(key),
    lambda deadlines, key: (deadlines.set(key, 9.0), deadlines.cancel(key)),
    lambda deadlines, key: deadlines.pop_due(7.0),
])
def test_a_key_that_is_forgotten_is_let_go_at_once(forget):
    deadlines, key = Deadlines(), Key()
    deadlines.set("before", 1.0)
    deadlines.set(key, 7.0)
    forget(deadlines, key)
    kept = weakref.ref(key)
    del key
    assert kept() is None
