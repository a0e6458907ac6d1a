"""Judge what a checkup has found out about the network: ports, broadcasts, permission, neighbours, peers, clocks.

Knows:   what a refused permission, a firewall, an access point that keeps devices apart, and a copied folder look like.
Refuses: as core/diagnosis.py, of which this is a part.
Read next: core/diagnosis.py.
"""

from __future__ import annotations

import ipaddress
from statistics import median
from typing import Iterator, List, Sequence, Tuple

from ..model.checkup import Finding, MachineFacts, NetworkFacts, NodeFacts, PeerFact, Severity, Trial
from ..model.interface import Interface
from .sweep import REFUSED_WITHIN_S

#: Clocks further apart confuse people who compare times, and nothing else.
CLOCK_OFF_S = 120.0
#: Mobile networks and VPNs by what systems call them.
_TUNNELS = ("utun", "tun", "tap", "wg", "ppp", "ipsec", "pdp_ip", "rmnet", "wwan", "tailscale", "zt")
#: What the system says of a port that another program has.
_PORT_TAKEN = ("EADDRINUSE", "WSAEADDRINUSE", "EACCES", "WSAEACCES")
#: The broadcast address that needs no interface to be known: it reaches nobody whom those of the interfaces do not.
_LIMITED_BROADCAST = "255.255.255.255"
_IOS_APPS = ("Pythonista", "a-Shell", "Pyto")
_IOS_APPS_CURE = "Settings, Privacy & Security, Local Network: switch on {app}, then start again."


def judge_network(machine: MachineFacts, network: NetworkFacts, node: NodeFacts) -> Iterator[Finding]:
    """Give all findings about the network, in a fixed order."""
    is_local = node.bind.startswith("127.") or node.bind == "::1"
    yield from _judge_ports(network, node)
    yield from _judge_identity(network, node)
    is_among_others = False
    # Of an address that is not this machine's, nothing follows about its networks.
    if not is_local and network.port_error in ("", *_PORT_TAKEN):
        yield from _judge_interfaces(machine, network, node)
        if is_lan_refused(network):
            yield _lan_refused(machine)
            return
        is_among_others = any(not item.is_loopback and not is_tunnel(item) for item in network.interfaces)
    if is_local or is_among_others:
        yield from _judge_broadcasts(machine, network, node)
        yield from _judge_multicasts(network)
    yield from _judge_unicasts(machine, network)
    yield from _judge_firewalls(machine, node)
    yield from _judge_peers(network)
    if is_among_others and not network.peers and not network.beacons:
        yield Finding("nobody", Severity.NOTE, "No other device was heard.",
                      "Run start on another device, then this again; or name one with --peer ADDRESS.")
    yield from _judge_clocks(network)


def is_lan_refused(network: NetworkFacts) -> bool:
    """Whether the system lets this program reach nobody: several hosts fail at once while loopback works."""
    here = any(trial.outcome == "open" for trial in network.self_dials)
    tried = [*network.neighbours, *(peer.trial for peer in network.peers)]
    at_once = [trial for trial in tried if trial.outcome == "unreachable" and trial.seconds < REFUSED_WITHIN_S]
    return here and len(at_once) >= 2 and len(at_once) == len(tried)


def _lan_refused(machine: MachineFacts) -> Finding:
    if is_ios_app(machine):
        cure = _IOS_APPS_CURE.format(app=machine.app or "this app")
    elif machine.platform == "android" or machine.app:
        cure = f"Settings, Apps, {machine.app or 'this app'}, Permissions: allow nearby devices, then start again."
    elif machine.platform == "darwin":
        cure = _IOS_APPS_CURE.format(app=machine.terminal or "your terminal") + " Or use Apple's Terminal."
    else:
        cure = "A firewall or a VPN on this device forbids it: allow the local network there."
    return Finding("lan-refused", Severity.BAD, "The system lets this program reach nobody on the local network.", cure)


