"""A real reader of /events: it hears what happens, may be slow or go away, and the node goes on."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

JOB = """
def split():
    return list(range(400))

def work(part):
    return part
"""

#: 2,000 letters, in base64.
TEXT = "eHh4" * 666


class Reader:
    """Read a node's events over a socket of its own, as HTTP/1.0: no chunks, until the close."""

    def __init__(self, node, path="/events", room=0, **headers):
        self.socket = socket.socket()
        self.socket.settimeout(node.field.scale(10.0))
        if room:
            # Before there is a connection: then the system keeps little for it at the node's end, too.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.socket.connect(("127.0.0.1", node.port))
        lines = {"Host": f"127.0.0.1:{node.port}", "Authorization": f"Bearer {node.token}", **headers}
        head = f"GET {path} HTTP/1.0\r\n" + "".join(f"{name}: {text}\r\n" for name, text in lines.items())
        self.socket.sendall(head.encode() + b"\r\n")
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        while self.file.readline() != b"\r\n":
            pass

    def event(self):
        """Return (id, document) of the next event, None at the end."""
        found = {}
        for line in self.file:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if not name:
                if "data" in found:
                    return found["id"], json.loads(found["data"])
                continue
            found[name] = value
        return None

    def until(self, wanted):
        """Return the documents up to the first that is wanted."""
        events = []
        while True:
            _, event = self.event()
            events.append(event)
            if wanted(event):
                return events

    def close(self):
        self.file.close()
        self.socket.close()


@pytest.fixture
def node(field):
    return field.start("telling", "--slots", "2")


def figure(node, name):
    """Return one figure of /metrics."""
    status, page = node.get("/metrics", Authorization=f"Bearer {node.token}")
    assert status == 200
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith(f"{name} "))


def test_a_task_is_heard_from_its_submission_to_its_end_and_start_prints_the_same(node):
    reader = Reader(node)
    task_id = node.submit(JOB)
    events = reader.until(lambda event: event.get("state") == "COMPLETED")
    reader.close()
    assert {event["subtask"] for event in events if event["event"] == "placed"} == set(range(400))
    assert [event["percentage"] for event in events if event["event"] == "progress"][-1] == 99.9
    loud = [event["text"] for event in events if event["event"] == "task"]
    node.field.wait_for(lambda: node.said("task", loud[-1]), "the printed end")
    printed = [event for event in node.events if task_id[:8] in event.get("text", "")]
    assert [event["text"] for event in printed] == loud
    # With the same facts, but for the moment, which each reads for itself.
    heard = [event for event in events if event["event"] == "task"]
    assert [{**event, "time": 0} for event in printed] == [{**event, "time": 0} for event in heard]


def test_the_rounds_of_a_training_beside_the_node_are_heard_with_their_figures(node):
    reader = Reader(node)
    words = ["train", "--rounds", "3", "--json", "digits", "--hidden", "0"]
    done = node.field.run(*words, DISCOMPUTE_STATE_DIR=str(node.state))
    assert done.code == 0, done.err
    events = [event for event in reader.until(lambda event: event.get("round") == 3) if event["event"] == "round"]
    reader.close()
    for event, figures in zip(events, json.loads(done.out)["rounds"]):
        assert event["text"].startswith(f"digits: round {figures['round']}/3  loss ")
        assert event["shares"] == {node.id: figures["samples"]} and event["rounds"] == 3
        assert [event[each] for each in ("round", "seconds", "compute_s", "evaluated")] == [
            figures[each] for each in ("round", "seconds", "compute_s", "evaluated")]
    node.field.wait_for(lambda: node.call("ListTasks")["trainings"] == [], "the end of the training")


def test_a_training_is_asked_for_by_its_name_or_id_and_two_of_a_name_by_their_ids(node, fails):
    def ask(*words):
        return node.field.run(*words, DISCOMPUTE_STATE_DIR=str(node.state))

    told = {"training": "f00", "name": "digits", "text": "digits: round 1/3  loss 2", "round": 1, "rounds": 3}
    with node.client() as script:
        script.call("ServeScript", {})
        script.call("TellRound", told)
        assert ask("status", "digits").out == ask("status", "f00").out == f"{told['text']}\n"
        document = ask("status", "--json", "digits").document["training"]
        assert {name: document[name] for name in told} == told
        assert ask("why", "digits").out == f"a script leads this training; its last round: {told['text']}\n"
        fails(ask("status", "--watch", "digits"), 2, "watch it with: tasks --watch")
        script.call("TellRound", {**told, "training": "f01"})
        fails(ask("status", "digits"), 3, "'digits' may mean several trainings (f00, f01); give one of these ids")
    node.field.wait_for(lambda: node.call("ListTasks")["trainings"] == [], "the end of the script")
    fails(ask("status", "digits"), 3, "no task is called 'digits'")


