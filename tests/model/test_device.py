"""A device as the original describes it: the fields, their names and their meaning when nothing is known."""

from __future__ import annotations

import dataclasses

from discompute_lite.model.device import (
    DEVICE_TYPES,
    PHONE_TYPES,
    ComputeMetrics,
    Device,
    DeviceCapabilities,
    DeviceStatus,
    Hardware,
    short_id,
)


def names(kind):
    return [field.name for field in dataclasses.fields(kind)]


def test_the_messages_have_the_originals_fields():
    assert names(Device) == [
        "id", "name", "type", "address", "capabilities", "last_seen", "status", "compute_metrics", "lite"]
    assert names(DeviceCapabilities) == [
        "cpu_cores", "memory_mb", "has_gpu", "gpu_type", "battery_level", "is_charging", "fp32_tflops", "fp16_tflops",
        "int8_tflops", "chip", "os_version", "supports_metal", "supports_cuda"]
    assert names(ComputeMetrics) == [
        "cpu_usage", "memory_usage", "gpu_usage", "temperature", "active_tasks", "throughput"]


def test_status_numbers_are_the_originals():
    # An enum may travel as its number, which is its place here.
    assert [status.value for status in DeviceStatus] == ["UNKNOWN", "AVAILABLE", "BUSY", "OFFLINE", "OVERLOADED"]


def test_nothing_known_claims_nothing():
    capabilities = Hardware().capabilities
    assert capabilities.battery_level == -1.0 and not capabilities.has_gpu and capabilities.fp32_tflops == 0.0
    assert Device().status is DeviceStatus.UNKNOWN and Hardware().type == "unknown"


def test_phones_are_device_types():
    assert set(PHONE_TYPES) < set(DEVICE_TYPES) and len(set(DEVICE_TYPES)) == len(DEVICE_TYPES)


def test_two_devices_share_no_extras():
    assert Device().lite is not Device().lite


def test_people_see_the_first_eight_characters():
    assert short_id("k3fq9zt2" + "a" * 44) == "k3fq9zt2" and short_id("mac") == "mac"
