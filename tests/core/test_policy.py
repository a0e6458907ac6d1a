"""Who may call what, how often, and how much work a battery allows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.core.policy import ACCESS_LEVELS, Caller, TokenBucket, access
from discompute_lite.model.errors import Unauthenticated

STRANGER = Caller()
NEIGHBOUR_PROCESS = Caller(loopback=True)
STOLEN_TOKEN = Caller(token=True)
OWNER = Caller(loopback=True, token=True)


def assert_refused(level, caller, **state):
    error = access(level, caller, **state)
    assert isinstance(error, Unauthenticated) and error.code == -32002
    assert error.message.startswith("Pair this device first: ")
    return error.message


@pytest.mark.parametrize("caller", [STRANGER, NEIGHBOUR_PROCESS, STOLEN_TOKEN])
def test_only_the_owner_over_loopback_reaches_the_work_methods(caller):
    assert "control token over loopback" in assert_refused("owner", caller)
    assert access("alone", caller) is None
    assert access("anyone", caller, alone=False) is None
    assert_refused("alone", caller, alone=False)


@pytest.mark.parametrize("level", ACCESS_LEVELS[2:])
def test_a_certificate_alone_brings_statements_and_nothing_else(level):
    unheard = Caller(is_certified=True)
    assert access("certified", unheard, alone=False) is None
    assert isinstance(access(level, unheard, alone=False), Unauthenticated)
    assert_refused("certified", STRANGER, alone=False)
    assert_refused("certified", unheard, alone=True)


@pytest.mark.parametrize("level", ACCESS_LEVELS)
def test_the_owner_may_do_everything(level):
    assert access(level, OWNER) is None
    assert access(level, OWNER, alone=False) is None


def test_a_misspelt_level_is_not_an_open_door():
    with pytest.raises(ValueError):
        access("anybody", OWNER)


def test_a_bucket_gives_its_burst_and_then_its_rate():
    bucket = TokenBucket(rate=2.0, burst=3)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait(10.0) == pytest.approx(0.5)
    assert not bucket.take(10.4)
    assert bucket.take(10.5)
    assert bucket.wait(1000.0) == 0.0
    assert [bucket.take(1000.0) for _ in range(4)] == [True, True, True, False]


@given(st.floats(0.01, 100), st.integers(1, 20), st.lists(st.floats(0, 1), max_size=60))
def test_a_bucket_never_gives_more_than_burst_and_rate_allow(rate, burst, gaps):
    bucket, now, taken = TokenBucket(rate, burst), 0.0, 0
    for gap in gaps:
        now += gap
        taken += bucket.take(now)
        assert taken <= burst + now * rate + 1e-6
    pause = bucket.wait(now)
    assert bucket.take(now + pause)


@pytest.mark.parametrize("rate, burst", [(0, 1), (1, 0), (-1, 5)])
def test_a_bucket_that_could_never_give_is_refused(rate, burst):
    with pytest.raises(ValueError):
        TokenBucket(rate, burst)
