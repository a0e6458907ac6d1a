"""A checkup of the network: when it is over."""

from __future__ import annotations

import json

import pytest

from discompute_lite.model.limits import Limits
from discompute_lite.net.network_check import CheckOptions, NetworkCheck


def beacon(number):
    """Return what a device announces."""
    lite = {"v": 1, "name": f"device {number}", "status": "AVAILABLE", "boot": "b", "seq": 1, "every": 2.5}
    return json.dumps({
        "type": "discovery", "node_id": f"{number}" * 52, "grpc_port": 8080, "priority": 1, "interface_name": "eth0",
        "interface_type": "ethernet", "timestamp": 1_790_000_000, "lite": lite, "device_capabilities": {
            "model": "M", "chip": "C", "memory": 1, "flops": {"fp32": 0, "fp16": 0, "int8": 0}, "type": "linux"},
    }).encode()


class Stage:
    """A checkup that nothing was begun of; be the loop and the prober."""

    def __init__(self):
        self.is_stopped, self.calls = False, []
        self.check = NetworkCheck(self, CheckOptions("127.0.0.1", "", 8080, 5005, Limits()), self)

    def stop(self):
        self.is_stopped = True

    def probe(self, address, seconds, tried):
        self.calls.append((address, tried))

    def hear(self, number):
        self.check._heard(beacon(number), f"10.0.0.{number}:5005")

    def peers(self):
        return {peer.trial.where: peer.trial.outcome for peer in self.check.facts().peers}


@pytest.fixture
def stage():
    return Stage()


def test_where_nobody_is_being_called_it_is_over_at_once(stage):
    stage.hear(1)
    (_, tried), = stage.calls
    tried("open", "", 0.01)
    assert not stage.is_stopped
    stage.check.end()
    assert stage.is_stopped and stage.peers() == {"10.0.0.1:8080": "open"}


def test_whoever_is_heard_late_has_as_long_to_answer_as_all_others_and_nobody_comes_after(stage):
    stage.hear(1)
    stage.hear(2)
    (_, first), (_, second) = stage.calls
    stage.check.end()
    stage.hear(3)
    assert len(stage.calls) == 2 and not stage.is_stopped
    first("open", "", 0.5)
    assert not stage.is_stopped
    second("refused", "ECONNREFUSED", 0.5)
    assert stage.is_stopped and stage.peers() == {"10.0.0.1:8080": "open", "10.0.0.2:8080": "refused"}