def _judge_ports(network: NetworkFacts, node: NodeFacts) -> Iterator[Finding]:
    if node.is_running:
        yield Finding("running", Severity.GOOD, f"A node runs here, port {node.port}")
    elif network.port_error in _PORT_TAKEN:
        taken = f"Another program has TCP port {node.port}."
        if node.is_port_chosen:
            yield Finding("port-taken", Severity.BAD, taken, "Stop that program, or choose another --port.")
        else:
            yield Finding("port-moves", Severity.NOTE, f"{taken} A node takes the next free one.",
                          "Stop that program, so that others find this device where they look first.")
    elif network.port_error:
        yield Finding("cannot-listen", Severity.BAD, f"Cannot listen on {node.bind} ({network.port_error}).",
                      "Give one of this machine's addresses to --bind, or leave it out.")
    else:
        yield Finding("port", Severity.GOOD, f"TCP port {node.port} is free")
    if network.udp_error:
        yield Finding("udp-taken", Severity.WARNING, f"UDP port {node.discovery_port} cannot be opened"
                      f" ({network.udp_error}): announcements of others are not heard.",
                      "Stop the program that has it, or choose another --discovery-port on all devices.")
    loop, *own = network.self_dials or (Trial("127.0.0.1", "open"),)
    if loop.outcome != "open":
        yield Finding("self-unreachable", Severity.BAD, f"This machine cannot call itself ({_error_of(loop)}).",
                      "A firewall forbids it: allow Python to accept connections, also on 127.0.0.1.")
    for trial in own:
        if trial.outcome != "open" and loop.outcome == "open":
            yield Finding("incoming-blocked", Severity.WARNING, f"Calls to {trial.where} do not arrive"
                          f" ({_error_of(trial)}).",
                          f"A firewall drops them: allow TCP port {trial.where.rpartition(':')[2]} in.")


def _judge_identity(network: NetworkFacts, node: NodeFacts) -> Iterator[Finding]:
    for beacon in network.beacons:
        if beacon.node_id == node.id and beacon.boot != node.boot:
            yield Finding("same-identity", Severity.BAD, f"The device at {beacon.address} has the identity of this"
                          " one: its state folder was copied.",
                          "Delete the copied state folder on one of the two; that one is a new device then.")
            return


def _judge_interfaces(machine: MachineFacts, network: NetworkFacts, node: NodeFacts) -> Iterator[Finding]:
    outward = [item for item in network.interfaces if not item.is_loopback]
    usual = [item for item in outward if not is_tunnel(item)]
    if not outward and node.interface not in ("", "all") and network.interface_names:
        yield Finding("no-interface", Severity.WARNING, f"No interface here is called {node.interface} or has that"
                      " address: nobody is met by broadcast, mDNS or sweep.",
                      f"Name one with --discovery-interface ({', '.join(network.interface_names)}), or leave it out.")
    elif not outward:
        yield Finding("no-network", Severity.BAD, "This device is in no network.", "Join a Wi-Fi or plug in a cable.")
    elif not usual:
        yield Finding("vpn-only", Severity.WARNING, f"The only network is a VPN or cellular ({outward[0].address}):"
                      " devices beside you are not reached.", "Join a Wi-Fi, switch the VPN off, or use --peer.")
    else:
        for item in usual:
            yield Finding("interface", Severity.GOOD, f"{item.name or 'network'}: {network_text(item)}")
        if len(usual) < len(outward):
            yield Finding("vpn-on", Severity.NOTE, "A VPN is on; some of them swallow the local network.",
                          "If devices are not found, switch it off or let it spare the local network.")
    if machine.inside:
        what, cure = {
            "wsl": ("WSL has a network of its own.", "Set networkingMode=mirrored in .wslconfig, or start the node in"
                    " Windows."),
            "container": ("A container has a network of its own.", "Start it with --network host."),
        }[machine.inside]
        yield Finding(machine.inside, Severity.WARNING, what + " Devices outside may not find this one.", cure)


