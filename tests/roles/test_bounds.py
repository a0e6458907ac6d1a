"""What others say of themselves is cut to a sane length, and lists to what one answer carries."""

from discompute_lite.model.codec import to_json
from discompute_lite.model.device import Device, DeviceCapabilities
from discompute_lite.model.limits import Limits
from discompute_lite.model.task import ComputeTask
from discompute_lite.roles.bounds import (
    NAME_CHARS, TEXT_CHARS, bounded_capabilities, bounded_device, devices_that_fit, tasks_that_fit,
)
from discompute_lite.wire.strict_json import encode_json

LONG = "\u20ac" * 100_000


def test_texts_are_cut_and_everything_else_stays():
    told = DeviceCapabilities(cpu_cores=8, chip=LONG, gpu_type=LONG, os_version=LONG)
    cut = bounded_capabilities(told)
    assert cut == DeviceCapabilities(
        cpu_cores=8, chip=LONG[:TEXT_CHARS], gpu_type=LONG[:TEXT_CHARS], os_version=LONG[:TEXT_CHARS])
    device = bounded_device(Device(id="x", name=LONG, type=LONG, capabilities=told, last_seen=7, lite={"slots": 2}))
    assert (len(device.name), len(device.type), device.capabilities) == (NAME_CHARS, NAME_CHARS, cut)
    assert (device.id, device.last_seen, device.lite) == ("x", 7, {"slots": 2})


def test_what_is_short_enough_is_not_changed():
    device = Device(id="x", name="n" * NAME_CHARS, capabilities=DeviceCapabilities(chip="c" * TEXT_CHARS))
    assert bounded_device(device) == device


def test_a_list_has_as_many_devices_as_the_limit_says_and_as_half_a_line_carries():
    devices = [Device(id=f"device-{number}") for number in range(100)]
    assert devices_that_fit(devices, Limits(devices_per_answer=7)) == devices[:7]
    size = len(encode_json(to_json(devices[10])))
    some = devices_that_fit(devices[10:], Limits(line_bytes=2 * 5 * size))
    assert some == devices[10:15]
    assert devices_that_fit([], Limits()) == []


def test_of_tasks_as_many_are_told_as_fit_and_a_large_one_takes_no_others_place():
    small = [ComputeTask(f"task-{number}") for number in range(9)]
    large = ComputeTask("large", metadata={"x": "y" * 4_000})
    many = ComputeTask("many", required_capabilities=["x"] * 99)
    unsayable = ComputeTask("unsayable", lite={"x": float("inf")})
    some = tasks_that_fit([unsayable, large, many, *small], Limits(line_bytes=8_000, json_values=160))
    assert some == small[:len(some)] and 3 <= len(some) < 9
    assert tasks_that_fit([large, many, *small], Limits()) == [large, many, *small]
