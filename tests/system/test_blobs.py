"""Values that many calls take, on real nodes: a cluster of this process, alone and with two nodes beside it."""

import gc
import itertools
import os

import pytest

from discompute_lite import Cluster
from discompute_lite.model.errors import TaskRejected


class Holder:
    """An object of the caller's own class."""

    def __init__(self, value):
        self.value = value


def size_and_place(value, number):
    return len(value), number, id(value), os.getpid()


def own_size(holder):
    return len(holder.value)


@pytest.fixture
def here(field, monkeypatch):
    """The environment of clusters of this process, two slots each, which nodes of the field work for."""
    for name, value in {"STATE_DIR": field.let_belong("here")[0], "DISCOVERY": "peers", "SLOTS": 2, "NAME": "here",
                        "BIND": "127.0.0.1", "PORT": 0}.items():
        monkeypatch.setenv(f"DISCOMPUTE_{name}", str(value))
    return field.folder / "here"


def blob_files(folder):
    """Return the sizes of the blobs' files, of which the node may delete one while we look."""
    sizes = []
    for path in folder.glob("scratch/blobs/*"):
        try:
            sizes.append(path.stat().st_size)
        except FileNotFoundError:
            pass
    return sizes


def test_a_value_is_read_once_a_process_and_deleted_with_its_handle(field, here):
    with Cluster() as cluster:
        handles = [cluster.put(b"x" * 3_000_000)]
        came = list(cluster.map(size_and_place, handles * 60, range(60)))
        assert [each[:2] for each in came] == [(3_000_000, number) for number in range(60)]
        assert len({each[2:] for each in came}) == len({each[3] for each in came}), "one object for each process"
        assert cluster.submit(own_size, cluster.put(Holder([1, 2, 3]))).result() == 3
        size = handles[0].size
        assert size in blob_files(here)
        handles.clear()
        gc.collect()
        field.wait_for(lambda: size not in blob_files(here), "the end of the blob")
        lost = cluster.put("somebody else's")
    assert blob_files(here) == []
    with Cluster() as other:
        with pytest.raises(TaskRejected, match="put the value here"):
            other.submit(len, lost)
        assert other.submit(len, "well").result() == 4


def test_devices_fetch_a_value_once_and_delete_it_when_the_cluster_ends(field, here):
    nodes = field.start_members(2, "--slots", "2", "--discovery", "peers")
    addresses = [f"127.0.0.1:{node.port}" for node in nodes]
    with Cluster(*addresses, local=False, min_devices=2, wait=field.scale(10.0)) as cluster:
        handle = cluster.broadcast(b"y" * 5_000_000)
        for node in nodes:
            field.wait_for(lambda node=node: blob_files(node.state) == [handle.size], f"{node.name} has it")
        came = list(cluster.map(size_and_place, itertools.repeat(handle, 40), range(40)))
        assert [each[:2] for each in came] == [(5_000_000, number) for number in range(40)]
        assert cluster.submit(lambda: len(handle)).result() == 5_000_000
    for node in nodes:
        field.wait_for(lambda node=node: not blob_files(node.state), f"{node.name} deletes it")
