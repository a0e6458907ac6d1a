"""joblib's `Parallel` over a cluster."""

import os
import time
from pathlib import Path

import pytest

from discompute_lite import Cluster, register_joblib
from discompute_lite.model.errors import TaskRejected

joblib = pytest.importorskip("joblib")
pytestmark = pytest.mark.against

FACTOR = 3


def times_factor(x, plus=0):
    return x * FACTOR + plus


def where(_):
    return os.getpid()


def fail_at_five(x):
    if x == 5:
        raise ValueError("five")
    return x


def note_pid_and_sleep(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)


def note_or_fail(path, waits_for):
    """Sleep until it is ended, or fail once the other one has begun."""
    if not waits_for:
        note_pid_and_sleep(path)
    while not (os.path.exists(waits_for) and Path(waits_for).read_text()):
        time.sleep(0.005)
    raise ValueError("now")


@pytest.fixture(scope="module", autouse=True)
def environment(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISCOMPUTE_STATE_DIR", str(tmp_path_factory.mktemp("joblib")))
        patch.setenv("DISCOMPUTE_DISCOVERY", "peers")
        patch.setenv("DISCOMPUTE_SLOTS", "2")
        register_joblib()
        yield


@pytest.fixture(scope="module")
def cluster(environment):
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def over(cluster):
    """Let joblib use the cluster."""
    with joblib.parallel_config(backend="discompute", cluster=cluster):
        yield


def test_results_are_those_of_joblib_alone(over):
    calls = [joblib.delayed(times_factor)(x, plus=x % 2) for x in range(300)]
    expected = [x * 3 + x % 2 for x in range(300)]
    for words in ({}, {"n_jobs": 2}, {"n_jobs": -1, "batch_size": 7}, {"n_jobs": 1}):
        assert joblib.Parallel(**words)(calls) == expected
    assert list(joblib.Parallel(return_as="generator")(calls)) == expected
    assert sorted(joblib.Parallel(return_as="generator_unordered")(calls)) == sorted(expected)
    assert joblib.Parallel()([]) == []


def test_calls_are_made_in_the_devices_processes(over):
    assert os.getpid() not in joblib.Parallel()(joblib.delayed(where)(x) for x in range(20))


def test_without_a_cluster_each_parallel_has_its_own():
    with joblib.parallel_config(backend="discompute"):
        assert joblib.Parallel()(joblib.delayed(times_factor)(x) for x in range(5)) == [0, 3, 6, 9, 12]


@pytest.mark.parametrize("count", [6, 400])
def test_what_a_call_raises_is_raised(over, count):
    with pytest.raises(ValueError, match="five"):
        joblib.Parallel()(joblib.delayed(fail_at_five)(x) for x in range(count))
    assert joblib.Parallel()(joblib.delayed(times_factor)(x) for x in range(3)) == [0, 3, 6], "it goes on"


def test_a_failure_ends_what_runs(over, tmp_path, scale, is_alive):
    begun = str(tmp_path / "begun")
    with pytest.raises(ValueError, match="now"):
        joblib.Parallel()(joblib.delayed(note_or_fail)(begun, waits_for) for waits_for in ("", begun))
    until = time.monotonic() + scale(10.0)
    while is_alive(int(Path(begun).read_text())):
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("place", [0, 200])
def test_what_cannot_travel_is_refused_by_name(over, place):
    """The first calls are sent by the caller's thread, later ones by that of callbacks."""
    with pytest.raises(TaskRejected, match=r"args\[0\] is .*object"):
        joblib.Parallel()(joblib.delayed(times_factor)(object() if x == place else x) for x in range(300))
