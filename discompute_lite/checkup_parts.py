"""Put a checkup together: look at the machine, try the network, judge both.

Knows:   which settings and which running node a checkup is about.
Refuses: to look or to judge itself.
Read next: core/diagnosis.py (judges), host/machine_check.py and net/network_check.py (look), faces/doctor_command.py.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from .core.diagnosis import can_work, diagnose
from .core.sweep import hosts_to_sweep, networks_to_sweep
from .crypto.p256 import device_id
from .host.machine_check import look_at_machine
from .host.probe import Probe
from .host.store import StateFolder, running_folder
from .model.checkup import Finding, MachineFacts, NetworkFacts, NodeFacts
from .model.errors import DiscomputeError, SettingsError, StateError
from .model.setting_kinds import DEFAULT_NODE_PORT
from .model.settings import MEETING_SETTINGS, Settings
from .net.client import call_once
from .net.network_check import CALLED_DEVICES, CheckOptions, check_network
from .net.prober import swept_interfaces
from .run import open_state_folder

#: Neighbours of each own address that are tried: are several refused at once, the system refuses them.
NEIGHBOURS_TRIED = 4
#: Ports at which routers answer, if only by a refusal.
ROUTER_PORTS = (53, 80)


@dataclass(frozen=True)
class Checkup:
    """Hold what was seen and what that means."""

    machine: MachineFacts
    network: NetworkFacts
    node: NodeFacts
    findings: List[Finding]

    @property
    def is_well(self) -> bool:
        """Whether a node can work here."""
        return can_work(self.findings)


def check_up(settings: Settings, probe: Optional[Probe] = None) -> Checkup:
    """Look at this device, as a node with these settings would run on it; takes a few seconds."""
    probe = probe or Probe()
    state, problem, running = _open_state(settings, probe)
    own_id = ""
    if state is not None and problem is None and state.has_key():
        try:
            own_id = device_id(state.load_or_make_key(os.urandom))
        except StateError as error:
            problem = error
    settings, port = _of_the_node(settings, running)
    boot, met = (_boot_of(*running.address), _met_by(*running.address)) if running is not None else ("", [])
    node = NodeFacts(
        id=own_id, boot=boot, port=port, discovery_port=settings.discovery_port, bind=settings.bind,
        is_port_chosen=settings.source_of("port") != "default", announce=settings.announce,
        discovery=settings.discovery, interface=settings.discovery_interface, is_running=running is not None,
    )
    machine = look_at_machine(probe, state, problem, (port, settings.discovery_port), time.time())
    network = check_network(CheckOptions(
        bind=settings.bind, interface=settings.discovery_interface, port=port,
        control_port=running.address[0] if running is not None else 0, discovery_port=settings.discovery_port,
        limits=settings.limits_for(False), own_id=own_id, own_boot=boot,
        peers=_peers(settings, state, met), neighbours=tuple(_neighbours(settings, machine.gateway)),
    ))
    return Checkup(machine, network, node, diagnose(machine, network, node))


class RunningNode(NamedTuple):
    """Hold where the node that runs here takes commands, and how it meets others."""

    #: (port, token)
    address: Tuple[int, str]
    meets: Dict[str, Any]


def _open_state(
    settings: Settings, probe: Probe
) -> Tuple[Optional[StateFolder], Optional[StateError], Optional[RunningNode]]:
    """Return the state folder, or why there is none, and the node that runs from it: then the folder is that one's."""
    try:
        root = open_state_folder(settings, probe)
        folder = running_folder(root)
        address = folder.running_node() if folder is not None else None
        if folder is None or address is None:
            return root, None, None
        return folder, None, RunningNode(address, folder.running_meets())
    except StateError as error:
        return None, error, None


def _of_the_node(settings: Settings, running: Optional[RunningNode]) -> Tuple[Settings, int]:
    """Return the settings with what the node that runs was told of them, and the port at which others call it."""
    if running is None:
        return settings, settings.port
    port = running.meets.get("port", running.address[0])
    told = {name: running.meets[name] for name in MEETING_SETTINGS if name in running.meets}
    try:
        return settings.replace(**told), port
    except SettingsError:
        return settings, port  # It is of another version.


def _boot_of(port: int, token: str) -> str:
    try:
        answer: Dict[str, Any] = call_once(f"127.0.0.1:{port}", "Hello", {"auth": token}, token=token)
        return str(answer.get("boot", ""))
    except DiscomputeError:
        return ""


def _met_by(port: int, token: str) -> List[str]:
    """Return where those are whom the node that runs here has met, in whichever way."""
    try:
        answer: Dict[str, Any] = call_once(f"127.0.0.1:{port}", "GetDevices", {}, token=token)
        return [str(each.get("address", "")) for each in answer["devices"][1:] if each.get("status") != "OFFLINE"]
    except DiscomputeError:
        return []


def _peers(settings: Settings, state: Optional[StateFolder], met: List[str]) -> Dict[str, str]:
    """Return whom to call: where the user says, where the node that runs here met somebody, then the remembered."""
    peers = dict.fromkeys(settings.peers, "typed")
    for address in met[:CALLED_DEVICES]:
        peers.setdefault(address, "remembered")
    document = state.read_json("peers.json", {}) if state is not None else {}
    remembered = document.get("addresses")
    for address in remembered if isinstance(remembered, list) else []:
        if isinstance(address, str):
            peers.setdefault(address, "remembered")
    return peers


def _neighbours(settings: Settings, gateway: str) -> List[str]:
    routers = [f"{gateway}:{port}" for port in ROUTER_PORTS] if gateway and settings.bind == "all" else []
    swept, _ = networks_to_sweep(swept_interfaces(settings.bind, settings.discovery_interface))
    near = [host for each in swept[:1] if not each.own.is_loopback for host in hosts_to_sweep(each, ())]
    return routers + [f"{host}:{settings.port or DEFAULT_NODE_PORT}" for host in near[:NEIGHBOURS_TRIED]]
