"""A command that had to start a node waits for others only as long as somebody may still answer."""

from __future__ import annotations

from typing import Any, List

import pytest

from discompute_lite.faces import reach
from discompute_lite.faces.reach import ANSWERED_HERE_S, LOOK_AROUND_S, Reach, choose_device
from discompute_lite.model.device import Device, DeviceStatus
from discompute_lite.model.errors import NotFound
from discompute_lite.model.settings import Settings


class FakeTime:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class FakeNode:
    """A node started for a command: when its questions are answered, and when a device is met."""

    def __init__(self, time: FakeTime, bind: str) -> None:
        self.settings = Settings(bind=bind)
        self.loop, self.node, self.discovery = self, self, self
        self.asks_until, self.met_at = 0.0, 1e9
        self._time, self._began = time, time.now

    def post(self, callback: Any) -> None:
        callback()

    def is_asking(self) -> bool:
        return self._time.now < self._began + self.asks_until

    def devices(self) -> List[str]:
        return ["own", "other"] if self._time.now >= self._began + self.met_at else ["own"]


class Command(Reach):
    """A command's reach, with neither a node nor a connection."""

    def __init__(self, time: FakeTime, local: Any) -> None:
        self.local, self._began, self._time = local, time.now, time

    def devices(self) -> Any:
        return self.local.devices() if self.local is not None else ["own"]

    def looks_around(self, *arguments: Any, **options: Any) -> float:
        """Return for how many seconds it looks."""
        began = self._time.now
        self.look_around(*arguments, **options)
        return pytest.approx(self._time.now - began, abs=2 * reach.POLL_S)


@pytest.fixture
def time(monkeypatch):
    time = FakeTime()
    monkeypatch.setattr(reach, "time", time)
    return time


@pytest.fixture
def here(time):
    return Command(time, FakeNode(time, "127.0.0.1"))


def test_a_node_that_runs_already_has_met_the_others(time):
    assert Command(time, None).looks_around(None) == 0


def test_on_loopback_whoever_is_asked_has_soon_answered_or_refused(here):
    assert here.looks_around(None) == ANSWERED_HERE_S


def test_on_loopback_too_it_waits_for_who_has_not_answered_yet(here):
    here.local.asks_until = 1.0
    assert here.looks_around(None) == 1.0
    here.local.asks_until = 1e9
    assert here.looks_around(None) == LOOK_AROUND_S
    assert here.looks_around(None, at_most_s=3.0) == 3.0


def test_who_comes_in_the_last_moment_is_seen(here, time):
    here.local.met_at = ANSWERED_HERE_S
    assert here.look_around(None) == ["own", "other"]


def test_on_a_network_nobody_knows_who_may_still_answer(time):
    assert Command(time, FakeNode(time, "all")).looks_around(None) == LOOK_AROUND_S


def test_who_says_how_long_gets_it(here):
    assert here.looks_around(4.0) == 4.0
    assert here.looks_around(0.0) == 0


def test_it_ends_as_soon_as_what_was_looked_for_is_there(here):
    here.local.met_at = 0.3
    assert here.looks_around(None, lambda devices: "other" in devices) == 0.3
    assert here.looks_around(4.0, lambda devices: "another" in devices) == 4.0


# ---- whom a person means -----------------------------------------------------------------------------------


def device(device_id, address, name="", *, is_gone=False):
    status = DeviceStatus.OFFLINE if is_gone else DeviceStatus.AVAILABLE
    return Device(id=device_id, name=name or device_id, address=address, status=status)


KNOWN = [
    device("aaaa", "10.0.0.2:8080", "attic"), device("abab", "10.0.0.2:8081"), device("cccc", "10.0.0.3:8083"),
    device("dddd", "10.0.0.4:8081"), device("dede", "10.0.0.4:8082"), device("eeee", "[fe80::5%eth0]:8080"),
    device("ffff", "10.0.0.3:8083", is_gone=True), device("ghgh", ""),
]


@pytest.mark.parametrize("wanted, found", [
    ("cccc", "cccc"), ("C", "cccc"), ("attic", "aaaa"), ("10.0.0.2:8081", "abab"), ("10.0.0.3:8083", "cccc"),
    ("10.0.0.2", "aaaa"), ("10.0.0.3", "cccc"), ("fe80::5%eth0", "eeee"), ("[fe80::5%eth0]", "eeee"),
])
def test_a_device_is_named_by_id_name_or_address_which_needs_no_port(wanted, found):
    assert choose_device(KNOWN, wanted).id == found


@pytest.mark.parametrize("wanted, says", [
    ("10.0.0.4", "several devices (dddd, dede)"), ("d", "several devices"), ("10.0.0.5", "no device is called"),
    ("10.0.0.3:8080", "no device is called"), ("8083", "no device is called"), ("", "no device is called"),
])
def test_what_means_nobody_or_several_is_refused(wanted, says):
    with pytest.raises(NotFound) as refused:
        choose_device(KNOWN, wanted)
    assert says in str(refused.value)
