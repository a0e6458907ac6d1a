"""Judge what a checkup has found out: each cause by its name, in plain words, with its cure.

Knows:   what can keep a node from working or devices from meeting, and what each of these looks like.
Refuses: to look for anything itself (host/machine_check.py and net/network_check.py do), to lay out (faces).
Read next: core/network_diagnosis.py (its other half), model/checkup.py (the facts), faces/doctor_command.py.

To add a cause: what it looks like among the facts, a rule here or in core/network_diagnosis.py, and a row of the test,
which holds every cause to a picture of facts that has it and to a sentence with a cure.
"""

from __future__ import annotations

from typing import Iterator, List

from ..model.checkup import Finding, MachineFacts, NetworkFacts, NodeFacts, Severity
from .network_diagnosis import is_ios_app, judge_network

LEAST_PYTHON = (3, 9)
#: What each module is for, and whether nothing works without it.
MODULE_USES = {
    "socket": ("any network", True), "selectors": ("any network", True), "json": ("any message", True),
    "hashlib": ("identities", True), "ssl": ("working with others, which is encrypted", False),
    "ctypes": ("the list of interfaces: masks are guessed", False),
    "subprocess": ("processes: tasks run as threads", False),
}
#: Journals and results need room; descriptors are used for links, children and sweeps.
LEAST_DISK_MB, LEAST_FILES = 50, 128
#: A clock before this was never set: this program did not exist then (2024-01-01).
EARLIEST_WALL = 1_704_067_200.0


def diagnose(machine: MachineFacts, network: NetworkFacts, node: NodeFacts) -> List[Finding]:
    """Return all findings, the machine's first, in a fixed order."""
    return [*_judge_python(machine), *_judge_state(machine), *_judge_settings(node),
            *judge_network(machine, network, node)]


def can_work(findings: List[Finding]) -> bool:
    """Whether a node can work on this device as it is."""
    return all(finding.severity is not Severity.BAD for finding in findings)


def _judge_python(machine: MachineFacts) -> Iterator[Finding]:
    version = ".".join(map(str, machine.python))
    if machine.python < LEAST_PYTHON:
        yield Finding("python-old", Severity.BAD, f"Python {version} is too old.", "Use Python 3.9 or newer.")
    else:
        where = f" in {machine.app}" if machine.app else ""
        yield Finding("python", Severity.GOOD, f"Python {version} on {machine.platform}{where}")
    for name in machine.missing:
        use, is_vital = MODULE_USES.get(name, ("something", False))
        yield Finding("module-missing", Severity.BAD if is_vital else Severity.WARNING,
                      f"This Python lacks the module {name}, needed for {use}.",
                      "Use another app, such as a-Shell." if is_ios_app(machine) else
                      "Use another Python, such as the one of python.org.")
    if 0 <= machine.open_files < LEAST_FILES:
        yield Finding("few-files", Severity.WARNING, f"Only {machine.open_files} files may be open at once.",
                      "Raise the limit before the start: ulimit -n 1024")
    if machine.wall < EARLIEST_WALL:
        yield Finding("clock-unset", Severity.WARNING, "The clock of this device was never set.",
                      "Let it set its time from the network.")


def _judge_state(machine: MachineFacts) -> Iterator[Finding]:
    if machine.state_problem:
        cure = machine.state_cure or "name another folder with --state-dir FOLDER"
        yield Finding("state-unusable", Severity.BAD, f"State folder: {machine.state_problem}.",
                      cure[:1].upper() + cure[1:])
    elif not machine.is_state_kept:
        yield Finding("state-lost", Severity.WARNING, "No folder can be written: this device is a new one at each"
                      " start.", "Name a folder that can be written with --state-dir FOLDER.")
    else:
        yield Finding("state", Severity.GOOD, f"State folder {machine.state_path}")
    if 0 <= machine.disk_free_mb < LEAST_DISK_MB:
        yield Finding("disk-full", Severity.WARNING, f"Only {machine.disk_free_mb} MB are free on the disk of the"
                      " state folder: tasks may be refused.", "Free some space there.")


def _judge_settings(node: NodeFacts) -> Iterator[Finding]:
    if node.bind.startswith("127.") or node.bind == "::1":
        yield Finding("bound-here", Severity.WARNING, f"Bound to {node.bind}: only programs of this machine are met.",
                      "Start without --bind (and without bind in the configuration and environment).")
    if node.announce != "open":
        yield Finding("hidden", Severity.WARNING, f"announce is {node.announce}: strangers do not see this device.",
                      "Set announce to open, or join others by CODE@host:port.")
    if not node.discovery:
        yield Finding("no-ways", Severity.WARNING, "All ways of meeting are off (discovery).",
                      "Leave the setting discovery out, or name some ways.")
    elif "broadcast" not in node.discovery and "mdns" not in node.discovery:
        yield Finding("few-ways", Severity.NOTE, f"Devices are met only by: {', '.join(node.discovery)}.",
                      "Leave the setting discovery out to have all ways.")
