"""What a phone's screen says: short lines, nothing invented, and what stands still says so."""

from __future__ import annotations

import pytest

from discompute_lite.faces.phone_screen import DeviceRow, ScreenFacts, TaskRow, screen_lines

QUIET = ScreenFacts("iPhone 14", "192.168.1.7:8080", "", -1.0, False, "", True, (), (), ())


def test_a_lone_phone_says_what_to_do():
    assert screen_lines(QUIET) == [
        "iPhone 14", "192.168.1.7:8080", "alone: call a device, join or let in", "battery: not known",
        "", "Devices", "  no other device yet", "", "Tasks", "  none", "", "News", "  nothing yet",
    ]


@pytest.mark.parametrize("battery, is_charging, text", [
    (0.05, False, "battery: 5%"), (1.0, True, "battery: 100%, charging"), (0.0, False, "battery: 0%"),
    (-1.0, True, "battery: not known"),
])
def test_the_battery_is_told_as_it_is_known(battery, is_charging, text):
    assert text in screen_lines(QUIET._replace(battery=battery, is_charging=is_charging))


def test_a_member_sees_its_cluster_devices_tasks_and_why_it_rests():
    lines = screen_lines(QUIET._replace(
        cluster="k3fq9zt2", reason="battery at 12 %: no work until it charges",
        devices=(DeviceRow("mac", "available", 1.84), DeviceRow("ipad", "busy", 0.0)),
        tasks=(TaskRow("primes.py", "running", 41.7),), news=("12:00:01 mac joined",),
    ))
    for line in ("cluster k3fq9zt2", "battery at 12 %: no work until it", "  mac: available, 1.8 x", "  ipad: busy",
                 "  primes.py: running 42 %", "  12:00:01 mac joined"):
        assert line in lines


def test_no_line_is_wider_than_a_phone():
    facts = QUIET._replace(name="x" * 90, reason="why " * 40, news=("word " * 60,),
                           devices=(DeviceRow("a name of a device that is long", "unavailable", 12.0),))
    assert max(map(len, screen_lines(facts))) <= 40
