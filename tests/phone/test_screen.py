"""The screen of Pythonista: it shows the node, its controls do what they say, and closing it ends all."""

from __future__ import annotations

import re

import pytest

WIDTH = 40


def open_screen(app, root):
    """Press play in `ios/main.py`; return its text as soon as there is some."""
    main = root / "ios" / "main.py"
    app.do("run", name="main", text=main.read_text(encoding="utf-8"), argv=[str(main)], file=str(main),
           environ={"DISCOMPUTE_BIND": "127.0.0.1", "DISCOMPUTE_PORT": "0"})
    return app.wait_for(lambda: app.do("shown")["text"], "the screen")


def test_it_shows_the_node_and_closing_it_ends_all(open_app, root):
    app = open_app("pythonista")
    before = app.look()
    text = open_screen(app, root)
    assert re.match(r"iPhone 14\n127\.0\.0\.1:\d+\nalone", text)
    assert all(len(line) <= WIDTH for line in text.splitlines())
    assert app.do("shown")["awake"] == [True]
    app.do("close_screen")
    assert app.end_of("main") == "ended"
    app.wait_for(lambda: app.look()["threads"] == [], "all threads end")
    assert app.do("shown")["awake"] == [True, False]
    assert app.look()["descriptors"] == before["descriptors"]


def test_the_single_file_has_the_screen_too(open_app, single_file):
    app = open_app("pythonista")
    app.do("run", name="main", text=single_file.read_text(encoding="utf-8"), argv=["discompute.py"],
           environ={"DISCOMPUTE_BIND": "127.0.0.1", "DISCOMPUTE_PORT": "0"})
    assert "alone" in app.wait_for(lambda: app.do("shown")["text"], "the screen")


@pytest.mark.slow
def test_the_switch_takes_no_work_and_takes_it_again(open_app, root):
    app = open_app("pythonista")
    open_screen(app, root)
    app.wait_for(lambda: app.do("shown")["switch"], "it accepts work")
    app.do("touch", switch=False)
    app.wait_for(lambda: app.do("shown")["switch"] is False, "it accepts none")
    app.do("touch", switch=True)
    app.wait_for(lambda: app.do("shown")["switch"] is True, "it accepts work again")


@pytest.mark.slow
def test_it_calls_a_device_at_an_address_that_is_typed(open_app, root):
    caller, called = open_app("pythonista"), open_app("pythonista")
    open_screen(caller, root)
    address = open_screen(called, root).splitlines()[1]
    caller.do("touch", title="Call…", typed="127.0.0.1:1")
    assert "Nobody answers there yet" in caller.wait_for(lambda: caller.do("shown")["alerts"], "the answer")[0]
    caller.do("touch", title="Call…", typed=f" {address} ")
    assert "answers there." in caller.wait_for(lambda: caller.do("shown")["alerts"][1:], "the answer")[0]
    for app in (caller, called):
        app.wait_for(lambda app=app: "no other device" not in app.do("shown")["text"], "both know each other")


@pytest.mark.slow
def test_it_lets_a_device_in_by_a_code_and_joins_by_one(open_app, root):
    host, joiner = open_app("pythonista"), open_app("pythonista")
    open_screen(host, root)
    open_screen(joiner, root)
    host.do("touch", title="Let in…")
    sentence = host.wait_for(lambda: host.do("shown")["alerts"], "the code")[0]
    joiner.do("touch", title="Join…", typed=re.search(r"join (\d{8}@\S+:\d+)", sentence).group(1))
    answer = joiner.wait_for(lambda: joiner.do("shown")["alerts"], "the answer")[0]
    assert "belongs to cluster" in answer
    for app in (host, joiner):
        app.wait_for(lambda app=app: "\ncluster " in app.do("shown")["text"], "both are members")
