"""Name what a checkup finds out about a device, and what it concludes.

Knows:   facts as they are seen (by host/machine_check.py and net/network_check.py), and findings.
Refuses: to judge (core/diagnosis.py does).
Read next: core/diagnosis.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Tuple

from .interface import Interface


class Severity(Enum):
    """Say how much a finding matters."""

    GOOD = "good"
    #: Worth knowing, and nothing is wrong.
    NOTE = "note"
    #: Something works less well than it could.
    WARNING = "warning"
    #: With this the node cannot work.
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """Say one thing about a device, and how to mend it where something is wrong."""

    #: Its name for programs: lower case, with hyphens.
    cause: str
    severity: Severity
    text: str
    #: What to do; "" where nothing is to be done.
    cure: str = ""


@dataclass(frozen=True)
class SensedFact:
    """Say one thing of battery, heat and screen, where it was read, or why it is not known."""

    #: charge, plugged in, low power, heat, processor or screen.
    what: str
    #: 0 to 1 for a charge, 1 for yes and 0 for no, 0 to 3 for the steps of heat, degrees Celsius; -1 where not known.
    value: float
    #: The same in words, "" where not known.
    told: str
    #: Where it was read: a file, a command, a name of the system's. Where it is not known, why.
    source: str


@dataclass(frozen=True)
class MachineFacts:
    """Say what this machine, its Python and its disk are like."""

    platform: str = "linux"
    python: Tuple[int, int, int] = (3, 9, 0)
    #: The app that Python runs in, "" outside of one.
    app: str = ""
    #: What a terminal calls itself (TERM_PROGRAM), "" where it says nothing.
    terminal: str = ""
    #: Modules that this Python lacks, of those that we use.
    missing: Tuple[str, ...] = ()
    state_path: str = ""
    #: Why the state folder cannot be used, "" where it can; what helps; and whether what is in it outlives the process.
    state_problem: str = ""
    state_cure: str = ""
    is_state_kept: bool = True
    #: -1 where unknown.
    disk_free_mb: int = -1
    open_files: int = -1
    #: "container", "wsl" or "".
    inside: str = ""
    #: Firewalls that are switched on, as people call them, each with what lets us through ("" where that is not known).
    firewalls: Tuple[Tuple[str, str], ...] = ()
    #: The router's address, "" where unknown.
    gateway: str = ""
    #: Unix seconds.
    wall: float = 0.0
    #: Seconds of the clock that deadlines go by.
    monotonic: float = 0.0
    is_main_thread: bool = True
    #: What `uname` says of the machine (on iOS the model) and of its system, each "" where it says nothing.
    machine: str = ""
    release: str = ""
    #: Its version, "" where there is none.
    numpy: str = ""
    #: What waits for sockets: EpollSelector, KqueueSelector and so on.
    selector: str = ""
    sensed: Tuple[SensedFact, ...] = ()


@dataclass(frozen=True)
class Trial:
    """Say what came of one attempt to send or to connect."""

    #: Where to: an address, host:port, or what stands for it.
    where: str
    #: open, refused, silent or unreachable for a connection; heard, unheard or refused (by the system) for a datagram.
    outcome: str
    #: The name of the system's error, such as EHOSTUNREACH; "" for none.
    error: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class PeerFact:
    """Say what is known of one device that may be called."""

    trial: Trial
    #: typed, remembered or heard.
    known_by: str = "typed"


@dataclass(frozen=True)
class BeaconFact:
    """Say what one announcement that was heard said."""

    node_id: str
    boot: str
    name: str
    #: Where it came from, host:port to call.
    address: str
    #: Its clock less ours, in seconds.
    clock_off_s: float = 0.0


@dataclass(frozen=True)
class NetworkFacts:
    """Say what the network lets through."""

    #: Those that the node uses.
    interfaces: Tuple[Interface, ...] = ()
    #: Why the node's port cannot be opened, "" where it can or the node that runs here has it; and the same for UDP.
    port_error: str = ""
    udp_error: str = ""
    #: To ourselves: 127.0.0.1, then each own address.
    self_dials: Tuple[Trial, ...] = ()
    broadcasts: Tuple[Trial, ...] = ()
    multicasts: Tuple[Trial, ...] = ()
    unicasts: Tuple[Trial, ...] = ()
    #: The router and the next addresses of the own networks.
    neighbours: Tuple[Trial, ...] = ()
    peers: Tuple[PeerFact, ...] = ()
    beacons: Tuple[BeaconFact, ...] = ()
    #: Of all that lead somewhere, whether the node uses them or not.
    interface_names: Tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeFacts:
    """Say what the settings and the node that runs here, if one does, are."""

    #: Of this device; "" where none was made yet. The boot is that of the node that runs, "" where none does.
    id: str = ""
    boot: str = ""
    port: int = 8080
    discovery_port: int = 5005
    #: Whether a person chose the port, so that it must not change.
    is_port_chosen: bool = False
    bind: str = "all"
    interface: str = "all"
    announce: str = "open"
    discovery: Tuple[str, ...] = ()
    is_running: bool = False
