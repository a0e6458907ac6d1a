"""Three devices on one network meet by real broadcast, lose one whose cable is pulled, and find it again."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, Callable, Iterator

import pytest

pytestmark = pytest.mark.namespaces


@pytest.fixture
def place(testbed: Any, host_program: Callable[..., Any], tmp_path: Any) -> Iterator[Any]:
    """Return (start, send, bed): start(host, name) starts a node that meets others by broadcast alone, and
    send(host, name, other) has it greet another, over a link that stays."""
    hosts = []
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DISCOMPUTE_")}
    with testbed.Testbed(3) as bed:

        def start(number: int, name: str) -> Any:
            command = [
                sys.executable, "-m", "discompute_lite", "start", "--json", "--discovery", "broadcast", "--name", name,
                "--broadcast-interval", "0.5",
                "--state-dir", str(tmp_path / name), "--config", os.devnull,
            ]
            hosts.append(host_program(bed, number, command, environ, tmp_path / f"{name}.err"))
            return hosts[-1]

        def send(number: int, name: str, other: str) -> None:
            command = [sys.executable, "-m", "discompute_lite", "send", other, "hello", "--config", os.devnull]
            command += ["--state-dir", str(tmp_path / name)]
            done = subprocess.run(bed.command(number, command), env=environ, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr

        yield start, send, bed
        for host in hosts:
            host.end()
    assert all("Traceback" not in host.errors.read_text() for host in hosts)


def test_three_devices_meet_by_broadcast_alone_and_notice_a_pulled_cable(place):
    start, send, bed = place
    hosts = {name: start(number, name) for number, name in enumerate(("Ann", "Bob", "Eve"), 1)}
    ids = {name: host.expect(event="ready")["device"]["id"][:8] for name, host in hosts.items()}
    for name, host in hosts.items():
        joined = [host.expect(event="joined")["text"] for _ in range(2)]
        assert all(any(other in text for text in joined) for other in ids.values() if other != ids[name])
    # Whoever is known by its beacons alone is lost without a doubt before: only over a link is silence soon strange.
    for number, name in enumerate(("Ann", "Bob"), 1):
        send(number, name, ids["Eve"])
    bed.unplug(3)
    for name in ("Ann", "Bob"):
        assert ids["Eve"] in hosts[name].expect(event="suspect")["text"]
        assert ids["Eve"] in hosts[name].expect(event="lost")["text"]
    for _ in range(2):
        hosts["Eve"].expect(event="lost")
    bed.plug(3)
    for name in ("Ann", "Bob"):
        assert ids["Eve"] in hosts[name].expect(event="joined")["text"]
    # Eve may hear them later than they hear Eve; a goodbye of somebody who is gone anyway is no news.
    for _ in range(2):
        hosts["Eve"].expect(event="joined")
    hosts["Ann"].end()
    assert ids["Ann"] in hosts["Bob"].expect(event="left")["text"]
    assert ids["Ann"] in hosts["Eve"].expect(event="left")["text"]
