"""The report that the first person with a device is asked for: complete, within a phone's columns, and harmless."""

from __future__ import annotations

import json
import re

import pytest

WIDTH = 40
#: What each app says of the battery.
CHARGES = {"pythonista": "charge 80% (UIDevice.batteryLevel)", "pyto": "charge 80% (UIDevice.batteryLevel)",
           "a-shell": "screen unknown: a-Shell gives scripts no bridge", "strict": "this app gives scripts no bridge"}
LESS_STRICT = [profile for profile in CHARGES if profile != "strict"]


@pytest.mark.parametrize("profile", ["strict", *(pytest.param(each, marks=pytest.mark.slow) for each in LESS_STRICT)])
def test_a_phone_says_all_that_is_asked_of_it(open_app, profile):
    app = open_app(profile)
    app.type("doctor", "doctor", "--bind", "127.0.0.1", "--port", "0")
    assert app.end_of("doctor") == "ended"
    # a-Shell's terminal has colours, which take no room.
    printed = re.sub("\x1b\\[[0-9;]*m", "", app.printed("doctor"))
    assert all(len(line) <= WIDTH for line in printed.splitlines())
    said = " ".join(printed.split())
    for words in ("other thread", "machine iP", "Darwin 23.0.0", "clocks 20", "interface", "self 127.0.0.1",
                  "broadcast", "EHOSTUNREACH", CHARGES[profile]):
        assert words in said, words


@pytest.mark.slow
def test_programs_get_the_same_as_json(open_app):
    app = open_app("pythonista")
    app.type("doctor", "doctor", "--json", "--bind", "127.0.0.1", "--port", "0")
    app.end_of("doctor")
    sensed = {fact["what"]: fact for fact in json.loads(app.printed("doctor"))["machine"]["sensed"]}
    assert sensed["charge"] == {"what": "charge", "value": 0.8, "told": "80%", "source": "UIDevice.batteryLevel"}
    assert (sensed["plugged in"]["told"], sensed["heat"]["told"]) == ("yes, charging", "nominal")


@pytest.mark.slow
def test_no_broadcast_of_others_is_heard_in_an_app(open_app, desktop):
    """Or the other tests would show that a phone meets others by what no phone hears."""
    app = open_app("strict")
    app.type("doctor", "doctor", "--json", "--bind", "127.0.0.1", "--port", "0")
    app.end_of("doctor")
    network = json.loads(app.printed("doctor"))["network"]
    assert [trial["outcome"] for trial in network["broadcasts"]] == ["refused"] and network["beacons"] == []
