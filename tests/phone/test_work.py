"""Phones work, sleep in the middle of it, come back or do not, and every piece is done once all the same."""

from __future__ import annotations

import json

import pytest

#: Each with a way in which iOS may leave sockets behind; `strict`, which has no ssl, can belong to no cluster.
LIVES = {"pythonista": "silent", "a-shell": "noisy", "a-shell-mini": "closed", "pyto": "silent"}
NAMES = {"pythonista": "iPhone 14", "a-shell": "iPad Pro (11-inch) (3rd generation)",
         "a-shell-mini": "iPad Pro (11-inch) (3rd generation)", "pyto": "iPhone SE (2nd generation)"}
#: Notes who begins each piece, takes a moment for it, and says who it was. With `is_gated` nobody goes on with a third
#: one before a file is there.
JOB = """
import os, time

def split():
    return list(range({count}))

def work(number):
    with open({log!r}, "a") as log:
        log.write(f"{{os.getpid()}}\\n")
    with open({log!r}) as log:
        begun = log.read().split().count(str(os.getpid()))
    while {is_gated} and begun > 2 and not os.path.exists({log!r} + ".go"):
        time.sleep(0.01)
    time.sleep(0.2)
    return [number, os.getpid()]

def merge(parts):
    return parts
"""


@pytest.fixture
def pieces(tmp_path):
    """Write a job of so many pieces; return its file, and how many of them a process has begun."""
    log = tmp_path / "begun.txt"
    log.write_text("")

    def write(count, is_gated=False):
        (tmp_path / "job.py").write_text(JOB.format(count=count, log=str(log), is_gated=is_gated))
        log.write_text("")
        return str(tmp_path / "job.py")

    def begun(*apps):
        begun_by = [int(line) for line in log.read_text().split()]
        return sum(begun_by.count(app.process.pid) for app in apps) if apps else len(begun_by)

    return write, begun


def join(open_app, desktop, profile):
    """Paste the one line into an app; return it when the desktop counts on it."""
    with desktop.offer() as offer:
        app = open_app(profile)
        app.do("run", name="line", text=offer["line"], argv=["untitled.py"], environ={"DISCOMPUTE_BIND": "127.0.0.1"})
        app.wait_for(lambda: is_available(desktop, profile), "the desktop sees the phone", 60.0)
    return app


def have_worked(desktop, *profiles):
    """Whether the desktop has results of all these phones for the task that it was given first."""
    tasks = desktop.ask("ListTasks")["tasks"]
    done = desktop.ask("GetTaskStatus", task_id=tasks[0]["task_id"])["lite"]["devices"] if tasks else {}
    return all(desktop.device(NAMES[profile])["id"] in done for profile in profiles)


def is_available(desktop, profile):
    """Whether the desktop counts on this phone."""
    return (desktop.device(NAMES[profile]) or {}).get("status") == "AVAILABLE"


@pytest.mark.slow
@pytest.mark.parametrize("profile", LIVES)
def test_a_whole_life(open_app, desktop, pieces, profile):
    write, begun = pieces
    app = join(open_app, desktop, profile)
    phone = desktop.device(NAMES[profile])["id"]
    # Work, and a sleep in the middle of a piece from which it comes back without sockets.
    submit = desktop.begin("submit", "--json", "--requires", phone, write(8))
    app.wait_for(lambda: begun(app) >= 2, "it works", 60.0)
    app.suspend()
    app.wait_for_others(lambda: not is_available(desktop, profile), "the desktop counts on it no more")
    app.resume(dead=LIVES[profile])
    out, _ = submit.communicate(timeout=app.patience(120.0))
    assert json.loads(out)["result"] == [[number, app.process.pid] for number in range(8)]
    assert "Traceback" not in app.do("all_printed")
    assert app.look()["descriptors"] < 100
    # Stopped, and started again from the file that the line has left.
    app.do("stop", name="line")
    app.end_of("line")
    app.wait_for(lambda: app.look()["threads"] == [], "all threads end")
    file = app.home / "Documents" / "discompute.py"
    app.do("run", name="again", text=file.read_text(encoding="utf-8"), argv=[str(file), "start"], file=str(file))
    facts = app.screen_when_ready("again")
    assert phone.startswith(facts["Device"])
    assert "member of cluster" in app.printed("again").replace("\n", " ")
    done = json.loads(desktop.run("submit", "--json", "--requires", phone, write(2)))
    assert done["result"] == [[number, app.process.pid] for number in range(2)]


@pytest.mark.slow
def test_a_map_over_a_desktop_and_two_phones_is_complete_when_one_sleeps_and_one_stays_away(
    open_app, desktop, pieces, tmp_path
):
    write, begun = pieces
    sleeper, stopped = join(open_app, desktop, "pythonista"), join(open_app, desktop, "pyto")
    submit = desktop.begin("submit", "--json", write(60, is_gated=True))
    sleeper.wait_for(lambda: have_worked(desktop, "pythonista", "pyto"), "both work", 60.0)
    sleeper.suspend()
    stopped.suspend()
    (tmp_path / "begun.txt.go").touch()
    count = begun()
    sleeper.wait_for_others(lambda: begun() >= count + 10, "the desktop goes on alone")
    sleeper.resume(dead="silent")
    out, _ = submit.communicate(timeout=sleeper.patience(120.0))
    result = json.loads(out)["result"]
    assert [number for number, _ in result] == list(range(60))
    workers = {pid for _, pid in result}
    assert {sleeper.process.pid, stopped.process.pid} < workers
    # It is counted on again, as the same device.
    sleeper.wait_for(lambda: is_available(desktop, "pythonista"), "it is back", 60.0)


#: Pieces of which each third weighs more than a phone takes that gives work 200 kB.
MIXED_JOB = """
import os, time

def split():
    return ["x" * (300_000 if number % 3 == 2 else 10) for number in range(24)]

def work(text):
    time.sleep(0.2)
    return [len(text), os.getpid()]

def merge(parts):
    return parts
"""


@pytest.mark.slow
def test_a_phone_refuses_the_pieces_that_are_too_heavy_and_goes_on_with_light_ones(open_app, desktop, tmp_path):
    with desktop.offer() as offer:
        app = open_app("pythonista")
        app.do("run", name="line", text=offer["line"], argv=["untitled.py"],
               environ={"DISCOMPUTE_BIND": "127.0.0.1", "DISCOMPUTE_LIMITS": "work-bytes=200000"})
        app.wait_for(lambda: is_available(desktop, "pythonista"), "the desktop sees the phone", 60.0)
    (tmp_path / "job.py").write_text(MIXED_JOB)
    done = json.loads(desktop.run("submit", "--json", str(tmp_path / "job.py")))
    assert [size > 10 for size, _ in done["result"]] == [number % 3 == 2 for number in range(24)]
    on_phone = [size for size, pid in done["result"] if pid == app.process.pid]
    assert len(on_phone) > 2 and max(on_phone) == 10
    assert "was too much for it: this piece weighs" in desktop.run("status", done["task_id"], "--json")


@pytest.mark.slow
def test_a_phone_trains_on_digits_that_come_along(open_app, open_desktop, single_file):
    desktop = open_desktop(single_file)
    join(open_app, desktop, "pythonista")
    phone = desktop.device(NAMES["pythonista"])["id"]
    training = desktop.begin_from_file("train", "--json", "--min-devices", "2", "--wait", "60", "--rounds", "3",
                                       "digits", "--hidden", "8")
    trained = json.loads(desktop.printed_by(training))
    assert phone in {member.partition("/")[0] for figures in trained["rounds"] for member in figures["shares"]}