def test_a_reader_that_is_gone_is_noticed_and_may_come_back(node):
    reader = Reader(node)
    node.submit("def split():\n    return [1]\n\ndef work(part):\n    return part\n")
    last_id, _ = reader.event()
    assert figure(node, "discompute_event_readers") == 1
    reader.close()
    node.field.wait_for(lambda: figure(node, "discompute_event_readers") == 0, "the end of the reader")
    back = Reader(node, **{"Last-Event-ID": last_id})
    next_id, _ = back.event()
    assert int(next_id.rpartition(".")[2]) == int(last_id.rpartition(".")[2]) + 1
    back.close()


def test_a_reader_that_does_not_read_costs_a_bounded_amount_and_is_told_what_it_missed(field):
    node = field.start("telling", "--slots", "2", DISCOMPUTE_LIMITS="events-kept=50,event-backlog-bytes=2048")
    reader = Reader(node, room=4096)
    # More than the system's own buffers take.
    with node.client() as client:
        for _ in range(8):
            calls = [client.send("SendMessage", {"message_type": "text", "payload": TEXT}) for _ in range(100)]
            assert {client.receive()["id"] for _ in calls} == set(calls)
    skipped = next(event for event in iter(lambda: reader.event()[1], None) if event["event"] == "skipped")
    assert skipped["count"] > 0 and "were skipped" in skipped["text"]
    reader.close()


def test_a_node_that_ends_ends_the_stream(node):
    reader = Reader(node)
    node.ask_to_end()
    while reader.event() is not None:
        pass
    reader.close()


SLOW = """
import os, time

def split(go):
    print("splitting")
    return [go] * 6

def work(go):
    until = time.monotonic() + 60
    while not os.path.exists(go) and time.monotonic() < until:
        time.sleep(0.01)
    print("done here")

def merge(parts):
    print("merging")
"""


def for_reader(node):
    """Return the environment of a command of the node's owner whose lines are to come at once."""
    return node.field.for_command(
        DISCOMPUTE_STATE_DIR=str(node.state), PYTHONUNBUFFERED="1")


@pytest.fixture
def watching(node, field):
    """Start a command about a task that runs, let it run on, and return what the command printed."""

    def watch(*words, interrupt=False):
        go = str(field.folder / f"go-{len(os.listdir(field.folder))}")
        task_id = node.submit(SLOW, go=go)
        environ = for_reader(node)
        command = [sys.executable, "-m", "discompute_lite", *(word.format(task=task_id) for word in words)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ, text=True) as run:
            first = run.stdout.readline()
            if interrupt:
                run.send_signal(signal.SIGINT)
            else:
                open(go, "w").close()
            out, err = run.communicate(timeout=field.scale(30.0))
        open(go, "w").close()
        return run.returncode, (first + out).splitlines(), err

    return watch


def test_status_is_watched_with_a_line_for_each_change_until_the_end(watching):
    code, lines, err = watching("status", "--watch", "{task}")
    assert (code, err) == (0, "")
    assert lines[0].endswith("RUNNING, 0.0 %") and lines[-1].endswith("COMPLETED, 100.0 %")
    assert [line.partition(": ")[2] for line in lines[1:-1] if "subtasks are done" in line] == [
        f"{count} of 6 subtasks are done" for count in range(1, 7)]


def test_programs_get_a_document_for_each_change(watching):
    code, lines, err = watching("status", "--watch", "--json", "{task}")
    states = [json.loads(line)["task"]["lite"]["state"] for line in lines]
    assert (code, err, states[0], states[-1]) == (0, "", "RUNNING", "COMPLETED")


def test_logs_are_followed_to_the_end(watching):
    code, lines, err = watching("logs", "--follow", "{task}")
    assert (code, err) == (0, "")
    assert [line.partition("] ")[2] for line in lines] == ["splitting", *["done here"] * 6, "merging"]


@pytest.mark.parametrize("words", [
    ["status", "--watch", "{task}"], ["logs", "--follow", "{task}"], ["tasks", "--watch"],
])
def test_ctrl_c_ends_a_watch_with_130_and_one_sentence(watching, words):
    code, _, err = watching(*words, interrupt=True)
    assert (code, err) == (130, "discompute: interrupted\n")


def test_a_watch_ends_with_its_node_and_says_so(node, field):
    environ = for_reader(node)
    node.submit("def split():\n    return [1]\n\ndef work(part):\n    return part\n")
    command = [sys.executable, "-m", "discompute_lite", "tasks", "--watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ, text=True) as run:
        assert "job.py" in run.stdout.readline()
        node.ask_to_end()
        _, err = run.communicate(timeout=field.scale(30.0))
    assert run.returncode == 5 and "was stopped; start it and try again" in err


def test_a_watch_that_finds_no_place_says_why(field):
    node = field.start("telling", DISCOMPUTE_LIMITS="event-readers=1")
    reader = Reader(node)
    done = field.type("tasks", "--watch", DISCOMPUTE_STATE_DIR=str(node.state))
    assert done.code == 5 and "1 readers of events are open here; close one of them" in done.err
    reader.close()
