"""What doctor says fits a phone, whatever names and addresses are in it."""

import pytest

from discompute_lite.checkup_parts import Checkup
from discompute_lite.faces.doctor_command import DOCTOR_COLUMNS, MARKS, finding_lines, report_lines
from discompute_lite.model.checkup import (
    BeaconFact, Finding, MachineFacts, NetworkFacts, NodeFacts, PeerFact, SensedFact, Severity, Trial,
)
from discompute_lite.model.interface import Interface

LONG = "/private/var/mobile/Containers/Shared/AppGroup/0123456789abcdef/Documents"


def test_every_severity_has_its_mark():
    assert set(MARKS) == set(Severity)


@pytest.mark.parametrize("severity", Severity)
def test_a_finding_and_its_cure_are_folded(severity):
    lines = finding_lines(Finding("state", severity, f"State folder {LONG} is\x1b[2J full.", "Free some space there."))
    assert max(map(len, lines)) <= DOCTOR_COLUMNS and lines[0].startswith(MARKS[severity][0])
    assert any(line.startswith("   > Free") for line in lines) and not any("\x1b" in line for line in lines)
    assert LONG in "".join(line.strip() for line in lines)


def test_a_finding_without_a_cure_is_one_line():
    assert finding_lines(Finding("port", Severity.GOOD, "TCP port 8080 is free")) == ["ok TCP port 8080 is free"]


def test_a_flag_is_never_broken_at_its_hyphens():
    cure = "Choose another folder with --state-dir FOLDER"
    assert any(" --state-dir" in line for line in finding_lines(Finding("state", Severity.BAD, "It is full.", cure)))


def test_the_report_has_everything_that_was_tried_and_fits_too():
    network = NetworkFacts(
        (Interface("bridge100", "192.168.100.200", "255.255.255.240"), Interface("", "10.0.0.1")),
        self_dials=(Trial("192.168.100.200:65535", "silent", "ETIMEDOUT"),), broadcasts=(Trial("10.0.0.255", "heard"),),
        multicasts=(Trial("en0", "refused", "EHOSTUNREACH"),), unicasts=(Trial("10.0.0.1", "unheard"),),
        neighbours=(Trial("10.0.0.254:53", "refused"),), peers=(PeerFact(Trial("10.0.0.9:8080", "open")),),
        beacons=(BeaconFact("b" * 52, "b", "A very long name of a device in the attic", "10.0.0.9:8080"),))
    machine = MachineFacts(
        gateway="10.0.0.254", wall=1.7e9, monotonic=77.26, machine="iPhone14,7", release="Darwin 23.0.0",
        numpy="1.26.4", selector="KqueueSelector", sensed=(
            SensedFact("charge", 0.8, "80%", "UIDevice.batteryLevel"), SensedFact("heat", -1.0, "", "nobody says it"),
            SensedFact("low power", -1.0, "", "nobody says it")))
    lines = report_lines(Checkup(machine, network, NodeFacts(), []))
    assert max(map(len, lines)) <= DOCTOR_COLUMNS
    text = " ".join(" ".join(lines).split())
    for word in ("bridge100", "mask ?", "router 10.0.0.254", "ETIMEDOUT", "broadcast 10.0.0.255: heard", "EHOSTUNREACH",
                 "machine iPhone14,7, Darwin 23.0.0", "NumPy 1.26.4, KqueueSelector",
                 "clocks 2023-11-14 22:13:20 UTC, 77.3 s", "charge 80% (UIDevice.batteryLevel)",
                 "heat, low power unknown: nobody says it", "unicast 10.0.0.1: unheard",
                 "near 10.0.0.254:53", "peer 10.0.0.9:8080: open", "in the attic"):
        assert word in text
