"""Meet the other nodes and keep believing in them: beacons, Hello, registration, heartbeats.

Knows:   when to announce, whom to dial, what to tell, and which links are open.
Refuses: to decide who is alive (core/registry.py does), to move bytes (transports and links do).
Read next: core/registry.py, wire/beacon.py.

Ways of meeting, all feeding one registry: beacons over UDP; addresses that the user gave or that are remembered
(`Hello` over TCP); devices that peers speak of; on loopback, `Hello` to the neighbouring ports.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from ..core.events import (
    BeaconHeard, DeviceDescribed, DeviceTold, Dial, GoodbyeHeard, LinkLost, LinkOpened, Tick,
)
from ..core.registry import DeviceRegistry
from ..model.device import Device, DeviceStatus
from ..model.errors import NotFound
from .announcer import Announcer
from .greeter import Greeter
from .heartbeats import IDLE_BEAT_S, Heartbeats
from .methods import Greeting
from .ports import LinkPort, OnReply

#: Addresses remembered for the next start.
REMEMBERED = 64


class Discovery:
    """Run one node's meeting and membership; `node` is the composition that it belongs to."""

    def __init__(self, node: Any, registry: DeviceRegistry) -> None:
        self._node = node
        self.registry = registry
        #: Open links of each device, the preferred one first; no empty lists, no closed links.
        self.links: Dict[str, List[LinkPort]] = {}
        self._announcer = Announcer(node, self)
        self._greeter = Greeter(node, self)
        self.heartbeats = Heartbeats(node, self)
        self._wake: Any = None
        self.is_stopping = False

    # ---- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the transports, announce this node, say Hello to known addresses."""
        self._announcer.start()
        self._greeter.greet_seeds()
        self._schedule()

    def stop(self) -> None:
        """Say goodbye and close the links."""
        self.is_stopping = True
        self._announcer.stop()
        self._remember()
        for links in list(self.links.values()):
            for link in list(links):
                link.notify("Goodbye", {"is_leaving": True})
                link.finish()

    # ---- what the node and its methods ask ------------------------------------------------------------

    def list_devices(self, most: int) -> List[Device]:
        """Return this device and then all known ones, at most `most`."""
        wall, now = self._node.wall(), self._node.clock.now()
        known = [device.to_device(wall, now) for device in self.registry.devices()[: most - 1]]
        return [self._node.own_device(), *known]

    def link_to(self, device_id: str) -> Optional[LinkPort]:
        """Return the best open link to a device, or None."""
        links = self.links.get(device_id)
        return links[0] if links else None

    def call(self, device_id: str, method: str, params: Any, on_reply: OnReply, timeout_s: Optional[float] = None) -> None:
        """Call a device over its link; without one, `on_reply` gets `NotFound`."""
        link = self.link_to(device_id)
        if link is None:
            self._node.clock.post(on_reply, None, NotFound("there is no link to that device just now; try again"))
        else:
            link.call(method, params, on_reply, timeout_s=timeout_s)

    def greeted(self, link: LinkPort, greeting: Greeting) -> None:
        """Take note of a node that said Hello to us, or answered ours, and let the link be one."""
        node_id = greeting.node_id
        peer = self._node.peer_of(link)
        peer.node_id, peer.boot = node_id, greeting.boot
        link.is_link = True
        host = link.remote_address.rpartition(":")[0]
        address = link.remote_address if link.is_dialled else f"{host}:{greeting.port}" if greeting.port else ""
        self.links.setdefault(node_id, []).append(link)
        self.heartbeats.begin(node_id)
        self.apply(LinkOpened(node_id, greeting.name, address, greeting.boot, verified=False))
        self._node.link_opened(node_id)
        self._close_idle_links()

    def register(self, link: LinkPort, device: Device) -> str:
        """Take a device's own description; return what is wrong with it, or ""."""
        peer = link.peer
        if not device.id or len(device.id) > 64:
            return "a device needs an id of 1 to 64 characters"
        if peer.node_id and device.id != peer.node_id:
            return "a device may describe itself only: the id is not the one given in Hello"
        if peer.node_id:
            self.apply(DeviceDescribed(device))
        elif device.id != self._node.id:
            # A client written from the protocol page alone registers without a Hello: it is known as if by beacon.
            now = self._node.clock.now()
            boot = str(device.lite.get("boot", ""))
            self.apply(BeaconHeard(device, device.address, boot, int(now * 1000), IDLE_BEAT_S, "register"))
        return ""

    def link_closed(self, link: LinkPort) -> None:
        """Forget a closed link; the registry decides whether its device is gone."""
        node_id = link.peer.node_id
        links = self.links.get(node_id, [])
        if link not in links:
            return
        links.remove(link)
        if not links:
            del self.links[node_id]
            self.heartbeats.end(node_id)
            if not self.is_stopping:
                self.apply(LinkLost(node_id, on_purpose=link.peer.is_retired))
            self._node.link_ended(node_id)

    def drop_links(self, device_id: str) -> None:
        """Close what is still open to a device that is believed dead: a half-open link helps nobody."""
        for link in list(self.links.get(device_id, [])):
            link.close("the device does not answer")

    def said_goodbye(self, link: LinkPort, is_leaving: bool) -> None:
        """The peer of this link closes it: it is leaving, or only makes room for other links."""
        if not link.peer.node_id:
            return
        link.peer.is_retired = True
        if is_leaving:
            self.apply(GoodbyeHeard(link.peer.node_id, link.peer.boot))

    def own_state_changed(self) -> None:
        """Tell everybody at once: our status, name or address is another."""
        self._announcer.announce(False)
        for node_id in list(self.links):
            self.heartbeats.beat(node_id)

    def work_began(self, device_id: str) -> None:
        """Exchange heartbeats with this device often from now on."""
        if device_id in self.links:
            self.heartbeats.begin(device_id)
            self._schedule()

    def told(self, device: Device, by: str) -> None:
        """A peer spoke of another device: an address to try."""
        is_reachable = device.address and device.status is not DeviceStatus.OFFLINE and not device.lite.get("foreign")
        if device.id and device.id != self._node.id and is_reachable:
            self.apply(DeviceTold(device, by))

    # ---- inside -----------------------------------------------------------------------------------

    def apply(self, event: Any) -> None:
        """Give the registry a fact and do what it wishes."""
        for action in self.registry.apply(event, self._node.clock.now()):
            if isinstance(action, Dial):
                self._greeter.dial_device(action.device_id, action.addresses)
            else:
                self._node.membership_changed(action)
        self._schedule()

    def _schedule(self) -> None:
        """Keep one timer, at the earliest of the registry's and the heartbeats' deadlines."""
        dues = [due for due in (self.registry.next_deadline(), self.heartbeats.next_deadline()) if due is not None]
        if self.is_stopping or not dues:
            return
        due = min(dues)
        if self._wake is None or due < self._wake[0]:
            if self._wake is not None:
                self._wake[1].cancel()
            self._wake = (due, self._node.clock.call_at(due, self._woken))

    def _woken(self) -> None:
        self._wake = None
        if self.is_stopping:
            return
        now = self._node.clock.now()
        self.heartbeats.send_due(now)
        self.apply(Tick())

    def _close_idle_links(self) -> None:
        """Keep at most `idle_links`; knowing a device needs no link, beacons carry on."""
        most = self._node.settings_limits.idle_links
        idle = [node_id for node_id in self.links if not self._node.has_work_with(node_id)]
        for node_id in idle[: max(0, len(idle) - most)]:
            for link in list(self.links.get(node_id, [])):
                link.peer.is_retired = True
                link.notify("Goodbye", {"is_leaving": False})
                link.finish()

    def _remember(self) -> None:
        addresses = [
            address for device in self.registry.devices() if device.linked
            for address in self.registry.addresses(device.device_id)[:1]
        ]
        if addresses:
            self._node.store.write_json("peers.json", {"addresses": addresses[:REMEMBERED]})
