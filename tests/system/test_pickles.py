"""Pickles between a cluster and another node: they need the setting of both, and never run where it is off."""

import threading

import pytest

from discompute_lite import Cluster
from discompute_lite.model.errors import DiscomputeError


class Gauge:
    """Says itself how to pickle it, and notes where that was undone."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return read_gauge, (self.path,)


def read_gauge(path):
    with open(path, "a") as file:
        file.write("read\n")
    return Gauge(path)


class Locked:
    """Cannot travel as data, and its pickle needs no function of its own."""

    def __init__(self, number):
        self.number, self.lock = number, threading.Lock()

    def __getstate__(self):
        return {"number": self.number}

    def __setstate__(self, state):
        self.__init__(state["number"])


def next_one(locked):
    with locked.lock:
        return Locked(locked.number + 1)


def make_locked(number):
    return Locked(number)


@pytest.fixture
def cluster_of(field, monkeypatch):
    """Return a cluster of this process, without cores of its own, and one node."""
    made = []

    def start(here, there):
        own, _ = field.let_belong("here", "there")
        node = field.start("there", "--slots", "1", DISCOMPUTE_ALLOW_PICKLE=there)
        for name, value in (("STATE_DIR", str(own)), ("DISCOVERY", "peers"), ("ALLOW_PICKLE", here),
                            ("BIND", "127.0.0.1")):
            monkeypatch.setenv("DISCOMPUTE_" + name, value)
        made.append(Cluster(f"127.0.0.1:{node.port}", local=False))
        return made[-1]

    yield start
    for each in made:
        each.shutdown(cancel_futures=True)


def test_with_the_setting_at_both_ends_what_is_no_data_goes_there_and_back(cluster_of):
    cluster = cluster_of("true", "true")
    back = cluster.submit(next_one, Locked(1)).result(60)
    assert type(back) is Locked and back.number == 2 and not back.lock.locked()
    assert [each.number for each in cluster.map(next_one, map(Locked, range(30)))] == list(range(1, 31))


def test_with_the_setting_here_only_nothing_is_unpickled_there(cluster_of):
    cluster = cluster_of("true", "false")
    for call in (cluster.submit(next_one, Locked(1)), cluster.submit(make_locked, 1)):
        with pytest.raises(DiscomputeError, match="set allow-pickle on both devices"):
            call.result(60)


def test_with_the_setting_there_only_nothing_leaves_and_nothing_comes(cluster_of):
    cluster = cluster_of("false", "true")
    with pytest.raises(DiscomputeError, match=r"args\[0\] is a Locked; .*, or set allow-pickle on both devices"):
        cluster.submit(next_one, Locked(1))
    with pytest.raises(DiscomputeError, match=r"of make_locked\(\) is a Locked; .*, or set allow-pickle on both"):
        cluster.submit(make_locked, 1).result(60)


def test_a_pickle_that_needs_a_function_of_its_own_is_refused_before_it_leaves(cluster_of, tmp_path):
    cluster = cluster_of("true", "true")
    with pytest.raises(DiscomputeError, match="read_gauge, a function of your own"):
        cluster.submit(next_one, Gauge(str(tmp_path / "read")))
    assert not (tmp_path / "read").exists()


def test_results_of_a_device_whose_role_is_worker_are_not_unpickled(cluster_of, monkeypatch):
    cluster = cluster_of("true", "true")
    monkeypatch.setattr(cluster._local, "may_send_pickles", lambda device_id: False)
    assert cluster.submit(len, [1]).result(60) == 1
    future = cluster.submit(make_locked, 1)
    with pytest.raises(DiscomputeError, match="not read here: it comes from a device whose role is worker"):
        future.result(60)
    with pytest.raises(DiscomputeError, match="role is worker"):
        list(cluster.map(make_locked, [1]))
