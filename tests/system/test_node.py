"""A node's life on one machine: it starts, meets others, notices who is gone, and ends without a trace."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading

import pytest

from discompute_lite.model.errors import DiscomputeError
from discompute_lite.roles.node import Node
from discompute_lite.run import LocalNode, read_settings

SQUARES = """
def split(n: int = 4): return range(n)
def work(part): return part * part
def merge(parts): return sum(parts)
"""
#: Each piece ends when a file of the test's is there: the test decides what happens when.
GATED = """
import os, time
def split(folder: str = "", pieces: int = 4): return [(folder, number) for number in range(pieces)]
def work(part):
    folder, number = part
    open(os.path.join(folder, "begun-%d-%d" % (number, os.getpid())), "w").close()
    while not os.path.exists(os.path.join(folder, "open")):
        time.sleep(0.01)
    return number
def merge(parts): return sorted(parts)
"""


# ---- starting ---------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_a_node_starts_answers_and_ends_without_a_trace(field):
    node = field.start("alpha")
    assert node.answers()
    assert node.get("/healthz") == (200, '{"status":"ok"}\n')
    facts = json.loads((node.state / "node.json").read_text())
    assert facts["pid"] == node.process.pid
    assert facts["port"] == node.port
    assert oct((node.state / "device.key").stat().st_mode)[-3:] == "600"
    assert oct(node.state.stat().st_mode)[-3:] == "700"
    node.kill()
    assert node.wait_end() == 0


def test_a_second_node_takes_the_next_free_port_and_says_so(field):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8080))
            taken.listen()
        except OSError:
            pass  # Somebody else listens there: all the same.
        node = field.start("second", port="", DISCOMPUTE_PORT=None)
        assert node.port != 8080
        field.wait_for(lambda: node.said("note", f"port 8080 is taken; listening on {node.port} instead"))
        assert node.answers()


def test_a_port_that_was_asked_for_is_taken_or_nothing(field, fails):
    first = field.start("first")
    fails(field.type("start", "--port", str(first.port)), 2, f"port {first.port} is in use", "--port")
    fails(field.type("start", DISCOMPUTE_PORT=str(first.port)), 2, f"port {first.port} is in use")
    assert first.answers()
    # What could not start has not kept its folder either.
    assert not (field.folder / "command" / "node.json").exists()


def test_a_second_start_from_one_folder_is_a_device_of_its_own(field):
    first = field.start("first")
    second = field.start("second", "--state-dir", str(first.state))
    second.state = first.state / "2"
    assert second.id != first.id
    field.wait_for(lambda: second.said("note", "this one is a device of its own"))
    field.wait_until_met([first, second])


def test_tls_may_be_off_only_while_a_node_is_alone(field, fails):
    (folder,) = field.let_belong("member")
    state = {"DISCOMPUTE_STATE_DIR": str(folder)}
    fails(field.type("start", "--tls", "false", **state), 2, "tls false", "belongs to a cluster", "devices --leave")
    assert not (folder / "node.json").exists() and (folder / "ca.pem").exists()
    assert field.start("alone", "--tls", "false").answers()


def test_an_identity_outlives_the_node(field):
    first = field.start("first")
    first.kill()
    assert first.wait_end() == 0
    assert field.start("first").id == first.id


def test_a_node_bound_to_one_address_is_still_commanded_over_127_0_0_1(field):
    node = field.start("bound", "--bind", "127.0.0.2")
    assert node.events[0]["device"]["address"] == f"127.0.0.2:{node.port}"
    control_port = json.loads((node.state / "node.json").read_text())["port"]
    assert control_port == node.port
    with node.client(is_owner=False, host="127.0.0.2") as caller:
        assert caller.call("Ping")
    state = {"DISCOMPUTE_STATE_DIR": str(node.state)}
    devices = field.type("list", "--json", **state).document["devices"]
    assert devices[0]["id"] == node.id
    assert field.type("submit", "--json", "primes", "--bound", "100", **state).document["result"] == 25
    node.kill()
    assert node.wait_end() == 0


def taken_at(host, *, free_at):
    """Return a listening socket on a port that nobody uses at the other address."""
    while True:
        taken = socket.create_server((host, 0))
        with socket.socket() as probe:
            try:
                probe.bind((free_at, taken.getsockname()[1]))
                return taken
            except OSError:
                taken.close()


def test_where_that_port_of_127_0_0_1_is_taken_commands_use_another(field):
    with taken_at("127.0.0.1", free_at="127.0.0.2") as taken:
        port = taken.getsockname()[1]
        node = field.start("bound", "--bind", "127.0.0.2", port=str(port))
        assert node.port == port
        assert json.loads((node.state / "node.json").read_text())["port"] != port
        field.wait_for(lambda: node.said("note", f"port {port} of 127.0.0.1 is taken"))
        state = {"DISCOMPUTE_STATE_DIR": str(node.state)}
        assert field.type("list", "--json", **state).document["devices"][0]["id"] == node.id


# ---- meeting ----------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_three_nodes_find_each_other_by_broadcast(field):
    nodes = field.start_several(3, "--discovery", "broadcast")
    field.wait_until_met(nodes)
    for node in nodes:
        assert next(iter(node.devices())) == node.id, "the answering node comes first"


def test_strangers_meet_and_give_each_other_no_work(field):
    nodes = field.start_several(2)
    field.wait_until_met(nodes)
    one, other = nodes
    task_id = one.submit(SQUARES)
    assert one.result_of(task_id) == ("COMPLETED", 14)
    assert list(one.call("GetTaskStatus", {"task_id": task_id})["lite"]["devices"]) == [one.id]


def test_nodes_meet_across_loopback_addresses(field):
    one = field.start("one")
    other = field.start("other", "--bind", "127.0.0.2")
    field.wait_until_met([one, other])


def test_a_message_reaches_the_person_at_the_other_node(field):
    one, other = field.start_several(2)
    field.wait_until_met([one, other])
    text = "hello \x1b[31mred\u202e"
    answer = one.call("SendMessage", {"to_device_id": other.id, "message_type": "text", "payload": text_bytes(text)})
    assert answer["success"]
    field.wait_for(lambda: other.said("message", "hello"))
    shown = next(event["text"] for event in other.events if event["event"] == "message")
    assert one.name in shown


def text_bytes(text):
    import base64
    return base64.b64encode(text.encode()).decode()


# ---- losing -----------------------------------------------------------------------------------------------


def test_a_killed_node_is_soon_not_available_and_comes_back(field):
    one, two, victim = nodes = field.start_members(3)
    field.wait_until_met(nodes)
    victim.kill(signal.SIGKILL)
    victim.wait_end()
    for node in (one, two):
        field.wait_for(lambda node=node: not node.sees(victim), f"{node.name} notices", 5.0)
        field.wait_for(lambda node=node: node.said("lost", victim.name), "it is told")
    again = field.start(victim.name)
    assert again.id == victim.id
    field.wait_until_met([one, two, again])


def test_a_killed_node_takes_its_children_with_it_and_its_folder_is_swept(field, posix):
    (field.folder / "gate").mkdir()
    node = field.start("victim", "--slots", "1")
    node.submit(GATED, folder=str(field.folder / "gate"))
    field.wait_for(lambda: os.listdir(field.folder / "gate"), "a piece begins")
    children = node.children()
    node.kill(signal.SIGKILL)
    node.wait_end()
    field.wait_for(lambda: not any(map(is_alive, children)), "the end of its children", 5.0)
    left = list((node.state / "scratch" / "tasks").iterdir())
    assert left
    for folder in left:
        (folder / "of an earlier life").touch()
    again = field.start("victim")
    assert again.id == node.id
    # It goes on with the task, so there may be folders of the same names.
    assert not list((node.state / "scratch").glob("**/of an earlier life"))


def test_row_31_a_job_survives_a_worker_that_is_killed(field):
    gate = field.folder / "gate"
    gate.mkdir()
    one, victim = nodes = field.start_members(2, "--slots", "1")
    field.wait_until_met(nodes)
    task_id = one.submit(GATED, folder=str(gate), pieces=6)
    field.wait_for(lambda: victim.id in one.running_on(task_id), "it works")
    victim.kill(signal.SIGKILL)
    victim.wait_end()
    (gate / "open").touch()
    assert one.result_of(task_id) == ("COMPLETED", [0, 1, 2, 3, 4, 5])
    story = " ".join(one.call("GetTaskStatus", {"task_id": task_id})["lite"]["story"])
    assert victim.id[:8] in story


def test_jobs_that_end_their_own_process_hold_up_no_other(field, posix):
    lone = field.start("lone")
    bad = [lone.submit("def work(part=None):\n    import ctypes; ctypes.string_at(0)") for _ in range(4)]
    assert lone.result_of(lone.submit(SQUARES), 10.0) == ("COMPLETED", 14)
    for task_id in bad:
        state, message = lone.result_of(task_id, 10.0)
        assert state == "FAILED" and f"poison: it failed 3 times, all on {lone.id[:8]}: each time" in message
        assert "signal 11" in message


def test_row_33_a_job_survives_a_worker_that_is_stopped(field, posix):
    gate = field.folder / "gate"
    gate.mkdir()
    one, sleeper = nodes = field.start_members(2, "--slots", "1")
    field.wait_until_met(nodes)
    task_id = one.submit(GATED, folder=str(gate), pieces=4)
    field.wait_for(lambda: sleeper.id in one.running_on(task_id), "it works")
    sleeper.kill(signal.SIGSTOP)
    (gate / "open").touch()
    assert one.result_of(task_id, 40.0) == ("COMPLETED", [0, 1, 2, 3])
    sleeper.kill(signal.SIGCONT)
    field.wait_until_met(nodes)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") if os.path.exists(f"/proc/{pid}/stat") else open(os.devnull) as file:
        return ") Z" not in file.read()


# ---- ending -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_a_working_node_with_a_goodbye(field, posix, name):
    gate = field.folder / "gate"
    gate.mkdir()
    one, other = nodes = field.start_members(2)
    field.wait_until_met(nodes)
    one.submit(GATED, folder=str(gate), pieces=8)
    field.wait_for(lambda: os.listdir(gate), "its children work")
    one.kill(getattr(signal, name))
    # Its pieces would go on for ever.
    assert one.wait_end(3.0) == 0
    field.wait_for(lambda: other.said("left", one.name), "the goodbye")
    assert not other.sees(one)
    one.check_traces()


def test_a_node_lives_on_when_nobody_reads_what_it_says(field):
    node = field.start("alone", lines=1)
    for _ in range(3):
        assert node.result_of(node.submit(SQUARES)) == ("COMPLETED", 14)
    assert node.answers()


def test_main_runs_three_times_in_one_interpreter(field):
    program = textwrap.dedent("""
        import os, signal, sys, threading, time
        from discompute_lite.faces.cli import main

        def stop_when_ready():
            while not os.path.exists(os.path.join(sys.argv[1], "node.json")):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        def descriptors():
            return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        counts = []
        for _ in range(2):
            assert main(["version"]) == 0
            assert main(["info"]) == 0
            stopper = threading.Thread(target=stop_when_ready)
            stopper.start()
            assert main(["start", "--port", "0", "--state-dir", sys.argv[1]]) == 0
            stopper.join()
            assert main(["start", "--port", "x"]) == 2
            counts.append((descriptors(), threading.active_count()))
        assert counts[0] == counts[1], counts
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
        print("well")
    """)
    assert run_program(field, program, str(field.folder / "state")).endswith("well\n")


def test_a_node_runs_outside_the_main_thread(field):
    """As in an app's console: no signals; its stop button raises KeyboardInterrupt in that thread, like Ctrl-C."""
    program = textwrap.dedent("""
        import ctypes, os, sys, threading, time
        from discompute_lite.faces.cli import main

        codes = []
        thread = threading.Thread(
            target=lambda: codes.append(main(["start", "--port", "0", "--state-dir", sys.argv[1]])))
        thread.start()
        while not os.path.exists(os.path.join(sys.argv[1], "node.json")):
            time.sleep(0.01)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt))
        thread.join()
        assert codes == [0], codes
        assert not os.path.exists(os.path.join(sys.argv[1], "node.json"))
        assert not os.path.exists(os.path.join(sys.argv[1], "scratch"))
        assert threading.active_count() == 1, threading.enumerate()
        print("well")
    """)
    assert run_program(field, program, str(field.folder / "state")).endswith("well\n")


