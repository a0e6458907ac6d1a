"""An app that was put to sleep comes back without its sockets, and its node is where it was, for all."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

#: Seconds of a sleep: more than a busy moment may last.
SLEEP_S = 8.0


def answers(port: int) -> bool:
    """Whether somebody takes a call there, and says Hello."""
    try:
        with socket.create_connection(("127.0.0.1", port), 2.0) as sock:
            sock.sendall(b'{"jsonrpc":"2.0","id":1,"method":"Hello","params":{}}\n')
            return b'"result"' in sock.recv(4096)
    except OSError:
        return False


@pytest.mark.slow
def test_after_a_sleep_without_sockets_it_listens_again_at_the_same_port(open_app):
    """Sockets die in three ways; the three apps sleep at once."""
    profiles = {"silent": "pythonista", "noisy": "strict", "closed": "a-shell"}
    apps = {how: open_app(profile) for how, profile in profiles.items()}
    ports = {}
    for how, app in apps.items():
        facts = app.start_node("node")
        ports[how] = int(facts["Address"].split(",")[0].rpartition(":")[2])
        assert answers(ports[how])
    for how, app in apps.items():
        assert app.do("kill_sockets", how=how) > 3, how
        app.suspend()
    time.sleep(SLEEP_S)
    for app in apps.values():
        app.resume()
    for how, app in apps.items():
        app.wait_for(lambda port=ports[how]: answers(port), f"the port of {how} sockets", 35.0)
        assert "Traceback" not in app.do("all_printed"), how


@pytest.mark.slow
def test_dead_sockets_cost_no_busy_loop_and_are_noticed_without_a_sleep(open_app):
    app = open_app("pythonista")
    facts = app.start_node("node")
    port = int(facts["Address"].split(",")[0].rpartition(":")[2])
    app.do("kill_sockets", how="noisy")
    # Somebody else has the port for a while: all that time it can be repaired by nobody.
    with socket.create_server(("127.0.0.1", port)):
        assert processor_share(app, 4.0) < 0.05
    app.wait_for(lambda: answers(port), "its port", 35.0)


def processor_share(app: Any, seconds: float) -> float:
    """Return how much of a core an app takes."""
    before, began = app.look()["processor_s"], time.monotonic()
    time.sleep(seconds)
    return (app.look()["processor_s"] - before) / (time.monotonic() - began)
