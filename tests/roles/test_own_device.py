"""What this device says of itself, and what is believed of what others say of theirs."""

import pytest

from discompute_lite.model.device import Device, DeviceCapabilities, DeviceStatus
from discompute_lite.roles.own_device import offers_of, score_of, slots_of



def test_a_device_says_who_where_and_what_it_is(world):
    node = world.host("a", device_id="desk", slots=3).start()
    device = node.node.own_device()
    assert (device.id, device.name, device.type, device.address) == (node.id, "device a", "linux", "127.0.0.1:8080")
    assert device.capabilities.chip == "Test chip" and device.capabilities.battery_level == -1.0
    assert device.lite == {"slots": 3, "boot": "a-boot-1", "version": "0.1.0", "model": "Test machine", "label": "desk"}
    assert device.last_seen == int(world.wall()) and device.compute_metrics.cpu_usage == 0.25


def test_its_status_follows_its_slots(world):
    host = world.host("a", slots=1).start()
    host.executor.holds = {"run"}
    assert host.node.own_device().status is DeviceStatus.AVAILABLE
    world.owner(host).begin("ExecuteSubtask", {"subtask": {"subtask_id": "s", "subtask_data": b"1",
                                                           "lite": {"task_type": "echo"}}})
    device = host.node.own_device()
    assert device.status is DeviceStatus.BUSY and device.compute_metrics.active_tasks == 1
    host.executor.release()
    world.settle()
    device = host.node.own_device()
    assert device.status is DeviceStatus.AVAILABLE and device.compute_metrics.throughput > 0


def test_a_device_that_takes_no_work_says_why(world):
    device = world.host("a", accept="nobody").start().node.own_device()
    assert device.status is DeviceStatus.OVERLOADED and device.lite["slots"] == 0 and "accept" in device.lite["reason"]


def test_a_measurement_is_shown_once_there_is_one(world):
    host = world.host("a").start()
    assert "measured" not in host.node.own_device().lite
    host.node.set_measured({"score": 1.25})
    assert host.node.own_device().lite["measured"] == {"score": 1.25} and score_of(host.node.own_device()) == 1.25


@pytest.mark.parametrize("measured, score", [
    ({"score": 2.5}, 2.5), ({"score": 1e9}, 100.0), ({"score": -3}, 0.01), ({"score": 0}, 0.0),
    ({"score": "fast"}, 0.0), ({}, 0.0), ("fast", 0.0), (None, 0.0),
])
def test_a_score_is_believed_within_bounds(measured, score):
    assert score_of(Device(lite={"measured": measured})) == score


@pytest.mark.parametrize("slots, believed", [
    (0, 0), (8, 8), (1024, 1024), (1025, 0), (-1, 0), (2.0, 0), ("4", 0), (True, 0), (None, 0), ([], 0),
])
def test_slots_are_believed_where_they_make_sense(slots, believed):
    assert slots_of(Device(lite={"slots": slots})) == believed and slots_of(Device()) == 0


def test_a_device_offers_its_type_its_chip_and_its_graphics():
    assert offers_of(Device()) == ()
    plain = DeviceCapabilities(chip="Apple M3", has_gpu=True, supports_metal=True)
    assert offers_of(Device(type="mac", capabilities=plain)) == ("mac", "Apple M3", "gpu", "metal")
    assert offers_of(Device(capabilities=DeviceCapabilities(supports_cuda=True))) == ("cuda",)
