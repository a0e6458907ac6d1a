"""A node inside an app lives as the app lets it: in a thread, without processes, started again and again, stopped."""

from __future__ import annotations

import json
import random
import re
from hashlib import sha256

import pytest


def once(*values):
    """Have one Python alone meet these: every other one meets the app that lacks most, or a sibling."""
    return [pytest.param(value, marks=pytest.mark.once) for value in values]


PROFILES = ["strict", *once("pythonista", "a-shell", "a-shell-mini", "pyto")]
#: Apps with a terminal, in which one can type.
TYPED_IN = ["a-shell", *once("a-shell-mini")]
WIDTH = 40


@pytest.mark.parametrize("profile", PROFILES)
def test_pressing_run_again_is_one_node_and_nothing_is_left(open_app, profile):
    app = open_app(profile)
    before = app.look()
    devices = [app.start_node(script)["Device"] for script in ("first", "second", "third")]
    assert len(set(devices)) == 1
    assert app.end_of("first") == app.end_of("second") == "ended"
    app.do("stop", name="third")
    app.end_of("third")
    app.wait_for(lambda: app.look()["threads"] == [], "all threads end")
    assert app.look()["descriptors"] == before["descriptors"]
    assert "Traceback" not in app.do("all_printed")


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
def test_it_knows_where_it_is(open_app, profile):
    facts = open_app(profile).start_node("node")
    assert facts["Hardware"].split(",")[0] == {
        "pythonista": "iPhone 14", "a-shell": "iPad Pro (11-inch) (3rd generation)",
        "a-shell-mini": "iPad Pro (11-inch) (3rd generation)", "pyto": "iPhone SE (2nd generation)",
        "strict": "iPhone (unknown model)",
    }[profile]


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["pythonista", "pyto", "strict"])
def test_what_it_prints_fits_a_phone_and_has_no_codes(open_app, profile):
    app = open_app(profile)
    app.start_node("first")
    app.start_node("second")
    for line in app.do("all_printed").splitlines():
        assert len(line) <= WIDTH
        assert line.isprintable()


@pytest.mark.parametrize("by", ["KeyboardInterrupt", *once("SystemExit")])
def test_the_stop_button_ends_it_and_says_so(open_app, by):
    app = open_app("pythonista")
    app.start_node("node")
    app.do("stop", name="node", by=by)
    assert app.end_of("node").split(":")[0] in ("ended", by)
    app.wait_for(lambda: app.look()["threads"] == [], "all threads end")


@pytest.mark.parametrize("profile", ["strict", *once("pythonista", "a-shell", "pyto")])
def test_a_stop_at_any_moment_of_a_start_leaves_nothing(open_app, profile):
    """The button is pressed after so many milliseconds, from the first line of the program to a node at rest."""
    app, rng = open_app(profile), random.Random(profile)
    app.start_node("first")
    app.do("stop", name="first")
    app.end_of("first")
    app.wait_for(lambda: app.look()["threads"] == [], "all threads end")
    before = app.look()["descriptors"]
    for number in range(6):
        script, by = f"node {number}", rng.choice(["KeyboardInterrupt", "SystemExit"])
        app.type(script, "start", "--bind", "127.0.0.1", "--port", "0")
        app.do("stop_after", name=script, by=by, milliseconds=rng.choice([3, 20, 150]) * rng.random())
        app.end_of(script)
        app.wait_for(lambda: app.look()["threads"] == [], "all threads end")
        assert app.look()["descriptors"] == before, f"{script}, by {by}"
    assert app.start_node("last")["Device"] in app.printed("first")


@pytest.mark.parametrize("profile", TYPED_IN)
def test_a_node_whose_script_was_ended_without_a_word_ends_by_itself(open_app, profile):
    app = open_app(profile)
    before = app.look()
    app.start_node("node")
    app.do("cancel", name="node")
    app.wait_for(lambda: app.look()["threads"] == [], "the node ends")
    assert app.look()["descriptors"] == before["descriptors"]
    assert app.do("wait", name="node", limit_s=0.0) == ""


@pytest.mark.parametrize("profile", TYPED_IN)
def test_a_typed_q_ends_it_where_what_is_typed_can_be_heard(open_app, profile):
    app = open_app(profile)
    app.start_node("node")
    assert "Type q and return to stop." in " ".join(app.printed("node").split())
    app.do("type_line", text="what is q?")
    app.do("type_line", text="Q")
    assert app.end_of("node") == "ended"
    app.wait_for(lambda: app.look()["threads"] == [], "all threads end")


