"""Offer the command doctor: what can go wrong on this device and its network, each with its cure.

Knows:   how findings are laid out within 40 columns, for phones and for reports of bugs, and as JSON.
Refuses: to look or to judge (checkup_parts.py puts those together).
Read next: checkup_parts.py, core/diagnosis.py.
"""

from __future__ import annotations

import textwrap
import time
from importlib import import_module
from typing import Any, Dict, Iterable, List

from ..model.checkup import Finding, SensedFact, Severity, Trial
from ..model.codec import to_json
from ..model.version import VERSION
from .command import JSON_FLAG, Context, command
from .console import printable

#: Columns of a phone's console.
DOCTOR_COLUMNS = 40
#: What stands before a finding, and its colour.
MARKS = {
    Severity.GOOD: ("ok", "good"), Severity.NOTE: ("--", ""), Severity.WARNING: ("! ", "warn"),
    Severity.BAD: ("!!", "bad"),
}


@command("doctor", JSON_FLAG)
def doctor_command(context: Context) -> int:
    """Check what can go wrong here and on the network, and say how to mend each; exit code 0 when a node can work."""
    console = context.console
    if not console.is_json:
        console.note("looking around for a few seconds")
    # Loaded here: other commands start without it.
    checkup = import_module("discompute_lite.checkup_parts").check_up(context.settings)
    if console.is_json:
        console.json({
            "works": checkup.is_well, "version": VERSION, "findings": to_json(checkup.findings),
            "machine": to_json(checkup.machine), "network": to_json(checkup.network), "node": to_json(checkup.node),
        })
        return 0 if checkup.is_well else 1
    for finding in checkup.findings:
        for line in finding_lines(finding):
            console.print(line, MARKS[finding.severity][1])
    for line in report_lines(checkup):
        console.print(line)
    if checkup.is_well:
        console.print("A node can work here.", "good")
        return 0
    console.print("A node cannot work here: mend !! first.", "bad")
    return 1


def finding_lines(finding: Finding) -> List[str]:
    """Return a finding and its cure, folded to a phone's console."""
    mark, _ = MARKS[finding.severity]
    lines = _folded(printable(finding.text), f"{mark} ", "   ")
    return lines + (_folded(printable(finding.cure), "   > ", "     ") if finding.cure else [])


def report_lines(checkup: Any) -> List[str]:
    """Return what was tried and seen, for whoever helps: no secret is in it."""
    machine, network = checkup.machine, checkup.network
    facts = [
        f"version {VERSION}, {'main' if machine.is_main_thread else 'other'} thread",
        f"machine {machine.machine or '?'}, {machine.release or 'system unknown'}",
        f"NumPy {machine.numpy or 'is not here'}, {machine.selector}",
        f"clocks {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(machine.wall))} UTC, {machine.monotonic:.1f} s",
        *_sensed(machine.sensed),
        *(f"{item.name or '?'} {item.address} mask {item.netmask or '?'}" for item in network.interfaces),
        *([] if network.interfaces else ["no interface is listed by this system"]),
        f"router {machine.gateway or 'unknown'}",
        *_trials("self", network.self_dials), *_trials("broadcast", network.broadcasts),
        *_trials("multicast", network.multicasts), *_trials("unicast", network.unicasts),
        *_trials("near", network.neighbours), *_trials("peer", [peer.trial for peer in network.peers]),
        *(f"heard {beacon.name} at {beacon.address}" for beacon in network.beacons),
    ]
    return ["Report:", *(line for fact in facts for line in _folded(printable(fact), "  ", "    "))]


def _sensed(facts: Iterable[SensedFact]) -> List[str]:
    """Return each thing that was told with its source, and those that were not with why, once for each reason."""
    known = [f"{fact.what} {fact.told} ({fact.source})" for fact in facts if fact.told]
    unknown: Dict[str, List[str]] = {}
    for fact in facts:
        if not fact.told:
            unknown.setdefault(fact.source, []).append(fact.what)
    return known + [f"{', '.join(names)} unknown: {why}" for why, names in unknown.items()]


def _trials(what: str, trials: Iterable[Trial]) -> List[str]:
    return [f"{what} {trial.where}: {trial.outcome}{f' {trial.error}' if trial.error else ''}" for trial in trials]


def _folded(text: str, first: str, later: str) -> List[str]:
    # A flag that is broken at its hyphens cannot be copied.
    return textwrap.wrap(text, DOCTOR_COLUMNS, initial_indent=first, subsequent_indent=later,
                         break_on_hyphens=False) or [first.rstrip()]
