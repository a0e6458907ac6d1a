"""A node that was stopped for a while, or gets an address when it runs already, is soon where it would have been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

#: Seconds for which a node is stopped: more than a busy moment lasts.
STOPPED_S = 9.0


def test_a_node_that_was_stopped_says_so_and_looks_for_the_others(field, posix):
    first, second = field.start_several(2)
    field.wait_until_met([first, second])
    second.kill(signal.SIGSTOP)
    time.sleep(STOPPED_S)
    second.kill(signal.SIGCONT)
    field.wait_for(lambda: second.said("note", "this device slept for"), "that it slept", 35.0)
    field.wait_for(lambda: first.sees(second) and second.sees(first), "that they meet again", 35.0)
    assert second.answers() and not second.said("warning")


@pytest.mark.namespaces
def test_a_device_that_gets_an_address_later_is_found_and_one_that_changes_it_is_found_again(
    testbed: Any, host_program: Callable[..., Any], tmp_path: Path, scale: Any
) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DISCOMPUTE_")}

    def ip(*words: str) -> None:
        subprocess.run(bed.command(2, ["ip", *words]), check=True, capture_output=True)

    def start(number: int) -> Any:
        return host_program(bed, number, [
            sys.executable, "-m", "discompute_lite", "start", "--json", "--discovery", "broadcast", "--name",
            f"host {number}", "--state-dir", str(tmp_path / str(number)), "--config", os.devnull,
        ], environ, tmp_path / f"{number}.err")

    def addresses_of(device: str) -> List[str]:
        """Return where the first host would call a device just now, the best first."""
        words = [sys.executable, "-m", "discompute_lite", "list", "--json", "--state-dir", str(tmp_path / "1")]
        done = subprocess.run(bed.command(1, words), env=environ, capture_output=True, text=True, check=True)
        listed = json.loads(done.stdout)
        devices = listed["devices"] if isinstance(listed, dict) else listed
        return [each["address"] for each in devices if each["id"].startswith(device)]

    with testbed.Testbed(2) as bed:
        ip("addr", "flush", "dev", "eth0")
        hosts = [start(1), start(2)]
        try:
            ids = [host.expect(event="ready")["device"]["id"][:8] for host in hosts]
            ip("addr", "add", f"{bed.address(2)}/24", "brd", "+", "dev", "eth0")
            heard: Dict[str, str] = {}
            while set(heard) != {"note", "joined"}:
                event = hosts[1].expect("note", "joined")
                # A device on which others work as well says that too.
                if event["event"] == "joined" or "address" in event["text"]:
                    heard[event["event"]] = event["text"]
            assert f"{bed.address(2)} is new" in heard["note"] and ids[0] in heard["joined"]
            assert ids[1] in hosts[0].expect(event="joined")["text"]
            ip("addr", "flush", "dev", "eth0")
            ip("addr", "add", f"{bed.address(77)}/24", "brd", "+", "dev", "eth0")
            until = time.monotonic() + scale(35.0)
            while not any(text.startswith(f"{bed.address(77)}:") for text in addresses_of(ids[1])):
                assert time.monotonic() < until, addresses_of(ids[1])
        finally:
            for host in hosts:
                host.end()
    assert all("Traceback" not in host.errors.read_text() for host in hosts)
