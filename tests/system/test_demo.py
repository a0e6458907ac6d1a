"""The demo from end to end: discovery, pairing, work, loss and recovery are real, and nothing is left afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

#: Makes every process that finds it refuse loopback broadcast, as a Mac does.
NO_BROADCAST = '''
import errno, socket
real_sendto = socket.socket.sendto
class DeafSocket(socket.socket):
    def sendto(self, data, *rest):
        if str(rest[-1][0]).endswith(".255"):
            raise OSError(errno.EHOSTUNREACH, "No route to host")
        return real_sendto(self, data, *rest)
socket.socket = DeafSocket
'''


def check(facts):
    # All images: with 300 a fast machine is done before a node can be killed.
    assert facts["equal"]
    assert facts["killed"] == "node-3"
    assert facts["images"] == 1797
    assert facts["paired_s"] > 0
    assert facts["accuracy"] > 0.9
    assert sum(facts["pieces_by_node"].values()) == 36
    assert facts["pieces_by_node"]["node-1"] > 0
    assert facts["pieces_by_node"]["node-2"] > 0


def test_the_demo_ends_with_the_right_answer(field):
    done = field.run("demo", "--json", limit_s=60.0)
    assert done.code == 0, done.err
    assert done.err == ""
    check(done.document)


@pytest.mark.slow
def test_the_demo_needs_no_broadcast_and_shows_what_happens(field, root):
    folder = field.folder / "deaf"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(NO_BROADCAST, encoding="utf-8")
    done = field.run("demo", "--limit", "900", limit_s=60.0, PYTHONPATH=f"{folder}{os.pathsep}{root}")
    assert (done.code, done.err) == (0, "")
    for text in ("node-1 is ", "all known to one another", "every link between them is encrypted",
                 "node-3 killed with", "Who did what:", "on node-3 was lost", "The answer equals that of one process."):
        assert text in done.out
    # It would fail if those processes could broadcast after all.
    probe = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', ('127.255.255.255', 9))"
    refused = subprocess.run(
        [sys.executable, "-c", probe], env=field.environ(PYTHONPATH=str(folder)), capture_output=True, text=True
    )
    assert "No route to host" in refused.stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupted_demo_leaves_nothing(field, posix, name):
    process = subprocess.Popen(
        [sys.executable, "-m", "discompute_lite", "demo", "--limit", "300"], env=field.for_command(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    try:
        while "Starting" not in process.stdout.readline():
            assert process.poll() is None
        field.wait_for(lambda: len(field.processes()) > 1, "its nodes start")
        process.send_signal(getattr(signal, name))
        _, err = process.communicate(timeout=field.scale(15.0))
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert err == "discompute: interrupted\n"