def _judge_broadcasts(machine: MachineFacts, network: NetworkFacts, node: NodeFacts) -> Iterator[Finding]:
    own = [trial for trial in network.broadcasts if trial.where != _LIMITED_BROADCAST]
    for trial in own or network.broadcasts:
        if trial.outcome == "refused":
            yield _broadcast_refused(machine, trial)
        elif trial.outcome == "unheard" and not network.udp_error:
            yield Finding("broadcast-unheard", Severity.WARNING, f"A broadcast to {trial.where} was not heard here.",
                          f"A firewall drops it: {_firewall_cure(machine, f'allow UDP port {node.discovery_port} in')}")
    if any(trial.outcome == "heard" for trial in own or network.broadcasts):
        yield Finding("broadcast", Severity.GOOD, "Broadcasts are sent and heard")


def _judge_multicasts(network: NetworkFacts) -> Iterator[Finding]:
    for trial in network.multicasts:
        if trial.outcome != "heard":
            how = f"is refused ({trial.error})" if trial.outcome == "refused" else "was not heard here"
            yield Finding("multicast-" + trial.outcome, Severity.NOTE, f"Multicast on {trial.where} {how}: no mDNS.",
                          "Allow UDP port 5353 in the firewall, if broadcast does not work either.")
    if any(trial.outcome == "heard" for trial in network.multicasts):
        yield Finding("multicast", Severity.GOOD, "Multicast is sent and heard")


def _judge_unicasts(machine: MachineFacts, network: NetworkFacts) -> Iterator[Finding]:
    for trial in network.unicasts:
        if trial.outcome != "heard":
            yield Finding("unicast-" + trial.outcome, Severity.WARNING, f"A datagram to {trial.where} did not arrive"
                          f"{f' ({trial.error})' if trial.error else ''}.",
                          f"A firewall drops UDP: {_firewall_cure(machine, 'allow Python to receive')}")


def _judge_firewalls(machine: MachineFacts, node: NodeFacts) -> Iterator[Finding]:
    for name, _ in machine.firewalls:
        yield Finding("firewall-on", Severity.NOTE, f"The firewall {name} is on.",
                      _firewall_cure(machine, f"Allow TCP port {node.port} and UDP port {node.discovery_port} in"))


def _broadcast_refused(machine: MachineFacts, trial: Trial) -> Finding:
    text = f"Broadcast to {trial.where} is refused ({trial.error})."
    if is_ios_app(machine):
        return Finding("broadcast-refused", Severity.NOTE, text + " That is normal here.",
                       "Nothing: devices are looked for by address. --peer ADDRESS is quicker.")
    return Finding("broadcast-refused", Severity.WARNING, text, "A firewall, a VPN or a missing route forbids it."
                   " Devices are still looked for by address; --peer ADDRESS is quicker.")


def _judge_peers(network: NetworkFacts) -> Iterator[Finding]:
    networks = _own_networks(network.interfaces)
    silent: List[PeerFact] = []
    for peer in network.peers:
        trial = peer.trial
        host = trial.where.rpartition(":")[0]
        if trial.outcome == "open":
            yield Finding("peer", Severity.GOOD, f"{trial.where} answers")
        elif trial.outcome == "refused":
            yield Finding("peer-no-node", Severity.WARNING, f"{host} is there, and no node listens on"
                          f" {trial.where.rpartition(':')[2]}.", "Run start there, and look at the address it prints.")
        elif networks and not any(_in_network(host, own) for own in networks):
            yield Finding("peer-elsewhere", Severity.WARNING, f"{host} is not in the network of this device and does"
                          " not answer.", "Bring both into one network: the same Wi-Fi, not its guest network.")
        elif peer.known_by == "heard":
            yield Finding("peer-firewall", Severity.WARNING, f"{host} announces itself and does not answer.",
                          "Its firewall drops calls: allow Python to accept connections there.")
        else:
            silent.append(peer)
    if silent:
        yield from _judge_silence(network, silent)