@pytest.mark.slow
@pytest.mark.parametrize("profile", TYPED_IN)
def test_it_calls_a_device_whose_address_is_typed(open_app, profile):
    caller, called = open_app(profile), open_app("pyto")
    address = called.start_node("called", "--name", "Attic", "--discovery", "none")["Address"]
    caller.start_node("caller", "--discovery", "none")
    assert "\nType an address to call a device there.\n" in caller.printed("caller")
    caller.do("type_line", text="help")
    caller.do("type_line", text=f"call {address}")
    said = caller.wait_for(
        lambda: " answers at " in " ".join(caller.printed("caller").split()) and caller.printed("caller"), "it answers")
    said = " ".join(said.split())
    assert f"Attic answers at {address}" in said and "type an address such as 192.168.1.20, or call NAME" in said
    caller.do("type_line", text="q")
    assert caller.end_of("caller") == "ended"


def test_it_leaves_by_itself_after_the_minutes_that_it_was_given(open_app):
    app = open_app("pyto")
    app.start_node("node", "--minutes", "0.02")
    assert "It leaves after 0.02 minutes." in " ".join(app.printed("node").split())
    assert app.end_of("node") == "ended"
    app.wait_for(lambda: app.look()["threads"] == [], "all threads end")
    assert "its time is over" in " ".join(app.printed("node").split())


@pytest.mark.slow
@pytest.mark.parametrize("by", ["KeyboardInterrupt", "SystemExit"])
@pytest.mark.parametrize("profile, awake, asleep", [
    ("pythonista", [True], [True, False]), ("pyto", ["start"], ["start", "stop"]), ("a-shell", [], []),
])
def test_the_app_is_kept_awake_while_a_node_runs_and_no_longer(open_app, profile, awake, asleep, by):
    app = open_app(profile)
    app.start_node("node")
    assert app.do("kept_awake") == awake
    app.do("stop", name="node", by=by)
    app.end_of("node")
    assert app.do("kept_awake") == asleep


@pytest.mark.parametrize("words, starts", [([], True), (["/private/var/edited.py"], True), (["version"], False)])
def test_the_file_starts_a_node_whatever_the_apps_menu_appends(open_app, small_file, words, starts):
    app = open_app("pyto")
    app.do("run", name="node", text=small_file.read_text(encoding="utf-8"), argv=["discompute.py", *words],
           environ={"DISCOMPUTE_BIND": "127.0.0.1", "DISCOMPUTE_PORT": "0"})
    if starts:
        app.screen_when_ready("node")
    else:
        assert app.end_of("node") == "SystemExit: 0"
        assert "discompute-lite" in app.printed("node")


JOB = """
def split():
    return list(range(8))

def work(number):
    return number * number

def merge(parts):
    return parts
"""


def test_one_pasted_line_makes_a_phone_a_member_that_works(open_app, desktop, tmp_path):
    offer = json.loads(desktop.begin_from_file("share", "--invite", "--json").stdout.readline())
    assert re.fullmatch("[0-9a-f]{64}", offer["sha256"])
    app = open_app("pythonista")
    app.do("ask_for_network", refusals=2)
    app.do("run", name="line", text=offer["line"], argv=["untitled.py"], environ={"DISCOMPUTE_BIND": "127.0.0.1"})
    app.screen_when_ready("line")
    app.wait_for(lambda: (desktop.device("iPhone 14") or {}).get("status") == "AVAILABLE", "the desktop sees the phone")
    assert "belongs to cluster" in app.printed("line")
    assert "no node runs here" not in app.printed("line")
    phone = desktop.device("iPhone 14")["id"]
    (tmp_path / "job.py").write_text(JOB)
    done = json.loads(desktop.run("submit", "--json", "--requires", phone, str(tmp_path / "job.py")))
    assert done["result"] == [number * number for number in range(8)]


@pytest.mark.slow
def test_the_file_to_be_read_lends_the_small_one(single_file, small_file, open_desktop):
    with open_desktop(single_file).offer() as offer:
        assert offer["sha256"] == sha256(small_file.read_bytes()).hexdigest()


@pytest.mark.slow
def test_a_line_for_another_file_runs_nothing(open_app, desktop):
    offer = json.loads(desktop.begin_from_file("share", "--json").stdout.readline())
    app = open_app("pyto")
    app.do("run", name="line", text=offer["line"].replace(offer["sha256"], 64 * "0"), argv=["untitled.py"])
    assert app.end_of("line") == "SystemExit: 1"
    assert re.fullmatch("discompute: not the file offered - is share on .*\n", app.printed("line"))