def run_program(field, program, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=field.environ(), capture_output=True, text=True,
        timeout=field.scale(30.0),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


# ---- being read -------------------------------------------------------------------------------------------


def test_a_node_whose_output_nobody_reads_works_on_and_says_what_it_left_out(field):
    node = field.start("unread")
    text = text_bytes("x" * 1900)
    with node.reading, node.client() as client:
        for _ in range(250):  # More than a pipe and what waits for it can take.
            client.call("SendMessage", {"message_type": "text", "payload": text})
        assert node.answers()
        field.wait_for(lambda: "nobody reads" in node.complaints(), "a word about it")
    # Who reads again gets whole lines, the new ones too.
    told = len(node.events)
    field.wait_for(lambda: len(node.events) > told, "the lines that waited")
    node.kill()
    assert node.wait_end() == 0
    assert "lines were left out" in node.complaints()


def test_a_node_whose_output_nobody_reads_ends_as_fast_as_any(field):
    node = field.start("unread")
    with node.reading:
        with node.client() as client:
            for _ in range(60):
                client.call("SendMessage", {"message_type": "text", "payload": text_bytes("x" * 1900)})
        node.kill()
        assert node.process.wait(field.scale(5.0)) == 0
    assert not (node.state / "node.json").exists()


@pytest.mark.parametrize("trouble", ["port", "folder", "identity", "word", "ways"])
def test_a_start_that_fails_leaves_no_descriptor_thread_or_file(tmp_path, monkeypatch, trouble):
    def count():
        gc.collect()
        names = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ()
        return len(names), threading.active_count()

    def fail(*_):
        raise OSError(28, "No space left on device")

    for name, kind, method in (
        ("identity", LocalNode, "_identity"), ("word", LocalNode, "_say_where_it_is"), ("ways", Node, "start")
    ):
        if name == trouble:
            monkeypatch.setattr(kind, method, fail)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1] if trouble == "port" else 0
        state = tmp_path / "state"
        if trouble == "folder":
            state.write_text("a file")
        environ = {"DISCOMPUTE_BIND": "127.0.0.1", "DISCOMPUTE_PORT": str(port), "DISCOMPUTE_STATE_DIR": str(state)}
        counts = []
        for _ in range(3):
            with pytest.raises((OSError, DiscomputeError)):
                LocalNode(read_settings({}, environ)).start()
            counts.append(count())
        assert counts[0] == counts[1] == counts[2]
        assert not (state / "node.json").exists()
