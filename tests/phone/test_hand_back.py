"""A phone that is left, or is much too hot, gives its work back at once; it comes back as the device that it was."""

from __future__ import annotations

import json

import pytest

#: Pieces of a second each, which a thread can be told to end.
JOB = """
import time

def split():
    return list(range(8))

def work(number):
    for _ in range(20):
        time.sleep(0.05)
    return number

def merge(parts):
    return parts
"""
NAMES = {"pythonista": "iPhone 14", "pyto": "iPhone SE (2nd generation)"}


@pytest.fixture
def work_with(open_app, desktop, tmp_path):
    """Let a phone join the desktop, begin a job over both, and wait until the phone works for it."""
    def begin(profile):
        offer = json.loads(desktop.begin_from_file("share", "--invite", "--json").stdout.readline())
        app = open_app(profile)
        app.do("run", name="line", text=offer["line"], argv=["untitled.py"], environ={"DISCOMPUTE_BIND": "127.0.0.1"})
        app.screen_when_ready("line")
        app.wait_for(lambda: (desktop.device(NAMES[profile]) or {}).get("status") == "AVAILABLE", "the phone is there")
        (tmp_path / "job.py").write_text(JOB)
        job = desktop.begin("submit", "--json", str(tmp_path / "job.py"))
        app.wait_for(lambda: desktop.device(NAMES[profile])["compute_metrics"]["active_tasks"], "the phone works")
        return app, job

    return begin


def said(app):
    """What the phone has told its person, in one line."""
    return " ".join(app.printed("line").split())


@pytest.mark.slow
@pytest.mark.parametrize("profile", NAMES)
def test_a_phone_that_is_left_hands_its_work_back_before_it_sleeps_and_comes_back(work_with, desktop, scale, profile):
    app, job = work_with(profile)
    before = desktop.device(NAMES[profile])
    app.do("feel", applicationState=2, backgroundTimeRemaining=25.0)
    app.wait_for(lambda: "takes no work now: its app is in the background" in said(app), "the phone says why")
    app.wait_for(lambda: "background" in desktop.device(NAMES[profile])["lite"].get("reason", ""), "the others know")
    # It says first that it takes nothing, so that nobody sends again what comes back; then its thread has to end.
    app.wait_for(lambda: not desktop.device(NAMES[profile])["compute_metrics"]["active_tasks"], "nothing runs there")
    app.suspend()
    out, _ = job.communicate(timeout=scale(60.0))
    done = json.loads(out)
    assert done["result"] == list(range(8))
    story = desktop.run("logs", done["task_id"]) + desktop.run("why", done["task_id"])
    assert "failed" not in story and "poison" not in story
    app.resume()
    app.do("feel", applicationState=0)
    app.wait_for(lambda: "takes work as usual again" in said(app), "the phone works again")
    app.wait_for(lambda: desktop.device(NAMES[profile])["status"] == "AVAILABLE", "the others know")
    after = desktop.device(NAMES[profile])
    assert (after["id"], after["lite"]["boot"]) == (before["id"], before["lite"]["boot"])
    assert "Traceback" not in app.do("all_printed")


@pytest.mark.slow
def test_heat_low_power_and_an_empty_battery_are_told_on_the_phone_and_in_the_list(open_app, desktop):
    offer = json.loads(desktop.begin_from_file("share", "--invite", "--json").stdout.readline())
    app = open_app("pythonista")
    app.do("run", name="line", text=offer["line"], argv=["untitled.py"], environ={"DISCOMPUTE_BIND": "127.0.0.1"})
    app.screen_when_ready("line")
    for feels, why, status in (
        ({"thermalState": 3}, "much too hot", "OVERLOADED"),
        ({"thermalState": 0, "isLowPowerModeEnabled": True, "batteryState": 1}, "low-power mode", "OVERLOADED"),
        ({"isLowPowerModeEnabled": False, "batteryLevel": 0.15}, "on battery at 15 %", "OVERLOADED"),
        ({"batteryLevel": 0.9, "thermalState": 2}, "hot: half the work", "AVAILABLE"),
    ):
        app.do("feel", **feels)
        app.wait_for(lambda why=why: why in said(app), f"the phone says: {why}")
        app.wait_for(
            lambda why=why, status=status: why in desktop.device("iPhone 14")["lite"].get("reason", "")
            and desktop.device("iPhone 14")["status"] == status, f"the list says: {why}")
    assert f"Reason: {desktop.device('iPhone 14')['lite']['reason']}" in desktop.run("list")