def _judge_silence(network: NetworkFacts, silent: Sequence[PeerFact]) -> Iterator[Finding]:
    hosts = ", ".join(dict.fromkeys(peer.trial.where.rpartition(":")[0] for peer in silent))
    router = next((trial for trial in network.neighbours if trial.outcome in ("open", "refused")), None)
    somebody = any(peer.trial.outcome in ("open", "refused") for peer in network.peers) or network.beacons
    if router is not None and not somebody:
        is_wanted = any(peer.known_by == "typed" for peer in silent)
        yield Finding("isolated", Severity.BAD if is_wanted else Severity.WARNING,
                      f"{router.where.rpartition(':')[0]} answers and {hosts} does not: it sleeps, or the access point"
                      " keeps devices apart.", "Wake it. If it is awake: switch off client (AP) isolation in the"
                      " router, or leave the guest network.")
    else:
        yield Finding("peer-silent", Severity.WARNING, f"{hosts} does not answer.",
                      "Is it awake, in this network, and does a node run there? Then its firewall drops calls.")


def _judge_clocks(network: NetworkFacts) -> Iterator[Finding]:
    off = {beacon.name or beacon.node_id[:8]: beacon.clock_off_s for beacon in network.beacons}
    wrong = {name: seconds for name, seconds in off.items() if abs(seconds) > CLOCK_OFF_S}
    if not wrong:
        return
    # Most of several that agree with one another and not with us know better.
    spread = max(wrong.values()) - min(wrong.values())
    is_ours = len(wrong) > max(1, len(off) / 2) and spread <= CLOCK_OFF_S
    who = "This device's clock" if is_ours else f"The clock of {', '.join(wrong)}"
    seconds = -median(wrong.values()) if is_ours else next(iter(wrong.values()))
    way = "ahead" if seconds > 0 else "behind"
    yield Finding("clock-off", Severity.WARNING, f"{who} is {_span(abs(seconds))} {way}.",
                  "Let it set its time from the network.")


def is_ios_app(machine: MachineFacts) -> bool:
    """Whether Python runs inside an app of iOS, which may not broadcast and has to be allowed the local network."""
    return machine.platform == "ios" or machine.app in _IOS_APPS


# ---- words --------------------------------------------------------------------------------------------


def is_tunnel(item: Interface) -> bool:
    """Whether an interface leads to one other end: a VPN, or a cellular network."""
    if ":" in item.address:
        return not item.broadcast
    own = ipaddress.IPv4Address(item.address)
    is_narrow = bool(item.netmask) and (not item.broadcast or item.netmask == "255.255.255.255")
    return item.name.startswith(_TUNNELS) or is_narrow or own in ipaddress.IPv4Network("100.64.0.0/10")


def network_text(item: Interface) -> str:
    """Return an address with the length of its mask, where that is known."""
    if not item.netmask:
        return f"{item.address} (mask unknown)"
    bits = item.netmask if ":" in item.address else ipaddress.IPv4Network(f"0.0.0.0/{item.netmask}").prefixlen
    return f"{item.address}/{bits}"


def _own_networks(interfaces: Sequence[Interface]) -> Tuple[ipaddress.IPv4Network, ...]:
    return tuple(
        ipaddress.IPv4Network(f"{item.address}/{item.netmask}", strict=False) for item in interfaces
        if item.netmask and ":" not in item.address
    )


def _in_network(host: str, network: ipaddress.IPv4Network) -> bool:
    try:
        return ipaddress.IPv4Address(host) in network
    except ValueError:
        return True  # A name, or IPv6: nobody knows.


def _firewall_cure(machine: MachineFacts, otherwise: str) -> str:
    cures = [cure for _, cure in machine.firewalls if cure]
    return cures[0] if cures else f"{otherwise}."


def _error_of(trial: Trial) -> str:
    return trial.error or trial.outcome


def _span(seconds: float) -> str:
    for unit_s, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} seconds"
