"""The line that a person pastes on a phone: checked before it runs, a sentence where it fails, good for shells too."""

from __future__ import annotations

import io
import os
import shlex
import socket
import threading
import time
import zlib
from hashlib import sha256

import pytest

from discompute_lite.faces import cli, share_command
from discompute_lite.faces.console import Console
from discompute_lite.faces.share_command import share_line

#: What the line fetches, as it would be from a node.
PROGRAM = b"import builtins\nbuiltins.ran.append(__name__)\n"
OFFER = {"path": "/discompute.z", "sha256": sha256(PROGRAM).hexdigest()}
FOUND = b"HTTP/1.0 200 OK\r\nX: y\r\n\r\n"
LINK = "discompute://join/1/abcdefghijklmnopqrstuvwxyz@192.168.1.20:40001,10.0.0.3:40001"
NO_ROUTE = 65


def answering(answer):
    """Return the host:port at which somebody takes one request, and the requests that came."""
    requests, listener = [], socket.create_server(("127.0.0.1", 0))

    def serve():
        with listener, listener.accept()[0] as connection:
            requests.append(connection.recv(4096))
            connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return f"127.0.0.1:{listener.getsockname()[1]}", requests


@pytest.fixture
def ran(monkeypatch, tmp_path):
    """Be in an empty folder; give what runs there: the fetched program's name, then the words of commands."""
    ran = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.ran", ran, raising=False)
    monkeypatch.setattr(cli, "main", ran.append)
    return ran


def run_line(address, link="", optimize=0):
    """Run the line as `python3 -c` does, with `optimize` 2 as `python3 -OO -c`."""
    exec(compile(share_line(address, OFFER, link), "<pasted>", "exec", optimize=optimize), {"__name__": "__main__"})


def refusal(capsys, address, **options):
    """Run a line that is hindered; return the one sentence."""
    with pytest.raises(SystemExit) as caught:
        run_line(address, **options)
    out, err = capsys.readouterr()
    assert caught.value.code == 1 and err == "" and out.count("\n") == 1
    assert out.startswith("discompute: ") and out.endswith(" - is share on in this network?\n")
    return out


@pytest.mark.parametrize("link", ["", LINK])
def test_the_line_asks_as_http_has_it_keeps_the_file_joins_and_starts(ran, tmp_path, link):
    address, requests = answering(FOUND + zlib.compress(PROGRAM))
    run_line(address, link)
    assert requests == [f"GET /discompute.z HTTP/1.0\r\nHost:{address}\r\n\r\n".encode()]
    assert ran == ["discompute", *([["join", "-q", link]] if link else []), ["start", f"--peer={address}"]]
    assert (tmp_path / "discompute.py").read_bytes() == PROGRAM


@pytest.mark.parametrize("optimize", [0, 2])
def test_another_file_is_neither_run_nor_kept(ran, capsys, tmp_path, optimize):
    address, _ = answering(FOUND + zlib.compress(PROGRAM + b"\n"))
    assert "not the file offered" in refusal(capsys, address, optimize=optimize)
    assert ran == [] and os.listdir(tmp_path) == []


def test_it_says_when_the_file_is_not_offered_any_more(ran, capsys):
    address, _ = answering(b"HTTP/1.1 404 Not Found\r\n\r\n{}")
    assert "offer ended" in refusal(capsys, address)


def test_where_nobody_answers_that_is_one_sentence(ran, capsys):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        refusal(capsys, f"127.0.0.1:{bound.getsockname()[1]}")


def test_a_folder_that_cannot_be_written_is_one_sentence(ran, capsys, tmp_path):
    (tmp_path / "discompute.py").mkdir()
    address, _ = answering(FOUND + zlib.compress(PROGRAM))
    assert "discompute.py" in refusal(capsys, address)
    assert ran == []


@pytest.mark.parametrize("refusals, slept", [(2, 2), (100, 30)])
def test_it_waits_while_the_phone_asks_about_the_network_and_not_for_ever(ran, capsys, monkeypatch, refusals, slept):
    class Refused(socket.socket):
        left, sleeps = refusals, []

        def connect_ex(self, address):
            Refused.left -= 1
            return NO_ROUTE if Refused.left >= 0 else super().connect_ex(address)

    address, _ = answering(FOUND + zlib.compress(PROGRAM))
    monkeypatch.setattr(socket, "socket", Refused)
    monkeypatch.setattr(time, "sleep", Refused.sleeps.append)
    if slept == refusals:
        run_line(address)
        assert ran == ["discompute", ["start", f"--peer={address}"]]
    else:
        refusal(capsys, address)
    assert Refused.sleeps == [1] * slept


@pytest.mark.parametrize("answer", [b"", FOUND, FOUND + zlib.compress(PROGRAM)[:9]], ids=["nothing", "head", "part"])
def test_a_network_that_falls_silent_is_one_sentence(ran, capsys, monkeypatch, tmp_path, answer):
    class Impatient(socket.socket):
        waits = []

        def settimeout(self, seconds):
            Impatient.waits.append(seconds)
            super().settimeout(0.05)

    silent = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with listener.accept()[0] as connection:
                connection.sendall(answer)
                silent.wait()

        serving = threading.Thread(target=serve)
        serving.start()
        monkeypatch.setattr(socket, "socket", Impatient)
        try:
            assert "timed out" in refusal(capsys, f"127.0.0.1:{listener.getsockname()[1]}")
        finally:
            silent.set()
            serving.join()
    assert Impatient.waits[0] == 30 and ran == [] and os.listdir(tmp_path) == []


def test_what_is_waited_for_at_an_address_that_never_answers_has_an_end():
    for address in ("192.168.1.20:8080", "[fd00::7]:8080"):
        assert share_line(address, OFFER).count(",30)" if "[" in address else ".settimeout(30)") == 1


def test_an_address_of_ipv6_is_called_without_its_brackets():
    line = share_line("[fd00::7]:8080", OFFER)
    assert 'create_connection(("fd00::7",8080),30)' in line and "Host:[fd00::7]:8080" in line


@pytest.mark.parametrize("link, most", [("", 832), (LINK, 935)])
def test_the_line_is_no_longer_than_its_picture_may_be(link, most):
    assert len(share_line("192.168.1.20:8080", OFFER, link)) <= most


@pytest.mark.parametrize("link", ["", LINK])
def test_a_shell_takes_it_in_single_quotes_and_no_backslash_is_in_it(link):
    line = share_line("192.168.1.20:8080", OFFER, link)
    assert "\n" not in line and "\\" not in line
    assert shlex.split(f"python3 -c '{line}'") == ["python3", "-c", line]


def test_who_used_the_link_is_told(monkeypatch):
    """A link is good for one device, so the next one needs another."""
    asked, seconds = [], iter(range(100))

    class Node:
        def call(self, method, params):
            asked.append((method, params))
            events = [{"kind": "let-in", "text": "x"}, {"kind": "joined", "text": "Ann's iPhone has joined"}]
            return {"next_event": 5, "events": events if len(asked) == 1 else []}

    monkeypatch.setattr(share_command.time, "monotonic", lambda: next(seconds))
    monkeypatch.setattr(share_command.time, "sleep", lambda seconds: None)
    err = io.StringIO()
    share_command._wait_for_end(Console(out=io.StringIO(), err=err), Node(), 3.0, 3)
    assert asked == [("WatchInvite", {"from_event": 3}), ("WatchInvite", {"from_event": 5})]
    assert err.getvalue().endswith("Ann's iPhone has joined; for one more, run share --invite again\n")
    assert err.getvalue().count("\n") == 1
