"""Put a checkup together: look at the machine, try the network, judge both.

Knows:   which settings and which running node a checkup is about.
Refuses: to look or to judge itself.
Read next: core/diagnosis.py (judges), host/machine_check.py and net/network_check.py (look), faces/doctor_command.py.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

from .core.diagnosis import can_work, diagnose
from .core.sweep import hosts_to_sweep, networks_to_sweep
from .crypto.p256 import device_id
from .host.machine_check import look_at_machine
from .host.probe import Probe
from .host.store import StateFolder
from .model.checkup import Finding, MachineFacts, NetworkFacts, NodeFacts
from .model.errors import DiscomputeError, StateError
from .model.settings import Settings
from .net.addresses import host_of, is_loopback_host
from .net.client import call_once
from .net.network_check import CALLED_DEVICES, CheckOptions, check_network, interfaces_of
from .net.prober import swept_interfaces
from .run import find_running_node, open_state_folder

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
    if state is not None and not problem and state.has_key():
        try:
            own_id = device_id(state.load_or_make_key(os.urandom))
        except StateError as error:
            problem = error.message
    port, boot = (running[0], _boot_of(*running)) if running is not None else (settings.port, "")
    own_address, *met = _devices_of(*running) if running is not None else [""]
    bind = _bind_of(own_address, settings)
    node = NodeFacts(
        id=own_id, boot=boot, port=port, discovery_port=settings.discovery_port, bind=bind,
        is_port_chosen=settings.source_of("port") != "default", announce=settings.announce,
        discovery=settings.discovery, is_running=running is not None,
    )
    machine = look_at_machine(probe, state, problem, (port or settings.port, settings.discovery_port), time.time())
    network = check_network(CheckOptions(
        bind=bind, interface=settings.discovery_interface, port=port, discovery_port=settings.discovery_port,
        limits=settings.limits_for(False), own_id=own_id, own_boot=boot, is_running=running is not None,
        peers=_peers(settings, state, met), neighbours=tuple(_neighbours(settings, bind, machine.gateway)),
    ))
    return Checkup(machine, network, node, diagnose(machine, network, node))


def _bind_of(own_address: str, settings: Settings) -> str:
    """Return what the node that runs here is bound to: it may have been told what we are not."""
    host = host_of(own_address)
    if not is_loopback_host(host):
        return settings.bind
    # Where there is no network at all, a node that is bound to nothing has no better address either.
    is_networked = any(not item.is_loopback for item in interfaces_of(settings.bind, settings.discovery_interface))
    return host if is_networked else settings.bind


def _open_state(
    settings: Settings, probe: Probe
) -> Tuple[Optional[StateFolder], str, Optional[Tuple[int, str]]]:
    """Return the state folder, or why there is none, and (port, token) of the node that runs from it."""
    try:
        return open_state_folder(settings, probe), "", find_running_node(settings)
    except StateError as error:
        return None, error.message, None


def _boot_of(port: int, token: str) -> str:
    try:
        answer: Dict[str, Any] = call_once(f"127.0.0.1:{port}", "Hello", {"auth": token}, token=token)
        return str(answer.get("boot", ""))
    except DiscomputeError:
        return ""


def _devices_of(port: int, token: str) -> List[str]:
    """Return where the node that runs here is called, then where the others are whom it has met in whichever way."""
    try:
        answer: Dict[str, Any] = call_once(f"127.0.0.1:{port}", "GetDevices", {}, token=token)
        return [str(each.get("address", "")) for each in answer["devices"] if each.get("status") != "OFFLINE"] or [""]
    except DiscomputeError:
        return [""]


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


def _neighbours(settings: Settings, bind: str, gateway: str) -> List[str]:
    routers = [f"{gateway}:{port}" for port in ROUTER_PORTS] if gateway and bind == "all" else []
    swept, _ = networks_to_sweep(swept_interfaces(bind, settings.discovery_interface))
    near = [host for each in swept[:1] if not each.own.is_loopback for host in hosts_to_sweep(each, ())]
    return routers + [f"{host}:{settings.port or 8080}" for host in near[:NEIGHBOURS_TRIED]]
