"""Options of calls: what each may be, and a sentence for what it may not."""

import os
from pathlib import Path

import pytest

from discompute_lite.faces.cluster_view import ClusterView, text_of_cluster
from discompute_lite.faces.options import PLAIN_OPTIONS, read_argument, read_options
from discompute_lite.model.device import Device
from discompute_lite.model.errors import TaskRejected
from discompute_lite.model.settings import Settings
from discompute_lite.roles.offers import DeviceOffer


SETTINGS = Settings(slots=3)


class Three:
    """A number of a library's own."""

    def __index__(self):
        return 3


@pytest.mark.parametrize("named, expected", [
    ({}, {}), ({"timeout": 5}, {"timeout": 5.0}), ({"timeout": None}, {"timeout": 0.0}),
    ({"retries": Three(), "priority": 10, "devices": 0}, {"retries": 3, "priority": 10}),
    ({"requires": "gpu"}, {"requires": ("gpu",)}), ({"requires": ["gpu", "linux"]}, {"requires": ("gpu", "linux")}),
    ({"pure": False, "durable": False}, {"pure": False, "durable": False}), ({"pure": None}, {}),
])
def test_what_options_may_be(named, expected):
    assert read_options(named) == PLAIN_OPTIONS._replace(**expected)


@pytest.mark.parametrize("named, error, words", [
    ({"nope": 1}, TypeError, "there is no option nope; there are timeout, retries, priority, requires, devices, pur"),
    ({"retires": 1}, TypeError, "there is no option retires; did you mean retries?"),
    ({"priority": "x"}, TypeError, "the option priority is a whole number from 1 to 10, and not 'x'"),
    ({"priority": 0}, ValueError, "the option priority is a whole number from 1 to 10, and not 0"),
    ({"priority": 11}, ValueError, "from 1 to 10, and not 11"), ({"priority": 1.5}, TypeError, "and not 1.5"),
    ({"retries": -1}, ValueError, "the option retries is a whole number, 0 or more, and not -1"),
    ({"retries": True}, TypeError, "the option retries is"), ({"devices": None}, TypeError, "the option devices is"),
    ({"timeout": "5"}, TypeError, "the option timeout is a number of seconds"),
    ({"timeout": float("nan")}, ValueError, "and not nan"), ({"timeout": float("inf")}, ValueError, "and not inf"),
    ({"timeout": -1}, ValueError, "0 for the device's own limit, and not -1"),
    ({"requires": 5}, TypeError, "the option requires is what a device must have"),
    ({"requires": [5]}, TypeError, "and not [5]"), ({"pure": "yes"}, TypeError, "the option pure is True or False"),
    ({"durable": 1}, TypeError, "the option durable is True or False, and not 1"),
    ({"upload": 5}, TypeError, "the option upload is the path of a module"),
    ({"upload": "no_such_file.py"}, TaskRejected, "no_such_file.py"),
])
def test_what_they_may_not_be_is_said_in_a_sentence(named, error, words):
    with pytest.raises(error) as caught:
        read_options(named)
    assert words in str(caught.value) and len(str(caught.value)) < 250


def test_what_is_refused_is_cut_short():
    with pytest.raises(TypeError) as caught:
        read_options({"priority": "x" * 5000})
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("name, value, expected", [
    ("an address", "attic:8081", "attic:8081"),
    ("config", None, ""), ("config", Path("a") / "b", os.path.join("a", "b")), ("config", SETTINGS, SETTINGS),
    ("min_devices", Three(), 3), ("min_devices", 0, 0), ("wait", 0, 0.0), ("wait", float("inf"), float("inf")),
    ("local", False, False), ("durable", True, True), ("durable", "nightly", "nightly"),
])
def test_what_a_cluster_may_be_given(name, value, expected):
    assert read_argument(name, value) == expected


@pytest.mark.parametrize("name, value, error, words", [
    ("an address", 8080, TypeError, 'an address of Cluster is the text host:port, such as "192.168.1.20:8080", and n'),
    ("an address", " ", ValueError, "and not ' '"), ("an address", ["a:1"], TypeError, "and not ['a:1']"),
    ("config", 5, TypeError, "config of Cluster is the path of a configuration file, or settings that were read"),
    ("config", b"c.yaml", TypeError, "and not b'c.yaml'"), ("config", "", ValueError, "and not ''"),
    ("min_devices", -1, ValueError, "min_devices of Cluster is a whole number, 0 or more, and not -1"),
    ("min_devices", 1.5, TypeError, "and not 1.5"), ("min_devices", True, TypeError, "and not True"),
    ("wait", -1, ValueError, "wait of Cluster is a number of seconds, 0 or more, and not -1"),
    ("wait", float("nan"), ValueError, "and not nan"), ("wait", "5", TypeError, "and not '5'"),
    ("wait", None, TypeError, "and not None"), ("local", "no", TypeError, "local of Cluster is True or False, and not"),
    ("durable", 3, TypeError, "durable of Cluster is True, False or the name of a run, and not 3"),
    ("durable", "", ValueError, "and not ''"), ("durable", None, TypeError, "and not None"),
])
def test_what_a_cluster_may_not_be_given_is_said_in_a_sentence(name, value, error, words):
    with pytest.raises(error) as caught:
        read_argument(name, value)
    assert words in str(caught.value) and len(str(caught.value)) < 250


# ---- how clusters show themselves ------------------------------------------------------------------


def offer(name, slots):
    return DeviceOffer(Device(id=name * 26, name=name), slots=slots)


@pytest.mark.parametrize("offers, text", [
    ([], "<Cluster of 0 devices, 0 slots>"),
    ([offer("ab", 1)], "<Cluster of 1 device, 1 slot on ab (1)>"),
    ([offer("ab", 4), offer("cd", 0), offer("ef", 2)], "<Cluster of 3 devices, 6 slots on ab (4), ef (2)>"),
    ([offer(each * 2, 1) for each in "abcdefg"],
     "<Cluster of 7 devices, 7 slots on aa (1), bb (1), cc (1), dd (1) and 3 more>"),
])
def test_a_cluster_shows_its_devices_and_slots(offers, text):
    assert text_of_cluster(offers) == text


def test_a_view_shows_what_is_other_than_usual():
    options = read_options({"priority": 8, "requires": "gpu", "retries": 0})
    assert repr(ClusterView("<Cluster>", options)) == "'<Cluster>'.options(priority=8, requires=('gpu',))"
